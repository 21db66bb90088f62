"""Tend a leg with a target: an OCO, or PLAIN's LIMIT (rules 4.2, 4.3, 5.6)."""

from decimal import Decimal
from itertools import takewhile
from typing import Final

from msgspec.structs import replace

from executor.core.book.edit import the_leg
from executor.core.book.ledger import bare_since, exits_of
from executor.core.book.levels import past
from executor.core.decide import doubt, stops
from executor.core.decide.draft import LOOKS, Draft
from executor.core.decide.legs import may_place, sell_at_market, standing, surplus
from executor.core.decide.vanished import put_back
from executor.core.model.facts import HELD_UP, Why
from executor.core.model.ids import Role
from executor.core.model.state import End, Leave, Leg, Order, OrderPhase
from executor.core.model.values import ZERO, OrderType

_TARGET: Final = {1: Role.TP1, 2: Role.TP2}
_STOP: Final = {1: Role.SL1, 2: Role.SL2}
_LIST: Final = {1: Role.OCO1, 2: Role.OCO2}
_PAIR_TRIES: Final = 2
_WINDOW_MS: Final = 60_000
"""A limit that counts all requests, or all orders, has let some through after so long: its windows are a minute at
most, but for a day's, which keeps single orders away as well.
"""


def tend(draft: Draft, leg: Leg, target: Decimal) -> None:
    left = draft.left(leg)
    live = standing(draft, leg, left)
    if live is None:
        return
    if not live and leg.stop is None:
        leg = _beside_others(draft, leg)
        left = draft.left(leg)
    if left <= 0:
        draft.dismiss(live)
        return
    if surplus(draft, live):
        return
    leave = leg.leave or stops.watch(draft, leg, live) or _missed(draft, leg, target, live)
    if leave is not None:
        sell_at_market(draft, leg, leave, live, left)
        return
    if live and _left_of_a_pair(draft, live):
        return
    if live and _too_large(draft, leg, live):
        draft.cancel(live, recheck=True)
        return
    if live:
        stops.move_list(draft, leg, live)
        return
    if may_place(draft, leg):
        leg = the_leg(draft.position, leg.n)
        _place(draft, leg, target, draft.left(leg))


def _left_of_a_pair(draft: Draft, live: list[Order]) -> bool:
    """Whether a side that has neither triggered nor traded stands, and the other of its list does not. Mostly its own
    end has not been told yet, which looks tell. Where they show it standing, the exchange has ended one side only
    (rule 8.8): it is cancelled, and the pair put back (rule 6.6).
    """
    sides = [o for o in live if not (o.cum_qty or o.triggered_at or o.awaits) and o.phase is OrderPhase.WORKING]
    halves = [o for o in sides if any(not other.live for other in exits_of(draft.position, o.list_id) if o.list_id)]
    for order in halves:
        if order.looks < LOOKS:
            draft.look(order)
        else:
            draft.cancel([order], recheck=True)
    return bool(halves)


def _beside_others(draft: Draft, leg: Leg) -> Leg:
    """`leg`, of which nothing stands beside the stop of the whole, for no more than the other targets that are out
    leave: that stop follows what is held, and so takes note of what is gone for all of them (rules 4.3, 6.6b, 10.1).
    """
    others = [other for other in draft.position.legs if other.n not in (0, leg.n) and draft.live(other.n)]
    room = max(draft.tally.sellable - sum([draft.left(other) for other in others], ZERO), ZERO)
    if draft.left(leg) <= room:
        return leg
    leg = replace(leg, qty=draft.tally.sold.get(leg.n, ZERO) + room)
    draft.put_leg(leg)
    return leg


def _too_large(draft: Draft, leg: Leg, live: list[Order]) -> bool:
    """Whether what stands could sell more than the leg's part: an order in whose place it was sent had sold more than
    was told by then, or it was called refused or gone, is there after all, and its leg has been cut since (10.1).
    """
    first = live[0]
    sides = exits_of(draft.position, first.list_id) if first.list_id else live
    could = first.qty - sum([order.cum_qty for order in sides], ZERO)
    part = leg.qty - draft.tally.sold.get(leg.n, ZERO)
    return could > part and not any(order.triggered_at for order in live) and not doubt.kept_apart(draft)


def _place(draft: Draft, leg: Leg, target: Decimal, left: Decimal) -> None:
    target = draft.on_grid(target)
    if leg.stop is None:
        if draft.rules.carries(left, target) and put_back(draft, leg):
            side = draft.position.plan.direction.exit_side
            draft.place(draft.order(_TARGET[leg.n], side, OrderType.LIMIT, left, leg=leg.n, price=target))
        return
    level = stops.wanted(draft, leg, leg.stop)
    limit = draft.stop_limit(level)
    if not draft.rules.carries(left, min(level, limit)) or not put_back(draft, leg):
        return  # what is too small for a stop is watched by software (rule 6.4)
    if leg.tries >= _PAIR_TRIES or not stops.carried(draft, leg, left, level) or _pair_fails(draft, leg):
        # The pair keeps being refused, or what a short has left is worth too little at its target: the stop goes out
        # alone, the target is watched by software (rule 4.1).
        draft.place(stops.stop_order(draft, leg, left, level))
        return
    _place_pair(draft, leg, left, target=target, level=level, limit=limit)


def _pair_fails(draft: Draft, leg: Leg) -> bool:
    """Whether the pair has come to nothing again and again without a refusal of its own (nobody knows what became of
    it, a limit or the clock kept it away), though single orders came through meanwhile, or nothing has stood for long:
    a stop that stands alone is another way (rule 8.7). A limit that counts others too is waited for: a stop alone would
    cost the target for as long as the trade lasts.
    """
    pairs = [o for o in draft.position.orders if o.leg == leg.n and o.is_target and o.list_id]
    failed = list(takewhile(_came_to_nothing, reversed(pairs)))
    if len(failed) < _PAIR_TRIES:
        return False
    last, since = failed[0], bare_since(draft.position, leg)
    singles = [o for o in draft.position.orders if o.exchange_id and not o.list_id and not o.is_entry]
    if any(o.leg == leg.n and o.is_stop and o.sent_at > last.sent_at for o in singles):
        return True  # it has stood alone since
    bare_ms = draft.now - since if since else 0
    if last.refusal is Why.RATE_LIMIT and bare_ms < _WINDOW_MS:
        return False
    begun = min(failed[-1].sent_at, since or last.sent_at)
    if any(begun <= order.sent_at <= last.sent_at for order in singles):
        return True
    return bare_ms >= draft.policy.failsafe_grace_ms and last.refusal is not Why.RATE_LIMIT


def _came_to_nothing(order: Order) -> bool:
    return order.end is End.NEVER or order.phase is OrderPhase.UNRESOLVED or order.refusal in HELD_UP


def _place_pair(draft: Draft, leg: Leg, left: Decimal, *, target: Decimal, level: Decimal, limit: Decimal) -> None:
    side = draft.position.plan.direction.exit_side
    list_id = draft.new_id(_LIST[leg.n])
    draft.place_oco(
        draft.order(_TARGET[leg.n], side, OrderType.LIMIT_MAKER, left, leg=leg.n, price=target, list_id=list_id),
        draft.order(
            _STOP[leg.n],
            side,
            OrderType.STOP_LOSS_LIMIT,
            left,
            leg=leg.n,
            price=limit,
            stop_price=level,
            list_id=list_id,
        ),
    )


def _missed(draft: Draft, leg: Leg, target: Decimal, live: list[Order]) -> Leave | None:
    """The target was reached while only the leg's stop stands on the exchange, or nothing can be placed for the leg."""
    quote = draft.market.quote
    if leg.stop is None or quote is None or not past(quote.last, target, draft.position.plan.direction):
        return None
    if live:
        return Leave.TARGET if all(o.is_stop and not o.list_id for o in live) else None
    left = draft.left(leg)
    sold = quote.at >= draft.position.entered and draft.rules.market_piece(left, draft.price)
    return Leave.TARGET if sold and not stops.carried(draft, leg, left, leg.stop) else None
