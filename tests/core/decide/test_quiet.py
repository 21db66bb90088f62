from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    POLICY,
    RICH,
    RULES,
    Script,
    both_sides,
    closing,
    entering,
    protected,
    trailing,
    unprotected,
)

from executor.core.model.events import BalancesSeen, Tick, Verb
from executor.core.model.ids import Role
from executor.core.model.policy import TrailMode
from executor.core.model.state import QuietSpan, State
from executor.core.model.values import Direction
from executor.service.store.codec import decode, encode

D = Decimal


def rest(script: Script) -> QuietSpan | None:
    return script.state.market.quiet


def resting(script: Script) -> QuietSpan:
    """A rest that no decision would leave."""
    band = QuietSpan(0, D(100), D(101))
    script.state = replace(script.state, market=replace(script.state.market, quiet=band))
    return band


@both_sides
def test_a_quiet_trade_rests_between_the_prices_that_matter(direction: Direction) -> None:
    script = protected(direction)
    script.quote("100.5", after=2_000)
    band = rest(script)
    assert band is not None
    assert band.until == 0
    near, far = sorted((script.px("102"), RULES.min_notional / D("0.999")), key=lambda p: abs(p - script.last))
    assert near in (band.low, band.high)
    assert band.low < script.last < (band.high or D(1_000_000))
    assert far != near
    decided = script.state
    script.quote("101", after=500)
    assert rest(script) is band
    assert script.state.position is decided.position
    script.quote("102", after=500)
    assert rest(script) is not band


def test_a_rest_ends_with_the_next_thing_due() -> None:
    script = protected(policy=replace(POLICY, max_hold_ms=60_000))
    script.quote("100.5", after=2_000)
    band = rest(script)
    assert band is not None
    assert band.until == script.position.opened + 60_000
    script.sleep()
    assert script.named() == "Closing"


def test_any_other_event_ends_it_when_it_changes_the_trade() -> None:
    script = protected()
    script.quote("100.5", after=2_000)
    band = rest(script)
    script.command(Verb.PAUSE)
    assert rest(script) is band
    script.fill(Role.TP1, "0.1")
    assert rest(script) is not band


@pytest.mark.parametrize("make", [unprotected, closing])
def test_nothing_rests_while_something_is_asked(make: type[Script]) -> None:
    script = make()
    assert rest(script) is None


def test_closing_never_rests_and_an_entry_only_while_it_works() -> None:
    script = closing()
    script.quote("100.5", after=10)
    assert rest(script) is None
    script = entering(working=False)
    script.quote("100.5", after=10)
    assert rest(script) is None
    script = entering()
    script.quote("100.5", after=10)
    assert rest(script) is not None


def test_an_entry_that_rests_has_no_level_above_it_and_its_state_can_be_written() -> None:
    script = entering()
    script.quote("100.5", after=10)
    band = rest(script)
    assert band == QuietSpan(band.until, D(0), None) if band is not None else False
    assert decode(encode(script.state), State) == script.state
    script.quote("1000000", after=10)
    assert rest(script) is band


def test_a_price_at_a_level_is_no_rest() -> None:
    script = protected()
    script.quote("102", after=2_000)
    assert rest(script) is None


def test_a_leg_that_is_being_left_does_not_rest() -> None:
    script = protected()
    script.quote("100.5", after=2_000)
    leaving = replace(script.leg(3), poor=1)
    legs = (*script.position.legs[:2], leaving)
    script.state = replace(script.state, position=replace(script.position, legs=legs))
    script.command(Verb.MOVE_STOP, "99")
    script.quote("100.6", after=10)
    assert rest(script) is None


def test_a_report_of_what_is_known_needs_no_decision() -> None:
    script = protected()
    script.quote("100.5", after=2_000)
    band = resting(script)
    script.push(script.order(Role.TP1).id)
    assert rest(script) is band


def test_new_balances_want_a_decision() -> None:
    script = protected()
    script.quote("100.5", after=2_000)
    resting(script)
    script.feed(BalancesSeen(at=script.now, balances=RICH))
    band = rest(script)
    assert band is not None
    assert band.high == D(102)


@both_sides
def test_until_the_exchange_trails_by_itself_each_price_may_be_the_one_to_begin_at(direction: Direction) -> None:
    """Rule 5.4."""
    script = trailing(direction, replace(POLICY, trail_mode=TrailMode.NATIVE, trail_r=D("2.5")))
    script.settle()
    script.quote("104.5", after=1_000)
    assert script.kinds() == []
    assert rest(script) is None
    script.quote("110", after=1_000)
    script.settle()
    assert script.order(Role.TRAIL).trailing_delta is not None
    script.quote("109", after=1_000)
    assert rest(script) is not None


def test_without_a_price_there_is_no_rest() -> None:
    script = protected()
    script.state = replace(script.state, market=replace(script.state.market, quote=None))
    script.feed(Tick(at=script.now + 5_000))
    assert rest(script) is None
