"""Engine values as Binance's JSON: orders, lists, fills, and the events of the user data stream.

Amounts are printed with eight decimals. Field names and the conditions under which a field appears follow
rest-api.md ("Conditional fields in Order Responses") and user-data-stream.md.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from executor.core.model.values import OrderStatus, OrderType
from executor.paper.engine.margin.model import LevelChange, RiskEvent
from executor.paper.engine.model import (
    AccountPosition,
    Amended,
    Balance,
    BalanceUpdate,
    Cancelled,
    Event,
    ExecutionReport,
    ExecutionType,
    ExpiryReason,
    ExternalLockUpdate,
    Fill,
    ListCancelled,
    ListPlaced,
    ListStatus,
    Order,
    OrderListView,
    Placed,
    PreventedMatch,
    Reject,
)

Json = dict[str, Any]

NO_TRADE_GROUP: Final = -1
"""`tradeGroupId` of an account that belongs to none (faqs/stp_faq.md); no account here does."""

_STOP_TYPES: Final = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)
_FULL_BY_DEFAULT: Final = frozenset({OrderType.LIMIT, OrderType.MARKET})


class ResponseType(StrEnum):
    """How much a placement answers (`newOrderRespType`)."""

    ACK = "ACK"
    RESULT = "RESULT"
    FULL = "FULL"


def default_response(order_type: OrderType) -> ResponseType:
    """FULL for LIMIT and MARKET, ACK for the others (rest-api.md, "New order")."""
    return ResponseType.FULL if order_type in _FULL_BY_DEFAULT else ResponseType.ACK


_NOTHING: Final = "0.00000000"


def amount(value: Decimal) -> str:
    """A price, quantity or balance with Binance's eight decimals."""
    return f"{value:.8f}" if value else _NOTHING  # many are


# answers


def placed(answer: Placed, how: ResponseType) -> Json:
    """An order as its placement answers it; FULL lists what traded, and what self-trade prevention kept from it."""
    order = answer.order
    report: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.order_list_id,
        "clientOrderId": order.client_order_id,
        "transactTime": order.update_time,
    }
    if how is ResponseType.ACK:
        return report
    _quantities(report, order)
    _conditional(report, order)
    report["workingTime"] = order.working_time
    report["selfTradePreventionMode"] = order.stp_mode
    if how is ResponseType.FULL:
        report["fills"] = [_fill(fill) for fill in answer.fills]
        if answer.prevented:
            report.pop("preventedMatchId", None)  # the samples of faqs/stp_faq.md name it in the list alone
            report["preventedMatches"] = [_prevented(match) for match in answer.prevented]
    return report


def queried(order: Order) -> Json:
    """An order as `order`, `openOrders` and `allOrders` show it."""
    report: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.order_list_id,
        "clientOrderId": order.client_order_id,
    }
    _quantities(report, order)
    report["stopPrice"] = amount(order.stop_price)
    report["icebergQty"] = amount(order.iceberg_qty)
    report["time"] = order.time
    report["updateTime"] = order.update_time
    report["isWorking"] = order.is_working
    report["workingTime"] = order.working_time
    report["selfTradePreventionMode"] = order.stp_mode
    _conditional(report, order)
    return report


def cancelled(answer: Cancelled) -> Json:
    """A single cancel; for the leg of a list, the whole list."""
    if answer.order_list is not None:
        return list_cancelled(answer.order_list)
    return cancelled_order(answer.order, answer.cancel_client_order_id)


def cancelled_order(order: Order, cancel_id: str) -> Json:
    """A cancelled order: `clientOrderId` names the cancel, `origClientOrderId` the order."""
    report: Json = {
        "symbol": order.symbol,
        "origClientOrderId": order.client_order_id,
        "orderId": order.order_id,
        "orderListId": order.order_list_id,
        "clientOrderId": cancel_id,
        "transactTime": order.update_time,
    }
    _quantities(report, order)
    _conditional(report, order)
    report["selfTradePreventionMode"] = order.stp_mode
    return report


def any_cancelled(answer: Cancelled | ListCancelled) -> Json:
    return list_cancelled(answer) if isinstance(answer, ListCancelled) else cancelled(answer)


def order_list(view: OrderListView) -> Json:
    return {
        "orderListId": view.order_list_id,
        "contingencyType": view.contingency_type.value,
        "listStatusType": view.list_status_type.value,
        "listOrderStatus": view.list_order_status.value,
        "listClientOrderId": view.list_client_order_id,
        "transactionTime": view.transaction_time,
        "symbol": view.symbol,
        "orders": [
            {"symbol": view.symbol, "orderId": order_id, "clientOrderId": client_id}
            for order_id, client_id in view.orders
        ],
    }


def list_placed(answer: ListPlaced, how: ResponseType) -> Json:
    body = order_list(answer.order_list)
    body["orderReports"] = [placed(each, how) for each in answer.placed]
    return body


def list_cancelled(answer: ListCancelled) -> Json:
    body = order_list(answer.order_list)
    body["orderReports"] = [cancelled_order(order, answer.cancel_client_order_id) for order in answer.orders]
    return body


def amended(answer: Amended) -> Json:
    order = answer.order
    report: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.order_list_id,
        "origClientOrderId": answer.orig_client_order_id,
        "clientOrderId": order.client_order_id,
        "price": amount(order.price),
        "qty": amount(order.orig_qty),
        "executedQty": amount(order.executed_qty),
        "preventedQty": amount(order.prevented_qty),
        "quoteOrderQty": amount(order.orig_quote_order_qty),
        "cumulativeQuoteQty": amount(order.cumulative_quote_qty),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
    }
    _conditional(report, order)
    if order.working_time > 0:
        report["workingTime"] = order.working_time
    report["selfTradePreventionMode"] = order.stp_mode
    body: Json = {
        "transactTime": answer.transaction_time,
        "executionId": answer.execution_id,
        "amendedOrder": report,
    }
    if answer.order_list is not None:
        view = order_list(answer.order_list)
        del view["listStatusType"], view["transactionTime"]
        body["listStatus"] = view
    return body


def own_trade(fill: Fill) -> Json:
    """One row of `myTrades`."""
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": fill.order_list_id,
        "price": amount(fill.price),
        "qty": amount(fill.qty),
        "quoteQty": amount(fill.quote_qty),
        "commission": amount(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time,
        "isBuyer": fill.is_buyer,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def balance(row: Balance) -> Json:
    return {"asset": row.asset, "free": amount(row.free), "locked": amount(row.locked)}


def refusal(reject: Reject) -> Json:
    return {"code": reject.code, "msg": reject.message}


def lost_quantities(match: PreventedMatch) -> Json:
    """What prevention took from either side; a side that lost nothing is not mentioned."""
    lost: Json = {}
    if match.taker_prevented_qty:
        lost["takerPreventedQuantity"] = amount(match.taker_prevented_qty)
    if match.maker_prevented_qty:
        lost["makerPreventedQuantity"] = amount(match.maker_prevented_qty)
    return lost


def _prevented(match: PreventedMatch) -> Json:
    return {
        "preventedMatchId": match.prevented_match_id,
        "makerSymbol": match.symbol,
        "makerOrderId": match.maker_order_id,
        "price": amount(match.price),
        **lost_quantities(match),
    }


def _fill(fill: Fill) -> Json:
    return {
        "price": amount(fill.price),
        "qty": amount(fill.qty),
        "commission": amount(fill.commission),
        "commissionAsset": fill.commission_asset,
        "tradeId": fill.trade_id,
    }


def _quantities(report: Json, order: Order) -> None:
    report["price"] = amount(order.price)
    if order.orig_qty or order.status is not OrderStatus.PENDING_NEW:
        report["origQty"] = amount(order.orig_qty)  # a pending order of an OPO list has no quantity yet
    report["executedQty"] = amount(order.executed_qty)
    report["origQuoteOrderQty"] = amount(order.orig_quote_order_qty)
    report["cummulativeQuoteQty"] = amount(order.cumulative_quote_qty)
    report["status"] = order.status
    report["timeInForce"] = order.time_in_force
    report["type"] = order.type
    report["side"] = order.side


def _conditional(report: Json, order: Order) -> None:
    if order.type in _STOP_TYPES:
        report["stopPrice"] = amount(order.stop_price)
    if order.trailing_delta is not None:
        report["trailingDelta"] = order.trailing_delta
        report["trailingTime"] = order.trailing_time
    if order.iceberg_qty:
        report["icebergQty"] = amount(order.iceberg_qty)
    if order.strategy_id is not None:
        report["strategyId"] = order.strategy_id
    if order.strategy_type is not None:
        report["strategyType"] = order.strategy_type
    if order.prevented_match_id is not None:
        report["preventedMatchId"] = order.prevented_match_id
        report["preventedQuantity"] = amount(order.prevented_qty)
    if order.expiry_reason is not ExpiryReason.NONE:
        report["expiryReason"] = order.expiry_reason.value


# events


def event(happened: Event, now_ms: int) -> Json:
    """An account event in the letters of the user data stream; `now_ms` is when it is sent (`E`)."""
    match happened:
        case ExecutionReport():
            return _execution_report(happened, now_ms)
        case ListStatus():
            return _list_status(happened, now_ms)
        case AccountPosition():
            return {
                "e": "outboundAccountPosition",
                "E": now_ms,
                "u": happened.time,
                "B": [{"a": b.asset, "f": amount(b.free), "l": amount(b.locked)} for b in happened.balances],
            }
        case BalanceUpdate() | ExternalLockUpdate():
            return {
                "e": "balanceUpdate" if isinstance(happened, BalanceUpdate) else "externalLockUpdate",
                "E": now_ms,
                "a": happened.asset,
                "d": amount(happened.delta),
                "T": happened.time,
            }


def risk_event(happened: RiskEvent, now_ms: int) -> Json:
    """An event of the cross margin account's risk stream."""
    if isinstance(happened, LevelChange):
        return {
            "e": "MARGIN_LEVEL_STATUS_CHANGE",
            "E": now_ms,
            "l": amount(happened.level),
            "s": happened.status.value,
        }
    return {
        "e": "USER_LIABILITY_CHANGE",
        "E": now_ms,
        "a": happened.asset,
        "t": happened.type,
        "p": amount(happened.principal),
        "i": amount(happened.interest),
    }


def _execution_report(report: ExecutionReport, now_ms: int) -> Json:
    order = report.order
    traded = report.execution_type is ExecutionType.TRADE
    body: Json = {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": report.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": amount(order.orig_qty),
        "p": amount(order.price),
        "P": amount(order.stop_price),
        "F": amount(order.iceberg_qty),
        "g": order.order_list_id,
        "C": report.orig_client_order_id,
        "x": report.execution_type,
        "X": order.status,
        "r": report.reject_reason,
        "i": order.order_id,
        "l": amount(report.last_qty),
        "z": amount(order.executed_qty),
        "L": amount(report.last_price),
        "n": "0" if report.commission_asset is None else amount(report.commission),
        "N": report.commission_asset,
        "T": report.time,
        "t": report.trade_id,
        "I": report.execution_id,
        "w": order.is_working and not order.status.is_final and not (traded and order.type == "MARKET"),
        "m": report.is_maker,
        "M": False,
        "O": order.time,
        "Z": amount(order.cumulative_quote_qty),
        "Y": amount(report.last_quote_qty),
        "Q": amount(order.orig_quote_order_qty),
    }
    if order.working_time > 0:
        body["W"] = order.working_time
    body["V"] = order.stp_mode
    if order.trailing_delta is not None:
        body["d"] = order.trailing_delta
        body["D"] = order.trailing_time
    if order.strategy_id is not None:
        body["j"] = order.strategy_id
    if order.strategy_type is not None:
        body["J"] = order.strategy_type
    if order.expiry_reason is not ExpiryReason.NONE:
        body["eR"] = order.expiry_reason.value
    if order.prevented_match_id is not None:
        body["v"] = order.prevented_match_id
        body["A"] = amount(order.prevented_qty)
    if report.execution_type is ExecutionType.TRADE_PREVENTION:
        body["B"] = amount(report.last_prevented_qty)
        body["u"] = NO_TRADE_GROUP
        body["U"] = report.counter_order_id
        body["Cs"] = report.counter_symbol
        body["pl"] = amount(report.last_prevented_qty)
        body["pL"] = amount(report.last_prevented_price)
        body["pY"] = amount(report.last_prevented_quote_qty)
    return body


def _list_status(status: ListStatus, now_ms: int) -> Json:
    view = status.order_list
    return {
        "e": "listStatus",
        "E": now_ms,
        "s": view.symbol,
        "g": view.order_list_id,
        "c": view.contingency_type.value,
        "l": view.list_status_type.value,
        "L": view.list_order_status.value,
        "r": "NONE",
        "C": view.list_client_order_id,
        "T": status.time,
        "O": [{"s": view.symbol, "i": order_id, "c": client_id} for order_id, client_id in view.orders],
    }
