"""Tend a leg with only a stop: the trailing leg, PLAIN's stop of the whole, the interim stop (rules 3.5, 4.2, 4.3)."""

from msgspec.structs import replace

from executor.core.book.edit import the_leg
from executor.core.decide import stops
from executor.core.decide.draft import Draft
from executor.core.decide.legs import may_place, sell_at_market, standing, surplus
from executor.core.decide.reasons import stop_reason
from executor.core.decide.vanished import put_back
from executor.core.model.state import Leg


def tend(draft: Draft, leg: Leg) -> None:
    stop = leg.stop or draft.position.plan.stop
    left = draft.left(leg)
    live = standing(draft, leg, left)
    if live is None:
        return
    if left <= 0:
        draft.dismiss(live)
        return
    if surplus(draft, live):
        return
    leave = leg.leave or stops.watch(draft, leg, live)
    if leave is not None:
        if leg.n == 0:
            leave_whole(draft, leg)
        else:
            sell_at_market(draft, leg, leave, live, left)
        return
    if live:
        stops.move_single(draft, leg, stop, live[-1], left)
        return
    if not may_place(draft, leg):
        return
    leg = the_leg(draft.position, leg.n)
    left = draft.left(leg)
    level = stops.wanted(draft, leg, stop)
    limit = draft.stop_limit(level)
    if draft.rules.carries(left, min(level, limit)) and put_back(draft, leg):
        if level != stop:
            draft.put_leg(replace(the_leg(draft.position, leg.n), moved_at=draft.now))
        draft.place(stops.stop_order(draft, leg, left, level))


def leave_whole(draft: Draft, leg: Leg) -> None:
    """PLAIN's stop, or the interim one, has failed: everything of the trade is cancelled, an entry with it, then what
    is held is sold. An entry that is in doubt or can't be cancelled keeps nothing from being sold (rules 3.5, 6.5).
    """
    draft.close(stop_reason(draft, leg.watched, trailing=draft.position.trail is not None))
