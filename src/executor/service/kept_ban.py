"""What the exchange has told last of how long it wants no requests, kept beside the state: else whatever starts the
service anew meanwhile would have it ask each time, and each request prolongs a ban, for all who share the address.

It may be of another address that this machine had, so it is believed for minutes, not for days: then one request asks.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Final, Self

import msgspec
import structlog

from executor.config import Settings
from executor.exchange.port import BannedError
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.clock import LocalClock
from executor.files import RealFileSystem, replace_file
from executor.service.market import Market

log = structlog.get_logger(__name__)

BELIEVED_MS: Final = 15 * 60_000
"""After being told: four requests an hour prolong no ban by much, and a changed address is found out soon enough."""
SIZE_MAX: Final = 4096
SAME_MS: Final = 2_000


class Kept(msgspec.Struct, frozen=True):
    """Moments are of this machine's clock (ms): at a start it is not known what the exchange's says."""

    exchange: str
    told_at: int
    until: int


class KeptBan:
    """`exchange`: whose ban it is. What can't be read or written is as if nothing had been told."""

    def __init__(self, path: Path, exchange: str, clock: LocalClock) -> None:
        self._path = path
        self._exchange = exchange
        self._clock = clock
        self._until = 0

    @classmethod
    def of(cls, settings: Settings, market: Market) -> Self:
        state = settings.state_path(market.symbols[0])
        return cls(state.with_name(state.name + ".ban"), market.endpoints.rest_url, market.patient)

    def holds(self) -> BannedError | None:
        """The ban to wait out before anything is asked; what is over, or can't be believed, is removed."""
        left_ms = self._left_ms()
        if left_ms:
            text = f"{self._exchange} wants to be left alone: so it has told before this start; without {self._path} "
            return BannedError(f"{text}it is asked at once", left_ms / 1000)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return None

    def _left_ms(self) -> int:
        try:
            kept = msgspec.json.decode(RealFileSystem().read(self._path, SIZE_MAX), type=Kept)
        except FileNotFoundError:
            return 0
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("kept_ban_unusable", path=str(self._path), error=str(error))
            return 0
        now = self._clock.now_ms()
        if kept.exchange != self._exchange or kept.told_at > now:
            return 0
        return max(0, min(kept.until, kept.told_at + BELIEVED_MS) - now)

    async def keep(self, left_ms: int) -> None:
        """Have on disk that it lasts so long from now on, unless that is there; out of the way, as a disk may take its
        time.
        """
        now = self._clock.now_ms()
        if left_ms <= 0 or abs(now + left_ms - self._until) <= SAME_MS:
            return
        self._until = now + left_ms
        data = msgspec.json.encode(Kept(self._exchange, now, self._until)) + b"\n"
        try:
            await asyncio.to_thread(replace_file, RealFileSystem(), self._path, data)
        except OSError as error:
            log.warning("ban_not_kept", path=str(self._path), error=error.strerror or str(error))

    async def follow(self, budget: Budget) -> None:
        """Keep what is told while the service runs."""
        while await budget.told.wait():
            budget.told.clear()
            await self.keep(budget.closed_for_ms())
