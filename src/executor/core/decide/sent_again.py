"""Exits in doubt that need not wait for their fence: when a stop may be sent a second time (rules 8.3b, 8.3c).

Either the exchange's own lock keeps the two apart: what is free after the second could not carry the first. Or the
account could carry both, and so long after the first was sent that it would show, had it been placed, nothing shows a
trace of it (rule 8.6): should it come in even later, one of the two is cancelled as soon as it is seen, and what both
have sold until then is bought back (rules 6.3, 10.1).
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations

import msgspec
from msgspec.structs import replace

from executor.core.book.edit import the_leg
from executor.core.book.ledger import expected_base, locked
from executor.core.decide.draft import Draft
from executor.core.model.facts import Balance
from executor.core.model.intents import Level
from executor.core.model.policy import Policy
from executor.core.model.state import Leg, Order, OrderPhase
from executor.core.model.values import ZERO, Direction


class _Lock(msgspec.Struct, frozen=True):
    """What one exit of base `qty` keeps locked, at least and at most: base for a long, quote for a short, of which it
    is not documented at which of an OCO's two prices.
    """

    qty: Decimal
    least: Decimal
    most: Decimal


def may_send_again(draft: Draft, leg: Leg, doubtful: Sequence[Order]) -> bool:
    """Whether the leg, of which `doubtful` is all that may stand, may be placed again now. Several legs are judged
    together (rule 8.3c): each could get into another's way.
    """
    if all(o.apart for o in doubtful):
        return True
    if any(o.apart for o in doubtful):
        return False
    if draft.position.credit is not None and draft.position.plan.direction is Direction.SHORT:
        return False  # what a debt lets be locked is another sum
    group = _doubted_together(draft)
    firsts = [o for orders in group.values() for o in orders]
    if not group.get(leg.n) or not all(o.misses for o in firsts):
        return False
    if draft.market.balances_at < _since(draft, firsts):
        draft.query_balances()
        return False
    if any(o.cancelling for o in draft.live() if o.leg not in group):
        return False  # what is about to be freed would carry one of the first ones
    if not _nothing_traded(draft) or not _affordable(draft, group):
        return False
    locked_apart = _locked_apart(draft, group)
    if not locked_apart and not (_would_show(draft, firsts) and _without_trace(draft, group)):
        return False
    names = ", ".join(str(n) for n, orders in group.items() if orders)
    text = f"leg {names}: its stop is in doubt and was not found; sent again (8.3b)"
    draft.note(Level.WARNING, "sent_again", text, firsts)
    for order in firsts:
        draft.put(replace(order, apart=True, beside=not locked_apart))
    return True


def _since(draft: Draft, firsts: Sequence[Order]) -> int:
    """Balances from then on (ms) show what has become of the exits in doubt, and of what they were to replace."""
    replaced = {o.replaces for o in firsts}
    gone = [o.closed_at for o in draft.position.orders if o.id in replaced]
    return max([*gone, *(o.first_miss_at for o in firsts)])


def _doubted_together(draft: Draft) -> dict[int, list[Order]]:
    """By leg, the exits in doubt of those that have no other, a stop among them; none of one that is bare."""
    group = {}
    for leg in draft.position.legs:
        live = draft.live(leg.n)
        alone = all(o.phase is OrderPhase.UNRESOLVED and not o.apart for o in live)
        if leg.stop is not None and draft.left(leg) > 0 and alone and (not live or any(o.is_stop for o in live)):
            group[leg.n] = live
    return group


def _nothing_traded(draft: Draft) -> bool:
    """Whether the account has the base that it has if none of the exits in doubt has traded: where it does not, the
    first may have stood and filled.
    """
    expected = expected_base(draft.position, draft.rules)
    if expected is None:
        return False
    total = draft.market.balances.get(draft.rules.base, Balance(ZERO)).total
    return total >= expected if draft.position.plan.direction is Direction.LONG else total <= expected


def _affordable(draft: Draft, group: dict[int, list[Order]]) -> bool:
    return _balance(draft).free >= sum((lock.most for lock in _again(draft, group)), ZERO)


def _locked_apart(draft: Draft, group: dict[int, list[Order]]) -> bool:
    """Whether the lock on the account keeps the first and the second of each leg apart."""
    return _lock_carries_one(_again(draft, group), _firsts(draft, group), _balance(draft).free + _unexplained(draft))


def _would_show(draft: Draft, firsts: Sequence[Order]) -> bool:
    """Whether the balances were read so long after `firsts` were sent that what was placed then is in them."""
    shown_at = max(placed_by(o, draft.policy, draft.market.ahead_at) for o in firsts)
    if draft.market.balances_at >= shown_at:
        return True
    if draft.now >= shown_at:
        draft.query_balances()
    return False


def placed_by(order: Order, policy: Policy, ahead_at: int) -> int:
    """From then on (ms) reads show an order that was placed when it was sent (rule 8.6). `ahead_at`: as in `Market`."""
    return max(order.sent_at, ahead_at) + policy.absence_grace_ms


def _without_trace(draft: Draft, group: dict[int, list[Order]]) -> bool:
    """Whether nothing is locked that could be for one of the first ones: where something is, one of them may stand, and
    looks that don't find it prove nothing (rule 8.6).
    """
    return _unexplained(draft) < min(lock.least for lock in _firsts(draft, group))


def _again(draft: Draft, group: dict[int, list[Order]]) -> list[_Lock]:
    return [_of_leg(draft, the_leg(draft.position, n)) for n in group]


def _firsts(draft: Draft, group: dict[int, list[Order]]) -> list[_Lock]:
    return [_of_orders(draft, orders) for orders in group.values() if orders]


def _unexplained(draft: Draft) -> Decimal:
    """What is locked beyond what is known to lock it: it may be a first one's own lock, which lets it stand."""
    return max(_balance(draft).locked - locked(draft.position), ZERO)


def _balance(draft: Draft) -> Balance:
    """Of what exits lock."""
    asset = draft.rules.base if draft.position.plan.direction is Direction.LONG else draft.rules.quote
    return draft.market.balances.get(asset, Balance(ZERO))


def _lock_carries_one(again: Sequence[_Lock], firsts: Sequence[_Lock], room: Decimal) -> bool:
    """Whether, however those sent again and those in doubt get into each other's way, what `room` can carry of them
    never sells more than each unit once.
    """
    most = max(sum((lock.qty for lock in again), ZERO), sum((lock.qty for lock in firsts), ZERO))
    locks = [*again, *firsts]
    sets = (some for n in range(1, len(locks) + 1) for some in combinations(locks, n))
    return not any(
        sum((lock.qty for lock in some), ZERO) > most and sum((lock.least for lock in some), ZERO) <= room
        for some in sets
    )


def _of_leg(draft: Draft, leg: Leg) -> _Lock:
    """Of what the leg is to be placed with."""
    levels = [level for level in (leg.stop, leg.due) if level is not None]
    prices = [draft.stop_limit(level) for level in levels]
    return _lock(draft, draft.left(leg), [*prices, leg.target] if leg.target is not None else prices)


def _of_orders(draft: Draft, orders: Sequence[Order]) -> _Lock:
    """Of one exit in doubt: an order, or both sides of a list."""
    return _lock(draft, orders[0].qty, [o.price if o.price is not None else ZERO for o in orders])


def _lock(draft: Draft, qty: Decimal, prices: Sequence[Decimal]) -> _Lock:
    if draft.position.plan.direction is Direction.LONG:
        return _Lock(qty, qty, qty)
    return _Lock(qty, qty * min(prices), qty * max(prices))
