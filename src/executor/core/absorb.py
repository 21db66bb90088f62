"""Absorb: fold an event into the facts. Nothing is decided here, and no order of events matters (rule 5.1)."""

from decimal import Decimal
from typing import assert_never

import msgspec
from msgspec.structs import replace

from executor.core import admit, ids, levels, orders
from executor.core.events import (
    Absent,
    Answered,
    AnyEvent,
    BalancesSeen,
    Commanded,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    SignalMalformed,
    SignalSeen,
    Started,
    Tick,
    TradesSeen,
    Verb,
)
from executor.core.facts import Done, OrderReport, Quote, Refused, ReplaceOutcome, Unknown, Why
from executor.core.intents import (
    CancelList,
    CancelOrder,
    Command,
    Level,
    Notify,
    PlaceOco,
    PlaceOrder,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    ReplaceOrder,
    Request,
)
from executor.core.ids import Role
from executor.core.policy import Policy, TrailMode
from executor.core.rules import SymbolRules
from executor.core.state import (
    Closing,
    End,
    Entering,
    Leave,
    Leg,
    Order,
    OrderPhase,
    Position,
    Reason,
    Seen,
    State,
)
from executor.core.values import plain
from executor.core.verdict import MOVED, Ignored, Refusal, Verdict

_SEEN_MAX = 2_000


class Absorbed(msgspec.Struct, frozen=True):
    state: State
    verdict: Verdict = MOVED
    notes: tuple[Notify, ...] = ()


def absorb(state: State, event: AnyEvent, policy: Policy, rules: SymbolRules) -> Absorbed:
    """`state` with the event's facts, and what became of the event."""
    now = max(state.market.now, event.at)
    if now != state.market.now:
        state = replace(state, market=replace(state.market, now=now))
    match event:
        case Tick():
            return Absorbed(state)
        case QuoteSeen():
            return _quote(_answered(state, event.seq), event.quote)
        case Reported():
            return _reported(_answered(state, event.seq), event, now)
        case Answered():
            return _outcome(state, event, now, policy)
        case Absent():
            return _absent(_answered(state, event.seq), event, now, policy)
        case TradesSeen():
            return _trades(_answered(state, event.seq), event)
        case OpenOrdersSeen():
            return _open_orders(_answered(state, event.seq), event, now)
        case BalancesSeen():
            market = replace(state.market, balances=event.balances, balances_at=now)
            return Absorbed(replace(_answered(state, event.seq), market=market))
        case KlinesSeen():
            return _klines(_answered(state, event.seq), event, policy)
        case ReadFailed():
            return _read_failed(state, event)
        case SignalSeen():
            return _signal(state, event, policy, rules)
        case SignalMalformed():
            text = f"{event.fault}: {event.text}"
            return Absorbed(_count(state, "malformed"), Refusal(text), (Notify(Level.WARNING, "signal_refused", text),))
        case Commanded():
            return _commanded(state, event, now, policy)
        case Started():
            return _started(state, event, now)
        case _:  # pragma: no cover
            assert_never(event)


# --- signals -----------------------------------------------------------------------------------------------------


def _signal(state: State, event: SignalSeen, policy: Policy, rules: SymbolRules) -> Absorbed:
    signal, now = event.signal, state.market.now
    if event.quote is not None:
        state = _quote(state, event.quote).state
    judged = admit.judge(state, event, policy, rules)
    horizon = now - policy.max_signal_age_ms - policy.clock_tolerance_ms
    seen = tuple(s for s in state.seen if s.at >= horizon and s.key != signal.key)[-_SEEN_MAX:]
    state = replace(state, seen=(*seen, Seen(signal.key, max(signal.at, now))))
    if isinstance(judged, admit.NotAdmitted):
        note = Notify(Level.WARNING, "signal_refused", f"{signal.key}: {judged.text}")
        return Absorbed(_count(state, judged.kind), Refusal(judged.text), (note,))
    day = admit.day_at(state, now)
    state = replace(
        state,
        position=judged,
        locked_until=now + policy.lock_ms,
        day=replace(day, trades=day.trades + 1),
    )
    plan = judged.plan
    text = (
        f"{plan.direction} {plain(plan.qty)} {rules.base}: entry {plain(plan.entry)}, stop {plain(plan.stop)}, "
        f"targets {', '.join(map(plain, plan.targets))}"
    )
    return Absorbed(state, MOVED, (Notify(Level.INFO, "trade_opened", text),))


def _count(state: State, kind: str) -> State:
    return replace(state, refused={**state.refused, kind: state.refused.get(kind, 0) + 1})


# --- answers to requests ------------------------------------------------------------------------------------------


def _owed(state: State, seq: int) -> Request | None:
    return next((o.request for o in state.outbox if o.request.seq == seq), None)


def _answered(state: State, seq: int) -> State:
    if not seq:
        return state
    return replace(state, outbox=tuple(o for o in state.outbox if o.request.seq != seq))


def _outcome(state: State, event: Answered, now: int, policy: Policy) -> Absorbed:
    request = _owed(state, event.seq)
    if request is None or not isinstance(request, Command):
        return Absorbed(state, Ignored(f"no command waits for answer {event.seq}"))
    state = _answered(state, event.seq)
    if state.position is None:
        return Absorbed(state, Ignored("no trade is open"))
    match request:
        case PlaceOrder():
            return _placed(state, (request.order.id,), event.outcome, now, policy)
        case PlaceOco():
            return _placed(state, (request.target.id, request.stop.id), event.outcome, now, policy)
        case CancelOrder():
            return _cancelled(state, (request.id,), event.outcome, now, policy)
        case CancelList():
            return _cancelled(state, request.ids, event.outcome, now, policy)
        case ReplaceOrder():
            return _replaced(state, request, event.outcome, now, policy)
        case _:  # pragma: no cover
            assert_never(request)


def _placed(
    state: State, sent: tuple[str, ...], outcome: Done | Refused | Unknown | ReplaceOutcome, now: int, policy: Policy
) -> Absorbed:
    assert state.position is not None
    match outcome:
        case Done():
            return _reports(state, outcome.reports, now)
        case Unknown():
            position: Position = state.position
            for id in sent:
                position = _with(position, orders.doubt(_find(position, id), outcome.fence, now))
            note = Notify(Level.WARNING, "outcome_unknown", f"{', '.join(sent)}: {outcome.text}")
            return Absorbed(replace(state, position=position), MOVED, (note,))
        case Refused():
            return _refused(state, sent, outcome, now, policy)
        case _:
            raise AssertionError(f"a placement was answered with {outcome!r}")


def _refused(state: State, sent: tuple[str, ...], refused: Refused, now: int, policy: Policy) -> Absorbed:
    position = state.position
    assert position is not None
    stop: Decimal | None = None
    order = _find(position, sent[0])
    for id in sent:
        order = _find(position, id)
        if order.phase is OrderPhase.WORKING:
            return Absorbed(state, Ignored(f"{id} was refused, but is known to be working"))
        stop = order.stop_price if order.stop_price is not None else stop
        position = _with(position, orders.refuse(order, refused, now))
    note = Notify(Level.WARNING, "order_refused", f"{', '.join(sent)}: {refused.text} ({refused.code})")
    if order.is_entry:
        phase = position.phase
        if isinstance(phase, Entering):
            retry_at = max(now + policy.exits_retry_ms, refused.retry_at)
            position = replace(position, phase=replace(phase, retry_at=retry_at))
        return Absorbed(replace(state, position=position), MOVED, (note,))
    leg = _leg(position, order.leg)
    if leg is not None:
        position = _with_leg(position, _leg_refused(leg, stop, refused, position, now, policy))
    return Absorbed(replace(state, position=position), MOVED, (note,))


def _leg_refused(leg: Leg, stop: Decimal | None, refused: Refused, position: Position, now: int, policy: Policy) -> Leg:
    """What a refusal teaches about a leg (rules 4.6, 4.7, 5.5)."""
    raised = stop is not None and leg.stop is not None and levels.is_safer(stop, leg.stop, position.plan.direction)
    if refused.why in (Why.WOULD_TRIGGER, Why.PRICE_RELATION) and raised:
        # The wished level is past the market: the stop goes back to the level in force.
        return replace(leg, moved_at=now)
    match refused.why:
        case Why.WOULD_TRIGGER:
            return replace(leg, leave=Leave.STOP)
        case Why.WOULD_MATCH:
            return replace(leg, leave=Leave.TARGET)
        case Why.PRICE_RELATION:
            return replace(leg, puzzled_at=now)
        case _:
            pass
    retry_at = max(now + policy.exits_retry_ms, refused.retry_at)
    passing = refused.why in (Why.NOT_SENT, Why.RATE_LIMIT, Why.CLOCK)
    poor = leg.poor + 1 if refused.why is Why.INSUFFICIENT_BALANCE else leg.poor
    return replace(leg, tries=leg.tries if passing else leg.tries + 1, retry_at=retry_at, poor=poor)


def _cancelled(
    state: State, asked: tuple[str, ...], outcome: Done | Refused | Unknown | ReplaceOutcome, now: int, policy: Policy
) -> Absorbed:
    notes: tuple[Notify, ...] = ()
    if isinstance(outcome, Done):
        done = _reports(state, outcome.reports, now)
        state, notes = done.state, done.notes
    wait = max(now, outcome.retry_at) if isinstance(outcome, Refused) else now
    if isinstance(outcome, Refused) and outcome.why is not Why.UNKNOWN_ORDER:
        wait = max(now + policy.exits_retry_ms, outcome.retry_at)
    position = state.position
    assert position is not None
    for id in asked:
        order = _find(position, id)
        if order.live:
            # Not confirmed by this answer: only a direct look tells (rule 6.2).
            position = _with(position, replace(order, check=True, ask_at=wait))
    return Absorbed(replace(state, position=position), MOVED, notes)


def _replaced(
    state: State,
    request: ReplaceOrder,
    outcome: Done | Refused | Unknown | ReplaceOutcome,
    now: int,
    policy: Policy,
) -> Absorbed:
    if not isinstance(outcome, ReplaceOutcome):
        raise AssertionError(f"a replacement was answered with {outcome!r}")
    first = _cancelled(state, (request.cancel_id,), outcome.cancel, now, policy)
    if isinstance(outcome.place, Done | Refused | Unknown):
        second = _placed(first.state, (request.order.id,), outcome.place, now, policy)
        return Absorbed(second.state, MOVED, (*first.notes, *second.notes))
    position = first.state.position
    assert position is not None
    order = _find(position, request.order.id)
    untried = replace(order, phase=OrderPhase.CLOSED, end=End.NEVER, closed_at=now)
    return Absorbed(replace(first.state, position=_with(position, untried)), MOVED, first.notes)


def _read_failed(state: State, event: ReadFailed) -> Absorbed:
    request = _owed(state, event.seq)
    if request is None:
        return Absorbed(state, Ignored(f"no query waits for answer {event.seq}"))
    state = _answered(state, event.seq)
    position = state.position
    note = Notify(Level.WARNING, "read_failed", event.text)
    if position is not None:
        if isinstance(request, QueryTrades):
            position = replace(position, guess_fees=True)
        elif isinstance(request, QueryQuote) and isinstance(position.phase, Entering):
            position = replace(position, phase=replace(position.phase, no_price=True))
        elif isinstance(request, QueryOrder) and (order := _get(position, request.id)) is not None:
            position = _with(position, replace(order, ask_at=state.market.now + 1_000))
    return Absorbed(replace(state, position=position), MOVED, (note,))


# --- reports ------------------------------------------------------------------------------------------------------


def _reported(state: State, event: Reported, now: int) -> Absorbed:
    looked = _reports(state, (event.report,), now)
    if not event.seq or looked.state.position is None:
        return looked
    order = _get(looked.state.position, event.report.id)
    if order is None or not order.recheck or order.live:
        return looked
    # The second look after a market order has been had (rule 6.3).
    position = _with(looked.state.position, replace(order, recheck=False))
    return Absorbed(replace(looked.state, position=position), MOVED, looked.notes)


def _reports(state: State, reports: tuple[OrderReport, ...], now: int) -> Absorbed:
    position = state.position
    notes: list[Notify] = []
    verdict: Verdict = Ignored("nothing new")
    for report in reports:
        if position is None or (name := ids.parse(report.id)) is None or name.trade != position.trade:
            verdict = verdict if verdict == MOVED else Ignored(f"{report.id} is not of the open trade")
            continue
        order = _get(position, report.id)
        if order is None:
            order = adopt(report, name.role)
            notes.append(
                Notify(Level.ALERT, "order_adopted", f"{report.id}: an order of this trade that was not on record")
            )
        if (fault := orders.impossible(order, report)) is not None:
            note = Notify(Level.ALERT, "impossible_report", fault)
            halted = replace(state, position=position, halted=state.halted or fault)
            return Absorbed(halted, Refusal(fault), (*notes, note))
        folded = orders.fold(order, report, now)
        if folded is order:
            continue
        verdict = MOVED
        position = _accepted_stop(_with(position, folded), folded)
        if folded.cum_qty > order.cum_qty:
            notes.append(_fill_note(order, folded))
    if position is state.position:
        return Absorbed(state, verdict, tuple(notes))
    return Absorbed(replace(state, position=position), verdict, tuple(notes))


def adopt(report: OrderReport, role: Role) -> Order:
    """An order of ours rebuilt from what the exchange says about it and from its id (rule 9.3)."""
    leg = {Role.TP1: 1, Role.SL1: 1, Role.TP2: 2, Role.SL2: 2, Role.TRAIL: 3}.get(role, 0)
    return Order(
        id=report.id,
        role=role,
        leg=leg,
        side=report.side,
        type=report.type,
        qty=report.qty,
        price=report.price or None,
        stop_price=report.stop_price or None,
        trailing_delta=report.trailing_delta or None,
    )


def _accepted_stop(position: Position, order: Order) -> Position:
    """A stop that stands is a level in force: from here on the leg's stop never goes back behind it (rule 10.4)."""
    if not order.is_stop or order.phase is not OrderPhase.WORKING or order.stop_price is None:
        return position
    leg = _leg(position, order.leg)
    if leg is None or leg.stop is None:
        return position
    level = levels.safer(leg.stop, order.stop_price, position.plan.direction)
    if level == leg.stop and not (leg.tries or leg.poor or leg.retry_at):
        return position
    return _with_leg(position, replace(leg, stop=level, tries=0, poor=0, retry_at=0))


def _fill_note(before: Order, after: Order) -> Notify:
    filled = after.cum_qty - before.cum_qty
    price = (after.cum_quote - before.cum_quote) / filled
    text = f"{after.id}: {plain(filled)} at {plain(price.normalize())}, {plain(after.cum_qty)} of {plain(after.qty)}"
    return Notify(Level.INFO, "filled", text)


def _absent(state: State, event: Absent, now: int, policy: Policy) -> Absorbed:
    position = state.position
    order = _get(position, event.id) if position is not None else None
    if position is None or order is None:
        return Absorbed(state, Ignored(f"{event.id} is not of the open trade"))
    if not order.live:
        if order.recheck and event.seq:
            return Absorbed(replace(state, position=_with(position, replace(order, recheck=False))))
        return Absorbed(state, Ignored(f"{event.id} has ended"))
    missed = orders.miss(order, event.asked_at, now, policy)
    notes: tuple[Notify, ...] = ()
    if missed.end is End.GONE:
        notes = (Notify(Level.ALERT, "order_gone", f"{order.id}: accepted once, unknown to the exchange now"),)
    elif missed.end is End.NEVER:
        notes = (Notify(Level.INFO, "doubt_settled", f"{order.id}: never reached the exchange"),)
    return Absorbed(replace(state, position=_with(position, missed)), MOVED, notes)


def _trades(state: State, event: TradesSeen) -> Absorbed:
    position = state.position
    order = _get(position, event.id) if position is not None else None
    if position is None or order is None:
        return Absorbed(state, Ignored(f"{event.id} is not of the open trade"))
    folded = orders.fold_fills(order, event.fills)
    if folded is order:
        return Absorbed(state, Ignored("nothing new"))
    return Absorbed(replace(state, position=_with(position, folded)))


def _open_orders(state: State, event: OpenOrdersSeen, now: int) -> Absorbed:
    position = state.position
    strangers = [
        r.id
        for r in event.reports
        if ids.is_ours(r.id) and (position is None or (name := ids.parse(r.id)) is None or name.trade != position.trade)
    ]
    notes: tuple[Notify, ...] = ()
    if strangers:
        text = f"open orders that belong to no trade here: {', '.join(strangers)}"
        if state.halted != text:
            notes = (Notify(Level.ALERT, "stray_orders", text),)
        state = replace(state, halted=state.halted or text)
    if position is None:
        return Absorbed(state, MOVED, notes)
    mine = tuple(r for r in event.reports if r.id not in strangers and ids.is_ours(r.id))
    folded = _reports(state, mine, now)
    position = folded.state.position
    assert position is not None
    listed = {r.id for r in mine}
    for order in position.orders:
        if order.phase is OrderPhase.WORKING and order.id not in listed and order.sent_at < event.asked_at:
            # Absence from a list proves nothing by itself: ask directly (rule 8.6).
            position = _with(position, replace(order, check=True))
    phase = position.phase
    if isinstance(phase, Closing) and event.seq and not listed:
        position = replace(position, phase=replace(phase, looked_at=event.asked_at))
    return Absorbed(replace(folded.state, position=position), MOVED, (*notes, *folded.notes))


# --- the market ---------------------------------------------------------------------------------------------------


def _quote(state: State, quote: Quote) -> Absorbed:
    known = state.market.quote
    if known is not None and quote.at < known.at:
        return Absorbed(state, Ignored("older than the quote at hand"))
    state = replace(state, market=replace(state.market, quote=quote))
    position = state.position
    if position is None:
        return Absorbed(state)
    direction, at = position.plan.direction, max(quote.at, 1)
    legs = position.legs
    for i, leg in enumerate(legs):
        if leg.stop is None:
            continue
        breached = levels.beyond(quote.last, leg.stop, direction)
        since = (leg.breach_since or at) if breached else 0
        if since != leg.breach_since:
            legs = (*legs[:i], replace(leg, breach_since=since), *legs[i + 1 :])
    trail = position.trail
    if trail is not None and levels.is_safer(quote.last, trail.best, direction):
        trail = replace(trail, best=quote.last)
    if legs is not position.legs or trail is not position.trail:
        state = replace(state, position=replace(position, legs=legs, trail=trail))
    return Absorbed(state)


def _klines(state: State, event: KlinesSeen, policy: Policy) -> Absorbed:
    state = replace(state, market=replace(state.market, klines=event.klines))
    position = state.position
    if position is None or position.trail is None or policy.trail_mode is not TrailMode.SWING:
        return Absorbed(state)
    closed = event.klines[:-1][-policy.trail_swing_lookback :]
    swing = levels.last_swing(closed, policy.trail_swing_bars, position.plan.direction)
    trail = replace(position.trail, swing=swing, klines_at=state.market.now)
    return Absorbed(replace(state, position=replace(position, trail=trail)))


# --- operator and restart -----------------------------------------------------------------------------------------


def _commanded(state: State, event: Commanded, now: int, policy: Policy) -> Absorbed:
    position = state.position
    match event.verb:
        case Verb.PAUSE:
            return Absorbed(replace(state, paused=True), MOVED, (Notify(Level.INFO, "paused", "no new entries"),))
        case Verb.RESUME:
            note = Notify(Level.INFO, "resumed", "new entries allowed")
            return Absorbed(replace(state, paused=False, halted=""), MOVED, (note,))
        case _ if position is None:
            return Absorbed(state, Refusal("no trade is open"))
        case Verb.FLATTEN:
            if isinstance(position.phase, Closing):
                return Absorbed(state, Ignored("the trade is being closed already"))
            closing = replace(position, phase=Closing(reason=Reason.FLATTEN, since=now))
            return Absorbed(replace(state, position=closing), MOVED, (Notify(Level.INFO, "flatten", "asked for"),))
        case Verb.CANCEL_ENTRY:
            phase = position.phase
            if not isinstance(phase, Entering):
                return Absorbed(state, Refusal("the entry is complete"))
            ended = replace(phase, end=phase.end or Reason.ENTRY_CANCELLED)
            return Absorbed(replace(state, position=replace(position, phase=ended)))
        case Verb.MOVE_STOP:
            return _move_stop(state, position, event.price)
        case _:  # pragma: no cover
            assert_never(event.verb)


def _move_stop(state: State, position: Position, price: Decimal | None) -> Absorbed:
    direction = position.plan.direction
    stops = [leg.stop for leg in position.legs if leg.stop is not None]
    if price is None or not stops or isinstance(position.phase, Entering | Closing):
        return Absorbed(state, Refusal("there is no stop to move"))
    if not any(levels.is_safer(price, stop, direction) for stop in stops):
        return Absorbed(state, Refusal(f"{plain(price)} is not better than the stop at {plain(stops[0])}"))
    quote = state.market.quote
    if quote is not None and levels.beyond(quote.last, price, direction):
        return Absorbed(state, Refusal(f"{plain(price)} is past the last price {plain(quote.last)}"))
    return Absorbed(replace(state, position=replace(position, manual_stop=price)))


def _started(state: State, event: Started, now: int) -> Absorbed:
    """All that was in flight is in doubt; all that was live wants a direct look (rule 9.1)."""
    state = replace(state, outbox=(), started=now)
    position = state.position
    if position is None:
        return Absorbed(state)
    looked_up = []
    for order in position.orders:
        if order.phase is OrderPhase.SUBMITTED:
            order = orders.doubt(order, event.fence, now)
        elif order.phase is OrderPhase.WORKING:
            order = replace(order, check=True, ask_at=0)
        elif order.phase is OrderPhase.UNRESOLVED:
            order = replace(order, ask_at=0, misses=0, first_miss_at=0)
        looked_up.append(order)
    phase = position.phase
    if isinstance(phase, Closing):
        phase = replace(phase, looked_at=0)
    position = replace(position, orders=tuple(looked_up), phase=phase)
    return Absorbed(replace(state, position=position))


# --- small tools --------------------------------------------------------------------------------------------------


def _get(position: Position, id: str) -> Order | None:
    return next((o for o in position.orders if o.id == id), None)


def _find(position: Position, id: str) -> Order:
    order = _get(position, id)
    if order is None:
        raise AssertionError(f"an answer names {id}, which this trade never had")
    return order


def _with(position: Position, order: Order) -> Position:
    for i, known in enumerate(position.orders):
        if known.id == order.id:
            if known is order:
                return position
            return replace(position, orders=(*position.orders[:i], order, *position.orders[i + 1 :]))
    return replace(position, orders=(*position.orders, order))


def _leg(position: Position, n: int) -> Leg | None:
    return next((leg for leg in position.legs if leg.n == n), None)


def _with_leg(position: Position, leg: Leg) -> Position:
    return replace(position, legs=tuple(leg if known.n == leg.n else known for known in position.legs))
