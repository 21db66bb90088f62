"""File operations whose order and durability matter, behind an interface that a simulated disk can stand in
for.

What survives a power cut: bytes that were fsynced, under a name that the folder was fsynced with. Everything
else may be there, be missing, or be there in part. So a file is replaced by writing and syncing another one,
renaming it over the first, and syncing the folder.
"""

import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

PRIVATE: Final = 0o600
KEPT_OPEN: Final = 64
"""Files, of the whole process."""
NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""How file systems say that they know no hard links (link(2): FAT says EPERM, network mounts the others)."""


class TooBigError(OSError):
    """A file is larger than its reader is ready to hold in memory."""


class NoRegularFileError(OSError):
    """A folder, a pipe or a device stands in the place of a file."""


def open_regular(path: Path, flags: int, mode: int = PRIVATE, *, or_device: bool = False) -> int:
    """The descriptor of a file. What is none is refused, not waited on: a pipe without another end would hold up
    whoever opens it. `or_device`: a character device (/dev/null) may be in its place; nothing waits for that either.
    Raises OSError.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _no_regular_file(path) from error
        raise
    if not stat.S_ISREG(kind := os.fstat(descriptor).st_mode) and not (or_device and stat.S_ISCHR(kind)):
        os.close(descriptor)
        raise _no_regular_file(path)
    return descriptor


def try_regular(path: Path) -> None:
    """For a file that a library is to read, which would wait for a pipe. Raises OSError."""
    os.close(open_regular(path, os.O_RDONLY))


def _no_regular_file(path: Path) -> NoRegularFileError:
    return NoRegularFileError(errno.EINVAL, "not a regular file", str(path))


_NO_FILE: Final = frozenset({errno.EISDIR, errno.ENXIO})
"""What open(2) says of a folder, and of a pipe that nobody reads."""


class FileSystem(Protocol):
    """The operations that replacing a file takes. Each raises `OSError` as the operating system does."""

    def read(self, path: Path, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes; raises `TooBigError` when it is larger, and
        `NoRegularFileError` for what is none.
        """

    def exists(self, path: Path) -> bool: ...

    def write_synced(self, path: Path, data: bytes) -> None:
        """A new file (mode 0600) with `data`, its content synced, its name not yet.

        A file of that name loses the name, not its content: it may have another name that matters.
        """

    def write(self, path: Path, data: bytes) -> None:
        """As `write_synced`, with nothing synced. What it keeps open is closed by `release`."""

    def release(self) -> None:
        """Close every file that `write` has kept open."""

    def overwrite(self, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        """Put `data` over a part of an existing file. A crash before it is synced leaves a mixture there."""

    def sync_file(self, path: Path) -> None:
        """Make the content of an existing file durable."""

    def link(self, source: Path, target: Path) -> None:
        """A second name for the file; `target` must not exist."""

    def rename(self, source: Path, target: Path) -> None:
        """Atomic: an existing `target` is replaced."""

    def remove(self, path: Path) -> None: ...

    def sync_folder(self, folder: Path) -> None:
        """Make the names in `folder` durable."""


class _KeptOpen:
    """Files that were written without a sync stay open until several more have been: else the disk would be waited for
    when one of them loses its last name while it is still being written out (some ms where a disk is busy). Of hundreds
    of states each has no files of its own to keep: the process would run out of descriptors, and send nothing any more.
    """

    def __init__(self) -> None:
        self._descriptors: deque[int] = deque()
        self._lock = threading.Lock()

    def keep(self, descriptor: int) -> None:
        with self._lock:
            self._descriptors.append(descriptor)
        self._close(KEPT_OPEN)

    def release(self) -> None:
        self._close(0)

    def _close(self, left: int) -> None:
        """All but so many of the last."""
        while True:
            with self._lock:
                if len(self._descriptors) <= left:
                    return
                descriptor = self._descriptors.popleft()
            os.close(descriptor)


_kept: Final = _KeptOpen()


class RealFileSystem:
    """The machine's own file system."""

    def read(self, path: Path, limit: int) -> bytes:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TooBigError(errno.EFBIG, f"larger than {limit} bytes", str(path))
        return data

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def write_synced(self, path: Path, data: bytes) -> None:
        descriptor = self._write_new(path, data)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write(self, path: Path, data: bytes) -> None:
        _kept.keep(self._write_new(path, data))

    def release(self) -> None:
        _kept.release()

    def overwrite(self, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        descriptor = open_regular(path, os.O_WRONLY)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            write_all(descriptor, data)
            if synced:
                _sync_data(descriptor)
        finally:
            os.close(descriptor)

    def sync_file(self, path: Path) -> None:
        descriptor = open_regular(path, os.O_WRONLY)
        try:
            _sync_data(descriptor)
        finally:
            os.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)  # noqa: PTH104  (Path.replace costs a few µs more on the hot path)

    def remove(self, path: Path) -> None:
        os.unlink(path)  # noqa: PTH108

    def _write_new(self, path: Path, data: bytes) -> int:
        """The descriptor of the new file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, PRIVATE)
        except FileExistsError:
            os.unlink(path)  # noqa: PTH108
            descriptor = os.open(path, flags, PRIVATE)
        try:
            write_all(descriptor, data)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Without the file's times, where the operating system can leave them for later."""


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: one system call, more only where the operating system takes less than asked."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def replace_file(fs: FileSystem, path: Path, data: bytes) -> None:
    """Give `path` new content: after a crash at any point it holds the old or the new, whole. Raises
    `OSError`.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        fs.write_synced(temporary, data)
        fs.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            fs.remove(temporary)
        raise
    fs.sync_folder(path.parent)


def damaged_name(path: Path, at: datetime | None = None, taken: Callable[[Path], bool] = os.path.lexists) -> Path:
    """Where a file that can't be used is set aside, now or `at` a time; `taken`: whether something has that name."""
    stamp = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    target, count = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while taken(target):
        count += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{count}")
    return target


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents for this user alone, durably, where they do not exist. Raises
    `OSError`.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    RealFileSystem().sync_folder(folder.parent)
