"""What the market of one symbol did: trades, best prices, klines, averages.

Feeding a trade only notes it; klines, the 24-hour window and average prices are brought up to date when
they are asked for, so that a long replay pays for them only where they are used.

Best prices come from recorded quotes where there are any. Without quotes they follow the trades: a trade whose buyer
was the maker happened at the bid, any other at the ask; the other side is kept at least a tick and at most
`SPREAD_MAX` of the price away, since a price that nobody has traded at for a while is not a price any more.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from decimal import Decimal
from itertools import pairwise
from typing import Final

import msgspec

from executor.core.model.values import ZERO, OrderSide, ceil_to, floor_to
from executor.paper.engine.market_data import BookTicker, MarketKline, MarketTrade, Ticker
from executor.paper.engine.model import Reject

MINUTE_MS: Final = 60_000
SPREAD_MAX: Final = Decimal("0.0005")  # recorded BTCUSDT quotes: median 0.01, 99th percentile 3.63 at 61,700
DAY_MS: Final = 86_400_000
EIGHT_PLACES: Final = Decimal("1E-8")
TRADES_KEPT: Final = 50_000  # about 20 MB; older ones are asked for by nobody: klines and averages are made of bars
BARS_KEPT: Final = 20_160  # two weeks of minutes, the longest look-back a client is likely to ask for
SPARE: Final = 8  # an eighth more may be there, so that forgetting is seldom

RawTrade = tuple[int, Decimal, Decimal, bool, int]
"""(trade id, price, quantity, buyer is maker, time in ms): kept raw, since most trades are never looked at.
"""


class _Bar(msgspec.Struct):
    """A minute; `quote` is the quote volume, `taken` the base volume bought by takers."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote: Decimal
    taken: Decimal
    taken_quote: Decimal
    trades: int
    first_id: int
    last_id: int


class _Average:
    """Volume-weighted average price over the trades of the last minutes."""

    __slots__ = ("_base", "_quote", "_span", "_window")

    def __init__(self, mins: int) -> None:
        self._span = mins * MINUTE_MS
        self._window: deque[tuple[int, Decimal, Decimal]] = deque()
        self._base = ZERO
        self._quote = ZERO

    def add(self, trade: RawTrade) -> None:
        quote = trade[1] * trade[2]
        self._window.append((trade[4], trade[2], quote))
        self._base += trade[2]
        self._quote += quote
        self._drop(trade[4])

    def price(self, now: int) -> Decimal | None:
        self._drop(now)
        return (self._quote / self._base).quantize(EIGHT_PLACES) if self._base else None

    def _drop(self, now: int) -> None:
        window, oldest = self._window, now - self._span
        while window and window[0][0] <= oldest:
            _, base, quote = window.popleft()
            self._base -= base
            self._quote -= quote


class Tape:
    """Market data of one symbol. `last` is None before the first trade; `bid` and `ask` are 0 while
    unknown.
    """

    __slots__ = (
        "_averages", "_bars", "_day", "_folded", "ask", "ask_qty", "bars_kept", "bid", "bid_qty", "last",
        "quote_time", "quoted", "spread", "step", "symbol", "tick", "trades", "update_id",
    )  # fmt: skip

    def __init__(self, symbol: str, tick: Decimal, step: Decimal) -> None:
        self.symbol = symbol
        self.tick = tick
        self.step = step
        self.last: Decimal | None = None
        self.bid = ZERO
        self.ask = ZERO
        self.bid_qty = ZERO
        self.ask_qty = ZERO
        self.spread = tick
        self.quoted = False
        self.quote_time = 0
        self.update_id = 0
        self.trades: list[RawTrade] = []
        self.bars_kept = BARS_KEPT
        self._folded = 0
        self._bars: list[_Bar] = []
        self._day: tuple[tuple[int, int], list[_Bar]] = ((0, 0), [])
        """The first and the newest minute of a day, and what comes before the newest as one, where anything does."""
        self._averages: dict[int, _Average] = {}

    def add_trade(self, trade: RawTrade) -> None:
        self.trades.append(trade)
        self.update_id += 1
        price = trade[1]
        self.last = price
        if not self.quoted:
            if trade[3]:
                self.bid = price
                gap = self.ask - price
                if gap <= 0:
                    self.ask = price + self.tick
                elif gap > self.spread:
                    self.ask = min(self.ask, price + self._spread_at(price))
            else:
                self.ask = price
                gap = price - self.bid
                if gap <= 0 or self.bid == 0:
                    self.bid = price - self.tick
                elif gap > self.spread:
                    self.bid = max(self.bid, price - self._spread_at(price))
        if len(self.trades) > TRADES_KEPT + TRADES_KEPT // SPARE:
            self._forget()

    def set_quote(self, bid: Decimal, bid_qty: Decimal, ask: Decimal, ask_qty: Decimal, now: int) -> None:
        if bid >= ask > 0:
            raise ValueError(f"{self.symbol}: crossed quote, bid {bid} is not below ask {ask}")
        if now < self.quote_time:
            raise ValueError(f"{self.symbol}: quote of {now} comes after one of {self.quote_time}")
        self.quoted = True
        self.quote_time = now
        self.bid, self.bid_qty, self.ask, self.ask_qty = bid, bid_qty, ask, ask_qty
        self.update_id += 1

    def _spread_at(self, price: Decimal) -> Decimal:
        """The widest spread at a price; remembered, since it changes far more slowly than the price."""
        self.spread = max(self.tick, floor_to(price * SPREAD_MAX, self.tick))
        return self.spread

    @property
    def next_trade_id(self) -> int:
        return self.trades[-1][0] + 1 if self.trades else 1

    def best_for(self, side: OrderSide) -> Decimal:
        """The price at which an order of `side` would take; 0 while unknown."""
        return self.ask if side is OrderSide.BUY else self.bid

    def best_qty_for(self, side: OrderSide) -> Decimal | None:
        """The recorded quantity there; None without recorded quotes."""
        if not self.quoted:
            return None
        return self.ask_qty if side is OrderSide.BUY else self.bid_qty

    def average(self, now: int, mins: int) -> Decimal | None:
        """Average price over `mins` minutes; the last price if nothing traded then, or if `mins` is 0."""
        if mins == 0 or self.last is None:
            return self.last
        self._fold()
        average = self._averages.get(mins)
        if average is None:
            average = self._averages[mins] = _Average(mins)
            for trade in self.trades[self._index_at(now - mins * MINUTE_MS) :]:
                average.add(trade)
        price = average.price(now)
        return self.last if price is None else price

    def ticker(self, now: int, book: BookTicker) -> Ticker:
        self._fold()
        start = now - DAY_MS
        first = bisect_left(self._bars, start - start % MINUTE_MS, key=lambda bar: bar.start)
        last = self.last or ZERO
        day = self._day_from(first) if first < len(self._bars) else _untraded(start, last)
        return Ticker(
            symbol=self.symbol,
            open_time=start,
            close_time=now,
            open=day.open,
            high=day.high,
            low=day.low,
            last=last,
            last_qty=self.trades[-1][2] if self.trades else ZERO,
            prev_close=self._bars[first - 1].close if 0 < first <= len(self._bars) else ZERO,
            weighted_avg=(day.quote / day.volume).quantize(EIGHT_PLACES) if day.volume else ZERO,
            volume=day.volume,
            quote_volume=day.quote,
            bid=book.bid,
            bid_qty=book.bid_qty,
            ask=book.ask,
            ask_qty=book.ask_qty,
            first_id=day.first_id,
            last_id=day.last_id,
            count=day.trades,
        )

    def _day_from(self, first: int) -> _Bar:
        """The minutes from the one at `first` on as one. Those before the newest change no more: they are summed up
        once for all who ask within a minute.
        """
        span = self._bars[first].start, self._bars[-1].start
        if self._day[0] != span:
            before = self._bars[first:-1]
            self._day = span, [_summed(before)] if before else []
        return _summed([*self._day[1], self._bars[-1]])

    def recent_trades(
        self, from_id: int | None, start_time: int | None, end_time: int | None, limit: int
    ) -> list[MarketTrade]:
        """From an id or a start time forwards, else the latest."""
        trades = self.trades
        begin, end = 0, len(trades)
        if from_id is not None:
            begin = bisect_left(trades, from_id, key=lambda trade: trade[0])
        if start_time is not None:
            begin = max(begin, bisect_left(trades, start_time, key=lambda trade: trade[4]))
        if end_time is not None:
            end = bisect_right(trades, end_time, key=lambda trade: trade[4])
        chosen = trades[begin:end]
        chosen = chosen[-limit:] if from_id is None and start_time is None else chosen[:limit]
        return [
            MarketTrade(trade_id=each[0], price=each[1], qty=each[2], buyer_is_maker=each[3], time=each[4])
            for each in chosen
        ]

    def klines(self, interval_ms: int, start_time: int | None, end_time: int | None, limit: int) -> list[MarketKline]:
        """Klines of whole minutes (-1120 otherwise); a minute without trades repeats the close before it."""
        if interval_ms <= 0 or interval_ms % MINUTE_MS:
            raise Reject(-1120, "Invalid interval.")
        self._fold()
        groups: list[list[_Bar]] = []
        for bar in self._chosen_bars(interval_ms, start_time, end_time, limit):
            opening = bar.start - bar.start % interval_ms
            if groups and groups[-1][0].start - groups[-1][0].start % interval_ms == opening:
                groups[-1].append(bar)
            else:
                groups.append([bar])
        chosen = groups[-limit:] if start_time is None else groups[:limit]
        return [_merge(group, interval_ms) for group in chosen]

    def _chosen_bars(self, interval_ms: int, start_time: int | None, end_time: int | None, limit: int) -> list[_Bar]:
        bars = self._bars
        begin, end = 0, len(bars)
        if end_time is not None:
            end = bisect_right(bars, end_time - end_time % interval_ms + interval_ms - 1, key=lambda bar: bar.start)
        if start_time is not None:
            begin = bisect_left(bars, ceil_ms(start_time, interval_ms), key=lambda bar: bar.start)
        else:
            begin = max(0, end - (limit + 1) * (interval_ms // MINUTE_MS))
            while begin > 0 and bars[begin].start % interval_ms:
                begin -= 1
        return bars[begin:end]

    def _index_at(self, time: int) -> int:
        return bisect_right(self.trades, time, key=lambda trade: trade[4])

    def _forget(self) -> None:
        self._fold()
        del self.trades[:-TRADES_KEPT]
        self._folded = len(self.trades)

    def _fold(self) -> None:
        """Bring bars and averages up to the newest trade."""
        if self._folded == len(self.trades):
            return
        bars = self._bars
        averages = tuple(self._averages.values())
        for trade in self.trades[self._folded :]:
            _add_to_bars(bars, trade)
            for average in averages:
                average.add(trade)
        self._folded = len(self.trades)
        if len(bars) > self.bars_kept + self.bars_kept // SPARE:
            del bars[: -self.bars_kept]


def _add_to_bars(bars: list[_Bar], trade: RawTrade) -> None:
    trade_id, price, qty, buyer_is_maker, time = trade
    start = time - time % MINUTE_MS
    if not bars or bars[-1].start < start:
        if bars:
            _fill_gap(bars, start)
        bars.append(_Bar(start, price, price, price, price, ZERO, ZERO, ZERO, ZERO, 0, trade_id, trade_id))
    bar = bars[-1]
    quote = price * qty
    if price > bar.high:
        bar.high = price
    elif price < bar.low:
        bar.low = price
    bar.close = price
    bar.volume += qty
    bar.quote += quote
    if not buyer_is_maker:
        bar.taken += qty
        bar.taken_quote += quote
    bar.trades += 1
    bar.last_id = trade_id


def _fill_gap(bars: list[_Bar], start: int) -> None:
    close = bars[-1].close
    begin = max(bars[-1].start + MINUTE_MS, start - BARS_KEPT * MINUTE_MS)
    bars.extend(_untraded(minute, close) for minute in range(begin, start, MINUTE_MS))


def _untraded(start: int, price: Decimal) -> _Bar:
    return _Bar(start, price, price, price, price, ZERO, ZERO, ZERO, ZERO, 0, -1, -1)


def _summed(bars: list[_Bar]) -> _Bar:
    """Minutes, one after the other, as one bar."""
    traded = [bar for bar in bars if bar.trades]
    return _Bar(
        start=bars[0].start,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=sum((bar.volume for bar in bars), ZERO),
        quote=sum((bar.quote for bar in bars), ZERO),
        taken=sum((bar.taken for bar in bars), ZERO),
        taken_quote=sum((bar.taken_quote for bar in bars), ZERO),
        trades=sum(bar.trades for bar in bars),
        first_id=traded[0].first_id if traded else -1,
        last_id=traded[-1].last_id if traded else -1,
    )


def _merge(bars: list[_Bar], interval_ms: int) -> MarketKline:
    whole = _summed(bars)
    opening = whole.start - whole.start % interval_ms
    return MarketKline(
        open_time=opening,
        close_time=opening + interval_ms - 1,
        open=whole.open,
        high=whole.high,
        low=whole.low,
        close=whole.close,
        volume=whole.volume,
        quote_volume=whole.quote,
        trades=whole.trades,
        taker_buy_volume=whole.taken,
        taker_buy_quote_volume=whole.taken_quote,
    )


def ceil_ms(time: int, grid: int) -> int:
    return -(-time // grid) * grid


def kline_trades(
    prices: tuple[Decimal, Decimal, Decimal, Decimal],
    volume: Decimal,
    open_time: int,
    interval_ms: int,
    *,
    first_id: int,
    step: Decimal,
) -> list[RawTrade]:
    """A kline as four trades of a quarter of its volume each, in the order of `prices`, spread over its
    interval.

    A kline without volume gives none: nothing traded.
    """
    if volume <= 0:
        return []
    quarter = floor_to(volume / 4, step)
    times = (
        open_time,
        open_time + interval_ms // 4,
        open_time + interval_ms // 2,
        open_time + interval_ms - 1,
    )
    falls = [False, *(later < earlier for earlier, later in pairwise(prices))]
    quantities = (quarter, quarter, quarter, ceil_to(volume - 3 * quarter, step))
    return [
        (first_id + index, price, qty, falls[index], time)
        for index, (price, qty, time) in enumerate(zip(prices, quantities, times, strict=True))
        if qty > 0
    ]
