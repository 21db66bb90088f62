from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, START, Script, both_sides, make_quote, protected, trailing, unprotected

from executor.core.model.events import BalancesSeen, KlinesSeen, QuoteSeen
from executor.core.model.facts import Balance, Why
from executor.core.model.policy import TrailMode
from executor.core.model.values import Direction
from executor.core.model.verdict import MOVED, Ignored

D = Decimal


def test_an_older_quote_is_ignored() -> None:
    script = Script()
    script.quote("100", after=10)
    script.feed(QuoteSeen(at=script.now, quote=make_quote(90, START)))
    assert script.verdict == Ignored("older than the quote at hand")
    assert script.state.market.quote == make_quote(100, script.now)


@both_sides
def test_a_quote_without_a_price_is_no_price_at_the_stop(direction: Direction) -> None:
    """A symbol that has not traded yet, or an answer with zeros in it: nothing is sold for that."""
    script = protected(direction)
    script.quote("100.5", after=10)
    for last in (D(0), D(-1)):
        script.feed(QuoteSeen(at=script.now, quote=make_quote(last, script.now)))
        assert isinstance(script.verdict, Ignored)
    script.wait(10_000)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


@pytest.mark.parametrize("told", ["100000.01", "1E+18", "1E+22", "9999999999999999999999999999", "1E+30"])
def test_a_price_at_which_nothing_can_have_traded_is_none(told: str) -> None:
    """One such price took the trail's stop along, out of PRICE_FILTER and out of what can be divided by a tick."""
    script = trailing()
    assert script.position.trail is not None
    best = script.position.trail.best
    script.now += 1_000
    script.feed(QuoteSeen(at=script.now, quote=make_quote(D(told), script.now)))
    assert isinstance(script.verdict, Ignored)
    script.settle()
    assert (script.position.trail.best, script.state.halted) == (best, "")


def test_a_bar_at_whose_prices_nothing_can_have_traded_is_none() -> None:
    script = trailing(policy=replace(POLICY, trail_mode=TrailMode.SWING))
    bars = script.klines()
    script.feed(KlinesSeen(at=script.now, klines=(*bars, replace(bars[-1], high=D("1E+18"), low=D("1E+17")))))
    assert script.state.market.klines == bars


@both_sides
def test_a_price_that_another_has_followed_decides_nothing(direction: Direction) -> None:
    """Prices of a stream are told now and then: the stop was touched a second ago, for 4 ms."""
    script = protected(direction, policy=replace(POLICY, watchdog_grace_ms=500))
    script.now += 1_000
    touched = make_quote(script.px("98.9"), script.now - 990)
    back = make_quote(script.px("100.5"), script.now - 986)
    script.feed(QuoteSeen(at=script.now, quote=back, before=(touched,)))
    assert [(leg.leave, leg.breach_since) for leg in script.position.legs] == [(None, 0)] * 3
    assert script.state.market.quote == back


@both_sides
def test_the_best_price_of_a_trail_may_be_one_that_another_has_followed(direction: Direction) -> None:
    script = trailing(direction)
    script.now += 1_000
    best, now = make_quote(script.px("110"), script.now - 500), make_quote(script.px("109"), script.now)
    script.feed(QuoteSeen(at=script.now, quote=now, before=(best,)))
    assert script.position.trail is not None
    assert script.position.trail.best == script.px("110")


@both_sides
def test_a_breach_is_counted_from_the_first_quote_at_the_stop_and_ends_with_one_above(direction: Direction) -> None:
    """Rule 6.4."""
    script = protected(direction)
    script.quote("98", after=1_000)
    first = script.now
    script.quote("97.9", after=1_000)
    assert [leg.breach_since for leg in script.position.legs] == [first] * 3
    script.quote("98.01", after=500)
    assert [leg.breach_since for leg in script.position.legs] == [0] * 3


@both_sides
def test_the_trail_remembers_the_best_price(direction: Direction) -> None:
    """Rule 5.4."""
    script = trailing(direction)
    for last, best in (("105", "105"), ("104.5", "105"), ("107", "107")):
        script.quote(last, after=10)
        assert script.position.trail is not None
        assert script.position.trail.best == script.px(best)


def test_balances_are_known_with_their_time() -> None:
    script = Script()
    script.feed(BalancesSeen(at=START + 5, balances={"LTC": Balance(D(1))}))
    assert script.verdict == MOVED
    assert (script.state.market.balances, script.state.market.balances_at) == ({"LTC": Balance(D(1))}, START + 5)


def test_balances_that_were_asked_for_are_of_when_they_were_asked_for() -> None:
    """Rule 8.6: an answer that is long on its way tells nothing of what has happened since."""
    script = unprotected()
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    script.settle()
    script.wait(1_000)
    assert script.kinds() == ["QueryBalances"]
    asked = script.now
    script.now += 5_000
    script.accept()
    assert script.state.market.balances_at == asked


def test_bars_tell_the_swing_only_to_a_trail_that_uses_it() -> None:
    """Rule 5.4."""
    flat = Script()
    flat.feed(KlinesSeen(at=START, klines=flat.klines()))
    assert flat.state.market.klines == flat.klines()
    by_distance = trailing()
    by_distance.feed(KlinesSeen(at=by_distance.now, klines=by_distance.klines()))
    assert by_distance.position.trail is not None
    assert by_distance.position.trail.swing is None
    swings = trailing(policy=replace(POLICY, trail_mode=TrailMode.SWING))
    swings.settle()
    assert swings.position.trail is not None
    assert swings.position.trail.swing == 99
