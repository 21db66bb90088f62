"""Start-up and shutdown: from settings to a running loop, and back to a quiet exit."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from msgspec.structs import replace

from executor.config import Settings
from executor.exchange.binance import BinanceExchange, connect_all
from executor.exchange.port import BannedError, StartError
from executor.ops.alerting import Alerting, alerting
from executor.ops.alerts.alerts import Alerts
from executor.ops.metrics import StreamWatch
from executor.service import account
from executor.service.account import begin_sessions, settle_budget, wait_out
from executor.service.loop import Loop
from executor.service.market import Market, open_market, tell_addresses
from executor.service.paper_files import set_paper_files_aside
from executor.service.self_watchdog import SelfWatchdog, hang_path
from executor.service.state_locks import StateLocks
from executor.service.stop_signals import stopping_on_signals
from executor.service.store.control_socket import listener
from executor.service.store.lock import LockUnusable
from executor.service.supervisor import Supervisor
from executor.service.symbol_rules import held_symbols, trade_open
from executor.service.symbol_session import FIRST_PAUSE_S, LONGEST_PAUSE_S
from executor.service.systemd import SystemdNotifier, attend
from executor.service.wiring import add_alerts, add_inlets, add_streams, add_watchdog, intake_of, telling_the_end

log = structlog.get_logger(__name__)

START_ERRORS: Final = account.START_ERRORS


async def run(
    settings: Settings,
    on_start: Callable[[Loop], None] = lambda _: None,
    *,
    signals: bool = True,
    own_process: bool = False,
) -> Market:
    """Trade until SIGTERM or SIGINT, or until an embedded recording has ended; where it has traded. Without `signals`
    open trades are looked after, and none is taken. `on_start` is told of each symbol's loop before it runs.
    `own_process`: the process is there for this alone, and ends when a loop hangs.

    Raises one of START_ERRORS.
    """
    tell_addresses(settings)
    async with contextlib.AsyncExitStack() as markets:
        try:
            market = await markets.enter_async_context(open_market(settings))
        except StartError as error:
            await _say_unbegun(settings, error, wanted=signals)
            raise
        with StateLocks(settings, market.symbols) as locks:
            await _lock(settings, market, locks, wanted=signals)
            while await _trade(settings, market, on_start, locks, signals=signals, own_process=own_process):
                pass
        return market


async def _lock(settings: Settings, market: Market, locks: StateLocks, *, wanted: bool) -> None:
    """Take the states, or enough of them. Raises LockError; with a trade open a lock file that can't be used, as on a
    disk that takes no writes any more, is told of and tried again: a start that ends would be begun anew without a
    word.
    """
    locks.take()
    pause, told = FIRST_PAUSE_S, False
    async with contextlib.AsyncExitStack() as telling:
        while not locks.enough:
            if not isinstance(locks.fault, LockUnusable) or not (told or _unattended(settings, market)):
                raise locks.fault
            if not told:
                await telling.enter_async_context(alerting(settings, locks.held or market.symbols, wanted=wanted))
                text = "nothing is sent until it can be, and nobody looks after the open trade"
                log.error("state_unwritable", alert=True, error=str(locks.fault), waiting=text)
            told = True
            await market.patient.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            locks.take()


def _unattended(settings: Settings, market: Market) -> bool:
    """Whether a trade is open, and no other process looks after it."""
    states = [settings.state_path(symbol) for symbol in market.symbols]
    alone = market.embedded is None and not any(listener(state) is not None for state in states)
    return alone and any(trade_open(settings, symbol) for symbol in market.symbols)


async def _say_unbegun(settings: Settings, error: StartError, *, wanted: bool) -> None:
    """Whoever starts the service does so again after some seconds, and the log alone would tell: with a trade open
    people are to know that nobody looks after it.
    """
    if not any(trade_open(settings, symbol) for symbol in settings.traded):
        return
    with StateLocks(settings, settings.traded) as locks:
        locks.take()
        if not locks.enough:  # whoever has the others speaks for the trade
            return
        async with alerting(settings, locks.held, wanted=wanted) as told:
            told.alerts.tell("died", f"at its start, with a trade open: {error}")


async def _trade(
    settings: Settings,
    market: Market,
    on_start: Callable[[Loop], None],
    locks: StateLocks,
    *,
    signals: bool,
    own_process: bool,
) -> bool:
    """Trade what is locked; whether to begin anew, with more of it."""
    held = replace(market, symbols=locks.held)
    for symbol in held.symbols:
        set_paper_files_aside(settings, symbol)
    again = False
    async with alerting(settings, held.symbols, wanted=signals) as told:
        with telling_the_end(told.alerts, lambda: again):
            locks.tell()
            exchanges = await reach(settings, held)
            try:
                again = await serve(
                    settings, held, exchanges, on_start, told, locks, signals=signals, own_process=own_process
                )
            finally:
                await exchanges[held.symbols[0]].close()
    return again


async def reach(settings: Settings, market: Market) -> dict[str, BinanceExchange]:
    """The exchange of each symbol. Raises StartError; with a trade open it is tried again instead, at growing pauses,
    for a start that ends would leave it to its stops for longer. A ban is waited out in any case.
    """
    pause, told = FIRST_PAUSE_S, False
    while True:
        try:
            return await connect_all(
                market.endpoints,
                market.credentials,
                market.symbols,
                market.patient,
                settings.recv_window,
                market.make,
                held_symbols(settings, market.symbols),
            )
        except BannedError as error:
            await wait_out(error, market.patient.sleep, SystemdNotifier.of(os.environ).extend_start)
        except StartError as error:
            if not any(trade_open(settings, symbol) for symbol in market.symbols):
                raise
            if not told:
                log.error("exchange_not_reached", alert=True, text=f"{error}; stops that stand there work")
            told = True
            await market.patient.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


async def serve(
    settings: Settings,
    market: Market,
    exchanges: Mapping[str, BinanceExchange],
    on_start: Callable[[Loop], None],
    told: Alerting | None = None,
    locks: StateLocks | None = None,
    *,
    signals: bool = True,
    own_process: bool = False,
) -> bool:
    """Trade on `exchanges`, by symbol, with their states locked; whether to begin anew, with more of them. Raises as
    `run`, or what killed a part of the run.
    """
    missing = locks.missing if locks is not None else {}
    async with contextlib.AsyncExitStack() as sessions:
        loops, absent = await begin_sessions(settings, market, exchanges, sessions, missing=missing)
        supervisor = Supervisor(loops)
        connection = exchanges[market.symbols[0]].connection
        stream = StreamWatch()
        intake = await intake_of(settings, market, supervisor, absent) if signals else None
        told = told or Alerting(settings, Alerts(None, ()))
        add_inlets(settings, supervisor, connection.budget, intake, stream, told.alerts)
        add_alerts(told, supervisor)
        watchdog = SelfWatchdog(hang_path(settings.state_path(market.symbols[0]))) if own_process else None
        attend(supervisor, SystemdNotifier.of(os.environ), watchdog)
        found = add_watchdog(settings, supervisor, connection)
        add_streams(settings, market, supervisor, connection, stream, found)
        supervisor.add_task("settle", lambda: settle_budget(supervisor, connection.budget))
        if locks is not None and missing:
            supervisor.add_task("locks", lambda: locks.join(supervisor, market.patient.sleep))
        for loop in loops.values():
            on_start(loop)
        with stopping_on_signals(supervisor.stop):
            await supervisor.run()
        return supervisor.again
