"""What an operator does, on the service as it runs: each command by its own parser, over the real socket."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import pytest
import typer
from tests.cli.kit import command, environment, process, run_here
from tests.ops.samples import contradictory
from tests.scenarios.harness import EXITS, Harness, World, harness

from executor.cli.context import Place, find_chosen, for_each
from executor.cli.time_limit import TimeLimit
from executor.config import load_settings
from executor.core.model.state import SCHEMA_VERSION, Reason
from executor.core.model.values import Direction
from executor.core.transition import empty
from executor.service.store.document import document_of, saved
from executor.service.store.lock import StateLock
from executor.service.store.state_store import StateStore

WORLD: Final = World(Direction.LONG, "OCO", pushes=True)


def test_all_are_told_though_nothing_can_be_said() -> None:
    """`executor pause --all | true`: the first symbol alone had been paused."""
    asked: list[str] = []

    def act(place: Place) -> None:
        asked.append(place.symbol)
        raise OSError(errno.ENOSPC, "No space left on device")

    given = {"SYMBOLS": "BTCUSDT,ETHUSDT", "BINANCE_ENV": "testnet", "STATE_FN": "state/{symbol}.json"}
    settings = load_settings(given | {"BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}, None)
    places = find_chosen((settings,), None, everything=True)
    with pytest.raises(OSError, match="No space"):
        for_each(places, act)
    assert asked == ["BTCUSDT", "ETHUSDT"]


async def test_a_session(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        flat = await command(b, "status")
        assert "running, exchange time 2025-" in flat.stdout
        assert "no trade is open" in flat.stdout
        assert (await command(b, "flatten", "--yes")).stdout == "no trade is open\n"

        given = await command(b, "signal", "--side", "long", "--price", "100", "--stop", "99", "--id", "by-hand")
        assert given.exit_code == 0, given.output
        assert json.loads(given.stdout)["symbol"] == "LTCUSDT"
        await b.wait(1)
        await b.move(0)
        assert b.roles() == EXITS["OCO"]

        shown = await command(b, "status")
        assert "unprotected  nothing" in shown.stdout
        assert max(len(line) for line in shown.stdout.splitlines()) <= 110
        told = json.loads((await command(b, "status", "--format", "json")).stdout)
        assert told["position"]["signal"] == "by-hand"
        assert [leg["leg"] for leg in told["position"]["legs"]] == [1, 2, 3]
        assert Decimal(told["position"]["live_stop"]) == 99

        checked = await command(b, "check")
        assert (checked.exit_code, "3 (5 open orders), ought to be 3 (5)" in checked.stdout) == (0, True)

        await b.move("0.5")
        worse = await command(b, "move-stop", "98")
        assert (worse.exit_code, "not better" in worse.stderr) == (1, True)
        assert (await command(b, "move-stop", "99.5")).exit_code == 0
        await b.wait(10)
        assert b.stops() == {Decimal("99.5")}

        assert (await command(b, "pause")).stdout == "paused: no new entries\n"
        assert (await command(b, "cancel-entry")).exit_code == 1
        declined = await command(b, "flatten", stdin="n\n")
        assert (declined.exit_code, "nothing was done" in declined.stderr) == (1, True)
        assert b.state.position is not None
        closing = asyncio.create_task(command(b, "flatten", stdin="y\n"))
        while not closing.done():
            await b.wait(0.5)
        assert "closed: long FLATTEN" in closing.result().stdout
        await b.ends(Reason.FLATTEN)

        assert "entries      paused" in (await command(b, "status")).stdout
        assert (await command(b, "resume")).exit_code == 0
        (trade,) = json.loads((await command(b, "report", "--format", "json")).stdout)
        assert (trade["reason"], trade["signal"]) == ("FLATTEN", "by-hand")
        replayed = await command(b, "replay")
        assert (replayed.exit_code, "all reproduced" in replayed.stdout) == (0, True)


async def test_the_service_s_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service logs in this process, so what it keeps is what is put there."""
    kept = [f'{{"n": {n}, "alert": {"true" if n == 8 else "false"}}}' for n in range(10)]
    monkeypatch.setattr("executor.ops.logs._recent", kept)
    async with harness(tmp_path, WORLD) as b:
        assert (await command(b, "logs", "--last", "3")).stdout.splitlines() == kept[7:]
        assert (await command(b, "logs", "--alerts")).stdout.splitlines() == [kept[8]]
        await b.stop()
        gone = await command(b, "logs")
        assert (gone.exit_code, "no service runs" in gone.stderr) == (69, True)


async def test_without_a_service(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        shown = await command(b, "status")
        assert shown.exit_code == 0
        assert "not running (this is the state on disk)" in shown.stdout
        told = json.loads((await command(b, "status", "--format", "json")).stdout)
        assert (told["running"], told["at"]) == (False, None)
        assert Decimal(told["position"]["unprotected"]) == 0
        for args in (["pause"], ["resume"], ["cancel-entry"], ["move-stop", "99.5"]):
            refused = await command(b, *args)
            assert (refused.exit_code, "no service runs on" in refused.stderr) == (69, True)
        for args in (["adopt", "--stop", "99"], ["forget"]):
            refused = await command(b, *args, "--yes")
            assert (refused.exit_code, "`executor run` takes trade" in refused.stderr) == (1, True), refused.output
            assert "looked after" not in refused.stderr


async def test_check_by_itself(tmp_path: Path) -> None:
    """A running event loop is a command's own here: the exchange answers meanwhile."""
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        sound = await command(b, "check", "--format", "json")
        assert (sound.exit_code, json.loads(sound.stdout)["exits"]) == (0, 3)
        b.cancel_by_hand("SL")
        amiss = await command(b, "check")
        assert (amiss.exit_code, "missing" in amiss.stdout) == (1, True)
        unreachable = await command(b, "check", BINANCE_REST_URL="http://127.0.0.1:1")
        assert (unreachable.exit_code, unreachable.stdout) == (69, "")


async def test_settings_that_the_exchange_finds_wrong(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        for args in (["check"], ["adopt", "--stop", "99", "--yes"]):
            result = await command(b, *args, TICK_SIZE="0.001")
            assert (result.exit_code, "TICK_SIZE" in result.stderr) == (78, True), args
        assert b.roles() == EXITS["OCO"]


async def test_a_contradictory_state_is_checked_as_a_start_would_take_it(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD, started=False) as b:
        contradictory(tmp_path / "state.json")
        checked = await command(b, "check")
        assert "the state is of LTCUSDT on ''" in checked.stderr, "the sound one's words"


@pytest.mark.parametrize("more", [{}, {"TICK_SIZE": "0.001"}], ids=["", "with-an-override-that-does-not-fit"])
async def test_flatten_by_itself(tmp_path: Path, more: dict[str, str]) -> None:
    """It ends whatever else is wrong (10.6): an override shapes plans, and keeps no trade open (2.3b)."""
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        with process(tmp_path, {**environment(b), **more}, "flatten", "--yes", "--timeout", "60") as closing:
            while closing.poll() is None:  # its clock is the wall's: the market's goes along with it
                await asyncio.sleep(0.02)
                await b.wait(0.02)
            out, err = closing.communicate()
        assert (closing.returncode, "closed: long FLATTEN" in out) == (0, True), err
        assert b.open() == []
        assert [trade.reason for trade in b.trades()] == [Reason.FLATTEN]
        assert not (tmp_path / "state.json.sock").exists()
        again = await command(b, "flatten", "--yes")
        assert (again.exit_code, again.stdout) == (0, "no trade is open\n")


async def test_a_prompt_that_stood_while_another_trade_was_opened_closes_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def late(*_: object, **__: object) -> bool:
        asked.set()
        return answered.wait(60)

    monkeypatch.setattr("executor.cli.flatten.typer.confirm", late)
    async with harness(tmp_path, WORLD, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        await b.enter()
        first = b.position.trade
        closing = asyncio.create_task(command(b, "flatten"))
        await asyncio.to_thread(asked.wait, 60)
        await b.move(-1)
        await b.ends(Reason.SL)
        b.touch(b.at("0.1"))
        await b.enter()
        second = b.position.trade
        answered.set()
        refused = await closing
        assert (refused.exit_code, f"trade {first} has ended meanwhile" in refused.stderr) == (1, True), refused.output
        assert b.position.trade == second
        assert b.roles() == EXITS["OCO"]
        other = await command(b, "flatten", "--yes", "--trade", first)
        assert (other.exit_code, f"{first} is not open, but {second} is" in other.stderr) == (1, True)
        await b.stop()
        other = await command(b, "flatten", "--yes", "--trade", first)
        assert (other.exit_code, f"{first} is not open, but {second} is" in other.stderr) == (1, True)
        assert b.roles() == EXITS["OCO"]


@pytest.mark.parametrize("ended", [typer.Abort(), KeyboardInterrupt()])
async def test_what_is_being_closed_is_waited_for_though_the_next_question_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: BaseException
) -> None:
    """`flatten --all`, yes to the first and Ctrl-C at the second: only "Aborted." was said."""
    answers: list[bool | BaseException] = [True, ended]

    def asked(*_: object, **__: object) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr("executor.cli.flatten.typer.confirm", asked)
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        found = environment(b)

        def places(*_: object, **__: object) -> list[Place]:
            settings = load_settings(found, None)
            place = Place(b.symbol, settings.state_path(b.symbol), settings.journal_path(b.symbol), settings, False)
            return [place._replace(account="ann"), place._replace(account="bob")]

        monkeypatch.setattr("executor.cli.flatten.find_chosen", places)
        closing = asyncio.create_task(command(b, "flatten", "--all"))
        while not closing.done():
            await b.wait(0.5)
        told = closing.result()
        assert "nothing more is closed than ann LTCUSDT" in told.stderr, told.output
        assert ("ann LTCUSDT: closed: long FLATTEN" in told.stdout, told.exit_code) == (True, 1)
        assert answers == []
        await b.ends(Reason.FLATTEN)


def test_a_command_that_does_it_alone_says_whether_its_time_was_over() -> None:
    limit = TimeLimit(60)
    tasks: list[Any] = []

    class Loop:
        def add_task(self, name: str, work: object, *, at_once: bool) -> None:
            tasks.append((name, work, at_once))

        def stop(self) -> None:
            tasks.append("stopped")

    limit.beside(lambda loop: loop.add_task("flatten", cast("Any", None), at_once=False))(cast("Any", Loop()))
    assert [task[0] for task in tasks] == ["flatten", "time limit"]
    assert limit.words == "as this command was ended"
    short = TimeLimit(0)
    short.beside(lambda _: None)(cast("Any", Loop()))
    asyncio.run(tasks[-1][1]())
    assert (tasks[-1], short.words) == ("stopped", "after 0 s")


def test_what_can_not_be_said_and_who_can_not_answer_are_no_tracebacks(tmp_path: Path) -> None:
    def ran(*args: str, **how: Any) -> "subprocess.CompletedProcess[str]":
        wanted = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        words = [sys.executable, "-m", "executor", *args]
        how |= {"cwd": tmp_path, "env": wanted, "text": True, "stderr": subprocess.PIPE, "timeout": 60}
        return subprocess.run(words, check=False, **how)

    with Path("/dev/full").open("w") as full:
        told = ran("alerts", stdout=full)
    assert (told.returncode, told.stderr) == (
        1,
        "executor: what there is to say can't be written: No space left on device\n",
    )
    told = ran("--env-file", ".env", "config", stdout=subprocess.DEVNULL)
    assert (told.returncode, ".env is not a file" in told.stderr) == (2, True)
    told = ran("report", "--trades", "9" * 400, stdout=subprocess.DEVNULL)
    assert (told.returncode, "File name too long" in told.stderr, "Traceback" in told.stderr) == (1, True, False)
    told = ran("config", stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(0))
    assert (told.returncode, "Traceback" in told.stderr) == (0, False)


@pytest.mark.parametrize("elsewhere", ["nothing", "a state without a trade"])
async def test_a_command_with_another_state_does_nothing_unasked_beside_the_service(
    tmp_path: Path, elsewhere: str
) -> None:
    other = {"STATE_FN": str(tmp_path / "else" / "state.json")}
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        before = b.standing()
        if elsewhere != "nothing":
            (tmp_path / "else").mkdir()
            flat = document_of(empty("LTCUSDT", b.state.venue))
            StateStore(tmp_path / "else" / "state.json", schema_version=SCHEMA_VERSION).save(flat)
        shown = await command(b, "status", **other)
        assert (shown.exit_code, "no trade is open" in shown.stdout) == (0, True)
        where = f"no state at {other['STATE_FN']}: is STATE_FN the service's?"
        assert (where in shown.stderr) is (elsewhere == "nothing")
        for words in (["flatten"], ["adopt", "--stop", "99"], ["forget"]):
            refused = await command(b, *words, "--yes", **other)
            assert (refused.exit_code, "--without-state" in refused.stderr) == (1, True), refused.output
            assert "is STATE_FN the service's?" in refused.stderr
            asked = await command(b, *words, stdin="n\n", **other)
            assert (asked.exit_code, "Another process may look after these orders" in asked.stderr) == (1, True)
        assert b.standing() == before
        assert (tmp_path / "else" / "state.json").exists() is (elsewhere != "nothing")


async def test_a_state_in_use_is_not_flattened_behind_its_back(tmp_path: Path) -> None:
    """The service's socket is gone, but its lock holds (rule 9.4)."""
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        with StateLock(tmp_path / "state.json"):
            refused = await command(b, "flatten", "--yes")
        assert refused.exit_code == 1
        assert "the state is in use by process" in refused.stderr
        assert b.roles() == EXITS["OCO"]


def _everything(b: Harness) -> object:
    """What a command could have changed: orders, money, what a start would take the state for, files of its own. The
    service, which runs, may lay its state out anew meanwhile.
    """
    orders = [(order.order_id, order.status, order.executed_qty) for order in b.orders()]
    state = saved(b.folder / "state.json")
    assert state is not None
    return orders, b.totals(), state.value, sorted(b.folder.glob("*doctor*"))


async def test_the_doctor_looks_at_everything_and_changes_nothing(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        before = _everything(b)
        looked = await command(b, "doctor", "--format", "json")
        findings = {each["name"]: each for each in json.loads(looked.stdout)}
        assert looked.exit_code == 0, looked.output
        assert findings["service"]["text"] == "running, and answers on its socket"
        assert findings["state file"]["text"] == f"sound, trade {b.position.trade} is open"
        assert "3 legs of 0.999, 0.999, 0.999" in findings["a long"]["text"]
        assert findings["a short"]["level"] == "ok"
        assert findings["clock"]["level"] == "warn", "this exchange lives in 2025"
        assert findings["key permissions"]["level"] == "warn", "this exchange has no wallet"
        assert _everything(b) == before
        table = await command(b, "doctor")
        assert "warn  clock" in table.stdout
        assert table.stdout.splitlines()[-1].endswith("0 failures")
        sick = await command(b, "doctor", QTY="0.001", EXIT_LAYOUT="PLAIN")
        assert (sick.exit_code, "breaks the filters" in sick.stdout) == (1, True)
        gone = await command(b, "doctor", BINANCE_REST_URL="http://127.0.0.1:1")
        assert (gone.exit_code, "can't be reached" in gone.stdout) == (1, True)


@pytest.fixture
def paper(tmp_path: Path) -> dict[str, str]:
    return {"STATE_FN": str(tmp_path / "s.json"), "SIGNAL_FILE": str(tmp_path / "signals.jsonl"), "HTTP_PORT": "0"}


class TestNothingThere:
    def test_the_doctor_sees_what_a_start_would_refuse(self, paper: dict[str, str], tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            given = {"SIGNAL_FILE": str(tmp_path), "WEBHOOK_PORT": port, "WEBHOOK_SECRET": "x" * 32}
            looked = run_here(["doctor", "--format", "json"], {**paper, **given})
        findings = {each["name"]: each for each in json.loads(looked.stdout[looked.stdout.index("\n[\n") :])}
        assert "is not a regular file" in findings["signal file"]["text"]
        assert "can't be listened on" in findings["webhook"]["text"]
        assert (findings["signal file"]["level"], findings["webhook"]["level"], looked.exit_code) == ("fail", "fail", 1)

    def test_status_and_report_of_a_first_start(self, paper: dict[str, str]) -> None:
        assert "no trade is open" in run_here(["status"], paper).stdout
        assert run_here(["report"], paper).stdout == "No trade has finished.\n"
        assert json.loads(run_here(["report", "--format", "json"], paper).stdout) == []

    def test_there_is_no_journal(self, paper: dict[str, str]) -> None:
        result = run_here(["replay"], paper)
        assert (result.exit_code, "there is no journal" in result.stderr) == (1, True)

    @pytest.mark.parametrize("args", [["check"], ["flatten", "--yes"]])
    def test_the_embedded_exchange_is_gone_with_its_run(self, paper: dict[str, str], args: list[str]) -> None:
        result = run_here(args, paper)
        assert (result.exit_code, "only while `executor run` is" in result.stderr) == (69, True)

    def test_a_damaged_state(self, paper: dict[str, str]) -> None:
        Path(paper["STATE_FN"]).write_text("{}", encoding="utf-8")
        result = run_here(["status"], paper)
        assert (result.exit_code, "does not begin with schema_version" in result.stderr) == (1, True)

    def test_a_state_that_contradicts_itself_gives_way_to_the_one_before_it(self, paper: dict[str, str]) -> None:
        """As it does when the service starts."""
        contradictory(Path(paper["STATE_FN"]))
        result = run_here(["status"], paper)
        assert (result.exit_code, "no trade is open" in result.stdout) == (0, True)
        assert "contradicts itself" in result.stderr

    def test_a_run_whose_settings_the_exchange_s_filters_find_wrong(
        self, paper: dict[str, str], tmp_path: Path
    ) -> None:
        with process(tmp_path, {**paper, "TICK_SIZE": "0.001"}, "run") as late:
            _, err = late.communicate()
        assert (late.returncode, "TICK_SIZE: was 0.001; must be a multiple" in err) == (78, True)

    def test_a_recording_without_a_symbol(self, paper: dict[str, str], tmp_path: Path) -> None:
        result = run_here(["status"], {**paper, "PAPER_RECORDING": str(tmp_path / "x.csv")})
        assert result.exit_code in (1, 78)
        assert result.stderr


class TestSignal:
    def test_every_field(self, paper: dict[str, str]) -> None:
        args = [
            "signal",
            "--side",
            "short",
            "--price",
            "81.4",
            "--stop",
            "81.75",
            "--target",
            "81.0",
            "--target",
            "80.6",
            "--risk",
            "25",
            "--entry",
            "81.5",
        ]
        result = run_here([*args, "--ts", "2025-06-21T19:02:00Z", "--id", "x", "--symbol", "LTCUSDT"], paper)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == {
            "ts": "2025-06-21T19:02:00Z",
            "symbol": "LTCUSDT",
            "side": "short",
            "price": 81.4,
            "id": "x",
            "entry": 81.5,
            "stop": 81.75,
            "targets": [81.0, 80.6],
            "risk": 25,
        }
        assert Path(paper["SIGNAL_FILE"]).read_text("utf-8") == result.stdout

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            ("--side up --price 1", "side must be long"),
            ("--side long --price x", "is not a number"),
            ("--side long --price 1e999999999", "beyond 1E±60"),
            ("--side long --price 1 --qty NaN", "is not a number"),
            ("--side long --price -1", "price must be a number above 0"),
            ("--side long --price 1 --qty 1 --risk 2", "only one of qty"),
            ("--side long --price 1 --ts yesterday", "ts must be a time"),
            ("--side long", "--price"),
        ],
    )
    def test_a_bad_one_is_refused_and_not_written(self, paper: dict[str, str], args: str, said: str) -> None:
        result = run_here(["signal", *args.split()], {**paper, "COLUMNS": "200"})
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.split())
        assert not Path(paper["SIGNAL_FILE"]).exists()


@pytest.mark.parametrize("price", ["0", "-1", "x", "NaN", "Infinity", "1e999999", "1E-19"])
def test_a_stop_price_that_is_none(paper: dict[str, str], price: str) -> None:
    result = run_here(["move-stop", "--", price], paper)
    assert (result.exit_code, "above 0" in result.stderr) == (2, True)
