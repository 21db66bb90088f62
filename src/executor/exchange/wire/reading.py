"""Binance's JSON in, the core's values out. Pure.

Every function raises `msgspec.DecodeError` (or its child `ValidationError`) for a body that is not what was
asked for.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from executor.core.model import ids
from executor.core.model.facts import Balance, Fill, Kline, OrderReport, Quote
from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType

STOP_TYPES: Final = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)

T = TypeVar("T")


class _PlacementFill(msgspec.Struct, frozen=True, rename="camel"):
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    trade_id: int


class _Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One order in any REST answer: placement (RESULT, FULL), cancel, query, order list."""

    symbol: str
    order_id: int
    client_order_id: str
    orig_client_order_id: str = ""
    order_list_id: int = -1
    side: OrderSide
    type: OrderType
    status: OrderStatus
    orig_qty: Decimal
    executed_qty: Decimal
    cummulative_quote_qty: Decimal
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    trailing_delta: int = 0
    is_working: bool | None = None
    working_time: int | None = None
    transact_time: int = 0
    update_time: int = 0
    fills: tuple[_PlacementFill, ...] = ()

    def report(self) -> OrderReport:
        time = max(self.transact_time, self.update_time)
        return OrderReport(
            # in the answer to a cancel, clientOrderId names the cancel
            id=self.orig_client_order_id or self.client_order_id,
            exchange_id=self.order_id,
            side=self.side,
            type=self.type,
            status=self.status,
            qty=self.orig_qty,
            # "0.00000000" is written down as plain 0: no sum needs its digits
            cum_qty=self.executed_qty or ZERO,
            cum_quote=max(ZERO, self.cummulative_quote_qty),  # below zero: not known any more
            price=self.price or ZERO,
            stop_price=self.stop_price or ZERO,
            trailing_delta=self.trailing_delta,
            list_exchange_id=self.order_list_id,
            working=self._on_book(),
            time=time,
            fills=tuple(
                Fill(fill.trade_id, fill.price, fill.qty, fill.commission, fill.commission_asset, time)
                for fill in self.fills
            ),
        )

    def _on_book(self) -> bool:
        if self.status.is_final or self.status is OrderStatus.PENDING_NEW:
            return False
        if self.working_time is not None:
            return self.working_time > 0
        if self.is_working is not None:
            return self.is_working
        return self.type not in STOP_TYPES


class _OrderList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    order_list_id: int
    list_client_order_id: str
    order_reports: tuple[_Order, ...]


class _Replaced(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cancel_result: str
    new_order_result: str
    cancel_response: msgspec.Raw = msgspec.Raw(b"null")
    new_order_response: msgspec.Raw = msgspec.Raw(b"null")


class _Trade(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int


class _Asset(msgspec.Struct, frozen=True):
    asset: str
    free: Decimal
    locked: Decimal


class _Account(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    balances: tuple[_Asset, ...]
    can_trade: bool = True


class _Ticker(msgspec.Struct, frozen=True, rename="camel"):
    bid_price: Decimal
    ask_price: Decimal
    last_price: Decimal


class _NamedTicker(_Ticker, frozen=True, rename="camel"):
    symbol: str


class _ServerTime(msgspec.Struct, frozen=True, rename="camel"):
    server_time: int


def placed(body: bytes | msgspec.Raw, own_id: str) -> tuple[OrderReport, ...]:
    """The answer to an order: must name `own_id`."""
    return _own((msgspec.json.decode(body, type=_Order),), {own_id})


def oco_placed(body: bytes, list_id: str, leg_ids: set[str]) -> tuple[OrderReport, ...]:
    return _own(_list(body, list_id), leg_ids)


def cancelled(body: bytes | msgspec.Raw, own_id: str) -> tuple[OrderReport, ...]:
    """The answer to a cancel. Cancelling a leg ends its whole list, and may be answered as one."""
    try:
        orders: tuple[_Order, ...] = (msgspec.json.decode(body, type=_Order),)
    except msgspec.ValidationError:
        orders = msgspec.json.decode(body, type=_OrderList).order_reports
    return _own(orders, {own_id})


def list_cancelled(body: bytes, list_id: str) -> tuple[OrderReport, ...]:
    return tuple(order.report() for order in _list(body, list_id))


def halves(body: bytes | msgspec.Raw) -> _Replaced:
    """The two halves of a cancel-replace: the answer itself, or `data` of -2021 and -2022."""
    return msgspec.json.decode(body, type=_Replaced)


def order(body: bytes) -> OrderReport:
    return msgspec.json.decode(body, type=_Order).report()


def open_orders(body: bytes) -> tuple[OrderReport, ...]:
    """All open orders. Somebody else's order of a kind that Executor does not know is left out."""
    return tuple(report for _, report in _orders(body))


def open_orders_by_symbol(body: bytes) -> dict[str, tuple[OrderReport, ...]]:
    """As `open_orders`, of the whole account; a symbol without one is not in it."""
    found: defaultdict[str, list[OrderReport]] = defaultdict(list)
    for symbol, report in _orders(body):
        found[symbol].append(report)
    return {symbol: tuple(reports) for symbol, reports in found.items()}


def _orders(body: bytes) -> Iterator[tuple[str, OrderReport]]:
    for row in msgspec.json.decode(body, type=list[msgspec.Raw]):
        try:
            order = msgspec.json.decode(row, type=_Order)
        except msgspec.ValidationError:
            if ids.is_ours(msgspec.json.decode(row, type=_Owner).client_order_id):
                raise
        else:
            yield order.symbol, order.report()


def trades(body: bytes) -> tuple[Fill, ...]:
    return tuple(
        Fill(trade.id, trade.price, trade.qty, trade.commission, trade.commission_asset, trade.time)
        for trade in msgspec.json.decode(body, type=list[_Trade])
    )


def balances(body: bytes) -> dict[str, Balance]:
    """Balances by asset; an asset that is not there is not held."""
    rows = msgspec.json.decode(body, type=_Account).balances
    return {row.asset: Balance(row.free or ZERO, row.locked or ZERO) for row in rows}


def may_trade(body: bytes) -> bool:
    return msgspec.json.decode(body, type=_Account).can_trade


def quote(body: bytes, at: int) -> Quote:
    ticker = msgspec.json.decode(body, type=_Ticker)
    return Quote(at, ticker.bid_price, ticker.ask_price, ticker.last_price)


def quotes(body: bytes, symbols: set[str], at: int) -> dict[str, Quote]:
    """One for each of `symbols`."""
    rows = msgspec.json.decode(body, type=list[_NamedTicker])
    found = {row.symbol: Quote(at, row.bid_price, row.ask_price, row.last_price) for row in rows}
    if missing := symbols - found.keys():
        raise msgspec.ValidationError(f"no price of {', '.join(sorted(missing))}")
    return found


def klines(body: bytes) -> tuple[Kline, ...]:
    """Rows of open time, open, high, low, close, and more that is not read."""
    rows = msgspec.json.decode(body, type=list[list[Decimal | int]])
    try:
        return tuple(Kline(int(row[0]), Decimal(row[2]), Decimal(row[3]), Decimal(row[4])) for row in rows)
    except IndexError:
        raise msgspec.ValidationError("a kline has fewer than five fields") from None


def server_time(body: bytes) -> int:
    return msgspec.json.decode(body, type=_ServerTime).server_time


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    client_order_id: str


def _list(body: bytes, list_id: str) -> tuple[_Order, ...]:
    found = msgspec.json.decode(body, type=_OrderList)
    if found.list_client_order_id != list_id:
        raise msgspec.ValidationError(f"the answer is about list {found.list_client_order_id!r}, not {list_id!r}")
    return found.order_reports


def _own(orders: Iterable[_Order], wanted: set[str]) -> tuple[OrderReport, ...]:
    reports = tuple(order.report() for order in orders)
    missing = wanted - {report.id for report in reports}
    if missing:
        raise msgspec.ValidationError(f"the answer does not name {', '.join(sorted(missing))}")
    return reports
