"""The write-ahead copy of the state: on disk with a single sync, so that orders need not wait for more (rule 8.1).

Beside the state file lies `executor_state.json.ahead`, with room for two records. A record overwrites one of the two in
place: no name changes, no block is allocated, so one sync of the data makes it durable. The other one is the last that
was durable, so a crash in the middle leaves that. A record says how many came before it, so the newer one is known.

A record need not be synced: then it survives the end of the process, and a power cut may leave the last durable one.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from executor.files import FileSystem, NoRegularFileError, TooBigError

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
        self.temporary = path.with_name(path.name + ".tmp")
        self._ours = False
        """Whether the file has been looked at, or made, to write to it."""
        self._number = 0
        self._room = 0
        self._durable = 0
        """Which of the two records survives a power cut, and so is not to be overwritten."""

    def write(self, data: bytes, *, durable: bool = True) -> None:
        """When this returns, `data` survives the process, and where `durable` a power cut; until then what was durable
        before it does.
        """
        if not self._ours:
            self._take_over()
        record = _record(self._number + 1, data)
        if len(record) > self._room:
            self._begin(record)
        else:
            free = 1 - self._durable
            try:
                self._fs.overwrite(self.path, free * self._room, record, synced=durable)
                self._durable = free if durable else self._durable
            except FileNotFoundError:  # taken away under us
                self._begin(record)
        self._number += 1

    def read(self) -> bytes | None:
        """What was written last; None when there is nothing whole."""
        records = self._records()[1]
        return max(records)[2] if records else None

    def torn(self) -> bool:
        """Whether there is something in it that is not whole: that may have been what was written last."""
        try:
            content = self._fs.read(self.path, LARGEST)
        except FileNotFoundError:
            return False
        except (TooBigError, NoRegularFileError):
            return True
        room = len(content) // 2
        slots = (content[:room], content[room:])
        return not room or any(_parse(slot) is None and any(slot) for slot in slots)

    def _take_over(self) -> None:
        """Go on where another life left off; its last record may not be durable yet."""
        self._room, records = self._records()
        if records:
            self._number, self._durable, _ = max(records)
            self._fs.sync_file(self.path)
        self._ours = True

    def exists(self) -> bool:
        return self._fs.exists(self.path)

    def remove(self) -> None:
        """Forget it: what it holds is elsewhere, durably."""
        self._ours = False
        self._fs.remove(self.path)
        self._fs.sync_folder(self.path.parent)

    def _records(self) -> tuple[int, list[tuple[int, int, bytes]]]:
        """The room for a record; number, place and data of each whole one."""
        try:
            content = self._fs.read(self.path, LARGEST)
        except (FileNotFoundError, TooBigError, NoRegularFileError):
            return 0, []
        room = len(content) // 2
        parsed = (_parse(content[:room]), _parse(content[room:]))
        return room, [(record[0], place, record[1]) for place, record in enumerate(parsed) if record is not None]

    def _begin(self, record: bytes) -> None:
        """A new file, large enough, with this record in it."""
        room = max(ROOM, self._room)
        while room < len(record):
            room *= 2
        self._fs.write_synced(self.temporary, record + bytes(2 * room - len(record)))
        self._fs.rename(self.temporary, self.path)
        self._fs.sync_folder(self.path.parent)
        self._room, self._durable = room, 0


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
