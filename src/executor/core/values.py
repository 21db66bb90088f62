"""The words every room shares: sides, order types, statuses, and exact decimal arithmetic on grids."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Final

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)


class OrderSide(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "OrderSide":
        return OrderSide.SELL if self is OrderSide.BUY else OrderSide.BUY


class Direction(StrEnum):
    """Which way a trade earns: a long buys first, a short sells first (rule 1)."""

    LONG = "long"
    SHORT = "short"

    @property
    def entry_side(self) -> OrderSide:
        return OrderSide.BUY if self is Direction.LONG else OrderSide.SELL

    @property
    def exit_side(self) -> OrderSide:
        return self.entry_side.opposite

    @property
    def sign(self) -> int:
        """+1 for a long, -1 for a short: multiply a price distance by it to mirror a rule."""
        return 1 if self is Direction.LONG else -1


class OrderType(StrEnum):
    """Binance Spot order types (rest-api.md, "New order")."""

    LIMIT = "LIMIT"
    LIMIT_MAKER = "LIMIT_MAKER"
    MARKET = "MARKET"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"


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


_FINAL: Final = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.EXPIRED_IN_MATCH,
    }
)


def floor_to(value: Decimal, grid: Decimal) -> Decimal:
    """The largest multiple of `grid` that is not above `value`; `value` itself when `grid` is 0 (a filter that is
    off).
    """
    return _to_grid(value, grid, ROUND_FLOOR)


def ceil_to(value: Decimal, grid: Decimal) -> Decimal:
    """The smallest multiple of `grid` that is not below `value`; `value` itself when `grid` is 0 (a filter that is
    off).
    """
    return _to_grid(value, grid, ROUND_CEILING)


def on_grid(value: Decimal, grid: Decimal) -> bool:
    return grid == 0 or value % grid == 0


def units(value: Decimal, grid: Decimal) -> int:
    """How many whole steps of `grid` fit into `value` (`grid` > 0)."""
    return int((value / grid).to_integral_value(ROUND_FLOOR))


def plain(value: Decimal) -> str:
    """Decimal as Binance and people read it: digits and a point, never an exponent."""
    return format(value, "f")


def short(value: Decimal) -> str:
    """As `plain`, without the zeros that end it: for people."""
    return plain(value.normalize())


def _to_grid(value: Decimal, grid: Decimal, rounding: str) -> Decimal:
    if grid == 0:
        return value
    return (value / grid).to_integral_value(rounding) * grid
