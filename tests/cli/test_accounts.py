"""Several accounts in one service, one of whose files can't be used."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path

import httpx
from tests.cli.kit import run_here
from tests.crash.daemon import BRISK, spawn
from tests.ops.samples import closed
from tools.ports import free_port

from executor.cli import exits
from executor.paper.engine.exchange import Engine
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import Credential, HmacSecret, PaperServer
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.service.store.trades import TradeList


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.env"
    path.write_text(text)
    path.chmod(0o600)


async def first_lines(answer: httpx.Response, count: int) -> AsyncIterator[str]:
    async for line in answer.aiter_lines():
        yield line
        if (count := count - 1) == 0:
            return


async def test_an_account_whose_file_is_half_written_leaves_the_others_alone(tmp_path: Path) -> None:
    """It ended every start with a code after which systemd gives up, whatever trades the others had open."""
    engine = Engine([Symbol.from_exchange_info(row) for row in bundled_exchange_info()["symbols"]])
    engine.open_account("bob", {"USDT": Decimal(1_000)})
    server = PaperServer(engine, WallClock(), {"bob": Credential("bob", HmacSecret("bob"))})
    urls = await server.start()
    accounts, port = tmp_path / "accounts", free_port()
    accounts.mkdir()
    write(accounts, "alice", "BINANCE_API_KEY=alice\nBINANCE_API_SE")
    write(accounts, "bob", "BINANCE_API_KEY=bob\nBINANCE_API_SECRET=bob\nSYMBOL=LTCUSDT\n")
    environ = {
        **BRISK,
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": urls.base_url,
        "BINANCE_WS_API_URL": urls.ws_api_url,
        "BINANCE_STREAM_URL": urls.stream_url,
        "ACCOUNTS": str(accounts),
        "STATE_FN": str(tmp_path / "{account}" / "{symbol}.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "QTY": "3",
        "HTTP_PORT": str(port),
    }
    daemon = await spawn(environ, tmp_path / "log")
    try:
        assert await daemon.ready(60)
        (told,) = daemon.said("account_left_out")
        assert told["alert"]
        assert told["account"] == "alice"
        assert "alice.env line 2" in told["text"]
        assert {line["account"] for line in daemon.said("ready")} == {"bob"}
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
            assert 'href="account/bob/"' in (await client.get("/")).text
            async with client.stream("GET", "/account/bob/events") as told_live:
                frame = [line async for line in first_lines(told_live, 3)][-1]
            assert '"account":"bob"' in frame
        about_bob = await asyncio.to_thread(run_here, ["status", "--account", "bob"], environ)
        assert about_bob.exit_code == 0, about_bob.output
        # A word that names no account must not be one about those that happen to be left.
        for words in (["status", "--account", "alice"], ["status"], ["flatten"]):
            refused = await asyncio.to_thread(run_here, words, environ)
            assert refused.exit_code == exits.BAD_SETTINGS, refused.output
            assert "alice.env line 2" in refused.output
    finally:
        daemon.send(signal.SIGTERM)
        await daemon.end()
        await server.stop()


def test_a_report_of_several_accounts_says_whose_each_trade_is(tmp_path: Path) -> None:
    """Their trades of one signal begin in the same millisecond: all columns may be the same."""
    folder = tmp_path / "accounts"
    folder.mkdir()
    for name in ("alice", "bob"):
        write(folder, name, f"BINANCE_API_KEY={name}\nBINANCE_API_SECRET={name}\nSYMBOL=LTCUSDT\n")
        (tmp_path / name).mkdir()
        trades = TradeList(tmp_path / name / "LTCUSDT.trades.jsonl")
        trades.add(closed(pnl=Decimal(len(name))))
        trades.close()
    environ = {
        "BINANCE_ENV": "testnet",
        "ACCOUNTS": str(folder),
        "STATE_FN": str(tmp_path / "{account}" / "{symbol}.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "QTY": "3",
    }

    def told(*words: str) -> str:
        done = run_here(["report", *words], environ)
        assert done.exit_code == 0, done.output
        return done.stdout

    rows = json.loads(told("--format", "json"))
    assert sorted((row["account"], row["pnl"]) for row in rows) == [("alice", "5"), ("bob", "3")]
    assert told("--format", "csv").startswith("account,trade,")
    table = told()
    assert "alice LTCUSDT\n" in table
    assert "bob LTCUSDT\n" in table
    page = tmp_path / "page.html"
    told("--html", str(page))
    assert "<h1>Trades of alice LTCUSDT, bob LTCUSDT</h1>" in page.read_text()
    other = tmp_path / "alice" / "LTCUSDT.trades.jsonl"
    assert len(json.loads(told("--account", "bob", "--format", "json", "--trades", str(other)))) == 1
    unclear = run_here(["report", "--trades", str(other)], environ)
    assert (unclear.exit_code, "whose is it? name alice or bob with --account" in unclear.stderr) == (2, True)


class NoStops(FaultPlan):
    """Nothing that holds a stop is taken."""

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if method != "POST" or "_SL" not in str(params):
            return None
        return RequestFault(
            execute=False, answer=Answer(400, b'{"code": -2010, "msg": "This action is disabled on this account."}')
        )


async def test_an_end_with_a_position_bare_has_its_exit_code(tmp_path: Path) -> None:
    """Of several accounts it was 0, whatever was left; the alert says that it is 1."""
    engine = Engine([Symbol.from_exchange_info(row) for row in bundled_exchange_info()["symbols"]])
    engine.open_account("bob", {"USDT": Decimal(1_000)})
    clock, symbol = WallClock(), "LTCUSDT"
    engine.on_trade(symbol, 1, Decimal("100.08"), Decimal(1000), False, clock.now_ms())
    server = PaperServer(engine, clock, {"bob": Credential("bob", HmacSecret("bob"))}, faults=NoStops())
    urls = await server.start()
    accounts = tmp_path / "accounts"
    accounts.mkdir()
    write(accounts, "bob", f"BINANCE_API_KEY=bob\nBINANCE_API_SECRET=bob\nSYMBOL={symbol}\n")
    environ = {
        **BRISK,
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": urls.base_url,
        "BINANCE_WS_API_URL": urls.ws_api_url,
        "BINANCE_STREAM_URL": urls.stream_url,
        "ACCOUNTS": str(accounts),
        "STATE_FN": str(tmp_path / "{account}" / "{symbol}.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "ORDER_TRANSPORT": "rest",
        "FAILSAFE_FLATTEN": "false",
        "LIVE_ENTRY_TIMEOUT_SEC": "600",
        "QTY": "3",
    }
    daemon = await spawn(environ, tmp_path / "log")
    try:
        assert await daemon.ready(60)
        signal_ = {"ts": clock.now_ms(), "id": "s1", "symbol": symbol, "side": "long", "price": "100", "stop": "99"}
        (tmp_path / "signals.jsonl").write_text(json.dumps(signal_ | {"targets": ["101", "102"]}) + "\n")
        async with asyncio.timeout(20):
            while not engine.open_orders("bob", symbol):  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.05)
            engine.on_trade(symbol, 2, Decimal("99.9"), Decimal(1000), True, clock.now_ms())
            while not daemon.said("order_refused"):  # noqa: ASYNC110  # nor this
                await asyncio.sleep(0.05)
    finally:
        daemon.send(signal.SIGTERM)
        code = await daemon.end()
        await server.stop()
    assert daemon.said("stopped_bare"), daemon.output()
    assert code == exits.FAILED
    assert "has ended with a position that has no stop" in daemon.output()
