"""Handlers of klines: minutes from the engine, seconds, weeks and months made here."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from executor.core.model.values import ZERO
from executor.paper.engine.market_data import MarketKline, MarketTrade
from executor.paper.server import errors
from executor.paper.server.call import Call
from executor.paper.server.limits import DAY_MS, MINUTE_MS, SECOND_MS
from executor.paper.server.params import Params
from executor.paper.server.render import amount

_ALL: Final = 10**9

KLINE_INTERVALS: Final = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
}
"""Intervals that are whole multiples since the epoch, in ms; a week starts on Monday, a month on its first.
"""


_ZONE: Final = re.compile(r"([+-]?)(\d{1,2})(?::([0-5]\d))?")
_QUARTER_MS: Final = 15 * MINUTE_MS
"""Time zones differ by whole quarters of an hour."""


def klines(call: Call, params: Params) -> list[list[Any]]:
    symbol, interval, limit = params.symbol(), params.text("interval"), params.limit(500, 1000)
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    zone = params.optional_text("timeZone")
    params.finish()
    call.engine.symbol(symbol)
    if not has_interval(interval):
        raise errors.invalid_interval()
    zone_ms = 0 if zone is None else _zone_ms(zone)
    return [_kline_row(row) for row in rows_of(call, symbol, interval, zone_ms, start, end, limit)]


def has_interval(interval: str) -> bool:
    return interval in KLINE_INTERVALS or interval in ("1s", "1w", "1M")


def rows_of(
    call: Call, symbol: str, interval: str, zone_ms: int, start: int | None, end: int | None, limit: int
) -> list[MarketKline]:
    """The first `limit` klines from `start` on, else the last until `end`, cut by a clock `zone_ms` ahead of UTC."""
    if interval == "1s":
        return _second_klines(call, symbol, start, end, limit)
    interval_ms = KLINE_INTERVALS.get(interval)
    if interval_ms is not None and zone_ms % interval_ms == 0:
        return call.engine.klines(symbol, interval_ms, start_time=start, end_time=end, limit=limit)
    parts = call.engine.klines(symbol, _QUARTER_MS, end_time=end, limit=_ALL)
    rows = [row for row in _merged(parts, interval, zone_ms) if start is None or row.open_time >= start]
    return rows[:limit] if start is not None else rows[-limit:]


def _zone_ms(text: str) -> int:
    """Of `5`, `-1:00` or `05:45`, from -12:00 to +14:00 (rest-api.md, "Kline/Candlestick data")."""
    found = _ZONE.fullmatch(text)
    if found is None:
        raise errors.invalid_data("timeZone")
    sign, hours, minutes = found.groups(default="0")
    ahead_ms = (int(hours) * 60 + int(minutes)) * MINUTE_MS * (-1 if sign == "-" else 1)
    if not -12 * 60 * MINUTE_MS <= ahead_ms <= 14 * 60 * MINUTE_MS or ahead_ms % _QUARTER_MS:
        raise errors.invalid_data("timeZone")
    return ahead_ms


def _kline_row(row: MarketKline) -> list[Any]:
    return [
        row.open_time,
        amount(row.open),
        amount(row.high),
        amount(row.low),
        amount(row.close),
        amount(row.volume),
        row.close_time,
        amount(row.quote_volume),
        row.trades,
        amount(row.taker_buy_volume),
        amount(row.taker_buy_quote_volume),
        "0",
    ]


def _second_klines(call: Call, symbol: str, start: int | None, end: int | None, limit: int) -> list[MarketKline]:
    """Seconds out of trades; a second without trades repeats the close before it."""
    last_ms = call.now_ms if end is None else min(end, call.now_ms)
    first_ms = (last_ms // SECOND_MS - limit + 1) * SECOND_MS if start is None else -(-start // SECOND_MS) * SECOND_MS
    trades = call.engine.recent_trades(symbol, start_time=first_ms, end_time=last_ms, limit=_ALL)
    by_second: dict[int, list[MarketTrade]] = {}
    for trade in trades:
        by_second.setdefault(trade.time // SECOND_MS * SECOND_MS, []).append(trade)
    before = call.engine.recent_trades(symbol, end_time=first_ms - 1, limit=1)
    close = before[-1].price if before else None
    rows: list[MarketKline] = []
    for opened in range(first_ms, last_ms + 1, SECOND_MS):
        within = by_second.get(opened, [])
        if within or close is not None:
            rows.append(_kline_of(within, opened, close))
            close = rows[-1].close
        if len(rows) == limit:
            break
    return rows


def _kline_of(trades: list[MarketTrade], opened: int, close_before: Decimal | None) -> MarketKline:
    prices = [trade.price for trade in trades] or [close_before or ZERO]
    bought = [trade for trade in trades if not trade.buyer_is_maker]
    return MarketKline(
        open_time=opened,
        close_time=opened + SECOND_MS - 1,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=sum((t.qty for t in trades), ZERO),
        quote_volume=sum((t.qty * t.price for t in trades), ZERO),
        trades=len(trades),
        taker_buy_volume=sum((t.qty for t in bought), ZERO),
        taker_buy_quote_volume=sum((t.qty * t.price for t in bought), ZERO),
    )


def _merged(parts: Iterable[MarketKline], interval: str, zone_ms: int) -> list[MarketKline]:
    """Klines out of shorter ones."""
    rows: list[MarketKline] = []
    for part in parts:
        opened, closes = _bounds(part.open_time + zone_ms, interval)
        opened, closes = opened - zone_ms, closes - zone_ms
        if rows and rows[-1].open_time == opened:
            rows[-1] = _merge(rows[-1], part, opened, closes)
        else:
            rows.append(_merge(None, part, opened, closes))
    return rows


def _bounds(at_ms: int, interval: str) -> tuple[int, int]:
    """First and last ms of the interval, the week (from Monday) or month around `at_ms`."""
    length_ms = KLINE_INTERVALS.get(interval)
    if length_ms is not None:
        opened = at_ms - at_ms % length_ms
        return opened, opened + length_ms - 1
    day = datetime.fromtimestamp(at_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "1w":
        first = day - timedelta(days=day.weekday())
        after = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return int(first.timestamp()) * 1000, int(after.timestamp()) * 1000 - 1


def _merge(row: MarketKline | None, part: MarketKline, opened: int, closes: int) -> MarketKline:
    return MarketKline(
        open_time=opened,
        close_time=closes,
        open=row.open if row else part.open,
        high=max(row.high, part.high) if row else part.high,
        low=min(row.low, part.low) if row else part.low,
        close=part.close,
        volume=part.volume + (row.volume if row else ZERO),
        quote_volume=part.quote_volume + (row.quote_volume if row else ZERO),
        trades=part.trades + (row.trades if row else 0),
        taker_buy_volume=part.taker_buy_volume + (row.taker_buy_volume if row else ZERO),
        taker_buy_quote_volume=part.taker_buy_quote_volume + (row.taker_buy_quote_volume if row else ZERO),
    )
