"""Entries that bring their exits with them (rule 13): order lists in which the exchange places a stop, and a target
where the leg has one, at the moment when the entry beside them has filled whole.

Until an exit is known to be placed it awaits its entry (`Order.awaits`): it covers nothing. From then on it is an exit
like any other, and its entry remembers what it was placed for (`Order.hands_on`).
"""

from decimal import Decimal

from msgspec.structs import replace

from executor.core.book.edit import find_order, with_order
from executor.core.book.ledger import exits_of, received
from executor.core.model.orders import placed_for
from executor.core.model.policy import EntryMode, Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import End, Order, OrderPhase, Position
from executor.core.model.values import ZERO, Direction, OrderStatus


def wanted(policy: Policy, rules: SymbolRules, direction: Direction) -> bool:
    """Whether entries are to bring their exits with them. An order list begins with a limit order: at market none
    does.
    """
    wished = policy.layout is Layout.BRACKET and policy.entry_mode is not EntryMode.MARKET_ONLY
    return wished and rules.takes_brackets(direction)


def lacking(policy: Policy, rules: SymbolRules) -> str:
    """Why entries bring no exits with them, or not each, though that is wanted (rule 13.1); empty where they do."""
    if policy.layout is not Layout.BRACKET:
        return ""
    directions = [Direction.LONG, Direction.SHORT] if policy.allow_short else [Direction.LONG]
    without = " and ".join(f"{side}s" for side in directions if not wanted(policy, rules, side))
    if not without:
        return ""
    if policy.entry_mode is EntryMode.MARKET_ONLY:
        why = "ENTRY_MODE=MARKET_ONLY: an order list begins with a limit order"
    elif rules.margin is not None:
        why = "on margin the entry waits for its loan"
    else:
        why = f"{rules.symbol} has no such order lists"
    return f"EXIT_LAYOUT=BRACKET: {without} are entered as with OCO, {why}"


def entry_of(position: Position, list_id: str) -> Order | None:
    """The entry that an order list began with; None for a list of exits alone."""
    return next((o for o in position.orders if o.list_id == list_id and o.is_entry), None)


def awaited(position: Position, rules: SymbolRules) -> Decimal:
    """What exits that are not known to be placed may sell by now, as their entry has filled whole (rule 10.1)."""
    awaiting = {o.awaits for o in position.orders if o.awaits and o.live}
    if not awaiting:
        return ZERO
    filled = [o for o in position.orders if o.is_entry and o.cum_qty and (o.end is End.FILLED or not o.leaves)]
    return sum([received(o, rules) for o in filled if o.id in awaiting], ZERO)


def taken_whole(position: Position, entry: Order, now: int) -> Position:
    """`entry` is known to be at the exchange, open or filled, so its order list was taken, and an order list is taken
    whole: what nothing was told of yet, what could not be found and what was called refused awaits it there, too.
    """
    if not (entry.live or entry.end is End.FILLED):
        return position  # its exits have ended with it, if they ever were
    for exit_ in exits_of(position, entry.list_id):
        if not exit_.awaits or exit_.status is not None:
            continue
        pending = replace(
            exit_,
            phase=OrderPhase.WORKING,
            end=None,
            status=OrderStatus.PENDING_NEW,
            refusal=None,
            back=not exit_.live,
            check=exit_.phase is not OrderPhase.SUBMITTED,
            misses=0,
            first_miss_at=0,
            heard_at=now,
        )
        position = with_order(position, pending)
    return position


def told_of(position: Position, entry: Order, now: int) -> Position:
    """`entry` has filled: that tells of the exits it brings, too, which work from now on, and show in reads late."""
    for exit_ in exits_of(position, entry.list_id):
        if exit_.awaits and exit_.live:
            position = with_order(position, replace(exit_, heard_at=now))
    return position


def stands_with_its_entry(position: Position, exit_: Order) -> bool:
    """Whether `exit_` awaits an entry that is known to be open: then it is there, whether or not a look finds it (rule
    8.8).
    """
    entry = find_order(position, exit_.awaits) if exit_.awaits else None
    return entry is not None and entry.live and bool(entry.exchange_id)


def asked_before_it_worked(position: Position, exit_: Order, asked_at: int) -> bool:
    """Whether `exit_` awaited an entry whose fill was told only after `asked_at` (ms): a look that began earlier need
    not have found it, and says nothing of now (rules 8.6, 8.8).
    """
    entry = find_order(position, exit_.awaits) if exit_.awaits else None
    return entry is not None and entry.end is End.FILLED and asked_at < entry.closed_at


def ended_with_its_entry(position: Position, exit_: Order) -> bool:
    """Whether `exit_` awaits an entry that ended before it had filled."""
    entry = find_order(position, exit_.awaits) if exit_.awaits else None
    return entry is not None and not entry.live and entry.end is not End.FILLED


def brought_by(position: Position, exit_: Order) -> Order:
    """`exit_`, just built from what the exchange says of it, as one that awaits its entry where that is on record."""
    entry = entry_of(position, exit_.list_id) if exit_.list_id and not exit_.is_entry else None
    return exit_ if entry is None else replace(exit_, awaits=entry.id, qty=exit_.qty or entry.qty)


def linked(orders: tuple[Order, ...], entry: Order) -> tuple[Order, ...]:
    """`orders`, built from what the exchange says of each, with what `entry` and the exits of its list mean to each
    other.
    """
    if not (entry.is_entry and entry.list_id):
        return orders
    found = []
    for order in orders:
        if order.list_id == entry.list_id and not order.is_entry:
            if (order.status is not None and order.status.is_pending) or not order.qty:
                order = replace(order, awaits=entry.id, qty=order.qty or entry.qty)  # noqa: PLW2901
            elif order.live or order.cum_qty or entry.end is End.FILLED:
                entry = replace(entry, hands_on=order.sent_qty or order.qty)
        found.append(order)
    return tuple(entry if order.id == entry.id else order for order in found)


def placed(position: Position, exit_: Order, now: int) -> Position:
    """`exit_` is known to be placed: so are the others of its list, and their entry has filled whole, whether or not
    that was told yet.
    """
    for other in exits_of(position, exit_.list_id):
        if other.awaits:
            position = with_order(position, replace(placed_for(other, exit_.qty), heard_at=now))
    entry = entry_of(position, exit_.list_id)
    if entry is None:  # it is not on record, whatever `awaits` says
        return position
    look = entry.live and not entry.check
    handed = replace(entry, hands_on=exit_.qty, check=entry.check or look, ask_at=now if look else entry.ask_at)
    return with_order(position, handed)
