"""Shared looks: one request for all who wished for it before it left, and for nobody who came later (rule 8.6)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from tests.exchange.stub import EXCHANGE_INFO, ManualClock, Say, Seen, Stub, error
from tests.exchange.transport.test_connect import GOOD
from tests.exchange.wire.test_outcomes import hurry

from executor.exchange.binance import BinanceExchange, connect_all
from executor.exchange.port import ReadError
from executor.exchange.shared_reads import Shared

MANY: Final = tuple(f"S{n:02}USDT" for n in range(20))


class Gate:
    """Lets a look leave when it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked: list[tuple[str, ...]] = []
        self.answers: list[asyncio.Future[dict[str, int | ReadError]]] = []

    async def gather(self) -> None:
        await self.open.wait()

    async def ask(self, symbols: tuple[str, ...]) -> dict[str, int | ReadError]:
        self.asked.append(symbols)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_before_it_leaves_joins_and_who_comes_after_waits_for_the_next() -> None:
    gate = Gate()
    shared = Shared(gate.gather, gate.ask)
    early = [asyncio.create_task(shared.get(symbol)) for symbol in ("A", "B", "A")]
    await turn()
    assert gate.asked == []
    gate.open.set()
    await turn()
    assert gate.asked == [("A", "B")]
    late = asyncio.create_task(shared.get("A"))
    await turn()
    assert gate.asked == [("A", "B"), ("A",)], "it waits for no answer that was asked before it came"
    gate.answers[1].set_result({"A": 2})
    assert await late == 2
    gate.answers[0].set_result({"A": 1, "B": 1})
    assert await asyncio.gather(*early) == [1, 1, 1]


async def test_who_gives_up_takes_the_look_from_nobody() -> None:
    gate = Gate()
    gate.open.set()
    shared = Shared(gate.gather, gate.ask)
    gone, stays = asyncio.create_task(shared.get("A")), asyncio.create_task(shared.get("B"))
    await turn()
    gone.cancel()
    await turn()
    gate.answers[0].set_result({"A": 1, "B": 2})
    assert await stays == 2
    assert gone.cancelled()


async def test_what_fails_for_one_fails_for_it_alone() -> None:
    gate = Gate()
    gate.open.set()
    shared = Shared(gate.gather, gate.ask)
    looks = [asyncio.create_task(shared.get(symbol)) for symbol in ("A", "B")]
    await turn()
    gate.answers[0].set_result({"A": ReadError("gone"), "B": 2})
    with pytest.raises(ReadError, match="gone"):
        await looks[0]
    assert await looks[1] == 2


async def test_a_look_that_may_not_leave_fails_for_all_and_the_next_is_a_new_one() -> None:
    gate = Gate()

    async def banned() -> None:
        raise ReadError("banned")

    shared = Shared(banned, gate.ask)
    told = await asyncio.gather(shared.get("A"), shared.get("B"), return_exceptions=True)
    assert [str(each) for each in told] == ["banned", "banned"]
    with pytest.raises(ReadError, match="banned"):
        await shared.get("A")
    assert gate.asked == []


def rows(symbols: tuple[str, ...]) -> dict[str, Any]:
    row = EXCHANGE_INFO["symbols"][0]  # type: ignore[index]
    return {**EXCHANGE_INFO, "symbols": [{**row, "symbol": symbol} for symbol in symbols]}


def order(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "orderId": 28,
        "clientOrderId": f"EX_{MANY.index(symbol) + 1}_SL_1",
        "side": "SELL",
        "type": "LIMIT",
        "status": "NEW",
        "price": "1",
        "origQty": "1",
        "executedQty": "0",
        "cummulativeQuoteQty": "0",
    }


@asynccontextmanager
async def trading(stub: Stub, clock: ManualClock, symbols: tuple[str, ...]) -> AsyncIterator[list[BinanceExchange]]:
    stub.script("GET exchangeInfo", *[Say(json=rows(symbols))] * 2)
    exchanges = await connect_all(stub.endpoints, GOOD, symbols, clock, 3000)
    try:
        stub.seen.clear()
        yield list(exchanges.values())
    finally:
        await exchanges[symbols[0]].close()


def asked(stub: Stub, path: str) -> list[dict[str, str]]:
    return [dict(seen.params) for seen in stub.seen if seen.path.endswith(path)]


async def test_the_rules_of_all_are_read_with_few_requests(stub: Stub, clock: ManualClock) -> None:
    stub.script("GET exchangeInfo", *[Say(json=rows(MANY))] * 2)
    exchanges = await connect_all(stub.endpoints, GOOD, MANY, clock, 3000)
    try:
        assert [exchange.shown.symbol for exchange in exchanges.values() if exchange.shown is not None] == list(MANY)
        info = asked(stub, "exchangeInfo")
        assert [len(json.loads(seen.get("symbols", "[0]"))) for seen in info] == [1, 19]
        assert len(asked(stub, "account/commission")) == 20
        assert len({id(exchange.connection) for exchange in exchanges.values()}) == 1
    finally:
        await exchanges[MANY[0]].close()


async def test_orders_are_asked_for_by_symbol_or_all_at_once_whichever_weighs_less(
    stub: Stub, clock: ManualClock
) -> None:
    async with trading(stub, clock, MANY) as exchanges:
        stub.script("GET openOrders", *[Say(json=[])] * 13)
        assert await asyncio.gather(*(exchange.open_orders() for exchange in exchanges[:13])) == [()] * 13
        assert sorted(seen["symbol"] for seen in asked(stub, "openOrders")) == list(MANY[:13])
        stub.seen.clear()
        stub.script("GET openOrders", Say(json=[order(MANY[3]), order(MANY[19])]))
        found = await asyncio.gather(*(exchange.open_orders() for exchange in exchanges))
        assert [len(reports) for reports in found] == [int(n in (3, 19)) for n in range(20)]
        assert found[3][0].id == "EX_4_SL_1"
        assert ["symbol" in seen for seen in asked(stub, "openOrders")] == [False]


async def test_prices_are_asked_for_together_and_one_that_is_gone_hides_no_other(
    stub: Stub, clock: ManualClock
) -> None:
    def price(symbol: str) -> dict[str, str]:
        return {"symbol": symbol, "bidPrice": "1", "askPrice": "2", "lastPrice": "1.5"}

    def one(seen: Seen) -> Say:
        symbol = seen.params.get("symbol", "")
        return Say(json=price(symbol)) if symbol != MANY[1] else error(400, -1121, "Invalid symbol.")

    async with trading(stub, clock, MANY) as exchanges:
        some = exchanges[:3]
        stub.script("GET ticker/24hr", Say(json=[price(symbol) for symbol in MANY[:3]]))
        assert [str(quote.last) for quote in await asyncio.gather(*(each.quote() for each in some))] == ["1.5"] * 3
        assert [json.loads(seen["symbols"]) for seen in asked(stub, "ticker/24hr")] == [list(MANY[:3])]
        stub.script("GET ticker/24hr", error(400, -1121, "Invalid symbol."), one, one, one)
        found = await asyncio.gather(*(each.quote() for each in some), return_exceptions=True)
        assert [isinstance(each, ReadError) for each in found] == [False, True, False]


async def test_a_symbol_that_is_not_listed_is_named_among_many(stub: Stub, clock: ManualClock) -> None:
    def info(seen: Seen) -> Say:
        named = seen.params.get("symbol")
        if named is None or named == "NOSUCH":
            return error(400, -1121, "Invalid symbol.")
        return Say(json=rows((named,)))

    stub.script("GET exchangeInfo", *[info] * 5)
    exchanges = await connect_all(stub.endpoints, GOOD, ("AUSDT", "BUSDT", "NOSUCH"), clock, 3000)
    try:
        faults = {symbol: exchange.fault for symbol, exchange in exchanges.items()}
        assert [symbol for symbol, fault in faults.items() if fault] == ["NOSUCH"], "no fault of the others"
        assert "'NOSUCH'" in str(faults["NOSUCH"])
    finally:
        await exchanges["AUSDT"].connection.close()


@pytest.mark.parametrize("refused", [Say(status=400, text="<html>"), Say(status=404, text="<html>")])
async def test_rules_that_somebody_in_between_lets_nobody_read_together_are_read_for_each(
    stub: Stub, clock: ManualClock, refused: Say
) -> None:
    """A gateway, say, that takes brackets and quotes in an address for an attack."""

    def info(seen: Seen) -> Say:
        named = seen.params.get("symbol")
        return refused if named is None else Say(json=rows((named,)))

    stub.script("GET exchangeInfo", *[info] * 8)
    exchanges = await connect_all(stub.endpoints, GOOD, ("AUSDT", "BUSDT", "CUSDT"), clock, 3000)
    try:
        assert [exchange.fault for exchange in exchanges.values()] == [None] * 3
    finally:
        await exchanges["AUSDT"].connection.close()


async def test_prices_that_are_not_told_together_are_asked_for_one_by_one_for_a_while(
    stub: Stub, clock: ManualClock
) -> None:
    """Rule 8.7; where nobody answers at all, nothing more is asked than of the first."""

    def one(seen: Seen) -> Say:
        return Say(json={"symbol": seen.params["symbol"], "bidPrice": "1", "askPrice": "2", "price": "1.5"})

    down = error(503, -1001, "Internal error")
    async with trading(stub, clock, MANY) as exchanges:
        some = exchanges[:3]
        for path in ("ticker/24hr", "ticker/bookTicker", "ticker/price"):
            stub.script(f"GET {path}", *[down] * 8)
        found = await asyncio.gather(*(each.quote() for each in some), return_exceptions=True)
        assert all(isinstance(each, ReadError) for each in found)
        assert {seen.get("symbol", MANY[0]) for seen in asked(stub, "Ticker") + asked(stub, "price")} == {MANY[0]}
        stub.seen.clear()
        stub.script("GET ticker/24hr", *[down] * 100)
        for path in ("ticker/bookTicker", "ticker/price"):
            stub._scripts[f"GET {path}"].clear()
            stub.script(f"GET {path}", *[one] * 6)
        for _ in range(2):
            assert [str(quote.last) for quote in await asyncio.gather(*(each.quote() for each in some))] == ["1.5"] * 3
        assert sum("symbols" in seen for seen in asked(stub, "ticker/24hr")) == 4


async def test_prices_of_many_that_hang_together_are_had_one_by_one_at_once(
    stub: Stub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(seen: Seen) -> Say:
        if "symbols" in seen.params:
            return Say(hang=0.5)
        return Say(json={"symbol": seen.params["symbol"], "bidPrice": "1", "askPrice": "2", "lastPrice": "1.5"})

    stub.script("GET ticker/24hr", *[told] * 20)
    async with trading(stub, clock, MANY) as exchanges:
        hurry(exchanges[0], monkeypatch)
        some = exchanges[:3]
        for _ in range(2):
            assert [str(quote.last) for quote in await asyncio.gather(*(each.quote() for each in some))] == ["1.5"] * 3
        assert sum("symbols" in seen for seen in asked(stub, "ticker/24hr")) == 1
