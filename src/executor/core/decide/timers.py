"""When the passing of time alone changes a decision: the service sleeps until then, the simulation jumps there."""

from collections.abc import Iterator
from typing import Final

from executor.core.book.edit import find_leg
from executor.core.book.ledger import held_since
from executor.core.decide.closing import fees_due_until, price_again_at
from executor.core.decide.doubt import ANSWER_MS, unanswered_at
from executor.core.decide.legs import BACKOFF_TIMES
from executor.core.decide.missing import look_again_at
from executor.core.decide.sent_again import placed_by
from executor.core.decide.stops import KLINES_EVERY_MS, RESEND_MS, RESIZE_EVERY_MS, move_again_at
from executor.core.model.orders import ask_until, cancel_again_at, sell_again_at
from executor.core.model.policy import Policy
from executor.core.model.state import (
    Borrowing,
    Closing,
    End,
    Entering,
    Leg,
    Market,
    Order,
    OrderPhase,
    Position,
    Repaying,
    State,
    Unprotected,
)
from executor.core.model.values import OrderType

_MARKET: Final = OrderType.MARKET  # to look up a member of an enum takes ten times as long
_SUBMITTED: Final = OrderPhase.SUBMITTED
_UNRESOLVED: Final = OrderPhase.UNRESOLVED


def next_timer(state: State, policy: Policy) -> int | None:
    """The earliest time (ms) after now at which a deadline, a retry or a grace period runs out; None = only events
    matter.
    """
    position, quiet, now = state.position, state.market.quiet, state.market.now
    if quiet is not None and position is not None:
        return quiet.until or None
    due = [t for t in (*_of_loans(state), *_of_answers(state)) if t > now]
    if position is not None and (own := next_due(position, state.market, policy)) is not None:
        due.append(own)
    return min(due, default=None)


def _of_loans(state: State) -> Iterator[int]:
    loan, work = state.loan, state.repaying
    if loan is not None and loan.open:
        yield loan.ask_at
    if work is not None:
        yield work.ask_at
    if state.position is None:
        yield state.market.ask_at


def _of_answers(state: State) -> Iterator[int]:
    """A close waits no longer than that for any of them."""
    if state.position is not None and isinstance(state.position.phase, Closing):
        for owed in state.outbox:
            yield owed.at + ANSWER_MS


def next_due(position: Position, market: Market, policy: Policy) -> int | None:
    """As `next_timer`, from the times themselves: what the last decision has said of its quiet is not asked."""
    times = _of_phase(position, policy)
    for order in position.orders:
        if order.live:
            _of_live(times, order, policy, market.ahead_at)
        elif order.type is _MARKET and order.end is not End.FILLED:  # it came to nothing, or not to all: another comes
            again = _sold_again(position, order)
            times += order.ask_at, sell_again_at(order, 0, policy), sell_again_at(order, again, policy)
            times.append(ask_until(order, policy))
        elif order.ask_at:
            times.append(order.ask_at)
    for leg in position.legs:
        _of_leg(times, leg, policy)
    return min([t for t in times if t > market.now], default=None)


def _sold_again(position: Position, order: Order) -> int:
    """How often a market order was sent in the place of one like `order`."""
    phase, leg = position.phase, find_leg(position, order.leg)
    if order.leg:
        return leg.empty if leg is not None else 0
    return phase.again if isinstance(phase, Closing) else 0


def _of_phase(position: Position, policy: Policy) -> list[int]:
    phase = position.phase
    times = [position.ask_at, look_again_at(position, policy)]
    if isinstance(phase, Entering | Borrowing):
        times += phase.give_up_at, phase.retry_at
    elif isinstance(phase, Repaying):
        times.append(phase.work.ask_at)
    elif isinstance(phase, Unprotected):
        times.append(phase.deadline)
    elif isinstance(phase, Closing):
        times += price_again_at(phase), fees_due_until(position, phase)
    if position.trail is not None and position.trail.klines_at:
        times.append(position.trail.klines_at + KLINES_EVERY_MS)
    if position.exposure.since:
        times.append(max(position.exposure.since, position.alerted_at) + policy.failsafe_grace_ms)
    if policy.max_hold_ms:
        times.append(held_since(position) + policy.max_hold_ms)
    return times


def _of_live(times: list[int], order: Order, policy: Policy, ahead_at: int) -> None:
    times.append(order.ask_at)
    if order.cancelling:
        times.append(cancel_again_at(order))
    if order.triggered_at:
        times.append(order.triggered_at + policy.watchdog_grace_ms)
    if order.phase is _SUBMITTED:
        times.append(unanswered_at(order))
    elif order.phase is _UNRESOLVED:
        times.append(placed_by(order, policy, ahead_at))
        if order.replaces:
            times += [order.sent_at + pause for pause in RESEND_MS]
    if order.is_stop and not order.awaits:
        times.append(order.sent_at + RESIZE_EVERY_MS)
    if order.is_entry and order.list_id and order.cum_qty:
        times.append(order.heard_at + policy.bracket_part_ms)


def _of_leg(times: list[int], leg: Leg, policy: Policy) -> None:
    again = leg.retry_at + BACKOFF_TIMES * policy.exits_retry_ms
    times += leg.retry_at, leg.back_at, again, move_again_at(leg, policy)
    if leg.puzzled_at:
        times.append(leg.puzzled_at + policy.quote_max_age_ms)
    if leg.poor:
        times.append(leg.refused_at + policy.quote_max_age_ms)
    if leg.breach_since:
        times.append(leg.breach_since + policy.watchdog_grace_ms)
    if leg.moved_at:
        times.append(leg.moved_at + policy.trail_every_ms)
