"""Each check finds what it is for: a sound state is bent, and the sentence names what was bent."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, Script, entering, protected, unprotected

from executor.core.book.edit import with_leg, with_order
from executor.core.guard import advance
from executor.core.invariants import unsound, violations
from executor.core.model.events import Started
from executor.core.model.ids import Role
from executor.core.model.intents import CancelOrder, QueryQuote
from executor.core.model.policy import Layout
from executor.core.model.state import End, OrderPhase, Owed, Phase, Position, Protected, State, Unprotected
from executor.core.transition import empty

D = Decimal


def found(script: Script, position: Position) -> list[str]:
    return violations(script.state, replace(script.state, position=position), script.policy, RULES)


def bent(script: Script, role: Role, **changes: object) -> str:
    """The only violation of the state in which the newest order of that role is changed so."""
    (sentence,) = found(script, with_order(script.position, replace(script.order(role), **changes)))
    return sentence


def with_phase(script: Script, phase: Phase) -> list[str]:
    return found(script, replace(script.position, phase=phase))


def test_sound_states_break_nothing() -> None:
    for make in (entering, unprotected, protected):
        script = make()
        assert found(script, script.position) == []


def test_without_a_trade_no_command_is_owed() -> None:
    """Rule 10.3."""
    flat = empty("LTCUSDT")
    read = replace(flat, outbox=(Owed(0, QueryQuote(seq=1)),))
    command = replace(flat, outbox=(Owed(0, CancelOrder(seq=1, id="EX_1_SL_1")),))
    assert violations(flat, read, POLICY, RULES) == []
    assert violations(flat, command, POLICY, RULES)[0].startswith("10.3: no trade is open")


def test_no_more_may_be_sold_than_is_held() -> None:
    """Rule 10.1."""
    assert bent(protected(), Role.SL, qty=D(2)) == "10.1: 3.998 could be sold, 2.997 are held"
    plain = protected(policy=replace(POLICY, layout=Layout.PLAIN))
    assert bent(plain, Role.TP1, qty=D(3)) == "10.1: 3.999 could be sold beside the stop, 2.997 are held"


@pytest.mark.parametrize("now", [Layout.OCO, Layout.BRACKET])
def test_exits_are_judged_by_how_they_were_laid_out_whatever_is_set_by_now(now: Layout) -> None:
    """Rules 4.3, 10.1: EXIT_LAYOUT was changed with the trade open."""
    plain = protected(policy=replace(POLICY, layout=Layout.PLAIN))
    started = Started(at=plain.now + 1_000, fence=plain.now + 6_000)
    step = advance(plain.state, started, replace(POLICY, layout=now), RULES)
    assert step.state.halted == ""
    assert unsound(plain.state, replace(POLICY, layout=now), RULES) == []
    paired = protected()
    stop = replace(paired.order(Role.SL), leg=0, qty=D(2))
    state = replace(paired.state, position=with_order(paired.position, stop))
    (broken,) = unsound(state, replace(POLICY, layout=Layout.PLAIN), RULES)
    assert broken == "10.1: 3.998 could be sold, 2.997 are held"


def test_two_that_the_lock_keeps_apart_count_once_whatever_was_kept_apart_before() -> None:
    """Rule 8.3b: an earlier one for more than is left, which never arrived, is none of the two, and sells nothing."""
    script = protected()
    second = replace(script.order(Role.SL), id=f"EX_{script.position.trade}_SL_99")
    first = replace(script.order(Role.SL), phase=OrderPhase.UNRESOLVED, apart=True)
    both = with_order(script.position, first)
    both = replace(both, orders=(*both.orders, second))
    assert not any("10.1" in sentence for sentence in found(script, both))
    ended = {"phase": OrderPhase.CLOSED, "end": End.NEVER, "apart": True, "qty": D("2.997")}
    earlier = replace(first, id=f"EX_{script.position.trade}_SL_98", **ended)
    all_three = replace(both, orders=(earlier, *both.orders))
    assert not any("10.1" in sentence for sentence in found(script, all_three))
    beyond = replace(both, orders=(*both.orders, replace(second, qty=D(2), id=f"EX_{script.position.trade}_SL_97")))
    assert any("10.1" in sentence for sentence in found(script, beyond))


def test_bare_quantity_is_counted_and_named() -> None:
    """Rule 10.2."""
    script = protected()
    bare = with_order(script.position, replace(script.order(Role.SL), phase=OrderPhase.CLOSED, end=End.EXPIRED))
    assert found(script, bare) == [
        "10.2: 0.999 are bare and nobody counts the time",
        "10.2: called protected, but 0.999 are bare",
    ]
    assert with_phase(script, Unprotected(since=1, deadline=2)) == [
        "10.2: called unprotected, but everything is covered"
    ]


def test_what_was_told_with_an_exit_s_end_excuses_no_exit_in_its_place() -> None:
    """Rules 5.1, 10.1: only what was told after that was sent does, as nobody could know it. In one and the same
    millisecond it was, where the end had been told before.
    """
    script = protected()
    stop = script.order(Role.SL)
    sent = replace(stop, id=f"EX_{script.position.trade}_SL_99", sent_at=stop.sent_at + 500)
    ended = replace(stop, phase=OrderPhase.CLOSED, end=End.CANCELED, cancelling=True, cum_qty=D("0.3"), fills=())

    def told(at: int, closed_at: int) -> list[str]:
        both = with_order(script.position, replace(ended, heard_at=at, closed_at=closed_at))
        return [s for s in found(script, replace(both, orders=(*both.orders, sent))) if s.startswith("10.1")]

    assert told(sent.sent_at, sent.sent_at) == ["10.1: 2.997 could be sold, 2.697 are held"]
    assert told(sent.sent_at, sent.sent_at - 20) == []
    assert told(sent.sent_at + 1, sent.sent_at) == []


def test_what_a_stop_sold_while_it_was_being_replaced_excuses_only_as_much() -> None:
    """Rules 5.5, 10.1: it is told after the new one was sent, too, and counts once."""
    script = protected()
    stop = script.order(Role.SL)
    ended = replace(stop, phase=OrderPhase.CLOSED, end=End.CANCELED, cancelling=True, cum_qty=D("0.3"), fills=())
    ended = replace(ended, heard_at=stop.sent_at + 501)
    position = with_order(script.position, ended)

    def replaced_by(qty: Decimal) -> list[str]:
        sent = {"sent_at": stop.sent_at + 500, "replaces": stop.id, "qty": qty}
        new = replace(stop, id=f"EX_{position.trade}_SL_99", **sent)
        return [s for s in found(script, replace(position, orders=(*position.orders, new))) if s.startswith("10.1")]

    assert replaced_by(stop.qty) == []
    assert replaced_by(stop.qty + D("0.001")) == ["10.1: 2.698 could be sold, 2.697 are held"]


def test_a_leg_without_stop_and_target_is_watched_by_nobody() -> None:
    script = protected()
    stop = replace(script.order(Role.SL), phase=OrderPhase.CLOSED, end=End.EXPIRED)
    position = with_order(script.position, stop)
    position = with_leg(position, replace(script.leg(3), stop=None))
    position = replace(position, phase=Unprotected(since=1, deadline=2), exposure=replace(position.exposure, since=1))
    assert found(script, position) == ["10.2: legs [3] have neither stop nor target nor watch"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cum_qty": D(-1)}, "-1 filled of 0.999"),
        ({"phase": OrderPhase.SUBMITTED}, "is called submitted, but nothing is owed for it"),
        ({"end": End.EXPIRED}, "working with end expired"),
        ({"price": D("97.901")}, "price 97.901 is not a multiple of the tick 0.01"),
        ({"stop_price": D("-1")}, "price -1 is below the minimum 0.01"),
    ],
)
def test_an_order_is_well_formed(changes: dict[str, object], sentence: str) -> None:
    script = protected()
    sentences = found(script, with_order(script.position, replace(script.order(Role.SL), **changes)))
    assert any(sentence in s for s in sentences), sentences


def test_quantities_are_in_steps_and_a_filled_order_has_nothing_left() -> None:
    script = protected()
    sentences = found(script, with_order(script.position, replace(script.order(Role.SL), qty=D("0.0005"))))
    assert any("is not in steps of 0.001" in s for s in sentences)
    ended = replace(script.order(Role.SL), phase=OrderPhase.CLOSED, end=End.FILLED)
    assert any("is called filled with 0.999 left" in s for s in found(script, with_order(script.position, ended)))


def test_every_order_has_a_fresh_id_of_its_trade() -> None:
    script = protected()
    position = script.position
    twice = replace(position, orders=(*position.orders, position.orders[0]))
    assert any("is not a fresh id" in s for s in found(script, twice))
    other = replace(position, orders=(*position.orders, replace(position.orders[0], id="EX_1_ENTRY_0")))
    assert any("EX_1_ENTRY_0 is not a fresh id" in s for s in found(script, other))


def test_never_more_is_bought_than_planned_and_only_while_entering() -> None:
    """Rule 2.3."""
    script = entering()
    entry = script.order(Role.ENTRY)
    second = replace(entry, id=f"EX_{script.position.trade}_PLANB_9", role=Role.PLANB)
    doubled = replace(script.position, orders=(entry, second))
    assert found(script, doubled) == ["2.3: 6 could be entered, 3 were planned", "2.3: 2 entry orders are live"]
    assert "2.3: the entry is called complete, but an entry order is live" in with_phase(script, Protected())
    back = replace(second, back=True)
    assert found(script, replace(doubled, orders=(entry, back))) == found(script, doubled)
    assert found(script, replace(doubled, orders=(entry, replace(back, cancelling=True)))) == []
    late = replace(doubled, orders=(replace(entry, phase=OrderPhase.CLOSED, end=End.CANCELED), back), phase=Protected())
    assert found(script, late) == []


def test_the_stop_never_moves_against_the_position() -> None:
    """Rule 10.4."""
    script = protected()
    back = with_leg(script.position, replace(script.leg(3), stop=D(97)))
    assert found(script, back) == ["10.4: leg 3: stop moved from 98 to 97"]
    new = replace(script.position, legs=(*script.position.legs, replace(script.leg(3), n=4)))
    assert not any("10.4" in s for s in found(script, new))


def test_what_is_known_is_never_forgotten() -> None:
    """Rule 5.1."""
    script = protected()
    position = script.position
    fewer = replace(position, orders=position.orders[1:])
    assert any("was forgotten" in s for s in found(script, fewer))
    entry = script.order(Role.ENTRY)
    less = with_order(position, replace(entry, cum_qty=D("2.9"), fills=()))
    assert any("filled 2.9 after 3" in s for s in found(script, less))
    alive = with_order(position, replace(entry, phase=OrderPhase.WORKING, end=None))
    assert any("came back to life" in s for s in found(script, alive))


@pytest.mark.parametrize("end", [End.NEVER, End.GONE])
def test_an_order_believed_gone_may_come_back(end: End) -> None:
    script = protected()
    stop = script.order(Role.SL)
    before = with_order(script.position, replace(stop, phase=OrderPhase.CLOSED, end=end))
    states: tuple[State, State] = (replace(script.state, position=before), script.state)
    assert violations(*states, script.policy, RULES) == []


def test_a_state_of_another_trade_is_not_compared() -> None:
    script = protected()
    other = replace(script.state, position=replace(script.position, trade="1"))
    assert violations(other, script.state, script.policy, RULES) == []
