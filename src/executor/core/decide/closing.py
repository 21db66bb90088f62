"""Decide while closing (rule 7): cancel everything, trade what is held back, look once more, and only then be done."""

from typing import Final

from msgspec.structs import replace

from executor.core.book.brackets import awaited
from executor.core.book.ledger import committed, sold_too_much
from executor.core.decide import doubt, in_place, liquidation, market_sales, missing
from executor.core.decide.draft import OUTLIVED, Draft
from executor.core.decide.missing import Stock
from executor.core.model.facts import POVERTY
from executor.core.model.ids import Role
from executor.core.model.intents import Level, QueryTrades
from executor.core.model.orders import SECOND_LOOKS, TRADES_TRIES, ask_until, last_look, sell_again_at
from executor.core.model.policy import Layout
from executor.core.model.state import Closing, End, Order, OrderPhase, Position, Reason
from executor.core.model.values import ZERO, Direction, OrderType, plain

UNREAD_MS: Final = (1_000, 2_000, 4_000, 8_000, 15_000)


def decide(draft: Draft, phase: Closing) -> Reason | None:
    """One step towards the end; the reason to write down once the trade is over, None before."""
    live = [o for o in draft.position.orders if o.live]
    stays = doubt.may_both_come(draft)
    leaving = [o for o in live if not (stays and o.is_exit)]
    _sell_in_their_place(draft, phase, leaving)
    draft.dismiss(leaving, recheck=True)
    if draft.tally.holding.guessed or draft.tally.holding.cut:
        price_fills(draft)  # while the cancels are on their way
    if live and not _stuck(draft, live):
        return None
    if doubt.answers_due(draft) or any(_looked_at(draft, o) for o in draft.position.orders):
        return None
    phase = _abandon(draft, phase)
    if not phase.abandon and _trade_rest(draft, phase):
        return None
    if live:
        return None
    if _look_again(draft, phase):
        return None
    if price_fills(draft) or _price_at_last(draft, phase):
        return None
    ended = [phase.since, *(o.closed_at for o in draft.position.orders)]
    if not all(_looked_since(draft, phase, at) for at in ended):
        draft.query_open_orders()
        return None
    return phase.reason


def _sell_in_their_place(draft: Draft, phase: Closing, live: list[Order]) -> None:
    """Exits that outlive their cancels are sold for in one request with the next (rule 8.7), as far as no other sells
    it.
    """
    for order in live:
        if order.is_exit and not phase.abandon:
            held = draft.tally.holding
            others = committed(draft.position, layout=Layout.OCO) - order.leaves
            in_place.sell(draft, order, min(order.leaves, max(held.held + held.beyond - others, ZERO)))


def _looked_at(draft: Draft, order: Order) -> bool:
    """Whether a look at `order` is waited for: not for ever, where it can't be had or settles nothing. What a live one
    may sell is then sold by no other, as that of one in doubt (rules 8.3, 8.7, 10.6).
    """
    return (order.check and order.looks < SECOND_LOOKS) or doubt.waits_for_look(draft, order)


def _stuck(draft: Draft, live: list[Order]) -> bool:
    """Whether there is no end in sight for any of the orders: each is in doubt, or its request has no answer in time,
    or it has outlived a cancel. What such orders can't sell is sold beside them (rule 8.3), and where nothing is left
    that a cancel can rid the book of, new entries stay halted: a close always comes to its end (rules 8.7, 10.6).
    """
    late = doubt.late(draft)
    standing = [o for o in live if o.phase is not OrderPhase.UNRESOLVED and o.id not in late]
    if not all(o.phase is OrderPhase.WORKING and o.cancels for o in standing):
        return False
    if standing and all(o.cancels >= OUTLIVED for o in standing):
        names = ", ".join(o.id for o in standing)
        draft.halted = draft.halted or f"{names} can't be cancelled"
    return True


def _look_again(draft: Draft, phase: Closing) -> bool:
    """What was cancelled is looked at once more before the trade is summed up, sold at market or not (rule 6.3). Where
    the look can't be had, a list tells whether anything can be read at all: if so, it is not waited for (rule 8.7).
    """
    waiting = [o for o in draft.position.orders if o.recheck]
    for order in waiting:
        if draft.now >= order.ask_at:
            draft.query(order)
    if any(o.looks >= SECOND_LOOKS and not _looked_since(draft, phase, last_look(o)) for o in waiting):
        draft.query_open_orders()
    return bool(waiting)


def _looked_since(draft: Draft, phase: Closing, at: int) -> bool:
    """Whether the open orders were asked for since `at` (ms). What is dated ahead was before the clock was set back: no
    look would be later, and it would be asked for until the clock is there again (rule 8.7).
    """
    if not 0 < phase.looked_at <= draft.now:
        return False
    return phase.looked_at >= at or at > draft.now


def _trade_rest(draft: Draft, phase: Closing) -> bool:
    """Sell what is still held, or buy back what was sold too much; whether something is under way."""
    position, rules = draft.position, draft.rules
    held = draft.tally.holding
    if not held.certain and _fees_due(draft, phase):
        return True
    short = sold_too_much(position, held)
    standing = committed(position, layout=Layout.OCO)
    standing += awaited(position, rules)
    qty = rules.market_piece(max(held.held + held.beyond - standing, short, ZERO), draft.price)
    if not qty:
        unpriced = rules.whole(max(held.held, short, ZERO)) > 0 and not draft.price
        if unpriced:
            draft.query_quote()
        return unpriced
    role = Role.FLATTEN if held.held + held.beyond > 0 else Role.BUYBACK
    if role is Role.BUYBACK and any(o.live and (o.is_entry or o.role is role) for o in position.orders):
        return True  # it may have been bought already
    if role is Role.FLATTEN and liquidation.repaid_perhaps(draft):
        return True
    failed = _failed(draft, role)
    qty = market_sales.sized(draft, _sent(draft, role), qty)
    if failed and not _again(draft, phase, role, failed, another=market_sales.is_another(failed[-1], qty)):
        return True
    direction = position.plan.direction
    side = direction.exit_side if role is Role.FLATTEN else direction.entry_side
    if failed and failed[-1].refusal in POVERTY and _known(draft, phase, role, failed[-1]):
        qty = missing.affordable(draft, qty, side)
    if role is Role.BUYBACK:
        draft.note(Level.ALERT, "oversold", f"{plain(qty)} {rules.base} sold too much: bought back at market")
    draft.place(draft.order(role, side, OrderType.MARKET, qty))
    return True


def _failed(draft: Draft, role: Role) -> list[Order]:
    """The newest market orders in a row that came to nothing, or not to all they were for."""
    sent = _sent(draft, role)
    filled = max((i for i, o in enumerate(sent, 1) if o.end is End.FILLED), default=0)
    return sent[filled:]


def _sent(draft: Draft, role: Role) -> list[Order]:
    return [o for o in draft.position.orders if o.role is role and o.leg == 0 and not o.live]


def _again(draft: Draft, phase: Closing, role: Role, failed: list[Order], *, another: bool) -> bool:
    """Whether to try once more after the orders `failed`, with `another` size without the growing pause. A close that
    keeps being refused is told of, and halts new entries until somebody has looked (rules 8.7, 10.6).
    """
    policy, last = draft.policy, failed[-1]
    if draft.now < ask_until(last, policy) and not _stocked(draft, phase, role, last) and not phase.hurried:
        return False  # what is there to be sold, or to pay with, is being asked
    if draft.now < (last.ask_at if phase.hurried else sell_again_at(last, 0 if another else phase.again, policy)):
        return False
    again = phase.again + 1
    draft.enter(replace(phase, again=again, hurried=False))
    if again % policy.failsafe_tries == 0:
        text = f"{again} market orders to close have failed; still trying"
        draft.note(Level.ALERT, "close_failed", text, failed[-1:])
    if again >= 2 * policy.failsafe_tries and last.end is End.REFUSED:
        draft.halted = draft.halted or f"{again} market orders to close have failed"
    return True


def _stocked(draft: Draft, phase: Closing, role: Role, last: Order) -> bool:
    """Whether what the account owns is known since `last` was refused; else it is asked."""
    known = _known(draft, phase, role, last)
    if not known and not _judged(draft, role):
        draft.query_balances()
    return known


def _known(draft: Draft, phase: Closing, role: Role, last: Order) -> bool:
    since = phase.stock_at if _judged(draft, role) else draft.market.balances_at
    return since >= last.closed_at


def _judged(draft: Draft, role: Role) -> bool:
    """Whether stock is taken of what an order of that role sells."""
    return role is Role.FLATTEN and draft.position.plan.direction is Direction.LONG


def _abandon(draft: Draft, phase: Closing) -> Closing:
    """A long's sale was refused: somebody else may have closed the trade, or a part of it (rules 6.6, 6.6b)."""
    failed = _failed(draft, Role.FLATTEN)
    if not failed or failed[-1].refusal not in POVERTY or phase.abandon or failed[-1].closed_at <= phase.stock_at:
        return phase
    stock = missing.take_stock(draft, failed[-1].closed_at)
    if stock is Stock.UNKNOWN:
        return phase
    phase = replace(phase, stock_at=failed[-1].closed_at)
    if stock is Stock.PART or (stock is Stock.NOTHING and any(o.cum_qty for o in _sent(draft, Role.FLATTEN))):
        missing.write_off(draft, None)  # of what this close has sold the most of, the rest was a part, too
    elif stock is Stock.NOTHING:
        missing.sold_elsewhere(draft)
        phase = replace(phase, reason=Reason.EXTERNAL, abandon=True)
    draft.enter(phase)
    return phase


def price_fills(draft: Draft) -> bool:
    """Every fill's commission is known before the trade is summed up; whether some are still asked for."""
    unpriced = [o for o in draft.position.orders if o.unpriced_qty > 0]
    if draft.position.guess_fees:
        return any(draft.asked(QueryTrades, o.id) for o in unpriced)  # an answer that is on its way may tell
    for order in unpriced:
        draft.query_trades(order)
    return bool(unpriced)


def fees_due_until(position: Position, phase: Closing) -> int:
    """Until when (ms) a sale waits for commissions that are not known: what may be commission is little, and the rest
    is bare meanwhile.
    """
    heard = [o.heard_at for o in position.orders if o.is_entry and o.unpriced_qty > 0]
    return max([phase.since, *heard]) + doubt.ANSWER_MS


def _fees_due(draft: Draft, phase: Closing) -> bool:
    return price_fills(draft) and draft.now < fees_due_until(draft.position, phase)


def _price_at_last(draft: Draft, phase: Closing) -> bool:
    """What was sold did not wait for commissions that could not be read. Now nothing is held any more, and they are
    asked for again, in growing pauses and not for ever, whether they can't be read or are not told (rule 8.7).
    """
    unpriced = [o for o in draft.position.orders if o.unpriced_qty > 0 and o.misses < TRADES_TRIES]
    if not unpriced or not phase.unread or phase.unread > len(UNREAD_MS):
        return False
    if draft.now >= price_again_at(phase):
        for order in unpriced:
            draft.query_trades(order)
    return True


def price_again_at(phase: Closing) -> int:
    """When commissions that could not be read are asked for again (ms)."""
    return phase.unread_at + UNREAD_MS[min(phase.unread, len(UNREAD_MS)) - 1] if phase.unread else 0
