"""Pushed events in, the core's values out (user-data-stream.md, web-socket-streams.md). Pure.

Every function raises `msgspec.DecodeError` for a message that can't be read.
"""

from decimal import Decimal

import msgspec

from executor.core import ids
from executor.core.facts import Balance, Fill, OrderReport
from executor.core.values import ZERO, OrderSide, OrderStatus, OrderType


class BalancesSet(msgspec.Struct, frozen=True):
    """`outboundAccountPosition`: what these assets have now, as of `at` (ms)."""

    at: int
    balances: dict[str, Balance]


class BalanceMoved(msgspec.Struct, frozen=True):
    """Something other than an order moved or locked `delta` of `asset`.

    Events: `balanceUpdate`, `externalLockUpdate`.
    """

    at: int
    asset: str
    delta: Decimal


class _Envelope(msgspec.Struct, frozen=True):
    event: msgspec.Raw


class _Kind(msgspec.Struct, frozen=True):
    e: str = ""


class _Report(msgspec.Struct, frozen=True, kw_only=True):
    """`executionReport`; the names are the exchange's letters."""

    symbol: str = msgspec.field(name="s")
    id: str = msgspec.field(name="c")
    original_id: str = msgspec.field(name="C", default="")
    execution: str = msgspec.field(name="x")
    order_id: int = msgspec.field(name="i")
    list_id: int = msgspec.field(name="g", default=-1)
    side: OrderSide = msgspec.field(name="S")
    type: OrderType = msgspec.field(name="o")
    status: OrderStatus = msgspec.field(name="X")
    qty: Decimal = msgspec.field(name="q")
    price: Decimal = msgspec.field(name="p")
    stop_price: Decimal = msgspec.field(name="P")
    trailing_delta: int = msgspec.field(name="d", default=0)
    last_qty: Decimal = msgspec.field(name="l")
    last_price: Decimal = msgspec.field(name="L")
    cum_qty: Decimal = msgspec.field(name="z")
    cum_quote: Decimal = msgspec.field(name="Z")
    fee: Decimal = msgspec.field(name="n")
    fee_asset: str | None = msgspec.field(name="N", default=None)
    trade_id: int = msgspec.field(name="t", default=-1)
    time: int = msgspec.field(name="T")
    on_book: bool = msgspec.field(name="w", default=False)

    @property
    def own_id(self) -> str:
        # in a cancel's report `c` names the cancel, and `C` the order; after an amendment `c` is the new name
        return self.id if self.execution == "REPLACED" or not self.original_id else self.original_id


class _Head(msgspec.Struct, frozen=True):
    """What says whose report it is, whatever else is in it."""

    s: str
    c: str
    C: str = ""


class _Asset(msgspec.Struct, frozen=True):
    a: str
    f: Decimal
    l: Decimal  # noqa: E741  # the exchange's letter


class _Position(msgspec.Struct, frozen=True):
    B: tuple[_Asset, ...]
    u: int


class _Delta(msgspec.Struct, frozen=True):
    a: str
    d: Decimal
    T: int


class _BookTicker(msgspec.Struct, frozen=True):
    b: Decimal
    a: Decimal


class _Trade(msgspec.Struct, frozen=True):
    p: Decimal


class _Combined(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw(b"")


def event(message: bytes) -> msgspec.Raw:
    """The event in a message of the WebSocket API."""
    return msgspec.json.decode(message, type=_Envelope).event


def kind(event: msgspec.Raw) -> str:
    """The event's type, `e`; empty for the one kind that has none (`bookTicker`)."""
    return msgspec.json.decode(event, type=_Kind).e


def order_report(event: msgspec.Raw, symbol: str) -> OrderReport | None:
    """The report in an `executionReport`; None for another symbol, or an order of a kind that is not ours."""
    head = msgspec.json.decode(event, type=_Head)
    if head.s != symbol:
        return None
    try:
        told = msgspec.json.decode(event, type=_Report)
    except msgspec.ValidationError:
        if ids.is_ours(head.C or head.c):
            raise
        return None
    is_trade = told.execution == "TRADE"
    fill = Fill(told.trade_id, told.last_price, told.last_qty, told.fee, told.fee_asset or "", told.time)
    return OrderReport(
        id=told.own_id,
        exchange_id=told.order_id,
        side=told.side,
        type=told.type,
        status=told.status,
        qty=told.qty,
        # "0.00000000" is written down as plain 0: no sum needs its digits
        cum_qty=told.cum_qty or ZERO,
        cum_quote=told.cum_quote or ZERO,
        price=told.price or ZERO,
        stop_price=told.stop_price or ZERO,
        trailing_delta=told.trailing_delta,
        list_exchange_id=told.list_id,
        working=told.on_book and not told.status.is_final,
        time=told.time,
        fills=(fill,) if is_trade else (),
    )


def balances_set(event: msgspec.Raw) -> BalancesSet:
    told = msgspec.json.decode(event, type=_Position)
    return BalancesSet(told.u, {row.a: Balance(row.f, row.l) for row in told.B})


def balance_moved(event: msgspec.Raw) -> BalanceMoved:
    told = msgspec.json.decode(event, type=_Delta)
    return BalanceMoved(told.T, told.a, told.d)


def market_data(message: bytes) -> msgspec.Raw:
    """The event in a message of a combined market stream; what concerns no stream comes without an envelope."""
    data = msgspec.json.decode(message, type=_Combined).data
    return data if bytes(data) else msgspec.Raw(message)


def best_prices(event: msgspec.Raw) -> tuple[Decimal, Decimal]:
    """Bid and ask of a `bookTicker`."""
    told = msgspec.json.decode(event, type=_BookTicker)
    return told.b, told.a


def trade_price(event: msgspec.Raw) -> Decimal:
    return msgspec.json.decode(event, type=_Trade).p
