"""The write-ahead copy of the state: on disk with a single sync, so that orders need not wait for more (rule 8.1).

Beside the state file lies `executor_state.json.ahead`, with room for two records. A record overwrites the older of the
two in place: no name changes, no block is allocated, so one sync of the data makes it durable. A crash in the middle
leaves the other record as it was. A record says how many came before it, so the newer one is known.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from executor.files import FileSystem, TooBigError

ROOM: Final = 64 * 1024
"""Bytes that a record may take at first; a state is some kilobytes."""
LARGEST: Final = 64 * 1024 * 1024

_HEAD: Final = re.compile(rb"(?P<number>[0-9]{20}) (?P<length>[0-9]{9}) (?P<sum>[0-9a-f]{64})\n")
_HEAD_SIZE: Final = 96


class WriteAhead:
    """One such file. Its methods raise `OSError` as the operating system does."""

    def __init__(self, path: Path, fs: FileSystem) -> None:
        self.path = path
        self._fs = fs
        self._temporary = path.with_name(path.name + ".tmp")
        self._number = 0
        self._room = 0
        """0: what is on disk has not been looked at."""

    def write(self, data: bytes) -> None:
        """When this returns, `data` survives a power cut; until then what was written before it does."""
        if not self._room:
            self._look()
        record = _record(self._number + 1, data)
        if not self._room or len(record) > self._room:
            self._begin(record)
        else:
            try:
                self._fs.overwrite_synced(self.path, (self._number + 1) % 2 * self._room, record)
            except FileNotFoundError:  # taken away under us
                self._begin(record)
        self._number += 1

    def read(self) -> bytes | None:
        """What was written last; None when there is nothing whole."""
        return self._look()

    def exists(self) -> bool:
        return self._fs.exists(self.path)

    def remove(self) -> None:
        """Forget it: what it holds is elsewhere, durably."""
        self._room = 0
        self._fs.remove(self.path)
        self._fs.sync_folder(self.path.parent)

    def _look(self) -> bytes | None:
        """Learn the file's room and the newest record's number, so that the next one is newer; that record's data."""
        self._number, newest = max(self._records(), default=(self._number, None))
        return newest

    def _records(self) -> list[tuple[int, bytes]]:
        try:
            content = self._fs.read(self.path, LARGEST)
        except (FileNotFoundError, TooBigError):
            self._room = 0
            return []
        self._room = len(content) // 2
        parsed = (_parse(content[: self._room]), _parse(content[self._room :]))
        return [record for record in parsed if record is not None]

    def _begin(self, record: bytes) -> None:
        """A new file, large enough, with this record in it."""
        room = max(ROOM, self._room)
        while room < len(record):
            room *= 2
        content = bytearray(2 * room)
        start = (self._number + 1) % 2 * room
        content[start : start + len(record)] = record
        self._fs.write_synced(self._temporary, bytes(content))
        self._fs.rename(self._temporary, self.path)
        self._fs.sync_folder(self.path.parent)
        self._room = room


def _record(number: int, data: bytes) -> bytes:
    head = b"%020d %09d " % (number, len(data))
    return head + hashlib.sha256(head + data).hexdigest().encode() + b"\n" + data


def _parse(slot: bytes) -> tuple[int, bytes] | None:
    match = _HEAD.match(slot)
    if match is None:
        return None
    data = slot[_HEAD_SIZE : _HEAD_SIZE + int(match["length"])]
    number = int(match["number"])
    return (number, data) if _record(number, data) == slot[: _HEAD_SIZE + len(data)] else None
