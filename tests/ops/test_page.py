"""The page's feed and who may read it, on the service as it runs; what a browser makes of it: tests/page."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from tests.ops.samples import closed
from tests.ops.test_http import WORLD, Server
from tests.scenarios.harness import EXITS, Harness, harness
from tools.ports import free_port

from executor.core.model.state import Reason
from executor.core.model.values import OrderSide
from executor.ops import http, keep_up
from executor.ops.page import feed as feeds
from executor.ops.page.access import PageAccess, host_name
from executor.ops.page.feed import CLIENTS_MAX, QUEUE_MAX, Client, equity_of
from executor.ops.page.history import POINTS_MAX, History, Point, thinned

TOKEN: Final = "a token of sixteen or more"
LIBRARY: Final = "e21cc5caa0226ef30bd8549c50b9ef926615f2a4ee6b4e486353477a55f598cf"
HTML: Final = {"Accept": "text/html,application/xhtml+xml"}


Frame = dict[str, Any]


@asynccontextmanager
async def page(folder: Path, **options: Any) -> AsyncIterator[tuple[Harness, Server, httpx.AsyncClient]]:
    async with harness(folder, WORLD) as b:
        server = Server(b, **options)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http.port}") as client:
                await client.get("/healthz")  # it is there
                yield b, server, client
        finally:
            await server.stop()


async def frames(client: httpx.AsyncClient) -> AsyncGenerator[Frame, None]:
    async with client.stream("GET", "/events", timeout=20) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield msgspec.json.decode(line.removeprefix("data: "))


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (a server's doing, of which nothing tells)
            await asyncio.sleep(0.01)


async def until(stream: AsyncIterator[Frame], condition: Callable[[Frame], Any]) -> Frame:
    async with asyncio.timeout(20):
        return await anext(frame async for frame in stream if condition(frame))


def stop_in(frame: Frame) -> str | None:
    """The live stop that a frame tells of; empty where it tells nothing of a trade."""
    position = frame["symbols"][0]["status"]["position"] if frame["symbols"] else None
    return position["live_stop"] if position is not None else ""


async def test_a_reader_has_the_whole_picture_then_what_changes(tmp_path: Path) -> None:
    async with page(tmp_path) as (b, server, client):
        await b.enter()
        async with aclosing(frames(client)) as stream:
            first = await anext(stream)
            (symbol,) = first["symbols"]
            assert (first["whole"], symbol["symbol"]) == (True, b.symbol)
            position = symbol["status"]["position"]
            assert (position["phase"], Decimal(position["covered"])) == ("protected", Decimal(position["held"]))
            assert [(fill[1], fill[2], Decimal(fill[4])) for fill in symbol["fills"]] == [("ENTRY", "BUY", Decimal(3))]
            assert symbol["points"][-1][2] == position["live_stop"] == str(b.at(-1))

            await b.move(1)
            moved = await until(stream, lambda frame: stop_in(frame) not in {"", None, str(b.at(-1))})
            assert not moved["whole"]
            assert moved["symbols"][0]["points"][-1][2] == stop_in(moved)
            assert moved["symbols"][0]["finished"] is None

            b.touch(b.at(-1))
            await b.ends(Reason.BREAKEVEN)
            done = await until(stream, lambda frame: frame["symbols"] and frame["symbols"][0]["finished"])
            (trade,) = done["symbols"][0]["finished"]["trades"]
            assert trade["pnl"] == str(b.closed.pnl)
            assert done["symbols"][0]["finished"]["equity"] == [[b.closed.closed // 1000, trade["pnl"]]]
            assert done["symbols"][0]["notes"][0]["event"] == "trade_closed"
            assert done["symbols"][0]["status"]["position"] is None
            assert done["health"] == {"ready": True, "faults": []}
        feed = server.http.feed
        feed.send(b": to one who has gone\n\n")
        await wait_for(lambda: not feed.clients)


async def test_no_frame_is_made_while_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FRAME_S", 0.001)
    async with page(tmp_path) as (b, server, _):
        made: list[bool] = []

        def frame(**_: bool) -> bytes:
            made.append(True)
            return b""

        monkeypatch.setattr(server.http.feed, "frame", frame)
        await b.enter()
        await asyncio.sleep(0.05)
        assert not made


async def test_a_reader_hears_now_and_then_though_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "FRAME_S", 0.02)
    monkeypatch.setattr(feeds, "BEAT_S", 0.2)
    async with page(tmp_path) as (_, _server, client), aclosing(frames(client)) as stream:
        for _ in range(2):
            assert not (await until(stream, lambda frame: not frame["symbols"]))["whole"]


async def test_a_defect_of_the_page_is_told_and_touches_no_trade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_up, "AGAIN_AFTER_S", 0.05)
    async with page(tmp_path) as (b, server, client), aclosing(frames(client)) as stream:
        await anext(stream)

        def broken(**_: bool) -> bytes:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(server.http.feed, "frame", broken)
            await b.enter()
            await wait_for(lambda: b.said("observer_died") > 0)
            assert (await client.get("/readyz")).status_code == 200
            assert b.roles() == EXITS[WORLD.layout]
        assert (await until(stream, stop_in))["symbols"][0]["status"]["position"]["phase"] == "protected"


async def test_findings_and_whatever_else_is_told_are_on_the_page(tmp_path: Path) -> None:
    """Those of the watchdog, and what was told before there was a page; each once, with the same words as elsewhere."""
    port = free_port()
    async with harness(tmp_path, WORLD, HTTP_PORT=str(port)) as b, httpx.AsyncClient() as client:
        client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
        assert b.loop is not None
        b.loop.exchange.connection.clock.offset -= 3_000  # type: ignore[attr-defined]
        await b.until(lambda: b.said("clock_off") == 1, within=200)
        await b.enter()
        async with aclosing(frames(client)) as stream:
            (first,) = (await anext(stream))["symbols"]
            notes = {note["event"]: note for note in first["notes"]}
            assert len(notes) == len(first["notes"])
            assert {"started", "clock_off", "trade_opened", "filled"} <= set(notes)
            assert notes["clock_off"]["level"] == "warning"
            assert "measured anew and set" in notes["clock_off"]["text"]
            assert 0 < b.clock.now_ms() // 1000 - notes["clock_off"]["at"] < 60
            b.place_by_hand("EX_17_TP1_1", OrderSide.SELL, "1", price=b.at(30))
            await b.until(lambda: "stray_orders" in b.alerts(), within=200)
            frame = await until(stream, lambda each: b"stray_orders" in msgspec.json.encode(each))
            (strays,) = [note for note in frame["symbols"][0]["notes"] if note["event"] == "stray_orders"]
            assert strays["level"] == "alert"
        metrics = (await client.get("/metrics")).text
    assert 'executor_alerts_total{event="clock_off",severity="warning"} 1.0' in metrics


async def test_settings_say_who_reads(tmp_path: Path) -> None:
    port = free_port()
    async with harness(tmp_path, WORLD, HTTP_PORT=str(port), HTTP_TOKEN=TOKEN), httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/"
        assert (await client.get(url)).status_code == 401
        shown = await client.get(url, headers={"Authorization": f"Bearer {TOKEN}"} | HTML)
        assert "<main" in shown.text


async def test_who_does_not_read_is_let_go_and_others_read_on(tmp_path: Path) -> None:
    class Wire:
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    async with page(tmp_path) as (_, server, _client):
        feed, wire, reads = server.http.feed, Wire(), Client(None)
        stuck: Any = wire
        feed.clients |= {Client(stuck), reads}
        for n in range(QUEUE_MAX + 1):
            feed.send(b"%d" % n)
            assert reads.queue.get_nowait() == b"%d" % n
        assert (wire.aborted, feed.clients, feed.dropped) == (True, {reads}, 1)


async def test_a_socket_that_is_not_read_is_cut(tmp_path: Path) -> None:
    async with page(tmp_path) as (_, server, _client):
        feed = server.http.feed
        _, writer = await asyncio.open_connection("127.0.0.1", server.http.port, limit=1024)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_for(lambda: bool(feed.clients))
        async with asyncio.timeout(20):
            while feed.clients:
                feed.send(b": " + b"x" * 1_000_000 + b"\n\n")
                await asyncio.sleep(0)
        assert feed.dropped == 1
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_readers_are_bounded(tmp_path: Path) -> None:
    async with page(tmp_path) as (_, server, client):
        server.http.feed.clients |= {Client(None) for _ in range(CLIENTS_MAX)}
        assert (await client.get("/events")).status_code == 503


async def test_a_browser_gets_the_page_and_every_answer_its_headers(tmp_path: Path) -> None:
    async with page(tmp_path) as (_, _server, client):
        index = await client.get("/", headers=HTML)
        assert index.headers["content-type"].startswith("text/html")
        files = re.findall(r'(?:src|href)="(static/[^"]+)"', index.text)
        assert {Path(name).name for name in files} == http.FILES
        assert re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", index.text) == []
        for path in ("/", "/status", "/healthz", "/metrics", "/nothing", *(f"/{name}" for name in files)):
            answer = await client.get(path, headers=HTML)
            assert answer.status_code == (404 if path == "/nothing" else 200)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        for path in ("/static/..%2f..%2fhttp.py", "/static/index.html", "/static/"):
            assert (await client.get(path)).status_code == 404
        assert (await client.post("/")).status_code == 405


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LocalHost:1", 200),
        ("[::1]:8080", 200),
        ("executor.lan:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8080", 421),
        ("192.0.2.7", 421),
        ("", 421),
    ],
)
async def test_another_name_for_this_machine_is_refused(tmp_path: Path, host: str, code: int) -> None:
    async with page(tmp_path, access=PageAccess("executor.lan")) as (_, _server, client):
        for path in ("/", "/events" if code != 200 else "/healthz", "/status"):
            assert (await client.get(path, headers={"Host": host})).status_code == code


async def test_with_a_token_every_reader_shows_it(tmp_path: Path) -> None:
    async with page(tmp_path, access=PageAccess("192.0.2.7", TOKEN)) as (_, _server, client):
        for path in ("/", "/events", "/status", "/metrics", "/readyz", "/static/page.js", "/?token=another"):
            refused = await client.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.get("/healthz")).status_code == 200
        shown = {"Authorization": f"Bearer {TOKEN}", "Host": "executor.example"}
        assert (await client.get("/metrics", headers=shown)).status_code == 200
        for wrong in ("Bearer", "Bearer x", f"Basic {TOKEN}"):
            assert (await client.get("/metrics", headers={"Authorization": wrong})).status_code == 401

        welcome = await client.get("/", params={"token": TOKEN})
        assert (welcome.status_code, welcome.headers["location"]) == (303, "./")
        cookie = welcome.headers["set-cookie"]
        assert TOKEN not in cookie
        assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert (await client.get("/status")).status_code == 200
        client.cookies.clear()
        assert (await client.get("/status")).status_code == 401
        for path, leads_to in (("/account/alice/", "./"), ("/account/alice", "./alice"), ("//x.example/", "./")):
            deeper = await client.get(path, params={"token": TOKEN})  # from there, not from the root
            assert (deeper.status_code, deeper.headers["location"]) == (303, leads_to)
            client.cookies.clear()


@pytest.mark.parametrize(
    ("header", "name"), [("a:1", "a"), ("a", "a"), ("[::1]:80", "::1"), ("::1", "::1"), ("[", ""), (":", "")]
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


def test_the_chart_library_is_the_one_that_was_looked_at() -> None:
    """lightweight-charts 5.2.1, dist/lightweight-charts.standalone.production.js of its npm package."""
    assert hashlib.sha256((http.STATIC / "lightweight-charts.js").read_bytes()).hexdigest() == LIBRARY
    assert "Apache License" in (http.STATIC / "LICENSE").read_text(encoding="utf-8")
    assert "TradingView" in (http.STATIC / "NOTICE").read_text(encoding="utf-8")


def test_the_way_of_the_price_is_bounded_and_keeps_where_the_stop_moved() -> None:
    points = [Point(at, str(at), "90" if at < 101 else "95") for at in range(POINTS_MAX)]
    kept = thinned(points)
    assert len(kept) == POINTS_MAX * 3 // 4 + 1
    assert kept[-POINTS_MAX // 2 :] == points[-POINTS_MAX // 2 :]
    assert points[101] in kept
    jumpy = [Point(at, "1", str(at)) for at in range(POINTS_MAX)]
    assert len(thinned(jumpy)) == POINTS_MAX * 3 // 4


async def test_one_point_a_second_the_newest_of_it(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        history = History()
        history.sample(b.state)
        for r in (0.1, 0.2, 0.3):
            await b.move(r)
            history.sample(b.state)
        times = [point.at for point in history.points]
        assert times == sorted(set(times))
        assert Decimal(history.points[-1].price) == b.at(0.3)


def test_profit_so_far() -> None:
    trades = [
        closed(closed=1_000, pnl=Decimal(1)),
        closed(closed=1_500, pnl=Decimal(2)),
        closed(closed=3_000, pnl=Decimal("-0.5")),
        closed(closed=4_000, pnl=Decimal(0), qty=Decimal(0)),
    ]
    assert equity_of(trades) == [(1, "3"), (3, "2.5")]
