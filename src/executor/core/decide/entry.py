"""Decide while entering (rule 3): the limit, its timeout, Plan B, and the interim stop under a partly filled entry."""

from decimal import Decimal

from msgspec.structs import replace

from executor.core.book.borrowing import planb_bounds, worst_price
from executor.core.book.levels import beyond, past, safer
from executor.core.book.plan import split, target_of
from executor.core.decide import single_stops, suspended
from executor.core.decide.draft import Draft
from executor.core.model.facts import PASSING, Quote
from executor.core.model.ids import Role
from executor.core.model.policy import EntryMode, Layout, PlanBOrder
from executor.core.model.state import End, Entering, Leg, Order, OrderPhase, Reason, Unprotected
from executor.core.model.values import ZERO, Direction, OrderType

_PLANB_MAX = 3  # Plan B is a race against the price: two more tries where the first never left, then no more


def decide(draft: Draft, phase: Entering) -> None:
    """The limit order until its time is up, its cancel (rule 3.2), Plan B, and then what is held."""
    if draft.position.taken:
        _take_over(draft, phase)
        return
    phase = _watch(draft, phase)
    position = draft.position
    entries = [o for o in position.orders if o.is_entry]
    if not entries and phase.end is None:
        _place_entry(draft)
        return
    live = [o for o in entries if o.live]
    if any(o.check for o in entries if not o.live):
        _interim(draft)
        return
    if live:
        if len(live) > 1:  # one of them was called refused or gone, and is there after all
            draft.cancel([o for o in live[:-1] if o.phase is OrderPhase.WORKING])
        if phase.end is not None or (draft.now >= phase.give_up_at and any(o.role is Role.ENTRY for o in live)):
            draft.cancel([o for o in live if o.phase is OrderPhase.WORKING])
        _interim(draft)
        return
    rest = draft.rules.whole(position.plan.qty - sum((o.cum_qty for o in entries), ZERO))
    if entries and phase.end is None and rest > 0:
        phase = _go_on(draft, phase, entries[-1], rest)
        if phase.end is None:
            _interim(draft)
            return
    _complete(draft, phase)


def _take_over(draft: Draft, phase: Entering) -> None:
    """A trade adopted on the operator's word: the orders that it came with go first, then it gets exits (rule 9.3)."""
    inherited = [o for o in draft.position.orders[: draft.position.taken] if o.live]
    if inherited:
        draft.dismiss(inherited)
        return
    _complete(draft, phase)


def _place_entry(draft: Draft) -> None:
    plan = draft.position.plan
    bought = sum((o.cum_qty for o in draft.position.orders if o.is_entry), ZERO)
    qty = draft.rules.whole(plan.qty - bought)
    if draft.policy.entry_mode is EntryMode.MARKET_ONLY:
        order = draft.order(Role.ENTRY, plan.direction.entry_side, OrderType.MARKET, qty)
    else:
        order = draft.order(Role.ENTRY, plan.direction.entry_side, OrderType.LIMIT, qty, price=plan.entry)
    draft.place(order)


def _go_on(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    """No entry order is live and something is still to be bought: again, Plan B, or no more."""
    if not draft.rules.tradable:
        return _end(draft, phase, Reason.REJECTED)
    in_time = draft.now < phase.give_up_at
    if last.role is Role.PLANB:
        return _after_planb(draft, phase, last, rest)
    if last.end is End.REFUSED and last.refusal not in PASSING:
        return _end(draft, phase, Reason.REJECTED)
    unborn = last.end in (End.REFUSED, End.NEVER)
    if unborn and in_time:
        return _enter_again(draft, phase, last) if draft.now >= phase.retry_at else phase
    if last.type is OrderType.MARKET:
        return _end(draft, phase, Reason.REJECTED)
    if not unborn and not last.cancelling:
        return _end(draft, phase, Reason.ENTRY_CANCELLED)  # taken away by somebody else: not ours to overrule
    if draft.policy.entry_mode is EntryMode.LIMIT_THEN_MARKET:
        return _plan_b(draft, phase, last, rest)
    return _end(draft, phase, Reason.ENTRY_TIMEOUT)


def _enter_again(draft: Draft, phase: Entering, last: Order) -> Entering:
    """What never came to be is sent once more, if the price has not run past the stop or TP1 meanwhile (rule 3.3b)."""
    quote = draft.market.quote
    if quote is None or quote.at < max(last.closed_at, draft.now - draft.policy.quote_max_age_ms):
        draft.query_quote()
        return phase
    if (reason := _past_plan(draft, quote)) is not None:
        return _end(draft, phase, reason)
    _place_entry(draft)
    return phase


def _after_planb(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    tries = sum(1 for o in draft.position.orders if o.role is Role.PLANB)
    if last.end is End.REFUSED and last.refusal in PASSING and tries < _PLANB_MAX:
        return _plan_b(draft, phase, last, rest) if draft.now >= phase.retry_at else phase
    if last.end is End.FILLED:
        return _plan_b(draft, phase, last, rest)  # a piece: the rest is more than one market order may carry
    if last.end is End.EXPIRED and last.type is OrderType.LIMIT:
        return _end(draft, phase, Reason.PLANB_DEVIATION)
    return _end(draft, phase, Reason.PLANB_REFUSED)


def _plan_b(draft: Draft, phase: Entering, last: Order, rest: Decimal) -> Entering:
    """Buy the rest at market if the price is still near enough (rule 3.3)."""
    plan, policy, rules = draft.position.plan, draft.policy, draft.rules
    quote = draft.market.quote
    if quote is None or quote.at < max(last.closed_at, draft.now - policy.quote_max_age_ms):
        if not phase.no_price:
            draft.query_quote()
            return phase
        if policy.planb_require_price:
            return _end(draft, phase, Reason.PLANB_NO_PRICE)
        quote = None
    if quote is not None and (reason := planb_refusal(draft, quote)) is not None:
        return _end(draft, phase, reason)
    qty = rules.market_piece(rest, plan.entry)
    if not qty:
        return _end(draft, phase, Reason.ENTRY_TIMEOUT)
    side = plan.direction.entry_side
    if policy.planb_order is PlanBOrder.LIMIT_IOC:
        order = draft.order(Role.PLANB, side, OrderType.LIMIT, qty, price=worst_price(plan, policy, rules), ioc=True)
    else:
        order = draft.order(Role.PLANB, side, OrderType.MARKET, qty)
    draft.place(order)
    return phase


def planb_refusal(draft: Draft, quote: Quote) -> Reason | None:
    """Which bound of rule 3.3 the price fails; None when it may be bought."""
    if (reason := _past_plan(draft, quote)) is not None:
        return reason
    plan = draft.position.plan
    price = quote.ask if plan.direction is Direction.LONG else quote.bid
    deviation = plan.direction.sign * (price - plan.entry)
    if any(deviation > bound for bound in planb_bounds(plan, draft.policy)):
        return Reason.PLANB_DEVIATION
    return None


def _past_plan(draft: Draft, quote: Quote) -> Reason | None:
    """Whether the price has run past the stop, or past TP1 where that is guarded."""
    plan = draft.position.plan
    price = quote.ask if plan.direction is Direction.LONG else quote.bid
    if price <= 0:
        return Reason.PLANB_NO_PRICE  # nobody offers anything
    if beyond(price, plan.stop, plan.direction) or beyond(quote.last, plan.stop, plan.direction):
        return Reason.PLANB_PAST_STOP
    if draft.policy.planb_abort_past_tp1 and past(price, plan.targets[0], plan.direction):
        return Reason.PLANB_PAST_TP1
    return None


def _end(draft: Draft, phase: Entering, reason: Reason) -> Entering:
    ended = replace(phase, end=reason)
    draft.enter(ended)
    return ended


def _watch(draft: Draft, phase: Entering) -> Entering:
    """A stop under the partly filled entry was reached: nothing more is bought (rules 3.5, 6.4).

    It counts even where the entry has ended otherwise: at its stop, that is what the trade ends for.
    """
    if phase.end is Reason.SL:
        return phase
    position = draft.position
    stopped = any(o.cum_qty or o.triggered_at for o in position.orders if o.is_stop)
    grace = draft.policy.watchdog_grace_ms
    breached = any(leg.leave or (leg.breach_since and draft.now - leg.breach_since >= grace) for leg in position.legs)
    if stopped or (breached and any(o.cum_qty for o in position.orders if o.is_entry)):
        return _end(draft, phase, Reason.SL)
    return phase


def _interim(draft: Draft) -> None:
    """Cover what is held so far (rule 3.5)."""
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
        _interim(draft)
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
    sizes = split(qty, draft.position.plan, draft.policy, draft.rules)
    if sizes is None:
        return False
    draft.update(split=sizes, legs=_legs(draft, qty, sizes))
    draft.enter(Unprotected(since=draft.now, deadline=draft.now + draft.policy.failsafe_grace_ms))
    return True


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
