"""The one function: absorb the event, then decide what to do about the facts.

    transition(state, event, policy, rules) -> Step(state', requests, notes, verdict)

No clock, no I/O, no randomness: the same state and event always give the same step, so that a journal of events
reproduces every state bit for bit.
"""

from decimal import Decimal
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from executor.core.absorb.admit import day_at
from executor.core.absorb.fold import absorb
from executor.core.book import debt as debts
from executor.core.book.ledger import covered
from executor.core.book.summary import settle_exposure, summarize
from executor.core.decide import borrow, closing, doubt, entry, exits, failsafe, flat, lending, repay, suspended
from executor.core.decide.draft import Draft
from executor.core.decide.quiet import quiet_span, stays_quiet
from executor.core.model.events import AnyEvent
from executor.core.model.intents import Level, Notify, Request, Stamp
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import (
    Borrowing,
    Closed,
    Closing,
    Entering,
    Exposure,
    OrderPhase,
    Phase,
    Protected,
    QuietSpan,
    Reason,
    Repaying,
    State,
    Unprotected,
)
from executor.core.model.values import ZERO, short
from executor.core.model.verdict import Verdict

_TAKEN_OVER: Final = frozenset({Reason.EXTERNAL, Reason.LIQUIDATED})

Decision = tuple[State, tuple[Request, ...], tuple[Notify, ...]]


class Step(msgspec.Struct, frozen=True):
    """`requests` are owed to the exchange once `state` is on disk (rule 8.1); `notes` are for people."""

    state: State
    requests: tuple[Request, ...]
    notes: tuple[Notify, ...]
    verdict: Verdict


def transition(state: State, event: AnyEvent, policy: Policy, rules: SymbolRules, now: int = 0) -> Step:
    """`now`: the exchange's clock as it is known, in ms; 0: as late as the event. Requests are stamped with it, where
    the policy has them stamped (rule 8.3d); nothing else depends on it.
    """
    absorbed = absorb(state, event, policy, rules)
    if stays_quiet(state, absorbed.state):
        return Step(absorbed.state, (), absorbed.notes, absorbed.verdict)
    decided, requests, notes = decide(absorbed.state, policy, rules, now)
    return Step(decided, requests, (*absorbed.notes, *notes), absorbed.verdict)


def decide(state: State, policy: Policy, rules: SymbolRules, now: int = 0) -> Decision:
    """From the facts alone: the requests that are owed now; where there are none, how long that stays so."""
    position = state.position
    if position is None:
        return _decide_flat(state, policy, rules, now)
    draft = Draft(state, position, policy, rules, _stamp(state, policy, now))
    doubt.decide(draft)
    lending.look(draft)
    if state.started:
        if doubt.looking_up(draft):
            _expose(draft)
            return _with_quiet(draft.finish(), None), tuple(draft.requests), tuple(draft.notes)
        draft.state = replace(state, started=0)
        failsafe.resume(draft)
    decided: type[Phase] | None = None
    while type(draft.position.phase) is not decided:  # Entering -> open -> Closing: a decision only walks forward
        decided = type(draft.position.phase)
        reason = _decide_phase(draft, draft.position.phase)
        if reason is not None:
            return _close(draft, reason)
    if draft.position is not position:
        doubt.decide(draft)
    _expose(draft)
    after = draft.finish()
    nothing_to_do = after is state and not draft.notes
    after = _with_quiet(after, quiet_span(draft) if nothing_to_do else None)
    return after, tuple(draft.requests), tuple(draft.notes)


def _stamp(state: State, policy: Policy, now: int) -> Stamp | None:
    return Stamp(now or state.market.now, policy.recv_window_ms) if policy.recv_window_ms else None


def _decide_flat(state: State, policy: Policy, rules: SymbolRules, now: int) -> Decision:
    if state.started:
        state = replace(state, started=0)
    if flat.idle(state):
        return state, (), ()
    after, outbox = flat.decide(state, policy, rules, _stamp(state, policy, now))
    return after, tuple(outbox.requests), tuple(outbox.notes)


def _with_quiet(state: State, quiet: QuietSpan | None) -> State:
    return state if quiet == state.market.quiet else replace(state, market=replace(state.market, quiet=quiet))


def _decide_phase(draft: Draft, phase: Phase) -> Reason | None:
    """The reason of the trade's end, when it has come to it."""
    match phase:
        case Borrowing():
            borrow.decide(draft, phase)
        case Entering():
            entry.decide(draft, phase)
        case Unprotected() | Protected():
            if not suspended.waits(draft):
                exits.decide(draft)
        case Closing():
            if suspended.waits(draft):
                return None
            reason = closing.decide(draft, phase)
            if reason is None or not repay.owes(draft):
                return reason
            repay.begin(draft, reason)
        case Repaying():
            return repay.tend(draft, phase)
        case _ as unreachable:
            assert_never(unreachable)
    return None


def _expose(draft: Draft) -> None:
    """Keep the account of unprotected time, and name the phase by it (rule 1, architecture: a named state)."""
    position = draft.position
    held = draft.tally.sellable
    # What is left once a debt is being repaid is dust: no order is taken for it (rules 3.6, 11.7).
    dust = isinstance(position.phase, Repaying) and not draft.rules.market_piece(held, draft.price)
    bare = held > 0 and covered(position) < held and not dust
    exposure = position.exposure
    if bare and not exposure.since:
        exposure = Exposure(draft.now, exposure.total, exposure.longest)
    elif not bare and exposure.since:
        exposure = settle_exposure(exposure, draft.now)
    phase: Phase = position.phase
    if isinstance(phase, Unprotected | Protected):
        if not bare:
            phase = Protected()
        elif isinstance(phase, Protected):
            phase = Unprotected(since=draft.now, deadline=draft.now + draft.policy.failsafe_grace_ms)
    if exposure is not position.exposure or phase != position.phase:
        draft.update(exposure=exposure, phase=phase)
    _speak_up(draft, held)


def _speak_up(draft: Draft, held: Decimal) -> None:
    """A position that stays bare is never silent (rule 10.2): one alert when the grace is over, and one a grace
    after.
    """
    position, grace = draft.position, draft.policy.failsafe_grace_ms
    if not position.exposure.since or draft.now - max(position.exposure.since, position.alerted_at) < grace:
        return
    bare = held - covered(position)
    waited = (draft.now - position.exposure.since) / 1000
    draft.note(
        Level.ALERT,
        "unprotected",
        f"{short(bare)} {draft.rules.base} without a stop on the exchange for {waited:.1f} s; {_instead(draft)}",
    )
    draft.update(alerted_at=draft.now)


def _instead(draft: Draft) -> str:
    """What is done about it, and what is waited for."""
    if suspended.waits(draft):
        return "nothing can be sold until the symbol trades again"
    unsettled = [o.id for o in draft.live() if o.phase is not OrderPhase.WORKING]
    doubt_of = f"; what {', '.join(unsettled)} may sell waits until it is known what became of it" if unsettled else ""
    if isinstance(draft.position.phase, Closing | Repaying):
        return "it is being closed" + doubt_of
    unsold = [str(leg.n) for leg in draft.position.legs if leg.empty and draft.left(leg) > 0]
    if unsold:
        return f"market sales of leg {', '.join(unsold)} come to nothing, and go on" + doubt_of
    return "the price is watched" + doubt_of


def _close(draft: Draft, reason: Reason) -> Decision:
    """The trade is over: sum it up and free the slot (rules 7.1-7.3)."""
    policy, rules = draft.policy, draft.rules
    named = repay.named_rest(draft)
    closed = summarize(draft.position, reason, rules, draft.now, named, base_fees_leave=policy.base_fees_leave)
    state = draft.finish()
    aborted = not closed.qty
    pause = policy.cooldown_abort_ms if aborted else policy.cooldown_ms
    day = day_at(state, draft.now)
    text = f"{closed.reason}: {short(closed.pnl)} {rules.quote}, {short(closed.r)} R"
    state = replace(
        state,
        position=None,
        outbox=(),
        last_closed=closed,
        debts=named,
        cooldown_until=draft.now + pause,
        day=replace(day, pnl=day.pnl + closed.pnl) if closed.pnl != ZERO else day,
    )
    return state, (), (*draft.notes, *_left_over(draft, closed), Notify(Level.INFO, "trade_closed", text))


def _left_over(draft: Draft, closed: Closed) -> tuple[Notify, ...]:
    """What no order is taken for any more, where it is more than the dust of rounding: a filter was raised above it
    (rule 3.6). What a hand or a liquidation has taken over, or has repaid of a short's debt, was told of (rules 6.6,
    11.11); what of that debt is left has the account's own base repaid, or is owed still (11.7).
    """
    rules, credit, debt = draft.rules, draft.position.credit, debts.find(draft.state.debts, draft.rules.base)
    missing = closed.dust < 0
    left = abs(closed.dust) - (debt.by_hand if missing else ZERO)
    if closed.reason in _TAKEN_OVER or left * 100 <= closed.qty or left * draft.price < rules.min_notional:
        return ()
    what = "not bought back" if missing else "left over"
    text = f"{short(left)} {rules.base} are {what}: no order is taken for so little"
    if missing and credit is not None and credit.asset == rules.base:
        text += f"; {short(debt.own)} are owed still" if debt.own else "; the account's own has repaid the debt"
    return (Notify(Level.ALERT, "left_over", text),)


def empty(symbol: str, venue: str = "") -> State:
    """A symbol that has never traded."""
    return State(symbol=symbol, venue=venue)
