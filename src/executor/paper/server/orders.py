"""Handlers of single orders: place, test, cancel, replace, amend, query."""

from functools import cache
from typing import Any, Final

from executor.core.model.values import OrderSide, OrderType, TimeInForce
from executor.paper.engine.model import (
    CancelReplace,
    CancelReplaced,
    CancelReplaceMode,
    CancelRestriction,
    CommissionRates,
    NewOrder,
    RateLimitExceededMode,
    StpMode,
)
from executor.paper.server import errors, open_choices, render
from executor.paper.server.call import Call
from executor.paper.server.limits import DAY_MS
from executor.paper.server.params import Params
from executor.paper.server.render import Json, ResponseType, amount

SIDES: Final = {s.value: s for s in OrderSide}
TYPES: Final = {t.value: t for t in OrderType}
TIMES_IN_FORCE: Final = {t.value: t for t in TimeInForce}
STP_MODES: Final = {m.value: m for m in StpMode}
RESPONSE_TYPES: Final = {r.value: r for r in ResponseType}
_RESTRICTIONS: Final = {r.value: r for r in CancelRestriction}
_REPLACE_MODES: Final = {m.value: m for m in CancelReplaceMode}
_RATE_MODES: Final = {m.value: m for m in RateLimitExceededMode}

PEG_FIELDS: Final = ("PriceType", "OffsetType", "OffsetValue")
STRATEGY_TYPE_MIN: Final = 1_000_000


def place(call: Call, params: Params) -> Json:
    order, how = read_order(params), read_response_type(params)
    params.finish()
    answer = call.engine.place_order(call.account, order, call.now_ms)
    return render.placed(answer, how or render.default_response(order.type))


def test(call: Call, params: Params) -> Json:
    order = read_order(params)
    read_response_type(params)
    with_rates = params.flag("computeCommissionRates")
    params.finish()
    call.engine.test_order(call.account, order, call.now_ms)
    if not with_rates:
        return {}
    rates = call.engine.commission(call.account, order.symbol)
    none = {"maker": amount(rates.maker * 0), "taker": amount(rates.taker * 0)}
    return {
        "standardCommissionForOrder": _rates_for(rates, order.side),
        "specialCommissionForOrder": none,
        "taxCommissionForOrder": none,
        "discount": discount(call, rates),
    }


def place_by_sor(call: Call, params: Params) -> Json:
    """No symbol here is traded by smart order routing (faqs/sor_faq.md)."""
    call.engine.symbol(params.symbol())
    raise errors.unsupported()


def test_weight(params: Params) -> int:
    return 20 if (params.peek("computeCommissionRates") or "").lower() == "true" else 1


def cancel(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    order_id, client_id = params.optional_integer("orderId"), params.optional_text("origClientOrderId")
    new_id = params.optional_client_id("newClientOrderId")
    restrictions = _read_restrictions(params)
    params.finish()
    if order_id is None and client_id is None:
        raise errors.missing_both("origClientOrderId", "orderId")
    answer = call.engine.cancel_order(
        call.account,
        symbol,
        call.now_ms,
        order_id=order_id,
        orig_client_order_id=client_id,
        new_client_order_id=new_id,
        restrictions=restrictions,
    )
    return render.cancelled(answer)


def cancel_all(call: Call, params: Params) -> list[Json]:
    symbol = params.symbol()
    params.finish()
    answers = call.engine.cancel_open_orders(call.account, symbol, call.now_ms)
    return [render.any_cancelled(answer) for answer in answers]


def cancel_replace(call: Call, params: Params) -> Json:
    mode = params.choice("cancelReplaceMode", _REPLACE_MODES)
    order_id = params.optional_integer("cancelOrderId")
    client_id = params.optional_text("cancelOrigClientOrderId")
    cancel_id = params.optional_client_id("cancelNewClientOrderId")
    restrictions = _read_restrictions(params)
    rate_mode = params.optional_choice("orderRateLimitExceededMode", _RATE_MODES)
    order, how = read_order(params), read_response_type(params)
    params.finish()
    if order_id is None and client_id is None:
        raise errors.missing_both("cancelOrigClientOrderId", "cancelOrderId")
    request = CancelReplace(
        mode=mode,
        new_order=order,
        cancel_order_id=order_id,
        cancel_orig_client_order_id=client_id,
        cancel_new_client_order_id=cancel_id,
        cancel_restrictions=restrictions,
        rate_limit_exceeded_mode=rate_mode or RateLimitExceededMode.DO_NOTHING,
    )
    answer = call.engine.cancel_replace(call.account, request, call.now_ms)
    body = _replaced(answer, how or render.default_response(order.type))
    if answer.code is not None:
        raise errors.ApiError(answer.code, answer.message, status=answer.http_status, data=body)
    return body


def amend(call: Call, params: Params) -> Json:
    symbol, new_qty = params.symbol(), params.decimal("newQty")
    order_id, client_id = params.optional_integer("orderId"), params.optional_text("origClientOrderId")
    new_id = params.optional_client_id("newClientOrderId")
    params.finish()
    if order_id is None and client_id is None:
        raise errors.missing_both("origClientOrderId", "orderId")
    answer = call.engine.amend_order(
        call.account,
        symbol,
        new_qty,
        call.now_ms,
        order_id=order_id,
        orig_client_order_id=client_id,
        new_client_order_id=new_id,
    )
    return render.amended(answer)


def amend_ended(answer: Json) -> bool:
    """Whether an amendment has ended its order, which costs no weight (CHANGELOG.md of the documents, 2026-04-02)."""
    return bool(answer["amendedOrder"]["status"] == "EXPIRED")


def amendments(call: Call, params: Params) -> list[Json]:
    symbol, order_id, limit = params.symbol(), params.integer("orderId"), params.limit(500, 1000)
    from_id = params.optional_integer("fromExecutionId")
    params.finish()
    rows = call.engine.amendments(call.account, symbol, order_id, from_execution_id=from_id, limit=limit)
    return [
        {
            "symbol": row.symbol,
            "orderId": row.order_id,
            "executionId": row.execution_id,
            "origClientOrderId": row.orig_client_order_id,
            "newClientOrderId": row.new_client_order_id,
            "origQty": amount(row.orig_qty),
            "newQty": amount(row.new_qty),
            "time": row.time,
        }
        for row in rows
    ]


def query(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    order_id, client_id = params.optional_integer("orderId"), params.optional_text("origClientOrderId")
    params.finish()
    if order_id is None and client_id is None:
        raise errors.missing_both("origClientOrderId", "orderId")
    order = call.engine.order(call.account, symbol, order_id=order_id, orig_client_order_id=client_id)
    return render.queried(open_choices.found(call.engine.choices, order, client_id, call.now_ms))


def open_orders(call: Call, params: Params) -> list[Json]:
    symbol = params.optional_symbol()
    params.finish()
    orders = call.engine.open_orders(call.account, symbol)
    return [render.queried(order) for order in open_choices.shown_open(call.engine.choices, orders, call.now_ms)]


def all_orders(call: Call, params: Params) -> list[Json]:
    symbol, limit = params.symbol(), params.limit(500, 1000)
    order_id = params.optional_integer("orderId")
    start, end = read_period(params)
    params.finish()
    orders = call.engine.all_orders(
        call.account, symbol, order_id=order_id, start_time=start, end_time=end, limit=limit
    )
    return [render.queried(order) for order in orders]


# reading


def read_order(params: Params) -> NewOrder:
    """The order of `order`, `order/test` and `order/cancelReplace`."""
    refuse_pegs(params, "peg")
    return NewOrder(
        symbol=params.symbol(),
        side=read_side(params, "side"),
        type=read_type(params, "type"),
        time_in_force=read_time_in_force(params, "timeInForce"),
        quantity=params.optional_decimal("quantity"),
        quote_order_qty=params.optional_decimal("quoteOrderQty"),
        price=params.optional_decimal("price"),
        stop_price=params.optional_decimal("stopPrice"),
        trailing_delta=params.optional_integer("trailingDelta"),
        iceberg_qty=params.optional_decimal("icebergQty"),
        client_order_id=params.optional_client_id("newClientOrderId"),
        stp_mode=read_stp_mode(params),
        strategy_id=params.optional_integer("strategyId"),
        strategy_type=read_strategy_type(params, "strategyType"),
    )


def read_side(params: Params, name: str) -> OrderSide:
    return params.choice(name, SIDES, errors.invalid_side)


def read_type(params: Params, name: str) -> OrderType:
    return params.choice(name, TYPES, errors.invalid_order_type)


def read_time_in_force(params: Params, name: str) -> TimeInForce | None:
    return params.optional_choice(name, TIMES_IN_FORCE, errors.invalid_time_in_force)


def read_stp_mode(params: Params) -> StpMode | None:
    name = "selfTradePreventionMode"
    return params.optional_choice(name, STP_MODES)


def read_response_type(params: Params) -> ResponseType | None:
    return params.optional_choice("newOrderRespType", RESPONSE_TYPES)


def read_strategy_type(params: Params, name: str) -> int | None:
    value = params.optional_integer(name)
    if value is not None and value < STRATEGY_TYPE_MIN:
        raise errors.low_strategy_type(name)
    return value


def refuse_pegs(params: Params, prefix: str) -> None:
    """No symbol here allows pegged orders (`pegInstructionsAllowed` is false)."""
    if params.any_named(_peg_names(prefix)):
        raise errors.ApiError(-2010, "Pegged orders are not supported for this symbol.")


@cache
def _peg_names(prefix: str) -> frozenset[str]:
    return frozenset(prefix + field for field in PEG_FIELDS)


def read_period(params: Params) -> tuple[int | None, int | None]:
    """`startTime` and `endTime`, at most 24 hours apart (-1127)."""
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    if start is not None and end is not None and end - start > DAY_MS:
        raise errors.lookup_too_wide(24)
    return start, end


def _read_restrictions(params: Params) -> CancelRestriction | None:
    return params.optional_choice("cancelRestrictions", _RESTRICTIONS, errors.invalid_cancel_restrictions)


# writing


def discount(call: Call, rates: CommissionRates) -> Json:
    return {
        "enabledForAccount": call.engine.bnb_burn(call.account),
        "enabledForSymbol": True,
        "discountAsset": "BNB",
        "discount": amount(rates.discount),
    }


def _rates_for(rates: CommissionRates, side: OrderSide) -> Json:
    by_side = rates.buyer if side is OrderSide.BUY else rates.seller
    return {"maker": amount(rates.maker + by_side), "taker": amount(rates.taker + by_side)}


def _replaced(answer: CancelReplaced, how: ResponseType) -> Json:
    cancel_response: Any = None
    if answer.cancel is not None:
        cancel_response = render.cancelled(answer.cancel)
    elif answer.cancel_error is not None:
        cancel_response = render.refusal(answer.cancel_error)
    new_response: Any = None
    if answer.new_order is not None:
        new_response = render.placed(answer.new_order, how)
    elif answer.new_order_error is not None:
        new_response = render.refusal(answer.new_order_error)
    return {
        "cancelResult": answer.cancel_result.value,
        "newOrderResult": answer.new_order_result.value,
        "cancelResponse": cancel_response,
        "newOrderResponse": new_response,
    }
