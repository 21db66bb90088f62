"""A leg for which no exit can be placed: what stands of it stays, and nothing waits for it (rules 2.3b, 5.5, 6.4b)."""

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, D, Script, awake, both_sides, protected

from executor.core.model.events import Verb
from executor.core.model.ids import Role
from executor.core.model.state import Leave
from executor.core.model.values import Direction

SMALL = replace(POLICY, qty=D("0.3"))


def dearer(script: Script, notional: str = "10") -> Script:
    """The least order is worth more now."""
    script.rules = replace(RULES, min_notional=D(notional))
    script.state = awake(script.state)
    return script


@both_sides
def test_a_list_that_could_not_be_placed_again_is_not_cancelled_to_be_moved(direction: Direction) -> None:
    """Rule 5.5: its stop stays where it is, and software watches where it ought to be (6.4b)."""
    script = dearer(protected(direction, policy=SMALL), "11")
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    for _ in range(5):
        script.quote("102.1", after=1_000)
        script.settle()
    assert {"SL2", "TP2"} <= set(script.live())
    assert script.leg(2).due is not None
    assert "unprotected" not in script.told()


def bare(script: Script) -> Script:
    """Leg 1 is bare, and too small for any exit."""
    script.vanish(Role.TP1)
    script.settle()
    assert script.live() == ["SL", "SL2", "TP2"]
    return script


def small_first(qty: str = "0.055", *, alone: bool = True) -> Script:
    """Leg 1 has sold a part at its target, and the rest is less than the least order at its stop's limit. `alone`: no
    other leg's exits may be larger than they are.
    """
    script = protected(policy=SMALL, rules=replace(RULES, min_notional=D("5.5")))
    if alone:
        script.rules = replace(script.rules, max_qty=script.leg(3).qty)
    script.quote("101", after=1_000)
    script.fill(Role.TP1, script.leg(1).qty - D(qty))
    return bare(script)


def test_a_leg_that_nothing_can_be_placed_for_keeps_no_other_from_moving() -> None:
    script = small_first()
    script.quote("101.5", after=1_000)
    script.command(Verb.MOVE_STOP, 99)
    script.settle()
    assert script.order(Role.SL).stop_price == D(99)
    assert script.order(Role.SL2).stop_price == D(99)


@pytest.mark.parametrize(("qty", "sold"), [("0.055", True), ("0.05", False)])
def test_a_leg_that_nothing_can_be_placed_for_is_sold_at_its_target(qty: str, *, sold: bool) -> None:
    """Rule 4.6: where it is large enough for a market order there."""
    script = small_first(qty)
    script.quote("102.1", after=1_000)
    assert (script.leg(1).leave is Leave.TARGET) is sold
    assert ("FLATTEN" in script.kinds()) is sold


def test_a_price_of_before_the_entry_was_complete_reaches_no_target() -> None:
    script = small_first()
    script.state = replace(script.state, position=replace(script.position, entered=script.now + 60_000))
    script.quote("102.1", after=1_000)
    assert script.leg(1).leave is None


@both_sides
def test_a_rest_that_no_order_takes_goes_with_another_leg(direction: Direction) -> None:
    """Rules 2.3b, 6.6b, 10.2: a stop that filled in part has left less than the least order."""
    script = protected(direction)
    script.quote("98.5", after=1_000)
    stop = script.order(Role.SL1)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    script.fill(Role.SL1, stop.qty - D("0.02"))
    for _ in range(6):
        script.quote("98.5", after=1_000)
        script.settle()
    assert script.named() == "Protected"
    assert script.live() == ["SL", "SL2", "TP2"]
    assert script.order(Role.SL).qty == script.leg(3).qty == stop.qty + D("0.02")
    assert script.told().count("unprotected") == 0
    assert script.told().count("legs_joined") == 1


def test_a_rest_is_looked_at_before_it_goes_with_another_leg() -> None:
    """Rule 6.3: what its stop, cancelled to be sold for, has sold after all is not given on."""
    script = protected()
    script.quote("98.5", after=1_000)
    stop = script.order(Role.SL1)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    script.fill(Role.SL1, stop.qty - D("0.02"))
    script.quote("98.5", after=4_000)
    assert script.kinds() == ["CancelOrder"]
    script.accept()
    script.quote("98.4", after=10)
    assert script.kinds() == ["QueryOrder"]
    assert "legs_joined" not in script.told()
    script.book[stop.id] = replace(
        script.book[stop.id], cum_qty=stop.qty - D("0.005"), cum_quote=(stop.qty - D("0.005")) * D("97.9")
    )
    script.settle()
    assert script.leg(1).qty == stop.qty - D("0.005")
    assert script.named() == "Protected"


def test_what_a_short_has_left_of_a_leg_gets_its_stop_alone_where_it_is_too_little_at_its_target() -> None:
    """Rule 6.6b: at its stop the same quantity is worth enough."""
    script = protected(Direction.SHORT, policy=SMALL, rules=replace(RULES, min_notional=D("5.5")))
    script.fill(Role.TP1, script.leg(1).qty - D("0.0550"))
    script.vanish(Role.TP1)
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP2"]
    assert script.order(Role.SL1).qty == D("0.055")
    assert script.named() == "Protected"
