"""The cases of this folder, each over sockets where it says so; `kit` tells them."""

import asyncio
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.cases.kit import HERE, WORLD, opened, signal, trading
from tests.scenarios.harness import AFTER_TP1, Harness, harness
from tests.service.inlets.test_webhook import SECRET, Sender, hooked
from tools.ports import free_port

from executor.core.model.state import Reason
from executor.exchange.port import StartError
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.ops.http import HttpUnusable, listen
from executor.paper.engine.symbol import Symbol
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.service import app
from executor.service.market import Market
from executor.service.store.trades import read_trades


class Wire(FaultPlan):
    """Answers `request` (as "GET /api/v3/time") by `answer` while it is `on`."""

    def __init__(self, request: str, answer: Answer) -> None:
        self.on = False
        self.times = 0
        self._request = request
        self._answer = answer

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.on or f"{method} {path}" != self._request:
            return None
        self.times += 1
        return RequestFault(execute=False, answer=self._answer)


async def reload_rules(b: Harness) -> None:
    """The hourly look at the symbol's rules, a minute from now."""
    assert b.loop is not None
    b.loop.timing = replace(b.loop.timing, reload_rules=60.0)
    await b.wait(3700)


async def test_delisted_while_open(tmp_path: Path) -> None:
    """B.3: an alert, and the exits and the software stop go on; also after a restart."""
    gone = Wire("GET /api/v3/exchangeInfo", Answer(400, b'{"code":-1121,"msg":"Invalid symbol."}'))
    async with trading(tmp_path, "delisted-while-open", faults=gone) as b:
        await opened(b, "delisted-while-open")
        gone.on = True
        await reload_rules(b)
        assert gone.times > 1
        assert b.alerts().count("not_listed") == 1
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.restart()
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        await b.wait(200)
        await b.signal(entry="59000", targets=None)
        assert b.state.position is None
        assert b.state.refused["barred"] == 1


async def test_rules_reloaded_mid_entry(tmp_path: Path) -> None:
    """B.1: nothing but a line in log and journal; the entry stays, the trade goes on."""
    async with trading(tmp_path, "rules-reloaded-mid-entry") as b:
        await signal(b, "rules-reloaded-mid-entry")
        refilter(b, "LOT_SIZE", maxQty="9.00000000")
        await reload_rules(b)
        assert b.said("rules_changed") == 1
        assert b.roles() == ["ENTRY"]
        await b.move(0)
        assert b.roles() == ["SL", "SL1", "SL2", "TP1", "TP2"]
        await b.move(-1)
        await b.ends(Reason.SL)


async def test_an_override_that_no_longer_fits_ends_no_trade_and_bars_the_next(tmp_path: Path) -> None:
    """B.3: the exchange's own filters hold for what is open, and a person is told, once, also after a restart."""
    async with trading(tmp_path, "rules-reloaded-mid-entry", TICK_SIZE="0.01") as b:
        await opened(b, "rules-reloaded-mid-entry")
        refilter(b, "PRICE_FILTER", tickSize="0.10")
        await reload_rules(b)
        assert b.alerts().count("filters_unfit") == 1
        assert b.loop is not None
        assert b.loop.engine.rules.tick == Decimal("0.1")
        await b.restart()
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        await b.wait(200)
        await b.signal(entry="59000", targets=None)
        assert b.state.refused["barred"] == 1


async def test_of_several_symbols_one_that_is_not_listed_any_more_is_left_out_at_a_start(tmp_path: Path) -> None:
    """B.3, delisted-while-open: the others trade, whichever comes first."""
    async with harness(tmp_path, WORLD, symbols=("LTCUSDT", "BNBUSDT"), started=False) as b:
        b.symbols = ("GONEUSDT", *b.symbols)
        await b.start()
        assert set(b.loops) == {"LTCUSDT", "BNBUSDT"}
        assert b.alerts() == ["not_started"]
        b.symbol = "LTCUSDT"
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)


def refilter(b: Harness, kind: str, **changes: str) -> None:
    """Give the symbol another filter."""
    row = dict(b.engine.symbol("BTCUSDT").row)
    row["filters"] = [{**each, **changes} if each["filterType"] == kind else each for each in row["filters"]]
    b.engine.replace_symbol(Symbol.from_exchange_info(row))


def current(name: str) -> bytes:
    """The bytes of a body, as they came in, its secret that of these tests, its time now."""
    text = (HERE / name).read_text("utf-8").replace("0123456789abcdef-example", SECRET)
    return re.sub(r"2026-11-26T12:00:00Z", "2025-06-15T15:06:40Z", text).encode()  # when the bench begins


async def test_tv_reduce_short(tmp_path: Path) -> None:
    """C.1: the order reduces a short; taken as an entry it would open a long against the strategy."""
    async with hooked(tmp_path) as sender:
        answer = await sender.post(current("tv-reduce-short.json"))
        assert answer.status_code == 400
        assert "market_position short" in answer.json()["why"]
        assert sender.bench.state.position is None
        assert sender.bench.state.refused == {"malformed": 1}


async def test_tv_malformed_told(tmp_path: Path) -> None:
    """C.2: told as what it is, and where; counted, and in the journal, without the secret."""
    async with hooked(tmp_path) as sender:
        answer = await sender.post(current("tv-malformed-told.txt"))
        assert answer.status_code == 400
        assert re.search(r"not JSON: .* at character \d+", answer.json()["why"])
        assert sender.bench.state.refused == {"malformed": 1}
        journal = sender.bench.settings().journal_path("LTCUSDT").read_text("utf-8")
        assert "not JSON" in journal
        assert SECRET not in journal + json.dumps(sender.bench.log, default=str)
        stranger = await sender.post(current("tv-malformed-told.txt").replace(SECRET.encode(), b"wrong"))
        assert stranger.status_code == 401
        assert "not JSON" in stranger.json()["why"]
        twice = await sender.post(current("tv-malformed-told.txt").replace(b"tv-1", SECRET.encode()))
        assert twice.status_code == 400
        assert SECRET not in twice.text


async def test_http_port_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B.5: the trade is looked after (stops to breakeven), an alert names the port; it is had once it is free."""
    port = free_port()
    own: dict[str, Any] = {"HTTP_PORT": str(port), "WEBHOOK_PORT": str(free_port()), "WEBHOOK_SECRET": SECRET}
    monkeypatch.setattr("executor.service.listening.RETRY_S", 0.1)
    async with trading(tmp_path, "http-port-taken", **own) as b:
        await opened(b, "http-port-taken")
        await b.stop()
        with listen("127.0.0.1", port), listen("127.0.0.1", int(own["WEBHOOK_PORT"])):
            await b.start(**own)
            told = [line for line in b.log if line["event"] == "not_listening"]
            assert [(line["what"], line["alert"]) for line in told] == [("http", True), ("webhook", True)]
            assert str(port) in told[0]["text"]
            await b.move(1)
            assert b.roles() == AFTER_TP1["OCO"]
            assert min(b.stops()) > b.at(0)
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(20):
            while b.said("listening_after_all") < 2:  # noqa: ASYNC110  # real time, in which a port is tried again
                await asyncio.sleep(0.05)
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)


async def test_without_an_open_trade_a_taken_port_ends_the_start(tmp_path: Path) -> None:
    port = free_port()
    async with trading(tmp_path, "http-port-taken", HTTP_PORT=str(port)) as b:
        await b.stop()
        with listen("127.0.0.1", port), pytest.raises(HttpUnusable, match=str(port)):
            await b.start()


async def test_a_journal_and_a_list_of_trades_that_can_not_be_opened_keep_nobody_from_an_open_trade(
    tmp_path: Path,
) -> None:
    """B.5's kind: with a trade open a start needs the state, and nothing else."""
    async with trading(tmp_path, "http-port-taken", HTTP_PORT="0") as b:
        await opened(b, "http-port-taken")
        await b.stop()
        journal, trades = b.settings().journal_path("BTCUSDT"), tmp_path / "state.trades.jsonl"
        kept = journal.read_bytes()
        for path in (journal, trades):
            path.unlink()
            path.mkdir()
        await b.start()
        assert "trade_list_unusable" in b.alerts()
        assert b.said("journal_interrupted") == 1
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        for path in (journal, trades):
            path.rmdir()
        journal.write_bytes(kept)
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        assert b.said("journal_goes_on") == 1
        assert len(list(read_trades(trades))) == 1


async def test_a_start_with_a_trade_open_tries_the_exchange_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that ended would leave the trade to its stops for as long as the supervisor waits."""
    tries: list[float] = []

    async def connect(*_: object) -> dict[str, object]:
        tries.append(b.clock.now_ms() / 1000)
        if len(tries) < 8:
            raise StartError("refuses the API key")
        return {}

    async with trading(tmp_path, "http-port-taken", HTTP_PORT="0") as b:
        monkeypatch.setattr("executor.service.app.connect_all", connect)
        market = Market("v", Endpoints("", "", ""), Credentials.hmac("k", "s"), ("BTCUSDT",), b.clock, b.patient)
        with pytest.raises(StartError):
            await app.reach(b.settings(), market)
        tries.clear()
        await opened(b, "http-port-taken")
        await b.stop()
        reached = asyncio.create_task(app.reach(b.settings(), market))
        await b.until(reached.done, within=600)
        assert reached.result() == {}
        assert b.alerts().count("exchange_not_reached") == 1
        pauses = [round(after - before) for before, after in pairwise(tries)]
        assert pauses == [2, 4, 8, 16, 32, 60, 60]


async def test_file_no_newline(tmp_path: Path) -> None:
    """C.2: taken after a moment in which nothing more was written; what is none is told of."""
    async with trading(tmp_path, "delisted-while-open") as b:
        told = json.loads((HERE / "file-no-newline.jsonl").read_text("utf-8"))
        b.write(json.dumps({**told, "ts": b.clock.now_ms()}))
        await b.wait(3)
        assert b.position.signal == "n-1"
        b.write('\n{"id": "n-2", "ts"')
        await b.wait(15)
        assert b.said("signal_unended") == 1


async def raw(sender: Sender, *parts: bytes, after: bytes = b"") -> bytes:
    """What comes back for `parts`; the second is sent once `after` has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sender.port)
    heard = b""

    async def talk() -> None:
        nonlocal heard
        for number, part in enumerate(parts):
            while number and after not in heard:
                heard += await reader.read(1000)
            writer.write(part)
        while more := await reader.read(1000):
            heard += more

    talking = asyncio.create_task(talk())
    while not talking.done():
        await sender.bench.wait(0.3)
        await asyncio.sleep(0.002)
    await talking
    writer.close()
    return heard


def request(name: str) -> tuple[bytes, bytes]:
    """Head and body, made current; both are of one length as they were."""
    head, _, body = (HERE / name).read_bytes().partition(b"\r\n\r\n")
    body = body or (HERE / "xff-port.http").read_bytes().partition(b"\r\n\r\n")[2]
    body = body.replace(b"0123456789abcdef-example", SECRET.encode()).replace(
        b"2026-11-26T12:00:00Z", b"2025-06-15T15:06:40Z"
    )
    body = body.replace(b"BTCUSDT", b"LTCUSDT").replace(b"59000.1", b"100").replace(b"58000", b"99")
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n", body


async def test_xff_port(tmp_path: Path) -> None:
    """C.2: the proxy writes address:port."""
    own = {"WEBHOOK_TRUSTED_PROXY": "127.0.0.1", "WEBHOOK_ALLOW": "203.0.113.7"}
    async with hooked(tmp_path, **own) as sender:
        head, body = request("xff-port.http")
        assert (await raw(sender, head + body)).startswith(b"HTTP/1.1 200 ")
        assert (await raw(sender, head.replace(b"203.0.113.7:", b"203.0.113.8:") + body)).startswith(b"HTTP/1.1 403 ")


async def test_http_expect_continue(tmp_path: Path) -> None:
    """C.2: 100 Continue at once, then the answer; another expectation is refused."""
    async with hooked(tmp_path) as sender:
        head, body = request("http-expect-continue.http")
        heard = await raw(sender, head, body, after=b"100 Continue\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
        other = await raw(sender, head.replace(b"100-continue", b"a-miracle") + body)
        assert other.startswith(b"HTTP/1.1 417 ")
        small = head.replace(b"Content-Length: ", b"Content-Length: 99999")
        assert (await raw(sender, small)).startswith(b"HTTP/1.1 413 "), "not encouraged to send what is refused"
