"""The words every room shares: sides, order types, statuses, and exact decimal arithmetic on grids."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Annotated, Final

import msgspec

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
DIGITS: Final = 27
"""So many of a number are exact, and one more may come of rounding it."""
Count = Annotated[int, msgspec.Meta(ge=0)]
"""How often something was so. Pauses are looked up by it, so a state from the disk with one below 0 is none."""


class OrderSide(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "OrderSide":
        return OrderSide.SELL if self is OrderSide.BUY else OrderSide.BUY


class Direction(StrEnum):
    """Which way a trade earns: a long buys first, a short sells first (rule 1).

    `sign`: +1 for a long, -1 for a short: multiply a price distance by it to mirror a rule.
    """

    LONG = "long"
    SHORT = "short"

    def __init__(self, name: str) -> None:
        self.is_long = name == "long"
        self.sign = 1 if self.is_long else -1
        self.entry_side = OrderSide.BUY if self.is_long else OrderSide.SELL
        self.exit_side = self.entry_side.opposite


class OrderType(StrEnum):
    """Binance Spot order types (rest-api.md, "New order")."""

    LIMIT = "LIMIT"
    LIMIT_MAKER = "LIMIT_MAKER"
    MARKET = "MARKET"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"


ALGO_TYPES: Final = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)
"""What MAX_NUM_ALGO_ORDERS counts (filters.md)."""


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class OrderStatus(StrEnum):
    """Binance order statuses (enums.md). A final status says nothing about what was filled: read the quantity."""

    NEW = "NEW"
    PENDING_NEW = "PENDING_NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    PENDING_CANCEL = "PENDING_CANCEL"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    @property
    def is_pending(self) -> bool:
        """Of one that awaits its entry: it may do so still. Nothing is documented of PENDING_CANCEL, so it tells of no
        order that it was placed.
        """
        return self in _PENDING


_FINAL: Final = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.EXPIRED_IN_MATCH,
    }
)
_PENDING: Final = frozenset({OrderStatus.PENDING_NEW, OrderStatus.PENDING_CANCEL})


def floor_to(value: Decimal, grid: Decimal) -> Decimal:
    """The largest multiple of `grid` that is not above `value`; `value` itself when `grid` is 0 (a filter that is
    off).
    """
    return (value / grid).to_integral_value(ROUND_FLOOR) * grid if grid else value


def ceil_to(value: Decimal, grid: Decimal) -> Decimal:
    """The smallest multiple of `grid` that is not below `value`; `value` itself when `grid` is 0 (a filter that is
    off).
    """
    return (value / grid).to_integral_value(ROUND_CEILING) * grid if grid else value


def rounded(value: Decimal, to: Decimal) -> Decimal:
    """`value` in the places of `to`; where it is so large that it can't have them, as it is: a figure that is absurd
    is one to be seen, and ends nothing.
    """
    return value.quantize(to, ROUND_HALF_EVEN) if value.adjusted() - to.adjusted() < DIGITS else value


def on_grid(value: Decimal, grid: Decimal) -> bool:
    return not grid or not value % grid


def units(value: Decimal, grid: Decimal) -> int:
    """How many whole steps of `grid` fit into `value` (`grid` > 0)."""
    return int((value / grid).to_integral_value(ROUND_FLOOR))


def plain(value: Decimal) -> str:
    """Decimal as Binance and people read it: digits and a point, never an exponent."""
    return format(value, "f")


def short(value: Decimal) -> str:
    """As `plain`, without the zeros that end it: for people."""
    return plain(value.normalize())
