"""The page of a report: whole, harmless, and telling what the trades say. In a browser: tests/page."""

import re
from decimal import Decimal
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.reports.test_paths import bundled
from tests.ops.samples import closed, trades

from executor.core.model.state import Closed
from executor.ops import report
from executor.ops.reports.page import report_page
from executor.ops.reports.paths import FillAt, PriceAt, Span, StopAt, TradePath

VOID = {"meta", "link", "br"}
HOSTILE = "</summary><script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Reads strictly: every tag closed by its own end. `words`: the text in each element, by the tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data))


def harmless(reader: Reader) -> None:
    """No script, no handler, and nothing that asks another host for anything."""
    assert "script" not in reader.tags
    for name, value in reader.attributes:
        assert not name.startswith("on"), name
        if name in {"href", "src"}:
            assert value is not None
            assert value.startswith("#") or value == "data:,", value
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(set(ids)) == len(ids)


@given(st.lists(trades, max_size=8, unique_by=lambda trade: trade.trade))
@settings(max_examples=40)
def test_any_trades_make_a_whole_page(found: list[Closed]) -> None:
    paths = {
        trade.trade: TradePath(
            trade=trade.trade,
            prices=[PriceAt(trade.opened, trade.entry_planned)],
            stops=[StopAt(trade.opened, trade.stop_planned), StopAt(trade.closed, None)],
            fills=[FillAt(trade.closed, "EX_1_ENTRY_0", "ENTRY", "BUY", trade.entry_planned, Decimal(1))],
            bare=[Span(trade.opened, trade.closed)],
        )
        for trade in found[::2]
    }
    reader = Reader(report_page("Trades", found, dict.fromkeys(report.parts(found), paths)))
    harmless(reader)
    assert reader.tags.count("details") == len(found)
    assert "NaN" not in str(reader.attributes)


def test_what_strangers_wrote_is_text() -> None:
    trade = closed(signal=HOSTILE)
    page = report_page(HOSTILE, [trade], {}, about=[(HOSTILE, HOSTILE)], untaken=[(HOSTILE, HOSTILE, HOSTILE)])
    reader = Reader(page)
    harmless(reader)
    assert sum(words == HOSTILE for _, words in reader.words) >= 6


def test_the_policy_names_the_one_style_sheet_and_allows_nothing_else() -> None:
    page = report_page("Trades", [closed()], {})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert " style=" not in page  # it would be refused by it


def test_the_bundled_run_has_its_figures_and_each_trade_its_picture() -> None:
    closed_by, paths = bundled()
    found = list(closed_by.values())
    reader = Reader(report_page("Trades of LTCUSDT", found, {("", "LTCUSDT"): paths}))
    harmless(reader)
    assert reader.tags.count("svg") == 3 + len(found)
    said = " ".join(words for _, words in reader.words)
    for trade in found:
        for fill in paths[trade.trade].fills:
            assert fill.order in said
    labels = [value for name, value in reader.attributes if name == "aria-label" and value]
    total = sum(trade.pnl for trade in found)
    assert any(label.startswith(f"Profit after {sum(bool(t.qty) for t in found)} trades: ") for label in labels), total


def test_of_several_symbols_each_has_its_own_part() -> None:
    page = report_page("Trades", [closed(), closed(symbol="BTCUSDT", trade="2")], {})
    reader = Reader(page)
    assert [words for tag, words in reader.words if tag == "h2"] == ["BTCUSDT", "LTCUSDT"]
    assert page.count("does not reach back to this trade") == 2


def test_namesakes_of_several_accounts_are_each_s_own() -> None:
    found = [closed(pnl=Decimal(1)), closed(pnl=Decimal(2)), closed(symbol="BTCUSDT")]
    paths = {
        ("bob", "LTCUSDT"): {
            found[1].trade: TradePath(trade=found[1].trade, prices=[PriceAt(found[1].opened, found[1].entry_planned)])
        }
    }
    page = report_page("Trades", found, paths, accounts=["ann", "bob", "bob"])
    reader = Reader(page)
    harmless(reader)
    assert [words for tag, words in reader.words if tag == "h2"] == ["ann LTCUSDT", "bob BTCUSDT", "bob LTCUSDT"]
    ids = [value for name, value in reader.attributes if name == "id"]
    links = [value for name, value in reader.attributes if name == "href" and value and value.startswith("#")]
    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert page.count("does not reach back to this trade") == 2
    assert page.partition("does not reach back")[0].count("<h2") == 1  # ann's has no path, bob's has


def test_no_trade_is_a_page_too() -> None:
    assert "No trade has finished." in report_page("Trades", [], {})


def test_interest_is_there_where_some_was_paid() -> None:
    assert "interest" not in report_page("T", [closed()], {}).partition("<footer>")[0]
    page = report_page("T", [closed(interest={"USDT": Decimal("0.25")})], {})
    assert page.count("0.25 USDT") == 2
