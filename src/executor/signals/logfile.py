"""One open file that grows line by line, and a place in it."""

import errno
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from executor.files import open_regular
from executor.signals.parse import LINE_MAX
from executor.signals.position import COVERED, Before, Position

_END: Final = re.compile(rb"\r\n|[\r\n]")
"""A line's end, as any system writes it: none of them can stand within a JSON text."""
_CHUNK: Final = 1024 * 1024


class Line(msgspec.Struct, frozen=True):
    """One line without its end, and the position after it.

    Of a line longer than `LINE_MAX` only the first `LINE_MAX` + 1 bytes are delivered: it is seen, and
    refused.
    """

    data: bytes
    position: Position


class LogFile:
    """The place always stands at the beginning of a line, or inside one too long to be a signal, which is
    skipped. Zeros before a line are none of it: a writer that keeps its place in a file that was cut leaves so many.
    """

    def __init__(self, path: Path) -> None:
        """Open at the beginning. Raises `OSError`; a pipe or folder is refused rather than waited on."""
        self._descriptor = open_regular(path, os.O_RDONLY)
        self.inode = os.fstat(self._descriptor).st_ino
        self.offset = 0
        self._before = Before()
        self._skipping = False  # inside a line that is too long, already delivered
        self._of_zeros = False  # of which there was nothing else so far

    @property
    def position(self) -> Position:
        return Position(self.inode, self.offset, self._before.fingerprint)

    def close(self) -> None:
        os.close(self._descriptor)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def holds(self, position: Position) -> bool:
        """Whether before that offset this file holds what the other, or this one earlier, held."""
        return self.size() >= position.offset and self._read_before(position.offset).fingerprint == position.fingerprint

    def was_cut(self) -> bool:
        """Whether the file no longer holds, before the place, what was read there."""
        return self.size() < self.offset or self._read_before(self.offset) != self._before

    def place(self, offset: int) -> None:
        self.offset, self._before, self._skipping = offset, self._read_before(offset), False

    def place_at_last_line_end(self) -> None:
        """To the end, but before a line that is still being written. The beginning of one that is too long to be a
        signal is not looked for: a file may be as long as a disk, and of nothing.
        """
        end = self.size()
        start = max(end - _CHUNK, 0)
        chunk = os.pread(self._descriptor, end - start, start)
        found = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))  # -1 for none: all of the chunk is of that line
        self.place(start + found + 1)

    def has_line(self) -> bool:
        """Whether a line end follows within the next chunk."""
        return _END.search(self._rest()) is not None

    def lines(self, limit: int) -> list[Line]:
        """At most `limit` further complete lines that are not blank, from at most one chunk."""
        if self._skipping:
            self._pass_hole()
            if self._of_zeros:
                self._pass_zeros()
        chunk = self._rest()
        found: list[Line] = []
        start = 0
        while len(found) < limit and (end := _END.search(chunk, start)) is not None:
            self._take(chunk[start : end.end()], found)
            self._skipping = False
            start = end.end()
        if start == 0 and len(chunk) > LINE_MAX:  # no line end in sight
            self._take(chunk, found)
            self._skipping, self._of_zeros = True, not chunk.strip(b"\0")
        return found

    def _pass_hole(self) -> None:
        """Move on to the next byte that was ever written: what lies before it reads as nothing but zeros."""
        try:
            written = os.lseek(self._descriptor, self.offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that knows of no holes
                return
            written = self.size()
        if written > self.offset:
            self.offset, self._before = written, self._read_before(written)

    def _pass_zeros(self) -> None:
        """Move on to what else there is, which begins a line."""
        chunk = self._rest()
        line = chunk.lstrip(b"\0")
        self._take(chunk[: len(chunk) - len(line)], [])
        self._skipping = not line

    def unended(self) -> bytes:
        """What stands after the last line end, as far as one chunk goes; nothing of a line that is too long."""
        return b"" if self._skipping else self._rest().lstrip(b"\0")

    def last_words(self) -> list[Line]:
        """What stands after the last line end, taken as a line; empty when nothing does."""
        found: list[Line] = []
        self._take(self._rest(), found)
        return found

    def _take(self, data: bytes, found: list[Line]) -> None:
        """Move on past `data`, which begins a line unless one is being skipped."""
        self.offset += len(data)
        self._before = self._before.followed_by(data)
        data = data.lstrip(b"\0") or data
        if not self._skipping and data.strip():
            found.append(Line(data.rstrip(b"\r\n")[: LINE_MAX + 1], self.position))

    def _rest(self) -> bytes:
        return os.pread(self._descriptor, _CHUNK, self.offset)

    def _read_before(self, offset: int) -> Before:
        length = min(offset, COVERED)
        return Before(os.pread(self._descriptor, length, 0), os.pread(self._descriptor, length, offset - length))
