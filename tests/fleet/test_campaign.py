"""A few rounds of the campaign (`make fleet-soak`), of each of which something is known to have happened."""

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.fleet.campaign import Report
from tests.fleet.cluster import needs_etcd
from tests.fleet.links import Link, in_frame
from tests.fleet.soak import as_text, campaign
from tests.fleet.world import TTL_S

REPEATS = 3
"""A slow machine may miss a round's moment, or take the signal when the price is past it."""


@needs_etcd
@pytest.mark.parametrize("kind", ["pause at commit", "kill at commit"])
async def test_a_round_ends_with_books_that_are_in_order(tmp_path: Path, kind: str) -> None:
    report = Report(1, TTL_S)
    await campaign(report, tmp_path, 1, only=kind, patient=1.0, repeats=REPEATS)
    assert report.violations == [], as_text(report)
    assert report.met[kind] >= 1, as_text(report)
    assert report.rounds[kind] == 1 + report.in_vain, as_text(report)
    assert report.acknowledged == report.signals == report.rounds[kind], as_text(report)
    assert report.trades + report.refused == 3 * report.signals, as_text(report)
    assert report.orders


@needs_etcd
def test_worlds_beside_each_other_share_the_rounds_and_are_told_of_as_one(tmp_path: Path) -> None:
    words = ["--rounds", "2", "--beside", "2", "--only", "drain", "--seed", "7", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fleet.soak", *words], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    whole = done.stdout.rpartition("seed            7\n")[2]
    assert ": 2 drain\n" in whole
    assert "signals         2, " in whole
    assert "violations      0\n" in whole
    assert all((tmp_path / world / "report.json").exists() for world in ("w0", "w1"))


def test_a_kind_that_there_is_not_is_refused() -> None:
    words = ["--only", "sleep"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fleet.soak", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)  # 1 where there is no etcd
    assert "kill on the wire" in done.stderr or "etcd" in done.stderr


@pytest.mark.parametrize("text", ["{}", '{"method":"order.place"}' + "x" * 200, '{"method":"order.place"}' * 4_000])
async def test_what_goes_over_a_socket_can_be_seen_on_its_way(text: str) -> None:
    heard: list[bytes] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(str(len(message.data)))
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    link = Link(*runner.addresses[0][:2])
    await link.start()

    def seen(data: bytes) -> float:
        heard.append(in_frame(data))
        return 0.0

    link.on_request = seen
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{link.port}") as client:
            await client.send_str(text)
            assert await client.receive_str() == str(len(text))
    finally:
        await link.stop()
        await runner.cleanup()
    assert heard[0] == b""  # the handshake
    assert text.encode().startswith(heard[1])
    assert heard[1][:20] == text[:20].encode()
