"""What is asked for again has a pace and an end, whatever the answers say (rule 8.7)."""

from decimal import Decimal
from itertools import pairwise

from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    Script,
    closing,
    entering,
    make_quote,
    protected,
    repaying,
    trailing,
    unprotected,
)

from executor.core.decide.lending import LOOK_AGAIN_MAX_MS, LOOK_AGAIN_MS
from executor.core.model.events import MarginSeen, OpenOrdersSeen, QuoteSeen
from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.intents import QueryBalances, QueryMargin, QueryOpenOrders, QueryQuote, Read
from executor.core.model.policy import TrailMode
from executor.core.model.state import Leave, Reason
from executor.core.model.values import OrderStatus

D = Decimal


def take(script: Script, kind: type[Read]) -> int:
    """The number of the one request of that kind that waits; it waits no more."""
    (request,) = (r for r in script.pending if isinstance(r, kind))
    script.pending.remove(request)
    return request.seq


def puzzled() -> Script:
    script = unprotected()
    script.accept("OCO2")
    script.accept("SL")
    script.wait(10)
    script.refuse(Why.PRICE_RELATION, "OCO1")
    return script


def timed_out(**changes: object) -> Script:
    """The entry's time is up, and the price for Plan B is asked for."""
    script = entering(policy=replace(POLICY, **changes))
    script.wait(90_000)
    script.accept("CancelOrder")
    return script


def test_an_answer_tells_of_a_moment_after_its_question_however_the_clock_was_corrected() -> None:
    """The exchange's clock was taken for 20 s ahead; its quote is not older than the question for it."""
    script = puzzled()
    script.feed(QuoteSeen(at=script.now, quote=make_quote(103, script.now - 20_000), seq=take(script, QueryQuote)))
    assert script.leg(1).leave is Leave.TARGET
    assert "FLATTEN" in script.kinds()


def test_so_does_the_list_that_a_close_ends_with() -> None:
    script = closing()
    while "QueryOpenOrders" not in script.kinds():
        script.accept()
    seq = take(script, QueryOpenOrders)
    script.feed(OpenOrdersSeen(at=script.now, reports=(), asked_at=script.now - 20_000, seq=seq))
    assert script.closed.reason is Reason.FLATTEN


def test_so_does_a_margin_account() -> None:
    script = protected(rules=MARGIN_RULES)
    script.now += 1_000
    script.vanish(Role.SL)
    seq = take(script, QueryMargin)
    script.feed(MarginSeen(at=script.now, account=replace(script.account(), asked_at=script.now - 20_000), seq=seq))
    assert "QueryMargin" not in script.kinds()
    assert "SL" in script.kinds()


def test_a_price_that_comes_too_late_for_plan_b_is_none() -> None:
    """Rule 3.3: it is not asked for again and again while each answer takes four seconds."""
    script = timed_out()
    asked = script.now
    seq = take(script, QueryQuote)
    script.now += 4_000
    script.feed(QuoteSeen(at=script.now, quote=make_quote(100, asked), seq=seq))
    script.settle()
    assert script.closed.reason is Reason.PLANB_NO_PRICE


def test_an_entry_that_is_sent_again_asks_for_its_price_once_a_second() -> None:
    script = entering(working=False)
    script.wait(3_000)
    script.accept("QueryOrder")
    script.refuse(Why.RATE_LIMIT)
    script.sleep()
    for _ in range(3):
        asked, seq = script.now, take(script, QueryQuote)
        script.now += 4_000
        script.feed(QuoteSeen(at=script.now, quote=make_quote(100, asked), seq=seq))
        assert script.kinds() == []
        script.wait(999)
        assert script.kinds() == []
        script.wait(1)
    script.settle()
    assert len(script.orders(Role.ENTRY)) == 2


def test_a_price_of_nothing_is_asked_for_again_a_second_later() -> None:
    script = trailing(policy=replace(POLICY, trail_mode=TrailMode.DISTANCE))
    position = replace(script.position, trail=None)
    market = replace(script.state.market, quote=None, quiet=None)
    script.state = replace(script.state, position=position, market=market)
    script.pending.clear()
    script.wait(1)
    for _ in range(3):
        seq = take(script, QueryQuote)
        script.feed(QuoteSeen(at=script.now, quote=make_quote(0, script.now), seq=seq))
        assert script.kinds() == []
        script.wait(1_000)
    script.settle()
    assert script.position.trail is not None


def test_a_riddle_without_a_price_ends_in_the_failsafe() -> None:
    """Rules 4.6, 4.7: no price can be had; the pair is tried again, and counted, until the position is closed."""
    script = puzzled()
    begun = script.now
    for _ in range(60):
        if script.named() == "Closing":
            break
        if "QueryQuote" in script.kinds():
            script.lose("QueryQuote")
        elif "OCO1" in script.kinds():
            script.refuse(Why.PRICE_RELATION, "OCO1")
        else:
            script.sleep()
    assert script.named() == "Closing"
    assert script.now - begun <= script.policy.failsafe_grace_ms + 1_000
    assert len([r for r in script.sent if isinstance(r, QueryQuote)]) <= 12


def test_while_an_exit_is_being_cancelled_no_balance_is_asked_for() -> None:
    """What it sells meanwhile is not missing, and the answer would say nothing: it was asked for at network's pace."""
    script = protected()
    script.vanish(Role.SL)
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    target = script.order(Role.TP1).id
    script.quote("97", after=1_000)
    while "CancelList" not in script.kinds():
        script.pending = [r for r in script.pending if not isinstance(r, QueryBalances)]
        script.wait(3_000)
    script.sent.clear()
    for _ in range(20):
        script.feed(QuoteSeen(at=script.now, quote=make_quote(97, script.now)))
        script.wait(50)
    assert not [r for r in script.sent if isinstance(r, QueryBalances)]
    script.accept("CancelList")
    assert next(o for o in script.position.orders if o.id == target).end is not None


def test_a_close_does_not_wait_for_ever_for_a_balance_that_cannot_be_read() -> None:
    """Rules 8.7, 10.6: refused for lack of balance, and then neither orders nor the account can be read."""
    script = closing()
    while "FLATTEN" not in script.kinds():
        script.accept()
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    refused = script.now
    while "FLATTEN" not in script.kinds():
        while script.kinds():
            script.lose()
        script.sleep()
        assert script.now <= refused + 2 * script.policy.failsafe_grace_ms
    assert len(script.sent) < 100
    script.balances["LTC"] = Balance(D(0))
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN


def test_an_order_that_was_told_of_by_a_list_of_before_its_sending_is_not_missing() -> None:
    script = protected()
    seq = 0
    script.feed(OpenOrdersSeen(at=script.now, reports=(), asked_at=script.now - 20_000, seq=seq))
    assert not any(o.check for o in script.position.orders)
    assert script.order(Role.SL).status is OrderStatus.NEW


def test_a_debt_that_another_symbol_s_loan_holds_up_is_read_with_growing_pauses() -> None:
    """Rules 8.7, 11.3: on the cross account, theirs may be in doubt for minutes, or for ever."""
    script = repaying()
    script.lender.unsettled = True
    begun, times = script.now, []
    while script.now < begun + 300_000:
        if script.pending:
            times.append(script.now)
            script.accept()
        else:
            script.sleep()
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[1] == LOOK_AGAIN_MS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LOOK_AGAIN_MAX_MS
    assert len(times) < 120
    script.lender.unsettled = False
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    assert script.lender.debt("USDT").total == D(0)
