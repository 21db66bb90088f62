"""Handlers of what is true for everybody: pairs, assets, rates, tiers, stock, index prices."""

from decimal import Decimal
from typing import Final

from executor.paper.engine.margin.model import ISOLATED_BARS, LAST_INITIAL, TIERS
from executor.paper.engine.model import Reject
from executor.paper.engine.symbol import Symbol
from executor.paper.server import errors
from executor.paper.server.call import Call
from executor.paper.server.params import Params
from executor.paper.server.render import Json, amount

_HOURS: Final = 24
_FIRST_TIER_USDT: Final = Decimal(200_000)


def cross_pairs(call: Call, params: Params) -> list[Json]:
    return [{"id": n, **row} for n, row in enumerate(isolated_pairs(call, params), 351_637_150)]


def isolated_pairs(call: Call, params: Params) -> list[Json]:
    name = params.optional_symbol()
    params.finish()
    barred = call.engine.margin.terms.barred
    return [
        {
            "base": symbol.base,
            "isBuyAllowed": symbol.name not in barred,
            "isMarginTrade": symbol.name not in barred,
            "isSellAllowed": symbol.name not in barred,
            "quote": symbol.quote,
            "symbol": symbol.name,
        }
        for symbol in call.engine.symbols()
        if name in (None, symbol.name)
    ]


def all_assets(call: Call, params: Params) -> list[Json]:
    name = params.optional_text("asset")
    params.finish()
    terms = call.engine.margin.terms
    return [
        {
            "assetFullName": asset,
            "assetName": asset,
            "isBorrowable": asset not in terms.unborrowable,
            "isMortgageable": True,
            "userMinBorrow": amount(terms.min_borrow.get(asset, Decimal(0))),
            "userMinRepay": amount(terms.min_repay.get(asset, Decimal(0))),
        }
        for asset in _assets(call)
        if name in (None, asset)
    ]


def cross_data(call: Call, params: Params) -> list[Json]:
    level, coin = params.optional_integer("vipLevel") or 0, params.optional_text("coin")
    params.finish()
    terms = call.engine.margin.terms
    return [
        {
            "vipLevel": level,
            "coin": asset,
            "transferIn": True,
            "borrowable": asset not in terms.unborrowable,
            "dailyInterest": amount(terms.rate(asset) * _HOURS),
            "yearlyInterest": amount(terms.rate(asset) * _HOURS * 365),
            "borrowLimit": _limit(call, asset),
            "marginablePairs": [s.name for s in call.engine.symbols() if asset in (s.base, s.quote)],
        }
        for asset in _assets(call)
        if coin in (None, asset)
    ]


def cross_data_weight(params: Params) -> int:
    return 1 if "coin" in params else 5


def isolated_data(call: Call, params: Params) -> list[Json]:
    level, name = params.optional_integer("vipLevel") or 0, params.optional_symbol()
    params.finish()
    terms = call.engine.margin.terms
    return [
        {
            "vipLevel": level,
            "symbol": symbol.name,
            "leverage": str(terms.leverage(symbol.name)),
            "data": [
                {
                    "coin": asset,
                    "dailyInterest": amount(terms.rate(asset) * _HOURS),
                    "borrowLimit": _limit(call, asset),
                }
                for asset in (symbol.base, symbol.quote)
            ],
        }
        for symbol in call.engine.symbols()
        if name in (None, symbol.name)
    ]


def isolated_data_weight(params: Params) -> int:
    return 1 if "symbol" in params else 10


def isolated_tiers(call: Call, params: Params) -> list[Json]:
    symbol, wanted = call.engine.symbol(params.symbol()), params.optional_integer("tier")
    params.finish()
    return [row for row in _tiers(call, symbol) if wanted in (None, row["tier"])]


def rate_history(call: Call, params: Params) -> list[Json]:
    """The rate as it is: no other was ever charged, as far as is known here."""
    asset = params.text("asset")
    level = params.optional_integer("vipLevel") or 0
    for name in ("startTime", "endTime", "limit"):
        params.optional_integer(name)
    params.finish()
    daily = amount(call.engine.margin.terms.rate(asset) * _HOURS)
    hour = call.now_ms // 3_600_000 * 3_600_000
    return [{"asset": asset, "dailyInterestRate": daily, "timestamp": hour, "vipLevel": level}]


def next_rates(call: Call, params: Params) -> list[Json]:
    assets = params.text("assets").split(",")
    params.flag("isIsolated")
    params.finish()
    if len(assets) > 20:
        raise errors.too_great("assets", 20)
    return [
        {"asset": asset, "nextHourlyInterestRate": amount(call.engine.margin.terms.rate(asset))} for asset in assets
    ]


def inventory(call: Call, params: Params) -> Json:
    if params.text("type") not in ("MARGIN", "ISOLATED"):
        raise errors.invalid_data("type")
    params.finish()
    stock = call.engine.margin.terms.stock
    plenty = Decimal(1_000_000_000)
    return {
        "assets": {asset: f"{stock.get(asset, plenty):f}" for asset in _assets(call)},
        "updateTime": call.now_ms,
    }


def price_index(call: Call, params: Params) -> Json:
    symbol = call.engine.symbol(params.symbol())
    params.finish()
    price = call.engine.margin.prices.of(symbol.name)
    if price is None:
        raise Reject(-3042, "PriceIndex not available for this margin pair.")
    return {"calcTime": call.now_ms, "price": amount(price), "symbol": symbol.name}


def collateral_ratios(call: Call, params: Params) -> list[Json]:
    params.finish()
    shares = call.engine.margin.terms.collateral
    return [
        {
            "collaterals": [
                {"minUsdValue": "0", "maxUsdValue": "1000000000", "discountRate": f"{shares.get(asset, 1)}"}
            ],
            "assetNames": [asset],
        }
        for asset in _assets(call)
    ]


def nothing_listed(_: Call, params: Params) -> list[Json]:
    """No pair is about to be delisted, or listed."""
    params.finish()
    return []


def limit_price_pairs(_: Call, params: Params) -> Json:
    params.finish()
    return {"crossMarginSymbols": []}


def restricted(_: Call, params: Params) -> Json:
    params.finish()
    return {"openLongRestrictedAsset": [], "maxCollateralExceededAsset": []}


def _assets(call: Call) -> list[str]:
    return sorted({asset for symbol in call.engine.symbols() for asset in (symbol.base, symbol.quote)})


def _limit(call: Call, asset: str) -> str:
    margin = call.engine.margin
    price = margin.prices.worth(asset)
    return amount(margin.terms.most_usdt / price) if price else "0"


def _tiers(call: Call, symbol: Symbol) -> list[Json]:
    """From the pair's leverage down, in even steps: what may be owed doubles, what must be owned grows."""
    margin = call.engine.margin
    leverage = margin.terms.leverage(symbol.name)
    count, bars = TIERS[leverage], ISOLATED_BARS[leverage]
    rows = []
    for n in range(count):
        part = Decimal(n) / (count - 1)
        initial = bars.borrow + (LAST_INITIAL[leverage] - bars.borrow) * part
        most = _FIRST_TIER_USDT * 2**n
        rows.append(
            {
                "symbol": symbol.name,
                "tier": n + 1,
                "effectiveMultiple": f"{initial / (initial - 1):.4f}",
                "initialRiskRatio": f"{initial:.4f}",
                "liquidationRiskRatio": f"{bars.liquidation:f}",
                "baseAssetMaxBorrowable": _worth(most, margin.prices.worth(symbol.base)),
                "quoteAssetMaxBorrowable": _worth(most, margin.prices.worth(symbol.quote)),
            }
        )
    return rows


def _worth(usdt: Decimal, price: Decimal) -> str:
    return amount(usdt / price) if price else "0"
