import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cli.kit import START_MS, ramp, recording, run_here, signals

from executor.paper.engine.model import KlinePath
from executor.paper.replay.recording import RecordedKline, bundled_exchange_info
from executor.simulate.market import trades_of

ENV: Final = {"PAPER_BALANCES": "USDT=10000,LTC=50", "ALLOW_SHORT": "true", "HTTP_PORT": "0"}
LONG: Final = {"side": "long", "price": "100", "stop": "99"}
UP: Final = ("100.2", "100", "103", "100")


def simulate(*args: str, **more: str) -> Any:
    return run_here(["simulate", *args], {**ENV, **more})


def test_the_bundled_recording_adds_up_and_comes_out_the_same_each_time() -> None:
    first = simulate("--format", "json")
    assert first.exit_code == 0, first.output
    listed = json.loads(first.stdout)
    assert len({trade["reason"] for trade in listed}) >= 3
    assert re.search(r"open EX_ orders +0", first.stderr)
    assert "add up over all fills" in first.stderr
    assert json.loads(simulate("--format", "json").stdout) == listed


def test_settings_decide(tmp_path: Path) -> None:
    market = recording(tmp_path, ramp(*UP))
    wanted = signals(tmp_path, {**LONG, "ts": START_MS + 1})
    files = ("--trades", str(market), "--signals", str(wanted), "--format", "json")
    (trail,) = json.loads(simulate(*files).stdout)
    assert trail["reason"] == "TRAIL"
    (hold,) = json.loads(simulate(*files, MAX_HOLD_SEC="60").stdout)
    assert hold["reason"] == "MAX_HOLD"
    refused = simulate(*files, PAPER_BALANCES="USDT=1")
    assert json.loads(refused.stdout) == []
    assert "USDT missing" in refused.stderr


def test_signals_that_make_no_trade_are_told_with_the_reason(tmp_path: Path) -> None:
    market = recording(tmp_path, ramp(*UP))
    wanted = signals(
        tmp_path,
        {**LONG, "ts": START_MS - 60_000, "id": "early"},
        {**LONG, "ts": START_MS + 10_000, "id": "good"},
        {**LONG, "ts": START_MS + 11_000, "id": "good"},
        {**LONG, "ts": START_MS + 12_000, "id": "wrong", "symbol": "BTCUSDT"},
        {**LONG, "ts": START_MS + 3_600_000, "id": "late"},
    )
    with wanted.open("a", encoding="utf-8") as file:
        file.write('{"side":"long"}\n')
    result = simulate("--trades", str(market), "--signals", str(wanted))
    assert result.exit_code == 0, result.output
    for said in (
        r"early .* before the recording's first trade",
        r"good .* seen before|good .* is open",
        r"wrong .* signal is for BTCUSDT",
        r"late .* after the recording's end",
        r"line 6 .* is missing",
    ):
        assert re.search(said, result.stderr), said


def klines(folder: Path, *rows: tuple[str, str, str, str]) -> Path:
    lines = ["open_time_ms,open,high,low,close,volume"]
    lines += [f"{START_MS + i * 60_000},{','.join(row)},4000" for i, row in enumerate(rows)]
    path = folder / "LTCUSDT-1m.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_what_a_kline_reaches_first_decides(tmp_path: Path) -> None:
    """One bar spans both stop and targets."""
    bars = klines(tmp_path, *[("100.2", "100.2", "100", "100")] * 2, ("100", "103", "98.5", "100"))
    wanted = signals(tmp_path, {**LONG, "ts": START_MS + 1})
    files = ("--klines", str(bars), "--signals", str(wanted), "--format", "json")
    (low,) = json.loads(simulate(*files).stdout)
    (high,) = json.loads(simulate(*files, "--path", "high_first").stdout)
    assert Decimal(low["pnl"]) < 0 < Decimal(high["pnl"])


def test_a_kline_is_four_trades_of_its_volume() -> None:
    bars = [
        RecordedKline(0, Decimal(10), Decimal(12), Decimal(9), Decimal(11), Decimal(8)),
        RecordedKline(300_000, Decimal(11), Decimal(11), Decimal(11), Decimal(11), Decimal(0)),
        RecordedKline(600_000, Decimal(11), Decimal(12), Decimal(11), Decimal(12), Decimal(4)),
    ]
    found = list(trades_of(bars, KlinePath.LOW_FIRST, Decimal("0.1")))
    assert [trade.price for trade in found] == [10, 9, 12, 11, 11, 11, 12, 12]
    assert sum(trade.qty for trade in found) == 12
    assert [trade.time for trade in found[:4]] == [0, 75_000, 150_000, 299_999]
    assert len({trade.trade_id for trade in found}) == 8


def test_the_bars_of_a_gap_do_not_stretch() -> None:
    bars = [
        RecordedKline(0, Decimal(1), Decimal(1), Decimal(1), Decimal(1), Decimal(4)),
        RecordedKline(60_000, Decimal(1), Decimal(1), Decimal(1), Decimal(1), Decimal(4)),
        RecordedKline(600_000, Decimal(1), Decimal(1), Decimal(1), Decimal(1), Decimal(4)),
    ]
    times = [trade.time for trade in trades_of(bars, KlinePath.LOW_FIRST, Decimal("0.1"))]
    assert times[4:8] == [60_000, 75_000, 90_000, 119_999]


def test_a_page_to_look_at(tmp_path: Path) -> None:
    market = recording(tmp_path, ramp(*UP))
    wanted = signals(tmp_path, {**LONG, "ts": START_MS + 1}, {**LONG, "ts": START_MS - 1, "id": "<early>"})
    page = tmp_path / "page.html"
    found = simulate("--trades", str(market), "--signals", str(wanted), "--html", str(page), "--format", "json")
    assert found.exit_code == 0, found.output
    text = page.read_text("utf-8")
    (trade,) = json.loads(found.stdout)
    assert f'id="t-{trade["trade"]}"' in text
    assert text.count('<path class="line stop"') == 1
    assert "&lt;early&gt;" in text
    nowhere = simulate("--html", str(tmp_path / "gone" / "page.html"))
    assert nowhere.exit_code == 1
    assert "page.html can't be written: No such file or directory" in nowhere.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--trades", "a.csv", "--klines", "b.csv", "--signals", "s"], 2, "exclude each other"),
        (["--trades", "a.csv"], 2, "needs --signals"),
        (["--trades", "gone/LTCUSDT-x.csv", "--signals", "gone.jsonl"], 1, "gone.jsonl can't be read"),
        (["--trades", "x.csv", "--signals", "gone.jsonl"], 1, "does not begin with one"),
        (["--signals", "gone.jsonl", "--exchange-info", "gone.json"], 1, "gone.json can't be read"),
    ],
)
def test_bad_arguments(args: list[str], code: int, said: str) -> None:
    result = simulate(*args)
    assert (result.exit_code, said in " ".join(result.stderr.replace("│", " ").split())) == (code, True), result.stderr


def test_a_symbol_whose_rules_are_not_known(tmp_path: Path) -> None:
    market = recording(tmp_path, ramp(*UP), name="DOGEUSDT-x.csv")
    wanted = signals(tmp_path, {**LONG, "ts": START_MS + 1, "symbol": "DOGEUSDT"})
    files = ("--trades", str(market), "--signals", str(wanted))
    unknown = simulate(*files)
    assert (unknown.exit_code, "give --exchange-info" in unknown.stderr) == (1, True)
    row = next(row for row in bundled_exchange_info()["symbols"] if row["symbol"] == "LTCUSDT")
    info = tmp_path / "info.json"
    info.write_text(json.dumps({"symbols": [{**row, "symbol": "DOGEUSDT", "baseAsset": "DOGE"}]}), encoding="utf-8")
    given = simulate(*files, "--exchange-info", str(info), "--format", "json")
    assert given.exit_code == 0, given.output
    assert json.loads(given.stdout)[0]["symbol"] == "DOGEUSDT"
    filters = simulate(*files, "--exchange-info", str(info), QTY_STEP="0.0001")
    assert (filters.exit_code, "QTY_STEP" in filters.stderr) == (78, True)
