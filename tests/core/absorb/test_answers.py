from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, START, Script, closing, entering, make_report, protected, trailing, unprotected

from executor.core.model.events import Answered, ReadFailed, Verb
from executor.core.model.facts import Done, NotTried, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import CancelList, CancelOrder, Command, ReplaceOrder
from executor.core.model.state import End, Leave, OrderPhase, Reason
from executor.core.model.values import OrderStatus
from executor.core.model.verdict import MOVED, Ignored, Refusal

D = Decimal
LOST = Unknown("timeout", 0)


def owed(script: Script, kind: type[Command]) -> int:
    return next(r.seq for r in script.pending if isinstance(r, kind))


def moving() -> Script:
    """Leg 3's stop is being moved by cancel-replace."""
    script = trailing()
    script.settle()
    script.quote("106", after=2_000)
    assert script.kinds() == ["replace TRAIL"]
    return script


def answer(script: Script, outcome: Done | Refused | Unknown | ReplaceOutcome) -> None:
    request = script.pending.pop(0)
    script.feed(Answered(at=script.now, seq=request.seq, outcome=outcome))


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    script = protected()
    script.feed(Answered(at=script.now, seq=999, outcome=Done()))
    assert script.verdict == Ignored("no command waits for answer 999")
    script.feed(ReadFailed(at=script.now, seq=999, text="timeout"))
    assert script.verdict == Ignored("no query waits for answer 999")


def test_an_intent_leaves_the_outbox_by_its_answer() -> None:
    """Rule 8.1."""
    script = entering(working=False)
    assert [o.request.seq for o in script.state.outbox] == [1]
    script.accept()
    assert script.state.outbox == ()


def test_an_acceptance_that_tells_nothing_of_its_order_is_looked_up() -> None:
    script = entering(working=False)
    answer(script, Done())
    assert script.order(Role.ENTRY).phase is OrderPhase.UNRESOLVED
    assert script.kinds() == ["QueryOrder"]


def test_an_unknown_outcome_is_never_taken_for_a_refusal() -> None:
    """Rule 8.2."""
    script = entering(working=False)
    script.lose()
    order = script.order(Role.ENTRY)
    assert (order.phase, order.fence) == (OrderPhase.UNRESOLVED, script.now + 5_000)
    assert script.told()[-1] == "outcome_unknown"


def test_a_report_that_overtook_its_lost_answer_is_believed() -> None:
    script = entering(working=False)
    script.place(script.order(Role.ENTRY).id, OrderStatus.NEW)
    script.lose(arrived=True)
    assert script.order(Role.ENTRY).phase is OrderPhase.WORKING


def test_a_refusal_of_an_order_that_works_is_ignored() -> None:
    script = entering(working=False)
    script.place(script.order(Role.ENTRY).id, OrderStatus.NEW)
    script.refuse(Why.OTHER)
    assert isinstance(script.verdict, Ignored)
    assert script.order(Role.ENTRY).phase is OrderPhase.WORKING


def test_a_refused_entry_of_a_closing_trade_teaches_no_leg() -> None:
    script = entering(working=False)
    script.command(Verb.FLATTEN)
    script.refuse(Why.OTHER, "ENTRY")
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_a_refused_order_of_the_whole_position_teaches_no_leg() -> None:
    script = closing()
    for _ in range(3):
        script.accept()
    script.refuse(Why.OTHER, "FLATTEN")
    assert script.order(Role.FLATTEN).end is End.REFUSED


def test_a_refusal_for_prices_while_moving_keeps_the_level_in_force() -> None:
    """Rule 5.5."""
    script = moving()
    before = script.leg(3).stop
    script.refuse(Why.PRICE_RELATION)
    assert script.leg(3).leave is None
    assert script.leg(3).puzzled_at == 0
    assert script.leg(3).stop == before


def test_a_refusal_at_the_level_in_force_means_the_stop_was_crossed() -> None:
    script = unprotected()
    script.refuse(Why.WOULD_TRIGGER, "SL")
    assert script.leg(3).leave is Leave.STOP


# --- cancels ----------------------------------------------------------------------------------------------------------


def test_a_cancel_that_was_not_confirmed_is_looked_up() -> None:
    """Rule 6.2."""
    script = closing()
    script.lose("CancelOrder")
    assert script.order(Role.SL).check
    assert "QueryOrder" in script.kinds()


def test_a_cancel_refused_by_the_rate_limit_waits() -> None:
    script = closing()
    script.refuse(Why.RATE_LIMIT, "CancelOrder", retry_at=script.now + 4_000)
    assert script.order(Role.SL).ask_at == script.now + 4_000
    assert "QueryOrder" not in script.kinds()


def test_a_cancel_that_does_not_take_is_not_repeated_in_a_tight_loop() -> None:
    """Reads may be stale (rule 8.6): cancel, refused as unknown, and still listed as working. Rule 8.7: pauses grow."""
    script = closing()
    script.rules = replace(script.rules, cancel_replace_allowed=False)
    script.accept("CancelList")
    script.accept("CancelList")
    times = []
    for _ in range(3):
        script.refuse(Why.UNKNOWN_ORDER, "CancelOrder")
        assert script.kinds() == ["QueryOrder"]
        script.settle()  # what the others have freed is sold meanwhile
        while not script.kinds():
            script.sleep()
        assert script.kinds() == ["CancelOrder"]
        times.append(script.now)
    assert [b - a for a, b in pairwise([START, *times])] == [250, 500, 1_000]
    assert len(script.orders(Role.FLATTEN)) == 1
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


@pytest.mark.parametrize("why", [Why.RATE_LIMIT, Why.CLOCK, Why.NOT_SENT])
def test_a_cancel_held_up_on_its_way_is_none_that_its_order_has_outlived(why: Why) -> None:
    script = closing()
    script.refuse(why, "CancelOrder")
    assert script.order(Role.SL).cancels == 0
    script.refuse(Why.OTHER, "CancelList")
    assert script.order(Role.TP1).cancels == 1


@pytest.mark.parametrize("why", [Why.RATE_LIMIT, Why.CLOCK, Why.NOT_SENT])
def test_a_lists_cancel_that_the_exchange_holds_up_goes_by_each_orders_id_the_next_time(why: Why) -> None:
    """Rule 8.7: a limit may be that request's own, as each of /sapi has one. What was not sent says nothing of it."""
    script = closing()
    leg_1 = {script.order(role).id for role in (Role.TP1, Role.SL1)}
    single = why is not Why.NOT_SENT
    for _ in range(2):
        for kind in [kind for kind in script.kinds() if kind.startswith("Cancel")]:
            script.refuse(why, kind)
        assert {script.order(role).cancels for role in (Role.TP1, Role.SL1)} == {int(single)}
        asked: list[CancelList | CancelOrder] = []
        while not asked:
            script.sleep()
            asked = [r for r in script.pending if isinstance(r, CancelOrder) and r.id in leg_1]
            asked += [r for r in script.pending if isinstance(r, CancelList) and leg_1 == set(r.ids)]
        assert [isinstance(r, CancelOrder) for r in asked] == ([True, True] if single else [False])
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_an_impossible_report_in_an_answer_halts() -> None:
    script = closing()
    order = script.order(Role.SL)
    script.pending = [r for r in script.pending if isinstance(r, CancelOrder)]
    answer(script, Done((make_report(order, OrderStatus.CANCELED, exchange_id=999),)))
    assert isinstance(script.verdict, Refusal)
    assert script.state.halted == script.verdict.why


# --- cancel-replace ---------------------------------------------------------------------------------------------------


def test_a_move_of_which_neither_half_was_tried_leaves_the_old_stop() -> None:
    """Rule 5.5: no new order if the old one is not gone."""
    script = moving()
    answer(script, ReplaceOutcome(Refused(Why.OTHER, -1, "no"), NotTried()))
    new, old = script.orders(Role.TRAIL)[-1], script.orders(Role.TRAIL)[-2]
    assert new.end is End.NEVER
    assert old.live
    assert old.check
    script.sleep()
    script.settle()
    assert script.live() == ["TRAIL"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_move_in_doubt_has_both_halves_in_doubt(whole: bool) -> None:
    script = moving()
    script.exchange_takes(script.pending[0])
    lost = Unknown("timeout", script.now)
    answer(script, lost if whole else ReplaceOutcome(lost, lost))
    assert script.kinds() == ["QueryOrder", "QueryOrder"]
    script.settle()
    assert script.live() == ["TRAIL"]
    assert script.order(Role.TRAIL).phase is OrderPhase.WORKING


def test_an_impossible_report_in_either_half_of_a_move_halts() -> None:
    for half in ("cancel", "place"):
        script = moving()
        request = script.pending[0]
        assert isinstance(request, ReplaceOrder)
        old = next(o for o in script.position.orders if o.id == request.cancel_id)
        cancel = make_report(old, OrderStatus.CANCELED, **({"exchange_id": 999} if half == "cancel" else {}))
        told = replace(make_report(request.order), **({"qty": D(9)} if half == "place" else {}))
        answer(script, ReplaceOutcome(Done((cancel,)), Done((told,))))
        assert isinstance(script.verdict, Refusal)
        assert script.state.halted


def test_an_answer_of_the_wrong_kind_is_a_defect() -> None:
    script = entering(working=False)
    with pytest.raises(AssertionError, match="was answered with"):
        answer(script, ReplaceOutcome(Done(), Done()))
    script = moving()
    with pytest.raises(AssertionError, match="a replacement was answered with"):
        answer(script, Done())


def test_an_answer_to_a_trade_that_is_gone_is_ignored() -> None:
    script = entering(working=False)
    script.state = replace(script.state, position=None)
    script.unchecked = True
    script.accept()
    assert script.verdict == Ignored("no trade is open")


# --- reads that failed ------------------------------------------------------------------------------------------------


def test_a_failed_look_is_repeated_a_little_later() -> None:
    """Rule 8.5."""
    script = entering(working=False)
    script.lose()
    script.lose("QueryOrder")
    assert script.verdict == MOVED
    assert script.kinds() == []
    script.wait(1_000)
    assert script.kinds() == ["QueryOrder"]


@pytest.mark.parametrize("rounds", [3])
def test_a_failed_list_is_asked_again_a_little_later_and_not_at_once(rounds: int) -> None:
    script = closing()
    while script.kinds() != ["QueryOpenOrders"]:
        script.accept()
    for _ in range(rounds):
        script.lose()
        assert script.kinds() == []
        script.sleep()
        assert script.kinds() == ["QueryOpenOrders"]
    script.settle()
    assert script.state.position is None


def test_a_read_that_fails_after_the_trade_is_told_and_forgotten() -> None:
    script = entering(working=False)
    script.lose()
    script.state = replace(script.state, position=None)
    script.unchecked = True
    script.lose("QueryOrder")
    assert script.told()[-1] == "read_failed"


def test_a_failed_look_at_an_order_that_is_not_on_record_changes_nothing() -> None:
    script = entering(working=False)
    script.lose()
    script.state = replace(script.state, position=replace(script.position, orders=()))
    script.unchecked = True
    script.lose("QueryOrder")
    assert script.told()[-1] == "read_failed"


@pytest.mark.parametrize(("doubted", "pause"), [(1, 1_000), (2, 1_000), (6, 3_000), (12, 6_600)])
def test_looks_that_fail_share_the_pace_of_the_orders_in_doubt(doubted: int, pause: int) -> None:
    """Rule 8.7: where reads fail, too, looks at many would use the weight up."""
    script = entering(working=False)
    script.lose()
    order = script.order(Role.ENTRY)
    others = tuple(replace(order, id=f"{order.id}{n}") for n in range(1, doubted))
    script.state = replace(script.state, position=replace(script.position, orders=(order, *others)))
    script.unchecked = True
    script.lose("QueryOrder")
    assert script.position.orders[0].ask_at == script.now + pause


@pytest.mark.parametrize(("doubted", "pause"), [(1, 1_000), (4, 1_000), (6, 1_500)])
def test_looks_that_fail_at_a_start_are_had_again_sooner(doubted: int, pause: int) -> None:
    """Rules 8.7, 9.1: nothing is placed before each was looked at, and a position may be bare."""
    script = entering(working=False)
    order = script.order(Role.ENTRY)
    others = tuple(replace(order, id=f"{order.id}{n}") for n in range(1, doubted))
    script.state = replace(script.state, position=replace(script.position, orders=(order, *others)))
    script.unchecked = True
    script.restart()
    script.lose("QueryOrder")
    assert script.position.orders[0].ask_at == script.now + pause


def test_the_pace_of_retries_is_the_policys() -> None:
    policy = replace(POLICY, exits_retry_ms=7_000)
    script = unprotected(policy=policy)
    script.refuse(Why.FILTER, "SL")
    assert script.leg(3).retry_at == script.now + 7_000
