"""Follows the signal file like a log: new lines, each whole, however the file is written, rotated or cut.

The follower holds one file open and an offset in it that always stands at the beginning of a line (or inside
a line too long to be a signal, the rest of which is skipped). Nothing else is remembered, so a half-written
line is simply read again when there is more of it. What can happen to the file, and what is done:

- it grows: complete lines are delivered, an unfinished last one waits for its end;
- it is renamed and a new one takes its place: the old one, still open, is read to its end, then its
  successors (`signals.jsonl.2`, then `.1`, then `signals.jsonl`). An unfinished last line of the old one is
  delivered as it is, once the successor holds something: nobody will finish it any more;
- it is cut to nothing after being copied (logrotate's copytruncate): the rest is read from the copy, then the
  file from its beginning;
- it is replaced by an edited copy of itself: reading goes on at the same place, if what stands before it is
  the same;
- it is not there, or not yet: that is waited for.

A line may be delivered again after a restart, up to the last committed position; the trade's own memory of
signals refuses it then (rule 2.5). A line is not lost, save one written and truncated away between two reads.
"""

import errno
import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from executor.signals.parse import LINE_MAX
from executor.signals.position import BEGINNING, TAIL, Position, PositionFile, SignalFileError, fingerprint

LINES_PER_READ: Final = 100
"""So that one call stays short: what remains is read by the next."""

_CHUNK: Final = 1024 * 1024
_NUMBERED: Final = re.compile(r"\.(?P<number>[1-9][0-9]{0,5})")


class Line(msgspec.Struct, frozen=True):
    """One line without its end, and the position after it. Of a line longer than `LINE_MAX` only the first
    `LINE_MAX` + 1 bytes are delivered, so that it is seen and refused.
    """

    data: bytes
    position: Position


class _Reader:
    """One open file and the place in it."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`. A pipe or folder is refused rather than waited on."""
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(self.descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(self.descriptor)
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        self.inode = found.st_ino
        self.offset = 0
        self.tail = b""  # the last `TAIL` bytes before the offset
        self.skipping = False  # inside a line that is too long, already delivered

    @property
    def position(self) -> Position:
        return Position(self.inode, self.offset, fingerprint(self.tail))

    def close(self) -> None:
        os.close(self.descriptor)

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def before(self, offset: int) -> bytes:
        """The bytes that a fingerprint at `offset` covers; fewer when the file is shorter."""
        length = min(offset, TAIL)
        return os.pread(self.descriptor, length, offset - length)

    def holds(self, offset: int, expected: str) -> bool:
        return self.size() >= offset and fingerprint(self.before(offset)) == expected

    def place(self, offset: int) -> None:
        self.offset, self.tail, self.skipping = offset, self.before(offset), False

    def place_at_last_line_end(self) -> None:
        """To the end, but before a line that is still being written."""
        end = self.size()
        while end:
            start = max(end - _CHUNK, 0)
            found = os.pread(self.descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        self.place(end)

    def moved_under(self) -> bool:
        """Whether the file no longer holds, before the offset, what was read there: it was cut."""
        size = self.size()
        return size < self.offset or (size > self.offset and self.before(self.offset) != self.tail)

    def rest(self) -> bytes:
        return os.pread(self.descriptor, _CHUNK, self.offset)

    def lines(self, limit: int) -> list[Line]:
        """At most `limit` further complete lines that are not blank, from at most one chunk."""
        chunk = self.rest()
        context, base = self.tail + chunk, len(self.tail)
        found: list[Line] = []
        start = 0
        while len(found) < limit and (end := chunk.find(b"\n", start)) >= 0:
            data = chunk[start:end]
            start = end + 1
            self._moved(context, base, start)
            if not self.skipping and data.strip():
                found.append(Line(data[: LINE_MAX + 1], self._at(start)))
            self.skipping = False
        if start == 0 and len(chunk) > LINE_MAX:  # no line end in sight
            self._moved(context, base, len(chunk))
            if not self.skipping:
                found.append(Line(chunk[: LINE_MAX + 1], self._at(len(chunk))))
            self.skipping, start = True, len(chunk)
        self.offset += start
        return found

    def last_words(self) -> Line | None:
        """What stands after the last line end, taken as a line."""
        rest = self.rest()
        self.tail = (self.tail + rest)[-TAIL:]
        self.offset += len(rest)
        blank = self.skipping or not rest.strip()
        return None if blank else Line(rest[: LINE_MAX + 1], self.position)

    def _moved(self, context: bytes, base: int, start: int) -> None:
        self.tail = context[max(base + start - TAIL, 0) : base + start]

    def _at(self, start: int) -> Position:
        return Position(self.inode, self.offset + start, fingerprint(self.tail))


class SignalFollower:
    """Delivers the lines of one signal file. It never waits: call `read` as often as is wished."""

    def __init__(self, path: Path, *, start: Literal["end", "begin"], memory: PositionFile) -> None:
        """Take up the place that `memory` holds; without one, `start` says where an existing file is picked
        up. A file that appears later is read from its beginning.

        Raises:
            SignalFileError: the file is there but can't be read, or the position can't be read or kept.
        """
        self.path = path
        self._memory = memory
        self._reader: _Reader | None = None
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
            while len(found) < LINES_PER_READ:
                if self._reader is None and not self._open_current():
                    break
                more = self._from_file(LINES_PER_READ - len(found))
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
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, start: Literal["end", "begin"]) -> None:
        if self._open_current() and self._reader is not None and start == "end":
            self._reader.place_at_last_line_end()
        # Kept at once: a restart before the first signal must not skip what is written in between.
        self.commit(BEGINNING if self._reader is None else self._reader.position)

    def _resume(self, position: Position) -> None:
        named = [self.path, *self._siblings()]
        self._reader = _find(named, position, same_inode=True) or _find(named, position, same_inode=False)

    def _open_current(self) -> bool:
        try:
            self._reader = _Reader(self.path)
        except FileNotFoundError:
            return False
        return True

    def _from_file(self, limit: int) -> list[Line] | None:
        """Some lines; empty when there may be more at once; None when there is nothing to read now."""
        reader = self._reader
        if reader is None:
            return None
        if reader.moved_under():
            self._after_cut(reader)
            return []
        before = reader.offset
        found = reader.lines(limit)
        if found or reader.offset > before:
            return found
        return self._advance(reader)

    def _after_cut(self, reader: _Reader) -> None:
        copy = _find(self._siblings(), reader.position, same_inode=False)
        if copy is None:
            reader.place(0)
        else:
            self._replace(copy)

    def _advance(self, reader: _Reader) -> list[Line] | None:
        """Go to the file that succeeds the one read to its end; None while none has anything in it."""
        if _inode(self.path) == reader.inode:
            return None
        number = self._number_of(reader)
        successor = self._open_successor(reader, number)
        if successor is None:
            return None
        # Names may have moved on since they were looked at, and the old file may have got its last lines only
        # now.
        if self._number_of(reader) != number or b"\n" in reader.rest():
            successor.close()
            return []
        last = reader.last_words()
        position = reader.position
        if successor.holds(position.offset, position.fingerprint):
            successor.place(position.offset)
        self._replace(successor)
        return [] if last is None else [last]

    def _open_successor(self, reader: _Reader, number: int) -> _Reader | None:
        for name in [*(_numbered(self.path, n) for n in range(number - 1, 0, -1)), self.path]:
            try:
                successor = _Reader(name)
            except FileNotFoundError:
                continue
            if successor.inode != reader.inode and successor.size():
                return successor
            successor.close()
        return None

    def _number_of(self, reader: _Reader) -> int:
        """The number behind the file's name now; 0 when it has none (it is current, or removed)."""
        for name in self._siblings():
            match = _NUMBERED.fullmatch(name.name[len(self.path.name) :])
            if match and _inode(name) == reader.inode:
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

    def _replace(self, reader: _Reader) -> None:
        self.close()
        self._reader = reader


def _find(names: list[Path], position: Position, *, same_inode: bool) -> _Reader | None:
    """The first of the files that holds `position`, placed there. By content alone, one byte at least must
    tell.
    """
    for name in names:
        try:
            reader = _Reader(name)
        except OSError:  # gone meanwhile, or not a file: not the one that was read before
            continue
        told = reader.inode == position.inode if same_inode else position.offset > 0
        if told and reader.holds(position.offset, position.fingerprint):
            reader.place(position.offset)
            return reader
        reader.close()
    return None


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
