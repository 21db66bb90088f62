from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import Script, both_sides, closing, entering, protected, unprotected

from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.core.model.verdict import Ignored, Refusal

D = Decimal


@pytest.mark.parametrize("verb", [Verb.FLATTEN, Verb.CANCEL_ENTRY, Verb.MOVE_STOP])
def test_without_a_trade_there_is_nothing_to_command(verb: Verb) -> None:
    script = Script()
    script.command(verb, 99)
    assert script.verdict == Refusal("no trade is open")


def test_pause_keeps_new_entries_out_and_resume_clears_a_halt() -> None:
    script = Script()
    script.command(Verb.PAUSE)
    assert script.state.paused
    script.command(Verb.RESUME)
    assert (script.state.paused, script.state.halted) == (False, "")
    assert script.told() == ["paused", "resumed"]


def test_flatten_closes_the_trade_once() -> None:
    script = closing()
    script.command(Verb.FLATTEN)
    assert script.verdict == Ignored("the trade is being closed already")
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_only_an_entry_under_way_can_be_cancelled() -> None:
    script = protected()
    script.command(Verb.CANCEL_ENTRY)
    assert script.verdict == Refusal("the entry is complete")


@both_sides
def test_the_operator_may_move_the_stop_towards_profit(direction: Direction) -> None:
    """Rule 10.4."""
    script = protected(direction)
    script.quote("100", after=1_000)
    script.command(Verb.MOVE_STOP, "99")
    for _ in range(4):
        script.settle()
        script.wait(1_000)
    for role in (Role.SL, Role.SL1, Role.SL2):
        assert script.order(role).stop_price == script.px(99)


@both_sides
def test_the_operator_may_not_move_the_stop_back_or_past_the_price(direction: Direction) -> None:
    script = protected(direction)
    script.quote("100", after=1_000)
    script.command(Verb.MOVE_STOP, "97")
    assert script.verdict == Refusal(f"{script.px(97)} is not better than the stop at {script.px(98)}")
    script.command(Verb.MOVE_STOP, "100")
    assert script.verdict == Refusal("100 is past the last price 100")


@both_sides
def test_without_a_price_nobody_can_tell_whether_a_stop_is_past_it(direction: Direction) -> None:
    """Just after a restart: one past the market would be sold at once when the first price is known."""
    script = protected(direction)
    script.unchecked = True
    script.state = replace(script.state, market=replace(script.state.market, quote=None))
    script.command(Verb.MOVE_STOP, "101")
    wish = script.px(101)
    assert script.verdict == Refusal(f"no price is known yet that {wish} could be compared with: try again in a moment")
    assert script.position.manual_stop is None
    script.quote("100", after=1_000)
    script.command(Verb.MOVE_STOP, "99")
    assert script.position.manual_stop == script.px(99)


@pytest.mark.parametrize("verb", [Verb.FLATTEN, Verb.CANCEL_ENTRY, Verb.MOVE_STOP])
def test_a_command_for_one_trade_does_nothing_to_the_next(verb: Verb) -> None:
    """What was ahead of it in the inbox may have closed one trade and opened another."""
    script = protected()
    script.quote("100", after=1_000)
    first = script.position.trade
    named = Commanded(at=script.now, verb=verb, price=D(99), trade="1")
    script.feed(named)
    assert script.verdict == Refusal("trade 1 has ended meanwhile. Nothing is done.")
    assert (script.kinds(), script.position.manual_stop) == ([], None)
    script.feed(replace(named, trade=first))
    assert script.verdict != Refusal(f"trade {first} has ended meanwhile. Nothing is done.")
    idle = Script()
    idle.feed(replace(named, trade=first))
    assert idle.verdict == Refusal(f"trade {first} has ended meanwhile. Nothing is done.")


def test_an_entry_has_no_stop_to_move_nor_has_a_wish_without_a_price() -> None:
    script = entering()
    script.command(Verb.MOVE_STOP, "99")
    assert script.verdict == Refusal("there is no stop to move")
    script = protected()
    script.feed(Commanded(at=script.now, verb=Verb.MOVE_STOP))
    assert script.verdict == Refusal("there is no stop to move")


def test_a_leg_that_is_sold_has_no_stop_to_move() -> None:
    script = protected()
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.command(Verb.MOVE_STOP, "99")
    assert script.verdict == Refusal("99 is not better than the stop at 100.21")


def test_at_the_end_what_waits_for_its_retry_is_tried_once_more() -> None:
    """Rule 9.5."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    script.refuse(Why.MARKET_CLOSED, "SL")
    assert script.kinds() == []
    script.command(Verb.RETRY)
    assert script.kinds() == ["SL"]
    script.settle()
    script.command(Verb.RETRY)
    assert script.verdict == Ignored("nothing waits for a retry")
    idle = Script()
    idle.command(Verb.RETRY)
    assert idle.verdict == Ignored("nothing waits for a retry")
