"""Follows the signal file like a log: new lines, each whole, however the file is written, rotated or cut.

The follower holds one file open and an offset in it that always stands at the beginning of a line (or inside
a line too long to be a signal, the rest of which is skipped). Nothing else is remembered, so a half-written
line is simply read again when there is more of it. What can happen to the file, and what is done:

- it grows: complete lines are delivered, an unfinished last one waits for its end. Many writers end no line, or begin
  each with the line's end: what is a whole signal by itself is delivered once nothing more has come for a moment, what
  is none is told of (`unended`);
- it is renamed and a new one takes its place: the old one, still open, is read to its end, then its
  successors (`signals.jsonl.2`, then `.1`, then `signals.jsonl`). An unfinished last line of the old one is
  delivered as it is, once the successor holds something: nobody will finish it any more;
- it is cut to nothing after being copied (logrotate's copytruncate): the rest is read from the copy, then the
  file from its beginning, whose zeros are passed over where its writer has kept its place;
- it is replaced by an edited copy of itself: reading goes on at the same place, if what stands before it is
  the same;
- it is not there, or not yet: that is waited for.

A line may be delivered again after a restart, up to the last committed position; the trade's own memory of
signals refuses it then (rule 2.5). A line is not lost, save one written and truncated away between two reads.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from executor.signals.logfile import Line, LogFile
from executor.signals.parse import SignalFault, read_object
from executor.signals.position import BEGINNING, Position, PositionFile, SignalFileError

LINES_PER_READ: Final = 100
CHUNKS_PER_READ: Final = 64
"""So that one call stays short: what remains is read by the next."""

QUIET_S: Final = 0.5
"""How long nothing more must have come behind a signal without a line end."""
TOLD_AFTER_S: Final = 10.0
_NUMBERED: Final = re.compile(r"\.(?P<number>[1-9][0-9]{0,5})")


class SignalFollower:
    """Delivers the lines of one signal file. It never waits: call `read` as often as is wished."""

    def __init__(
        self,
        path: Path,
        *,
        start: Literal["end", "begin"],
        memory: PositionFile,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up the place that `memory` holds; without one, `start` says where an existing file is picked
        up. A file that appears later is read from its beginning.

        Raises:
            SignalFileError: the file is there but can't be read, or the position can't be read or kept.
        """
        self.path = path
        self.unended = 0
        """Bytes at the file's end that have waited for a line end for long, and are no signal without one."""
        self._monotonic = monotonic
        self._rest = b""
        self._rest_since = 0.0
        self._rest_judged = False
        self._memory = memory
        self._file: LogFile | None = None
        position = memory.load(path)
        try:
            if position is None:
                self._begin(start)
            else:
                self._resume(position)
        except OSError as error:
            raise SignalFileError(path, error) from error

    def read(self) -> list[Line]:
        """The next complete lines, at most `LINES_PER_READ`; empty when there is nothing new.

        Raises:
            SignalFileError: the file is there but can't be read; a later call tries again.
        """
        found: list[Line] = []
        try:
            for _ in range(CHUNKS_PER_READ):
                if len(found) >= LINES_PER_READ:
                    break
                file = self._file or self._open_current()
                more = None if file is None else self._from(file, LINES_PER_READ - len(found))
                if more is None:
                    break
                found += more
        except OSError as error:
            if not found:  # what was read is delivered first; the error will be met again
                raise SignalFileError(self.path, error) from error
        return found

    def commit(self, position: Position) -> None:
        """Remember that everything before `position` has been taken. Raises `SignalFileError`."""
        self._memory.save(self.path, position)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, start: Literal["end", "begin"]) -> None:
        try:
            self._file = LogFile(self.path)
        except FileNotFoundError:
            self.commit(BEGINNING)
            return
        if start == "end":
            self._file.place_at_last_line_end()
        # Kept at once: a restart before the first signal must not skip what is written in between.
        self.commit(self._file.position)

    def _resume(self, position: Position) -> None:
        named = [self.path, *self._siblings()]
        self._file = _find(named, position, same_inode=True) or _find(named, position, same_inode=False)
        if self._file is None:
            self._open_current()

    def _open_current(self) -> LogFile | None:
        """The file that was waited for, if it is there now."""
        try:
            self._file = LogFile(self.path)
        except FileNotFoundError:
            return None
        self.commit(self._file.position)  # it may be rotated before anything in it is committed
        return self._file

    def _from(self, file: LogFile, limit: int) -> list[Line] | None:
        """Some lines; empty when there may be more at once; None when there is nothing to read now."""
        if file.was_cut():
            self._after_cut(file)
            return []
        before = file.offset
        found = file.lines(limit)
        if found or file.offset > before:
            return found
        more = self._advance(file)
        return self._without_end(file) if more is None else more

    def _without_end(self, file: LogFile) -> list[Line] | None:
        """The whole signal that stands behind the last line end, once nothing more has come for a moment."""
        rest, now = file.unended(), self._monotonic()
        if not rest.strip():
            self._rest, self.unended = b"", 0
            return None
        if rest != self._rest:
            self._rest, self._rest_since, self._rest_judged = rest, now, False
            return None
        waited = now - self._rest_since
        if waited < QUIET_S:
            return None
        if not self._rest_judged and _is_whole(rest):
            self._rest, self.unended = b"", 0
            return file.last_words()
        self._rest_judged = True  # it is looked at twenty times a second, and stays what it is
        self.unended = len(rest) if waited >= TOLD_AFTER_S else 0
        return None

    def _after_cut(self, file: LogFile) -> None:
        copy = _find(self._siblings(), file.position, same_inode=False)
        if copy is None:
            file.place(0)
        else:
            self._replace(copy)

    def _advance(self, file: LogFile) -> list[Line] | None:
        """Go to the file that succeeds the one read to its end; None while none has anything in it."""
        if _inode(self.path) == file.inode:
            return None
        number = self._number_of(file)
        successor = self._open_successor(file, number)
        if successor is None:
            return None
        # Names may have moved on since they were looked at; the old file may have got its last lines only now.
        if self._number_of(file) != number or file.has_line():
            successor.close()
            return []
        last = file.last_words()
        if successor.holds(file.position):
            successor.place(file.offset)
        self._replace(successor)
        return last

    def _open_successor(self, file: LogFile, number: int) -> LogFile | None:
        for name in [*(_numbered(self.path, n) for n in range(number - 1, 0, -1)), self.path]:
            try:
                successor = LogFile(name)
            except FileNotFoundError:
                continue
            if successor.inode != file.inode and successor.size():
                return successor
            successor.close()
        return None

    def _number_of(self, file: LogFile) -> int:
        """The number behind the file's name now; 0 when it has none (it is current, or removed)."""
        for name in self._siblings():
            match = _NUMBERED.fullmatch(name.name[len(self.path.name) :])
            if match and _inode(name) == file.inode:
                return int(match["number"])
        return 0

    def _siblings(self) -> list[Path]:
        """Files that rotation may have made of this one, newest first as far as their names tell."""
        try:
            names = [name for name in os.listdir(self.path.parent) if name.startswith(self.path.name)]  # noqa: PTH208
        except FileNotFoundError:
            return []
        rotated = sorted((name for name in names if name != self.path.name), key=lambda name: (len(name), name))
        return [self.path.with_name(name) for name in rotated]

    def _replace(self, file: LogFile) -> None:
        self.close()
        self._file = file


def _find(names: list[Path], position: Position, *, same_inode: bool) -> LogFile | None:
    """The first of the files that holds `position`, placed there; nothing at all is no content to know it by."""
    for name in names:
        try:
            file = LogFile(name)
        except OSError:  # gone meanwhile, or not a file: not the one that was read before
            continue
        told = file.inode == position.inode if same_inode else position.offset > 0
        if told and file.holds(position):
            file.place(position.offset)
            return file
        file.close()
    return None


def _is_whole(data: bytes) -> bool:
    """Whether it is a JSON object: no part of one is."""
    try:
        read_object(data)
    except SignalFault:
        return False
    return True


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
