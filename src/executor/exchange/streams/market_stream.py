"""The market's prices, pushed over one connection: best bid and ask and the last trade of the symbols that are followed
(web-socket-streams.md).

What nobody follows is not subscribed to: the prices of a hundred flat symbols would cost the most, and tell nothing.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import ClientConnection

from executor.core.model.facts import Quote
from executor.exchange.streams import events
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.transport.supervised import (
    DEFAULT_TIMING,
    Connected,
    Ending,
    Lost,
    Stream,
    StreamFault,
    Timing,
    Told,
)
from executor.exchange.wire.reading import sound_book

MOST_SYMBOLS: Final = 512
"""Two streams for each; a connection takes 1024."""
MOST_IN_URL: Final = 40
"""Symbols that the address of the connection names; others are subscribed to by message."""
MESSAGE_EVERY_S: Final = 0.3
"""The exchange takes 5 messages a second, pings and pongs among them."""


UNDER_WAY_MS: Final = 2_000
"""What was told in so short a time before a price was asked for may be newer than the answer, or on its way."""

BOOK: Final = "best prices"
TRADES: Final = "trades"


class HeardAt(NamedTuple):
    """When (ms, exchange clock) something was told of a symbol's best prices and of its trades; 0: not at all."""

    book_at: int = 0
    traded_at: int = 0

    def of(self, half: str) -> int:
        return self.book_at if half == BOOK else self.traded_at


class _Prices:
    __slots__ = ("best", "book_at", "last", "traded_at")

    def __init__(self) -> None:
        self.best: tuple[Decimal, Decimal] | None = None
        self.last: Decimal | None = None
        self.book_at = 0
        self.traded_at = 0


class MarketStream(Stream[Told[Quote]]):
    """A `Quote` at each change of bid, ask or last price of a followed symbol, once all are known; `at` is when it
    arrived.
    """

    def __init__(
        self,
        stream_url: str,
        clock: ExchangeClock,
        on_event: Callable[[Told[Quote] | Connected | Lost], None],
        *,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        super().__init__(f"{stream_url.rstrip('/')}/stream", on_event, timing=timing)
        self._clock = clock
        self._prices: dict[str, _Prices] = {}
        self._named: frozenset[str] = frozenset()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._changed: set[asyncio.Event] = set()
        self._behind = 0
        self._message_at = 0.0

    @property
    def settled(self) -> bool:
        """Whether every connection delivers what is followed now, and nothing else."""
        return not self._behind and not any(wanted.is_set() for wanted in self._changed)

    def follow(self, symbol: str) -> None:
        """Have the prices of `symbol`: within milliseconds, while the stream is up."""
        assert len(self._prices) < MOST_SYMBOLS, "the start refuses more"
        self._prices.setdefault(symbol, _Prices())
        self._tell_all()

    def leave(self, symbol: str) -> None:
        self._prices.pop(symbol, None)
        self._tell_all()

    def heard(self, symbol: str) -> HeardAt:
        prices = self._prices.get(symbol)
        return HeardAt() if prices is None else HeardAt(prices.book_at, prices.traded_at)

    def know(self, symbol: str, quote: Quote) -> tuple[str, ...]:
        """The prices as they were asked for: a quiet market may not tell them for long, and half a stream may be dead.
        They go for whatever was not told since. Returns which of them, told before, have changed without a word.
        """
        prices = self._prices.get(symbol)
        if prices is None:
            return ()
        before, missing = quote.at - UNDER_WAY_MS, []
        if prices.last is None or (prices.traded_at < before and prices.last != quote.last):
            missing += [TRADES] if prices.last is not None else []
            prices.last = quote.last
        if prices.best is None or (prices.book_at < before and prices.best != (quote.bid, quote.ask)):
            missing += [BOOK] if prices.best is not None else []
            prices.best = quote.bid, quote.ask
        return tuple(missing)

    def _tell_all(self) -> None:
        for wanted in self._changed:
            wanted.set()

    # --- the connection -------------------------------------------------------------------------------------------

    def _address(self) -> str:
        self._named = frozenset(itertools.islice(self._prices, MOST_IN_URL))
        streams = "/".join(quote(name, safe="@") for name in _streams(sorted(self._named)))
        return f"{self._url}?streams={streams}" if streams else self._url

    async def _subscribe(self, _connection: ClientConnection) -> list[bytes]:
        """The address has named some; the rest is asked for at once. What is known from before the gap is old."""
        for symbol in self._prices:
            self._prices[symbol] = _Prices()
        return []

    async def _tend(self, connection: ClientConnection) -> None:
        wanted = asyncio.Event()
        wanted.set()
        self._changed.add(wanted)
        delivered = set(self._named)
        try:
            while True:
                await wanted.wait()
                self._behind += 1
                wanted.clear()
                try:
                    await self._catch_up(connection, delivered)
                finally:
                    self._behind -= 1
        finally:
            self._changed.discard(wanted)

    async def _catch_up(self, connection: ClientConnection, delivered: set[str]) -> None:
        if missing := self._prices.keys() - delivered:
            await self._request(connection, "SUBSCRIBE", missing)
            delivered |= missing
        if surplus := delivered - self._prices.keys():
            await self._request(connection, "UNSUBSCRIBE", surplus)
            delivered -= surplus

    async def _request(self, connection: ClientConnection, method: str, symbols: Collection[str]) -> None:
        clock = asyncio.get_running_loop()
        if (wait := self._message_at - clock.time()) > 0:
            await asyncio.sleep(wait)
        self._message_at = clock.time() + MESSAGE_EVERY_S
        number = next(self._numbers)
        answer = self._answers[number] = clock.create_future()
        message = {"method": method, "params": _streams(sorted(symbols)), "id": number}
        try:
            await connection.send(msgspec.json.encode(message), text=True)
            async with asyncio.timeout(self._timing.open):
                await answer
        finally:
            del self._answers[number]

    def _events(self, message: bytes) -> list[Told[Quote] | Ending]:
        told = events.market_message(message)
        event = told.data
        if event is None:
            return self._aside(told, message)
        prices = self._prices.get(event.s)
        match event.e:
            case "serverShutdown":
                return [Ending()]
            case _ if prices is None:
                return []
            case "" | "bookTicker" if event.b is not None and event.a is not None:
                _sound(event.b, event.a)
                prices.book_at = self._clock.now_ms()
                if prices.best == (event.b, event.a):
                    return []
                prices.best = event.b, event.a
            case "trade" if event.p is not None:
                if event.p <= 0:
                    raise msgspec.ValidationError(f"a trade at {event.p}")
                prices.traded_at = self._clock.now_ms()
                if prices.last == event.p:
                    return []
                prices.last = event.p
            case _:
                return []
        if prices.best is None or prices.last is None:
            return []
        bid, ask = prices.best
        return [Told(event.s, Quote(self._clock.now_ms(), bid, ask, prices.last))]

    def _aside(self, told: events.MarketMessage, message: bytes) -> list[Told[Quote] | Ending]:
        if told.e == "serverShutdown":
            return [Ending()]
        if bytes(told.error) or bytes(told.code):
            raise StreamFault(f"subscription refused: {message.decode('utf-8', 'replace')[:200]}")
        answer = self._answers.get(told.id) if told.id is not None else None
        if answer is not None and not answer.done():
            answer.set_result(None)
        return []


def _sound(bid: Decimal, ask: Decimal) -> None:
    """Raises `msgspec.DecodeError` for prices that no book has."""
    try:
        sound_book(bid, ask)
    except ValueError as error:
        raise msgspec.ValidationError(str(error)) from None


def _streams(symbols: Collection[str]) -> list[str]:
    return [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in ("bookTicker", "trade")]
