"""Whether the exchange answers a node: what counts as an answer, and when it is not asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from executor.service.fleet.reach import RESTS_S, Probe


class _Exchange:
    """Answers each ping so."""

    def __init__(self) -> None:
        self.answer = web.Response(text="{}")
        self.asked: list[str] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        return web.Response(status=self.answer.status, headers=self.answer.headers, body=self.answer.body)


@asynccontextmanager
async def probed() -> AsyncIterator[tuple[_Exchange, Probe]]:
    exchange = _Exchange()
    server = await asyncio.get_running_loop().create_server(web.Server(exchange), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    try:
        async with aiohttp.ClientSession() as session:
            yield exchange, Probe(session, url)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("status", "reached"),
    [(200, True), (429, True), (302, False), (403, False), (418, False), (451, False), (503, False)],
)
async def test_only_what_the_exchange_itself_would_serve_us_is_an_answer(status: int, reached: bool) -> None:
    async with probed() as (exchange, probe):
        exchange.answer = web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"})
        assert await probe.reached() is reached
        assert exchange.asked == ["/api/v3/ping"]


@pytest.mark.parametrize("told", ["", "60", "soon", "-5", "9" * 40])
@pytest.mark.parametrize("status", sorted(RESTS_S))
async def test_who_is_banned_or_limited_does_not_ask_on(status: int, told: str) -> None:
    """A ban grows with each request that comes during it (rule 8.7)."""
    async with probed() as (exchange, probe):
        now = 1_000.0
        probe._clock = lambda: now
        exchange.answer = web.Response(status=status, headers={"Retry-After": told})
        first = await probe.reached()
        rest = 60.0 if told == "60" else RESTS_S[status]
        for later in (0.1, rest - 0.1):
            now = 1_000.0 + later
            assert await probe.reached() is first is (status == 429)
        assert len(exchange.asked) == 1
        exchange.answer = web.Response(text="{}")
        now = 1_000.0 + rest
        assert await probe.reached()
        assert len(exchange.asked) == 2


async def test_nobody_there_is_no_answer() -> None:
    async with aiohttp.ClientSession() as session:
        assert not await Probe(session, "http://127.0.0.1:1").reached()
