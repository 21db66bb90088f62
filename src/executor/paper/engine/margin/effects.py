"""What orders with a side effect borrow at their placement, and repay with what they receive."""

from collections.abc import Callable
from decimal import ROUND_UP, Decimal
from typing import TypeVar

from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType
from executor.paper.engine.account import LiveOrder
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.lending import Lending
from executor.paper.engine.margin.model import UNIT, Effect, Origin, SideEffect
from executor.paper.engine.model import ExecutionReport, ListPlaced, NewOco, NewOrder, NewOto, NewOtoco, Placed, Reject
from executor.paper.engine.order_lists import OrderLists
from executor.paper.engine.symbol import Symbol

Answer = TypeVar("Answer", bound=Placed | ListPlaced)
Asked = NewOrder | NewOco | NewOto | NewOtoco


class SideEffects:
    """Watches the orders that have any."""

    def __init__(self, orders: OrderLists, lending: Lending) -> None:
        self._orders = orders
        self._lending = lending

    def place(
        self,
        account: MarginAccount,
        asked: Asked,
        effect: SideEffect,
        now: int,
        act: Callable[[], Answer],
        *,
        repays_at_cancel: bool,
    ) -> tuple[Answer, tuple[str, Decimal] | None]:
        """Borrow what the order lacks, where it does so, and place it; what was borrowed beside the answer.

        Raises:
            Reject: of the loan or of the order; then nothing has changed.
        """
        if effect is SideEffect.NO_SIDE_EFFECT:
            return act(), None
        loan = None
        told = len(account.money.events)
        if effect.borrows:
            asset, lacking = self._lacking(account, asked)
            if lacking > 0:
                loan = self._lending.borrow(account, asset, lacking, now, Origin.AUTO)
        try:
            answer = act()
        except Reject:
            if loan is not None:
                self._lending.undo(account, loan)
                events = account.money.events
                events[told:] = [event for event in events[told:] if isinstance(event, ExecutionReport)]
            raise
        placed = (answer.order,) if isinstance(answer, Placed) else answer.orders
        for n, order in enumerate(placed):
            account.effects[order.order_id] = Effect(
                order_id=order.order_id,
                effect=effect,
                repays_at_cancel=repays_at_cancel,
                asset="" if loan is None else loan.asset,
                borrowed=loan.amount if loan is not None and n == 0 else ZERO,
            )
        self.settle(account, now)
        return answer, None if loan is None else (loan.asset, loan.amount)

    def settle(self, account: MarginAccount, now: int) -> None:
        """Repay with what has been received since the last call, and what a cancelled order has borrowed."""
        for effect in list(account.effects.values()):
            order = account.money.orders.get(effect.order_id)
            if order is None:  # ended, and forgotten (`Engine.orders_kept`)
                del account.effects[effect.order_id]
                continue
            if effect.effect.repays:
                for fill in order.fills[effect.seen :]:
                    received = fill.qty if order.side is OrderSide.BUY else fill.quote_qty
                    asset = order.rules.base if order.side is OrderSide.BUY else order.rules.quote
                    if fill.commission_asset == asset:
                        received -= fill.commission
                    self._repay(account, asset, received, now)
            effect.seen = len(order.fills)
            if order.status.is_final:
                del account.effects[effect.order_id]
                if self._given_back(effect, order):
                    self._repay(account, effect.asset, effect.borrowed, now)

    @staticmethod
    def _given_back(effect: Effect, order: LiveOrder) -> bool:
        return effect.repays_at_cancel and bool(effect.borrowed) and order.status is not OrderStatus.FILLED

    def _repay(self, account: MarginAccount, asset: str, most: Decimal, now: int) -> None:
        """What fits; in silence where another loan is being worked on, or the rest is too small to be left."""
        amount = min(most, account.free(asset), account.debt(asset).total)
        if amount > 0:
            try:
                self._lending.repay(account, asset, amount, now, Origin.AUTO)
            except Reject:
                return

    def _lacking(self, account: MarginAccount, asked: Asked) -> tuple[str, Decimal]:
        """The asset that the order spends, and how much more of it than is free."""
        asset, need = self._needed(asked)
        return asset, (need - account.free(asset)).quantize(UNIT, ROUND_UP)

    def _needed(self, asked: Asked) -> tuple[str, Decimal]:
        if isinstance(asked, NewOto | NewOtoco):
            asked = asked.working
        rules = self._orders.symbol(asked.symbol)
        quantity = asked.quantity or ZERO
        if asked.side is OrderSide.SELL:
            return rules.base, quantity
        if isinstance(asked, NewOco):
            price = max(leg.price or leg.stop_price or ZERO for leg in (asked.above, asked.below))
            return rules.quote, quantity * price
        if asked.quote_order_qty is not None:
            return rules.quote, asked.quote_order_qty
        return rules.quote, quantity * self._buying_price(asked, rules)

    def _buying_price(self, asked: NewOrder, rules: Symbol) -> Decimal:
        if asked.type is OrderType.MARKET:
            ask = self._orders.book_ticker(rules.name).ask or ZERO
            return ask * Decimal("1.005")  # what the book may give beyond its best price
        return asked.price or asked.stop_price or ZERO
