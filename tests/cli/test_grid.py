"""`executor simulate` with many settings and recordings at once."""

import csv
import io
import json
import os
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cli.kit import START_MS, process, ramp, recording, run_here, signals
from tests.ops.reports.test_page import Reader, harmless

from executor.cli.grid import GridError, combinations, jobs_of, run_grid
from executor.cli.simulation import Prices, Recording

ENV: Final = {"PAPER_BALANCES": "USDT=10000,LTC=50,BTC=1", "ALLOW_SHORT": "true", "HTTP_PORT": "0"}
LONG: Final = {"side": "long", "price": "100", "stop": "99"}
NONE: Final = Path("none.env")


def simulate(*args: str, **more: str) -> Any:
    return run_here(["simulate", *args], {**ENV, **more})


def market(
    folder: Path, *, name: str = "LTCUSDT-a.csv", prices: tuple[str, ...] = ("100.2", "100", "103", "100")
) -> str:
    return str(recording(folder, ramp(*prices), name=name))


def wanted(folder: Path) -> str:
    return str(signals(folder, {**LONG, "ts": START_MS + 1}))


def test_each_value_with_each_other_in_the_order_given() -> None:
    found = combinations(["TRAIL_MODE=DISTANCE, SWING", "QTY_USD=10,20", "QTY_USD=20,30"], NONE)
    assert len(found) == 6
    assert found[0] == (("TRAIL_MODE", "DISTANCE"), ("QTY_USD", "10"))
    assert found[-1] == (("TRAIL_MODE", "SWING"), ("QTY_USD", "30"))
    assert combinations([], NONE) == [()]


def test_a_value_that_has_commas_itself_is_one_each_time() -> None:
    found = combinations(["TP_R_LIST=1,2", "TP_R_LIST=2,3", "PAPER_BALANCES=USDT=5,LTC=1"], NONE)
    assert [dict(each)["TP_R_LIST"] for each in found] == ["1,2", "2,3"]
    assert dict(found[0])["PAPER_BALANCES"] == "USDT=5,LTC=1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["TRAIL_MOD=SWING"], "--set: 'TRAIL_MOD' is not a setting; did you mean TRAIL_MODE?"),
        (["xyzzy=1"], "'xyzzy' is not a setting"),
        (["HTTP_PORT=1,2"], "HTTP_PORT changes nothing in a simulation"),
        (["BINANCE_API_SECRET=a"], "BINANCE_API_SECRET changes nothing in a simulation"),
        (["SL_PCT"], "'SL_PCT' has no value; must be NAME=VALUE, or NAME=VALUE,VALUE"),
        (["SL_PCT="], "'SL_PCT' has no value"),
        (["SL_PCT=1,,2"], "SL_PCT has an empty value among '1,,2'"),
        (["=3"], "'' is not a setting"),
        (["TRAIL_MODE=SWING,SWINGS"], "TRAIL_MODE: was 'SWINGS'; must be DISTANCE, SWING or NATIVE"),
        (["TP_R_LIST=1,2", "TP_R_LIST=2,1"], "TP_R_LIST: was '2,1'"),
        (["SL_PCT=1,x", "TRAIL_MODE=y"], "SL_PCT: was 'x'"),
        (
            [f"{name}={','.join(map(str, range(1, 102)))}" for name in ("MAX_HOLD_SEC", "COOLDOWN_SEC")],
            "--set: 10201 combinations; must be at most 10000",
        ),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_begun(given: list[str], said: str) -> None:
    with pytest.raises(GridError, match="--set:") as caught:
        combinations(given, NONE)
    assert said in str(caught.value)
    assert caught.value.bad_settings


def test_of_very_many_combinations_each_value_is_judged() -> None:
    many = [f"MAX_HOLD_SEC={','.join(map(str, range(1, 60)))}", "COOLDOWN_SEC=1,2,three"]
    with pytest.raises(GridError) as caught:
        combinations(many, NONE)
    assert "COOLDOWN_SEC: was 'three'" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_wrong_values_end_with_the_code_of_wrong_settings() -> None:
    found = simulate("--set", "TRAIL_MODE=SWINGS", "--set", "SL_PCT=x,1")
    assert found.exit_code == 78
    assert "executor: --set:\n  " in found.stderr
    assert "SL_PCT: was 'x'" in found.stderr
    assert "TRAIL_MODE: was 'SWINGS'" in found.stderr


def test_a_cell_is_what_a_simulation_alone_comes_to(tmp_path: Path) -> None:
    files = ("--trades", market(tmp_path), "--signals", wanted(tmp_path), "--format", "json")
    grid = simulate(*files, "--set", "MAX_HOLD_SEC=0,60", "--set", "QTY_USD=50,100")
    assert grid.exit_code == 0, grid.output
    cells = json.loads(grid.stdout)
    assert [cell["settings"] for cell in cells] == [
        {"MAX_HOLD_SEC": hold, "QTY_USD": size} for hold in ("0", "60") for size in ("50", "100")
    ]
    for cell in cells:
        (alone,) = json.loads(simulate(*files, **cell["settings"]).stdout)
        assert (cell["trades"], cell["pnl"], Decimal(cell["r"])) == (1, alone["pnl"], Decimal(alone["r"]))
        assert (cell["commissions"], cell["quote"]) == (alone["commissions"], "USDT")


def test_a_single_value_is_a_setting(tmp_path: Path) -> None:
    files = ("--trades", market(tmp_path), "--signals", wanted(tmp_path), "--format", "json")
    (trade,) = json.loads(simulate(*files, "--set", "MAX_HOLD_SEC=60").stdout)
    assert trade["reason"] == "MAX_HOLD"


def test_the_best_sum_of_r_comes_first_and_csv_keeps_the_order(tmp_path: Path) -> None:
    args = ("--trades", market(tmp_path), "--signals", wanted(tmp_path), "--set", "MAX_HOLD_SEC=60,0")
    lines = simulate(*args).stdout.splitlines()
    assert lines[0].split()[:3] == ["MAX_HOLD_SEC", "trades", "won"]
    assert [line.split()[0] for line in lines[1:3]] == ["0", "60"]
    rows = list(csv.DictReader(io.StringIO(simulate(*args, "--format", "csv").stdout)))
    assert [row["MAX_HOLD_SEC"] for row in rows] == ["60", "0"]
    assert rows[0]["commissions"].startswith("LTC=")


def test_several_recordings_each_with_its_symbol_and_signals(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    up, down = market(first), market(second, name="LTCUSDT-b.csv", prices=("100.2", "100", "98.5"))
    page = tmp_path / "grid.html"
    given = ("--trades", up, "--trades", down, "--signals", wanted(first), "--signals", wanted(second))
    found = simulate(*given, "--format", "json", "--html", str(page), "--set", "SL_AFTER_TP1=KEEP,BREAKEVEN")
    assert found.exit_code == 0, found.output
    cells = json.loads(found.stdout)
    assert [(cell["recording"], cell["symbol"]) for cell in cells[:2]] == [
        ("LTCUSDT-a.csv", "LTCUSDT"),
        ("LTCUSDT-b.csv", "LTCUSDT"),
    ]
    assert Decimal(cells[0]["r"]) > 0 > Decimal(cells[1]["r"])
    reader = Reader(page.read_text("utf-8"))
    harmless(reader)
    assert [words for tag, words in reader.words if tag == "h2"] == [
        "Combinations, the best first",
        "Each setting by itself",
        "R on each recording",
    ]
    table = simulate(*given).stdout.splitlines()
    assert table[1].split()[:2] == ["2", "50"]  # both trades of the one combination


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--trades", "a.csv", "--trades", "b/a.csv", "--signals", "s"], 2, "the same name"),
        (["--trades", "a.csv", "--trades", "b.csv", "--signals", "s", "--signals", "t", "--signals", "u"], 2, "once"),
        (["--trades", "a.csv", "--trades", "b.csv", "--signals", "s"], 1, "of several recordings each one's must"),
        (
            ["--trades", "LTCUSDT-a.csv", "--trades", "LTCUSDT-b.csv", "--signals", "gone.jsonl"],
            1,
            "as set on LTCUSDT-",
        ),
        (["--set", "QTY_STEP=0.0001,0.0002"], 78, "QTY_STEP=0.000"),
    ],
)
def test_what_can_t_be_carried_out_is_named(args: list[str], code: int, said: str) -> None:
    found = simulate(*args)
    assert (found.exit_code, said in " ".join(found.stderr.replace("│", " ").split())) == (code, True), found.stderr


def workers(pid: int) -> list[int]:
    """The processes below one, the helper of Python's own that tracks resources apart."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                found += [child, *workers(child)]
    return found


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and _state(pid) != "Z"]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


LARGE: Final = ["simulate", "--processes", "2", "--set", f"MAX_HOLD_SEC={','.join(map(str, range(600, 900)))}"]


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "executor: interrupted after "),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_ending_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int, said: str) -> None:
    page = tmp_path / "grid.html"
    with process(tmp_path, ENV, *LARGE, "--html", str(page)) as grid:
        until = time.monotonic() + 60
        while len(begun := workers(grid.pid)) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1)
        os.kill(grid.pid, number)
        out, err = grid.communicate(timeout=60)
    assert (grid.returncode, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    until = time.monotonic() + 60
    while alive(begun):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not page.exists()


def test_a_process_that_dies_is_told_of(tmp_path: Path) -> None:
    with process(tmp_path, ENV, *LARGE) as grid:
        until = time.monotonic() + 60
        while len(begun := workers(grid.pid)) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(begun[0], signal.SIGKILL)
        _, err = grid.communicate(timeout=60)
    assert (grid.returncode, err.strip()) == (
        1,
        "executor: a process has died while it simulated: too little memory? Try --processes 1",
    )


def test_one_that_fails_leaves_no_thread_of_the_others_behind(tmp_path: Path) -> None:
    """What still closes as the interpreter ends is met by it, and fills the terminal with its complaints."""
    before = set(threading.enumerate())
    told = Recording(Path(market(tmp_path)), Path(wanted(tmp_path)))
    lengths = [(("MAX_HOLD_SEC", str(length)),) for length in (-1, *range(600, 900))]
    with pytest.raises(GridError, match="MAX_HOLD_SEC"):
        run_grid(jobs_of(lengths, [told], NONE, None, Prices.POLLED), 2)
    assert set(threading.enumerate()) == before
