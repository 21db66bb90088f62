"""A trading pair: its assets, what it allows, and its filters (exchangeInfo, filters.md).

The checks of values alone live here; those that need an account or the market are in `admission`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from executor.core.model.values import ZERO, OrderSide, OrderType, on_grid
from executor.paper.engine.model import Reject, StpMode, SymbolStatus

ALGO_TYPES: Final = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)
STOP_LOSS_TYPES: Final = frozenset({OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT})
MARKET_TYPES: Final = frozenset({OrderType.MARKET, OrderType.STOP_LOSS, OrderType.TAKE_PROFIT})
"""Types that trade at any price once they are on the book."""


@dataclass(slots=True, frozen=True)
class Range:
    """Bounds of a quantity or price; a bound or grid of 0 is off."""

    low: Decimal = ZERO
    high: Decimal = ZERO
    grid: Decimal = ZERO

    def admits(self, value: Decimal) -> bool:
        return value >= self.low and (self.high == 0 or value <= self.high) and on_grid(value, self.grid)


@dataclass(slots=True, frozen=True)
class PercentPrice:
    """Multiples of the reference price within which a limit price of one side must lie."""

    filter_type: str
    up: Mapping[OrderSide, Decimal]
    down: Mapping[OrderSide, Decimal]
    mins: int


@dataclass(slots=True, frozen=True)
class Notional:
    """Bounds of price x quantity; `high` is None where the filter has no maximum."""

    filter_type: str
    low: Decimal
    high: Decimal | None
    low_for_market: bool
    high_for_market: bool
    mins: int


@dataclass(slots=True, frozen=True)
class TrailingDelta:
    """Bounds of `trailingDelta` in BIPS, by whether the stop condition lies above or below the market."""

    above_low: int
    above_high: int
    below_low: int
    below_high: int


@dataclass(slots=True, kw_only=True)
class Symbol:
    """One row of exchangeInfo. A filter that the row does not have is None, empty or an open `Range`.

    `row` is the row itself, for `GET /api/v3/exchangeInfo`.
    """

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
    percent_prices: tuple[PercentPrice, ...] = ()
    notionals: tuple[Notional, ...] = ()
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
    quote_is_exact: bool = field(init=False)
    quote_unit: Decimal = field(init=False)
    base_unit: Decimal = field(init=False)

    def __post_init__(self) -> None:
        self.quote_unit = Decimal(1).scaleb(-self.quote_precision)
        self.base_unit = Decimal(1).scaleb(-self.base_precision)
        grid = self.price.grid * self.lot.grid
        self.quote_is_exact = grid != 0 and on_grid(grid, self.quote_unit)

    @classmethod
    def from_exchange_info(cls, row: Mapping[str, Any]) -> "Symbol":
        """Raises ValueError naming the symbol and what is wrong if the row cannot be read."""
        name = str(row.get("symbol", "?"))
        try:
            return _read_row(row)
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise ValueError(f"exchangeInfo row of {name}: cannot read {error!r}") from error

    def check_price(self, price: Decimal, parameter: str) -> None:
        if not on_grid(price, self.quote_unit):
            raise Reject(-1111, f"Parameter '{parameter}' has too much precision.")
        if not self.price.admits(price):
            raise Reject(-1013, "Filter failure: PRICE_FILTER")

    def check_quantity(self, quantity: Decimal, parameter: str, *, market: bool = False) -> None:
        if not on_grid(quantity, self.base_unit):
            raise Reject(-1111, f"Parameter '{parameter}' has too much precision.")
        if not self.lot.admits(quantity):
            raise Reject(-1013, "Filter failure: LOT_SIZE")
        if market and not self.market_lot.admits(quantity):
            raise Reject(-1013, "Filter failure: MARKET_LOT_SIZE")

    def check_notional(self, notional: Decimal, *, market: bool = False) -> None:
        for rule in self.notionals:
            too_low = notional < rule.low and (rule.low_for_market or not market)
            too_high = rule.high is not None and notional > rule.high and (rule.high_for_market or not market)
            if too_low or too_high:
                raise Reject(-1013, f"Filter failure: {rule.filter_type}")

    def check_trailing_delta(self, delta: int, *, above: bool) -> None:
        rule = self.trailing_delta
        if rule is None:
            return
        low, high = (rule.above_low, rule.above_high) if above else (rule.below_low, rule.below_high)
        if not low <= delta <= high:
            raise Reject(-1013, "Filter failure: TRAILING_DELTA")


def _read_row(row: Mapping[str, Any]) -> Symbol:
    filters = {str(each["filterType"]): each for each in row["filters"]}
    return Symbol(
        name=row["symbol"],
        status=SymbolStatus(row["status"]),
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        base_precision=int(row["baseAssetPrecision"]),
        quote_precision=int(row["quoteAssetPrecision"]),
        base_commission_precision=int(row.get("baseCommissionPrecision", 8)),
        quote_commission_precision=int(row.get("quoteCommissionPrecision", 8)),
        order_types=frozenset(OrderType(each) for each in row["orderTypes"]),
        price=_range(filters.get("PRICE_FILTER"), "minPrice", "maxPrice", "tickSize"),
        lot=_range(filters.get("LOT_SIZE"), "minQty", "maxQty", "stepSize"),
        market_lot=_range(filters.get("MARKET_LOT_SIZE"), "minQty", "maxQty", "stepSize"),
        percent_prices=_percent_prices(filters),
        notionals=_notionals(filters),
        trailing_delta=_trailing_delta(filters.get("TRAILING_DELTA")),
        iceberg_parts=_count(filters, "ICEBERG_PARTS", "limit"),
        max_orders=_count(filters, "MAX_NUM_ORDERS", "maxNumOrders"),
        max_algo_orders=_count(filters, "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders"),
        max_iceberg_orders=_count(filters, "MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders"),
        max_order_lists=_count(filters, "MAX_NUM_ORDER_LISTS", "maxNumOrderLists"),
        max_amends=_count(filters, "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends"),
        max_position=_max_position(filters.get("MAX_POSITION")),
        iceberg_allowed=bool(row.get("icebergAllowed", False)),
        oco_allowed=bool(row.get("ocoAllowed", False)),
        oto_allowed=bool(row.get("otoAllowed", False)),
        opo_allowed=bool(row.get("opoAllowed", False)),
        quote_order_qty_allowed=bool(row.get("quoteOrderQtyMarketAllowed", False)),
        trailing_allowed=bool(row.get("allowTrailingStop", False)),
        cancel_replace_allowed=bool(row.get("cancelReplaceAllowed", False)),
        amend_allowed=bool(row.get("amendAllowed", False)),
        default_stp=StpMode(row.get("defaultSelfTradePreventionMode", "NONE")),
        allowed_stp=frozenset(StpMode(each) for each in row.get("allowedSelfTradePreventionModes", [*StpMode])),
        row=row,
    )


def _range(rule: Mapping[str, Any] | None, low: str, high: str, grid: str) -> Range:
    if rule is None:
        return Range()
    return Range(_tidy(rule[low]), _tidy(rule[high]), _tidy(rule[grid]))


def _tidy(text: str) -> Decimal:
    """Without the trailing zeros that exchangeInfo pads with, which every product would carry on."""
    value = Decimal(text)
    return value.to_integral_value() if value == value.to_integral_value() else value.normalize()


def _percent_prices(filters: Mapping[str, Mapping[str, Any]]) -> tuple[PercentPrice, ...]:
    found = []
    if rule := filters.get("PERCENT_PRICE"):
        up, down = Decimal(rule["multiplierUp"]), Decimal(rule["multiplierDown"])
        found.append(
            PercentPrice(
                "PERCENT_PRICE",
                dict.fromkeys(OrderSide, up),
                dict.fromkeys(OrderSide, down),
                int(rule["avgPriceMins"]),
            )
        )
    if rule := filters.get("PERCENT_PRICE_BY_SIDE"):
        found.append(
            PercentPrice(
                "PERCENT_PRICE_BY_SIDE",
                {
                    OrderSide.BUY: Decimal(rule["bidMultiplierUp"]),
                    OrderSide.SELL: Decimal(rule["askMultiplierUp"]),
                },
                {
                    OrderSide.BUY: Decimal(rule["bidMultiplierDown"]),
                    OrderSide.SELL: Decimal(rule["askMultiplierDown"]),
                },
                int(rule["avgPriceMins"]),
            )
        )
    return tuple(found)


def _notionals(filters: Mapping[str, Mapping[str, Any]]) -> tuple[Notional, ...]:
    found = []
    if rule := filters.get("MIN_NOTIONAL"):
        found.append(
            Notional(
                "MIN_NOTIONAL",
                Decimal(rule["minNotional"]),
                None,
                bool(rule["applyToMarket"]),
                high_for_market=False,
                mins=int(rule["avgPriceMins"]),
            )
        )
    if rule := filters.get("NOTIONAL"):
        found.append(
            Notional(
                "NOTIONAL",
                Decimal(rule["minNotional"]),
                Decimal(rule["maxNotional"]),
                bool(rule["applyMinToMarket"]),
                high_for_market=bool(rule["applyMaxToMarket"]),
                mins=int(rule["avgPriceMins"]),
            )
        )
    return tuple(found)


def _trailing_delta(rule: Mapping[str, Any] | None) -> TrailingDelta | None:
    if rule is None:
        return None
    return TrailingDelta(
        int(rule["minTrailingAboveDelta"]),
        int(rule["maxTrailingAboveDelta"]),
        int(rule["minTrailingBelowDelta"]),
        int(rule["maxTrailingBelowDelta"]),
    )


def _max_position(rule: Mapping[str, Any] | None) -> Decimal | None:
    return None if rule is None else Decimal(rule["maxPosition"])


def _count(filters: Mapping[str, Mapping[str, Any]], filter_type: str, key: str) -> int | None:
    rule = filters.get(filter_type)
    return None if rule is None else int(rule[key])
