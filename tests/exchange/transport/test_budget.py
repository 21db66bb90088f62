"""Request weight: who waits, for how long, and whose count is believed."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.exchange.stub import START_MS, ManualClock, Say, Stub, error, placed
from tests.exchange.wire.test_outcomes import ORDER, STOP, TARGET

from executor.core.model.facts import Done, Refused
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.wire import calls, margin
from executor.exchange.wire.answer import Answer
from executor.exchange.wire.calls import Call
from executor.exchange.wire.outcomes import Fault

MINUTE = 60_000
TO_NEXT_MINUTE = (MINUTE - START_MS % MINUTE) / 1000


@pytest.fixture
def budget(clock: ManualClock) -> Budget:
    budget = Budget(ExchangeClock(clock))
    budget.limit_told(100)
    return budget


def spend(budget: Budget, used: int) -> None:
    """An answer that tells how much of the minute is used."""
    budget.end(calls.TIME, budget.begin(calls.TIME), {"X-MBX-USED-WEIGHT-1M": str(used)})


@pytest.mark.parametrize(
    ("used", "routine", "lookup"), [(0, 0, 0), (74, 0, 0), (75, 1, 0), (91, 1, 0), (92, 1, 1), (100, 1, 1)]
)
async def test_reads_leave_room_for_commands(
    budget: Budget, clock: ManualClock, used: int, routine: int, lookup: int
) -> None:
    for call, waits in ((calls.OPEN_ORDERS, routine), (calls.ORDER, lookup)):
        clock.at, clock.slept = START_MS, []
        spend(budget, used)
        await budget.admit(call)
        assert clock.slept == [TO_NEXT_MINUTE] * waits


async def test_a_start_waits_no_longer_than_a_doubt(budget: Budget, clock: ManualClock) -> None:
    budget.hurried = True
    for used, waits in ((91 - calls.OPEN_ORDERS.weight, 0), (92, 1)):
        clock.at, clock.slept = START_MS, []
        spend(budget, used)
        await budget.admit(calls.OPEN_ORDERS)
        assert clock.slept == [TO_NEXT_MINUTE] * waits


async def test_a_start_is_not_held_up_by_a_limit_that_nobody_has_told(clock: ManualClock) -> None:
    budget = Budget(ExchangeClock(clock))
    budget.hurried = True
    spend(budget, budget.limit)
    await budget.admit(calls.EXCHANGE_INFO)
    assert clock.slept == []
    budget.limit_told(None)
    await budget.admit(calls.OPEN_ORDERS)
    assert clock.slept == [TO_NEXT_MINUTE]


async def test_a_start_is_hurried_until_its_orders_are_known(exchange: BinanceExchange) -> None:
    assert exchange.connection.budget.hurried
    await exchange.settle()
    assert not exchange.connection.budget.hurried


async def test_a_wait_is_told_once(budget: Budget, clock: ManualClock) -> None:
    with capture_logs() as log:
        spend(budget, 99)
        await budget.admit(calls.OPEN_ORDERS)
        clock.at = START_MS
        await budget.admit(calls.TICKER)
    assert [(entry["event"], entry["request"], entry["seconds"]) for entry in log] == [
        ("rate_limit", "GET openOrders", TO_NEXT_MINUTE)
    ]


async def test_a_command_waits_for_no_weight(budget: Budget) -> None:
    spend(budget, 5000)
    assert budget.refusal(calls.PLACE) is None
    assert budget.refusal(calls.CANCEL) is None


async def test_a_new_minute_is_a_new_budget(budget: Budget, clock: ManualClock) -> None:
    spend(budget, 90)
    assert budget.used == 90
    clock.at += round(TO_NEXT_MINUTE * 1000)
    assert budget.used == 0


async def test_what_is_in_flight_counts(budget: Budget) -> None:
    mark = budget.begin(calls.ACCOUNT)
    assert budget.used == 20
    budget.end(calls.ACCOUNT, mark, {"X-MBX-USED-WEIGHT-1M": "33"})
    assert budget.used == 33


async def test_what_got_lost_counts(budget: Budget) -> None:
    budget.end(calls.ACCOUNT, budget.begin(calls.ACCOUNT), None)
    assert budget.used == 20


async def test_answers_that_overtake_each_other_never_lower_the_count(budget: Budget) -> None:
    spend(budget, 50)
    spend(budget, 40)
    assert budget.used == 50


async def test_a_count_of_the_last_minute_says_nothing_about_this_one(budget: Budget, clock: ManualClock) -> None:
    mark = budget.begin(calls.TIME)
    clock.at += MINUTE
    budget.end(calls.TIME, mark, {"X-MBX-USED-WEIGHT-1M": "99"})
    assert budget.used == 1


@pytest.mark.parametrize("told", ["", "many", "-1", "１"])
async def test_a_header_that_is_no_number_is_no_count(budget: Budget, told: str) -> None:
    budget.end(calls.TIME, budget.begin(calls.TIME), {"X-MBX-USED-WEIGHT-1M": told})
    assert budget.used == 1


async def test_counts_of_orders_are_kept(stub: Stub, exchange: BinanceExchange) -> None:
    counts = {"X-MBX-ORDER-COUNT-10S": "3", "X-MBX-ORDER-COUNT-1D": "17", "X-MBX-USED-WEIGHT-1M": "444"}
    zero = {"X-MBX-ORDER-COUNT-10S": "0"}
    stub.script("GET openOrders", Say(json=[], headers=counts), Say(json=[], headers=zero))
    await exchange.open_orders()
    assert exchange.connection.budget.orders_10s == 3
    await exchange.open_orders()
    budget = exchange.connection.budget
    assert (budget.orders_10s, budget.orders_1d, budget.used) == (0, 17, 450)


async def test_a_read_waits_as_long_as_it_is_told(stub: Stub, exchange: BinanceExchange, clock: ManualClock) -> None:
    slow = error(429, -1003, "Too much request weight used.", headers={"Retry-After": "9"})
    stub.script("GET openOrders", slow, Say(json=[]))
    assert await exchange.open_orders() == ()
    assert clock.at >= START_MS + 9_000
    assert stub.count("GET openOrders") == 2


async def test_a_read_does_not_sit_out_a_ban(stub: Stub, exchange: BinanceExchange, clock: ManualClock) -> None:
    stub.script("GET openOrders", Say(status=418, text="", headers={"Retry-After": "7200"}))
    with pytest.raises(ReadError, match=str(START_MS)[:5]):
        await exchange.open_orders()
    assert clock.at < START_MS + 10_000
    assert stub.count("GET openOrders") == 1
    with pytest.raises(ReadError):
        await exchange.quote()
    assert stub.count("GET ticker/24hr") == 0


async def test_watching_is_spread_over_the_minute_once_much_of_it_is_used(clock: ManualClock) -> None:
    budget = Budget(ExchangeClock(clock))
    clock.at = START_MS - START_MS % MINUTE
    sent = []
    while clock.at < START_MS - START_MS % MINUTE + MINUTE:
        await budget.admit(calls.OPEN_ORDERS_ALL)
        budget.end(calls.OPEN_ORDERS_ALL, budget.begin(calls.OPEN_ORDERS_ALL), None)
        sent.append(clock.at % MINUTE)
    assert sent[14] == 0, "a fifth at once"
    assert len(sent) * 80 <= 6000 * 80 // 100 + 80
    gaps = [after - before for before, after in pairwise(sent[15:-1])]
    assert max(gaps) < 2_500, "and blind at no time"


async def test_what_others_use_makes_watching_rarer_and_does_not_end_it(budget: Budget, clock: ManualClock) -> None:
    budget.limit = 6000
    clock.at = START_MS - START_MS % MINUTE + 10_000
    spend(budget, 4000)
    waited = []
    for _ in range(9):
        before = clock.at
        await budget.admit(calls.OPEN_ORDERS_ALL)
        budget.end(calls.OPEN_ORDERS_ALL, budget.begin(calls.OPEN_ORDERS_ALL), None)
        waited.append(clock.at - before)
    assert waited[0] == 0
    assert all(4_000 < each < 8_000 for each in waited[1:]), waited


async def test_whoever_has_come_first_looks_first(budget: Budget, clock: ManualClock) -> None:
    budget.limit = 1000
    spend(budget, 500)
    order: list[int] = []

    async def look(number: int) -> None:
        await budget.admit(calls.OPEN_ORDERS)
        budget.end(calls.OPEN_ORDERS, budget.begin(calls.OPEN_ORDERS), None)
        order.append(number)

    await asyncio.gather(*(look(number) for number in range(20)))
    assert order == list(range(20))


async def test_what_resolves_a_doubt_does_not_wait_for_watching(budget: Budget, clock: ManualClock) -> None:
    spend(budget, 60)
    budget.end(calls.OPEN_ORDERS, budget.begin(calls.OPEN_ORDERS), None)
    clock.slept = []
    await budget.admit(calls.ORDER)
    assert clock.slept == []


async def test_without_a_time_to_come_back_stops_go_on_slowly(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    """A 429 that told no time left a position bare until the minute's end: nothing was sent."""
    clock.at = START_MS - START_MS % MINUTE + 1_000
    slow = error(429, -1003, "Too much request weight used.")
    stub.script("POST order", *[slow] * 8, placed)
    pauses = []
    for _ in range(8):
        refused = await exchange.place(ORDER)
        assert isinstance(refused, Refused)
        pauses.append(refused.retry_at - clock.at)
        at_once = await exchange.place(ORDER)
        assert isinstance(at_once, Refused)
        assert at_once.retry_at == refused.retry_at, "one at a time"
        clock.at = refused.retry_at
    assert pauses == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000]
    assert stub.count("POST order") == 8
    assert isinstance(await exchange.place(ORDER), Done)
    assert exchange.connection.budget.refusal(calls.PLACE) is None, "it came through"


async def test_watching_waits_for_the_minute_s_end_where_no_time_is_told(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    exchange.connection.budget.hurried = False
    stub.script("GET openOrders", error(429, -1003, "Too much request weight used."), Say(json=[]))
    clock.at = START_MS - START_MS % MINUTE + 1_000
    assert await exchange.open_orders() == ()
    assert clock.at >= START_MS - START_MS % MINUTE + MINUTE


async def test_watching_goes_on_as_soon_as_the_way_is_open_again(budget: Budget, clock: ManualClock) -> None:
    """It slept until the minute's end, 31 s, though orders went through a second later."""
    clock.at = START_MS - START_MS % MINUTE + 1_000
    budget.heed(Answer(429, {}, b""), Fault(-1003, "Too much request weight used."), calls.PLACE)
    waiting = asyncio.create_task(budget.admit(calls.OPEN_ORDERS))
    for _ in range(6):
        await asyncio.sleep(0)
    assert not waiting.done()
    budget.passed(calls.PLACE, clock.at)
    await waiting
    assert clock.at <= START_MS - START_MS % MINUTE + 10_000


async def test_looks_at_doubts_go_on_more_slowly_where_no_time_is_told(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    clock.at = START_MS - START_MS % MINUTE + 1_000
    exchange.connection.budget.hurried = False
    slow = error(429, -1003, "Too much request weight used.")
    absent = error(400, -2013, "Order does not exist.")
    stub.script("GET order", slow, slow, absent, absent)
    began = clock.at
    assert await exchange.order("EX_1_ENTRY_0") is None
    assert 6_000 <= clock.at - began < 12_000
    began = clock.at
    assert await exchange.order("EX_1_ENTRY_0") is None, "it was dealt with: the way is open"
    assert await exchange.open_orders() == ()
    assert clock.at == began


async def test_what_was_on_its_way_when_the_way_was_closed_opens_nothing(budget: Budget, clock: ManualClock) -> None:
    budget.heed(Answer(429, {}, b""), Fault(-1003, "Too much request weight used."), calls.ORDER)
    budget.passed(calls.OPEN_ORDERS, clock.at - 5)
    assert budget.refusal(calls.PLACE) is not None
    budget.passed(calls.OPEN_ORDERS, clock.at + 5)
    assert budget.refusal(calls.PLACE) is None


@pytest.mark.parametrize("told", ["101", "999999999999"])
async def test_a_count_above_the_limit_is_none(budget: Budget, told: str) -> None:
    """Whoever is above the limit is refused; a count that never is anything else would have made every read wait."""
    budget.end(calls.TIME, budget.begin(calls.TIME), {"X-MBX-USED-WEIGHT-1M": told})
    assert budget.used == 1


@pytest.mark.parametrize("limit", [None, 0, -1, 99])
async def test_a_limit_that_nobody_could_trade_under_is_none(budget: Budget, limit: int | None) -> None:
    budget.limit_told(limit)
    assert budget.limit == 100


@given(st.text(max_size=40) | st.sampled_from(["Wed, 21 Oct 2026", "Wed, 99 Oct 2026 07:28:00 GMT", ", ,", "0x1"]))
def test_any_wish_to_wait_has_an_end_and_a_beginning(text: str) -> None:
    clock = ManualClock()
    budget = Budget(ExchangeClock(clock))
    for status in (418, 429):
        at = budget.heed(Answer(status, {"Retry-After": text}, b""), Fault(-1003, "slow down"), calls.PLACE)
        assert clock.at < at <= clock.at + 3 * 24 * 3_600_000


HOURS = 3_600_000


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [({"Retry-After": "3"}, 3_000, 3_000), ({}, 60_000, 15 * 60_000)],
    ids=["told", "bare"],
)
@pytest.mark.parametrize("status", [418, 429])
@pytest.mark.parametrize("off", [5 * HOURS, -7 * HOURS])
async def test_a_ban_before_the_clock_is_read_lasts_no_longer_for_a_clock_that_is_off(
    budget: Budget, clock: ManualClock, off: int, status: int, headers: dict[str, str], least: int, most: int
) -> None:
    """Its end is a moment of the exchange's clock, and meanwhile the time can't be asked for either."""
    told = Fault(-1003, f"Way too much request weight used; IP banned until {clock.at + off + 3_000}.")
    budget.heed(Answer(status, headers, b""), told, calls.TIME)
    assert budget.closed_for_ms() <= most
    if status == 418:
        assert budget.closed_for_ms() >= least


async def test_a_moment_of_a_clock_that_was_read_is_believed_beside_seconds(clock: ManualClock) -> None:
    exchange_clock = ExchangeClock(clock)
    exchange_clock.adopt(clock.at, clock.at, clock.at + 5 * HOURS)
    budget = Budget(exchange_clock)
    told = Fault(-1003, f"IP banned until {clock.at + 7 * HOURS}.")
    budget.heed(Answer(418, {"Retry-After": "3"}, b""), told, calls.TIME)
    assert budget.closed_for_ms() == 2 * HOURS


@pytest.mark.parametrize("off", [5 * HOURS, -7 * HOURS, -20_000])
async def test_a_wait_is_as_long_as_it_was_when_the_clock_is_read_meanwhile(clock: ManualClock, off: int) -> None:
    """Seconds to wait say nothing of the clock's moments."""
    exchange_clock = ExchangeClock(clock)
    budget = Budget(exchange_clock)
    budget.heed(Answer(418, {"Retry-After": "30"}, b""), Fault(-1003, "banned"), calls.TIME)
    budget.heed(Answer(429, {"Retry-After": "9"}, b""), Fault(-1015, "Too many new orders."), calls.PLACE)
    budget.heed(Answer(429, {"Retry-After": "40"}, b""), Fault(-1003, "Too many."), margin.LEND)
    exchange_clock.adopt(clock.at, clock.at, clock.at + off)
    now = exchange_clock.now_ms()
    assert budget.closed_for_ms() == 30_000
    assert budget.orders_closed_until == now + 9_000
    assert budget.sapi.closed_until(margin.LEND) == now + 40_000


@pytest.mark.parametrize("call", [calls.OPEN_ORDERS, margin.LEND])
async def test_nor_is_a_wait_that_is_guessed(clock: ManualClock, call: Call) -> None:
    exchange_clock = ExchangeClock(clock)
    budget = Budget(exchange_clock)
    budget.heed(Answer(429, {}, b""), Fault(-1003, "Slow down."), call)
    exchange_clock.adopt(clock.at, clock.at, clock.at - 7 * HOURS)
    trickle = budget.sapi.untold(call) if call.sapi else budget.untold
    now = exchange_clock.now_ms()
    assert now < trickle.reads_wait_until <= now + MINUTE
    assert now < trickle.command_at(now) <= now + 10_000
    assert now < trickle.next_look <= now + 30_000


# --- the order count --------------------------------------------------------------------------------------------------

DAY_FULL = "Too many new orders; current limit is 160000 orders per 1 DAY."


async def test_a_count_of_the_day_holds_entries_and_lets_exits_be_tried_on(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    """Each fill takes of the count (faqs/order_count_decrement.md): where our own entry was the last order that the
    limit allowed, its stop is taken a moment after its fill, and not as late as midnight.
    """
    full = error(429, -1015, DAY_FULL, headers={"Retry-After": "40000"})
    stub.script("POST order", full)
    held = await exchange.place(ORDER)
    assert isinstance(held, Refused)
    assert held.retry_at == START_MS + 40_000_000
    stop = await exchange.place(STOP)
    assert isinstance(stop, Refused)
    assert stop.retry_at <= START_MS + 10_000
    assert stub.count("POST order") == 1  # until the short window is over nothing more is asked
    pauses = []
    for _ in range(9):
        clock.at = stop.retry_at
        stub.script("POST order", full)
        sent = stub.count("POST order")
        stop = await exchange.place(STOP)
        assert isinstance(stop, Refused)
        assert stub.count("POST order") == sent + 1
        pauses.append(stop.retry_at - clock.at)
        assert isinstance(await exchange.place(STOP), Refused)
        assert stub.count("POST order") == sent + 1
    assert max(pauses) == pauses[-1] == MINUTE
    clock.at = stop.retry_at
    stub.script("POST order", placed, placed)
    assert isinstance(await exchange.place(STOP), Done)
    assert isinstance(await exchange.place(TARGET), Done)
    assert isinstance(await exchange.place(ORDER), Refused)
    assert stub.count("POST order") == 12


async def test_a_cancel_opens_nothing_where_orders_are_too_many(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    stub.script("POST order", error(429, -1015, DAY_FULL, headers={"Retry-After": "40000"}))
    await exchange.place(ORDER)
    stub.script("DELETE order", error(400, -2011, "Unknown order sent."))
    await exchange.cancel(ORDER.id)
    assert isinstance(await exchange.place(STOP), Refused)
    assert stub.count("POST order") == 1


async def test_a_count_that_is_over_soon_is_waited_for_by_all(clock: ManualClock) -> None:
    budget = Budget(ExchangeClock(clock))
    budget.heed(Answer(429, {"Retry-After": "9"}, b""), Fault(-1015, "Too many new orders."), calls.PLACE)
    for enters in (False, True):
        refused = budget.refusal(calls.PLACE, enters=enters)
        assert refused is not None
        assert refused.retry_at == clock.at + 9_000
    assert budget.refusal(calls.CANCEL) is None


async def test_too_many_connections_hold_no_order_for_a_minute(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    """Nobody says how long, and an order is no connection: a position was bare for as long (errors.md, -1034)."""
    crowded = error(400, -1034, "Too many concurrent connections; current limit is '300'.")
    pauses = []
    for _ in range(6):
        stub.script("POST order", crowded)
        refused = await exchange.place(STOP)
        assert isinstance(refused, Refused)
        pauses.append(refused.retry_at - clock.at)
        clock.at = refused.retry_at
        await exchange.open_orders()  # whose answer says nothing of orders
    assert pauses == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
    stub.script("POST order", placed, crowded)
    assert isinstance(await exchange.place(STOP), Done)
    refused = await exchange.place(STOP)
    assert isinstance(refused, Refused)
    assert refused.retry_at == clock.at + 1_000
