"""Requests carried out on the exchange, and how they ended as events."""

from executor.core.model.events import (
    Absent,
    Answered,
    AnyEvent,
    BalancesSeen,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    TradesSeen,
)
from executor.core.model.facts import Done, Refused, ReplaceOutcome, Unknown
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    PlaceOco,
    PlaceOrder,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    Read,
    ReplaceOrder,
    Request,
)
from executor.exchange.port import Exchange, ReadError


async def perform(exchange: Exchange, request: Request) -> AnyEvent:
    """Carry out one request. Never raises for what the exchange or the network does (rule 8.2)."""
    if isinstance(request, Command):
        outcome = await _command(exchange, request)
        return Answered(at=exchange.now(), seq=request.seq, outcome=outcome)
    try:
        return await _read(exchange, request)
    except ReadError as error:
        return ReadFailed(at=exchange.now(), seq=request.seq, text=str(error))


async def _command(exchange: Exchange, request: Command) -> Done | Refused | Unknown | ReplaceOutcome:
    match request:
        case PlaceOrder():
            return await exchange.place(request.order)
        case PlaceOco():
            return await exchange.place_oco(request.list_id, request.target, request.stop)
        case CancelOrder():
            return await exchange.cancel(request.id)
        case CancelList():
            return await exchange.cancel_list(request.list_id)
        case ReplaceOrder():
            return await exchange.replace(request.cancel_id, request.order)


async def _read(exchange: Exchange, request: Read) -> AnyEvent:
    seq, asked_at = request.seq, exchange.now()
    match request:
        case QueryOrder():
            report = await exchange.order(request.id)
            if report is None:
                return Absent(at=exchange.now(), id=request.id, asked_at=asked_at, seq=seq)
            return Reported(at=exchange.now(), report=report, seq=seq)
        case QueryTrades():
            fills = await exchange.trades(request.exchange_id)
            return TradesSeen(at=exchange.now(), id=request.id, fills=fills, seq=seq)
        case QueryOpenOrders():
            reports = await exchange.open_orders()
            return OpenOrdersSeen(at=exchange.now(), reports=reports, asked_at=asked_at, seq=seq)
        case QueryBalances():
            balances = await exchange.balances()
            return BalancesSeen(at=exchange.now(), balances=balances, seq=seq)
        case QueryQuote():
            quote = await exchange.quote()
            return QuoteSeen(at=exchange.now(), quote=quote, seq=seq)
        case QueryKlines():
            klines = await exchange.klines(request.count)
            return KlinesSeen(at=exchange.now(), klines=klines, seq=seq)
