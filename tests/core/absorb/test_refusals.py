"""A refused placement that is told of by its answer, by a pushed REJECTED, by both in either order (rules 5.5, 8.8)."""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, Script, both_sides, entering, make_report, protected, trailing, unprotected

from executor.core.decide import stops
from executor.core.model.events import Answered, Reported
from executor.core.model.facts import Done, NotTried, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import NewOrder, PlaceOco, PlaceOrder, ReplaceOrder
from executor.core.model.orders import request_of
from executor.core.model.policy import AfterTp1, Layout
from executor.core.model.state import End, Leave, OrderPhase, Position, Reason, Unprotected
from executor.core.model.values import Direction, OrderStatus

D = Decimal
ORDERS = ["answer", "push", "push then answer", "answer then push"]
heard = pytest.mark.parametrize("heard", ORDERS)


def moving(direction: Direction = Direction.LONG) -> Script:
    """Leg 3's stop is being moved by cancel-replace."""
    script = trailing(direction)
    script.settle()
    script.quote("106", after=2_000)
    assert script.kinds() == ["replace TRAIL"]
    script.sent.clear()
    script.notes.clear()
    return script


def rejected(script: Script, order: NewOrder, why: Why | None = None) -> None:
    """The exchange pushes that it did not accept the order, which has no number."""
    told = make_report(order, OrderStatus.REJECTED, exchange_id=-1, refusal=why)
    script.feed(Reported(at=script.now, report=told))


def refuse_move(script: Script, heard: str, why: Why, pushed: Why | None = None) -> ReplaceOrder:
    """The old stop is cancelled, the new one refused; heard of as said."""
    (request,) = script.pending
    assert isinstance(request, ReplaceOrder)
    script.pending.clear()
    old = script.book[request.cancel_id] = replace(script.book[request.cancel_id], status=OrderStatus.CANCELED)
    refused = Refused(why, -2010, "refused")
    answer = ReplaceOutcome(Done((old,)), refused)
    for how in heard.split(" then "):
        if how == "answer":
            script.feed(Answered(at=script.now, seq=request.seq, outcome=answer))
        else:
            script.feed(Reported(at=script.now, report=old))
            rejected(script, request.order, pushed)
    if "answer" not in heard:
        script.feed(Answered(at=script.now, seq=request.seq, outcome=Unknown("timeout", script.now + 5_000)))
    return request


@both_sides
@heard
@pytest.mark.parametrize("why", [Why.OTHER, Why.FILTER, Why.WOULD_TRIGGER])
def test_a_move_whose_new_stop_is_refused_is_one_refusal_of_ours(direction: Direction, heard: str, why: Why) -> None:
    """Rules 5.5, 6.6, 10.4: no hand, no level in force, and the old level is put back at once."""
    script = moving(direction)
    before = script.leg(3)
    request = refuse_move(script, heard, why, why)
    refused = next(o for o in script.position.orders if o.id == request.order.id)
    assert (refused.phase, refused.end, refused.exchange_id) == (OrderPhase.CLOSED, End.REFUSED, 0)
    leg = script.leg(3)
    assert (leg.stop, leg.vanished, leg.leave) == (before.stop, 0, None)
    assert leg.tries <= 1
    assert script.told().count("order_refused") == 1
    assert "exit_vanished" not in script.told()
    script.settle()  # words that are not known have a look first whether the order is there after all
    back = [r for r in script.sent if isinstance(r, PlaceOrder)]
    assert [r.order.stop_price for r in back] == [before.stop]
    assert script.live() == ["TRAIL"] or script.live() == ["SL"]
    assert script.leg(3).stop == before.stop


@heard
def test_stops_refused_in_a_row_while_trailing_never_end_as_external(heard: str) -> None:
    """Rule 5.5: a choppy trail."""
    script = moving()
    for step in range(1, 5):
        if step > 1:
            script.quote(106 + step, after=10_000)
        refuse_move(script, heard, Why.WOULD_TRIGGER)
        script.settle()
    assert script.leg(3).vanished == 0
    assert len(script.live()) == 1


def test_a_move_refused_for_no_reason_that_is_told_is_counted_by_its_answer() -> None:
    """Rule 8.7: the next is tried later."""
    script = moving()
    refuse_move(script, "push then answer", Why.OTHER)
    assert script.leg(3).balks == 1
    script.settle()
    script.quote("107", after=1_900)
    assert "replace TRAIL" not in script.kinds()


def test_the_answer_knows_the_reason_that_the_push_did_not_tell() -> None:
    """Rule 4.6."""
    script = moving()
    script.wait(5_000)
    script.accept("QueryOrder")
    (request,) = script.pending
    assert isinstance(request, ReplaceOrder)
    level = script.leg(3).stop
    script.state = replace(script.state, position=_with_level(script, request.order.stop_price))
    refuse_move(script, "push then answer", Why.WOULD_TRIGGER)
    assert script.leg(3).leave is Leave.STOP
    assert script.leg(3).tries == 0
    assert level != script.leg(3).stop


def _with_level(script: Script, level: Decimal | None) -> Position:
    legs = tuple(replace(leg, stop=level) if leg.n == 3 else leg for leg in script.position.legs)
    return replace(script.position, legs=legs)


def test_a_pushed_reason_is_not_replaced_by_a_vaguer_one() -> None:
    script = unprotected()
    sl = next(r for r in script.pending if isinstance(r, PlaceOrder))
    rejected(script, sl.order, Why.WOULD_TRIGGER)
    assert script.leg(3).leave is Leave.STOP
    script.refuse(Why.OTHER, "SL")
    assert script.leg(3).tries == 0


@both_sides
@heard
def test_a_refused_pair_is_one_refusal_however_many_sides_are_pushed(direction: Direction, heard: str) -> None:
    script = unprotected(direction)
    request = next(r for r in script.pending if isinstance(r, PlaceOco))
    script.pending.remove(request)
    for how in heard.split(" then "):
        if how == "answer":
            refused = Refused(Why.OTHER, -2010, "refused")
            script.feed(Answered(at=script.now, seq=request.seq, outcome=refused))
        else:
            for order in (request.target, request.stop):
                rejected(script, order)
    assert script.leg(1).tries <= 1
    assert script.leg(1).poor == 1
    assert script.leg(1).stop == script.position.plan.stop
    assert script.told().count("order_refused") <= 2
    script.settle()
    script.wait(1_000)
    script.settle()
    assert script.order(Role.TP1).phase is OrderPhase.WORKING
    assert len(script.orders(Role.TP1)) == 2


def test_an_entry_that_is_pushed_as_rejected_is_refused() -> None:
    script = entering(working=False)
    (request,) = script.pending
    assert isinstance(request, PlaceOrder)
    rejected(script, request.order)
    script.refuse(Why.OTHER)
    script.settle()
    assert script.closed.reason is Reason.REJECTED
    assert not script.closed.qty


def test_a_rejection_settles_a_doubt() -> None:
    """Rule 8.3: it is evidence that nothing was placed."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    sl = script.order(Role.SL)
    rejected(script, request_of(sl))
    assert script.orders(Role.SL)[0].end is End.REFUSED


def test_a_rejection_of_another_attempt_says_nothing_of_an_order_that_works() -> None:
    """Rule 8.8: it has another number. A look decides."""
    script = protected()
    sl = script.order(Role.SL)
    rejected(script, request_of(sl))
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert script.order(Role.SL).check
    script.sleep()
    script.settle()
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert not script.order(Role.SL).check


def test_a_refused_placement_of_a_leg_that_is_gone_teaches_nothing() -> None:
    """The interim stop's own leg has given way to the final ones."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.fill(Role.ENTRY)
    assert isinstance(script.phase, Unprotected)
    script.refuse(Why.OTHER, "SL")
    assert [leg.tries for leg in script.position.legs] == [0, 0, 0]


# --- moves that are refused again and again ---------------------------------------------------------------------------


@both_sides
def test_a_move_refused_as_a_whole_is_tried_in_growing_pauses_and_then_in_another_way(direction: Direction) -> None:
    """Rule 8.7: cancel-replace is not supported any more, say; in the end the stop is cancelled and placed anew."""
    script = moving(direction)
    times = []
    for _ in range(400):
        if script.pending and isinstance(script.pending[0], ReplaceOrder):
            times.append(script.now)
            request = script.pending.pop(0)
            refused = Refused(Why.OTHER, -2010, "Cancel-replace is not supported for this symbol.")
            script.feed(Answered(at=script.now, seq=request.seq, outcome=ReplaceOutcome(refused, refused)))
        elif script.pending:
            script.accept()
        elif script.leg(3).stop == script.px("104"):
            break
        else:
            script.wait(100)
    assert len(times) == stops.BALKS
    assert times[1] - times[0] >= 2_000
    assert times[2] - times[1] >= 4_000
    assert script.leg(3).tries == 0
    assert len(script.live()) == 1


def test_a_stop_of_the_whole_that_can_t_be_cut_is_not_tried_again_at_once() -> None:
    """Rule 8.7: PLAIN's stop, after the first target."""
    script = protected(policy=replace(POLICY, layout=Layout.PLAIN, after_tp1=AfterTp1.KEEP))
    script.quote("102.1", after=5_000)
    script.fill(Role.TP1)
    times = []
    for _ in range(200):
        if script.pending and isinstance(script.pending[0], ReplaceOrder):
            times.append(script.now)
            request = script.pending.pop(0)
            refused = Refused(Why.OTHER, -2010, "no")
            script.feed(Answered(at=script.now, seq=request.seq, outcome=ReplaceOutcome(refused, refused)))
        elif script.pending:
            script.accept()
        elif len(times) == stops.BALKS:
            break
        else:
            script.wait(100)
    assert [b - a for a, b in pairwise(times)] == [2_000, 4_000]
    script.wait(8_000)
    script.settle()
    assert script.order(Role.SL).qty == D("1.998")
    assert len(script.live()) == 2


def test_a_stop_that_stands_and_is_called_unknown_is_not_moved_for_ever_at_the_network_s_pace() -> None:
    """Rule 8.7: only the cancel is refused, and each look shows the stop working; then the other way is taken."""
    script = moving()
    times = []
    while script.leg(3).stop != D("104"):
        if script.pending and isinstance(script.pending[0], ReplaceOrder):
            times.append(script.now)
            request = script.pending.pop(0)
            refused = Refused(Why.UNKNOWN_ORDER, -2011, "Unknown order sent.")
            script.feed(Answered(at=script.now, seq=request.seq, outcome=ReplaceOutcome(refused, NotTried())))
        elif script.pending:
            script.accept()
        else:
            script.wait(50)
        assert script.now < times[0] + 60_000
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[0] < 500  # it may have gone: a look, and at once the next
    assert pauses[1] >= 2_000
    assert pauses[2] >= 4_000
    assert len(pauses) == stops.BALKS
    assert script.order(Role.TRAIL).stop_price == D("104")


def test_a_stop_that_was_moved_after_all_may_be_moved_at_the_usual_pace_again() -> None:
    script = moving()
    request = script.pending.pop(0)
    refused = Refused(Why.OTHER, -2010, "no")
    script.feed(Answered(at=script.now, seq=request.seq, outcome=ReplaceOutcome(refused, NotTried())))
    assert script.leg(3).balks == 0  # not tried: the old one may have gone
    script.wait(1_000)
    script.settle()
    script.quote("107", after=10_000)
    assert script.kinds() == ["replace TRAIL"]
    request = script.pending.pop(0)
    script.feed(Answered(at=script.now, seq=request.seq, outcome=ReplaceOutcome(refused, refused)))
    assert script.leg(3).balks == 1
    script.settle()
    script.quote("108", after=10_000)
    script.settle()
    assert script.leg(3).balks == 0


def test_an_oco_whose_moved_stop_is_refused_goes_back_to_the_level_in_force_at_once() -> None:
    """Rule 5.5."""
    script = protected(policy=replace(POLICY), rules=RULES)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.accept("CancelList")
    stop = script.order(Role.SL2)
    assert stop.stop_price != script.position.plan.stop
    script.refuse(Why.FILTER, "OCO2")
    assert "OCO2" in script.kinds()
    assert script.order(Role.SL2).stop_price == script.position.plan.stop
