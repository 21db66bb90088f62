"""The symbol as the stranger lists it."""

from typing import Any

from tests.stranger.mood import BASE, QUOTE, SYMBOL, Terms, now_ms

FEW = {"PRICE_FILTER", "LOT_SIZE", "PERCENT_PRICE_BY_SIDE"}
OFF = {"minPrice", "maxPrice", "minQty", "maxQty", "minNotional", "maxNotional"}
"""Bounds that are off where they are 0."""


def exchange_info(terms: Terms, *, brackets: bool, margin: bool, shown: str = "usual") -> dict[str, Any]:
    """What GET exchangeInfo says, with a filter and fields of a later day."""
    filters: list[dict[str, Any]] = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "100000", "tickSize": str(terms.tick)},
        {"filterType": "LOT_SIZE", "minQty": str(terms.step), "maxQty": "90000", "stepSize": str(terms.step)},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": "9000", "stepSize": "0"},
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": 10,
            "maxTrailingAboveDelta": 2000,
            "minTrailingBelowDelta": 10,
            "maxTrailingBelowDelta": 2000,
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": str(1 + terms.band),
            "bidMultiplierDown": str(1 - terms.band),
            "askMultiplierUp": str(1 + terms.band),
            "askMultiplierDown": str(1 - terms.band),
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": str(terms.notional),
            "applyMinToMarket": True,
            "maxNotional": "9000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": terms.algo},
        {"filterType": "A_FILTER_OF_TOMORROW", "x": [1]},
    ]
    if shown == "few":
        filters = [row for row in filters if row["filterType"] in FEW]
    elif shown == "zeros":
        filters = [{k: "0.00000000" if k in OFF else v for k, v in row.items()} for row in filters]
    symbol = {
        "symbol": SYMBOL,
        "status": terms.status,
        "baseAsset": BASE,
        "baseAssetPrecision": 8,
        "quoteAsset": QUOTE,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": terms.oco,
        "otoAllowed": brackets,
        "opoAllowed": brackets,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": terms.replaces,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": margin,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT", "X"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER", "NONE"],
    }
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300000},
    ]
    return {
        "timezone": "UTC",
        "serverTime": now_ms(),
        "rateLimits": limits,
        "exchangeFilters": [],
        "symbols": [symbol],
        "sors": [],
    }
