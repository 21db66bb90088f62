"""Signals over HTTP, into the service as it runs."""

import asyncio
import errno
import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import structlog
from tests.scenarios.harness import Harness, World, harness
from tools.ports import free_port

from executor.core.model.events import Verb
from executor.core.model.signal import Signal
from executor.core.model.values import Direction
from executor.core.model.verdict import Verdict
from executor.service.inlets import webhook
from executor.service.inlets.connections import Bounds, ConnectionLimiter
from executor.service.inlets.webhook import Access, Webhook, WebhookUnusable, recent_keys
from executor.signals.parse import Malformed

WORLD: Final = World(Direction.LONG, "OCO", pushes=True)
SECRET: Final = "the webhook's own secret"
HMAC_KEY: Final = "the key of its signatures"


class Sender:
    """Sends to the webhook of a bench, and lets its market's time pass until the answer is there."""

    def __init__(self, b: Harness, port: int) -> None:
        self.bench = b
        self.port = port

    async def post(self, body: object, headers: dict[str, str] | None = None, method: str = "POST") -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{self.port}/signal"
            asked = asyncio.create_task(client.request(method, url, content=content, headers=headers))
            while not asked.done():
                await self.bench.wait(0.3)
                await asyncio.sleep(0.002)
            return await asked

    def signal(self, id: str = "w1", **more: Any) -> dict[str, Any]:  # noqa: A002  # the field's own word
        b = self.bench
        told = {
            "secret": SECRET,
            "id": id,
            "symbol": b.symbol,
            "side": "long",
            "price": str(b.at(0)),
            "stop": str(b.at(-1)),
            "targets": [str(b.at(1)), str(b.at(2))],
        }
        return told | more

    def signed(self, body: bytes, at: float) -> dict[str, str]:
        told = hmac.new(HMAC_KEY.encode(), f"{at:.0f}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Webhook-Time": f"{at:.0f}", "X-Webhook-Signature": told}

    def written(self) -> list[dict[str, Any]]:
        path = self.bench.signals
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


@asynccontextmanager
async def hooked(tmp_path: Path, **settings: str) -> AsyncIterator[Sender]:
    port = free_port()
    given: dict[str, Any] = {"WEBHOOK_PORT": str(port), "WEBHOOK_SECRET": SECRET, **settings}
    async with harness(tmp_path, WORLD, **{k: v for k, v in given.items() if v}) as b:
        yield Sender(b, port)


async def test_a_signal_is_taken_and_the_answer_says_so(tmp_path: Path) -> None:
    async with hooked(tmp_path) as sender:
        answer = await sender.post(sender.signal())
        assert (answer.status_code, answer.json()) == (200, {"accepted": True, "id": "w1", "why": "taken"})
        assert sender.bench.position.signal == "w1"
        assert [line["id"] for line in sender.written()] == ["w1"]
        assert SECRET not in sender.bench.signals.read_text("utf-8")


async def test_each_of_several_symbols_gets_its_own_and_a_strange_one_is_told(tmp_path: Path) -> None:
    port = free_port()
    symbols = ("LTCUSDT", "ETHUSDT")
    hook = {"WEBHOOK_PORT": str(port), "WEBHOOK_SECRET": SECRET}
    async with harness(tmp_path, WORLD, symbols=symbols, balances={"USDT": "10000"}, **hook) as b:  # type: ignore[arg-type]
        sender = Sender(b, port)
        strange = await sender.post(sender.signal("w0", symbol="XRPUSDT"))
        assert (strange.status_code, strange.json()) == (
            409,
            {"accepted": False, "id": "w0", "why": "signal is for XRPUSDT, this trades LTCUSDT, ETHUSDT"},
        )
        for b.symbol in symbols:
            answer = await sender.post(sender.signal("the same id"))
            assert (answer.status_code, b.position.signal) == (200, "the same id")
            assert (await sender.post(sender.signal("the same id"))).status_code == 409


async def test_a_tradingview_alert_is_taken(tmp_path: Path) -> None:
    async with hooked(tmp_path) as sender:
        alert = {
            "secret": SECRET,
            "ticker": "BINANCE:LTCUSDT",
            "action": "buy",
            "close": "100",
            "timenow": sender.bench.clock.now_ms(),
        }
        answer = await sender.post(alert, {"Content-Type": "text/plain"})
        assert answer.status_code == 200, answer.text
        assert sender.bench.position.plan.direction is Direction.LONG


async def test_a_repetition_is_known_before_while_and_after_it_is_taken(tmp_path: Path) -> None:
    async with hooked(tmp_path) as sender:
        together = await asyncio.gather(*(sender.post(sender.signal(price=f"100.0{n}")) for n in range(5)))
        assert sorted(answer.status_code for answer in together) == [200, 409, 409, 409, 409]
        assert len(sender.written()) == 1
        again = await sender.post(sender.signal())
        assert (again.status_code, again.json()["why"]) == (409, "this signal was sent before")
        await sender.bench.restart()
        assert (await sender.post(sender.signal())).status_code == 409
        assert len(sender.written()) == 1


async def test_a_repetition_is_known_from_the_file_when_the_core_has_forgotten_it(tmp_path: Path) -> None:
    async with hooked(tmp_path, MAX_SIGNAL_AGE_SEC="60") as sender:
        await sender.bench.command(Verb.PAUSE)
        assert (await sender.post(sender.signal())).status_code == 409
        await sender.bench.wait(3600)
        assert (await sender.post(sender.signal("w2"))).json()["why"] == "entries are paused"
        assert "w1" not in [seen.key for seen in sender.bench.state.seen]
        await sender.bench.restart(MAX_SIGNAL_AGE_SEC="60")
        await sender.bench.command(Verb.RESUME)
        assert (await sender.post(sender.signal())).json()["why"] == "this signal was sent before"
        assert sender.bench.state.position is None


async def test_a_refusal_names_its_rule(tmp_path: Path) -> None:
    async with hooked(tmp_path) as sender:
        await sender.post(sender.signal())
        answer = await sender.post(sender.signal("w2"))
        assert answer.status_code == 409
        assert "is open" in answer.json()["why"]
        other = await sender.post(sender.signal("w3", symbol="BTCUSDT"))
        assert other.status_code == 409
        assert "signal is for BTCUSDT" in other.json()["why"]
        assert sender.bench.state.refused == {"trade_open": 1, "symbol": 1}


async def test_what_is_no_signal_is_counted_and_not_written(tmp_path: Path) -> None:
    async with hooked(tmp_path) as sender:
        answer = await sender.post(sender.signal(price="-1"))
        assert (answer.status_code, answer.json()["accepted"]) == (400, False)
        assert "price" in answer.json()["why"]
        header = {"X-Webhook-Secret": SECRET}
        assert (await sender.post(b"{", header)).status_code == 400
        assert (await sender.post({"side": "long"}, header)).status_code == 400
        assert sender.written() == []
        assert sender.bench.state.refused == {"malformed": 3}
        assert SECRET not in str(sender.bench.log)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\x00", b'{"secret":"wrong"}', b'{"secret":1}'])
async def test_without_the_secret_nothing_is_told_but_that(tmp_path: Path, body: bytes) -> None:
    async with hooked(tmp_path) as sender:
        assert (await sender.post(body)).status_code == 401
        assert sender.bench.state.refused == {}


@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 100\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    ],
)
async def test_a_stranger_that_hangs_up_in_the_middle_is_no_fault_of_ours(tmp_path: Path, begun: bytes) -> None:
    async with hooked(tmp_path) as sender:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", sender.port)
            writer.write(b"POST /signal HTTP/1.1\r\nHost: x\r\n" + begun)
            await writer.drain()
            writer.transport.abort()
        for _ in range(200):
            if any(entry["event"].startswith("webhook_") for entry in sender.bench.log):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # until all have gone
        told = [entry["event"] for entry in sender.bench.log if entry["event"].startswith("webhook_")]
        assert told == ["webhook_denied"]  # once in ten seconds
        assert sender.bench.alerts() == []


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (bytes.fromhex("1603010200010001fc0303") + bytes(200), "HTTPS, where plain HTTP is spoken"),
        (b"POST /signal HTTP/1.1\r\nHost: x\r\nX-Webhook-Secret: " + b"s" * 5000 + b"\r\n\r\n", "too long"),
        (b"POST /signal HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "Host"),
        (b"SSH-2.0-\xff" + SECRET.encode() + b"\r\n", "no HTTP request"),
    ],
)
async def test_what_is_no_http_is_told_and_counted_once_a_while(tmp_path: Path, sent: bytes, why: str) -> None:
    """The library answers it by itself: a sender with https, or a proxy's long headers, left no trace."""
    async with hooked(tmp_path) as sender:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", sender.port)
                writer.write(sent)
                assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.0 400")
                writer.close()
        (told,) = [line for line in logs if line["event"] == "webhook_denied"]
        assert (told["status"], told["source"], why in told["why"]) == (400, "127.0.0.1", True), told
        assert SECRET not in str(told)
        assert (await sender.post(sender.signal())).status_code == 200


async def test_whatever_can_be_read_can_be_judged_however_deep_it_is_nested(tmp_path: Path) -> None:
    async with hooked(tmp_path, WEBHOOK_RATE_PER_MIN="1000", WEBHOOK_TOTAL_PER_MIN="1000") as sender:
        for depth in range(900, 1_000, 4):
            body = b'{"id":"1","x":' + b"[" * depth + b"]" * depth + b"}"
            assert (await sender.post(body, {"X-Webhook-Secret": SECRET})).status_code == 400
        assert sender.bench.alerts() == []


async def test_signed_requests_are_taken_once(tmp_path: Path) -> None:
    now = time.time()
    async with hooked(tmp_path, WEBHOOK_SECRET="", WEBHOOK_HMAC_SECRET=HMAC_KEY) as sender:
        body = json.dumps(sender.signal()).encode()
        assert (await sender.post(body)).status_code == 401
        assert (await sender.post(body, sender.signed(body, now - 100))).status_code == 401
        assert (await sender.post(body, sender.signed(body + b" ", now))).status_code == 401
        assert sender.written() == []
        assert (await sender.post(body, sender.signed(body, now))).status_code == 200
        replayed = await sender.post(body, sender.signed(body, now))
        assert (replayed.status_code, replayed.json()["why"]) == (409, "this request was made before")


async def test_a_file_that_can_t_be_written_is_told_and_the_signal_may_come_again(tmp_path: Path) -> None:
    async with hooked(tmp_path) as sender:
        sender.bench.signals.mkdir()
        answer = await sender.post(sender.signal())
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert "webhook_not_written" in sender.bench.alerts()
        sender.bench.signals.rmdir()
        assert (await sender.post(sender.signal())).status_code == 200


async def test_what_is_written_down_is_taken_after_a_crash(tmp_path: Path) -> None:
    """The line is on disk, the service dies before it looks: the next start takes it, once."""
    async with hooked(tmp_path) as sender:
        b = sender.bench
        assert b.loop is not None
        content = json.dumps(sender.signal()).encode()
        async with httpx.AsyncClient(trust_env=False) as client:
            asked = asyncio.create_task(client.post(f"http://127.0.0.1:{sender.port}/signal", content=content))
            while not sender.written():  # noqa: ASYNC110  # market time stands still, so nobody takes it yet
                await asyncio.sleep(0.005)
            await b.stop()
            with pytest.raises(httpx.TransportError):
                await asked
        await b.start()
        await b.wait(1)
        assert b.position.signal == "w1"
        assert (await sender.post(sender.signal())).status_code == 409


async def test_a_verdict_that_takes_long_is_answered_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "VERDICT_S", 0.05)
    async with hooked(tmp_path) as sender:
        content = json.dumps(sender.signal()).encode()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://127.0.0.1:{sender.port}/signal", content=content)
        assert (answer.status_code, answer.json()["accepted"]) == (202, None)
        await sender.bench.wait(1)
        assert sender.bench.position.signal == "w1"


class TestBounds:
    async def test_requests_of_one_source(self, tmp_path: Path) -> None:
        async with hooked(tmp_path, WEBHOOK_RATE_PER_MIN="2") as sender:
            assert [(await sender.post(b"{}")).status_code for _ in range(3)] == [401, 401, 429]

    async def test_signals_of_all_sources(self, tmp_path: Path) -> None:
        async with hooked(tmp_path, WEBHOOK_TOTAL_PER_MIN="1") as sender:
            first, second = await sender.post(sender.signal()), await sender.post(sender.signal("w2"))
            assert (first.status_code, second.status_code) == (200, 429)
            assert 0 < int(second.headers["Retry-After"]) <= 61
            assert [line["id"] for line in sender.written()] == ["w1"]

    async def test_size(self, tmp_path: Path) -> None:
        async with hooked(tmp_path, WEBHOOK_MAX_BYTES="512") as sender:
            assert (await sender.post(sender.signal(note="x" * 512))).status_code == 413

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(10):
                    yield b"x" * 100

            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(f"http://127.0.0.1:{sender.port}/signal", content=chunks())
            assert answer.status_code == 413

    async def test_a_compressed_body_is_not_unpacked(self, tmp_path: Path) -> None:
        async with hooked(tmp_path) as sender:
            assert (await sender.post(b"\x1f\x8b\x08", {"Content-Encoding": "gzip"})).status_code == 401

    async def test_other_paths_and_methods(self, tmp_path: Path) -> None:
        async with hooked(tmp_path) as sender:
            for method in ("GET", "HEAD", "OPTIONS", "PUT"):
                answer = await sender.post(b"", method=method)
                assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.post(f"http://127.0.0.1:{sender.port}/")).status_code == 404

    async def test_who_shuts_its_side_once_all_is_said_is_answered(self, tmp_path: Path) -> None:
        """As socat and nc do."""
        async with hooked(tmp_path) as sender:
            reader, writer = await asyncio.open_connection("127.0.0.1", sender.port)
            writer.write(b"POST /signal HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            writer.write_eof()
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 401 ")
            writer.close()

    async def test_strangers_stay_out_and_what_they_forward_does_not_help(self, tmp_path: Path) -> None:
        async with hooked(tmp_path, WEBHOOK_ALLOW="192.0.2.0/24") as sender:
            with structlog.testing.capture_logs() as log:
                for _ in range(3):
                    answer = await sender.post(sender.signal(), {"X-Forwarded-For": "192.0.2.7"})
                    assert answer.status_code == 403
            assert sender.written() == []
        (told,) = [entry for entry in log if entry["event"] == "webhook_denied"]  # once in ten seconds
        assert (told["source"], told["status"]) == ("127.0.0.1", 403)
        assert told["why"].startswith("127.0.0.1 is outside WEBHOOK_ALLOW (is it your proxy?")

    async def test_networks_in_the_clothes_of_ipv6_are_what_they_are(self, tmp_path: Path) -> None:
        given = {"WEBHOOK_ALLOW": "::ffff:192.0.2.0/120", "WEBHOOK_TRUSTED_PROXY": "::ffff:127.0.0.1"}
        async with hooked(tmp_path, **given) as sender:
            assert (await sender.post(sender.signal(), {"X-Forwarded-For": "192.0.3.7"})).status_code == 403
            assert (await sender.post(sender.signal(), {"X-Forwarded-For": "192.0.2.7"})).status_code == 200

    async def test_behind_a_trusted_proxy_the_forwarded_address_counts(self, tmp_path: Path) -> None:
        given = {"WEBHOOK_ALLOW": "192.0.2.0/24", "WEBHOOK_TRUSTED_PROXY": "127.0.0.0/8"}
        async with hooked(tmp_path, **given) as sender:
            stranger = {"X-Forwarded-For": "192.0.2.7, 198.51.100.1"}
            assert (await sender.post(sender.signal(), stranger)).status_code == 403
            untold = await sender.post(sender.signal())
            assert untold.status_code == 403
            assert "your proxy names no other in X-Forwarded-For" in untold.json()["why"]
            assert (await sender.post(sender.signal(), {"X-Forwarded-For": "192.0.2.7"})).status_code == 200

    async def test_a_port_that_is_taken_is_told_at_the_start(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            with pytest.raises(WebhookUnusable, match="choose another port"):
                async with harness(tmp_path, WORLD, WEBHOOK_PORT=port, WEBHOOK_SECRET=SECRET):
                    pass


class Recorder(asyncio.Protocol):
    """A server's protocol that only counts."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


class TestAdmission:
    @asynccontextmanager
    async def serving(self, bounds: Bounds) -> AsyncIterator[tuple[ConnectionLimiter, list[Recorder], int]]:
        made: list[Recorder] = []

        def inner() -> Recorder:
            made.append(Recorder())
            return made[-1]

        doorman = ConnectionLimiter(inner, bounds)
        server = await asyncio.get_running_loop().create_server(doorman, "127.0.0.1", 0)
        try:
            yield doorman, made, server.sockets[0].getsockname()[1]
        finally:
            server.close()
            doorman.close()

    async def test_one_peer_has_so_many_places_and_gets_them_back(self) -> None:
        async with self.serving(Bounds(total=4, per_peer=2)) as (doorman, made, port):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
            other = [await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{n}", 0)) for n in (7, 8)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
            assert doorman.turned_away == 2
            for _, held_open in held:
                held_open.close()
            for recorder in made[:2]:
                await asyncio.wait_for(recorder.lost.wait(), 5)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            while made[-1].data != b"hello":  # noqa: ASYNC110  # bytes on their way
                await asyncio.sleep(0.001)
            for _, each in [*other, (None, writer)]:
                each.close()

    async def test_connections_that_are_held_open_shut_nobody_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("executor.service.inlets.connections.SILENT_S", 0.05)
        async with self.serving(Bounds(total=8, per_peer=2)) as (doorman, made, port):
            held = [
                await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{n}", 0))
                for n in (2, 3, 4, 5)
                for _ in range(2)
            ]
            await asyncio.sleep(0.1)
            newcomers = []
            for n in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{10 + n}", 0))
                writer.write(b"hello")
                async with asyncio.timeout(5):
                    while not any(recorder.data for recorder in made[8 + n :]):  # noqa: ASYNC110  # on their way
                        await asyncio.sleep(0.001)
                doorman.heard(made[-1])
                writer.close()
                await asyncio.wait_for(made[-1].lost.wait(), 5)
                newcomers.append(reader)
            assert doorman.turned_away == 0
            assert doorman.shown_out >= 1
            for _, writer in held:
                writer.close()

    async def test_who_is_waiting_for_an_answer_is_not_shown_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("executor.service.inlets.connections.SILENT_S", 0.0)
        async with self.serving(Bounds(total=2, per_peer=2)) as (doorman, made, port):
            heard = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            while len(made) < 2:  # noqa: ASYNC110  # on their way
                await asyncio.sleep(0.001)
            for recorder in made:
                doorman.heard(recorder)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            for _, each in [*heard, (None, writer)]:
                each.close()

    async def test_who_says_nothing_is_shown_out(self) -> None:
        async with self.serving(Bounds(hear_s=0.05, life_s=10)) as (_, made, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /sig")
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await asyncio.wait_for(made[0].lost.wait(), 5)
            writer.close()

    async def test_who_was_heard_may_wait_for_the_answer_but_not_for_ever(self) -> None:
        async with self.serving(Bounds(hear_s=0.05, life_s=0.3)) as (doorman, made, port):
            began = asyncio.get_running_loop().time()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not made:  # noqa: ASYNC110  # the connection is on its way
                await asyncio.sleep(0.001)
            doorman.heard(made[0])
            assert await asyncio.wait_for(reader.read(), 5) == b""
            assert asyncio.get_running_loop().time() - began >= 0.25
            writer.close()


def test_recent_keys(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    assert recent_keys(path) == []
    good = '{"ts":1750000000,"id":"%d","symbol":"LTCUSDT","side":"long","price":1}\n'
    path.write_text("not json\n\n" + "".join(good % n for n in range(10_000)), "utf-8")
    keys = recent_keys(path)
    assert keys[-1] == ("LTCUSDT", "9999")
    assert 1000 < len(keys) < 10_000


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_signal_file_that_can_not_be_looked_at_is_no_end_of_the_webhook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its folder may not be entered, its mount has gone: whatever is asked of the path fails, not only reading it."""

    def fail(*_args: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, name, fail)
    with structlog.testing.capture_logs() as log:
        assert recent_keys(tmp_path / "signals.jsonl") == []
    assert [line["error"] for line in log] == [os.strerror(number)]


class Taking:
    """An inlet by this machine's clock, which judges nothing."""

    def __init__(self) -> None:
        self.on_taken: list[Callable[[bytes, Verdict], None]] = []

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def knows(self, _signal: Signal) -> bool:
        return False

    async def submit(self, parsed: Signal | Malformed, takes: Collection[str] = ()) -> Verdict:
        raise AssertionError(parsed, takes)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tcp_info")
@pytest.mark.parametrize("hangs_up", [True, False], ids=["hung up", "still there"])
async def test_a_signal_without_a_time_is_of_the_moment_when_it_came_not_when_it_was_read(
    tmp_path: Path, *, hangs_up: bool
) -> None:
    """Requests wait at the port for a service that is still starting, or stands still, for hours perhaps: the alert of
    then was traded as one of now.
    """
    path = tmp_path / "signals.jsonl"
    hook = Webhook("127.0.0.1", 0, Access(secret=SECRET, hmac_key=None), Taking(), path)
    alert = {"secret": SECRET, "id": "w1", "ticker": "LTCUSDT", "action": "buy", "close": "100"}
    body = json.dumps(alert).encode()
    head = f"POST /signal HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hook.port)) as client:
        client.sendall(head.encode() + body)
        sent = time.time()
        if hangs_up:
            client.close()
        await asyncio.sleep(1.2)
        running = asyncio.create_task(hook.run())
        try:
            async with asyncio.timeout(5):
                while not path.exists() or not path.read_bytes().endswith(b"\n"):  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.wait({running})
    (line,) = path.read_text("utf-8").splitlines()
    assert int(json.loads(line)["ts"]) / 1000 == pytest.approx(sent, abs=0.2)


async def test_a_fault_of_ours_costs_its_request_and_is_told_in_the_loop_that_tells(tmp_path: Path) -> None:
    """It was told in the thread that deals with strangers: what sends alerts did not wake, or was changed under way."""
    threads: list[int] = []

    class Faulty(Taking):
        def now(self) -> int:
            raise ArithmeticError("a defect")

    def overhear(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if line.get("alert"):
            threads.append(threading.get_ident())
        return line

    hook = Webhook("127.0.0.1", 0, Access(secret=SECRET, hmac_key=None), Faulty(), tmp_path / "signals.jsonl")
    alert = {"secret": SECRET, "id": "w1", "ticker": "LTCUSDT", "action": "buy", "close": "100"}
    running = asyncio.create_task(hook.run())
    processors = structlog.get_config()["processors"]
    processors.insert(0, overhear)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://127.0.0.1:{hook.port}/signal", json=alert)
        async with asyncio.timeout(5):
            while not threads:  # noqa: ASYNC110  # it comes from another thread
                await asyncio.sleep(0.01)
    finally:
        processors.remove(overhear)
        running.cancel()
        await asyncio.wait({running})
    assert (answer.status_code, answer.json()["accepted"]) == (500, None)
    assert threads == [threading.get_ident()]
