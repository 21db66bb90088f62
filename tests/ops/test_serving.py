"""Readers over HTTP: who may, and that strangers take no descriptors from the trade."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.scenarios.harness import World, harness

from executor.core.model.values import Direction
from executor.ops.http import listen
from executor.ops.http_accounts import AccountsHttp
from executor.ops.page.access import PageAccess
from executor.ops.serving import serving
from executor.service.inlets.connections import Bounds, ConnectionLimiter
from executor.service.loop import Loop

TOKEN = "0123456789abcdef0123"
TIGHT = Bounds(total=6, per_peer=6, hear_s=1.0, life_s=100.0)


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


@asynccontextmanager
async def served(access: PageAccess, bounds: Bounds = TIGHT) -> AsyncIterator[tuple[int, ConnectionLimiter]]:
    sock = listen("127.0.0.1", 0)
    async with serving({"/": hello, "/healthz": hello}, sock, access, bounds) as limiter:
        yield sock.getsockname()[1], limiter


async def get(port: int, path: str = "/", headers: Mapping[str, str] = {}) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=10)).status_code


async def test_connections_that_say_nothing_give_way_to_who_may_read() -> None:
    async with served(PageAccess("0.0.0.0", TOKEN)) as (port, limiter):  # noqa: S104
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        await asyncio.sleep(0.5)
        assert len(limiter._open) <= TIGHT.total
        assert await get(port, headers={"Authorization": f"Bearer {TOKEN}"}) == 200
        await asyncio.sleep(1.2)
        assert not limiter._open, "what said nothing has been ended"
        for _, writer in silent:
            writer.close()


async def test_a_request_that_is_refused_keeps_no_connection() -> None:
    async with served(PageAccess("0.0.0.0", TOKEN)) as (port, limiter):  # noqa: S104
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/")
            assert (answer.status_code, answer.headers["Connection"]) == (401, "close")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")  # and never goes on
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await asyncio.sleep(0.05)
        assert not limiter._open


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00" * 20,
    b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nZZ\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("said", NO_HTTP)
async def test_what_is_no_http_fills_no_log(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Each such request wrote a traceback into the service's log."""
    async with served(PageAccess()) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert await get(port) == 200
    assert caplog.records == []


async def test_a_fault_of_ours_costs_its_request_and_is_told() -> None:
    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("broken")

    sock = listen("127.0.0.1", 0)
    with capture_logs() as log:
        async with serving({"/": broken, "/healthz": hello}, sock, PageAccess(), TIGHT):
            assert await get(sock.getsockname()[1]) == 500
            assert await get(sock.getsockname()[1], "/healthz") == 200
            assert await get(sock.getsockname()[1], "/nowhere") == 404
    assert [line["event"] for line in log] == ["page_failed"]


async def test_however_many_ask_at_once_the_loop_turns_between_any_two() -> None:
    """Each of thirty that asked for the metrics at once was answered in the same turn: trading waited for all."""
    turns, taken = 0, list[int]()

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def slow(_: web.Request) -> web.Response:
        taken.append(turns)
        return web.Response(text="hello")

    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    turning = asyncio.create_task(turn())
    async with serving({"/": slow}, sock, PageAccess(), Bounds(total=40, per_peer=40, hear_s=5.0, life_s=100.0)):
        asking = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        for _, writer in asking:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for reader, writer in asking:
            assert await reader.readuntil(b"hello")
            writer.close()
    turning.cancel()
    assert len(set(taken)) == 30


async def test_who_has_been_let_in_stays() -> None:
    async with served(PageAccess()) as (port, limiter), httpx.AsyncClient(trust_env=False) as client:
        for _ in range(3):
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
            await asyncio.sleep(0.6)
        assert len(limiter._open) == 1


@pytest.mark.parametrize("path", ["/status", "/metrics", "/readyz"])
async def test_of_several_accounts_nobody_reads_without_the_token_or_under_another_name(
    tmp_path: Path, path: str
) -> None:
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=False)) as b:
        loops: dict[str, dict[str, Loop]] = {"alice": dict(b.loops)}
        for access, shown in (
            (PageAccess("0.0.0.0", TOKEN), {"Authorization": f"Bearer {TOKEN}"}),  # noqa: S104
            (PageAccess(), {}),
        ):
            http = AccountsHttp("127.0.0.1", 0, lambda: loops, dict, access=access)
            task = asyncio.create_task(http.run())
            try:
                assert await get(http.port, path, shown) in {200, 503}
                assert await get(http.port, path, {"Host": "evil.example"}) in {401, 421}
                assert await get(http.port, "/healthz", shown) == 200
            finally:
                task.cancel()
                await asyncio.wait({task})
