"""`exchangeInfo` and commission rates in, `SymbolRules` out (filters.md, faqs/commission_faq.md). Pure."""

import contextlib
from decimal import Decimal
from typing import Annotated, Final

import msgspec

from executor.core.model.rules import SymbolRules
from executor.core.model.values import ONE, ZERO, OrderType
from executor.decoding import Row, decode, not_negative

_Places = Annotated[int, msgspec.Meta(ge=0, le=18)]
RATE_MAX: Final = Decimal("0.1")
"""All that may be added up leaves something; real ones are of thousandths."""


STATUSES: Final = frozenset({"TRADING", "HALT", "BREAK", "CANCEL_ONLY", "END_OF_DAY"})
"""Of enums.md and faqs/spot_glossary.md: all but the first take no orders."""


class _Filter(Row, frozen=True, kw_only=True, rename="camel"):
    """Any filter that is known; each has its own few of these."""

    tick_size: Decimal | None = None
    step_size: Decimal | None = None
    min_price: Decimal = ZERO
    max_price: Decimal = ZERO
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    min_notional: Decimal | None = None
    max_notional: Decimal = ZERO
    multiplier_up: Decimal = ZERO
    multiplier_down: Decimal = ZERO
    bid_multiplier_up: Decimal = ZERO
    bid_multiplier_down: Decimal = ZERO
    ask_multiplier_up: Decimal = ZERO
    ask_multiplier_down: Decimal = ZERO
    min_trailing_above_delta: int = 0
    max_trailing_above_delta: int = 0
    min_trailing_below_delta: int = 0
    max_trailing_below_delta: int = 0
    max_num_algo_orders: int = 0
    max_num_orders: int = 0
    max_num_order_lists: int = 0
    avg_price_mins: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(*(value for value in msgspec.structs.astuple(self) if isinstance(value, Decimal)))


_GRIDS: Final = ("PRICE_FILTER", "LOT_SIZE")
"""Filters that each symbol has."""
_NEEDED: Final = {
    "PRICE_FILTER": ("tick_size",),
    "LOT_SIZE": ("step_size",),
    "NOTIONAL": ("min_notional",),
    "MIN_NOTIONAL": ("min_notional",),
}
"""What a filter that is there always tells, if only as 0, which is off: taken for 0 where it is not told, every exit of
an open trade would be of a price or a quantity that the exchange refuses.
"""


class _Kind(msgspec.Struct, frozen=True, rename="camel"):
    filter_type: str


class _Symbol(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    order_types: tuple[str, ...]
    filters: tuple[msgspec.Raw, ...]
    base_asset_precision: _Places = 8
    quote_asset_precision: _Places = 8
    base_commission_precision: _Places = 8
    is_spot_trading_allowed: bool = True
    oco_allowed: bool = False
    oto_allowed: bool = False
    opo_allowed: bool = False
    allow_trailing_stop: bool = False
    cancel_replace_allowed: bool = False


class _RateLimit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Name(msgspec.Struct, frozen=True):
    symbol: str


class ExchangeInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is read of `GET /api/v3/exchangeInfo`; symbols one by one, as they are asked for."""

    rate_limits: msgspec.Raw = msgspec.Raw(b"")
    symbols: tuple[msgspec.Raw, ...]

    @property
    def weight_per_minute(self) -> int | None:
        """The REQUEST_WEIGHT limit; None when the exchange names none that can be read."""
        with contextlib.suppress(msgspec.DecodeError):
            for raw in decode(self.rate_limits, list[msgspec.Raw]):
                with contextlib.suppress(msgspec.DecodeError):
                    row = decode(raw, _RateLimit)
                    if (row.rate_limit_type, row.interval, row.interval_num) == ("REQUEST_WEIGHT", "MINUTE", 1):
                        return row.limit
        return None


class _Rates(Row, frozen=True):
    maker: Decimal = ZERO
    taker: Decimal = ZERO
    buyer: Decimal = ZERO
    seller: Decimal = ZERO

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(msgspec.structs.astuple(self)) > RATE_MAX:
            raise ValueError("a rate of commission is a small part of what is traded")


class _StandardRates(_Rates, frozen=True, kw_only=True):
    """Those that there always are: taken for zero where they are not told, exits would be of more than is held."""

    maker: Decimal
    taker: Decimal


class Commission(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`GET /api/v3/account/commission`; or an account's `commissionRates` as the standard part."""

    standard_commission: _StandardRates
    tax_commission: _Rates = _Rates()
    special_commission: _Rates = _Rates()

    @property
    def maker(self) -> Decimal:
        """The most that is taken of what a resting order receives, as a fraction, BNB discount aside; a rebate takes
        nothing.
        """
        return max(sum((rates.maker + max(rates.buyer, rates.seller) for rates in self._parts), ZERO), ZERO)

    @property
    def taker(self) -> Decimal:
        """As `maker`, for an order that takes."""
        return max(sum((rates.taker + max(rates.buyer, rates.seller) for rates in self._parts), ZERO), ZERO)

    @property
    def _parts(self) -> tuple[_Rates, ...]:
        return self.standard_commission, self.tax_commission, self.special_commission


class _AccountRates(msgspec.Struct, frozen=True, rename="camel"):
    commission_rates: _StandardRates


def exchange_info(body: bytes) -> ExchangeInfo:
    return decode(body, ExchangeInfo)


def commission(body: bytes) -> Commission:
    return decode(body, Commission)


def account_commission(body: bytes) -> Commission:
    """The rates that the account itself shows, for hosts without `account/commission`."""
    return Commission(standard_commission=decode(body, _AccountRates).commission_rates)


_NONE: Final = _Filter()
_KNOWN: Final = frozenset({
    "PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL", "MIN_NOTIONAL", "PERCENT_PRICE", "PERCENT_PRICE_BY_SIDE",
    "TRAILING_DELTA", "MAX_NUM_ALGO_ORDERS", "MAX_NUM_ORDERS", "MAX_NUM_ORDER_LISTS",
})  # fmt: skip


def symbol_rules(info: ExchangeInfo, symbol: str, fees: Commission, *, on_spot: bool = True) -> SymbolRules | None:
    """The rules of `symbol`; None when the exchange does not list it. Other symbols, and filters that are not known,
    may be anything. Raises `msgspec.DecodeError` when what it shows of this one can't be read.

    Not `on_spot` it is open by its status alone: whether it may be traded on margin the lists of pairs there tell, and
    of what is open there Spot's own permission says nothing (rule 6.8).
    """
    found = _symbol(info, symbol)
    if found is None:
        return None
    permitted = found.is_spot_trading_allowed or not on_spot
    filters = _filters(found)
    price = filters.get("PRICE_FILTER", _NONE)
    lot = filters.get("LOT_SIZE", _NONE)
    market_lot = filters.get("MARKET_LOT_SIZE", _NONE)
    notional = filters.get("NOTIONAL", _NONE)
    older_notional = filters.get("MIN_NOTIONAL", _NONE)
    by_side = filters.get("PERCENT_PRICE_BY_SIDE", _NONE)
    both_sides = filters.get("PERCENT_PRICE", _NONE)
    trailing = filters.get("TRAILING_DELTA", _NONE)
    rules = SymbolRules(
        symbol=found.symbol,
        base=found.base_asset,
        quote=found.quote_asset,
        # a step of 0 is a filter that is off: then the asset's own precision is the step
        tick=(price.tick_size or ONE.scaleb(-found.quote_asset_precision)).normalize(),
        step=(lot.step_size or ONE.scaleb(-found.base_asset_precision)).normalize(),
        min_price=price.min_price,
        max_price=price.max_price,
        min_qty=lot.min_qty,
        max_qty=lot.max_qty,
        market_step=market_lot.step_size or ZERO,
        market_min_qty=market_lot.min_qty,
        market_max_qty=market_lot.max_qty,
        min_notional=max(notional.min_notional or ZERO, older_notional.min_notional or ZERO),
        max_notional=notional.max_notional,
        bid_up=by_side.bid_multiplier_up or both_sides.multiplier_up,
        bid_down=by_side.bid_multiplier_down or both_sides.multiplier_down,
        ask_up=by_side.ask_multiplier_up or both_sides.multiplier_up,
        ask_down=by_side.ask_multiplier_down or both_sides.multiplier_down,
        average_mins=by_side.avg_price_mins or both_sides.avg_price_mins,
        trailing_above=(trailing.min_trailing_above_delta, trailing.max_trailing_above_delta),
        trailing_below=(trailing.min_trailing_below_delta, trailing.max_trailing_below_delta),
        order_types=tuple(OrderType(name) for name in found.order_types if name in OrderType.__members__),
        # a status that is not known is one in which not to trade
        tradable=found.status == "TRADING" and permitted,
        strange=found.status not in STATUSES and permitted,
        oco_allowed=found.oco_allowed,
        oto_allowed=found.oto_allowed,
        opo_allowed=found.opo_allowed,
        trailing_allowed=found.allow_trailing_stop,
        cancel_replace_allowed=found.cancel_replace_allowed,
        max_algo_orders=filters.get("MAX_NUM_ALGO_ORDERS", _NONE).max_num_algo_orders,
        max_orders=filters.get("MAX_NUM_ORDERS", _NONE).max_num_orders,
        max_order_lists=filters.get("MAX_NUM_ORDER_LISTS", _NONE).max_num_order_lists,
        maker_fee=fees.maker,
        taker_fee=fees.taker,
        fee_unit=ONE.scaleb(-found.base_commission_precision),
    )
    if fault := rules.contradiction:
        raise msgspec.ValidationError(fault)
    return rules


def _symbol(info: ExchangeInfo, symbol: str) -> _Symbol | None:
    row = next((row for row in info.symbols if _name(row) == symbol), None)
    return decode(row, _Symbol) if row is not None else None


def _name(row: msgspec.Raw) -> str:
    try:
        return decode(row, _Name).symbol
    except msgspec.DecodeError:
        return ""


def _filters(symbol: _Symbol) -> dict[str, _Filter]:
    found: dict[str, _Filter] = {}
    for row in symbol.filters:
        kind = decode(row, _Kind).filter_type
        if kind not in _KNOWN:
            continue
        told = _filter(kind, row)
        if found.setdefault(kind, told) != told:
            raise msgspec.ValidationError(f"{kind} is told twice, and differs")
    for kind in _GRIDS:
        if kind not in found:
            raise msgspec.ValidationError(f"{kind} is missing")
    return found


def _filter(kind: str, row: msgspec.Raw) -> _Filter:
    found = decode(row, _Filter)
    for name in _NEEDED.get(kind, ()):
        if getattr(found, name) is None:
            raise msgspec.ValidationError(f"{name} of {kind} is missing")
    return found
