"""How much of an answer is read."""

import asyncio
import gzip

import aiohttp
import pytest
from aiohttp import web

from executor.exchange.transport import client as module
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.client import BinanceClient
from executor.exchange.wire import calls
from executor.exchange.wire.answer import Attempt

LIMIT = 100_000


async def answered(body: bytes, headers: dict[str, str], *, times: int = 1) -> bytes:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for _ in range(times):
            try:
                await response.write(body)
            except ConnectionError:
                break
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = BinanceClient(Endpoints(url, "", ""), Credentials.hmac("k", "s"))
    try:
        return (await client.call(calls.PING, {}, Attempt(1, 5000))).body
    finally:
        await client.close_connection()
        await runner.cleanup()


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_is_read_whole(packed: bool) -> None:
    body = b"x" * 50_000
    headers = {"Content-Encoding": "gzip"} if packed else {}
    assert await answered(gzip.compress(body) if packed else body, headers) == body


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_without_an_end_fills_no_memory(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_MAX", LIMIT)
    body = b"x" * 1_000_000
    headers = {"Content-Encoding": "gzip"} if packed else {}
    async with asyncio.timeout(20):
        with pytest.raises(aiohttp.ClientPayloadError, match="more than 100000 bytes"):
            await answered(gzip.compress(body) if packed else body, headers, times=1 if packed else 10_000)
