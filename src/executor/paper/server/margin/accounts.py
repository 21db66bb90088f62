"""Handlers of margin accounts themselves: what they hold, owe and are worth, and how they are opened and liquidated."""

from decimal import ROUND_DOWN, Decimal
from typing import Final

from executor.core.model.values import ZERO
from executor.paper.engine.choices import NoDebtLevel
from executor.paper.engine.margin.account import NO_DEBT, MarginAccount
from executor.paper.engine.margin.model import CROSS_BARS, UNIT, LevelStatus
from executor.paper.engine.model import Reject
from executor.paper.server import errors
from executor.paper.server.call import Call
from executor.paper.server.margin.loans import read_page, read_pair, within
from executor.paper.server.params import Params
from executor.paper.server.render import Json, amount

MOST_ISOLATED: Final = 20
_MOST_SYMBOLS: Final = 5
_DAY_MS: Final = 86_400_000


def cross_account(call: Call, params: Params) -> Json:
    params.finish()
    margin = call.engine.margin
    account = margin.account(call.account)
    assets = {name for symbol in call.engine.symbols() for name in (symbol.base, symbol.quote)}
    worth, owed = account.worth(margin.prices.worth), account.liabilities(margin.prices.worth)
    collateral = account.worth(margin.prices.worth, lambda asset: margin.terms.collateral.get(asset, Decimal(1)))
    return {
        "created": True,
        "borrowEnabled": account.borrow_enabled,
        "marginLevel": amount(_cross_level(call, margin.level(account))),
        "collateralMarginLevel": amount(_cross_level(call, margin.collateral_level(account))),
        "totalAssetOfBtc": _in_bitcoin(call, worth),
        "totalLiabilityOfBtc": _in_bitcoin(call, owed),
        "totalNetAssetOfBtc": _in_bitcoin(call, worth - owed),
        "TotalCollateralValueInUSDT": amount(collateral.quantize(UNIT, ROUND_DOWN)),
        "tradeEnabled": account.trade_enabled,
        "transferInEnabled": account.transfer_in_enabled,
        "transferOutEnabled": account.transfer_out_enabled,
        "accountType": "MARGIN_1",
        "userAssets": [_held(account, asset) for asset in sorted(assets | set(account.assets()))],
    }


def isolated_accounts(call: Call, params: Params) -> Json:
    """All isolated accounts with their totals, or those of up to five `symbols`, without."""
    wanted = params.optional_text("symbols")
    params.finish()
    margin = call.engine.margin
    accounts = [each for each in margin.accounts(call.account) if each.isolated and each.enabled]
    if wanted is not None:
        names = wanted.split(",")
        if len(names) > _MOST_SYMBOLS:
            raise errors.too_great("symbols", _MOST_SYMBOLS)
        for name in names:
            call.engine.symbol(name)
        accounts = [each for each in accounts if each.symbol in names]
        return {"assets": [_pair(call, account) for account in accounts]}
    worth = sum((account.worth(margin.prices.worth) for account in accounts), ZERO)
    owed = sum((account.liabilities(margin.prices.worth) for account in accounts), ZERO)
    return {
        "assets": [_pair(call, account) for account in accounts],
        "totalAssetOfBtc": _in_bitcoin(call, worth),
        "totalLiabilityOfBtc": _in_bitcoin(call, owed),
        "totalNetAssetOfBtc": _in_bitcoin(call, worth - owed),
    }


def enable_isolated(call: Call, params: Params) -> Json:
    return _set_enabled(call, params, enabled=True)


def disable_isolated(call: Call, params: Params) -> Json:
    return _set_enabled(call, params, enabled=False)


def isolated_limit(call: Call, params: Params) -> Json:
    params.finish()
    enabled = [each for each in call.engine.margin.accounts(call.account) if each.isolated and each.enabled]
    return {"enabledAccount": len(enabled), "maxAccount": MOST_ISOLATED}


def bars(call: Call, params: Params) -> Json:
    params.finish()
    call.engine.margin.account(call.account)
    found = call.engine.margin.terms.bars("")
    return {
        "normalBar": f"{found.borrow:f}",
        "marginCallBar": f"{found.call:f}",
        "forceLiquidationBar": f"{found.liquidation:f}",
    }


def set_leverage(call: Call, params: Params) -> Json:
    leverage = params.integer("maxLeverage")
    params.finish()
    call.engine.margin.account(call.account)
    if leverage not in CROSS_BARS:
        raise errors.invalid_data("maxLeverage")
    call.engine.margin.terms.cross_leverage = leverage
    return {"success": True}


def bnb_burn(call: Call, params: Params) -> Json:
    params.finish()
    return _burns(call)


def set_bnb_burn(call: Call, params: Params) -> Json:
    spot, interest = "spotBNBBurn" in params, "interestBNBBurn" in params
    spot_on, interest_on = params.flag("spotBNBBurn"), params.flag("interestBNBBurn")
    params.finish()
    accounts = call.engine.margin.accounts(call.account)
    if spot:
        for name in (call.account, *(account.money.name for account in accounts)):
            call.engine.set_bnb_burn(name, enabled=spot_on)
    if interest:
        for account in accounts:
            account.in_bnb = interest_on
    return _burns(call)


def liquidations(call: Call, params: Params) -> Json:
    pair = read_pair(params)
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    page = read_page(params)
    account = call.engine.margin.account(call.account, pair)
    rows = [row for row in reversed(account.liquidations) if within(row.time, start, end)]
    return page.of(
        rows,
        lambda row: {
            "avgPrice": amount(row.avg_price),
            "executedQty": amount(row.executed_qty),
            "orderId": row.order_id,
            "price": amount(row.avg_price),
            "qty": amount(row.qty),
            "side": row.side,
            "symbol": row.symbol,
            "timeInForce": "GTC",
            "isIsolated": row.isolated,
            "updatedTime": row.time,
        },
    )


def manual_liquidation(call: Call, params: Params) -> Json:
    kind, symbol = params.text("type"), params.optional_symbol()
    params.finish()
    if kind not in ("MARGIN", "ISOLATED"):
        raise errors.invalid_data("type")
    if kind == "ISOLATED" and symbol is None:
        raise errors.missing("symbol")
    margin = call.engine.margin
    account = margin.account(call.account, (symbol or "") if kind == "ISOLATED" else "")
    if not account.owes:
        raise Reject(-3015, "Repay amount exceeds borrow amount.")
    asset, debt = next((asset, debt) for asset, debt in account.debts.items() if debt.total)
    answer = {
        "asset": asset,
        "interest": amount(debt.interest),
        "principal": amount(debt.principal),
        "liabilityAsset": asset,
        "liabilityQty": float(debt.total),
    }
    margin.liquidate(account, call.now_ms, fee=False)
    return answer


def listen_token(call: Call, params: Params) -> Json:
    symbol, isolated = params.optional_symbol(), params.flag("isIsolated")
    validity = params.optional_integer("validity")
    params.finish()
    if isolated and symbol is None:
        raise errors.missing("symbol")
    account = call.engine.margin.account(call.account, symbol if isolated and symbol else "")
    token, ends_ms = call.keys.new_token(account.money.name, call.now_ms, validity or _DAY_MS)
    return {"token": token, "expirationTime": ends_ms}


def open_listen_key(call: Call, params: Params) -> Json:
    params.finish()
    call.engine.margin.account(call.account)
    return {"listenKey": call.keys.open_key(call.account, call.now_ms)}


def extend_listen_key(call: Call, params: Params) -> Json:
    key = params.text("listenKey")
    params.finish()
    if not call.keys.extend_key(key, call.account, call.now_ms):
        raise errors.no_listen_key()
    return {}


def close_listen_key(call: Call, params: Params) -> Json:
    key = params.optional_text("listenKey")
    params.finish()
    if key is not None:
        call.keys.close_key(key, call.account)
    return {}


def retired(_call: Call, params: Params) -> Json:
    params.finish()
    raise errors.retired()


# --- writing ----------------------------------------------------------------------------------------------------------


def _set_enabled(call: Call, params: Params, *, enabled: bool) -> Json:
    symbol = params.symbol()
    params.finish()
    found = [each for each in call.engine.margin.accounts(call.account) if each.symbol == symbol]
    if not found:
        raise Reject(-11001, "Isolated margin account does not exist.")
    if not enabled and (found[0].owes or any(found[0].held(asset) for asset in found[0].assets())):
        raise Reject(-11003, "The isolated margin account cannot be disabled: it holds or owes funds.")
    found[0].enabled = enabled
    return {"success": True, "symbol": symbol}


def _burns(call: Call) -> Json:
    margin = call.engine.margin
    return {
        "spotBNBBurn": call.engine.bnb_burn(call.account),
        "interestBNBBurn": any(account.in_bnb for account in margin.accounts(call.account)),
    }


def _cross_level(call: Call, level: Decimal | None) -> Decimal:
    if level is not None:
        return level
    return NO_DEBT if call.engine.choices.no_debt_level is NoDebtLevel.LARGE else ZERO


def _held(account: MarginAccount, asset: str) -> Json:
    debt = account.debt(asset)
    locked = account.money.locked.get(asset, ZERO)
    return {
        "asset": asset,
        "borrowed": amount(debt.principal),
        "free": amount(account.free(asset)),
        "interest": amount(debt.interest),
        "locked": amount(locked),
        "netAsset": amount(account.held(asset) - debt.total),
    }


def _pair(call: Call, account: MarginAccount) -> Json:
    margin, rules = call.engine.margin, call.engine.symbol(account.symbol)
    bar = margin.terms.bars(account.symbol)
    level = margin.level(account)
    liquidation = account.liquidation_price(rules.base, rules.quote, bar.liquidation)
    index = margin.prices.of(account.symbol) or ZERO
    rate = abs(index - liquidation) / index * 100 if index and liquidation else ZERO
    return {
        "baseAsset": _leg(call, account, rules.base),
        "quoteAsset": _leg(call, account, rules.quote),
        "symbol": account.symbol,
        "isolatedCreated": True,
        "enabled": account.enabled,
        "marginLevel": amount(level or ZERO),
        "marginLevelStatus": (LevelStatus.EXCESSIVE if level is None else account.status).value,
        "marginRatio": f"{margin.terms.leverage(account.symbol):.8f}",
        "indexPrice": amount(index),
        "liquidatePrice": amount(liquidation),
        "liquidateRate": amount(rate),
        "tradeEnabled": account.trade_enabled,
    }


def _leg(call: Call, account: MarginAccount, asset: str) -> Json:
    row = _held(account, asset)
    net = account.held(asset) - account.debt(asset).total
    return {
        **row,
        "borrowEnabled": account.borrow_enabled and asset not in call.engine.margin.terms.unborrowable,
        "netAssetOfBtc": _in_bitcoin(call, net * call.engine.margin.prices.worth(asset)),
        "repayEnabled": account.repay_enabled,
        "totalAsset": amount(account.held(asset)),
    }


def _in_bitcoin(call: Call, usdt: Decimal) -> str:
    return amount((usdt / call.engine.margin.prices.worth("BTC")).quantize(UNIT, ROUND_DOWN))
