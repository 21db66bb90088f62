"""When a decision may be left out: it would find nothing to do, and it is known until when and between which prices.

Most events change nothing: quotes, and reports of what is known. A decision that asked for nothing leaves behind how
far time and price may move before the next one could come out otherwise; an event within that needs none. Whoever lets
a decision depend on the time adds it to `timers`, on the price to `_prices`, on anything else of the state to
`stays_quiet`; a property holds every decision left out against the one that would have been made.
"""

from collections.abc import Iterator
from decimal import Decimal

from executor.core.decide import stops
from executor.core.decide.draft import Draft
from executor.core.decide.timers import next_due
from executor.core.model.policy import TrailMode
from executor.core.model.state import Entering, OrderPhase, Position, Protected, QuietSpan, State, Unprotected
from executor.core.model.values import ZERO


def stays_quiet(before: State, after: State) -> bool:
    """Whether the event absorbed into `after` leaves everything that the last decision looked at as it was."""
    quiet, quote = after.market.quiet, after.market.quote
    if quiet is None or after.position is not before.position or after.outbox is not before.outbox:
        return False
    if after.market.balances is not before.market.balances or after.market.klines is not before.market.klines:
        return False
    if after.market.ending is not before.market.ending:
        return False
    if after.market.margin is not before.market.margin or after.market.liquidations_at != before.market.liquidations_at:
        return False
    return (
        quote is not None
        and quiet.low < quote.last
        and (quiet.high is None or quote.last < quiet.high)
        and (not quiet.until or after.market.now < quiet.until)
    )


def quiet_span(draft: Draft) -> QuietSpan | None:
    """How far time and price may move while `draft`, which found nothing to do, stays right; None: not at all."""
    position, quote = draft.position, draft.market.quote
    if quote is None or not _calm(draft, position):
        return None
    levels = tuple(_prices(draft, position))
    low = max((price for price in levels if price <= quote.last), default=ZERO)
    high = min((price for price in levels if price >= quote.last), default=None)
    if not low < quote.last or quote.last == high:
        return None
    return QuietSpan(next_due(position, draft.market, draft.policy) or 0, low, high)


def _calm(draft: Draft, position: Position) -> bool:
    """Whether only time and the prices of `_prices` can change the decision."""
    match position.phase:
        case Protected() | Unprotected():
            pass
        case Entering():
            if not any(o.is_entry and o.phase is OrderPhase.WORKING for o in position.orders):
                return False
        case _:
            return False
    if any(leg.leave or leg.puzzled_at or leg.poor or draft.tally.oversold(leg) for leg in position.legs):
        return False
    native = draft.policy.trail_mode is TrailMode.NATIVE and stops.native_offered(draft)
    return position.trail is None or not native or _handed_over(draft, position)


def _handed_over(draft: Draft, position: Position) -> bool:
    """Whether the exchange itself trails whatever is to trail: before that, each price may be the one to begin at."""
    return all(
        any(o.trailing_delta is not None for o in draft.live(leg.n))
        for leg in position.legs
        if stops.trails(draft, leg) and draft.left(leg) > 0
    )


def _prices(draft: Draft, position: Position) -> Iterator[Decimal]:
    """Every price at which a comparison in the decision turns."""
    rules = draft.rules
    levels = [stops.breakeven(draft), position.manual_stop]
    bounds = [each for each in rules.bounds(position.plan.direction.exit_side) if each]
    for leg in position.legs:
        left = draft.left(leg)
        if left > 0:
            levels += [
                leg.target,
                leg.due,
                stops.trail_level(draft, leg),
                rules.min_notional / left,
                rules.max_notional / left,
            ]
            if leg.watched is not None:  # a list is not moved to where PERCENT_PRICE would refuse its stop
                levels += [draft.stop_limit(leg.watched) / bound for bound in bounds]
    yield from (level for level in levels if level is not None)
