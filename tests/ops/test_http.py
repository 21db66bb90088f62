"""Readiness, on the service as it runs: each reason not to be ready, one after the other."""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.scenarios.harness import Harness, World, harness

from executor.core.model.values import Direction
from executor.ops import http
from executor.ops.http import HttpServer, HttpUnusable, listen
from executor.ops.metrics import Metrics, StreamWatch
from executor.service import wiring

WORLD: Final = World(Direction.LONG, "OCO", pushes=True)
POLLED: Final = World(Direction.LONG, "OCO", pushes=False)


async def get(port: int, path: str) -> tuple[int, Any]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}{path}")
        return answer.status_code, answer.json()


class Server:
    """An HTTP server beside the bench's own loop, on a port of its own."""

    def __init__(self, b: Harness, **options: Any) -> None:
        assert b.loop is not None
        loop = b.loop
        exchange: Any = loop.exchange
        metrics = Metrics([wiring.view_of(loop)], exchange.connection.budget, StreamWatch())
        self.http = HttpServer("127.0.0.1", 0, [loop], metrics, [b.folder], **options)
        loop.on_step.append(self.http.observe)
        self._task = asyncio.create_task(self.http.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_ready_and_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with harness(tmp_path, POLLED) as b:
        server = Server(b)
        port = server.http.port
        code, told = await get(port, "/readyz")
        assert (code, told["faults"]) == (503, ["the exchange has not been heard yet"])
        await b.wait(20)
        assert await get(port, "/readyz") == (200, {"ready": True, "faults": []})

        monkeypatch.setattr(http, "DISK_FREE_MIN", 2**63)
        code, told = await get(port, "/readyz")
        assert (code, "is full" in told["faults"][0]) == (503, True)
        monkeypatch.setattr(http, "DISK_FREE_MIN", 0)
        server.http._heard_within = -1
        code, told = await get(port, "/readyz")
        assert (code, "has not been heard for" in told["faults"][0]) == (503, True)
        await server.stop()


async def test_a_stream_that_is_up_is_the_exchange_heard(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        server = Server(b, heard_within=-1)
        assert (await get(server.http.port, "/readyz"))[0] == 200
        await server.stop()


async def test_a_stuck_inbox_is_not_ready_but_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: nothing is taken until the state can be written (rule 8.1)."""
    monkeypatch.setattr(http, "SERVED_WITHIN_S", 0.05)
    async with harness(tmp_path, WORLD) as b:
        server = Server(b)
        await b.wait(20)
        assert b.loop is not None
        stuck = asyncio.Event()

        async def never(_event: object) -> Any:
            await stuck.wait()

        with monkeypatch.context() as patch:
            patch.setattr(b.loop, "ask", never)
            code, told = await get(server.http.port, "/readyz")
            assert (code, "was not taken within" in told["faults"][0]) == (503, True)
            assert (await get(server.http.port, "/readyz"))[0] == 503
            assert await get(server.http.port, "/healthz") == (200, {"alive": True})
        stuck.set()
        assert (await get(server.http.port, "/readyz"))[0] == 200
        await server.stop()


async def test_status_is_what_the_command_prints(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        server = Server(b)
        await b.enter()
        code, told = await get(server.http.port, "/status")
        assert (code, told["position"]["phase"], told["running"]) == (200, "protected", True)
        await server.stop()


async def test_the_root_names_everything_that_is_there(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        server = Server(b)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http.port}") as client:
            index = await client.get("/")
            assert index.headers["content-type"].startswith("text/html")
            linked = re.findall(r'href="([^"]+)"', index.text)
            assert linked == ["/status", "/readyz", "/healthz", "/metrics"]
            assert [(await client.get(path)).status_code in (200, 503) for path in linked] == [True] * 4
        await server.stop()


def test_an_address_that_cannot_be_had() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(HttpUnusable, match=f"HTTP_PORT {port} can't be listened on"):
            listen("127.0.0.1", port)


def test_a_host_that_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded(host: str, _: int, **__: object) -> None:
        host.encode("idna")  # as socket.getaddrinfo does

    monkeypatch.setattr(socket, "getaddrinfo", encoded)
    with pytest.raises(HttpUnusable, match=r"HTTP_HOST a{70}, HTTP_PORT 1 can't be listened on: no host's name"):
        listen("a" * 70, 1)
