"""Orders as Binance wants them written: plain digits, our own id on everything (rest-api.md). Pure."""

from collections.abc import Mapping
from typing import Final

from executor.core.model import ids
from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderType, TimeInForce, plain

Params = dict[str, str]

TIMED: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
"""Types for which `timeInForce` is mandatory; the others refuse it."""


def place(symbol: str, order: NewOrder) -> Params:
    return {
        "symbol": symbol,
        "side": order.side.value,
        "type": order.type.value,
        "quantity": plain(order.qty),
        "newClientOrderId": order.id,
        "newOrderRespType": "FULL",
        **{name[0].lower() + name[1:]: value for name, value in _terms(order).items()},
    }


def replace(symbol: str, cancel_id: str, order: NewOrder) -> Params:
    return place(symbol, order) | {
        "cancelReplaceMode": "STOP_ON_FAILURE",
        "cancelOrigClientOrderId": cancel_id,
        # One that has begun to fill stays: its successor was sized without that fill, and would sell it twice.
        "cancelRestrictions": "ONLY_NEW",
    }


def enters(params: Mapping[str, str]) -> bool:
    """Whether an order with these parameters begins a trade, or adds to one, alone or with its exits (rule 13.1)."""
    name = ids.parse(params.get("workingClientOrderId") or params.get("newClientOrderId", ""))
    return name is not None and name.role in ids.ENTRIES and "cancelReplaceMode" not in params


def oco(symbol: str, list_id: str, target: NewOrder, stop: NewOrder) -> Params:
    """The target stands above the price for a SELL and below it for a BUY.

    Raises `ValueError` when the two do not share side and quantity.
    """
    if target.side is not stop.side or target.qty != stop.qty:
        raise ValueError(f"the orders of list {list_id} differ in side or quantity")
    above, below = (target, stop) if target.side is OrderSide.SELL else (stop, target)
    return {
        "symbol": symbol,
        "side": target.side.value,
        "quantity": plain(target.qty),
        "listClientOrderId": list_id,
        "newOrderRespType": "FULL",
        **_leg("above", above),
        **_leg("below", below),
    }


def bracket(symbol: str, list_id: str, entry: NewOrder, stop: NewOrder, target: NewOrder | None) -> Params:
    """An entry and what the exchange places when it has filled. What a buy's exits sell is what it has received: they
    may name no quantity (OPO; -1225).

    Raises `ValueError` when the exits are not the other side of the entry, in the same quantity.
    """
    exits = [stop] if target is None else [target, stop]
    if any(each.side is entry.side or each.qty != entry.qty for each in exits):
        raise ValueError(f"the orders of list {list_id} do not belong together")
    pays_out = entry.side is OrderSide.BUY
    return {
        "symbol": symbol,
        "listClientOrderId": list_id,
        "newOrderRespType": "FULL",
        "workingSide": entry.side.value,
        "workingQuantity": plain(entry.qty),
        **_leg("working", entry),
        "pendingSide": stop.side.value,
        **({} if pays_out else {"pendingQuantity": plain(stop.qty)}),
        **_pending(stop, target),
    }


def _pending(stop: NewOrder, target: NewOrder | None) -> Params:
    if target is None:
        return _leg("pending", stop)
    above, below = (target, stop) if target.side is OrderSide.SELL else (stop, target)
    return _leg("pendingAbove", above) | _leg("pendingBelow", below)


def _leg(where: str, order: NewOrder) -> Params:
    named = {"Type": order.type.value, "ClientOrderId": order.id, **_terms(order)}
    return {f"{where}{name}": value for name, value in named.items()}


def _terms(order: NewOrder) -> Params:
    terms = {
        "Price": order.price and plain(order.price),
        "StopPrice": order.stop_price and plain(order.stop_price),
        "TrailingDelta": order.trailing_delta and str(order.trailing_delta),
        "TimeInForce": (order.time_in_force or TimeInForce.GTC).value if order.type in TIMED else None,
    }
    return {name: value for name, value in terms.items() if value}
