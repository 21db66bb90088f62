"""Where a stop ought to stand and does not: software watches there (rule 6.4b), and one lost answer does not keep it
from being asked for again (rule 8.3e).
"""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, entering, make_report, protected, targets_filled, trailing

from executor.core.book.ledger import committed
from executor.core.decide.stops import RESEND_MS
from executor.core.model.events import Answered, Verb
from executor.core.model.facts import NotTried, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import ReplaceOrder
from executor.core.model.policy import AfterTp1, Layout, TrailMode
from executor.core.model.state import End, OrderPhase, Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal


def moving(direction: Direction = Direction.LONG) -> Script:
    """Leg 3's stop, at 102.1, is to be moved to 104; the request is out."""
    script = trailing(direction)
    script.settle()
    script.quote("104.1", after=1_000)
    script.settle()
    script.quote("106", after=2_000)
    assert script.kinds() == ["replace TRAIL"]
    return script


def lost(direction: Direction = Direction.LONG) -> Script:
    """The answer to the move is lost; it never arrived."""
    script = moving(direction)
    script.lose()
    return script


def settled(script: Script) -> Script:
    """All looks are answered; what is decided from them is not."""
    while "QueryOrder" in script.kinds():
        script.accept("QueryOrder")
    return script


# --- 8.3e -------------------------------------------------------------------------------------------------------------


@both_sides
def test_a_move_in_doubt_whose_old_stop_is_seen_standing_is_asked_for_again_at_once(direction: Direction) -> None:
    script = settled(lost(direction))
    assert script.kinds() == ["replace TRAIL"]
    first, second = script.orders(Role.TRAIL)[-2:]
    assert first.phase is OrderPhase.UNRESOLVED
    assert second.replaces == first.replaces
    assert second.stop_price == script.px("104")
    script.accept()
    assert script.leg(3).stop == script.px("104")
    assert script.named() == "Protected"


def test_once_one_of_them_has_taken_its_place_the_other_never_was() -> None:
    script = settled(lost())
    script.accept()
    first, second = script.orders(Role.TRAIL)[-2:]
    assert (first.end, first.phase) == (End.NEVER, OrderPhase.CLOSED)
    assert second.phase is OrderPhase.WORKING
    script.quote("107", after=2_000)
    assert script.kinds() == ["replace TRAIL"]


def test_a_first_request_that_comes_late_wins_and_the_second_places_nothing() -> None:
    script = moving()
    request = script.pending[0]
    script.lose()
    settled(script)
    script.exchange_takes(request)  # it arrives after the look
    script.refuse(Why.UNKNOWN_ORDER, "replace TRAIL")
    settled(script)
    first, second = script.orders(Role.TRAIL)[-2:]
    assert second.end is End.NEVER
    assert first.phase is OrderPhase.WORKING
    assert script.leg(3).stop == script.px("104")
    script.settle()
    assert script.named() == "Protected"


def test_a_push_of_the_one_that_stands_settles_the_other() -> None:
    script = settled(lost())
    second = script.orders(Role.TRAIL)[-1]
    script.lose(arrived=True)
    script.push(second.id)
    assert script.orders(Role.TRAIL)[-2].end is End.NEVER


def test_a_repeat_on_its_way_counts_nothing_once_the_first_has_come() -> None:
    """Rule 10.1: it can't replace what is gone."""
    script = settled(lost())
    first = script.orders(Role.TRAIL)[-2]
    old = script.book[first.replaces]
    script.book[old.id] = replace(old, status=OrderStatus.CANCELED)
    script.push(old.id)
    script.place(first.id, OrderStatus.NEW)
    assert committed(script.position, layout=Layout.OCO) == first.qty


def test_answer_after_answer_lost_it_is_asked_for_in_growing_pauses() -> None:
    """Rule 8.7."""
    script = settled(lost())
    pauses = []
    for _ in range(5):
        begun = script.now
        while "replace TRAIL" not in script.kinds():
            if script.pending:
                script.accept()
            else:
                script.sleep()
        pauses.append(script.now - begun)
        script.lose("replace TRAIL")
    assert pauses[0] == 0
    assert pauses[1:3] == [1_000, 2_000]
    assert all(a <= b for a, b in zip(pauses, RESEND_MS, strict=True))


def test_what_is_in_doubt_counts_once_however_often_it_was_asked_for() -> None:
    """Rule 10.1: a stop that grows, twice in doubt (the invariants watch)."""
    script = lost()
    for _ in range(3):
        settled(script)
        script.wait(5_000)
        if "replace TRAIL" in script.kinds():
            script.lose("replace TRAIL")
    script.settle()
    assert script.named() == "Protected"


def test_while_the_old_one_is_not_seen_nothing_is_asked_for() -> None:
    script = lost()
    script.accept("QueryOrder")
    assert "replace TRAIL" not in script.kinds()
    script = lost()
    del script.book[script.orders(Role.TRAIL)[-2].id]
    settled(script)
    assert "replace TRAIL" not in script.kinds()


# --- 6.4b -------------------------------------------------------------------------------------------------------------


@both_sides
def test_a_price_back_at_a_level_that_was_asked_for_in_vain_sells_at_market(direction: Direction) -> None:
    script = lost(direction)
    assert script.leg(3).due == script.px("104")
    settled(script)
    script.lose()
    settled(script)
    script.quote("104", after=100)
    script.wait(2_999)
    assert script.leg(3).leave is None
    script.wait(1)
    assert script.told()[-1] == "leg_at_market"
    script.settle()
    assert script.closed.reason is Reason.TRAIL


def test_the_cancel_that_takes_the_old_stop_settles_what_was_to_replace_it() -> None:
    script = lost()
    settled(script)
    script.lose()
    settled(script)
    script.quote("103.9", after=100)
    script.wait(3_000)
    settled(script)
    assert script.kinds() == ["CancelOrder"]
    script.accept()
    assert not any(o.phase is OrderPhase.UNRESOLVED for o in script.position.orders)
    assert script.kinds() == ["FLATTEN"]


def test_a_price_that_recovers_within_the_grace_sells_nothing() -> None:
    script = lost()
    script.quote("103.9", after=100)
    script.quote("104.5", after=2_000)
    script.wait(3_000)
    assert script.leg(3).leave is None


def test_an_accepted_stop_is_no_longer_due() -> None:
    script = moving()
    assert script.leg(3).due == D(104)
    script.quote("103.9", after=10)
    assert script.leg(3).breach_since
    script.accept()
    leg = script.leg(3)
    assert (leg.due, leg.breach_since, leg.stop) == (None, 0, D(104))


@both_sides
def test_a_breakeven_that_the_price_is_past_when_the_target_is_heard_of_is_watched(direction: Direction) -> None:
    script = protected(direction)
    script.quote("102.1", after=1_000)
    script.trade(Role.TP1)
    script.quote("100.1", after=10)
    script.push(script.order(Role.TP1).id)
    script.push(script.order(Role.SL1).id)
    assert all(leg.due is not None for leg in script.position.legs if leg.n != 1)
    script.wait(3_000)
    script.settle()
    assert script.closed.reason is Reason.BREAKEVEN


@both_sides
def test_a_price_from_before_the_target_s_fill_does_not_say_that_the_market_is_back(direction: Direction) -> None:
    """The market's stream of a trade just begun may tell its first price after the target has filled."""
    script = protected(direction)
    script.quote("100.1", after=1_000)
    script.trade(Role.TP1)
    script.wait(10)
    script.push(script.order(Role.TP1).id)
    script.push(script.order(Role.SL1).id)
    assert [leg.breach_since for leg in script.position.legs if leg.n != 1] == [0, 0]
    assert script.kinds() == ["QueryQuote"]
    script.last = script.px("102.1")
    script.settle()
    script.wait(3_000)
    script.settle()
    assert script.live() == ["SL", "SL2", "TP2"]
    level = D("100.21") if direction is Direction.LONG else D("99.80")
    assert {leg.stop for leg in script.position.legs if leg.n != 1} == {level}


def test_a_breakeven_beyond_the_target_after_a_dear_entry_is_not_watched() -> None:
    """No stop can ever have stood there."""
    script = entering()
    script.fill(Role.ENTRY, price=D(103))
    script.settle()
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.wait(10_000)
    assert [leg.due for leg in script.position.legs] == [None, None, None]
    assert script.live() == ["SL", "SL2", "TP2"]
    script.quote("103.9", after=1_000)
    assert script.leg(3).due == D("103.21") or "CancelList" in script.kinds()


def test_where_stops_are_kept_nothing_is_due() -> None:
    script = protected(policy=replace(POLICY, after_tp1=AfterTp1.KEEP))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.quote("98.5", after=10)
    script.wait(5_000)
    assert [leg.due for leg in script.position.legs] == [None, None, None]


def test_a_stop_moved_by_hand_that_can_not_be_moved_is_watched() -> None:
    script = protected()
    script.command(Verb.MOVE_STOP, "99")
    while script.pending:
        script.refuse(Why.RATE_LIMIT, retry_at=script.now + 60_000)
    script.quote("98.9", after=10)
    script.wait(3_000)
    assert all(leg.leave is not None for leg in script.position.legs)


def test_a_swing_that_the_price_is_past_already_is_not_watched() -> None:
    """It may be older than the trade."""
    script = targets_filled(policy=replace(POLICY, trail_mode=TrailMode.SWING))
    script.settle()
    script.wait(70_000)
    script.quote("98.9", after=10)
    script.settle()
    assert script.leg(3).due != D(99)


def test_between_two_moves_of_the_trail_the_stop_is_where_it_ought_to_be() -> None:
    """Rule 5.4: at most every TRAIL_UPDATE_EVERY_SEC."""
    script = trailing(policy=replace(POLICY, trail_every_ms=10_000))
    script.settle()
    script.wait(10_000)
    script.settle()
    script.quote("106", after=10)
    script.settle()
    stop = script.leg(3).stop
    script.quote("107", after=1_000)
    script.quote("104.9", after=1_000)
    script.wait(5_000)
    assert (script.leg(3).stop, script.leg(3).due, script.leg(3).leave) == (stop, None, None)


def test_the_whole_is_sold_at_the_level_that_is_due() -> None:
    """PLAIN: one stop for everything."""
    script = protected(policy=replace(POLICY, layout=Layout.PLAIN))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    for _ in range(3):
        settled(script)
        for kind in [kind for kind in script.kinds() if kind == "replace SL"]:
            script.lose(kind)
    assert script.leg(0).due == D("100.21")
    script.quote("100.1", after=100)
    script.wait(3_000)
    assert script.named() == "Closing"
    script.settle()
    assert script.closed.reason is Reason.BREAKEVEN


# --- refused, and held up ---------------------------------------------------------------------------------------------


def answer(script: Script, outcome: ReplaceOutcome | Refused | Unknown) -> None:
    request = script.pending.pop(0)
    assert isinstance(request, ReplaceOrder)
    script.feed(Answered(at=script.now, seq=request.seq, outcome=outcome))


@pytest.mark.parametrize("why", [Why.RATE_LIMIT, Why.FILTER, Why.MARKET_CLOSED])
def test_a_move_refused_as_a_whole_leaves_the_old_stop_as_it_was(why: Why) -> None:
    script = moving()
    answer(script, Refused(why, -1, "no", script.now + 60_000 if why is Why.RATE_LIMIT else 0))
    assert script.kinds() == []
    assert not any(o.check for o in script.position.orders)
    script.quote("104", after=100)
    script.wait(3_000)
    assert script.told()[-1] == "leg_at_market"


def test_a_move_refused_by_a_limit_waits_until_that_is_over() -> None:
    script = moving()
    answer(script, Refused(Why.RATE_LIMIT, -1003, "banned", script.now + 60_000))
    for _ in range(59):
        script.wait(1_000)
        assert script.kinds() == []
    script.wait(1_250)
    assert script.kinds() == ["replace TRAIL"]


def test_moves_that_keep_being_refused_are_tried_in_growing_pauses() -> None:
    """Rule 8.7."""
    script = moving()
    tried = [script.now]
    for _ in range(8):
        answer(script, Refused(Why.FILTER, -1013, "Filter failure: PERCENT_PRICE"))
        while script.kinds() != ["replace TRAIL"]:
            script.sleep()
        tried.append(script.now)
    pauses = [b - a for a, b in pairwise(tried)]
    assert pauses == [2_000, 4_000, 8_000, 15_000, 30_000, 30_000, 30_000, 30_000]
    script.accept()
    assert script.leg(3).balks == 0


@both_sides
def test_breakeven_does_not_wait_for_the_pace_of_the_trail(direction: Direction) -> None:
    """Rule 5.2: TRAIL_UPDATE_EVERY_SEC is the trail's."""
    policy = replace(POLICY, trail_every_ms=300_000, trail_after_tp2=False, trail_r=D(1))
    script = protected(direction, policy)
    script.quote("101", after=1_000)
    script.settle()
    assert script.order(Role.TRAIL).stop_price == script.px("99")
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    assert script.leg(3).stop == script.px("100.21") or script.leg(3).stop == script.px("100.2")


def test_a_half_that_was_not_tried_changes_nothing_of_the_other() -> None:
    script = moving()
    answer(script, ReplaceOutcome(Refused(Why.UNKNOWN_ORDER, -2011, "Unknown order sent."), NotTried()))
    assert script.kinds() == ["QueryOrder"]
    old = script.orders(Role.TRAIL)[-2]
    script.book[old.id] = make_report(old, OrderStatus.NEW)
    script.settle()
    assert script.live() == ["TRAIL"]
