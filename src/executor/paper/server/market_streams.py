"""Public market streams: what the tape does, pushed to whoever asked for it (web-socket-streams.md).

Trades and best prices are pushed as they come. Klines, tickers, averages and books follow the trades at most
once per second of market time; a kline that ends is always pushed closed before its successor.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import BookTicker, MarketKline, MarketTrade
from executor.paper.replay.clock import Clock
from executor.paper.server.call import Call
from executor.paper.server.connection import Connection
from executor.paper.server.depth_streams import DepthDiff
from executor.paper.server.faults import FaultPlan
from executor.paper.server.klines import has_interval, rows_of
from executor.paper.server.limits import DAY_MS, MINUTE_MS, SECOND_MS, Limits
from executor.paper.server.market_data import (
    AVG_PRICE_MINS,
    aggregate_row,
    depth_levels,
    percent_change,
    window_row,
)
from executor.paper.server.render import Json, amount
from executor.paper.server.user_streams import UserStreams

MAX_STREAMS: Final = 1_024
MESSAGES_PER_SECOND: Final = 5
_DEPTHS: Final = {f"depth{n}{speed}": n for n in (5, 10, 20) for speed in ("", "@100ms", "@1000ms")}
_DIFFS: Final = {"depth": SECOND_MS, "depth@1000ms": SECOND_MS, "depth@100ms": 100}
_WINDOWS_MS: Final = {"ticker_1h": 60 * MINUTE_MS, "ticker_4h": 240 * MINUTE_MS, "ticker_1d": DAY_MS}
_ALL_SYMBOLS: Final = frozenset(f"!{kind}@arr" for kind in ("miniTicker", *_WINDOWS_MS))
_SILENT: Final = frozenset(("referencePrice", "blockTrade"))
"""Of what no symbol here has."""
_ZONES_MS: Final = {"": 0, "@+08:00": 8 * 60 * MINUTE_MS}
_METHODS: Final = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
_LEVELS: Final = 5_000


_WINDOW_LETTERS: Final = {
    "p": "priceChange",
    "P": "priceChangePercent",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "c": "lastPrice",
    "w": "weightedAvgPrice",
    "v": "volume",
    "q": "quoteVolume",
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
}


class _Topic(msgspec.Struct):
    """One stream and who listens: per connection, whether it wants the stream's name around each message.

    A stream of all symbols has no `symbol`, and `changed` are those that have traded since it was last pushed.
    """

    name: str
    symbol: str
    kind: str
    listeners: dict[Connection, bool]
    pushed_ms: int = -SECOND_MS
    kline_open_ms: int = -1
    book: BookTicker | None = None
    diff: DepthDiff | None = None
    changed: dict[str, None] = msgspec.field(default_factory=dict)


class MarketStreams:
    """Subscriptions by stream name, and the pushes to them."""

    def __init__(self, engine: Engine, clock: Clock, limits: Limits, faults: FaultPlan | None) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._faults = faults
        self._topics: dict[str, _Topic] = {}
        self._makers: dict[str, Callable[[_Topic, MarketTrade], list[Json]]] = {
            "trade": self._trade,
            "aggTrade": self._aggregate,
            "bookTicker": self._book_ticker,
            "ticker": self._ticker,
            "miniTicker": self._mini_ticker,
            "avgPrice": self._avg_price,
        }

    @property
    def anyone_listens(self) -> bool:
        return bool(self._topics)

    def knows(self, name: str) -> bool:
        """Whether a stream of this name can exist."""
        if name in _ALL_SYMBOLS:
            return True
        symbol, _, kind = name.partition("@")
        return symbol == symbol.lower() and self._has_symbol(symbol.upper()) and self._has_kind(kind)

    def subscribe(self, name: str, connection: Connection, *, combined: bool) -> None:
        topic = self._topics.get(name)
        if topic is None:
            symbol, _, kind = ("", "", name[1:].removesuffix("@arr")) if name in _ALL_SYMBOLS else name.partition("@")
            topic = self._topics[name] = _Topic(name, symbol.upper(), kind, {})
            if kind in _DIFFS:
                topic.diff = DepthDiff(self._engine.depth(topic.symbol, _LEVELS))
        topic.listeners[connection] = combined

    def unsubscribe(self, name: str, connection: Connection) -> None:
        topic = self._topics.get(name)
        if topic is not None:
            topic.listeners.pop(connection, None)
            if not topic.listeners:
                del self._topics[name]

    def on_trade(self, symbol: str, trade: MarketTrade) -> None:
        """A trade has gone through the engine: tell the listeners."""
        for topic in self._topics.values():
            if topic.symbol == symbol:
                for message in self._messages(topic, trade):
                    self._push(topic, message)
            elif not topic.symbol:
                topic.changed[symbol] = None
                if self._due(topic):
                    changed, topic.changed = topic.changed, {}
                    self._push(topic, [self._statistics(topic.kind, name) for name in changed])

    def on_quote(self, symbol: str) -> None:
        """The best prices may have changed without a trade."""
        for topic in self._topics.values():
            if topic.symbol != symbol:
                continue
            if topic.kind == "bookTicker":
                messages = self._book_ticker(topic)
            elif topic.kind in _DIFFS:
                messages = self._depth_diff(topic)
            else:
                continue
            for message in messages:
                self._push(topic, message)

    def _messages(self, topic: _Topic, trade: MarketTrade) -> list[Json]:
        maker = self._makers.get(topic.kind)
        if maker is not None:
            return maker(topic, trade)
        if topic.kind in _DEPTHS:
            return self._depth(topic)
        if topic.kind in _DIFFS:
            return self._depth_diff(topic)
        if topic.kind in _WINDOWS_MS:
            return [self._window(topic.kind, topic.symbol)] if self._due(topic) else []
        return [] if topic.kind in _SILENT else self._kline(topic)

    def _statistics(self, kind: str, symbol: str) -> Json:
        return self._window(kind, symbol) if kind in _WINDOWS_MS else self._mini_row(symbol)

    def _push(self, topic: _Topic, message: Json | list[Json]) -> None:
        body = orjson.dumps(message)
        named = b'{"stream":"%b","data":%b}' % (topic.name.encode(), body)
        fault = (
            None
            if self._faults is None
            else self._faults.on_push("market", {"e": topic.name} if isinstance(message, list) else message)
        )
        for connection, combined in topic.listeners.items():
            connection.push(named if combined else body, fault)

    def _trade(self, topic: _Topic, trade: MarketTrade) -> list[Json]:
        row = {
            "e": "trade",
            "E": self._clock.now_ms(),
            "s": topic.symbol,
            "t": trade.trade_id,
            "p": amount(trade.price),
            "q": amount(trade.qty),
            "T": trade.time,
            "m": trade.buyer_is_maker,
            "M": True,
        }
        return [row]

    def _aggregate(self, topic: _Topic, trade: MarketTrade) -> list[Json]:
        head = {"e": "aggTrade", "E": self._clock.now_ms(), "s": topic.symbol}
        return [{**head, **aggregate_row(trade)}]

    def _book_ticker(self, topic: _Topic, _: MarketTrade | None = None) -> list[Json]:
        book = self._engine.book_ticker(topic.symbol)
        if book == topic.book:
            return []
        topic.book = book
        return [
            {
                "u": self._engine.depth(topic.symbol, 1).last_update_id,
                "s": topic.symbol,
                "b": amount(book.bid),
                "B": amount(book.bid_qty),
                "a": amount(book.ask),
                "A": amount(book.ask_qty),
            }
        ]

    def _depth(self, topic: _Topic) -> list[Json]:
        if not self._due(topic):
            return []
        call = Call(self._engine, self._limits, "", self._clock.now_ms())
        return [depth_levels(call, topic.symbol, _DEPTHS[topic.kind])]

    def _depth_diff(self, topic: _Topic) -> list[Json]:
        book, now_ms = self._engine.depth(topic.symbol, _LEVELS), self._clock.now_ms()
        diff = topic.diff
        if diff is None:
            raise AssertionError("a diff stream has a diff")
        if not self._due(topic, _DIFFS[topic.kind]):
            diff.note(book)
            return []
        message = diff.take(book, topic.symbol, now_ms)
        return [] if message is None else [message]

    def _window(self, kind: str, symbol: str) -> Json:
        now_ms = self._clock.now_ms()
        opens = (now_ms - _WINDOWS_MS[kind]) // MINUTE_MS * MINUTE_MS
        row = window_row(Call(self._engine, self._limits, "", now_ms), symbol, opens, now_ms, mini=False)
        window = kind.removeprefix("ticker_")
        named = {letter: row[field] for letter, field in _WINDOW_LETTERS.items()}
        return {"e": f"{window}Ticker", "E": now_ms, "s": symbol, **named}

    def _kline(self, topic: _Topic) -> list[Json]:
        interval, at, zone = topic.kind.removeprefix("kline_").partition("@")
        call = Call(self._engine, self._limits, "", self._clock.now_ms())
        rows = rows_of(call, topic.symbol, interval, _ZONES_MS[at + zone], None, None, 2)
        messages = []
        if rows and rows[-1].open_time != topic.kline_open_ms:
            if len(rows) == 2 and rows[0].open_time == topic.kline_open_ms:
                messages.append(self._kline_message(topic, rows[0], interval, closed=True))
            topic.kline_open_ms = rows[-1].open_time
            topic.pushed_ms = -SECOND_MS
        if rows and self._due(topic):
            messages.append(self._kline_message(topic, rows[-1], interval, closed=False))
        return messages

    def _kline_message(self, topic: _Topic, row: MarketKline, interval: str, *, closed: bool) -> Json:
        trades = self._engine.recent_trades(topic.symbol, start_time=row.open_time, end_time=row.close_time, limit=1)
        first = trades[0].trade_id if trades else -1
        return {
            "e": "kline",
            "E": self._clock.now_ms(),
            "s": topic.symbol,
            "k": {
                "t": row.open_time,
                "T": row.close_time,
                "s": topic.symbol,
                "i": interval,
                "f": first,
                "L": first + row.trades - 1 if trades else -1,
                "o": amount(row.open),
                "c": amount(row.close),
                "h": amount(row.high),
                "l": amount(row.low),
                "v": amount(row.volume),
                "n": row.trades,
                "x": closed,
                "q": amount(row.quote_volume),
                "V": amount(row.taker_buy_volume),
                "Q": amount(row.taker_buy_quote_volume),
                "B": "0",
            },
        }

    def _ticker(self, topic: _Topic, _: MarketTrade) -> list[Json]:
        if not self._due(topic):
            return []
        t = self._engine.ticker(topic.symbol, self._clock.now_ms())
        row = {
            "e": "24hrTicker",
            "E": self._clock.now_ms(),
            "s": topic.symbol,
            "p": amount(t.last - t.open),
            "P": percent_change(t.open, t.last),
            "w": amount(t.weighted_avg),
            "x": amount(t.prev_close),
            "c": amount(t.last),
            "Q": amount(t.last_qty),
            "b": amount(t.bid),
            "B": amount(t.bid_qty),
            "a": amount(t.ask),
            "A": amount(t.ask_qty),
            "o": amount(t.open),
            "h": amount(t.high),
            "l": amount(t.low),
            "v": amount(t.volume),
            "q": amount(t.quote_volume),
            "O": t.open_time,
            "C": t.close_time,
            "F": t.first_id,
            "L": t.last_id,
            "n": t.count,
        }
        return [row]

    def _mini_ticker(self, topic: _Topic, _: MarketTrade) -> list[Json]:
        return [self._mini_row(topic.symbol)] if self._due(topic) else []

    def _mini_row(self, symbol: str) -> Json:
        t = self._engine.ticker(symbol, self._clock.now_ms())
        return {
            "e": "24hrMiniTicker",
            "E": self._clock.now_ms(),
            "s": symbol,
            "c": amount(t.last),
            "o": amount(t.open),
            "h": amount(t.high),
            "l": amount(t.low),
            "v": amount(t.volume),
            "q": amount(t.quote_volume),
        }

    def _avg_price(self, topic: _Topic, trade: MarketTrade) -> list[Json]:
        average = self._engine.avg_price(topic.symbol, self._clock.now_ms(), AVG_PRICE_MINS)
        if average is None or not self._due(topic):
            return []
        row = {
            "e": "avgPrice",
            "E": self._clock.now_ms(),
            "s": topic.symbol,
            "i": f"{AVG_PRICE_MINS}m",
            "w": amount(average),
            "T": trade.time,
        }
        return [row]

    def _due(self, topic: _Topic, every_ms: int = SECOND_MS) -> bool:
        now_ms = self._clock.now_ms()
        if now_ms - topic.pushed_ms < every_ms:
            return False
        topic.pushed_ms = now_ms
        return True

    def _has_symbol(self, symbol: str) -> bool:
        return any(known.name == symbol for known in self._engine.symbols())

    def _has_kind(self, kind: str) -> bool:
        if any(kind in known for known in (self._makers, _DEPTHS, _DIFFS, _WINDOWS_MS, _SILENT)):
            return True
        interval, at, zone = kind.removeprefix("kline_").partition("@")
        return kind.startswith("kline_") and has_interval(interval) and at + zone in _ZONES_MS


class StreamSession:
    """What one connection to `/ws` or `/stream` listens to."""

    def __init__(
        self, streams: MarketStreams, connection: Connection, clock: Clock, risk: UserStreams, *, combined: bool
    ) -> None:
        """`risk` has the risk streams of margin accounts, whose names are their listen keys."""
        self._risk = risk
        self._streams = streams
        self._connection = connection
        self._clock = clock
        self._combined = combined
        self._names: dict[str, None] = {}
        self._second = -1
        self._messages = 0

    def subscribe(self, names: list[str]) -> str | None:
        """Add streams; what is wrong with them, or None."""
        keys = [name for name in names if self._risk.knows_key(name)]
        names = [name for name in names if name not in keys]
        unknown = next((name for name in names if not self._streams.knows(name)), None)
        if unknown is not None:
            return f"Invalid request: unknown stream {unknown}"
        if len(self._names.keys() | set(names)) > MAX_STREAMS:
            return f"Invalid request: more than {MAX_STREAMS} streams"
        for name in names:
            self._names[name] = None
            self._streams.subscribe(name, self._connection, combined=self._combined)
        for key in keys:
            self._risk.subscribe_risk(key, self._connection, combined=self._combined)
        return None

    async def receive(self, text: str) -> None:
        """Carry out SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY."""
        second = self._clock.now_ms() // SECOND_MS
        if second != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        if self._messages > MESSAGES_PER_SECOND:
            self._connection.end_soon(1008)
            return
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self._refuse(None, 3, f"Invalid JSON: {error}")
            return
        if not isinstance(message, dict):
            self._refuse(None, 3, "Invalid JSON: an object is needed")
            return
        self._carry_out(message)

    def wrap_shutdown(self, event: Json) -> Json:
        return {"stream": "!serverShutdown", "data": event} if self._combined else event

    def end(self) -> None:
        for name in self._names:
            self._streams.unsubscribe(name, self._connection)
        self._names.clear()
        self._risk.unsubscribe_risk(self._connection)

    def _carry_out(self, message: dict[str, Any]) -> None:
        request_id, names = message.get("id"), message.get("params", [])
        if not isinstance(names, list):
            self._refuse(request_id, 2, "Invalid request: params must be an array")
            return
        match message.get("method"):
            case "SUBSCRIBE":
                fault = self.subscribe([str(name) for name in names])
                if fault is None:
                    self._reply(request_id, None)
                else:
                    self._refuse(request_id, 2, fault)
            case "UNSUBSCRIBE":
                for name in map(str, names):
                    self._names.pop(name, None)
                    self._streams.unsubscribe(name, self._connection)
                self._reply(request_id, None)
            case "LIST_SUBSCRIPTIONS":
                self._reply(request_id, list(self._names))
            case "SET_PROPERTY" if len(names) == 2 and names[0] == "combined" and isinstance(names[1], bool):
                self._combined = names[1]
                for name in self._names:
                    self._streams.subscribe(name, self._connection, combined=self._combined)
                self._reply(request_id, None)
            case "GET_PROPERTY" if names == ["combined"]:
                self._reply(request_id, self._combined)
            case _:
                self._refuse(request_id, *_fault_of(message))

    def _reply(self, request_id: Any, result: Any) -> None:
        self._connection.send(orjson.dumps({"result": result, "id": request_id}))

    def _refuse(self, request_id: Any, code: int, message: str) -> None:
        self._connection.send(orjson.dumps({"error": {"code": code, "msg": message}, "id": request_id}))


def _fault_of(message: dict[str, Any]) -> tuple[int, str]:
    """What is wrong with a message that names no method, none that there is, or a property that there is not
    (web-socket-streams.md, "Error Messages").
    """
    method, names = message.get("method"), message.get("params", [])
    match method:
        case None:
            return 2, "Invalid request: missing field `method` at line 1 column 1"
        case "SET_PROPERTY" | "GET_PROPERTY":
            most = 2 if method == "SET_PROPERTY" else 1
            if not names or not isinstance(names[0], str):
                return 2, "Invalid request: property name must be a string"
            if len(names) > most:
                return 2, "Invalid request: too many parameters"
            return (1, "Invalid value type: expected Boolean") if names[0] == "combined" else (0, "Unknown property")
        case _:
            return 2, f"Invalid request: unknown variant {method}, expected one of {_METHODS} at line 1 column 28"
