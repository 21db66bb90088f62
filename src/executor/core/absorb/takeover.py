"""What the operator decides about orders that belong to no trade here (rule 9.3): adopt, close or forget them.

What could not be rebuilt is not guessed, so the word is the operator's: a stop for what is held, the end of it, or that
it is none of Executor's business any more. `judge` says what that would do, in words, before anything is done.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
from msgspec.structs import replace

from executor.core.absorb.reports import adopt
from executor.core.book import brackets, debt
from executor.core.book.ledger import entry_average, holding
from executor.core.book.levels import beyond
from executor.core.book.plan import split
from executor.core.model import ids
from executor.core.model.events import Resolve, Resolved
from executor.core.model.facts import Fill, OrderReport
from executor.core.model.ids import ENTRIES
from executor.core.model.intents import Level, Notify
from executor.core.model.orders import fold
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, Entering, Order, Plan, Position, Reason, State
from executor.core.model.values import ZERO, Direction, short
from executor.core.model.verdict import MOVED, Absorbed, Ignored, Refusal

NO_LEG = -1


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """One trade as the exchange shows it. `held`: base in whole steps that may be sold (a short: is to be bought back);
    `average`: its entry's price; `live`: its open orders.
    """

    trade: str
    direction: Direction
    held: Decimal
    average: Decimal | None
    live: tuple[Order, ...]
    orders: tuple[Order, ...]


class Takeover(msgspec.Struct, frozen=True):
    """What comes of the operator's word: the state after it, and in `lines` what will be done."""

    state: State
    lines: tuple[str, ...]


def absorb(state: State, event: Resolved, policy: Policy, rules: SymbolRules) -> Absorbed:
    made = judge(state, event, policy, rules)
    if isinstance(made, Refusal | Ignored):
        return Absorbed(state, made)
    note = Notify(Level.ALERT, f"operator_{event.how}", "; ".join(made.lines))
    return Absorbed(made.state, MOVED, (note,))


def judge(state: State, event: Resolved, policy: Policy, rules: SymbolRules) -> Takeover | Refusal | Ignored:
    """Ignored: there is nothing that the word could be about."""
    if state.position is not None:
        return Refusal(f"trade {state.position.trade} is open, and looked after")
    if event.how is Resolve.FORGET:
        return _forget(state, event, rules)
    found = strays(state, event.reports, event.fills, rules)
    chosen = [stray for stray in found if event.trade in ("", stray.trade)]
    if not chosen:
        which = f"no trade {event.trade}" if event.trade else "no trade of ours"
        return Ignored(f"{which} has an open order or holds anything, as far as its orders can still be read")
    if len(chosen) > 1:
        return Refusal(f"{len(chosen)} trades are open: name one with --trade: {', '.join(s.trade for s in chosen)}")
    if event.how is Resolve.FLATTEN:
        return _flatten(state, chosen[0], rules)
    return _adopt(state, chosen[0], event, policy, rules)


def strays(
    state: State, reports: Iterable[OrderReport], fills: Mapping[str, tuple[Fill, ...]], rules: SymbolRules
) -> tuple[Stray, ...]:
    """The trades of ours that have an open order, and the last one of all if it still holds something, oldest first.

    A trade whose entry can't be read any more is left out: nothing tells what it holds.
    """
    by_trade: dict[str, list[OrderReport]] = {}
    for report in reports:
        name = ids.parse(report.id)
        if name is not None and report.id not in state.ignored:
            by_trade.setdefault(name.trade, []).append(report)
    found = []
    last = max(by_trade, key=int, default="")
    for trade in sorted(by_trade, key=int):
        stray = _stray(trade, by_trade[trade], fills, state.market.now, rules)
        closed = state.last_closed is not None and state.last_closed.trade == trade
        if stray is None or not (stray.live or (trade == last and stray.held > 0 and not closed)):
            continue
        found.append(stray)
    return tuple(found)


def _stray(
    trade: str, reports: Sequence[OrderReport], fills: Mapping[str, tuple[Fill, ...]], now: int, rules: SymbolRules
) -> Stray | None:
    orders = tuple(_order(report, fills.get(report.id, ()), now) for report in sorted(reports, key=_rev))
    entries = [order for order in orders if order.role in ENTRIES]
    if not entries:
        return None
    for entry in entries:
        orders = brackets.linked(orders, entry)
    direction = Direction.LONG if entries[0].side is Direction.LONG.entry_side else Direction.SHORT
    bare = _position(trade, direction, orders)
    return Stray(
        trade=trade,
        direction=direction,
        held=rules.whole(max(holding(bare, rules).held, ZERO)),
        average=entry_average(bare),
        live=tuple(order for order in orders if order.live),
        orders=orders,
    )


def _rev(report: OrderReport) -> int:
    name = ids.parse(report.id)
    assert name is not None
    return name.rev


def _order(report: OrderReport, fills: tuple[Fill, ...], now: int) -> Order:
    name = ids.parse(report.id)
    assert name is not None
    order = adopt(report, name)
    return fold(order if order.is_entry else replace(order, leg=NO_LEG), replace(report, fills=fills), now)


def _position(trade: str, direction: Direction, orders: tuple[Order, ...]) -> Position:
    """A position that knows its orders, and nothing of a plan yet."""
    qty = sum((order.qty if order.live else order.cum_qty for order in orders if order.is_entry), ZERO)
    revs = [name.rev for order in orders if (name := ids.parse(order.id)) is not None]
    return Position(
        trade=trade,
        signal=f"operator-{trade}",
        opened=int(trade),
        plan=Plan(direction=direction, entry=ZERO, stop=ZERO, targets=(), qty=qty, r=ZERO),
        phase=Entering(give_up_at=0, end=Reason.EXTERNAL),
        revs=1 + max(revs),
        orders=orders,
        taken=len(orders),
    )


def _owing(stray: Stray, rules: SymbolRules) -> Position:
    """As `_position`; on margin with what its entry has spent, which explains its debt (rule 11.12)."""
    bare = _position(stray.trade, stray.direction, stray.orders)
    long = stray.direction is Direction.LONG
    spent = sum((order.value if long else order.cum_qty for order in stray.orders if order.is_entry), ZERO)
    return replace(bare, credit=debt.unclaimed(stray.direction, spent, rules))


def _flatten(state: State, stray: Stray, rules: SymbolRules) -> Takeover:
    bare = _owing(stray, rules)
    wished = next((order.price for order in stray.orders if order.is_entry and order.price), ZERO)
    price = _on_tick(stray.average or wished, rules)  # of an entry at market that has not filled, none is known
    plan = replace(bare.plan, entry=price, stop=price)
    closing = replace(bare, plan=plan, phase=Closing(reason=Reason.FLATTEN, since=state.market.now))
    deed = "sell" if stray.direction is Direction.LONG else "buy back"
    lines = [_what(stray, rules), _cancels(stray)]
    lines.append(f"{deed} {short(stray.held)} {rules.base} at market" if stray.held else "there is nothing to sell")
    return Takeover(replace(state, position=closing, halted=""), tuple(lines))


def _adopt(state: State, stray: Stray, event: Resolved, policy: Policy, rules: SymbolRules) -> Takeover | Refusal:
    if stray.average is None or not stray.held:
        return Refusal(f"trade {stray.trade} holds nothing to protect: `executor flatten` cancels its orders")
    if event.stop is None:
        return Refusal("a stop price is needed")
    entry = _on_tick(stray.average, rules)
    r = abs(entry - event.stop) or rules.tick
    sign = stray.direction.sign
    targets = event.targets or tuple(_on_tick(entry + sign * r * m, rules) for m in policy.target_r)
    fault = _fault(stray.direction, event, targets, rules)
    if fault is not None:
        return Refusal(fault)
    bare = _owing(stray, rules)
    plan = replace(bare.plan, entry=entry, stop=event.stop, targets=targets, r=r)
    if split(stray.held, plan, policy, rules) is None:
        return Refusal(f"{short(stray.held)} {rules.base} are too small for an exit: `executor flatten` sells them")
    named = ", ".join(map(short, targets))
    lines = (
        _what(stray, rules),
        _cancels(stray),
        f"then protect {short(stray.held)} {rules.base} by stops at {short(event.stop)}, with targets {named}",
    )
    return Takeover(replace(state, position=replace(bare, plan=plan), halted=""), lines)


def _fault(direction: Direction, event: Resolved, targets: tuple[Decimal, ...], rules: SymbolRules) -> str | None:
    """What is wrong with the wished prices."""
    assert event.stop is not None
    for name, price in (("the stop", event.stop), *((f"TP{i}", target) for i, target in enumerate(targets, 1))):
        if (fault := rules.price_fault(price)) is not None:
            return f"{name}: {fault}"
    if event.quote is not None and beyond(event.quote.last, event.stop, direction):
        return (
            f"the last price {short(event.quote.last)} is past the stop {short(event.stop)} already: "
            "`executor flatten` closes the trade at market"
        )
    ladder = [event.stop, *targets]
    if any(direction.sign * (b - a) <= 0 for a, b in pairwise(ladder)):
        wanted = "above" if direction is Direction.LONG else "below"
        return f"prices out of order: {', '.join(map(short, ladder))}; each must be {wanted} the one before"
    return None


def _forget(state: State, event: Resolved, rules: SymbolRules) -> Takeover | Ignored:
    live = [r for r in event.reports if ids.is_ours(r.id) and not r.status.is_final and r.id not in state.ignored]
    held = [stray for stray in strays(state, event.reports, event.fills, rules) if stray.held]
    if not live and not held and not state.halted:
        return Ignored("there is nothing to forget: no order of ours is open, and entries are not halted")
    lines = [f"leave {report.id} ({report.side} {short(report.qty)}) where it is" for report in live]
    lines += [f"look no more after {short(s.held)} {rules.base} of trade {s.trade} ({s.direction})" for s in held]
    lines.append("take entries again")
    entries = {order.id: None for stray in held for order in stray.orders if order.is_entry}  # without them, no stray
    ignored = tuple(dict.fromkeys((*state.ignored, *(report.id for report in live), *entries)))
    return Takeover(replace(state, ignored=ignored, halted=""), tuple(lines))


def _what(stray: Stray, rules: SymbolRules) -> str:
    bought = f" at {short(stray.average)} on average" if stray.average is not None else ""
    return f"trade {stray.trade} ({stray.direction}) holds {short(stray.held)} {rules.base}{bought}"


def _cancels(stray: Stray) -> str:
    return f"cancel {', '.join(order.id for order in stray.live)}" if stray.live else "no order of it is open"


def _on_tick(price: Decimal, rules: SymbolRules) -> Decimal:
    return (price / rules.tick).to_integral_value() * rules.tick
