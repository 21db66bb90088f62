"""Exits in fewer legs: where a filter does not take one more stop, another leg's covers its part as well (rule 2.6).

It was known before the entry that each leg's exits would be taken. But another program may have taken the places since
(MAX_NUM_ALGO_ORDERS, MAX_NUM_ORDERS, MAX_NUM_ORDER_LISTS), and a position that is covered whole by fewer stops is
better than one that the failsafe sells. And a stop or a target that filled in part may leave less of its leg than any
order takes, which with another leg's is covered and sold all the same (rules 2.3b, 6.6b).
"""

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book import levels
from executor.core.book.ledger import covers
from executor.core.decide.draft import Draft
from executor.core.model.facts import Why
from executor.core.model.intents import Level
from executor.core.model.state import Leg
from executor.core.model.values import ZERO, plain

TRIES: Final = 2
"""So many refusals in a row: after the first, the symbol's rules are read again, which may be all that it takes."""


def join(draft: Draft) -> None:
    """Give a leg's part to one whose stop stands; that one is moved to its new size then, as any list or stop is."""
    for leg in draft.position.legs:
        small = _too_small(draft, leg)
        if not (small or (leg.tries >= TRIES and _crowded_out(draft, leg))):
            continue
        host = _host(draft, leg, small=small)
        if host is None or (small and _look_first(draft, leg)):
            continue
        left = draft.left(leg)
        why = "it has too little left for an order of its own" if small else "a filter refuses its stop"
        text = f"leg {leg.n}: {why}; leg {host.n} takes its {plain(left)} {draft.rules.base}"
        draft.note(Level.WARNING if small else Level.ALERT, "legs_joined", text, draft.live(host.n))
        draft.put_leg(replace(leg, qty=leg.qty - left, tries=0, retry_at=0))
        draft.put_leg(replace(host, qty=host.qty + left))
        return


def take_in(draft: Draft) -> None:
    """What is held and no leg is for, as an entry that is told only now to have filled, or a commission not to be paid
    in base, is the last leg's: it is covered with it (rule 10.2). Where neither it nor the two together could be
    sold, it is dust (3.6). PLAIN's stop follows everything that is held anyway.
    """
    legs = draft.position.legs
    if not legs or any(not leg.n for leg in legs):
        return
    late = draft.tally.sellable - sum([draft.left(leg) for leg in legs], ZERO)
    if late <= 0:
        return
    host = max(legs, key=lambda leg: (draft.left(leg) > 0, leg.n))
    if not (draft.rules.market_piece(late, draft.price) or _fits(draft, host, late)):
        return
    text = f"{plain(late)} {draft.rules.base} are held beyond what the exits are for: leg {host.n} takes them"
    draft.note(Level.ALERT, "late_fill", text, draft.live(host.n))
    draft.put_leg(replace(host, qty=host.qty + late))


def _too_small(draft: Draft, leg: Leg) -> bool:
    """Whether nothing stands for the leg, and what it has left is too little for a stop."""
    left = draft.left(leg)
    if leg.stop is None or left <= 0 or draft.live(leg.n):
        return False
    return not draft.rules.carries(left, min(leg.stop, draft.stop_limit(leg.stop)))


def _look_first(draft: Draft, leg: Leg) -> bool:
    """What was cancelled to be sold may have filled after all (rule 6.3), so it is looked at first; whether that is
    waited for.
    """
    owed = [o for o in draft.position.orders if o.leg == leg.n and (o.recheck or o.check)]
    for order in owed:
        if not order.check:
            draft.put(replace(order, check=True, ask_at=draft.now))
    return bool(owed)


def _crowded_out(draft: Draft, leg: Leg) -> bool:
    """Whether the leg's stop finds no place, as it seems. Where it is its limit that PERCENT_PRICE does not take, the
    other leg's would be refused as well.
    """
    if leg.watched is None or leg.leave is not None or draft.left(leg) <= 0 or draft.live(leg.n):
        return False
    side, limit = draft.position.plan.direction.exit_side, draft.stop_limit(leg.watched)
    if draft.rules.percent_fault(limit, side, draft.price) is not None:
        return False
    sent = [o for o in draft.position.orders if o.leg == leg.n and o.is_stop]
    return bool(sent) and sent[-1].refusal is Why.FILTER


def _host(draft: Draft, guest: Leg, *, small: bool) -> Leg | None:
    """The leg nearest to `guest` whose stop stands untouched, no worse than its own; a list before the trailing leg.
    For a `small` rest any stop will do, one that stands alone first: a list has to be cancelled to take it.
    """
    fit = [leg for leg in draft.position.legs if leg.n != guest.n and _can_carry(draft, leg, guest, small=small)]
    return min(fit, key=lambda leg: ((leg.target is None) is not small, abs(leg.n - guest.n)), default=None)


def _can_carry(draft: Draft, host: Leg, guest: Leg, *, small: bool) -> bool:
    live = draft.live(host.n)
    standing = any(covers(o, draft.position) for o in live) and not any(o.cancelling or o.cum_qty for o in live)
    if not standing or host.stop is None or guest.stop is None or host.leave is not None or host.breach_since:
        return False
    if not small and levels.is_safer(guest.stop, host.stop, draft.position.plan.direction):
        return False
    return _fits(draft, host, draft.left(guest))


def _fits(draft: Draft, host: Leg, more: Decimal) -> bool:
    """Whether the exits of `host`, which has some left, could be for `more` as well."""
    left, stop = draft.left(host), host.stop or draft.position.plan.stop
    limit = draft.stop_limit(stop)
    return left > 0 and all(draft.rules.carries(left + more, price) for price in (limit, host.target or limit))
