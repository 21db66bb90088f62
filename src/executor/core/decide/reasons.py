"""Why a trade ended, read from its last exit (rule 7.2)."""

from decimal import Decimal

from executor.core.book.edit import find_leg
from executor.core.book.ledger import entry_average
from executor.core.book.levels import is_safer
from executor.core.decide import stops
from executor.core.decide.draft import Draft
from executor.core.model.ids import Role
from executor.core.model.policy import TrailMode
from executor.core.model.state import Leave, Reason


def exit_reason(draft: Draft) -> Reason:
    """Why the trade ended, by its last exit (rule 7.2)."""
    position = draft.position
    filled = [o for o in position.orders if o.cum_qty and (o.is_target or o.is_stop or o.role is Role.FLATTEN)]
    if not filled:
        return Reason.EXTERNAL
    # A stop that ended a part of the trade names it, unless a target came after.
    last = max(enumerate(filled), key=lambda pair: (pair[1].closed_at or draft.now, pair[0]))[1]
    if last.is_target:
        return Reason.TP
    leg, level = find_leg(position, last.leg), last.stop_price
    if last.role is Role.FLATTEN:
        if leg is not None and leg.leave is Leave.TARGET:
            return Reason.TP
        level = leg.watched if leg is not None else None
    # Not by the order's name: a trailed stop whose next move was refused is put back under that of an ordinary one.
    trailing = leg is not None and stops.trails(draft, leg)
    return stop_reason(draft, level, trailing=trailing)


def stop_reason(draft: Draft, level: Decimal | None, *, trailing: bool) -> Reason:
    """What a stop at `level` means (rule 7.2)."""
    position = draft.position
    if trailing and position.trail is not None and level is not None:
        floor = stops.breakeven(draft) or position.plan.stop
        if is_safer(level, floor, position.plan.direction) or draft.policy.trail_mode is TrailMode.NATIVE:
            return Reason.TRAIL
    if level is None:
        return Reason.TRAIL if position.trail is not None else Reason.SL
    average = entry_average(position)
    if average is not None and position.target_hit and not is_safer(average, level, position.plan.direction):
        return Reason.BREAKEVEN
    return Reason.SL
