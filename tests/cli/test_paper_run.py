"""`executor run` on a made-up recording, as a process; then what its journal, its trades and a simulation say."""

import csv
import io
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.kit import START_MS, process, ramp, recording, run_here, signals

from executor.service.store.journal import Journal, JournalReader
from executor.service.store.records import Record, Took
from executor.service.store.trades import TradeList, read_trades

PAPER_ENV: Final = Path(__file__).parents[2] / "config" / "paper.env"
GOLDEN_WHY: Final = Path(__file__).parents[1] / "golden" / "why.txt"
LONG: Final = {"side": "long", "price": "100", "stop": "99"}


def settings(folder: Path, **more: str) -> dict[str, str]:
    return {
        "PAPER_SPEED": "0",
        "PAPER_BALANCES": "USDT=10000,LTC=50",
        "ALLOW_SHORT": "true",
        "COOLDOWN_SEC": "5",
        "COOLDOWN_ABORT_SEC": "5",
        "HTTP_PORT": "0",
        "STATE_FN": str(folder / "state.json"),
        "SIGNAL_FILE": str(folder / "signals.jsonl"),
        **more,
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], str]:
    """A run over three trades: targets and trail, a stop, and one that is open when the recording ends."""
    folder = tmp_path_factory.mktemp("run")
    prices = ramp("100.2", "100", "103", "102", "100", "98.5", "100.2", "100", "100.4", steps=12)
    market = recording(folder, prices)
    step = 12 * 5_000
    wanted = signals(
        folder,
        {**LONG, "ts": START_MS + 2_000, "id": "one"},
        {**LONG, "ts": START_MS + 3 * step + 20_000, "id": "two"},
        {**LONG, "ts": START_MS + 6 * step + 10_000, "id": "three"},
    )
    env = settings(folder, PAPER_RECORDING=str(market), PAPER_SIGNALS=str(wanted))
    with process(folder, env, "run") as run:
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    return folder, env, out


def test_it_ends_with_the_report_and_the_account(ran: tuple[Path, dict[str, str], str]) -> None:
    _, env, out = ran
    assert run_here(["report"], env).stdout.strip() in out
    assert re.search(r"^open EX_ orders +0$", out, re.MULTILINE)
    assert re.search(r"^balances +add up over all fills$", out, re.MULTILINE)
    assert max(len(line) for line in out.splitlines()) <= 100


def test_the_report_as_a_page(ran: tuple[Path, dict[str, str], str], tmp_path: Path) -> None:
    """Each trade on its price with its fills, from the journal; what that does not tell is left out."""
    _, env, _ = ran
    page = tmp_path / "trades.html"
    told = run_here(["report", "--html", str(page)], env)
    assert told.exit_code == 0, told.output
    listed = json.loads(run_here(["report", "--format", "json"], env).stdout)
    text = page.read_text("utf-8")
    for trade in listed:
        assert f'id="t-{trade["trade"]}"' in text
        assert (f"EX_{trade['trade']}_ENTRY" in text) is (Decimal(trade["qty"]) > 0)
    assert "does not reach back" not in text


def test_the_page_of_a_report_goes_without_what_the_journal_does_not_tell(
    ran: tuple[Path, dict[str, str], str], tmp_path: Path
) -> None:
    folder, env, _ = ran
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    moved = {**env, "STATE_FN": str(copy / "state.json"), "SIGNAL_FILE": str(copy / "signals.jsonl")}
    (journal,) = copy.glob("*journal*")
    lines = journal.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    journal.write_bytes(b"".join([*lines[:middle], b"damaged\n", *lines[middle + 1 :]]))
    page = tmp_path / "trades.html"
    told = run_here(["report", "--html", str(page)], moved)
    assert told.exit_code == 0, told.output
    assert "what it tells from there on is not on the page" in told.stderr
    text = page.read_text("utf-8")
    assert 1 <= text.count("does not reach back") < text.count("<details") == 3
    journal.unlink()
    assert run_here(["report", "--html", str(page), "--last", "1"], moved).exit_code == 0
    assert page.read_text("utf-8").count("does not reach back") == page.read_text("utf-8").count("<details") == 1


def test_the_report_in_every_format(ran: tuple[Path, dict[str, str], str]) -> None:
    _, env, _ = ran
    listed = json.loads(run_here(["report", "--format", "json"], env).stdout)
    assert [(trade["signal"], trade["reason"]) for trade in listed] == [
        ("one", "TRAIL"),
        ("two", "SL"),
        ("three", "FLATTEN"),
    ]
    assert Decimal(listed[0]["r"]) > 1
    assert Decimal(listed[1]["r"]) < -1
    rows = list(csv.DictReader(io.StringIO(run_here(["report", "--format", "csv"], env).stdout)))
    assert [row["pnl"] for row in rows] == [trade["pnl"] for trade in listed]
    last = json.loads(run_here(["report", "--format", "json", "--last", "1"], env).stdout)
    assert last == listed[-1:]
    assert run_here(["report", "--last", "0"], env).exit_code == 2


def test_a_page_takes_the_place_of_an_older_page_alone(ran: tuple[Path, dict[str, str], str], tmp_path: Path) -> None:
    """A list of trades was overwritten so, and a device became a file."""
    _, env, _ = ran
    page = tmp_path / "trades.html"
    for _ in range(2):
        assert run_here(["report", "--html", str(page)], env).exit_code == 0
    link, list_ = tmp_path / "link.html", tmp_path / "trades.jsonl"
    link.symlink_to(page)
    assert run_here(["report", "--html", str(link)], env).exit_code == 0
    assert link.is_symlink()
    list_.write_bytes(b"{}\n")
    os.mkfifo(tmp_path / "pipe")
    for other in (list_, tmp_path / "pipe", tmp_path):
        refused = run_here(["report", "--html", str(other)], env)
        assert (refused.exit_code, "is there, and no page" in refused.stderr) == (1, True), other
    assert list_.read_bytes() == b"{}\n"


def test_of_a_damaged_list_what_is_sound_is_shown(ran: tuple[Path, dict[str, str], str], tmp_path: Path) -> None:
    folder, env, _ = ran
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    moved = {**env, "STATE_FN": str(copy / "state.json"), "SIGNAL_FILE": str(copy / "signals.jsonl")}
    (file,) = copy.glob("*trades*")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"damaged\n", *lines[2:]]))
    told = run_here(["report", "--format", "json"], moved)
    assert (told.exit_code, [each["signal"] for each in json.loads(told.stdout)]) == (1, ["one"])
    assert "what comes after that is not shown" in told.stderr
    file.write_bytes(b"damaged\n" + b"".join(lines[1:]))
    told = run_here(["report"], moved)
    assert (told.exit_code, told.stdout) == (1, "")


def test_lists_of_others_are_told_apart_by_their_symbols(ran: tuple[Path, dict[str, str], str], tmp_path: Path) -> None:
    folder, env, _ = ran
    (file,) = folder.glob("*trades*")
    other = tmp_path / "other.jsonl"
    trades = TradeList(other)
    for entry in read_trades(file):
        trades.add(replace(entry, symbol="ETHUSDT"))
    trades.close()
    both = json.loads(
        run_here(["report", "--format", "json", "--trades", str(other), "--trades", str(file)], env).stdout
    )
    assert sorted(each["symbol"] for each in both) == ["ETHUSDT"] * 3 + ["LTCUSDT"] * 3
    missing = run_here(["report", "--trades", str(tmp_path / "nosuch")], env)
    assert (missing.exit_code, "Invalid value for --trades" in missing.stderr) == (2, True)


def test_every_state_of_the_journal_comes_out_again(ran: tuple[Path, dict[str, str], str]) -> None:
    _, env, _ = ran
    result = run_here(["replay"], env)
    assert result.exit_code == 0, result.output
    found = re.search(r"(\d+) events, (\d+) saved states: all reproduced", result.stdout)
    assert found is not None
    assert int(found[1]) > int(found[2]) > 30
    shown = run_here(["replay", "--show"], env).stdout
    assert "SignalSeen moved" in shown
    assert "-> PlaceOco" in shown
    assert "trade_closed: TRAIL" in shown


def test_a_state_that_was_saved_otherwise_is_found(ran: tuple[Path, dict[str, str], str]) -> None:
    folder, env, _ = ran
    entries = list(JournalReader[Any](folder / "state.journal.jsonl", Record))  # type: ignore[arg-type]
    saved = [i for i, each in enumerate(entries) if isinstance(each.record, Took) and each.record.sum]
    wrong = saved[len(saved) // 2]
    other = folder / "other.jsonl"
    journal = Journal(other)
    for i, each in enumerate(entries):
        record = each.record
        journal.append(Took(event=record.event, sum="0" * 64) if i == wrong else record)
    journal.close()
    result = run_here(["replay", "--journal", str(other)], env)
    assert result.exit_code == 1
    assert f"MISMATCH other.jsonl:{wrong + 1} " in result.stdout
    assert "1 NOT reproduced" in result.stdout


def test_a_missing_event_is_found(ran: tuple[Path, dict[str, str], str]) -> None:
    folder, env, _ = ran
    lines = (folder / "state.journal.jsonl").read_text("utf-8").splitlines(keepends=True)
    other = folder / "gap.jsonl"
    other.write_text("".join(lines[:20] + lines[21:]), encoding="utf-8")
    result = run_here(["replay", "--journal", str(other)], env)
    assert (result.exit_code, "gap.jsonl, line 21" in result.stderr) == (1, True)


def test_a_last_line_that_a_crash_has_cut_is_told(ran: tuple[Path, dict[str, str], str]) -> None:
    folder, env, _ = ran
    whole = (folder / "state.journal.jsonl").read_bytes()
    other = folder / "cut.jsonl"
    other.write_bytes(whole[:-20])
    result = run_here(["replay", "--journal", str(other)], env)
    assert result.exit_code == 0
    assert "unfinished last line" in result.stdout


def test_the_simulation_comes_to_the_same_endings(ran: tuple[Path, dict[str, str], str]) -> None:
    folder, env, _ = ran
    args = ["simulate", "--trades", str(folder / "LTCUSDT-made-up.csv"), "--signals", str(folder / "wanted.jsonl")]
    result = run_here([*args, "--format", "json"], env)
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)
    assert [trade["reason"] for trade in listed] == ["TRAIL", "SL", "FLATTEN"]
    assert "add up over all fills" in result.stderr
    assert "times real time" in result.stderr


def same(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trades as far as they are the market's and the product's: quantities as numbers, without the end's own close."""
    return [
        {name: Decimal(value) if name == "qty" and value else value for name, value in trade.items()}
        for trade in listed
        if trade["reason"] != "FLATTEN"
    ]


def test_the_simulation_makes_the_trades_of_the_run(ran: tuple[Path, dict[str, str], str]) -> None:
    folder, env, _ = ran
    args = ["simulate", "--trades", str(folder / "LTCUSDT-made-up.csv"), "--signals", str(folder / "wanted.jsonl")]
    simulated = json.loads(run_here([*args, "--format", "json"], env).stdout)
    assert same(simulated) == same(json.loads(run_here(["report", "--format", "json"], env).stdout))


def test_on_the_bundled_recording_too(tmp_path: Path) -> None:
    """Once 0.182 USDT before commission by the one and 0.113 by the other: 46 ms of a signal, a price at each trade.
    The watchdog, which looks each minute of the market, finds nothing in all of it, and nothing else is alerted.
    """
    env = settings(tmp_path, PAPER_BALANCES="USDT=10000,LTC=10", LOG_FORMAT="json", WATCHDOG_EVERY_SEC="60")
    del env["COOLDOWN_SEC"], env["COOLDOWN_ABORT_SEC"]
    with process(tmp_path, env, "run") as run:
        out, err = run.communicate(timeout=300)
    assert run.returncode == 0, out + err
    lines = [json.loads(line) for line in (err + out).splitlines() if line.startswith("{")]
    assert "recording_ended" in [line["event"] for line in lines]
    assert [line for line in lines if line.get("alert")] == []
    simulated = json.loads(run_here(["simulate", "--format", "json"], env).stdout)
    assert len(simulated) == 10
    assert same(simulated) == same(json.loads(run_here(["report", "--format", "json"], env).stdout))


@contextmanager
def service(folder: Path, port: int, **more: str) -> Iterator[tuple[dict[str, str], Any]]:
    """`executor run` on a market that has come to rest and whose time goes on as on the wall."""
    market = recording(folder, ["100.2", "100.1", "100.0"], every_ms=200)
    env = settings(
        folder, PAPER_RECORDING=str(market), PAPER_SPEED="1", PAPER_AT_END="hold", HTTP_PORT=str(port), **more
    )
    with process(folder, env, "run") as running:
        try:
            deadline = time.monotonic() + 60
            while "running" not in run_here(["status"], env).stdout.splitlines()[1].replace("not running", ""):
                assert running.poll() is None, running.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield env, running
        finally:
            running.kill()


def test_a_service_stopped_with_a_trade_open(tmp_path: Path, unused_tcp_port: int) -> None:
    """SIGTERM leaves the trade as it is, which is no fault (rule 9.5); HTTP tells of it meanwhile."""
    with service(tmp_path, unused_tcp_port) as (env, running):
        url = f"http://127.0.0.1:{unused_tcp_port}"
        given = run_here(["signal", "--side", "long", "--price", "100.5", "--stop", "99"], env)
        assert given.exit_code == 0, given.output
        deadline = time.monotonic() + 30
        while (status := httpx.get(f"{url}/status").json())["position"] is None or status["requests_open"]:
            assert time.monotonic() < deadline
        while status["position"]["phase"] != "protected":
            status = httpx.get(f"{url}/status").json()
            assert time.monotonic() < deadline
        assert run_here(["check"], env).exit_code == 0
        assert httpx.get(f"{url}/healthz").json() == {"alive": True}
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "faults": []})
        metrics = httpx.get(f"{url}/metrics")
        found = {
            sample.name: sample.value for f in text_string_to_metric_families(metrics.text) for sample in f.samples
        }
        assert found["executor_position_open"] == 1
        assert found["executor_stream_connected"] == 1
        assert found["executor_unprotected_now_seconds"] == 0
        assert httpx.get(f"{url}/metrics", params={"x": "y"}).status_code == 200
        assert httpx.post(f"{url}/status").status_code == 405
        assert (httpx.get(f"{url}/").status_code, httpx.get(f"{url}/nothing").status_code) == (200, 404)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
        assert "of the trade that is still open" in out
        assert "add up over all fills" in out
        told = json.loads(run_here(["status", "--format", "json"], env).stdout)
        assert (told["running"], told["position"]["phase"]) == (False, "protected")


def test_the_next_command_after_make_run_shows_its_trades(tmp_path: Path) -> None:
    market = recording(tmp_path, ramp("100.2", "100", "103", "100.4", steps=12))
    wanted = signals(tmp_path, {**LONG, "ts": START_MS + 2_000, "id": "first"})
    env = {"PAPER_RECORDING": str(market), "PAPER_SIGNALS": str(wanted)}
    with process(tmp_path, env, "--env-file", str(PAPER_ENV), "run") as made:
        out, err = made.communicate(timeout=120)
    assert made.returncode == 0, out + err
    with process(tmp_path, {}, "report", "--format", "json") as report:
        out, _ = report.communicate(timeout=60)
    assert [trade["signal"] for trade in json.loads(out)] == ["first"]


def test_a_port_in_use_is_told(tmp_path: Path, unused_tcp_port: int) -> None:
    with service(tmp_path, unused_tcp_port) as (env, _):
        second = {**env, "STATE_FN": str(tmp_path / "second.json")}
        with process(tmp_path, second, "run") as other:
            _, err = other.communicate(timeout=60)
        assert other.returncode == 1
        assert f"HTTP_PORT {unused_tcp_port} can't be listened on" in err
        assert "Traceback" not in err
        same = run_here(["run"], {**env, "HTTP_PORT": "0"})
        assert (same.exit_code, "the state is in use by process" in same.stderr) == (1, True)
        with process(tmp_path, env, "doctor", "--format", "json") as doctor:
            out, _ = doctor.communicate(timeout=60)
        findings = {each["name"]: each["level"] for each in json.loads(out)}
        assert (findings["service"], findings["http"]) == ("ok", "ok")


def test_why_tells_the_trade_as_a_trader_reads_it(ran: tuple[Path, dict[str, str], str]) -> None:
    """A golden text: `executor why one > tests/golden/why.txt` after a change that is meant."""
    _, env, _ = ran
    told = run_here(["why", "one"], env).stdout
    assert told == GOLDEN_WHY.read_text("utf-8")


def test_why_on_every_order_and_on_nothing(ran: tuple[Path, dict[str, str], str]) -> None:
    _, env, _ = ran
    whole = run_here(["why", "one"], env).stdout
    for order in sorted(set(re.findall(r"EX_\d+_[A-Z0-9]+_\d+", whole))):
        assert order in run_here(["why", order], env).stdout
    assert run_here(["why", "never-seen"], env).exit_code == 1
    assert "signal three" in run_here(["why"], env).stdout


@pytest.mark.parametrize("isolated", ["true", "false"])
def test_a_recording_is_traded_on_borrowed_money_and_ends_with_nothing_owed(tmp_path: Path, isolated: str) -> None:
    """As README's command does; cross and isolated, a long and a short, each with an ending of its own."""
    prices = ramp("100.2", "100", "103", "102", "100", "99.8", "100", "101.3", "100", steps=12)
    step = 12 * 5_000
    wanted = signals(
        tmp_path,
        {**LONG, "ts": START_MS + 2_000, "id": "one"},
        {"side": "short", "price": "100", "stop": "101", "ts": START_MS + 4 * step + 30_000, "id": "two"},
    )
    env = settings(
        tmp_path,
        PAPER_RECORDING=str(recording(tmp_path, prices)),
        PAPER_SIGNALS=str(wanted),
        PAPER_BALANCES="USDT=80",
        TRADE_MODE="margin",
        MARGIN_ISOLATED=isolated,
    )
    with process(tmp_path, env, "run") as run:
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    assert re.search(r"^owed +nothing$", out, re.MULTILINE), out + err
    assert re.search(r"^balances +add up over all fills$", out, re.MULTILINE)
    listed = json.loads(run_here(["report", "--format", "json"], env).stdout)
    assert [set(trade["borrowed"]) for trade in listed] == [{"USDT"}, {"LTC"}], out
    assert all(Decimal(paid) > 0 for trade in listed for paid in trade["interest"].values())
    assert max(len(line) for line in out.splitlines()) <= 100
