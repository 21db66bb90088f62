import asyncio

import pytest

from executor.paper.replay.clock import MarketClock, WallClock

START = 1_750_000_000_000


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = MarketClock(START)
    woken: list[str] = []

    async def sleeper(name: str, until: int) -> None:
        await clock.sleep_until(until)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name, after in (("late", 30), ("early", 10), ("early too", 10)):
            group.create_task(sleeper(name, START + after))
        await asyncio.sleep(0)
        assert clock.wake_times == [START + 10, START + 10, START + 30]
        clock.advance_to(START + 9)
        await asyncio.sleep(0)
        assert woken == []
        clock.advance_to(START + 10)
        await asyncio.sleep(0)
        assert woken == ["early", "early too"]
        clock.advance_to(START + 100)
    assert woken == ["early", "early too", "late"]
    assert clock.now_ms() == START + 100


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = MarketClock(START)
    task = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    assert clock.next_wake_ms() == START + 5000
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.next_wake_ms() is None
    clock.advance_to(START + 6000)


async def test_a_time_that_has_come_is_not_waited_for() -> None:
    clock = MarketClock(START)
    await clock.sleep_until(START)
    await clock.sleep(0)
    await clock.sleep(-1)


def test_time_does_not_go_back() -> None:
    clock = MarketClock(START)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(START - 1)


async def test_waiting_for_the_first_sleeper() -> None:
    clock = MarketClock(START)
    waiting = asyncio.create_task(clock.until_someone_sleeps())
    await asyncio.sleep(0)
    assert not waiting.done()
    sleeper = asyncio.create_task(clock.sleep(1))
    await waiting
    clock.advance_to(START + 1000)
    await sleeper


async def test_the_wall_clock_waits_on_the_wall() -> None:
    clock = WallClock()
    before = clock.now_ms()
    await clock.sleep_until(before + 5)
    await clock.sleep(0)
    assert clock.now_ms() >= before + 4
