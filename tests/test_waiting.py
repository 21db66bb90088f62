import asyncio

from executor.waiting import nap

LONG_S = 60.0


async def test_a_nap_lasts_as_long_as_its_clock_says() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    assert await nap(sleep, LONG_S, asyncio.Event())
    assert await nap(sleep, LONG_S)
    assert slept == [LONG_S, LONG_S]


async def test_a_call_ends_it_and_nothing_of_it_goes_on() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    napping = asyncio.create_task(nap(asyncio.sleep, LONG_S, first, second))
    await asyncio.sleep(0)
    second.set()
    assert not await napping
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_that_is_cancelled_leaves_nothing_behind() -> None:
    napping = asyncio.create_task(nap(asyncio.sleep, LONG_S, asyncio.Event()))
    await asyncio.sleep(0)
    napping.cancel()
    await asyncio.wait({napping})
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
