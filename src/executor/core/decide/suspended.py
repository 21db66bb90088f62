"""Decide while the symbol is not open for trading: what stands, stands (rule 6.8).

A halted or CANCEL_ONLY symbol takes cancels and no orders: an exit that was cancelled to be moved, or to be sold for at
market, could not be replaced. So nothing is taken away while something is held, whatever it would be for; what is bare
is told of (rule 10.2), and everything goes on where it was once the symbol trades again. In a status that nobody knows
orders may be taken: what has no exit at all is tried to be covered, or sold, as ever (rule 8.8).
"""

from typing import Final

from executor.core.decide.draft import Draft
from executor.core.model.facts import Why

TRY_EVERY_MS: Final = 5_000
"""In a status that nobody knows, once an order was refused because the market is closed."""


def waits(draft: Draft) -> bool:
    """Whether all that can be done is to wait."""
    rules = draft.rules
    if rules.tradable or not rules.market_piece(draft.tally.sellable, draft.price):
        return False
    return not rules.strange or bool(draft.live()) or _just_refused(draft)


def _just_refused(draft: Draft) -> bool:
    closed = [o.closed_at for o in draft.position.orders if o.refusal is Why.MARKET_CLOSED]
    return bool(closed) and draft.now < max(closed) + TRY_EVERY_MS
