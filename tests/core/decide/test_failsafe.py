from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, protected, unprotected

from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.state import Closing, Reason
from executor.core.model.values import Direction

D = Decimal


def bare(script: Script) -> Script:
    """Two legs are covered, the third keeps being refused."""
    script.accept("OCO1")
    script.accept("OCO2")
    return script


@both_sides
def test_exits_refused_too_often_close_the_position_at_market(direction: Direction) -> None:
    """Rule 4.7."""
    script = bare(unprotected(direction))
    for _ in range(4):
        script.refuse(Why.AUTH, "SL")
        script.wait(1_000)
    script.refuse(Why.AUTH, "SL")
    assert isinstance(script.phase, Closing)
    assert "failsafe" in script.told()
    script.settle()
    assert script.closed.reason is Reason.FAILSAFE


def test_a_position_bare_for_too_long_is_closed() -> None:
    script = bare(unprotected(policy=replace(POLICY, failsafe_grace_ms=1_500)))
    script.refuse(Why.AUTH, "SL")
    script.wait(1_000)
    script.refuse(Why.AUTH, "SL")
    script.wait(500)
    script.settle()
    assert script.closed.reason is Reason.FAILSAFE


@pytest.mark.parametrize("why", [Why.AUTH, Why.OTHER])
def test_without_the_failsafe_every_retry_alerts_and_entries_are_halted(why: Why) -> None:
    """In growing pauses once it is one try too many (rule 8.7), in whichever words it is refused."""
    script = bare(unprotected(policy=replace(POLICY, failsafe_flatten=False, failsafe_tries=1)))
    for tries, pause in enumerate((1_000, 2_000, 4_000, 8_000, 8_000), 1):
        script.refuse(why, "SL")
        script.settle()
        script.wait(pause - 1)
        assert script.kinds() == []
        script.wait(1)
        assert script.told().count("failsafe_off") == tries
        assert script.kinds() == ["SL"]
    assert script.state.halted


def oversold() -> Script:
    """Leg 3's stop was cancelled to be sold at market, and had filled after all."""
    script = protected()
    script.quote("97.9", after=1_000)
    script.vanish(Role.SL)
    script.refuse(Why.WOULD_TRIGGER, "SL")
    script.accept("FLATTEN")
    stop = script.orders(Role.SL)[0]
    script.execute(stop.id)
    script.push(stop.id)
    assert "oversold" in script.told()
    assert script.kinds()[-1] == "BUYBACK"
    return script


def test_a_leg_sold_twice_is_bought_back_at_once() -> None:
    """Rule 6.3."""
    script = oversold()
    assert script.order(Role.BUYBACK).qty == D("0.999")
    script.wait(10)
    assert len(script.orders(Role.BUYBACK)) == 1
    script.accept("BUYBACK")
    assert len(script.orders(Role.BUYBACK)) == 1
    assert script.live() == ["SL1", "SL2", "TP1", "TP2"]


def test_a_buyback_that_fails_closes_the_rest_against_it() -> None:
    """No stuck state: the other legs are sold only for what is still held."""
    script = oversold()
    script.refuse(Why.INSUFFICIENT_BALANCE, "BUYBACK")
    assert "buyback_failed" in script.told()
    script.settle()
    assert script.closed.reason is Reason.FAILSAFE
    assert abs(script.closed.dust) < D("0.01")
