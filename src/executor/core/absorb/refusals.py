"""What a refused placement teaches, whether its answer tells of it, a push, or both (rules 4.6, 4.7, 5.5)."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from executor.core.book import levels
from executor.core.book.edit import find_leg, find_order, the_order, with_leg
from executor.core.model.facts import PASSING, POVERTY, Outcome, Refused, Why
from executor.core.model.orders import exits_again_after
from executor.core.model.policy import Policy
from executor.core.model.state import End, Entering, Leave, Leg, Order, Position

_NOT_COUNTED: Final = PASSING | {Why.MARKET_CLOSED}
"""Refusals that say nothing against an exit: a market that is closed takes none (rule 6.8)."""
_OF_PRICES: Final = frozenset({Why.WOULD_TRIGGER, Why.WOULD_MATCH, Why.PRICE_RELATION})


def learn(
    position: Position,
    sent: Sequence[Order],
    refused: Refused,
    now: int,
    policy: Policy,
    *,
    pushed: bool = False,
    counted: bool = False,
) -> Position:
    """`position` after the refusal of `sent`, the orders of one request. `pushed`: its answer is still to come;
    `counted`: it was heard of before, and only its reason is new.
    """
    phase = position.phase
    leg = find_leg(position, sent[0].leg)
    if any(order.is_entry for order in sent):
        if isinstance(phase, Entering):
            later = max(phase.retry_at, retry_at(refused, now, policy))
            position = replace(position, phase=replace(phase, retry_at=later))
        return position
    if leg is None:
        return position
    stop = next((o.stop_price for o in sent if o.stop_price is not None), None)
    moved = stop is not None and leg.stop is not None and levels.is_safer(stop, leg.stop, position.plan.direction)
    learned = _leg_refused(leg, refused, now, policy, moved=moved, counted=counted)
    if refused.why in PASSING:
        return with_leg(position, learned)
    replaced = sent[0].replaces
    if (replaced or moved) and not pushed:
        leg, learned = _move_refused(leg, refused), _move_refused(learned, refused)
    if counted and refused.why is Why.OTHER:
        return with_leg(position, leg)  # nothing that the push has not told
    if replaced:
        old = find_order(position, replaced)
        if old is not None and old.live and refused.why not in _OF_PRICES:
            return with_leg(position, leg)  # refused as a whole: the old one stands, and the leg is as it was
    if replaced or moved:
        # The old one is gone, and the new one refused: the level in force goes out at once (rule 5.5).
        learned = replace(learned, retry_at=leg.retry_at)
    return with_leg(position, learned)


def retry_at(refused: Refused, now: int, policy: Policy) -> int:
    """What was withdrawn is decided anew at once: half of recvWindow has passed since it was decided (rule 8.3d)."""
    return now if refused.why is Why.WITHDRAWN else max(now + policy.exits_retry_ms, refused.retry_at)


def not_moved(position: Position, old_id: str, cancelled: Outcome) -> Position:
    """`position` after a cancel-replace that could not cancel `old_id`. Once, it may have gone, which a look tells; one
    that stood and is not cancelled again is moved in growing pauses, and then by another way (rule 8.7).
    """
    old = the_order(position, old_id)
    leg = find_leg(position, old.leg)
    untried = [o for o in position.orders if o.replaces == old_id and o.end is End.NEVER]
    if leg is None or not isinstance(cancelled, Refused) or cancelled.why in PASSING or len(untried) < 2:
        return position
    return with_leg(position, _move_refused(leg, cancelled))


def _move_refused(leg: Leg, refused: Refused) -> Leg:
    """A move that is refused for another reason than the price is tried again in growing pauses (rule 8.7)."""
    return leg if refused.why in _OF_PRICES else replace(leg, balks=leg.balks + 1)


def _leg_refused(leg: Leg, refused: Refused, now: int, policy: Policy, *, moved: bool, counted: bool) -> Leg:
    """What a refusal teaches about a leg, whose stop was to be `moved` or not (rules 4.6, 4.7, 5.5).

    Words that are not known teach nothing: the price tells whether a side was crossed, the balance whether the base is
    there, and a look whether the order is.
    """
    if moved and refused.why not in PASSING:
        # Whatever is wrong with the wished level: the stop goes back to the level in force, at once.
        return replace(leg, moved_at=now, refused_at=now)
    if refused.why is Why.WOULD_TRIGGER:
        return replace(leg, leave=Leave.STOP)
    if refused.why is Why.WOULD_MATCH:
        return replace(leg, leave=Leave.TARGET)
    if leg.leave is None and refused.why in (Why.PRICE_RELATION, Why.OTHER):
        return replace(leg, puzzled_at=now, refused_at=now, poor=leg.poor + (refused.why is Why.OTHER and not counted))
    tries = leg.tries + (refused.why not in _NOT_COUNTED and not counted)
    slower = exits_again_after(tries, policy) if tries > policy.failsafe_tries else 0
    return replace(
        leg,
        refused_at=now,
        tries=tries,
        retry_at=max(retry_at(refused, now, policy), now + slower),
        poor=leg.poor + (refused.why in POVERTY and not counted),
    )
