"""Where an exchange's own live orders of one symbol wait: at a price, for a trigger, or trailing.

`low` and `high` bound what cannot touch anything: a trade strictly between them fills no resting order and
triggers no stop, and costs one comparison each.

Orders at one price go by time. Those of the same millisecond go by client order id, so that two requests
that race on different sockets end the same whichever was read first.
"""

from bisect import bisect_left, insort
from decimal import Decimal
from typing import Final

from executor.core.model.values import OrderSide, OrderType
from executor.paper.engine.account import Entry, LiveOrder
from executor.paper.engine.symbol import Symbol
from executor.paper.engine.tape import Tape

_NEVER_LOW: Final = Decimal("-Infinity")
_NEVER_HIGH: Final = Decimal("Infinity")
_TAKE_PROFITS: Final = frozenset({OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT})


def fires_on_fall(side: OrderSide, order_type: OrderType) -> bool:
    """Whether a stop's condition is `last <= stopPrice`: a selling stop-loss, a buying take-profit."""
    return (side is OrderSide.SELL) != (order_type in _TAKE_PROFITS)


class Book:
    """Live orders and market data of one symbol; `taken` is what takers took of each price level since."""

    __slots__ = ("asks", "bids", "falling", "high", "low", "rising", "rules", "taken", "tape", "trailing")

    def __init__(self, rules: Symbol) -> None:
        self.rules = rules
        self.tape = Tape(rules.name, rules.price.grid, rules.lot.grid)
        self.bids: list[Entry] = []
        self.asks: list[Entry] = []
        self.falling: list[Entry] = []
        self.rising: list[Entry] = []
        self.trailing: list[LiveOrder] = []
        self.taken: dict[tuple[OrderSide, Decimal], Decimal] = {}
        self.low = _NEVER_LOW
        self.high = _NEVER_HIGH

    def rest(self, order: LiveOrder, now: int) -> None:
        """Put an order on the book at its limit price."""
        buys = order.side is OrderSide.BUY
        key = -order.price if buys else order.price
        order.entry = (key, now, order.client_order_id, order.order_id, order)
        insort(self.bids if buys else self.asks, order.entry)
        self._bound()

    def await_trigger(self, order: LiveOrder) -> None:
        """Let a stop wait for its price; a trailing one without a stop price follows the market at once."""
        if order.stop_price == 0:
            self.track(order)
            return
        falls = fires_on_fall(order.side, order.type)
        key = -order.stop_price if falls else order.stop_price
        order.entry = (key, order.time, order.client_order_id, order.order_id, order)
        insort(self.falling if falls else self.rising, order.entry)
        self._bound()

    def track(self, order: LiveOrder) -> None:
        """Let a trailing order follow every trade."""
        self.trailing.append(order)
        self.trailing.sort(key=lambda each: (each.time, each.client_order_id))

    def remove(self, order: LiveOrder) -> None:
        """Take an order out of wherever it waits; a pending or immediate order waits nowhere."""
        entry = order.entry
        if entry is None:
            if order.trailing_delta is not None and order in self.trailing:
                self.trailing.remove(order)
            return
        order.entry = None
        for entries in (self.bids, self.asks, self.falling, self.rising):
            index = bisect_left(entries, entry)
            if index < len(entries) and entries[index] is entry:
                del entries[index]
                break
        self._bound()

    def makers_for(self, side: OrderSide) -> list[Entry]:
        """Resting orders that an order of `side` could take from, best first."""
        return self.asks if side is OrderSide.BUY else self.bids

    def would_take(self, side: OrderSide, price: Decimal) -> bool:
        """Whether a limit order would trade at once, with the market or with a resting order."""
        best = self.tape.best_for(side)
        makers = self.makers_for(side)
        if side is OrderSide.BUY:
            return 0 < best <= price or bool(makers and makers[0][-1].price <= price)
        return best >= price or bool(makers and makers[0][-1].price >= price)

    def would_trigger(self, order: LiveOrder) -> bool:
        """Whether a stop's condition holds already at the last traded price."""
        last = self.tape.last
        if last is None or order.stop_price == 0:
            return False
        if fires_on_fall(order.side, order.type):
            return last <= order.stop_price
        return last >= order.stop_price

    def _bound(self) -> None:
        low, high = _NEVER_LOW, _NEVER_HIGH
        if self.bids:
            low = -self.bids[0][0]
        if self.falling and -self.falling[0][0] > low:
            low = -self.falling[0][0]
        if self.asks:
            high = self.asks[0][0]
        if self.rising and self.rising[0][0] < high:
            high = self.rising[0][0]
        self.low, self.high = low, high
