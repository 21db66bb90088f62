"""What a trade holds, what covers it, what it earned: sums over its orders and fills, nothing remembered twice."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.book import debt
from executor.core.book.edit import find_order
from executor.core.model.ids import Role
from executor.core.model.loans import MarginAccount, OwnDebt
from executor.core.model.policy import Layout
from executor.core.model.rules import SymbolRules
from executor.core.model.state import End, Entering, Leg, Order, OrderPhase, Position
from executor.core.model.values import ZERO, Direction

_NEVER_STOOD: Final = frozenset({End.REFUSED, End.NEVER})
_WORKING: Final = OrderPhase.WORKING  # to look up a member of an enum takes ten times as long
_CLOSED: Final = OrderPhase.CLOSED
_DEBT: Final = Role.DEBT


class Holding(msgspec.Struct, frozen=True):
    """`entered` and `left`: base quantity traded on the entry side and the exit side. `held`: what may be sold, after
    the commission that the entry paid in base (rule 3.4), and without what somebody else has taken (6.6b); negative =
    oversold. A short mirrors it: what must be bought back; on borrowed money that is what the debt takes, interest and
    the buys' own commission included (11.6).

    Commission that exits pay in base comes out of free balance, never out of what an order has locked; it is counted in
    the close's dust, not here. `guessed`: of the entry's commission, what is not known but reckoned. Of an entry that
    brought its exits (13.1) what they were placed for is held: the exchange has cut it to whole steps, or has taken the
    commission from what the account had before. `lent`: how much more that is than the entry has brought; `cut`: how
    much less it may be, up to a step for each such entry: dust, and not sold too much either (6.3).

    Of a short on borrowed money: `beyond`: what it owes beyond what its exits were sized for, and the last buy takes,
    below zero where they are for interest that is not owed any more; `most`: what exits may trade at the most, as their
    commissions are known only once they are paid (else `held`).
    """

    entered: Decimal
    left: Decimal
    held: Decimal
    guessed: Decimal
    lent: Decimal = ZERO
    beyond: Decimal = ZERO
    most: Decimal | None = None
    cut: Decimal = ZERO

    @property
    def certain(self) -> bool:
        return not self.guessed


def holding(position: Position, rules: SymbolRules) -> Holding:
    """Unknown commissions of the entry are taken at the highest rate, so that `held` is never too much."""
    entry_side = position.plan.direction.entry_side
    long = position.plan.direction is Direction.LONG
    entered = left = fee = guessed = lent = cut = ZERO
    for order in position.orders:
        if not (order.cum_qty or order.hands_on) or order.role is _DEBT:
            continue
        if order.side is not entry_side:
            left += order.cum_qty
            continue
        entered += order.cum_qty
        paid = unknown = ZERO
        if long:
            known = ZERO
            for fill in order.fills:
                known += fill.qty
                if fill.fee_asset == rules.base:
                    paid += fill.fee
            if known < order.cum_qty:
                unknown = rules.most_commission(order.cum_qty - known)
        if order.hands_on is None:
            fee += paid
            guessed += unknown
        else:
            rest = order.cum_qty - paid - unknown - handed_on(order)
            fee += paid + unknown
            lent += rules.whole(rest) - rest
            cut += min(max(rest + unknown, ZERO) - rules.whole(rest), rules.step)
    if position.credit is not None and not long:
        held, beyond, most = debt.to_buy_back(position, position.credit, rules, entered, left)
        return Holding(entered, left, held, ZERO, ZERO, beyond, most)
    held = entered - fee - guessed + lent - left - position.gone
    return Holding(entered, left, held, guessed, lent, cut=cut)


def handed_on(entry: Order) -> Decimal:
    """What of an entry its exits were placed for (rule 13.1). Those of an OTO are placed in a quantity of their own,
    also where the entry was made smaller since, by another hand or as it met another order of the account: of one that
    has filled, no more than it has brought is held, and they are cut to that (rules 8.8, 10.1).
    """
    handed = entry.hands_on or ZERO
    return min(handed, entry.cum_qty) if entry.end is End.FILLED else handed


def sellable(position: Position, rules: SymbolRules) -> Decimal:
    """Held quantity in whole steps; 0 when nothing or less than a step is held."""
    return rules.whole(holding(position, rules).held)


def sold_too_much(position: Position, held: Holding) -> Decimal:
    """What was sold beyond what was held (rule 6.3), below zero where less was: not what may be commission only, nor
    what somebody else has taken.
    """
    return -(held.held + held.guessed + held.cut + position.gone)


def leg_left(position: Position, leg: Leg, rules: SymbolRules) -> Decimal:
    """What a leg still has to sell, in whole steps. Leg 0 follows everything held."""
    held = sellable(position, rules)
    if leg.n == 0:
        return held
    return min(leg.qty - leg_sold(position, leg), held)


def leg_sold(position: Position, leg: Leg) -> Decimal:
    """What the leg's own exits have traded."""
    return sum((o.cum_qty for o in position.orders if o.leg == leg.n and o.is_exit), ZERO)


class Tally(msgspec.Struct, frozen=True):
    """What the orders have traded, summed up once for a decision: it sends and cancels, but fills nothing.

    `sold`: by leg, what its own exits have traded. `loose`: what of `sellable` no order list of an entry answers for
    (rule 13.1), while there are such lists; `beyond`: what these answer for and is not held.
    """

    holding: Holding
    sellable: Decimal
    loose: Decimal
    beyond: Decimal
    sold: dict[int, Decimal]

    def left(self, leg: Leg) -> Decimal:
        """As `leg_left`; of leg 0 what is not left to other orders."""
        return self.loose if leg.n == 0 else min(leg.qty - self.sold.get(leg.n, ZERO), self.sellable)

    def oversold(self, leg: Leg) -> Decimal:
        """What the leg has sold beyond its part."""
        over = self.sold.get(leg.n, ZERO) - leg.qty
        return over if leg.n and over > 0 else ZERO


def tally(position: Position, rules: SymbolRules) -> Tally:
    held = holding(position, rules)
    sold: dict[int, Decimal] = {}
    entering = isinstance(position.phase, Entering)
    bound = ZERO
    for order in position.orders:
        if order.cum_qty and order.is_exit:
            sold[order.leg] = sold.get(order.leg, ZERO) + order.cum_qty
        elif entering and order.list_id and order.is_entry:
            bound += _bound(position, order, rules)
    sellable = rules.whole(held.held)
    loose = rules.whole(held.held - bound + brought_too_large(position)) if bound else sellable
    return Tally(held, sellable, loose, rules.whole(bound - max(held.held, ZERO)), sold)


def _bound(position: Position, entry: Order, rules: SymbolRules) -> Decimal:
    """What of an entry its order list answers for: its exits stand or are about to, or the list keeps it locked until
    the entry has filled whole (rule 13.2).
    """
    exits = exits_of(position, entry.list_id)
    live = [o for o in exits if o.live]
    if any(not o.awaits for o in live):
        return list_leaves(exits)
    return received(entry, rules) if entry.live or (live and entry.end is End.FILLED) else ZERO


def brought_too_large(position: Position) -> Decimal:
    """What exits that an entry has brought could sell beyond what it has: it was made smaller, which they were not, and
    they are being cut (`handed_on`).
    """
    total = ZERO
    for entry in position.orders:
        sides = [o for o in exits_of(position, entry.list_id) if not o.awaits] if entry.hands_on is not None else []
        if any(o.live for o in sides):
            left = handed_on(entry) - sum([o.cum_qty for o in sides], ZERO)
            total += max(list_leaves(sides) - max(left, ZERO), ZERO)
    return total


def received(entry: Order, rules: SymbolRules) -> Decimal:
    """What is left of a long's entry after the commission in base; where that is not known, after the most."""
    if entry.side is not Direction.LONG.entry_side:
        return entry.cum_qty
    known = sum((f.qty for f in entry.fills), ZERO)
    paid = sum((f.fee for f in entry.fills if f.fee_asset == rules.base), ZERO)
    return entry.cum_qty - paid - rules.most_commission(entry.cum_qty - known)


def covers(order: Order, position: Position) -> bool:
    """Whether a live stop order stands behind its quantity: accepted, placed, untriggered, and its OCO's target
    untouched.

    The exchange removes the stop side when the target starts to fill (rule 5.6).
    """
    if order.phase is not _WORKING or not order.is_stop or order.triggered_at or order.awaits:
        return False
    return not order.list_id or not any(
        o.is_target and (o.cum_qty or not o.live) for o in position.orders if o.list_id == order.list_id
    )


def covered(position: Position) -> Decimal:
    """Base quantity that a live stop would sell (rule 1). Of two of which one has taken the other's place, its own: the
    other is gone, though its end may be told later (rule 5.5).
    """
    stops = [o for o in position.orders if o.phase is _WORKING and covers(o, position)]
    gave_way = {o.replaces for o in stops if o.replaces}
    return sum([o.qty - o.cum_qty for o in stops if o.id not in gave_way], ZERO)


def bare_since(position: Position, leg: Leg) -> int:
    """Since when the leg can have been without a stop (ms), 0 while everything is covered. What is bare of other legs,
    as beside a target at work (rule 5.6), or was of the entry's parts (3.5), says nothing of it.
    """
    since = position.exposure.since
    stops = (o for o in position.orders if o.leg == leg.n and o.is_stop and not o.live and o.end not in _NEVER_STOOD)
    return max([since, position.entered, *(o.closed_at for o in stops)]) if since else 0


def layout_of(position: Position) -> Layout:
    """How its exits are laid out: as its legs say, whatever is set by now. PLAIN's stop of the whole stands beside its
    targets (rule 4.3).
    """
    plain = any(not leg.n for leg in position.legs) and any(leg.n for leg in position.legs)
    return Layout.PLAIN if plain else Layout.OCO


def committed(position: Position, *, layout: Layout) -> Decimal:
    """Quantity that live exit orders, and exits in doubt, could still sell; an OCO counts once (rule 10.1).

    PLAIN's stop is left out: it overlaps its targets by design (rule 4.3). So is what awaits its entry: it can sell
    what that brings, and nothing else (rule 13.1).
    """
    exit_side = position.plan.direction.exit_side
    # An order is gone once the exchange knows the one that replaces it (rule 5.5).
    gave_way = {o.replaces for o in position.orders if o.replaces and o.exchange_id}
    total = ZERO
    lists: set[str] = set()
    rivals: dict[str, Decimal] = {}
    overlaps = layout is Layout.PLAIN
    for order in position.orders:
        if order.phase is _CLOSED or order.side is not exit_side or order.id in gave_way or order.role is _DEBT:
            continue
        if order.awaits:
            continue
        if overlaps and order.leg == 0 and order.is_stop:
            continue
        if order.list_id:
            lists.add(order.list_id)
        elif order.replaces and not order.exchange_id:
            if order.replaces not in gave_way:
                # Of those that are to take one order's place only one ever can (rule 8.3e).
                more = _beyond(order, find_order(position, order.replaces))
                rivals[order.replaces] = max(rivals.get(order.replaces, ZERO), more)
        else:
            total += order.leaves
    if rivals:
        total += sum(rivals.values(), ZERO)
    for list_id in lists:
        total += list_leaves(exits_of(position, list_id))
    return total


def list_leaves(sides: Sequence[Order]) -> Decimal:
    """What the sides of an OCO, one of which lives, could still trade: both draw on one quantity, and what one has sold
    the other can't. One of them alone may have been made smaller (faqs/stp_faq.md).
    """
    return max([o.qty for o in sides if o.live]) - sum([o.cum_qty for o in sides], ZERO)


def exits_of(position: Position, list_id: str) -> list[Order]:
    """The exits of an order list, without the entry that may have brought them."""
    return [o for o in position.orders if o.list_id == list_id and not o.is_entry]


def locked(position: Position) -> Decimal:
    """What the exchange keeps locked, at least, for the exits that are known to stand there, in base for a long, in
    quote for a short; an OCO's sides share one lock, and once one of them has filled the other has none, told or not.
    """
    long = position.plan.direction is Direction.LONG
    done = filled_lists(position)
    locks: dict[str, Decimal] = {}
    for order in position.orders:
        if order.phase is OrderPhase.WORKING and order.is_exit and not order.awaits and order.list_id not in done:
            name = order.list_id or order.id
            lock = order.leaves if long else order.leaves * (order.price or ZERO)
            locks[name] = min(lock, locks.get(name, lock))
    return sum(locks.values(), ZERO)


def expected_base(position: Position, rules: SymbolRules) -> Decimal | None:
    """Base that the account has, locked or free, as far as the trade's orders are known and nobody else moves any: at
    least so much with a long, at most so much with a short; None where it is not known what it had before.
    """
    if position.spare is None or (position.credit is not None and position.credit.shared):
        return None
    if position.plan.direction is Direction.SHORT:
        return position.spare - holding(position, rules).held
    exits = [o for o in position.orders if o.side is position.plan.direction.exit_side]
    fees = sum([f.fee for o in exits for f in o.fills if f.fee_asset == rules.base], ZERO)
    held = holding(position, rules)
    return position.spare + held.held - held.lent - fees


def taken_from_its_base(position: Position, owed: OwnDebt, account: MarginAccount, rules: SymbolRules) -> Decimal:
    """What of a short's debt somebody else has repaid with base that its own exits had bought, or that was borrowed for
    it and never sold: less is owed, and as much less is there, so it is still to be bought. Of base that the account
    has besides, theirs is gone first.
    """
    traded = holding(position, rules)
    not_lent = traded.entered - owed.borrowed - (position.spare or ZERO)
    not_sold = owed.borrowed - owed.repaid - traded.entered
    got = debt.bought(position, rules, traded.left) - max(not_lent, ZERO) + max(not_sold, ZERO)
    return min(owed.by_hand, max(got - account.total(rules.base), ZERO))


def filled_lists(position: Position) -> set[str]:
    """The OCOs of which one side has filled: the exchange has ended the other."""
    return {o.list_id for o in position.orders if o.list_id and o.end is End.FILLED and not o.is_entry}


def _beyond(order: Order, old: Order | None) -> Decimal:
    """What `order` could sell beyond the one that it replaces: the two can't both stand (rule 5.5), and one that has
    begun to fill is not replaced any more.
    """
    if old is None or not (old.live or old.cum_qty):
        return order.leaves
    return ZERO if old.cum_qty else max(order.leaves - old.leaves, ZERO)


def held_since(position: Position) -> int:
    """From when `MAX_HOLD_SEC` counts (ms, rule 6.7): of a trade that the operator has adopted from then on, and not
    from when an entry was taken that Executor may have known nothing of (rule 9.3).
    """
    return position.entered if position.taken else position.opened


def entry_average(position: Position) -> Decimal | None:
    """Average price of the entry's fills; None before the first."""
    return average([o for o in position.orders if o.is_entry])


def average(orders: list[Order]) -> Decimal | None:
    qty = sum((o.cum_qty for o in orders), ZERO)
    return sum((o.value for o in orders), ZERO) / qty if qty else None


def commissions(position: Position) -> dict[str, Decimal]:
    """What the trade's fills paid, by asset."""
    paid: dict[str, Decimal] = {}
    for order in position.orders:
        for fill in order.fills:
            if fill.fee:
                paid[fill.fee_asset] = paid.get(fill.fee_asset, ZERO) + fill.fee
    return dict(sorted(paid.items()))


def exit_orders(position: Position) -> list[Order]:
    return [o for o in position.orders if o.is_exit]
