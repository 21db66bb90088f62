"""Which parameters the documents have for each request, and what they may hold; anything else is refused."""

import re
from collections.abc import Iterable

from tests.stranger.mood import Refused

SIGNED = {"timestamp", "recvWindow", "signature", "apiKey"}
_ORDER = "side type timeInForce quantity quoteOrderQty price newClientOrderId strategyId strategyType stopPrice"
_ORDER += " trailingDelta icebergQty newOrderRespType selfTradePreventionMode pegPriceType pegOffsetValue pegOffsetType"
_LEG = "Type ClientOrderId Price StopPrice TrailingDelta IcebergQty TimeInForce StrategyId StrategyType"
_LIST = "listClientOrderId newOrderRespType selfTradePreventionMode"
_WORKING = f"{_LIST} workingType workingSide workingClientOrderId workingPrice workingQuantity workingIcebergQty"
_WORKING += " workingTimeInForce pendingSide"
_RANGE = "startTime endTime limit"


def _legs(*names: str) -> str:
    return " ".join(f"{name}{part}" for name in names for part in _LEG.split())


_PAIR = _legs("pendingAbove", "pendingBelow")
_MARGIN_ORDER = "isIsolated side type quantity quoteOrderQty price stopPrice trailingDelta newClientOrderId icebergQty"
_MARGIN_ORDER += " newOrderRespType sideEffectType timeInForce selfTradePreventionMode autoRepayAtCancel"
_MARGIN_OCO = "isIsolated side quantity price stopPrice listClientOrderId limitClientOrderId limitIcebergQty"
_MARGIN_OCO += " stopClientOrderId stopLimitPrice stopLimitTimeInForce stopIcebergQty newOrderRespType sideEffectType"
_MARGIN_OCO += " selfTradePreventionMode autoRepayAtCancel"

_REPLACE = f"{_ORDER} cancelNewClientOrderId cancelOrigClientOrderId cancelOrderId cancelRestrictions"

KNOWN: dict[str, tuple[str, str]] = {
    "GET ping": ("", ""),
    "GET time": ("", ""),
    "GET exchangeInfo": ("", "symbol symbols permissions showPermissionSets symbolStatus"),
    "GET account": ("", "omitZeroBalances"),
    "GET account/commission": ("symbol", ""),
    "GET order": ("symbol", "orderId origClientOrderId"),
    "GET openOrders": ("", "symbol"),
    "GET allOrders": ("symbol", f"orderId {_RANGE}"),
    "GET myTrades": ("symbol", f"orderId fromId {_RANGE}"),
    "GET orderList": ("", "orderListId origClientOrderId"),
    "GET openOrderList": ("", ""),
    "GET allOrderList": ("", f"fromId {_RANGE}"),
    "GET ticker/24hr": ("", "symbol symbols type symbolStatus"),
    "GET referencePrice": ("symbol", ""),
    "GET klines": ("symbol interval", f"timeZone {_RANGE}"),
    "POST order": ("symbol side type", _ORDER),
    "POST order/cancelReplace": (
        "symbol side type cancelReplaceMode",
        f"{_REPLACE} orderRateLimitExceededMode",
    ),
    "POST orderList/oco": ("symbol side quantity aboveType belowType", f"{_LIST} {_legs('above', 'below')}"),
    "POST orderList/oto": ("symbol pendingQuantity", f"{_WORKING} {_legs('pending')}"),
    "POST orderList/otoco": ("symbol pendingQuantity", f"{_WORKING} {_PAIR}"),
    "POST orderList/opo": ("symbol", f"{_WORKING} {_legs('pending')}"),
    "POST orderList/opoco": ("symbol", f"{_WORKING} {_PAIR}"),
    "DELETE order": ("symbol", "orderId origClientOrderId newClientOrderId cancelRestrictions"),
    "DELETE orderList": ("symbol", "orderListId listClientOrderId newClientOrderId"),
    "POST sapi/margin/order": ("symbol side type", _MARGIN_ORDER),
    "POST sapi/margin/order/oco": ("symbol side quantity price stopPrice", _MARGIN_OCO),
    "DELETE sapi/margin/order": ("symbol", "isIsolated orderId origClientOrderId newClientOrderId"),
    "DELETE sapi/margin/orderList": ("symbol", "isIsolated orderListId listClientOrderId newClientOrderId"),
    "GET sapi/margin/order": ("symbol", "isIsolated orderId origClientOrderId"),
    "GET sapi/margin/openOrders": ("", "symbol isIsolated"),
    "GET sapi/margin/allOrders": ("symbol", f"isIsolated orderId {_RANGE}"),
    "GET sapi/margin/myTrades": ("symbol", f"isIsolated orderId fromId {_RANGE}"),
    "GET sapi/margin/allOrderList": ("", f"symbol isIsolated fromId {_RANGE}"),
    "POST sapi/margin/borrow-repay": ("asset isIsolated amount type", "symbol"),
    "GET sapi/margin/borrow-repay": ("type", "asset isolatedSymbol txId startTime endTime current size"),
    "GET sapi/margin/maxBorrowable": ("asset", "isolatedSymbol"),
    "GET sapi/margin/account": ("", ""),
    "GET sapi/margin/isolated/account": ("", "symbols"),
    "GET sapi/margin/tradeCoeff": ("", ""),
    "GET sapi/margin/isolatedMarginTier": ("symbol", "tier"),
    "GET sapi/margin/next-hourly-interest-rate": ("assets isIsolated", ""),
    "GET sapi/margin/forceLiquidationRec": ("", "startTime endTime isolatedSymbol current size"),
    "POST sapi/userListenToken": ("", "symbol isIsolated validity"),
}
"""Mandatory, and optional beside those that sign."""
DECIMAL = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
CLIENT_ID = re.compile(r"^[a-zA-Z0-9-_]{1,36}$")
DAY_MS = 86_400_000
NEEDS = {
    "LIMIT": ({"Price", "TimeInForce"}, {"StopPrice"}),
    "LIMIT_MAKER": ({"Price"}, {"StopPrice", "TimeInForce"}),
    "MARKET": (set[str](), {"Price", "StopPrice", "TimeInForce"}),
    "STOP_LOSS": ({"StopPrice"}, {"Price", "TimeInForce"}),
    "STOP_LOSS_LIMIT": ({"Price", "StopPrice", "TimeInForce"}, set[str]()),
    "TAKE_PROFIT": ({"StopPrice"}, {"Price", "TimeInForce"}),
    "TAKE_PROFIT_LIMIT": ({"Price", "StopPrice", "TimeInForce"}, set[str]()),
}
"""By an order's type: what it must have, and what it must not. (A trailing delta is not asked for here.)"""


def check(name: str, p: dict[str, str]) -> None:
    """Refuse what no document has."""
    if name in KNOWN:
        must, may = (set(each.split()) for each in KNOWN[name])
        for missing in must - p.keys():
            raise Refused(-1102, f"Mandatory parameter '{missing}' was not sent, was empty/null, or malformed.")
        if unread := p.keys() - must - may - SIGNED:
            raise Refused(-1104, f"Not all sent parameters were read; {', '.join(sorted(unread))} was not.")
    for key, value in p.items():
        _value(key, value)
    if name.startswith("POST order") or name == "POST sapi/margin/order":
        for prefix in ("", "above", "below", "working", "pending", "pendingAbove", "pendingBelow"):
            kind = p.get(f"{prefix}Type" if prefix else "type")
            if kind is not None:
                _leg(prefix, kind, p.keys())
    if name.endswith(("allOrders", "myTrades")) and "startTime" in p and "endTime" in p:
        span = int(p["endTime"]) - int(p["startTime"])
        if span > DAY_MS:
            raise Refused(-1127, "More than 24 hours between startTime and endTime.")


def _value(key: str, value: str) -> None:
    if key == "amount" or key.lower().endswith(("price", "quantity", "qty")):
        if not DECIMAL.match(value):
            raise Refused(-1100, f"Illegal characters found in parameter '{key}'; legal range is '{DECIMAL.pattern}'.")
    elif key.lower().endswith("clientorderid") and not CLIENT_ID.match(value):
        raise Refused(-1100, f"Illegal characters found in parameter '{key}'; legal range is '{CLIENT_ID.pattern}'.")
    elif not value:
        raise Refused(-1105, f"Parameter '{key}' was empty.")


def _leg(prefix: str, kind: str, sent: Iterable[str]) -> None:
    must, must_not = NEEDS[kind]
    names = {(f"{prefix}{part}" if prefix else part[0].lower() + part[1:]): part for part in must | must_not}
    for name, part in names.items():
        if part in must and name not in sent:
            raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if part in must_not and name in sent:
            raise Refused(-1106, f"Parameter '{name}' sent when not required.")
