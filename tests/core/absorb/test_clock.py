"""A clock that was ahead and is set back: no retry, no grace and no deadline waits for the time that was wrong."""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, START, Script, closing, entering, make_quote, protected, repaying, trailing

from executor.core.absorb.clock import SET_BACK_MS, moment, set_back
from executor.core.model.events import Tick, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.loans import Borrowable, LoanKind, Records
from executor.core.model.state import Borrowing, Market, Repaying, Unprotected

AHEAD = 60_000


def test_time_runs_backwards_only_where_the_clock_was_set_back_far() -> None:
    assert moment(START, START + 5, 0) == START + 5
    assert moment(START, START - 5, 0) == START
    assert moment(START, START + 9, START + 7) == START + 9
    assert moment(START, START + 7 + SET_BACK_MS, START + 7) == START + 7
    assert moment(START, START - 5, START - SET_BACK_MS + 1) == START
    assert moment(START, START - 5, START - SET_BACK_MS) == START - SET_BACK_MS


def set_right(script: Script) -> None:
    """The clock was ahead by a minute, and is set back."""
    script.now -= AHEAD
    script.feed(Tick(at=script.now))


def bare() -> Script:
    """All exits were refused for their time."""
    script = entering()
    script.fill(Role.ENTRY)
    for kind in ("OCO1", "OCO2", "SL"):
        script.refuse(Why.CLOCK, kind)
    assert not script.kinds()
    return script


def test_a_step_back_in_a_time_in_which_nothing_was_heard_is_one_too() -> None:
    """In a ban, say: time has gone on since the last event, by less than the clock was set back. Found by the
    simulation: an entry that had filled was not looked at for as long.
    """
    script = protected()
    asleep = script.order(Role.SL)
    orders = [replace(o, ask_at=script.now + 2 * AHEAD) if o.id == asleep.id else o for o in script.position.orders]
    script.state = replace(script.state, position=replace(script.position, orders=tuple(orders)))
    script.now += AHEAD // 2
    script.feed(Tick(at=script.now, ahead=-AHEAD))
    assert script.order(Role.SL).ask_at == script.now + AHEAD // 2


def test_a_step_back_that_was_noticed_is_none_once_more() -> None:
    script = protected()
    set_right(script)
    moved = script.position
    script.feed(Tick(at=script.now, ahead=-SET_BACK_MS))
    assert script.position == moved


def test_what_happened_to_orders_keeps_its_order() -> None:
    """Rule 10.1 asks whether a fill was told before the next exit was sent. What was by the time of now, or just before
    it, stays before what was to come.
    """
    script = protected()
    sent = [script.order(Role.SL), *[o for o in script.position.orders if o.role is not Role.SL]]
    times = [START + n for n in (-AHEAD, -2, 2, 20, 5_000)]
    orders = [replace(o, sent_at=at, heard_at=at + 3, closed_at=0) for o, at in zip(sent, times, strict=False)]
    position = replace(script.position, orders=tuple(orders))
    before = replace(script.state, position=position, market=replace(script.state.market, now=START + 9_000))
    after = set_back(before, START).position
    assert after is not None
    told = [at for order in after.orders for at in (order.sent_at, order.heard_at)]
    assert told[:2] == [times[0], times[0] + 3]
    assert told == sorted(set(told))
    assert told[-1] == START
    assert [order.closed_at for order in after.orders] == [0] * len(orders)


def test_exits_that_the_clock_refused_go_out_after_their_pause() -> None:
    """Rule 4.7: of a second, though it was to end a minute ahead of now."""
    script = bare()
    set_right(script)
    assert not script.kinds()
    script.wait(POLICY.exits_retry_ms)
    assert script.kinds() == ["OCO1", "OCO2", "SL"]


def test_a_bare_position_is_told_of_and_left_after_its_grace() -> None:
    script = bare()
    set_right(script)
    assert isinstance(script.phase, Unprotected)
    assert script.phase.since <= script.now
    assert script.phase.deadline <= script.now + POLICY.failsafe_grace_ms
    assert script.position.exposure.since <= script.now


def test_the_software_stop_does_not_stand_still() -> None:
    """Rule 6.4: the stop's end is told, the price is there, and then the clock is set back."""
    script = bare()
    script.quote(97)
    set_right(script)
    script.quote(97, after=POLICY.watchdog_grace_ms)
    script.quote(97)
    assert {order.role for order in script.position.orders if order.live} == {Role.FLATTEN}


def test_what_may_still_reach_the_engine_is_not_thought_gone_sooner() -> None:
    """Rule 8.3: a request's stamp is known to the exchange, whatever this clock has said since."""
    script = entering()
    script.fill(Role.ENTRY)
    script.lose("OCO1")
    fence = script.order(Role.TP1).fence
    set_right(script)
    assert script.order(Role.TP1).fence == fence > script.now
    assert script.order(Role.TP1).sent_at == script.now


def test_a_close_comes_to_its_end() -> None:
    script = closing()
    set_right(script)
    script.to_the_end()
    assert script.closed.closed <= script.now


def borrowing() -> Script:
    script = protected()
    phase = Borrowing(since=script.now, give_up_at=script.now + 5_000, retry_at=script.now + 1_000)
    script.state = replace(script.state, position=replace(script.position, phase=phase))
    return script


def told_all() -> Script:
    """On margin, with all that is asked for there."""
    script = repaying()
    market = script.state.market
    records = Records(LoanKind.REPAY, "USDT", script.now, (), unread=script.now)
    borrowable = Borrowable("USDT", Decimal(3), script.now)
    market = replace(market, quote=make_quote(100, script.now), records=records, borrowable=borrowable)
    doubted = tuple(replace(debt, doubted_at=script.now) for debt in script.state.debts)
    script.state = replace(script.state, market=market, debts=doubted)
    return script


def repaid_by_hand() -> Script:
    """What is owed is given back on the operator's word."""
    script = repaying()
    assert isinstance(script.phase, Repaying)
    script.state = replace(script.state, position=None, repaying=script.phase.work)
    return script


def times(value: object) -> list[int]:
    """All times of the trade in `value`, but those of the exchange (a request's fence and stamp) and of signals."""
    if isinstance(value, msgspec.Struct):
        names = [
            name
            for name in value.__struct_fields__
            if name not in ("fence", "request", "time", "klines", "seen", "ids", "locked_until")
        ]
        return [at for name in names for at in times(getattr(value, name))]
    if isinstance(value, list | tuple):
        return [at for each in value for at in times(each)]
    return [value] if isinstance(value, int) and abs(value - START) < 10 * AHEAD else []


@pytest.mark.parametrize("make", [entering, bare, protected, trailing, closing, borrowing, told_all, repaid_by_hand])
def test_nothing_lies_further_ahead_than_it_did_before(make: Callable[[], Script]) -> None:
    state = make().state
    wrong, right = state.market.now, state.market.now - AHEAD
    moved = set_back(state, right)
    assert moved.market.now == right
    assert max(times(moved)) - right <= max(max(times(state)) - wrong, 0)


@pytest.mark.parametrize("make", [entering, bare, protected, trailing, closing, borrowing, told_all, repaid_by_hand])
def test_a_start_by_a_clock_that_was_set_back_waits_for_nothing_of_the_life_before(make: Callable[[], Script]) -> None:
    """The state on disk does not say what time it was: what has happened in it does. Found by the simulation."""
    script = make()
    waits = max(max(times(script.state)) - script.now, 0)
    script.state = replace(script.state, market=Market())
    script.now -= AHEAD
    script.restart()
    assert max(times(script.state)) - script.now <= max(waits, POLICY.failsafe_grace_ms)


def test_a_bare_position_is_told_of_again_after_such_a_start() -> None:
    """Rule 10.2."""
    script = bare()
    assert script.wait(POLICY.failsafe_grace_ms).notes
    script.state = replace(script.state, market=Market(), outbox=())
    script.now -= AHEAD
    script.restart()
    assert script.position.alerted_at <= script.now


def test_what_was_read_before_something_has_happened_is_not_read_since() -> None:
    """Rule 11.7: a repayment was for what the account of before the last one had shown. Found by the simulation."""
    state = told_all().state
    assert state.loan is not None
    assert state.market.margin is not None
    account = replace(state.market.margin, asked_at=state.market.now - 100)
    state = replace(state, loan=replace(state.loan, closed_at=state.market.now))
    moved = set_back(replace(state, market=replace(state.market, margin=account)), state.market.now - AHEAD)
    assert moved.loan is not None
    assert moved.market.margin is not None
    assert moved.market.margin.asked_at < moved.loan.closed_at


def test_what_keeps_entries_away_stays() -> None:
    """Rule 7.3: it may have been set before the clock went wrong."""
    state = replace(protected().state, cooldown_until=START + 2 * AHEAD)
    assert set_back(state, state.market.now - AHEAD).cooldown_until == START + 2 * AHEAD


def test_a_command_is_taken_by_the_time_that_is_right() -> None:
    script = protected()
    set_right(script)
    script.command(Verb.PAUSE)
    assert script.state.paused
