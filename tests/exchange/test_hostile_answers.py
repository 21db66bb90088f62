"""Whatever answers a request (bytes, headers, or no HTTP at all), a command has an outcome and a read a value or a
ReadError (rule 8.2).
"""

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.exchange.stub import KEY, SECRET, START_MS, ManualClock
from tests.exchange.wire.test_hostile import READERS, REPLACED
from tests.hostile import bodies

from executor.core.model.facts import Done, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderType
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError, StartError
from executor.exchange.shared_reads import SharedReads
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.client import FAULT_MAX, BinanceClient
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.transport.connection import LARGE, Connection
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.transport.supervised import Timing
from executor.exchange.wire import calls
from executor.exchange.wire.answer import Answer, Attempt
from executor.exchange.wire.calls import Call
from executor.exchange.wire.outcomes import Fault
from executor.service.store import codec

ORDER: Final = NewOrder(
    id="EX_1760000000000_PLANB_2", side=OrderSide.BUY, type=OrderType.LIMIT, qty=Decimal(1), price=Decimal(9)
)
LONGEST_MS: Final = 4 * 86_400_000

sound: Final = [body for _, bodies_ in READERS.values() for body in bodies_]
numbers: Final = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "5",
        "1e3",
        "NaN",
        "9" * 30,
        "9" * 5000,
        "\u0663",
        "1.5",
        " 7",
        "x",
        "1760000060000",
        "315360000",
    ]
)
headers: Final = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": numbers,
        "X-MBX-USED-WEIGHT-1M": numbers,
        "X-MBX-ORDER-COUNT-10S": numbers,
        "X-MBX-ORDER-COUNT-1D": numbers,
    },
)
statuses: Final = st.sampled_from([200, 200, 200, 204, 302, 400, 401, 403, 404, 409, 418, 429, 451, 500, 502, 503, 504])
answers: Final = st.builds(Answer, statuses, headers, bodies(*sound, REPLACED))


class Oracle:
    """In the place of the HTTP client: says whatever a test draws."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    async def call(self, _call: Call, _params: Mapping[str, str], attempt: Attempt) -> Answer:
        attempt.sent = True
        return self._data.draw(answers)


@settings(max_examples=150)
@given(st.data())
def test_no_answer_makes_a_request_raise_anything_but_what_the_port_says(data: st.DataObject) -> None:
    clock = ManualClock()
    exchange_clock = ExchangeClock(clock)
    client = cast("BinanceClient", Oracle(data))
    connection = Connection(client, exchange_clock, Budget(exchange_clock), 5000)
    shared = SharedReads(connection) if data.draw(st.booleans()) else None
    exchange = BinanceExchange(connection, "BTCUSDT", shared)

    async def ask() -> None:
        match data.draw(st.integers(0, 14)):
            case 0:
                assert_outcome(await exchange.place(ORDER))
            case 1:
                assert_outcome(await exchange.place_oco("EX_1_OCO1_1", ORDER, ORDER))
            case 2:
                assert_outcome(await exchange.cancel(ORDER.id))
            case 3:
                assert_outcome(await exchange.cancel_list("EX_1_OCO1_1"))
            case 4:
                replaced = await exchange.replace("EX_1_SL_1", ORDER)
                assert isinstance(replaced, ReplaceOutcome)
                codec.encode(replaced)
            case n:
                reads = (
                    lambda: exchange.order(ORDER.id),
                    lambda: exchange.trades(5),
                    exchange.open_orders,
                    lambda: exchange.history(START_MS - 1000),
                    exchange.balances,
                    exchange.quote,
                    lambda: exchange.klines(2),
                    exchange.rules,
                    exchange.sync_clock,
                    exchange.prove_account,
                )
                with contextlib.suppress(ReadError, StartError):
                    codec.encode(await reads[n - 5]())

    asyncio.run(ask())
    budget = connection.budget
    assert exchange.now() < 4_102_444_800_000
    assert max(budget.closed_until, budget.orders_closed_until) <= clock.at + abs(exchange_clock.offset) + LONGEST_MS


def assert_outcome(outcome: Any) -> None:
    assert isinstance(outcome, Done | Refused | Unknown)
    codec.encode(outcome)
    if isinstance(outcome, Refused):
        assert outcome.retry_at < START_MS + LONGEST_MS


# --- no HTTP, and no WebSocket ----------------------------------------------------------------------------------------

GARBAGE: Final = [
    b"",
    b"\r\n\r\n",
    b"\xff\xfe\x00\x01" * 50,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/9.9 999 \xff\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\xff",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=\xff\xff\r\nContent-Length: 2\r\n\r\n\xff\xff",
    b"HTTP/1.1 302 Found\r\nLocation: \xff://\x00\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=\xff; Max-Age=NaN\r\nRetry-After: \xff\r\nContent-Length: 2\r\n\r\n{}",
    (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: x\r\n\r\n\x81\x05"
    ),
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\n<html>\xff",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 418 Banned\r\n" + b"X-MBX-USED-WEIGHT-1M: 7\r\nRetry-After: x\r\n" * 2 + b"Content-Length: 2\r\n\r\n{}",
    (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n" * 2
        + b"\r\n"
    ),
]


@asynccontextmanager
async def babbling(said: bytes) -> Any:
    """A server that says `said` to everybody, whatever they want, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(said)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("said", GARBAGE)
async def test_what_is_no_http_is_no_answer(said: bytes) -> None:
    clock = ExchangeClock(ManualClock())
    async with babbling(said) as where:
        client = BinanceClient(Endpoints(f"http://{where}", "ws://x", "ws://x"), Credentials.hmac(KEY, SECRET))
        connection = Connection(client, clock, Budget(clock), 5000)
        exchange = BinanceExchange(connection, "BTCUSDT")
        try:
            outcome = await exchange.place(ORDER)
            assert isinstance(outcome, Unknown | Refused)
            with pytest.raises(ReadError):
                await exchange.open_orders()
        finally:
            await connection.close()


@pytest.mark.parametrize("said", GARBAGE)
async def test_what_is_no_websocket_is_a_stream_that_is_not_up(said: bytes) -> None:
    async with babbling(said) as where:
        timing = Timing(ping=0.2, open=0.5, first_wait=0.01, longest_wait=0.02)
        link = OrderLink(f"ws://{where}", Credentials.hmac(KEY, SECRET), timing=timing)
        running = asyncio.create_task(link.run())
        done, _ = await asyncio.wait({running}, timeout=0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not done
        assert not link.up


async def test_a_stream_follows_no_redirect() -> None:
    """What is signed goes where it was meant to go: a redirect led it to any other address."""
    came: list[str] = []

    def arrive(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append("here")
        writer.close()

    elsewhere = await asyncio.start_server(arrive, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    said = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: ws://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
    async with elsewhere, babbling(said.encode()) as where:
        timing = Timing(ping=0.2, open=0.5, first_wait=0.01, longest_wait=0.02)
        link = OrderLink(f"ws://{where}", Credentials.hmac(KEY, SECRET), timing=timing)
        running = asyncio.create_task(link.run())
        await asyncio.wait({running}, timeout=0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert came == []


@given(headers)
@example({"Retry-After": "9" * 5000, "X-MBX-USED-WEIGHT-1M": "9" * 30})
def test_no_header_closes_the_exchange_for_longer_than_its_longest_ban(said: dict[str, str]) -> None:
    clock = ExchangeClock(ManualClock())
    budget = Budget(clock)
    until = budget.heed(Answer(418, said, b""), Fault(-1003, "banned"))
    assert START_MS <= until <= START_MS + LONGEST_MS


# --- in pieces, and of any length -------------------------------------------------------------------------------------

BANNED: Final = b'{"code":-1003,"msg":"Way too much request weight used; IP banned until %d."}' % (START_MS + 90_000)


@pytest.mark.parametrize("status", [403, 418, 429])
@pytest.mark.parametrize("kept", [0, 7, len(BANNED) - 3])
async def test_who_asks_to_slow_down_is_heeded_though_the_words_do_not_come_whole(status: int, kept: int) -> None:
    """Else a ban is asked away at the pace of reads that got lost."""
    head = b"HTTP/1.1 %d No\r\nRetry-After: 30\r\nContent-Length: %d\r\n\r\n" % (status, len(BANNED))
    clock = ExchangeClock(ManualClock())
    async with babbling(head + BANNED[:kept]) as where:
        client = BinanceClient(Endpoints(f"http://{where}", "ws://x", "ws://x"), Credentials.hmac(KEY, SECRET))
        connection = Connection(client, clock, Budget(clock), 5000)
        exchange = BinanceExchange(connection, "BTCUSDT")
        try:
            first, second = await exchange.place(ORDER), await exchange.place(ORDER)
        finally:
            await connection.close()
    for outcome in (first, second):
        assert isinstance(outcome, Refused)
        assert outcome.why is Why.RATE_LIMIT
        assert outcome.retry_at > START_MS
    assert isinstance(second, Refused)
    assert "not sent" in second.text


async def test_an_order_refused_in_words_that_do_not_come_whole_is_in_doubt() -> None:
    async with babbling(b'HTTP/1.1 400 No\r\nContent-Length: 99\r\n\r\n{"code":-2010,') as where:
        clock = ExchangeClock(ManualClock())
        client = BinanceClient(Endpoints(f"http://{where}", "ws://x", "ws://x"), Credentials.hmac(KEY, SECRET))
        connection = Connection(client, clock, Budget(clock), 5000)
        outcome = await BinanceExchange(connection, "BTCUSDT").place(ORDER)
        await connection.close()
    assert isinstance(outcome, Unknown)


async def test_a_page_of_any_length_is_an_answer_by_its_status() -> None:
    head = b"HTTP/1.1 418 No\r\nRetry-After: 30\r\n\r\n"
    async with babbling(head + b"x" * 3_000_000) as where:
        client = BinanceClient(Endpoints(f"http://{where}", "ws://x", "ws://x"), Credentials.hmac(KEY, SECRET))
        answer = await client.call(calls.PING, {}, Attempt(1, 5000))
        await client.close_connection()
    assert len(answer.body) == FAULT_MAX
    assert Budget(ExchangeClock(ManualClock())).heed(answer, Fault()) == START_MS + 30_000


class Long:
    """In the place of the HTTP client: answers of any length."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def call(self, _call: Call, _params: Mapping[str, str], attempt: Attempt) -> Answer:
        attempt.sent = True
        return Answer(200, {}, self._body)

    async def close_connection(self) -> None:
        pass


@pytest.mark.parametrize(("length", "beside"), [(LARGE - 1, False), (LARGE, True)])
async def test_a_long_answer_is_read_beside_the_loop(length: int, beside: bool) -> None:
    clock = ExchangeClock(ManualClock())
    connection = Connection(cast("BinanceClient", Long(b" " * length)), clock, Budget(clock), 5000)
    try:
        read_in = await connection.read(calls.PING, {}, lambda _: threading.get_ident())
    finally:
        await connection.close()
    assert (read_in != threading.get_ident()) is beside


async def test_a_long_answer_that_can_not_be_read_is_a_read_that_failed() -> None:
    clock = ExchangeClock(ManualClock())
    connection = Connection(cast("BinanceClient", Long(b"[" + b"{}," * LARGE)), clock, Budget(clock), 5000)
    try:
        with pytest.raises(ReadError, match="unreadable"):
            await BinanceExchange(connection, "BTCUSDT").open_orders()
    finally:
        await connection.close()
