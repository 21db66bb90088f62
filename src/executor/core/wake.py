"""When the passing of time alone changes a decision: the service sleeps until then, the simulation jumps there."""

from executor.core.policy import Policy
from executor.core.state import Closing, End, Entering, OrderPhase, State


def next_wake(state: State, policy: Policy) -> int | None:
    """The earliest time (ms) after now at which a deadline, a retry or a grace period runs out; None = only events matter."""
    position = state.position
    if position is None:
        return None
    now = state.market.now
    times: list[int] = []
    phase = position.phase
    if isinstance(phase, Entering):
        times += [phase.give_up_at, phase.retry_at]
    for order in position.orders:
        if order.phase is OrderPhase.UNRESOLVED or order.check or order.recheck:
            times.append(order.ask_at)
        elif order.live and order.triggered_at:
            times.append(order.triggered_at + policy.watchdog_grace_ms)
        elif order.end is End.REFUSED and isinstance(phase, Closing):
            times.append(order.closed_at + policy.exits_retry_ms)
        if order.live and order.is_stop:
            times.append(order.sent_at + 1_000)
    for leg in position.legs:
        times.append(leg.retry_at)
        if leg.breach_since:
            times.append(leg.breach_since + policy.watchdog_grace_ms)
        if leg.moved_at:
            times.append(leg.moved_at + policy.trail_every_ms)
    if position.trail is not None and position.trail.klines_at:
        times.append(position.trail.klines_at + 60_000)
    if position.exposure.since:
        times.append(max(position.exposure.since, position.alerted_at) + policy.failsafe_grace_ms)
    if policy.max_hold_ms:
        times.append(position.opened + policy.max_hold_ms)
    return min((t for t in times if t > now), default=None)
