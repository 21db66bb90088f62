"""Values of the paper exchange's market data: quotes, trades, klines, tickers, depth. Units as in `model`."""

from decimal import Decimal

import msgspec


class BookTicker(msgspec.Struct, kw_only=True, frozen=True):
    """Best bid and ask; a side without a price is 0 with quantity 0."""

    symbol: str
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal


class MarketTrade(msgspec.Struct, kw_only=True, frozen=True):
    """One trade of the market (`GET /api/v3/trades`, `aggTrades`)."""

    trade_id: int
    price: Decimal
    qty: Decimal
    buyer_is_maker: bool
    time: int


class MarketKline(msgspec.Struct, kw_only=True, frozen=True):
    """A kline built from the fed trades; `open_time` and `close_time` in ms, the latter inclusive."""

    open_time: int
    close_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal


class Ticker(msgspec.Struct, kw_only=True, frozen=True):
    """`GET /api/v3/ticker/24hr`: the last 24 hours of fed trades, to the minute."""

    symbol: str
    open_time: int
    close_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    last_qty: Decimal
    prev_close: Decimal
    weighted_avg: Decimal
    volume: Decimal
    quote_volume: Decimal
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    first_id: int
    last_id: int
    count: int


class Depth(msgspec.Struct, kw_only=True, frozen=True):
    """Order book: (price, quantity) per level, best first."""

    last_update_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
