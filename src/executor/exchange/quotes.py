"""A symbol's price: bid, ask and last of one answer, or of two, where the one can't be had (rule 8.7)."""

import asyncio
from typing import Final

from executor.core.model.facts import Quote
from executor.exchange.port import ReadError
from executor.exchange.transport.connection import Connection, ReadRefused
from executor.exchange.wire import calls, reading

INVALID_SYMBOL: Final = -1121
OTHER_WAY_MS: Final = 60_000
"""So long the other way is tried first, once the usual one was not answered."""


class Quotes:
    """Prices over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._other_way_until = 0

    async def read(self, symbol: str) -> Quote:
        """`at` is when it was asked for. Raises ReadError."""
        clock = self._connection.clock
        ways = [self._of_one, self._of_two]
        if clock.now_ms() < self._other_way_until:
            ways.reverse()
        try:
            return await ways[0](symbol)
        except ReadError as error:
            if isinstance(error, ReadRefused) and error.fault.code == INVALID_SYMBOL:
                raise
            try:
                found = await ways[1](symbol)
            except ReadError:
                raise error from None
        self._other_way_until = clock.now_ms() + OTHER_WAY_MS if ways[0] == self._of_one else 0
        return found

    async def _of_one(self, symbol: str) -> Quote:
        return await self._connection.read(
            calls.TICKER, {"symbol": symbol}, lambda reply: reading.quote(reply.body, reply.asked_at, symbol)
        )

    async def _of_two(self, symbol: str) -> Quote:
        query = {"symbol": symbol}
        (at, best), (_, last) = await asyncio.gather(
            self._connection.read(
                calls.BEST, query, lambda reply: (reply.asked_at, reading.best_prices(reply.body, symbol))
            ),
            self._connection.read(
                calls.PRICE, query, lambda reply: (reply.asked_at, reading.last_price(reply.body, symbol))
            ),
        )
        return Quote(at, *best, last)
