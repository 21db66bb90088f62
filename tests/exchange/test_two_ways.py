"""Reads that have another way to the same (rule 8.7): the way that works is found at once, and kept for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

import pytest
from tests.exchange.stub import SAPI, ManualClock, Say, Stub
from tests.exchange.test_other_questions import OWN, on_margin, order
from tests.exchange.wire.test_outcomes import hurry

from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError
from executor.exchange.two_ways import OTHER_WAY_MS

BEST: Final = {"symbol": "BTCUSDT", "bidPrice": "9", "bidQty": "1", "askPrice": "11", "askQty": "1"}
PRICE: Final = {"symbol": "BTCUSDT", "price": "10"}
DOWN: Final = Say(status=503, text="")
MUTE: Final = Say(hang=0.5)
FILLED: Final = order("x", 27, status="FILLED", executedQty="1")

Read = Callable[[BinanceExchange], Awaitable[Any]]


async def price(exchange: BinanceExchange) -> Any:
    return (await exchange.quote()).last


async def open_ones(exchange: BinanceExchange) -> Any:
    return [report.id for report in await exchange.open_orders()]


async def one(exchange: BinanceExchange) -> Any:
    report = await exchange.order(OWN, 28)
    return report and report.id


CASES: Final[dict[str, tuple[Read, str, dict[str, Any], Any]]] = {
    "price": (price, "GET ticker/24hr", {"GET ticker/bookTicker": BEST, "GET ticker/price": PRICE}, Decimal(10)),
    "open orders": (open_ones, "GET openOrders", {"GET allOrders": [FILLED, order()]}, [OWN]),
    "an order": (one, "GET order", {"GET allOrders": [order()]}, OWN),
    "open orders on margin": (
        open_ones,
        f"GET {SAPI}margin/openOrders",
        {f"GET {SAPI}margin/allOrders": [FILLED, order()]},
        [OWN],
    ),
    "an order on margin": (one, f"GET {SAPI}margin/order", {f"GET {SAPI}margin/allOrders": [order()]}, OWN),
}
USUAL: Final = {
    "GET ticker/24hr": {"symbol": "BTCUSDT", "bidPrice": "1", "askPrice": "1", "lastPrice": "1"},
    "GET openOrders": [],
    "GET order": order(),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_read_that_hangs_is_gone_round_at_once_and_not_met_again(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    hurry(exchange, monkeypatch)
    read, usual, others, found = CASES[case]
    asked = on_margin(exchange) if "margin" in case else exchange
    stub.script(usual, MUTE)
    for other, answer in others.items():
        stub.script(other, *[Say(json=answer)] * 5)
    for _ in range(3):
        assert await read(asked) == found
    assert stub.count(usual) == 1
    clock.at += OTHER_WAY_MS
    stub.script(usual, MUTE)
    assert await read(asked) == found  # the other is tried beside, and not waited for
    await stub.until(usual, 2)
    clock.at += OTHER_WAY_MS
    stub.script(usual, Say(json=USUAL[usual.replace(f"{SAPI}margin/", "")]))
    assert await read(asked) == found
    await stub.until(usual, 3)
    await asyncio.sleep(0.05)
    before = [stub.count(other) for other in others]
    stub.script(usual, Say(json=USUAL[usual.replace(f"{SAPI}margin/", "")]))
    await read(asked)
    assert stub.count(usual) == 4  # it answers again, and goes first
    assert [stub.count(other) for other in others] == before


async def test_a_way_that_fails_after_the_other_leaves_the_first_one(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    stub.script("GET openOrders", MUTE, Say(json=[order()]))
    stub.script("GET allOrders", Say(json=[]), *[DOWN] * 4)
    assert await exchange.open_orders() == ()
    assert await open_ones(exchange) == [OWN]


async def test_where_neither_way_answers_the_usual_one_is_named(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    stub.script("GET openOrders", *[MUTE] * 2)
    stub.script("GET allOrders", *[MUTE] * 2)
    for _ in range(2):
        with pytest.raises(ReadError, match="GET openOrders: no answer in time"):
            await exchange.open_orders()
    assert stub.count("GET openOrders") == stub.count("GET allOrders") == 2


async def test_an_order_whose_number_is_not_known_has_no_other_way(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    stub.script("GET order", MUTE, Say(json=order()))
    assert await exchange.order(OWN) is not None
    assert stub.count("GET order") == 2
    assert stub.count("GET allOrders") == 0


async def test_what_the_other_way_does_not_show_is_not_gone(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    stub.script("GET order", MUTE)
    stub.script("GET allOrders", Say(json=[order("x", 29)]))
    with pytest.raises(ReadError):
        await exchange.order(OWN, 28)


async def test_a_price_that_can_not_be_had_in_one_answer_is_had_in_two(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET ticker/24hr", *[DOWN] * 4)
    stub.script("GET ticker/bookTicker", *[Say(json=BEST)] * 2)
    stub.script("GET ticker/price", *[Say(json=PRICE)] * 2)
    for _ in range(2):  # the second time at once
        told = await exchange.quote()
        assert [told.bid, told.ask, told.last] == [Decimal(9), Decimal(11), Decimal(10)]
    assert stub.count("GET ticker/24hr") == 4
    stub.script("GET ticker/price", *[Say(json={"symbol": "LTCUSDT", "price": "10"})] * 4)
    stub.script("GET ticker/bookTicker", *[Say(json=BEST | {"symbol": "LTCUSDT"})] * 4)
    assert (await exchange.quote()).last == 100
    stub.script("GET ticker/24hr", *[DOWN] * 4)
    with pytest.raises(ReadError, match="GET ticker/24hr"):
        await exchange.quote()
    stub.script("GET ticker/24hr", Say(status=400, json={"code": -1121, "msg": "Invalid symbol."}))
    before = stub.count("GET ticker/bookTicker")
    with pytest.raises(ReadError, match="Invalid symbol"):
        await exchange.quote()
    assert stub.count("GET ticker/bookTicker") == before


@pytest.mark.parametrize("margin", [False, True])
async def test_open_orders_whose_list_is_down_are_had_from_the_newest_ones(
    stub: Stub, exchange: BinanceExchange, clock: ManualClock, margin: bool
) -> None:
    names = [f"GET {SAPI}margin/openOrders", f"GET {SAPI}margin/allOrders"] if margin else None
    listed, newest = names or ["GET openOrders", "GET allOrders"]
    asked = on_margin(exchange) if margin else exchange
    stub.script(listed, *[DOWN] * 12)
    stub.script(newest, *[Say(json=[FILLED, order()])] * 3)
    for _ in range(2):
        with pytest.raises(ReadError):
            await asked.open_orders()
    assert await open_ones(asked) == await open_ones(asked) == [OWN]
    assert stub.count(listed) == 12
    assert "orderId" not in stub.last(newest).params
    clock.at += OTHER_WAY_MS
    assert await open_ones(asked) == [OWN]  # and the list, asked beside, answers again
    await stub.until(listed, 13)
    await asyncio.sleep(0.05)
    assert await asked.open_orders() == ()
    stub.script(listed, DOWN, DOWN, DOWN, DOWN)
    with pytest.raises(ReadError):
        await asked.open_orders()
