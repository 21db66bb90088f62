"""The few calls beyond `/api` that clients make while they load: coins, fees, markets that are not here."""

from executor.paper.server.call import Call
from executor.paper.server.params import Params
from executor.paper.server.render import Json, amount


def coins(call: Call, params: Params) -> list[Json]:
    """`capital/config/getall`: every asset, with no network to deposit or withdraw by."""
    params.finish()
    held = {b.asset: b for b in call.engine.balances(call.account)}
    assets = dict.fromkeys(held)
    for symbol in call.engine.symbols():
        assets[symbol.base] = assets[symbol.quote] = None
    nothing = "0"
    return [
        {
            "coin": asset,
            "name": asset,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "free": amount(held[asset].free) if asset in held else nothing,
            "locked": amount(held[asset].locked) if asset in held else nothing,
            "freeze": nothing,
            "withdrawing": nothing,
            "ipoing": nothing,
            "ipoable": nothing,
            "storage": nothing,
            "isLegalMoney": False,
            "trading": True,
            "networkList": [],
        }
        for asset in assets
    ]


def trade_fees(call: Call, params: Params) -> list[Json]:
    name = params.optional_symbol()
    params.finish()
    symbols = [call.engine.symbol(name)] if name is not None else call.engine.symbols()
    rows = []
    for symbol in symbols:
        rates = call.engine.commission(call.account, symbol.name)
        rows.append(
            {
                "symbol": symbol.name,
                "makerCommission": format(rates.maker, "f"),
                "takerCommission": format(rates.taker, "f"),
            }
        )
    return rows


def no_markets(call: Call, params: Params) -> Json:
    """`exchangeInfo` of the futures exchanges: none of their markets is here."""
    params.finish()
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "rateLimits": [],
        "exchangeFilters": [],
        "assets": [],
        "symbols": [],
    }


def system_status(_: Call, params: Params) -> Json:
    params.finish()
    return {"status": 0, "msg": "normal"}


def account_status(_: Call, params: Params) -> Json:
    params.finish()
    return {"data": "Normal"}


def trading_status(call: Call, params: Params) -> Json:
    params.finish()
    return {
        "data": {
            "isLocked": False,
            "plannedRecoverTime": 0,
            "triggerCondition": {"GCR": 150, "IFER": 150, "UFR": 300},
            "updateTime": call.now_ms,
        }
    }
