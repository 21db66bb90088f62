"""A margin account of Binance as the port wants it: orders, loans and accounts over `/sapi`, all of them REST.

What a margin account has in common with Spot (prices, filters, fees, the clock) is had from where Spot has it. There is
no cancel-replace on margin: a stop is moved by its cancel, and placed anew once that is confirmed (rule 11.5).
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial

import msgspec
from msgspec.structs import replace

from executor.core.model.facts import (
    Balance,
    Fill,
    NotTried,
    OrderReport,
    Outcome,
    Refused,
    ReplaceOutcome,
    Unknown,
    Why,
)
from executor.core.model.intents import NewOrder, Stamp
from executor.core.model.loans import Booked, LoanKind, LoanRecord, MarginAccount, MarginTerms
from executor.core.model.rules import SymbolRules
from executor.exchange.binance import MAX_TRADES, NO_SUCH_ORDER, BinanceExchange
from executor.exchange.port import StartError
from executor.exchange.transport.connection import Connection, ReadRefused
from executor.exchange.wire import calls, margin, reading
from executor.exchange.wire.margin import Account

NO_ACCOUNT = frozenset({-3003, -11001})


class MarginExchange(BinanceExchange):
    """`executor.exchange.port.MarginExchange`. `account`: whose; every request is for it, and for no other."""

    most_orders = 500

    def __init__(self, connection: Connection, symbol: str, account: Account, terms: MarginTerms) -> None:
        super().__init__(connection, symbol)
        self.account = account
        self._terms = terms

    # --- orders ---------------------------------------------------------------------------------------------------

    async def place(self, order: NewOrder, stamp: Stamp | None = None) -> Outcome:
        asked = margin.place(self.account, self.symbol, order)
        return await self.connection.command(margin.PLACE, asked, partial(reading.placed, own_id=order.id), stamp)

    async def place_oco(self, list_id: str, target: NewOrder, stop: NewOrder, stamp: Stamp | None = None) -> Outcome:
        return await self.connection.command(
            margin.PLACE_OCO,
            margin.oco(self.account, self.symbol, list_id, target, stop),
            partial(reading.oco_placed, list_id=list_id, leg_ids={target.id, stop.id}),
            stamp,
        )

    async def cancel(self, id: str, stamp: Stamp | None = None) -> Outcome:  # noqa: A002  # the port's word
        asked = margin.about(self.account, self.symbol, origClientOrderId=id)
        return await self.connection.command(margin.CANCEL, asked, partial(reading.cancelled, own_id=id), stamp)

    async def cancel_list(self, list_id: str, stamp: Stamp | None = None) -> Outcome:
        asked = margin.about(self.account, self.symbol, listClientOrderId=list_id)
        read = partial(reading.list_cancelled, list_id=list_id)
        return await self.connection.command(margin.CANCEL_LIST, asked, read, stamp)

    async def replace(self, cancel_id: str, order: NewOrder, stamp: Stamp | None = None) -> ReplaceOutcome:  # noqa: ARG002
        """Nothing is sent: margin has no such request."""
        return ReplaceOutcome(Refused(Why.OTHER, 0, "not sent: a margin account has no cancel-replace"), NotTried())

    async def order(self, id: str, exchange_id: int = 0) -> OrderReport | None:  # noqa: A002  # the port's word
        name = {"orderId": str(exchange_id)} if exchange_id else {"origClientOrderId": id}
        asked = margin.about(self.account, self.symbol, **name)
        try:
            found = await self.connection.read(margin.ORDER, asked, lambda reply: reading.order(reply.body))
        except ReadRefused as error:
            if error.fault.code == NO_SUCH_ORDER:
                return None
            raise
        return found if found.id == id else replace(found, id=id)

    async def trades(self, exchange_id: int) -> tuple[Fill, ...]:
        found: tuple[Fill, ...] = ()
        asked = margin.about(self.account, self.symbol, orderId=str(exchange_id), limit=str(MAX_TRADES))
        while True:
            page = await self.connection.read(margin.TRADES, asked, lambda reply: reading.trades(reply.body))
            found += page
            if len(page) < MAX_TRADES:
                return found
            asked["fromId"] = str(page[-1].trade_id + 1)

    async def open_orders(self) -> tuple[OrderReport, ...]:
        asked = margin.about(self.account, self.symbol)
        return await self.connection.read(margin.OPEN_ORDERS, asked, lambda reply: reading.open_orders(reply.body))

    async def _all_orders(self, query: dict[str, str]) -> tuple[OrderReport, ...]:
        asked = margin.about(self.account, self.symbol, limit=str(self.most_orders), **query)
        return await self.connection.read(margin.ALL_ORDERS, asked, lambda reply: reading.open_orders(reply.body))

    # --- the account ----------------------------------------------------------------------------------------------

    async def balances(self) -> dict[str, Balance]:
        return (await self.margin_account()).balances

    async def margin_account(self) -> MarginAccount:
        if self.account.isolated:
            pair = self.account.isolated
            return await self.connection.read(
                margin.ISOLATED,
                {"symbols": pair},
                lambda reply: margin.isolated_account(reply.body, pair, reply.asked_at),
            )
        price = (await self.quote()).last
        btc_price = await self._price_of_bitcoin(price)
        return await self.connection.read(
            margin.CROSS,
            {},
            lambda reply: margin.cross_account(reply.body, reply.asked_at, price=price, btc_price=btc_price),
        )

    async def _price_of_bitcoin(self, price: Decimal) -> Decimal:
        """In the symbol's quote: what the exchange reckons the account's worth in is bitcoin."""
        rules = self.shown or await self.rules()
        if rules.base == "BTC":
            return price
        symbol = {"symbol": f"BTC{rules.quote}"}
        quote = await self.connection.read(
            calls.TICKER, symbol, lambda reply: reading.quote(reply.body, reply.asked_at)
        )
        return quote.last

    async def rules(self) -> SymbolRules:
        """Spot's filters and fees with the account's terms."""
        return replace(await super().rules(), margin=self._terms, cancel_replace_allowed=False)

    async def prove_account(self) -> None:
        """Raises `StartError` where there is no such account."""
        try:
            await self.margin_account()
        except ReadRefused as error:
            if error.fault.code in NO_ACCOUNT:
                raise StartError(_not_opened(self.account)) from error
            raise

    # --- loans ----------------------------------------------------------------------------------------------------

    async def borrow(self, asset: str, amount: Decimal, stamp: Stamp | None = None) -> Booked | Refused | Unknown:
        return await self._lend(LoanKind.BORROW, asset, amount, stamp)

    async def repay(self, asset: str, amount: Decimal, stamp: Stamp | None = None) -> Booked | Refused | Unknown:
        return await self._lend(LoanKind.REPAY, asset, amount, stamp)

    async def _lend(
        self, kind: LoanKind, asset: str, amount: Decimal, stamp: Stamp | None
    ) -> Booked | Refused | Unknown:
        asked: Mapping[str, str] = margin.lend(self.account, kind, asset, amount)
        answer = await self.connection.ask_once(margin.LEND, asked, stamp)
        if isinstance(answer, Refused | Unknown):
            return answer
        body, fence = answer
        try:
            return margin.booked(body)
        except msgspec.DecodeError as error:
            return Unknown(f"not the answer to {margin.LEND}: {error}", fence)

    async def loan_records(self, kind: LoanKind, asset: str, since: int) -> tuple[LoanRecord, ...]:
        asked = margin.records_since(self.account, kind, asset, since)
        return await self.connection.read(margin.RECORDS, asked, lambda reply: margin.records(reply.body, kind))

    async def borrowable(self, asset: str) -> Decimal:
        asked = {"asset": asset, **self.account.told_apart}
        return await self.connection.read(margin.BORROWABLE, asked, lambda reply: margin.borrowable(reply.body))

    async def liquidations(self, since: int) -> tuple[int, ...]:
        asked = {"startTime": str(since), **self.account.told_apart}
        return await self.connection.read(margin.LIQUIDATIONS, asked, lambda reply: margin.liquidations(reply.body))


def _not_opened(account: Account) -> str:
    whose = f"an isolated margin account of {account.isolated}" if account.isolated else "a cross margin account"
    return f"there is not {whose}: open it in the exchange's app, and transfer funds to it"
