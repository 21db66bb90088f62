"""One symbol of a run: its files, its engine and its loop, from the settings that hold for it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Final

import msgspec
import structlog

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
from executor.service.store.state_store import STALE, Age, StateStore, StateUnwritable
from executor.service.store.trades import TradeList
from executor.service.symbol_rules import RulesReader

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0
"""Between two tries to reach the exchange while a trade is open."""
TRIES_BESIDE_OTHERS: Final = 4


class RunContext(msgspec.Struct, frozen=True):
    """What a session has in common with the others of its run. `alone`: there are none. `store_of`: where a symbol's
    state is kept in a fleet; else it is in its file.
    """

    venue: str
    clock: LocalClock
    patient: LocalClock
    alone: bool = True
    store_of: Callable[[str], FleetSymbolStore] | None = None


def _keep(store: StateStore, state: State) -> None:
    """Have a first state on disk at once, though nothing has happened yet: so that what stands beside it, the journal
    and the place in the signal file, has an owner. Raises StateUnwritable, unless a trade is open: then the next step
    tries again.
    """
    try:
        store.save(document_of(state))
    except StateUnwritable as error:
        if state.position is None:
            raise
        log.error("state_unwritable", alert=True, error=str(error), waiting="it is written with the next step")


@contextlib.asynccontextmanager
async def symbol_session(
    symbol: str, settings: Settings, exchange: BinanceExchange, context: RunContext
) -> AsyncIterator[Loop]:
    """The loop of `symbol` on its state, which must be locked; its files are closed at the end. `settings`: those that
    hold for this symbol.

    Raises StateError, JournalError, StartError, SettingsError or ReadError.
    """
    state_path = settings.state_path(symbol)
    store: SymbolStore
    owner = (0, "")
    if context.store_of is None:
        store = StateStore(state_path, schema_version=SCHEMA_VERSION)
        state, age = load_state(store, symbol, context.venue)
    else:
        store = kept = context.store_of(symbol)
        document, age = await kept.load(context.venue)
        state = state_of(document) if document is not None else None
        owner = (kept.claim.epoch, kept.claim.node)
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
        first = state is None
        if state is None:
            state = await begin(exchange, empty(symbol, context.venue), policy, rules, window, sleep)
        else:
            again = partial(catch_up, exchange, state, age, policy, rules, window, sleep)
            state = await (_patiently(again, sleep, alone=context.alone) if trade_open else again())
        engine = Engine(state, policy, rules, store, journal, trades.add, owner=owner)
        if first and isinstance(store, StateStore):
            _keep(store, state)
        timing = _timing(settings, together=not context.alone)
        loop = Loop(engine, exchange, context.clock, timing, reader.again, exchange.is_trading)
        loop.closed = trades.recent
        loop.add_task("rules kept", reader.keep)
        yield loop


async def _patiently(
    catch_up: Callable[[], Awaitable[State]], sleep: Callable[[float], Awaitable[None]], *, alone: bool
) -> State:
    """With a trade open a read that fails ends no start: it is tried again, in growing pauses. Where other symbols wait
    for it, not for ever. Raises ReadError.
    """
    tries, pause = 1, FIRST_PAUSE_S
    while True:
        try:
            return await catch_up()
        except ReadError as error:
            if not alone and tries >= TRIES_BESIDE_OTHERS:
                raise
            if tries == 1:
                log.error("exchange_not_reached", alert=True, text=f"{error}; stops that stand there work")
        await sleep(pause)
        tries, pause = tries + 1, min(2 * pause, LONGEST_PAUSE_S)


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
