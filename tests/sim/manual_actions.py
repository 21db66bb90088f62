"""What somebody does on the exchange's website while the service trades."""

from tests.sim.checks import Outside
from tests.sim.choices import Choices
from tests.sim.wire import Wire

from executor.core.model.ids import ENTRIES, parse
from executor.core.model.values import ZERO, OrderType
from executor.paper.engine import model


class ManualActions:
    def __init__(self, outside: Outside, wire: Wire, choices: Choices) -> None:
        self._outside = outside
        self._wire = wire
        self._choices = choices
        self._engine = wire.direct.engine
        self._symbol = wire.direct.symbol

    def cancel(self, which: int | None = None) -> None:
        """Cancel one of the open orders, a drawn one or the `which`-th."""
        open_ids = self._outside.ours_open()
        if open_ids:
            n = self._choices.choose("which", len(open_ids)) if which is None else which % len(open_ids)
            self._outside.cancelled_by_hand()
            self._cancel(open_ids[n])
            self._wire.deliver_pushes()

    def meet(self) -> None:
        """An order of another account of the group meets a resting one: self-trade prevention takes of it. Not one that
        brings its exits: for what they are placed then, no document says.
        """
        account, rules = self._wire.direct.account, self._outside.rules
        ours = set(self._outside.ours_open())
        shown = [o for o in self._engine.open_orders(account, self._symbol) if o.client_order_id in ours]
        names = {o.client_order_id: parse(o.client_order_id) for o in shown if o.order_list_id != -1}
        bring = {key for key, name in names.items() if name is not None and name.role in ENTRIES}
        resting = [o for o in shown if o.is_working and o.client_order_id not in bring]
        if resting:
            order = resting[self._choices.choose("met", len(resting))]
            part = rules.whole(order.open_qty / (1, 2, 3)[self._choices.choose("met_part", 3)])
            qty = part or order.open_qty
            self._engine.prevent_match(account, self._symbol, order.order_id, qty, self._wire.timeline.now)
            self._wire.deliver_pushes()

    def sell(self) -> None:
        """Cancel everything and close the position of the trade in hand."""
        outside = self._outside
        truth = outside.trades.get(outside.followed)
        if truth is None:
            return
        truth.by_hand = True
        while left := outside.ours_open():
            self._cancel(left[0])
        qty = outside.rules.whole(truth.held)
        price = self._engine.last_price(self._symbol) or ZERO
        if qty > 0 and outside.rules.carries_market(qty, price):
            order = model.NewOrder(
                symbol=self._symbol, side=truth.direction.exit_side, type=OrderType.MARKET, quantity=qty
            )
            try:
                placed = self._engine.place_order(self._wire.direct.account, order, self._wire.timeline.now)
                truth.taken += placed.order.executed_qty
            except model.Reject as reject:
                if reject.code not in {-2010, -1013}:
                    raise
        self._wire.deliver_pushes()

    def _cancel(self, client_id: str) -> None:
        self._engine.cancel_order(
            self._wire.direct.account, self._symbol, self._wire.timeline.now, orig_client_order_id=client_id
        )
