"""Decide while entering (rule 3): the limit, its timeout, Plan B, and the interim stop under a partly filled entry."""

from decimal import Decimal

from msgspec.structs import replace

from executor.core.book.borrowing import planb_bounds, worst_price
from executor.core.book.ledger import exits_of, handed_on
from executor.core.book.levels import safer
from executor.core.book.plan import Split, split, split_rest, target_of
from executor.core.decide import borrow, brackets, margin_level, single_stops, stops, suspended
from executor.core.decide.draft import OUTLIVED, Draft
from executor.core.decide.price_guard import fresh_quote, past_plan, planb_refusal
from executor.core.model.facts import PASSING
from executor.core.model.ids import Role
from executor.core.model.policy import EntryMode, Layout, PlanBOrder
from executor.core.model.state import End, Entering, Leg, Order, OrderPhase, Reason, Unprotected
from executor.core.model.values import ZERO, OrderType

_PLANB_MAX = 3  # Plan B is a race against the price: two more tries where the first never left, then no more
_PLANB_WAIT_MS = 5 * 60_000  # the longest window of a limit of requests: a ban, or a day's order count, lasts longer


def decide(draft: Draft, phase: Entering) -> None:
    """The limit order, or one for each leg (rule 13.1), until its time is up, its cancel (rule 3.2), Plan B, and then
    what is held.
    """
    if margin_level.tend(draft):
        return
    if draft.position.taken:
        _take_over(draft, phase)
        return
    phase = _watch(draft, phase)
    position = draft.position
    entries = [o for o in position.orders if o.is_entry]
    if not entries and phase.end is None:
        _place_entry(draft, position.plan.qty)
        return
    live = [o for o in entries if o.live]
    if any(o.check for o in entries if not o.live):
        _interim(draft, phase)
        return
    if live:
        _cancel_due(draft, phase, live)
    rest = draft.rules.whole(position.plan.qty - sum([o.qty if o.live else o.cum_qty for o in entries], ZERO))
    waits = any(o.is_planb or not o.list_id for o in live) or (live and draft.now >= phase.give_up_at)
    if live and not draft.rules.carries(rest, position.plan.entry):
        waits = True  # what a part has left is too little for an entry of its own
    ended = [o for o in entries if not o.live]
    if ended and phase.end is None and rest > 0 and not waits:
        phase = _go_on(draft, phase, _newest(ended), rest)
    if live or (phase.end is None and rest > 0):
        _interim(draft, phase)
        return
    if phase.end is not Reason.SL and brackets.unsettled(draft):
        _interim(draft, phase)
        return
    _complete(draft, phase)


def _cancel_due(draft: Draft, phase: Entering, live: list[Order]) -> None:
    """Cancel the entries whose time is up, and those that would enter more than was planned: one of them was called
    refused or gone, and is there after all.
    """
    room = draft.position.plan.qty - sum((o.cum_qty for o in draft.position.orders if o.is_entry and not o.live), ZERO)
    late = draft.now >= phase.give_up_at
    for order in reversed(live):
        room -= order.qty
        due = phase.end is not None or (late and not order.is_planb) or brackets.stalled(draft, order)
        if order.phase is OrderPhase.WORKING and (due or room < 0):
            draft.cancel([order])


def _newest(ended: list[Order]) -> Order:
    """Of entries that have ended, the newest that has left something to be entered; else the newest."""
    newest = [o for o in ended if o.sent_at == ended[-1].sent_at]
    return next((o for o in reversed(newest) if o.leaves), newest[-1])


def _take_over(draft: Draft, phase: Entering) -> None:
    """A trade adopted on the operator's word: the orders that it came with go first, then it gets exits (rule 9.3). One
    that no cancel rids the book of is not waited for: what it can't sell is covered beside it (rule 8.7).
    """
    inherited = [o for o in draft.position.orders[: draft.position.taken] if o.live]
    draft.dismiss(inherited)
    if any(o.cancels < OUTLIVED for o in inherited):
        return
    _complete(draft, phase)


def _place_entry(draft: Draft, qty: Decimal) -> None:
    plan = draft.position.plan
    if pieces := brackets.pieces(draft, qty):
        for leg, piece in pieces:
            brackets.enter(draft, leg, piece, plan.entry)
        return
    if draft.policy.entry_mode is EntryMode.MARKET_ONLY:
        order = draft.order(Role.ENTRY, plan.direction.entry_side, OrderType.MARKET, qty)
    else:
        order = draft.order(Role.ENTRY, plan.direction.entry_side, OrderType.LIMIT, qty, price=plan.entry)
    draft.place(order)


def _go_on(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    """No entry order is live and something is still to be bought: again, Plan B, or no more. While the service ends,
    that is left to the next start (rule 9.5).
    """
    if draft.market.ending:
        return phase
    if (reason := borrow.not_owed(draft) if draft.rules.tradable else Reason.REJECTED) is not None:
        return _end(draft, phase, reason)
    if any(o.end is End.NEVER and not o.unlisted for o in draft.position.orders if o.is_entry):
        return _end(draft, phase, Reason.ENTRY_TIMEOUT)  # it may have filled under an id that nothing has shown
    in_time = draft.now < phase.give_up_at
    if last.is_planb:
        return _after_planb(draft, phase, last, rest)
    if last.end is End.REFUSED and last.refusal not in PASSING and not last.list_id:
        return _end(draft, phase, Reason.REJECTED)
    unborn = last.end in (End.REFUSED, End.NEVER)
    part = bool(last.list_id) and last.cancelling and draft.rules.carries(rest, draft.position.plan.entry)
    if (unborn or part) and in_time:
        return _enter_again(draft, phase, last, rest) if draft.now >= phase.retry_at else phase
    if last.type is OrderType.MARKET:
        return _end(draft, phase, Reason.REJECTED)
    if not unborn and not last.cancelling:
        return _end(draft, phase, Reason.ENTRY_CANCELLED)  # taken away by somebody else: not ours to overrule
    if draft.policy.entry_mode is EntryMode.LIMIT_THEN_MARKET:
        return _plan_b(draft, phase, last, rest)
    return _end(draft, phase, Reason.ENTRY_TIMEOUT)


def _enter_again(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    """What never came to be, or was left of a part (rule 13.2), is sent once more, if the price has not run past the
    stop or TP1 meanwhile (rule 3.3b).
    """
    quote = fresh_quote(draft, last.closed_at)
    if quote is None:
        draft.query_quote()
        return phase
    if (reason := past_plan(draft, quote)) is not None:
        return _end(draft, phase, reason)
    _place_entry(draft, rest)
    return phase


def _after_planb(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    tries = len({o.sent_at for o in draft.position.orders if o.is_planb})
    again = last.refusal in PASSING or brackets.refused(last)
    soon = phase.retry_at <= last.closed_at + _PLANB_WAIT_MS
    if last.end is End.REFUSED and again and soon and tries < _PLANB_MAX:
        return _plan_b(draft, phase, last, rest) if draft.now >= phase.retry_at else phase
    if last.end is End.FILLED:
        return _plan_b(draft, phase, last, rest)  # a piece: the rest is more than one market order may carry
    if last.end is End.EXPIRED and last.type is OrderType.LIMIT:
        return _end(draft, phase, Reason.PLANB_DEVIATION)
    return _end(draft, phase, Reason.PLANB_REFUSED)


def _plan_b(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    """Buy the rest at market if the price is still near enough (rule 3.3)."""
    plan, policy, rules = draft.position.plan, draft.policy, draft.rules
    quote = fresh_quote(draft, last.closed_at)
    if quote is None:
        if not phase.no_price:
            draft.query_quote()
            return phase
        if policy.planb_require_price:
            return _end(draft, phase, Reason.PLANB_NO_PRICE)
        quote = draft.market.quote  # an old one is better than none
    if quote is not None and (reason := planb_refusal(draft, quote)) is not None:
        return _end(draft, phase, reason)
    qty = rules.market_piece(rest, plan.entry)
    if not qty:
        return _end(draft, phase, Reason.ENTRY_TIMEOUT)
    if phase.no_price:  # of this order; before the next one it is asked for anew
        phase = replace(phase, no_price=False)
        draft.enter(phase)
    side = plan.direction.entry_side
    if planb_bounds(plan, policy) and (pieces := brackets.pieces(draft, rest)):
        for leg, piece in pieces:
            brackets.enter(draft, leg, piece, worst_price(plan, policy, rules), planb=True)
        return phase
    if policy.planb_order is PlanBOrder.LIMIT_IOC:
        order = draft.order(Role.PLANB, side, OrderType.LIMIT, qty, price=worst_price(plan, policy, rules), ioc=True)
    else:
        order = draft.order(Role.PLANB, side, OrderType.MARKET, qty)
    draft.place(order)
    return phase


def _end(draft: Draft, phase: Entering, reason: Reason) -> Entering:
    ended = replace(phase, end=reason)
    draft.enter(ended)
    return ended


def _watch(draft: Draft, phase: Entering) -> Entering:
    """A stop under the partly filled entry was reached: nothing more is bought (rules 3.5, 6.4). Nor is it where a part
    has left at its target already (rule 13.1), or the margin level is too low (11.10).

    The stop counts even where the entry has ended otherwise: at its stop, that is what the trade ends for.
    """
    if phase.end is Reason.SL:
        return phase
    position = draft.position
    stopped = any(o.cum_qty or o.triggered_at for o in position.orders if o.is_stop)
    breached = any(leg.leave or stops.breached(draft, leg) for leg in position.legs)
    if stopped or (breached and any(o.cum_qty for o in position.orders if o.is_entry)):
        return _end(draft, phase, Reason.SL)
    if phase.end is None and any(o.cum_qty for o in position.orders if o.is_target):
        return _end(draft, phase, Reason.PLANB_PAST_TP1)
    if phase.end is None and margin_level.forbids_entry(draft):
        return _end(draft, phase, Reason.MARGIN_LEVEL)
    return phase


def _interim(draft: Draft, phase: Entering) -> None:
    """Cover what is held so far (rule 3.5). Where its stops have sold too much, no exit that stands beside them waits
    for the entries' cancels (rule 10.1).
    """
    if phase.end is Reason.SL and draft.tally.beyond > 0:
        draft.close(Reason.SL)
        return
    position = draft.position
    if not any(o.cum_qty for o in position.orders if o.is_entry):
        return
    if not position.legs:
        draft.update(legs=(Leg(n=0, qty=ZERO, stop=position.plan.stop),))
    if suspended.waits(draft):
        return
    single_stops.tend(draft, draft.position.legs[0])


def _complete(draft: Draft, phase: Entering) -> None:
    """All that will be bought is bought: size the exits by what is held (rule 3.4), or be done."""
    position = draft.position
    held = draft.tally.holding
    reason = phase.end or Reason.ENTRY_TIMEOUT
    if not held.entered:
        draft.close(reason)
        return
    if not held.certain and not position.guess_fees:
        for order in position.orders:
            if order.is_entry and order.unpriced_qty > 0:
                draft.query_trades(order)
        _interim(draft, phase)
        return
    draft.update(entered=draft.now)
    if phase.end is Reason.SL:
        draft.close(Reason.SL)
        return
    if not size_exits(draft):
        draft.close(reason if phase.end else Reason.REJECTED)


def size_exits(draft: Draft) -> bool:
    """Give what is held its legs (rule 3.4), so that exits are tended from here on; False when it is too little."""
    qty = draft.tally.sellable
    stood = _stood(draft)
    if stood:
        sizes = _beside(draft, stood)
    elif (parts := split(qty, draft.position.plan, draft.policy, draft.rules)) is not None:
        sizes = parts
    else:
        return False
    draft.update(split=sizes, legs=_legs(draft, qty, sizes))
    draft.enter(Unprotected(since=draft.now, deadline=draft.now + draft.policy.failsafe_grace_ms))
    return True


def _stood(draft: Draft) -> dict[int, Decimal]:
    """By leg, what its entry's own exits stand for, or have sold (rule 13.1)."""
    stood: dict[int, Decimal] = {}
    for entry in draft.position.orders:
        if not entry.is_entry or entry.hands_on is None:
            continue
        exits = exits_of(draft.position, entry.list_id)
        live = [o.qty for o in exits if o.live]
        qty = max(live) if live else sum((o.cum_qty for o in exits), ZERO)
        if qty := min(qty, handed_on(entry)):
            stood[entry.leg] = stood.get(entry.leg, ZERO) + qty
    return stood


def _beside(draft: Draft, stood: dict[int, Decimal]) -> Split:
    """The legs' sizes where some of them have their exits already: the rest of what is held goes to the others, or,
    where it is too little for any, to one that has.
    """
    rest = draft.tally.loose
    free = [n for n in (1, 2, 3) if n not in stood]
    sizes = split_rest(rest, free, draft.position.plan, draft.policy, draft.rules) if rest else None
    one, two, three = sizes or (ZERO, ZERO, ZERO)
    found = {1: one, 2: two, 3: three}
    for n, qty in stood.items():
        found[n] += qty
    if sizes is None:
        found[max(stood)] += rest
    return found[1], found[2], found[3]


def _legs(draft: Draft, qty: Decimal, sizes: tuple[Decimal, Decimal, Decimal]) -> tuple[Leg, ...]:
    position = draft.position
    plan = position.plan
    plain = draft.policy.layout is Layout.PLAIN
    stop = plan.stop
    for leg in position.legs:
        stop = safer(leg.stop or stop, stop, plan.direction)
    legs = [
        Leg(n=n, qty=size, target=target_of(n, plan), stop=None if plain else stop)
        for n, size in enumerate(sizes, 1)
        if size > 0 and not (plain and target_of(n, plan) is None)
    ]
    if plain:
        whole = next((leg for leg in position.legs if leg.n == 0), None)
        legs.append(replace(whole or Leg(n=0, qty=qty, stop=stop), qty=qty))
    return tuple(legs)
