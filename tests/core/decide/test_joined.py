"""Exits in fewer legs where a filter takes no more of them (rule 2.6)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, Script, both_sides, entering, protected, unprotected

from executor.core.model.events import Reported, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Reason
from executor.core.model.values import Direction, OrderStatus, OrderType

D = Decimal


def crowded(
    kind: str = "SL",
    direction: Direction = Direction.LONG,
    policy: Policy = POLICY,
    taken: tuple[str, ...] = ("OCO1", "OCO2"),
) -> Script:
    """Another program has taken places since the entry: the exits `taken` stand, those of `kind` are refused twice."""
    script = unprotected(direction, policy)
    for each in taken:
        script.accept(each)
    for n in range(2):
        script.refuse(Why.FILTER, kind)
        if not n:
            script.wait(1_000)
    return script


@both_sides
def test_a_leg_whose_stop_has_no_place_is_covered_by_another_one_s(direction: Direction) -> None:
    script = crowded(direction=direction)
    whole = script.leg(2).qty
    assert "legs_joined" in script.told()
    assert script.kinds() == ["CancelList"]
    script.settle()
    assert script.named() == "Protected"
    assert script.live() == ["SL1", "SL2", "TP1", "TP2"]
    assert script.order(Role.SL2).qty == script.order(Role.TP2).qty == whole
    assert script.leg(3).qty == 0
    script.quote("97.9", after=1_000)
    for role in (Role.SL1, Role.SL2):
        script.fill(role)
    script.settle()
    assert script.closed.reason is Reason.SL


def test_a_list_without_a_place_is_taken_in_by_the_nearest_list() -> None:
    script = crowded("OCO2", taken=("OCO1", "SL"))
    script.settle()
    assert script.live() == ["SL", "SL1", "TP1"]
    assert script.order(Role.SL1).qty == D("1.998")
    assert script.named() == "Protected"


def test_where_only_the_trailing_leg_stands_it_covers_all() -> None:
    script = crowded("OCO1", policy=replace(POLICY, split=(D(1), D(0), D(1))), taken=("SL",))
    script.settle()
    assert script.live() == ["SL"]
    assert script.order(Role.SL).qty == D("2.997")


def test_no_leg_takes_in_one_whose_limit_the_price_is_too_far_from() -> None:
    """PERCENT_PRICE would refuse the other's stop as well: it goes out without a limit instead (rule 8.7)."""
    script = unprotected()
    script.quote("99.5")
    script.rules = replace(script.rules, ask_down=D("0.985"))
    for kind in ("OCO1", "OCO2"):
        script.accept(kind)
    for _ in range(2):
        script.refuse(Why.FILTER, "SL")
        script.wait(1_000)
    assert script.order(Role.SL).type is OrderType.STOP_LOSS
    script.settle()
    assert script.named() == "Protected"
    assert "legs_joined" not in script.told()


def test_where_no_stop_stands_the_failsafe_goes_on() -> None:
    script = unprotected()
    for _ in range(5):
        for kind in ("OCO1", "OCO2", "SL"):
            if kind in script.kinds():
                script.refuse(Why.FILTER, kind)
        script.wait(1_000)
    assert "legs_joined" not in script.told()
    assert script.named() == "Closing"


def test_a_part_that_no_other_leg_may_carry_is_left_to_the_failsafe() -> None:
    script = unprotected()
    script.rules = replace(RULES, max_qty=D("1.5"))
    script.accept("OCO1")
    script.accept("OCO2")
    for _ in range(2):
        script.refuse(Why.FILTER, "SL")
        script.wait(1_000)
    assert "legs_joined" not in script.told()
    assert script.kinds() == ["SL"]


def test_a_leg_is_not_given_to_one_whose_stop_is_worse() -> None:
    """Rule 10.4: its own had been moved already."""
    script = protected()
    legs = tuple(replace(leg, stop=D(99)) if leg.n == 3 else leg for leg in script.position.legs)
    script.vanish(Role.SL)
    script.state = replace(script.state, position=replace(script.position, legs=legs))
    script.unchecked = True
    for _ in range(2):
        script.refuse(Why.FILTER, "SL")
        script.wait(1_000)
    assert "legs_joined" not in script.told()


def test_other_refusals_join_nothing() -> None:
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    for _ in range(3):
        script.refuse(Why.AUTH, "SL")
        script.wait(1_000)
    assert "legs_joined" not in script.told()


def _told_late(script: Script, qty: str) -> None:
    """The entry's cancel has told of 2, exits stand for them, and only now `qty` more is told."""
    script.fill("ENTRY", "2")
    script.settle()
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    late = script.order("ENTRY").id
    script.book[late] = replace(script.book[late], status=OrderStatus.PARTIALLY_FILLED)
    script.feed(Reported(at=script.now, report=script.execute(late, qty)))


@both_sides
@pytest.mark.parametrize("rules", [RULES, MARGIN_RULES])
def test_an_entry_told_only_now_that_it_had_filled_is_covered_with_the_rest(
    direction: Direction, rules: SymbolRules
) -> None:
    """No leg is for what is held beyond what its cancel told of: it would be bare until the trade's end."""
    script = entering(direction, POLICY, rules)
    _told_late(script, "1")
    assert script.named() == "Unprotected"
    assert "late_fill" in script.told()
    script.settle()
    script.sleep()
    script.settle()
    assert script.named() == "Protected"
    script.command(Verb.FLATTEN)
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    assert script.lender.debt("LTC").total == script.lender.debt("USDT").total == D(0)


@both_sides
def test_a_little_that_is_told_late_goes_with_the_rest(direction: Direction) -> None:
    """Rule 10.2: too little alone, and bare until the trade's end."""
    script = entering(direction)
    _told_late(script, "0.01")
    assert "late_fill" in script.told()
    script.settle()
    script.sleep()
    script.settle()
    assert script.named() == "Protected"
    assert "unprotected" not in script.told()


def test_a_commission_told_late_that_was_not_paid_in_base_is_covered_with_the_rest() -> None:
    script = entering()
    script.fee_asset = "BNB"
    entry = script.order(Role.ENTRY)
    script.execute(entry.id)
    told, script.book[entry.id] = script.book[entry.id], replace(script.book[entry.id], fills=())
    script.push(entry.id)
    while len(script.position.legs) < 3:
        script.lose("QueryTrades") if "QueryTrades" in script.kinds() else script.sleep()
    script.settle()
    assert script.order(Role.SL).qty == script.leg(3).qty == D("0.999")
    script.feed(Reported(at=script.now, report=told))
    script.settle()
    assert script.leg(3).qty == D("1.002")
    assert script.named() == "Protected"


def test_what_can_not_be_sold_with_the_rest_either_is_dust() -> None:
    """Rule 3.6."""
    script = entering()
    script.rules = replace(RULES, max_qty=D("0.67"))
    _told_late(script, "0.01")
    assert "late_fill" not in script.told()
