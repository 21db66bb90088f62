"""Decide while open (rules 4-6): which exits ought to be live, which are, and the smallest safe step between them.

Each leg is tended by itself, from its orders' facts alone: bare -> placed, in doubt -> looked up, at the wrong level -> moved,
past its stop -> sold at market. So no sequence of fills, refusals and restarts has a flow of its own.
"""

from decimal import Decimal

from msgspec.structs import replace

from executor.core import stops
from executor.core.draft import Draft
from executor.core.facts import Balance
from executor.core.ids import Role
from executor.core.intents import Level
from executor.core.ledger import covers, leg_left, sellable
from executor.core.levels import beyond, past, stop_limit
from executor.core.state import Closing, End, Leave, Leg, Order, OrderPhase, Reason
from executor.core.values import ZERO, Direction, OrderType, plain

_ROLES = {0: Role.SL, 1: Role.SL1, 2: Role.SL2, 3: Role.SL}
_BACKOFF = 30  # a target that keeps being refused while its leg is covered is no emergency


def decide(draft: Draft) -> None:
    position, rules, policy = draft.position, draft.rules, draft.policy
    held = sellable(position, rules)
    if not any(rules.carries_market(leg_left(position, leg, rules), _price(draft)) for leg in position.legs):
        if not _at_work(draft):
            close(draft, exit_reason(draft))
            return
    if policy.max_hold_ms and draft.now - position.opened >= policy.max_hold_ms:
        close(draft, Reason.MAX_HOLD)
        return
    if _failsafe(draft) or _oversold(draft):
        return
    _note_targets(draft)
    stops.activate_trail(draft)
    if _strays(draft):
        return
    assert held >= 0
    for n in [leg.n for leg in draft.position.legs]:
        leg = next(x for x in draft.position.legs if x.n == n)
        if leg.stop is not None and leg.target is None:
            tend_stop(draft, leg)
        else:
            _tend_target(draft, leg)
        if isinstance(draft.position.phase, Closing):
            return


def close(draft: Draft, reason: Reason, *, abandon: bool = False) -> None:
    draft.enter(Closing(reason=reason, since=draft.now, abandon=abandon))


def exit_reason(draft: Draft) -> Reason:
    """Why the trade ended, by its last exit (rule 7.2)."""
    position = draft.position
    filled = [o for o in position.orders if o.cum_qty and (o.is_target or o.is_stop or o.role is Role.FLATTEN)]
    if not filled:
        return Reason.EXTERNAL
    # A stop that ended a part of the trade names it, unless a target came after.
    last = max(enumerate(filled), key=lambda pair: (pair[1].closed_at or draft.now, pair[0]))[1]
    if last.is_target:
        return Reason.TP
    if last.role is Role.FLATTEN:
        leg = next((x for x in position.legs if x.n == last.leg), None)
        if leg is not None and leg.leave is Leave.TARGET:
            return Reason.TP
        return stops.stop_reason(draft, leg.stop if leg is not None else None, trailing=last.leg == 3)
    return stops.stop_reason(draft, last.stop_price, trailing=last.role is Role.TRAIL)


# --- legs with a target -------------------------------------------------------------------------------------------


def _tend_target(draft: Draft, leg: Leg) -> None:
    """A leg with a target: an OCO, or PLAIN's LIMIT (rules 4.2, 4.3, 5.6)."""
    position, rules = draft.position, draft.rules
    left = leg_left(position, leg, rules)
    live = draft.live(leg.n)
    if not _settled(draft, leg, live, left):
        return
    live = draft.live(leg.n)
    if left <= 0:
        _dismiss(draft, live)
        return
    leave = leg.leave or stops.watch(draft, leg, live) or _target_missed(draft, leg, live)
    if leave is not None:
        _sell_at_market(draft, leg, leave, live, left)
        return
    if live:
        stops.move_list(draft, leg, live)
        return
    if not _may_place(draft, leg) or not _put_back(draft, leg):
        return
    leg = next(x for x in draft.position.legs if x.n == leg.n)
    _place_target(draft, leg, left)


def _place_target(draft: Draft, leg: Leg, left: Decimal) -> None:
    assert leg.target is not None
    direction = draft.position.plan.direction
    side = direction.exit_side
    if leg.stop is None:
        if draft.rules.carries(left, leg.target):
            role = Role.TP1 if leg.n == 1 else Role.TP2
            draft.place(draft.order(role, side, OrderType.LIMIT, left, leg=leg.n, price=leg.target))
        return
    level = stops.wanted(draft, leg)
    limit = stop_limit(level, direction, draft.policy, draft.rules)
    if not draft.rules.carries(left, min(level, limit, leg.target)):
        return  # too small for the pair: watched by software (rule 6.4)
    if leg.tries >= 2:
        # The pair keeps being refused: the stop goes out alone, the target is watched by software (rule 4.1).
        _place_stop(draft, leg, left, level)
        return
    list_id = draft.list_id(Role.OCO1 if leg.n == 1 else Role.OCO2)
    target = draft.order(
        Role.TP1 if leg.n == 1 else Role.TP2,
        side,
        OrderType.LIMIT_MAKER,
        left,
        leg=leg.n,
        price=leg.target,
        list_id=list_id,
    )
    stop = draft.order(
        _ROLES[leg.n],
        side,
        OrderType.STOP_LOSS_LIMIT,
        left,
        leg=leg.n,
        price=limit,
        stop_price=level,
        list_id=list_id,
    )
    draft.place_oco(target, stop)


def _target_missed(draft: Draft, leg: Leg, live: list[Order]) -> Leave | None:
    """The target was reached while only the leg's stop stands on the exchange."""
    quote = draft.market.quote
    alone = bool(live) and leg.stop is not None and all(o.is_stop and not o.list_id for o in live)
    if (
        alone
        and leg.target is not None
        and quote is not None
        and past(quote.last, leg.target, draft.position.plan.direction)
    ):
        return Leave.TARGET
    return None


# --- legs with only a stop ----------------------------------------------------------------------------------------


def tend_stop(draft: Draft, leg: Leg) -> None:
    """A leg with only a stop: the trailing leg, PLAIN's whole-position stop, the interim stop (rules 3.5, 4.2, 4.3)."""
    left = leg_left(draft.position, leg, draft.rules)
    live = draft.live(leg.n)
    if leg.n == 0:
        live = [o for o in live if o.is_stop or o.role is Role.FLATTEN]
    if not _settled(draft, leg, live, left):
        return
    live = [o for o in draft.live(leg.n) if o.is_stop or o.role is Role.FLATTEN]
    if left <= 0:
        _dismiss(draft, live)
        return
    leave = leg.leave or stops.watch(draft, leg, live)
    if leave is not None:
        if leg.n == 0:
            _leave_whole(draft, leg)
        else:
            _sell_at_market(draft, leg, leave, live, left)
        return
    if live:
        stops.move_single(draft, leg, live[-1], left)
        return
    if not _may_place(draft, leg) or not _put_back(draft, leg):
        return
    leg = next(x for x in draft.position.legs if x.n == leg.n)
    level = stops.wanted(draft, leg)
    limit = stop_limit(level, draft.position.plan.direction, draft.policy, draft.rules)
    if draft.rules.carries(left, min(level, limit)):
        _place_stop(draft, leg, left, level)


def _place_stop(draft: Draft, leg: Leg, left: Decimal, level: Decimal) -> None:
    draft.place(stops.stop_order(draft, leg, left, level))


def _leave_whole(draft: Draft, leg: Leg) -> None:
    """PLAIN's stop, or the interim one, has failed: everything of the trade is cancelled, then what is held is sold."""
    if draft.position.entered:
        close(draft, stops.stop_reason(draft, leg.stop, trailing=draft.position.trail is not None))


# --- what all legs share ------------------------------------------------------------------------------------------


def _settled(draft: Draft, leg: Leg, live: list[Order], left: Decimal) -> bool:
    """Whether the leg may be acted on: nothing of it in flight, nothing in doubt (rules 6.2, 8.3)."""
    if any(o.check or draft.commanded(o) or o.phase is OrderPhase.SUBMITTED for o in live):
        return False
    doubtful = [o for o in live if o.phase is OrderPhase.UNRESOLVED]
    if not doubtful:
        return True
    if len(doubtful) < len(live) or left <= 0:
        return False
    return _locked_apart(draft, leg, doubtful, left)


def _locked_apart(draft: Draft, leg: Leg, doubtful: list[Order], left: Decimal) -> bool:
    """Rule 8.3b: an exit in doubt, once not found, may be sent again when the exchange's own lock keeps the two apart:
    the base left free after the second could not carry the first."""
    if draft.position.plan.direction is Direction.SHORT or any(o.apart for o in doubtful):
        return False
    if not all(o.misses for o in doubtful) or not any(o.is_stop for o in doubtful):
        return False
    if draft.market.balances_at <= max(o.first_miss_at for o in doubtful):
        draft.query_balances()
        return False
    free = draft.market.balances.get(draft.rules.base, Balance(ZERO)).free
    if not left <= free < left + doubtful[0].qty:
        return False
    draft.note(Level.WARNING, "sent_again", f"leg {leg.n}: its stop is in doubt and was not found; sent again (8.3b)")
    for order in doubtful:
        draft.put(replace(order, apart=True))
    return True


def _may_place(draft: Draft, leg: Leg) -> bool:
    if draft.now < leg.retry_at:
        return False
    if leg.puzzled_at and not _puzzle(draft, leg):
        return False
    if leg.poor and not _still_ours(draft, leg):
        return False
    if leg.stop is None and leg.tries >= draft.policy.failsafe_tries:
        return draft.now >= leg.retry_at + (_BACKOFF - 1) * draft.policy.exits_retry_ms
    return True


def _puzzle(draft: Draft, leg: Leg) -> bool:
    """An OCO was refused for its price relation: a fresh quote says which side was crossed (rule 4.6)."""
    quote = draft.market.quote
    if quote is None or quote.at < leg.puzzled_at:
        draft.query_quote()
        return False
    direction = draft.position.plan.direction
    if leg.target is not None and past(quote.last, leg.target, direction):
        draft.put_leg(replace(leg, leave=Leave.TARGET, puzzled_at=0))
    elif leg.stop is not None and beyond(quote.last, leg.stop, direction):
        draft.put_leg(replace(leg, leave=Leave.STOP, puzzled_at=0))
    else:
        # The price has come back since: try again, and count it, so that a riddle without an answer ends in 4.7.
        retry_at = leg.puzzled_at + draft.policy.exits_retry_ms
        draft.put_leg(replace(leg, puzzled_at=0, tries=leg.tries + 1, retry_at=retry_at))
        return False
    leg = next(x for x in draft.position.legs if x.n == leg.n)
    assert leg.leave is not None
    _sell_at_market(draft, leg, leg.leave, [], leg_left(draft.position, leg, draft.rules))
    return False


def _still_ours(draft: Draft, leg: Leg) -> bool:
    """Refused for lack of balance: was the position sold by hand (rule 6.6)?"""
    position, market = draft.position, draft.market
    if position.plan.direction is Direction.SHORT:
        return True
    if market.balances_at < leg.retry_at - draft.policy.exits_retry_ms:
        draft.query_balances()
        return False
    owned = market.balances.get(draft.rules.base, Balance(ZERO)).total
    if owned < sellable(position, draft.rules):
        draft.note(
            Level.ALERT, "sold_elsewhere", f"{plain(owned)} {draft.rules.base} are left: closed by somebody else"
        )
        close(draft, Reason.EXTERNAL, abandon=True)
        return False
    return True


def _put_back(draft: Draft, leg: Leg) -> bool:
    """Why the leg is bare: never placed, moved or refused is ours; else it was taken away (rule 6.6)."""
    past_orders = [o for o in draft.position.orders if o.leg == leg.n and not o.is_entry]
    if not past_orders:
        return True
    last = past_orders[-1]
    group = [o for o in past_orders if o.list_id == last.list_id] if last.list_id else [last]
    ours = any(o.cancelling or o.end in (End.REFUSED, End.NEVER) or o.role is Role.FLATTEN for o in group)
    if ours:
        return True
    names = ", ".join(o.id for o in group)
    if leg.vanished:
        draft.note(Level.ALERT, "exit_vanished_again", f"{names}: left alone now, the trade is closed as external")
        close(draft, Reason.EXTERNAL, abandon=True)
        return False
    draft.note(Level.ALERT, "exit_vanished", f"{names}: not by us; put back once")
    draft.put_leg(replace(leg, vanished=leg.vanished + 1))
    return True


def _sell_at_market(draft: Draft, leg: Leg, leave: Leave, live: list[Order], left: Decimal) -> None:
    """Cancel, confirm, then sell what is still held of the leg (rule 6.2)."""
    if leg.leave is None:
        draft.note(Level.WARNING, "leg_at_market", f"leg {leg.n}: {leave} at {plain(_price(draft))}, sold at market")
        draft.put_leg(replace(leg, leave=leave))
    if any(o.role is Role.FLATTEN for o in live):
        return
    if live:
        draft.cancel(live, recheck=True)
        return
    leg = next(x for x in draft.position.legs if x.n == leg.n)
    if draft.now < leg.retry_at or (leg.poor and not _still_ours(draft, leg)):
        return
    qty = min(left, draft.rules.market_max_qty) if draft.rules.market_max_qty else left
    if not draft.rules.carries_market(draft.rules.whole(qty), _price(draft)):
        return
    side = draft.position.plan.direction.exit_side
    draft.place(draft.order(Role.FLATTEN, side, OrderType.MARKET, draft.rules.whole(qty), leg=leg.n))


def _dismiss(draft: Draft, live: list[Order]) -> None:
    """The leg is sold: an OCO's other side is gone by the exchange's own rule, a single order is cancelled."""
    for order in live:
        if order.phase is OrderPhase.WORKING and order.list_id:
            draft.put(replace(order, check=True))
    draft.cancel([o for o in live if o.phase is OrderPhase.WORKING and not o.list_id])


def _strays(draft: Draft) -> bool:
    """The interim stop gives way to the final exits (rules 3.5, 4.1); whether it is still in the way."""
    position = draft.position
    numbers = {leg.n for leg in position.legs}
    strays = [o for o in draft.live() if o.leg not in numbers]
    draft.cancel([o for o in strays if o.phase is OrderPhase.WORKING])
    if 0 not in numbers and any(o.cum_qty for o in position.orders if o.is_stop and o.leg == 0):
        close(draft, Reason.SL)
        return True
    return bool(strays)


def _failsafe(draft: Draft) -> bool:
    """Rule 4.7: exits that keep being refused while the position is bare close it, or at least are not silent."""
    position, policy = draft.position, draft.policy
    exposed = position.exposure.since
    if not exposed:
        return False
    waited = draft.now - exposed
    bare = [
        leg
        for leg in position.legs
        if leg.tries
        and leg_left(position, leg, draft.rules) > 0
        and not any(covers(o, position) for o in draft.live(leg.n))
    ]
    if not any(leg.tries >= policy.failsafe_tries or waited >= policy.failsafe_grace_ms for leg in bare):
        return False
    text = f"exits refused {max(leg.tries for leg in bare)} times, {waited / 1000:.1f} s without a stop"
    if policy.failsafe_flatten:
        draft.note(Level.ALERT, "failsafe", f"{text}: closing at market")
        close(draft, Reason.FAILSAFE)
        return True
    draft.halted = draft.halted or text
    if any(draft.now >= leg.retry_at for leg in bare):
        draft.note(Level.ALERT, "failsafe_off", f"{text}; FAILSAFE_FLATTEN is off")
    return False


def _oversold(draft: Draft) -> bool:
    """A leg that sold more than its part, by a fill after its cancel, is bought back at once (rule 6.3)."""
    position, rules = draft.position, draft.rules
    over = ZERO
    for leg in position.legs:
        if leg.n:
            sold = sum((o.cum_qty for o in position.orders if o.leg == leg.n and not o.is_entry), ZERO)
            over += max(sold - leg.qty, ZERO)
    back = [o for o in position.orders if o.role is Role.BUYBACK]
    over = rules.whole(over - sum((o.cum_qty for o in back), ZERO))
    if not rules.carries_market(over, _price(draft)):
        return False
    if any(o.live for o in back) or (back and draft.now < back[-1].closed_at + draft.policy.exits_retry_ms):
        return True
    draft.note(Level.ALERT, "oversold", f"{plain(over)} {rules.base} sold twice: bought back at market")
    draft.place(draft.order(Role.BUYBACK, position.plan.direction.entry_side, OrderType.MARKET, over))
    return True


def _note_targets(draft: Draft) -> None:
    if draft.position.target_hit:
        return
    position = draft.position
    sold_at_target = {leg.n for leg in position.legs if leg.leave is Leave.TARGET}
    for leg in position.legs:
        done = leg.target is not None and leg_left(position, leg, draft.rules) <= 0
        orders = [o for o in position.orders if o.leg == leg.n and o.cum_qty]
        if done and any(o.is_target or o.leg in sold_at_target for o in orders):
            draft.update(target_hit=True)
            return


def _at_work(draft: Draft) -> bool:
    """A partly filled order may have less left than could be sold anew; it keeps working (rule 5.6)."""
    return any(o.cum_qty and not o.cancelling for o in draft.live())


def _price(draft: Draft) -> Decimal:
    quote = draft.market.quote
    return quote.last if quote is not None else draft.position.plan.stop
