"""The core's requests performed on the matching engine at once, and its answers as the core's events.

The same verdicts on refusals as the Binance adapter's: one table serves both.
"""

from decimal import Decimal

from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    BalancesSeen,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    Reported,
    TradesSeen,
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
    left_by_prevention,
)
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    NewOrder,
    OrderCommand,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryAllOrders,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    ReplaceOrder,
    Request,
    SpotRead,
)
from executor.core.model.values import ZERO, OrderSide, OrderStatus
from executor.exchange.wire.outcomes import Fault, verdict
from executor.paper.engine import model
from executor.paper.engine.choices import PreventedTold
from executor.paper.engine.exchange import Engine


class Direct:
    """One account on one symbol of an engine."""

    def __init__(self, engine: Engine, account: str, symbol: str) -> None:
        self.engine = engine
        self.account = account
        self.symbol = symbol

    def perform(self, request: Request, now: int) -> AnyEvent:
        """Carry out `request` at `now` (ms) and say how it ended. Nothing is ever unknown here."""
        if isinstance(request, OrderCommand):
            return Answered(at=now, seq=request.seq, outcome=self.command(request, now))
        assert isinstance(request, SpotRead), "this is a Spot account"
        return self.read(request, now)

    def command(self, request: OrderCommand, now: int) -> Done | Refused | ReplaceOutcome:
        try:
            match request:
                case PlaceOrder():
                    placed = self.engine.place_order(self.account, self._order(request.order), now)
                    return Done((self._told(placed.order, placed.fills),))
                case PlaceOco():
                    answer = self.engine.place_oco(self.account, self._oco(request), now)
                    return Done(tuple(self._told(o) for o in answer.orders))
                case PlaceBracket():
                    return Done(tuple(self._told(o) for o in self._bracket(request, now).orders))
                case CancelOrder():
                    gone = self.engine.cancel_order(
                        self.account,
                        now=now,
                        symbol=self.symbol,
                        order_id=request.exchange_id or None,
                        orig_client_order_id=None if request.exchange_id else request.id,
                    )
                    legs = gone.order_list.orders if gone.order_list is not None else (gone.order,)
                    return Done(tuple(self._told(o) for o in legs))
                case CancelList():
                    listed = self.engine.cancel_order_list(
                        self.account, self.symbol, now, list_client_order_id=request.list_id
                    )
                    return Done(tuple(self._told(o) for o in listed.orders))
                case ReplaceOrder():
                    return self._replace(request, now)
        except model.Reject as reject:
            return refusal(reject)

    def read(self, request: SpotRead, now: int) -> AnyEvent:
        seq = request.seq
        match request:
            case QueryOrder():
                found = self.order(request.id, request.exchange_id)
                if found is None:
                    return Absent(at=now, id=request.id, asked_at=now, seq=seq)
                return Reported(at=now, report=found, seq=seq)
            case QueryTrades():
                fills = self.engine.my_trades(self.account, self.symbol, order_id=request.exchange_id)
                return TradesSeen(at=now, id=request.id, fills=tuple(map(_fill, fills)), seq=seq)
            case QueryOpenOrders():
                return OpenOrdersSeen(at=now, reports=self.open_orders(), asked_at=now, seq=seq)
            case QueryAllOrders(since=since):
                made = self.engine.all_orders(self.account, self.symbol, start_time=since)
                return AllOrdersSeen(at=now, reports=tuple(map(report, made)), asked_at=now, seq=seq)
            case QueryBalances():
                return BalancesSeen(at=now, balances=self.balances(), seq=seq)
            case QueryQuote():
                return QuoteSeen(at=now, quote=self.quote(now), seq=seq)
            case QueryKlines():
                return KlinesSeen(at=now, klines=self.klines(request.count, now), seq=seq)

    def order(self, client_id: str, exchange_id: int = 0) -> OrderReport | None:
        try:
            if exchange_id:
                found = self.engine.order(self.account, self.symbol, order_id=exchange_id)
            else:
                found = self.engine.order(self.account, self.symbol, orig_client_order_id=client_id)
        except model.Reject:
            return None
        return self._told(found)

    def _told(self, order: model.Order, fills: tuple[model.Fill, ...] = ()) -> OrderReport:
        return report(order, fills, tells=self.engine.choices.prevented_told)

    def open_orders(self) -> tuple[OrderReport, ...]:
        return tuple(self._told(o) for o in self.engine.open_orders(self.account, self.symbol))

    def balances(self) -> dict[str, Balance]:
        return {b.asset: Balance(b.free, b.locked) for b in self.engine.balances(self.account)}

    def quote(self, now: int) -> Quote:
        bid, ask = self.engine.best_prices(self.symbol)
        return Quote(now, bid, ask, self.last())

    def last(self) -> Decimal:
        """The last traded price; 0 before the first."""
        last = self.engine.last_price(self.symbol)
        return last if last is not None else ZERO

    def klines(self, count: int, now: int) -> tuple[Kline, ...]:
        bars = self.engine.klines(self.symbol, end_time=now, limit=count)
        return tuple(Kline(b.open_time, b.high, b.low, b.close) for b in bars)

    def _order(self, order: NewOrder) -> model.NewOrder:
        return model.NewOrder(
            symbol=self.symbol,
            side=order.side,
            type=order.type,
            quantity=order.qty,
            price=order.price,
            stop_price=order.stop_price,
            trailing_delta=order.trailing_delta,
            time_in_force=order.time_in_force,
            client_order_id=order.id,
        )

    def _oco(self, request: PlaceOco) -> model.NewOco:
        target, stop = _leg(request.target), _leg(request.stop)
        above, below = (target, stop) if request.target.side is OrderSide.SELL else (stop, target)
        return model.NewOco(
            symbol=self.symbol,
            side=request.target.side,
            quantity=request.target.qty,
            above=above,
            below=below,
            list_client_order_id=request.list_id,
        )

    def _bracket(self, request: PlaceBracket, now: int) -> model.ListPlaced:
        entry, stop, target = request.entry, request.stop, request.target
        buys = entry.side is OrderSide.BUY
        if target is None:
            pending = self._order(stop)
            pending.quantity = None if buys else stop.qty
            single = model.NewOto(
                working=self._order(entry), pending=pending, list_client_order_id=request.list_id, pays_out=buys
            )
            return self.engine.place_oto(self.account, single, now)
        above, below = (_leg(target), _leg(stop)) if buys else (_leg(stop), _leg(target))
        pair = model.NewOtoco(
            working=self._order(entry),
            pending_side=stop.side,
            pending_quantity=None if buys else stop.qty,
            pending_above=above,
            pending_below=below,
            list_client_order_id=request.list_id,
        )
        return self.engine.place_otoco(self.account, pair, now)

    def _replace(self, request: ReplaceOrder, now: int) -> ReplaceOutcome | Refused:
        answer = self.engine.cancel_replace(
            self.account,
            model.CancelReplace(
                mode=model.CancelReplaceMode.STOP_ON_FAILURE,
                new_order=self._order(request.order),
                cancel_orig_client_order_id=request.cancel_id,
                cancel_restrictions=model.CancelRestriction.ONLY_NEW,
            ),
            now,
        )
        cancel: Done | Refused | Unknown
        place: Done | Refused | Unknown | NotTried
        if answer.cancel is not None:
            cancel = Done((self._told(answer.cancel.order),))
        else:
            assert answer.cancel_error is not None
            cancel = refusal(answer.cancel_error)
        if answer.new_order is not None:
            place = Done((self._told(answer.new_order.order, answer.new_order.fills),))
        elif answer.new_order_error is not None:
            place = refusal(answer.new_order_error)
        else:
            place = NotTried()
        return ReplaceOutcome(cancel, place)


def refusal(reject: model.Reject) -> Refused:
    why = verdict(400, Fault(reject.code, reject.message))
    if not isinstance(why, str):
        raise AssertionError(f"the engine gave a doubtful answer: {reject}")  # noqa: TRY004  (a defect of ours)
    return Refused(why, reject.code, reject.message)


def report(
    order: model.Order, fills: tuple[model.Fill, ...] = (), *, tells: PreventedTold = PreventedTold.ALWAYS
) -> OrderReport:
    """What the exchange would say about `order`; `fills` only where the real one names them. `tells`: of which orders
    it says what self-trade prevention has taken.
    """
    told = tells is PreventedTold.ALWAYS or order.status is OrderStatus.EXPIRED_IN_MATCH
    return OrderReport(
        id=order.client_order_id,
        exchange_id=order.order_id,
        side=order.side,
        type=order.type,
        status=order.status,
        qty=left_by_prevention(order.orig_qty, order.prevented_qty if told else ZERO, order.status),
        cum_qty=order.executed_qty,
        cum_quote=order.cumulative_quote_qty,
        price=order.price,
        stop_price=order.stop_price,
        trailing_delta=order.trailing_delta or 0,
        list_exchange_id=order.order_list_id,
        working=order.is_working,
        time=order.update_time,
        fills=tuple(map(_fill, fills)),
    )


def pushed(event: model.ExecutionReport, tells: PreventedTold = PreventedTold.ALWAYS) -> OrderReport:
    """An executionReport as the adapter hands it on: the order's state, and the fill where it is one."""
    told = report(event.order, tells=tells)
    if event.execution_type is not model.ExecutionType.TRADE:
        return told
    fill = Fill(
        event.trade_id,
        event.last_price,
        event.last_qty,
        event.commission,
        event.commission_asset or "",
        event.time,
    )
    return OrderReport(**{**{f: getattr(told, f) for f in told.__struct_fields__}, "fills": (fill,)})


def _leg(order: NewOrder) -> model.Leg:
    return model.Leg(
        type=order.type,
        price=order.price,
        stop_price=order.stop_price,
        time_in_force=order.time_in_force,
        client_order_id=order.id,
    )


def _fill(fill: model.Fill) -> Fill:
    return Fill(fill.trade_id, fill.price, fill.qty, fill.commission, fill.commission_asset, fill.time)
