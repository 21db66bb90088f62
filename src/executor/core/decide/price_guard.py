"""Whether the price still allows an entry, or Plan B (rules 3.3, 3.3b)."""

from executor.core.book.borrowing import planb_bounds
from executor.core.book.levels import beyond, past
from executor.core.decide.draft import Draft
from executor.core.model.facts import Quote
from executor.core.model.state import Reason
from executor.core.model.values import Direction


def fresh_quote(draft: Draft, since: int) -> Quote | None:
    """The price, where it is of `since` (ms) or later and not too old to act on."""
    quote = draft.market.quote
    if quote is None or quote.at < max(since, draft.now - draft.policy.quote_max_age_ms):
        return None
    return quote


def planb_refusal(draft: Draft, quote: Quote) -> Reason | None:
    """Which bound of rule 3.3 the price fails; None when it may be bought."""
    if (reason := past_plan(draft, quote)) is not None:
        return reason
    plan = draft.position.plan
    price = quote.ask if plan.direction is Direction.LONG else quote.bid
    deviation = plan.direction.sign * (price - plan.entry)
    if any(deviation > bound for bound in planb_bounds(plan, draft.policy)):
        return Reason.PLANB_DEVIATION
    return None


def past_plan(draft: Draft, quote: Quote) -> Reason | None:
    """Whether the price has run past the stop, or past TP1 where that is guarded."""
    plan = draft.position.plan
    price = quote.ask if plan.direction is Direction.LONG else quote.bid
    if price <= 0:
        return Reason.PLANB_NO_PRICE  # nobody offers anything
    if beyond(price, plan.stop, plan.direction) or beyond(quote.last, plan.stop, plan.direction):
        return Reason.PLANB_PAST_STOP
    if draft.policy.planb_abort_past_tp1 and past(price, plan.targets[0], plan.direction):
        return Reason.PLANB_PAST_TP1
    return None
