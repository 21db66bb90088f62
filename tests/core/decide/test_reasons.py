from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, protected, trailing

from executor.core.decide.draft import Draft
from executor.core.decide.reasons import exit_reason, stop_reason
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.policy import AfterTp1, Layout, Policy
from executor.core.model.state import Leave, Reason
from executor.core.model.values import Direction

D = Decimal


def draft_of(script: Script) -> Draft:
    return Draft(script.state, script.position, script.policy, script.rules)


def test_a_trade_that_left_without_any_exit_was_closed_by_somebody_else() -> None:
    assert exit_reason(draft_of(protected())) is Reason.EXTERNAL


@both_sides
def test_a_stop_at_breakeven_is_named_so(direction: Direction) -> None:
    """Rule 7.2."""
    script = protected(direction)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.quote("100.2", after=1_000)
    script.fill(Role.SL2)
    script.fill(Role.SL)
    script.settle()
    assert script.closed.reason is Reason.BREAKEVEN


def test_a_stop_that_was_kept_is_a_stop() -> None:
    script = protected(policy=replace(POLICY, after_tp1=AfterTp1.KEEP))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.quote("98", after=1_000)
    script.fill(Role.SL2)
    script.fill(Role.SL)
    script.settle()
    assert script.closed.reason is Reason.SL


def test_a_target_sold_at_market_is_a_target() -> None:
    script = protected(policy=replace(POLICY, split=(D(1), D(0), D(0))))
    script.vanish(Role.TP1)
    script.quote("102.5", after=1_000)
    script.refuse(Why.WOULD_MATCH, "OCO1")
    assert script.leg(1).leave is Leave.TARGET
    script.settle()
    assert script.closed.reason is Reason.TP


@pytest.mark.parametrize("trailing_leg", [True, False])
def test_a_trailing_stop_that_never_left_its_first_level_is_no_trail(trailing_leg: bool) -> None:
    script = trailing()
    draft = draft_of(script)
    assert stop_reason(draft, D(98), trailing=trailing_leg) is Reason.SL
    assert stop_reason(draft, D(103), trailing=True) is Reason.TRAIL
    assert stop_reason(draft, D(103), trailing=False) is Reason.BREAKEVEN


@both_sides
@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, layout=Layout.PLAIN)])
def test_a_trailed_stop_that_was_put_back_after_a_refused_move_is_still_a_trailing_one(
    direction: Direction, policy: Policy
) -> None:
    script = trailing(direction, policy)
    script.quote("106", after=2_000)
    script.settle()
    script.quote("107", after=2_000)
    script.refuse(Why.WOULD_TRIGGER, "replace TRAIL")
    script.settle()
    put_back = script.order(Role.SL)
    assert put_back.stop_price == script.px("104")
    script.quote("103.9", after=1_000)
    script.fill(Role.SL)
    script.settle()
    assert script.closed.reason is Reason.TRAIL


def test_a_stop_without_a_level_is_the_exchanges_trailing_one() -> None:
    assert stop_reason(draft_of(trailing()), None, trailing=True) is Reason.TRAIL
    assert stop_reason(draft_of(protected()), None, trailing=False) is Reason.SL


def test_a_leg_sold_at_market_at_its_stop_is_named_by_that_level() -> None:
    script = protected()
    script.quote("97", after=1_000)
    script.wait(3_000)
    script.settle()
    assert script.closed.reason is Reason.SL
