"""What must hold of an engine at any time, whatever was asked of it."""

from decimal import Decimal

from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType, on_grid
from executor.paper.engine.account import Account, LiveOrder
from executor.paper.engine.exchange import Engine
from executor.paper.engine.model import (
    NO_ORDER,
    NOT_WORKING,
    AccountPosition,
    Balance,
    Event,
    ExecutionReport,
    ExecutionType,
    ListStatus,
)
from executor.paper.engine.symbol import ALGO_TYPES, MARKET_TYPES


class Audit:
    """Follows the events of every account and compares what they tell with what the engine says."""

    def __init__(self, engine: Engine, deposits: dict[str, dict[str, Decimal]]) -> None:
        self.engine = engine
        self.deposits = deposits
        self.told: dict[str, dict[int, ExecutionReport]] = {name: {} for name in deposits}
        self.lists: dict[str, dict[int, ListStatus]] = {name: {} for name in deposits}
        self.balances: dict[str, dict[str, Balance]] = {name: {} for name in deposits}
        self.log: list[Event] = []

    def check(self) -> None:
        told = len(self.log)
        for name in self.deposits:
            self._follow(name)
            account = self.engine._accounts[name]
            self._check_events(account)
            self._check_balances(account)
            self._check_lists(account)
            for order in account.orders.values():
                self._check_order(order)
        self._check_volume(self.log[told:])
        self._check_money()
        self._check_books()

    def _follow(self, name: str) -> None:
        for event in self.engine.drain_events(name):
            self.log.append(event)
            match event:
                case ExecutionReport(execution_type=ExecutionType.REJECTED):
                    assert event.order.order_id == NO_ORDER, "a refused order is none"
                case ExecutionReport():
                    before = self.told[name].get(event.order.order_id)
                    if before is not None:
                        assert not before.order.status.is_final, "a closed order changed"
                        assert event.order.executed_qty >= before.order.executed_qty
                        assert event.order.executed_qty - before.order.executed_qty == event.last_qty
                        assert event.execution_id > before.execution_id
                    self.told[name][event.order.order_id] = event
                case ListStatus():
                    self.lists[name][event.order_list.order_list_id] = event
                case AccountPosition():
                    self.balances[name].update({each.asset: each for each in event.balances})
                case _:
                    pass

    def _check_events(self, account: Account) -> None:
        told = {order_id: report.order for order_id, report in self.told[account.name].items()}
        assert told.keys() == account.orders.keys()
        for order_id, order in account.orders.items():
            seen = told[order_id]
            assert (seen.status, seen.executed_qty, seen.cumulative_quote_qty, seen.client_order_id) == (
                order.status,
                order.executed_qty,
                order.cumulative_quote_qty,
                order.client_order_id,
            )
        for asset, balance in self.balances[account.name].items():
            assert balance == account.balance(asset), "the stream's last word on a balance"

    def _check_balances(self, account: Account) -> None:
        bound: dict[str, Decimal] = dict(account.external)
        for orders in account.open.values():
            for order in orders.values():
                bound[order.reserve_asset] = bound.get(order.reserve_asset, ZERO) + order.reserved
                assert order.reserved == (ZERO if order.sibling is not None else need(order))
            assert len({order.client_order_id for order in orders.values()}) == len(orders)
        for each in account.open_lists.values():
            asset = each.orders[0].reserve_asset if each.working is None else each.orders[-1].reserve_asset
            bound[asset] = bound.get(asset, ZERO) + each.reserved
            base = each.orders[0].rules.base
            bound[base] = bound.get(base, ZERO) + each.proceeds
            legs = [order for order in each.orders if order.sibling is not None]
            assert each.reserved == max((need(leg) for leg in legs), default=ZERO)
        for asset in account.free:
            assert account.free[asset] >= 0
            assert account.locked[asset] == bound.get(asset, ZERO)

    def _check_order(self, order: LiveOrder) -> None:
        live = not order.status.is_final
        assert live == (order.order_id in order.account.open.get(order.symbol, {}))
        assert order.executed_qty == sum((fill.qty for fill in order.fills), ZERO)
        assert order.cumulative_quote_qty == sum((fill.quote_qty for fill in order.fills), ZERO)
        assert order.open_qty >= 0
        assert on_grid(order.orig_qty, order.rules.lot.grid)
        assert on_grid(order.price, order.rules.price.grid)
        assert on_grid(order.stop_price, order.rules.price.grid)
        if order.type not in MARKET_TYPES:
            for fill in order.fills:
                assert fill.price <= order.price if order.side is OrderSide.BUY else fill.price >= order.price
        if order.status is OrderStatus.FILLED:
            assert order.open_qty == 0
        if not live:
            assert order.reserved == 0

    def _check_lists(self, account: Account) -> None:
        for each in account.lists.values():
            done = all(order.status.is_final for order in each.orders)
            assert done == (each.list_id not in account.open_lists)
            assert self.lists[account.name][each.list_id].order_list.list_order_status == each.order_status
            legs = each.orders if each.working is None else each.pending
            if len(legs) == 2:
                assert sum(leg.executed_qty > 0 for leg in legs) <= 1, "both legs of an OCO traded"
                assert all(leg.executed_qty <= legs[0].orig_qty for leg in legs)
            if each.working is not None and each.working.status is not OrderStatus.FILLED:
                assert all(order.executed_qty == 0 for order in each.pending)

    def _check_volume(self, news: list[Event]) -> None:
        """What resting orders got from the market in one step is no more than what the market traded in it."""
        reports = [each for each in news if isinstance(each, ExecutionReport) and each.last_qty > 0]
        ids = [each.trade_id for each in reports]
        from_market = [each for each in reports if each.is_maker and ids.count(each.trade_id) == 1]
        if from_market:
            trade_id, _, traded, _, time = self.engine._books[from_market[0].order.symbol].tape.trades[-1]
            assert all(each.time == time for each in from_market), trade_id
            assert sum((each.last_qty for each in from_market), ZERO) <= traded

    def _check_money(self) -> None:
        """No unit appears or vanishes: accounts, commissions and the market share what was deposited."""
        commissions, market = self.engine.commissions_paid(), self.engine.market_gain()
        assets = {asset for name in self.deposits for asset in self.engine._accounts[name].free}
        for asset in assets:
            held = sum(
                (
                    self.engine.balance(name, asset).free + self.engine.balance(name, asset).locked
                    for name in self.deposits
                ),
                ZERO,
            )
            deposited = sum((each.get(asset, ZERO) for each in self.deposits.values()), ZERO)
            assert held + commissions.get(asset, ZERO) + market.get(asset, ZERO) == deposited

    def _check_books(self) -> None:
        for symbol, book in self.engine._books.items():
            waiting = [
                entry[-1] for entries in (book.bids, book.asks, book.falling, book.rising) for entry in entries
            ] + book.trailing
            live = [
                order
                for name in self.deposits
                for order in self.engine._accounts[name].open.get(symbol, {}).values()
                if order.status is not OrderStatus.PENDING_NEW
            ]
            assert sorted(order.order_id for order in waiting) == sorted(order.order_id for order in live)
            for entries in (book.bids, book.asks, book.falling, book.rising):
                assert entries == sorted(entries, key=lambda entry: entry[:4])
            for order in live:
                assert order.is_working or order.type in ALGO_TYPES
                waits = not order.is_working and order.trailing_time == NOT_WORKING
                assert not (waits and book.would_trigger(order)), "a stop slept through its price"


def need(order: LiveOrder) -> Decimal:
    """What an order must bind, said once more and differently from the engine."""
    if order.status is OrderStatus.PENDING_NEW or order.type is OrderType.MARKET:
        return ZERO
    if order.side is OrderSide.SELL:
        return order.open_qty
    if order.price:
        return order.price * order.open_qty
    return order.lock_price * order.open_qty
