from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, entering, protected, unprotected

from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import ReplaceOrder
from executor.core.model.policy import Layout
from executor.core.model.state import Closing, End, OrderPhase, Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


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


def beside_a_target_at_work(grace: int = 10_000) -> Script:
    """TP1 is half filled for a minute (5.6). The exchange has ended leg 3's stop; the one in its place is refused."""
    script = protected(policy=replace(POLICY, failsafe_grace_ms=grace, failsafe_tries=9))
    script.fill(Role.TP1, "0.5")
    script.wait(60_000)
    script.vanish(Role.SL, OrderStatus.EXPIRED)
    script.refuse(Why.AUTH, "SL")
    return script


def test_what_is_bare_beside_a_target_at_work_is_not_held_against_another_leg() -> None:
    """Rules 4.7, 5.6: each leg has its own grace."""
    script = beside_a_target_at_work()
    assert not isinstance(script.phase, Closing)
    assert "failsafe" not in script.told()
    script.wait(1_000)
    script.accept("SL")
    assert script.live() == ["SL", "SL2", "TP1", "TP2"]


def test_a_leg_s_own_grace_ends_all_the_same() -> None:
    script = beside_a_target_at_work(grace=1_500)
    script.wait(1_000)
    script.refuse(Why.AUTH, "SL")
    assert not isinstance(script.phase, Closing)
    script.wait(499)
    assert not isinstance(script.phase, Closing)
    script.wait(1)
    script.settle()
    assert script.closed.reason is Reason.FAILSAFE
    assert any("1.5 s without a stop" in note.text for note in script.notes)


def test_a_small_part_of_an_entry_that_was_watched_is_not_held_against_its_exits() -> None:
    """Rules 3.5, 4.7."""
    script = entering(policy=replace(POLICY, entry_timeout_ms=600_000))
    script.fill(Role.ENTRY, "0.01")
    script.wait(60_000)
    script.fill(Role.ENTRY)
    bare(script).refuse(Why.AUTH, "SL")
    assert not isinstance(script.phase, Closing)
    script.wait(1_000)
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


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


@both_sides
@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_target_that_was_refused_long_ago_is_not_held_against_the_stop_of_the_whole(
    cancelled_first: bool, direction: Direction
) -> None:
    """Rules 4.3, 4.7: PLAIN's second target came through at the sixth try; the stop is replaced as the first fills."""
    script = unprotected(direction, PLAIN)
    script.accept("SL")
    script.accept("TP1")
    for _ in range(POLICY.failsafe_tries):
        script.refuse(Why.FILTER, "TP2")
        script.wait(script.leg(2).retry_at - script.now)
    script.wait(60_000)
    script.settle()
    assert script.live() == ["SL", "TP1", "TP2"]
    assert script.leg(2).tries == 0
    script.fill(Role.TP1)
    request = next(r for r in script.pending if isinstance(r, ReplaceOrder))
    script.exchange_takes(request)
    for client_id in (request.cancel_id, request.order.id)[:: 1 if cancelled_first else -1]:
        script.push(client_id)
    script.settle()
    assert script.named() == "Protected"
    assert script.live() == ["SL", "TP2"]
    assert "failsafe" not in script.told()


def test_a_target_that_is_still_refused_is_not_held_against_the_stop_of_the_whole() -> None:
    """Rule 4.3: the stop is in doubt for longer than the grace, and watched by software."""
    script = unprotected(policy=PLAIN)
    script.accept("SL")
    script.refuse(Why.FILTER, "TP2")
    script.wait(60_000)
    stop = script.order(Role.SL)
    script.refuse(Why.FILTER, "TP2")
    script.lose("TP1")
    script.vanish(Role.SL)
    script.lose("SL")
    script.wait(POLICY.failsafe_grace_ms)
    assert not script.order(Role.SL).exchange_id
    assert stop.id != script.order(Role.SL).id
    assert script.leg(2).tries == 2
    assert script.named() == "Unprotected"
    assert "failsafe" not in script.told()


@both_sides
def test_exits_are_tried_again_after_a_restart_before_the_failsafe_sells(direction: Direction) -> None:
    """Rules 4.7, 9.1: one refusal, a minute out of service; the grace is for trying."""
    script = bare(unprotected(direction))
    script.refuse(Why.AUTH, "SL")
    bare_at = script.position.exposure.since
    script.now += 60_000
    script.restart()
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert "failsafe" not in script.told()
    assert script.position.exposure.total == script.now - bare_at


@pytest.mark.parametrize("tries", [1, 4])
def test_after_a_restart_the_grace_and_the_tries_that_are_left_come_to_their_end(tries: int) -> None:
    """Rule 4.7: tries are counted on."""
    script = bare(unprotected())
    for _ in range(tries - 1):
        script.refuse(Why.AUTH, "SL")
        script.wait(1_000)
    script.refuse(Why.AUTH, "SL")
    script.now += 60_000
    script.restart()
    started = script.now
    while script.named() == "Unprotected":
        if "SL" in script.kinds():
            script.refuse(Why.AUTH, "SL")
        elif script.pending:
            script.accept()
        else:
            script.sleep()
    assert script.now - started == {1: 3_000, 4: 0}[tries]
    assert "failsafe" in script.told()


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


@pytest.mark.parametrize("why", [Why.NOT_SENT, Why.RATE_LIMIT])
def test_a_buyback_that_nothing_was_said_of_is_sent_again_at_its_pace(why: Why) -> None:
    """Rules 6.3, 8.7: not for ever."""
    script = oversold()
    script.quote("100")
    for _ in range(POLICY.failsafe_tries - 1):
        script.refuse(why, "BUYBACK")
        script.wait(999)
        assert script.kinds() == []
        script.wait(1)
        assert script.kinds() == ["BUYBACK"]
    assert script.told().count("oversold") == 1
    assert script.live() == ["BUYBACK", "SL1", "SL2", "TP1", "TP2"]
    script.refuse(why, "BUYBACK")
    assert "buyback_failed" in script.told()
    script.settle()
    assert script.closed.reason is Reason.FAILSAFE


def test_a_buyback_that_found_nobody_is_sent_again() -> None:
    script = oversold()
    script.answer_with(OrderStatus.EXPIRED, "BUYBACK")
    script.wait(1_000)
    script.accept("BUYBACK")
    assert script.live() == ["SL1", "SL2", "TP1", "TP2"]
    assert "buyback_failed" not in script.told()


def test_a_buyback_that_never_was_is_sent_again() -> None:
    """Rule 8.3: once that is proven; the price is far from any stop meanwhile."""
    script = oversold()
    script.lose("BUYBACK")
    script.quote("100")
    while len(script.orders(Role.BUYBACK)) == 1:
        script.accept() if script.pending else script.sleep()
    assert script.orders(Role.BUYBACK)[0].end is End.NEVER
    script.settle()
    assert script.live() == ["SL1", "SL2", "TP1", "TP2"]
    assert not {"buyback_failed", "failsafe"} & set(script.told())


def test_beside_a_buyback_in_doubt_the_stops_are_watched_and_what_is_held_is_sold() -> None:
    """Rules 6.4, 10.6."""
    script = oversold()
    script.lose("BUYBACK")
    script.settle()
    watched = script.now
    script.quote("97.5")
    while not any(order.leg == 0 for order in script.orders(Role.FLATTEN)):
        script.accept() if script.pending else script.quote("97.5", after=250)
    assert script.now - watched <= POLICY.watchdog_grace_ms
    assert script.order(Role.BUYBACK).phase is OrderPhase.UNRESOLVED
    assert script.order(Role.FLATTEN).qty == D("0.999")
    script.to_the_end()
    assert script.closed.reason is Reason.SL
    assert abs(script.closed.dust) <= D("0.003")


@pytest.mark.parametrize("answer", ["lost", "late"])
def test_beside_a_buyback_that_takes_long_what_is_there_is_tended(answer: str) -> None:
    """Rules 8.2, 10.1: the first target has filled, the second leg was sold twice. The last one's stop is for what is
    there, and for the whole leg again once that was bought back.
    """
    script = protected(policy=replace(POLICY, split=(D(1), D(1), D(4))))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.quote("100.3", after=100)
    first = script.order(Role.SL2)
    script.vanish(Role.SL2)
    script.refuse(Why.WOULD_TRIGGER, "OCO2")
    script.accept("FLATTEN")
    script.execute(first.id)
    script.push(first.id)
    assert script.kinds() == ["BUYBACK"]
    if answer == "lost":
        script.lose("BUYBACK")
    else:
        script.wait(999)
        assert script.kinds() == ["BUYBACK"]
        script.wait(1)
    script.accept("replace SL")
    assert script.order(Role.SL).qty == D("1.5")
    while script.order(Role.BUYBACK).end is not End.FILLED:
        script.accept() if script.pending else script.sleep()
    script.settle()
    assert script.order(Role.SL).qty == D("1.998")  # the buy-back's commission is paid in base
    assert script.live() == ["SL"]
    assert script.named() == "Protected"
