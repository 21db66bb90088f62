"""What can be asked of the exchange. Nothing here changes it."""

from collections.abc import Iterable
from decimal import Decimal

from executor.core.model.values import ZERO, OrderSide, OrderStatus
from executor.paper.engine.account import Account, Carried, LiveOrder
from executor.paper.engine.book import Book
from executor.paper.engine.choices import PendingOpen
from executor.paper.engine.ledger import Ledger
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.market_data import BookTicker, Depth, MarketKline, MarketTrade, Ticker
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import (
    Amendment,
    Balance,
    CommissionRates,
    Fill,
    Order,
    OrderCount,
    OrderListView,
    PreventedMatch,
    Reject,
)
from executor.paper.engine.symbol import Symbol


class Queries:
    """The reading half of the engine. Every order it gives is a snapshot."""

    _accounts: dict[str, Account]
    _books: dict[str, Book]
    _ledger: Ledger
    _liquidity: LiquidityModel
    _matcher: Matcher

    # --- an account's orders ---

    def order(
        self,
        account: str,
        symbol: str,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
    ) -> Order:
        """`GET /api/v3/order`. A client id that was used again finds the newest order.

        Raises:
            Reject: -1121 no such symbol, -1102 no id given, -2013 no such order, -2039 the ids name two
            orders.
        """
        found = find_order(self._account(account), self._book(symbol).rules.name, order_id, orig_client_order_id)
        if found is None:
            raise Reject(-2013, "Order does not exist.")
        if order_id is not None and orig_client_order_id not in {None, found.client_order_id}:
            raise Reject(-2039, "Client order ID is not correct for this order ID.")
        return found.snapshot()

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """`GET /api/v3/openOrders`, oldest first; of all symbols if none is named."""
        live = self._account(account).open
        if symbol is not None:
            found = list(live.get(self._book(symbol).rules.name, {}).values())
        else:
            found = sorted((o for orders in live.values() for o in orders.values()), key=lambda each: each.order_id)
        hidden = self._matcher.choices.pending_open is PendingOpen.HIDDEN
        return [o.snapshot() for o in found if not (hidden and o.status is OrderStatus.PENDING_NEW)]

    def all_orders(
        self,
        account: str,
        symbol: str,
        *,
        order_id: int | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[Order]:
        """`GET /api/v3/allOrders`: from an order id or start time forwards, else the newest; oldest first."""
        name = self._book(symbol).rules.name
        found = [
            order
            for order in self._account(account).orders.values()
            if order.symbol == name
            and (order_id is None or order.order_id >= order_id)
            and _within(order.time, start_time, end_time)
        ]
        forwards = order_id is not None or start_time is not None
        return [order.snapshot() for order in (found[:limit] if forwards else found[-limit:])]

    def my_trades(
        self,
        account: str,
        symbol: str,
        *,
        order_id: int | None = None,
        from_id: int | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[Fill]:
        """`GET /api/v3/myTrades`, oldest first; the newest ones without an id and a start time."""
        owner = self._account(account)
        fills: Iterable[Fill] = owner.fills.get(self._book(symbol).rules.name, ())
        if order_id is not None:
            order = owner.orders.get(order_id)
            fills = order.fills if order is not None and order.symbol == symbol else ()
        found = [
            fill
            for fill in fills
            if (from_id is None or fill.trade_id >= from_id) and _within(fill.time, start_time, end_time)
        ]
        forwards = from_id is not None or start_time is not None
        return found[:limit] if forwards else found[-limit:]

    def carried(self, account: str) -> dict[tuple[str, bool, str], Carried]:
        """What the forgotten orders had filled (`Engine.orders_kept`), as `Account.carried` has it."""
        return dict(self._account(account).carried)

    def order_list(
        self, account: str, *, order_list_id: int | None = None, list_client_order_id: str | None = None
    ) -> OrderListView:
        """`GET /api/v3/orderList`; -2018 if there is none, or the ids name two; -1102 without an id."""
        owner = self._account(account)
        if order_list_id is None and list_client_order_id is None:
            raise Reject(-1102, "Param 'orderListId' or 'origClientOrderId' must be sent, but both were empty/null!")
        if order_list_id is not None:
            found = owner.lists.get(order_list_id)
        else:
            found = owner.list_by_client.get(list_client_order_id or "")
        if found is None or list_client_order_id not in {None, found.client_id}:
            raise Reject(-2018, "Order list does not exist.")
        return found.view()

    def open_order_lists(self, account: str) -> list[OrderListView]:
        return [each.view() for each in self._account(account).open_lists.values()]

    def all_order_lists(
        self,
        account: str,
        *,
        from_id: int | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[OrderListView]:
        """`GET /api/v3/allOrderList`, oldest first."""
        found = [
            each
            for each in self._account(account).lists.values()
            if (from_id is None or each.list_id >= from_id) and _within(each.time, start_time, end_time)
        ]
        forwards = from_id is not None or start_time is not None
        return [each.view() for each in (found[:limit] if forwards else found[-limit:])]

    def amendments(
        self,
        account: str,
        symbol: str,
        order_id: int,
        *,
        from_execution_id: int | None = None,
        limit: int = 500,
    ) -> list[Amendment]:
        """`GET /api/v3/order/amendments` of one order, oldest first."""
        order = find_order(self._account(account), self._book(symbol).rules.name, order_id, None)
        if order is None:
            return []
        start = from_execution_id or 0
        return [each for each in order.amendments if each.execution_id >= start][:limit]

    def prevented_matches(
        self,
        account: str,
        symbol: str,
        *,
        order_id: int | None = None,
        prevented_match_id: int | None = None,
    ) -> list[PreventedMatch]:
        """`GET /api/v3/myPreventedMatches`; -1121 if there is no such symbol."""
        name = self._book(symbol).rules.name
        return [
            each
            for each in self._account(account).prevented
            if each.symbol == name
            and (order_id is None or order_id in {each.taker_order_id, each.maker_order_id})
            and (prevented_match_id is None or each.prevented_match_id == prevented_match_id)
        ]

    # --- an account's money ---

    def balances(self, account: str) -> list[Balance]:
        """Every asset the account ever held, in alphabetical order."""
        owner = self._account(account)
        return [owner.balance(asset) for asset in sorted(owner.free)]

    def balance(self, account: str, asset: str) -> Balance:
        return self._account(account).balance(asset)

    def account_update_time(self, account: str) -> int:
        """When the balances last changed; 0 if never."""
        return self._account(account).update_time

    def commission(self, account: str, symbol: str) -> CommissionRates:
        return self._ledger.rates(self._account(account), self._book(symbol).rules.name)

    def bnb_burn(self, account: str) -> bool:
        """Whether commission is paid in BNB while there is enough of it."""
        return self._account(account).bnb_burn

    def order_counts(self, account: str, now: int) -> list[OrderCount]:
        """`GET /api/v3/rateLimit/order`."""
        return self._account(account).counter.rows(now)

    def commissions_paid(self) -> dict[str, Decimal]:
        """All commission ever taken, by asset."""
        return dict(self._ledger.commissions)

    def market_gain(self) -> dict[str, Decimal]:
        """What the recorded market has received from the accounts less what it paid them, by asset."""
        return dict(self._ledger.market)

    # --- the market ---

    def symbol(self, name: str) -> Symbol:
        """-1121 if there is none."""
        return self._book(name).rules

    def symbols(self) -> list[Symbol]:
        return [book.rules for book in self._books.values()]

    def last_price(self, symbol: str) -> Decimal | None:
        """The last traded price; None before the first trade."""
        return self._book(symbol).tape.last

    def next_trade_id(self, symbol: str) -> int:
        """One more than the newest trade's; 1 before the first."""
        return self._book(symbol).tape.next_trade_id

    def avg_price(self, symbol: str, now: int, mins: int = 5) -> Decimal | None:
        """`GET /api/v3/avgPrice`: the last price if nothing traded for `mins` minutes; None before any
        trade.
        """
        return self._book(symbol).tape.average(now, mins)

    def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Bid and ask as in `book_ticker`; 0 while unknown."""
        tape = self._book(symbol).tape
        return tape.bid, tape.ask

    def book_ticker(self, symbol: str) -> BookTicker:
        """Best prices of the market alone: own resting orders do not show in it."""
        book = self._book(symbol)
        bid_qty = next((qty for _, qty in self._liquidity.offers(book, OrderSide.SELL)), ZERO)
        ask_qty = next((qty for _, qty in self._liquidity.offers(book, OrderSide.BUY)), ZERO)
        tape = book.tape
        return BookTicker(symbol=symbol, bid=tape.bid, bid_qty=bid_qty, ask=tape.ask, ask_qty=ask_qty)

    def depth(self, symbol: str, limit: int = 100) -> Depth:
        """What takers would meet of the market, by the liquidity model."""
        book = self._book(symbol)
        return Depth(
            last_update_id=book.tape.update_id,
            bids=tuple(self._liquidity.offers(book, OrderSide.SELL))[:limit],
            asks=tuple(self._liquidity.offers(book, OrderSide.BUY))[:limit],
        )

    def ticker(self, symbol: str, now: int) -> Ticker:
        return self._book(symbol).tape.ticker(now, self.book_ticker(symbol))

    def recent_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[MarketTrade]:
        """Trades of the market, oldest first: from an id or start time forwards, else the newest."""
        return self._book(symbol).tape.recent_trades(from_id, start_time, end_time, limit)

    def klines(
        self,
        symbol: str,
        interval_ms: int = 60_000,
        *,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[MarketKline]:
        """Klines of any whole number of minutes (-1120 otherwise), oldest first, the running one last."""
        return self._book(symbol).tape.klines(interval_ms, start_time, end_time, limit)

    # --- looking up ---

    def _account(self, account: str) -> Account:
        found = self._accounts.get(account)
        if found is None:
            raise KeyError(f"no account {account!r}; open_account first")
        return found

    def _book(self, symbol: str) -> Book:
        book = self._books.get(symbol)
        if book is None:
            raise Reject(-1121, "Invalid symbol.")
        return book


def find_order(account: Account, symbol: str, order_id: int | None, client_order_id: str | None) -> LiveOrder | None:
    """By order id if there is one, else the newest by client order id; -1102 without either."""
    if order_id is not None:
        order = account.orders.get(order_id)
        return order if order is not None and order.symbol == symbol else None
    if client_order_id is None:
        raise Reject(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return account.newest.get((symbol, client_order_id))


def _within(time: int, start: int | None, end: int | None) -> bool:
    return (start is None or time >= start) and (end is None or time <= end)
