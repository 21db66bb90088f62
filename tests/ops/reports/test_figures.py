from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.ops.samples import closed, trades

from executor.core.model.state import Closed
from executor.ops.reports.figures import BINS_MAX, distribution, drawdown, equity, figures_of


def results(*pnl: str) -> list[Closed]:
    return [closed(trade=str(i), closed=i, pnl=Decimal(each)) for i, each in enumerate(pnl, 1)]


def test_the_deepest_fall_is_from_the_highest_before_it() -> None:
    assert drawdown(results("5", "-2", "1", "-4", "9")) == 5
    assert drawdown(results("-3", "1", "-1")) == 3
    assert drawdown(results("1", "2")) == 0
    assert drawdown([]) == 0


def test_equity_is_in_the_order_of_closing_and_leaves_out_what_was_not_filled() -> None:
    first, second, third = results("5", "-2", "1")
    unfilled = closed(trade="x", closed=9, qty=Decimal(0), pnl=Decimal(0))
    assert equity([third, unfilled, first, second]) == [(1, Decimal(5)), (2, Decimal(3)), (3, Decimal(4))]


def test_results_on_an_edge_are_in_the_bin_that_begins_there() -> None:
    bins = distribution([closed(r=Decimal(r)) for r in ("-1", "-0.01", "0", "0.5", "0.49")])
    assert [(each.low, each.count) for each in bins] == [
        (Decimal(-1), 1),
        (Decimal("-0.5"), 1),
        (Decimal(0), 2),
        (Decimal("0.5"), 1),
    ]


def test_results_far_out_are_in_the_outermost_bins_which_say_so() -> None:
    bins = distribution([closed(r=Decimal(r)) for r in ("17.5", "5.6", "-40")])
    assert [(each.words, each.count) for each in bins if each.count] == [("below -5.5 R", 1), ("5.5 R or more", 2)]


@given(st.lists(trades, max_size=30))
def test_each_filled_trade_is_counted_once(found: list[Closed]) -> None:
    bins = distribution(found)
    assert sum(each.count for each in bins) == sum(bool(trade.qty) for trade in found)
    assert len(bins) <= BINS_MAX
    figures = figures_of(found)
    assert figures.won + figures.lost + figures.unfilled <= figures.trades == len(found)
    assert figures.drawdown >= 0


def test_interest_is_told_beside_commissions() -> None:
    found = figures_of([closed(interest={"USDT": Decimal("0.1")}), closed(interest={"USDT": Decimal("0.2")})])
    assert found.interest == {"USDT": Decimal("0.3")}
