"""Trades at any point of their life, told as a script: what the market did, how the exchange answered.

Prices are a long's; for a short they are mirrored around 100, so that one script tells both sides of a rule.
"""

from decimal import Decimal
from typing import Final

import pytest
from msgspec.structs import replace
from tests.core.lender import Lender

from executor.core.decide.timers import next_timer
from executor.core.invariants import violations
from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    BalancesSeen,
    BorrowableSeen,
    Commanded,
    KlinesSeen,
    LiquidationsSeen,
    LoansSeen,
    MarginSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    SignalSeen,
    Started,
    Tick,
    TradesSeen,
    Verb,
)
from executor.core.model.facts import (
    Balance,
    Done,
    Fill,
    Kline,
    NotTried,
    OrderReport,
    Quote,
    Refused,
    ReplaceOutcome,
    Unknown,
    Why,
)
from executor.core.model.ids import ENTRIES, Role, parse
from executor.core.model.intents import (
    Borrow,
    CancelList,
    CancelOrder,
    Command,
    LoanCommand,
    MarginRead,
    NewOrder,
    Notify,
    OrderCommand,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryAllOrders,
    QueryBalances,
    QueryBorrowable,
    QueryKlines,
    QueryLiquidations,
    QueryLoans,
    QueryMargin,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    Read,
    ReplaceOrder,
    Request,
    placed,
)
from executor.core.model.loans import Bars, Booked, Borrowable, LoanKind, MarginAccount, MarginTerms
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Closed, Leg, Order, Phase, Position, State
from executor.core.model.values import ZERO, Direction, OrderSide, OrderStatus, OrderType
from executor.core.model.verdict import Verdict
from executor.core.transition import Step, empty, transition

D = Decimal
both_sides = pytest.mark.parametrize("direction", list(Direction))
START: Final = 1_700_000_000_000
MIDDLE: Final = D(100)

RULES: Final = SymbolRules(
    symbol="LTCUSDT",
    base="LTC",
    quote="USDT",
    tick=D("0.01"),
    step=D("0.001"),
    min_price=D("0.01"),
    max_price=D(100_000),
    min_qty=D("0.001"),
    max_qty=D(9_000),
    min_notional=D(5),
    bid_up=D(5),
    bid_down=D("0.2"),
    ask_up=D(5),
    ask_down=D("0.2"),
    trailing_above=(10, 2_000),
    trailing_below=(10, 2_000),
    maker_fee=D("0.001"),
    taker_fee=D("0.001"),
)
MARGIN_RULES: Final = replace(
    RULES,
    margin=MarginTerms(isolated=True, bars=Bars(borrow=D("1.25"), call=D("1.19"), liquidation=D("1.15"))),
    cancel_replace_allowed=False,
)
"""The same symbol, traded with a margin account of its own."""
POLICY: Final = Policy(qty=D(3), allow_short=True, base_fees_leave=True)
RICH: Final = {"LTC": Balance(D(1_000)), "USDT": Balance(D(1_000_000))}
DONE: Final = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED)


def mirror(price: Decimal, direction: Direction) -> Decimal:
    """The price as far on the other side of 100."""
    return price if direction is Direction.LONG else 2 * MIDDLE - price


def make_signal(direction: Direction = Direction.LONG, at: int = START, key: str = "a") -> Signal:
    """Entry 100, stop 98, targets 102 and 104."""
    stop, tp1, tp2 = (mirror(D(p), direction) for p in (98, 102, 104))
    return Signal(key=key, at=at, direction=direction, price=MIDDLE, stop=stop, targets=(tp1, tp2))


def make_quote(last: Decimal | str | int, at: int = START) -> Quote:
    price = D(last)
    return Quote(at, price - D("0.01"), price + D("0.01"), price)


def make_report(order: NewOrder | Order, status: OrderStatus = OrderStatus.NEW, **changes: object) -> OrderReport:
    told = OrderReport(
        id=order.id,
        exchange_id=exchange_id(order.id),
        side=order.side,
        type=order.type,
        status=status,
        qty=order.qty,
        price=order.price or ZERO,
        stop_price=order.stop_price or ZERO,
        trailing_delta=order.trailing_delta or 0,
    )
    return replace(told, **changes)


def awake(state: State) -> State:
    """`state` without what the last decision left of itself: to compare what is known in two states."""
    return replace(state, market=replace(state.market, quiet=None))


def exchange_id(client_id: str) -> int:
    """A number of its own for each id: its rev."""
    return 1 + int(client_id.rpartition("_")[2])


class Script:
    """One symbol and its exchange. Each step is checked against the invariants.

    `pending`: requests that wait for their answer, oldest first. `book`: every order the exchange knows, by id.
    `unchecked`: the state was bent by hand, so that the invariants have nothing to say.
    """

    def __init__(
        self, direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES
    ) -> None:
        self.direction = direction
        self.policy = policy
        self.rules = rules
        self.now = START
        self.state: State = empty(rules.symbol)
        self.pending: list[Request] = []
        self.sent: list[Request] = []
        self.notes: list[Notify] = []
        self.verdict: Verdict | None = None
        self.events: list[AnyEvent] = []
        self.book: dict[str, OrderReport] = {}
        self.lists: dict[str, str] = {}
        self.pays_fee = False
        """Whether the account's own base pays the commission of an entry that brings its exits (faqs/opo.md)."""
        self.refuses_exits = False
        """Whether the exchange refuses exits when their entry has filled (rule 13.3)."""
        self.balances = dict(RICH)
        self.last = MIDDLE
        self.fee_asset: str | None = None
        self.lender = Lender({"USDT": D(100), "LTC": ZERO}, now=self.now)
        """The account, where the rules are those of a margin account; Spot is rich."""
        self.unchecked = False
        self._trade_id = 0

    # --- reading ---------------------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        assert self.state.position is not None
        return self.state.position

    @property
    def phase(self) -> Phase:
        return self.position.phase

    @property
    def closed(self) -> Closed:
        assert self.state.position is None
        assert self.state.last_closed is not None
        return self.state.last_closed

    def named(self) -> str:
        """The phase's name."""
        return type(self.phase).__name__

    def order(self, role: Role | str) -> Order:
        """The newest order of that role."""
        return [o for o in self.position.orders if o.role == role][-1]

    def orders(self, role: Role | str) -> list[Order]:
        return [o for o in self.position.orders if o.role == role]

    def live(self) -> list[str]:
        """Roles of the live exits, sorted."""
        return sorted(o.role for o in self.position.orders if o.live and not o.is_entry)

    def leg(self, n: int) -> Leg:
        return next(leg for leg in self.position.legs if leg.n == n)

    def px(self, price: str | int | Decimal) -> Decimal:
        return mirror(D(price), self.direction)

    def kinds(self) -> list[str]:
        """What is asked of the exchange now, in short: a placement by its role, else the request's name."""
        return [_kind(r) for r in self.pending]

    def told(self) -> list[str]:
        return [n.event for n in self.notes]

    def next_timer(self) -> int | None:
        return next_timer(self.state, self.policy)

    # --- events ----------------------------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> Step:
        before = self.state
        step = transition(before, event, self.policy, self.rules)
        broken = violations(before, step.state, self.policy, self.rules)
        assert self.unchecked or not broken, (broken, event)
        self.state = step.state
        self.verdict = step.verdict
        self.events.append(event)
        self.notes += step.notes
        self.sent += step.requests
        self.pending += step.requests
        return step

    def signal(self, **changes: object) -> Step:
        signal = replace(make_signal(self.direction, self.now, f"s{self.now}"), **changes)
        account = self.account() if self.rules.margin is not None else None
        balances = account.balances if account is not None else RICH
        quote = make_quote(self.last, self.now)
        return self.feed(
            SignalSeen(at=self.now, signal=signal, quote=quote, balances=balances, klines=(), margin=account)
        )

    def read_account(self, after: int = 0) -> Step:
        """The account is looked at, as now and then."""
        self.now += after
        return self.feed(MarginSeen(at=self.now, account=self.account()))

    def account(self) -> MarginAccount:
        self.lender.pass_time(self.now)
        rules = self.rules
        return self.lender.account(self.now, rules.base, rules.quote, self.last, self._locked())

    def _locked(self) -> dict[str, Decimal]:
        """What open orders lock: an order list once, at its dearest side."""
        locks: dict[tuple[str, str], Decimal] = {}
        for told in self.book.values():
            if told.status in DONE:
                continue
            sells = told.side is OrderSide.SELL
            asset, left = self.rules.base if sells else self.rules.quote, told.qty - told.cum_qty
            key = asset, self.lists.get(told.id, told.id)
            locks[key] = max(locks.get(key, ZERO), left if sells else left * told.price)
        return {asset: sum((v for (a, _), v in locks.items() if a == asset), ZERO) for asset, _ in locks}

    def quote(self, last: str | int | Decimal, after: int = 0) -> Step:
        self.now += after
        self.last = self.px(last)
        return self.feed(QuoteSeen(at=self.now, quote=make_quote(self.last, self.now)))

    def wait(self, ms: int) -> Step:
        self.now += ms
        return self.feed(Tick(at=self.now))

    def sleep(self) -> Step:
        """Until time alone makes something due."""
        due = self.next_timer()
        assert due is not None
        return self.wait(due - self.now)

    def command(self, verb: Verb, price: str | int | Decimal | None = None) -> Step:
        return self.feed(Commanded(at=self.now, verb=verb, price=None if price is None else self.px(price)))

    def restart(self) -> Step:
        self.pending.clear()
        return self.feed(Started(at=self.now, fence=self.now + 5_000))

    def push(self, client_id: str) -> Step:
        return self.feed(Reported(at=self.now, report=self.book[client_id]))

    # --- the exchange ----------------------------------------------------------------------------------------------

    def trade(self, role: Role | str, qty: str | Decimal | None = None, price: Decimal | None = None) -> OrderReport:
        """The exchange fills the newest order of that role, whole or in part; nobody is told yet."""
        return self.execute(self.order(role).id, qty, price)

    def execute(self, client_id: str, qty: str | Decimal | None = None, price: Decimal | None = None) -> OrderReport:
        told = self.book[client_id]
        amount = told.qty - told.cum_qty if qty is None else D(qty)
        at = price or (self.last if told.type is OrderType.MARKET else told.price or told.stop_price or self.last)
        cum = told.cum_qty + amount
        self._trade_id += 1
        fill = Fill(self._trade_id, at, amount, *self._fee(told.side, amount, at), self.now)
        sign = 1 if told.side is OrderSide.BUY else -1
        self.lender.add(self.rules.base, sign * amount)
        self.lender.add(self.rules.quote, -sign * amount * at)
        self.lender.add(fill.fee_asset, -fill.fee)
        status = OrderStatus.FILLED if cum == told.qty else OrderStatus.PARTIALLY_FILLED
        told = replace(
            told,
            status=status,
            cum_qty=cum,
            cum_quote=told.cum_quote + amount * at,
            working=True,
            fills=(*told.fills, fill),
        )
        self.book[client_id] = told
        for other in self._siblings(client_id):
            if self.book[other].status not in DONE:
                self.book[other] = self._after(told, self.book[other])
        return told

    def _after(self, told: OrderReport, other: OrderReport) -> OrderReport:
        """What becomes of `other`, of the same list, when `told` has traded: an exit of what its entry has brought, or
        the other side of an OCO.
        """
        if not _is_entry(told.id):
            return other if _is_entry(other.id) else replace(other, status=OrderStatus.EXPIRED)
        if told.status is not OrderStatus.FILLED:
            return other
        fees = sum((f.fee for f in told.fills if f.fee_asset == self.rules.base and not self.pays_fee), ZERO)
        status = OrderStatus.EXPIRED if self.refuses_exits else OrderStatus.NEW
        return replace(other, status=status, qty=self.rules.whole(told.cum_qty - fees))

    def _siblings(self, client_id: str) -> list[str]:
        """The other side of its list."""
        mine = self.lists.get(client_id)
        return [i for i, list_id in self.lists.items() if list_id == mine and i != client_id]

    def fill(self, role: Role | str, qty: str | Decimal | None = None, price: Decimal | None = None) -> Step:
        """An order fills, whole or in part; its push arrives, and that of its list's other side."""
        return self._tell(self.trade(role, qty, price))

    def fill_entry(self) -> None:
        """What of the entry is live fills whole; the pushes arrive."""
        live = [o.id for o in self.position.orders if o.is_entry and o.live]
        for client_id in live:
            self._tell(self.execute(client_id))

    def _tell(self, told: OrderReport) -> Step:
        step = self.feed(Reported(at=self.now, report=told))
        for other in self._siblings(told.id):
            if self.state.position is not None:
                step = self.push(other)
        return step

    def vanish(self, role: Role | str, status: OrderStatus = OrderStatus.CANCELED) -> None:
        """Somebody else takes an order (and its list) away; the pushes arrive."""
        taken = [self.order(role).id, *self._siblings(self.order(role).id)]
        for client_id in taken:
            self.book[client_id] = replace(self.book[client_id], status=status)
        for client_id in taken:
            self.push(client_id)

    def place(self, client_id: str, status: OrderStatus) -> Step:
        """The exchange has the order in that status, whatever its answer says; the push arrives."""
        order = next(o for o in self.position.orders if o.id == client_id)
        self.book[client_id] = make_report(order, status)
        return self.push(client_id)

    def accept(self, kind: str = "") -> Step:
        """The oldest pending request (of that kind) is carried out."""
        request = self._take(kind)
        if isinstance(request, LoanCommand):
            return self.feed(Answered(at=self.now, seq=request.seq, outcome=self._lend(request)))
        if isinstance(request, OrderCommand):
            return self.feed(Answered(at=self.now, seq=request.seq, outcome=self._perform(request)))
        return self.feed(self._read(request))

    def exchange_lends(self) -> None:
        """The exchange carries out the loan or repayment that waits; its answer is not told yet."""
        (request,) = (r for r in self.pending if isinstance(r, LoanCommand))
        self._lend(request)

    def _lend(self, request: LoanCommand) -> Booked | Refused:
        self.lender.pass_time(self.now)
        kind = LoanKind.BORROW if isinstance(request, Borrow) else LoanKind.REPAY
        return self.lender.ask(kind, request.asset, request.amount, self.now)

    def answer_with(self, status: OrderStatus, kind: str) -> Step:
        """A placement is accepted, and its order left in that status."""
        request = self._take(kind)
        assert isinstance(request, PlaceOrder)
        told = self.book[request.order.id] = make_report(request.order, status)
        return self.feed(Answered(at=self.now, seq=request.seq, outcome=Done((told,))))

    def exchange_takes(self, request: Request) -> None:
        """The exchange carries out a command; its answer is not told yet."""
        assert isinstance(request, OrderCommand)
        self._perform(request)

    def settle(self) -> None:
        """Everything asked is carried out, and what follows from it, at this instant."""
        for _ in range(60):
            if not self.pending:
                return
            self.accept()
        raise AssertionError(f"no rest: {self.kinds()}")

    def to_the_end(self) -> None:
        """Everything is answered until the trade is over."""
        self.settle()
        for _ in range(20):
            if self.state.position is None:
                break
            self.sleep()
            self.settle()

    def refuse(self, why: Why = Why.OTHER, kind: str = "", retry_at: int = 0) -> Step:
        refused = Refused(why, -2010, f"refused: {why}", retry_at)
        request = self._take(kind)
        if isinstance(request, ReplaceOrder):
            cancel = self._cancel((request.cancel_id,))
            place = refused if isinstance(cancel, Done) else NotTried()
            return self.feed(Answered(at=self.now, seq=request.seq, outcome=ReplaceOutcome(cancel, place)))
        return self.feed(Answered(at=self.now, seq=request.seq, outcome=refused))

    def without_records(self) -> Step:
        """The account is told, the list of loans beside it can't be read."""
        request = self._take("QueryLoans")
        assert isinstance(request, QueryLoans)
        event = LoansSeen(
            at=self.now,
            kind=request.kind,
            asset=request.asset,
            account=self.account(),
            records=(),
            asked_at=self.now,
            seq=request.seq,
            fault="GET margin/borrow-repay: HTTP 503",
        )
        return self.feed(event)

    def refuse_whole(self, why: Why = Why.OTHER) -> Step:
        """The oldest pending request is refused; of a cancel-replace, both halves are."""
        request = self._take("")
        return self.feed(Answered(at=self.now, seq=request.seq, outcome=Refused(why, -2010, f"refused: {why}")))

    def lose(self, kind: str = "", *, arrived: bool = False) -> Step:
        """The answer is lost; the request may have `arrived` or not."""
        request = self._take(kind)
        if not isinstance(request, Command):
            return self.feed(ReadFailed(at=self.now, seq=request.seq, text="timeout"))
        if isinstance(request, LoanCommand):
            if arrived:
                self._lend(request)
        elif arrived:
            self._perform(request)
        return self.feed(Answered(at=self.now, seq=request.seq, outcome=Unknown("timeout", self.now + 5_000)))

    def _take(self, kind: str) -> Request:
        request = next(r for r in self.pending if not kind or _kind(r) == kind)
        self.pending.remove(request)
        return request

    def _fee(self, side: OrderSide, qty: Decimal, price: Decimal) -> tuple[Decimal, str]:
        if self.fee_asset is not None:
            return D("0.0001"), self.fee_asset
        if side is OrderSide.BUY:
            return qty * self.rules.taker_fee, self.rules.base
        return qty * price * self.rules.taker_fee, self.rules.quote

    def _perform(self, request: OrderCommand) -> Done | Refused | ReplaceOutcome:
        match request:
            case PlaceOrder():
                return Done((self._place(request.order),))
            case PlaceOco():
                self.lists |= {request.target.id: request.list_id, request.stop.id: request.list_id}
                return Done((self._place(request.target), self._place(request.stop)))
            case PlaceBracket():
                self.lists |= dict.fromkeys(placed(request), request.list_id)
                exits = [order for order in (request.target, request.stop) if order is not None]
                for order in (request.entry, *exits):
                    self._place(order)
                for order in exits:
                    self.book[order.id] = self._pending(self.book[order.id])
                return Done(tuple(self.book[client_id] for client_id in placed(request)))
            case CancelOrder():
                return self._cancel((request.id,))
            case CancelList():
                return self._cancel(request.ids)
            case ReplaceOrder():
                cancel = self._cancel((request.cancel_id,))
                if isinstance(cancel, Refused):
                    return ReplaceOutcome(cancel, NotTried())
                return ReplaceOutcome(cancel, Done((self._place(request.order),)))

    def _place(self, order: NewOrder) -> OrderReport:
        list_id = 7 if order.id in self.lists else -1
        self.book[order.id] = make_report(order, list_exchange_id=list_id)
        if order.type is OrderType.MARKET:
            self.book[order.id] = self.execute(order.id)
        return self.book[order.id]

    def _pending(self, told: OrderReport) -> OrderReport:
        """An exit before its entry has filled: a long's has no quantity."""
        qty = ZERO if told.side is OrderSide.SELL else told.qty
        return replace(told, status=OrderStatus.PENDING_NEW, qty=qty)

    def _cancel(self, client_ids: tuple[str, ...]) -> Done | Refused:
        told = [self.book[i] for i in client_ids if i in self.book]
        if not told or any(t.status in DONE for t in told):
            return Refused(Why.UNKNOWN_ORDER, -2011, "Unknown order sent.")
        lists = {self.lists[i] for i in client_ids if i in self.lists}
        gone = [t for t in self.book.values() if t.id in client_ids or self.lists.get(t.id) in lists]
        gone = [t for t in gone if t.status not in DONE]
        for t in gone:
            self.book[t.id] = replace(t, status=OrderStatus.CANCELED)
        return Done(tuple(self.book[t.id] for t in gone))

    def _read_margin(self, request: MarginRead) -> AnyEvent:
        now, seq = self.now, request.seq
        match request:
            case QueryMargin():
                return MarginSeen(at=now, account=self.account(), seq=seq)
            case QueryLoans(kind=kind, asset=asset):
                rows = [row for row in self.lender.records if (row.kind, row.asset) == (kind, asset)]
                since = tuple(row for row in rows if row.time >= request.since)
                account = self.account()
                return LoansSeen(at=now, kind=kind, asset=asset, account=account, records=since, asked_at=now, seq=seq)
            case QueryBorrowable():
                most = Borrowable(request.asset, self.lender.lendable, now)
                return BorrowableSeen(at=now, borrowable=most, seq=seq)
            case QueryLiquidations():
                return LiquidationsSeen(at=now, times=self.lender.liquidated, asked_at=now, seq=seq)

    def _read(self, request: Read) -> AnyEvent:
        if isinstance(request, MarginRead):
            return self._read_margin(request)
        now, seq = self.now, request.seq
        match request:
            case QueryOrder():
                if request.id not in self.book:
                    return Absent(at=now, id=request.id, asked_at=now, seq=seq)
                return Reported(at=now, report=replace(self.book[request.id], fills=()), seq=seq)
            case QueryTrades():
                return TradesSeen(at=now, id=request.id, fills=self.book[request.id].fills, seq=seq)
            case QueryOpenOrders():
                listed = tuple(r for r in self.book.values() if r.status not in DONE)
                return OpenOrdersSeen(at=now, reports=listed, asked_at=now, seq=seq)
            case QueryAllOrders():
                return AllOrdersSeen(at=now, reports=tuple(self.book.values()), asked_at=now, seq=seq)
            case QueryBalances():
                return BalancesSeen(at=now, balances=self.balances, seq=seq)
            case QueryQuote():
                return QuoteSeen(at=now, quote=make_quote(self.last, now), seq=seq)
            case QueryKlines():
                return KlinesSeen(at=now, klines=self.klines(), seq=seq)

    def klines(self) -> tuple[Kline, ...]:
        """Bars whose last confirmed swing is at 99 (a long's low)."""
        bars = []
        for i, (low, high) in enumerate([(101, 103), (100, 102), (99, 101), (100, 102), (101, 103), (102, 104)]):
            a, b = sorted((self.px(low), self.px(high)))
            bars.append(Kline(self.now - 60_000 * (6 - i), b, a, b))
        return tuple(bars)


def _kind(request: Request) -> str:
    match request:
        case PlaceOrder():
            return _role(request.order.id)
        case PlaceOco():
            return _role(request.list_id)
        case PlaceBracket():
            return _role(request.entry.id)
        case ReplaceOrder():
            return f"replace {_role(request.order.id)}"
        case _:
            return type(request).__name__


def _is_entry(client_id: str) -> bool:
    name = parse(client_id)
    return name is not None and name.role in ENTRIES


def _role(client_id: str) -> str:
    return client_id.split("_")[2]


# --- phases -----------------------------------------------------------------------------------------------------------


def entering(
    direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES, *, working: bool = True
) -> Script:
    """A signal was taken; its limit entry works, or is under way."""
    script = Script(direction, policy, rules)
    script.signal()
    if working:
        script.settle()
    return script


def unprotected(direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES) -> Script:
    """The entry has filled; the exits are asked for."""
    script = entering(direction, policy, rules)
    if any(o.live for o in script.position.orders if o.is_entry):
        script.fill_entry()
    return script


def protected(direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES) -> Script:
    """The exits stand."""
    script = unprotected(direction, policy, rules)
    script.settle()
    script.notes.clear()
    script.sent.clear()
    return script


def targets_filled(
    direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES
) -> Script:
    """Both targets have filled; what follows from the second is asked for."""
    script = protected(direction, policy, rules)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.quote("104.1", after=1_000)
    script.fill(Role.TP2)
    return script


def trailing(direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES) -> Script:
    """Both targets have filled, leg 3 trails."""
    script = targets_filled(direction, policy, rules)
    script.settle()
    return script


def repaying(direction: Direction = Direction.LONG, policy: Policy = POLICY) -> Script:
    """A trade on borrowed money is flat; its debt is being read."""
    script = protected(direction, policy, MARGIN_RULES)
    script.command(Verb.FLATTEN)
    while script.named() != "Repaying":
        script.accept()
    return script


def closing(direction: Direction = Direction.LONG, policy: Policy = POLICY, rules: SymbolRules = RULES) -> Script:
    """The operator wants out; the cancels are asked for."""
    script = protected(direction, policy, rules)
    script.command(Verb.FLATTEN)
    return script
