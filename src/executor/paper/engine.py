"""A Binance Spot exchange as a value: deterministic, in memory, without clock, sockets or randomness.

The interface is complete here; see the methods for what each may refuse.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from executor.paper.liquidity import LiquidityModel
from executor.paper.model import (
    AccountPosition,
    Amended,
    Amendment,
    Balance,
    BookTicker,
    Cancelled,
    CancelReplace,
    CancelReplaced,
    CancelRestriction,
    CommissionRates,
    Depth,
    Event,
    Fill,
    KlinePath,
    ListCancelled,
    ListPlaced,
    MarketKline,
    MarketTrade,
    NewOco,
    NewOrder,
    NewOto,
    NewOtoco,
    Order,
    OrderCount,
    OrderListView,
    Placed,
    PreventedMatch,
    SymbolStatus,
    Ticker,
)
from executor.paper.symbol import Symbol


class Engine:
    """The paper exchange. Every method that can be refused raises `Reject(code, message)` and then changed nothing.

    `now` is the exchange's time in ms and must not run backwards. `account` is any id given to `open_account`.
    """

    def __init__(
        self,
        symbols: Iterable[Symbol],
        *,
        liquidity: LiquidityModel | None = None,
        rate_limits: Iterable[Mapping[str, Any]] = (),
        exchange_filters: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """`rate_limits` and `exchange_filters` are rows of exchangeInfo; without an ORDERS row orders are not counted."""
        raise NotImplementedError

    # --- set-up ---

    def open_account(self, account: str, balances: Mapping[str, Decimal], *, bnb_burn: bool = False) -> None:
        raise NotImplementedError

    def set_commission(self, account: str, symbol: str, rates: CommissionRates) -> None:
        raise NotImplementedError

    def set_bnb_burn(self, account: str, enabled: bool) -> None:
        raise NotImplementedError

    def set_bnb_price(self, asset: str, price: Decimal) -> None:
        """Price of one BNB in `asset` (a quote asset), for commission; else the last price of BNB<asset> is used."""
        raise NotImplementedError

    def set_symbol_status(self, symbol: str, status: SymbolStatus) -> None:
        raise NotImplementedError

    def replace_symbol(self, symbol: Symbol) -> None:
        """New filters for a symbol that exists; live orders stay as they are."""
        raise NotImplementedError

    def adjust_balance(self, account: str, asset: str, delta: Decimal, now: int) -> None:
        """Deposit (delta > 0) or withdrawal: balanceUpdate and outboundAccountPosition. -2010 if not enough is free."""
        raise NotImplementedError

    def lock_externally(self, account: str, asset: str, delta: Decimal, now: int) -> None:
        """Another service locks (delta > 0) or frees part of the balance: externalLockUpdate."""
        raise NotImplementedError

    # --- the market ---

    def on_trade(
        self, symbol: str, trade_id: int, price: Decimal, qty: Decimal, buyer_is_maker: bool, now: int
    ) -> None:
        raise NotImplementedError

    def on_quote(
        self, symbol: str, bid: Decimal, bid_qty: Decimal, ask: Decimal, ask_qty: Decimal, now: int
    ) -> None:
        raise NotImplementedError

    def on_kline(
        self,
        symbol: str,
        open_time: int,
        open: Decimal,  # noqa: A002 - the field's word
        high: Decimal,
        low: Decimal,
        close: Decimal,
        volume: Decimal,
        *,
        path: KlinePath = KlinePath.LOW_FIRST,
        interval_ms: int = 60_000,
    ) -> None:
        raise NotImplementedError

    # --- orders ---

    def place_order(self, account: str, order: NewOrder, now: int) -> Placed:
        raise NotImplementedError

    def test_order(self, account: str, order: NewOrder, now: int) -> None:
        raise NotImplementedError

    def cancel_order(
        self,
        account: str,
        symbol: str,
        now: int,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
        new_client_order_id: str | None = None,
        restrictions: CancelRestriction | None = None,
    ) -> Cancelled:
        raise NotImplementedError

    def cancel_open_orders(self, account: str, symbol: str, now: int) -> list[Cancelled | ListCancelled]:
        """`DELETE /api/v3/openOrders`; -2011 when nothing is open."""
        raise NotImplementedError

    def cancel_replace(self, account: str, request: CancelReplace, now: int) -> CancelReplaced:
        """Raises Reject only when nothing was tried (filters -1013, order count -1015, parameters)."""
        raise NotImplementedError

    def amend_order(
        self,
        account: str,
        symbol: str,
        new_qty: Decimal,
        now: int,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
        new_client_order_id: str | None = None,
    ) -> Amended:
        raise NotImplementedError

    # --- order lists ---

    def place_oco(self, account: str, request: NewOco, now: int) -> ListPlaced:
        raise NotImplementedError

    def place_oto(self, account: str, request: NewOto, now: int) -> ListPlaced:
        raise NotImplementedError

    def place_otoco(self, account: str, request: NewOtoco, now: int) -> ListPlaced:
        raise NotImplementedError

    def cancel_order_list(
        self,
        account: str,
        symbol: str,
        now: int,
        *,
        order_list_id: int | None = None,
        list_client_order_id: str | None = None,
        new_client_order_id: str | None = None,
    ) -> ListCancelled:
        raise NotImplementedError

    # --- events ---

    def drain_events(self, account: str) -> list[Event]:
        """What happened to the account since the last call, in order."""
        raise NotImplementedError

    # --- queries of an account ---

    def order(
        self,
        account: str,
        symbol: str,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
    ) -> Order:
        """-2013 unknown, -2039 the ids belong to two orders, -1102 no id. A re-used client id finds the newest."""
        raise NotImplementedError

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    def order_list(
        self, account: str, *, order_list_id: int | None = None, list_client_order_id: str | None = None
    ) -> OrderListView:
        raise NotImplementedError

    def open_order_lists(self, account: str) -> list[OrderListView]:
        raise NotImplementedError

    def all_order_lists(
        self,
        account: str,
        *,
        from_id: int | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[OrderListView]:
        raise NotImplementedError

    def amendments(
        self,
        account: str,
        symbol: str,
        order_id: int,
        *,
        from_execution_id: int | None = None,
        limit: int = 500,
    ) -> list[Amendment]:
        raise NotImplementedError

    def prevented_matches(
        self, account: str, symbol: str, *, order_id: int | None = None, prevented_match_id: int | None = None
    ) -> list[PreventedMatch]:
        raise NotImplementedError

    def balances(self, account: str) -> list[Balance]:
        raise NotImplementedError

    def account_position(self, account: str, now: int) -> AccountPosition:
        raise NotImplementedError

    def account_update_time(self, account: str) -> int:
        raise NotImplementedError

    def commission(self, account: str, symbol: str) -> CommissionRates:
        raise NotImplementedError

    def bnb_burn(self, account: str) -> bool:
        raise NotImplementedError

    def order_counts(self, account: str, now: int) -> list[OrderCount]:
        raise NotImplementedError

    # --- queries of the market ---

    def symbol(self, name: str) -> Symbol:
        """-1121 if there is none."""
        raise NotImplementedError

    def symbols(self) -> list[Symbol]:
        raise NotImplementedError

    def last_price(self, symbol: str) -> Decimal | None:
        raise NotImplementedError

    def avg_price(self, symbol: str, now: int, mins: int = 5) -> Decimal | None:
        raise NotImplementedError

    def book_ticker(self, symbol: str) -> BookTicker:
        raise NotImplementedError

    def depth(self, symbol: str, limit: int = 100) -> Depth:
        raise NotImplementedError

    def ticker(self, symbol: str, now: int) -> Ticker:
        raise NotImplementedError

    def recent_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[MarketTrade]:
        raise NotImplementedError

    def klines(
        self,
        symbol: str,
        interval_ms: int = 60_000,
        *,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int = 500,
    ) -> list[MarketKline]:
        raise NotImplementedError
