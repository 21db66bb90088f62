"""What the matching engine refuses when an order enters: its price against the market, and funds (-2010)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from executor.core.model.values import ZERO, OrderSide, OrderType, floor_to
from executor.paper.engine.account import LiveOrder, insufficient_balance
from executor.paper.engine.admission import check_iceberg
from executor.paper.engine.book import Book
from executor.paper.engine.liquidity import LiquidityModel, plan_taker
from executor.paper.engine.model import Reject
from executor.paper.engine.symbol import MARKET_TYPES, STOP_LOSS_TYPES, Range, Symbol

_MARKED_BY_PRICE: Final = frozenset({OrderType.LIMIT_MAKER, OrderType.TAKE_PROFIT_LIMIT})


def check_entry(book: Book, order: LiveOrder, liquidity: LiquidityModel, quote_budget: Decimal | None = None) -> None:
    """A single order; `quote_budget` is the `quoteOrderQty` of a MARKET order."""
    check_visible(order)
    if book.would_trigger(order):
        raise Reject(-2010, "Order would trigger immediately.")
    _check_maker(book, order)
    is_market = order.type is OrderType.MARKET
    cost = _market_cost(book, order, liquidity, quote_budget) if is_market else order.need()
    if cost > order.account.free.get(order.reserve_asset, ZERO):
        raise insufficient_balance()


def check_pair(book: Book, legs: tuple[LiveOrder, LiveOrder]) -> None:
    """An OCO pair: the relation of its prices, and funds for the larger leg."""
    for leg in legs:
        check_visible(leg)
    if any(book.would_trigger(leg) for leg in legs) or not _prices_in_order(book, legs):
        raise Reject(-2010, "The relationship of the prices for the orders is not correct.")
    for leg in legs:
        _check_maker(book, leg)
    if max(leg.need() for leg in legs) > legs[0].account.free.get(legs[0].reserve_asset, ZERO):
        raise insufficient_balance()


def check_visible(order: LiveOrder) -> None:
    """An iceberg shows no more than there is; the quantity of an OPO's pending order is not known before."""
    if order.orig_qty and order.iceberg_qty > order.orig_qty:
        raise Reject(-2010, "IcebergQty exceeds QTY.")


def size_by_proceeds(orders: Sequence[LiveOrder], proceeds: Decimal) -> None:
    """Give an OPO's pending orders what the working order bought, cut to the lot filters (faqs/opo.md)."""
    for order in orders:
        order.orig_qty = _cut(proceeds, order.rules.lot)
        if order.type is OrderType.MARKET:
            order.orig_qty = _cut(order.orig_qty, order.rules.market_lot)


def _cut(quantity: Decimal, lot: Range) -> Decimal:
    return floor_to(quantity if lot.high == 0 else min(quantity, lot.high), lot.grid)


def check_proceeds(orders: Sequence[LiveOrder]) -> None:
    """Filters of an OPO's pending orders, whose quantity is known only when the working order has filled."""
    for order in orders:
        order.rules.check_quantity(order.orig_qty, "quantity", market=order.type is OrderType.MARKET)
        if order.iceberg_qty:
            check_iceberg(order.iceberg_qty, order.orig_qty, order.rules, "icebergQty")
        if order.price:
            order.rules.check_notional(order.price * order.orig_qty)
        elif order.type in MARKET_TYPES and order.stop_price:
            order.rules.check_notional(order.stop_price * order.orig_qty, market=True)


def _check_maker(book: Book, order: LiveOrder) -> None:
    if order.type is OrderType.LIMIT_MAKER and book.would_take(order.side, order.price):
        raise Reject(-2010, "Order would immediately match and take.")


def _market_cost(book: Book, order: LiveOrder, liquidity: LiquidityModel, quote_budget: Decimal | None) -> Decimal:
    """What a MARKET order would spend now, filled completely: quote of a BUY, base of a SELL.

    What the book cannot carry counts too: who lacks the balance for the whole order is refused
    (faqs/market_orders_faq.md).
    """
    plan = plan_taker(liquidity, book, order, limit=None, quote_budget=quote_budget)
    if quote_budget is not None:
        _check_quote_order(order.rules, plan.wanted if plan.steps else ZERO)
    if order.side is OrderSide.SELL:
        return max(plan.qty, order.orig_qty if quote_budget is None else plan.wanted)
    return max(plan.quote, quote_budget or ZERO)


def _check_quote_order(rules: Symbol, qty: Decimal) -> None:
    if qty <= 0:
        raise Reject(-2010, "Order book liquidity is less than symbol minimum quantity.")
    if qty < rules.lot.low:
        raise Reject(-2010, "Order book liquidity is less than LOT_SIZE filter minimum quantity.")
    if qty < rules.market_lot.low:
        raise Reject(-2010, "Order book liquidity is less than MARKET_LOT_SIZE filter minimum quantity.")


def _prices_in_order(book: Book, legs: tuple[LiveOrder, LiveOrder]) -> bool:
    """SELL: limit price (of a TAKE_PROFIT: its stop) > last > stop's stop price; BUY: the reverse.

    A trailing leg without a price of that kind has no place in the relation.
    """
    last = book.tape.last
    sells = legs[0].side is OrderSide.SELL
    marks: dict[bool, Decimal] = {}
    for leg in legs:
        mark = leg.price if leg.type in _MARKED_BY_PRICE else leg.stop_price
        if mark == 0:
            continue
        is_stop = leg.type in STOP_LOSS_TYPES
        marks[is_stop] = mark
        below = is_stop == sells
        if last is not None and (mark >= last if below else mark <= last):
            return False
    if len(marks) < len(legs):
        return True
    return marks[True] < marks[False] if sells else marks[True] > marks[False]
