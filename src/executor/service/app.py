"""Start-up and shutdown: from settings to a running loop, and back to a quiet exit."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog

from executor.config import BinanceEnv, OrderTransport, Settings, SettingsError, SignalStart
from executor.core.model.events import Commanded, Verb
from executor.core.model.state import SCHEMA_VERSION
from executor.exchange.binance import BinanceExchange, connect_all
from executor.exchange.port import ReadError, StartError
from executor.exchange.streams.market_stream import MOST_SYMBOLS, MarketStream
from executor.exchange.streams.user_stream import UserStream
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.clock import SystemClock
from executor.exchange.transport.connection import Connection
from executor.exchange.transport.order_link import OrderLink
from executor.ops.http import HttpServer, HttpUnusable
from executor.ops.metrics import Metrics, StreamWatch, View
from executor.ops.telegram import Telegram, speaking
from executor.paper.errors import PaperError
from executor.service.inlets.control import Control, SocketUnusable
from executor.service.inlets.intake import LOOK_EVERY_S, LOOK_IN_MARKET_TIME_S, Intake
from executor.service.inlets.webhook import Access, Webhook, WebhookUnusable
from executor.service.loop import Loop
from executor.service.poller import Clock
from executor.service.push_router import PushRouter, follow_trades
from executor.service.store.document import saved
from executor.service.store.journal import JournalError
from executor.service.store.lock import LockError, StateLock
from executor.service.store.state_store import StateError, StateStore
from executor.service.store.trades import trades_path
from executor.service.supervisor import Supervisor
from executor.service.symbol_session import RunContext, symbol_session
from executor.service.systemd import SystemdNotifier, attend, describe
from executor.signals.follower import SignalFollower
from executor.signals.position import PositionFile, SignalFileError

if TYPE_CHECKING:
    from executor.service.embedded import Embedded

log = structlog.get_logger(__name__)

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

OF_ONE: Final = (StateError, JournalError, ReadError)
"""Of several symbols these keep one alone from trading: its files, its orders."""

PAPER: Final = "paper"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Market(msgspec.Struct, frozen=True):
    """Where this run trades: the exchange's addresses, the keys, the symbols, and the clock that everything sleeps by.

    `venue` names the exchange in the state file. `patient` is for waiting that must not hold an embedded market up.
    """

    venue: str
    endpoints: Endpoints
    credentials: Credentials
    symbols: tuple[str, ...]
    clock: Clock
    patient: Clock
    embedded: "Embedded | None" = None

    @property
    def symbol(self) -> str:
        """The only one."""
        (symbol,) = self.symbols
        return symbol


async def run(settings: Settings, on_start: Callable[[Loop], None] = lambda _: None, *, signals: bool = True) -> Market:
    """Trade until SIGTERM or SIGINT, or until an embedded recording has ended; where it has traded. Without `signals`
    open trades are looked after, and none is taken. `on_start` is told of each symbol's loop before it runs.

    Raises one of START_ERRORS.
    """
    async with market(settings) as place, _alerts(settings, place.symbols, wanted=signals) as alerts:
        with contextlib.ExitStack() as locks:
            for symbol in place.symbols:
                locks.enter_context(StateLock(settings.state_path(symbol)))
            if place.embedded is not None:
                begin_anew(settings, place.symbol)
            exchanges = await connect_all(
                place.endpoints, place.credentials, place.symbols, place.patient, settings.recv_window
            )
            connection = exchanges[place.symbols[0]].connection
            try:
                await serve(settings, place, exchanges, on_start, alerts, signals=signals)
            finally:
                await connection.close()
        return place


@contextlib.asynccontextmanager
async def market(settings: Settings) -> AsyncIterator[Market]:
    """The embedded paper exchange, running, or the one that the settings name."""
    if settings.binance_env is BinanceEnv.PAPER:
        from executor.service.embedded import Embedded  # noqa: PLC0415  (no engine where none is embedded)

        async with Embedded(settings) as paper:
            yield Market(
                PAPER,
                paper.endpoints,
                paper.credentials,
                (paper.symbol,),
                paper.clock,
                paper.patient_clock,
                embedded=paper,
            )
        return
    urls, clock = settings.endpoints, SystemClock()
    assert urls is not None
    assert settings.traded
    if len(settings.traded) > MOST_SYMBOLS:
        raise StartError(
            f"SYMBOLS names {len(settings.traded)} symbols, must be at most {MOST_SYMBOLS} for one service"
        )
    where = Endpoints(urls.rest, urls.ws_api, urls.stream)
    env = settings.binance_env
    venue = where.rest_url if env is BinanceEnv.CUSTOM else env.value
    yield Market(venue, where, credentials(settings), settings.traded, clock, clock)


def credentials(settings: Settings) -> Credentials:
    """Raises StartError when the key file can't be read or is no key."""
    assert settings.binance_api_key is not None
    key = settings.binance_api_key.get_secret_value()
    if settings.binance_private_key_file is None:
        assert settings.binance_api_secret is not None
        return Credentials.hmac(key, settings.binance_api_secret.get_secret_value())
    passphrase = settings.binance_private_key_passphrase
    try:
        pem = settings.binance_private_key_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        name = settings.binance_private_key_file
        raise StartError(f"BINANCE_PRIVATE_KEY_FILE {name} can't be read: {type(error).__name__}") from error
    return Credentials.private_key(key, pem, passphrase.get_secret_value() if passphrase is not None else None)


def begin_anew(settings: Settings, symbol: str) -> None:
    """Each embedded run has a new account and begins at the recording's first trade: what the last one left behind is
    renamed to `*.last`. A state that is not of a paper exchange is left alone, and refused later.
    """
    state_path = settings.state_path(symbol)
    store = StateStore(state_path, schema_version=SCHEMA_VERSION)
    try:
        found = saved(state_path)
    except StateError:
        return
    if found is not None and found.value.venue != PAPER:
        return
    for path in (
        store.path,
        store.previous,
        store.write_ahead,
        settings.journal_path(symbol),
        trades_path(state_path),
        _memory(state_path),
    ):
        if path.exists():
            path.rename(path.with_name(path.name + ".last"))


async def serve(
    settings: Settings,
    place: Market,
    exchanges: Mapping[str, BinanceExchange],
    on_start: Callable[[Loop], None],
    alerts: Telegram | None = None,
    *,
    signals: bool = True,
) -> None:
    """Trade on `exchanges`, by symbol, with their states locked. Raises as `run`, or what killed a part of the run."""
    async with contextlib.AsyncExitStack() as sessions:
        loops = await _begin_sessions(settings, place, exchanges, sessions)
        supervisor = Supervisor(loops)
        connection = exchanges[place.symbols[0]].connection
        stream = StreamWatch()
        intake = _intake(settings, place, supervisor) if signals else None
        _add_inlets(settings, supervisor, connection.budget, intake, stream)
        if alerts is not None:
            _add_alerts(alerts, supervisor)
        attend(supervisor, SystemdNotifier.of(os.environ))
        _add_streams(settings, place, supervisor, connection, stream)
        supervisor.add_task("settle", lambda: _settle(supervisor, connection.budget))
        for loop in loops.values():
            on_start(loop)
        with _stop_on_signals(supervisor):
            await supervisor.run()


async def _begin_sessions(
    settings: Settings, place: Market, exchanges: Mapping[str, BinanceExchange], stack: contextlib.AsyncExitStack
) -> dict[str, Loop]:
    """All at once: one that has to wait for the exchange must not keep the others waiting. Nor must one that can't be
    begun keep the others from looking after their trades: it is told of, and left out. Raises as `symbol_session`
    where none can.
    """
    several = len(place.symbols) > 1

    async def begin(symbol: str) -> Loop:
        if several:
            structlog.contextvars.bind_contextvars(symbol=symbol)
        context = RunContext(place.venue, place.clock, place.patient, alone=not several)
        return await stack.enter_async_context(symbol_session(symbol, settings.of(symbol), exchanges[symbol], context))

    begun = await asyncio.gather(*map(begin, place.symbols), return_exceptions=True)
    found = dict(zip(place.symbols, begun, strict=True))
    loops = {symbol: loop for symbol, loop in found.items() if isinstance(loop, Loop)}
    faults = {symbol: fault for symbol, fault in found.items() if isinstance(fault, BaseException)}
    for fault in faults.values():
        if not loops or not isinstance(fault, OF_ONE):
            raise fault
    for symbol, fault in faults.items():
        log.error("not_started", alert=True, symbol=symbol, error=str(fault), text="the others trade")
    keeper = next(iter(loops))
    loops[keeper].keep_clock(exchanges[keeper].sync_clock)
    return loops


async def _settle(supervisor: Supervisor, budget: Budget) -> None:
    """The start is over once the orders are known: from then on watching may wait for its turn."""
    await supervisor.started()
    budget.hurried = False


def _add_inlets(
    settings: Settings, supervisor: Supervisor, budget: Budget, intake: Intake | None, stream: StreamWatch
) -> None:
    """The ways in: signals; for operators the control sockets, and health, metrics and status over HTTP."""
    paths = {symbol: settings.state_path(symbol) for symbol in supervisor.loops}
    if intake is not None:
        supervisor.add_task("signals", intake.run)
        if settings.webhook_port:
            access = Access.of(settings)
            webhook = Webhook(settings.webhook_host, settings.webhook_port, access, intake, settings.signal_file)
            supervisor.add_task("webhook", webhook.run)
    for symbol, loop in supervisor.loops.items():
        loop.add_task("control", Control(loop, paths[symbol]).run, at_once=True)
    if not settings.http_port:
        return
    metrics = Metrics([view_of(loop) for loop in supervisor.loops.values()], budget, stream)
    folders = {path.parent for path in paths.values()}
    server = HttpServer(settings.http_host, settings.http_port, list(supervisor.loops.values()), metrics, folders)
    for loop in supervisor.loops.values():
        loop.on_step += [metrics.observe, server.observe]
    if intake is not None:
        intake.on_unclaimed.append(metrics.unclaimed)
    supervisor.add_task("http", server.run, at_once=True)
    supervisor.add_task("lag", metrics.watch_lag, at_once=True)


def view_of(loop: Loop) -> View:
    """What metrics see of a loop."""
    return View(lambda: loop.state, lambda: loop.engine.rules)


@contextlib.asynccontextmanager
async def _alerts(settings: Settings, symbols: tuple[str, ...], *, wanted: bool) -> AsyncIterator[Telegram | None]:
    """Telegram, where it is set up; it is told of the end too, however the end comes."""
    token, chat = settings.telegram_bot_token, settings.telegram_chat_id
    if token is None or chat is None or not wanted:
        yield None
        return
    what = symbols[0] if len(symbols) == 1 else f"of {len(symbols)} symbols"
    name = f"Executor {what} ({settings.binance_env})"
    telegram = Telegram(token.get_secret_value(), chat, api=settings.telegram_api_url, name=name)
    async with speaking(telegram):
        try:
            yield telegram
        except BaseException as error:
            telegram.tell(f"stopped by {type(error).__name__}: see the log")
            raise
        telegram.tell("stopped")


def _add_alerts(alerts: Telegram, supervisor: Supervisor) -> None:
    alone = len(supervisor.loops) == 1

    async def hello() -> None:
        await supervisor.started()
        for loop in supervisor.loops.values():
            alerts.tell(f"started: {describe(loop.state, loop.engine.rules)}")

    for symbol, loop in supervisor.loops.items():
        loop.on_note.append(partial(alerts.notify, symbol="" if alone else symbol))
    supervisor.add_task("hello", hello)


def _intake(settings: Settings, place: Market, supervisor: Supervisor) -> Intake:
    memory = PositionFile(_place_kept(settings, place.symbols))
    start: Literal["begin", "end"] = "begin" if settings.signal_start is SignalStart.BEGIN else "end"
    look_every_s = LOOK_EVERY_S if isinstance(place.clock, SystemClock) else LOOK_IN_MARKET_TIME_S

    def follow() -> SignalFollower:
        return SignalFollower(settings.signal_file, start=start, memory=memory)

    return Intake(supervisor.loops, follow, place.clock, look_every_s)


def _add_streams(
    settings: Settings, place: Market, supervisor: Supervisor, connection: Connection, watch: StreamWatch
) -> None:
    """What runs beside the loops: the orders' own connection, pushes, and on paper the market itself."""
    if settings.order_transport is OrderTransport.WS:
        link = OrderLink(place.endpoints.ws_api_url, place.credentials)
        connection.link = link
        supervisor.add_transport("order link", link.run)
    if settings.user_stream:
        router = PushRouter(supervisor.loops, watch)
        stream = UserStream(
            place.endpoints.ws_api_url, place.credentials, connection, place.symbols, router.on_user_event
        )
        supervisor.add_task("user stream", stream.run)
        if place.embedded is None:  # each recorded trade would have to be waited for; a look a second costs less there
            prices = MarketStream(place.endpoints.stream_url, connection.clock, router.on_price_event)
            _follow(prices, supervisor)
            supervisor.add_task("market stream", prices.run)
    if place.embedded is not None:
        _add_recording(settings, place.embedded, supervisor.loops[place.symbol])


def _follow(prices: MarketStream, supervisor: Supervisor) -> None:
    """One symbol's prices are always there; of several, those of the open trades."""
    for symbol, loop in supervisor.loops.items():
        if len(supervisor.loops) == 1:
            prices.follow(symbol)
        else:
            follow_trades(prices, symbol, loop)


def _memory(state_path: Path) -> Path:
    """Where the signal file's reader remembers its place."""
    return state_path.with_name(state_path.name + ".signals")


def _place_kept(settings: Settings, symbols: tuple[str, ...]) -> Path:
    """One for all symbols, beside one's state: where it was kept before, whichever symbols have come or gone since."""
    paths = [_memory(settings.state_path(symbol)) for symbol in symbols]
    return next((path for path in paths if path.exists()), paths[0])


def _add_recording(settings: Settings, paper: "Embedded", loop: Loop) -> None:
    from executor.service.embedded import recorded_signals, speak  # noqa: PLC0415

    paper.replay.wait_for(lambda: loop.quiet() or paper.patient_clock.waiting > 0)
    loop.add_task("market", lambda: _play(paper, loop, pushed=settings.user_stream))
    signals = recorded_signals(settings)
    if signals is not None:
        loop.add_task("recorded signals", lambda: speak(signals, settings.signal_file, paper.clock))


async def _play(paper: "Embedded", loop: Loop, *, pushed: bool) -> None:
    """Play the recording; at its end close what is open, so that the account can be read, and stop.

    It begins when the user stream is up: how long that took is no time of the market, and must not change the run.
    """
    if pushed:
        await loop.poller.connected.wait()
    await paper.replay.run()
    log.info("recording_ended", trades=paper.replay.trades_played)
    loop.tell(Commanded(at=loop.now(), verb=Verb.PAUSE))
    after = asyncio.create_task(paper.replay.hold())
    try:
        if loop.state.position is not None:
            await loop.ask(Commanded(at=loop.now(), verb=Verb.FLATTEN))
            await loop.until(lambda state: state.position is None)
    finally:
        after.cancel()
    loop.stop()


@contextlib.contextmanager
def _stop_on_signals(supervisor: Supervisor) -> Iterator[None]:
    running = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        supervisor.stop()

    for number in _SIGNALS:
        running.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            running.remove_signal_handler(number)
