"""The routing table: every endpoint once, for REST and the WebSocket API alike.

Columns: verb, path, WebSocket method, weight, security, handler. Weights follow rest-api.md of 2026-07.
"""

from collections.abc import Iterable
from typing import Final

from executor.paper.server import account, klines, market_data, order_lists, orders, wallet
from executor.paper.server.call import Route, Security, Weigher
from executor.paper.server.margin.routes import MARGIN_ROUTES
from executor.paper.server.params import Params

_NONE, _DATA, _TRADE = Security.NONE, Security.USER_DATA, Security.TRADE

_md, _ol = market_data, order_lists


def _open_orders_weight(params: Params) -> int:
    return 6 if "symbol" in params else 80


def _rules_weight(params: Params) -> int:
    listed = params.peek("symbols")
    if listed is not None:
        return min(40, 2 * (listed.count(",") + 1))
    return 2 if "symbol" in params else 40


_TICKER_WEIGHT: Final[Weigher] = _md.single_or_all_weight(2, 4)

ROUTES: Final = (
    # general
    Route("GET", "/api/v3/ping", "ping", 1, _NONE, _md.ping),
    Route("GET", "/api/v3/time", "time", 1, _NONE, _md.server_time),
    Route("GET", "/api/v3/exchangeInfo", "exchangeInfo", 20, _NONE, _md.exchange_info),
    Route("GET", "/api/v3/executionRules", "executionRules", _rules_weight, _NONE, _md.execution_rules),
    # market data
    Route("GET", "/api/v3/depth", "depth", _md.depth_weight, _NONE, _md.depth),
    Route("GET", "/api/v3/trades", "trades.recent", 25, _NONE, _md.recent_trades),
    Route("GET", "/api/v3/historicalTrades", "trades.historical", 25, _NONE, _md.historical_trades),
    Route("GET", "/api/v3/historicalBlockTrades", "blockTrades.historical", 25, _NONE, _md.block_trades),
    Route("GET", "/api/v3/aggTrades", "trades.aggregate", 4, _NONE, _md.aggregate_trades),
    Route("GET", "/api/v3/klines", "klines", 2, _NONE, klines.klines),
    Route("GET", "/api/v3/uiKlines", "uiKlines", 2, _NONE, klines.klines),
    Route("GET", "/api/v3/avgPrice", "avgPrice", 2, _NONE, _md.avg_price),
    Route("GET", "/api/v3/ticker/24hr", "ticker.24hr", _md.ticker_weight, _NONE, _md.ticker_24h),
    Route("GET", "/api/v3/ticker/tradingDay", "ticker.tradingDay", _md.window_weight, _NONE, _md.trading_day),
    Route("GET", "/api/v3/ticker/price", "ticker.price", _TICKER_WEIGHT, _NONE, _md.price_ticker),
    Route("GET", "/api/v3/ticker/bookTicker", "ticker.book", _TICKER_WEIGHT, _NONE, _md.book_ticker),
    Route("GET", "/api/v3/ticker", "ticker", _md.window_weight, _NONE, _md.rolling_window),
    Route("GET", "/api/v3/referencePrice", "referencePrice", 2, _NONE, _md.reference_price),
    Route(
        "GET",
        "/api/v3/referencePrice/calculation",
        "referencePrice.calculation",
        2,
        _NONE,
        _md.reference_price,
    ),
    # orders
    Route("POST", "/api/v3/order", "order.place", 1, _TRADE, orders.place, charges_orders=True, free=True),
    Route("POST", "/api/v3/order/test", "order.test", orders.test_weight, _TRADE, orders.test),
    Route(
        "POST", "/api/v3/sor/order", "sor.order.place", 1, _TRADE, orders.place_by_sor, charges_orders=True, free=True
    ),
    Route("POST", "/api/v3/sor/order/test", "sor.order.test", orders.test_weight, _TRADE, orders.place_by_sor),
    Route("DELETE", "/api/v3/order", "order.cancel", 1, _TRADE, orders.cancel, free=True),
    Route("DELETE", "/api/v3/openOrders", "openOrders.cancelAll", 1, _TRADE, orders.cancel_all, free=True),
    Route(
        "POST",
        "/api/v3/order/cancelReplace",
        "order.cancelReplace",
        1,
        _TRADE,
        orders.cancel_replace,
        charges_orders=True,
        free=True,
    ),
    Route(
        "PUT",
        "/api/v3/order/amend/keepPriority",
        "order.amend.keepPriority",
        4,
        _TRADE,
        orders.amend,
        free=orders.amend_ended,
    ),
    Route("GET", "/api/v3/order", "order.status", 4, _DATA, orders.query),
    Route("GET", "/api/v3/openOrders", "openOrders.status", _open_orders_weight, _DATA, orders.open_orders),
    Route("GET", "/api/v3/allOrders", "allOrders", 20, _DATA, orders.all_orders),
    Route("GET", "/api/v3/order/amendments", "order.amendments", 4, _DATA, orders.amendments),
    # order lists
    *(
        Route("POST", path, method, 1, _TRADE, handler, charges_orders=True, free=True)
        for path, method, handler in (
            ("/api/v3/order/oco", "orderList.place", _ol.place_legacy_oco),
            ("/api/v3/orderList/oco", "orderList.place.oco", _ol.place_oco),
            ("/api/v3/orderList/oto", "orderList.place.oto", _ol.place_oto),
            ("/api/v3/orderList/otoco", "orderList.place.otoco", _ol.place_otoco),
            ("/api/v3/orderList/opo", "orderList.place.opo", _ol.place_opo),
            ("/api/v3/orderList/opoco", "orderList.place.opoco", _ol.place_opoco),
        )
    ),
    Route("DELETE", "/api/v3/orderList", "orderList.cancel", 1, _TRADE, _ol.cancel, free=True),
    Route("GET", "/api/v3/orderList", "orderList.status", 4, _DATA, _ol.query),
    Route("GET", "/api/v3/openOrderList", "openOrderLists.status", 6, _DATA, _ol.open_lists),
    Route("GET", "/api/v3/allOrderList", "allOrderLists", 20, _DATA, _ol.all_lists),
    # account
    Route("GET", "/api/v3/account", "account.status", 20, _DATA, account.account),
    Route("GET", "/api/v3/account/commission", "account.commission", 20, _DATA, account.commission),
    Route("GET", "/api/v3/myTrades", "myTrades", account.my_trades_weight, _DATA, account.my_trades),
    Route("GET", "/api/v3/rateLimit/order", "account.rateLimits.orders", 40, _DATA, account.order_count),
    Route("GET", "/api/v3/myFilters", "myFilters", 40, _DATA, account.my_filters),
    Route(
        "GET",
        "/api/v3/myPreventedMatches",
        "myPreventedMatches",
        account.prevented_matches_weight,
        _DATA,
        account.prevented_matches,
    ),
    Route("GET", "/api/v3/myAllocations", "myAllocations", 20, _DATA, account.allocations),
    # what clients ask for while they load; /sapi and the futures have weights of their own, not counted here
    Route("GET", "/sapi/v1/capital/config/getall", None, 0, _DATA, wallet.coins),
    Route("GET", "/sapi/v1/asset/tradeFee", None, 0, _DATA, wallet.trade_fees),
    *MARGIN_ROUTES,
    Route("GET", "/sapi/v1/system/status", None, 0, _NONE, wallet.system_status),
    Route("GET", "/sapi/v1/account/status", None, 0, _DATA, wallet.account_status),
    Route("GET", "/sapi/v1/account/apiTradingStatus", None, 0, _DATA, wallet.trading_status),
    Route("GET", "/fapi/v1/exchangeInfo", None, 0, _NONE, wallet.no_markets),
    Route("GET", "/dapi/v1/exchangeInfo", None, 0, _NONE, wallet.no_markets),
)


def by_path(routes: Iterable[Route] = ROUTES) -> dict[tuple[str, str], Route]:
    return {(route.verb, route.path): route for route in routes}


def by_method(routes: Iterable[Route] = ROUTES) -> dict[str, Route]:
    return {route.ws: route for route in routes if route.ws is not None}
