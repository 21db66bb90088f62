from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES

from executor.core.book import levels
from executor.core.model.facts import Kline
from executor.core.model.values import Direction

D = Decimal
LONG, SHORT = Direction.LONG, Direction.SHORT


def bars(*prices: tuple[int, int]) -> list[Kline]:
    return [Kline(i, D(high), D(low), D(low)) for i, (low, high) in enumerate(prices)]


def test_a_stop_is_reached_at_its_level_and_a_target_too() -> None:
    assert levels.beyond(D(98), D(98), LONG)
    assert not levels.beyond(D("98.01"), D(98), LONG)
    assert levels.beyond(D(102), D(102), SHORT)
    assert levels.past(D(102), D(102), LONG)
    assert not levels.past(D("101.99"), D(102), LONG)
    assert levels.past(D(98), D(98), SHORT)


def test_the_safer_stop_gives_less_away() -> None:
    """Rule 10.4."""
    assert levels.safer(D(98), D(99), LONG) == 99
    assert levels.safer(D(102), D(101), SHORT) == 101
    assert levels.is_safer(D(99), D(98), LONG)
    assert not levels.is_safer(D(98), D(98), LONG)
    assert levels.is_safer(D(101), D(102), SHORT)


@pytest.mark.parametrize(
    ("ticks", "pct", "long", "short"),
    [(2, "0", "97.98", "102.02"), (2, "0.001", "97.90", "102.11"), (0, "0", "97.99", "102.01")],
)
def test_a_stops_limit_leaves_a_gap_that_is_never_zero(ticks: int, pct: str, long: str, short: str) -> None:
    """Rule 4.4."""
    policy = replace(POLICY, gap_ticks=ticks, gap_pct=D(pct))
    assert levels.stop_limit(D(98), LONG, policy, RULES) == D(long)
    assert levels.stop_limit(D(102), SHORT, policy, RULES) == D(short)


def test_breakeven_pays_for_both_commissions() -> None:
    """Rule 5.2."""
    policy = replace(POLICY, breakeven_ticks=1)
    long = levels.breakeven(D(100), LONG, policy, RULES)
    assert long == D("100.22")
    assert (long - D("0.01")) * (1 - RULES.taker_fee) >= 100 * (1 + RULES.taker_fee)
    assert levels.breakeven(D(100), SHORT, policy, RULES) == D("99.79")


def test_levels_are_rounded_towards_profit_or_away_from_it() -> None:
    assert levels.toward_profit(D("1.001"), D("0.01"), LONG) == D("1.01")
    assert levels.toward_profit(D("1.001"), D("0.01"), SHORT) == D("1.00")
    assert levels.away_from_profit(D("1.001"), D("0.01"), LONG) == D("1.00")
    assert levels.away_from_profit(D("1.001"), D("0.01"), SHORT) == D("1.01")


def test_the_trails_distance_is_a_price_a_fraction_or_a_multiple_of_r() -> None:
    """Rule 5.4."""
    assert levels.trail_distance(D(100), D(2), replace(POLICY, trail_distance=D(3))) == 3
    assert levels.trail_distance(D(100), D(2), replace(POLICY, trail_pct=D("0.01"))) == 1
    assert levels.trail_distance(D(100), D(2), replace(POLICY, trail_r=D("1.5"))) == 3
    assert levels.trail_distance(D(100), D(2), replace(POLICY, trail_r=None)) == 2


def test_a_swing_stop_starts_from_the_extreme_of_the_bars() -> None:
    assert levels.swing_extreme([], LONG) is None
    assert levels.swing_extreme(bars((97, 99), (96, 101)), LONG) == 96
    assert levels.swing_extreme(bars((97, 99), (96, 101)), SHORT) == 101


def test_a_swing_is_confirmed_by_bars_on_both_sides_and_the_newest_counts() -> None:
    """Rule 5.4."""
    klines = bars((5, 9), (4, 8), (5, 9), (3, 9), (5, 12), (6, 9), (7, 8))
    assert levels.last_swing(klines, 1, LONG) == 3
    assert levels.last_swing(klines, 1, SHORT) == 12
    assert levels.last_swing(klines, 2, LONG) == 3
    assert levels.last_swing(bars((5, 9), (5, 9), (5, 9)), 1, LONG) is None
    assert levels.last_swing(bars((5, 9), (5, 9), (5, 9)), 1, SHORT) is None
