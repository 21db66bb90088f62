"""Forced liquidation: orders go, what is held is sold and what is owed bought back, a fee is taken, debts are paid."""

from decimal import ROUND_DOWN, Decimal
from typing import Final

from executor.core.model.values import ZERO, OrderSide, OrderType, ceil_to, floor_to
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.lending import Lending
from executor.paper.engine.margin.model import UNIT, Liquidated, Origin
from executor.paper.engine.margin.prices import USDT
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import ExpiryReason, NewOrder, Reject
from executor.paper.engine.order_lists import OrderLists

COMMISSION: Final = Decimal("0.002")
"""More than any commission: what is bought must be enough after it."""


class Liquidation:
    """Carries it out, as the exchange does by itself or when it is asked to (`POST margin/manual-liquidation`)."""

    def __init__(self, orders: OrderLists, matcher: Matcher, lending: Lending) -> None:
        self._orders = orders
        self._matcher = matcher
        self._lending = lending
        self._count = 0

    def carry_out(self, account: MarginAccount, now: int, *, fee: bool = True) -> None:
        """Until nothing is owed. What the account cannot pay is written off, and kept as `bad_debts`."""
        for live in [order for orders in account.money.open.values() for order in orders.values()]:
            if not live.status.is_final:
                self._matcher.expire(live, ExpiryReason.EXCHANGE_CANCELED, now)
        self._matcher.close_operation(now)
        quote = self._orders.symbol(account.symbol).quote if account.isolated else USDT
        turned = ZERO
        for asset in account.assets():
            surplus = account.free(asset) - account.debt(asset).total
            if asset != quote and surplus > 0 and self._owes_besides(account, asset):
                turned += self._trade(account, asset, quote, OrderSide.SELL, surplus, now)
        for asset in account.assets():
            lacking = account.debt(asset).total - account.free(asset)
            if asset != quote and lacking > 0:
                turned += self._trade(account, asset, quote, OrderSide.BUY, lacking / (1 - COMMISSION), now)
        account.charges.clear()
        for asset in list(account.debts):
            self._pay_off(account, asset, now)
        if fee:
            self._take_fee(account, quote, turned, now)

    @staticmethod
    def _owes_besides(account: MarginAccount, asset: str) -> bool:
        return any(debt.total for other, debt in account.debts.items() if other != asset)

    def _trade(
        self, account: MarginAccount, asset: str, quote: str, side: OrderSide, amount: Decimal, now: int
    ) -> Decimal:
        """A market order for so much; what it turned over. Nothing where the exchange's own filters refuse it."""
        symbol = asset + quote
        try:
            rules = self._orders.symbol(symbol)
        except Reject:
            return ZERO
        qty = (floor_to if side is OrderSide.SELL else ceil_to)(amount, rules.lot.grid)
        whole = NewOrder(symbol=symbol, side=side, type=OrderType.MARKET, quantity=qty)
        money = account.free(quote).quantize(Decimal("0.01"), ROUND_DOWN)
        wanted = [whole]
        if side is OrderSide.BUY:
            wanted.append(NewOrder(symbol=symbol, side=side, type=OrderType.MARKET, quote_order_qty=money))
        for order in wanted:
            self._count += 1
            order.client_order_id = f"liquidation{self._count:06d}"
            try:
                placed = self._orders.place_order(account.money.name, order, now).order
            except Reject:
                continue
            if placed.executed_qty:
                account.liquidations.append(
                    Liquidated(
                        order_id=placed.order_id,
                        symbol=symbol,
                        side=side.value,
                        qty=placed.orig_qty,
                        executed_qty=placed.executed_qty,
                        avg_price=(placed.cumulative_quote_qty / placed.executed_qty).quantize(UNIT, ROUND_DOWN),
                        isolated=account.isolated,
                        time=now,
                    )
                )
            return placed.cumulative_quote_qty
        return ZERO

    def _pay_off(self, account: MarginAccount, asset: str, now: int) -> None:
        debt = account.debt(asset)
        amount = min(debt.total, account.free(asset))
        if amount > 0:
            self._lending.take(account, asset, amount, now, Origin.AUTO)
        if debt.total:
            account.bad_debts[asset] = account.bad_debts.get(asset, ZERO) + debt.total
            debt.principal = debt.interest = ZERO

    def _take_fee(self, account: MarginAccount, quote: str, turned: Decimal, now: int) -> None:
        fee = min(account.free(quote), (turned * self._lending.terms.liquidation_fee).quantize(UNIT, ROUND_DOWN))
        if fee > 0:
            self._lending.move(account, quote, -fee, now)
            self._matcher.close_operation(now)
