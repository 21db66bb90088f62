"""Market orders that come to nothing: a size that a filter refuses again and again, sales that find nobody (rule 8.7).

A filter need not be among those of the symbol: MAX_ASSET is told of by `myFilters` alone (filters.md). And an exchange
may take a market order and let it expire: an empty book, a price out of the range of its execution rules, another
order of the same account that it met.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book.edit import the_leg
from executor.core.decide.draft import Draft
from executor.core.model.facts import Why
from executor.core.model.intents import Level
from executor.core.model.orders import sell_again_at
from executor.core.model.state import End, Order
from executor.core.model.values import ZERO, OrderStatus, ceil_to

_STOOD: Final = 8
"""So many orders of a size that was found in this way have to fill before one of twice the size is tried."""


def sized(draft: Draft, sent: Sequence[Order], qty: Decimal) -> Decimal:
    """`qty`, what one market order may trade by the rules, or what of it the exchange takes after `sent`, those before
    it. Two refusals by a filter halve the size, down to the least by the rules; then the whole is tried once more.
    """
    rules, most = draft.rules, draft.position.most
    last = [o for o in sent if not o.live][-2:]
    if len(last) == 2 and all(o.refusal is Why.FILTER for o in last) and _about_as_large(last[0].qty, last[1].qty):
        half = ceil_to(last[1].qty / 2, rules.step)  # upwards: so that the last piece of all is no dust
        most = rules.market_piece(half, draft.price) if half < last[1].qty else ZERO
    elif most and last and last[-1].end is End.FILLED and last[-1].qty == most:
        stood = [o for o in sent if o.end is End.FILLED and o.qty == most]
        most *= 1 if len(stood) % _STOOD else 2
    if most != draft.position.most:
        draft.update(most=most)
    return (rules.market_piece(min(qty, most), draft.price) or qty) if most else qty


def is_another(last: Order, qty: Decimal) -> bool:
    """Whether an order for `qty` after `last`, which a filter has refused, is another request, and none repeated."""
    return last.refusal is Why.FILTER and not _about_as_large(qty, last.qty)


def _about_as_large(qty: Decimal, other: Decimal) -> bool:
    """What a bound on the notional lets through moves with the price a little."""
    return 4 * min(qty, other) > 3 * max(qty, other)


def may_sell_again(draft: Draft, n: int, last: Order) -> bool:
    """Whether leg `n` is sold at market again now, after the sale `last` has ended. Where the exchange takes them and
    nothing comes of it, in growing pauses, counted, and told every so often (rules 4.7, 8.7).
    """
    leg = the_leg(draft.position, n)
    if last.cum_qty and leg.empty:
        leg = replace(leg, empty=0)
        draft.put_leg(leg)
    if last.end is not End.EXPIRED:
        return True
    if draft.now < sell_again_at(last, leg.empty, draft.policy):
        return False
    if not last.cum_qty:
        leg = replace(leg, empty=leg.empty + 1)
        draft.put_leg(leg)
        if leg.empty % draft.policy.failsafe_tries == 0:
            text = f"{leg.empty} market sales of leg {n} came to nothing: {_why(last)}; still trying"
            draft.note(Level.ALERT, "sale_failed", text, [last])
    return True


def _why(last: Order) -> str:
    if last.status is OrderStatus.EXPIRED_IN_MATCH:
        return "the last one met another order of the account (EXPIRED_IN_MATCH)"
    return f"the exchange took the last one and filled nothing of it ({last.status})"
