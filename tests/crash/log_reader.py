"""Who reads the daemon's log, and how badly (rule 8.9): through a pipe of a page, into the file that is read here.

The daemon opens the pipe by its name as it would a file. Nothing of this is to hold it up: not a reader that takes a
few bytes now and then, none that stands still, none at all, none any more, and no disk that is full.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import socket
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

FULL_DISK: Final = Path("/dev/full")
PAGE: Final = 4096
SLOW_BYTES: Final = 200
SLOW_S: Final = 0.04
CHUNK: Final = 65_536
STANDSTILL_S: Final = (1.0, 5.0)
FILLED: Final = b"\n" * PAGE
"""Stands in the pipe from the beginning: a life says less than a pipe holds, so that none would ever notice."""
STALLS_AFTER: Final = (1, PAGE + 2_500)
GOES_AFTER: Final = (1, 2_500)
"""Bytes: from before the start to late in a trade."""
LOOK_S: Final = 0.02


class Reading(StrEnum):
    """How."""

    SLOW = "a few bytes at a time"
    STALLED = "stands still for seconds"
    NEVER = "reads nothing"
    GONE = "goes away"
    FULL = "disk full"


class LogReader:
    """Made before the daemon starts, which writes to `path`. What it says arrives in `log`, as far as it is read."""

    def __init__(self, rng: random.Random, reading: Reading, log: Path) -> None:
        self.reading = reading
        self.path = FULL_DISK if reading is Reading.FULL else log.with_suffix(".pipe")
        self._rng = rng
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._reader = self._keeper = -1
        log.touch()
        if reading is Reading.FULL:
            return
        os.mkfifo(self.path)
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._keeper = os.open(self.path, os.O_WRONLY)  # so that there is no end before the daemon has opened it
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PAGE)
        os.write(self._keeper, FILLED)
        self._task = asyncio.create_task(self._read())

    @property
    def loses(self) -> bool:
        """Whether not all that the daemon says arrives."""
        return self.reading in (Reading.GONE, Reading.FULL)

    async def _read(self) -> None:
        match self.reading:
            case Reading.SLOW:
                while True:
                    self._take(SLOW_BYTES)
                    await asyncio.sleep(SLOW_S)
            case Reading.STALLED:
                while True:
                    await self._take_some(self._rng.randint(*STALLS_AFTER))
                    await asyncio.sleep(self._rng.uniform(*STANDSTILL_S))
            case Reading.GONE:
                while not self._log.read_bytes().strip():  # a pipe that nobody reads can't be opened
                    await self._take_some(PAGE)
                await self._take_some(self._rng.randint(*GOES_AFTER))
                self._close()
            case _:
                await asyncio.Event().wait()

    async def _take_some(self, most: int) -> None:
        """So many bytes, or what there is for the moment."""
        while most > 0 and (taken := self._take(most)):
            most -= taken
        await asyncio.sleep(LOOK_S)

    def _take(self, most: int) -> int:
        try:
            data = os.read(self._reader, most)
        except BlockingIOError:
            return 0
        with self._log.open("ab") as file:
            file.write(data)
        return len(data)

    def _close(self) -> None:
        for descriptor in (self._reader, self._keeper):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self._keeper = -1

    async def finish(self) -> None:
        """The daemon has ended: take what is still in the pipe."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()
        while self._reader >= 0 and self._take(CHUNK):
            pass
        self._close()
        self.path.unlink()
        self._task = None


class ReadyLine:
    """The supervisor's socket (sd_notify): who starts a daemon hears there that it is ready, whatever its log does.
    What it says after that is not read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.setblocking(False)
        self._line.bind(str(path))
        self._ready = False

    @property
    def environ(self) -> Mapping[str, str]:
        """What the daemon needs to find it."""
        return {"NOTIFY_SOCKET": str(self._path)}

    def ready(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while not self._ready:
                self._ready = self._line.recv(PAGE) == b"READY=1"
        return self._ready

    def close(self) -> None:
        self._line.close()
        self._path.unlink()
