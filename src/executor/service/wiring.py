"""What runs beside the loops of a run, wired to them: the ways in, the streams, alerts, and on paper the market."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import structlog

from executor.config import OrderTransport, Settings, SignalStart
from executor.core.model.events import Commanded, Verb
from executor.core.model.rules import SymbolRules
from executor.exchange.streams.margin_stream import MarginUserStream
from executor.exchange.streams.market_stream import MarketStream
from executor.exchange.streams.risk_stream import RiskChanged, RiskStream
from executor.exchange.streams.user_stream import UserStream
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.clock import SystemClock
from executor.exchange.transport.connection import Connection
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.transport.supervised import Connected, Lost
from executor.ops.alerting import Alerting
from executor.ops.alerts.alerts import Alerts
from executor.ops.alerts.metrics import AlertMetrics
from executor.ops.alerts.notes import teller
from executor.ops.http import HttpServer, HttpUnusable
from executor.ops.keep_up import keep_up
from executor.ops.metrics import Metrics, StreamWatch, View
from executor.ops.page.access import PageAccess
from executor.ops.watchdog.machine import MachineWatch
from executor.ops.watchdog.rounds import Watchdog
from executor.ops.watchdog.stream import StreamProof
from executor.ops.why import remember
from executor.service.inlets.control import Control, SocketUnusable
from executor.service.inlets.intake import LOOK_EVERY_S, LOOK_IN_MARKET_TIME_S, Intake
from executor.service.inlets.webhook import Access, Webhook, WebhookUnusable
from executor.service.listening import listening
from executor.service.loop import Loop
from executor.service.margin_watch import MarginWatch, watch_of
from executor.service.market import Market
from executor.service.price_proof import Reopening
from executor.service.push_router import Feed, PushRouter, follow_trades
from executor.service.supervisor import Supervisor
from executor.service.systemd import describe, summary
from executor.signals.follower import SignalFollower
from executor.signals.position import PositionFile, position_path, written_last
from executor.worker_thread import SameThread

if TYPE_CHECKING:
    from executor.service.embedded import Embedded

log = structlog.get_logger(__name__)

LONG_KEY: Final = 32
"""The exchange's have twice as many characters: four of them give nothing away."""

# --- the ways in ------------------------------------------------------------------------------------------------------


async def intake_of(
    settings: Settings, market: Market, supervisor: Supervisor, absent: Mapping[str, str] | None = None
) -> Intake:
    """`absent`: symbols that could not be begun, and why. Raises SignalFileError, as `Intake.begin`."""
    memory = _kept_position(settings, market.symbols)
    start: Literal["begin", "end"] = "begin" if settings.signal_start is SignalStart.BEGIN else "end"
    recorded = not isinstance(market.clock, SystemClock)
    look_every_s = LOOK_IN_MARKET_TIME_S if recorded else LOOK_EVERY_S
    worker = SameThread() if recorded else None

    def follow() -> SignalFollower:
        seconds = lambda: market.clock.now_ms() / 1000  # noqa: E731  (the market's time, where that is a recording's)
        return SignalFollower(settings.signal_file, start=start, memory=memory, monotonic=seconds)

    intake = Intake(supervisor.loops, follow, market.clock, look_every_s, absent, worker)
    await intake.begin()
    return intake


def _kept_position(settings: Settings, symbols: tuple[str, ...]) -> PositionFile:
    """One for all symbols, beside one's state: where it was kept before, whichever of them have come or gone since. One
    that is left out of this run (rule 9.4) may have it: then it is read there once, and kept by the run's own.
    """
    own = written_last(map(settings.state_path, symbols))
    before = None if own is not None else written_last(map(settings.state_path, settings.traded))
    return PositionFile(own or position_path(settings.state_path(symbols[0])), before)


def add_inlets(
    settings: Settings,
    supervisor: Supervisor,
    budget: Budget,
    intake: Intake | None,
    stream: StreamWatch,
    alerts: Alerts,
) -> None:
    """The ways in: signals; for operators the control sockets, and health, metrics and status over HTTP."""
    paths = {symbol: settings.state_path(symbol) for symbol in supervisor.loops}
    patient = any(loop.state.position is not None for loop in supervisor.loops.values())
    if settings.http_port:
        _add_http(settings, supervisor, budget, intake, stream, alerts, patient=patient)
    if intake is not None:
        supervisor.add_task("signals", intake.run)
        if settings.webhook_port:
            access, port = Access.of(settings), settings.webhook_port
            hook = partial(Webhook, settings.webhook_host, port, access, intake, settings.signal_file)
            supervisor.add_task("webhook", listening("webhook", hook, WebhookUnusable, patient=patient))
    for symbol, loop in supervisor.loops.items():
        control = partial(Control, loop, paths[symbol])
        loop.add_task("control", listening("control socket", control, SocketUnusable, patient=patient), at_once=True)


def _add_http(
    settings: Settings,
    supervisor: Supervisor,
    budget: Budget,
    intake: Intake | None,
    stream: StreamWatch,
    alerts: Alerts,
    *,
    patient: bool,
) -> None:
    loops = list(supervisor.loops.values())
    metrics = Metrics([view_of(loop) for loop in loops], budget, stream)
    metrics.registry.register(AlertMetrics(alerts))
    folders = {settings.state_path(symbol).parent for symbol in supervisor.loops}
    readers = PageAccess.of(settings)

    def serve() -> HttpServer:
        host, port = settings.http_host, settings.http_port
        server = HttpServer(host, port, loops, metrics, folders, access=readers, alerts=alerts)
        for loop in loops:
            loop.on_step.append(server.observe)
        return server

    http = listening("http", serve, HttpUnusable, patient=patient)
    for loop in loops:
        loop.on_step.append(metrics.observe)
    if intake is not None:
        intake.on_unclaimed.append(metrics.unclaimed)
    supervisor.add_task("http", http, at_once=True)
    supervisor.add_task("lag", metrics.watch_lag, at_once=True)


def view_of(loop: Loop) -> View:
    """What metrics see of a loop."""
    return View(lambda: loop.state, lambda: loop.engine.rules)


# --- alerts -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def telling_the_end(alerts: Alerts, again: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Have the end told, however it comes; none where it is to begin `again`."""
    try:
        yield
    except asyncio.CancelledError:
        alerts.tell("stopped", "")
        raise
    except BaseException as error:
        alerts.tell("died", f"{type(error).__name__}: see the log")
        raise
    if not again():
        alerts.tell("stopped", "")


def add_alerts(alerting: Alerting, supervisor: Supervisor) -> None:
    """What the engines note is told; a word when all are up; commands from the chat, and the day's summary."""
    alerts = alerting.alerts

    async def hello() -> None:
        await supervisor.started()
        words = {symbol: describe(loop.state, loop.engine.rules) for symbol, loop in supervisor.loops.items()}
        alerts.tell("started", summary(words, len(words)))

    for loop in supervisor.loops.values():
        loop.engine.on_decided.append(teller(alerts, partial(_rules_of, loop)))
        if alerting.pictures is not None:
            loop.on_step.append(alerting.pictures.observe)
        if alerting.hears:
            remember(loop)
    supervisor.add_task("hello", hello)
    if alerts.senders:
        supervisor.add_task("daily summary", keep_up("daily summary", alerting.daily(supervisor.loops).run))
    listener = alerting.listen(supervisor.loops)
    if listener is not None:
        supervisor.add_task("telegram commands", keep_up("telegram commands", listener.run))


def _rules_of(loop: Loop) -> SymbolRules:
    return loop.engine.rules


# --- the watchdog -----------------------------------------------------------------------------------------------------


def add_watchdog(settings: Settings, supervisor: Supervisor, connection: Connection) -> Watchdog | None:
    """What compares the state with the exchange, and looks at what all trades stand on; None where it is off. Whether
    the exchange answers and takes the key is looked at in any case.
    """
    every_s = float(settings.watchdog_every_sec)
    loops = supervisor.loops
    first = next(iter(loops.values()))
    clock = first.clock
    folders = {settings.state_path(symbol).parent for symbol in loops}
    machine = MachineWatch(connection, clock, folders, first.at_work, key_of(settings))
    supervisor.add_task("answers", keep_up("answers", machine.run, clock.sleep))
    if not every_s:
        return None
    watchdog = Watchdog(loops, connection.budget, every_s)
    watchdog.before_round.append(machine.round)
    supervisor.add_task("watchdog", keep_up("watchdog", watchdog.run, clock.sleep))
    return watchdog


def key_of(settings: Settings) -> str:
    """Which key, so that it is found on the exchange's page: the setting, and how a long one ends."""
    key = "" if settings.binance_api_key is None else settings.binance_api_key.get_secret_value()
    end = f" (…{key[-4:]})" if len(key) >= LONG_KEY else ""
    return f"BINANCE_API_KEY{end}"


# --- streams ----------------------------------------------------------------------------------------------------------


def add_streams(
    settings: Settings,
    market: Market,
    supervisor: Supervisor,
    connection: Connection,
    watch: StreamWatch,
    watchdog: Watchdog | None,
) -> None:
    """What runs beside the loops: the orders' own connection, pushes, and on paper the market itself."""
    watches = add_margin_watch(market, supervisor, connection)
    if settings.order_transport is OrderTransport.WS and not market.margin:  # margin's orders go over REST alone
        link = OrderLink(market.endpoints.ws_api_url, market.credentials)
        connection.link = link
        supervisor.add_transport("order link", link.run)
    if settings.user_stream:
        router = PushRouter(supervisor.loops, watch)
        if watchdog is not None:
            router.on_event.append(watchdog.hear)
        stream = _user_stream(market, supervisor, connection, router, watches)
        stream.gives_way = router.prefers
        supervisor.add_task("user stream", stream.run)
        if watchdog is not None:
            proof = StreamProof(supervisor.loops, stream.reopen)
            router.on_event.append(proof.hear)
            supervisor.add_task("stream proof", keep_up("stream proof", proof.run, market.clock.sleep))
        if market.embedded is None:  # each recorded trade would have to be waited for; a look a second costs less there
            prices = MarketStream(market.endpoints.stream_url, connection.clock, router.on_price_event)
            prices.gives_way = router.prefers
            _follow(prices, supervisor)
            supervisor.add_task("market stream", prices.run)
    if market.embedded is not None:
        _add_recording(settings, market.embedded, supervisor.loops[market.symbol])


def _user_stream(
    market: Market, supervisor: Supervisor, connection: Connection, router: PushRouter, watches: list[MarginWatch]
) -> UserStream:
    url, keys, symbols = market.endpoints.ws_api_url, market.credentials, tuple(supervisor.loops)
    if not market.margin:
        return UserStream(url, keys, connection, symbols, router.on_user_event)

    def look() -> None:
        for watch in watches:
            watch.look_now()

    return MarginUserStream(
        url,
        keys,
        connection,
        symbols,
        router.on_user_event,
        accounts=[market.margin[symbol] for symbol in symbols],
        sleep=market.clock.sleep,
        on_risk=look,
    )


def add_margin_watch(market: Market, supervisor: Supervisor, connection: Connection) -> list[MarginWatch]:
    """What looks at margin accounts while anything is owed; and the risk stream, where one of them is a cross one."""
    watches = {symbol: watch for symbol, loop in supervisor.loops.items() if (watch := watch_of(loop)) is not None}
    cross = [watch for symbol, watch in watches.items() if not market.margin[symbol].isolated]
    if cross and market.risk_url:

        def told(event: RiskChanged | Connected | Lost) -> None:
            for watch in cross:
                watch.on_risk_event(event)

        stream = RiskStream(market.risk_url, connection, told, sleep=market.clock.sleep)
        supervisor.add_task("risk stream", stream.run)
    return list(watches.values())


def _follow(prices: MarketStream, supervisor: Supervisor) -> None:
    """One symbol's prices are always there; of several, those of the open trades."""
    reopening = Reopening(prices.reopen)
    for symbol, loop in supervisor.loops.items():
        if len(supervisor.loops) == 1:
            prices.follow(symbol)
        else:
            follow_trades(prices, symbol, loop)
        loop.poller.price_proof.feed = Feed(prices, symbol, reopening)


# --- the embedded market ----------------------------------------------------------------------------------------------


def _add_recording(settings: Settings, paper: "Embedded", loop: Loop) -> None:
    from executor.service.embedded import recorded_signals, speak  # noqa: PLC0415

    paper.replay.wait_for(lambda: loop.quiet() or paper.patient_clock.waiting > 0)
    loop.add_task("market", lambda: _play(paper, loop, pushed=settings.user_stream))
    signals = recorded_signals(settings)
    if signals is not None:
        loop.add_task("recorded signals", lambda: speak(signals, settings.signal_file, paper.replay, paper.clock))


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
