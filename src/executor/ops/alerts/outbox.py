"""The outbox on disk: alerts that have been raised, and which channel has taken them.

One JSON record a line, appended and handed to the operating system at once: that survives the process. A thread syncs
it a moment later, out of everybody's way; what a power cut takes of the last moment, the state file still shows at the
next start. When the file has grown it is written anew with what still matters. A disk that takes nothing keeps nobody
waiting: the records stay in memory, and the file is written anew once it can be.
"""

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from executor.decoding import Ms
from executor.files import NoRegularFileError, RealFileSystem, TooBigError, damaged_name, open_regular, write_all
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.queue import Known, Many

log = structlog.get_logger(__name__)

SIZE_MAX: Final = 256 * 1024
"""Bytes after which the file is written anew; it shrinks to some kilobytes then."""
READ_MAX: Final = 16 * 1024 * 1024
"""Bytes of a file that is read at all, more than hundreds of accounts can have to tell: in memory its records may take
nine times as much.
"""
Number = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class Raised(msgspec.Struct, frozen=True, kw_only=True, tag="raised", omit_defaults=True):
    """The alert `n`, for the channels `to`; `count`, `texts`, `since`: where it stands for several of its kind."""

    n: Number
    alert: Alert
    to: tuple[str, ...]
    count: Many = 1
    texts: tuple[str, ...] = ()
    since: Ms = 0


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The channel `by` has taken, at `at` (ms), `count` alerts of one kind, of which `n` is the newest."""

    by: str
    n: Number
    count: Many
    at: Ms


class Before(msgspec.Struct, frozen=True, tag="before"):
    """What the channel `by` has taken before, for the pauses between repeats."""

    by: str
    known: Known


class Mark(msgspec.Struct, frozen=True, tag="mark"):
    """Something else that must outlive the process, by name."""

    name: str
    value: str


Record = Raised | Done | Before | Mark
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Record)


class Outbox:
    """`records`: what an earlier run left; `damaged`: how many of its lines could not be read; the file as it was is
    then kept under the name `aside`.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is raised for a disk that can't be used: then nothing is known, and writing is tried again later."""
        self.path = path
        self.records: list[Record] = []
        self.damaged = 0
        self.aside: Path | None = None
        self.behind = False
        """The file lacks something: it must be written anew."""
        self._descriptor: int | None = None
        self._size = 0
        self._unsynced = False
        self._told = False
        self._lock = threading.Lock()
        self._read()

    @property
    def grown(self) -> bool:
        return self._size > SIZE_MAX

    def append(self, record: Record) -> None:
        """Hand the record to the operating system, or leave it to the next `rewrite`."""
        if self.behind:
            return
        line = _encoder.encode(record) + b"\n"
        try:
            written = os.write(self._opened(), line)
        except OSError as error:
            self._fell_behind(error)
            return
        self._size += written
        self._unsynced = True
        if written < len(line):
            self._fell_behind(OSError("the disk is full"))

    def rewrite(self, records: Iterable[Record]) -> None:
        """Have the file hold `records` and nothing else; the old file stays where that can't be."""
        data = b"".join(_encoder.encode(record) + b"\n" for record in records)
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            descriptor = open_regular(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            try:
                write_all(descriptor, data)
                fresh.replace(self.path)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                fresh.unlink(missing_ok=True)
            self._fell_behind(error)
            return
        with self._lock:
            self._close()
            self._descriptor = descriptor
        self._size, self.behind, self._unsynced = len(data), False, True
        if self._told:
            self._told = False
            log.info("alerts_on_disk_again", path=str(self.path))

    def sync(self) -> None:
        """Make what was written durable. To be called in a thread: a disk may take its time."""
        if not self._unsynced:
            return
        self._unsynced = False
        with self._lock:
            descriptor = None if self._descriptor is None else os.dup(self._descriptor)
        if descriptor is None:
            return
        try:
            os.fsync(descriptor)
            RealFileSystem().sync_folder(self.path.parent)
        except OSError as error:
            log.warning("alerts_not_synced", error=error.strerror or str(error))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self.sync()
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = open_regular(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return self._descriptor

    def _fell_behind(self, error: OSError) -> None:
        self.behind = True
        if not self._told:
            self._told = True
            log.warning("alerts_not_on_disk", path=str(self.path), error=error.strerror or str(error))

    def _read(self) -> None:
        try:
            data = RealFileSystem().read(self.path, READ_MAX)
        except FileNotFoundError:
            return
        except (NoRegularFileError, TooBigError) as error:
            log.warning("alerts_unreadable", path=str(self.path), error=error.strerror)
            self.damaged = 1
            self._set_aside()
            return
        except OSError as error:
            self._fell_behind(error)
            return
        self._size = len(data)
        lines = data.split(b"\n")
        for line in lines[:-1]:
            try:
                self.records.append(_decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.damaged += 1
        if self.damaged:
            self._set_aside(data)
        if lines[-1]:  # a crash has cut the last line: what it would have said was not promised yet
            self.behind = True

    def _set_aside(self, data: bytes | None = None) -> None:
        """Keep what stands there for a person to look at, a copy of `data` where that is given: it is written anew."""
        aside = damaged_name(self.path)
        try:
            if data is None:
                self.path.rename(aside)
            else:
                RealFileSystem().write_synced(aside, data)
        except OSError as error:
            self._fell_behind(error)
        else:
            self.aside = aside
