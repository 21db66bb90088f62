"""The next moment at which time alone changes something, and time that passes by the clock alone."""

import asyncio
from collections.abc import Callable
from typing import Final

from executor.core.absorb.clock import SET_BACK_MS
from executor.exchange.transport.clock import LocalClock

TIMER_LOOK_S: Final = 1.0
"""A timer looks at the exchange's time so often: measured anew, it may have moved away from the one it was set by."""

LEAP_MS: Final = 250
"""By less the clock is corrected all the time; no look waits for so little."""


class Timer:
    """Calls `ring` once, when `now` (ms, the exchange's time) has come to what it is set to, or was set back: what is
    waited for comes as soon as it would have, where the trade hears of it. It sleeps by `clock`.
    """

    def __init__(self, clock: LocalClock, now: Callable[[], int], ring: Callable[[], None]) -> None:
        self._clock = clock
        self._now = now
        self._ring = ring
        self._task: asyncio.Task[None] | None = None
        self._at: int | None = None

    def set(self, at: int | None, tasks: asyncio.TaskGroup) -> None:
        """Ring at `at`, and at no other time; None: never. It waits in one of `tasks`."""
        if at == self._at:
            return
        self.off()
        if at is not None:
            self._at = at
            self._task = tasks.create_task(self._wait(at), name="timer")

    def off(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._at = None, None

    async def _wait(self, at: int) -> None:
        left, longer = at - self._now(), False
        while left > 0 and not longer:
            await self._clock.sleep(min(left / 1000, TIMER_LOOK_S))
            before, left = left, at - self._now()
            longer = left > before
        self._task, self._at = None, None
        self._ring()


class Leaps:
    """How far the exchange's time, `now` (ms), as it is measured, leaps from a clock that runs evenly, `steady`."""

    def __init__(self, now: Callable[[], int], steady: Callable[[], int]) -> None:
        self._now = now
        self._steady = steady
        self._offset = now() - steady()

    def ahead(self) -> int:
        """By how much (ms) since the last call: so much has not passed; below 0 where it was set back. Small
        corrections count once they are many.
        """
        offset = self._now() - self._steady()
        leap = offset - self._offset
        if -SET_BACK_MS < leap < LEAP_MS:
            return 0
        self._offset = offset
        return leap
