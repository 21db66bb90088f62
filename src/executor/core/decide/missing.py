"""Refused for lack of balance: what of the position is still there (rules 6.6, 6.6b)?

A part that is gone takes its share with it and no more: the rest is covered and sold. What the account owns is believed
when it was seen twice (rule 8.6), with a look at every live exit in between: a fill that nobody has told of yet looks
just the same.
"""

from decimal import Decimal
from enum import Enum, auto
from typing import Final

from msgspec.structs import replace

from executor.core.book.ledger import locked
from executor.core.decide.draft import Draft
from executor.core.model.facts import Balance
from executor.core.model.intents import Level
from executor.core.model.state import Leg, OrderPhase
from executor.core.model.values import ZERO, Direction, plain

_SETTLED: Final = frozenset({OrderPhase.WORKING, OrderPhase.CLOSED})


class Stock(Enum):
    """What taking stock has found."""

    UNKNOWN = auto()  # what has to be known for it is being asked
    WHOLE = auto()
    PART = auto()
    NOTHING = auto()


def take_stock(draft: Draft, refused_at: int) -> Stock:
    """What is there of a long's position, after a refusal at `refused_at` (ms). A short owes, and owns nothing."""
    position = draft.position
    if position.plan.direction is Direction.SHORT:
        return Stock.WHOLE
    if _changing(draft):
        return Stock.UNKNOWN  # and nothing is asked before it is known how that ended (rule 8.7)
    again_at = position.short_at + draft.policy.absence_grace_ms if position.short_at else 0
    ended = max((o.closed_at for o in position.orders if o.is_exit), default=0)
    if draft.market.balances_at < max(refused_at, again_at, ended):
        if draft.now >= again_at and (not again_at or _looked(draft)):
            draft.query_balances()
        return Stock.UNKNOWN
    there = draft.rules.whole(_owned(draft))
    if there >= draft.tally.sellable:
        draft.update(short_at=0)
        return Stock.WHOLE
    if not position.short_at or _owned(draft) < locked(position):  # what stands is there: that was read too early
        draft.update(short_at=draft.now)
        for order in draft.live():
            draft.put(replace(order, check=True, ask_at=draft.now))
        return Stock.UNKNOWN
    return Stock.PART if draft.rules.market_piece(there, draft.price) else Stock.NOTHING


def write_off(draft: Draft, leg: Leg | None) -> None:
    """The part that is gone is gone from the position, and from the part of it that `leg` was to sell."""
    missing = draft.tally.sellable - draft.rules.whole(_owned(draft))
    if leg is not None:
        missing = min(missing, draft.left(leg))
        draft.put_leg(replace(leg, qty=leg.qty - missing, tries=0, poor=0, retry_at=0))
    position = draft.position
    draft.update(gone=position.gone + missing, short_at=0)
    rest = draft.count_again().sellable
    draft.note(
        Level.ALERT,
        "part_missing",
        f"{plain(missing)} {draft.rules.base} of the position are gone, taken by somebody else; the {plain(rest)} that "
        "are left stay in the trade",
    )


def sold_elsewhere(draft: Draft) -> None:
    """Say that all of it is gone."""
    text = f"{plain(_owned(draft))} {draft.rules.base} are left: closed by somebody else"
    draft.note(Level.ALERT, "sold_elsewhere", text)


def _changing(draft: Draft) -> bool:
    """Whether an exit is being cancelled: what it sells meanwhile is not missing."""
    return any(order.cancelling for order in draft.live())


def _owned(draft: Draft) -> Decimal:
    return draft.market.balances.get(draft.rules.base, Balance(ZERO)).total


def _looked(draft: Draft) -> bool:
    """Whether nothing is unknown of the exits that may have filled."""
    return not any(o.check or o.phase not in _SETTLED or draft.commanded(o) for o in draft.live())
