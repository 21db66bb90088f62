from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, make_signal

from executor.core.book.plan import PlanError, make_plan, split, split_units, target_of
from executor.core.model.facts import Kline
from executor.core.model.policy import EntryMode, Policy, StopMode
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Plan
from executor.core.model.values import Direction

D = Decimal
BARE = replace(make_signal(), stop=None, targets=())


def planned(policy: Policy = POLICY, rules: SymbolRules = RULES, **changes: Any) -> Plan:
    return make_plan(replace(BARE, **changes), policy, rules, None)


def fault(policy: Policy = POLICY, rules: SymbolRules = RULES, **changes: Any) -> str:
    with pytest.raises(PlanError) as raised:
        planned(policy, rules, **changes)
    return str(raised.value)


def test_the_entry_is_the_signals_or_its_price_with_an_offset_rounded_to_be_easier_to_fill() -> None:
    """Rule 2.2."""
    policy = replace(POLICY, entry_offset=D("0.055"))
    assert planned(policy).entry == D("100.06")
    assert planned(policy, direction=Direction.SHORT).entry == D("99.94")
    assert planned(policy, entry=D(99)).entry == 99


def test_the_stop_is_the_signals_or_a_fraction_of_the_entry() -> None:
    assert planned(stop=D("98.019")).stop == D("98.01")
    assert planned().stop == D("99.80")
    assert planned(direction=Direction.SHORT).stop == D("100.20")


@pytest.mark.parametrize("direction", list(Direction))
def test_a_stop_that_the_tick_would_put_more_than_twice_as_far_away_is_refused(direction: Direction) -> None:
    """Rule 2.2: what is lost at the stop is what was set, not ten times that."""
    coarse = replace(RULES, tick=D("0.1"))
    policy = replace(POLICY, stop_pct=D("0.0001"))
    said = fault(policy, coarse, direction=direction)
    assert "0.01 away from the entry was wanted, and the tick makes it 0.1; it must be at least a tick, 0.1" in said
    sign = direction.sign
    assert "0.04 away" in fault(rules=coarse, direction=direction, stop=100 - sign * D("0.04"))
    assert planned(rules=coarse, direction=direction, stop=100 - sign * D("0.05")).r == D("0.1")
    assert planned(policy, direction=direction).r == D("0.01")


def test_a_swing_stop_is_the_farther_of_fraction_and_extreme() -> None:
    policy = replace(POLICY, stop_mode=StopMode.SWING, swing_mins=2)
    bars = [Kline(0, D(110), D(90), D(100)), Kline(1, D(101), D(97), D(100)), Kline(2, D(101), D(98), D(100))]
    assert make_plan(BARE, policy, RULES, bars).stop == 97
    near = [Kline(0, D("100.1"), D("99.9"), D(100))]
    assert make_plan(BARE, policy, RULES, near).stop == D("99.80")
    assert make_plan(replace(BARE, direction=Direction.SHORT), policy, RULES, bars).stop == 101


def test_a_swing_stop_without_bars_is_refused() -> None:
    assert fault(replace(POLICY, stop_mode=StopMode.SWING)) == (
        "STOP_MODE=SWING needs one-minute klines, and none could be read"
    )


def test_targets_are_the_signals_or_multiples_of_r() -> None:
    assert planned().targets == (D("100.20"), D("100.40"))
    assert planned(direction=Direction.SHORT).targets == (D("99.80"), D("99.60"))
    assert planned(targets=(D("101.009"),)).targets == (D("101.00"),)


def test_prices_out_of_order_are_refused_by_name() -> None:
    assert fault(stop=D(101)) == (
        "prices out of order for a long: stop 101, entry 100, TP1 101, TP2 102; must be stop < entry < TP1 < TP2"
    )
    assert "must be stop > entry > TP1" in fault(stop=D(99), direction=Direction.SHORT)


@pytest.mark.parametrize(
    ("changes", "name"), [({"entry": D(0)}, "entry"), ({"stop": D(-1)}, "stop"), ({"targets": (D(200_000),)}, "TP1")]
)
def test_a_price_outside_of_the_filters_is_refused_by_name(changes: dict[str, Any], name: str) -> None:
    assert fault(**changes).startswith(f"{name}: price ")


@pytest.mark.parametrize(
    ("policy", "changes", "qty"),
    [
        (POLICY, {}, "3"),
        (POLICY, {"qty": D("1.0009")}, "1"),
        (POLICY, {"notional": D(250)}, "2.5"),
        (POLICY, {"risk": D(1)}, "5"),
        (replace(POLICY, qty=None, notional=D(150)), {}, "1.5"),
        (replace(POLICY, qty=None, risk=D(2)), {}, "10"),
    ],
)
def test_the_size_is_the_signals_own_or_the_settings_floored_to_the_step(
    policy: Policy, changes: dict[str, Any], qty: str
) -> None:
    """Rule 2.3."""
    assert planned(policy, **changes).qty == D(qty)


def test_a_size_that_no_filter_carries_is_refused() -> None:
    assert fault(replace(POLICY, qty=None)) == "no size: one of QTY, QTY_USD, RISK_USD must be set"
    small = "size 0.01 LTC at 100 breaks the filters: NOTIONAL: 1 USDT is below the minimum 5"
    assert fault(qty=D("0.01")) == small
    assert "LOT_SIZE: quantity 0.000 is below the minimum 0.001" in fault(qty=D("0.0001"))
    market = replace(POLICY, entry_mode=EntryMode.MARKET_ONLY)
    large = "size 3 LTC at 100 breaks the filters: MARKET_LOT_SIZE: quantity 3 is above the maximum 1"
    assert fault(market, replace(RULES, market_max_qty=D(1))) == large
    assert "MARKET_LOT_SIZE: quantity 3 is below the minimum 4" in fault(market, replace(RULES, market_min_qty=D(4)))
    assert "not a multiple of the step 2" in fault(market, replace(RULES, market_step=D(2)))
    assert "too small for one exit" in fault(qty=D("0.05"))


def test_the_split_gives_the_rest_to_the_last_leg_that_has_a_weight() -> None:
    """Rule 2.4."""
    assert split_units(10, (D(1), D(1), D(1))) == (3, 3, 4)
    assert split_units(10, (D(1), D(1), D(0))) == (5, 5, 0)
    assert split_units(10, (D(2), D(0), D(0))) == (10, 0, 0)


def test_where_three_legs_are_too_small_two_are_used_and_then_one() -> None:
    plan = planned(stop=D(98), targets=(D(102), D(104)))
    assert split(D(3), plan, POLICY, RULES) == (D(1), D(1), D(1))
    assert split(D("0.12"), plan, POLICY, RULES) == (D("0.06"), D("0.06"), D(0))
    assert split(D("0.07"), plan, POLICY, RULES) == (D("0.07"), D(0), D(0))
    assert split(D("0.05"), plan, POLICY, RULES) is None


def test_one_target_makes_no_second_leg() -> None:
    plan = planned(stop=D(98), targets=(D(102),))
    assert split(D(2), plan, POLICY, RULES) == (D(1), D(0), D(1))
    assert [target_of(n, plan) for n in (0, 1, 2, 3)] == [None, D(102), None, None]
