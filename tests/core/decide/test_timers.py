from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import POLICY, START, Script, closing, entering, protected, trailing, unprotected

from executor.core.decide.timers import next_timer
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.policy import TrailMode

D = Decimal


def test_without_a_trade_only_events_matter() -> None:
    assert Script().next_timer() is None
    assert next_timer(Script().state, POLICY) is None


def test_an_entry_wakes_for_its_timeout_and_its_next_try() -> None:
    assert entering().next_timer() == START + POLICY.entry_timeout_ms
    script = entering(working=False)
    script.refuse(Why.NOT_SENT)
    assert script.next_timer() == START + POLICY.exits_retry_ms


def test_a_quiet_trade_wakes_only_for_its_longest_time() -> None:
    script = protected()
    script.wait(1_000)
    assert script.next_timer() is None
    script = protected(policy=replace(POLICY, max_hold_ms=60_000))
    script.wait(1_000)
    assert script.next_timer() == START + 60_000


def test_a_breach_wakes_when_its_grace_is_over() -> None:
    script = protected()
    script.quote("98", after=2_000)
    assert script.next_timer() == script.now + POLICY.watchdog_grace_ms


def test_a_triggered_stop_wakes_when_its_grace_is_over() -> None:
    script = protected()
    script.wait(2_000)
    stop = script.order(Role.SL)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    assert script.next_timer() == script.now + POLICY.watchdog_grace_ms
    script.sleep()
    assert script.kinds() == ["CancelOrder"]


def test_a_bare_position_wakes_to_be_told_of() -> None:
    script = unprotected()
    assert script.next_timer() is not None
    script.wait(1_001)
    assert script.next_timer() == START + POLICY.failsafe_grace_ms


def test_a_trail_wakes_for_its_next_move_and_its_bars() -> None:
    script = trailing()
    assert script.next_timer() == script.now + 250  # the look at the other side of the second target
    script.sleep()
    script.settle()
    assert script.next_timer() == START + 2_000 + POLICY.trail_every_ms
    swings = trailing(policy=replace(POLICY, trail_mode=TrailMode.SWING))
    swings.wait(5_000)
    swings.settle()
    assert swings.position.trail is not None
    assert swings.next_timer() == swings.position.trail.klines_at + 60_000


def test_a_failed_market_order_and_a_cancel_that_did_not_take_wake_for_the_next() -> None:
    script = closing()
    for _ in range(3):
        script.accept()
    script.refuse(Why.OTHER)
    while script.pending:
        script.accept()
    assert script.next_timer() == script.now + POLICY.exits_retry_ms
    script = closing()
    script.accept("CancelList")
    script.accept("CancelList")
    script.refuse(Why.UNKNOWN_ORDER, "CancelOrder")
    script.accept()
    assert script.next_timer() == script.now + 250
