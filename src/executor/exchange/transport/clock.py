"""The exchange's clock, from a steady local one and a measured offset (rest-api.md, "Timing security").

The core's deadlines are times of this clock. So it must not move when somebody sets this machine's clock, and it must
go on while the machine is suspended: a deadline would come too soon, or too late.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

QUICK_MS: Final = 500
"""An answer that took no longer tells the time better than what was measured before."""
JUMP_MS: Final = 1_000
"""A clock that was measured and has gone further off is measured once more before it is believed (rule 8.6): by a time
that is wrong once, orders in doubt would count as never sent, and entries as too late.
"""
WAKE_EVERY_S: Final = 5.0
"""Sleepers look at the clock this often: the event loop's own timers don't count the time of a suspension."""

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Runs through a suspension where the system has such a clock. Where it has none, the exchange's refusal of the next
timestamp (-1021) has the offset measured anew."""


class LocalClock(Protocol):
    """A local clock, and waiting by it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    async def sleep(self, seconds: float) -> None: ...


_steady_ns: Final = partial(time.clock_gettime_ns, _STEADY)


class SystemClock:
    """This machine's clock as it was when this began; from there time runs on evenly, whatever the clock is set to."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = _steady_ns) -> None:
        """`wall`: ns since the epoch; `steady`: ns since whenever, never set."""
        self._steady = steady
        self._began = wall() - steady()

    def now_ms(self) -> int:
        return (self._began + self._steady()) // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed by this clock: at most WAKE_EVERY_S after a suspension that took longer."""
        until = self._steady() + round(seconds * 1e9)
        left = seconds
        while True:
            await asyncio.sleep(min(left, WAKE_EVERY_S))
            left = (until - self._steady()) / 1e9
            if left <= 0:
                return


class ExchangeClock:
    """`now_ms` is the local clock plus `offset` (ms), which `adopt` measures."""

    def __init__(self, local: LocalClock) -> None:
        self._local = local
        self.measured = False
        """Until then the exchange's moments say nothing of how far off they are."""
        self.offset = 0
        self.followers: list[Callable[[int], None]] = []
        """Told by how much (ms) the clock was set: who keeps moments that were told as so long from now."""

    def now_ms(self) -> int:
        return self._local.now_ms() + self.offset

    def local_ms(self) -> int:
        return self._local.now_ms()

    async def sleep(self, seconds: float) -> None:
        await self._local.sleep(seconds)

    def jumps(self, asked: int, answered: int, server_time: int) -> bool:
        """Whether what was read between `asked` and `answered` (ms, local) would move the clock far; before it is
        measured, away from the local one.
        """
        least, most = server_time - answered, server_time - asked
        return not least - JUMP_MS <= self.offset <= most + JUMP_MS

    def adopt(self, asked: int, answered: int, server_time: int) -> None:
        """`server_time` was read between `asked` and `answered` (ms, local): in their middle, most likely. A slow
        answer proves less: it moves the clock only as far as it must have been wrong.
        """
        least, most = server_time - answered, server_time - asked
        before = self.offset
        if not self.measured or most - least <= QUICK_MS:
            self.offset = server_time - (asked + answered) // 2
        else:
            self.offset = min(max(self.offset, least), most)
        self.measured = True
        if self.offset != before:
            for follower in self.followers:
                follower(self.offset - before)


def agree(first: tuple[int, int, int], second: tuple[int, int, int]) -> bool:
    """Whether two measurements (asked, answered, server's time) can both be right, but for `JUMP_MS`."""
    (asked, answered, told), (asked_then, answered_then, told_then) = first, second
    return told_then - answered_then - JUMP_MS <= told - asked and told - answered <= told_then - asked_then + JUMP_MS
