"""When the passing of time alone changes a decision: the service sleeps until then, the simulation jumps there."""

from collections.abc import Iterator
from itertools import chain

from executor.core.policy import Policy
from executor.core.state import Closing, End, Entering, Leg, Order, OrderPhase, Phase, Position, State


def next_wake(state: State, policy: Policy) -> int | None:
    """The earliest time (ms) after now at which a deadline, a retry or a grace period runs out; None = only events
    matter.
    """
    position, now = state.position, state.market.now
    if position is None:
        return None
    times = chain(
        _of_phase(position, policy),
        *(_of_order(order, position.phase, policy) for order in position.orders),
        *(_of_leg(leg, policy) for leg in position.legs),
    )
    return min((t for t in times if t > now), default=None)


def _of_phase(position: Position, policy: Policy) -> Iterator[int]:
    if isinstance(position.phase, Entering):
        yield position.phase.give_up_at
        yield position.phase.retry_at
    if position.trail is not None and position.trail.klines_at:
        yield position.trail.klines_at + 60_000
    if position.exposure.since:
        yield max(position.exposure.since, position.alerted_at) + policy.failsafe_grace_ms
    if policy.max_hold_ms:
        yield position.opened + policy.max_hold_ms


def _of_order(order: Order, phase: Phase, policy: Policy) -> Iterator[int]:
    if order.phase is OrderPhase.UNRESOLVED or order.check or order.recheck:
        yield order.ask_at
    elif order.live and order.triggered_at:
        yield order.triggered_at + policy.watchdog_grace_ms
    elif order.end is End.REFUSED and isinstance(phase, Closing):
        yield order.closed_at + policy.exits_retry_ms
    if order.live and order.is_stop:
        yield order.sent_at + 1_000


def _of_leg(leg: Leg, policy: Policy) -> Iterator[int]:
    yield leg.retry_at
    if leg.breach_since:
        yield leg.breach_since + policy.watchdog_grace_ms
    if leg.moved_at:
        yield leg.moved_at + policy.trail_every_ms
