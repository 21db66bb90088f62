"""A live order gets a smaller quantity and keeps its place (faqs/order_amend_keep_priority.md)."""

from decimal import Decimal

from executor.core.model.values import OrderStatus
from executor.paper.engine.account import LiveOrder
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import Amended, Amendment, ExecutionType, ExpiryReason, ListStatusType, Reject
from executor.paper.engine.symbol import MARKET_TYPES


def amend(matcher: Matcher, order: LiveOrder, *, new_qty: Decimal, new_client_id: str, now: int) -> Amended:
    """Reduce `order` to a total of `new_qty`; both legs of an OCO pair shrink, since only one can execute.

    Raises:
        Reject: -1013, -1111, -2038; the order is then unchanged.
    """
    legs = _legs(order)
    _check(order, legs, new_qty)
    old_id = order.client_order_id
    renamed = new_client_id != old_id
    if renamed:
        order.account.rename_order(order, new_client_id)
    order_list = order.order_list
    execution_id = 0
    for leg in legs:
        old_qty = leg.orig_qty
        leg.orig_qty = max(new_qty, leg.executed_qty + leg.prevented_qty)
        if leg.iceberg_qty is not None:
            leg.iceberg_qty = min(leg.iceberg_qty, leg.orig_qty)
        leg.update_time = now
        reported = matcher.report(
            leg, ExecutionType.REPLACED, now, replaced_id=old_id if leg is order else leg.client_order_id
        )
        if leg is order:
            execution_id = reported
        leg.amendments.append(
            Amendment(
                symbol=leg.symbol,
                order_id=leg.order_id,
                execution_id=reported,
                orig_client_order_id=old_id if leg is order else leg.client_order_id,
                new_client_order_id=leg.client_order_id,
                orig_qty=old_qty,
                new_qty=leg.orig_qty,
                time=now,
            )
        )
    if order.sibling is not None and order_list is not None:
        order.account.reserve_pair(order_list, legs)
    else:
        order.account.reserve(order)
    if order_list is not None and renamed:
        order_list.status_type = ListStatusType.UPDATED
        matcher.report_list(order_list, now)
    if order.open_qty == 0:
        matcher.expire(order, ExpiryReason.NONE, now)
    return Amended(
        transaction_time=now,
        execution_id=execution_id,
        orig_client_order_id=old_id,
        order=order.snapshot(),
        order_list=None if order_list is None else order_list.view(),
    )


def _legs(order: LiveOrder) -> tuple[LiveOrder, ...]:
    """The order and the one that must keep the same quantity: its OCO sibling, pending or live."""
    if order.sibling is not None:
        return (order, order.sibling)
    order_list = order.order_list
    if order_list is None or order.status is not OrderStatus.PENDING_NEW:
        return (order,)
    return (order, *(each for each in order_list.pending if each is not order))


def _check(order: LiveOrder, legs: tuple[LiveOrder, ...], new_qty: Decimal) -> None:
    rules = order.rules
    if not rules.amend_allowed:
        raise Reject(-2038, "Order amend is not supported for this symbol.")
    if new_qty <= 0:
        raise Reject(-1013, "Invalid quantity.")
    order_list = order.order_list
    if order.status is OrderStatus.PENDING_NEW and order_list is not None and order_list.pays_out:
        raise Reject(-2038, "Order amend (pending OPO order) is not supported.")
    if new_qty == order.orig_qty:
        raise Reject(-2038, "The requested action would change no state; rejecting")
    if new_qty > order.orig_qty:
        raise Reject(-2038, "Order amend (quantity increase) is not supported.")
    if rules.max_amends is not None and len(order.amendments) >= rules.max_amends:
        raise Reject(-2038, "Filter failure: MAX_NUM_ORDER_AMENDS")
    rules.check_quantity(new_qty, "newQty")
    for leg in legs:
        market = leg.type in MARKET_TYPES
        price = leg.stop_price if market else leg.price
        if price:
            rules.check_notional(price * new_qty, market=market)
