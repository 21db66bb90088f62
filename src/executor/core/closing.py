"""Decide while closing (rule 7): cancel everything, sell what is held, look once more, and only then be done."""

from decimal import Decimal

from msgspec.structs import replace

from executor.core.draft import Draft
from executor.core.facts import Balance, Why
from executor.core.ids import Role
from executor.core.intents import Level, QueryOrder
from executor.core.ledger import holding
from executor.core.state import Closing, End, Order, OrderPhase, Reason
from executor.core.values import ZERO, Direction, OrderType, plain


def decide(draft: Draft) -> bool:
    """One step towards the end; True when the trade is over and may be summed up."""
    phase = draft.position.phase
    assert isinstance(phase, Closing)
    live = [o for o in draft.position.orders if o.live]
    if live:
        _cancel(draft, live)
        return False
    if draft.changing() or any(o.recheck and draft.asked(QueryOrder, o.id) for o in draft.position.orders):
        return False
    if not phase.abandon and _trade_rest(draft, phase):
        return False
    if _price_fills(draft):
        return False
    phase = draft.position.phase
    assert isinstance(phase, Closing)
    last = max([phase.since, *(o.closed_at for o in draft.position.orders)])
    if phase.looked_at < last:
        draft.query_open_orders()
        return False
    return True


def _cancel(draft: Draft, live: list[Order]) -> None:
    """Cancel what works. Market orders end by themselves; an OCO's other side has ended with the first: a look is enough."""
    ended = {o.list_id for o in draft.position.orders if o.list_id and not o.live and not o.cancelling}
    working = [o for o in live if o.phase is OrderPhase.WORKING and o.type is not OrderType.MARKET]
    for order in working:
        if order.list_id in ended and not order.check:
            draft.put(replace(order, check=True))
    draft.cancel([o for o in working if o.list_id not in ended], recheck=True)


def _trade_rest(draft: Draft, phase: Closing) -> bool:
    """Sell what is still held, or buy back what was sold too much; whether something is under way."""
    position, rules = draft.position, draft.rules
    held = holding(position, rules)
    if not held.certain and not position.guess_fees:
        return _price_fills(draft)
    price = draft.market.quote.last if draft.market.quote is not None else position.plan.stop
    if held.held > 0:
        role, side, qty = Role.FLATTEN, position.plan.direction.exit_side, rules.whole(held.held)
    else:
        role, side, qty = Role.BUYBACK, position.plan.direction.entry_side, rules.whole(-held.held)
    if rules.market_max_qty:
        qty = min(qty, rules.whole(rules.market_max_qty))
    if not rules.carries_market(qty, price):
        return False
    return _send(draft, phase, role, qty, side is position.plan.direction.exit_side)


def _send(draft: Draft, phase: Closing, role: Role, qty: Decimal, selling: bool) -> bool:
    position, policy = draft.position, draft.policy
    past = [o for o in position.orders if o.role is role and o.leg == 0]
    refused = [o for o in past if o.end is End.REFUSED]
    if refused:
        if draft.now < refused[-1].closed_at + policy.exits_retry_ms:
            return True
        if refused[-1].refusal is Why.INSUFFICIENT_BALANCE and selling and not _still_ours(draft, refused[-1], qty):
            return not _abandoned(draft)
        if len(refused) >= policy.failsafe_tries and len(refused) % policy.failsafe_tries == 0:
            draft.note(
                Level.ALERT, "close_refused", f"{len(refused)} market orders to close were refused; still trying"
            )
    if role is Role.BUYBACK:
        draft.note(Level.ALERT, "oversold", f"{plain(qty)} {draft.rules.base} sold too much: bought back at market")
    direction = position.plan.direction
    side = direction.exit_side if selling else direction.entry_side
    draft.place(draft.order(role, side, OrderType.MARKET, qty))
    return True


def _still_ours(draft: Draft, refused: Order, qty: Decimal) -> bool:
    """Whether the account still owns what is to be sold; if not, somebody else closed the trade (rule 6.6)."""
    if draft.position.plan.direction is Direction.SHORT:
        return True
    if draft.market.balances_at <= refused.closed_at:
        draft.query_balances()
        return False
    owned = draft.market.balances.get(draft.rules.base, Balance(ZERO)).total
    if owned >= qty:
        return True
    phase = draft.position.phase
    assert isinstance(phase, Closing)
    draft.note(Level.ALERT, "sold_elsewhere", f"{plain(owned)} {draft.rules.base} are left: closed by somebody else")
    draft.enter(replace(phase, reason=Reason.EXTERNAL, abandon=True))
    return False


def _abandoned(draft: Draft) -> bool:
    phase = draft.position.phase
    return isinstance(phase, Closing) and phase.abandon


def _price_fills(draft: Draft) -> bool:
    """Every fill's commission is known before the trade is summed up; whether some are still asked for."""
    if draft.position.guess_fees:
        return False
    unpriced = [o for o in draft.position.orders if o.unpriced_qty > 0]
    for order in unpriced:
        draft.query_trades(order)
    return bool(unpriced)
