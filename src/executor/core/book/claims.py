"""What a trade on an account that several symbols share still needs of what is free there (rules 2.6, 11.2).

The account has one purse. Money that one trade has borrowed for its entry, sold for, or is about to lock for its exits
lies free for moments; whoever takes it for spare leaves that entry refused, its position bare, or its debt unpaid.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from decimal import Decimal
from typing import Final

from executor.core.book import debt as debts
from executor.core.book.borrowing import lowest_sale, need
from executor.core.book.ledger import filled_lists, holding, layout_of, leg_sold
from executor.core.book.levels import stop_limit
from executor.core.model.intents import names
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Borrowing, Closing, Entering, Order, OrderPhase, Position, Repaying, State
from executor.core.model.values import ONE, ZERO, Direction

_ROOM: Final = Decimal("1.02")
"""What is bought at market may cost a little more than the last price."""


def claims(state: State, policy: Policy, rules: SymbolRules, *, ahead: bool) -> Mapping[str, Decimal]:
    """By asset. `ahead`: it was opened before whoever asks: what it has not borrowed yet is its own to take, too."""
    position = state.position
    if position is None or position.credit is None:
        return {}
    credit, found = position.credit, defaultdict[str, Decimal](Decimal)
    leaving = _leaving(state)
    debt, spent = debts.find(state.debts, credit.asset), _spent(position, leaving)
    enters = isinstance(position.phase, Borrowing | Entering) and position.phase.end is None
    if enters:
        made = isinstance(position.phase, Entering)  # the loan: what it was for is there
        wanted = credit.need if ahead or made else min(debt.borrowed, credit.need)
        found[credit.asset] += max(wanted - spent, ZERO)
    in_hand = _received(position, rules) + (ZERO if enters else max(credit.need - spent, ZERO))
    found[credit.asset] += min(debt.own, in_hand)
    if isinstance(position.phase, Repaying):
        return found
    held = holding(position, rules)
    bare = _bare(position, held.held + held.beyond, leaving)
    if position.plan.direction is Direction.LONG:
        found[rules.base] += bare
    else:
        found[rules.quote] += bare * _cost(state, position, policy, rules)
    return found


def on_spot(
    state: State, policy: Policy, rules: SymbolRules, since: int, *, for_exits: bool = True
) -> dict[str, Decimal]:
    """By asset, of a trade without borrowed money. What was not known to stand before `since` (ms) may not be locked
    yet in the balances that were asked for then. `for_exits`: whoever asks has exits to pay for, so what Plan B takes
    at the most counts, and what was spent since; where one of two longs' entries is refused, nothing is lost.
    """
    position = state.position
    if position is None or position.credit is not None:
        return {}
    plan, entries = position.plan, [order for order in position.orders if order.is_entry]
    enters = isinstance(position.phase, Entering) and position.phase.end is None
    coming = sum([order.leaves for order in entries if order.live], ZERO)
    if enters:
        coming += max(plan.qty - sum([o.qty if o.live else o.cum_qty for o in entries], ZERO), ZERO)
    locked = [order for order in entries if order.phase is OrderPhase.WORKING and order.heard_at < since]
    bare = _bare(position, holding(position, rules).held, _leaving(state), since)
    if plan.direction is Direction.LONG:
        dearest = need(plan, policy, rules).amount / plan.qty if enters and for_exits else plan.entry
        paid = sum([order.leaves * (order.price or ZERO) for order in locked], ZERO)
        spent = sum([order.value for order in entries if for_exits and order.sent_at >= since], ZERO)
        return {rules.quote: max(coming * dearest - paid, ZERO) + spent, rules.base: bare}
    cost = _cost(state, position, policy, rules)
    brings = (lowest_sale(plan, plan.entry, policy, rules) if enters else plan.entry) * (ONE - rules.taker_fee)
    unlocked = coming - sum([order.leaves for order in locked], ZERO)
    return {rules.base: unlocked, rules.quote: bare * cost + coming * max(cost - brings, ZERO)}


def _leaving(state: State) -> set[str]:
    """Orders whose cancels are on their way: what they lock may be free already, and is placed anew, or given back."""
    return {name for owed in state.outbox for name in names(owed.request)}


def _spent(position: Position, leaving: Container[str]) -> Decimal:
    """What the entry has spent, or has locked for what is left of it, of the asset that it spends; not by what is
    `leaving`.
    """
    long, total = position.plan.direction is Direction.LONG, ZERO
    for order in position.orders:
        if order.is_entry:
            total += order.value if long else order.cum_qty
            if order.phase is OrderPhase.WORKING and order.id not in leaving:
                total += order.leaves * (order.price or ZERO) if long else order.leaves
    return total


def _received(position: Position, rules: SymbolRules) -> Decimal:
    """What its exits have brought of the asset that it owes."""
    exits = [order for order in position.orders if order.is_exit]
    if position.plan.direction is Direction.LONG:
        return sum((order.value for order in exits), ZERO)
    return sum((order.cum_qty for order in exits), ZERO) * debts.kept(position, rules)


def _bare(position: Position, held: Decimal, leaving: Container[str], since: int = 0) -> Decimal:
    """Base quantity of the exits that have to be placed yet for all that is `held`: PLAIN's targets beside its stop."""
    exits = [order for order in position.orders if order.is_exit and not order.awaits]
    if layout_of(position) is not Layout.PLAIN or isinstance(position.phase, Closing):
        return max(held - _standing(position, exits, leaving, since), ZERO)
    stops, targets = [o for o in exits if not o.is_target], [o for o in exits if o.is_target]
    beside = min(sum([leg.qty - leg_sold(position, leg) for leg in position.legs if leg.n], ZERO), held)
    missing = max(beside - _standing(position, targets, leaving, since), ZERO)
    return max(held - _standing(position, stops, leaving, since), ZERO) + missing


def _standing(position: Position, exits: Iterable[Order], leaving: Container[str], since: int) -> Decimal:
    """Base quantity of those of `exits` that are known to stand, so that what they need is locked, or known so before
    `since` (ms); a list counts once. Not of those that are `leaving`.
    """
    done, found = filled_lists(position), dict[str, Decimal]()
    done |= {order.list_id or order.id for order in position.orders if order.id in leaving}
    for order in exits:
        name = order.list_id or order.id
        if order.phase is OrderPhase.WORKING and name not in done and not (since and order.heard_at >= since):
            found[name] = max(order.leaves, found.get(name, ZERO))
    return sum(found.values(), ZERO)


def _cost(state: State, position: Position, policy: Policy, rules: SymbolRules) -> Decimal:
    """What one unit of a short's exits locks at the most, in quote."""
    quote = state.market.quote
    if isinstance(position.phase, Closing) and quote is not None:
        return quote.last * _ROOM
    level = max((leg.stop for leg in position.legs if leg.stop is not None), default=position.plan.stop)
    return stop_limit(level, Direction.SHORT, policy, rules)
