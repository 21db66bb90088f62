"""The parameters that each endpoint knows (rest-api.md), `timestamp`, `recvWindow`, `signature` and `apiKey` apart.

A request that carries more parameters than its endpoint knows is refused for their number, before any is read (-1101).
"""

from collections.abc import Mapping
from typing import Final


def _legs(prefix: str) -> str:
    """What each leg of a pair may have."""
    fields = (
        "Type ClientOrderId IcebergQty Price StopPrice TrailingDelta TimeInForce StrategyId StrategyType"
        " PegPriceType PegOffsetType PegOffsetValue"
    )
    return " ".join(prefix + field for field in fields.split())


_ORDER: Final = (
    "symbol side type timeInForce quantity quoteOrderQty price newClientOrderId strategyId strategyType stopPrice"
    " trailingDelta icebergQty newOrderRespType selfTradePreventionMode pegPriceType pegOffsetValue pegOffsetType"
)
_SOR: Final = (
    "symbol side type timeInForce quantity price newClientOrderId strategyId strategyType icebergQty newOrderRespType"
    " selfTradePreventionMode"
)
_LIST: Final = "symbol listClientOrderId newOrderRespType selfTradePreventionMode"
_WORKING: Final = (
    "workingType workingSide workingClientOrderId workingPrice workingQuantity workingIcebergQty workingTimeInForce"
    " workingStrategyId workingStrategyType workingPegPriceType workingPegOffsetType workingPegOffsetValue"
)
_PENDING: Final = f"pendingSide pendingQuantity {_legs('pending')}"
_PENDING_PAIR: Final = f"pendingSide pendingQuantity {_legs('pendingAbove')} {_legs('pendingBelow')}"
_TICKER: Final = "symbol symbols type symbolStatus"
_KLINES: Final = "symbol interval startTime endTime timeZone limit"

_NAMES: Final = {
    "GET /api/v3/ping": "",
    "GET /api/v3/time": "",
    "GET /api/v3/exchangeInfo": "symbol symbols permissions showPermissionSets symbolStatus",
    "GET /api/v3/executionRules": "symbol symbols symbolStatus",
    "GET /api/v3/depth": "symbol limit symbolStatus",
    "GET /api/v3/trades": "symbol limit",
    "GET /api/v3/historicalTrades": "symbol limit fromId",
    "GET /api/v3/historicalBlockTrades": "symbol fromId limit",
    "GET /api/v3/aggTrades": "symbol fromId startTime endTime limit",
    "GET /api/v3/klines": _KLINES,
    "GET /api/v3/uiKlines": _KLINES,
    "GET /api/v3/avgPrice": "symbol",
    "GET /api/v3/ticker/24hr": _TICKER,
    "GET /api/v3/ticker/tradingDay": f"{_TICKER} timeZone",
    "GET /api/v3/ticker/price": "symbol symbols symbolStatus",
    "GET /api/v3/ticker/bookTicker": "symbol symbols symbolStatus",
    "GET /api/v3/ticker": f"{_TICKER} windowSize",
    "GET /api/v3/referencePrice": "symbol symbolStatus",
    "GET /api/v3/referencePrice/calculation": "symbol symbolStatus",
    "POST /api/v3/order": _ORDER,
    "POST /api/v3/order/test": f"{_ORDER} computeCommissionRates",
    "POST /api/v3/sor/order": _SOR,
    "POST /api/v3/sor/order/test": f"{_SOR} computeCommissionRates",
    "DELETE /api/v3/order": "symbol orderId origClientOrderId newClientOrderId cancelRestrictions",
    "DELETE /api/v3/openOrders": "symbol",
    "POST /api/v3/order/cancelReplace": (
        f"{_ORDER} cancelReplaceMode cancelNewClientOrderId cancelOrigClientOrderId cancelOrderId cancelRestrictions"
        " orderRateLimitExceededMode"
    ),
    "PUT /api/v3/order/amend/keepPriority": "symbol orderId origClientOrderId newClientOrderId newQty",
    "GET /api/v3/order": "symbol orderId origClientOrderId",
    "GET /api/v3/openOrders": "symbol",
    "GET /api/v3/allOrders": "symbol orderId startTime endTime limit",
    "GET /api/v3/order/amendments": "symbol orderId fromExecutionId limit",
    "POST /api/v3/order/oco": (
        f"{_LIST} side quantity limitClientOrderId price limitStrategyId limitStrategyType limitIcebergQty"
        " trailingDelta stopClientOrderId stopPrice stopStrategyId stopStrategyType stopLimitPrice stopIcebergQty"
        " stopLimitTimeInForce"
    ),
    "POST /api/v3/orderList/oco": f"{_LIST} side quantity {_legs('above')} {_legs('below')}",
    "POST /api/v3/orderList/oto": f"{_LIST} {_WORKING} {_PENDING}",
    "POST /api/v3/orderList/otoco": f"{_LIST} {_WORKING} {_PENDING_PAIR}",
    "POST /api/v3/orderList/opo": f"{_LIST} {_WORKING} {_PENDING}",
    "POST /api/v3/orderList/opoco": f"{_LIST} {_WORKING} {_PENDING_PAIR}",
    "DELETE /api/v3/orderList": "symbol orderListId listClientOrderId newClientOrderId",
    "GET /api/v3/orderList": "orderListId origClientOrderId",
    "GET /api/v3/openOrderList": "",
    "GET /api/v3/allOrderList": "fromId startTime endTime limit",
    "GET /api/v3/account": "omitZeroBalances",
    "GET /api/v3/account/commission": "symbol",
    "GET /api/v3/myTrades": "symbol orderId startTime endTime fromId limit",
    "GET /api/v3/rateLimit/order": "",
    "GET /api/v3/myFilters": "symbol",
    "GET /api/v3/myPreventedMatches": "symbol preventedMatchId orderId fromPreventedMatchId limit",
    "GET /api/v3/myAllocations": "symbol startTime endTime fromAllocationId limit orderId",
}

KNOWN: Final[Mapping[str, frozenset[str]]] = {endpoint: frozenset(text.split()) for endpoint, text in _NAMES.items()}
"""By verb and path; endpoints beyond `/api` are not listed, and not checked."""
