"""Refused for lack of balance: what of the position is still there (rules 6.6, 6.6b)?

A part that is gone takes its share with it and no more: the rest is covered and sold. That something is gone is
believed when the account has shown it twice (rule 8.6), and every live exit was looked at in between, so much later
that what had filled before the first time is known: a fill that nobody has told of yet looks just the same. The more
that the account showed of the two times counts: what fills after the looks is in the second one alone. While a request
that sells or cancels is on its way, or an exit in doubt, nothing is believed.

How late the account shows what the entry has bought is not documented (rule 8.8): for ten seconds from its fill the
exits are tried again as if all of it were there, and that is counted (rule 4.7); but for a part, where the exchange
itself has said twice that there is less. Nothing is given up for good before.
"""

from decimal import Decimal
from enum import Enum, auto
from typing import Final

from msgspec.structs import replace

from executor.core.book.ledger import locked
from executor.core.decide.draft import Draft
from executor.core.model.facts import Balance, Why
from executor.core.model.intents import Level
from executor.core.model.orders import SHOWN_MS
from executor.core.model.policy import Policy
from executor.core.model.state import End, Leg, OrderPhase, Position
from executor.core.model.values import ZERO, Direction, OrderSide, plain

_MARGIN: Final = Decimal("1.01")  # what a market order may cost above the last price
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
    if changing(draft):
        return Stock.UNKNOWN  # and nothing is asked before it is known how that ended (rule 8.7)
    if not position.short_at and seen_whole(draft, refused_at):
        return Stock.WHOLE
    if position.short_at >= refused_at and draft.rules.whole(position.short_left) >= draft.tally.sellable:
        return _whole(draft)  # what was missing has been told of since: an exit had filled
    again_at = look_again_at(position, draft.policy)
    ended = max((o.closed_at for o in position.orders if o.is_exit), default=0)
    if draft.market.balances_at < max(refused_at, again_at, ended):
        if draft.now >= again_at and (not again_at or _looked_again(draft)):
            draft.query_balances()
        return Stock.UNKNOWN
    there = draft.rules.whole(_there(draft))
    late = draft.now < max(_bought_at(position), draft.market.ahead_at) + SHOWN_MS
    if there >= draft.tally.sellable or (late and not _said_twice(position)):
        return _whole(draft)
    if (
        position.short_at < max(refused_at, _bought_at(position) + draft.policy.absence_grace_ms)
        or _owned(draft) < locked(position)  # what stands is there: that was read too early
        or not _looked(draft)
    ):
        draft.update(short_at=draft.now, short_left=_owned(draft), short_looked=0)
        _look(draft)
        return Stock.UNKNOWN
    if draft.rules.market_piece(there, draft.price):
        return Stock.PART
    return _whole(draft) if late else Stock.NOTHING


def seen_whole(draft: Draft, refused_at: int) -> bool:
    """Whether the account has shown all of the position since the refusal, or so shortly before it that the next try
    would be as soon: legs that are refused in turn share a look (rule 8.7).
    """
    ended = (o.closed_at for o in draft.position.orders if o.is_exit and o.end is not End.REFUSED)
    since = max([refused_at - draft.policy.exits_retry_ms, *ended])
    return draft.market.balances_at >= max(since, 1) and draft.rules.whole(_owned(draft)) >= draft.tally.sellable


def look_again_at(position: Position, policy: Policy) -> int:
    """When what is in question is looked at once more (ms): the exits, and then the account. 0: nothing is."""
    if not position.short_at:
        return 0
    return max(position.short_at, _bought_at(position)) + policy.absence_grace_ms


def write_off(draft: Draft, leg: Leg | None) -> None:
    """The part that is gone is gone from the position, and from the part of it that `leg` was to sell."""
    missing = draft.tally.sellable - draft.rules.whole(_there(draft))
    if leg is not None:
        missing = min(missing, draft.left(leg))
        draft.put_leg(replace(leg, qty=leg.qty - missing, tries=0, poor=0, retry_at=0))
    position = draft.position
    draft.update(gone=position.gone + missing, short_at=0, short_left=ZERO, short_looked=0)
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


def affordable(draft: Draft, qty: Decimal, side: OrderSide) -> Decimal:
    """As much of `qty` as one market order may trade with what the account was last seen to have free: another order of
    it may keep some locked, which is not gone (rule 6.6b). All of it where that is too little for any order: what was
    seen may be of before.
    """
    balances, rules, price = draft.market.balances, draft.rules, draft.price
    if side is OrderSide.SELL:
        free = balances.get(rules.base, Balance(ZERO)).free
    else:
        free = balances.get(rules.quote, Balance(ZERO)).free / (price * _MARGIN)
    return rules.market_piece(min(qty, rules.whole(free)), price) or qty


def changing(draft: Draft) -> bool:
    """Whether an exit is being cancelled: what it sells meanwhile is not missing. One whose cancel was refused, and
    that a look has shown standing since, is not, until the next one leaves.
    """
    return any(order.cancelling and (order.check or draft.commanded(order)) for order in draft.live())


def _owned(draft: Draft) -> Decimal:
    return draft.market.balances.get(draft.rules.base, Balance(ZERO)).total


def _there(draft: Draft) -> Decimal:
    return max(_owned(draft), draft.position.short_left)


def _whole(draft: Draft) -> Stock:
    draft.update(short_at=0, short_left=ZERO, short_looked=0)
    return Stock.WHOLE


def _bought_at(position: Position) -> int:
    """When the entry was last heard to have filled: what was read sooner need not show it (rule 8.6)."""
    return max((o.heard_at for o in position.orders if o.is_entry and o.cum_qty), default=0)


def _said_twice(position: Position) -> bool:
    """Whether the exchange itself has said since the entry's fill that there is too little, and once more to an exit
    that was sent thereupon: it knows at once what the account may show late. What it says to Plan B is about money.
    """
    exits, bought_at = [o for o in position.orders if o.is_exit], _bought_at(position)
    said = [o for o in exits if o.refusal is Why.INSUFFICIENT_BALANCE and o.closed_at >= bought_at]
    return any(o.sent_at > said[0].closed_at for o in said)


def _look(draft: Draft) -> None:
    for order in draft.live():
        draft.put(replace(order, check=True, ask_at=draft.now))


def _looked_again(draft: Draft) -> bool:
    """Whether every live exit was looked at since that was due; else it is had."""
    if not draft.position.short_looked:
        draft.update(short_looked=draft.now)
        _look(draft)
    return _looked(draft)


def _looked(draft: Draft) -> bool:
    """Whether nothing is unknown of the exits that may have filled."""
    return not any(o.check or o.phase not in _SETTLED or draft.commanded(o) for o in draft.live())
