"""Recorded files are read exactly, or refused with the file, the line and the field."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from tests.paper.engine.client import d

from executor.paper.errors import RecordingError
from executor.paper.replay.recording import DEMO_SYMBOL, KlineFile, TradeFile, demo_trades

TRADES = "time_ms,price,qty,is_buyer_maker,agg_trade_id\n1000,80.10,1.5,true,7\n1000,80.20,2,FALSE,8\n"
KLINES = "open_time_ms,open,high,low,close,volume\n60000,10,12,9,11,100\n120000,11,11,11,11,0\n"


def written(folder: Path, text: str, name: str = "file.csv") -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["trades.csv", "trades.csv.gz"])
def test_trades(tmp_path: Path, name: str) -> None:
    recording = TradeFile(written(tmp_path, TRADES, name))
    first, second = recording
    assert (first.time, first.price, first.qty, first.buyer_is_maker, first.trade_id) == (
        1000,
        d("80.10"),
        d("1.5"),
        True,
        7,
    )
    assert second.buyer_is_maker is False
    assert len(list(recording)) == 2, "a reader can be walked again"


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    text = "recv_ms,trade_id,qty,price,time_ms,is_buyer_maker\n9,5,1,80,1000,true\n"
    assert next(iter(TradeFile(written(tmp_path, text)))).trade_id == 5


def test_klines(tmp_path: Path) -> None:
    first, second = KlineFile(written(tmp_path, KLINES, "k.csv"))
    assert (first.open_time, first.high, second.volume) == (60_000, d(12), d(0))


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (TradeFile, "", "file.csv: is empty, must start with a header line"),
        (TradeFile, "price,qty\n", "must have a column time_ms"),
        (TradeFile, TRADES.replace("agg_trade_id", "id"), "must have a column trade_id or agg_trade_id"),
        (TradeFile, TRADES + "1000,80\n", "file.csv, line 4: has 2 fields, must have 5"),
        (TradeFile, TRADES.replace("80.20", "x"), "line 3: price is 'x', must be a number of 0 or more"),
        (TradeFile, TRADES.replace("80.20", "NaN"), "line 3: price is 'NaN', must be a number of 0 or more"),
        (TradeFile, TRADES.replace("80.20", "0"), "line 3: price is '0', must be more than 0"),
        (TradeFile, TRADES.replace("80.20", "-1"), "line 3: price is '-1', must be a number of 0 or more"),
        (TradeFile, TRADES.replace("FALSE", "no"), "line 3: is_buyer_maker is 'no', must be true or false"),
        (TradeFile, TRADES.replace(",8\n", ",x\n"), "line 3: agg_trade_id is 'x', must be a whole number"),
        (TradeFile, TRADES + "1.5,80,1,true,9\n", "line 4: time_ms is '1.5', must be milliseconds"),
        (TradeFile, TRADES + "999,80,1,true,9\n", "line 4: time_ms is '999', must be a time of 1000 or later"),
        (KlineFile, KLINES + "120000,1,1,1,1,1\n", "line 4: open_time_ms is '120000', must be a time after 120000"),
        (KlineFile, KLINES.replace("12,9", "12,10.5"), "line 2: low is '10.5', must be no more than open and close"),
        (KlineFile, KLINES.replace("12,9", "10,9"), "line 2: high is '10', must be no less than open and close"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, reader: Any, text: str, message: str) -> None:
    with pytest.raises(RecordingError, match=r"file\.csv") as caught:
        list(reader(written(tmp_path, text)))
    assert message in str(caught.value)


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.csv: cannot be read"):
        list(TradeFile(tmp_path / "gone.csv"))
    whole = gzip.compress(TRADES.encode())
    for name, content in (
        ("torn.csv.gz", whole[:-9]),
        ("not.csv.gz", b"text"),
        ("bad.csv.gz", whole[:20] + b"\xff" * 30),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RecordingError, match="cannot be read"):
            list(TradeFile(tmp_path / name))
    (tmp_path / "latin.csv").write_bytes(TRADES.encode() + b"\xff")
    with pytest.raises(RecordingError, match="cannot be read"):
        list(TradeFile(tmp_path / "latin.csv"))


def test_the_demo_recording_ships_whole() -> None:
    trades = list(demo_trades())
    assert DEMO_SYMBOL == "LTCUSDT"
    assert len(trades) == 39_869
    assert (trades[0].time, trades[-1].time) == (1_750_532_400_546, 1_750_553_999_934)
    assert (min(trade.price for trade in trades), max(trade.price for trade in trades)) == (d("78.6"), d("81.9"))
