"""Handlers of orders and order lists on margin: Spot's, on the account that a request names."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.model import CROSS, SideEffect
from executor.paper.engine.model import ListPlaced, NewOco, NewOto, NewOtoco, OrderListView
from executor.paper.server import errors, open_choices, render
from executor.paper.server.account import order_count_rows, read_matches
from executor.paper.server.call import Call
from executor.paper.server.margin import shapes
from executor.paper.server.order_lists import read_legacy_oco, read_oto, read_otoco
from executor.paper.server.orders import read_order, read_period, read_response_type
from executor.paper.server.params import Params
from executor.paper.server.render import Json, ResponseType

Asked = TypeVar("Asked", NewOco, NewOto, NewOtoco)

_EFFECTS: Final[Mapping[str, SideEffect]] = {each.value: each for each in SideEffect}
BORROWING_WEIGHT: Final = 1_500


def order_weight(params: Params) -> int:
    """Orders that may borrow cost as much as a loan."""
    effect = _EFFECTS.get(params.peek("sideEffectType") or "")
    return BORROWING_WEIGHT if effect is not None and effect.borrows else 6


def read_pair(params: Params, symbol: str | None) -> str:
    """Whose account: of the symbol's pair where `isIsolated` says TRUE, else the cross account (empty)."""
    isolated = params.flag("isIsolated")
    if isolated and symbol is None:
        raise errors.missing("symbol")
    return symbol if isolated and symbol else CROSS


def _account(call: Call, pair: str) -> MarginAccount:
    return call.engine.margin.account(call.account, pair)


# --- single orders ----------------------------------------------------------------------------------------------------


def place(call: Call, params: Params) -> Json:
    order, how = read_order(params), read_response_type(params)
    pair, engine = read_pair(params, order.symbol), call.engine
    effect, repays = _read_effect(call, params)
    params.finish()
    account = _account(call, pair)
    answer, borrowed = engine.margin.place(
        account,
        order,
        effect,
        call.now_ms,
        lambda: engine.place_order(account.money.name, order, call.now_ms),
        repays_at_cancel=repays,
    )
    body = render.placed(answer, how or render.default_response(order.type))
    return shapes.placed(call, account, body, borrowed)


def cancel(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    pair = read_pair(params, symbol)
    order_id, client_id = _read_order_ids(params)
    new_id = params.optional_client_id("newClientOrderId")
    params.finish()
    account = _account(call, pair)
    answer = call.engine.cancel_order(
        account.money.name,
        symbol,
        call.now_ms,
        order_id=order_id,
        orig_client_order_id=client_id,
        new_client_order_id=new_id,
    )
    call.engine.margin.after(call.now_ms)
    return shapes.cancelled(call, account, render.cancelled(answer))


def cancel_all(call: Call, params: Params) -> list[Json]:
    symbol = params.symbol()
    pair = read_pair(params, symbol)
    params.finish()
    account = _account(call, pair)
    answers = call.engine.cancel_open_orders(account.money.name, symbol, call.now_ms)
    call.engine.margin.after(call.now_ms)
    return [shapes.cancelled_with_all(call, account, render.any_cancelled(answer)) for answer in answers]


def query(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    pair = read_pair(params, symbol)
    order_id, client_id = _read_order_ids(params)
    params.finish()
    account = _account(call, pair)
    order = call.engine.order(account.money.name, symbol, order_id=order_id, orig_client_order_id=client_id)
    shown = open_choices.found(call.engine.choices, order, client_id, call.now_ms)
    return shapes.queried(call, account, render.queried(shown))


def open_orders(call: Call, params: Params) -> list[Json]:
    symbol = params.optional_symbol()
    pair = read_pair(params, symbol)
    params.finish()
    account = _account(call, pair)
    orders = call.engine.open_orders(account.money.name, symbol)
    shown = open_choices.shown_open(call.engine.choices, orders, call.now_ms)
    return [shapes.queried(call, account, render.queried(order)) for order in shown]


def all_orders(call: Call, params: Params) -> list[Json]:
    symbol, limit = params.symbol(), params.limit(500, 500)
    pair = read_pair(params, symbol)
    order_id = params.optional_integer("orderId")
    start, end = read_period(params)
    params.finish()
    account = _account(call, pair)
    orders = call.engine.all_orders(
        account.money.name, symbol, order_id=order_id, start_time=start, end_time=end, limit=limit
    )
    return [shapes.queried(call, account, render.queried(order)) for order in orders]


def my_trades(call: Call, params: Params) -> list[Json]:
    symbol, limit = params.symbol(), params.limit(500, 1000)
    pair = read_pair(params, symbol)
    order_id, from_id = params.optional_integer("orderId"), params.optional_integer("fromId")
    start, end = read_period(params)
    params.finish()
    account = _account(call, pair)
    fills = call.engine.my_trades(
        account.money.name, symbol, order_id=order_id, from_id=from_id, start_time=start, end_time=end, limit=limit
    )
    return [shapes.trade(call, account, render.own_trade(fill)) for fill in fills]


def order_count(call: Call, params: Params) -> list[Json]:
    pair = read_pair(params, params.optional_symbol())
    params.finish()
    account = _account(call, pair)
    return order_count_rows(_about(call, account))


def own_prevented_matches(call: Call, params: Params) -> list[Json]:
    pair = read_pair(params, params.peek("symbol"))
    matches = read_matches(params)
    return matches(call.engine, _account(call, pair).money.name)


# --- lists ------------------------------------------------------------------------------------------------------------


def place_oco(call: Call, params: Params) -> Json:
    request = read_legacy_oco(params)
    return _place_list(call, params, request, call.engine.place_oco, request.symbol)


def place_oto(call: Call, params: Params) -> Json:
    request = read_oto(params)
    return _place_list(call, params, request, call.engine.place_oto, request.working.symbol)


def place_otoco(call: Call, params: Params) -> Json:
    request = read_otoco(params)
    return _place_list(call, params, request, call.engine.place_otoco, request.working.symbol)


def cancel_list(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    pair = read_pair(params, symbol)
    list_id, client_id = params.optional_integer("orderListId"), params.optional_text("listClientOrderId")
    new_id = params.optional_client_id("newClientOrderId")
    params.finish()
    account = _account(call, pair)
    if list_id is None and client_id is None:
        raise errors.missing_both("orderListId", "listClientOrderId")
    answer = call.engine.cancel_order_list(
        account.money.name,
        symbol,
        call.now_ms,
        order_list_id=list_id,
        list_client_order_id=client_id,
        new_client_order_id=new_id,
    )
    call.engine.margin.after(call.now_ms)
    return shapes.order_list(call, account, render.list_cancelled(answer))


def query_list(call: Call, params: Params) -> Json:
    pair = read_pair(params, params.optional_symbol())
    list_id, client_id = params.optional_integer("orderListId"), params.optional_text("origClientOrderId")
    params.finish()
    account = _account(call, pair)
    if list_id is None and client_id is None:
        raise errors.missing_both("orderListId", "origClientOrderId")
    view = call.engine.order_list(account.money.name, order_list_id=list_id, list_client_order_id=client_id)
    return shapes.order_list(call, account, render.order_list(view))


def open_lists(call: Call, params: Params) -> list[Json]:
    pair = read_pair(params, params.optional_symbol())
    params.finish()
    account = _account(call, pair)
    return _list_rows(call, account, call.engine.open_order_lists(account.money.name))


def all_lists(call: Call, params: Params) -> list[Json]:
    pair = read_pair(params, params.optional_symbol())
    from_id, limit = params.optional_integer("fromId"), params.limit(500, 1000)
    start, end = read_period(params)
    params.finish()
    account = _account(call, pair)
    views = call.engine.all_order_lists(
        account.money.name, from_id=from_id, start_time=start, end_time=end, limit=limit
    )
    return _list_rows(call, account, views)


# --- steps of these ---------------------------------------------------------------------------------------------------


def _place_list(
    call: Call, params: Params, request: Asked, place_it: Callable[[str, Asked, int], ListPlaced], symbol: str
) -> Json:
    pair = read_pair(params, symbol)
    effect, repays = _read_effect(call, params)
    if effect is SideEffect.AUTO_REPAY and place_it != call.engine.place_oco:
        raise errors.invalid_data("sideEffectType")
    how = read_response_type(params) or ResponseType.RESULT
    params.finish()
    account = _account(call, pair)
    answer, borrowed = call.engine.margin.place(
        account,
        request,
        effect,
        call.now_ms,
        lambda: place_it(account.money.name, request, call.now_ms),
        repays_at_cancel=repays,
    )
    return shapes.order_list(call, account, render.list_placed(answer, how), borrowed)


def _read_effect(call: Call, params: Params) -> tuple[SideEffect, bool]:
    effect = params.optional_choice("sideEffectType", _EFFECTS)
    repays = params.flag("autoRepayAtCancel", default=call.engine.choices.repays_at_cancel)
    return effect or SideEffect.NO_SIDE_EFFECT, repays


def _read_order_ids(params: Params) -> tuple[int | None, str | None]:
    order_id, client_id = params.optional_integer("orderId"), params.optional_text("origClientOrderId")
    if order_id is None and client_id is None:
        raise errors.missing_both("origClientOrderId", "orderId")
    return order_id, client_id


def _about(call: Call, account: MarginAccount) -> Call:
    return Call(call.engine, call.limits, account.money.name, call.now_ms, over_ws=call.over_ws, keys=call.keys)


def _list_rows(call: Call, account: MarginAccount, views: list[OrderListView]) -> list[Json]:
    return [shapes.order_list(call, account, render.order_list(view)) for view in views]
