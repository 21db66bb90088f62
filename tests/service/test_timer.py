"""The timer, by a clock that jumps to where somebody sleeps until."""

import asyncio

from executor.service.timer import TIMER_LOOK_S, Leaps, Timer


class Bench:
    """`offset`: of the exchange's clock from the local one, `rung`: when the timer rang, by the local one (ms)."""

    def __init__(self) -> None:
        self.local = self.offset = 0
        self.rung: list[int] = []
        self.timer = Timer(self, lambda: self.local + self.offset, lambda: self.rung.append(self.local))

    def now_ms(self) -> int:
        return self.local

    async def sleep(self, seconds: float) -> None:
        self.local += round(seconds * 1000)
        await asyncio.sleep(0)

    async def run(self, until: int) -> None:
        """Until the local clock has come so far (ms)."""
        while self.local < until and not self.rung:  # noqa: ASYNC110  # the clock runs as it is slept by
            await asyncio.sleep(0)


async def test_it_rings_when_its_time_has_come() -> None:
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        bench.timer.set(90_500, tasks)
        await bench.run(100_000)
    assert bench.rung == [90_500]


async def test_it_rings_in_time_where_the_exchanges_clock_is_set_ahead() -> None:
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        bench.timer.set(90_000, tasks)
        await bench.run(5_000)
        bench.offset = 80_000
        await bench.run(100_000)
    assert bench.rung == [10_000]


async def test_it_rings_where_the_exchanges_clock_is_set_back() -> None:
    """By more than it has slept. Nothing else may happen for long, as in a ban: a bare position was told of by so much
    later. Found by the simulation.
    """
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        bench.timer.set(90_000, tasks)
        await bench.run(5_000)
        bench.offset = -900
        await bench.run(20_000)
        assert not bench.rung
        bench.offset -= 20_000
        await bench.run(100_000)
    assert 20_000 <= bench.rung[0] <= 20_000 + TIMER_LOOK_S * 1000


async def test_it_rings_no_more_once_it_is_off() -> None:
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        bench.timer.set(90_000, tasks)
        await bench.run(5_000)
        bench.timer.set(None, tasks)
        for _ in range(10):
            await asyncio.sleep(0)
    assert not bench.rung


def test_what_the_clock_leaps_by_is_told_once() -> None:
    bench = Bench()
    leaps = Leaps(lambda: bench.local + bench.offset, bench.now_ms)
    told = []
    for offset in (0, 2_500, 2_500, 2_400, 2_600, 2_749, 2_750, 2_000, -20_000, -19_900, -19_700):
        bench.local += 1_000
        bench.offset = offset
        told.append(leaps.ahead())
    assert told == [0, 2_500, 0, 0, 0, 0, 250, 0, -22_750, 0, 300]
