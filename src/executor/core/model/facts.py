"""What the exchange says: quotes, klines, fills, order reports, and how a request ended."""

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType


class Quote(msgspec.Struct, frozen=True):
    """Best bid and ask and the last traded price, at `at` (ms, exchange clock)."""

    at: int
    bid: Decimal
    ask: Decimal
    last: Decimal


class Kline(msgspec.Struct, frozen=True):
    """A one-minute bar; `open_time` in ms."""

    open_time: int
    high: Decimal
    low: Decimal
    close: Decimal


class Balance(msgspec.Struct, frozen=True):
    free: Decimal
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


class Fill(msgspec.Struct, frozen=True):
    """One trade of one order: base `qty` at `price`, `fee` in units of `fee_asset`."""

    trade_id: int
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str
    time: int


class Why(StrEnum):
    """Why the exchange (or the adapter, before sending) refused a request. A refusal is certain: nothing was
    executed.
    """

    WOULD_TRIGGER = "would_trigger"  # stop on the wrong side of the last price
    WOULD_MATCH = "would_match"  # LIMIT_MAKER would take
    PRICE_RELATION = "price_relation"  # OCO prices not around the last price
    INSUFFICIENT_BALANCE = "insufficient_balance"
    UNKNOWN_ORDER = "unknown_order"  # cancel: not open any more, or never there
    FILTER = "filter"
    RATE_LIMIT = "rate_limit"
    CLOCK = "clock"
    AUTH = "auth"
    MARKET_CLOSED = "market_closed"
    NOT_SENT = "not_sent"  # failed before anything left this machine
    WITHDRAWN = "withdrawn"  # not sent either: its stamp was too old when its turn came (rule 8.3d)
    LOAN_BUSY = "loan_busy"  # another loan or repayment of the account is being worked on
    NOT_LENT = "not_lent"  # more than may be borrowed, nothing to lend, or not allowed
    DEBT_SUM = "debt_sum"  # more than is owed, or what would be left is too small
    LOAN_MINIMUM = "loan_minimum"  # less than may be borrowed or repaid
    NOT_ALLOWED = "not_allowed"  # the account or the pair may not do this (now)
    OTHER = "other"


UNSENT: Final = frozenset({Why.NOT_SENT, Why.WITHDRAWN})
"""Refusals of what has never left."""
HELD_UP: Final = frozenset({Why.RATE_LIMIT, Why.CLOCK})
"""Refusals that the exchange gives before it looks at an order."""
PASSING: Final = UNSENT | HELD_UP
"""Refusals that say nothing of the order itself."""
POVERTY: Final = frozenset({Why.INSUFFICIENT_BALANCE, Why.OTHER})
"""Refusals after which the balance is read: it is too small, or nobody knows."""


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one order from a placement answer, a query, a cancel answer or a push.

    `id` is the order's own client order id (never the id of a cancel request); quantities are cumulative; `working` is
    whether it is on the book (false for an untriggered stop); `fills` holds the trades this report happens to name;
    `refusal`: of a REJECTED one, why, where that is told. Such a report need not know the order's number.
    """

    id: str
    exchange_id: int
    side: OrderSide
    type: OrderType
    status: OrderStatus
    qty: Decimal
    cum_qty: Decimal = ZERO
    cum_quote: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    trailing_delta: int = 0
    list_exchange_id: int = -1
    working: bool = False
    time: int = 0
    fills: tuple[Fill, ...] = ()
    refusal: Why | None = None


NOISE: Final = Decimal("1E-6")
"""Of an order's limit, by which the price of a trade, told in fewer digits, may be beyond it."""


def beyond(side: OrderSide, limit: Decimal, told: Decimal) -> Decimal:
    """By how much `told` is worse than the limit, for whoever trades on that side; below zero where it is better."""
    return told - limit if side is OrderSide.BUY else limit - told


def left_by_prevention(qty: Decimal, prevented: Decimal, status: OrderStatus) -> Decimal:
    """What an order sent for `qty` is for, where self-trade prevention has taken `prevented` of it (faqs/stp_faq.md).
    What one that expired for it was for is no smaller: its end tells of the rest.
    """
    if not prevented or (status.is_final and status is not OrderStatus.FILLED):
        return qty
    return max(qty - prevented, ZERO)


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Accepted: the reports the answer carried."""

    reports: tuple[OrderReport, ...] = ()


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Certainly not executed. `retry_at` (ms, exchange clock): do not try again before; 0 = no such wish."""

    why: Why
    code: int
    text: str
    retry_at: int = 0


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """May or may not have been executed (rule 8.2). `fence`: `timestamp + recvWindow` of the request, in ms of the
    exchange's clock: after it, a request that has not reached the engine never will (rule 8.3).
    """

    text: str
    fence: int


class NotTried(msgspec.Struct, frozen=True, tag="not_tried"):
    """The second half of a cancel-replace whose cancel failed."""


Outcome = Done | Refused | Unknown


class ReplaceOutcome(msgspec.Struct, frozen=True, tag="replaced"):
    """Cancel-replace is not atomic: how each half ended (rule 5.5)."""

    cancel: Done | Refused | Unknown
    place: Done | Refused | Unknown | NotTried
