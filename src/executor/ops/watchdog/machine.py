"""What all trades of a service stand on: the exchange that answers, the clock, the disk. Watched while all is quiet."""

import asyncio
import errno
import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import structlog

from executor.exchange.port import ReadError
from executor.exchange.transport.clock import LocalClock
from executor.exchange.transport.connection import Connection
from executor.files import open_regular

log = structlog.get_logger(__name__)

AWAY_MS: Final = 20_000
LOOK_EVERY_S: Final = 5.0
KEY_SOUND_MS: Final = 60_000
CLOCK_OFF_MS: Final = 1_000
CONFIRM_S: Final = 2.5
PROBE_SIZE: Final = 4096
_KEY_HINT: Final = "deleted or expired, without the right to trade, or is this machine's address not among the key's?"


class MachineWatch:
    """`run` looks every few seconds whether the exchange answers; `round` looks at clock and folders. `at_work`: held
    while something is done that time must wait for, where time can wait.
    """

    def __init__(
        self,
        connection: Connection,
        clock: LocalClock,
        folders: Collection[Path],
        at_work: Callable[[], AbstractContextManager[None]] = nullcontext,
        key: str = "BINANCE_API_KEY",
    ) -> None:
        self._key = key
        self._connection = connection
        self._clock = clock
        self._at_work = at_work
        self._folders = sorted(set(folders))
        self._away_told = 0
        self._key_told = False
        self._unwritable: set[Path] = set()

    async def run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            self.look_at_answers()
            self.look_at_key()

    def look_at_answers(self) -> None:
        """Told once when the exchange is away for long, and once when it is back."""
        since, now = self._connection.failing_since, self._connection.clock.local_ms()
        if since and now - since > AWAY_MS and not self._away_told:
            self._away_told = since
            log.error(
                "exchange_away",
                alert=True,
                text=f"nothing has been answered for {(now - since) / 1000:.0f} s: {self._connection.last_failure}",
            )
        elif not since and self._away_told:
            away, self._away_told = now - self._away_told, 0
            log.warning("exchange_back", alert=True, text=f"the exchange answers again, after {away / 1000:.0f} s")

    def look_at_key(self) -> None:
        """Told once, however many requests are refused for it, and once when none has been for a while: one that may
        read and not trade is refused again and again in between.
        """
        fault, now = self._connection.key_fault, self._connection.clock.local_ms()
        if fault and not self._key_told:
            self._key_told = True
            log.error("key_refused", alert=True, text=f"{self._key}: {fault}; {_KEY_HINT}")
        elif self._key_told and not fault and now - self._connection.key_refused_at >= KEY_SOUND_MS:
            self._key_told = False
            log.warning("key_accepted_again", alert=True, text=f"{self._key} is accepted again")

    async def round(self) -> None:
        await self._look_at_clock()
        for folder in self._folders:
            await self._look_at_folder(folder)

    async def _look_at_clock(self) -> None:
        try:
            with self._at_work():
                if not await self._connection.clock_off(CLOCK_OFF_MS):
                    return
            await self._clock.sleep(CONFIRM_S)
            with self._at_work():
                off = await self._connection.clock_off(CLOCK_OFF_MS)
                if off:
                    await self._connection.sync_clock()
                    text = f"off by {off / 1000:.1f} s; measured anew and set"
                    log.error("clock_off", alert=True, text=text)
        except ReadError as error:
            log.info("watchdog_look_failed", error=str(error))

    async def _look_at_folder(self, folder: Path) -> None:
        fault = await self._probe(folder)
        if not fault:
            if folder in self._unwritable:
                self._unwritable.discard(folder)
                log.info("folder_writable_again", folder=str(folder))
            return
        if folder in self._unwritable:
            return
        await self._clock.sleep(CONFIRM_S)
        if fault := await self._probe(folder):
            self._unwritable.add(folder)
            log.error("folder_unwritable", alert=True, folder=str(folder), text=fault)

    async def _probe(self, folder: Path) -> str:
        with self._at_work():
            return await asyncio.to_thread(probe, folder)


def probe(folder: Path) -> str:
    """Write, sync and remove a small file; why that can't be done, empty where it can."""
    path = folder / f".executor-probe-{os.getpid()}"
    try:
        descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            if os.write(descriptor, bytes(PROBE_SIZE)) < PROBE_SIZE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return ""
