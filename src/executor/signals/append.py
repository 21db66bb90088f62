"""Appends one signal to the signal file, as `executor signal` and the webhook do."""

import errno
import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import structlog

from executor.core.model.values import plain
from executor.files import RealFileSystem, make_folder, open_regular
from executor.signals.parse import Malformed, parse_signal
from executor.signals.position import SignalFileError

log = structlog.get_logger(__name__)

_NAMES: Final = ("ts", "symbol", "side", "price", "id", "entry", "stop", "targets", "qty", "notional", "risk")


LOCK_S: Final = 5.0
LOCK_LOOK_S: Final = 0.01
"""A writer holds the lock for a line; who holds it for seconds is no writer."""


UNABLE: Final = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)
"""How a system says that it can't sync a folder (fsync(2)), or that this folder may be written to and not be opened."""


class NotASignalError(ValueError):
    """The fields make no signal; nothing was written. The text names the field."""


def append_signal(path: Path, fields: Mapping[str, str | Decimal | Sequence[Decimal] | None]) -> str:
    """Write one signal of the general shape (rule 2.1) at the end of the file, durably; the line as it was
    written.

    `fields` are named as in the shape; None stands for a field that is not given. A last line that lacks its
    end gets one first, and writers that use this function wait for each other.

    Raises:
        NotASignalError: the fields make no signal.
        SignalFileError: the file can't be written; it is as it was before.
    """
    line = signal_line(fields)
    append_line(path, line)
    return line.decode()


def append_line(path: Path, line: bytes) -> None:
    """Write one line (without its end) that is a signal at the end of the file, durably.

    Raises:
        NotASignalError: the line makes no signal.
        SignalFileError: the file can't be written; it is as it was before.
    """
    judged = parse_signal(line)
    if isinstance(judged, Malformed):
        raise NotASignalError(judged.fault)
    try:
        make_folder(path.parent)
        descriptor = _open_locked(path)
        try:
            if not os.fstat(descriptor).st_size:  # made just now, perhaps: its name must outlast a power cut as well
                _keep_name(path.parent)
            _append(descriptor, line + b"\n")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SignalFileError(path, error) from error


def _keep_name(folder: Path) -> None:
    """Make the names in it durable, where the machine can do that. Raises OSError."""
    try:
        RealFileSystem().sync_folder(folder)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        _tell_unkept(folder, error.strerror or type(error).__name__)


@cache
def _tell_unkept(folder: Path, why: str) -> None:
    """Once for each."""
    log.warning("folder_not_synced", folder=str(folder), why=why, text="a new file in it may not outlast a power cut")


def signal_line(fields: Mapping[str, str | Decimal | Sequence[Decimal] | None]) -> bytes:
    """One line, without its end, of the fields that are given. Raises NotASignalError for one that a signal has not."""
    unknown = sorted(set(fields) - set(_NAMES))
    if unknown:
        raise NotASignalError(f"{unknown[0]} is not a field of a signal")
    given = {name: fields[name] for name in _NAMES if fields.get(name) is not None}
    return msgspec.json.encode({name: _as_json(value) for name, value in given.items()})


def _as_json(value: object) -> object:
    match value:
        case Decimal() if value.is_finite():
            return msgspec.Raw(plain(value).encode())
        case Decimal():
            return str(value)  # for the parser to refuse
        case str():
            return _text(value)
        case list() | tuple():
            return [_as_json(item) for item in value]
        case _:
            return value


def _text(given: str) -> str:
    """As it was typed: in a locale that is not UTF-8's the command line gives bytes beyond ASCII as surrogates, which
    JSON can't hold. Raises NotASignalError.
    """
    try:
        return given.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise NotASignalError(f"{given!r} is no text in UTF-8") from None


def _open_locked(path: Path) -> int:
    """The file itself, not one that was rotated away while the lock was waited for."""
    while True:
        descriptor = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            _lock(descriptor)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises OSError: where another program keeps the lock, too. Waiting for ever would hold up whoever writes."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(errno.EAGAIN, f"another program has kept its lock for {LOCK_S:.0f} s") from None
            time.sleep(LOCK_LOOK_S)
        else:
            return


def _append(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    written = os.write(descriptor, line)
    if written < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)
