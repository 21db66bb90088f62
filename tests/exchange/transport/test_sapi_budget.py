"""`/sapi`: each call has a minute of its own, and none holds another back (rule 8.7)."""

import asyncio

import pytest
from tests.exchange.stub import START_MS, ManualClock

from executor.core.model.facts import Why
from executor.exchange.port import ReadError
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.wire import calls, margin
from executor.exchange.wire.answer import Answer
from executor.exchange.wire.outcomes import Fault

MINUTE = 60_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_MS - START_MS % MINUTE)


@pytest.fixture
def budget(clock: ManualClock) -> Budget:
    return Budget(ExchangeClock(clock))


async def test_a_read_that_has_used_its_minute_up_waits_for_the_next_one_and_holds_no_other_back(
    budget: Budget, clock: ManualClock
) -> None:
    for _ in range(228):  # 171000 of 180000
        await budget.admit(margin.BORROWABLE)
        budget.end(margin.BORROWABLE, budget.begin(margin.BORROWABLE), {})
    assert not clock.slept
    await budget.admit(margin.CROSS)
    await budget.admit(calls.OPEN_ORDERS)
    assert budget.refusal(margin.LEND) is None
    assert not clock.slept
    await budget.admit(margin.BORROWABLE)
    assert sum(clock.slept) == pytest.approx(60)


async def test_the_exchange_s_own_count_is_believed_where_it_is_larger(budget: Budget, clock: ManualClock) -> None:
    told = {"X-SAPI-USED-IP-WEIGHT-1M": "11990"}
    budget.end(margin.CROSS, budget.begin(margin.CROSS), told)
    budget.end(margin.RECORDS, budget.begin(margin.RECORDS), {"X-SAPI-USED-UID-WEIGHT-1M": "179999"})
    await budget.admit(margin.RECORDS)  # the other kind's count says nothing of it
    assert not clock.slept
    await budget.admit(margin.CROSS)
    assert clock.slept
    for odd in ("", "many", "9" * 40, "-5"):
        budget.end(margin.CROSS, budget.begin(margin.CROSS), {"X-SAPI-USED-IP-WEIGHT-1M": odd})


def test_too_many_loans_close_loans_alone_and_a_ban_closes_all(budget: Budget, clock: ManualClock) -> None:
    slow = budget.heed(Answer(429, {"Retry-After": "7"}, b""), Fault(-1003, "Too many requests."), margin.LEND)
    assert slow == clock.at + 7_000
    refused = budget.refusal(margin.LEND)
    assert refused is not None
    assert (refused.why, refused.retry_at) == (Why.RATE_LIMIT, slow)
    assert budget.refusal(margin.PLACE) is None
    assert budget.refusal(calls.PLACE) is None
    budget.heed(Answer(418, {"Retry-After": "120"}, b""), Fault(-1003, "Way too many requests."), margin.CROSS)
    assert budget.refusal(margin.PLACE) is not None
    assert budget.refusal(calls.PLACE) is not None


def test_what_spot_has_used_up_keeps_no_stop_of_margin_from_leaving(budget: Budget) -> None:
    told = {"Retry-After": "9"}
    budget.heed(Answer(429, told, b""), Fault(-1003, "Too much request weight used."), calls.OPEN_ORDERS)
    assert budget.refusal(calls.PLACE) is not None
    assert budget.refusal(margin.PLACE) is None


def test_a_stop_that_margin_slows_down_without_a_time_goes_again_soon(budget: Budget, clock: ManualClock) -> None:
    at = budget.heed(Answer(429, {}, b""), Fault(-1003, "Too many requests."), margin.PLACE)
    assert at == clock.at + 1_000
    refused = budget.refusal(margin.PLACE)
    assert refused is not None
    assert refused.retry_at == at
    assert budget.refusal(margin.CANCEL) is None, "another call has another limit"
    clock.at = at
    assert budget.refusal(margin.PLACE) is None


async def test_a_read_does_not_wait_for_the_end_of_a_long_ban(budget: Budget) -> None:
    budget.heed(Answer(418, {"Retry-After": "3600"}, b""), Fault(-1003, "banned"), margin.CROSS)
    with pytest.raises(ReadError, match="rate limit holds"):
        await budget.admit(margin.CROSS)


@pytest.mark.parametrize("trades", [12, 20, 60])
async def test_many_trades_that_are_watched_without_pushes_are_never_out_of_sight(
    budget: Budget, clock: ManualClock, trades: int
) -> None:
    looked = dict.fromkeys(range(trades), clock.at)
    longest = 0
    until = clock.at + 3 * MINUTE
    while clock.at < until:
        second = clock.at
        for trade in range(trades):
            await budget.admit(margin.OPEN_ORDERS)
            budget.end(margin.OPEN_ORDERS, budget.begin(margin.OPEN_ORDERS), {})
            longest, looked[trade] = max(longest, clock.at - looked[trade]), clock.at
        clock.at = max(clock.at, second + 1_000)
    assert longest <= 1_000 * trades / 4, "half of the minute's weight serves ten a second; after a burst, six"
    assert budget.sapi.used(margin.OPEN_ORDERS) <= 6_000


async def test_a_look_that_waits_for_its_time_keeps_no_look_of_another_kind_waiting(
    budget: Budget, clock: ManualClock
) -> None:
    for _ in range(400):
        budget.end(margin.OPEN_ORDERS, budget.begin(margin.OPEN_ORDERS), {})
    waiting = asyncio.Event()

    async def forever(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    clock.sleep = forever  # type: ignore[assignment, method-assign]
    late = asyncio.create_task(budget.admit(margin.OPEN_ORDERS))
    async with asyncio.timeout(5):
        await waiting.wait()
        await budget.admit(calls.OPEN_ORDERS)
        await budget.admit(margin.NEWEST_ORDERS)
        await budget.admit(margin.ORDER)
    assert not late.done()
    late.cancel()


async def test_at_a_start_nothing_waits_for_its_time(budget: Budget, clock: ManualClock) -> None:
    budget.hurried = True
    for _ in range(500):
        await budget.admit(margin.OPEN_ORDERS)
        budget.end(margin.OPEN_ORDERS, budget.begin(margin.OPEN_ORDERS), {})
    assert not clock.slept
