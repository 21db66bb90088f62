"""Reads: asked again when the answer got lost, and then given up in words."""

import json
from decimal import Decimal

import pytest
from tests.exchange.stub import START_MS, ManualClock, Say, Seen, Stub, error, signed_well
from tests.exchange.wire.test_outcomes import hurry
from tests.exchange.wire.test_reading import golden

from executor.core.model.facts import Balance, Fill, Kline, Quote
from executor.core.model.values import OrderStatus
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError
from executor.exchange.transport.connection import READ_ATTEMPTS

HICCUPS = [
    pytest.param(Say(cut=True), id="cut"),
    pytest.param(Say(status=500, text="", content_type="text/html"), id="500"),
    pytest.param(Say(status=502, text="<html>", content_type="text/html"), id="502"),
    pytest.param(Say(text="", content_type="text/html"), id="empty"),
    pytest.param(Say(text="<html>", content_type="text/html"), id="a page"),
    pytest.param(error(400, -1001, "Internal error."), id="-1001"),
    pytest.param(error(400, -1007, "Timeout."), id="-1007"),
    pytest.param(error(429, -1003, "Too much request weight used.", headers={"Retry-After": "1"}), id="429"),
    pytest.param(error(400, -1021, "Timestamp."), id="-1021"),
]


@pytest.mark.parametrize("hiccup", HICCUPS)
async def test_a_hiccup_is_asked_again(stub: Stub, exchange: BinanceExchange, hiccup: Say) -> None:
    stub.script("GET openOrders", hiccup, hiccup, Say(json=[]))
    assert await exchange.open_orders() == ()
    assert stub.count("GET openOrders") == 3


async def test_each_attempt_is_stamped_and_signed_anew(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    stub.script("GET openOrders", Say(status=503, text=""), Say(status=503, text=""), Say(json=[]))
    await exchange.open_orders()
    attempts = [seen for seen in stub.seen if seen.path == "openOrders"]
    assert all(signed_well(seen) for seen in attempts)
    stamps = [int(seen.params["timestamp"]) for seen in attempts]
    assert stamps == sorted(stamps)
    assert stamps[-1] == clock.at


@pytest.mark.parametrize("hiccup", HICCUPS)
async def test_and_given_up_in_the_end(stub: Stub, exchange: BinanceExchange, clock: ManualClock, hiccup: Say) -> None:
    stub.script("GET openOrders", *[hiccup] * 9)
    with pytest.raises(ReadError, match=r"GET openOrders.*4 attempts"):
        await exchange.open_orders()
    assert stub.count("GET openOrders") == READ_ATTEMPTS
    assert clock.at < START_MS + 15_000


async def test_an_answer_that_takes_too_long_is_asked_for_again(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    stub.script("GET myTrades", Say(hang=0.5), Say(json=[]))
    assert await exchange.trades(28) == ()
    assert stub.count("GET myTrades") == 2


async def test_a_refusal_is_not_asked_again(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET openOrders", error(400, -1121, "Invalid symbol."))
    with pytest.raises(ReadError, match="Invalid symbol"):
        await exchange.open_orders()
    assert stub.count("GET openOrders") == 1


async def test_a_clock_that_is_off_is_set_between_two_attempts(stub: Stub, exchange: BinanceExchange) -> None:
    stub.time = START_MS + 5_000
    stub.script("GET openOrders", error(400, -1021, "Timestamp."), Say(json=[]))
    await exchange.open_orders()
    assert int(stub.last("GET openOrders").params["timestamp"]) >= START_MS + 5_000


async def test_an_order(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET order", Say(text=golden("query_stop_resting").decode()))
    report = await exchange.order("EX_1760000000000_SL_4")
    assert report is not None
    assert report.exchange_id == 31
    asked = stub.last("GET order").params
    assert (asked["symbol"], asked["origClientOrderId"]) == ("BTCUSDT", "EX_1760000000000_SL_4")


async def test_no_such_order(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET order", error(400, -2013, "Order does not exist."))
    assert await exchange.order("EX_1_SL_4") is None
    assert stub.count("GET order") == 1


async def test_an_archived_order_ended_with_nothing(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET order", error(400, -2026, "Order was canceled or expired with no executed qty."))
    report = await exchange.order("EX_1_SL_4")
    assert report is not None
    assert (report.id, report.status, report.cum_qty) == (
        "EX_1_SL_4",
        OrderStatus.CANCELED,
        Decimal(0),
    )


async def test_an_order_that_can_not_be_looked_up_is_not_absent(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET order", error(400, -2039, "Client order ID is not correct for this order ID."))
    with pytest.raises(ReadError, match="-2039"):
        await exchange.order("EX_1_SL_4")


def trade(number: int) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "orderId": 28,
        "price": "60000.00000000",
        "qty": "0.00010000",
        "quoteQty": "6.00000000",
        "commission": "0.00600000",
        "commissionAsset": "USDT",
        "time": START_MS + number,
        "isBuyer": False,
        "isMaker": True,
        "isBestMatch": True,
    }


async def test_trades_of_one_order(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET myTrades", Say(json=[trade(7)]))
    assert await exchange.trades(28) == (
        Fill(7, Decimal(60000), Decimal("0.0001"), Decimal("0.006"), "USDT", START_MS + 7),
    )
    assert stub.last("GET myTrades").params["orderId"] == "28"


async def test_trades_beyond_a_page(stub: Stub, exchange: BinanceExchange) -> None:
    """Without `fromId` the newest are told (rest-api.md, myTrades)."""

    def page(seen: Seen) -> Say:
        first = max(int(seen.params.get("fromId", 1500)), 1)
        return Say(json=[trade(n) for n in range(first, min(first + 1000, 2500))])

    stub.script("GET myTrades", page, page, page, page)
    fills = await exchange.trades(28)
    assert [fill.trade_id for fill in fills] == list(range(1, 2500))


async def test_balances(stub: Stub, exchange: BinanceExchange) -> None:
    assert await exchange.balances() == {"USDT": Balance(Decimal("100.5"), Decimal(1))}
    assert stub.last("GET account").params["omitZeroBalances"] == "true"


async def test_a_quote_is_one_request(stub: Stub, exchange: BinanceExchange) -> None:
    before = len(stub.seen)
    stub.script("GET ticker/24hr", Say(json={"bidPrice": "1.1", "askPrice": "1.2", "lastPrice": "1.15"}))
    assert await exchange.quote() == Quote(START_MS, Decimal("1.1"), Decimal("1.2"), Decimal("1.15"))
    assert len(stub.seen) == before + 1


NO_REFERENCE = Say(status=400, json={"code": -2043, "msg": "This symbol doesn't have a reference price."})


@pytest.mark.parametrize(
    ("own", "found"),
    [
        (Say(json={"symbol": "LTCUSDT", "referencePrice": "10.5", "timestamp": START_MS}), "10.5"),
        (Say(json={"symbol": "LTCUSDT", "referencePrice": None, "timestamp": START_MS}), "9.25"),
        (NO_REFERENCE, "9.25"),
        (Say(status=404, text="not found", content_type="text/html"), "9.25"),
    ],
    ids=["set", "not now", "never", "unknown to the host"],
)
async def test_a_symbol_s_own_reference_price_goes_before_the_average(
    stub: Stub, exchange: BinanceExchange, own: Say, found: str
) -> None:
    stub.script("GET referencePrice", own)
    stub.script("GET avgPrice", Say(json={"mins": 5, "price": "9.25", "closeTime": START_MS}))
    assert await exchange.reference_price() == Decimal(found)


async def test_a_symbol_without_a_reference_price_is_not_asked_for_it_each_time(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script("GET referencePrice", NO_REFERENCE)
    for price, found in (("9.25", Decimal("9.25")), ("0", None)):
        stub.script("GET avgPrice", Say(json={"mins": 5, "price": price, "closeTime": START_MS}))
        assert await exchange.reference_price() == found
    assert stub.count("GET referencePrice") == 1


async def test_it_is_asked_for_it_after_an_hour_whatever_the_clock_was_set_to(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock
) -> None:
    stub.script("GET referencePrice", NO_REFERENCE, NO_REFERENCE)
    stub.script("GET avgPrice", *[Say(json={"mins": 5, "price": "9.25", "closeTime": START_MS})] * 3)
    for after_ms, asked in ((0, 1), (3_599_000, 1), (1_000, 2)):
        clock.at += after_ms
        exchange.connection.clock.adopt(clock.at, clock.at, clock.at - asked * 7 * 3_600_000)
        assert await exchange.reference_price() == Decimal("9.25")
        assert stub.count("GET referencePrice") == asked


MINUTE = 60_000


@pytest.mark.parametrize(("asked", "there", "requests"), [(1, 5000, 1), (180, 5000, 1), (2500, 5000, 3), (180, 9, 1)])
async def test_klines(stub: Stub, exchange: BinanceExchange, asked: int, there: int, requests: int) -> None:
    newest = START_MS - START_MS % MINUTE

    def page(seen: Seen) -> Say:
        last = min(newest, int(seen.params.get("endTime", newest)) // MINUTE * MINUTE)
        oldest = newest - (there - 1) * MINUTE
        first = max(oldest, last - (int(seen.params["limit"]) - 1) * MINUTE)
        return Say(json=[[at, "1", "3", "0.5", "2", "9"] for at in range(first, last + 1, MINUTE)])

    stub.script("GET klines", *[page] * requests)
    found = await exchange.klines(asked)
    count = min(asked, there)
    assert [bar.open_time for bar in found] == [newest - n * MINUTE for n in reversed(range(count))]
    assert found[0] == Kline(found[0].open_time, Decimal(3), Decimal("0.5"), Decimal(2))


async def test_an_order_that_alone_cannot_be_read_is_found_in_the_history(
    stub: Stub, exchange: BinanceExchange
) -> None:
    """8.7: a fill that nobody pushed was not heard of for as long as `GET order` failed, all else answered."""
    filled = json.loads(golden("query_stop_resting")) | {"status": "FILLED", "orderId": 7}
    filled |= {"executedQty": filled["origQty"], "cummulativeQuoteQty": "100"}
    name, down = filled["clientOrderId"], Say(status=503, text="")
    stub.script("GET order", *[down] * 5 * READ_ATTEMPTS)
    stub.script("GET allOrders", Say(json=[filled]), Say(json=[]), Say(json=[filled | {"orderId": 8}]))
    for _ in range(2):
        with pytest.raises(ReadError):
            await exchange.order(name, 7)
    assert stub.count("GET allOrders") == 0
    found = await exchange.order(name, 7)
    assert found is not None
    assert (found.status, found.exchange_id) == (OrderStatus.FILLED, 7)
    assert stub.last("GET allOrders").params["orderId"] == "7"
    for _ in range(2):  # not there, and another one in its place
        with pytest.raises(ReadError):
            await exchange.order(name, 7)
    assert stub.count("GET allOrders") == 3


async def test_a_history_that_ends_with_the_newest_shows_the_order_too(stub: Stub, exchange: BinanceExchange) -> None:
    """8.8: "orders >= that orderId" (rest-api.md, allOrders), and in general "most recent items up to the limit"."""
    filled = json.loads(golden("query_stop_resting")) | {"status": "FILLED", "orderId": 7}
    filled |= {"executedQty": filled["origQty"], "cummulativeQuoteQty": "100"}
    rows = [filled, *({**filled, "orderId": n, "clientOrderId": f"web_{n}"} for n in (8, 9))]

    def newest(seen: Seen) -> Say:
        found = [row for row in rows if row["orderId"] >= int(seen.params["orderId"])]
        return Say(json=found[-int(seen.params["limit"]) :])

    stub.script("GET order", *[Say(status=503, text="")] * 3 * READ_ATTEMPTS)
    stub.script("GET allOrders", newest)
    for _ in range(2):
        with pytest.raises(ReadError):
            await exchange.order(filled["clientOrderId"], 7)
    found = await exchange.order(filled["clientOrderId"], 7)
    assert found is not None
    assert (found.status, found.exchange_id) == (OrderStatus.FILLED, 7)


async def test_an_order_without_a_number_is_looked_for_by_its_name_alone(stub: Stub, exchange: BinanceExchange) -> None:
    down = Say(status=503, text="")
    stub.script("GET order", *[down] * 4 * READ_ATTEMPTS)
    for _ in range(4):
        with pytest.raises(ReadError):
            await exchange.order("EX_1760000000000_SL_4")
    assert stub.count("GET allOrders") == 0
    stub.script("GET order", Say(json=json.loads(golden("query_stop_resting"))))
    assert await exchange.order("EX_1760000000000_SL_4") is not None
