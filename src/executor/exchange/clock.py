"""The exchange's clock, from a local one and a measured offset (rest-api.md, "Timing security")."""

import asyncio
import time
from typing import Protocol


class WallClock(Protocol):
    """A local clock, and waiting by it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """This machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ExchangeClock:
    """`now_ms` is the local clock plus `offset` (ms), which `adopt` measures."""

    def __init__(self, wall: WallClock) -> None:
        self._wall = wall
        self.offset = 0

    def now_ms(self) -> int:
        return self._wall.now_ms() + self.offset

    def wall_ms(self) -> int:
        return self._wall.now_ms()

    async def sleep(self, seconds: float) -> None:
        await self._wall.sleep(seconds)

    def adopt(self, asked: int, answered: int, server_time: int) -> None:
        """`server_time` was read between `asked` and `answered` (ms, local): it belongs to their middle."""
        self.offset = server_time - (asked + answered) // 2
