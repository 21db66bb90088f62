"""One symbol of a run: its files, its engine and its loop, from the settings that hold for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from executor.config import Settings
from executor.core.model.state import SCHEMA_VERSION, State
from executor.core.transition import empty
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError
from executor.exchange.transport.clock import LocalClock
from executor.service.engine import Engine
from executor.service.loop import Loop
from executor.service.policy import policy_of
from executor.service.poller import Timing
from executor.service.recovery import begin, catch_up
from executor.service.store.document import Document, contradiction, document_of, state_of
from executor.service.store.fleet_store import FleetSymbolStore
from executor.service.store.journal import Journal, JournalError
from executor.service.store.port import SymbolStore
from executor.service.store.state_store import STALE, Age, StateForeign, StateStore, StateUnwritable
from executor.service.store.trades import TradeList
from executor.service.symbol_rules import RulesReader

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0
"""Between two tries to reach the exchange while a trade is open."""
FIRST_TRY_S: Final = 3.0
"""So long the others of a run wait at its start for one whose orders are being read."""


class RunContext(msgspec.Struct, frozen=True):
    """What a session has in common with the others of its run. `alone`: there are none. `store_of`: where a symbol's
    state is kept in a fleet; else it is in its file.
    """

    venue: str
    clock: LocalClock
    patient: LocalClock
    alone: bool = True
    store_of: Callable[[str], FleetSymbolStore] | None = None


def _keep(store: SymbolStore, state: State, *, patient: bool) -> None:
    """Have a first state on disk at once, though nothing has happened yet: so that what stands beside it, the journal
    and the place in the signal file, has an owner. Raises StateUnwritable, unless a trade is open or `patient`: then
    the next step tries again.
    """
    if not isinstance(store, StateStore):
        return
    try:
        store.save(document_of(state))
    except StateUnwritable as error:
        if state.position is None and not patient:
            raise
        log.error("state_unwritable", alert=True, error=str(error), waiting="it is written with the next step")


@contextlib.asynccontextmanager
async def symbol_session(
    symbol: str, settings: Settings, exchange: BinanceExchange, context: RunContext
) -> AsyncIterator[Loop]:
    """The loop of `symbol` on its state, which must be locked; its files are closed at the end. `settings`: those that
    hold for this symbol. Where others wait, reads that fail or take long are gone on with by the loop itself.

    Raises StateError, JournalError, StartError, SettingsError or, alone, ReadError.
    """
    state_path = settings.state_path(symbol)
    store: SymbolStore
    owner = (0, "")
    if context.store_of is None:
        store = StateStore(state_path, schema_version=SCHEMA_VERSION)
        state, age = load_state(store, symbol, context.venue)
    else:
        store = kept = context.store_of(symbol)
        document, age = await kept.load_soon(context.venue)
        state = state_of(document) if document is not None else None
        owner = (kept.claim.epoch, kept.claim.node)
    uid = await _account(exchange, state, state_path)
    # With a trade open, what is not needed to look after it keeps nobody from doing so.
    trade_open = state is not None and state.position is not None
    reader = RulesReader(exchange, settings, state_path)
    rules = await reader.begin(trade_open=trade_open)
    trades = TradeList(settings.trades_path(symbol), patient=trade_open)
    journal = Journal(settings.journal_path(symbol), patient=trade_open)
    with _closing(journal), _closing(trades):
        if state is not None and state.last_closed is not None:
            trades.add(state.last_closed)
        policy = policy_of(settings)
        window, sleep = settings.recv_window, context.patient.sleep
        first, disk = state is None, replace(state or empty(symbol, context.venue), uid=uid)
        if first:
            read = partial(begin, exchange, disk, policy, rules, window, sleep)
        else:
            read = partial(catch_up, exchange, disk, age, policy, rules, window, sleep)
        reading = asyncio.ensure_future(_patiently(read, sleep) if trade_open or not context.alone else read())
        try:
            await asyncio.wait({reading}, timeout=None if context.alone else FIRST_TRY_S)
            engine = Engine(
                reading.result() if reading.done() else disk, policy, rules, store, journal, trades.add, owner=owner
            )
            timing = _timing(settings, together=not context.alone)
            loop = Loop(engine, exchange, context.clock, timing, reader.again, exchange.is_trading)
            if not reading.done():
                loop.catch_up = partial(_late, reading, store, first=first)
            elif first:
                _keep(store, engine.state, patient=False)
            loop.closed = trades.recent
            loop.add_task("rules kept", reader.keep)
            yield loop
        finally:
            reading.cancel()


async def _account(exchange: BinanceExchange, state: State | None, where: Path) -> int:
    """The number of the account that is traded, 0 where it is not known. Raises StateForeign where the state is of
    another one, which the exchange has to say twice (rule 8.6).
    """
    known, told = state.uid if state is not None else 0, exchange.connection.uid
    if not (known and told) or known == told:
        return told or known
    with contextlib.suppress(ReadError):
        told = await exchange.ask_uid() or known
    if told != known:
        raise StateForeign(where, f"it is of account {known}, the key is of account {told}: check keys and STATE_FN")
    return known


async def _late(reading: Awaitable[State], store: SymbolStore, *, first: bool) -> State:
    state = await reading
    if first:
        _keep(store, state, patient=True)
    return state


async def _patiently(read: Callable[[], Awaitable[State]], sleep: Callable[[float], Awaitable[None]]) -> State:
    """With a trade open, or others beside it, a read that fails ends no start: it is tried again, in growing pauses."""
    pause, told = FIRST_PAUSE_S, False
    while True:
        try:
            return await read()
        except ReadError as error:
            if not told:
                log.error("exchange_not_reached", alert=True, text=f"{error}; stops that stand there work")
            told = True
        await sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


@contextlib.contextmanager
def _closing(kept: Journal | TradeList) -> Iterator[None]:
    """A record that can't be synced at the end is told of: the state, which matters, has its own place."""
    try:
        yield
    finally:
        try:
            kept.close()
        except JournalError as error:
            log.warning("journal_not_synced", error=str(error))


def load_state(store: StateStore, symbol: str, venue: str) -> tuple[State | None, Age]:
    """The state on disk, None when there is none yet; and what is known of its age. Raises the store's errors."""

    def foreign(document: Document) -> str | None:
        if document.symbol != symbol:
            return f"it is of {document.symbol}, not of {symbol}: check SYMBOL and STATE_FN"
        if document.venue != venue:
            return f"its orders are on {document.venue!r}, not on {venue!r}: check BINANCE_ENV and STATE_FN"
        return None

    loaded = store.load(Document, foreign=foreign, unsound=contradiction)
    if loaded is None:
        return None, Age.NEWEST
    if loaded.fault == STALE:
        log.warning("state_recovered", fault=loaded.fault, used=str(store.write_ahead), unless="you take it away")
    elif loaded.fault:
        used = "the write-ahead copy" if loaded.source == "ahead" else "the state before it"
        aside = str(loaded.set_aside) if loaded.set_aside is not None else ""
        log.error("state_damaged", alert=True, fault=loaded.fault, set_aside=aside, used=used)
    return state_of(loaded.value), store.age(loaded)


def _timing(settings: Settings, *, together: bool) -> Timing:
    return Timing(
        poll=float(settings.poll_sec),
        idle_poll=float(settings.poll_idle_sec),
        recv_window_ms=settings.recv_window,
        together=together,
    )
