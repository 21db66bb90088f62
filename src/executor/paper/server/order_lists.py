"""Handlers of order lists: OCO, OTO, OTOCO, OPO, OPOCO, their cancels and queries."""

from decimal import Decimal

from executor.core.model.values import OrderSide, OrderType
from executor.paper.engine.model import Leg, NewOco, NewOrder, NewOto, NewOtoco, OrderListView, StpMode
from executor.paper.engine.names import OLD_LIMIT, OLD_STOP
from executor.paper.server import errors, render
from executor.paper.server.call import Call
from executor.paper.server.orders import (
    read_period,
    read_response_type,
    read_side,
    read_stp_mode,
    read_strategy_type,
    read_time_in_force,
    read_type,
    refuse_pegs,
)
from executor.paper.server.params import Params
from executor.paper.server.render import Json, ResponseType


def place_oco(call: Call, params: Params) -> Json:
    symbol, side, quantity = params.symbol(), read_side(params, "side"), params.decimal("quantity")
    request = NewOco(
        symbol=symbol,
        side=side,
        quantity=quantity,
        above=_read_leg(params, "above"),
        below=_read_leg(params, "below"),
        list_client_order_id=params.optional_client_id("listClientOrderId"),
        stp_mode=read_stp_mode(params),
    )
    how = _read_how(params)
    params.finish()
    return render.list_placed(call.engine.place_oco(call.account, request, call.now_ms), how)


def place_legacy_oco(call: Call, params: Params) -> Json:
    """The older form (`POST /api/v3/order/oco`): a LIMIT_MAKER and a stop, told apart by the side.

    `orderList.place` answers FULL by default (web-socket-api.md); the REST page names no default, and shows a RESULT.
    """
    request = read_legacy_oco(params)
    how = read_response_type(params) or (ResponseType.FULL if call.over_ws else ResponseType.RESULT)
    params.finish()
    return render.list_placed(call.engine.place_oco(call.account, request, call.now_ms), how)


def read_legacy_oco(params: Params) -> NewOco:
    symbol, side, quantity = params.symbol(), read_side(params, "side"), params.decimal("quantity")
    limit = Leg(
        type=OrderType.LIMIT_MAKER,
        price=params.decimal("price"),
        iceberg_qty=params.optional_decimal("limitIcebergQty"),
        client_order_id=params.optional_client_id("limitClientOrderId"),
        strategy_id=params.optional_integer("limitStrategyId"),
        strategy_type=read_strategy_type(params, "limitStrategyType"),
    )
    stop_limit_price = params.optional_decimal("stopLimitPrice")
    stop = Leg(
        type=OrderType.STOP_LOSS if stop_limit_price is None else OrderType.STOP_LOSS_LIMIT,
        price=stop_limit_price,
        stop_price=params.optional_decimal("stopPrice"),
        trailing_delta=params.optional_integer("trailingDelta"),
        time_in_force=read_time_in_force(params, "stopLimitTimeInForce"),
        iceberg_qty=params.optional_decimal("stopIcebergQty"),
        client_order_id=params.optional_client_id("stopClientOrderId"),
        strategy_id=params.optional_integer("stopStrategyId"),
        strategy_type=read_strategy_type(params, "stopStrategyType"),
    )
    if stop.stop_price is None and stop.trailing_delta is None:
        raise errors.missing("stopPrice")
    if stop_limit_price is not None and stop.time_in_force is None:
        raise errors.bad_combination("'stopLimitTimeInForce' should also be sent.")
    return NewOco(
        symbol=symbol,
        side=side,
        quantity=quantity,
        above=limit if side is OrderSide.SELL else stop,
        below=stop if side is OrderSide.SELL else limit,
        list_client_order_id=params.optional_client_id("listClientOrderId"),
        stp_mode=read_stp_mode(params),
        names=(OLD_LIMIT, OLD_STOP) if side is OrderSide.SELL else (OLD_STOP, OLD_LIMIT),
    )


def place_oto(call: Call, params: Params) -> Json:
    return _place_oto(call, params, pays_out=False)


def place_opo(call: Call, params: Params) -> Json:
    return _place_oto(call, params, pays_out=True)


def place_otoco(call: Call, params: Params) -> Json:
    return _place_otoco(call, params, pays_out=False)


def place_opoco(call: Call, params: Params) -> Json:
    return _place_otoco(call, params, pays_out=True)


def cancel(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    list_id, client_id = params.optional_integer("orderListId"), params.optional_text("listClientOrderId")
    new_id = params.optional_client_id("newClientOrderId")
    params.finish()
    if list_id is None and client_id is None:
        raise errors.missing_both("orderListId", "listClientOrderId")
    answer = call.engine.cancel_order_list(
        call.account,
        symbol,
        call.now_ms,
        order_list_id=list_id,
        list_client_order_id=client_id,
        new_client_order_id=new_id,
    )
    return render.list_cancelled(answer)


def query(call: Call, params: Params) -> Json:
    list_id, client_id = params.optional_integer("orderListId"), params.optional_text("origClientOrderId")
    params.finish()
    if list_id is None and client_id is None:
        raise errors.missing_both("orderListId", "origClientOrderId")
    view = call.engine.order_list(call.account, order_list_id=list_id, list_client_order_id=client_id)
    return render.order_list(view)


def open_lists(call: Call, params: Params) -> list[Json]:
    params.finish()
    return _rows(call.engine.open_order_lists(call.account))


def all_lists(call: Call, params: Params) -> list[Json]:
    from_id, limit = params.optional_integer("fromId"), params.limit(500, 1000)
    start, end = read_period(params)
    params.finish()
    if from_id is not None and (start is not None or end is not None):
        raise errors.bad_combination()
    return _rows(
        call.engine.all_order_lists(call.account, from_id=from_id, start_time=start, end_time=end, limit=limit)
    )


def _place_oto(call: Call, params: Params, *, pays_out: bool) -> Json:
    request = read_oto(params, pays_out=pays_out)
    how = _read_how(params)
    params.finish()
    return render.list_placed(call.engine.place_oto(call.account, request, call.now_ms), how)


def read_oto(params: Params, *, pays_out: bool = False) -> NewOto:
    symbol, stp_mode = params.symbol(), read_stp_mode(params)
    working = _read_working(params, symbol, stp_mode)
    refuse_pegs(params, "pendingPeg")
    pending = NewOrder(
        symbol=symbol,
        side=read_side(params, "pendingSide"),
        type=read_type(params, "pendingType"),
        quantity=_read_pending_quantity(params, pays_out=pays_out),
        price=params.optional_decimal("pendingPrice"),
        stop_price=params.optional_decimal("pendingStopPrice"),
        trailing_delta=params.optional_integer("pendingTrailingDelta"),
        time_in_force=read_time_in_force(params, "pendingTimeInForce"),
        iceberg_qty=params.optional_decimal("pendingIcebergQty"),
        client_order_id=params.optional_client_id("pendingClientOrderId"),
        stp_mode=stp_mode,
        strategy_id=params.optional_integer("pendingStrategyId"),
        strategy_type=read_strategy_type(params, "pendingStrategyType"),
    )
    return NewOto(
        working=working,
        pending=pending,
        list_client_order_id=params.optional_client_id("listClientOrderId"),
        pays_out=pays_out,
    )


def _place_otoco(call: Call, params: Params, *, pays_out: bool) -> Json:
    request = read_otoco(params, pays_out=pays_out)
    how = _read_how(params)
    params.finish()
    return render.list_placed(call.engine.place_otoco(call.account, request, call.now_ms), how)


def read_otoco(params: Params, *, pays_out: bool = False) -> NewOtoco:
    symbol, stp_mode = params.symbol(), read_stp_mode(params)
    return NewOtoco(
        working=_read_working(params, symbol, stp_mode),
        pending_side=read_side(params, "pendingSide"),
        pending_quantity=_read_pending_quantity(params, pays_out=pays_out),
        pending_above=_read_leg(params, "pendingAbove"),
        pending_below=_read_leg(params, "pendingBelow"),
        list_client_order_id=params.optional_client_id("listClientOrderId"),
    )


def _read_working(params: Params, symbol: str, stp_mode: StpMode | None) -> NewOrder:
    refuse_pegs(params, "workingPeg")
    return NewOrder(
        symbol=symbol,
        side=read_side(params, "workingSide"),
        type=read_type(params, "workingType"),
        quantity=params.decimal("workingQuantity"),
        price=params.decimal("workingPrice"),
        time_in_force=read_time_in_force(params, "workingTimeInForce"),
        iceberg_qty=params.optional_decimal("workingIcebergQty"),
        client_order_id=params.optional_client_id("workingClientOrderId"),
        stp_mode=stp_mode,
        strategy_id=params.optional_integer("workingStrategyId"),
        strategy_type=read_strategy_type(params, "workingStrategyType"),
    )


def _read_pending_quantity(params: Params, *, pays_out: bool) -> Decimal | None:
    if not pays_out:
        return params.decimal("pendingQuantity")
    if "pendingQuantity" in params:
        raise errors.ApiError(-1225, "Pending orders should not include the 'pendingQuantity' tag.")
    return None


def _read_leg(params: Params, prefix: str) -> Leg:
    refuse_pegs(params, f"{prefix}Peg")
    return Leg(
        type=read_type(params, f"{prefix}Type"),
        price=params.optional_decimal(f"{prefix}Price"),
        stop_price=params.optional_decimal(f"{prefix}StopPrice"),
        trailing_delta=params.optional_integer(f"{prefix}TrailingDelta"),
        time_in_force=read_time_in_force(params, f"{prefix}TimeInForce"),
        iceberg_qty=params.optional_decimal(f"{prefix}IcebergQty"),
        client_order_id=params.optional_client_id(f"{prefix}ClientOrderId"),
        strategy_id=params.optional_integer(f"{prefix}StrategyId"),
        strategy_type=read_strategy_type(params, f"{prefix}StrategyType"),
    )


def _read_how(params: Params) -> ResponseType:
    """Lists answer with RESULT reports unless asked otherwise (the documentation's samples)."""
    return read_response_type(params) or ResponseType.RESULT


def _rows(views: list[OrderListView]) -> list[Json]:
    return [render.order_list(view) for view in views]
