"""The journal: every event in the order in which it was taken, one JSON line each, appended and never
changed.

A line reads `{"n":12,"crc":"1f0a33c2","record":{…}}`. `n` counts on through rotations and restarts, so a
missing line is noticed; `crc` (CRC-32 of `n` and the record) tells a flipped bit. When a file has grown large
it becomes `.1`, what was `.1` becomes `.2`, and so on.

Lines are handed to the operating system at once, so they survive the process; they are synced to the disk
only when a file is closed or rotated, because the state file, not the journal, is what a restart stands on
(rule 10.5).

`/dev/null` and other character devices may stand in its place: they take lines and give none back, and stay where they
are.
"""

import contextlib
import errno
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Generic, Self, TypeVar

import structlog

from executor.files import damaged_name, open_regular
from executor.service.store import codec

log = structlog.get_logger(__name__)

T = TypeVar("T")

FILE_SIZE: Final = 64 * 1024 * 1024
FILES_KEPT: Final = 10
NOT_OPEN: Final = -1
LINE_MAX: Final = 16 * 1024 * 1024
"""No record comes near this; a longer line is not ours and must not fill the memory."""

_LINE: Final = re.compile(
    rb'\{"n":(?P<n>[0-9]{1,18}),"crc":"(?P<crc>[0-9a-f]{8})","record":(?P<record>.*)\}', re.DOTALL
)
_NUMBERED: Final = re.compile(r"\.(?P<number>[1-9][0-9]{0,5})")


class JournalError(Exception):
    """The journal can't be written or read. The text names the file."""


class JournalUnwritable(JournalError):  # noqa: N818  (it says what the journal is)
    """A record could not be appended; the file ends as it did before."""

    def __init__(self, path: Path, reason: OSError) -> None:
        super().__init__(f"journal {path} can't be written: {reason.strerror or reason}")
        self.path = path
        self.reason = reason


class JournalCorrupt(JournalError):  # noqa: N818
    """A line that is not the last one is damaged or missing. `line` counts from 1."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"journal {path}, line {line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One record and where it stands."""

    n: int
    record: T
    path: Path
    line: int


class Journal:
    """The writing end. One process writes a journal at a time: `StateLock` sees to that.

    `last`: the number of the newest record, 0 when there is none. `repaired`: what opening found and did at
    the file's end (a line that a crash had cut), which is logged; empty when all was well. A damaged journal
    never keeps the service from its trade: it is appended to, and whoever reads it is told of the damage.
    """

    def __init__(
        self, path: Path, *, file_size: int = FILE_SIZE, files_kept: int = FILES_KEPT, patient: bool = False
    ) -> None:
        """Open for appending. A new file begins once one has reached `file_size` bytes; `files_kept` old ones
        stay. `patient`: a file that can't be opened now is opened when something is to be appended.

        Raises:
            JournalUnwritable: the file can't be opened.
        """
        if files_kept < 1:
            raise ValueError(f"files_kept is {files_kept}, must be at least 1")
        self.path = path
        self.repaired = ""
        self._file_size = file_size
        self._files_kept = files_kept
        self._torn = False
        self._device = False
        self._descriptor = NOT_OPEN
        self.last = 0
        try:
            self._begin()
        except JournalUnwritable:
            if not patient:
                raise

    def append(self, record: object) -> int:
        """Write one record as one line; its number.

        Raises:
            JournalUnwritable: the line is not in the journal, not even in part.
            CodecError: the record can't be written as JSON.
        """
        encoded = codec.encode(record)
        if self._descriptor == NOT_OPEN:
            self._begin()
        line = _line(self.last + 1, encoded)
        try:
            if self._torn:
                self._untear()
            if not self._device and self._size and self._size + len(line) > self._file_size:
                self._rotate()
            self._write(line)
        except OSError as error:
            raise JournalUnwritable(self.path, error) from error
        self.last += 1
        return self.last

    def close(self) -> None:
        """Sync to disk and close."""
        if self._descriptor == NOT_OPEN:
            return
        descriptor, self._descriptor = self._descriptor, NOT_OPEN
        try:
            if not self._device:
                os.fsync(descriptor)
        except OSError as error:
            raise JournalUnwritable(self.path, error) from error
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        self._torn = True
        written = os.write(self._descriptor, line)
        if written < len(line):
            # A short write means that the disk is full: the line goes as a whole or not at all.
            self._untear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._torn = False
        self._size += written

    def _untear(self) -> None:
        if not self._device:
            os.ftruncate(self._descriptor, self._size)
        self._torn = False

    def _begin(self) -> None:
        """Open the file and find its last record. Raises JournalUnwritable: then it is not open."""
        self._put_away_what_is_too_large()
        self._descriptor = self._open()
        try:
            self.last = 0 if self._device else self._find_last()
        except OSError as error:
            descriptor, self._descriptor = self._descriptor, NOT_OPEN
            os.close(descriptor)
            raise JournalUnwritable(self.path, error) from error
        if self.repaired:
            log.warning("journal_repaired", path=str(self.path), what=self.repaired)

    def _put_away_what_is_too_large(self) -> None:
        """It is none of ours, and to look for its last line would take who knows how long."""
        most = max(self._file_size, FILE_SIZE) + LINE_MAX
        try:
            for path in files_of(self.path):
                if path.is_file() and path.stat().st_size > most:
                    aside = damaged_name(path)
                    path.rename(aside)
                    log.warning("journal_repaired", path=str(path), what=f"larger than {most} bytes: now {aside}")
        except OSError as error:
            raise JournalUnwritable(self.path, error) from error

    def _open(self) -> int:
        try:
            descriptor = open_regular(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, or_device=True)
        except OSError as error:
            raise JournalUnwritable(self.path, error) from error
        found = os.fstat(descriptor)
        self._size, self._device = found.st_size, stat.S_ISCHR(found.st_mode)
        return descriptor

    def _rotate(self) -> None:
        os.fsync(self._descriptor)
        if self.path.exists():  # else an earlier attempt got this far
            free = 1
            while free < self._files_kept and _numbered(self.path, free).exists():
                free += 1
            for number in range(free - 1, 0, -1):
                _numbered(self.path, number).replace(_numbered(self.path, number + 1))
            self.path.replace(_numbered(self.path, 1))
        fresh = self._open()
        os.close(self._descriptor)
        self._descriptor = fresh

    def _find_last(self) -> int:
        self._mend()
        for path in reversed(files_of(self.path)):
            with _opened(path) as file:
                parsed = _parse(_last_line(file))
            if isinstance(parsed, tuple):
                return parsed[0]
            if path.stat().st_size:
                self.repaired = f"{path} ends with a damaged line, which was left as it is"
                return _count_through(path)
        return 0

    def _mend(self) -> None:
        """End the file with a whole line: a crash may have cut the last one, or kept all of it but the line's
        end.
        """
        with _opened(self.path) as file:
            start = _start_of_last_line(file)
            file.seek(start)
            tail = file.read(LINE_MAX)
        if not tail or tail.endswith(b"\n"):
            return
        if len(tail) < LINE_MAX and isinstance(_parse(tail), tuple):
            self._size += os.write(self._descriptor, b"\n")
            self.repaired = "the last line had lost its end of line"
            return
        os.ftruncate(self._descriptor, start)
        cut = self._size - start
        self.repaired = f"the last line was cut: {cut} bytes of an unfinished record were removed"
        self._size = start


class JournalReader(Generic[T]):
    """The reading end: iterates over the entries of all files, oldest first.

    A last line without its end is what a crash or a writer at work leaves: it is not an entry, and `cut` then
    says so. Iterating raises `JournalCorrupt` for anything else that is not in order, `JournalError` for a
    file that can't be read.
    """

    def __init__(self, path: Path, type: type[T]) -> None:  # noqa: A002
        self.path = path
        self.cut = ""
        self._type = type

    def __iter__(self) -> Iterator[Entry[T]]:
        self.cut = ""
        expected: int | None = None
        with contextlib.ExitStack() as stack:
            files = self._opened(stack)
            for path, file in files:
                for entry in self._entries(path, file, newest=file is files[-1][1]):
                    if expected is not None and entry.n != expected:
                        reason = f"record {entry.n} where {expected} should follow"
                        raise JournalCorrupt(path, entry.line, reason)
                    expected = entry.n + 1
                    yield entry

    def _opened(self, stack: contextlib.ExitStack) -> list[tuple[Path, BinaryIO]]:
        # Newest first, so that a rotation meanwhile shows a file twice rather than not at all; then each
        # once.
        seen: set[int] = set()
        opened: list[tuple[Path, BinaryIO]] = []
        for path in reversed(files_of(self.path)):
            try:
                file = stack.enter_context(_opened(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise JournalError(f"journal {path} can't be read: {error.strerror or error}") from error
            number = os.fstat(file.fileno()).st_ino
            if number not in seen:
                seen.add(number)
                opened.append((path, file))
        return opened[::-1]

    def _entries(self, path: Path, file: BinaryIO, *, newest: bool) -> Iterator[Entry[T]]:
        for count, line in enumerate(_lines(path, file), 1):
            if not line.endswith(b"\n"):
                if newest and len(line) < LINE_MAX:
                    self.cut = f"{path}, line {count}: cut after {len(line)} bytes"
                    return
                raise JournalCorrupt(path, count, "the line does not end")
            parsed = _parse(line)
            if not isinstance(parsed, tuple):
                raise JournalCorrupt(path, count, parsed)
            n, record = parsed
            try:
                yield Entry(n, codec.decode(record, type=self._type), path, count)
            except codec.CodecError as error:
                raise JournalCorrupt(path, count, f"not a record: {error}") from error


def _opened(path: Path) -> BinaryIO:
    """To be read. Raises OSError."""
    return os.fdopen(open_regular(path, os.O_RDONLY, or_device=True), "rb")


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Raises JournalError where the disk gives nothing back."""
    while True:
        try:
            line = file.readline(LINE_MAX)
        except OSError as error:
            raise JournalError(f"journal {path} can't be read: {error.strerror or error}") from error
        if not line:
            return
        yield line


def tail(path: Path, type: type[T], size: int) -> list[T]:  # noqa: A002
    """The records in the last `size` bytes of the newest file, oldest first; damaged lines are left out. For a quick
    look back: reading the whole is `JournalReader`'s. Raises JournalError.
    """
    try:
        with _opened(path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - size, 0))
            lines = file.read(size).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"journal {path} can't be read: {error.strerror or error}") from error
    found = []
    for line in lines:
        parsed = _parse(line)
        if isinstance(parsed, tuple):
            with contextlib.suppress(codec.CodecError):  # of another version
                found.append(codec.decode(parsed[1], type=type))
    return found


def _line(n: int, record: bytes) -> bytes:
    return b'{"n":%d,"crc":"%08x","record":%s}\n' % (n, _crc(b"%d" % n, record), record)


def _parse(line: bytes) -> tuple[int, bytes] | str:
    """Number and record of a line, or what is wrong with it."""
    match = _LINE.fullmatch(line.rstrip(b"\n"))
    if match is None:
        return "not a journal line"
    if int(match["crc"], 16) != _crc(match["n"], match["record"]):
        return "damaged: it does not match its crc"
    return int(match["n"]), match["record"]


def _crc(n: bytes, record: bytes) -> int:
    return zlib.crc32(record, zlib.crc32(n + b":"))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def files_of(path: Path) -> list[Path]:
    """The journal's files that exist, oldest first."""
    numbers = [
        int(match["number"])
        for file in path.parent.iterdir()
        if file.name.startswith(path.name) and (match := _NUMBERED.fullmatch(file.name[len(path.name) :]))
    ]
    older = [_numbered(path, number) for number in sorted(numbers, reverse=True)]
    return [*older, path] if path.exists() else older


def _start_of_last_line(file: BinaryIO) -> int:
    """Where the last line begins, whether or not it has its end."""
    end = file.seek(0, os.SEEK_END)
    position = max(end - 1, 0)  # the newline at the very end ends the last line, it does not begin one
    while position > 0:
        start = max(position - 65536, 0)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def _last_line(file: BinaryIO) -> bytes:
    file.seek(_start_of_last_line(file))
    return file.read(LINE_MAX)


def _count_through(path: Path) -> int:
    """The number of the file's last record, where damaged lines count as the one record that each of them
    was.
    """
    last = 0
    with _opened(path) as file:
        while line := file.readline(LINE_MAX):
            parsed = _parse(line)
            last = parsed[0] if isinstance(parsed, tuple) else last + 1
    return last
