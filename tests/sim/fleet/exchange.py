"""A node's way to the exchange: the simulated wire behind the service's own port."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final

from tests.sim.wire import Deliver, Wire

from executor.core.model.events import (
    Absent,
    Answered,
    AnyEvent,
    BalancesSeen,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    TradesSeen,
)
from executor.core.model.facts import (
    Balance,
    Done,
    Fill,
    Kline,
    OrderReport,
    Outcome,
    Quote,
    Refused,
    ReplaceOutcome,
    Unknown,
)
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    NewOrder,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    Read,
    ReplaceOrder,
    Stamp,
)
from executor.core.model.rules import SymbolRules
from executor.exchange.port import ReadError

GONE: Final = ("request_lost", "answer_lost")


class NodeWire(Wire):
    """One node's. `cut_until`: nothing comes through before (ms), in one direction or both."""

    cut_until = 0
    on_gap: Callable[[], None] = staticmethod(lambda: None)

    @property
    def cut(self) -> bool:
        return self.timeline.now < self.cut_until

    def cut_off(self, ms: int) -> None:
        self.cut_until = self.timeline.now + ms
        self.timeline.at(self.cut_until, self._tell_gap)

    def _tell_gap(self) -> None:
        """To whoever listens then."""
        self.on_gap()

    def _command(self, request: Command, deliver: Deliver, decided: int) -> None:
        if not self.cut:
            super()._command(request, deliver, decided)
            return
        stamp = request.stamp.timestamp if request.stamp is not None else self.clock.stamp()
        self._leave_in_doubt(request, stamp, GONE[self.faults.detail("cut", len(GONE))], deliver, decided)

    def _read(self, request: Read, deliver: Deliver, asked_at: int, kind: str) -> None:
        if self.cut:
            self._fail(request, self.timeline.now + self.setup.timeout, "cut off", deliver)
        else:
            super()._read(request, deliver, asked_at, kind)

    def _push(self, report: OrderReport) -> None:
        if self.cut:
            self.lost_at = self.timeline.now
            return
        before = self.silent_until
        super()._push(report)
        if self.silent_until != before:
            self.timeline.at(self.silent_until, self._tell_gap)


class NodeExchange:
    """`Exchange` over a wire. `step`: the process may be suspended or killed there. `decided`: when what is sent now
    was decided, in true time (ms).
    """

    def __init__(
        self,
        wire: NodeWire,
        rules: SymbolRules,
        step: Callable[[str], Awaitable[None]],
        decided: Callable[[Stamp | None], int],
    ) -> None:
        self._wire = wire
        self._rules = rules
        self._step = step
        self._decided = decided

    def now(self) -> int:
        return self._wire.clock.now()

    # --- what changes something --------------------------------------------------------------------------------------

    async def place(self, order: NewOrder, stamp: Stamp | None = None) -> Outcome:
        return _single(await self._send(PlaceOrder(seq=0, stamp=stamp, order=order)))

    async def place_oco(self, list_id: str, target: NewOrder, stop: NewOrder, stamp: Stamp | None = None) -> Outcome:
        return _single(await self._send(PlaceOco(seq=0, stamp=stamp, list_id=list_id, target=target, stop=stop)))

    async def place_bracket(
        self, list_id: str, entry: NewOrder, stop: NewOrder, target: NewOrder | None, stamp: Stamp | None = None
    ) -> Outcome:
        request = PlaceBracket(seq=0, stamp=stamp, list_id=list_id, entry=entry, stop=stop, target=target)
        return _single(await self._send(request))

    async def cancel(self, id: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:  # noqa: A002
        return _single(await self._send(CancelOrder(seq=0, stamp=stamp, id=id, exchange_id=exchange_id)))

    async def cancel_list(self, list_id: str, stamp: Stamp | None = None) -> Outcome:
        return _single(await self._send(CancelList(seq=0, stamp=stamp, list_id=list_id, ids=self._listed(list_id))))

    async def replace(self, cancel_id: str, order: NewOrder, stamp: Stamp | None = None) -> ReplaceOutcome:
        outcome = await self._send(ReplaceOrder(seq=0, stamp=stamp, cancel_id=cancel_id, order=order))
        assert isinstance(outcome, ReplaceOutcome)
        return outcome

    def _listed(self, list_id: str) -> tuple[str, ...]:
        """Its orders, one of which a fill may reach before the cancel does."""
        lists = self._wire.direct.engine._accounts[self._wire.direct.account].open_lists.values()
        found = tuple(o.client_order_id for each in lists if each.client_id == list_id for o in each.orders)
        return found or (list_id,)

    async def _send(self, request: Command) -> Outcome | ReplaceOutcome:
        await self._step("signed")
        answer: asyncio.Future[AnyEvent] = asyncio.get_running_loop().create_future()
        self._wire.send(request, _into(answer), self._decided(request.stamp))
        await self._step("sent")
        event = await answer
        await self._step("answered")
        assert isinstance(event, Answered)
        assert isinstance(event.outcome, Done | Refused | Unknown | ReplaceOutcome)
        return event.outcome

    # --- what only looks ---------------------------------------------------------------------------------------------

    async def order(self, id: str, exchange_id: int = 0) -> OrderReport | None:  # noqa: A002
        event = await self._look(QueryOrder(seq=0, id=id, exchange_id=exchange_id))
        assert isinstance(event, Reported | Absent)
        return event.report if isinstance(event, Reported) else None

    async def trades(self, exchange_id: int) -> tuple[Fill, ...]:
        event = await self._look(QueryTrades(seq=0, id="", exchange_id=exchange_id))
        assert isinstance(event, TradesSeen)
        return event.fills

    async def open_orders(self) -> tuple[OrderReport, ...]:
        event = await self._look(QueryOpenOrders(seq=0))
        assert isinstance(event, OpenOrdersSeen)
        return event.reports

    async def history(self, since: int) -> tuple[OrderReport, ...]:
        await self.open_orders()
        return tuple(report for report in self._wire.order_history().values() if report.time >= since)

    async def balances(self) -> dict[str, Balance]:
        event = await self._look(QueryBalances(seq=0))
        assert isinstance(event, BalancesSeen)
        return event.balances

    async def quote(self) -> Quote:
        event = await self._look(QueryQuote(seq=0))
        assert isinstance(event, QuoteSeen)
        return event.quote

    async def klines(self, count: int) -> tuple[Kline, ...]:
        event = await self._look(QueryKlines(seq=0, count=count))
        assert isinstance(event, KlinesSeen)
        return event.klines

    async def reference_price(self) -> Decimal | None:
        return None  # the simulation's filter is wide

    async def rules(self) -> SymbolRules:
        return self._rules

    async def is_trading(self) -> bool:
        return True

    async def _look(self, request: Read) -> AnyEvent:
        answer: asyncio.Future[AnyEvent] = asyncio.get_running_loop().create_future()
        self._wire.read(request, _into(answer))
        event = await answer
        if isinstance(event, ReadFailed):
            raise ReadError(event.text)
        return event


def _into(answer: "asyncio.Future[AnyEvent]") -> Deliver:
    def told(event: AnyEvent) -> None:
        if not answer.done() and not getattr(answer.get_loop(), "dead", False):
            answer.set_result(event)

    return told


def _single(outcome: Outcome | ReplaceOutcome) -> Outcome:
    assert not isinstance(outcome, ReplaceOutcome)
    return outcome
