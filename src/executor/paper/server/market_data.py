"""Handlers of public market data: general information, books, trades, klines, tickers."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from executor.core.model.values import ZERO
from executor.paper.engine.market_data import BookTicker, MarketTrade, Ticker
from executor.paper.engine.model import SymbolStatus
from executor.paper.engine.symbol import Symbol
from executor.paper.server import errors
from executor.paper.server.call import Call
from executor.paper.server.limits import DAY_MS, MINUTE_MS
from executor.paper.server.params import Params
from executor.paper.server.render import Json, amount

AVG_PRICE_MINS: Final = 5
_WINDOW: Final = re.compile(r"^([1-9]|[1-5][0-9])m$|^([1-9]|1[0-9]|2[0-3])h$|^([1-7])d$")
_QUERYABLE_STATUSES: Final = {s.value: s for s in (SymbolStatus.TRADING, SymbolStatus.HALT, SymbolStatus.BREAK)}
PERMISSIONS: Final = "[A-Z0-9_]{1,20}"
_PERMISSION: Final = re.compile(PERMISSIONS)
_TICKER_TYPES: Final = {"FULL": "FULL", "MINI": "MINI"}
ALL: Final = 10**9
"""As many rows as there are."""


# general


def ping(_: Call, params: Params) -> Json:
    params.finish()
    return {}


def server_time(call: Call, params: Params) -> Json:
    params.finish()
    return {"serverTime": call.now_ms}


def exchange_info(call: Call, params: Params) -> Json:
    name, names = params.optional_symbol(), params.optional_symbols()
    status = _status(params)
    permissions = _permissions(params)
    params.flag("showPermissionSets", default=True)
    params.finish()
    chosen_by_name = name is not None or names is not None
    if (name is not None and names is not None) or (chosen_by_name and (status or permissions)):
        raise errors.bad_combination()
    symbols = _symbols(call, name, names)
    if status is not None:
        symbols = [s for s in symbols if s.status is status]
    if permissions is not None:
        symbols = [s for s in symbols if any(permissions.intersection(names) for names in s.row["permissionSets"])]
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "rateLimits": call.limits.announce(),
        "exchangeFilters": [],
        "symbols": [{**s.row, "status": s.status.value} for s in symbols],
    }


def execution_rules(call: Call, params: Params) -> Json:
    """No symbol here has a price range rule."""
    name, names, status = params.optional_symbol(), params.optional_symbols(), _status(params)
    params.finish()
    if sum(choice is not None for choice in (name, names, status)) > 1:
        raise errors.bad_combination()
    _symbols(call, name, names)
    return {"symbolRules": []}


def reference_price(call: Call, params: Params) -> Json:
    call.engine.symbol(params.symbol())
    _status(params)
    params.finish()
    raise errors.no_reference_price()


# books


def depth(call: Call, params: Params) -> Json:
    symbol, limit = params.symbol(), params.limit(100, 5000)
    _one_with_status(call, symbol, params)
    params.finish()
    return depth_levels(call, symbol, limit)


def depth_levels(call: Call, symbol: str, limit: int) -> Json:
    book = call.engine.depth(symbol, limit)
    return {
        "lastUpdateId": book.last_update_id,
        "bids": [[amount(price), amount(qty)] for price, qty in book.bids],
        "asks": [[amount(price), amount(qty)] for price, qty in book.asks],
    }


def depth_weight(params: Params) -> int:
    text = params.peek("limit")
    limit = int(text) if text and text.isdecimal() else 100
    for most, weight in ((100, 5), (500, 25), (1000, 50)):
        if limit <= most:
            return weight
    return 250


def book_ticker(call: Call, params: Params) -> Json | list[Json]:
    return _for_symbols(call, params, lambda s: _book_row(call.engine.book_ticker(s.name)))


def price_ticker(call: Call, params: Params) -> Json | list[Json]:
    def row(symbol: Symbol) -> Json:
        return {"symbol": symbol.name, "price": amount(call.engine.last_price(symbol.name) or ZERO)}

    return _for_symbols(call, params, row)


def single_or_all_weight(single: int, several: int) -> Callable[[Params], int]:
    """Weight with `symbol`, and with `symbols` or none of them."""

    def weigh(params: Params) -> int:
        return single if "symbol" in params else several

    return weigh


def _book_row(book: BookTicker) -> Json:
    return {
        "symbol": book.symbol,
        "bidPrice": amount(book.bid),
        "bidQty": amount(book.bid_qty),
        "askPrice": amount(book.ask),
        "askQty": amount(book.ask_qty),
    }


# trades


def recent_trades(call: Call, params: Params) -> list[Json]:
    symbol, limit = params.symbol(), params.limit(500, 1000)
    params.finish()
    call.engine.symbol(symbol)
    return [_trade_row(t) for t in call.engine.recent_trades(symbol, limit=limit)]


def historical_trades(call: Call, params: Params) -> list[Json]:
    symbol, limit, from_id = params.symbol(), params.limit(500, 1000), params.optional_integer("fromId")
    params.finish()
    call.engine.symbol(symbol)
    return [_trade_row(t) for t in call.engine.recent_trades(symbol, from_id=from_id, limit=limit)]


def block_trades(call: Call, params: Params) -> list[Json]:
    """Nobody trades blocks here."""
    call.engine.symbol(params.symbol())
    params.integer("fromId")
    params.limit(500, 1000)
    params.finish()
    return []


def aggregate_trades(call: Call, params: Params) -> list[Json]:
    """Each recorded trade is its own aggregate."""
    symbol, limit = params.symbol(), params.limit(500, 1000)
    from_id = params.optional_integer("fromId")
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    params.finish()
    call.engine.symbol(symbol)
    trades = call.engine.recent_trades(symbol, from_id=from_id, start_time=start, end_time=end, limit=limit)
    return [aggregate_row(t) for t in trades]


def aggregate_row(trade: MarketTrade) -> Json:
    return {
        "a": trade.trade_id,
        "p": amount(trade.price),
        "q": amount(trade.qty),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def _trade_row(trade: MarketTrade) -> Json:
    return {
        "id": trade.trade_id,
        "price": amount(trade.price),
        "qty": amount(trade.qty),
        "quoteQty": amount(trade.price * trade.qty),
        "time": trade.time,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def avg_price(call: Call, params: Params) -> Json:
    symbol = params.symbol()
    params.finish()
    call.engine.symbol(symbol)
    trades = call.engine.recent_trades(symbol, limit=1)
    return {
        "mins": AVG_PRICE_MINS,
        "price": amount(call.engine.avg_price(symbol, call.now_ms, AVG_PRICE_MINS) or ZERO),
        "closeTime": trades[-1].time if trades else call.now_ms,
    }


# statistics


def ticker_24h(call: Call, params: Params) -> Json | list[Json]:
    mini = _wants_mini(params)
    return _for_symbols(call, params, lambda s: ticker_row(call.engine.ticker(s.name, call.now_ms), mini=mini))


def ticker_row(t: Ticker, *, mini: bool = False) -> Json:
    if mini:
        return {
            "symbol": t.symbol,
            "openPrice": amount(t.open),
            "highPrice": amount(t.high),
            "lowPrice": amount(t.low),
            "lastPrice": amount(t.last),
            "volume": amount(t.volume),
            "quoteVolume": amount(t.quote_volume),
            "openTime": t.open_time,
            "closeTime": t.close_time,
            "firstId": t.first_id,
            "lastId": t.last_id,
            "count": t.count,
        }
    return {
        "symbol": t.symbol,
        "priceChange": amount(t.last - t.open),
        "priceChangePercent": percent_change(t.open, t.last),
        "weightedAvgPrice": amount(t.weighted_avg),
        "prevClosePrice": amount(t.prev_close),
        "lastPrice": amount(t.last),
        "lastQty": amount(t.last_qty),
        "bidPrice": amount(t.bid),
        "bidQty": amount(t.bid_qty),
        "askPrice": amount(t.ask),
        "askQty": amount(t.ask_qty),
        "openPrice": amount(t.open),
        "highPrice": amount(t.high),
        "lowPrice": amount(t.low),
        "volume": amount(t.volume),
        "quoteVolume": amount(t.quote_volume),
        "openTime": t.open_time,
        "closeTime": t.close_time,
        "firstId": t.first_id,
        "lastId": t.last_id,
        "count": t.count,
    }


def percent_change(before: Decimal, after: Decimal) -> str:
    return f"{(after - before) * 100 / before:.3f}" if before else "0.000"


def ticker_weight(params: Params) -> int:
    """Weight of `ticker/24hr` by the number of symbols."""
    if "symbol" in params:
        return 2
    listed = _listed(params)
    if listed is None or listed > 100:
        return 80
    return 2 if listed <= 20 else 40


def window_weight(params: Params) -> int:
    """Weight of `ticker` and `ticker/tradingDay`: 4 for each symbol, at most 200."""
    return min(200, 4 * (_listed(params) or 1))


def rolling_window(call: Call, params: Params) -> Json | list[Json]:
    size = params.optional_text("windowSize") or "1d"
    mini = _wants_mini(params)
    if not _WINDOW.match(size):
        raise errors.invalid_data("windowSize")
    unit = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS}[size[-1]]
    opens = (call.now_ms - int(size[:-1]) * unit) // MINUTE_MS * MINUTE_MS
    return _for_symbols(
        call, params, lambda s: window_row(call, s.name, opens, call.now_ms, mini=mini), needs_symbol=True
    )


def trading_day(call: Call, params: Params) -> Json | list[Json]:
    zone = params.optional_text("timeZone")
    mini = _wants_mini(params)
    if zone not in (None, "0"):
        raise errors.invalid_data("timeZone")
    opens = call.now_ms // DAY_MS * DAY_MS
    return _for_symbols(
        call,
        params,
        lambda s: window_row(call, s.name, opens, opens + DAY_MS - 1, mini=mini),
        needs_symbol=True,
    )


def window_row(call: Call, symbol: str, opens: int, closes: int, *, mini: bool) -> Json:
    rows = call.engine.klines(symbol, MINUTE_MS, start_time=opens, end_time=closes, limit=ALL)
    first = call.engine.recent_trades(symbol, start_time=opens, limit=1)
    last = call.engine.recent_trades(symbol, limit=1)
    volume = sum((row.volume for row in rows), ZERO)
    quote_volume = sum((row.quote_volume for row in rows), ZERO)
    opened, close = (rows[0].open, rows[-1].close) if rows else (ZERO, ZERO)
    change: Json = {
        "priceChange": amount(close - opened),
        "priceChangePercent": percent_change(opened, close),
        "weightedAvgPrice": amount(quote_volume / volume if volume else ZERO),
    }
    return {
        "symbol": symbol,
        **({} if mini else change),
        "openPrice": amount(opened),
        "highPrice": amount(max((row.high for row in rows), default=ZERO)),
        "lowPrice": amount(min((row.low for row in rows), default=ZERO)),
        "lastPrice": amount(close),
        "volume": amount(volume),
        "quoteVolume": amount(quote_volume),
        "openTime": opens,
        "closeTime": closes,
        "firstId": first[0].trade_id if first else -1,
        "lastId": last[-1].trade_id if rows and last else -1,
        "count": sum(row.trades for row in rows),
    }


# shared


def _permissions(params: Params) -> frozenset[str] | None:
    """`permissions`: one name, or a JSON array of them (rest-api.md, "Exchange information")."""
    text = params.optional_text("permissions")
    if text is None:
        return None
    names = text.removeprefix("[").removesuffix("]").replace('"', "").split(",")
    if not all(_PERMISSION.fullmatch(name) for name in names):
        raise errors.illegal_characters("permissions", PERMISSIONS)
    return frozenset(names)


def _listed(params: Params) -> int | None:
    """How many names `symbols` lists; None without it."""
    text = params.peek("symbols")
    return None if text is None else text.count(",") + 1


def _wants_mini(params: Params) -> bool:
    return params.optional_choice("type", _TICKER_TYPES, errors.invalid_ticker_type) == "MINI"


def _status(params: Params) -> SymbolStatus | None:
    return params.optional_choice("symbolStatus", _QUERYABLE_STATUSES, errors.invalid_symbol_status)


def _one_with_status(call: Call, name: str, params: Params) -> Symbol:
    symbol, status = call.engine.symbol(name), _status(params)
    if status is not None and symbol.status is not status:
        raise errors.status_mismatch()
    return symbol


def _symbols(call: Call, name: str | None, names: list[str] | None) -> list[Symbol]:
    if name is not None:
        return [call.engine.symbol(name)]
    if names is not None:
        return [call.engine.symbol(n) for n in names]
    return call.engine.symbols()


def _for_symbols(
    call: Call, params: Params, row: Callable[[Symbol], Json], *, needs_symbol: bool = False
) -> Json | list[Json]:
    """One row for `symbol`, a list of rows for `symbols` or, where allowed, for none of them."""
    name, names, status = params.optional_symbol(), params.optional_symbols(), _status(params)
    params.finish()
    if name is not None and names is not None:
        raise errors.bad_combination()
    if name is None and names is None and needs_symbol:
        raise errors.missing_both("symbol", "symbols")
    symbols = _symbols(call, name, names)
    if name is not None:
        if status is not None and symbols[0].status is not status:
            raise errors.status_mismatch()
        return row(symbols[0])
    return [row(s) for s in symbols if status is None or s.status is status]
