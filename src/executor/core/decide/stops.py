"""Where a leg's stop belongs, how it gets there, and when software must stand in for it (rules 5.2-5.6, 6.4, 6.5)."""

from decimal import ROUND_CEILING, Decimal

from msgspec.structs import replace

from executor.core.book import levels
from executor.core.book.ledger import covers, entry_average
from executor.core.decide import doubt
from executor.core.decide.draft import Draft
from executor.core.model.facts import PASSING, Why
from executor.core.model.ids import Role
from executor.core.model.policy import AfterTp1, Policy, TrailMode
from executor.core.model.state import End, Entering, Leave, Leg, Order, OrderPhase, Position, Trail
from executor.core.model.values import Direction, OrderType

RESIZE_EVERY_MS = 1_000  # rule 3.5
KLINES_EVERY_MS = 60_000
BALKS = 3
"""So many moves in a row are refused before another way is taken."""
RESEND_MS = (0, 1_000, 2_000, 4_000, 8_000)
"""How long after one cancel-replace in doubt the next may go out, the old stop seen standing (rules 8.3e, 8.7)."""
_BALK_MS = (2_000, 4_000, 8_000, 15_000, 30_000)
_BIPS = 10_000


# --- levels -------------------------------------------------------------------------------------------------------


def wanted(draft: Draft, leg: Leg, stop: Decimal) -> Decimal:
    """The level to ask for a stop at now: never behind `stop`, the level in force, never past the market (10.4). In the
    ticks of now: where they have grown coarser, a level at which a stop has stood goes towards profit, never back.
    """
    level = _wanted(draft, leg, stop)
    coarse = draft.on_grid(level)
    direction = draft.position.plan.direction
    for order in draft.position.orders:
        stood = order.stop_price if order.leg == leg.n and order.is_stop and order.exchange_id else None
        if stood is not None and levels.is_safer(stood, coarse, direction):
            return levels.toward_profit(level, draft.rules.tick, direction)
    return coarse


def _wanted(draft: Draft, leg: Leg, stop: Decimal) -> Decimal:
    """The level to ask for a stop at now: never behind `stop`, the level in force, never past the market (10.4)."""
    level = stop
    _read_bars(draft, leg)
    if draft.now < move_again_at(leg, draft.policy) or leg.tries:
        return level
    direction = draft.position.plan.direction
    for candidate in (breakeven(draft), draft.position.manual_stop, leg.due):
        if candidate is not None and _has_room(draft, candidate):
            level = levels.safer(level, candidate, direction)
    trail = _trailed(draft, leg, level)
    return trail if trail is not None and _has_room(draft, trail) else level


def note_due(draft: Draft, leg: Leg, stop: Decimal) -> Leg:
    """`leg` with the level where its stop ought to stand, so that software watches there for as long as no stop does
    (rule 6.4b): the market may be past it already. Not a level at which no stop can ever have stood: a breakeven beyond
    the first target, after a dear entry, or a swing that the price is past and that may be older than the trade.
    """
    position = draft.position
    if not position.target_hit and position.manual_stop is None and position.trail is None:
        return leg  # nothing wants it anywhere else
    direction = position.plan.direction
    level = leg.due or stop
    handed = _handed(draft, leg)
    ended = _trailed_to(draft, handed) if handed is not None and not handed.live else None
    for candidate in (_reached_breakeven(draft), position.manual_stop, ended):
        if candidate is not None:
            level = levels.safer(level, candidate, direction)
    trail = _trailed(draft, leg, level)
    if trail is not None and (draft.policy.trail_mode is not TrailMode.SWING or _has_room(draft, trail)):
        level = trail
    if level == (leg.due or stop):
        return leg
    quote = draft.market.quote
    past = quote is not None and levels.beyond(quote.last, level, direction)
    if past and quote is not None and quote.at < _target_heard_at(draft.position):
        draft.query_quote()  # the target's own fill is newer: it shows the price on the other side
        past = False
    leg = replace(leg, due=level, breach_since=leg.breach_since or (draft.now if past else 0))
    draft.put_leg(leg)
    return leg


def _target_heard_at(position: Position) -> int:
    return max((o.heard_at for o in position.orders if o.is_target and o.cum_qty), default=0)


def _reached_breakeven(draft: Draft) -> Decimal | None:
    """Breakeven, where the price was past it for certain when a target was hit."""
    level, plan = breakeven(draft), draft.position.plan
    reached = level is not None and plan.targets and levels.is_safer(plan.targets[0], level, plan.direction)
    return level if reached or (level is not None and _has_room(draft, level)) else None


def _trailed(draft: Draft, leg: Leg, level: Decimal) -> Decimal | None:
    """Where the trail has come to, if it is to move from `level` now: by its step, and not too often (rule 5.4)."""
    if draft.position.trail is None:
        return None
    if leg.moved_at and draft.now - leg.moved_at < draft.policy.trail_every_ms:
        return None
    trail = trail_level(draft, leg)
    step = max(draft.policy.trail_step, draft.rules.tick)
    far = trail is not None and draft.position.plan.direction.sign * (trail - level) >= step
    return trail if far else None


def move_again_at(leg: Leg, policy: Policy) -> int:
    """When the leg's stop may be moved again (ms): later and later where moves are refused (rule 8.7)."""
    if leg.balks:
        return leg.moved_at + _BALK_MS[min(leg.balks, len(_BALK_MS)) - 1]
    return leg.refused_at + policy.exits_retry_ms if leg.refused_at else 0


def _has_room(draft: Draft, level: Decimal) -> bool:
    """Whether the price is on the right side of `level`, so that a stop there would be accepted."""
    quote = draft.market.quote
    return quote is not None and not levels.beyond(quote.last, level, draft.position.plan.direction)


def breakeven(draft: Draft) -> Decimal | None:
    position = draft.position
    if not position.target_hit or draft.policy.after_tp1 is AfterTp1.KEEP:
        return None
    average, direction = entry_average(position), position.plan.direction
    return None if average is None else levels.breakeven(average, direction, draft.policy, draft.rules)


# --- trailing -----------------------------------------------------------------------------------------------------


def activate_trail(draft: Draft) -> None:
    """The last leg trails once the targets are done (rule 5.3), or from the start where so set."""
    position = draft.position
    if position.trail is not None or not position.split[2]:
        return
    if draft.policy.trail_after_tp2 and not _last_target_hit(draft):
        return
    quote = draft.market.quote
    if quote is None:
        draft.query_quote()
        return
    draft.update(trail=Trail(since=draft.now, best=quote.last))


def _last_target_hit(draft: Draft) -> bool:
    """Whether all legs with a target are done, and the last of them left at its target, not at its stop.

    A trade that was rebuilt after both knows no such leg any more.
    """
    position = draft.position
    targets = [leg for leg in position.legs if leg.target is not None]
    if any(draft.left(leg) > 0 for leg in targets):
        return False
    if not targets:
        return True
    last = targets[-1]
    return last.leave is Leave.TARGET or any(o.cum_qty for o in position.orders if o.leg == last.n and o.is_target)


def trails(draft: Draft, leg: Leg) -> bool:
    return draft.position.trail is not None and leg.n in (0, 3) and leg.target is None


def trail_level(draft: Draft, leg: Leg) -> Decimal | None:
    """Where trailing by software wants the leg's stop; None where it does not trail."""
    position, policy = draft.position, draft.policy
    trail = position.trail
    if trail is None or not trails(draft, leg):
        return None
    direction = position.plan.direction
    if policy.trail_mode is TrailMode.SWING:
        if trail.swing is None:
            return None
        level = trail.swing - direction.sign * policy.trail_swing_buffer
    elif policy.trail_mode is TrailMode.NATIVE and native_offered(draft):
        return None
    else:
        level = trail.best - direction.sign * levels.trail_distance(trail.best, position.plan.r, policy)
    return levels.away_from_profit(level, draft.rules.tick, direction)


def _read_bars(draft: Draft, leg: Leg) -> None:
    """A swing trail wants to know each minute's bar (rule 5.4)."""
    trail = draft.position.trail
    if trail is None or draft.policy.trail_mode is not TrailMode.SWING or not trails(draft, leg):
        return
    if not trail.klines_at or draft.now - trail.klines_at >= KLINES_EVERY_MS:
        draft.query_klines(draft.policy.trail_swing_lookback + 1)


def native_offered(draft: Draft) -> bool:
    """Whether the exchange trails by itself here; where it does not, or has refused to, software does at the same
    distance (rule 5.4).
    """
    refused = any(
        o.trailing_delta is not None and o.end is End.REFUSED and o.refusal not in PASSING
        for o in draft.position.orders
    )
    return draft.rules.trailing_allowed and not refused


def _handed(draft: Draft, leg: Leg) -> Order | None:
    """The order that the exchange trails, or has trailed, where no other stop has stood since; one that was refused, or
    never was, is none.
    """
    if draft.policy.trail_mode is not TrailMode.NATIVE or not trails(draft, leg):
        return None
    own = [o for o in draft.position.orders if o.leg == leg.n and o.is_stop and o.end not in (End.REFUSED, End.NEVER)]
    return own[-1] if own and own[-1].trailing_delta is not None else None


def _trailed_to(draft: Draft, handed: Order) -> Decimal | None:
    """How far the exchange ought to have trailed an order: by the best price since the trail began (rule 5.4). No stop
    in its place stands behind that, and none in its absence is watched behind it (rules 6.6, 10.4). None where no such
    price is on record, as in an older state to which the order was added from what the exchange shows (rule 9.2).
    """
    trail, direction = draft.position.trail, draft.position.plan.direction
    if trail is None or handed.trailing_delta is None:
        return None
    level = trail.best - direction.sign * trail.best * handed.trailing_delta / _BIPS
    return levels.away_from_profit(level, draft.rules.tick, direction)


def _native_delta(draft: Draft, leg: Leg) -> int | None:
    """The trailing delta in basis points, where the exchange's trailing would not start behind the stop in force, nor
    behind where it ought to be. What was trailed before is trailed on at its delta.
    """
    position, rules, quote = draft.position, draft.rules, draft.market.quote
    if draft.policy.trail_mode is not TrailMode.NATIVE or not trails(draft, leg):
        return None
    floor, handed = leg.watched, _handed(draft, leg)
    if quote is None or floor is None or not native_offered(draft):
        return None
    if handed is not None and handed.trailing_delta is not None:
        floor = levels.safer(floor, _trailed_to(draft, handed) or floor, position.plan.direction)
        bips = handed.trailing_delta
    else:
        distance = levels.trail_distance(quote.last, position.plan.r, draft.policy)
        bips = int((distance / quote.last * _BIPS).to_integral_value(ROUND_CEILING))
    # filters.md TRAILING_DELTA: a SELL stop is bounded below the price, a BUY stop above it.
    low, high = rules.trailing_below if position.plan.direction is Direction.LONG else rules.trailing_above
    bips = min(max(bips, low, 1), high) if high else max(bips, low, 1)
    start = quote.last - position.plan.direction.sign * quote.last * bips / _BIPS
    return None if levels.is_safer(floor, start, position.plan.direction) else bips


# --- orders -------------------------------------------------------------------------------------------------------


def stop_order(draft: Draft, leg: Leg, qty: Decimal, level: Decimal) -> Order:
    """A new stop order for the leg at `level`: STOP_LOSS_LIMIT with its gap (rule 4.4), or the exchange's own trailing;
    at market where no limit is taken.
    """
    direction = draft.position.plan.direction
    roles = {1: Role.SL1, 2: Role.SL2}
    delta = _native_delta(draft, leg)
    trailing = delta is not None or (trails(draft, leg) and level in (trail_level(draft, leg), leg.due))
    role = Role.TRAIL if trailing else roles.get(leg.n, Role.SL)
    side = direction.exit_side
    limit = draft.stop_limit(level)
    at_market = OrderType.STOP_LOSS in draft.rules.order_types
    if delta is not None and at_market:
        return draft.order(role, side, OrderType.STOP_LOSS, qty, leg=leg.n, trailing_delta=delta)
    if delta is not None:
        return draft.order(role, side, OrderType.STOP_LOSS_LIMIT, qty, leg=leg.n, price=limit, trailing_delta=delta)
    if at_market and _no_limit_taken(draft, leg):
        return draft.order(role, side, OrderType.STOP_LOSS, qty, leg=leg.n, stop_price=level)
    return draft.order(role, side, OrderType.STOP_LOSS_LIMIT, qty, leg=leg.n, price=limit, stop_price=level)


def _no_limit_taken(draft: Draft, leg: Leg) -> bool:
    """Whether a filter has refused the leg's last stops for their limit, as it seems (PERCENT_PRICE may leave no room
    for any): a stop without one is another way (rule 8.7).
    """
    sent = [o for o in draft.position.orders if o.leg == leg.n and o.is_stop][-2:]
    limits = all(o.type is OrderType.STOP_LOSS_LIMIT and o.trailing_delta is None for o in sent)
    return len(sent) > 1 and limits and not sent[-1].list_id and all(o.refusal is Why.FILTER for o in sent)


def move_single(draft: Draft, leg: Leg, stop: Decimal, live: Order, left: Decimal) -> None:
    """Move a single stop, or fit its size, by cancel-replace (rule 5.5).

    Where the symbol has none, or refuses it again and again (rule 8.7), it is done as for an OCO: the stop is
    cancelled, and placed anew where it belongs.
    """
    if live.triggered_at or not live.is_stop or not _may_replace(draft, leg, live):
        return
    entering = isinstance(draft.position.phase, Entering)
    level = stop if entering else wanted(draft, leg, stop)
    qty = left + live.cum_qty if live.cum_qty else left
    resized = _resized(draft, leg, live, qty)
    if live.trailing_delta is not None:
        if not resized:
            return
        if _native_delta(draft, leg) is None:  # it can't be placed anew where it has come to: a stop goes there
            level = levels.safer(level, _trailed_to(draft, live) or level, draft.position.plan.direction)
            if not _has_room(draft, level):
                return  # it is at work, or no price has come that tells
            leg = replace(leg, due=level)
    else:
        raised = live.stop_price is not None and levels.is_safer(level, live.stop_price, draft.position.plan.direction)
        native = _native_delta(draft, leg) is not None
        if not (resized or ((raised or native) and _others_stand(draft, leg))):
            return
    limit = draft.stop_limit(level)
    if not draft.rules.carries(left, min(level, limit)):
        _cancel_too_large(draft, leg, live, qty)
        return
    if leg.balks and draft.now < move_again_at(leg, draft.policy):
        return
    if not draft.rules.cancel_replace_allowed or (leg.balks >= BALKS and not _order_at_fault(draft, live)):
        draft.cancel([live], recheck=draft.position.credit is not None or bool(live.cancels))
        return
    draft.put_leg(replace(leg, moved_at=draft.now))
    draft.swap(live, stop_order(draft, leg, left, level))


def _cancel_too_large(draft: Draft, leg: Leg, live: Order, qty: Decimal) -> None:
    """Of a leg that has too little left for an order: what stands must not sell more than is held (10.1), and another
    leg takes the rest (6.6b). PLAIN's stop of the whole has none beside it, and stays.
    """
    if leg.n and qty < live.qty and not doubt.kept_apart(draft):
        draft.cancel([live], recheck=True)


def _resized(draft: Draft, leg: Leg, live: Order, qty: Decimal) -> bool:
    """Whether `live` is to become one of `qty` now. Fills come in a row: where an entry's make a stop too small, or
    those of a target beside PLAIN's stop too large, it waits a little (rules 3.5, 4.3, 8.7). Any other that is too
    large, as after a fill while it was being replaced, could sell what is not held (10.1).
    """
    if qty > live.qty:
        in_a_row = isinstance(draft.position.phase, Entering)
    else:
        in_a_row = not leg.n and any(o.is_target and o.cum_qty for o in draft.live())
    return qty != live.qty and not (in_a_row and draft.now - live.sent_at < RESIZE_EVERY_MS)


def _may_replace(draft: Draft, leg: Leg, live: Order) -> bool:
    """One lost answer does not freeze a stop: as long as the old one is seen standing, the same is asked for once more,
    in growing pauses. Only one of such requests can cancel it, and the others then place nothing (rule 8.3e).
    """
    tries = [o for o in draft.position.orders if o.replaces == live.id and o.phase is OrderPhase.UNRESOLVED]
    if draft.now < leg.retry_at:
        return False
    if not tries:
        return draft.may_change(live)
    pause = RESEND_MS[min(len(tries), len(RESEND_MS)) - 1]
    return not draft.commanded(live) and draft.now >= tries[-1].sent_at + pause


def _order_at_fault(draft: Draft, live: Order) -> bool:
    """Whether it is the new order that a filter does not take, whichever way it comes: without the old one there would
    be none.
    """
    refused = [o.refusal for o in draft.position.orders if o.replaces == live.id and o.end is End.REFUSED]
    return bool(refused) and refused[-1] is Why.FILTER


def move_list(draft: Draft, leg: Leg, live: list[Order]) -> None:
    """Move an OCO's stop: cancel the list, place it anew; one leg at a time (rule 5.5)."""
    stop = next((o for o in live if o.is_stop), None)
    if stop is None or stop.stop_price is None or stop.triggered_at or leg.stop is None:
        return
    if any(o.cum_qty or o.phase is not OrderPhase.WORKING for o in live):
        return
    left, level = draft.left(leg), wanted(draft, leg, leg.stop)
    raised = levels.is_safer(level, stop.stop_price, draft.position.plan.direction)
    shrunk = any(o.qty < left for o in live)
    if (raised or shrunk) and _would_be_taken(draft, leg, left, level) and _others_stand(draft, leg):
        draft.cancel(live, recheck=draft.position.credit is not None or any(o.cancels for o in live))


def carried(draft: Draft, leg: Leg, qty: Decimal, level: Decimal) -> bool:
    """Whether the leg's exits can be placed for `qty`, its stop at `level`: else what stands is better (rule 6.4b)."""
    prices = [level, draft.stop_limit(level)]
    if leg.target is not None:
        prices.append(draft.on_grid(leg.target))
    return draft.rules.carries(qty, min(prices))


def _would_be_taken(draft: Draft, leg: Leg, left: Decimal, level: Decimal) -> bool:
    """Whether the leg's exits can be placed again at `level`, as the price is now: else what stands is better (rule
    6.4b). PERCENT_PRICE is not looked at where nothing stands: the price it is reckoned from is not known for certain.
    """
    side, limit = draft.position.plan.direction.exit_side, draft.stop_limit(level)
    in_band = draft.rules.percent_fault(limit, side, draft.price) is None
    return in_band and carried(draft, leg, left, level)


def _others_stand(draft: Draft, leg: Leg) -> bool:
    """Whether every other leg is covered and left in peace, so that at most one is uncovered at a time (rule 5.5).

    A leg whose target is at work is not waited for: its rest is watched by software as it is (rule 5.6). Nor is one for
    which no exit can be placed. While the lock on the base keeps an order in doubt from its successor (rule 8.3b),
    nothing is moved: that would free base for it.
    """
    if doubt.kept_apart(draft):
        return False
    for other in draft.position.legs:
        left = draft.left(other)
        if other.n == leg.n or other.stop is None or not draft.rules.market_piece(left, draft.price):
            continue
        orders = draft.live(other.n)
        if any(o.is_target and o.cum_qty for o in orders) or not (orders or carried(draft, other, left, other.stop)):
            continue
        if not any(covers(o, draft.position) for o in orders) or any(draft.commanded(o) for o in orders):
            return False
    return True


# --- software stop ------------------------------------------------------------------------------------------------


def watch(draft: Draft, leg: Leg, live: list[Order]) -> Leave | None:
    """Whether the leg must be sold because its stop is not doing it (rules 6.4, 6.5)."""
    grace = draft.policy.watchdog_grace_ms
    if leg.stop is None:
        return None
    if breached(draft, leg):
        return Leave.STOP
    if any(o.is_stop and o.triggered_at and draft.now - o.triggered_at >= grace for o in live):
        return Leave.STOP
    return None


def breached(draft: Draft, leg: Leg) -> bool:
    """Whether the price has been at or past the level that is watched for long enough (rule 6.4)."""
    return bool(leg.breach_since) and draft.now - leg.breach_since >= draft.policy.watchdog_grace_ms
