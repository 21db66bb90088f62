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


def small_first(qty: str = "0.055") -> Script:
    """Leg 1 has sold a part at its target, and the rest is less than the least order at its stop's limit."""
    script = protected(policy=SMALL, rules=replace(RULES, min_notional=D("5.5")))
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
