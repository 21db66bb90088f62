"""Answers to another question than was asked: under another order's name, of another symbol, or a status that is no
success beside the body of one. Broken proxies and reused connections bring such (rule 8.2).
"""

import asyncio
import json
from decimal import Decimal
from typing import Any, Final

import pytest
from tests.exchange.stub import SAPI, START_MS, Say, Stub, order_answer

from executor.core.model.facts import Refused, Unknown
from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderType
from executor.exchange.binance import BinanceExchange
from executor.exchange.margin import MarginExchange
from executor.exchange.port import ReadError
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.client import BinanceClient
from executor.exchange.wire import calls
from executor.exchange.wire.answer import Attempt
from executor.exchange.wire.margin import Account

OWN: Final = "EX_1760000000000_SL_7"
OTHER: Final = "EX_1760000000000_TP2_4"
STOP: Final = NewOrder(
    id=OWN,
    side=OrderSide.SELL,
    type=OrderType.STOP_LOSS_LIMIT,
    qty=Decimal(1),
    price=Decimal(89),
    stop_price=Decimal(90),
)


def order(name: str = OWN, number: int = 28, symbol: str = "BTCUSDT", **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol, "orderId": number, "clientOrderId": name, "side": "SELL", "type": "STOP_LOSS_LIMIT",
        "status": "NEW", "origQty": "1", "executedQty": "0", "cummulativeQuoteQty": "0", "price": "89",
        "stopPrice": "90", "isWorking": True, "time": START_MS, "updateTime": START_MS, **more,
    }  # fmt: skip


def on_margin(exchange: BinanceExchange) -> MarginExchange:
    return MarginExchange(exchange.connection, exchange.symbol, account=Account(exchange.symbol))


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, order(OTHER)),
        (28, order(number=29)),
        (28, order(OTHER, number=29)),
        (0, order(symbol="LTCUSDT")),
        (28, order(symbol="LTCUSDT")),
    ],
)
async def test_a_look_at_an_order_is_answered_by_no_other_one(
    stub: Stub, exchange: BinanceExchange, margin: bool, number: int, told: dict[str, Any]
) -> None:
    request = f"GET {SAPI}margin/order" if margin else "GET order"
    asked = on_margin(exchange) if margin else exchange
    stub.script(request, Say(json=told), Say(json=order(number=number or 28)))
    report = await asked.order(OWN, number)
    assert report is not None
    assert (report.id, report.exchange_id) == (OWN, number or 28)
    stub.script(request, *[Say(json=told)] * 4)
    with pytest.raises(ReadError, match="the answer is about"):
        await asked.order(OWN, number)


@pytest.mark.parametrize("name", ["web_1", "x-12345", OWN])
async def test_a_cancelled_order_may_bear_the_cancels_name(stub: Stub, exchange: BinanceExchange, name: str) -> None:
    stub.script("GET order", *[Say(json=order(name, status="CANCELED"))] * 2)
    for number in (0, 28):
        report = await exchange.order(OWN, number)
        assert report is not None
        assert report.id == OWN


async def test_orders_trades_and_prices_of_others_are_left_out(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET openOrders", Say(json=[order(OTHER, symbol="LTCUSDT"), order()]))
    assert [report.id for report in await exchange.open_orders()] == [OWN]
    trade = {"price": "9", "qty": "1", "commission": "0", "commissionAsset": "USDT", "time": START_MS}
    rows = [{"id": 1, "orderId": 27, **trade}, {"id": 2, "orderId": 28, **trade}, {"id": 3, **trade}]
    stub.script("GET myTrades", Say(json=rows))
    assert [fill.trade_id for fill in await exchange.trades(28)] == [2, 3]
    stub.script("GET ticker/24hr", Say(json={"symbol": "LTCUSDT", "bidPrice": "1", "askPrice": "1", "lastPrice": "1"}))
    assert (await exchange.quote()).last == 100


async def test_pages_that_bring_nothing_new_end(stub: Stub, exchange: BinanceExchange) -> None:
    trade = {"price": "9", "qty": "1", "commission": "0", "commissionAsset": "USDT", "time": START_MS, "orderId": 28}
    page = Say(json=[{"id": number, **trade} for number in range(1000)])
    stub.script("GET myTrades", *[page] * 9)
    assert len(await exchange.trades(28)) == 1000
    assert stub.count("GET myTrades") == 3  # the newest, then from the first on, until nothing is new
    orders = Say(json=[order(f"x{number}", number) for number in range(1, 1001)])
    stub.script("GET allOrders", *[orders] * 9)
    await exchange.history(START_MS - 1000)
    assert stub.count("GET allOrders") == 3


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_status_that_refuses_beside_the_answer_of_a_success_is_in_doubt(
    stub: Stub, exchange: BinanceExchange, status: int
) -> None:
    stub.script("POST order", lambda seen: Say(status=status, json=order_answer(seen)))
    assert isinstance(await exchange.place(STOP), Unknown)
    stub.script("DELETE order", Say(status=status, json=order(status="CANCELED")))
    assert isinstance(await exchange.cancel(OWN), Unknown)
    halves = {"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS"}
    stub.script("POST order/cancelReplace", Say(status=status, json=halves))
    outcome = await exchange.replace(OTHER, STOP)
    assert isinstance(outcome.cancel, Unknown)
    assert isinstance(outcome.place, Unknown)
    stub.script("POST order", lambda seen: Say(status=status, json=order_answer(seen) | {"clientOrderId": "x"}))
    # What is no answer to it says no more than its status: the exchange's own refusals are a 400 with a code.
    assert isinstance(await exchange.place(STOP), Unknown if status == 400 else Refused)


async def test_a_loan_as_well(stub: Stub, exchange: BinanceExchange) -> None:
    says = [Say(status=400, json={"tranId": 5}), Say(status=400, json={}), Say(status=404, json={})]
    stub.script(f"POST {SAPI}margin/borrow-repay", *says)
    assert isinstance(await on_margin(exchange).borrow("USDT", Decimal(5)), Unknown)
    assert isinstance(await on_margin(exchange).borrow("USDT", Decimal(5)), Unknown)
    assert isinstance(await on_margin(exchange).borrow("USDT", Decimal(5)), Refused)


async def test_what_comes_unasked_over_a_connection_answers_nothing() -> None:
    """Each request is answered, and answered once more a little later."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                for pause in (0.0, 0.02):
                    await asyncio.sleep(pause)
                    body = json.dumps({"answers": head.split()[1].decode()}).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = BinanceClient(Endpoints(url, "", ""), Credentials.hmac("k", "s"))
        try:
            for call in (calls.PING, calls.TIME, calls.PING, calls.AVERAGE):
                answer = await client.call(call, {}, Attempt(1, 5000))
                assert json.loads(answer.body) == {"answers": f"/api/v3/{call.path}"}
                await asyncio.sleep(0.05)
        finally:
            await client.close_connection()
