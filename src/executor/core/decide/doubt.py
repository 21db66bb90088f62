"""Decide in doubt (rule 8): look up every order whose fate is not known, at the pace that rule 8.3 sets."""

from typing import Final

from executor.core.decide.draft import Draft
from executor.core.model import orders
from executor.core.model.ids import Role
from executor.core.model.intents import Command, names
from executor.core.model.state import Leg, Order, OrderPhase

_CLOSED: Final = OrderPhase.CLOSED  # to look up a member of an enum takes ten times as long
_UNRESOLVED: Final = OrderPhase.UNRESOLVED
_LISTED_BACK_MS: Final = 30 * 86_400_000
"""A list of all orders goes no further back: each day of it is a request."""
ANSWER_MS: Final = 1_000
"""So long an answer may take before the order is looked up: mostly it is a tenth of that."""


def decide(draft: Draft) -> None:
    for order in draft.position.orders:
        if order.phase is _CLOSED and not (order.recheck or order.check):
            continue
        wanted = order.phase is _UNRESOLVED or order.check
        if draft.now >= order.ask_at and (
            (wanted and not draft.commanded(order))
            or _unanswered(draft, order)
            or (order.recheck and owes_look(draft, order))
        ):
            asked = draft.query(order)
            if asked and not order.unlisted and 0 < _listed_from(draft, order) <= draft.now:
                _list_all(draft)


def _list_all(draft: Draft) -> None:
    """Beside a look that may settle what became of an order: it may be known by another id (rule 8.8)."""
    policy = draft.policy
    missed = [o for o in draft.position.orders if _listed_from(draft, o)]
    since = min(orders.taken_from(o, policy) for o in missed)
    draft.query_all_orders(max(since, draft.now - _LISTED_BACK_MS))


def _listed_from(draft: Draft, order: Order) -> int:
    return orders.listed_from(order, draft.policy, draft.market.ahead_at)


def _unanswered(draft: Draft, order: Order) -> bool:
    """Whether its answer takes so long that it is looked up beside: it may be there, and have filled (rule 8.3)."""
    return order.phase is OrderPhase.SUBMITTED and draft.now >= unanswered_at(order)


def unanswered_at(order: Order) -> int:
    """When a request that was not answered yet is looked up (ms)."""
    return order.sent_at + ANSWER_MS


def late(draft: Draft) -> set[str]:
    """The orders that requests are about whose answers have not come in time."""
    return {name for owed in draft.state.outbox if draft.now >= owed.at + ANSWER_MS for name in names(owed.request)}


def answers_due(draft: Draft) -> bool:
    """Whether the answer to a request that changes something is due any moment."""
    waits = (o.request for o in draft.state.outbox if draft.now < o.at + ANSWER_MS)
    return any(isinstance(request, Command) for request in (*draft.requests, *waits))


def owes_look(draft: Draft, order: Order) -> bool:
    """Whether what `order` was cancelled for is sold at market, or on margin stands where it was moved to, and `order`
    has not been looked at since (rules 6.3, 11.5): a short's stops have no lock that would keep a second one away.
    """
    if not order.recheck or order.live:
        return False
    on_margin = draft.position.credit is not None
    later = [o for o in draft.position.orders if o.id != order.id and o.sent_at >= order.closed_at]
    return any(_sold_for(o, order) or (on_margin and _moved_from(o, order)) for o in later)


def _sold_for(sale: Order, order: Order) -> bool:
    return sale.role is Role.FLATTEN and not sale.live and sale.leg in (0, order.leg)


def _moved_from(stop: Order, order: Order) -> bool:
    return stop.is_stop and stop.leg == order.leg and bool(stop.exchange_id)


def waits_for_look(draft: Draft, order: Order) -> bool:
    """Whether nothing more is sold before that look has told: not for ever, where it can't be had (rules 8.7, 10.6)."""
    return owes_look(draft, order) and order.looks < orders.SECOND_LOOKS


def forbids_sale(draft: Draft, leg: Leg) -> bool:
    """Whether the leg can't be sold at market yet: an earlier market order came to nothing, and first it must be known
    what the cancelled exits have sold after all (rule 6.3); or one of them is in doubt, and nothing keeps it from the
    book: beside it only a stop may be sent (rules 8.3, 8.3c).
    """
    mine = [o for o in draft.position.orders if o.leg == leg.n]
    return any(waits_for_look(draft, o) or (o.beside and o.phase is OrderPhase.UNRESOLVED) for o in mine)


def kept_apart(draft: Draft) -> bool:
    """Whether the lock on the base keeps an order in doubt and its successor apart (rule 8.3b): base that is freed
    meanwhile would let both in.
    """
    live = draft.live()
    legs = {o.leg for o in live if o.apart}
    return any(o.leg in legs and o.phase is not OrderPhase.WORKING for o in live)


def may_both_come(draft: Draft) -> bool:
    """Whether two orders that only that lock keeps apart may both be on their way still. A close waits so long before
    it frees what stands, and no longer: what has not come once it is settled never will (rules 7.1, 8.3).
    """
    live = draft.live()
    for leg in {o.leg for o in live if o.apart}:
        kin = [o for o in live if o.leg == leg]
        coming = [o for o in kin if o.phase is not OrderPhase.WORKING and draft.now < _settled_at(draft, o)]
        if coming and len({o.list_id or o.id for o in kin}) > 1:
            return True
    return False


def _settled_at(draft: Draft, order: Order) -> int:
    if order.fence:
        return orders.settled_at(order, draft.policy)
    return order.sent_at + draft.policy.recv_window_ms + draft.policy.doubt_settle_ms


def looking_up(draft: Draft) -> bool:
    """After a restart: whether some order has not been looked up yet, so that nothing may be placed (rule 9.1)."""
    return any(
        o.live and not o.looks and (o.check or (o.phase is _UNRESOLVED and not o.misses)) for o in draft.position.orders
    )
