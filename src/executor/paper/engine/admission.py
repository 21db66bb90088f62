"""What is checked before an order reaches the matching engine: its parameters, the filters, the counts.

The order of the checks is the exchange's: parameters (-11xx), what the symbol allows (-2010, -1013), values
(-1111, -1013 "Filter failure: ..."). Funds and prices against the market come later, in `matching`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from executor.core.model.values import ZERO, OrderSide, OrderType, TimeInForce, ceil_to, on_grid
from executor.paper.engine.account import Account, LiveOrder
from executor.paper.engine.book import Book, fires_on_fall
from executor.paper.engine.model import Leg, NewOrder, Reject, StpMode
from executor.paper.engine.names import PLAIN, Names
from executor.paper.engine.symbol import ALGO_TYPES, MARKET_TYPES, STOP_LOSS_TYPES, Symbol

CLIENT_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,36}\Z")
_BIPS: Final = 10_000
_LIMIT_TYPES: Final = frozenset(OrderType) - MARKET_TYPES
_TIMED_TYPES: Final = _LIMIT_TYPES - {OrderType.LIMIT_MAKER}

_UNSUPPORTED: Final[Mapping[OrderType, str]] = {
    OrderType.MARKET: "Market orders are not supported for this symbol.",
    OrderType.STOP_LOSS: "Stop loss orders are not supported for this symbol.",
    OrderType.STOP_LOSS_LIMIT: "Stop loss limit orders are not supported for this symbol.",
    OrderType.TAKE_PROFIT: "Take profit orders are not supported for this symbol.",
    OrderType.TAKE_PROFIT_LIMIT: "Take profit limit orders are not supported for this symbol.",
}


def leg_order(symbol: str, side: OrderSide, quantity: Decimal | None, leg: Leg, stp_mode: StpMode | None) -> NewOrder:
    """A leg of an OCO pair as an order of its own."""
    return NewOrder(
        symbol=symbol,
        side=side,
        type=leg.type,
        quantity=quantity,
        price=leg.price,
        stop_price=leg.stop_price,
        trailing_delta=leg.trailing_delta,
        time_in_force=leg.time_in_force,
        iceberg_qty=leg.iceberg_qty,
        client_order_id=leg.client_order_id,
        stp_mode=stp_mode,
        strategy_id=leg.strategy_id,
        strategy_type=leg.strategy_type,
    )


# --- parameters ---------------------------------------------------------------------------------------------


def check_parameters(order: NewOrder, name: Names = PLAIN, *, sized: bool = True, paired: bool = False) -> None:
    """Which fields the type needs and which it must not have (rest-api.md, "New order").

    `sized=False` is an OPO's pending order, without quantity; `paired` a leg of an OCO, live or pending.
    """
    kind = order.type
    _check_size(order, name, sized=sized)
    _exactly_when(order.price, name("price"), wanted=kind in _LIMIT_TYPES)
    _exactly_when(order.time_in_force, name("timeInForce"), wanted=kind in _TIMED_TYPES)
    if kind not in ALGO_TYPES:
        _exactly_when(order.stop_price, name("stopPrice"), wanted=False)
        _exactly_when(order.trailing_delta, name("trailingDelta"), wanted=False)
    elif order.stop_price is None and order.trailing_delta is None:
        raise _one_of(name("stopPrice"), name("trailingDelta"))
    if order.iceberg_qty is not None and kind not in _LIMIT_TYPES:
        raise _not_required(name("icebergQty"))
    _check_signs(order, name, paired=paired)
    check_client_id(order.client_order_id, name("clientOrderId"))
    if order.strategy_type is not None and order.strategy_type < 1_000_000:
        raise Reject(-1134, "strategyType was less than 1000000.")


def _check_size(order: NewOrder, name: Names, *, sized: bool) -> None:
    if not sized:
        if order.quantity is not None:
            raise Reject(-1225, f"Pending orders should not include the '{name('quantity')}' tag.")
        return
    if order.type is not OrderType.MARKET:
        _require(order.quantity, name("quantity"))
        _exactly_when(order.quote_order_qty, name("quoteOrderQty"), wanted=False)
    elif order.quantity is None and order.quote_order_qty is None:
        raise _one_of(name("quantity"), name("quoteOrderQty"))
    elif order.quantity is not None and order.quote_order_qty is not None:
        raise Reject(-1128, "Combination of optional parameters invalid.")


def check_client_id(client_id: str | None, parameter: str) -> None:
    if client_id is not None and not CLIENT_ID.match(client_id):
        raise Reject(
            -1100,
            f"Illegal characters found in parameter '{parameter}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'.",
        )


def _check_signs(order: NewOrder, name: Names, *, paired: bool) -> None:
    for value, message in (
        (order.quantity, "Invalid quantity."),
        (order.quote_order_qty, "Invalid quote order qty."),
        (order.price, "Invalid price."),
        (order.stop_price, "Invalid stopPrice."),
    ):
        if value is not None and value <= 0:
            raise Reject(-1013, message)
    if order.iceberg_qty is not None:
        if order.iceberg_qty < 0:
            raise Reject(-1013, "Invalid icebergQty.")
        if order.iceberg_qty > 0 and order.time_in_force not in {None, TimeInForce.GTC}:
            if not paired:
                raise Reject(-1014, "Unsupported order combination.")
            needed = name("timeInForce")
            raise Reject(-1160, f"Parameter '{name('icebergQty')}' is not supported if '{needed}' is not GTC.")


def _require(value: object, parameter: str) -> None:
    if value is None:
        raise Reject(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def _not_required(parameter: str) -> Reject:
    return Reject(-1106, f"Parameter '{parameter}' sent when not required.")


def _one_of(first: str, second: str) -> Reject:
    return Reject(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def _exactly_when(value: object, parameter: str, *, wanted: bool) -> None:
    if wanted:
        _require(value, parameter)
    elif value is not None:
        raise _not_required(parameter)


def check_pair_types(side: OrderSide, above: Leg, below: Leg) -> None:
    """Which types an OCO pair may have above and below the market (errors.md -1158 to -1199)."""
    allowed = ALGO_TYPES | {OrderType.LIMIT_MAKER}
    if above.type not in allowed or below.type not in allowed:
        raise Reject(-1158, "Order type not supported in OCO.")
    if above.type is OrderType.LIMIT_MAKER and below.type is OrderType.LIMIT_MAKER:
        raise Reject(-1168, "At least one OCO order must be contingent.")
    sells = side is OrderSide.SELL
    target, stop = (above, below) if sells else (below, above)
    if stop.type is OrderType.LIMIT_MAKER:
        if sells:
            raise Reject(-1166, "A limit order in a sell OCO must be above.")
        raise Reject(-1165, "A limit order in a buy OCO must be below.")
    if target.type in STOP_LOSS_TYPES:
        if sells:
            raise Reject(-1197, "A stop loss order in a sell OCO must be below.")
        raise Reject(-1196, "A stop loss order in a buy OCO must be above.")
    if stop.type not in STOP_LOSS_TYPES:
        if sells:
            raise Reject(-1199, "A take profit order in a sell OCO must be above.")
        raise Reject(-1198, "A take profit order in a buy OCO must be below.")


# --- what the symbol allows, and the filters ----------------------------------------------------------------


def check_allowed(order: NewOrder, rules: Symbol) -> None:
    """Types and features that the symbol has switched off."""
    if order.type not in rules.order_types:
        message = _UNSUPPORTED.get(order.type)
        raise Reject(-1116, "Invalid orderType.") if message is None else Reject(-2010, message)
    if order.quote_order_qty is not None and not rules.quote_order_qty_allowed:
        raise Reject(-2010, "Quote order qty market orders are not support for this symbol.")
    if order.iceberg_qty and not rules.iceberg_allowed:
        raise Reject(-2010, "Iceberg orders are not supported for this symbol.")
    if order.trailing_delta is not None and not rules.trailing_allowed:
        raise Reject(-2010, "Trailing stop orders are not supported for this symbol.")
    if order.stp_mode is not None and order.stp_mode not in rules.allowed_stp:
        raise Reject(-1013, "This symbol does not allow the specified self-trade prevention mode.")


def check_filters(order: NewOrder, book: Book, account: Account, now: int, name: Names = PLAIN) -> None:
    """The symbol's filters, for values that are known now (filters.md)."""
    rules = book.rules
    if order.price is not None:
        rules.check_price(order.price, name("price"))
    if order.stop_price is not None:
        rules.check_price(order.stop_price, name("stopPrice"))
    if order.price is not None:
        _check_percent_price(order.side, order.price, book, now)
    if order.quantity is not None:
        rules.check_quantity(order.quantity, name("quantity"), market=order.type is OrderType.MARKET)
    if order.quote_order_qty is not None and order.quote_order_qty % rules.quote_unit:
        raise Reject(-1111, "Parameter 'quoteOrderQty' has too much precision.")
    if order.iceberg_qty:
        check_iceberg(order.iceberg_qty, order.quantity or ZERO, rules, name("icebergQty"))
    if order.trailing_delta is not None:
        rules.check_trailing_delta(order.trailing_delta, above=not fires_on_fall(order.side, order.type))
    _check_notional(order, book, now)
    if order.side is OrderSide.BUY and rules.max_position is not None:
        _check_position(order.quantity or ZERO, rules, account)


def _check_percent_price(side: OrderSide, price: Decimal, book: Book, now: int) -> None:
    for rule in book.rules.percent_prices:
        reference = book.tape.average(now, rule.mins)
        if reference is not None and not (reference * rule.down[side] <= price <= reference * rule.up[side]):
            raise Reject(-1013, f"Filter failure: {rule.filter_type}")


def check_iceberg(visible: Decimal, quantity: Decimal, rules: Symbol, parameter: str) -> None:
    """Filters of a visible quantity."""
    if not on_grid(visible, rules.base_unit):
        raise Reject(-1111, f"Parameter '{parameter}' has too much precision.")
    if not rules.lot.admits(visible):
        raise Reject(-1013, "Filter failure: LOT_SIZE")
    parts = -(quantity // -visible)
    if rules.iceberg_parts is not None and parts > rules.iceberg_parts:
        raise Reject(-1013, "Filter failure: ICEBERG_PARTS")


def _check_notional(order: NewOrder, book: Book, now: int) -> None:
    """Price x quantity; MARKET by the average price, an untriggered market stop by its stop price."""
    rules = book.rules
    if order.price is not None and order.quantity is not None:
        rules.check_notional(order.price * order.quantity)
    elif order.quote_order_qty is not None:
        rules.check_notional(order.quote_order_qty, market=True)
    elif order.stop_price is not None and order.quantity is not None:
        rules.check_notional(order.stop_price * order.quantity, market=True)
    elif order.quantity is not None and rules.notionals:
        price = book.tape.average(now, rules.notionals[0].mins)
        if price is not None:
            rules.check_notional(price * order.quantity, market=True)


def _check_position(quantity: Decimal, rules: Symbol, account: Account) -> None:
    held = account.free.get(rules.base, ZERO) + account.locked.get(rules.base, ZERO)
    buying = sum(
        (each.open_qty for each in account.open.get(rules.name, {}).values() if each.side is OrderSide.BUY),
        ZERO,
    )
    if rules.max_position is not None and held + buying + quantity > rules.max_position:
        raise Reject(-1013, "Filter failure: MAX_POSITION")


# --- counts -------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class ExchangeLimits:
    """Filters over all symbols of an account; None is off."""

    orders: int | None = None
    algo_orders: int | None = None
    iceberg_orders: int | None = None
    order_lists: int | None = None

    @classmethod
    def from_exchange_info(cls, rows: Iterable[Mapping[str, Any]]) -> "ExchangeLimits":
        found = {str(row["filterType"]): row for row in rows}

        def limit(filter_type: str, key: str) -> int | None:
            row = found.get(filter_type)
            return None if row is None else int(row[key])

        return cls(
            orders=limit("EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders"),
            algo_orders=limit("EXCHANGE_MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders"),
            iceberg_orders=limit("EXCHANGE_MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders"),
            order_lists=limit("EXCHANGE_MAX_NUM_ORDER_LISTS", "maxNumOrderLists"),
        )


_NO_LIMITS: Final = ExchangeLimits()


def check_counts(
    orders: Sequence[NewOrder], rules: Symbol, account: Account, limits: ExchangeLimits, *, lists: int = 0
) -> None:
    """Open orders and lists, the new ones included, against the count filters.

    A MARKET order never stays, and counts only in a list, which adds as many orders as it has (rest-api.md).
    """
    added = len(orders) if lists else sum(order.type is not OrderType.MARKET for order in orders)
    here = account.open.get(rules.name, {})
    algos = sum(order.type in ALGO_TYPES for order in orders)
    icebergs = sum(bool(order.iceberg_qty) for order in orders)

    _check_count("MAX_NUM_ORDERS", len(here) + added, rules.max_orders, added)
    if algos and rules.max_algo_orders is not None:
        _check_count("MAX_NUM_ALGO_ORDERS", _algos(here.values()) + algos, rules.max_algo_orders, algos)
    if icebergs and rules.max_iceberg_orders is not None:
        live = _icebergs(here.values())
        _check_count("MAX_NUM_ICEBERG_ORDERS", live + icebergs, rules.max_iceberg_orders, icebergs)
    if lists:
        live = sum(each.symbol == rules.name for each in account.open_lists.values())
        _check_count("MAX_NUM_ORDER_LISTS", live + lists, rules.max_order_lists, lists)

    if limits == _NO_LIMITS:
        return
    everywhere = [order for live_orders in account.open.values() for order in live_orders.values()]
    _check_count("EXCHANGE_MAX_NUM_ORDERS", len(everywhere) + added, limits.orders, added)
    _check_count("EXCHANGE_MAX_NUM_ALGO_ORDERS", _algos(everywhere) + algos, limits.algo_orders, algos)
    _check_count("EXCHANGE_MAX_NUM_ICEBERG_ORDERS", _icebergs(everywhere) + icebergs, limits.iceberg_orders, icebergs)
    _check_count("EXCHANGE_MAX_NUM_ORDER_LISTS", len(account.open_lists) + lists, limits.order_lists, lists)


def _check_count(filter_type: str, count: int, limit: int | None, added: int) -> None:
    if added and limit is not None and count > limit:
        raise Reject(-1013, f"Filter failure: {filter_type}")


def _algos(orders: Iterable[LiveOrder]) -> int:
    return sum(order.type in ALGO_TYPES for order in orders)


def _icebergs(orders: Iterable[LiveOrder]) -> int:
    return sum(order.iceberg_qty > 0 for order in orders)


# --- from request to order ----------------------------------------------------------------------------------


def build_order(
    request: NewOrder, *, order_id: int, client_order_id: str, account: Account, book: Book, now: int
) -> LiveOrder:
    """The live order of a request that passed the checks; nothing knows it yet."""
    return LiveOrder(
        symbol=request.symbol,
        order_id=order_id,
        client_order_id=client_order_id,
        side=request.side,
        type=request.type,
        time_in_force=request.time_in_force or TimeInForce.GTC,
        price=request.price or ZERO,
        orig_qty=request.quantity or ZERO,
        orig_quote_order_qty=request.quote_order_qty or ZERO,
        time=now,
        update_time=now,
        stp_mode=request.stp_mode or book.rules.default_stp,
        stop_price=request.stop_price or ZERO,
        iceberg_qty=request.iceberg_qty or ZERO,
        trailing_delta=request.trailing_delta,
        strategy_id=request.strategy_id,
        strategy_type=request.strategy_type,
        account=account,
        rules=book.rules,
        lock_price=_lock_price(request, book),
        reserves=request.type is not OrderType.MARKET,
    )


def _lock_price(request: NewOrder, book: Book) -> Decimal:
    """A BUY reserves quote at its limit; a market stop at its stop price, or where trailing fires now."""
    if request.price is not None:
        return request.price
    if request.stop_price is not None:
        return request.stop_price
    last = book.tape.last
    if last is None or request.trailing_delta is None:
        return ZERO
    return ceil_to(last * (_BIPS + request.trailing_delta) / _BIPS, book.tape.tick)
