"""A Binance Spot exchange as a value: deterministic, in memory, without clock, sockets or randomness.

`Engine` is the whole of it: feed it the market, send it requests, drain its events, ask it. The server puts
HTTP and WebSocket around it, the simulation calls it directly; both get the same answers for the same
calls.

Where it differs from the exchange it stands for: own orders do not move the market (see `matching`), pegged
orders and the price range rule do not exist, iceberg orders fill like plain ones, and requests are not
signed or weighed (the server's business).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from executor.core.model.values import ZERO
from executor.paper.engine.account import Account, OrderCounter
from executor.paper.engine.admission import ExchangeLimits
from executor.paper.engine.book import Book
from executor.paper.engine.choices import ExchangeChoices
from executor.paper.engine.ledger import Ledger
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.margin.margin import Margin
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import (
    BalanceUpdate,
    CommissionRates,
    Event,
    ExpiryReason,
    ExternalLockUpdate,
    KlinePath,
    Reject,
    SymbolStatus,
)
from executor.paper.engine.order_lists import OrderLists
from executor.paper.engine.symbol import Symbol
from executor.paper.engine.tape import BARS_KEPT, kline_trades


class Engine(OrderLists):
    """The paper exchange: requests in `Orders` and `OrderLists`, queries in `Queries`, set-up, market and events here.

    A request that is refused raises `Reject(code, message)` and has changed nothing. `now` is the
    exchange's time in ms and must not run backwards. `account` is any name given to `open_account`; an
    unknown one is a KeyError.
    """

    def __init__(
        self,
        symbols: Iterable[Symbol],
        *,
        liquidity: LiquidityModel | None = None,
        rate_limits: Iterable[Mapping[str, Any]] = (),
        exchange_filters: Iterable[Mapping[str, Any]] = (),
        choices: ExchangeChoices | None = None,
        orders_kept: int = 0,
        bars_kept: int = BARS_KEPT,
    ) -> None:
        """`rate_limits` and `exchange_filters` are rows of exchangeInfo; without an ORDERS row new orders are not
        counted. `choices` are the readings of what the documents leave open. `orders_kept`: how many orders that have
        ended an account remembers, 0 for all; `bars_kept`: how many minutes of klines.
        """
        self._orders_kept = orders_kept
        self._books = {symbol.name: Book(symbol) for symbol in symbols}
        for book in self._books.values():
            book.tape.bars_kept = bars_kept
        self._accounts: dict[str, Account] = {}
        self._rate_limits = tuple(rate_limits)
        self._limits = ExchangeLimits.from_exchange_info(exchange_filters)
        self._liquidity = liquidity or LiquidityModel()
        self._ledger = Ledger(self._books)
        self._dirty: dict[str, Account] = {}
        self._matcher = Matcher(self._books, self._ledger, self._liquidity, self._dirty, choices or ExchangeChoices())
        self._last_order_id = 0
        self._last_list_id = 0
        self._generated_ids = 0
        self.margin = Margin(self, self._books, self._accounts, self._matcher, self._new_account)

    # --- set-up ---

    @property
    def choices(self) -> ExchangeChoices:
        """The readings of what the documents leave open; a change holds from now on, orders and lists stay."""
        return self._matcher.choices

    @choices.setter
    def choices(self, choices: ExchangeChoices) -> None:
        self._matcher.choices = choices

    def open_account(self, account: str, balances: Mapping[str, Decimal], *, bnb_burn: bool = False) -> None:
        """A new account with free balances by asset; ValueError if it exists or a balance is negative."""
        if account in self._accounts:
            raise ValueError(f"account {account!r} is open already")
        for asset, amount in balances.items():
            if amount < 0:
                raise ValueError(f"account {account!r}: balance of {asset} is {amount}, must be 0 or more")
        opened = self._new_account(account, balances)
        opened.bnb_burn = bnb_burn
        self._accounts[account] = opened

    def _new_account(self, account: str, balances: Mapping[str, Decimal]) -> Account:
        opened = Account(account, balances, OrderCounter(self._rate_limits), self._dirty)
        opened.keeps = self._orders_kept
        return opened

    def set_commission(self, account: str, symbol: str, rates: CommissionRates) -> None:
        self._account(account).rates[self._book(symbol).rules.name] = rates

    def set_bnb_burn(self, account: str, *, enabled: bool) -> None:
        """Pay commission in BNB, at a discount, as long as there is enough."""
        self._account(account).bnb_burn = enabled

    def set_bnb_price(self, asset: str, price: Decimal) -> None:
        """Price of one BNB in a quote asset, for commission; by default the last price of BNB<asset>."""
        self._ledger.set_bnb_price(asset, price)

    def set_symbol_status(self, symbol: str, status: SymbolStatus) -> None:
        rules = self._book(symbol).rules
        rules.status = status
        rules.row = {**rules.row, "status": status.value}

    def replace_symbol(self, symbol: Symbol) -> None:
        """New filters and permissions for a symbol that exists; live orders stay as they are."""
        book = self._book(symbol.name)
        book.rules = symbol
        book.tape.tick, book.tape.step = symbol.price.grid, symbol.lot.grid
        for account in self._accounts.values():
            for order in account.open.get(symbol.name, {}).values():
                order.rules = symbol

    def adjust_balance(self, account: str, asset: str, delta: Decimal, now: int) -> None:
        """A deposit (`delta` > 0) or withdrawal: balanceUpdate, then outboundAccountPosition.

        Raises:
            Reject: -2010 if less than the withdrawal is free.
        """
        owner = self._account(account)
        if owner.free.get(asset, ZERO) + delta < 0:
            raise Reject(-2010, "Account has insufficient balance for requested action.")
        owner.change(asset, delta)
        owner.events.append(BalanceUpdate(asset=asset, delta=delta, time=now))
        self._matcher.close_operation(now)

    def lock_externally(self, account: str, asset: str, delta: Decimal, now: int) -> None:
        """Another service locks (`delta` > 0) or frees part of the balance: externalLockUpdate and position.

        Raises:
            Reject: -2010 if less than `delta` is free, or less than -`delta` is locked so.
        """
        owner = self._account(account)
        held = owner.external.get(asset, ZERO) + delta
        if owner.free.get(asset, ZERO) < delta or held < 0:
            raise Reject(-2010, "Account has insufficient balance for requested action.")
        owner.external[asset] = held
        owner.change(asset, -delta, delta)
        owner.events.append(ExternalLockUpdate(asset=asset, delta=delta, time=now))
        self._matcher.close_operation(now)

    def expire_order(self, account: str, symbol: str, order_id: int, now: int) -> None:
        """The exchange itself ends an open order (EXCHANGE_CANCELED), and what is in a list with it.

        Raises:
            Reject: -2011 if it is not open.
        """
        order = self._account(account).open.get(symbol, {}).get(order_id)
        if order is None:
            raise Reject(-2011, "Unknown order sent.")
        sibling = order.sibling
        self._matcher.expire(order, ExpiryReason.EXCHANGE_CANCELED, now)
        for other in () if order.order_list is None else order.order_list.orders:
            if not other.status.is_final:
                reason = ExpiryReason.OCO_TRIGGER if other is sibling else ExpiryReason.EXCHANGE_CANCELED
                self._matcher.expire(other, reason, now)
        self._matcher.close_operation(now)

    def prevent_match(self, account: str, symbol: str, order_id: int, qty: Decimal, now: int) -> None:
        """An order of another account of the same trade group meets a resting one: self-trade prevention takes `qty` of
        it, at the most what is open (faqs/stp_faq.md).

        Raises:
            Reject: -2011 if it does not rest on the book.
        """
        order = self._account(account).open.get(symbol, {}).get(order_id)
        if order is None or not order.is_working:
            raise Reject(-2011, "Unknown order sent.")
        self._matcher.prevent(order, min(qty, order.open_qty), now)
        self._matcher.close_operation(now)

    def accounts(self) -> list[str]:
        """Their names, in the order in which they were opened."""
        return list(self._accounts)

    # --- the market ---

    def on_trade(
        self,
        symbol: str,
        trade_id: int,
        price: Decimal,
        qty: Decimal,
        buyer_is_maker: bool,  # noqa: FBT001
        now: int,
    ) -> None:
        """A recorded trade: resting orders fill, stops trigger (see `matching`). Nothing trades unless the symbol's
        status is TRADING: the trade then has not happened.
        """
        book = self._books[symbol]
        if book.rules.status is not SymbolStatus.TRADING:
            return
        book.tape.add_trade((trade_id, price, qty, buyer_is_maker, now))
        if book.taken:
            book.taken.clear()
        if price <= book.low or price >= book.high or book.trailing:
            self._matcher.on_trade(book, price, qty, now)
            self._matcher.close_operation(now)
        if self.margin.active:
            self.margin.advance(now)
            self.margin.after(now)

    def on_quote(self, symbol: str, bid: Decimal, bid_qty: Decimal, ask: Decimal, ask_qty: Decimal, now: int) -> None:
        """Recorded best prices; from the first one on, trades no longer move the quotes of the symbol.

        A quote fills and triggers nothing: only trades do. ValueError if it is crossed or older than the
        one before.
        """
        book = self._books[symbol]
        book.tape.set_quote(bid, bid_qty, ask, ask_qty, now)
        if book.taken:
            book.taken.clear()

    def on_kline(
        self,
        symbol: str,
        open_time: int,
        open: Decimal,  # noqa: A002 - the field's own word
        high: Decimal,
        low: Decimal,
        close: Decimal,
        volume: Decimal,
        *,
        path: KlinePath = KlinePath.LOW_FIRST,
        interval_ms: int = 60_000,
    ) -> None:
        """Play a kline as four trades of a quarter of its volume: open, low, high, close, or open, high,
        low, close.

        Prices jump from one to the next, as in a gap: a stop between two of them triggers at the later one.
        ValueError if open or close lie outside low to high.
        """
        if not (low <= open <= high and low <= close <= high):
            raise ValueError(
                f"{symbol} kline at {open_time}: open {open} and close {close} must lie in {low} to {high}"
            )
        middle = (low, high) if path is KlinePath.LOW_FIRST else (high, low)
        tape = self._book(symbol).tape
        trades = kline_trades(
            (open, *middle, close),
            volume,
            open_time,
            interval_ms,
            first_id=tape.next_trade_id,
            step=tape.step,
        )
        for trade in trades:
            self.on_trade(symbol, *trade)

    # --- events ---

    def drain_events(self, account: str) -> list[Event]:
        """What happened to the account since the last call, in order; the list is the caller's."""
        owner = self._account(account)
        if not owner.events:
            return []
        events = owner.events
        owner.events = []
        return events
