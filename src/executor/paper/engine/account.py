"""What one account has: balances, orders, order lists, fills, and the count of its unfilled orders.

The rule of the balances: `locked` is exactly the sum of what live orders and lists reserve, plus what another
service locked. `need` says how much one order reserves.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, NamedTuple

import msgspec

from executor.core.model.values import ZERO, OrderSide
from executor.paper.engine.model import (
    AccountPosition,
    Amendment,
    Balance,
    CommissionRates,
    ContingencyType,
    Event,
    Fill,
    ListOrderStatus,
    ListStatusType,
    Order,
    OrderCount,
    OrderListView,
    PreventedMatch,
    Reject,
)
from executor.paper.engine.symbol import Symbol

INTERVAL_MS: Final = {"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


class LiveOrder(Order, kw_only=True, eq=False):
    """An order as the engine works on it.

    `older` is the order that had its client order id before it. `lock_price` is the price at which a BUY reserves
    quote; `reserves` is False for MARKET and pending orders. `sibling` is the other leg of an OCO pair while both live:
    the pair's reserve is then kept by the list. `entry` is the order's place in the book, `extreme` the best price a
    trailing order has seen. `prevented` are the matches in which it was the taker.
    """

    account: "Account"
    rules: Symbol
    lock_price: Decimal = ZERO
    reserves: bool = False
    reserved: Decimal = ZERO
    order_list: "LiveList | None" = None
    sibling: "LiveOrder | None" = None
    entry: "Entry | None" = None
    extreme: Decimal | None = None
    older: "LiveOrder | None" = None
    fills: list[Fill] = msgspec.field(default_factory=list)
    prevented: list[PreventedMatch] = msgspec.field(default_factory=list)
    amendments: list[Amendment] = msgspec.field(default_factory=list)

    @property
    def reserve_asset(self) -> str:
        return self.rules.quote if self.side is OrderSide.BUY else self.rules.base

    def need(self) -> Decimal:
        """What the open quantity has to reserve: base of a SELL, quote at the lock price of a BUY."""
        if not self.reserves or self.status.is_final:
            return ZERO
        open_qty = self.orig_qty - self.executed_qty - self.prevented_qty
        if self.side is OrderSide.SELL:
            return open_qty
        return quote_amount(self.rules, self.lock_price, open_qty, ROUND_CEILING)


Entry = tuple[Decimal, int, str, int, LiveOrder]
"""A place in the book: signed price, time, client order id, order id, the order."""


class LiveList(msgspec.Struct, kw_only=True, eq=False):
    """An order list.

    `working` and `pending` are those of an OTO; `reserved` is what an OCO pair binds together; `proceeds` is the base
    that an OPO's working order has bought and that is locked for its pending orders.
    """

    account: "Account"
    symbol: str
    list_id: int
    client_id: str
    contingency: ContingencyType
    orders: tuple[LiveOrder, ...]
    time: int
    working: LiveOrder | None = None
    pending: tuple[LiveOrder, ...] = ()
    pays_out: bool = False
    reserved: Decimal = ZERO
    proceeds: Decimal = ZERO
    status_type: ListStatusType = ListStatusType.EXEC_STARTED
    order_status: ListOrderStatus = ListOrderStatus.EXECUTING

    def view(self) -> OrderListView:
        return OrderListView(
            order_list_id=self.list_id,
            contingency_type=self.contingency,
            list_status_type=self.status_type,
            list_order_status=self.order_status,
            list_client_order_id=self.client_id,
            transaction_time=self.time,
            symbol=self.symbol,
            orders=tuple((order.order_id, order.client_order_id) for order in self.orders),
        )


class Carried(NamedTuple):
    """Fills that are not remembered one by one any more."""

    fills: int = 0
    qty: Decimal = ZERO
    quote_qty: Decimal = ZERO
    commission: Decimal = ZERO

    def plus(self, fill: Fill) -> "Carried":
        return Carried(
            self.fills + 1,
            self.qty + fill.qty,
            self.quote_qty + fill.quote_qty,
            self.commission + fill.commission,
        )


class Account:
    """One account. `dirty` is shared by all accounts: those whose balances the current operation touched. `keeps`: of
    orders that have ended so many are remembered, 0 for all; `carried` is what the others had filled, by symbol,
    whether it was bought, and asset of the commission.
    """

    __slots__ = (
        "bnb_burn", "carried", "counter", "dirty", "events", "external", "fills", "free", "keeps", "list_by_client",
        "lists", "locked", "name", "newest", "open", "open_lists", "orders", "prevented", "rates", "touched",
        "update_time",
    )  # fmt: skip

    def __init__(
        self, name: str, balances: Mapping[str, Decimal], counter: "OrderCounter", dirty: "dict[str, Account]"
    ) -> None:
        self.name = name
        self.free: dict[str, Decimal] = dict(balances)
        self.locked: dict[str, Decimal] = dict.fromkeys(balances, ZERO)
        self.external: dict[str, Decimal] = {}
        self.counter = counter
        self.dirty = dirty
        self.touched: dict[str, None] = {}
        self.events: list[Event] = []
        self.orders: dict[int, LiveOrder] = {}
        self.open: dict[str, dict[int, LiveOrder]] = {}
        self.newest: dict[tuple[str, str], LiveOrder] = {}
        self.lists: dict[int, LiveList] = {}
        self.open_lists: dict[int, LiveList] = {}
        self.list_by_client: dict[str, LiveList] = {}
        self.fills: dict[str, list[Fill]] = {}
        self.prevented: list[PreventedMatch] = []
        self.rates: dict[str, CommissionRates] = {}
        self.bnb_burn = False
        self.update_time = 0
        self.keeps = 0
        self.carried: dict[tuple[str, bool, str], Carried] = {}

    def change(self, asset: str, free: Decimal, locked: Decimal = ZERO) -> None:
        """Add to the free and to the locked balance of an asset."""
        self.free[asset] = self.free.get(asset, ZERO) + free
        self.locked[asset] = self.locked.get(asset, ZERO) + locked
        self.touched[asset] = None
        self.dirty[self.name] = self

    def register(self, order: LiveOrder) -> None:
        """Make an order known and open; the newest of a client order id is found first."""
        if self.keeps and len(self.orders) > self.keeps + self.keeps // 4:
            self.forget()
        self.orders[order.order_id] = order
        self.open.setdefault(order.symbol, {})[order.order_id] = order
        self.name_order(order)

    def forget(self) -> None:
        """Let the oldest orders that have ended go, with their fills and lists, until `keeps` are left; what is open or
        in a list with an open one stays.
        """
        ended = [order for order in self.orders.values() if order.status.is_final and not _in_open_list(order)]
        for order in ended[: max(0, len(self.orders) - self.keeps)]:
            del self.orders[order.order_id]
        for symbol, fills in self.fills.items():
            kept = [fill for fill in fills if fill.order_id in self.orders]
            for fill in fills:
                if fill.order_id not in self.orders:
                    key = symbol, fill.is_buyer, fill.commission_asset
                    self.carried[key] = self.carried.get(key, Carried()).plus(fill)
            self.fills[symbol] = kept
        self.lists = {n: each for n, each in self.lists.items() if _is_known(each, self.orders)}
        self.list_by_client = {n: each for n, each in self.list_by_client.items() if each.list_id in self.lists}
        self.newest = {key: order for key, order in self.newest.items() if order.order_id in self.orders}
        for order in self.newest.values():
            if order.older is not None and order.older.order_id not in self.orders:
                order.older = None
        del self.prevented[: -self.keeps]

    def name_order(self, order: LiveOrder) -> None:
        """Let an order be found by its client order id, before others that had it."""
        key = (order.symbol, order.client_order_id)
        order.older = self.newest.get(key)
        self.newest[key] = order

    def rename_order(self, order: LiveOrder, client_order_id: str) -> None:
        """Give an order another client order id; who had the old one before it is found again."""
        key = (order.symbol, order.client_order_id)
        newer = self.newest[key]
        if newer is order:
            if order.older is None:
                del self.newest[key]
            else:
                self.newest[key] = order.older
        else:
            while newer.older is not order:
                assert newer.older is not None, "an order is found by its own client order id"
                newer = newer.older
            newer.older = order.older
        order.client_order_id = client_order_id
        self.name_order(order)

    def reserve(self, order: LiveOrder) -> None:
        """Bring an order's own reserve in line with its need."""
        need = order.need()
        change = need - order.reserved
        if change:
            order.reserved = need
            self.change(order.reserve_asset, -change, change)

    def reserve_pair(self, pair: LiveList, legs: Iterable[LiveOrder]) -> None:
        """Bring the reserve of an OCO pair in line with the larger need of its legs: they bind funds once."""
        legs = tuple(legs)
        need = max(leg.need() for leg in legs)
        change = need - pair.reserved
        if change:
            pair.reserved = need
            self.change(legs[0].reserve_asset, -change, change)

    def position(self, now: int) -> None:
        """Tell the stream of the balances that may have changed since the last call."""
        self.update_time = now
        self.events.append(AccountPosition(time=now, balances=tuple(self.balance(asset) for asset in self.touched)))
        self.touched.clear()

    def balance(self, asset: str) -> Balance:
        return Balance(asset=asset, free=self.free.get(asset, ZERO), locked=self.locked.get(asset, ZERO))


def _in_open_list(order: LiveOrder) -> bool:
    return order.order_list is not None and any(not each.status.is_final for each in order.order_list.orders)


def _is_known(order_list: LiveList, orders: Mapping[int, LiveOrder]) -> bool:
    return any(order.order_id in orders for order in order_list.orders)


class OrderCounter:
    """Unfilled orders in the clock windows of the ORDERS rate limits (faqs/order_count_decrement.md)."""

    __slots__ = ("_counts", "_limits")

    def __init__(self, rate_limits: Iterable[Mapping[str, Any]]) -> None:
        self._limits = [
            (str(row["interval"]), int(row["intervalNum"]), int(row["limit"]))
            for row in rate_limits
            if row["rateLimitType"] == "ORDERS"
        ]
        # length of a window in ms, number of the present one, count
        self._counts = [[INTERVAL_MS[interval] * num, 0, 0] for interval, num, _ in self._limits]

    def check(self, orders: int, now: int) -> None:
        """-1015 if `orders` more would exceed a limit."""
        self._roll(now)
        for (interval, num, limit), (_, _, count) in zip(self._limits, self._counts, strict=True):
            if count + orders > limit:
                raise Reject(-1015, f"Too many new orders; current limit is {limit} orders per {num} {interval}.")

    def charge(self, orders: int, now: int) -> None:
        self._roll(now)
        for count in self._counts:
            count[2] += orders

    def give_back(self, orders: int, now: int) -> None:
        """The first fill of an order gives back: 1 for a taker, 5 for a maker."""
        self._roll(now)
        for count in self._counts:
            count[2] = max(0, count[2] - orders)

    def rows(self, now: int) -> list[OrderCount]:
        self._roll(now)
        return [
            OrderCount(interval=interval, interval_num=num, limit=limit, count=count[2])
            for (interval, num, limit), count in zip(self._limits, self._counts, strict=True)
        ]

    def _roll(self, now: int) -> None:
        for count in self._counts:
            window = now // count[0]
            if count[1] != window:
                count[1:] = (window, 0)


def insufficient_balance() -> Reject:
    return Reject(-2010, "Account has insufficient balance for requested action.")


def quote_amount(rules: Symbol, price: Decimal, qty: Decimal, rounding: str = ROUND_FLOOR) -> Decimal:
    """Price x quantity in whole units of the quote asset; exact unless tick x step is finer than those."""
    amount = price * qty
    if rules.quote_is_exact:
        return amount
    return amount.quantize(rules.quote_unit, rounding)
