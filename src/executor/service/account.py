"""One account, traded until it is stopped: its connection, its symbols' loops, its streams and its inlets.

What a process has only once (its ports, its alerts, its signals from the system) is not here: `service.app` for a
process that trades one account, `service.accounts` for one that trades several.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog
from msgspec.structs import replace

from executor.config import Settings, SettingsError
from executor.exchange.binance import BinanceExchange, connect_all
from executor.exchange.margin import MarginExchange
from executor.exchange.port import BannedError, NotListedError, ReadError, StartError
from executor.exchange.transport.budget import Budget
from executor.ops.http import HttpUnusable
from executor.ops.metrics import Metrics, StreamWatch
from executor.paper.errors import PaperError
from executor.service.cross_account import CrossAccount, told_beside
from executor.service.inlets.control import Control, SocketUnusable
from executor.service.inlets.intake import SignalJudge
from executor.service.inlets.webhook import WebhookUnusable
from executor.service.left_behind import left_behind
from executor.service.listening import listening
from executor.service.loop import Loop
from executor.service.market import Market, open_market, tell_addresses
from executor.service.state_locks import StateLocks
from executor.service.store.fleet_store import FleetSymbolStore
from executor.service.store.journal import JournalError
from executor.service.store.lock import LockError
from executor.service.store.state_store import StateError
from executor.service.supervisor import Supervisor
from executor.service.symbol_rules import held_symbols
from executor.service.symbol_session import RunContext, symbol_session
from executor.service.wiring import add_streams, add_watchdog, intake_of, view_of
from executor.signals.position import SignalFileError

log = structlog.get_logger(__name__)

T = TypeVar("T")

START_ERRORS: Final = (
    StartError,
    ReadError,
    PaperError,
    SettingsError,
    StateError,
    LockError,
    JournalError,
    SignalFileError,
    SocketUnusable,
    HttpUnusable,
    WebhookUnusable,
)
"""Why a run could not begin or go on, each with a text for people."""

AFTER_BAN_S: Final = 1.0
WAIT_LOOK_S: Final = 1.0
TELL_S: Final = 60.0

OF_ONE: Final = (StateError, JournalError, ReadError, NotListedError, SettingsError)
"""Of several symbols these keep one alone from trading: its files, its orders, its filters."""


class SignalSource(Protocol):
    """Where an account's signals come from, if not from a file that it follows itself."""

    async def run(self, judge: SignalJudge, loops: Mapping[str, Loop]) -> None:
        """Put each before `judge`, for ever."""


class Attendant(Protocol):
    """What else runs beside an account's loops."""

    async def run(self, loops: Mapping[str, Loop]) -> None:
        """For ever."""


class AccountRun:
    """Trades one account. `store_of`: where its symbols' states are kept, if not in their files; `source`: where its
    signals come from, if not from SIGNAL_FILE; `beside`: what runs beside its loops, from the start on. `loops`,
    `metrics`: once it has begun.
    """

    def __init__(
        self,
        settings: Settings,
        store_of: Callable[[str], FleetSymbolStore] | None = None,
        source: SignalSource | None = None,
        on_loops: Callable[[Mapping[str, Loop]], None] = lambda _: None,
        beside: Collection[Attendant] = (),
    ) -> None:
        self.name = settings.account
        self.settings = settings
        self.loops: dict[str, Loop] = {}
        self.judge: SignalJudge | None = None
        self.metrics: Metrics | None = None
        self.ended_bare: bool | None = None
        """Whether something was left without a stop, or sold too much, when it was stopped (rule 9.5); None where it
        has not traded.
        """
        self._store_of = store_of
        self._source = source
        self._on_loops = on_loops
        self._beside = tuple(beside)
        self._supervisor: Supervisor | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """As on SIGTERM (rule 9.5): what is in flight is finished, the exits rest."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.stop()

    async def run(self) -> None:
        """Until it is stopped; raises Fenced, one of `app.START_ERRORS`, or what killed a part of it."""
        structlog.contextvars.bind_contextvars(account=self.name)
        tell_addresses(self.settings)
        async with open_market(self.settings) as whole:
            with StateLocks(self.settings, whole.symbols) as locks:
                locks.take()
                if locks.missing and (self._store_of is not None or not locks.enough):
                    raise locks.fault
                while await self._trade(replace(whole, symbols=locks.held), locks):
                    pass

    async def _trade(self, market: Market, locks: StateLocks) -> bool:
        """Trade what is locked; whether to begin anew, with more of it."""
        locks.tell()
        exchanges = await self._unless_stopped(self._reach(market))
        if exchanges is None:
            return False
        connection = exchanges[market.symbols[0]].connection
        try:
            return await self._serve(market, exchanges, locks)
        finally:
            self.loops, self.judge = {}, None
            await connection.close()

    async def _unless_stopped(self, start: Coroutine[Any, Any, T]) -> T | None:
        """What a part of the start gives; None where the run is told to end first: nothing has been done yet that would
        have to be finished, and what a start waits for may never come.
        """
        starting, stopped = asyncio.ensure_future(start), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return starting.result() if starting.done() else None
        finally:
            for each in (starting, stopped):
                each.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)

    async def _reach(self, market: Market) -> dict[str, BinanceExchange]:
        """The exchange of each symbol, once no ban holds. Raises StartError."""
        while True:
            try:
                return await connect_all(
                    market.endpoints,
                    market.credentials,
                    market.symbols,
                    market.patient,
                    self.settings.recv_window,
                    market.make,
                    held_symbols(self.settings, market.symbols) if self._store_of is None else (),
                )
            except BannedError as error:
                await wait_out(error, market.patient.sleep)

    async def _serve(self, market: Market, exchanges: Mapping[str, BinanceExchange], locks: StateLocks) -> bool:
        settings = self.settings
        async with contextlib.AsyncExitStack() as sessions:
            beginning = begin_sessions(settings, market, exchanges, sessions, self._store_of, locks.missing)
            begun = await self._unless_stopped(beginning)
            if begun is None:
                return False
            loops, absent = begun
            supervisor = Supervisor(loops)
            connection = exchanges[market.symbols[0]].connection
            stream = StreamWatch()
            self.judge = await self._signals(market, supervisor, absent)
            patient = any(loop.state.position is not None for loop in loops.values())
            for symbol, loop in loops.items():
                control = partial(Control, loop, settings.state_path(symbol))
                task = listening("control socket", control, SocketUnusable, patient=patient)
                loop.add_task("control", task, at_once=True)
            metrics = Metrics([view_of(loop) for loop in loops.values()], connection.budget, stream)
            for loop in loops.values():
                loop.on_step.append(metrics.observe)
            self.judge.on_unclaimed.append(metrics.unclaimed)
            found = add_watchdog(settings, supervisor, connection)
            add_streams(settings, market, supervisor, connection, stream, found)
            for attendant in self._beside:
                supervisor.add_task("attendant", partial(attendant.run, loops), at_once=True)
            supervisor.add_task("settle", lambda: settle_budget(supervisor, connection.budget))
            if locks.missing:
                supervisor.add_task("locks", lambda: locks.join(supervisor, market.patient.sleep))
            self.loops, self.metrics = loops, metrics
            self._supervisor = supervisor
            self._on_loops(loops)
            if self._stopping.is_set():
                supervisor.stop()
            try:
                await supervisor.run()
            finally:
                self._supervisor = None
                self.ended_bare = any(loop.ended_bare for loop in loops.values())
            return supervisor.again

    async def _signals(self, market: Market, supervisor: Supervisor, absent: Mapping[str, str]) -> SignalJudge:
        source = self._source
        if source is None:
            intake = await intake_of(self.settings, market, supervisor, absent)
            supervisor.add_task("signals", intake.run)
            return intake
        judge = SignalJudge(supervisor.loops, absent)
        supervisor.add_task("signals", lambda: source.run(judge, supervisor.loops))
        return judge


async def begin_sessions(
    settings: Settings,
    market: Market,
    exchanges: Mapping[str, BinanceExchange],
    stack: contextlib.AsyncExitStack,
    store_of: Callable[[str], FleetSymbolStore] | None = None,
    missing: Mapping[str, LockError] = {},
) -> tuple[dict[str, Loop], dict[str, str]]:
    """All at once: one that has to wait for the exchange must not keep the others waiting. Nor must one that can't be
    begun keep the others from looking after their trades: it is told of, and left out. Returns the loops, and why which
    symbols have none. Raises as `symbol_session` where none can. `store_of`: where a symbol's state is kept, if not in
    its file; `missing`: symbols whose states could not be locked, which was told.
    """
    several = len(market.symbols) + len(missing) > 1
    for each in left_behind(settings, (*market.symbols, *missing)) if store_of is None else ():
        log.error("trade_left_behind", alert=True, symbol=each.symbol, trade=each.trade, text=each.text)

    async def begin(symbol: str) -> Loop:
        if several:
            structlog.contextvars.bind_contextvars(symbol=symbol)
        context = RunContext(
            market.venue_of(symbol), market.clock, market.patient, alone=not several, store_of=store_of
        )
        return await stack.enter_async_context(symbol_session(symbol, settings.of(symbol), exchanges[symbol], context))

    begun = await asyncio.gather(*map(begin, market.symbols), return_exceptions=True)
    found = dict(zip(market.symbols, begun, strict=True))
    loops = {symbol: loop for symbol, loop in found.items() if isinstance(loop, Loop)}
    faults = {symbol: fault for symbol, fault in found.items() if isinstance(fault, BaseException)}
    for fault in faults.values():
        if not loops or not isinstance(fault, OF_ONE):
            raise fault
    for symbol, fault in faults.items():
        log.error("not_started", alert=True, symbol=symbol, error=str(fault), text="the others trade")
    _acquaint(exchanges, loops)
    keeper = next(iter(loops))
    loops[keeper].add_task("clock", partial(_keep_clock, loops[keeper], exchanges[keeper]))
    return loops, {symbol: str(fault) for symbol, fault in (*missing.items(), *faults.items())}


async def _keep_clock(loop: Loop, exchange: BinanceExchange) -> None:
    """Have the exchange's clock measured now and then: one loop of a connection does so for all."""
    while True:
        await loop.clock.sleep(loop.timing.sync_clock)
        with loop.at_work():
            try:
                await exchange.sync_clock()
            except ReadError as error:
                log.warning("clock_not_synced", error=str(error))


def _acquaint(exchanges: Mapping[str, BinanceExchange], loops: Mapping[str, Loop]) -> None:
    """The symbols of one account know what the others need of it, and on a cross account of each other's debts."""
    isolated = [
        symbol
        for symbol, exchange in exchanges.items()
        if isinstance(exchange, MarginExchange) and exchange.account.isolated
    ]
    for symbol, loop in loops.items() if len(loops) > 1 else ():
        others = {name: other.engine for name, other in loops.items() if name != symbol}
        sharing = [] if symbol in isolated else [each for name, each in others.items() if name not in isolated]
        loop.beside = partial(told_beside, list(others.values()), sharing)
    lenders = {
        symbol: exchange
        for symbol, exchange in exchanges.items()
        if isinstance(exchange, MarginExchange) and symbol in loops and symbol not in isolated
    }
    if len(lenders) > 1:
        account = CrossAccount({symbol: loops[symbol].engine for symbol in lenders})
        for symbol, exchange in lenders.items():
            exchange.neighbours = account.neighbours_of(symbol)


async def settle_budget(supervisor: Supervisor, budget: Budget) -> None:
    """The start is over once the orders are known: from then on watching may wait for its turn."""
    await supervisor.started()
    budget.hurried = False


async def wait_out(
    error: BannedError,
    sleep: Callable[[float], Awaitable[None]],
    go_on: Callable[[float], None] = lambda _: None,
) -> None:
    """Return when the ban is over. A start that ended instead would be begun anew after seconds, and each new request
    prolongs a ban, for all who share the address. `go_on` is told now and then how many seconds more are wanted.
    """
    log.error("start_waits", alert=True, seconds=round(error.wait_s), text=str(error))
    left = error.wait_s + AFTER_BAN_S
    while left > 0:
        go_on(2 * WAIT_LOOK_S + TELL_S)
        pause = min(left, WAIT_LOOK_S)
        await sleep(pause)
        left -= pause


def tell_down(account: str, error: Exception, **more: object) -> None:
    """What a start can say of itself needs no traceback."""
    say = log.error if isinstance(error, START_ERRORS) else log.exception
    say("account_down", alert=True, account=account, error=f"{type(error).__name__}: {error}", **more)
