"""A trading pair: its assets, what it allows, and its filters (exchangeInfo, filters.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from executor.core.values import ZERO, OrderSide, OrderType
from executor.paper.model import StpMode, SymbolStatus

ALGO_TYPES: Final = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)


@dataclass(slots=True, frozen=True)
class Range:
    """Bounds of a quantity or price; a bound or grid of 0 is off."""

    low: Decimal = ZERO
    high: Decimal = ZERO
    grid: Decimal = ZERO


@dataclass(slots=True, frozen=True)
class PercentPrice:
    """Multiples of the reference price within which a limit price of one side must lie."""

    up: Decimal
    down: Decimal
    mins: int


@dataclass(slots=True, frozen=True)
class Notional:
    low: Decimal
    high: Decimal | None
    low_for_market: bool
    high_for_market: bool
    mins: int


@dataclass(slots=True, frozen=True)
class TrailingDelta:
    above_low: int
    above_high: int
    below_low: int
    below_high: int


@dataclass(slots=True, kw_only=True)
class Symbol:
    """One row of exchangeInfo. A filter that the row does not have is None (or an open `Range`) and not checked."""

    name: str
    status: SymbolStatus
    base: str
    quote: str
    base_precision: int
    quote_precision: int
    base_commission_precision: int
    quote_commission_precision: int
    order_types: frozenset[OrderType]
    price: Range = Range()
    lot: Range = Range()
    market_lot: Range = Range()
    percent_price: Mapping[OrderSide, tuple[str, PercentPrice]] = field(default_factory=dict)
    notionals: tuple[tuple[str, Notional], ...] = ()
    trailing_delta: TrailingDelta | None = None
    iceberg_parts: int | None = None
    max_orders: int | None = None
    max_algo_orders: int | None = None
    max_iceberg_orders: int | None = None
    max_order_lists: int | None = None
    max_amends: int | None = None
    max_position: Decimal | None = None
    iceberg_allowed: bool = False
    oco_allowed: bool = False
    oto_allowed: bool = False
    opo_allowed: bool = False
    quote_order_qty_allowed: bool = False
    trailing_allowed: bool = False
    cancel_replace_allowed: bool = False
    amend_allowed: bool = False
    default_stp: StpMode = StpMode.NONE
    allowed_stp: frozenset[StpMode] = frozenset(StpMode)
    row: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_exchange_info(cls, row: Mapping[str, Any]) -> "Symbol":
        """Raises ValueError naming the symbol and the field if the row cannot be read."""
        raise NotImplementedError
