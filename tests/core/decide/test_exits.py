from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    RULES,
    Script,
    both_sides,
    entering,
    protected,
    trailing,
    unprotected,
)

from executor.core.model.events import Tick
from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.intents import QueryOrder
from executor.core.model.policy import AfterTp1, Layout
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, OrderPhase, Protected, Reason, Unprotected
from executor.core.model.values import Direction, OrderType

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)
ALL = ["SL", "SL1", "SL2", "TP1", "TP2"]


@both_sides
def test_all_exits_go_out_at_once_when_the_entry_is_complete(direction: Direction) -> None:
    """Rules 4.1, 4.2: two OCOs and a stop, five open orders."""
    script = unprotected(direction)
    assert script.kinds() == ["OCO1", "OCO2", "SL"]
    script.settle()
    assert script.live() == ALL
    assert isinstance(script.phase, Protected)
    target, stop = script.order(Role.TP1), script.order(Role.SL1)
    assert (target.type, target.price) == (OrderType.LIMIT_MAKER, script.px(102))
    assert (stop.type, stop.stop_price) == (OrderType.STOP_LOSS_LIMIT, script.px(98))
    assert stop.price is not None
    assert direction.sign * (script.px(98) - stop.price) > 0
    assert script.order(Role.TP2).price == script.px(104)


@both_sides
def test_the_plain_layout_is_two_targets_and_one_stop_for_all(direction: Direction) -> None:
    """Rule 4.3: three open orders."""
    script = protected(direction, PLAIN)
    assert script.live() == ["SL", "TP1", "TP2"]
    assert script.order(Role.TP1).type is OrderType.LIMIT
    assert script.order(Role.SL).qty == sum(script.position.split)
    assert isinstance(script.phase, Protected)


@both_sides
def test_the_expected_exits_shrink_with_each_target(direction: Direction) -> None:
    """Rules 4.5, 5.2, 5.3."""
    script = protected(direction)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    assert script.live() == ["SL", "SL2", "TP2"]
    script.quote("104.1", after=2_000)
    script.fill(Role.TP2)
    script.settle()
    assert script.live() == ["TRAIL"]


@both_sides
def test_after_the_first_target_the_other_stops_move_to_breakeven_one_leg_at_a_time(direction: Direction) -> None:
    """Rules 5.2, 5.5."""
    script = protected(direction)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    assert script.position.target_hit
    assert script.kinds() == ["CancelList"]
    script.accept()
    assert script.kinds() == ["OCO2"]
    script.accept()
    assert script.kinds() == ["replace SL"]
    script.settle()
    for role in (Role.SL, Role.SL2):
        stop = script.order(role).stop_price
        assert stop is not None
        assert abs(stop - script.px("100.21")) <= D("0.01")


def test_after_the_first_target_the_stops_may_be_kept() -> None:
    script = protected(policy=replace(POLICY, after_tp1=AfterTp1.KEEP))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    assert script.order(Role.SL2).stop_price == 98


@both_sides
def test_a_filled_stop_ends_its_leg_and_the_last_one_the_trade(direction: Direction) -> None:
    """Rule 6.1."""
    script = protected(direction)
    script.quote("98", after=1_000)
    for role in (Role.SL1, Role.SL2, Role.SL):
        script.fill(role)
    script.settle()
    assert script.closed.reason is Reason.SL
    assert not script.state.outbox


@pytest.mark.parametrize("roles", [("TP1", "TP2"), ("TP2", "TP1")])
def test_targets_may_fill_in_any_order(roles: tuple[str, str]) -> None:
    """Rule 5.1."""
    script = protected()
    script.quote("104.1", after=1_000)
    for role in roles:
        script.fill(role)
    script.settle()
    assert script.live() == ["TRAIL"]
    assert [leg.n for leg in script.position.legs] == [1, 2, 3]


@both_sides
def test_a_trade_without_a_trailing_leg_ends_with_its_second_target(direction: Direction) -> None:
    """Rule 5.3."""
    script = protected(direction, replace(POLICY, split=(D(1), D(1), D(0))))
    assert script.live() == ["SL1", "SL2", "TP1", "TP2"]
    script.quote("104.1", after=1_000)
    script.fill(Role.TP1)
    script.fill(Role.TP2)
    script.settle()
    assert script.closed.reason is Reason.TP


def test_the_plain_stop_shrinks_with_the_targets() -> None:
    """Rule 5.2."""
    script = protected(policy=PLAIN)
    script.quote("102.1", after=2_000)
    script.fill(Role.TP1)
    script.settle()
    assert script.order(Role.SL).qty == D("1.998")


def test_a_trade_is_closed_when_its_time_is_up() -> None:
    """Rule 6.7."""
    script = protected(policy=replace(POLICY, max_hold_ms=60_000))
    assert script.next_timer() is not None
    script.wait(60_000)
    assert isinstance(script.phase, Closing)
    script.settle()
    assert script.closed.reason is Reason.MAX_HOLD


def test_an_interim_stop_that_filled_while_giving_way_closes_the_trade() -> None:
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.fill(Role.ENTRY)
    assert script.kinds() == ["CancelOrder", "OCO1", "OCO2"]
    script.quote("97.9")
    script.fill(Role.SL)
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.dust < RULES_STEP


def twice_interim(direction: Direction = Direction.LONG, rules: SymbolRules = RULES) -> Script:
    """A part has filled. The interim stop's answer was lost, and it never arrived; a second one stands (8.3b)."""
    script = entering(direction, rules=rules)
    script.state = replace(script.state, position=replace(script.position, spare=D(0)))
    script.fill(Role.ENTRY, "1")
    script.lose("SL")
    script.balances["LTC"] = Balance(D("0.999"))
    script.settle()
    first, second = script.orders(Role.SL)
    assert first.apart
    assert second.phase is OrderPhase.WORKING
    script.balances["LTC"] = Balance(D("1.998"), D("0.999"))
    return script


def test_an_interim_stop_that_stands_is_kept_while_another_is_in_doubt() -> None:
    """Rules 3.5, 8.3, 10.1: cancelled, it would leave its part bare until the doubt has settled."""
    script = twice_interim()
    first, second = script.orders(Role.SL)
    script.fill(Role.ENTRY)
    assert script.kinds() == ["OCO1"]
    script.settle()
    while script.order(Role.SL).id == second.id:
        assert script.live() == ["SL", "SL", "SL1", "TP1"]
        assert not any(o.cancelling for o in script.position.orders)
        script.sleep()
        script.settle()
    assert script.now >= first.fence + script.policy.doubt_settle_ms
    assert script.live() == ALL


@both_sides
def test_what_an_interim_stop_in_doubt_can_t_sell_gets_its_exits_at_once(direction: Direction) -> None:
    """Rules 4.1, 8.3: not after the fence."""
    script = entering(direction)
    script.fill(Role.ENTRY, "1")
    script.lose("SL")
    script.fill(Role.ENTRY)
    assert script.kinds() == ["QueryOrder", "OCO1", "OCO2"]
    script.settle()
    assert script.live() == ALL
    assert isinstance(script.phase, Unprotected)


@both_sides
def test_on_margin_too(direction: Direction) -> None:
    script = entering(direction, rules=MARGIN_RULES)
    script.settle()
    script.fill(Role.ENTRY, "1")
    script.lose("SL")
    script.fill(Role.ENTRY)
    assert script.kinds() == ["QueryOrder", "OCO1", "OCO2"]


@both_sides
@pytest.mark.parametrize("late", [False, True])
def test_what_waits_for_an_interim_stop_in_doubt_is_watched(direction: Direction, late: bool) -> None:
    """Rules 6.4, 8.3: past its stop the trade is closed, but for what the doubt may sell."""
    script = entering(direction)
    script.fill(Role.ENTRY, "1")
    script.lose("SL", arrived=late)
    script.fill(Role.ENTRY)
    script.pending = [r for r in script.pending if not isinstance(r, QueryOrder)]  # the look finds no answer
    script.settle()
    script.quote("97.9", after=1_000)
    script.wait(2_999)
    assert script.named() == "Unprotected"
    script.wait(1)
    assert script.phase == Closing(reason=Reason.SL, since=script.now)


def test_an_interim_stop_that_outlives_its_cancels_keeps_no_other_part_from_its_exits() -> None:
    """Rules 8.7, 10.2."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.fill(Role.ENTRY)
    while script.order(Role.SL).cancels < 4:
        if "CancelOrder" in script.kinds():
            script.refuse(Why.UNKNOWN_ORDER, "CancelOrder")
        elif script.pending:
            script.accept()
        else:
            script.sleep()
    assert script.live() == ALL
    assert len(script.orders(Role.SL)) == 1
    assert isinstance(script.phase, Protected)


RULES_STEP = D("0.001")


def test_a_partly_filled_target_keeps_working_even_when_its_rest_is_small() -> None:
    """Rule 5.6."""
    script = protected(policy=replace(POLICY, split=(D(1), D(0), D(0))))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1, "2.99")
    script.settle()
    assert script.live() == ["TP1"]
    script.fill(Role.TP1)
    script.settle()
    assert script.closed.reason is Reason.TP


def test_a_finished_trade_is_looked_at_once_more_before_its_slot_is_free() -> None:
    """Rule 7.1."""
    script = trailing()
    script.settle()
    script.quote("103", after=1_000)
    trail = script.order(Role.TRAIL)
    script.fill(trail.role)
    assert isinstance(script.phase, Closing)
    assert script.kinds() == ["QueryOpenOrders"]
    script.accept()
    assert script.closed.reason is Reason.TRAIL


def quiet(script: Script) -> bool:
    return not script.feed(Tick(at=script.now)).requests


@pytest.mark.parametrize("make", [protected, trailing])
def test_a_covered_trade_asks_nothing_when_nothing_has_changed(make: type[Script]) -> None:
    script = make()
    script.settle()
    assert quiet(script)
