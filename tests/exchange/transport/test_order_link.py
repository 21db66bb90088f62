"""Orders over the WebSocket API are judged as over REST, and what gets no answer is unknown (rule 8.2)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from tests.exchange.streams.test_streams import QUICK, Peer, playing
from tests.exchange.test_paper import GOOD, limit, trading
from tests.paper.server.exchange_kit import Kit
from websockets.asyncio.server import ServerConnection

from executor.core.model.facts import Done, NotTried, Refused, Unknown, Why
from executor.core.model.intents import NewOrder, Stamp
from executor.core.model.values import OrderSide, OrderStatus, OrderType
from executor.exchange.binance import BinanceExchange
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.wire import calls
from executor.exchange.wire.answer import Answer as HttpAnswer
from executor.exchange.wire.answer import Attempt
from executor.paper.server.faults import Answer, FaultPlan, RequestFault


class WsFault(FaultPlan):
    """Goes wrong at each request of `method` on the WebSocket API; counts every request."""

    def __init__(self, method: str = "", fault: RequestFault | None = None) -> None:
        self.seen: list[str] = []
        self._method = method
        self._fault = fault

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.seen.append(f"{method} {path}")
        return self._fault if (method, path) == ("WS", self._method) else None


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # counters of the other side, no event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def linked(faults: WsFault) -> AsyncIterator[tuple[Kit, BinanceExchange, OrderLink]]:
    async with trading(faults=faults) as (kit, exchange):
        link = OrderLink(kit.urls.ws_api_url, GOOD, timing=QUICK)
        exchange.connection.link = link
        task = asyncio.create_task(link.run())
        try:
            await eventually(lambda: link.up)
            yield kit, exchange, link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def stop(own_id: str, price: str) -> NewOrder:
    trigger = Decimal(price)
    return limit(own_id, price, OrderSide.SELL, type=OrderType.STOP_LOSS_LIMIT, stop_price=trigger)


async def test_every_command_goes_over_the_link() -> None:
    faults = WsFault()
    async with linked(faults) as (kit, exchange, _):
        last = kit.engine.last_price(exchange.symbol)
        assert last is not None
        low = str(last / 2)
        faults.seen.clear()
        placed = await exchange.place(limit("EX_1_ENTRY_0", low))
        assert isinstance(placed, Done)
        assert placed.reports[0].status is OrderStatus.NEW
        replaced = await exchange.replace("EX_1_ENTRY_0", limit("EX_1_ENTRY_1", low))
        assert isinstance(replaced.cancel, Done)
        assert isinstance(replaced.place, Done)
        assert isinstance(await exchange.cancel("EX_1_ENTRY_1"), Done)
        refused = await exchange.cancel("EX_1_ENTRY_1")
        assert isinstance(refused, Refused)
        assert refused.why is Why.UNKNOWN_ORDER
        half = await exchange.replace("EX_1_ENTRY_1", limit("EX_1_ENTRY_2", low))
        assert isinstance(half.cancel, Refused)
        assert isinstance(half.place, NotTried)
        assert faults.seen == [
            "WS order.place",
            "WS order.cancelReplace",
            "WS order.cancel",
            "WS order.cancel",
            "WS order.cancelReplace",
        ]
        assert exchange.connection.budget.orders_10s > 0


async def test_a_change_is_signed_with_the_stamp_that_it_is_given() -> None:
    """Rule 8.3d: one that was chosen too long ago is refused by the exchange, over either way."""
    async with linked(WsFault()) as (kit, exchange, _):
        low = str((kit.engine.last_price(exchange.symbol) or 1) / 2)
        now, window = exchange.now(), exchange.connection.recv_window
        for link in (exchange.connection.link, None):
            exchange.connection.link = link
            late = await exchange.place(limit("EX_1_ENTRY_0", low), Stamp(now - window - 1_000, window))
            assert isinstance(late, Refused)
            assert late.why is Why.CLOCK
            assert isinstance(await exchange.place(limit("EX_1_ENTRY_0", low), Stamp(now - 10, window)), Done)
            assert isinstance(await exchange.cancel("EX_1_ENTRY_0", Stamp(now - 10, window)), Done)


async def test_what_is_a_number_goes_as_one_and_all_else_as_text() -> None:
    """web-socket-api.md has the exchange's ids as LONG; whoever compares them with text finds no order to cancel."""
    text = {"symbol": "BTCUSDT", "origClientOrderId": "EX_1_SL_2", "quantity": "3"}
    numbers = {"orderId": "12569099453", "trailingDelta": "150", "pendingBelowTrailingDelta": "10"}
    signed = OrderLink("ws://127.0.0.1", GOOD)._signed(text | numbers, Attempt(1, 5_000))
    assert {name: signed[name] for name in text | numbers} == text | {name: int(n) for name, n in numbers.items()}


async def test_a_refusal_has_the_same_reason_as_over_rest() -> None:
    async with linked(WsFault()) as (_, exchange, link):
        order = limit("EX_1_ENTRY_0", "0.000001")
        over_ws = await exchange.place(order)
        exchange.connection.link = None
        assert isinstance(over_ws, Refused)
        assert over_ws == await exchange.place(order)
        assert link.up


@pytest.mark.parametrize(
    "fault",
    [
        RequestFault(disconnect=True),
        RequestFault(disconnect=True, execute=False),
        RequestFault(answer=Answer(200, b"not json")),
    ],
)
async def test_what_gets_no_answer_is_unknown_until_its_fence(fault: RequestFault, monkeypatch: Any) -> None:
    monkeypatch.setattr("executor.exchange.transport.order_link.ANSWER_SEC", 0.2)
    async with linked(WsFault("order.place", fault)) as (kit, exchange, link):
        before = exchange.now()
        outcome = await exchange.place(limit("EX_1_ENTRY_0", str((kit.engine.last_price(exchange.symbol) or 1) / 2)))
        assert isinstance(outcome, Unknown)
        assert outcome.fence >= before + exchange.connection.recv_window
        await eventually(lambda: link.up)


async def test_while_the_link_is_down_orders_go_over_rest() -> None:
    faults = WsFault("order.place", RequestFault(disconnect=True))
    async with linked(faults) as (kit, exchange, link):
        low = str((kit.engine.last_price(exchange.symbol) or 1) / 2)
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_0", low)), Unknown)
        faults.seen.clear()
        link._connection = None
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_1", low)), Done)
        assert faults.seen == ["POST /api/v3/order"]


async def test_all_that_wait_are_unknown_at_once_when_the_connection_is_cut() -> None:
    faults = WsFault("order.place", RequestFault(delay_before_ms=3_600_000))
    async with linked(faults) as (kit, exchange, _):
        low = str((kit.engine.last_price(exchange.symbol) or 1) / 2)
        waiting = [asyncio.create_task(exchange.place(limit(f"EX_1_ENTRY_{n}", low))) for n in range(3)]
        await eventually(lambda: faults.seen.count("WS order.place") == 3)
        kit.server.drop_connections()
        async with asyncio.timeout(2):
            assert all(isinstance(outcome, Unknown) for outcome in await asyncio.gather(*waiting))


async def test_a_link_that_is_closed_tells_at_once_what_it_can_not_hear_any_more() -> None:
    """Rule 9.5: an end must not wait for an answer that can't come; what is needed then goes over REST."""
    faults = WsFault("order.place", RequestFault(delay_after_ms=60_000))
    async with trading(faults=faults) as (kit, exchange):
        link = OrderLink(kit.urls.ws_api_url, GOOD, timing=QUICK)
        exchange.connection.link = link
        task = asyncio.create_task(link.run())
        await eventually(lambda: link.up)
        last = kit.engine.last_price(exchange.symbol)
        assert last is not None
        placing = asyncio.create_task(exchange.place(limit("EX_1_ENTRY_0", str(last / 2))))
        await eventually(lambda: "WS order.place" in faults.seen)
        task.cancel()
        async with asyncio.timeout(2):
            outcome = await placing
        assert isinstance(outcome, Unknown)
        assert "the connection was closed" in outcome.text
        assert not link.up
        await asyncio.gather(task, return_exceptions=True)


# --- a link that does not serve orders (rule 8.7) ---------------------------------------------------------------------

NOT_ENABLED = Answer(400, b'{"code":-2010,"msg":"WebSocket API trading is not enabled."}', enveloped=True)
SILENT = RequestFault(execute=False, delay_before_ms=3_600_000)


def ways(faults: WsFault) -> list[str]:
    """How the orders went."""
    return [seen.split()[0] for seen in faults.seen if seen in {"WS order.place", "POST /api/v3/order"}]


def low(kit: Kit, exchange: BinanceExchange) -> str:
    return str((kit.engine.last_price(exchange.symbol) or 1) / 2)


async def test_after_an_order_that_the_link_leaves_unanswered_the_next_go_over_rest(monkeypatch: Any) -> None:
    """Its pings are answered all the while."""
    monkeypatch.setattr("executor.exchange.transport.order_link.ANSWER_SEC", 0.1)
    faults = WsFault("order.place", SILENT)
    async with linked(faults) as (kit, exchange, link):
        price = low(kit, exchange)
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_0", price)), Unknown)
        assert link.up
        for n in range(1, 5):
            assert isinstance(await exchange.place(limit(f"EX_1_TP1_{n}", price)), Done)
        assert ways(faults) == ["WS", "POST", "POST", "POST", "POST"]


async def test_an_order_that_the_link_does_not_serve_goes_over_rest_at_once() -> None:
    faults = WsFault("order.place", RequestFault(execute=False, answer=NOT_ENABLED))
    async with linked(faults) as (kit, exchange, _):
        price = low(kit, exchange)
        placed = await exchange.place(limit("EX_1_ENTRY_0", price))
        assert isinstance(placed, Done)
        assert isinstance(await exchange.place(limit("EX_1_TP1_1", price)), Done)
        assert ways(faults) == ["WS", "POST", "POST"]


@pytest.mark.parametrize("status", [404, 501, 503])
async def test_a_link_that_knows_no_orders_or_is_in_trouble_is_left_alone(status: int) -> None:
    answer = Answer(status, b'{"code":-1,"msg":"no"}', enveloped=True)
    faults = WsFault("order.place", RequestFault(execute=False, answer=answer))
    async with linked(faults) as (kit, exchange, _):
        price = low(kit, exchange)
        first = await exchange.place(limit("EX_1_ENTRY_0", price))
        assert isinstance(first, Unknown if status == 503 else Done)
        assert isinstance(await exchange.place(limit("EX_1_TP1_1", price)), Done)
        assert ways(faults)[-1] == "POST"


async def test_a_link_that_refuses_without_saying_who_has_refused_is_left_alone() -> None:
    """A 400 without a code leaves the order in doubt: each one after it would be, where REST takes them all."""
    answer = Answer(400, b'{"msg":"bad request"}', enveloped=True)
    faults = WsFault("order.place", RequestFault(execute=False, answer=answer))
    async with linked(faults) as (kit, exchange, _):
        price = low(kit, exchange)
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_0", price)), Unknown)
        assert isinstance(await exchange.place(limit("EX_1_TP1_1", price)), Done)
        assert ways(faults) == ["WS", "POST"]


async def test_an_answer_that_tells_of_thousands_of_fills_is_heard() -> None:
    """A sale at market may take as many orders off the book, and each is told of in the one answer."""
    fill = {"price": "0.00001234", "qty": "123456.00", "commission": "0.00152344", "commissionAsset": "USDT"}
    said = {"fills": [{**fill, "tradeId": 1_000_000_000 + n} for n in range(10_000)]}

    async def script(connection: ServerConnection) -> None:
        request = json.loads(await connection.recv())
        await connection.send(json.dumps({"id": request["id"], "status": 200, "result": said}))
        await connection.wait_closed()

    async with playing(Peer(script)) as peer:
        link = OrderLink(peer.url, GOOD, timing=QUICK)
        task = asyncio.create_task(link.run())
        try:
            await eventually(lambda: link.up)
            told = await link.call(calls.PLACE, {}, Attempt(1, 5_000))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert json.loads(told.body) == said


async def test_a_refusal_of_the_order_itself_is_no_fault_of_the_link() -> None:
    faults = WsFault()
    async with linked(faults) as (kit, exchange, _):
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_0", "0.000001")), Refused)
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_1", low(kit, exchange))), Done)
        assert ways(faults) == ["WS", "WS"]


async def test_a_link_that_was_cut_serves_again_once_it_is_up_and_the_pause_is_over(monkeypatch: Any) -> None:
    monkeypatch.setattr("executor.exchange.transport.link_service.PAUSES_MS", (0,))
    faults = WsFault("order.place", RequestFault(disconnect=True, execute=False))
    async with linked(faults) as (kit, exchange, link):
        price = low(kit, exchange)
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_0", price)), Unknown)
        await eventually(lambda: link.up)
        faults._fault = None
        assert isinstance(await exchange.place(limit("EX_1_SL_1", price)), Done)
        assert ways(faults) == ["WS", "WS"]


@pytest.mark.parametrize(
    "limits",
    [
        b"null",
        b"[]",
        b"7",
        b'[null,{"rateLimitType":"ORDERS"},{"rateLimitType":"ORDERS","interval":"S","intervalNum":"10","count":"7"}]',
    ],
)
async def test_limits_that_cannot_be_read_do_not_hide_an_order_s_answer(limits: bytes) -> None:
    async with linked(WsFault()) as (_, _exchange, link):
        answer: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        link._pending["o99"] = answer
        link._events(b'{"id":"o99","status":200,"result":{"orderId":1},"rateLimits":' + limits + b"}")
        told = answer.result()
        assert (told.status, told.body) == (200, b'{"orderId":1}')
        assert told.headers == ({"X-MBX-ORDER-COUNT-10S": "7"} if b"count" in limits else {})
