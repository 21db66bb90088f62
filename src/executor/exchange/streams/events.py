"""Pushed events in, the core's values out (user-data-stream.md, web-socket-streams.md). Pure.

Every function raises `msgspec.DecodeError` for a message that can't be read.
"""

from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model import ids
from executor.core.model.facts import Balance, Fill, OrderReport, Why, left_by_prevention
from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType
from executor.decoding import Ms, Row, decode, not_negative
from executor.exchange.wire.reading import sound_fee, sound_price, whole_value

NO_REASON: Final = "NONE"
_NO_ID: Final = frozenset({"", "null"})
_REASONS: Final = (
    ("INSUFFICIENT_BALANCE", Why.INSUFFICIENT_BALANCE),
    ("WOULD_TRIGGER", Why.WOULD_TRIGGER),
    ("WOULD_MATCH", Why.WOULD_MATCH),
    ("OCO_BAD_PRICES", Why.PRICE_RELATION),
)
"""A word of the reason, which is spelt in more than one way, and what it means."""


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


class _Report(Row, frozen=True, kw_only=True):
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
    qty: Decimal | None = msgspec.field(name="q", default=None)
    price: Decimal = msgspec.field(name="p")
    stop_price: Decimal = msgspec.field(name="P")
    trailing_delta: int = msgspec.field(name="d", default=0)
    last_qty: Decimal = msgspec.field(name="l")
    last_price: Decimal = msgspec.field(name="L")
    cum_qty: Decimal = msgspec.field(name="z")
    prevented: Decimal = msgspec.field(name="A", default=ZERO)
    cum_quote: Decimal = msgspec.field(name="Z")
    fee: Decimal = msgspec.field(name="n")
    fee_asset: str | None = msgspec.field(name="N", default=None)
    trade_id: int = msgspec.field(name="t", default=-1)
    time: Ms = msgspec.field(name="T")
    on_book: bool = msgspec.field(name="w", default=False)
    reason: str = msgspec.field(name="r", default=NO_REASON)

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.qty or ZERO, self.price, self.stop_price, self.last_qty, self.last_price, self.cum_qty)
        not_negative(self.prevented)
        if self.qty is None and (self.cum_qty or self.list_id < 0):
            raise ValueError("q is missing")  # as of `origQty`: only what an entry has yet to pay for has none
        self.value()
        if self.execution == "TRADE":
            sound_price(self.side, self.type, self.price, self.last_price)
            sound_fee(self.symbol, self.last_qty, self.fee, self.fee_asset or "")
            if self.last_qty > self.cum_qty:
                raise ValueError("l is more than z")

    def value(self) -> Decimal:
        return whole_value(self.side, self.type, self.price, self.cum_qty, self.cum_quote)

    @property
    def own_id(self) -> str:
        # in a cancel's report `c` names the cancel, and `C` the order; after an amendment `c` is the new name
        return self.id if self.execution == "REPLACED" or self.original_id in _NO_ID else self.original_id

    @property
    def refusal(self) -> Why | None:
        """Why an order was not accepted (user-data-stream.md, "Order Reject Reason"); None where that is not said."""
        if self.status is not OrderStatus.REJECTED or self.reason == NO_REASON:
            return None
        return next((why for word, why in _REASONS if word in self.reason), Why.OTHER)


class Owner(msgspec.Struct, frozen=True):
    """Whose report it is, whatever else is in it."""

    symbol: str = msgspec.field(name="s")
    id: str = msgspec.field(name="c")
    original_id: str = msgspec.field(name="C", default="")

    @property
    def is_ours(self) -> bool:
        return ids.is_ours(self.id if self.original_id in _NO_ID else self.original_id)


class _Asset(Row, frozen=True):
    a: str
    f: Decimal
    l: Decimal  # noqa: E741  # the exchange's letter


class _Position(msgspec.Struct, frozen=True):
    B: tuple[_Asset, ...]
    u: Ms


class _Delta(Row, frozen=True):
    a: str
    d: Decimal
    T: Ms


class MarketData(Row, frozen=True):
    """An event of a market stream: best prices `b` and `a` of a `bookTicker`, which has no `e` of its own, or the price
    `p` of a trade. `s`: the symbol.
    """

    e: str = ""
    s: str = ""
    b: Decimal | None = None
    a: Decimal | None = None
    p: Decimal | None = None


class MarketMessage(msgspec.Struct, frozen=True):
    """A message of a combined market stream: an event in an envelope, an event of the connection itself without one, or
    the answer to a request, `id`; one that is refused has a `code` (web-socket-streams.md, "Error Messages"), or an
    `error` that holds it.
    """

    data: MarketData | None = None
    e: str = ""
    id: int | None = None
    code: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


def event(message: bytes) -> msgspec.Raw:
    """The event in a message of the WebSocket API."""
    return decode(message, _Envelope).event


def kind(event: msgspec.Raw) -> str:
    """The event's type, `e`; empty for the one kind that has none (`bookTicker`)."""
    return decode(event, _Kind).e


def owner(event: msgspec.Raw) -> Owner:
    """Whose `executionReport` it is."""
    return decode(event, Owner)


def order_report(event: msgspec.Raw) -> OrderReport | None:
    """The report in an `executionReport`; None for an order of a kind that is not ours."""
    try:
        told = decode(event, _Report)
    except msgspec.DecodeError:
        if ids.PREFIX.encode() in bytes(event):
            raise
        return None
    # A trade without its number, or whose commission is in nobody knows what, is read on its own, as one unheard of.
    whole = told.trade_id >= 0 and (told.fee_asset is not None or not told.fee)
    is_trade = told.execution == "TRADE" and whole
    fill = Fill(told.trade_id, told.last_price, told.last_qty, told.fee, told.fee_asset or "", told.time)
    return OrderReport(
        id=told.own_id,
        exchange_id=told.order_id,
        side=told.side,
        type=told.type,
        status=told.status,
        qty=left_by_prevention(told.qty or ZERO, told.prevented, told.status),
        # "0.00000000" is written down as plain 0: no sum needs its digits
        cum_qty=told.cum_qty or ZERO,
        cum_quote=told.value(),
        price=told.price or ZERO,
        stop_price=told.stop_price or ZERO,
        trailing_delta=told.trailing_delta,
        list_exchange_id=told.list_id,
        working=told.on_book and not told.status.is_final,
        time=told.time,
        fills=(fill,) if is_trade else (),
        refusal=told.refusal,
    )


def balances_set(event: msgspec.Raw) -> BalancesSet:
    told = decode(event, _Position)
    return BalancesSet(told.u, {row.a: Balance(row.f, row.l) for row in told.B})


def balance_moved(event: msgspec.Raw) -> BalanceMoved:
    told = decode(event, _Delta)
    return BalanceMoved(told.T, told.a, told.d)


def market_message(message: bytes) -> MarketMessage:
    return decode(message, MarketMessage)
