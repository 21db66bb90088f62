"""Which ended orders a trade lets go of, so that its state stays small however long it trails.

Each move of a stop leaves an ended order behind, and so does each market order that was refused while closing: at one a
second, thousands in an hour. Once more than `MANY` orders are on record, those go that can't matter any more:

- ended by the exchange's own word (cancelled, expired, refused) or never sent at all, with nothing filled. What was
  only not found may turn up yet (rules 8.3, 8.6), and stays; so does every fill, and what kept apart from another
  order (8.3b) or is to be looked at once more (6.3);
- an exit of a leg that is being tended, or a market order that came to nothing. Entries, the interim stop and orders
  taken over stay, and the exchange's own trailing, whose refusal is remembered (5.4);
- nothing on record refers to it: no request that waits for its answer, no live order in its list or its place;
- not among the `KEPT` newest ended ones of its leg and role: what is decided from the past is decided from those, two
  at the most, also beside others that are in doubt.

`Position.retired` tells an id that was let go from one that was never on record: what is said of it late is nothing
new, unless it tells of a fill. That is believed (5.1), and the order is back on record for good.
"""

from collections import Counter
from typing import Final

from msgspec.structs import replace

from executor.core.book.edit import find_order
from executor.core.model import ids
from executor.core.model.ids import ENTRIES, Role
from executor.core.model.state import End, Order, OrderPhase, Position, Protected, Unprotected

MANY: Final = 32  # an ordinary trade never has as many
KEPT: Final = 5

_SAID: Final = frozenset({End.CANCELED, End.EXPIRED, End.REFUSED})
_AT_MARKET: Final = frozenset({Role.FLATTEN, Role.BUYBACK, Role.DEBT})


def settled(order: Order) -> bool:
    """Whether nothing can come of `order` any more, seen alone."""
    if order.phase is not OrderPhase.CLOSED or order.cum_qty or order.is_entry or order.trailing_delta is not None:
        return False
    never_sent = order.end is End.NEVER and not order.fence
    return (order.end in _SAID or never_sent) and not order.apart


def retired(position: Position, named: set[str], now: int) -> Position:
    """`position` without the orders that can't matter any more; `named`: those that requests waiting for their answers
    are about. Itself where there are few, or none that may go.
    """
    if len(position.orders) <= MANY:
        return position
    live = [o for o in position.orders if o.live]
    lists = {o.list_id for o in live if o.list_id}
    named = named | {o.replaces for o in live}
    tended = {leg.n for leg in position.legs} if isinstance(position.phase, Unprotected | Protected) else set()
    newer: Counter[tuple[int, Role]] = Counter()
    kept: list[Order] = []
    gone = position.retired
    for i in reversed(range(len(position.orders))):
        order = position.orders[i]
        newer[order.leg, order.role] += not order.live
        if (
            newer[order.leg, order.role] > KEPT
            and i >= position.taken
            and (order.role in _AT_MARKET or order.leg in tended)
            and settled(order)
            and not (order.recheck or order.check)
            and order.closed_at < now  # ended in a step before this one
            and order.id not in named
            and order.list_id not in lists
        ):
            gone = max(gone, _rev(order) + 1)
        else:
            kept.append(order)
    if len(kept) == len(position.orders):
        return position
    return replace(position, orders=tuple(reversed(kept)), retired=gone)


def was_retired(position: Position, client_id: str) -> bool:
    """Whether an order that is not on record was let go by this trade."""
    name = ids.parse(client_id)
    if name is None or name.trade != position.trade or find_order(position, client_id) is not None:
        return False
    return name.rev < position.retired and name.role not in ENTRIES


def back(position: Position, order: Order, now: int) -> tuple[Position, Order]:
    """`position` with `order`, which was let go, on record again among its contemporaries: ended before."""
    ended = replace(order, phase=OrderPhase.CLOSED, end=End.CANCELED, closed_at=now)
    orders, rev = position.orders, _rev(order)
    at = next((i for i, o in enumerate(orders) if i >= position.taken and _rev(o) > rev), len(orders))
    return replace(position, orders=(*orders[:at], ended, *orders[at:])), ended


def _rev(order: Order) -> int:
    name = ids.parse(order.id)
    assert name is not None
    return name.rev
