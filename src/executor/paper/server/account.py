"""Handlers of an account's data: balances, trades, commission, limits, filters."""

import zlib
from collections.abc import Callable
from typing import Any, Final

from executor.core.model.values import ZERO
from executor.paper.engine.exchange import Engine
from executor.paper.engine.model import Balance, CommissionRates, PreventedMatch
from executor.paper.server import errors, render
from executor.paper.server.call import Call
from executor.paper.server.orders import discount, read_period
from executor.paper.server.params import Params
from executor.paper.server.render import Json, amount

_BASIS_POINTS: Final = 10_000


def account(call: Call, params: Params) -> Json:
    without_zeros = params.flag("omitZeroBalances")
    params.finish()
    rates = _account_rates(call)
    balances = call.engine.balances(call.account)
    if without_zeros:
        balances = [b for b in balances if not _is_zero(b)]
    return {
        "makerCommission": int(rates.maker * _BASIS_POINTS),
        "takerCommission": int(rates.taker * _BASIS_POINTS),
        "buyerCommission": int(rates.buyer * _BASIS_POINTS),
        "sellerCommission": int(rates.seller * _BASIS_POINTS),
        "commissionRates": _rates(rates),
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": call.engine.account_update_time(call.account),
        "accountType": "SPOT",
        "balances": [render.balance(b) for b in balances],
        "permissions": ["SPOT"],
        "uid": _uid(call.account),
    }


def _uid(account: str) -> int:
    """Another one for each account, the same in each run."""
    return 1 + zlib.crc32(account.encode())


def commission(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    params.finish()
    call.engine.symbol(symbol)
    rates = call.engine.commission(call.account, symbol)
    nothing = _rates(CommissionRates(maker=ZERO, taker=ZERO))
    return {
        "symbol": symbol,
        "standardCommission": _rates(rates),
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": discount(call, rates),
    }


def my_trades(call: Call, params: Params) -> list[Json]:
    symbol, limit = params.symbol(), params.limit(500, 1000)
    order_id, from_id = params.optional_integer("orderId"), params.optional_integer("fromId")
    start, end = read_period(params)
    params.finish()
    if (start is not None or end is not None) and (from_id is not None or order_id is not None):
        raise errors.bad_combination()
    fills = call.engine.my_trades(
        call.account, symbol, order_id=order_id, from_id=from_id, start_time=start, end_time=end, limit=limit
    )
    return [render.own_trade(fill) for fill in fills]


def my_trades_weight(params: Params) -> int:
    return 5 if "orderId" in params else 20


def order_count(call: Call, params: Params) -> list[Json]:
    params.finish()
    return order_count_rows(call)


def order_count_rows(call: Call) -> list[Json]:
    """The unfilled orders of the account in each window."""
    return [
        {
            "rateLimitType": "ORDERS",
            "interval": row.interval,
            "intervalNum": row.interval_num,
            "limit": row.limit,
            "count": row.count,
        }
        for row in call.engine.order_counts(call.account, call.now_ms)
    ]


def my_filters(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    params.finish()
    return {
        "exchangeFilters": [],
        "symbolFilters": call.engine.symbol(symbol).row.get("filters", []),
        "assetFilters": [],
    }


def prevented_matches(call: Call, params: Params) -> list[Json]:
    return read_matches(params)(call.engine, call.account)


def read_matches(params: Params) -> Callable[[Engine, str], list[Json]]:
    """What of an account is asked for."""
    symbol, limit = params.symbol(), params.limit(500, 1000)
    match_id, order_id = params.optional_integer("preventedMatchId"), params.optional_integer("orderId")
    from_id = params.optional_integer("fromPreventedMatchId")
    params.finish()
    if match_id is None and order_id is None:
        raise errors.missing_both("preventedMatchId", "orderId")

    def found(engine: Engine, account: str) -> list[Json]:
        matches = engine.prevented_matches(account, symbol, order_id=order_id, prevented_match_id=match_id)
        if from_id is not None:
            matches = [m for m in matches if m.prevented_match_id >= from_id]
        return [_prevented(m) for m in matches[:limit]]

    return found


def prevented_matches_weight(params: Params) -> int:
    return 20 if "orderId" in params else 2


def allocations(call: Call, params: Params) -> list[Any]:
    """Allocations come of smart order routing, which this exchange has not."""
    symbol = params.symbol()
    params.limit(500, 1000)
    read_period(params)
    params.optional_integer("fromAllocationId")
    params.optional_integer("orderId")
    params.finish()
    call.engine.symbol(symbol)
    return []


def _account_rates(call: Call) -> CommissionRates:
    symbols = call.engine.symbols()
    return call.engine.commission(call.account, symbols[0].name) if symbols else CommissionRates()


def _rates(rates: CommissionRates) -> Json:
    return {
        "maker": amount(rates.maker),
        "taker": amount(rates.taker),
        "buyer": amount(rates.buyer),
        "seller": amount(rates.seller),
    }


def _is_zero(row: Balance) -> bool:
    return row.free == 0 and row.locked == 0


def _prevented(match: PreventedMatch) -> Json:
    return {
        "symbol": match.symbol,
        "preventedMatchId": match.prevented_match_id,
        "takerOrderId": match.taker_order_id,
        "makerSymbol": match.symbol,
        "makerOrderId": match.maker_order_id,
        "tradeGroupId": render.NO_TRADE_GROUP,
        "selfTradePreventionMode": match.stp_mode.value,
        "price": amount(match.price),
        **render.lost_quantities(match),
        "transactTime": match.time,
    }
