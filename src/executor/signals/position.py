"""How far the signal file has been taken, remembered across restarts in a small file beside the state."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec

from executor.files import FileSystem, RealFileSystem, TooBigError, make_folder, replace_file

COVERED: Final = 1024
"""Bytes at the beginning of the file, and before the position, that tell one file from another: several
signals each.
"""

_FILE_SIZE_MAX: Final = 64 * 1024


class SignalFileError(Exception):
    """The signal file, or the file that remembers the position in it, can't be used. The text names it."""

    def __init__(self, path: Path, reason: OSError) -> None:
        super().__init__(f"{path} can't be used: {reason.strerror or reason}")
        self.path = path
        self.reason = reason


def position_path(state: Path) -> Path:
    """Where it is kept: beside the state file `state`."""
    return state.with_name(state.name + ".signals")


def written_last(states: Iterable[Path]) -> Path | None:
    """Of several, beside these states, the one that was in use last; None where there is none yet."""
    found: list[tuple[int, Path]] = []
    for path in map(position_path, states):
        with contextlib.suppress(OSError):
            found.append((path.stat().st_mtime_ns, path))
    return max(found, default=(0, None))[1]


class Position(msgspec.Struct, frozen=True):
    """A place between two lines. `inode` 0: before the first byte of a file that was not there yet.

    `fingerprint`, of `Before`, tells whether a file still holds, before `offset`, what it held then.
    """

    inode: int
    offset: Annotated[int, msgspec.Meta(ge=0)]
    fingerprint: str


class _Remembered(msgspec.Struct, frozen=True):
    path: str
    position: Position


class Before(msgspec.Struct, frozen=True):
    """What stands before a place in a file: its first and its last bytes, at most `COVERED` each."""

    head: bytes = b""
    tail: bytes = b""

    def followed_by(self, data: bytes) -> "Before":
        return Before((self.head + data[:COVERED])[:COVERED], (self.tail + data[-COVERED:])[-COVERED:])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.head + self.tail).hexdigest()[:32]


BEGINNING: Final = Position(inode=0, offset=0, fingerprint=Before().fingerprint)


class PositionFile:
    """Where the position of one signal file is kept, e.g. `executor_state.json.signals`. `before`: where it was kept
    until now, if elsewhere.
    """

    def __init__(self, path: Path, before: Path | None = None, *, fs: FileSystem | None = None) -> None:
        self.path = path
        self._source = before or path
        self._fs = RealFileSystem() if fs is None else fs
        self._saved: _Remembered | None = None

    def load(self, source: Path) -> Position | None:
        """The position in `source`; None when none was ever saved for that file.

        A damaged file counts as `BEGINNING`: a line read again is refused as a duplicate, a line skipped is
        lost.

        Raises:
            SignalFileError: the operating system refused to read.
        """
        try:
            data = self._fs.read(self._source, _FILE_SIZE_MAX)
        except FileNotFoundError:
            return None
        except TooBigError:
            return BEGINNING
        except OSError as error:
            raise SignalFileError(self._source, error) from error
        try:
            remembered = msgspec.json.decode(data, type=_Remembered)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return BEGINNING
        return remembered.position if remembered.path == _name(source) else None

    def save(self, source: Path, position: Position) -> None:
        """Remember, atomically and durably; a position that is saved already costs nothing.

        Raises:
            SignalFileError: the disk is full, the folder is read-only, …; the earlier position stays.
        """
        remembered = _Remembered(_name(source), position)
        if remembered == self._saved:
            return
        self._saved = None
        try:
            make_folder(self.path.parent)
            replace_file(self._fs, self.path, msgspec.json.encode(remembered) + b"\n")
        except OSError as error:
            raise SignalFileError(self.path, error) from error
        self._saved = remembered


def _name(source: Path) -> str:
    return os.path.abspath(source)  # noqa: PTH100  (links stay: the name is what the operator set)
