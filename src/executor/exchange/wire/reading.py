"""Binance's JSON in, the core's values out. Pure.

Every function raises `msgspec.DecodeError` (or its child `ValidationError`) for a body that is not what was
asked for.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Final

import msgspec

from executor.core.model import ids
from executor.core.model.facts import NOISE, Balance, Fill, Kline, OrderReport, Quote, beyond, left_by_prevention
from executor.core.model.values import ONE, ZERO, OrderSide, OrderStatus, OrderType
from executor.decoding import Ms, Row, decode, not_negative

STOP_TYPES: Final = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)

SHOWN_BYTES: Final = 300
UID_DIGITS: Final = 18
"""Of what can't be read."""


FEE_MOST: Final = Decimal("0.1")
"""Of what a trade receives; real commission is a thousandth."""
SMALLEST: Final = Decimal("1E-8")
"""Commission is rounded up to it."""
ROUNDED: Final = Decimal("0.01")
"""Of an order's whole value; by so much, and a unit of its last place, rounding may put it beyond the limit: samples of
the documents tell it in fewer digits than a price times a quantity has, and each of many trades may be rounded.
"""
LIMITED: Final = frozenset(
    {OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT}
)


def sound_fee(symbol: str, qty: Decimal, fee: Decimal, asset: str) -> None:
    """Raises ValueError for commission in base that is no part of `qty`: what is held is reckoned by it. In other
    assets any number may be right.
    """
    if asset and symbol.startswith(asset) and abs(fee) > qty * FEE_MOST + SMALLEST:
        raise ValueError(f"commission of {fee} {asset} for a trade of {qty}")


def fee_of_something(fee: Decimal, asset: str) -> None:
    """Raises ValueError for commission in nobody knows what. Where there is none its asset need not be told: events
    have null for it then (user-data-stream.md).
    """
    if fee and not asset:
        raise ValueError(f"commission of {fee} in no asset")


def sound_price(side: OrderSide, type: OrderType, limit: Decimal, price: Decimal) -> None:  # noqa: A002
    """Raises ValueError for a trade at a `price` beyond the order's own limit."""
    if price > 0 and _beyond(side, type, limit, price) > limit * NOISE:
        raise ValueError(f"{side} at {price}, with a limit of {limit}")


def whole_value(side: OrderSide, type: OrderType, limit: Decimal, qty: Decimal, told: Decimal) -> Decimal:  # noqa: A002
    """What `qty` was traded for in all; 0 where that is not known (any more), which is told as below zero. What
    rounding has put beyond the order's own limit was traded at that. Raises ValueError for what no rounding does.
    """
    if told <= 0 or qty <= 0:
        return ZERO
    at_limit = limit * qty
    excess = _beyond(side, type, at_limit, told)
    if excess <= 0:
        return told
    if excess > at_limit * ROUNDED + ONE.scaleb(int(told.as_tuple().exponent)):
        raise ValueError(f"{side} {qty} for {told}, with a limit of {limit}")
    return at_limit


def _beyond(side: OrderSide, type: OrderType, limit: Decimal, told: Decimal) -> Decimal:  # noqa: A002
    """By how much it is, where there is a limit."""
    if type not in LIMITED or limit <= 0:
        return ZERO
    return beyond(side, limit, told)


class _PlacementFill(Row, frozen=True, rename="camel"):
    price: Decimal
    qty: Decimal
    commission: Decimal
    trade_id: int
    commission_asset: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.price, self.qty)
        fee_of_something(self.commission, self.commission_asset)


class _Order(Row, frozen=True, kw_only=True, rename="camel"):
    """One order in any REST answer: placement (RESULT, FULL), cancel, query, order list."""

    symbol: str
    order_id: int
    client_order_id: str
    orig_client_order_id: str = ""
    order_list_id: int = -1
    side: OrderSide
    type: OrderType
    status: OrderStatus
    orig_qty: Decimal | None = None
    executed_qty: Decimal
    prevented_quantity: Decimal = ZERO
    cummulative_quote_qty: Decimal
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    trailing_delta: int = 0
    is_working: bool | None = None
    working_time: Ms | None = None
    transact_time: Ms = 0
    update_time: Ms = 0
    fills: tuple[_PlacementFill, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.orig_qty or ZERO, self.executed_qty, self.prevented_quantity, self.price, self.stop_price)
        if self.orig_qty is None and (self.executed_qty or self.order_list_id < 0):
            # what an entry receives decides it (faqs/opo.md): only there it may be missing, and only before
            raise ValueError("origQty is missing")
        self._value()
        for fill in self.fills:
            sound_price(self.side, self.type, self.price, fill.price)
            sound_fee(self.symbol, fill.qty, fill.commission, fill.commission_asset)
        if sum((fill.qty for fill in self.fills), ZERO) > self.executed_qty:
            raise ValueError("more fills than executedQty")

    def report(self) -> OrderReport:
        time = max(self.transact_time, self.update_time)
        return OrderReport(
            # in the answer to a cancel, clientOrderId names the cancel
            id=self.orig_client_order_id or self.client_order_id,
            exchange_id=self.order_id,
            side=self.side,
            type=self.type,
            status=self.status,
            qty=left_by_prevention(self.orig_qty or ZERO, self.prevented_quantity, self.status),
            # "0.00000000" is written down as plain 0: no sum needs its digits
            cum_qty=self.executed_qty or ZERO,
            cum_quote=self._value(),
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

    def _value(self) -> Decimal:
        return whole_value(self.side, self.type, self.price, self.executed_qty, self.cummulative_quote_qty)

    def _on_book(self) -> bool:
        if self.status.is_final or self.status is OrderStatus.PENDING_NEW:
            return False
        if self.working_time is not None:
            return self.working_time > 0
        if self.is_working is not None:
            return self.is_working
        return self.type not in STOP_TYPES


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    """What an order is called, whatever else it is."""

    client_order_id: str
    orig_client_order_id: str = ""


class _OrderList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    order_list_id: int
    list_client_order_id: str
    order_reports: tuple[_Order, ...]


class _Replaced(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cancel_result: str
    new_order_result: str
    cancel_response: msgspec.Raw = msgspec.Raw(b"null")
    new_order_response: msgspec.Raw = msgspec.Raw(b"null")


class _Trade(Row, frozen=True, rename="camel"):
    id: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    time: Ms
    commission_asset: str = ""
    order_id: int = 0
    symbol: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.price, self.qty)
        fee_of_something(self.commission, self.commission_asset)
        sound_fee(self.symbol, self.qty, self.commission, self.commission_asset)


class _Asset(Row, frozen=True):
    asset: str
    free: Decimal
    locked: Decimal


class _Account(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    balances: tuple[_Asset, ...]
    can_trade: bool = True
    uid: msgspec.Raw = msgspec.Raw()


def sound_book(bid: Decimal, ask: Decimal) -> None:
    """Raises ValueError for best prices that no book has: below 0, which is an empty side, or at cross purposes."""
    not_negative(bid, ask)
    if bid > ask > 0:
        raise ValueError(f"a bid of {bid} above an ask of {ask}")


class _Prices(Row, frozen=True, rename="camel"):
    bid_price: Decimal
    ask_price: Decimal
    last_price: Decimal

    def __post_init__(self) -> None:
        super().__post_init__()
        sound_book(self.bid_price, self.ask_price)
        not_negative(self.last_price)


class _Ticker(_Prices, frozen=True, rename="camel"):
    symbol: str = ""


class _Best(Row, frozen=True, rename="camel"):
    bid_price: Decimal
    ask_price: Decimal
    symbol: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        sound_book(self.bid_price, self.ask_price)


class _Last(Row, frozen=True):
    price: Decimal
    symbol: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.price)


class _Average(Row, frozen=True, rename="camel"):
    price: Decimal

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.price)


class _Reference(Row, frozen=True, rename="camel"):
    reference_price: Decimal | None

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.reference_price or ZERO)


class _NamedTicker(_Prices, frozen=True, rename="camel"):
    symbol: str


class _Bar(Row, frozen=True, array_like=True):
    """A kline; what follows in its row is not read."""

    open_time: Ms
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def __post_init__(self) -> None:
        super().__post_init__()
        if not ZERO < self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            raise ValueError("no bar: its prices are not between its low and its high")


class _ServerTime(msgspec.Struct, frozen=True, rename="camel"):
    server_time: Annotated[int, msgspec.Meta(ge=1_000_000_000_000, le=4_102_444_800_000)]


def placed(body: bytes | msgspec.Raw, own_id: str) -> tuple[OrderReport, ...]:
    """The answer to an order: must name `own_id`."""
    return _own((decode(body, _Order),), {own_id})


def list_placed(body: bytes, list_id: str, leg_ids: set[str]) -> tuple[OrderReport, ...]:
    """The answer to an order list: must name each of its orders."""
    return _own(_list(body, list_id), leg_ids)


def cancelled(body: bytes | msgspec.Raw, own_id: str) -> tuple[OrderReport, ...]:
    """The answer to a cancel. Cancelling a leg ends its whole list, and may be answered as one."""
    try:
        orders: tuple[_Order, ...] = (decode(body, _Order),)
    except msgspec.ValidationError:
        orders = decode(body, _OrderList).order_reports
    return _own(orders, {own_id})


def list_cancelled(body: bytes, list_id: str) -> tuple[OrderReport, ...]:
    return tuple(order.report() for order in _list(body, list_id))


def halves(body: bytes | msgspec.Raw) -> _Replaced:
    """The two halves of a cancel-replace: the answer itself, or `data` of -2021 and -2022."""
    return decode(body, _Replaced)


def order(body: bytes, symbol: str = "", own_id: str = "", exchange_id: int = 0) -> OrderReport:
    """The answer to a query for the order `own_id`, by `exchange_id` where that is not 0. One that is about another
    order answers another question: of a cancelled order another client id is told, but none that is ours.
    """
    found = decode(body, _Order)
    report = found.report()
    other = report.exchange_id != exchange_id if exchange_id else report.id != own_id and ids.is_ours(report.id)
    if (symbol and found.symbol != symbol) or (own_id and other):
        told = f"{found.symbol} {report.id!r} ({report.exchange_id})"
        raise msgspec.ValidationError(f"the answer is about {told}, not about {symbol} {own_id!r} ({exchange_id})")
    return report


def open_orders(body: bytes, symbol: str = "") -> tuple[OrderReport, ...]:
    """All open orders of `symbol`, or of all. Somebody else's order of a kind that Executor does not know is left
    out.
    """
    return tuple(report for of, report in _orders(body) if symbol in ("", of))


def all_orders(body: bytes, symbol: str = "") -> tuple[OrderReport, ...]:
    """As `open_orders`, of a history, in which a status that nobody knows may be an end."""
    return tuple(report for of, report in _orders(body, are_open=False) if symbol in ("", of))


def open_orders_by_symbol(body: bytes) -> dict[str, tuple[OrderReport, ...]]:
    """As `open_orders`, of the whole account; a symbol without one is not in it."""
    found: defaultdict[str, list[OrderReport]] = defaultdict(list)
    for symbol, report in _orders(body):
        found[symbol].append(report)
    return {symbol: tuple(reports) for symbol, reports in found.items()}


def _orders(body: bytes, *, are_open: bool = True) -> Iterator[tuple[str, OrderReport]]:
    for row in decode(body, list[msgspec.Raw]):
        try:
            order = decode(row, _Order)
        except msgspec.DecodeError:
            if not _may_be_ours(row):
                continue
            if not are_open:
                raise
            order = _of_tomorrow(row)
        yield order.symbol, order.report()


def _may_be_ours(row: msgspec.Raw) -> bool:
    """Whether an order that can't be read is one of ours, by its names; where those can't be read either, by any
    mention of one.
    """
    if ids.PREFIX.encode() not in bytes(row):
        return False
    with contextlib.suppress(msgspec.DecodeError):
        named = decode(row, _Named)
        return ids.is_ours(named.client_order_id) or ids.is_ours(named.orig_client_order_id)
    return True


def _of_tomorrow(row: msgspec.Raw) -> _Order:
    """An open order of ours whose status nobody knows yet: it is open, and what it shows as filled is. Else the list
    would hide all others for as long as that one is in it.
    """
    fields = decode(row, dict[str, msgspec.Raw])
    known = decode(fields.get("status", b"0"), str)
    if known in OrderStatus.__members__:
        raise msgspec.ValidationError(f"an order of ours can't be read: {bytes(row)[:SHOWN_BYTES]!r}")
    filled = decode(fields.get("executedQty", b"0"), Decimal)
    status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.NEW
    return decode(msgspec.json.encode(fields | {"status": msgspec.Raw(msgspec.json.encode(status))}), _Order)


def trades(body: bytes, exchange_id: int = 0) -> tuple[Fill, ...]:
    """The fills in the answer to a query for those of one order, without any that says that it is of another."""
    return tuple(
        Fill(row.id, row.price, row.qty, row.commission, row.commission_asset, row.time)
        for row in decode(body, list[_Trade])
        if not exchange_id or row.order_id in (0, exchange_id)
    )


def balances(body: bytes) -> dict[str, Balance]:
    """Balances by asset; an asset that is not there is not held."""
    rows = decode(body, _Account).balances
    return {row.asset: Balance(row.free or ZERO, row.locked or ZERO) for row in rows}


def may_trade(body: bytes) -> bool:
    return decode(body, _Account).can_trade


def uid(body: bytes) -> int:
    """The account's number, by which it is known from others; 0 where the exchange tells none."""
    told = bytes(decode(body, _Account).uid)
    return int(told) if told.isdigit() and len(told) <= UID_DIGITS else 0


def quote(body: bytes, at: int, symbol: str = "") -> Quote:
    ticker = decode(body, _Ticker)
    _is_of(ticker.symbol, symbol)
    return Quote(at, ticker.bid_price, ticker.ask_price, ticker.last_price)


def best_prices(body: bytes, symbol: str) -> tuple[Decimal, Decimal]:
    """Bid and ask."""
    best = decode(body, _Best)
    _is_of(best.symbol, symbol)
    return best.bid_price, best.ask_price


def last_price(body: bytes, symbol: str) -> Decimal:
    last = decode(body, _Last)
    _is_of(last.symbol, symbol)
    return last.price


def _is_of(told: str, symbol: str) -> None:
    if symbol and told not in ("", symbol):
        raise msgspec.ValidationError(f"the answer is the price of {told!r}, not of {symbol!r}")


def quotes(body: bytes, at: int) -> dict[str, Quote]:
    """By symbol. A row that can't be read is left out: it must not hide the others."""
    found: dict[str, Quote] = {}
    for row in decode(body, list[msgspec.Raw]):
        with contextlib.suppress(msgspec.DecodeError):
            told = decode(row, _NamedTicker)
            found[told.symbol] = Quote(at, told.bid_price, told.ask_price, told.last_price)
    return found


def average(body: bytes) -> Decimal | None:
    """Of avgPrice; None where nothing was traded."""
    return decode(body, _Average).price or None


def reference(body: bytes) -> Decimal | None:
    """Of referencePrice; None where it is not set at the moment."""
    return decode(body, _Reference).reference_price or None


def klines(body: bytes) -> tuple[Kline, ...]:
    rows = decode(body, list[_Bar])
    return tuple(Kline(row.open_time, row.high, row.low, row.close) for row in rows)


def server_time(body: bytes) -> int:
    return decode(body, _ServerTime).server_time


def _list(body: bytes, list_id: str) -> tuple[_Order, ...]:
    found = decode(body, _OrderList)
    if found.list_client_order_id != list_id:
        raise msgspec.ValidationError(f"the answer is about list {found.list_client_order_id!r}, not {list_id!r}")
    return found.order_reports


def _own(orders: Iterable[_Order], wanted: set[str]) -> tuple[OrderReport, ...]:
    reports = tuple(order.report() for order in orders)
    missing = wanted - {report.id for report in reports}
    if missing:
        raise msgspec.ValidationError(f"the answer does not name {', '.join(sorted(missing))}")
    return reports
