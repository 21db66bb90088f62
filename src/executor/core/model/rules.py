"""What one symbol's filters allow (Binance filters.md), and the arithmetic of staying inside them."""

from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from executor.core.model.loans import MarginTerms
from executor.core.model.values import (
    ONE,
    ZERO,
    Direction,
    OrderSide,
    OrderType,
    ceil_to,
    floor_to,
    on_grid,
    plain,
    short,
    units,
)

_FILLS: Final = 1_000  # more than one order is filled in


class OwnFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wants plans to keep to beyond the exchange's filters (rule 2.3b); 0 where nothing is wanted."""

    step: Decimal = ZERO
    tick: Decimal = ZERO
    min_qty: Decimal = ZERO
    min_notional: Decimal = ZERO


class SymbolRules(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol's trading rules. A bound of 0 is a rule that is off, as on the exchange.

    Prices are quote per base, quantities base, notionals quote, trailing deltas basis points, fees fractions;
    `average_mins`: over how long the price is averaged that PERCENT_PRICE is reckoned from, 0 the last one;
    `fee_unit`: the smallest amount of base that commission is charged in; `margin`: the account's own terms, where the
    symbol is traded on margin. `barred`: why no entry is made by these rules, which may not be the exchange's own any
    more; empty where one may. `strange`: the symbol is in a status that nobody knows, so that it may take orders though
    it is not `tradable`. `own`: for plans alone; what is held is judged by the exchange's filters (rule 2.3b).
    """

    symbol: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_price: Decimal = ZERO
    max_price: Decimal = ZERO
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    market_step: Decimal = ZERO
    market_min_qty: Decimal = ZERO
    market_max_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
    max_notional: Decimal = ZERO
    bid_up: Decimal = ZERO
    bid_down: Decimal = ZERO
    ask_up: Decimal = ZERO
    ask_down: Decimal = ZERO
    average_mins: int = 0
    trailing_above: tuple[int, int] = (0, 0)
    trailing_below: tuple[int, int] = (0, 0)
    order_types: tuple[OrderType, ...] = tuple(OrderType)
    tradable: bool = True
    strange: bool = False
    barred: str = ""
    oco_allowed: bool = True
    oto_allowed: bool = True
    opo_allowed: bool = True
    trailing_allowed: bool = True
    cancel_replace_allowed: bool = True
    max_algo_orders: int = 0
    max_orders: int = 0
    max_order_lists: int = 0
    maker_fee: Decimal = ZERO
    taker_fee: Decimal = ZERO
    fee_unit: Decimal = ZERO
    margin: MarginTerms | None = None
    own: OwnFilters | None = None

    @property
    def for_plans(self) -> "SymbolRules":
        """These rules as plans keep to them: entries, sizes, splits (rule 2.3b)."""
        own = self.own
        if own is None:
            return self
        return replace(
            self,
            own=None,
            step=own.step or self.step,
            tick=own.tick or self.tick,
            min_qty=own.min_qty or self.min_qty,
            min_notional=own.min_notional or self.min_notional,
        )

    @property
    def contradiction(self) -> str:
        """Which filter takes no price, quantity or notional at all; empty where each takes some. Believed, it would
        make dust of whatever is held.
        """
        least = max(self.min_qty, self.step)
        ranges = (
            ("PRICE_FILTER", max(self.min_price, self.tick), self.max_price),
            ("LOT_SIZE", least, self.max_qty),
            ("MARKET_LOT_SIZE", max(least, self.market_min_qty, self.market_step), self.market_max_qty),
            ("MARKET_LOT_SIZE", max(self.market_min_qty, self.market_step), self.max_qty),
            ("NOTIONAL", self.min_notional, self.max_notional),
            ("PERCENT_PRICE, bid", self.bid_down, self.bid_up),
            ("PERCENT_PRICE, ask", self.ask_down, self.ask_up),
        )
        found = (f"{name}: from {plain(low)} to {plain(high)}" for name, low, high in ranges if high and low > high)
        return next(found, "")

    def takes_brackets(self, direction: Direction) -> bool:
        """Whether an entry may bring its exits with it here (faqs/opo.md; rule 13.1). On margin there is no OPO, and
        the entry waits for its loan.
        """
        allowed = self.oto_allowed and self.oco_allowed and self.margin is None
        return allowed and (self.opo_allowed or direction is Direction.SHORT)

    def carries(self, qty: Decimal, price: Decimal) -> bool:
        """Whether an order of `qty` at `price` passes LOT_SIZE and NOTIONAL (rule 2.4)."""
        return (
            qty > 0
            and qty >= self.min_qty
            and (self.max_qty == 0 or qty <= self.max_qty)
            and on_grid(qty, self.step)
            and qty * price >= self.min_notional
            and (self.max_notional == 0 or qty * price <= self.max_notional)
        )

    def carries_market(self, qty: Decimal, price: Decimal) -> bool:
        """Whether a market order of `qty` near `price` passes LOT_SIZE, MARKET_LOT_SIZE and NOTIONAL."""
        return (
            self.carries(qty, price)
            and qty >= self.market_min_qty
            and (self.market_max_qty == 0 or qty <= self.market_max_qty)
            and on_grid(qty, self.market_step)
        )

    def size_fault(self, qty: Decimal, price: Decimal) -> str | None:
        """Which filter keeps `carries` from being true, and why; None where none does."""
        if (fault := _lot_fault("LOT_SIZE", qty, self.min_qty, self.max_qty, self.step)) is not None:
            return fault
        worth = qty * price
        if worth < self.min_notional:
            return f"NOTIONAL: {short(worth)} {self.quote} is below the minimum {plain(self.min_notional)}"
        if self.max_notional and worth > self.max_notional:
            return f"NOTIONAL: {short(worth)} {self.quote} is above the maximum {plain(self.max_notional)}"
        return None

    def market_fault(self, qty: Decimal, price: Decimal) -> str | None:
        """The same for `carries_market`."""
        return self.size_fault(qty, price) or _lot_fault(
            "MARKET_LOT_SIZE", qty, self.market_min_qty, self.market_max_qty, self.market_step
        )

    def market_piece(self, qty: Decimal, price: Decimal) -> Decimal:
        """The most of `qty` that one market order near `price` may trade; 0 for dust (rule 3.6) and without a price."""
        if qty <= 0 or price <= 0:
            return ZERO
        most = [m for m in (self.max_qty, self.market_max_qty, self.max_notional / price) if m]
        piece = floor_to(self.whole(min([qty, *most])), self.market_step)
        return piece if self.carries_market(piece, price) else ZERO

    def whole(self, qty: Decimal) -> Decimal:
        """`qty` cut down to whole steps; never negative."""
        return floor_to(qty, self.step) if qty > 0 else ZERO

    def bounds(self, side: OrderSide) -> tuple[Decimal, Decimal]:
        """What PERCENT_PRICE multiplies the price by for the highest and the lowest limit that is taken on `side`; 0:
        off.
        """
        return (self.bid_up, self.bid_down) if side is OrderSide.BUY else (self.ask_up, self.ask_down)

    def clamp_limit(self, price: Decimal, side: OrderSide, reference: Decimal) -> Decimal:
        """`price` moved as little as needed into PRICE_FILTER and PERCENT_PRICE_BY_SIDE around `reference` (rule
        4.4).
        """
        up, down = self.bounds(side)
        low = max(self.min_price, ceil_to(reference * down, self.tick), self.tick)
        high = floor_to(reference * up, self.tick) if up else self.max_price
        if self.max_price:
            high = min(high, self.max_price)
        return max(low, min(price, high) if high > 0 else price)

    def percent_fault(self, price: Decimal, side: OrderSide, reference: Decimal) -> str | None:
        """Why PERCENT_PRICE or PERCENT_PRICE_BY_SIDE would refuse `price` around `reference`; None when not."""
        up, down = self.bounds(side)
        low, high = reference * down, reference * up
        if price < low or (up and price > high):
            return (
                f"PERCENT_PRICE_BY_SIDE: {plain(price)} is outside of {plain(low)} to {plain(high)}, "
                f"{plain(down)} to {plain(up)} times the price {plain(reference)}"
            )
        return None

    def may_have_traded(self, price: Decimal) -> bool:
        """Whether anything can have traded at `price`: no order has one that PRICE_FILTER does not take."""
        return price > 0 and (self.max_price == 0 or price <= self.max_price)

    def price_fault(self, price: Decimal) -> str | None:
        """Why PRICE_FILTER would refuse `price`; None when it would not."""
        if price <= 0 or price < self.min_price:
            return f"price {plain(price)} is below the minimum {plain(max(self.min_price, self.tick))}"
        if self.max_price and price > self.max_price:
            return f"price {plain(price)} is above the maximum {plain(self.max_price)}"
        if not on_grid(price, self.tick):
            return f"price {plain(price)} is not a multiple of the tick {plain(self.tick)}"
        return None

    def most_commission(self, qty: Decimal) -> Decimal:
        """The most that an order's fills of `qty` in all can have paid in base: the taker fee, and each fill's own
        share rounded up.
        """
        paid = qty * (ONE - self.worst_keep())
        return paid + min(units(qty, self.step), _FILLS) * self.fee_unit if paid else ZERO

    def worst_keep(self) -> Decimal:
        """The fraction of a received quantity that is left when the taker fee is taken from it."""
        return ONE - max(self.taker_fee, self.maker_fee)


def _lot_fault(name: str, qty: Decimal, least: Decimal, most: Decimal, step: Decimal) -> str | None:
    if qty <= 0 or qty < least:
        return f"{name}: quantity {plain(qty)} is below the minimum {plain(max(least, step))}"
    if most and qty > most:
        return f"{name}: quantity {plain(qty)} is above the maximum {plain(most)}"
    if not on_grid(qty, step):
        return f"{name}: quantity {plain(qty)} is not a multiple of the step {plain(step)}"
    return None
