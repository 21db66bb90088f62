from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import POLICY, RULES, START, closing, entering, protected, unprotected

from executor.core.model.events import Tick, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.state import Protected, Unprotected
from executor.core.transition import empty, transition

D = Decimal


def test_the_same_state_and_event_always_give_the_same_step() -> None:
    state, event = unprotected().state, Tick(at=START + 1)
    assert transition(state, event, POLICY, RULES) == transition(state, event, POLICY, RULES)


def test_time_never_runs_backwards() -> None:
    state = transition(empty("LTCUSDT"), Tick(at=START), POLICY, RULES).state
    assert transition(state, Tick(at=START - 5), POLICY, RULES).state.market.now == START


def test_a_position_is_named_by_whether_it_is_covered() -> None:
    script = unprotected()
    assert script.named() == "Unprotected"
    script.settle()
    assert script.named() == "Protected"
    script.wait(1_000)
    script.vanish(Role.SL)
    assert script.named() == "Unprotected"
    assert script.position.exposure.since == START + 1_000


def test_a_position_that_stays_bare_is_never_silent() -> None:
    """Rule 10.2."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    script.settle()
    for alerts in (1, 2):
        script.wait(POLICY.failsafe_grace_ms // 2)
        script.wait(POLICY.failsafe_grace_ms // 2)
        assert script.told().count("unprotected") == alerts
    said = [n.text for n in script.notes if n.event == "unprotected"]
    in_doubt = script.order(Role.SL).id
    assert said[0] == (
        "0.999 LTC without a stop on the exchange for 10.0 s; the price is watched; what "
        f"{in_doubt} may sell waits until it is known what became of it"
    )


def test_a_close_that_waits_for_a_doubt_says_so() -> None:
    """Rules 8.3, 10.2: what no other order may sell is sold by then."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    script.command(Verb.FLATTEN)
    script.settle()
    script.wait(POLICY.failsafe_grace_ms)
    (said,) = [n.text for n in script.notes if n.event == "unprotected"]
    assert said.startswith("0.999 LTC without a stop on the exchange for 10.0 s; it is being closed; what ")
    assert script.order(Role.SL).id in said


def test_a_closed_trade_frees_the_slot_and_starts_its_cooldown() -> None:
    """Rules 7.1, 7.3."""
    script = closing()
    script.settle()
    assert script.state.position is None
    assert script.state.outbox == ()
    assert script.state.cooldown_until == script.now + POLICY.cooldown_ms
    assert script.state.day.pnl == script.closed.pnl != 0
    assert script.told()[-1] == "trade_closed"


def test_an_aborted_entry_has_a_cooldown_of_its_own() -> None:
    """Rule 7.3."""
    script = entering()
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    assert script.state.cooldown_until == script.now + POLICY.cooldown_abort_ms
    assert script.state.day.pnl == 0


def test_a_signal_may_follow_its_cooldown() -> None:
    script = closing()
    script.settle()
    script.now = script.state.cooldown_until
    script.signal()
    assert script.position.trade == str(script.now)


def test_a_failsafe_without_flatten_keeps_the_position() -> None:
    script = unprotected(policy=replace(POLICY, failsafe_flatten=False, failsafe_tries=1))
    script.refuse(Why.FILTER, "SL")
    assert script.state.halted
    assert isinstance(script.phase, Unprotected)


def test_a_trade_of_one_leg_is_protected_by_its_pair() -> None:
    script = protected(policy=replace(POLICY, split=(D(1), D(0), D(0))))
    assert script.live() == ["SL1", "TP1"]
    assert script.phase == Protected()
