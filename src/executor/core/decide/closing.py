"""Decide while closing (rule 7): cancel everything, trade what is held back, look once more, and only then be done."""

from decimal import Decimal

from msgspec.structs import replace

from executor.core.book.ledger import committed
from executor.core.decide import doubt
from executor.core.decide.draft import OUTLIVED, Draft
from executor.core.model.facts import POVERTY, Balance, Why
from executor.core.model.ids import Role
from executor.core.model.intents import Level, QueryTrades
from executor.core.model.policy import Layout
from executor.core.model.state import Closing, End, Order, OrderPhase, Reason
from executor.core.model.values import ZERO, Direction, OrderType, plain


def decide(draft: Draft, phase: Closing) -> Reason | None:
    """One step towards the end; the reason to write down once the trade is over, None before."""
    live = [o for o in draft.position.orders if o.live]
    draft.dismiss(live, recheck=True)
    if live and not _stuck(draft, live):
        return None
    if draft.changing() or any(o.check or doubt.owes_look(draft, o) for o in draft.position.orders):
        return None
    phase = _abandon(draft, phase)
    if not phase.abandon and _trade_rest(draft, phase):
        return None
    if live:
        return None
    if _look_again(draft):
        return None
    if price_fills(draft):
        return None
    if phase.looked_at < max([phase.since, *(o.closed_at for o in draft.position.orders)]):
        draft.query_open_orders()
        return None
    return phase.reason


def _stuck(draft: Draft, live: list[Order]) -> bool:
    """Whether nothing is left that a cancel can rid the book of. What such orders can't sell is sold beside them, and
    new entries stay halted: a close always comes to its end (rules 8.7, 10.6).
    """
    if not all(o.phase is OrderPhase.WORKING and o.cancels >= OUTLIVED for o in live):
        return False
    names = ", ".join(o.id for o in live)
    draft.halted = draft.halted or f"{names} can't be cancelled"
    return True


def _look_again(draft: Draft) -> bool:
    """What was cancelled is looked at once more before the trade is summed up, sold at market or not (rule 6.3)."""
    waiting = [o for o in draft.position.orders if o.recheck]
    for order in waiting:
        if draft.now >= order.ask_at:
            draft.query(order)
    return bool(waiting)


def _trade_rest(draft: Draft, phase: Closing) -> bool:
    """Sell what is still held, or buy back what was sold too much; whether something is under way."""
    position, rules = draft.position, draft.rules
    held = draft.tally.holding
    if not held.certain and price_fills(draft):
        return True
    # What may be commission only is neither sold nor bought back.
    short = -(held.held + held.guessed)
    standing = committed(position, layout=Layout.OCO)
    qty = rules.market_piece(max(held.held + held.beyond - standing, short, ZERO), draft.price)
    if not qty:
        return False
    role = Role.FLATTEN if held.held + held.beyond > 0 else Role.BUYBACK
    failed = _failed(draft, role)
    if failed and not _again(draft, phase, role, failed):
        return True
    if role is Role.BUYBACK:
        draft.note(Level.ALERT, "oversold", f"{plain(qty)} {rules.base} sold too much: bought back at market")
    direction = position.plan.direction
    side = direction.exit_side if role is Role.FLATTEN else direction.entry_side
    draft.place(draft.order(role, side, OrderType.MARKET, qty))
    return True


def _failed(draft: Draft, role: Role) -> list[Order]:
    """Market orders that came to nothing, or not to all they were for."""
    return [o for o in draft.position.orders if o.role is role and o.leg == 0 and o.end is not End.FILLED]


def _again(draft: Draft, phase: Closing, role: Role, failed: list[Order]) -> bool:
    """Whether to try once more after the orders `failed`."""
    policy, last = draft.policy, failed[-1]
    if role is Role.FLATTEN and last.refusal in POVERTY and draft.market.balances_at < last.closed_at:
        draft.query_balances()
        return False
    pause = 0 if last.refusal is Why.WITHDRAWN else policy.exits_retry_ms
    if draft.now < max(last.closed_at + pause, last.ask_at):
        return False
    again = phase.again + 1
    draft.enter(replace(phase, again=again))
    if again % policy.failsafe_tries == 0:
        draft.note(
            Level.ALERT, "close_failed", f"{again} market orders to close have failed; still trying", failed[-1:]
        )
    return True


def _abandon(draft: Draft, phase: Closing) -> Closing:
    """A long's sale was refused and the account owns less than is held: somebody else closed the trade (rule 6.6)."""
    failed = _failed(draft, Role.FLATTEN)
    if draft.position.plan.direction is Direction.SHORT or not failed:
        return phase
    last, market = failed[-1], draft.market
    if last.refusal not in POVERTY or market.balances_at < last.closed_at or phase.abandon:
        return phase
    owned: Decimal = market.balances.get(draft.rules.base, Balance(ZERO)).total
    if owned >= draft.tally.sellable:
        return phase
    draft.note(Level.ALERT, "sold_elsewhere", f"{plain(owned)} {draft.rules.base} are left: closed by somebody else")
    abandoned = replace(phase, reason=Reason.EXTERNAL, abandon=True)
    draft.enter(abandoned)
    return abandoned


def price_fills(draft: Draft) -> bool:
    """Every fill's commission is known before the trade is summed up; whether some are still asked for."""
    unpriced = [o for o in draft.position.orders if o.unpriced_qty > 0]
    if draft.position.guess_fees:
        return any(draft.asked(QueryTrades, o.id) for o in unpriced)  # an answer that is on its way may tell
    for order in unpriced:
        draft.query_trades(order)
    return bool(unpriced)
