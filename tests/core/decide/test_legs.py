from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    RICH,
    RULES,
    Script,
    both_sides,
    make_quote,
    make_report,
    protected,
    trailing,
    unprotected,
)

from executor.core.model.events import QuoteSeen, Tick, Verb
from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.intents import CancelList, PlaceOco, PlaceOrder, Request
from executor.core.model.policy import Layout, Policy
from executor.core.model.state import End, Leave, OrderPhase, Reason
from executor.core.model.values import ZERO, Direction, OrderStatus

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)
PLAIN_OWN = ((Layout.PLAIN, "2.2"), (Layout.PLAIN, "5"), (Layout.PLAIN, "100000"))
"""What an account has beside a position of 3: PLAIN needs 2 of base for its targets (rule 4.3)."""


def alone(script: Script) -> Script:
    """The account had no base of its own before the trade."""
    script.state = replace(script.state, position=replace(script.position, spare=ZERO))
    return script


def lost_stop(direction: Direction = Direction.LONG) -> Script:
    """Leg 3's stop: its answer is lost, and it never arrived. A short sells what the account had."""
    script = unprotected(direction)
    script = alone(script) if direction is Direction.LONG else script
    if direction is Direction.SHORT:
        script.balances["LTC"] = Balance(RICH["LTC"].free - 3)
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    return script


def trigger(script: Script, role: Role) -> None:
    """A stop's limit order is on the book, and finds nobody."""
    name = script.order(role).id
    script.book[name] = replace(script.book[name], working=True)
    script.push(name)


# --- doubt ------------------------------------------------------------------------------------------------------------


def test_a_stop_in_doubt_is_not_sent_again_before_it_is_settled() -> None:
    """Rules 8.2, 8.3: it is not known what the account had before the trade, so not whether the first has filled."""
    script = lost_stop()
    script.state = replace(script.state, position=replace(script.position, spare=None))
    assert script.kinds() == ["QueryOrder"]
    script.settle()
    assert script.order(Role.SL).phase is OrderPhase.UNRESOLVED
    while script.now < script.order(Role.SL).fence + 10_000 and len(script.orders(Role.SL)) == 1:
        script.sleep()
        script.settle()
    first, second = script.orders(Role.SL)
    assert first.end is End.NEVER
    assert script.now >= first.fence + 10_000
    assert second.phase is OrderPhase.WORKING


def test_a_stop_in_doubt_that_did_arrive_is_adopted() -> None:
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL", arrived=True)
    script.settle()
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert len(script.orders(Role.SL)) == 1


def test_a_stop_in_doubt_is_sent_again_where_the_exchanges_lock_keeps_the_two_apart() -> None:
    """Rule 8.3b: 0.999 are free: enough for one, not for two."""
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D(2))
    script.settle()
    first, second = script.orders(Role.SL)
    assert first.apart
    assert second.phase is OrderPhase.WORKING
    assert "sent_again" in script.told()
    script.quote("97", after=1_000)
    script.wait(3_000)
    assert "FLATTEN" not in script.kinds()
    script.settle()
    for _ in range(20):
        script.sleep()
        script.settle()
        if script.state.position is None:
            break
    assert script.closed.reason is Reason.SL


def test_a_stop_in_doubt_whose_own_lock_may_be_there_is_not_sent_again_before_it_is_settled() -> None:
    """Rules 8.3b, 8.6: 0.999 are locked by no order that is known. The first may stand, unseen as yet."""
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D("2.999"))
    script.settle()
    first = script.order(Role.SL)
    while len(script.orders(Role.SL)) == 1:
        assert not script.order(Role.SL).apart
        script.sleep()
        script.settle()
    assert script.now >= first.fence + 10_000
    assert script.orders(Role.SL)[0].end is End.NEVER


def shown(script: Script) -> None:
    """So much later that reads show what was placed when it was sent (rule 8.6)."""
    script.settle()
    until = script.order(Role.SL).sent_at + 2_000
    while script.now < until:
        script.sleep()
        script.settle()
    assert script.now == until


def test_an_account_s_balance_that_may_be_older_than_the_stop_in_doubt_shows_no_trace_of_it() -> None:
    """Rules 8.6, 10.1: it had arrived at once, and only reads are behind; a second one beside it would sell twice."""
    script = lost_stop()
    script.settle()
    first = script.order(Role.SL)
    assert not first.apart
    script.book[first.id] = make_report(first)
    script.wait(2_000)
    script.settle()
    assert len(script.orders(Role.SL)) == 1
    assert script.named() == "Protected"


def test_a_clock_that_leaps_ahead_gives_a_stop_in_doubt_no_time_to_show() -> None:
    """Rules 8.3c, 8.6: that nothing is locked for it says nothing yet."""
    script = lost_stop()
    script.now += 60_000
    script.feed(Tick(at=script.now, ahead=60_000))
    leapt = script.now
    script.settle()
    while len(script.orders(Role.SL)) == 1:
        script.sleep()
        script.settle()
    assert script.orders(Role.SL)[0].apart
    assert script.now == leapt + 2_000


@both_sides
def test_a_stop_in_doubt_of_which_there_is_no_trace_is_sent_again_by_a_rich_account(direction: Direction) -> None:
    """Rule 8.3c: it could carry both; should the first come in after all, one of the two is cancelled at once."""
    script = lost_stop(direction)
    shown(script)
    first, second = script.orders(Role.SL)
    assert script.named() == "Protected"
    assert first.apart
    assert first.phase is OrderPhase.UNRESOLVED
    script.place(first.id, OrderStatus.NEW)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert [o.id for o in script.position.orders if o.role is Role.SL and o.live] == [second.id]
    assert script.named() == "Protected"


@both_sides
def test_what_both_have_sold_before_one_could_be_cancelled_is_bought_back(direction: Direction) -> None:
    """Rules 6.3, 8.3c."""
    script = lost_stop(direction)
    shown(script)
    first, second = script.orders(Role.SL)
    script.quote("97.9", after=1_000)
    script.place(first.id, OrderStatus.NEW)
    script.push(script.execute(first.id).id)
    script.push(script.execute(second.id).id)
    assert script.order(Role.BUYBACK).qty == second.qty
    assert script.order(Role.BUYBACK).side is script.order(Role.ENTRY).side


def test_a_stop_in_doubt_is_not_sent_again_where_the_account_has_too_little_for_it() -> None:
    script = lost_stop()
    script.balances["LTC"] = Balance(D("0.5"), D("2.5"))
    script.settle()
    assert len(script.orders(Role.SL)) == 1


@pytest.mark.parametrize("spare", [D(1), None])
def test_a_stop_in_doubt_is_not_sent_again_where_it_may_have_stood_and_filled(spare: Decimal | None) -> None:
    """Rules 8.3b, 10.1: the account had 1 of its own, and of the 2.997 that were bought a third is gone."""
    script = lost_stop()
    script.state = replace(script.state, position=replace(script.position, spare=spare))
    script.balances["LTC"] = Balance(D(1), D(2))
    script.settle()
    assert len(script.orders(Role.SL)) == 1
    assert "sent_again" not in script.told()


def test_a_stop_in_doubt_is_not_sent_again_while_another_legs_base_is_being_freed() -> None:
    """Rule 8.3b: the balance was read before the cancel that frees what would carry both."""
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D(2))
    script.accept("QueryOrder")
    trigger(script, Role.SL1)
    script.wait(3_000)
    assert "CancelList" in script.kinds()
    script.accept("QueryBalances")
    assert len(script.orders(Role.SL)) == 1
    assert "sent_again" not in script.told()


def test_while_the_lock_keeps_two_apart_no_other_leg_is_cancelled_to_be_sold() -> None:
    """Rules 8.3b, 10.1: the base of a stop that triggered and found nobody would carry the order in doubt."""
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D(2))
    script.settle()
    assert script.orders(Role.SL)[0].apart
    trigger(script, Role.SL1)
    script.wait(3_000)
    script.settle()
    while script.orders(Role.SL)[0].live:
        assert not any(isinstance(request, CancelList) for request in script.sent)
        script.sleep()
        script.settle()
    assert script.orders(Role.SL)[0].end is End.NEVER
    assert script.order(Role.FLATTEN).leg == 1


def test_while_the_lock_keeps_two_apart_no_other_leg_is_moved() -> None:
    """Rule 8.3b: a move would free the base that keeps the first from the book."""
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D(2))
    script.settle()
    assert script.orders(Role.SL)[0].apart
    script.fill(Role.TP1)
    script.quote("102", after=1_000)
    script.wait(1_000)
    assert "CancelList" not in script.kinds()
    for _ in range(40):
        script.settle()
        if not script.orders(Role.SL)[0].live:
            break
        script.sleep()
    script.quote("102", after=1_000)
    assert "CancelList" in script.kinds() or script.leg(2).stop != script.position.plan.stop


def test_while_the_lock_may_keep_two_apart_a_close_frees_nothing() -> None:
    """Rules 7.1, 8.3b: neither was answered, and what a cancel frees would carry both."""
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D(2))
    script.accept("QueryOrder")
    script.accept("QueryBalances")
    first, second = script.orders(Role.SL)
    assert first.apart
    assert second.phase is OrderPhase.SUBMITTED
    script.command(Verb.FLATTEN)
    script.wait(100)
    assert "CancelList" not in script.kinds()
    script.lose("SL")
    settled = min(order.fence for order in script.orders(Role.SL)) + script.policy.doubt_settle_ms
    while script.now < settled:
        assert not any(isinstance(request, CancelList) for request in script.sent)
        script.sleep()
        script.settle()
    assert any(isinstance(request, CancelList) for request in script.sent)
    script.settle()
    while script.state.position is not None:
        script.sleep()
        script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_while_the_lock_keeps_two_apart_less_than_the_whole_is_not_sold_beside_them() -> None:
    """Rules 8.3b, 6.6b: what is free would buy back a part, and the exit in doubt, which stands, all of it."""
    script = unprotected(Direction.SHORT)
    script.balances = {"LTC": Balance(RICH["LTC"].free - 3), "USDT": Balance(D(150), D("204.3"))}
    script.accept("OCO1")
    script.accept("SL")
    script.lose("OCO2")
    while "OCO2" not in script.kinds():
        script.accept()
    first = script.orders(Role.SL2)[0]
    assert first.apart
    script.balances["USDT"] = Balance(D(50), D("304.3"))
    script.last = script.px("104.5")
    script.wait(80)
    script.refuse(Why.OTHER, kind="OCO2")
    for _ in range(10):
        while script.pending:
            if "FLATTEN" in script.kinds():
                assert script.order(Role.FLATTEN).qty == 1
                script.refuse(Why.INSUFFICIENT_BALANCE, kind="FLATTEN")
            else:
                script.accept()
        script.sleep()
    assert script.orders(Role.FLATTEN)
    assert script.orders(Role.SL2)[0].phase is OrderPhase.UNRESOLVED


def test_after_a_market_order_that_came_to_nothing_the_cancelled_one_is_looked_at_first() -> None:
    """Rule 6.3: it may have sold a part of what is to be sold again."""
    script = protected()
    script.quote("97", after=1_000)
    script.wait(3_000)
    script.accept("CancelOrder")
    script.refuse(Why.MARKET_CLOSED, "FLATTEN")
    script.wait(2_000)
    assert "FLATTEN" not in script.kinds()
    assert "QueryOrder" in script.kinds()
    script.accept("QueryOrder")
    assert "FLATTEN" in script.kinds()


def test_a_stop_sent_again_that_is_refused_waits_for_its_next_try() -> None:
    script = lost_stop()
    script.balances["LTC"] = Balance(D(1), D(2))
    script.accept("QueryOrder")
    script.accept("QueryBalances")
    assert script.kinds() == ["SL"]
    script.refuse(Why.INSUFFICIENT_BALANCE)
    assert script.kinds() == []
    script.wait(1_000)
    script.settle()
    assert script.orders(Role.SL)[-1].phase is OrderPhase.WORKING


def test_a_shorts_stop_in_doubt_is_never_sent_again_early() -> None:
    script = unprotected(Direction.SHORT)
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    script.settle()
    assert len(script.orders(Role.SL)) == 1


def test_a_target_in_doubt_is_not_sent_again_early() -> None:
    """Rule 8.3b is for protective stops."""
    script = unprotected(policy=PLAIN)
    script.lose("TP1")
    script.settle()
    assert len(script.orders(Role.TP1)) == 1


def test_a_pair_of_which_one_side_is_known_waits_for_the_other() -> None:
    script = alone(unprotected())
    script.lose("OCO1")
    pair = [script.order(Role.TP1), script.order(Role.SL1)]
    assert [o.phase for o in pair] == [OrderPhase.UNRESOLVED] * 2
    script.accept("OCO2")
    script.accept("SL")
    script.accept("QueryOrder")
    assert script.kinds() == ["QueryOrder"]
    script.accept("QueryOrder")
    script.balances["LTC"] = Balance(D(1), D(2))
    script.settle()
    assert len(script.orders(Role.TP1)) == 2


# --- refused ----------------------------------------------------------------------------------------------------------


@both_sides
def test_a_pair_refused_for_its_prices_asks_a_quote_which_side_was_crossed(direction: Direction) -> None:
    """Rule 4.6."""
    for last, leave in (("102.5", Leave.TARGET), ("97.5", Leave.STOP)):
        script = unprotected(direction)
        script.wait(10)
        script.refuse(Why.PRICE_RELATION, "OCO1")
        assert script.kinds() == ["OCO2", "SL", "QueryQuote"]
        script.last = script.px(last)
        script.accept("QueryQuote")
        assert script.leg(1).leave is leave
        assert script.kinds()[-1] == "FLATTEN"


def test_a_pair_refused_for_prices_that_have_come_back_is_tried_again_and_counted() -> None:
    script = unprotected()
    script.refuse(Why.PRICE_RELATION, "OCO1")
    assert script.kinds() == ["OCO2", "SL"]
    assert script.leg(1).tries == 1
    script.wait(999)
    assert script.kinds() == ["OCO2", "SL"]
    script.wait(1)
    assert [kind for kind in script.kinds() if kind != "QueryOrder"] == ["OCO2", "SL", "OCO1"]


def test_a_refusal_is_tried_again_after_its_pause_and_not_before_the_exchange_allows() -> None:
    """Rule 4.7."""
    script = unprotected()
    script.refuse(Why.RATE_LIMIT, "SL", retry_at=script.now + 5_000)
    assert script.leg(3).tries == 0
    script.wait(4_999)
    assert "SL" not in script.kinds()
    script.wait(1)
    assert script.kinds()[-1] == "SL"


def test_a_balance_that_still_has_it_all_is_tried_again() -> None:
    script = unprotected()
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    script.wait(1_000)
    script.accept("QueryBalances")
    assert script.kinds()[-1] == "SL"


def test_a_short_refused_for_lack_of_quote_is_tried_again() -> None:
    script = unprotected(Direction.SHORT)
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    script.wait(1_000)
    assert script.kinds()[-1] == "SL"


def test_a_plain_target_that_keeps_being_refused_is_tried_less_often() -> None:
    """It is no emergency: the whole position is covered by the stop."""
    script = unprotected(policy=PLAIN)
    script.accept("SL")
    script.accept("TP2")
    for _ in range(5):
        script.refuse(Why.FILTER, "TP1")
        script.wait(1_000)
    assert script.kinds() == []
    script.wait(29_000)
    assert script.kinds() == ["TP1"]


# --- vanished ---------------------------------------------------------------------------------------------------------


@both_sides
def test_an_exit_that_a_hand_cancelled_is_put_back_once_and_then_left_alone(direction: Direction) -> None:
    """Rule 6.6."""
    script = protected(direction)
    script.vanish(Role.SL)
    assert script.kinds() == ["SL"]
    assert script.told() == ["exit_vanished"]
    script.settle()
    script.vanish(Role.SL)
    assert script.told()[-1] == "exit_vanished_again"
    script.settle()
    assert script.closed.reason is Reason.EXTERNAL
    assert script.closed.dust != 0
    assert not any(kind == "FLATTEN" for kind in script.kinds())


def test_a_pair_that_vanished_is_put_back_once() -> None:
    script = protected()
    script.vanish(Role.TP1)
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    script.vanish(Role.TP1)
    script.settle()
    assert script.closed.reason is Reason.EXTERNAL


# --- at market --------------------------------------------------------------------------------------------------------


def leaving(script: Script) -> Script:
    """Leg 3 is to be sold at market because its stop was refused."""
    script.settle()
    script.vanish(Role.SL)
    script.quote("97.9")
    script.refuse(Why.WOULD_TRIGGER, "SL")
    return script


def test_a_market_order_that_found_nobody_is_not_repeated_at_once() -> None:
    script = leaving(unprotected())
    script.pending.remove(next(r for r in script.pending if r is script.sent[-1]))
    sale = script.order(Role.FLATTEN)
    script.place(sale.id, OrderStatus.EXPIRED)
    assert script.kinds() == []
    script.sleep()
    assert "FLATTEN" in script.kinds()


def test_a_market_order_larger_than_allowed_is_sent_in_pieces() -> None:
    script = leaving(unprotected(rules=replace(RULES, market_max_qty=D("0.6"))))
    assert script.order(Role.FLATTEN).qty == D("0.6")
    script.accept("FLATTEN")
    assert script.order(Role.FLATTEN).qty == D("0.399")


def test_a_sale_in_flight_is_not_doubled() -> None:
    script = leaving(unprotected())
    script.wait(1_000)
    assert script.kinds().count("FLATTEN") == 1
    script.answer_with(OrderStatus.NEW, "FLATTEN")
    script.settle()
    script.wait(1_000)
    assert script.kinds() == []
    assert len(script.orders(Role.FLATTEN)) == 1


def test_a_refused_sale_is_tried_again_after_its_pause() -> None:
    script = leaving(unprotected())
    script.refuse(Why.MARKET_CLOSED, "FLATTEN")
    assert "FLATTEN" not in script.kinds()
    script.wait(1_000)
    assert "FLATTEN" in script.kinds()


def test_a_sale_refused_for_lack_of_balance_asks_what_is_left() -> None:
    script = leaving(unprotected())
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    script.wait(1_000)
    assert script.kinds() == ["QueryBalances"]


def test_the_cancelled_exit_is_looked_at_once_more_after_the_sale() -> None:
    """Rule 6.3."""
    script = protected()
    script.quote("97", after=1_000)
    script.wait(3_000)
    stop = script.order(Role.SL)
    assert script.order(Role.SL).recheck
    script.accept("CancelOrder")
    script.accept("FLATTEN")
    assert ("QueryOrder", stop.id) in [(type(r).__name__, getattr(r, "id", "")) for r in script.pending]
    script.settle()
    assert script.closed.reason is Reason.SL


def test_an_ocos_other_side_is_looked_at_when_its_push_does_not_come() -> None:
    script = protected()
    script.quote("102", after=1_000)
    told = script.trade(Role.TP1)
    script.push(told.id)
    script.settle()
    assert "SL1" in script.live()
    script.wait(250)
    assert "QueryOrder" in script.kinds()
    script.settle()
    assert "SL1" not in script.live()


def test_the_plain_stop_refused_for_its_price_is_left_as_a_whole() -> None:
    """Rules 4.6, 6.5: its targets are cancelled before anything is sold."""
    script = unprotected(policy=PLAIN)
    script.wait(10)
    script.refuse(Why.PRICE_RELATION, "SL")
    script.last = D("97.5")
    script.accept("QueryQuote")
    assert script.leg(0).leave is Leave.STOP
    assert "FLATTEN" not in script.kinds()
    script.wait(10)
    script.settle()
    assert script.closed.reason is Reason.SL


# --- several in doubt at once (rule 8.3c) -----------------------------------------------------------------------------


def needed_by(requests: Sequence[Request]) -> Decimal:
    """Quote that the exits of a short lock at the most."""
    total = ZERO
    for request in requests:
        if isinstance(request, PlaceOco | PlaceOrder):
            order = request.stop if isinstance(request, PlaceOco) else request.order
            total += order.qty * (order.price or ZERO)
    return total


def killed(
    own: str = "0.5", arrived: tuple[str, ...] = (), direction: Direction = Direction.LONG, policy: Policy = POLICY
) -> Script:
    """The service was killed between the fill and its exits, of which those `arrived`. `own`: what the account has
    beside what its exits need, base with a long, quote with a short.
    """
    script = unprotected(direction, policy)
    long = direction is Direction.LONG
    spare = D(own) if long else D(10)
    script.state = replace(script.state, position=replace(script.position, spare=spare))
    for kind in arrived:
        script.exchange_takes(next(r for r in script.pending if kind in str(r)))
    if long:
        locked = D("0.999") * len(arrived)
        script.balances["LTC"] = Balance(D("2.997") + spare - locked, locked)
    else:
        script.balances |= {"LTC": Balance(spare - 3), "USDT": Balance(needed_by(script.pending) + D(own))}
    script.restart()
    return script


@pytest.mark.parametrize(("direction", "own"), [(Direction.LONG, "0.5"), (Direction.SHORT, "50")])
def test_a_kill_between_fill_and_exits_leaves_the_position_bare_for_one_start(direction: Direction, own: str) -> None:
    """Rule 8.3c: none of them arrived; sent again together, they leave nothing free for the first ones."""
    script = killed(own, direction=direction)
    begun = script.now
    script.settle()
    assert script.now == begun
    assert script.named() == "Protected"
    assert script.live() == ["SL", "SL", "SL1", "SL1", "SL2", "SL2", "TP1", "TP1", "TP2", "TP2"]
    assert script.told().count("sent_again") == 1


@both_sides
@pytest.mark.parametrize(("layout", "own"), [(Layout.OCO, "0.999"), (Layout.OCO, "5"), *PLAIN_OWN])
def test_so_it_does_where_the_account_could_carry_the_first_ones_too(
    direction: Direction, layout: Layout, own: str
) -> None:
    """Nothing shows a trace of them, so long after they were sent that it would (rule 8.6). Those of PLAIN that are no
    stop wait for their fence, behind it.
    """
    script = killed(own, direction=direction, policy=replace(POLICY, layout=layout))
    script.settle()
    if script.named() != "Protected":  # what the account has beside does not let the lock keep them apart
        shown(script)
    assert script.named() == "Protected"
    assert len(script.orders(Role.SL)) == 2


def test_those_that_arrived_are_taken_up_and_the_others_sent_again() -> None:
    script = killed(arrived=("_OCO1_",))
    script.settle()
    assert script.named() == "Protected"
    assert len(script.orders(Role.SL1)) == 1
    assert len(script.orders(Role.SL2)) == len(script.orders(Role.SL)) == 2


def test_a_second_kill_waits_for_what_the_first_ones_leave_in_doubt() -> None:
    """Rule 10.1: of each leg one exit may be in doubt beside another, not two."""
    script = killed()
    while "SL" not in script.kinds():
        script.accept()
    script.restart()
    script.settle()
    assert script.named() == "Unprotected"
    assert len(script.orders(Role.SL)) == 2
    for _ in range(60):
        if script.named() == "Protected":
            break
        script.sleep()
        script.settle()
    assert script.named() == "Protected"


def test_locks_that_could_be_combined_to_more_than_is_held_are_no_proof() -> None:
    """0.75 beside: no first fits into it, but the trailing leg's twice and another one would (rule 10.1). And what is
    locked beside may be theirs.
    """
    script = Script(policy=replace(POLICY, split=(D(1), D(1), D("1.5"))))
    script.signal()
    script.settle()
    script.fill(Role.ENTRY)
    script.state = replace(script.state, position=replace(script.position, spare=D("0.75")))
    script.balances["LTC"] = Balance(D("3.747"), D(1))
    script.restart()
    script.settle()
    (first,) = script.orders(Role.SL)
    while len(script.orders(Role.SL)) == 1:
        script.sleep()
        script.settle()
    assert script.now >= first.fence + 10_000


def test_a_debt_is_not_reckoned_with_what_a_short_locks() -> None:
    script = unprotected(Direction.SHORT, rules=MARGIN_RULES)
    begun = script.now
    script.restart()
    script.settle()
    while len(script.orders(Role.SL)) == 1:
        script.sleep()
        script.settle()
    assert script.now >= begun + 15_000


def test_a_first_that_comes_in_between_is_cancelled_and_every_leg_gets_its_own() -> None:
    script = killed("0")
    while "SL" not in script.kinds():
        script.accept()
    first = script.orders(Role.SL)[0].id
    script.accept("OCO1")
    script.place(first, OrderStatus.NEW)
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    for _ in range(30):
        script.settle()
        if script.named() == "Protected" and not any(o.phase is OrderPhase.UNRESOLVED for o in script.position.orders):
            break
        script.sleep()
    assert script.named() == "Protected"
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_a_shorts_stop_is_kept_when_its_profit_makes_it_too_small_to_sell() -> None:
    """Rule 3.6: what a stop stands for is no dust; 0.999 at 5 is worth less than NOTIONAL asks for."""
    script = trailing(Direction.SHORT, replace(POLICY, trail_r=D(40)))
    script.settle()
    script.feed(QuoteSeen(at=script.now, quote=make_quote(D("4.9"), script.now)))
    script.settle()
    assert script.named() == "Protected"
    assert len(script.live()) == 1
    script.feed(QuoteSeen(at=script.now, quote=make_quote(D("101"), script.now)))
    script.wait(3_000)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert script.state.position is None


def test_a_stop_that_stands_is_not_cancelled_for_a_sale_that_no_filter_would_take() -> None:
    script = trailing(Direction.SHORT, replace(POLICY, trail_r=D(40)))
    script.settle()
    script.feed(QuoteSeen(at=script.now, quote=make_quote(D("4.9"), script.now)))
    script.settle()
    legs = tuple(replace(leg, leave=Leave.STOP) if leg.n == 3 else leg for leg in script.position.legs)
    script.state = replace(script.state, position=replace(script.position, legs=legs))
    script.wait(60_000)
    assert script.kinds() == []
    assert len(script.live()) == 1
