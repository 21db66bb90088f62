"""Binance Spot as the port wants it: one symbol, three-way outcomes, exact decimals."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from executor.core.model.facts import Balance, Fill, Kline, OrderReport, Outcome, Quote, ReplaceOutcome, Why
from executor.core.model.intents import NewOrder, Stamp
from executor.core.model.rules import SymbolRules
from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType
from executor.exchange.port import BannedError, NotListedError, ReadError, RulesUnreadError, StartError
from executor.exchange.quotes import INVALID_SYMBOL, Quotes
from executor.exchange.shared_reads import SharedReads
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.client import BinanceClient
from executor.exchange.transport.clock import ExchangeClock, LocalClock
from executor.exchange.transport.connection import Connection, ReadRefused
from executor.exchange.two_ways import TwoWays
from executor.exchange.wire import calls, params, reading
from executor.exchange.wire import rules as rule_book
from executor.exchange.wire.outcomes import verdict

UNREAD_LOOKS: Final = 2
"""After so many looks in a row that found no answer, an order, or those that are open, is read from the history as well
(rule 8.7).
"""
NO_SUCH_ORDER: Final = -2013
ARCHIVED: Final = -2026
OTHER_STATUS: Final = -1220
MAX_TRADES: Final = 1000
MAX_ORDERS: Final = 1000
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
REFERENCE_S: Final = 2.0
MAX_KLINES: Final = 1000

_log = structlog.get_logger(__name__)


async def connect(
    endpoints: Endpoints,
    credentials: Credentials,
    symbol: str,
    clock: LocalClock,
    recv_window: int = 5000,
    make: "Make | None" = None,
) -> "BinanceExchange":
    """As `connect_all`, for one symbol. Raises `StartError` also where that is not listed."""
    exchange = (await connect_all(endpoints, credentials, (symbol,), clock, recv_window, make))[symbol]
    if exchange.fault is not None:
        await exchange.close()
        raise exchange.fault
    return exchange


async def connect_all(
    endpoints: Endpoints,
    credentials: Credentials,
    symbols: tuple[str, ...],
    clock: LocalClock,
    recv_window: int = 5000,
    make: "Make | None" = None,
    held: Collection[str] = (),
) -> dict[str, "BinanceExchange"]:
    """Reach the exchange, set the clock, and prove that key and symbols can be used. By symbol, over one connection;
    `recv_window` in ms. A symbol that can't be is no fault of the others: see `fault`. `make`: how a symbol's exchange
    is made, where it is not Spot. `held`: symbols with an open trade whose rules are known from before: where there are
    some, a read that fails alone is no fault of the start, but of what needs it.

    Its reads are hurried until `settle`. Raises `StartError`, in words for people, when the exchange can't be used at
    all; `BannedError` where it wants to be left alone for a while. One of the results must be closed: the connection is
    the same.
    """
    if not 0 < recv_window <= 60_000:
        raise StartError(f"recv_window is {recv_window} ms; it must be above 0 and at most 60000")
    exchange_clock = ExchangeClock(clock)
    client = BinanceClient(endpoints, credentials)
    connection = Connection(client, exchange_clock, Budget(exchange_clock), recv_window)
    connection.budget.hurried = True
    shared = SharedReads(connection) if len(symbols) > 1 else None
    try:
        await _tried(connection.warm(), "ping", patient=bool(held))
        # Where it can't be read, this machine's own goes on: if it is wrong, what it stamps is refused (-1021).
        await _tried(connection.sync_clock(), "time", patient=bool(held))
        exchanges = {symbol: (make or BinanceExchange)(connection, symbol, shared) for symbol in symbols}
        await _prove(exchanges, patient=bool(held))
    except ReadRefused as error:
        await connection.close()
        if _refuses_key(error):
            raise StartError(
                f"{endpoints.rest_url} refuses the API key ({credentials.kind}): {error}. Check that key and "
                "secret belong together and to this environment, and that the key allows Spot trading from "
                "this address"
            ) from error
        raise StartError(f"{endpoints.rest_url} can't be used: {error}") from error
    except ReadError as error:
        await connection.close()
        if wait_ms := connection.budget.closed_for_ms():
            raise BannedError(f"{endpoints.rest_url} wants to be left alone: {error}", wait_ms / 1000) from error
        raise StartError(f"{endpoints.rest_url} can't be reached: {error}") from error
    except BaseException:
        await connection.close()
        raise
    return exchanges


Make = Callable[[Connection, str, SharedReads | None], "BinanceExchange"]


async def _tried(read: Awaitable[None], what: str, *, patient: bool) -> None:
    try:
        await read
    except ReadError as error:
        if not patient:
            raise
        _log.warning("look_failed", what=what, error=str(error))


async def _prove(exchanges: Mapping[str, "BinanceExchange"], *, patient: bool) -> None:
    """The first symbol alone before the others: a key that is refused is refused once."""
    first, *others = exchanges.values()
    await _prove_symbol(first, patient=patient)
    try:
        await first.prove_account()
    except (ReadError, StartError) as error:
        if not patient or _refuses_key(error):
            raise
        _log.warning("look_failed", what="account", error=str(error))
    await asyncio.gather(*(_prove_symbol(exchange, patient=patient) for exchange in others))


async def _prove_symbol(exchange: "BinanceExchange", *, patient: bool) -> None:
    try:
        await exchange.prove_symbol()
    except ReadError as error:
        if not patient or _refuses_key(error):
            raise
        if exchange.shown is None:
            exchange.fault = RulesUnreadError(f"the rules of {exchange.symbol} can't be read: {error}")


def _refuses_key(error: Exception) -> bool:
    return isinstance(error, ReadRefused) and verdict(error.status, error.fault) is Why.AUTH


def _tells_of_order(error: ReadError) -> bool:
    """Whether the answer is about the order, or to be had from nowhere else."""
    return isinstance(error, ReadRefused) and (error.fault.code in {NO_SUCH_ORDER, ARCHIVED} or _refuses_key(error))


class BinanceExchange:
    """`executor.exchange.port.Exchange` over REST. `shared`: the reads that it shares with other symbols."""

    most_orders = MAX_ORDERS
    """How many orders one answer tells at the most."""
    on_spot = True

    def __init__(self, connection: Connection, symbol: str, shared: SharedReads | None = None) -> None:
        self.connection = connection
        self.symbol = symbol
        self.shown: SymbolRules | None = None
        """The rules that the start has read."""
        self.fault: NotListedError | None = None
        """Why it could not read any."""
        self._shared = shared
        self._quotes = Quotes(connection)
        self._no_reference_until = 0
        self._order_ways = TwoWays(connection, _tells_of_order, UNREAD_LOOKS)
        self._list_ways = TwoWays(connection, _refuses_key, UNREAD_LOOKS)

    def now(self) -> int:
        return self.connection.clock.now_ms()

    async def sync_clock(self) -> None:
        """Measure the exchange's clock anew; to be called every few minutes. Raises `ReadError`."""
        await self.connection.sync_clock()

    async def settle(self) -> None:
        """The start is over, all orders are known: from here on watching may wait for its turn."""
        self.connection.budget.hurried = False

    async def close(self) -> None:
        await self.connection.close()

    async def place(self, order: NewOrder, stamp: Stamp | None = None) -> Outcome:
        return await self.connection.command(
            calls.PLACE, params.place(self.symbol, order), partial(reading.placed, own_id=order.id), stamp
        )

    async def place_oco(self, list_id: str, target: NewOrder, stop: NewOrder, stamp: Stamp | None = None) -> Outcome:
        return await self.connection.command(
            calls.PLACE_OCO,
            params.oco(self.symbol, list_id, target, stop),
            partial(reading.list_placed, list_id=list_id, leg_ids={target.id, stop.id}),
            stamp,
        )

    async def place_bracket(
        self, list_id: str, entry: NewOrder, stop: NewOrder, target: NewOrder | None, stamp: Stamp | None = None
    ) -> Outcome:
        exits = [stop] if target is None else [target, stop]
        return await self.connection.command(
            _BRACKETS[entry.side, target is not None],
            params.bracket(self.symbol, list_id, entry, stop, target),
            partial(reading.list_placed, list_id=list_id, leg_ids={entry.id, *(each.id for each in exits)}),
            stamp,
        )

    async def cancel(self, id: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:  # noqa: A002
        query = {"symbol": self.symbol, **named(id, exchange_id)}
        return await self.connection.command(calls.CANCEL, query, partial(reading.cancelled, own_id=id), stamp)

    async def cancel_list(self, list_id: str, stamp: Stamp | None = None) -> Outcome:
        return await self.connection.command(
            calls.CANCEL_LIST,
            {"symbol": self.symbol, "listClientOrderId": list_id},
            partial(reading.list_cancelled, list_id=list_id),
            stamp,
        )

    async def replace(self, cancel_id: str, order: NewOrder, stamp: Stamp | None = None) -> ReplaceOutcome:
        return await self.connection.replace(
            params.replace(self.symbol, cancel_id, order), stamp, cancel_id=cancel_id, new_id=order.id
        )

    async def order(self, id: str, exchange_id: int = 0) -> OrderReport | None:  # noqa: A002  # the port's word
        """The order with this client order id; None when the exchange says that there is none.

        It is asked for by `exchange_id` where that is known: that finds it under every reading of what a cancelled
        order is called. What is found is the order asked for, whichever client order id it shows (rule 8.8).

        Of an order that ended without a fill more than 90 days ago the exchange tells nothing else: its
        report is CANCELED with nothing filled, and its other fields mean nothing.
        """
        try:
            found = await self._order_ways.read(
                lambda: self._ask_order(id, exchange_id), lambda: self._in_history(exchange_id)
            )
        except ReadError as error:
            code = error.fault.code if isinstance(error, ReadRefused) else 0
            if code == NO_SUCH_ORDER:
                return None
            if code == ARCHIVED:
                return _archived(id)
            raise
        return found if found.id == id else replace(found, id=id)

    async def _ask_order(self, id: str, exchange_id: int) -> OrderReport:  # noqa: A002
        query = {"symbol": self.symbol, **named(id, exchange_id)}
        return await self.connection.read(
            calls.ORDER,
            query,
            lambda reply: reading.order(reply.body, self.symbol, id, exchange_id),
            has_other_way=bool(exchange_id),
        )

    async def trades(self, exchange_id: int) -> tuple[Fill, ...]:
        return await self._trades(calls.TRADES, {"symbol": self.symbol}, exchange_id)

    async def _trades(self, call: calls.Call, about: Mapping[str, str], exchange_id: int) -> tuple[Fill, ...]:
        """Where there are more than one answer holds, it tells the newest (rest-api.md, myTrades): then from the first
        on, page by page, as long as there is something new.
        """
        query = {**about, "orderId": str(exchange_id), "limit": str(MAX_TRADES)}
        page = await self._page(call, query, exchange_id)
        if len(page) < MAX_TRADES:
            return page
        found: tuple[Fill, ...] = ()
        newest = -1
        while True:
            page = await self._page(call, query | {"fromId": str(newest + 1)}, exchange_id)
            last = max((fill.trade_id for fill in page), default=-1)
            if last <= newest:
                return found
            found, newest = found + page, last
            if len(page) < MAX_TRADES:
                return found

    async def _page(self, call: calls.Call, query: Mapping[str, str], exchange_id: int) -> tuple[Fill, ...]:
        return await self.connection.read(call, query, lambda reply: reading.trades(reply.body, exchange_id))

    async def open_orders(self) -> tuple[OrderReport, ...]:
        """Where the list was not answered again and again, what is open of the newest orders (rule 8.7): what that
        leaves out is believed gone from no list, but from direct looks (8.6).
        """
        return await self._list_ways.read(self._list_open, self._open_of_newest)

    async def _open_of_newest(self) -> tuple[OrderReport, ...]:
        newest = await self._all_orders({}, watching=True, has_other_way=True)
        return tuple(report for report in newest if not report.status.is_final)

    async def _list_open(self) -> tuple[OrderReport, ...]:
        if self._shared is not None:
            return await self._shared.open_orders(self.symbol)
        return await self.connection.read(
            calls.OPEN_ORDERS,
            {"symbol": self.symbol},
            lambda reply: reading.open_orders(reply.body, self.symbol),
            has_other_way=True,
        )

    async def history(self, since: int) -> tuple[OrderReport, ...]:
        """Oldest first. By time the exchange tells a day at most; from the first order on, by its number (rest-api.md,
        allOrders).
        """
        start, page = since, tuple[OrderReport, ...]()
        while not page and start <= self.now():
            page = await self._all_orders({"startTime": str(start), "endTime": str(start + DAY_MS - 1)})
            start += DAY_MS
        found: tuple[OrderReport, ...] = ()
        after, newest = min((report.exchange_id for report in page), default=0), -1
        while after:
            page = await self._all_orders({"orderId": str(after)})
            found += page
            last = max((report.exchange_id for report in page), default=-1)
            after = last + 1 if len(page) == self.most_orders and last > newest else 0
            newest = last
        return found

    async def _in_history(self, exchange_id: int) -> OrderReport:
        """Raises `ReadError`, also where the history does not show the order. Whether one that is asked for from a
        number on begins there or ends with the newest, Binance's documents leave open (rule 8.8): so as many are asked
        for as one answer holds.
        """
        page = await self._all_orders({"orderId": str(exchange_id)}, has_other_way=True) if exchange_id else ()
        for report in page:
            if report.exchange_id == exchange_id:
                return report
        raise ReadError(f"{calls.ALL_ORDERS}: the order is not among them")

    async def _all_orders(
        self, query: dict[str, str], *, watching: bool = False, has_other_way: bool = False
    ) -> tuple[OrderReport, ...]:
        """`watching`: again and again."""
        return await self.connection.read(
            calls.NEWEST_ORDERS if watching else calls.ALL_ORDERS,
            {"symbol": self.symbol, "limit": str(self.most_orders), **query},
            lambda reply: reading.all_orders(reply.body, self.symbol),
            has_other_way=has_other_way,
        )

    async def balances(self) -> dict[str, Balance]:
        if self._shared is not None:
            return await self._shared.balances()
        return await self.connection.read(calls.ACCOUNT, _NO_ZEROS, lambda reply: reading.balances(reply.body))

    async def quote(self) -> Quote:
        """Bid, ask and last price; `at` is when they were asked for."""
        if self._shared is not None:
            return await self._shared.quote(self.symbol)
        return await self._quotes.read(self.symbol)

    async def reference_price(self) -> Decimal | None:
        """The symbol's reference price, where it has one; else the average of the last minutes (filters.md)."""
        own, average = await asyncio.gather(
            self._own_reference(),
            self.connection.read(calls.AVERAGE, {"symbol": self.symbol}, lambda reply: reading.average(reply.body)),
        )
        return own if own is not None else average

    async def _own_reference(self) -> Decimal | None:
        """Few symbols have one, and hosts of other makers know none: they are not asked at each signal."""
        if self.connection.clock.local_ms() < self._no_reference_until:
            return None
        try:
            async with asyncio.timeout(REFERENCE_S):
                return await self.connection.read(
                    calls.REFERENCE, {"symbol": self.symbol}, lambda reply: reading.reference(reply.body)
                )
        except (ReadError, TimeoutError):
            self._no_reference_until = self.connection.clock.local_ms() + HOUR_MS
            return None

    async def is_trading(self) -> bool:
        """Whether the symbol's status is TRADING, at a twentieth of what `rules` costs."""
        query = {"symbol": self.symbol, "symbolStatus": "TRADING"}
        try:
            await self.connection.read(calls.PRICE, query, lambda _: None)
        except ReadRefused as error:
            if error.fault.code == OTHER_STATUS:
                return False
            raise
        return True

    async def klines(self, count: int) -> tuple[Kline, ...]:
        """The last `count` one-minute bars, or as many as there are; oldest first, the running one last."""
        found: tuple[Kline, ...] = ()
        query = {"symbol": self.symbol, "interval": "1m"}
        while (missing := count - len(found)) > 0:
            query["limit"] = str(min(missing, MAX_KLINES))
            page = await self.connection.read(calls.KLINES, query, lambda reply: reading.klines(reply.body))
            found = page + found
            if len(page) < min(missing, MAX_KLINES):
                break
            query["endTime"] = str(page[0].open_time - 1)
        return found

    async def rules(self) -> SymbolRules:
        """Filters and fees as they are now. Raises `NotListedError`, `ReadError`."""
        try:
            info = await self._info()
        except ReadRefused as error:
            if error.fault.code == INVALID_SYMBOL:
                raise NotListedError(_not_listed(self.symbol)) from error
            raise
        self.connection.budget.limit_told(info.weight_per_minute)
        fees = await self._commission()
        try:
            found = rule_book.symbol_rules(info, self.symbol, fees, on_spot=self.on_spot)
        except msgspec.DecodeError as error:
            raise ReadError(f"{calls.EXCHANGE_INFO}: what it shows of {self.symbol} can't be read: {error}") from error
        if found is None:
            raise NotListedError(_not_listed(self.symbol))
        return found

    async def _info(self) -> rule_book.ExchangeInfo:
        if self._shared is not None:
            return await self._shared.exchange_info(self.symbol)
        return await self.connection.read(
            calls.EXCHANGE_INFO, {"symbol": self.symbol}, lambda reply: rule_book.exchange_info(reply.body)
        )

    async def prove_symbol(self) -> None:
        """Has `shown` or `fault` set. Raises `ReadError`."""
        try:
            self.shown = await self.rules()
        except NotListedError as error:
            self.fault = error

    async def prove_account(self) -> None:
        """Raises `StartError` when the account may not trade, `ReadError` when the key is refused."""
        may_trade, self.connection.uid = await self.connection.read(
            calls.ACCOUNT, _NO_ZEROS, lambda reply: (reading.may_trade(reply.body), reading.uid(reply.body))
        )
        if not may_trade:
            raise StartError("this account may not trade on Spot: enable trading for it and for the API key")

    async def ask_uid(self) -> int:
        """The account's number, 0 where the exchange tells none. Raises `ReadError`."""
        return await self.connection.read(calls.ACCOUNT, _NO_ZEROS, lambda reply: reading.uid(reply.body))

    async def _commission(self) -> rule_book.Commission:
        try:
            return await self.connection.read(
                calls.COMMISSION,
                {"symbol": self.symbol},
                lambda reply: rule_book.commission(reply.body),
                has_other_way=True,
            )
        except ReadError as error:
            if _refuses_key(error):
                raise
            return await self.connection.read(
                calls.ACCOUNT, _NO_ZEROS, lambda reply: rule_book.account_commission(reply.body)
            )


_BRACKETS: Final = {
    (OrderSide.BUY, False): calls.PLACE_OPO,
    (OrderSide.BUY, True): calls.PLACE_OPOCO,
    (OrderSide.SELL, False): calls.PLACE_OTO,
    (OrderSide.SELL, True): calls.PLACE_OTOCO,
}
"""By the entry's side, and whether there is a target (rule 13.1)."""
_NO_ZEROS: Final = {"omitZeroBalances": "true"}


def named(own_id: str, exchange_id: int) -> dict[str, str]:
    """How an order is asked for."""
    return {"orderId": str(exchange_id)} if exchange_id else {"origClientOrderId": own_id}


def _not_listed(symbol: str) -> str:
    return f"the exchange does not list the symbol {symbol!r}: check SYMBOL (as BTCUSDT, without a separator)"


def _archived(own_id: str) -> OrderReport:
    return OrderReport(
        id=own_id,
        exchange_id=0,
        side=OrderSide.BUY,
        type=OrderType.LIMIT,
        status=OrderStatus.CANCELED,
        qty=ZERO,
    )
