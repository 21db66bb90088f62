"""A symbol's price: bid, ask and last of one answer, or of two, where the one can't be had (rule 8.7)."""

import asyncio
from typing import Final

from executor.core.model.facts import Quote
from executor.exchange.port import ReadError
from executor.exchange.transport.connection import Connection, ReadRefused
from executor.exchange.two_ways import TwoWays
from executor.exchange.wire import calls, reading

INVALID_SYMBOL: Final = -1121


class Quotes:
    """Prices over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ways = TwoWays(connection, _invalid_symbol)

    async def read(self, symbol: str) -> Quote:
        """`at` is when it was asked for. Raises ReadError."""
        return await self._ways.read(lambda: self._of_one(symbol), lambda: self._of_two(symbol))

    async def _of_one(self, symbol: str) -> Quote:
        return await self._connection.read(
            calls.TICKER,
            {"symbol": symbol},
            lambda reply: reading.quote(reply.body, reply.asked_at, symbol),
            has_other_way=True,
        )

    async def _of_two(self, symbol: str) -> Quote:
        query = {"symbol": symbol}
        (at, best), (_, last) = await asyncio.gather(
            self._connection.read(
                calls.BEST,
                query,
                lambda reply: (reply.asked_at, reading.best_prices(reply.body, symbol)),
                has_other_way=True,
            ),
            self._connection.read(
                calls.PRICE,
                query,
                lambda reply: (reply.asked_at, reading.last_price(reply.body, symbol)),
                has_other_way=True,
            ),
        )
        return Quote(at, *best, last)


def _invalid_symbol(error: ReadError) -> bool:
    return isinstance(error, ReadRefused) and error.fault.code == INVALID_SYMBOL
