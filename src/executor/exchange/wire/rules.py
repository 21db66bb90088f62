"""`exchangeInfo` and commission rates in, `SymbolRules` out (filters.md, faqs/commission_faq.md). Pure."""

from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.rules import SymbolRules
from executor.core.model.values import ONE, ZERO, OrderType


class _Filter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Any filter; each has its own few of these."""

    filter_type: str
    tick_size: Decimal = ZERO
    step_size: Decimal = ZERO
    min_price: Decimal = ZERO
    max_price: Decimal = ZERO
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
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


class _Symbol(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    order_types: tuple[str, ...]
    filters: tuple[_Filter, ...]
    base_commission_precision: int = 8
    is_spot_trading_allowed: bool = True
    oco_allowed: bool = False
    allow_trailing_stop: bool = False
    cancel_replace_allowed: bool = False


class _RateLimit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class ExchangeInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is read of `GET /api/v3/exchangeInfo`."""

    rate_limits: tuple[_RateLimit, ...] = ()
    symbols: tuple[_Symbol, ...] = ()

    @property
    def weight_per_minute(self) -> int | None:
        """The REQUEST_WEIGHT limit; None when the exchange names none."""
        return next(
            (
                row.limit
                for row in self.rate_limits
                if (row.rate_limit_type, row.interval, row.interval_num) == ("REQUEST_WEIGHT", "MINUTE", 1)
            ),
            None,
        )


class _Rates(msgspec.Struct, frozen=True):
    maker: Decimal = ZERO
    taker: Decimal = ZERO
    buyer: Decimal = ZERO
    seller: Decimal = ZERO


class Commission(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`GET /api/v3/account/commission`; or an account's `commissionRates` as the standard part."""

    standard_commission: _Rates
    tax_commission: _Rates = _Rates()
    special_commission: _Rates = _Rates()

    @property
    def maker(self) -> Decimal:
        """The most that is taken of what a resting order receives, as a fraction, BNB discount aside."""
        return sum((rates.maker + max(rates.buyer, rates.seller) for rates in self._parts), ZERO)

    @property
    def taker(self) -> Decimal:
        """As `maker`, for an order that takes."""
        return sum((rates.taker + max(rates.buyer, rates.seller) for rates in self._parts), ZERO)

    @property
    def _parts(self) -> tuple[_Rates, ...]:
        return self.standard_commission, self.tax_commission, self.special_commission


class _AccountRates(msgspec.Struct, frozen=True, rename="camel"):
    commission_rates: _Rates


def exchange_info(body: bytes) -> ExchangeInfo:
    return msgspec.json.decode(body, type=ExchangeInfo)


def commission(body: bytes) -> Commission:
    return msgspec.json.decode(body, type=Commission)


def account_commission(body: bytes) -> Commission:
    """The rates that the account itself shows, for hosts without `account/commission`."""
    return Commission(standard_commission=msgspec.json.decode(body, type=_AccountRates).commission_rates)


_NONE: Final = _Filter(filter_type="")


def symbol_rules(info: ExchangeInfo, symbol: str, fees: Commission) -> SymbolRules | None:
    """The rules of `symbol`; None when the exchange does not list it."""
    found = next((row for row in info.symbols if row.symbol == symbol), None)
    if found is None:
        return None
    filters = {row.filter_type: row for row in found.filters}
    price = filters.get("PRICE_FILTER", _NONE)
    lot = filters.get("LOT_SIZE", _NONE)
    market_lot = filters.get("MARKET_LOT_SIZE", _NONE)
    notional = filters.get("NOTIONAL", _NONE)
    older_notional = filters.get("MIN_NOTIONAL", _NONE)
    by_side = filters.get("PERCENT_PRICE_BY_SIDE", _NONE)
    both_sides = filters.get("PERCENT_PRICE", _NONE)
    trailing = filters.get("TRAILING_DELTA", _NONE)
    return SymbolRules(
        symbol=found.symbol,
        base=found.base_asset,
        quote=found.quote_asset,
        tick=price.tick_size.normalize(),
        step=lot.step_size.normalize(),
        min_price=price.min_price,
        max_price=price.max_price,
        min_qty=lot.min_qty,
        max_qty=lot.max_qty,
        market_step=market_lot.step_size,
        market_min_qty=market_lot.min_qty,
        market_max_qty=market_lot.max_qty,
        min_notional=max(notional.min_notional, older_notional.min_notional),
        max_notional=notional.max_notional,
        bid_up=by_side.bid_multiplier_up or both_sides.multiplier_up,
        bid_down=by_side.bid_multiplier_down or both_sides.multiplier_down,
        ask_up=by_side.ask_multiplier_up or both_sides.multiplier_up,
        ask_down=by_side.ask_multiplier_down or both_sides.multiplier_down,
        trailing_above=(trailing.min_trailing_above_delta, trailing.max_trailing_above_delta),
        trailing_below=(trailing.min_trailing_below_delta, trailing.max_trailing_below_delta),
        order_types=tuple(OrderType(name) for name in found.order_types if name in OrderType.__members__),
        # a status that is not known is one in which not to trade
        tradable=found.status == "TRADING" and found.is_spot_trading_allowed,
        oco_allowed=found.oco_allowed,
        trailing_allowed=found.allow_trailing_stop,
        cancel_replace_allowed=found.cancel_replace_allowed,
        max_algo_orders=filters.get("MAX_NUM_ALGO_ORDERS", _NONE).max_num_algo_orders,
        maker_fee=fees.maker,
        taker_fee=fees.taker,
        fee_unit=ONE.scaleb(-found.base_commission_precision),
    )
