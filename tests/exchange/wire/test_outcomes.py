"""Every way a request that changes something can end, over real sockets: refused for certain, or unknown."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from decimal import Decimal
from email.utils import formatdate
from typing import Any, Final, NoReturn

import pytest
from aiohttp import ClientTimeout, web
from tests.exchange.stub import (
    KEY,
    SECRET,
    START_MS,
    ManualClock,
    Say,
    Seen,
    Stub,
    error,
    order_answer,
    placed,
    signed_well,
)

from executor.core.model.facts import Done, Outcome, Refused, Unknown, Why
from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderType
from executor.exchange.binance import BinanceExchange
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.client import CONNECTIONS, BinanceClient
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.transport.connection import Connection
from executor.exchange.wire.outcomes import CODES, DOUBT, TEXTS, Doubt

ORDER: Final = NewOrder(
    id="EX_1_ENTRY_1",
    side=OrderSide.BUY,
    type=OrderType.LIMIT,
    qty=Decimal("0.001"),
    price=Decimal(60000),
)
STOP: Final = NewOrder(
    id="EX_1_SL1_2",
    side=OrderSide.SELL,
    type=OrderType.STOP_LOSS_LIMIT,
    qty=Decimal("0.001"),
    price=Decimal(59000),
    stop_price=Decimal(59100),
)
TARGET: Final = NewOrder(
    id="EX_1_TP1_3",
    side=OrderSide.SELL,
    type=OrderType.LIMIT_MAKER,
    qty=Decimal("0.001"),
    price=Decimal(61000),
)
FENCE: Final = START_MS + 3000

Command = Callable[[BinanceExchange], Awaitable[Outcome]]
COMMANDS: Final[dict[str, Command]] = {
    "POST order": lambda exchange: exchange.place(ORDER),
    "POST orderList/oco": lambda exchange: exchange.place_oco("EX_1_OCO1_4", TARGET, STOP),
    "DELETE order": lambda exchange: exchange.cancel("EX_1_ENTRY_1"),
    "DELETE orderList": lambda exchange: exchange.cancel_list("EX_1_OCO1_4"),
}
every_command = pytest.mark.parametrize("request_", COMMANDS)


async def outcome_of(stub: Stub, exchange: BinanceExchange, say: Say, request: str = "POST order") -> Outcome:
    stub.script(request, say)
    return await COMMANDS[request](exchange)


@every_command
@pytest.mark.parametrize(
    "say",
    [
        pytest.param(Say(cut=True), id="connection cut after sending"),
        pytest.param(Say(text=""), id="2XX with an empty body"),
        pytest.param(Say(text="{"), id="2XX with broken JSON"),
        pytest.param(Say(text="{}"), id="2XX that names no order"),
        pytest.param(Say(text="<html>", content_type="text/html"), id="2XX with a page"),
        pytest.param(Say(text="[]"), id="2XX with an array"),
        pytest.param(Say(status=302, text="", headers={"Location": "/elsewhere"}), id="redirect"),
        pytest.param(Say(status=408, text=""), id="408"),
        pytest.param(Say(status=409, text="{}"), id="409"),
        pytest.param(Say(status=400, text="{}"), id="400-without-a-code"),
        pytest.param(Say(status=400, text="<html>"), id="400-unreadable"),
        pytest.param(Say(status=500, text="", content_type="text/html"), id="500, empty"),
        pytest.param(Say(status=502, text="<html>", content_type="text/html"), id="502, a page"),
        pytest.param(error(503, -1013, "Filter failure: NOTIONAL"), id="503 with a code that would refuse"),
        pytest.param(Say(status=504, json=[]), id="504 with an array"),
        pytest.param(error(400, -1000, "An unknown error occurred."), id="-1000"),
        pytest.param(error(400, -1001, "Internal error."), id="-1001"),
        pytest.param(error(400, -1006, "An unexpected response was received."), id="-1006"),
        pytest.param(error(400, -1004, "Server is busy, please wait and try again"), id="-1004"),
        pytest.param(error(400, -1008, "Server is currently overloaded with other requests."), id="-1008"),
        pytest.param(error(400, -1007, "Timeout waiting for response from backend server."), id="-1007"),
        pytest.param(error(400, -2010, "Duplicate order sent."), id="duplicate"),
    ],
)
async def test_unknown(stub: Stub, exchange: BinanceExchange, request_: str, say: Say) -> None:
    outcome = await outcome_of(stub, exchange, say, request_)
    assert isinstance(outcome, Unknown)
    assert outcome.fence == FENCE
    assert stub.count(request_) == 1, "sent once, whatever happens"
    assert stub.count(f"{request_.split(maxsplit=1)[0]} elsewhere") == 0, "a redirect is not followed"


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (error(400, -1002, "You are not authorized to execute this request."), Why.AUTH),
        (error(400, -1013, "Filter failure: LOT_SIZE"), Why.FILTER),
        (error(400, -1014, "Unsupported order combination."), Why.OTHER),
        (error(400, -1016, "This service is no longer available."), Why.MARKET_CLOSED),
        (error(400, -1020, "This operation is not supported."), Why.OTHER),
        (error(400, -1022, "Signature for this request is not valid."), Why.AUTH),
        (error(400, -1100, "Illegal characters found in a parameter."), Why.OTHER),
        (error(400, -1102, "Mandatory parameter 'x' was not sent."), Why.OTHER),
        (error(400, -1106, "Parameter 'x' sent when not required."), Why.OTHER),
        (error(400, -1111, "Precision is over the maximum defined for this asset."), Why.FILTER),
        (error(400, -1116, "Invalid orderType."), Why.OTHER),
        (error(400, -1121, "Invalid symbol."), Why.OTHER),
        (error(400, -1128, "Combination of optional parameters invalid."), Why.OTHER),
        (error(400, -1130, "Data sent for parameter 'x' is not valid."), Why.OTHER),
        (error(400, -2013, "Order does not exist."), Why.UNKNOWN_ORDER),
        (error(401, -2014, "API-key format invalid."), Why.AUTH),
        (error(401, -2015, "Invalid API-key, IP, or permissions for action."), Why.AUTH),
        (error(400, -2018, "Order list does not exist."), Why.UNKNOWN_ORDER),
        (error(400, -2026, "Order was canceled or expired with no executed qty."), Why.UNKNOWN_ORDER),
        (error(400, -2039, "Client order ID is not correct for this order ID."), Why.OTHER),
        (error(400, -9999, "Something new."), Why.OTHER),
        (error(400, -2010, "Account has insufficient balance for requested action."), Why.INSUFFICIENT_BALANCE),
        (error(400, -2010, "Order would trigger immediately."), Why.WOULD_TRIGGER),
        (error(400, -2010, "Stop price would trigger immediately."), Why.WOULD_TRIGGER),
        (error(400, -2010, "Order would immediately trigger."), Why.WOULD_TRIGGER),
        (error(400, -1013, "STOP PRICE WOULD TRIGGER IMMEDIATELY"), Why.WOULD_TRIGGER),
        (error(400, -2010, "Order would immediately match and take."), Why.WOULD_MATCH),
        (
            error(400, -2010, "The relationship of the prices for the orders is not correct."),
            Why.PRICE_RELATION,
        ),
        (error(400, -2010, "Market is closed."), Why.MARKET_CLOSED),
        (error(400, -2010, "Rest API trading is not enabled."), Why.MARKET_CLOSED),
        (error(400, -2010, "This action is disabled on this account."), Why.AUTH),
        (error(400, -2010, "This account may not place or cancel orders."), Why.AUTH),
        (error(400, -2010, "This symbol is not permitted for this account."), Why.AUTH),
        (error(400, -2010, "This symbol is restricted for this account."), Why.AUTH),
        (error(400, -2010, "Price * QTY is zero or less."), Why.OTHER),
        (error(400, -2010, "Stop loss orders are not supported for this symbol."), Why.FILTER),
        (error(400, -2010, "OCO orders are not supported for this symbol"), Why.FILTER),
        (error(400, -2010, "Cancel-replace is not supported for this symbol."), Why.OTHER),
        (error(400, -2010, "Something new."), Why.OTHER),
        (error(400, -2010, "Filter failure: MAX_POSITION"), Why.FILTER),
        (error(400, -1013, "Invalid quantity."), Why.FILTER),
        (error(400, -1013, "Market is closed."), Why.MARKET_CLOSED),
        (error(400, -2011, "Unknown order sent."), Why.UNKNOWN_ORDER),
        (error(400, -2011, "Unknown order list sent."), Why.UNKNOWN_ORDER),
        (error(400, -2011, "Order was not canceled due to cancel restrictions."), Why.OTHER),
        (error(400, -2011, "Cancel order is invalid. Check origClOrdId and orderId."), Why.OTHER),
        (Say(status=401, text="", content_type="text/html"), Why.AUTH),
        (Say(status=404, text="<html>", content_type="text/html"), Why.OTHER),
        (Say(status=404, json={"oops": 1}), Why.OTHER),
    ],
)
async def test_refused(stub: Stub, exchange: BinanceExchange, say: Say, why: Why) -> None:
    outcome = await outcome_of(stub, exchange, say)
    assert isinstance(outcome, Refused)
    assert (outcome.why, outcome.retry_at) == (why, 0)
    if isinstance(say.json, dict) and "code" in say.json:
        assert (outcome.code, outcome.text) == (say.json["code"], say.json["msg"])
    else:
        assert outcome.code == -say.status


IN_30_S: Final = formatdate(START_MS / 1000 + 30, usegmt=True)


@pytest.mark.parametrize(
    ("say", "retry_at"),
    [
        (error(429, -1003, "Too much request weight used.", headers={"Retry-After": "7"}), START_MS + 7_000),
        (error(429, -1003, "Too much request weight used."), START_MS + 1_000),
        (error(429, -1003, "Too much request weight used.", headers={"Retry-After": "0"}), START_MS + 1_000),
        (error(429, -1003, "Too much request weight used.", headers={"Retry-After": "-5"}), START_MS + 1_000),
        (error(429, -1003, "Too much request weight used.", headers={"Retry-After": "soon"}), START_MS + 1_000),
        (error(429, -1003, "Too much request weight used.", headers={"Retry-After": "1.5"}), START_MS + 1_500),
        (error(429, -1003, "Too much request weight used.", headers={"Retry-After": "86400"}), START_MS + 1_000),
        (error(429, -1003, "Slow down.", headers={"Retry-After": IN_30_S}), START_MS + 30_000),
        (error(418, -1003, "banned", headers={"Retry-After": IN_30_S}), START_MS + 30_000),
        (error(418, -1003, "Way too much request weight used.", headers={"Retry-After": "300"}), START_MS + 300_000),
        (Say(status=418, text=""), START_MS + 120_000),
        (error(429, -1015, "Too many new orders.", headers={"Retry-After": "3"}), START_MS + 3_000),
        (error(429, -1015, "Too many new orders."), START_MS + 10_000),
        (error(429, -1015, "Limit is 50 orders per 10 SECOND.", headers={"Retry-After": "86400"}), START_MS + 10_000),
        (error(429, -1015, "Limit is 9 orders per DAY.", headers={"Retry-After": "7200"}), START_MS + 7_200_000),
        (error(429, -1015, "Limit is 9 orders per 1 HOUR.", headers={"Retry-After": "1800"}), START_MS + 1_800_000),
        (error(429, -1015, "Limit is 9 orders per 1 DAY.", headers={"Retry-After": "86401"}), START_MS + 10_000),
        (error(400, -1003, "Too many requests queued.", headers={"Retry-After": "86400"}), START_MS + 1_000),
        (error(400, -1034, "Too many requests to connect."), START_MS + 1_000),
        (error(400, -1034, "Too many requests to connect.", headers={"Retry-After": "86400"}), START_MS + 1_000),
        (Say(status=403, text="<html>", content_type="text/html"), START_MS + 1_000),
        (error(418, -1003, f"Way too much; IP banned until {START_MS + 90_000}. Use streams."), START_MS + 90_000),
        (error(429, -1003, f"IP banned until {START_MS + 900_000}."), START_MS + 900_000),
        (error(429, -1003, f"IP banned until {START_MS - 90_000}."), START_MS + 1_000),
        (error(418, -1003, "banned", headers={"Retry-After": "9" * 12}), START_MS + 120_000),
    ],
)
async def test_slowed_down(stub: Stub, exchange: BinanceExchange, say: Say, retry_at: int) -> None:
    outcome = await outcome_of(stub, exchange, say)
    assert isinstance(outcome, Refused)
    assert (outcome.why, outcome.retry_at) == (Why.RATE_LIMIT, retry_at)


async def test_a_ban_is_kept_without_asking_again(stub: Stub, exchange: BinanceExchange, clock: ManualClock) -> None:
    await outcome_of(stub, exchange, Say(status=418, text="", headers={"Retry-After": "60"}))
    for command in COMMANDS.values():
        outcome = await command(exchange)
        assert isinstance(outcome, Refused)
        assert (outcome.why, outcome.retry_at) == (Why.RATE_LIMIT, START_MS + 60_000)
    assert stub.count("POST order") == 1
    assert stub.count("DELETE order") == 0
    clock.at += 60_000
    stub.script("POST order", placed)
    assert isinstance(await exchange.place(ORDER), Done)


async def test_too_many_orders_still_lets_cancels_through(stub: Stub, exchange: BinanceExchange) -> None:
    await outcome_of(stub, exchange, error(429, -1015, "Too many new orders.", headers={"Retry-After": "9"}))
    outcome = await exchange.place_oco("EX_1_OCO1_4", TARGET, STOP)
    assert isinstance(outcome, Refused)
    assert outcome.retry_at == START_MS + 9_000
    assert stub.count("POST orderList/oco") == 0
    unknown_order = error(400, -2011, "Unknown order sent.")
    cancelled = await outcome_of(stub, exchange, unknown_order, "DELETE order")
    assert isinstance(cancelled, Refused)
    assert cancelled.why is Why.UNKNOWN_ORDER


async def test_a_clock_that_is_off_is_set_before_the_refusal_returns(stub: Stub, exchange: BinanceExchange) -> None:
    stub.time = START_MS + 7_000
    late = error(400, -1021, "Timestamp for this request is outside of the recvWindow.")
    outcome = await outcome_of(stub, exchange, late)
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.CLOCK
    assert exchange.now() == START_MS + 7_000
    stub.script("POST order", placed)
    assert isinstance(await exchange.place(ORDER), Done)
    assert stub.last("POST order").params["timestamp"] == str(START_MS + 7_000)


async def test_a_clock_that_cannot_be_set_does_not_hide_the_refusal(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET time", *[Say(status=503, text="")] * 9)
    outcome = await outcome_of(stub, exchange, error(400, -1021, "Timestamp"))
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.CLOCK


async def test_an_answer_about_another_order_is_unknown(stub: Stub, exchange: BinanceExchange) -> None:
    def somebody_elses(seen: Seen) -> Say:
        return Say(json=order_answer(seen) | {"clientOrderId": "EX_9_ENTRY_9"})

    stub.script("POST order", somebody_elses)
    outcome = await exchange.place(ORDER)
    assert isinstance(outcome, Unknown)
    assert "EX_1_ENTRY_1" in outcome.text


async def test_no_answer_in_time_is_unknown(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    outcome = await outcome_of(stub, exchange, Say(hang=0.5))
    assert isinstance(outcome, Unknown)
    assert outcome.fence == FENCE


async def test_a_full_house_is_not_sent(stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a free connection until the time is over proves that nothing left."""
    stub.script("DELETE order", *[Say(hang=0.4)] * CONNECTIONS)
    cancels = [asyncio.create_task(exchange.cancel(f"EX_1_SL_{n}")) for n in range(CONNECTIONS)]
    await stub.until("DELETE order", CONNECTIONS)
    hurry(exchange, monkeypatch)
    placing = await exchange.place(ORDER)
    assert isinstance(placing, Refused)
    assert placing.why is Why.NOT_SENT
    assert stub.count("POST order") == 0
    assert all(isinstance(outcome, Unknown) for outcome in await asyncio.gather(*cancels))


@every_command
async def test_what_can_not_be_sent_is_refused(request_: str, clock: ManualClock, unused_tcp_port: int) -> None:
    nowhere = Endpoints(f"http://127.0.0.1:{unused_tcp_port}", "ws://127.0.0.1:1", "ws://127.0.0.1:1")
    async with offline(nowhere, clock) as exchange:
        outcome = await COMMANDS[request_](exchange)
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.NOT_SENT


async def test_a_host_without_a_name_is_not_sent_to(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> NoReturn:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with offline(Endpoints("http://nobody.invalid", "", ""), clock) as exchange:
        outcome = await exchange.place(ORDER)
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.NOT_SENT


async def test_tls_that_fails_is_not_sent(stub: Stub, clock: ManualClock) -> None:
    secure = stub.endpoints.rest_url.replace("http", "https")
    async with offline(Endpoints(secure, "", ""), clock) as exchange:
        outcome = await exchange.place(ORDER)
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.NOT_SENT


async def test_a_closed_adapter_sends_nothing(stub: Stub, exchange: BinanceExchange) -> None:
    await exchange.close()
    outcome = await exchange.place(ORDER)
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.NOT_SENT


async def test_anybodys_id_can_be_cancelled(stub: Stub, exchange: BinanceExchange) -> None:
    """Other programs write ids with characters that must be encoded before they are signed."""
    own_id = "web:1/2 ü+&="
    stub.script("DELETE order", error(400, -2011, "Unknown order sent."))
    stub.script("GET order", error(400, -2013, "Order does not exist."))
    outcome = await exchange.cancel(own_id)
    assert isinstance(outcome, Refused)
    assert outcome.why is Why.UNKNOWN_ORDER
    assert await exchange.order(own_id) is None
    for request in ("DELETE order", "GET order"):
        assert stub.last(request).params["origClientOrderId"] == own_id
        assert signed_well(stub.last(request))


async def test_a_surprise_after_sending_is_unknown(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def surprise(*_: Any) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(BinanceClient, "_handle_response", surprise)
    outcome = await outcome_of(stub, exchange, Say())
    assert isinstance(outcome, Unknown)
    assert stub.count("POST order") == 1


async def test_cancellation_is_not_swallowed(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("POST order", Say(hang=0.3))
    task = asyncio.create_task(exchange.place(ORDER))
    await stub.until("POST order")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@every_command
async def test_a_body_cut_short_is_unknown(request_: str, clock: ManualClock) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"orderId": 28, "clientOrderId": "EX_1_ENTRY_1"')
        assert request.transport is not None
        request.transport.close()
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", half)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with offline(Endpoints(f"http://{host}:{port}", "", ""), clock) as exchange:
            assert isinstance(await COMMANDS[request_](exchange), Unknown)
    finally:
        await runner.cleanup()


async def test_the_texts_show_no_signature_and_no_key(
    stub: Stub, exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(exchange, monkeypatch)
    says = [Say(cut=True), Say(hang=0.5), Say(status=502, text="x"), error(401, -2015, "Invalid API-key.")]
    texts = [json.dumps(str(await outcome_of(stub, exchange, say))) for say in says]
    for text in texts:
        assert SECRET not in text
        assert KEY not in text
        assert "signature" not in text


def test_the_tables_agree_with_the_documents() -> None:
    """What errors.md calls unknown is in doubt, and nothing else is."""
    assert {code for code, why in CODES.items() if isinstance(why, Doubt)} == {-1000, -1001, -1004, -1006, -1007, -1008}
    assert [text for text, why in TEXTS if why is DOUBT] == ["duplicate order"]


def hurry(exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after a tenth of a second instead of twelve."""
    short = ClientTimeout(total=0.1)
    monkeypatch.setattr(exchange.connection._client, "_timeouts", {True: short, False: short})


@contextlib.asynccontextmanager
async def offline(endpoints: Endpoints, clock: ManualClock) -> Any:
    exchange_clock = ExchangeClock(clock)
    client = BinanceClient(endpoints, Credentials.hmac(KEY, SECRET))
    exchange = BinanceExchange(Connection(client, exchange_clock, Budget(exchange_clock), 3000), "BTCUSDT")
    try:
        yield exchange
    finally:
        await exchange.close()
