"""`executor paper`: an exchange of its own."""

import asyncio
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from executor.cli import exits
from executor.cli.app import app
from executor.paper.engine.choices import ExchangeChoices, OcoDone
from executor.paper.errors import RecordingError
from executor.paper.replay.clock import WallClock
from executor.paper.replay.market import AtEnd
from executor.paper.standalone import PaperAccount, Serving, Standalone, StandaloneError, serve

HEADER = "time_ms,price,qty,is_buyer_maker,trade_id\n"


def recording(folder: Path, name: str = "BTCUSDT-trades.csv", rows: int = 3) -> Path:
    path = folder / name
    lines = [f"{1_700_000_000_000 + 100 * i},{100 + i},1,true,{i}\n" for i in range(rows)]
    path.write_text(HEADER + "".join(lines), "utf-8")
    return path


async def test_it_serves_a_recording_on_the_wall_clock_until_told_to_stop(tmp_path: Path) -> None:
    stop = asyncio.Event()
    started: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
    what = Standalone(recordings=(recording(tmp_path),), at_end=AtEnd.HOLD, speed=100)
    serving = asyncio.create_task(serve(what, started=started.set_result, stop=stop))
    at = await asyncio.wait_for(started, 5)
    urls = at.urls
    assert (at.symbols, at.control) == (("BTCUSDT",), "")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{urls.rest_url}/v3/time") as response:
            assert abs((await response.json())["serverTime"] - WallClock().now_ms()) < 5_000
        async with session.get(f"{urls.rest_url}/v3/ticker/price?symbol=BTCUSDT") as response:
            assert float((await response.json())["price"]) >= 100
    stop.set()
    await asyncio.wait_for(serving, 5)


async def test_it_ends_with_the_recording_when_asked_to(tmp_path: Path) -> None:
    what = Standalone(recordings=(recording(tmp_path),), at_end=AtEnd.EXIT, speed=1000)
    await asyncio.wait_for(serve(what, started=lambda _: None, stop=asyncio.Event()), 5)


async def test_a_recording_that_breaks_off_is_told(tmp_path: Path) -> None:
    path = recording(tmp_path)
    path.write_text(path.read_text("utf-8") + "1,2\n", "utf-8")
    with pytest.raises(RecordingError, match="line 5"):
        await serve(
            Standalone(recordings=(path,), speed=1000, at_end=AtEnd.EXIT), started=lambda _: None, stop=asyncio.Event()
        )


@pytest.mark.parametrize(
    ("name", "symbol", "fault"),
    [
        ("mine.csv", None, "symbol is not given"),
        ("XYZABC-trades.csv", None, "must be one of"),
        ("a.csv", "NO", "one of"),
    ],
)
async def test_a_symbol_that_cannot_be_used_is_named(tmp_path: Path, name: str, symbol: str | None, fault: str) -> None:
    with pytest.raises((StandaloneError, RecordingError), match=fault):
        await serve(
            Standalone(recordings=(recording(tmp_path, name),), symbols=(symbol,) if symbol else ()),
            started=lambda _: None,
            stop=asyncio.Event(),
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_says_where_it_is_and_stops_at_a_signal(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "executor", "paper", "--balances", "USDT=5,BTC=0.5",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "src", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        lines = [(await asyncio.wait_for(process.stdout.readline(), 20)).decode() for _ in range(4)]
        assert lines[0] == "paper exchange for LTCUSDT\n"
        ping = lines[1].split()[-1] + "/v3/ping"
        async with aiohttp.ClientSession() as session, session.get(ping) as response:
            assert await response.json() == {}
    finally:
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors) == (0, b"")


def served(monkeypatch: pytest.MonkeyPatch, *args: str, **env: str) -> Standalone:
    """What `executor paper` would serve with these options and settings."""
    found: list[Standalone] = []

    async def keep(what: Standalone, **_: object) -> None:
        found.append(what)

    monkeypatch.setattr("executor.cli.paper.serve", keep)
    outcome = CliRunner().invoke(app, ["paper", *args], env=env)
    assert outcome.exit_code == 0, outcome.output
    return found[0]


def test_the_paper_settings_hold_where_no_option_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = recording(tmp_path)
    Path(".env").write_text("PAPER_AT_END=hold\nPAPER_API_KEY=mine\nBINANCE_ENV=live\n", "utf-8")
    env = {
        "PAPER_PORT": "1234",
        "PAPER_SPEED": "3.5",
        "PAPER_RECORDING": str(path),
        "PAPER_BALANCES": "BTC=2",
        "PAPER_API_SECRET": "hush",
    }
    wanted = Standalone(
        recordings=(path,),
        speed=3.5,
        at_end=AtEnd.HOLD,
        port=1234,
        accounts=(PaperAccount(api_key="mine", api_secret="hush", balances={"BTC": Decimal(2)}),),
    )
    assert served(monkeypatch, **env) == wanted
    args = ["--port", "0", "--speed", "2", "--balances", "USDT=1", "--at-end", "exit", "--api-key", "theirs"]
    given = served(monkeypatch, *args, **env)
    assert (given.port, given.speed, given.at_end, given.recordings) == (0, 2, AtEnd.EXIT, (path,))
    (account,) = given.accounts
    assert (account.api_key, account.balances) == ("theirs", {"USDT": Decimal(1)})


def test_without_settings_it_plays_the_bundled_recording_in_real_time_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert served(monkeypatch) == Standalone(accounts=(PaperAccount(balances={"USDT": Decimal(10_000)}),))


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("PAPER_SPEED", "0", "above 0 here"),
        ("PAPER_PORT", "70000", "from 0 to 65535"),
        ("PAPER_BALANCES", "USDT", "ASSET=amount"),
        ("PAPER_AT_END", "stop", "exit, loop or hold"),
        ("PAPER_API_KEY_FILE", "/nowhere/key", "readable"),
    ],
)
def test_a_paper_setting_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, must: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(app, ["paper"], env={name: value, "POLL_SEC": "0"})
    assert outcome.exit_code == exits.BAD_SETTINGS
    assert f"{name}: was" in outcome.output
    assert must in outcome.output
    assert "POLL_SEC" not in outcome.output


@pytest.mark.parametrize("balances", ["USDT", "USDT=", "USDT=-1", "USDT=nan", "=5", "USDT=1,USDT=2"])
def test_balances_that_cannot_be_read_are_refused(balances: str) -> None:
    outcome = CliRunner().invoke(app, ["paper", "--balances", balances])
    assert outcome.exit_code == exits.USAGE
    assert "ASSET=AMOUNT" in outcome.output


def test_accounts_symbols_choices_and_control_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [recording(tmp_path, name) for name in ("a.csv", "b.csv")]
    given = served(
        monkeypatch,
        *("--recording", str(paths[0]), "--recording", str(paths[1]), "--symbols", "LTCUSDT, BTCUSDT,ETHUSDT=3000.5"),
        *("--accounts", "ann,bob", "--balances", "USDT=5", "--balances", "bob:USDT=7,BTC=1"),
        *("--choice", "oco_done=triggered", "--control-port", "0"),
    )
    assert given == Standalone(
        recordings=tuple(paths),
        symbols=("LTCUSDT", "BTCUSDT"),
        still={"ETHUSDT": Decimal("3000.5")},
        accounts=(
            PaperAccount("ann", "ann", "ann", {"USDT": Decimal(5)}),
            PaperAccount("bob", "bob", "bob", {"USDT": Decimal(7), "BTC": Decimal(1)}),
        ),
        choices=ExchangeChoices(oco_done=OcoDone.TRIGGERED),
        control_port=0,
    )
    assert served(monkeypatch, "--symbols", "LTCUSDT=80", PAPER_RECORDING=str(paths[0])).recordings == ()


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (("--symbols", "LTCUSDT=0"), "with a price above 0"),
        (("--symbols", "LTCUSDT,LTCUSDT"), "each once"),
        (("--symbols", "=5"), "NAME or NAME=PRICE"),
        (("--accounts", "a b"), "'a b' must be a name"),
        (("--accounts", "a,a"), "each once"),
        (("--accounts", "a", "--balances", "b:USDT=1"), "must be one of the accounts a"),
        (("--accounts", "a", "--balances", "a:USDT=1", "--balances", "a:USDT=2"), "given twice"),
        (("--choice", "oco_done"), "must be one of ended, triggered"),
    ],
)
def test_options_that_cannot_be_read_are_refused(args: tuple[str, ...], fault: str) -> None:
    outcome = CliRunner().invoke(app, ["paper", *args], env={"COLUMNS": "200"})
    assert outcome.exit_code == exits.USAGE
    assert fault in outcome.output


def test_margin_accounts_are_given_their_part(monkeypatch: pytest.MonkeyPatch) -> None:
    what = served(monkeypatch, "--margin", "USDT=100", "--margin", "BTCUSDT:USDT=50,BTC=0")
    (account,) = what.accounts
    assert account.margin == {"": {"USDT": Decimal(100)}, "BTCUSDT": {"USDT": Decimal(50), "BTC": Decimal(0)}}
