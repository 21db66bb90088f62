"""The market's prices, pushed: best bid and ask and the last trade of one symbol (web-socket-streams.md)."""

from collections.abc import Callable
from decimal import Decimal
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection

from executor.core.facts import Quote
from executor.exchange import push
from executor.exchange.clock import ExchangeClock
from executor.exchange.stream import (
    DEFAULT_TIMING,
    Connected,
    Ending,
    Lost,
    Stream,
    Timing,
)


class MarketStream(Stream[Quote]):
    """A `Quote` at each change of bid, ask or last price, once all are known; `at` is when it arrived."""

    def __init__(
        self,
        stream_url: str,
        symbol: str,
        clock: ExchangeClock,
        on_event: Callable[[Quote | Connected | Lost], None],
        *,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        name = quote(symbol.lower())
        super().__init__(
            f"{stream_url.rstrip('/')}/stream?streams={name}@bookTicker/{name}@trade", on_event, timing=timing
        )
        self._clock = clock
        self._best: tuple[Decimal, Decimal] | None = None
        self._last: Decimal | None = None

    async def _subscribe(self, _connection: ClientConnection) -> list[bytes]:
        """The URL has said it all. What is known from before the gap is old."""
        self._best = self._last = None
        return []

    def _events(self, message: bytes) -> list[Quote | Ending]:
        event = push.market_data(message)
        before = self._best, self._last
        match push.kind(event):
            case "" | "bookTicker":
                self._best = push.best_prices(event)
            case "trade":
                self._last = push.trade_price(event)
            case "serverShutdown":
                return [Ending()]
            case _:
                return []
        if self._best is None or self._last is None or before == (self._best, self._last):
            return []
        bid, ask = self._best
        return [Quote(self._clock.now_ms(), bid, ask, self._last)]
