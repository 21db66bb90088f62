"""Whether the user stream tells what happens, or is up and silent: what a look found must have been pushed as well."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from executor.core.model.events import AnyEvent
from executor.core.model.facts import OrderReport
from executor.core.model.state import End, Order
from executor.core.transition import Step
from executor.exchange.transport.supervised import Connected, Lost, Told
from executor.service.loop import Loop

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 5.0
PUSHED_WITHIN_MS: Final = 5_000
"""A push comes within milliseconds; what has not come by then is suspected, and believed at the next look."""
REOPEN_EVERY_MS: Final = 60_000
KEPT: Final = 1_000
_Number = tuple[str, int]
"""The symbol, and the exchange's number of an order: what another hand has renamed is pushed under its new id."""
_TOLD_OF: Final = frozenset({End.FILLED, End.CANCELED, End.EXPIRED})


class StreamProof:
    """`reopen` opens the stream anew."""

    def __init__(self, loops: Mapping[str, Loop], reopen: Callable[[], None]) -> None:
        self._loops = tuple(loops.values())
        self._reopen = reopen
        self._up = False
        self._unpushed: set[str] = set()
        """Symbols of whose accounts nothing is pushed, as was told."""
        self._pushed: dict[_Number, OrderReport] = {}
        self._missing: dict[_Number, tuple[str, int]] = {}
        self._suspected = False
        self._reopened_at = 0
        self._known: dict[int, dict[str, Order]] = {id(loop): {} for loop in self._loops}
        for loop in self._loops:
            loop.on_step.append(partial(self._on_step, loop))

    def hear(self, event: object) -> None:
        """What the stream tells, before anybody acts on it."""
        match event:
            case Connected():
                self._up = True
                self._unpushed.clear()
                self._missing.clear()
            case Told(symbol, Lost()):
                self._unpushed.add(symbol)
            case Told(symbol, Connected()):
                self._unpushed.discard(symbol)
            case Lost():
                self._up = False
                self._missing.clear()
            case Told(symbol, OrderReport() as report):
                number = symbol, report.exchange_id
                self._pushed[number] = report
                if len(self._pushed) > KEPT:
                    del self._pushed[next(iter(self._pushed))]
                self._missing.pop(number, None)
            case _:
                pass

    async def run(self) -> None:
        clock = self._loops[0].clock
        while True:
            await clock.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Reopen the stream where something was missing at two looks in a row."""
        now = self._loops[0].now()
        late = [name for name, since in self._missing.values() if now - since >= PUSHED_WITHIN_MS]
        if not late or not self._up:
            self._suspected = False
        elif not self._suspected:
            self._suspected = True
        elif now - self._reopened_at >= REOPEN_EVERY_MS:
            self._suspected, self._reopened_at = False, now
            self._missing.clear()
            text = f"a look told of {', '.join(late[:5])}, the stream did not; opened anew"
            log.error("stream_dead", alert=True, order=" ".join(late[:5]), text=text)
            self._reopen()

    def _on_step(self, loop: Loop, _event: AnyEvent, step: Step) -> None:
        """Note each order of which the state knows more than was pushed."""
        position, known = step.state.position, self._known[id(loop)]
        orders = {order.id: order for order in position.orders} if position is not None else {}
        if self._up and loop.ready.is_set() and loop.state.symbol not in self._unpushed:
            for key, order in orders.items():
                number = loop.state.symbol, order.exchange_id
                if order is not known.get(key) and self._more_than_pushed(known.get(key), order, number):
                    self._missing.setdefault(number, (key, loop.now()))
        self._known[id(loop)] = orders

    def _more_than_pushed(self, before: Order | None, order: Order, number: _Number) -> bool:
        """Whether `order` has filled or ended since `before`, and no push has said so."""
        ended = order.end in _TOLD_OF and (before is None or before.end is not order.end)
        filled = order.cum_qty > (before.cum_qty if before is not None else 0)
        if not order.exchange_id or not (ended or filled):
            return False
        told = self._pushed.get(number)
        return told is None or told.cum_qty < order.cum_qty or (ended and not told.status.is_final)
