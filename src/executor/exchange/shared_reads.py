"""Reads what all symbols of a connection have in common: many callers, one request.

A caller that comes while a request has not left yet joins it; one that comes later waits for the next one. So no
answer is older than the call for it (rule 8.6), and nobody waits behind others: the longer the request weight of the
minute keeps a look waiting, the more symbols it serves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from executor.core.model.facts import Balance, OrderReport, Quote
from executor.exchange.port import ReadError
from executor.exchange.quotes import Quotes
from executor.exchange.transport.connection import Connection, ReadRefused
from executor.exchange.two_ways import TwoWays
from executor.exchange.wire import calls, reading
from executor.exchange.wire import rules as rule_book
from executor.exchange.wire.calls import Call
from executor.exchange.wire.rules import ExchangeInfo

GATHER_S: Final = 0.02
"""How long a look at the orders waits for context: those who mean to look together do so within some milliseconds."""
GATHER_PRICES_S: Final = 0.002
"""The same for prices, upon which a signal may wait."""

T = TypeVar("T")


class Shared(Generic[T]):
    """Calls for the same of several symbols. `gather` returns when the request leaves; then `ask` is called once, with
    the symbols asked for, and finds for each what it is, or why it can't be told.
    """

    def __init__(
        self,
        gather: Callable[[], Awaitable[None]],
        ask: Callable[[tuple[str, ...]], Coroutine[Any, Any, Mapping[str, T | ReadError]]],
    ) -> None:
        self._gather = gather
        self._ask = ask
        self._symbols: dict[str, None] = {}
        self._next: asyncio.Task[Mapping[str, T | ReadError]] | None = None

    async def get(self, symbol: str) -> T:
        """Raises ReadError."""
        self._symbols[symbol] = None
        if self._next is None:
            self._next = asyncio.create_task(self._go(), name="shared look")
            self._next.add_done_callback(_seen)
        # who gives up must not take the look away from the others
        found = (await asyncio.shield(self._next))[symbol]
        if isinstance(found, ReadError):
            raise found
        return found

    async def _go(self) -> Mapping[str, T | ReadError]:
        fault: ReadError | None = None
        try:
            await self._gather()
        except ReadError as error:
            fault = error
        finally:
            symbols, self._symbols, self._next = tuple(self._symbols), {}, None
        try:
            return await self._ask(symbols) if fault is None else dict.fromkeys(symbols, fault)
        except ReadError as error:
            return dict.fromkeys(symbols, error)


def _is_refused(error: ReadError) -> bool:
    return isinstance(error, ReadRefused)


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to hear of its fault."""
    if not task.cancelled():
        task.exception()


class SharedReads:
    """Shared reads of one connection's symbols. Every method raises ReadError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._quotes = Quotes(connection)
        self._price_ways = TwoWays(connection, _is_refused)
        self._info_ways = TwoWays(connection, _is_refused)
        self._orders = Shared(self._before(calls.OPEN_ORDERS_ALL, GATHER_S), self._ask_orders)
        self._prices = Shared(self._before(calls.TICKER, GATHER_PRICES_S), self._ask_prices)
        self._balances = Shared(self._before(calls.ACCOUNT, 0), self._ask_balances)
        self._info = Shared(self._before(calls.EXCHANGE_INFO, GATHER_S), self._ask_info)

    async def open_orders(self, symbol: str) -> tuple[OrderReport, ...]:
        return await self._orders.get(symbol)

    async def quote(self, symbol: str) -> Quote:
        return await self._prices.get(symbol)

    async def balances(self) -> dict[str, Balance]:
        """The account has one purse for all symbols."""
        return await self._balances.get("")

    async def exchange_info(self, symbol: str) -> ExchangeInfo:
        """What tells the rules of `symbol`, and of others perhaps."""
        return await self._info.get(symbol)

    def _before(self, call: Call, seconds: float) -> Callable[[], Awaitable[None]]:
        async def gather() -> None:
            # at least one turn of the event loop, in which others can come
            await (self._connection.clock.sleep(seconds) if seconds else asyncio.sleep(0))
            await self._connection.budget.admit(call)

        return gather

    # --- the requests ---------------------------------------------------------------------------------------------

    async def _ask_orders(self, symbols: tuple[str, ...]) -> Mapping[str, tuple[OrderReport, ...] | ReadError]:
        """By symbol, or all at once: whichever weighs less."""
        if len(symbols) * calls.OPEN_ORDERS.weight <= calls.OPEN_ORDERS_ALL.weight:
            return await self._each(symbols, self._orders_of)
        found = await self._connection.read(
            calls.OPEN_ORDERS_ALL,
            {},
            lambda reply: reading.open_orders_by_symbol(reply.body),
            has_other_way=True,
        )
        return {symbol: found.get(symbol, ()) for symbol in symbols}

    async def _orders_of(self, symbol: str) -> tuple[OrderReport, ...]:
        return await self._connection.read(
            calls.OPEN_ORDERS,
            {"symbol": symbol},
            lambda reply: reading.open_orders(reply.body, symbol),
            has_other_way=True,
        )

    async def _ask_prices(self, symbols: tuple[str, ...]) -> Mapping[str, Quote | ReadError]:
        parts = [symbols[n : n + calls.TICKERS_MAX] for n in range(0, len(symbols), calls.TICKERS_MAX)]
        found: dict[str, Quote | ReadError] = {}
        for part in await asyncio.gather(*(self._prices_of(part) for part in parts)):
            found |= part
        return found

    async def _prices_of(self, symbols: tuple[str, ...]) -> Mapping[str, Quote | ReadError]:
        if len(symbols) == 1:
            return await self._each(symbols, self._quotes.read)
        try:
            return await self._price_ways.read(
                lambda: self._together(symbols), lambda: self._one_by_one(symbols, self._quotes.read)
            )
        except ReadRefused:  # one symbol that is not there any more must not hide the others
            return await self._each(symbols, self._quotes.read)

    async def _together(self, symbols: tuple[str, ...]) -> Mapping[str, Quote | ReadError]:
        found = await self._connection.read(
            calls.tickers(len(symbols)),
            {"symbols": _listed(symbols)},
            lambda reply: reading.quotes(reply.body, reply.asked_at),
            has_other_way=True,
        )
        missing = ReadError(f"{calls.TICKER}: the answer has no price of it that can be read")
        return {symbol: found.get(symbol, missing) for symbol in symbols}

    async def _one_by_one(
        self, symbols: tuple[str, ...], ask: Callable[[str], Coroutine[Any, Any, T]]
    ) -> Mapping[str, T | ReadError]:
        """Each symbol has another way of its own (rule 8.7). Where that of the first finds no answer either, it is not
        the request for all that is down. Raises ReadError.
        """
        first = await self._each(symbols[:1], ask)
        (told,) = first.values()
        if isinstance(told, ReadError) and not isinstance(told, ReadRefused):
            raise told
        return {**first, **await self._each(symbols[1:], ask)}

    async def _ask_balances(self, symbols: tuple[str, ...]) -> Mapping[str, dict[str, Balance] | ReadError]:
        found = await self._connection.read(
            calls.ACCOUNT, {"omitZeroBalances": "true"}, lambda reply: reading.balances(reply.body)
        )
        return dict.fromkeys(symbols, found)

    async def _ask_info(self, symbols: tuple[str, ...]) -> Mapping[str, ExchangeInfo | ReadError]:
        if len(symbols) == 1:
            return await self._each(symbols, self._info_of)
        try:
            return await self._info_ways.read(
                lambda: self._info_together(symbols), lambda: self._one_by_one(symbols, self._info_of)
            )
        except ReadRefused:
            return await self._each(symbols, self._info_of)

    async def _info_together(self, symbols: tuple[str, ...]) -> Mapping[str, ExchangeInfo | ReadError]:
        found = await self._connection.read(
            calls.EXCHANGE_INFO,
            {"symbols": _listed(symbols)},
            lambda reply: rule_book.exchange_info(reply.body),
            has_other_way=True,
        )
        return dict.fromkeys(symbols, found)

    async def _info_of(self, symbol: str) -> ExchangeInfo:
        return await self._connection.read(
            calls.EXCHANGE_INFO, {"symbol": symbol}, lambda reply: rule_book.exchange_info(reply.body)
        )

    async def _each(
        self, symbols: tuple[str, ...], ask: Callable[[str], Coroutine[Any, Any, T]]
    ) -> Mapping[str, T | ReadError]:
        async def one(symbol: str) -> T | ReadError:
            try:
                return await ask(symbol)
            except ReadError as error:
                return error

        return dict(zip(symbols, await asyncio.gather(*map(one, symbols)), strict=True))


def _listed(symbols: tuple[str, ...]) -> str:
    """As the parameter `symbols` wants them: JSON without spaces (rest-api.md)."""
    return msgspec.json.encode(symbols).decode()
