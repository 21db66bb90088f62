"""How each trade went: the price it saw, its stop's path, its fills and the times without cover, from the steps alone.

The journal told again, a simulation and the running service give the same steps, and so the same picture.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.events import AnyEvent
from executor.core.model.facts import Quote
from executor.core.model.state import Exposure, Order, Position, State
from executor.core.transition import Step
from executor.ops.status import live_stop

POINTS_MAX: Final = 600
"""A picture has no more dots in a row."""


class PriceAt(msgspec.Struct, frozen=True, array_like=True):
    """The last price at a time (ms)."""

    at: int
    price: Decimal


class StopAt(msgspec.Struct, frozen=True, array_like=True):
    """From this time (ms) on, the stop on the exchange that would be reached first; None where none stands."""

    at: int
    stop: Decimal | None


class FillAt(msgspec.Struct, frozen=True, array_like=True):
    """At a time (ms): of which order, its role and side, price in quote per base, base quantity."""

    at: int
    order: str
    role: str
    side: str
    price: Decimal
    qty: Decimal


class Span(msgspec.Struct, frozen=True, array_like=True):
    """From `since` until `until` (ms)."""

    since: int
    until: int


class TradePath(msgspec.Struct, kw_only=True):
    """Of one trade. `bare`: when a held quantity that could be sold had no stop."""

    trade: str
    prices: list[PriceAt] = []
    stops: list[StopAt] = []
    fills: list[FillAt] = []
    bare: list[Span] = []


class Recorder:
    """The paths of one symbol's trades. `observe` is to be called with each step. `finished`: by trade; whoever takes
    them out keeps it small. `points_max`: prices, and steps of the stop, kept of each.
    """

    def __init__(self, points_max: int = POINTS_MAX) -> None:
        self.finished: dict[str, TradePath] = {}
        self._points_max = points_max
        self._path: TradePath | None = None
        self._quote: Quote | None = None
        self._orders: tuple[Order, ...] = ()
        self._exposure = Exposure()
        self._counted: set[tuple[str, int]] = set()

    def observe(self, _event: AnyEvent, step: Step) -> None:
        state = step.state
        position = state.position
        path = self._path
        if path is not None and (position is None or position.trade != path.trade):
            self._finish(path, state.market.now)
            path = None
        if position is None:
            return
        if path is None:
            path = self._path = TradePath(trade=position.trade)
            self._quote, self._orders, self._exposure = None, (), Exposure()
            self._counted.clear()
        self._take(path, position, state)

    def _take(self, path: TradePath, position: Position, state: State) -> None:
        quote, now = state.market.quote, state.market.now
        if quote is not None and quote is not self._quote:
            self._quote = quote
            path.prices.append(PriceAt(now, quote.last))
            if len(path.prices) > self._points_max:
                path.prices = thinned(path.prices)
        if position.orders is not self._orders:
            self._orders = position.orders
            self._take_orders(path, position, now)
        if position.exposure != self._exposure:
            if self._exposure.since and position.exposure.since != self._exposure.since:
                path.bare.append(Span(self._exposure.since, now))
            self._exposure = position.exposure

    def _take_orders(self, path: TradePath, position: Position, now: int) -> None:
        stop = live_stop(position)
        if not path.stops or path.stops[-1].stop != stop:
            path.stops.append(StopAt(now, stop))
            if len(path.stops) > self._points_max:
                path.stops = [*path.stops[:-1:2], path.stops[-1]]
        for order in position.orders:
            for fill in order.fills:
                if (order.id, fill.trade_id) not in self._counted:
                    self._counted.add((order.id, fill.trade_id))
                    path.fills.append(
                        FillAt(fill.time, order.id, str(order.role), str(order.side), fill.price, fill.qty)
                    )

    def _finish(self, path: TradePath, now: int) -> None:
        if self._exposure.since:
            path.bare.append(Span(self._exposure.since, now))
        path.fills.sort(key=lambda fill: fill.at)
        self._path = None
        self.finished[path.trade] = path


def way_of(path: TradePath) -> list[PriceAt]:
    """The prices that were seen, those of its own fills among them, in the order of time."""
    return sorted([*path.prices, *(PriceAt(fill.at, fill.price) for fill in path.fills)], key=_time)


def thinned(points: Sequence[PriceAt]) -> list[PriceAt]:
    """Half as many, the lowest and the highest of each four among them: what was reached stays on the picture."""
    kept: list[PriceAt] = []
    for first in range(0, len(points), 4):
        few = points[first : first + 4]
        low, high = min(few, key=_price), max(few, key=_price)
        kept += [low] if low is high else sorted((low, high), key=_time)
    return kept


def _price(point: PriceAt) -> Decimal:
    return point.price


def _time(point: PriceAt) -> int:
    return point.at
