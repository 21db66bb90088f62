"""Commands where several symbols are traded: which of them each is about."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.cli.kit import command, environment, process, run_here
from tests.ops.samples import closed
from tests.scenarios.harness import Harness, World, harness
from typer.testing import Result

from executor.cli import exits
from executor.core.model.state import SCHEMA_VERSION
from executor.core.model.values import Direction
from executor.core.transition import empty
from executor.service.store.document import document_of
from executor.service.store.state_store import StateStore
from executor.service.store.trades import TradeList

WORLD: Final = World(Direction.LONG, "OCO", pushes=True)
BOTH: Final = "which one? LTCUSDT and BTCUSDT are traded"


def state_fn(folder: Path) -> str:
    return str(folder / "{symbol}.json")


async def ask(b: Harness, *args: str, stdin: str | None = None, **more: str) -> Result:
    """A command that knows of two symbols, beside services whose clocks are the wall's and the market's."""
    asked = asyncio.create_task(
        command(b, *args, stdin=stdin, SYMBOL="", SYMBOLS="LTCUSDT,BTCUSDT", STATE_FN=state_fn(b.folder), **more)
    )
    while not asked.done():
        await go_on(b)
    return await asked


async def go_on(b: Harness) -> None:
    """Both clocks, at one pace."""
    await asyncio.sleep(0.02)
    await b.wait(0.02)


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[Harness]:
    """A trade of LTCUSDT, and a second service on BTCUSDT."""
    async with harness(folder, WORLD, STATE_FN=state_fn(folder)) as b:
        b.engine.on_trade("BTCUSDT", 1, b.entry_price, b.entry_price, False, b.clock.now_ms())
        env = environment(b) | {"SYMBOL": "BTCUSDT", "STATE_FN": state_fn(folder)}
        with process(folder, env, "run") as other:
            try:
                while not (folder / "BTCUSDT.json.sock").exists():
                    assert other.poll() is None, other.communicate()
                    await go_on(b)
                await b.enter()
                yield b
            finally:
                other.terminate()
                while other.poll() is None:
                    await go_on(b)
                other.communicate()


async def test_two_that_run(tmp_path: Path) -> None:
    async with two(tmp_path) as b:
        told = json.loads((await ask(b, "status", "--format", "json")).stdout)
        assert [(each["symbol"], each["running"]) for each in told] == [("LTCUSDT", True), ("BTCUSDT", True)]
        assert [each["position"] is not None for each in told] == [True, False]
        one = json.loads((await ask(b, "status", "--symbol", "btcusdt", "--format", "json")).stdout)
        assert one["symbol"] == "BTCUSDT"
        shown = (await ask(b, "status")).stdout
        assert shown.startswith("LTCUSDT\n")
        assert "\n\nBTCUSDT\n" in shown
        assert (await ask(b, "ping")).stdout.splitlines()[1].startswith("BTCUSDT: ")
        checked = await ask(b, "check", "--format", "json")
        assert (checked.exit_code, [each["exits"] for each in json.loads(checked.stdout)]) == (0, [3, 0])
        assert (await ask(b, "logs")).exit_code == 0

        for args in (["pause"], ["resume"], ["cancel-entry"], ["move-stop", "99.5"], ["flatten", "-y"], ["forget"]):
            unclear = await ask(b, *args, COLUMNS="200")
            assert (unclear.exit_code, BOTH in unclear.stderr) == (2, True), args
        assert not b.state.paused
        assert (await ask(b, "pause", "--all")).stdout.splitlines() == [
            "LTCUSDT: paused: no new entries",
            "BTCUSDT: paused: no new entries",
        ]
        assert (await ask(b, "resume", "--symbol", "LTCUSDT")).stdout == "entries are allowed again\n"
        told = json.loads((await ask(b, "status", "--format", "json")).stdout)
        assert [each["paused"] for each in told] == [False, True]

        findings = json.loads((await ask(b, "doctor", "--format", "json")).stdout)
        names = [each["name"] for each in findings]
        once = ("settings", "state folder", "signal file", "exchange", "clock", "key")
        assert [names.count(name) for name in once] == [1] * len(once)
        for name in ("state file", "service", "symbol", "a long"):
            assert [f"{symbol} {name}" in names for symbol in ("LTCUSDT", "BTCUSDT")] == [True, True], name

        await b.move("0.5")
        moved = await ask(b, "move-stop", "99.5", "--symbol", "LTCUSDT")
        assert moved.exit_code == 0, moved.output
        declined = await ask(b, "flatten", "--all", stdin="n\n")
        assert (declined.exit_code, "Close the long LTCUSDT trade" in declined.stderr) == (1, True)
        flat = await ask(b, "flatten", "--all", "--yes")
        assert flat.exit_code == 0, flat.output
        assert flat.stdout.splitlines()[0] == "BTCUSDT: no trade is open"
        assert flat.stdout.splitlines()[1].startswith("LTCUSDT: closed: long FLATTEN")
        assert b.state.position is None
        (trade,) = json.loads((await ask(b, "report", "--format", "json")).stdout)
        assert trade["symbol"] == "LTCUSDT"


async def test_one_that_runs_and_one_that_does_not(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD, STATE_FN=state_fn(tmp_path)) as b:
        told = json.loads((await ask(b, "status", "--format", "json")).stdout)
        assert [each["running"] for each in told] == [True, False]
        paused = await ask(b, "pause", "--all")
        assert (paused.exit_code, paused.stdout) == (69, "LTCUSDT: paused: no new entries\n")
        assert "BTCUSDT.json" in paused.stderr
        assert b.state.paused
        pinged = await ask(b, "ping")
        assert (pinged.exit_code, len(pinged.stdout.splitlines())) == (69, 1)
        assert (await ask(b, "ping", "--symbol", "LTCUSDT")).exit_code == 0
        assert (await ask(b, "logs", "--last", "1")).exit_code == 0


async def test_files_of_one_symbol_taken_along_under_their_new_names(tmp_path: Path) -> None:
    """As docs/install.md tells those who come from one symbol to do."""
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        trade = b.position.trade
        await b.stop()
        rename(tmp_path, "state.", "LTCUSDT.")
        told = json.loads((await ask(b, "status", "--format", "json")).stdout)
        assert [each["position"] and each["position"]["trade"] for each in told] == [trade, None]
        assert (await ask(b, "check")).exit_code == 0
        assert (await ask(b, "replay", "--symbol", "LTCUSDT")).exit_code == 0

        env = environment(b) | {"SYMBOL": "", "SYMBOLS": "LTCUSDT,BTCUSDT", "STATE_FN": state_fn(tmp_path)}
        with process(tmp_path, env, "flatten", "--symbol", "LTCUSDT", "--yes") as closing:
            while closing.poll() is None:
                await go_on(b)
            out, err = closing.communicate()
        assert (closing.returncode, "closed: long FLATTEN" in out) == (0, True), err
        assert b.open() == []


def rename(folder: Path, old: str, new: str) -> None:
    for path in folder.glob(f"{old}*"):
        path.rename(path.with_name(new + path.name.removeprefix(old)))


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An exchange that is not there, for commands that need none."""
    return {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": "http://127.0.0.1:1",
        "BINANCE_WS_API_URL": "ws://127.0.0.1:1",
        "BINANCE_STREAM_URL": "ws://127.0.0.1:1",
        "BINANCE_API_KEY": "key",
        "BINANCE_API_SECRET": "secret",
        "SYMBOLS": "LTCUSDT,BTCUSDT",
        "STATE_FN": state_fn(tmp_path),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "HTTP_PORT": "0",
        "COLUMNS": "200",
    }


class TestFiles:
    def test_one_that_can_t_be_read_does_not_hide_the_other(self, nowhere: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "LTCUSDT.json").write_text("nonsense", encoding="utf-8")
        StateStore(tmp_path / "BTCUSDT.json", schema_version=SCHEMA_VERSION).save(document_of(empty("BTCUSDT")))
        shown = run_here(["status", "--format", "json"], nowhere)
        assert (shown.exit_code, [each["symbol"] for each in json.loads(shown.stdout)]) == (1, ["BTCUSDT"])
        assert "LTCUSDT.json" in shown.stderr
        assert shown.stderr.startswith("executor: LTCUSDT: ")
        checked = run_here(["check"], nowhere)
        assert (checked.exit_code, checked.stdout) == (exits.UNAVAILABLE, "")
        replayed = run_here(["replay"], nowhere)
        assert (replayed.exit_code, replayed.stdout) == (1, "LTCUSDT:\nBTCUSDT:\n")
        assert "BTCUSDT.journal.jsonl" in replayed.stderr

    def test_the_doctor_tells_where_the_exchange_is_gone(self, nowhere: dict[str, str]) -> None:
        looked = run_here(["doctor", "--format", "json"], nowhere)
        findings = {each["name"]: each["level"] for each in json.loads(looked.stdout)}
        assert looked.exit_code == 1
        assert (findings["LTCUSDT exchange"], findings["BTCUSDT exchange"]) == ("fail", "fail")

    def test_trades_of_all_by_the_time_of_their_close(self, nowhere: dict[str, str], tmp_path: Path) -> None:
        wanted = {"LTCUSDT": (1_750_533_000_000, 1_750_535_000_000), "BTCUSDT": (1_750_534_000_000,)}
        for symbol, times in wanted.items():
            trades = TradeList(tmp_path / f"{symbol}.trades.jsonl")
            for time in times:
                trades.add(closed(symbol=symbol, trade=str(time), closed=time))
            trades.close()
        listed = json.loads(run_here(["report", "--format", "json"], nowhere).stdout)
        assert [trade["symbol"] for trade in listed] == ["LTCUSDT", "BTCUSDT", "LTCUSDT"]
        last = json.loads(run_here(["report", "--format", "json", "--last", "2"], nowhere).stdout)
        assert last == listed[1:]
        of_one = json.loads(run_here(["report", "--symbol", "BTCUSDT", "--format", "json"], nowhere).stdout)
        assert of_one == [listed[1]]
        table = run_here(["report"], nowhere).stdout
        assert table.index("BTCUSDT\n") < table.index("LTCUSDT\n")
        assert table.count("longest unprotected") == 2


class TestWhich:
    @pytest.mark.parametrize(
        "args", [["status"], ["ping"], ["pause"], ["move-stop", "1"], ["report"], ["flatten", "--yes"], ["doctor"]]
    )
    def test_a_symbol_that_is_not_traded(self, nowhere: dict[str, str], args: list[str]) -> None:
        result = run_here([*args, "--symbol", "ETHUSDT"], nowhere)
        assert (result.exit_code, "ETHUSDT is not traded, but LTCUSDT and BTCUSDT" in result.stderr) == (2, True)

    @pytest.mark.parametrize("verb", ["pause", "resume", "flatten"])
    def test_one_and_all_exclude_each_other(self, nowhere: dict[str, str], verb: str) -> None:
        result = run_here([verb, "--all", "--symbol", "LTCUSDT"], nowhere)
        assert (result.exit_code, "exclude each other" in result.stderr) == (2, True)

    def test_a_trade_is_of_one_symbol(self, nowhere: dict[str, str]) -> None:
        result = run_here(["flatten", "--all", "--trade", "1"], nowhere)
        assert (result.exit_code, "of one symbol" in result.stderr) == (2, True)

    def test_with_one_symbol_nothing_needs_to_be_named(self, nowhere: dict[str, str]) -> None:
        one = nowhere | {"SYMBOLS": "BTCUSDT"}
        assert json.loads(run_here(["status", "--format", "json"], one).stdout)["symbol"] == "BTCUSDT"
        for args in (["pause"], ["pause", "--all"], ["pause", "--symbol", "BTCUSDT"]):
            result = run_here(args, one)
            assert (result.exit_code, "no service runs on" in result.stderr) == (69, True)

    def test_a_signal_is_for_one(self, nowhere: dict[str, str]) -> None:
        args = ["signal", "--side", "long", "--price", "1"]
        unclear = run_here(args, nowhere)
        assert (unclear.exit_code, BOTH in unclear.stderr) == (2, True)
        assert not os.path.exists(nowhere["SIGNAL_FILE"])  # noqa: PTH110
        given = run_here([*args, "--symbol", "BTCUSDT"], nowhere)
        assert json.loads(given.stdout)["symbol"] == "BTCUSDT"
