"""What the page shows, pushed to those who look: frames are made a few times a second, and only while somebody does.

Nobody is waited for (rule 8.9): each client has a bounded queue, and one that does not read is let go; its browser
connects again by itself and is given the whole picture.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

import msgspec
import structlog
from aiohttp import web

from executor.core.model.events import AnyEvent
from executor.core.model.state import Closed, State
from executor.core.model.values import ZERO, plain
from executor.core.transition import Step
from executor.ops import report, status
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.alerts import Alerts
from executor.ops.alerts.noted import is_noted
from executor.ops.page.history import History, Note, Point
from executor.service.loop import Loop

log = structlog.get_logger(__name__)

FRAME_S: Final = 0.3
SAMPLE_S: Final = 1.0
HEALTH_S: Final = 5.0
BEAT_S: Final = 15.0
"""A frame goes out so often though it has no news: a page that hears nothing for longer says so."""
QUEUE_MAX: Final = 16
CLIENTS_MAX: Final = 24
"""Fewer than one address may have connections: looks at its health are let in beside them."""
TRADES_SHOWN: Final = 20
RETRY_MS: Final = 2_000


class FillShown(msgspec.Struct, frozen=True, array_like=True):
    """At a second since 1970, of an order of this role: side, price, quantity."""

    at: int
    role: str
    side: str
    price: str
    qty: str


class Health(msgspec.Struct, frozen=True):
    ready: bool
    faults: list[str]


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The last trades, newest first; `equity`: seconds since 1970 and profit so far, in quote, of those remembered."""

    trades: list[report.Row]
    equity: list[tuple[int, str]]


class SymbolFrame(msgspec.Struct, frozen=True, kw_only=True):
    """`points`: all of them in a first frame, else those since the last one, the newest of it again. `finished`:
    null where no trade has finished since the last frame.
    """

    symbol: str
    status: status.Status
    fills: list[FillShown]
    finished: Finished | None
    notes: list[Note]
    points: list[Point]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """`whole`: everything, else only the symbols that have changed. `account`: empty where there is only one."""

    whole: bool
    account: str
    health: Health
    symbols: list[SymbolFrame]


class Client:
    """One who looks. `transport` is cut where its queue runs over."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MAX)
        self._transport = transport

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Feed:
    """Of a service's `loops`; `faults` says why it is not ready. `observe` is to be called with every step. `alerts`:
    those of the service are shown as well, also what was raised before there was a page. `account`: whose the loops are
    where there are several; the alerts of others are left out.
    """

    def __init__(
        self,
        loops: Sequence[Loop],
        faults: Callable[[], Awaitable[list[str]]],
        alerts: Alerts | None = None,
        account: str = "",
    ) -> None:
        self.clients: set[Client] = set()
        self.dropped = 0
        self._loops = loops
        self._account = account
        self._faults = faults
        self._history = {loop.state.symbol: History() for loop in loops}
        self._changed: set[str] = set()
        self._sent_to = dict.fromkeys(self._history, 0)
        self._finished_to = dict.fromkeys(self._history, "")
        self._health = Health(ready=False, faults=[])
        self._health_is_news = False
        self._somebody = asyncio.Event()
        self._alerts = alerts or Alerts(None, ())
        for alert in self._alerts.recent:
            self._keep(alert)
        self._alerts.on_alert.append(self._hear)

    def observe(self, _event: AnyEvent, step: Step) -> None:
        symbol = step.state.symbol
        self._changed.add(symbol)
        if step.notes:
            for note in step.notes:
                self._history[symbol].note(step.state.market.now, note)

    def _hear(self, alert: Alert) -> None:
        if not is_noted():  # `observe` sees the notes
            self._keep(alert)

    def _keep(self, alert: Alert) -> None:
        """Under the symbol that it is about, or under all of them, by their own clock."""
        if self._account and alert.account not in {"", self._account}:
            return
        ago = self._alerts.now_ms() - alert.at
        for loop in self._loops:
            symbol = loop.state.symbol
            if alert.symbol in {"", symbol}:
                self._changed.add(symbol)
                self._history[symbol].alert(loop.now() - ago, alert)

    async def run(self) -> None:
        """Keep the ways of prices, and push frames while somebody looks; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample())
            tasks.create_task(self._push())
            tasks.create_task(self._watch_health())

    async def _sample(self) -> None:
        while True:
            for loop in self._loops:
                self._history[loop.state.symbol].sample(loop.state)
            await asyncio.sleep(SAMPLE_S)

    async def _push(self) -> None:
        quiet = 0.0
        while True:
            await self._somebody.wait()
            await asyncio.sleep(FRAME_S)
            quiet += FRAME_S
            if self._changed or self._health_is_news or quiet >= BEAT_S:
                quiet = 0.0
                self.send(self.frame())

    async def _watch_health(self) -> None:
        while True:
            await self._somebody.wait()
            faults = await self._faults()
            health = Health(ready=not faults, faults=faults)
            self._health_is_news |= health != self._health
            self._health = health
            await asyncio.sleep(HEALTH_S)

    def send(self, data: bytes) -> None:
        """To everybody; who is too far behind is let go."""
        for client in tuple(self.clients):
            try:
                client.queue.put_nowait(data)
            except asyncio.QueueFull:
                self.dropped += 1
                self._leave(client)
                client.cut()
                log.info("page_reader_dropped", why="it did not read what it was sent")

    def frame(self, *, whole: bool = False) -> bytes:
        """As an event: everything, or what has changed since the last that was not whole."""
        shown = [loop for loop in self._loops if whole or loop.state.symbol in self._changed]
        frames = [self._of(loop, whole=whole) for loop in shown]
        if not whole:
            self._changed.clear()
            self._health_is_news = False
        frame = Frame(whole=whole, account=self._account, health=self._health, symbols=frames)
        return b"data: " + msgspec.json.encode(frame) + b"\n\n"

    def _of(self, loop: Loop, *, whole: bool) -> SymbolFrame:
        state, symbol = loop.state, loop.state.symbol
        history = self._history[symbol]
        history.sample(state)
        points = history.points
        if not whole:
            since, self._sent_to[symbol] = self._sent_to[symbol], points[-1].at if points else 0
            points = _since(points, since)
        return SymbolFrame(
            symbol=symbol,
            status=status.status_of(state, loop.engine.rules, running=True, now=loop.now()),
            fills=fills_of(state),
            finished=self._finished(loop, whole=whole),
            notes=list(reversed(history.notes)),
            points=points,
        )

    def _finished(self, loop: Loop, *, whole: bool) -> Finished | None:
        newest = loop.closed[-1].trade if loop.closed else ""
        if not whole:
            if newest == self._finished_to[loop.state.symbol]:
                return None
            self._finished_to[loop.state.symbol] = newest
        rows = [report.row(trade) for trade in islice(reversed(loop.closed), TRADES_SHOWN)]
        return Finished(trades=rows, equity=equity_of(loop.closed))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /events: the whole picture, then what changes."""
        if len(self.clients) >= CLIENTS_MAX:
            return web.Response(status=503, text=f"{CLIENTS_MAX} are looking already\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        client = Client(request.transport)
        client.queue.put_nowait(b"retry: %d\n\n" % RETRY_MS + self.frame(whole=True))
        self.clients.add(client)
        self._somebody.set()
        try:
            while True:
                await response.write(await client.queue.get())
        except ConnectionError:  # it has gone, or was let go
            return response
        finally:
            self._leave(client)

    def _leave(self, client: Client) -> None:
        self.clients.discard(client)
        if not self.clients:
            self._somebody.clear()

    def close(self) -> None:
        """Let everybody go, so that a stop waits for nobody who looks."""
        self._alerts.on_alert.remove(self._hear)
        for client in tuple(self.clients):
            self._leave(client)
            client.cut()


def fills_of(state: State) -> list[FillShown]:
    """Those of the open trade, oldest first."""
    if state.position is None:
        return []
    found = [
        FillShown(fill.time // 1000, str(order.role), str(order.side), plain(fill.price), plain(fill.qty))
        for order in state.position.orders
        for fill in order.fills
    ]
    return sorted(found, key=lambda fill: fill.at)


def equity_of(trades: Sequence[Closed]) -> list[tuple[int, str]]:
    """Profit so far after each trade that had a fill; of several in one second the last."""
    total, points = ZERO, dict[int, Decimal]()
    for trade in trades:
        if trade.qty:
            total += trade.pnl
            points[trade.closed // 1000] = total
    return [(at, plain(value)) for at, value in sorted(points.items())]


def _since(points: list[Point], at: int) -> list[Point]:
    """The newest that are not older than `at`."""
    first = len(points)
    while first and points[first - 1].at >= at:
        first -= 1
    return points[first:]
