"""Market time: what the exchange's clock says, and how to wait for it.

Two clocks keep the same promise. `WallClock` is this machine's own, for a paper exchange that stands alone
and that any client may use. `MarketClock` stands still until it is moved, so that an hour of recorded market
can pass in seconds and pass the same way each time; `executor.paper.replay.market.Replay` moves it.
"""

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since the epoch on the exchange, and waiting in those."""

    def now_ms(self) -> int:
        """The exchange's time."""

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` of the exchange's time have passed."""

    async def sleep_until(self, at_ms: int) -> None:
        """Return when the exchange's clock shows `at_ms` or later."""


class WallClock:
    """The exchange's time is this machine's time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_until(self, at_ms: int) -> None:
        await asyncio.sleep(max(0, at_ms - self.now_ms()) / 1000)


class MarketClock:
    """A clock that moves only by `advance_to`, and never backwards.

    Sleepers wake in the order of their times, those of the same time in the order in which they went to
    sleep.
    """

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sequence = 0
        self._someone_sleeps = asyncio.Event()

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now_ms + round(seconds * 1000))

    async def sleep_until(self, at_ms: int) -> None:
        if at_ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (at_ms, self._sequence, woken))
        self._someone_sleeps.set()
        await woken

    def next_wake_ms(self) -> int | None:
        """When the earliest sleeper is due; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    @property
    def wake_times(self) -> list[int]:
        """When each sleeper is due, earliest first."""
        return sorted(at_ms for at_ms, _, woken in self._sleepers if not woken.done())

    async def until_someone_sleeps(self) -> None:
        """Return when there is a sleeper: without one, and without trades, time has no reason to move."""
        while self.next_wake_ms() is None:
            self._someone_sleeps.clear()
            await self._someone_sleeps.wait()

    def advance_to(self, at_ms: int) -> None:
        """Show `at_ms` and wake who was waiting for it."""
        if at_ms < self._now_ms:
            raise ValueError(f"market time cannot go back from {self._now_ms} to {at_ms}")
        self._now_ms = at_ms
        while self._sleepers and self._sleepers[0][0] <= at_ms:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
