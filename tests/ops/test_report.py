import csv
import io
import json
import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.ops.samples import closed, trades

from executor.core.model.state import Closed, Reason
from executor.core.model.values import ZERO, Direction
from executor.ops import report

NEEDED = {
    "trade",
    "symbol",
    "side",
    "reason",
    "opened",
    "closed",
    "qty",
    "r",
    "pnl",
    "commissions",
    "unprotected_sec",
}
some = st.lists(trades, max_size=6)


def test_one_trade_as_json() -> None:
    (row,) = json.loads(report.as_json([closed()]))
    assert row.keys() >= NEEDED
    assert row["side"] == "long"
    assert row["opened"] == "2025-06-21T19:02:00.046Z"
    assert row["commissions"] == {"LTC": "0.00122300", "USDT": "0.09938940"}
    assert row["unprotected_sec"] == "0.149"
    assert row["entry_slippage"] == "0.00000000"
    assert row["targets_planned"] == ["82.00", "82.30"]


def test_a_trade_without_a_fill_has_no_prices() -> None:
    (row,) = json.loads(report.as_json([closed(entered=0, entry_avg=None, exit_avg=None, qty=ZERO)]))
    assert (row["entered"], row["entry_avg"], row["exit_avg"]) == (None, None, None)


@given(some)
def test_json_is_exact_and_plain(listed: list[Closed]) -> None:
    text = report.as_json(listed)
    rows = json.loads(text)
    assert [(Decimal(row["pnl"]), Decimal(row["qty"]), Decimal(row["dust"])) for row in rows] == [
        (trade.pnl, trade.qty, trade.dust) for trade in listed
    ]
    assert not re.search(r'"-?[0-9.]+E[+-]?[0-9]+"', text)


@given(some)
def test_csv_tells_the_same_as_json(listed: list[Closed]) -> None:
    rows = list(csv.DictReader(io.StringIO(report.as_csv(listed))))
    for row, of_json in zip(rows, json.loads(report.as_json(listed)), strict=True):
        assert row.keys() == of_json.keys()
        for name in ("trade", "pnl", "r", "qty", "opened", "reason"):
            assert row[name] == of_json[name]
        assert dict(pair.split("=") for pair in row["commissions"].split()) == of_json["commissions"]


def test_csv_of_nothing_has_its_header() -> None:
    assert set(report.as_csv([]).strip().split(",")) >= NEEDED


@given(some)
def test_the_table_fits_100_columns_and_sums_up(listed: list[Closed]) -> None:
    table = report.as_table(listed)
    assert max(len(line) for line in table.splitlines()) <= 100
    if listed:
        total = sum((trade.pnl for trade in listed), ZERO)
        shown = re.search(r"profit +(-?[0-9.]+) USDT|profit +(-?[0-9.]+) quote", table)
        assert shown is not None
        assert Decimal(shown[1] or shown[2]) == total


def test_the_widest_of_everything_fits_100_columns() -> None:
    price = Decimal("99999.12345678")
    wide = closed(
        direction=Direction.SHORT,
        reason=max(Reason, key=len),
        qty=Decimal("9999.999"),
        entry_planned=Decimal("99999.12"),
        entry_avg=price,
        exit_avg=price,
        pnl=Decimal("-9999.12345678"),
        r=Decimal("-99.1234"),
        unprotected_ms=99_999,
    )
    assert max(len(line) for line in report.as_table([wide]).splitlines()) == 100


def test_the_summary() -> None:
    table = report.as_table(
        [
            closed(),
            closed(reason=Reason.TRAIL, pnl=Decimal("1.5"), r=Decimal(2), commissions={"BNB": Decimal("0.01")}),
            closed(reason=Reason.ENTRY_TIMEOUT, qty=ZERO, pnl=ZERO, r=ZERO, commissions={}, dust=ZERO),
        ]
    )
    assert "3: 1 won, 1 lost, 1 without a fill" in table
    assert "0.9337915 USDT, 0.4568 R" in table
    assert "0.01 BNB, 0.001223 LTC, 0.0993894 USDT" in table
    assert "0.001554 LTC" in table
    assert "0.120 s (trade 1750532520046)" in table


def test_no_trade() -> None:
    assert report.as_table([]) == "No trade has finished."
    assert json.loads(report.as_json([])) == []


def test_of_several_accounts_each_trade_is_told_whose_it_is_and_each_is_summed_up_by_itself() -> None:
    """Two accounts' trades of one signal begin in the same millisecond, and are of one symbol."""
    listed, accounts = (
        [closed(pnl=Decimal(3)), closed(pnl=Decimal(-1)), closed(symbol="BTCUSDT")],
        ["bob", "ann", "ann"],
    )
    assert [row["account"] for row in json.loads(report.as_json(listed, accounts))] == accounts
    rows = list(csv.DictReader(io.StringIO(report.as_csv(listed, accounts))))
    assert [(row["account"], row["pnl"]) for row in rows][:2] == [("bob", "3"), ("ann", "-1")]
    tables = report.as_table(listed, accounts).split("\n\n")
    assert [table.partition("\n")[0] for table in tables[::2]] == ["ann BTCUSDT", "ann LTCUSDT", "bob LTCUSDT"]
    assert ["-1 USDT" in tables[3], "3 USDT" in tables[5]] == [True, True]
    assert report.as_table(listed[:1], ["bob"]).startswith("bob LTCUSDT\n")
    assert "account" not in json.loads(report.as_json(listed))[0]
