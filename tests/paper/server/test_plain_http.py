"""Plain requests are answered as the general server answers them, and what is not plain is the general server's."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal

import aiohttp
import pytest
from tests.paper.server.exchange_kit import API_KEY, SYMBOL, hmac_sign, running

from executor.paper.engine.exchange import Engine
from executor.paper.replay.clock import WallClock
from executor.paper.server import Limits, PaperServer, Urls, plain_http
from executor.paper.server.exchange import Exchange
from executor.paper.server.rest import Rest
from executor.service.runner import run

TIME = "GET /api/v3/time HTTP/1.1\r\nHost: x\r\n"
ORDER = f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=90000&newClientOrderId="


class Raw:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, urls: Urls) -> "Raw":
        host, port = urls.base_url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ask(self, *parts: bytes) -> bytes:
        """The answer to what is sent in parts, a moment apart, without the time of day."""
        for part in parts:
            self.writer.write(part)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            return await self._answer()

    async def _answer(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        return re.sub(rb"Date: [^\r]*", b"Date:", head) + body

    def close(self) -> None:
        self.writer.close()


def signed(verb: str, path: str, query: str, now_ms: int) -> bytes:
    query = f"{query}&timestamp={now_ms}"
    target = f"{path}?{query}&signature={hmac_sign()(query.encode())}"
    return f"{verb} {target} HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: {API_KEY}\r\n\r\n".encode()


def halves(asked: bytes) -> tuple[bytes, bytes]:
    """What comes in two parts is not plain."""
    return asked[:-3], asked[-3:]


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /api/v3/ping HTTP/1.1\r\n\r\n",
        b"GET /api/v3/exchangeInfo HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n",
        b"GET /api/v3/ticker/price?symbol=NOSUCH HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v3/ticker/price?symbol=%C3%A9&symbol=a+b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v3/time HTTP/1.1\r\nHost: x\r\nX-MBX-TIME-UNIT: MICROSECOND\r\n\r\n",
        b"GET /api/v3/account HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: nobody\r\n\r\n",
        b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY:  "
        + API_KEY.encode()
        + b" \r\nContent-Length: 5\r\n\r\na=\xffb=",
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_both_servers_answer_in_the_same_bytes(asked: bytes) -> None:
    async with running() as one, running() as other:
        plain, general = await Raw.to(one.urls), await Raw.to(other.urls)
        assert await plain.ask(asked) == await general.ask(*halves(asked))
        plain.close()
        general.close()


async def test_orders_are_answered_by_both_servers_in_the_same_bytes() -> None:
    answers: list[list[bytes]] = [[], []]
    for n, found in enumerate(answers):
        async with running() as kit:
            raw, now_ms = await Raw.to(kit.urls), kit.clock.now_ms()
            for verb, query in (("POST", f"{ORDER}a"), ("POST", f"{ORDER}a"), ("DELETE", f"symbol={SYMBOL}&orderId=1")):
                asked = signed(verb, "/api/v3/order", query, now_ms)
                found.append(await (raw.ask(*halves(asked)) if n else raw.ask(asked)))
            raw.close()
    assert answers[0] == answers[1]
    assert b"X-MBX-ORDER-COUNT-10S: 1\r\n" in answers[0][0]


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /api/v3/ti", b"me HTTP/1.1\r\nHost: x\r\n\r\n"],
        [f"{TIME}\r\n{TIME}\r\n".encode()],
        [f"{TIME}Connection: close\r\n\r\n".encode()],
        [f"{TIME}Accept: a\r\nAccept: b\r\n\r\n".encode()],
        [f"{TIME}Content-Length: 2\r\n\r\n".encode(), b"&&"],
        [f"{TIME}Transfer-Encoding: chunked\r\n\r\n2\r\n&&\r\n0\r\n\r\n".encode()],
        [b"GET /api/v3/time HTTP/1.0\r\n\r\n"],
        [TIME.encode() + b"X-Name: \xc3\xa9\r\n\r\n"],
    ],
)
async def test_a_request_that_is_not_plain_is_answered_all_the_same(
    parts: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as kit:
        raw = await Raw.to(kit.urls)
        assert b'"serverTime"' in await raw.ask(f"{TIME}\r\n".encode())
        assert b'"serverTime"' in await raw.ask(*parts)
        raw.close()
    assert caplog.records == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\xff\xfe\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /api/v3/time HTTP/9.9\r\n\r\n",
        b"GET /api/v3/time HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n",
        TIME.encode() + b"Content-Length: -1\r\n\r\n",
        TIME.encode() + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        TIME.encode() + b"X: \x00\r\n\r\n",
    ],
)
@pytest.mark.parametrize("first", [b"", TIME.encode() + b"\r\n"])
async def test_bytes_that_are_no_http_are_refused_without_a_traceback(
    sent: bytes, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as kit:
        raw = await Raw.to(kit.urls)
        if first:
            await raw.ask(first)
        assert (await raw.ask(sent)).startswith(b"HTTP/1.0 400 ")
        assert await raw.reader.read() == b""
        raw.close()
    assert caplog.records == []


async def test_a_websocket_may_follow_requests_on_a_connection() -> None:
    async with running() as kit:
        raw = await Raw.to(kit.urls)
        await raw.ask(f"{TIME}\r\n".encode())
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        raw.writer.write(
            f"GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n".encode()
        )
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        raw.close()


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_http, "IDLE_S", 0.05)
    async with running() as kit:
        raw = await Raw.to(kit.urls)
        await raw.ask(f"{TIME}\r\n".encode())
        async with asyncio.timeout(5):
            assert await raw.reader.read() == b""
        raw.close()


class Full(asyncio.Transport):
    """Whose peer does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses = [False]

    def pause_reading(self) -> None:
        self.pauses.append(True)

    def resume_reading(self) -> None:
        self.pauses.append(False)


async def test_who_does_not_read_its_answers_is_not_heard() -> None:
    exchange = Exchange(Engine([]), WallClock(), {}, Limits(), None)
    transport, open_now = Full(), dict[plain_http.PlainHttp, asyncio.Transport]()
    connection = plain_http.PlainHttp(Rest(exchange), asyncio.Protocol, open_now)
    connection.connection_made(transport)
    connection.pause_writing()
    connection.resume_writing()
    assert transport.pauses == [False, True, False]
    connection.connection_lost(None)
    assert open_now == {}


async def test_the_port_is_free_and_every_connection_closed_after_stop() -> None:
    async with running() as kit:
        raw = await Raw.to(kit.urls)
        await raw.ask(f"{TIME}\r\n".encode())
        await kit.server.stop()
        assert await raw.reader.read() == b""
        with pytest.raises(OSError, match=r"refused|failed"):
            await Raw.to(kit.urls)
        raw.close()


def test_on_the_loop_of_the_service_requests_are_answered_and_sockets_cut() -> None:
    """Its transports are not asyncio's own, by their type."""

    async def scenario(server: PaperServer, urls: Urls) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{urls.rest_url}/v3/time") as answer:
                assert answer.status == 200
            async with session.ws_connect(urls.ws_api_url) as socket:
                await socket.send_str('{"id":1,"method":"ping"}')
                assert (await socket.receive_json())["status"] == 200
                server.drop_connections()
                async with asyncio.timeout(5):
                    assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    run(served(scenario))


async def served(scenario: Callable[[PaperServer, Urls], Awaitable[None]]) -> None:
    engine = Engine([])
    engine.open_account("a", {"USDT": Decimal(1)})
    server = PaperServer(engine, WallClock(), {})
    try:
        await scenario(server, await server.start())
    finally:
        await server.stop()
