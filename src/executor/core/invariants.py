"""What must always hold (rule 10), as code. Run after each transition, by `executor check`, and by the simulation.

Each check returns the sentence of what is wrong; an empty list is a sound state. A violation is a defect of ours,
never of the market: the service halts new entries and alerts, and goes on looking after the position.

`unsound` looks at all of one state. `violations` looks at what a step has changed: a part that is the same object
before and after was looked at when it was new.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from executor.core import margin_invariants as margin
from executor.core.book import brackets, retire
from executor.core.book.ledger import (
    brought_too_large,
    committed,
    covered,
    exits_of,
    holding,
    layout_of,
    leg_sold,
    list_leaves,
)
from executor.core.book.levels import is_safer
from executor.core.model.ids import Role, parse
from executor.core.model.intents import Command, OrderCommand, Placement, placed
from executor.core.model.orders import REVOCABLE
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import (
    Closing,
    End,
    Entering,
    Leg,
    Order,
    OrderPhase,
    Position,
    Protected,
    Repaying,
    State,
    Unprotected,
)
from executor.core.model.values import ZERO, on_grid, plain

_SUBMITTED: Final = OrderPhase.SUBMITTED  # to look up a member of an enum takes ten times as long


class View(NamedTuple):
    """What a check may look at. `fresh`: the orders that nobody has looked at yet; `held`, `most`: base, as in
    `Holding`.
    """

    state: State
    position: Position
    policy: Policy
    rules: SymbolRules
    fresh: Sequence[Order]
    held: Decimal
    most: Decimal


def unsound(state: State, policy: Policy, rules: SymbolRules) -> list[str]:
    """What `state` breaks, seen alone."""
    position = state.position
    if position is None:
        return [*_flat(state), *margin.flat(state), *margin.owed(state)]
    return _alone(state, position, position.orders, policy, rules)


def violations(before: State, after: State, policy: Policy, rules: SymbolRules) -> list[str]:
    """What the step from `before` to `after` breaks.

    A `before` that is halted, perhaps by a violation, or that was read from the disk is not taken for sound: all of
    `after` is looked at then.
    """
    old, new = before.position, after.position
    proven = not before.halted and not after.started
    if proven and new is old and after.outbox is before.outbox and after.loan is before.loan:
        return []
    lent = list(margin.in_time(before, after, rules)) if after.loan is not before.loan else []
    if new is None or old is None or new.trade != old.trade:
        return [*unsound(after, policy, rules), *lent]
    known = {id(order) for order in old.orders} if proven else set()
    found = lent + _alone(after, new, [order for order in new.orders if id(order) not in known], policy, rules)
    for number, compare in _IN_TIME:
        found += [f"{number}: {text}" for text in compare(old, new)]
    return found


def _alone(state: State, position: Position, fresh: Sequence[Order], policy: Policy, rules: SymbolRules) -> list[str]:
    holds = holding(position, rules)
    view = View(state, position, policy, rules, fresh, holds.held, holds.held if holds.most is None else holds.most)
    found = [f"{number}: {text}" for number, check in _ALONE for text in check(view)]
    return [*found, *margin.owed(state), *margin.credit(state, position, rules)]


def _flat(state: State) -> Iterator[str]:
    """10.3: no trade, no orders: nothing is owed to the exchange either."""
    for owed in state.outbox:
        if isinstance(owed.request, OrderCommand):
            yield f"10.3: no trade is open, but {owed.request!r} is owed"


def _sold_once(view: View) -> Iterator[str]:
    """10.1: what live exits and exits in doubt could still sell never exceeds what is held.

    While a request to cancel is unanswered its order still counts. Orders that rule 8.3b keeps apart count once, and
    what a fill after a cancel has sold too much is being bought back (6.3).
    """
    position, layout = view.position, layout_of(view.position)
    awaited, most = brackets.awaited(position, view.rules), max(view.most, ZERO)
    selling = committed(position, layout=layout) + awaited
    if selling <= most:
        return
    if any(order.live for order in position.orders[: position.taken]):
        return  # nobody here has sent these, and they are being cancelled
    if position.credit is not None and margin.find(view.state, position.credit.asset).by_hand:
        return  # what was to be bought back is not owed any more: it is being cancelled (11.11)
    selling -= _apart(position) + _overtaken(position) + _sold_meanwhile(position)
    selling -= min(_sold_twice(position), awaited + _being_cancelled(position)) + brought_too_large(position)
    if selling <= most:
        return
    if layout is Layout.PLAIN:
        beside, oversold = " beside the stop", any(o.is_stop and o.cum_qty for o in position.orders)
    else:
        overdone = any(_overdone(position, leg) for leg in position.legs if leg.n)
        beside, oversold = "", overdone or _interim_sold(position)
    if not oversold:
        yield f"{plain(selling)} could be sold{beside}, {plain(view.held)} are held"


def _apart(position: Position) -> Decimal:
    """What exits under rule 8.3b name beyond the largest of them: the exchange's own lock forbids it. As exits do that
    are there after all, beside the ones sent in their place: of those all but one are being cancelled.
    """
    total = ZERO
    for kin in _kin(position):
        sold = sum((o.cum_qty for o in kin), ZERO)
        naming = ZERO
        for name in {o.list_id or o.id for o in kin if o.live}:
            sides = [o for o in kin if name in (o.list_id, o.id)]
            naming += list_leaves(sides)
        total += max(naming - max(max(o.qty for o in kin) - sold, ZERO), ZERO)
    return total


def _kin(position: Position) -> Iterator[list[Order]]:
    """By leg, exits that were kept apart (rule 8.3b), or are there after all, with those sent in their place."""
    exits = [o for o in position.orders if o.is_exit and (o.live or o.cum_qty)]  # no other sells anything
    for leg in {o.leg for o in exits if o.apart or o.back}:
        kin = [o for o in exits if o.leg == leg]
        yield kin[next(i for i, o in enumerate(kin) if o.apart or o.back) :]


def _sold_twice(position: Position) -> Decimal:
    """What exits under rule 8.3b have sold beyond the largest of them, but for `_overtaken`: the first came in so late
    that nothing kept the two apart. Or interim stops of which one has taken the other's place, and that one's fill is
    told only after (5.5). Exits that an entry has brought are too large by it: what awaits to be placed can't be cut
    yet, and what is being cancelled is (13.1).
    """
    replaced, total = _replaced(position), ZERO
    interim = [o for o in position.orders if not o.leg and o.is_stop and o.cum_qty]
    for kin in [interim, *(kin for kin in _kin(position) if kin[0].leg)]:
        sold = sum((o.cum_qty for o in kin if o.live or o.id not in replaced), ZERO)
        total += max(sold - max((o.qty for o in kin), default=ZERO), ZERO)
    return total


def _being_cancelled(position: Position) -> Decimal:
    """What exits that entries have brought could still sell until their cancels are answered, or the looks that a close
    has first.
    """
    closing = isinstance(position.phase, Closing)
    brought = {o.list_id for o in position.orders if o.is_entry and o.list_id}
    lists = [[o for o in exits_of(position, name) if not o.awaits] for name in brought]
    ending = [sides for sides in lists if any(o.live and (o.cancelling or (closing and o.check)) for o in sides)]
    return sum([list_leaves(sides) for sides in ending], ZERO)


def _overtaken(position: Position) -> Decimal:
    """What stops sold while they were being replaced: the new ones are too large by it, and are being cut (5.5)."""
    replaced = _replaced(position)
    return sum([o.cum_qty for o in position.orders if o.id in replaced and not o.live], ZERO)


def _replaced(position: Position) -> set[str]:
    return {o.replaces for o in position.orders if o.replaces and o.live}


def _sold_meanwhile(position: Position) -> Decimal:
    """What cancelled exits have sold, told only after what they were cancelled for was sent, beside `_overtaken`. Where
    that is a market order, the excess is looked for, and bought back (6.3); a close may sell in pieces, and it shows
    once the last is known. An exit in the place of one that was moved, or put back, is cut once it stands (5.1, 5.5):
    in doubt it can't be.
    """
    closing, replaced = isinstance(position.phase, Closing), _replaced(position)
    exits = [o for o in position.orders if o.is_exit]
    later = [o for o in exits if o.live or (closing and o.role is Role.FLATTEN)]
    late = [
        o.cum_qty
        for o in exits
        if (o.recheck or o.cancelling) and not (o.live or o.id in replaced)
        if any(_sent_before_told(new, o) for new in later)
    ]
    return sum(late, ZERO)


def _sent_before_told(new: Order, ended: Order) -> bool:
    if new.role is Role.FLATTEN:
        return new.leg in (0, ended.leg) and ended.heard_at >= new.sent_at
    # What was told as it ended, in the instant in which the new one is sent, is no excuse for its size.
    told_after = new.sent_at < ended.heard_at or ended.closed_at < new.sent_at == ended.heard_at
    return new.leg == ended.leg and ended.sent_at < new.sent_at and told_after


def _interim_sold(position: Position) -> bool:
    """Whether the interim stop, cancelled for the final exits, had sold after all: the trade is being closed for it."""
    interim = (o for o in position.orders if o.leg == 0 and o.is_stop and not o.live)
    return any(o.cum_qty for o in interim) and all(leg.n for leg in position.legs)


def _overdone(position: Position, leg: Leg) -> bool:
    return leg_sold(position, leg) > leg.qty


def _covered_or_watched(view: View) -> Iterator[str]:
    """10.2: open and quiet means covered, or counted as exposed and watched."""
    position = view.position
    if isinstance(position.phase, Repaying):
        return  # what is left then is dust, and no order is taken for it (3.6)
    held, safe = view.rules.whole(view.held), covered(position)
    if held > safe and not position.exposure.since:
        yield f"{plain(held - safe)} are bare and nobody counts the time"
    match position.phase:
        case Protected() if held > safe:
            yield f"called protected, but {plain(held - safe)} are bare"
        case Unprotected() if held <= safe:
            yield "called unprotected, but everything is covered"
    if isinstance(position.phase, Unprotected):
        idle = not any(isinstance(o.request, Command) for o in view.state.outbox)
        unwatched = [leg for leg in position.legs if leg.stop is None and leg.target is None]
        if idle and unwatched:
            yield f"legs {[leg.n for leg in unwatched]} have neither stop nor target nor watch"


def _owed(view: View) -> Iterator[str]:
    """What was sent and not answered is owed."""
    submitted = [o.id for o in view.position.orders if o.phase is _SUBMITTED]
    if not submitted:
        return
    owed: set[str] = set()
    for entry in view.state.outbox:
        if isinstance(entry.request, Placement):
            owed.update(placed(entry.request))
    for name in submitted:
        if name not in owed:
            yield f"{name} is called submitted, but nothing is owed for it"


def _named_once(view: View) -> Iterator[str]:
    """No id ever names two orders (rule 1)."""
    orders = view.position.orders
    if len({o.id for o in orders}) < len(orders):
        for name, count in Counter(o.id for o in orders).items():
            if count > 1:
                yield f"{name} is not a fresh id: {count} orders have it"


def _well_formed(view: View) -> Iterator[str]:
    """Every order is ours, on the grid, and ended as it says."""
    trade = view.position.trade
    for order in view.fresh:
        name = parse(order.id)
        if name is None or name.trade != trade:
            yield f"{order.id} is not a fresh id of trade {trade}"
        if order.sent_at == view.state.market.now and order.live:
            yield from _on_grid(order, view.rules)  # what was sent before, or is over, was on the grid of then
        if order.cum_qty > order.qty or order.cum_qty < 0:
            yield f"{order.id}: {plain(order.cum_qty)} filled of {plain(order.qty)}"
        if order.live != (order.end is None):
            yield f"{order.id}: {order.phase} with end {order.end}"
        if order.end is End.FILLED and order.cum_qty < order.qty:
            yield f"{order.id} is called filled with {plain(order.leaves)} left"


def _on_grid(order: Order, rules: SymbolRules) -> Iterator[str]:
    if not on_grid(order.qty, rules.step) or order.qty <= 0:
        yield f"{order.id}: quantity {plain(order.qty)} is not in steps of {plain(rules.step)}"
    for price in (order.price, order.stop_price):
        if price is not None and (fault := rules.price_fault(price)) is not None:
            yield f"{order.id}: {fault}"


def _entry_bounded(view: View) -> Iterator[str]:
    """2.3: never more is bought, or could still be bought, than was planned; by one order, or one for each leg
    (13.1). Of one that was taken for ended and is there after all, what has filled counts: it is being cancelled.
    """
    position = view.position
    entering = isinstance(position.phase, Entering)
    could, live, alone = ZERO, [], False
    for order in position.orders:
        if not order.is_entry:
            continue
        if order.live and not (order.back and (order.cancelling or not entering)):
            could += order.qty
            live.append(order.leg)
            alone = alone or not order.list_id
        else:
            could += order.cum_qty
    if could > position.plan.qty:
        yield f"{plain(could)} could be entered, {plain(position.plan.qty)} were planned"
    if alone and len(set(live)) < len(live):
        yield f"{len(live)} entry orders are live"
    if live and not (entering or isinstance(position.phase, Closing)):
        yield "the entry is called complete, but an entry order is live"


def _stop_holds(old: Position, new: Position) -> Iterator[str]:
    """10.4: the stop never moves against the position."""
    stops = {leg.n: leg.stop for leg in old.legs}
    for leg in new.legs:
        before = stops.get(leg.n)
        if before is not None and leg.stop is not None and is_safer(before, leg.stop, new.plan.direction):
            yield f"leg {leg.n}: stop moved from {plain(before)} to {plain(leg.stop)}"


def _only_grows(old: Position, new: Position) -> Iterator[str]:
    """5.1: cumulative quantities never fall, ended orders stay ended, none is forgotten but those let go on record."""
    if new.retired < old.retired or new.revs < old.revs:
        yield f"revs {old.revs}, retired below {old.retired}; then {new.revs}, {new.retired}"
    known = {o.id: o for o in new.orders}
    for order in old.orders:
        now = known.get(order.id)
        if now is order:
            continue
        if now is None:
            if not (retire.settled(order) and retire.was_retired(new, order.id)):
                yield f"{order.id} was forgotten"
        elif now.cum_qty < order.cum_qty:
            yield f"{order.id}: filled {plain(now.cum_qty)} after {plain(order.cum_qty)}"
        elif not order.live and now.live and order.end not in REVOCABLE:
            yield f"{order.id} came back to life"


_Alone = Callable[[View], Iterator[str]]
_InTime = Callable[[Position, Position], Iterator[str]]
_ALONE: Final[tuple[tuple[str, _Alone], ...]] = (
    ("10.1", _sold_once),
    ("10.2", _covered_or_watched),
    ("8.1", _owed),
    ("1", _named_once),
    ("1", _well_formed),
    ("2.3", _entry_bounded),
)
_IN_TIME: Final[tuple[tuple[str, _InTime], ...]] = (("10.4", _stop_holds), ("5.1", _only_grows))
