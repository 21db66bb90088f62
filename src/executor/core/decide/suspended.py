"""Decide while the symbol is not open for trading: what stands, stands (rule 6.8).

A halted or CANCEL_ONLY symbol takes cancels and no orders: an exit that was cancelled to be moved, or to be sold for at
market, could not be replaced. So nothing is taken away while something is held, whatever it would be for; what is bare
is told of (rule 10.2), and everything goes on where it was once the symbol trades again.
"""

from executor.core.decide.draft import Draft


def waits(draft: Draft) -> bool:
    """Whether all that can be done is to wait."""
    rules = draft.rules
    return not rules.tradable and bool(rules.market_piece(draft.tally.sellable, draft.price))
