"""Requests carried out on the exchange, and how they ended as events."""

from typing import Final

from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    BalancesSeen,
    BorrowableSeen,
    KlinesSeen,
    LiquidationsSeen,
    LoansSeen,
    MarginSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    TradesSeen,
)
from executor.core.model.facts import Done, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.intents import (
    Borrow,
    CancelList,
    CancelOrder,
    Command,
    LoanCommand,
    MarginRead,
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
)
from executor.core.model.loans import Booked, Borrowable
from executor.exchange.port import Exchange, MarginExchange, ReadError

EARLY_MS: Final = 900
"""A request that is 1,000 ms ahead of its clock the exchange refuses; ours may be wrong by the rest."""


async def perform(exchange: Exchange, request: Request) -> AnyEvent:
    """Carry out one request. Never raises for what the exchange or the network does (rule 8.2)."""
    if isinstance(request, Command):
        outcome = withdrawn(request, exchange.now()) or await _command(exchange, request)
        return Answered(at=exchange.now(), seq=request.seq, outcome=outcome)
    try:
        return await _read(exchange, request)
    except ReadError as error:
        return ReadFailed(at=exchange.now(), seq=request.seq, text=str(error))


def withdrawn(request: Command, now: int) -> Refused | None:
    """How a request ends whose turn has come too late, or too early where it was stamped for a slow store: it is not
    sent (rule 8.3d). None: it is to be sent. `now`: ms of the exchange's clock.
    """
    if request.stamp is None:
        return None
    age = now - request.stamp.timestamp
    if age < -EARLY_MS:
        return Refused(Why.WITHDRAWN, 0, f"withdrawn: stamped for {-age} ms later, as its state took longer before")
    if not request.stamp.too_old(now):
        return None
    text = f"withdrawn: {age} ms old when its turn came, and the exchange would take it for {request.stamp.recv_window}"
    return Refused(Why.WITHDRAWN, 0, text)


async def _command(exchange: Exchange, request: Command) -> Done | Refused | Unknown | ReplaceOutcome | Booked:
    if isinstance(request, LoanCommand):
        lender = _margin(exchange)
        lend = lender.borrow if isinstance(request, Borrow) else lender.repay
        return await lend(request.asset, request.amount, request.stamp)
    match request:
        case PlaceOrder():
            return await exchange.place(request.order, request.stamp)
        case PlaceOco():
            return await exchange.place_oco(request.list_id, request.target, request.stop, request.stamp)
        case PlaceBracket(list_id=name, entry=entry, stop=stop, target=target):
            return await exchange.place_bracket(name, entry, stop, target, request.stamp)
        case CancelOrder():
            return await exchange.cancel(request.id, request.stamp, request.exchange_id)
        case CancelList():
            return await exchange.cancel_list(request.list_id, request.stamp)
        case ReplaceOrder():
            return await exchange.replace(request.cancel_id, request.order, request.stamp)


def _margin(exchange: Exchange) -> MarginExchange:
    assert isinstance(exchange, MarginExchange), "a trade on Spot has asked for a margin account"
    return exchange


async def _read_margin(exchange: MarginExchange, request: MarginRead) -> AnyEvent:
    seq, asked_at = request.seq, exchange.now()
    match request:
        case QueryMargin():
            account = await exchange.margin_account()
            return MarginSeen(at=exchange.now(), account=account, seq=seq)
        case QueryLoans(kind=kind, asset=asset):
            account = await exchange.margin_account()
            asked_at, fault = exchange.now(), ""
            try:
                records = await exchange.loan_records(kind, asset, request.since)
            except ReadError as error:
                records, fault = (), str(error)
            return LoansSeen(
                at=exchange.now(),
                kind=kind,
                asset=asset,
                account=account,
                records=records,
                asked_at=asked_at,
                seq=seq,
                fault=fault,
            )
        case QueryBorrowable():
            amount = await exchange.borrowable(request.asset)
            most = Borrowable(request.asset, amount, asked_at)
            return BorrowableSeen(at=exchange.now(), borrowable=most, seq=seq)
        case QueryLiquidations():
            times = await exchange.liquidations(request.since)
            return LiquidationsSeen(at=exchange.now(), times=times, asked_at=asked_at, seq=seq)


async def _read(exchange: Exchange, request: Read) -> AnyEvent:
    if isinstance(request, MarginRead):
        return await _read_margin(_margin(exchange), request)
    seq, asked_at = request.seq, exchange.now()
    match request:
        case QueryOrder():
            report = await exchange.order(request.id, request.exchange_id)
            if report is None:
                return Absent(at=exchange.now(), id=request.id, asked_at=asked_at, seq=seq)
            return Reported(at=exchange.now(), report=report, seq=seq)
        case QueryTrades():
            fills = await exchange.trades(request.exchange_id)
            return TradesSeen(at=exchange.now(), id=request.id, fills=fills, seq=seq)
        case QueryOpenOrders():
            reports = await exchange.open_orders()
            return OpenOrdersSeen(at=exchange.now(), reports=reports, asked_at=asked_at, seq=seq)
        case QueryAllOrders(since=since):
            reports = await exchange.history(since)
            return AllOrdersSeen(at=exchange.now(), reports=reports, asked_at=asked_at, seq=seq)
        case QueryBalances():
            balances = await exchange.balances()
            return BalancesSeen(at=exchange.now(), balances=balances, seq=seq)
        case QueryQuote():
            quote = await exchange.quote()
            return QuoteSeen(at=exchange.now(), quote=quote, seq=seq)
        case QueryKlines():
            klines = await exchange.klines(request.count)
            return KlinesSeen(at=exchange.now(), klines=klines, seq=seq)
