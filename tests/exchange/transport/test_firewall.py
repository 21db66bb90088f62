"""A firewall's page (403) closes one way for reads, and leaves stops and sales a slow one (rules 8.7, 8.9)."""

import pytest
from structlog.testing import capture_logs
from tests.exchange.stub import START_MS, ManualClock, Say, Seen, Stub, placed
from tests.exchange.test_paper import limit
from tests.exchange.transport.test_order_link import WsFault, linked
from tests.exchange.wire.test_outcomes import ORDER

from executor.core.model.facts import Done, Refused, Why
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError
from executor.exchange.transport.firewall import READS_WAIT_MS, Firewall
from executor.exchange.transport.trickle import LOOK_MAX_MS, LOOK_MS, PACE_MAX_MS
from executor.exchange.wire import calls
from executor.exchange.wire.answer import Answer
from executor.exchange.wire.outcomes import Fault

HOURS = 3_600_000
PAGE = Say(status=403, text="<html><h1>403 Forbidden</h1></html>", content_type="text/html")


async def test_orders_go_on_slowly_and_reads_wait(stub: Stub, exchange: BinanceExchange, clock: ManualClock) -> None:
    stub.script("GET openOrders", PAGE)
    with capture_logs() as log, pytest.raises(ReadError, match="403"):
        await exchange.open_orders()
    assert [(line["event"], line["alert"]) for line in log] == [("firewall", True)]
    for read in (exchange.open_orders, exchange.quote, exchange.balances):
        with pytest.raises(ReadError, match="firewall"):
            await read()
    assert (stub.count("GET openOrders"), stub.count("GET ticker/24hr")) == (1, 0)

    at_once = await exchange.place(ORDER)
    assert isinstance(at_once, Refused)
    assert (at_once.why, at_once.retry_at) == (Why.RATE_LIMIT, START_MS + 1_000)
    clock.at += 1_000
    stub.script("POST order", PAGE)
    with capture_logs() as log:
        refused = await exchange.place(ORDER)
    assert isinstance(refused, Refused)
    assert refused.retry_at == clock.at + 2_000
    assert log == [], "told once"
    assert stub.count("POST order") == 1


async def test_the_first_order_that_comes_through_opens_the_way_again(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    stub.script("GET openOrders", PAGE, Say(json=[]))
    with pytest.raises(ReadError):
        await exchange.open_orders()
    clock.at += 1_000
    stub.script("POST order", placed)
    assert isinstance(await exchange.place(ORDER), Done)
    assert await exchange.open_orders() == ()


async def test_looks_at_orders_in_doubt_go_on_still_more_slowly(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    """A page in the place of one read left a position bare for two minutes: its entry's fill was not looked at."""
    stub.script("GET openOrders", PAGE, Say(json=[]))
    absent = Say(status=400, json={"code": -2013, "msg": "Order does not exist."})
    stub.script("GET order", PAGE, absent)
    with pytest.raises(ReadError):
        await exchange.open_orders()
    with pytest.raises(ReadError, match="firewall"):
        await exchange.order("EX_1_ENTRY_0")
    clock.at += LOOK_MS
    with pytest.raises(ReadError, match="403"):
        await exchange.order("EX_1_ENTRY_0")
    clock.at += LOOK_MS
    with pytest.raises(ReadError, match="firewall"):
        await exchange.order("EX_1_ENTRY_0")
    assert stub.count("GET order") == 1
    clock.at += LOOK_MS
    assert await exchange.order("EX_1_ENTRY_0") is None
    assert await exchange.open_orders() == (), "it came through"


@pytest.mark.parametrize("off", [5 * HOURS, -7 * HOURS])
async def test_it_is_closed_for_no_longer_when_the_clock_is_read_meanwhile(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock, off: int
) -> None:
    """On a machine whose clock is hours ahead, stops and sales would have waited for these hours."""
    stub.script("GET openOrders", PAGE, Say(json=[]))
    with pytest.raises(ReadError, match="403"):
        await exchange.open_orders()
    exchange.connection.clock.adopt(clock.at, clock.at, clock.at + off)
    with pytest.raises(ReadError, match="firewall"):
        await exchange.open_orders()
    at_once = await exchange.place(ORDER)
    assert isinstance(at_once, Refused)
    assert exchange.now() < at_once.retry_at <= exchange.now() + 1_000
    clock.at += 1_000
    stub.script("POST order", placed)
    assert isinstance(await exchange.place(ORDER), Done)
    assert await exchange.open_orders() == ()


@pytest.mark.parametrize("off", [5 * HOURS, -7 * HOURS])
async def test_what_was_sent_as_the_clock_was_read_opens_what_was_closed_before(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock, off: int
) -> None:
    untold = exchange.connection.budget.untold
    exchange.connection.budget.heed(Answer(429, {}, b""), Fault(-1003, "Slow down."), calls.OPEN_ORDERS)
    clock.at += LOOK_MAX_MS

    def read_meanwhile(seen: Seen) -> Say:
        exchange.connection.clock.adopt(clock.at, clock.at, clock.at + off)
        return placed(seen)

    assert untold.closed(exchange.now())
    stub.script("POST order", read_meanwhile)
    assert isinstance(await exchange.place(ORDER), Done)
    assert not untold.closed(exchange.now())


def test_looks_become_rarer_and_never_end() -> None:
    firewall, now = Firewall(), START_MS
    pauses = []
    for _ in range(12):
        firewall.shut(now)
        at = next(at for at in range(now, now + READS_WAIT_MS, 1_000) if firewall.lets_look(at))
        pauses.append(at - now)
        assert not firewall.lets_look(at + 1), "one at a time"
        now = at
    assert pauses[:4] == [2_000, 4_000, 8_000, 16_000]
    assert set(pauses[4:]) == {LOOK_MAX_MS}


def test_the_pace_falls_with_each_page_and_never_ends() -> None:
    firewall, now = Firewall(), START_MS
    pauses = []
    for _ in range(20):
        at = firewall.shut(now)
        pauses.append(at - now)
        assert firewall.command_at(now) == at
        assert firewall.command_at(at) == 0
        now = at
    assert pauses[:4] == [1_000, 2_000, 4_000, 8_000]
    assert set(pauses[4:]) == {PACE_MAX_MS}


def test_orders_that_go_together_are_spread() -> None:
    firewall = Firewall()
    at = firewall.shut(START_MS)
    firewall.sent(at)
    assert firewall.command_at(at) == at + 1_000


@pytest.mark.parametrize(
    ("shut", "way"), [("_rest_firewall", "WS order.place"), ("_link_firewall", "POST /api/v3/order")]
)
async def test_the_other_way_is_not_closed_by_it(shut: str, way: str) -> None:
    """None of the orders over it waits for a pace."""
    faults = WsFault()
    async with linked(faults) as (kit, exchange, _):
        low = str((kit.engine.last_price(exchange.symbol) or 1) / 2)
        getattr(exchange.connection, shut).shut(exchange.now())
        faults.seen.clear()
        for number in range(3):
            assert isinstance(await exchange.place(limit(f"EX_1_ENTRY_{number}", low)), Done)
        assert faults.seen == [way] * 3
