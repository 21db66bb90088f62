"""The cross account's state, which is one for all symbols that are traded with it: many callers, one request."""

import asyncio
from collections.abc import Mapping

from executor.exchange.port import ReadError
from executor.exchange.shared_reads import Shared
from executor.exchange.transport.connection import Connection
from executor.exchange.wire import margin

Told = tuple[margin.Cross, int]


class SharedCross:
    """No answer is older than the call for it, as with `SharedReads`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._account = Shared(self._gather, self._ask)

    async def read(self) -> Told:
        """The account, and when it was asked for (ms). Raises ReadError."""
        return await self._account.get("")

    async def _gather(self) -> None:
        await asyncio.sleep(0)  # a turn of the event loop, in which others can come
        await self._connection.budget.admit(margin.CROSS)

    async def _ask(self, symbols: tuple[str, ...]) -> Mapping[str, Told | ReadError]:
        found = await self._connection.read(margin.CROSS, {}, lambda reply: (margin.cross(reply.body), reply.asked_at))
        return dict.fromkeys(symbols, found)
