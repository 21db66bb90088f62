"""Two processes never run one state (rule 9.4)."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog

from executor.files import make_folder, open_regular, write_all
from executor.service.store.control_socket import listener

log = structlog.get_logger(__name__)

_HOLDER_SIZE_MAX: Final = 4096
_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})  # fcntl(2) and flock(2) name either


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: `started` is ISO 8601, UTC."""

    pid: int
    host: str
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started {self.started}"


class LockError(Exception):
    """The state could not be locked. The text is for people."""


class Locked(LockError):  # noqa: N818  (it says what the state is)
    """Another process runs this state; `holder` is None when it has not yet said who it is."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        who = "another process" if holder is None else str(holder)
        super().__init__(f"the state is in use by {who} (lock file {path}): stop that one first")
        self.path = path
        self.holder = holder


class LockTakenAway(LockError):  # noqa: N818
    """Nobody holds the lock file, and a process serves this state: its own was removed, or replaced."""

    def __init__(self, path: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"the state is in use by {who}, whose lock file {path} was taken away: stop that one first")


class LockUnusable(LockError):  # noqa: N818
    """The lock file can't be created or locked at all (read-only folder, a file system without locks)."""

    def __init__(self, path: Path, reason: OSError) -> None:
        super().__init__(f"lock file {path} can't be used: {reason.strerror or reason}")
        self.path = path
        self.reason = reason


class StateLock:
    """The lock beside a state file, `<state>.lock`. Used as a context manager.

    The kernel drops it when the process ends, however it ends. The file stays: removing it would let two
    processes lock two files of the same name.
    """

    def __init__(self, state: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        real = Path(os.path.realpath(state))
        self.path = real.with_name(real.name + ".lock")
        self._clock = clock
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take the lock at once or not at all; creates the folder where it is missing.

        Raises:
            Locked: another process holds it (or this one, through another `StateLock`).
            LockTakenAway: another process serves this state, without a lock file.
            LockUnusable: the file can't be created or locked.
        """
        if self._descriptor is not None:
            raise RuntimeError(f"lock {self.path} acquired twice")
        try:
            make_folder(self.path.parent)
            descriptor = open_regular(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        except OSError as error:
            raise LockUnusable(self.path, error) from error
        try:
            self._take(descriptor)
            self._look_for_another()
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(OSError):  # whoever comes next takes it all the same
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                raise Locked(self.path, _holder(descriptor)) from error
            raise LockUnusable(self.path, error) from error
        started = self._clock().astimezone(UTC).isoformat(timespec="seconds")
        holder = Holder(pid=os.getpid(), host=socket.gethostname(), started=started)
        try:
            os.ftruncate(descriptor, 0)
            write_all(descriptor, msgspec.json.encode(holder) + b"\n")
        except OSError as error:
            # A full disk: the lock holds all the same. A trade that is open is looked after again once there is room.
            log.warning("lock_holder_not_written", path=str(self.path), error=error.strerror or str(error))

    def _look_for_another(self) -> None:
        pid = listener(self.path.with_name(self.path.name.removesuffix(".lock")))
        if pid is not None:
            raise LockTakenAway(self.path, pid)


def _holder(descriptor: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, _HOLDER_SIZE_MAX, 0), type=Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
