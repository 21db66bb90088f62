"""Entries that bring their exits with them (rule 13): what each leg enters, parts, and exits not yet told of."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book import brackets
from executor.core.book.edit import the_order
from executor.core.book.plan import bears, bracket_split, target_of
from executor.core.decide.draft import LOOKS, Draft
from executor.core.model.facts import PASSING
from executor.core.model.ids import Role
from executor.core.model.orders import SECOND_LOOKS, look_again
from executor.core.model.state import End, Order, OrderPhase
from executor.core.model.values import ZERO, OrderType

_ENTRY: Final = {1: Role.ENTRY1, 2: Role.ENTRY2, 3: Role.ENTRY3}
_PLANB: Final = {1: Role.PLANB1, 2: Role.PLANB2, 3: Role.PLANB3}
_LIST: Final = {1: Role.OCO1, 2: Role.OCO2, 3: Role.OCO3}
_TARGET: Final = {1: Role.TP1, 2: Role.TP2}
_STOP: Final = {1: Role.SL1, 2: Role.SL2, 3: Role.SL}


def offered(draft: Draft) -> bool:
    """Whether entries bring their exits with them here; where the exchange has refused one for a reason of its own,
    this trade enters as with `EXIT_LAYOUT=OCO` (rule 13.1).
    """
    position = draft.position
    if not brackets.wanted(draft.policy, draft.rules, position.plan.direction):
        return False
    return not any(refused(o) for o in position.orders)


def refused(entry: Order) -> bool:
    return entry.is_entry and bool(entry.list_id) and entry.end is End.REFUSED and entry.refusal not in PASSING


def pieces(draft: Draft, rest: Decimal) -> tuple[tuple[int, Decimal], ...]:
    """`rest`, which is to be entered, by the legs that it is for; what can't bring its leg's exits goes with the leg
    before or after it. Empty where none can.
    """
    plan = draft.position.plan
    sizes = bracket_split(plan, draft.policy, draft.rules) if offered(draft) else None
    if sizes is None:
        return ()
    entered = dict.fromkeys(_ENTRY, ZERO)
    for order in draft.position.orders:
        if order.is_entry and order.list_id:
            entered[order.leg] += order.qty if order.live else order.cum_qty
    found: list[tuple[int, Decimal]] = []
    small = ZERO
    for n, size in enumerate(sizes, 1):
        qty = min(max(size - entered[n], ZERO), rest) + small
        rest -= qty - small
        small = ZERO
        if qty and bears(n, qty, plan, draft.policy, draft.rules):
            found.append((n, qty))
        else:
            small = qty
    if small + rest and found:
        n, qty = found.pop()
        found.append((n, qty + small + rest))
    return tuple(found)


def enter(draft: Draft, leg: int, qty: Decimal, price: Decimal, *, planb: bool = False) -> None:
    """An entry of `qty` for the leg, with its exits (rule 13.1). As Plan B it takes what `price` buys at once, or goes.

    Ids in this order: list, target, stop, entry (`ids.list_of`).
    """
    plan = draft.position.plan
    target = target_of(leg, plan)
    role = (_PLANB if planb else _ENTRY)[leg]
    list_id = draft.new_id(_LIST[leg])
    entry_id = draft.coming_id(role, after=1 if target is None else 2)
    side, level = plan.direction.exit_side, draft.on_grid(plan.stop)
    beside = None
    if target is not None:
        beside = draft.order(
            _TARGET[leg],
            side,
            OrderType.LIMIT_MAKER,
            qty,
            leg=leg,
            price=draft.on_grid(target),
            list_id=list_id,
            awaits=entry_id,
        )
    stop = draft.order(
        _STOP[leg],
        side,
        OrderType.STOP_LOSS_LIMIT,
        qty,
        leg=leg,
        price=draft.stop_limit(level),
        stop_price=level,
        list_id=list_id,
        awaits=entry_id,
    )
    entry = draft.order(
        role, plan.direction.entry_side, OrderType.LIMIT, qty, leg=leg, price=price, ioc=planb, list_id=list_id
    )
    draft.place_bracket(entry, stop, beside)


def stalled(draft: Draft, entry: Order) -> bool:
    """Whether a part of the entry has filled, and nothing more for a while: the list keeps it locked and bare, so the
    list is cancelled (rule 13.2). Not where nothing can be placed in its stead (6.8).
    """
    part = bool(entry.list_id) and ZERO < entry.cum_qty < entry.qty and draft.rules.tradable
    return part and draft.now >= entry.heard_at + draft.policy.bracket_part_ms


def unsettled(draft: Draft) -> bool:
    """Whether it is not known yet, once no entry is live, what became of their exits: placed, refused, or gone with
    them. The exchange tells by itself; where it does not, they are looked at, and those that looks go on showing as
    pending are cancelled: where the entry has filled, others go out in their place (rules 8.7, 13.3).
    """
    waiting = list(_waiting(draft))
    given_up = []
    for exit_, filled in waiting:
        if exit_.phase is not OrderPhase.WORKING or exit_.check:
            continue
        if exit_.looks >= (SECOND_LOOKS if filled else LOOKS):
            given_up.append(exit_)
        elif exit_.looks:
            draft.put(replace(look_again(exit_, draft.now), check=True))
        else:
            draft.look(exit_)
    draft.cancel(given_up)
    return bool(waiting)


def _waiting(draft: Draft) -> Iterator[tuple[Order, bool]]:
    """Exits that await their entries, which all have ended, and whether those have filled."""
    for order in draft.position.orders:
        if order.live and order.awaits:
            yield order, the_order(draft.position, order.awaits).end is End.FILLED
