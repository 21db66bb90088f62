"""The exits that ought to be on the exchange against those that are (rule 4.5). Pure: the state, the open orders, what
the trade wants.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from executor.core.book.ledger import covered, layout_of, leg_left, sellable
from executor.core.invariants import unsound
from executor.core.model.facts import OrderReport
from executor.core.model.ids import is_ours, parse
from executor.core.model.intents import Command
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, Entering, Leg, Order, OrderPhase, Position, State
from executor.core.model.values import ZERO, plain
from executor.ops import text


class Kind(StrEnum):
    """What a finding is about. Only NOTE and UNDERWAY are no faults."""

    MISSING = "missing"  # ought to be open, is not
    EXTRA = "extra"  # of this trade, ought not to be open
    FOREIGN = "foreign"  # an EX_ order of no trade that is open
    DIFFERENT = "different"  # open with another side, price or quantity
    RENAMED = "renamed"  # open under another id than it was sent with
    OVER = "over"  # more for sale than is held
    COUNT = "count"  # not as many exits as rule 4.5 says
    BARE = "bare"  # held without a stop
    INVARIANT = "invariant"  # rule 10
    UNDERWAY = "under way"  # a request is unanswered: nothing can be said of it yet
    NOTE = "note"


class Finding(msgspec.Struct, frozen=True):
    """`figure`: which one of the order is different, in words."""

    kind: Kind
    text: str
    order: str = ""
    figure: str = ""

    @property
    def fault(self) -> bool:
        return self.kind not in (Kind.NOTE, Kind.UNDERWAY)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """`exits`: how many ways out there are, an OCO counted once; `expected_open`, `open`: EX_ orders."""

    symbol: str
    trade: str
    phase: str
    expected_exits: int
    exits: int
    expected_open: int
    open: int
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.fault)

    @property
    def settled(self) -> bool:
        """Whether nothing was under way, so that the answer is one."""
        return not any(each.kind is Kind.UNDERWAY for each in self.findings)

    @property
    def sound(self) -> bool:
        return not self.faults


def check(state: State, open_orders: Sequence[OrderReport], policy: Policy, rules: SymbolRules) -> Check:
    """Compare; `open_orders` are all open orders of the symbol, read while nothing was under way or after it."""
    position = state.position
    ours = [order for order in open_orders if is_ours(order.id)]
    others = len(open_orders) - len(ours)
    findings = [*_under_way(state), *_against_orders(position, ours, open_orders)]
    expected_exits = exits = expected_open = 0
    phase = "flat"
    if position is not None:
        phase = _tag(position)
        expected_exits, expected_exit_orders = _expected(position, rules)
        entries = sum(1 for order in position.orders if order.live and order.is_entry)
        expected_open = expected_exit_orders + entries
        ours = [report for report in ours if report.id not in _awaiting(position)]
        exits = _ways_out(position, ours)
        findings += _about_cover(state, position, rules)
        findings += _over(position, ours, rules)
        quiet = not any(each.kind is Kind.UNDERWAY for each in findings)
        if quiet and not isinstance(position.phase, Closing) and (exits, len(ours)) != (expected_exits, expected_open):
            findings.append(
                Finding(
                    Kind.COUNT,
                    f"{exits} exits in {len(ours)} open orders, ought to be {expected_exits} in {expected_open} "
                    "(rule 4.5)",
                )
            )
    findings += [Finding(Kind.INVARIANT, broken) for broken in unsound(state, policy, rules)]
    if others:
        findings.append(Finding(Kind.NOTE, f"{others} open orders are not Executor's and are left alone"))
    return Check(
        symbol=state.symbol,
        trade=position.trade if position is not None else "",
        phase=phase,
        expected_exits=expected_exits,
        exits=exits,
        expected_open=expected_open,
        open=len(ours),
        findings=tuple(findings),
    )


def as_text(found: Check) -> str:
    what = f"{found.symbol}, trade {found.trade}, {found.phase}" if found.trade else f"{found.symbol}, no trade is open"
    lines = [
        (
            "exits",
            f"{found.exits} ({found.open} open orders), ought to be {found.expected_exits} ({found.expected_open})",
        ),
        ("verdict", _verdict(found)),
    ]
    told = [(str(each.kind), each.text) for each in found.findings]
    return f"{what}\n{text.fields(lines)}" + (f"\n\n{text.fields(told)}" if told else "")


def _verdict(found: Check) -> str:
    if found.faults:
        return f"not as expected: {len(found.faults)} faults"
    return "as expected" if found.settled else "changing right now: look again in a moment"


def _tag(position: Position) -> str:
    return type(position.phase).__name__.lower()


def _under_way(state: State) -> Iterator[Finding]:
    if state.started:
        yield Finding(Kind.UNDERWAY, "the start's look at the orders (rule 9.1) is not done yet")
    for owed in state.outbox:
        if isinstance(owed.request, Command):
            yield Finding(Kind.UNDERWAY, f"{type(owed.request).__name__} is not answered yet")


def _against_orders(
    position: Position | None, ours: Sequence[OrderReport], everybodys: Sequence[OrderReport]
) -> Iterator[Finding]:
    """Order by order: what the state believes live against what the exchange shows."""
    known = {order.id: order for order in position.orders} if position is not None else {}
    shown = {report.id: report for report in ours}
    by_number = {report.exchange_id: report for report in everybodys}
    for order in known.values():
        report = shown.get(order.id)
        if order.phase in (OrderPhase.SUBMITTED, OrderPhase.UNRESOLVED):
            yield Finding(Kind.UNDERWAY, f"{_name(order)}: it is not yet known what became of it", order.id)
        elif order.live and report is None and order.awaits:
            pass  # whether it is listed before its entry has filled, Binance's documents leave open (rule 8.8)
        elif order.live and report is None and order.exchange_id in by_number:
            other = by_number[order.exchange_id].id
            yield Finding(Kind.RENAMED, f"{_name(order)} is open under another id, {other}", order.id)
        elif order.live and report is None:
            yield Finding(Kind.MISSING, f"{_name(order)} is not open on the exchange", order.id)
        elif order.live and report is not None:
            yield from _differs(order, report)
        elif report is not None:
            yield Finding(Kind.EXTRA, f"{_name(order)} has ended ({order.end}), but is open on the exchange", order.id)
    for report in ours:
        if report.id not in known:
            yield _unknown(report, position)


def _differs(order: Order, report: OrderReport) -> Iterator[Finding]:
    figures = (
        ("quantity", None if order.awaits else order.qty, report.qty),  # what its entry brings: not known yet (13.1)
        ("price", order.price, report.price),
        ("stop price", order.stop_price, report.stop_price),
    )
    different = [(what, plain(b), plain(a)) for what, a, b in figures if a is not None and a != b]
    if order.side is not report.side:
        different.append(("side", report.side, order.side))
    if order.type is not report.type:
        different.append(("type", report.type, order.type))
    for what, found, wanted in different:
        yield Finding(Kind.DIFFERENT, f"{_name(order)}: {what} is {found}, ought to be {wanted}", order.id, what)
    if order.exchange_id and report.exchange_id != order.exchange_id:
        text = f"{_name(order)}: the exchange's number is {report.exchange_id}, was {order.exchange_id}"
        yield Finding(Kind.DIFFERENT, text, order.id, "number")


def _unknown(report: OrderReport, position: Position | None) -> Finding:
    name = parse(report.id)
    figures = f"{report.side} {plain(report.qty - report.cum_qty)}"
    if position is not None and name is not None and name.trade == position.trade:
        return Finding(Kind.EXTRA, f"{report.id} ({figures}) is of this trade, but not in the state", report.id)
    return Finding(Kind.FOREIGN, f"{report.id} ({figures}) is of no trade that is open", report.id)


def _expected(position: Position, rules: SymbolRules) -> tuple[int, int]:
    """Ways out, and the orders that they are made of, from what is held alone (rules 4.2, 4.3, 4.5, 3.5).

    A leg that is left at market, or that no order could carry, has none; a target that has begun to fill has lost its
    stop side (rule 5.6).
    """
    if isinstance(position.phase, Closing):
        return 0, 0
    if isinstance(position.phase, Entering):
        exits = [order for order in position.orders if order.live and order.is_exit and not order.awaits]
        return len({order.list_id or order.id for order in exits}), len(exits)
    sizes = [_orders_of(position, leg, rules) for leg in position.legs]
    return sum(1 for size in sizes if size), sum(sizes)


def _orders_of(position: Position, leg: Leg, rules: SymbolRules) -> int:
    left = leg_left(position, leg, rules)
    if left <= 0 or leg.leave is not None:
        return 0
    begun = any(o.live and o.is_target and o.leg == leg.n and o.cum_qty for o in position.orders)
    if leg.target is not None and leg.stop is not None:
        return 1 if begun else 2
    return 1


def _awaiting(position: Position) -> set[str]:
    """Exits that are no way out before their entry has filled (rule 13.1)."""
    return {order.id for order in position.orders if order.live and order.awaits}


def _ways_out(position: Position, ours: Sequence[OrderReport]) -> int:
    """Open exits of the trade by the exchange's own word; orders of one list are one way out."""
    ways: set[object] = set()
    for report in ours:
        name = parse(report.id)
        if name is None or name.trade != position.trade or report.side is not position.plan.direction.exit_side:
            continue
        ways.add(report.list_exchange_id if report.list_exchange_id != -1 else report.id)
    return len(ways)


def _about_cover(state: State, position: Position, rules: SymbolRules) -> Iterator[Finding]:
    """A held unit without a stop is a fault, save where a rule says that software watches it (rules 3.5, 5.6)."""
    if isinstance(position.phase, Closing):
        return
    held = sellable(position, rules)
    bare: Decimal = held - covered(position)
    if bare <= 0:
        return
    since = position.exposure.since
    spell = f" for {text.seconds(state.market.now - since)} s" if 0 < since <= state.market.now else ""
    told = f"{plain(bare)} {rules.base} of {plain(held)} have no stop on the exchange{spell}"
    begun = sum((o.leaves for o in position.orders if o.live and o.is_target and o.cum_qty), ZERO)
    if isinstance(position.phase, Entering) or bare <= begun:
        yield Finding(Kind.NOTE, f"{told}; the price is watched instead (rule 6.4)")
    else:
        yield Finding(Kind.BARE, told)


def _over(position: Position, ours: Sequence[OrderReport], rules: SymbolRules) -> Iterator[Finding]:
    """Rule 10.1 by the exchange's own word: open exits, an OCO counted once, sell no more than is held. PLAIN's stop
    stands beside its targets by design (rule 4.3), and while closing what still stands is being cancelled.
    """
    if layout_of(position) is Layout.PLAIN or isinstance(position.phase, Closing):
        return
    by_list: dict[object, Decimal] = {}
    for report in ours:
        name = parse(report.id)
        if name is None or name.trade != position.trade or report.side is not position.plan.direction.exit_side:
            continue
        key = report.list_exchange_id if report.list_exchange_id != -1 else report.id
        left = report.qty - report.cum_qty
        by_list[key] = min(left, by_list.get(key, left))
    selling, held = sum(by_list.values(), ZERO), sellable(position, rules)
    if selling > held:
        yield Finding(Kind.OVER, f"open exits would sell {plain(selling)}, {plain(held)} {rules.base} are held")


def _name(order: Order) -> str:
    price = order.stop_price if order.is_stop and order.stop_price is not None else order.price
    at = f" at {plain(price)}" if price is not None else ""
    return f"{order.id} ({order.side} {plain(order.leaves)}{at})"
