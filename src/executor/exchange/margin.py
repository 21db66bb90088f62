"""A margin account of Binance as the port wants it: orders, loans and accounts over `/sapi`, all of them REST.

What a margin account has in common with Spot (prices, filters, fees, the clock) is had from where Spot has it. There is
no cancel-replace on margin: a stop is moved by its cancel, and placed anew once that is confirmed (rule 11.5).
"""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Final, TypeVar

import structlog
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
from executor.core.model.loans import AssetTerms, Bars, Booked, LoanKind, LoanRecord, MarginAccount, MarginTerms
from executor.core.model.rules import SymbolRules
from executor.core.model.values import ONE, ZERO
from executor.exchange.binance import BinanceExchange, named
from executor.exchange.neighbours import NOT_ITS_TURN, LookBeside, Neighbours
from executor.exchange.permissions import key_permissions
from executor.exchange.port import NotListedError, ReadError, StartError
from executor.exchange.shared_cross import SharedCross
from executor.exchange.shared_reads import SharedReads
from executor.exchange.transport.connection import Connection, ReadRefused, Reply
from executor.exchange.wire import calls, margin, reading
from executor.exchange.wire import margin_terms as terms
from executor.exchange.wire.margin import Account
from executor.exchange.wire.outcomes import describe

log = structlog.get_logger(__name__)

NO_ACCOUNT: Final = frozenset({-3003, -11001})
NOT_FOUND: Final = 404
UNSIGNED: Final = frozenset({-1022, -1102})
BITCOIN: Final = "BTC"
UID_S: Final = 3.0
"""So long a start waits for the account's number."""
PRICES_WITHIN_S: Final = 5.0
"""What an account's level is told without them; they may wait for the next minute's request weight."""

T = TypeVar("T")


class NotOpenedError(ReadError):
    """There is no such account."""


class MarginExchange(BinanceExchange):
    """`executor.exchange.port.MarginExchange`. `account`: whose; every request is for it, and for no other. `largest`:
    the largest loan that trades will ask for, in quote, where that is known: terms depend on it. `neighbours`: of a
    cross account with several symbols.
    """

    most_orders = 500
    on_spot = False

    def __init__(
        self,
        connection: Connection,
        symbol: str,
        shared: SharedReads | None = None,
        *,
        account: Account,
        cross: SharedCross | None = None,
        largest: Decimal = ZERO,
    ) -> None:
        super().__init__(connection, symbol, shared)
        self.account = account
        self.neighbours: Neighbours | None = None
        self._cross = cross or SharedCross(connection)
        self._largest = largest
        self._inverse = False
        """The pair of bitcoin and the symbol's quote has bitcoin as its quote."""

    # --- orders ---------------------------------------------------------------------------------------------------

    async def place(self, order: NewOrder, stamp: Stamp | None = None) -> Outcome:
        asked = margin.place(self.account, self.symbol, order)
        return await self.connection.command(margin.PLACE, asked, partial(reading.placed, own_id=order.id), stamp)

    async def place_oco(self, list_id: str, target: NewOrder, stop: NewOrder, stamp: Stamp | None = None) -> Outcome:
        return await self.connection.command(
            margin.PLACE_OCO,
            margin.oco(self.account, self.symbol, list_id, target, stop),
            partial(reading.list_placed, list_id=list_id, leg_ids={target.id, stop.id}),
            stamp,
        )

    async def place_bracket(
        self,
        list_id: str,
        entry: NewOrder,  # noqa: ARG002
        stop: NewOrder,  # noqa: ARG002
        target: NewOrder | None,  # noqa: ARG002
        stamp: Stamp | None = None,  # noqa: ARG002
    ) -> Outcome:
        """Nothing is sent: what an entry pays for is borrowed before it (rule 11.2), and there is no OPO on margin."""
        return Refused(Why.OTHER, 0, f"not sent: no bracket is placed on margin ({list_id})")

    async def cancel(self, id: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:  # noqa: A002
        asked = margin.about(self.account, self.symbol, **named(id, exchange_id))
        return await self.connection.command(margin.CANCEL, asked, partial(reading.cancelled, own_id=id), stamp)

    async def cancel_list(self, list_id: str, stamp: Stamp | None = None) -> Outcome:
        asked = margin.about(self.account, self.symbol, listClientOrderId=list_id)
        read = partial(reading.list_cancelled, list_id=list_id)
        return await self.connection.command(margin.CANCEL_LIST, asked, read, stamp)

    async def replace(self, cancel_id: str, order: NewOrder, stamp: Stamp | None = None) -> ReplaceOutcome:  # noqa: ARG002
        """Nothing is sent: margin has no such request."""
        return ReplaceOutcome(Refused(Why.OTHER, 0, "not sent: a margin account has no cancel-replace"), NotTried())

    async def _ask_order(self, id: str, exchange_id: int) -> OrderReport:  # noqa: A002
        asked = margin.about(self.account, self.symbol, **named(id, exchange_id))
        found = await self.connection.read(
            margin.ORDER,
            asked,
            lambda reply: reading.order(reply.body, self.symbol, id, exchange_id),
            has_other_way=bool(exchange_id),
        )
        (found,) = margin.with_lists((found if found.id == id else replace(found, id=id),))
        return found

    async def trades(self, exchange_id: int) -> tuple[Fill, ...]:
        return await self._trades(margin.TRADES, margin.about(self.account, self.symbol), exchange_id)

    async def _list_open(self) -> tuple[OrderReport, ...]:
        asked = margin.about(self.account, self.symbol)
        found = await self.connection.read(
            margin.OPEN_ORDERS,
            asked,
            lambda reply: reading.open_orders(reply.body, self.symbol),
            has_other_way=True,
        )
        return margin.with_lists(found)

    async def _all_orders(
        self, query: dict[str, str], *, watching: bool = False, has_other_way: bool = False
    ) -> tuple[OrderReport, ...]:
        asked = margin.about(self.account, self.symbol) | {"limit": str(self.most_orders)} | query
        found = await self.connection.read(
            margin.NEWEST_ORDERS if watching else margin.ALL_ORDERS,
            asked,
            lambda reply: reading.all_orders(reply.body, self.symbol),
            has_other_way=has_other_way,
        )
        return margin.with_lists(found)

    # --- the account ----------------------------------------------------------------------------------------------

    async def balances(self) -> dict[str, Balance]:
        return (await self.margin_account()).balances

    async def margin_account(self) -> MarginAccount:
        """Raises `ReadError`."""
        if self.neighbours is None:
            return await self._read_account()
        look = LookBeside(self.neighbours)
        return look.over(await self._read_account())

    async def _read_account(self) -> MarginAccount:
        """Raises `NotOpenedError` where there is no such account, or another `ReadError`."""
        try:
            return await self._ask_for_account()
        except margin.NoAccountError as error:
            raise NotOpenedError(_not_opened(self.account)) from error

    async def _ask_for_account(self) -> MarginAccount:
        if self.account.isolated:
            pair = self.account.isolated
            return await self.connection.read(
                margin.ISOLATED,
                {"symbols": pair},
                lambda reply: margin.isolated_account(reply.body, pair, reply.asked_at),
            )
        shown, asked_at = await self._cross.read()
        try:
            async with asyncio.timeout(PRICES_WITHIN_S):
                return await self._priced(shown, asked_at)
        except (ReadError, TimeoutError) as error:
            log.warning("look_failed", what="prices for the margin account", error=describe(error))
        return margin.cross_account_without_prices(shown, asked_at)

    async def _priced(self, shown: margin.Cross, asked_at: int) -> MarginAccount:
        """Raises ReadError where what is needed for it can't be had."""
        price = (await self.quote()).last
        rules = self.shown or await self.rules()
        try:
            async with asyncio.timeout(PRICES_WITHIN_S / 2):
                btc_price = await self._price_of_bitcoin(price, rules)
        except (ReadError, TimeoutError) as error:  # of its own two assets it is known without
            log.warning("look_failed", what=f"the price of {BITCOIN} for the margin account", error=describe(error))
            btc_price = None
        if btc_price is not None:
            return margin.cross_account(shown, asked_at, price=price, btc_price=btc_price)
        found = margin.cross_account_of_two(shown, asked_at, base=rules.base, quote=rules.quote, price=price)
        if found is None:
            raise ReadError(f"{BITCOIN} has no price in {rules.quote}: what is owed of other assets can't be reckoned")
        return found

    async def _price_of_bitcoin(self, price: Decimal, rules: SymbolRules) -> Decimal | None:
        """In the symbol's quote: the exchange reckons the account's worth in bitcoin. None where that has no price."""
        if BITCOIN in (rules.base, rules.quote):
            return price if rules.base == BITCOIN else ONE
        if not self._inverse:
            try:
                return await self._last(f"{BITCOIN}{rules.quote}")
            except ReadRefused:
                self._inverse = True  # there is no such pair: of ETH, say, the price is told in bitcoin
        try:
            inverse = await self._last(f"{rules.quote}{BITCOIN}")
        except ReadRefused:
            return None
        return ONE / inverse if inverse is not None else None

    async def _last(self, symbol: str) -> Decimal | None:
        quote = await (self._shared.quote(symbol) if self._shared is not None else self._quotes.read(symbol))
        return quote.last if quote.last > 0 else None

    async def rules(self) -> SymbolRules:
        """Spot's filters and fees with the account's terms."""
        rules = await super().rules()
        return replace(rules, margin=await self._terms(rules), cancel_replace_allowed=False)

    async def _terms(self, rules: SymbolRules) -> MarginTerms:
        pairs = margin.ISOLATED_PAIRS if self.account.isolated else margin.PAIRS
        fault = await self._public(
            pairs, lambda reply: terms.pair_fault(reply.body, self.symbol, self.account, reply.asked_at), ""
        )
        base, quote = await self._public(
            margin.ASSETS,
            lambda reply: (
                terms.asset_terms(reply.body, rules.base, reply.asked_at),
                terms.asset_terms(reply.body, rules.quote, reply.asked_at),
            ),
            (AssetTerms(), AssetTerms()),
        )
        bars = await self._bars(rules, fault)
        return MarginTerms(isolated=bool(self.account.isolated), bars=bars, base=base, quote=quote, fault=fault)

    async def _public(self, call: calls.Call, parse: Callable[[Reply], T], unsaid: T) -> T:
        """What is the same for every account; `unsaid` where the exchange has no such list: then orders and loans tell.
        The documents ask for no signature, and one client library sends one (rule 8.8).
        """
        try:
            return await self.connection.read(call, {}, parse)
        except ReadRefused as error:
            if error.status == NOT_FOUND:
                return unsaid
            if error.fault.code not in UNSIGNED:
                raise
        return await self.connection.read(replace(call, signed=True), {}, parse)

    async def _bars(self, rules: SymbolRules, fault: str) -> Bars:
        try:
            if self.account.isolated:
                return (await self._tier(rules)).bars
            return await self.connection.read(margin.BARS, {}, lambda reply: terms.bars(reply.body))
        except ReadError as error:
            if fault or (isinstance(error, ReadRefused) and error.fault.code in NO_ACCOUNT):
                return UNTOLD  # nothing more is traded there, and why is told elsewhere
            raise

    async def _tier(self, rules: SymbolRules) -> terms.Tier:
        """That of the largest loan, as far as it is known, or of what is owed now."""
        found = await self.connection.read(
            margin.TIERS, {"symbol": self.symbol}, lambda reply: terms.tiers(reply.body, self.symbol)
        )
        if len(found) == 1:
            return found[0]
        try:
            account = await self._read_account()
        except (ReadRefused, NotOpenedError):
            return terms.tier_of(found, ZERO, self._largest)
        base = self._largest / account.price if account.price else ZERO
        return terms.tier_of(
            found,
            max(base, account.debt(rules.base).total),
            max(self._largest, account.debt(rules.quote).total),
        )

    async def prove_symbol(self) -> None:
        """As for Spot; and that there is an account to trade it with."""
        await super().prove_symbol()
        shown = self.shown
        if shown is None:
            return
        assert shown.margin is not None
        why = shown.margin.fault or await self._barred()
        if why:
            self.shown, self.fault = None, NotListedError(why)

    async def _barred(self) -> str:
        call, query = (
            (margin.ISOLATED, {"symbols": self.account.isolated}) if self.account.isolated else (margin.CROSS, {})
        )
        try:
            return await self.connection.read(call, query, lambda reply: _why_barred(reply, self.account))
        except ReadRefused as error:
            if error.fault.code in NO_ACCOUNT:
                return _not_opened(self.account)
            raise

    async def prove_account(self) -> None:
        """Raises `StartError` where the key may not borrow, as far as the exchange tells."""
        may_borrow, self.connection.uid = await asyncio.gather(self._may_borrow(), self._uid_in_time())
        if may_borrow is False:
            raise StartError(NO_LOANS)

    async def _may_borrow(self) -> bool | None:
        """None where the exchange does not tell: borrowing does."""
        try:
            return (await key_permissions(self.connection)).margin
        except ReadError:
            return None

    async def _uid_in_time(self) -> int:
        """0 where it is not told at once: a trade may be open, and nothing else is read of the wallet."""
        try:
            async with asyncio.timeout(UID_S):
                return await self.ask_uid()
        except (ReadError, TimeoutError):
            return 0

    # --- loans ----------------------------------------------------------------------------------------------------

    async def borrow(self, asset: str, amount: Decimal, stamp: Stamp | None = None) -> Booked | Refused | Unknown:
        return await self._lend(LoanKind.BORROW, asset, amount, stamp)

    async def repay(self, asset: str, amount: Decimal, stamp: Stamp | None = None) -> Booked | Refused | Unknown:
        return await self._lend(LoanKind.REPAY, asset, amount, stamp)

    async def _lend(
        self, kind: LoanKind, asset: str, amount: Decimal, stamp: Stamp | None
    ) -> Booked | Refused | Unknown:
        if self.neighbours is not None and not self.neighbours.take_turn():
            return NOT_ITS_TURN
        asked: Mapping[str, str] = margin.lend(self.account, kind, asset, amount)
        answer = await self.connection.ask_once(margin.LEND, asked, margin.booked, stamp)
        return advised(answer, self.account) if isinstance(answer, Refused) else answer

    async def loan_records(self, kind: LoanKind, asset: str, since: int) -> tuple[LoanRecord, ...]:
        asked = margin.records_since(self.account, kind, asset, since)
        rows = await self.connection.read(
            margin.RECORDS, asked, lambda reply: margin.records(reply.body, kind, self.account)
        )
        return rows if self.neighbours is None else self.neighbours.not_theirs(kind, rows)

    async def borrowable(self, asset: str) -> Decimal:
        asked = {"asset": asset, **self.account.told_apart}
        return await self.connection.read(margin.BORROWABLE, asked, lambda reply: margin.borrowable(reply.body))

    async def liquidations(self, since: int) -> tuple[int, ...]:
        asked = {"startTime": str(since), **self.account.told_apart}
        return await self.connection.read(
            margin.LIQUIDATIONS, asked, lambda reply: margin.liquidations(reply.body, self.account)
        )


NO_LOANS: Final = (
    "the API key may not borrow and repay: enable margin loan, repay and transfer for it on its page at the exchange"
)
UNTOLD: Final = Bars(borrow=ONE, call=ONE, liquidation=ONE)
"""The bars of an account that tells none; a trade that is open there goes on by those that it told last."""


def _why_barred(reply: Reply, account: Account) -> str:
    try:
        return margin.barred(reply.body, account)
    except margin.NoAccountError:
        return _not_opened(account)


def _not_opened(account: Account) -> str:
    whose = f"an isolated margin account of {account.isolated}" if account.isolated else "a cross margin account"
    return f"there is not {whose}: open it in the exchange's app, and transfer funds to it"


def advised(refused: Refused, account: Account) -> Refused:
    """A refusal with what a person can do about it, where it is a person's to do."""
    advice = NO_LOANS if refused.why is Why.AUTH else _ADVICE.get(refused.code, "")
    if refused.code in NO_ACCOUNT:
        advice = _not_opened(account)
    return replace(refused, text=f"{refused.text} ({advice})") if advice else refused


_ADVICE: Final[Mapping[int, str]] = {
    -3004: "this account may not trade on margin: see its page at the exchange",
    -3008: "the exchange lets nobody borrow now",
    -3010: "the exchange takes no repayments now: it is tried again, and interest runs",
    -3012: "the exchange lends none of this asset now",
    -3014: "this account may not borrow: see its page at the exchange",
    -3021: "the pair is not traded on margin: choose another symbol",
    -3022: "this account may not trade: see its page at the exchange",
    -3027: "the asset is not lent on margin: choose another symbol",
    -3028: "the pair is not traded on margin: choose another symbol",
    -3036: "this account may not repay: see its page at the exchange; interest runs",
    -3045: "the exchange has none left to lend: a smaller size, or later",
    -3067: "the pair is banned on margin: choose another symbol",
}
