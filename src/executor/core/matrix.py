"""The transition matrix (state x event), observed: each sample state is fed each sample event; what happened is told.

Nothing here is claimed that was not run. `executor matrix` prints it; a golden file holds it, so that a change of
behaviour shows as a changed line. The README's diagram of the phases is drawn from the same observations.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from executor.core import matrix_margin as margin
from executor.core.model import events
from executor.core.model.events import AnyEvent
from executor.core.model.facts import Balance, Done, Fill, OrderReport, Quote, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import (
    Borrow,
    CancelList,
    CancelOrder,
    Command,
    NewOrder,
    PlaceOco,
    PlaceOrder,
    QueryBorrowable,
    QueryLiquidations,
    QueryLoans,
    QueryMargin,
    QueryOpenOrders,
    Read,
    Repay,
    ReplaceOrder,
    Request,
)
from executor.core.model.loans import Booked, MarginAccount
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Order, OrderPhase, State
from executor.core.model.values import ZERO, Direction, OrderSide, OrderStatus, OrderType
from executor.core.model.verdict import Moved, Verdict
from executor.core.transition import empty, transition

START: Final = 1_700_000_000_000
RULES: Final = SymbolRules(
    symbol="LTCUSDT",
    base="LTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    min_notional=Decimal(5),
    taker_fee=Decimal("0.001"),
    maker_fee=Decimal("0.001"),
)
POLICY: Final = Policy(qty=Decimal(3))
MARGIN_RULES: Final = margin.on_margin(RULES)
BALANCES: Final = {"LTC": Balance(Decimal(10)), "USDT": Balance(Decimal(1_000))}
SIGNAL: Final = Signal(
    key="sample",
    at=START,
    direction=Direction.LONG,
    price=Decimal(100),
    stop=Decimal(98),
    targets=(Decimal(102), Decimal(104)),
)
STRANGER: Final = OrderReport(
    id="EX_1_SL_1",
    exchange_id=1,
    side=OrderSide.SELL,
    type=OrderType.STOP_LOSS_LIMIT,
    status=OrderStatus.NEW,
    qty=Decimal(1),
)


class Sample(msgspec.Struct, frozen=True):
    """A state and where it stands, in words."""

    label: str
    state: State
    rules: SymbolRules = RULES


class Case(msgspec.Struct, frozen=True):
    """An event and what it tells, in words."""

    label: str
    event: AnyEvent


class Row(msgspec.Struct, frozen=True):
    """What one event did to one state. `requests`: what is asked of the exchange because of it; `told`: of what people
    are told.
    """

    sample: str
    phase: str
    case: str
    kind: str
    outcome: str
    told: tuple[str, ...]
    next_phase: str
    requests: tuple[str, ...]


def rows() -> Iterator[Row]:
    for sample in samples():
        for case in cases(sample):
            step = transition(sample.state, case.event, POLICY, sample.rules)
            yield Row(
                sample=sample.label,
                phase=phase_of(sample.state),
                case=case.label,
                kind=type(case.event).__name__,
                outcome=_said(step.verdict),
                told=tuple(note.event for note in step.notes),
                next_phase=phase_of(step.state),
                requests=tuple(map(_named, step.requests)),
            )


def render() -> str:
    """One table for each sample state: the event, what it did, the phase after it, what was asked for."""
    table = list(rows())
    width = max(len(f"{row.kind}: {row.case}") for row in table)
    lines: list[str] = []
    sample = ""
    for row in table:
        if row.sample != sample:
            sample = row.sample
            lines += ["", f"{row.phase}: {sample}", ""]
        phase = row.next_phase if row.next_phase != row.phase else "="
        asked = ", ".join(row.requests) or "-"
        outcome = " + ".join([row.outcome, *row.told])
        lines.append(f"  {f'{row.kind}: {row.case}':{width}}  {phase:11}  {asked:44}  {outcome}")
    return "\n".join([f"  {'event':{width}}  {'phase':11}  {'requests':44}  outcome + what is told", *lines]) + "\n"


def diagram() -> str:
    """The moves between phases that were observed, as a Mermaid state diagram."""
    moves: dict[tuple[str, str], set[str]] = {}
    for row in rows():
        if row.phase != row.next_phase:
            moves.setdefault((row.phase, row.next_phase), set()).add(row.kind)
    lines = ["stateDiagram-v2", "    [*] --> Flat"]
    lines += [f"    {a} --> {b}: {', '.join(sorted(kinds))}" for (a, b), kinds in sorted(moves.items())]
    return "\n".join(lines) + "\n"


def phase_of(state: State) -> str:
    return type(state.position.phase).__name__ if state.position is not None else "Flat"


def _said(verdict: Verdict) -> str:
    match verdict:
        case Moved():
            return "moved"
        case _:
            return f"{type(verdict).__name__.lower()}: {verdict.why}"


def _named(request: Request) -> str:
    match request:
        case PlaceOrder() | ReplaceOrder():
            return f"{type(request).__name__} {request.order.id.split('_')[2]}"
        case PlaceOco():
            return f"PlaceOco {request.list_id.split('_')[2]}"
        case _:
            return type(request).__name__


# --- states -----------------------------------------------------------------------------------------------------------


def samples() -> Iterator[Sample]:
    """A long trade, at each point of its life where a phase can stand."""
    flat = empty(RULES.symbol)
    yield Sample("no trade has been yet", flat)
    sent = _after(flat, _signal(START))
    yield Sample("the entry is under way", sent)
    working = _answered(sent)
    yield Sample("the entry works", working)
    part = _answered(_after(working, _filled(working, Role.ENTRY, Decimal(1))))
    yield Sample("the entry has filled in part, an interim stop stands", part)
    placed = _after(working, _filled(working, Role.ENTRY, Decimal(3)))
    yield Sample("the exits are under way", placed)
    last = _answered(_answered(placed))
    yield Sample("the last exit is under way", last)
    covered = _answered(last)
    yield Sample("every unit is covered", covered)
    first = _after(covered, _quote(covered, Decimal("102.1")))
    first = _settled(_after(first, _filled(first, Role.TP1, Decimal("0.999"))))
    yield Sample("the first target has filled, the stops are at breakeven", first)
    leaving = _after(covered, events.Commanded(at=covered.market.now, verb=events.Verb.FLATTEN))
    yield Sample("the exits are being cancelled", leaving)
    selling = _answered(_answered(_answered(leaving)))
    yield Sample("what is held is being sold", selling)
    looking = selling
    while not any(isinstance(owed.request, QueryOpenOrders) for owed in looking.outbox):
        looking = _answered(looking)
    yield Sample("the last look is under way", looking)
    yield Sample("a trade has been", _settled(looking))
    yield from _margin_samples()


def _margin_samples() -> Iterator[Sample]:
    """A long trade on borrowed money, where it differs."""
    flat = empty(RULES.symbol)
    yield Sample("on margin: no trade has been yet", flat, MARGIN_RULES)
    lent = _after(flat, _signal(START, margin.account(flat)), MARGIN_RULES)
    yield Sample("on margin: the debt and what may be borrowed are read", lent, MARGIN_RULES)
    borrowing = _answered(_answered(lent, MARGIN_RULES), MARGIN_RULES)
    yield Sample("on margin: the loan is under way", borrowing, MARGIN_RULES)
    (loan,) = (owed.request for owed in borrowing.outbox)
    unknown = events.Answered(at=START, seq=loan.seq, outcome=Unknown("timeout", START + 5_000))
    yield Sample("on margin: the loan is in doubt", _after(borrowing, unknown, MARGIN_RULES), MARGIN_RULES)
    booked = _answered(borrowing, MARGIN_RULES)
    yield Sample("on margin: the loan is accepted, its record is looked at", booked, MARGIN_RULES)
    entering = _settled(booked, MARGIN_RULES)
    filled = _after(entering, _filled(entering, Role.ENTRY, Decimal(3)), MARGIN_RULES)
    covered = _settled(filled, MARGIN_RULES)
    yield Sample("on margin: every unit is covered", covered, MARGIN_RULES)
    state = _after(covered, events.Commanded(at=covered.market.now, verb=events.Verb.FLATTEN), MARGIN_RULES)
    while not any(isinstance(owed.request, QueryOpenOrders) for owed in state.outbox):
        state = _answered(state, MARGIN_RULES)
    yield Sample("on margin: the last look is under way", state, MARGIN_RULES)
    state = _answered(state, MARGIN_RULES)
    yield Sample("on margin: flat, the debt is read", state, MARGIN_RULES)
    state = _answered(state, MARGIN_RULES)
    yield Sample("on margin: the repayment is under way", state, MARGIN_RULES)
    state = _answered(state, MARGIN_RULES)
    yield Sample("on margin: the repayment is accepted, its record is looked at", state, MARGIN_RULES)
    yield Sample("on margin: a trade has been", _settled(state, MARGIN_RULES), MARGIN_RULES)


def _after(state: State, event: AnyEvent, rules: SymbolRules = RULES) -> State:
    return transition(state, event, POLICY, rules).state


def _answered(state: State, rules: SymbolRules = RULES) -> State:
    """`state` after the oldest request was carried out."""
    return _after(state, _answer(state, state.outbox[0].request), rules)


def _settled(state: State, rules: SymbolRules = RULES) -> State:
    while state.outbox:
        state = _answered(state, rules)
    return state


# --- events -----------------------------------------------------------------------------------------------------------


def cases(sample: Sample) -> Iterator[Case]:
    """Every kind of event, with the facts that matter in the state."""
    state = sample.state
    now = state.market.now + 1 if state.market.now else START
    yield Case("after a crash", events.Started(at=now, fence=now + 5_000))
    yield Case("a moment later", events.Tick(at=now))
    yield Case("two minutes later", events.Tick(at=now + 120_000))
    account = margin.account(state) if sample.rules.margin is not None else None
    yield Case("a signal", _signal(now, account))
    yield Case("an hour later", _signal(now + 3_600_000, account))
    yield Case("no JSON", events.SignalMalformed(at=now, text="{", fault="no JSON"))
    yield from _answer_cases(state, now)
    yield from _report_cases(state, now)
    yield from _market_cases(state, now)
    for verb in events.Verb:
        price = Decimal(99) if verb is events.Verb.MOVE_STOP else None
        asset = RULES.quote if verb is events.Verb.REPAY else ""
        yield Case(str(verb), events.Commanded(at=now, verb=verb, price=price, asset=asset))
    for label, event in margin.cases(state, now):
        yield Case(label, event)
    for how in events.Resolve:
        yield Case(str(how), events.Resolved(at=now, how=how, reports=(), fills={}))
    yield Case("a finding", events.Found(at=now, finding="foreign_order", text="somebody trades here"))
    yield Case("one that halts", events.Found(at=now, finding="balance_short", text="1 LTC is missing", halts=True))


def _answer_cases(state: State, now: int) -> Iterator[Case]:
    owed = [o.request for o in state.outbox]
    command = next((r for r in owed if isinstance(r, Command)), None)
    read = next((r for r in owed if isinstance(r, Read)), None)
    seq = command.seq if command is not None else 0
    if command is not None:
        yield Case("accepted", replace(_answer(state, command), at=now))
    refused = Refused(Why.FILTER, -1013, "Filter failure")
    unknown = Unknown("timeout", now + 5_000)
    yield Case("refused", events.Answered(at=now, seq=seq, outcome=refused))
    yield Case("unknown", events.Answered(at=now, seq=seq, outcome=unknown))
    yield Case("failed", events.ReadFailed(at=now, seq=read.seq if read is not None else 0, text="timeout"))


def _report_cases(state: State, now: int) -> Iterator[Case]:
    order = _at_hand(state)
    told = _told(order) if order is not None else STRANGER
    yield Case("as known", events.Reported(at=now, report=told))
    full = replace(told, status=OrderStatus.FILLED, cum_qty=told.qty, cum_quote=told.qty * 100, working=True)
    yield Case("filled", events.Reported(at=now, report=replace(full, fills=(_fill(told, told.qty),))))
    yield Case("cancelled by hand", events.Reported(at=now, report=replace(told, status=OrderStatus.CANCELED)))
    yield Case("impossible", events.Reported(at=now, report=replace(told, qty=told.qty * 2)))
    yield Case("of a stranger", events.Reported(at=now, report=STRANGER))
    yield Case("not found", events.Absent(at=now, id=told.id, asked_at=now))
    yield Case("no trades", events.TradesSeen(at=now, id=told.id, fills=()))
    seq = next((o.request.seq for o in state.outbox if isinstance(o.request, QueryOpenOrders)), 0)
    listed = tuple(map(_told, _live(state)))
    yield Case("as known", events.OpenOrdersSeen(at=now, reports=listed, asked_at=now, seq=seq))
    yield Case("empty", events.OpenOrdersSeen(at=now, reports=(), asked_at=now, seq=seq))
    yield Case("without a trace", events.AllOrdersSeen(at=now, reports=(), asked_at=now))
    yield Case("a stray order", events.OpenOrdersSeen(at=now, reports=(*listed, STRANGER), asked_at=now, seq=seq))


def _market_cases(state: State, now: int) -> Iterator[Case]:
    yield Case("read", events.BalancesSeen(at=now, balances=BALANCES))
    yield Case("inside", replace(_quote(state, Decimal("100.5")), at=now))
    yield Case("past the stop", replace(_quote(state, Decimal(97)), at=now))
    yield Case("past the target", replace(_quote(state, Decimal(105)), at=now))
    old = Quote(1, Decimal(100), Decimal(100), Decimal(100))
    yield Case("older than known", events.QuoteSeen(at=now, quote=old))
    yield Case("read", events.KlinesSeen(at=now, klines=()))


def _signal(at: int, account: MarginAccount | None = None) -> events.SignalSeen:
    quote = Quote(at, Decimal("99.99"), Decimal("100.01"), Decimal(100))
    signal = replace(SIGNAL, at=at, key=f"at {at}")
    return events.SignalSeen(
        at=at,
        signal=signal,
        quote=quote,
        balances=BALANCES if account is None else account.balances,
        klines=None,
        margin=account,
    )


def _quote(state: State, last: Decimal) -> events.QuoteSeen:
    at = state.market.now + 1 if state.market.now else START
    return events.QuoteSeen(at=at, quote=Quote(at, last - RULES.tick, last + RULES.tick, last))


def _filled(state: State, role: Role, qty: Decimal) -> events.Reported:
    order = next(o for o in _live(state) if o.role is role)
    status = OrderStatus.FILLED if qty == order.qty else OrderStatus.PARTIALLY_FILLED
    told = _told(order)
    report = replace(told, status=status, cum_qty=qty, cum_quote=qty * told.price, fills=(_fill(told, qty),))
    return events.Reported(at=state.market.now, report=report)


# --- an exchange that does as it is asked -----------------------------------------------------------------------------


def _answer(state: State, request: Request) -> AnyEvent:
    now = state.market.now
    match request:
        case QueryOpenOrders():
            return events.OpenOrdersSeen(at=now, reports=(), asked_at=now, seq=request.seq)
        case Borrow() | Repay():
            return events.Answered(at=now, seq=request.seq, outcome=Booked(request.n))
        case QueryMargin() | QueryLoans() | QueryBorrowable() | QueryLiquidations():
            return margin.answer(state, request)
        case PlaceOrder():
            return _done(now, request, (_placed(request.order),))
        case PlaceOco():
            return _done(now, request, (_placed(request.target), _placed(request.stop)))
        case CancelOrder():
            return _done(now, request, _gone(state, (request.id,)))
        case CancelList():
            return _done(now, request, _gone(state, request.ids))
        case ReplaceOrder():
            halves = ReplaceOutcome(Done(_gone(state, (request.cancel_id,))), Done((_placed(request.order),)))
            return events.Answered(at=now, seq=request.seq, outcome=halves)
        case _:
            told = next(_told(o) for o in _orders(state) if o.id == getattr(request, "id", ""))
            return events.Reported(at=now, report=told, seq=request.seq)


def _done(now: int, request: Request, reports: tuple[OrderReport, ...]) -> events.Answered:
    return events.Answered(at=now, seq=request.seq, outcome=Done(reports))


def _placed(order: NewOrder) -> OrderReport:
    told = _report(order)
    if order.type is not OrderType.MARKET:
        return told
    fills = (_fill(told, order.qty),)
    return replace(told, status=OrderStatus.FILLED, cum_qty=order.qty, cum_quote=order.qty * 100, fills=fills)


def _gone(state: State, client_ids: tuple[str, ...]) -> tuple[OrderReport, ...]:
    mine = [o for o in _orders(state) if o.id in client_ids]
    return tuple(replace(_told(o), status=OrderStatus.CANCELED) for o in mine)


def _orders(state: State) -> tuple[Order, ...]:
    return state.position.orders if state.position is not None else ()


def _live(state: State) -> list[Order]:
    return [o for o in _orders(state) if o.phase is OrderPhase.WORKING]


def _at_hand(state: State) -> Order | None:
    """The newest order that works, else the newest of all."""
    return next(reversed([*_orders(state), *_live(state)]), None)


def _told(order: Order) -> OrderReport:
    """What the exchange would say of `order` now."""
    return replace(
        _report(order), status=order.status or OrderStatus.NEW, cum_qty=order.cum_qty, cum_quote=order.cum_quote
    )


def _report(order: Order | NewOrder) -> OrderReport:
    return OrderReport(
        id=order.id,
        exchange_id=1 + int(order.id.rpartition("_")[2]),
        side=order.side,
        type=order.type,
        status=OrderStatus.NEW,
        qty=order.qty,
        price=order.price or ZERO,
        stop_price=order.stop_price or ZERO,
    )


def _fill(told: OrderReport, qty: Decimal) -> Fill:
    price = told.price or Decimal(100)
    fee, asset = (qty / 1_000, RULES.base) if told.side is OrderSide.BUY else (qty * price / 1_000, RULES.quote)
    return Fill(told.exchange_id, price, qty, fee, asset, START)
