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
from executor.core.book.ledger import filled_lists, holding, layout_of, leg_sold, locked
from executor.core.book.levels import stop_limit
from executor.core.book.plan import targets_beside
from executor.core.model.ids import Role
from executor.core.model.intents import names
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Borrowing, Closing, Entering, Order, OrderPhase, Position, Repaying, State
from executor.core.model.values import ONE, ZERO, Direction, OrderType, TimeInForce

_ROOM: Final = Decimal("1.02")
"""What is bought at market may cost a little more than the last price."""


def stands(state: State, rules: SymbolRules) -> dict[str, Decimal]:
    """By asset, what the trade's orders lock that are known to stand: where an account shows less, some of them have
    traded or gone, and nobody has told of it yet.
    """
    position = state.position
    if position is None:
        return {}
    long = position.plan.direction is Direction.LONG
    spends, gets = (rules.quote, rules.base) if long else (rules.base, rules.quote)
    entries = [order for order in position.orders if order.is_entry and _stays(order)]
    lock = sum([order.leaves * ((order.price or ZERO) if long else ONE) for order in entries], ZERO)
    return {spends: lock, gets: locked(position)}


def claims(
    state: State, policy: Policy, rules: SymbolRules, *, ahead: bool, untold: Container[str] = ()
) -> Mapping[str, Decimal]:
    """By asset. `ahead`: it was opened before whoever asks: what it has not borrowed yet is its own to take, too.
    `untold`: of these less is locked than `stands`.
    """
    position = state.position
    if position is None or position.credit is None:
        return {}
    credit, found = position.credit, defaultdict[str, Decimal](Decimal)
    leaving = _leaving(state)
    debt, spent = debts.find(state.debts, credit.asset), _spent(position, leaving)
    enters = _enters(position)
    if enters:
        made = isinstance(position.phase, Entering)  # the loan: what it was for is there
        wanted = credit.need if ahead or made else min(debt.borrowed, credit.need)
        found[credit.asset] += max(wanted - spent, ZERO)
    in_hand = _received(position, rules, untold) + (ZERO if enters else max(credit.need - spent, ZERO))
    found[credit.asset] += min(debt.own, in_hand)
    if isinstance(position.phase, Repaying):
        return found
    held = holding(position, rules)
    bare = _bare(position, held.held + held.beyond, leaving)
    coming, there = _coming(position), _may_be_there(position, rules, untold)
    beside = _beside(position, held.held + coming, policy, rules)
    if position.plan.direction is Direction.LONG:
        found[rules.base] += bare + beside + there
    else:
        buys = debts.gross(coming, rules.worst_keep(), rules.step) + rules.step if coming else ZERO
        cost = _cost(state, position, policy, rules)
        brings = _brings(position, policy, rules)
        found[rules.quote] += bare * cost + beside + max(buys * cost - (coming - there) * brings, ZERO)
    return found


def on_spot(
    state: State,
    policy: Policy,
    rules: SymbolRules,
    since: int,
    *,
    for_exits: bool = True,
    untold: Container[str] = (),
) -> dict[str, Decimal]:
    """By asset, of a trade without borrowed money. What was not known to stand before `since` (ms) may not be locked
    yet in the balances that were asked for then. `for_exits`: whoever asks has exits to pay for, so what Plan B takes
    at the most counts, and what was spent since; where one of two longs' entries is refused, nothing is lost.
    `untold`: as for `claims`.
    """
    position = state.position
    if position is None or position.credit is not None:
        return {}
    plan, entries = position.plan, [order for order in position.orders if order.is_entry]
    enters, coming, there = _enters(position), _coming(position), _may_be_there(position, rules, untold)
    standing = [order for order in entries if _stays(order) and order.heard_at < since]
    held = holding(position, rules).held
    bare = _bare(position, held, _leaving(state), since)
    beside = _beside(position, held + coming, policy, rules)
    if plan.direction is Direction.LONG:
        dearest = need(plan, policy, rules).amount / plan.qty if enters and for_exits else plan.entry
        paid = sum([order.leaves * (order.price or ZERO) for order in standing], ZERO)
        spent = sum([order.value for order in entries if for_exits and order.sent_at >= since], ZERO)
        return {rules.quote: max(coming * dearest - paid, ZERO) + spent, rules.base: bare + beside + there}
    cost, brings = _cost(state, position, policy, rules), _brings(position, policy, rules)
    unlocked = coming - sum([order.leaves for order in standing], ZERO)
    to_pay = coming * max(cost - brings, ZERO) + there * brings
    return {rules.base: unlocked, rules.quote: bare * cost + beside + to_pay}


def _enters(position: Position) -> bool:
    return isinstance(position.phase, Borrowing | Entering) and position.phase.end is None


def _coming(position: Position) -> Decimal:
    """Base quantity that its entry may still trade."""
    entries = [order for order in position.orders if order.is_entry]
    coming = sum([order.leaves for order in entries if order.live], ZERO)
    if _enters(position):
        coming += max(position.plan.qty - sum([o.qty if o.live else o.cum_qty for o in entries], ZERO), ZERO)
    return coming


def _may_be_there(position: Position, rules: SymbolRules, untold: Container[str]) -> Decimal:
    """Base quantity that its entry may have traded already, so that what it brought lies free: of orders without an
    answer, of those that don't wait in the book, though a part of them is told of, and of all of them where not all
    that they lock is locked.
    """
    spends = rules.quote if position.plan.direction is Direction.LONG else rules.base
    live = [order for order in position.orders if order.is_entry and order.live]
    return sum([o.leaves for o in live if not _stays(o) or spends in untold], ZERO)


def _stays(order: Order) -> bool:
    """Whether it is known to stand, so that what it has not traded is locked. What trades at once, or not at all, is
    known to work only by the first of its fills.
    """
    passes = order.type is OrderType.MARKET or order.time_in_force is TimeInForce.IOC
    return order.phase is OrderPhase.WORKING and not passes


def _brings(position: Position, policy: Policy, rules: SymbolRules) -> Decimal:
    """What a unit of a short's entry brings at the least, in quote."""
    plan = position.plan
    price = lowest_sale(plan, plan.entry, policy, rules) if _enters(position) else plan.entry
    return price * (ONE - rules.taker_fee)


def _beside(position: Position, most: Decimal, policy: Policy, rules: SymbolRules) -> Decimal:
    """What PLAIN's targets will lock beside the stop of the whole (rule 4.3) while its exits are not sized yet:
    base of a long that will hold `most` of its plan, quote of a short.
    """
    plan = position.plan
    if isinstance(position.phase, Closing) or any(leg.n for leg in position.legs):
        return ZERO
    targets = targets_beside(plan, policy, rules)
    long = plan.direction is Direction.LONG
    return sum([qty if long else qty * price for qty, price in targets], ZERO) * max(most, ZERO) / plan.qty


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
            if _stays(order) and order.id not in leaving:
                total += order.leaves * (order.price or ZERO) if long else order.leaves
    return total


def _received(position: Position, rules: SymbolRules, untold: Container[str]) -> Decimal:
    """What its exits, and what was bought for its debt, have brought of the asset that it owes, or may have brought
    already, so that it lies free: those at market and in doubt, and all of them where not all that they lock is locked.
    Of a list one may.
    """
    long = position.plan.direction is Direction.LONG
    spends, kept = rules.base if long else rules.quote, debts.kept(position, rules)
    found, told = dict[str, Decimal](), ZERO
    for order in position.orders:
        if not (order.is_exit or order.role is Role.DEBT):
            continue
        told += order.value if long else order.cum_qty * kept
        sure = order.phase is not OrderPhase.UNRESOLVED and order.type is not OrderType.MARKET
        if order.live and not order.awaits and not (sure and spends not in untold):
            name = order.list_id or order.id
            brings = order.leaves * (max(order.price or ZERO, position.plan.entry) if long else kept)
            found[name] = max(brings, found.get(name, ZERO))
    return told + sum(found.values(), ZERO)


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
        if _stays(order) and name not in done and not (since and order.heard_at >= since):
            found[name] = max(order.leaves, found.get(name, ZERO))
    return sum(found.values(), ZERO)


def _cost(state: State, position: Position, policy: Policy, rules: SymbolRules) -> Decimal:
    """What one unit of a short's exits locks at the most, in quote."""
    quote = state.market.quote
    if isinstance(position.phase, Closing) and quote is not None:
        return quote.last * _ROOM
    level = max((leg.stop for leg in position.legs if leg.stop is not None), default=position.plan.stop)
    return stop_limit(level, Direction.SHORT, policy, rules)
