"""Start-up and shutdown: from settings to a running loop, and back to a quiet exit."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from executor.config import BinanceEnv, OrderTransport, Settings, SettingsError, SignalStart
from executor.core.events import Commanded, Verb
from executor.core.facts import OrderReport, Quote
from executor.core.rules import SymbolRules
from executor.core.state import SCHEMA_VERSION, State
from executor.core.transition import empty
from executor.exchange.auth import Credentials, Endpoints
from executor.exchange.binance import BinanceExchange, connect
from executor.exchange.clock import SystemClock
from executor.exchange.market_stream import MarketStream
from executor.exchange.order_link import OrderLink
from executor.exchange.port import ReadError, StartError
from executor.exchange.stream import Connected, Lost
from executor.exchange.user_stream import UserEvent, UserStream
from executor.ops.http import HttpServer, HttpUnusable
from executor.ops.metrics import Metrics, StreamWatch
from executor.ops.telegram import Telegram, speaking
from executor.paper.recording import RecordingError
from executor.paper.server.server import PortInUse
from executor.service.control import Control, SocketUnusable
from executor.service.desk import Desk
from executor.service.document import Document, contradiction, state_of
from executor.service.embedded import Embedded, EmbeddedError, recorded_signals, speak
from executor.service.intake import LOOK_EVERY_S, LOOK_IN_MARKET_TIME_S, Intake
from executor.service.journal import Journal, JournalError
from executor.service.lock import LockError, StateLock
from executor.service.loop import Loop
from executor.service.notify import Supervisor, attend, describe
from executor.service.policy import own_filters, policy_of
from executor.service.rebuild import catch_up, from_exchange
from executor.service.store import STALE, StateError, StateStore
from executor.service.trades import TradeList, trades_path
from executor.service.watch import Clock, Timing
from executor.service.webhook import Access, Webhook, WebhookUnusable
from executor.signals.follower import SignalFollower
from executor.signals.position import PositionFile, SignalFileError

log = structlog.get_logger(__name__)

START_ERRORS: Final = (
    StartError,
    ReadError,
    EmbeddedError,
    RecordingError,
    PortInUse,
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

PAPER: Final = "paper"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Market(msgspec.Struct, frozen=True):
    """Where this run trades: the exchange's addresses, the keys, the symbol, and the clock that everything sleeps by.

    `venue` names the exchange in the state file. `patient` is for waiting that must not hold an embedded market up.
    """

    venue: str
    endpoints: Endpoints
    credentials: Credentials
    symbol: str
    clock: Clock
    patient: Clock
    embedded: Embedded | None = None


async def run(settings: Settings, on_start: Callable[[Loop], None] = lambda _: None, *, signals: bool = True) -> Market:
    """Trade until SIGTERM or SIGINT, or until an embedded recording has ended; where it has traded. Without `signals`
    the open trade is looked after, and none is taken.

    Raises one of START_ERRORS.
    """
    async with market(settings) as place, _alerts(settings, place.symbol, wanted=signals) as alerts:
        state_path = settings.state_path(place.symbol)
        with StateLock(state_path):
            if place.embedded is not None:
                begin_anew(settings, place.symbol)
            exchange = await connect(
                place.endpoints, place.credentials, place.symbol, place.patient, settings.recv_window
            )
            try:
                await trade(settings, place, exchange, state_path, on_start, alerts, signals=signals)
            finally:
                await exchange.close()
        return place


@contextlib.asynccontextmanager
async def market(settings: Settings) -> AsyncIterator[Market]:
    """The embedded paper exchange, running, or the one that the settings name."""
    if settings.binance_env is BinanceEnv.PAPER:
        async with Embedded(settings) as paper:
            yield Market(
                PAPER,
                paper.endpoints,
                paper.credentials,
                paper.symbol,
                paper.clock,
                paper.patient_clock,
                embedded=paper,
            )
        return
    urls, clock = settings.endpoints, SystemClock()
    assert urls is not None
    assert settings.symbol is not None
    where = Endpoints(urls.rest, urls.ws_api, urls.stream)
    env = settings.binance_env
    venue = where.rest_url if env is BinanceEnv.CUSTOM else env.value
    yield Market(venue, where, credentials(settings), settings.symbol, clock, clock)


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
        found = store.peek(Document)
    except StateError:
        return
    if found is not None and found.value.venue != PAPER:
        return
    for path in (
        store.path,
        store.previous,
        store.ahead,
        settings.journal_path(symbol),
        trades_path(state_path),
        _memory(state_path),
    ):
        if path.exists():
            path.rename(path.with_name(path.name + ".last"))


def load_state(store: StateStore, symbol: str, venue: str) -> tuple[State | None, bool]:
    """The state on disk, None when there is none yet; and whether newer ones were lost. Raises the store's errors."""

    def foreign(document: Document) -> str | None:
        if document.symbol != symbol:
            return f"it is of {document.symbol}, not of {symbol}: check SYMBOL and STATE_FN"
        if document.venue != venue:
            return f"its orders are on {document.venue!r}, not on {venue!r}: check BINANCE_ENV and STATE_FN"
        return None

    loaded = store.load(Document, foreign=foreign, unsound=contradiction)
    if loaded is None:
        return None, False
    if loaded.fault == STALE:
        log.warning("state_recovered", fault=loaded.fault, used="the write-ahead copy")
    elif loaded.fault:
        used = "the write-ahead copy" if loaded.source == "ahead" else "the state before it"
        aside = str(loaded.set_aside) if loaded.set_aside is not None else ""
        log.error("state_damaged", alert=True, fault=loaded.fault, set_aside=aside, used=used)
    return state_of(loaded.value), loaded.source == "previous"


async def trade(
    settings: Settings,
    place: Market,
    exchange: BinanceExchange,
    state_path: Path,
    on_start: Callable[[Loop], None],
    alerts: Telegram | None = None,
    *,
    signals: bool = True,
) -> None:
    store = StateStore(state_path, schema_version=SCHEMA_VERSION)
    state, lost = load_state(store, place.symbol, place.venue)
    rules = own_filters(await exchange.rules(), settings)
    trades = TradeList(trades_path(state_path))
    journal = Journal(settings.journal_path(place.symbol))
    with contextlib.closing(journal), contextlib.closing(trades):
        if state is not None and state.last_closed is not None:
            trades.add(state.last_closed)
        policy = policy_of(settings)
        if state is None:
            state = await from_exchange(exchange, empty(place.symbol, place.venue), policy, rules)
        elif lost:
            state = await catch_up(exchange, state, policy, rules, settings.recv_window, place.patient.sleep)
        desk = Desk(state, policy, rules, store, journal, trades.add)
        loop = Loop(desk, exchange, place.clock, _timing(settings), _reload(exchange, settings), exchange.sync_clock)
        stream = StreamWatch()
        if signals:
            _listen_for_signals(settings, loop, _intake(settings, place, loop, state_path))
        _doors(settings, exchange, loop, state_path, stream)
        if alerts is not None:
            _tell(alerts, loop)
        attend(loop, Supervisor.of(os.environ))
        _beside(settings, place, exchange, loop, stream)
        loop.beside("settle", exchange.settle)
        on_start(loop)
        with _stop_on_signals(loop):
            try:
                await loop.run()
            finally:
                desk.settle()


def _timing(settings: Settings) -> Timing:
    return Timing(
        poll=float(settings.poll_sec), idle_poll=float(settings.poll_idle_sec), recv_window_ms=settings.recv_window
    )


def _reload(exchange: BinanceExchange, settings: Settings) -> Callable[[], Coroutine[Any, Any, SymbolRules]]:
    async def reload() -> SymbolRules:
        return own_filters(await exchange.rules(), settings)

    return reload


def _doors(settings: Settings, exchange: BinanceExchange, loop: Loop, state_path: Path, stream: StreamWatch) -> None:
    """The ways in for operators: the control socket; health, metrics and status over HTTP."""
    loop.beside("control", Control(loop, state_path).run, at_once=True)
    if not settings.http_port:
        return
    metrics = Metrics(lambda: loop.state, lambda: loop.desk.rules, exchange.connection.budget, stream)
    server = HttpServer(settings.http_host, settings.http_port, loop, metrics, state_path)
    loop.on_step += [metrics.hear, server.hear]
    loop.beside("http", server.run, at_once=True)
    loop.beside("lag", metrics.watch_lag, at_once=True)


def _listen_for_signals(settings: Settings, loop: Loop, intake: Intake) -> None:
    loop.beside("signals", intake.run)
    if settings.webhook_port:
        access = Access.of(settings)
        webhook = Webhook(settings.webhook_host, settings.webhook_port, access, loop, intake, settings.signal_file)
        loop.beside("webhook", webhook.run)


@contextlib.asynccontextmanager
async def _alerts(settings: Settings, symbol: str, *, wanted: bool) -> AsyncIterator[Telegram | None]:
    """Telegram, where it is set up; it hears of the end too, however the end comes."""
    token, chat = settings.telegram_bot_token, settings.telegram_chat_id
    if token is None or chat is None or not wanted:
        yield None
        return
    name = f"Executor {symbol} ({settings.binance_env})"
    telegram = Telegram(token.get_secret_value(), chat, api=settings.telegram_api_url, name=name)
    async with speaking(telegram):
        try:
            yield telegram
        except BaseException as error:
            telegram.tell(f"stopped by {type(error).__name__}: see the log")
            raise
        telegram.tell("stopped")


def _tell(alerts: Telegram, loop: Loop) -> None:
    async def hello() -> None:
        alerts.tell(f"started: {describe(loop.state, loop.desk.rules)}")

    loop.on_note.append(alerts.hear)
    loop.beside("hello", hello)


def _intake(settings: Settings, place: Market, loop: Loop, state_path: Path) -> Intake:
    memory = PositionFile(_memory(state_path))
    start: Literal["begin", "end"] = "begin" if settings.signal_start is SignalStart.BEGIN else "end"
    look_every_s = LOOK_EVERY_S if isinstance(place.clock, SystemClock) else LOOK_IN_MARKET_TIME_S

    def follow() -> SignalFollower:
        return SignalFollower(settings.signal_file, start=start, memory=memory)

    return Intake(loop, follow, place.clock, look_every_s)


def _beside(settings: Settings, place: Market, exchange: BinanceExchange, loop: Loop, watch: StreamWatch) -> None:
    """What runs beside the loop: the orders' own connection, pushes, and on paper the market itself."""
    if settings.order_transport is OrderTransport.WS:
        link = OrderLink(place.endpoints.ws_api_url, place.credentials)
        exchange.connection.link = link
        loop.beside("order link", link.run, at_once=True)
    if settings.user_stream:
        stream = UserStream(
            place.endpoints.ws_api_url, place.credentials, exchange.connection, place.symbol, _hear(loop, watch)
        )
        loop.beside("user stream", stream.run)
        if place.embedded is None:  # each recorded trade would have to be waited for; a look a second costs less there
            prices = MarketStream(
                place.endpoints.stream_url, place.symbol, exchange.connection.clock, _hear_prices(loop)
            )
            loop.beside("market stream", prices.run)
    if place.embedded is not None:
        _beside_paper(settings, place.embedded, loop)


def _memory(state_path: Path) -> Path:
    """Where the signal file's reader remembers its place."""
    return state_path.with_name(state_path.name + ".signals")


def _beside_paper(settings: Settings, paper: Embedded, loop: Loop) -> None:
    paper.replay.wait_for(lambda: loop.quiet() or paper.patient_clock.waiting > 0)
    loop.beside("market", lambda: _play(paper, loop, pushed=settings.user_stream))
    signals = recorded_signals(settings)
    if signals is not None:
        loop.beside("recorded signals", lambda: speak(signals, settings.signal_file, paper.clock))


async def _play(paper: Embedded, loop: Loop, *, pushed: bool) -> None:
    """Play the recording; at its end close what is open, so that the account can be read, and stop.

    It begins when the user stream is up: how long that took is no time of the market, and must not change the run.
    """
    if pushed:
        await loop.watch.connected.wait()
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


def _hear(loop: Loop, watch: StreamWatch) -> Callable[[UserEvent | Connected | Lost], None]:
    def hear(event: UserEvent | Connected | Lost) -> None:
        watch.hear(event)
        match event:
            case OrderReport() | Connected() | Lost():
                _say(event, "user")
                loop.watch.hear_user(event)
            case _:
                pass  # balances are asked for when they matter

    return hear


def _hear_prices(loop: Loop) -> Callable[[Quote | Connected | Lost], None]:
    def hear(event: Quote | Connected | Lost) -> None:
        _say(event, "market")
        loop.watch.hear_price(event)

    return hear


def _say(event: object, stream: str) -> None:
    match event:
        case Connected():
            log.info("stream_connected", stream=stream)
        case Lost():
            log.warning("stream_lost", stream=stream, reason=event.reason)
        case _:
            pass  # it speaks for itself


@contextlib.contextmanager
def _stop_on_signals(loop: Loop) -> Iterator[None]:
    running = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        loop.stop()

    for number in _SIGNALS:
        running.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            running.remove_signal_handler(number)
