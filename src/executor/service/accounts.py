"""A process that trades several accounts, or is a node of a fleet: what it has once, and its accounts side by side.

A fault of one account leaves the others alone: it is told of, and the account is begun anew, each time a little later.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

import structlog
from prometheus_client.registry import Collector

from executor.config import Settings, SignalStart
from executor.core.model.signal import Signal
from executor.core.model.verdict import Refusal, Verdict
from executor.files import make_folder
from executor.ops.alerting import Alerting, alerting, outbox_of
from executor.ops.alerts.metrics import AlertMetrics
from executor.ops.http_accounts import AccountsHttp
from executor.ops.keep_up import keep_up
from executor.ops.page.access import PageAccess
from executor.ops.page.accounts import AccountPages
from executor.ops.telegram.listener import Listener
from executor.ops.telegram.place import Keeper
from executor.service.account import AccountRun, Attendant, tell_down
from executor.service.account_alerts import AccountAlerts
from executor.service.fleet.alert_share import AlertShare
from executor.service.fleet.bot_seat import BotReader
from executor.service.fleet.commands import StoredCommands
from executor.service.fleet.digest import digest_of
from executor.service.fleet.metrics import FleetMetrics
from executor.service.fleet.node import FleetNode
from executor.service.fleet.opening import open_etcd
from executor.service.fleet.operator import Operator
from executor.service.fleet.reach import probing
from executor.service.fleet.signals import FileRelay, SignalPoster, StoredSignals, takers
from executor.service.fleet.stored_traded import StoredTraded
from executor.service.inlets.file_threads import FileThreads
from executor.service.inlets.webhook import Access, NobodyTakesError, NotKeptError, Webhook
from executor.service.loop import Loop
from executor.service.self_watchdog import SelfWatchdog, hang_path
from executor.service.state_folders import alone
from executor.service.stop_signals import stopping_on_signals
from executor.service.store.etcd import Etcd, EtcdError
from executor.service.store.fleet_store import FleetSymbolStore
from executor.service.systemd import BEATS_IN_LIMIT, SystemdNotifier
from executor.service.unsure import WhileUnsure
from executor.service.wiring import telling_the_end
from executor.signals.follower import SignalFollower
from executor.signals.parse import Malformed
from executor.signals.position import PositionFile, SignalFileError, position_path

log = structlog.get_logger(__name__)

AGAIN_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
LONG_LIFE_S: Final = 300.0
"""An account that was traded for so long begins anew at once."""

Keep = Callable[[bytes, Signal], Awaitable[bool]]
Task = Callable[[], Coroutine[Any, Any, None]]


async def run_accounts(
    settings: Settings,
    accounts: Mapping[str, Settings],
    on_start: Callable[[Loop], None] = lambda _: None,
    left_out: Mapping[str, str] = {},
) -> bool:
    """Trade all `accounts` until SIGTERM or SIGINT; in a fleet, those of them that this node owns. `left_out`: others,
    and why their settings can't be used. Whether anything was left without a stop (rule 9.5); in a fleet, of an account
    that nobody else owns by then. Raises one of `app.START_ERRORS`.
    """
    first = next(iter(accounts.values()))
    make_folder(first.state_path(first.traded[0]).parent)
    states = [own.state_path(symbol) for own in accounts.values() for symbol in own.traded]
    node = settings.fleet_node or socket.gethostname()
    whose = f"on {node}" if settings.fleet else f"of {len(accounts)} accounts"
    with alone(settings, accounts, outbox_of(states)):
        async with alerting(first, first.traded, wanted=True, states=states, whose=whose) as told:
            for account, why in left_out.items():
                log.error("account_left_out", alert=True, account=account, text=f"left out: {why}")
            with telling_the_end(told.alerts):
                trade = _in_a_fleet if settings.fleet else _on_files
                return await trade(settings, accounts, on_start, told)


# --- with files -------------------------------------------------------------------------------------------------------


class _Kept:
    """An account that is begun anew whenever it ends otherwise than it was told to. `ended_bare`: of the last run
    that has traded.
    """

    def __init__(self, settings: Settings, begin: Callable[[], AccountRun]) -> None:
        self.run: AccountRun | None = None
        self.ended_bare = False
        self._settings = settings
        self._begin = begin
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()
        if self.run is not None:
            self.run.stop()

    async def keep(self) -> None:
        """Until `stop`."""
        times = 0
        while not self._stop.is_set():
            began = monotonic()
            self.run = run = self._begin()
            try:
                await run.run()
            except Exception as error:  # noqa: BLE001  # whatever befell one account, the others trade on
                if monotonic() - began > LONG_LIFE_S:
                    times = 0
                again_s = AGAIN_S[min(times, len(AGAIN_S) - 1)]
                times += 1
                tell_down(self._settings.account, error, again_s=again_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(again_s):
                        await self._stop.wait()
            finally:
                self.run = None
                if run.ended_bare is not None:
                    self.ended_bare = run.ended_bare


async def _on_files(
    settings: Settings, accounts: Mapping[str, Settings], on_start: Callable[[Loop], None], told: Alerting
) -> bool:
    def runs() -> dict[str, AccountRun]:
        return {name: each.run for name, each in kept.items() if each.run is not None}

    voice = AccountAlerts(told, accounts, lambda: loops_of(runs()))
    pages = AccountPages(told.alerts) if settings.http_port else None

    def begin(name: str) -> AccountRun:
        begun = partial(_begun, voice, name, on_start)
        return AccountRun(accounts[name], on_loops=begun, beside=_attendants(voice, pages, name))

    kept = {name: _Kept(own, partial(begin, name)) for name, own in accounts.items()}
    files = FileThreads()

    async def keep(line: bytes, signal: Signal) -> bool:
        """Into the file that each account follows, once where several follow the same."""
        found = takers(signal, accounts)
        if not found:
            raise NobodyTakesError(f"no account trades {signal.symbol or 'a single symbol'}")
        try:
            for file in dict.fromkeys(accounts[name].signal_file for name in found):
                await files.append(file, line)
        except SignalFileError as error:
            raise NotKeptError(str(error)) from error
        return True

    def end() -> None:
        for each in kept.values():
            each.stop()

    hang = hang_path(_beside_the_first(accounts, "accounts"))
    process = _Process(runs, end, hang)
    process.serve(settings, keep, [AlertMetrics(told.alerts)], pages)
    listener = told.listen_for(voice.traded)
    heard = [] if listener is None else [keep_up("telegram commands", listener.run)]
    try:
        await process.run([each.keep for each in kept.values()], beside=[*_told(voice), *heard])
    finally:
        files.close()
    return any(each.ended_bare for each in kept.values())


# --- in a fleet -------------------------------------------------------------------------------------------------------


async def _in_a_fleet(
    settings: Settings, accounts: Mapping[str, Settings], on_start: Callable[[Loop], None], told: Alerting
) -> bool:
    etcd = open_etcd(settings)
    pages = AccountPages(told.alerts) if settings.http_port else None
    try:

        def run_of(account: str, store_of: Callable[[str], FleetSymbolStore]) -> AccountRun:
            made: list[FleetSymbolStore] = []

            def kept(symbol: str) -> FleetSymbolStore:
                made.append(store_of(symbol))
                return made[-1]

            signals = StoredSignals(etcd, node.keys, account)
            commands = StoredCommands(etcd, node.keys, lambda: made[0].claim)
            begun = partial(_begun, voice, account, on_start)
            beside = (commands, *_attendants(voice, pages, account))
            return AccountRun(accounts[account], kept, signals, begun, beside)

        node = FleetNode(
            settings,
            accounts,
            etcd,
            run_of,
            lambda: probing(accounts.values()),
            digests={name: digest_of(own) for name, own in accounts.items()},
            memory=_beside_the_first(accounts, "fleet-seen.json"),
        )
        poster = SignalPoster(etcd, node.keys, accounts)

        async def keep(line: bytes, signal: Signal) -> bool:
            try:
                return bool((await poster.put(line, signal)).fresh)
            except EtcdError as error:
                raise NotKeptError(str(error)) from error

        def runs() -> dict[str, AccountRun]:
            return {name: owned.run for name, owned in node.owned.items() if isinstance(owned.run, AccountRun)}

        unsure = WhileUnsure(lambda: node.lease_age < settings.fleet_ttl_sec / 2, node.owned.get)
        voice = AccountAlerts(told, accounts, lambda: loops_of(runs()), unsure)
        process = _Process(runs, node.stop, hang_path(_beside_the_first(accounts, "fleet")))
        process.serve(settings, keep, [FleetMetrics(node), AlertMetrics(told.alerts)], pages)
        relay = FileRelay(_follower(settings, accounts), poster.put)
        share = AlertShare(etcd, node.keys, told.alerts, node.name, node.membership.view)
        heard = _heard(settings, etcd, node, told, voice)
        await process.run([node.run], beside=[relay.run, share.run, unsure.run, *_told(voice), *heard])
        return bool(node.left_bare)
    finally:
        await etcd.close()


def _heard(settings: Settings, etcd: Etcd, node: FleetNode, told: Alerting, voice: AccountAlerts) -> list[Task]:
    """Who reads the commands for the whole fleet, where it is this node's turn."""
    token = settings.telegram_bot_token
    if token is None or not told.hears:
        return []
    operator = Operator(etcd, node.keys, ttl_s=settings.fleet_ttl_sec)
    traded = partial(voice.traded, partial(StoredTraded, operator))

    def listener_of(place: Keeper) -> Listener:
        listener = told.listen_for(traded, place, lambda: reader.seat is not None and reader.seat.sure)
        assert listener is not None
        return listener

    reader = BotReader(etcd, node.keys, node.name, token.get_secret_value(), listener_of)
    return [keep_up("telegram commands", reader.run)]


def _follower(settings: Settings, accounts: Mapping[str, Settings]) -> Callable[[], SignalFollower]:
    """Of this node's signal file, whose place is remembered beside the first account's state."""
    memory = PositionFile(position_path(_beside_the_first(accounts, "fleet.json")))
    start: Literal["begin", "end"] = "begin" if settings.signal_start is SignalStart.BEGIN else "end"
    return lambda: SignalFollower(settings.signal_file, start=start, memory=memory)


def _beside_the_first(accounts: Mapping[str, Settings], name: str) -> Path:
    first = next(iter(accounts.values()))
    return first.state_path(first.traded[0]).with_name(name)


# --- what is told -----------------------------------------------------------------------------------------------------


def loops_of(runs: Mapping[str, AccountRun]) -> dict[str, Mapping[str, Loop]]:
    """The loops of those that have begun, by account."""
    return {name: run.loops for name, run in runs.items() if run.loops}


def _begun(voice: AccountAlerts, account: str, on_start: Callable[[Loop], None], loops: Mapping[str, Loop]) -> None:
    voice.attach(account, loops)
    for loop in loops.values():
        on_start(loop)


def _attendants(voice: AccountAlerts, pages: AccountPages | None, account: str) -> tuple[Attendant, ...]:
    """What runs beside an account's loops."""
    told = voice.attendant(account)
    return (told,) if pages is None else (told, pages.attendant(account))


def _told(voice: AccountAlerts) -> list[Task]:
    return [keep_up("hello", voice.hello), keep_up("daily summary", voice.daily)]


# --- what a process has once ------------------------------------------------------------------------------------------


class _Inlet:
    """What the webhook asks of whoever judges: nothing here does, so that it only knows the time; the exchange's, where
    an account is traded here. `loops`: those of the accounts.
    """

    def __init__(self, loops: Callable[[], Mapping[str, Mapping[str, Loop]]]) -> None:
        self._loops = loops
        self.on_taken: list[Callable[[bytes, Verdict], None]] = []

    def now(self) -> int:
        for loops in self._loops().values():
            for loop in loops.values():
                return loop.now()
        return time.time_ns() // 1_000_000

    def knows(self, _signal: Signal) -> bool:
        return False

    async def submit(self, parsed: Signal | Malformed, _takes: Collection[str] = ()) -> Verdict:
        why = f"malformed: {parsed.fault}" if isinstance(parsed, Malformed) else "not judged here"
        log.warning("signal_refused", signal=parsed.text if isinstance(parsed, Malformed) else parsed.key, why=why)
        return Refusal(why)


class _Process:
    """`runs`: the accounts that are traded at the moment; `end`: what a signal from the system does. Where systemd does
    not watch, the process ends itself when it hangs; `hang`: where it says so.
    """

    def __init__(self, runs: Callable[[], Mapping[str, AccountRun]], end: Callable[[], None], hang: Path) -> None:
        self._runs = runs
        self._end = end
        self._hang = hang
        self._notifier = SystemdNotifier.of(os.environ)
        self._beside: list[Task] = []

    def serve(
        self, settings: Settings, keep: Keep, more: Collection[Collector] = (), pages: AccountPages | None = None
    ) -> None:
        """The ports of the process. Raises HttpUnusable, WebhookUnusable."""

        def loops() -> dict[str, Mapping[str, Loop]]:
            return {name: run.loops for name, run in self._runs().items()}

        if settings.http_port:

            def metrics() -> dict[str, Any]:
                return {name: run.metrics for name, run in self._runs().items() if run.metrics is not None}

            readers = PageAccess.of(settings)
            host, port = settings.http_host, settings.http_port
            http = AccountsHttp(host, port, loops, metrics, more, access=readers, pages=pages)
            self._beside.append(http.run)
        if settings.webhook_port:
            access = Access.of(settings)
            webhook = Webhook(settings.webhook_host, settings.webhook_port, access, _Inlet(loops), None, keep=keep)
            self._beside.append(webhook.run)

    async def run(self, main: Collection[Task], beside: Collection[Task] = ()) -> None:
        """Until each of `main` has ended; what runs `beside` them ends after them. Raises what killed a task."""
        others = [asyncio.create_task(task()) for task in (*self._beside, *beside, self._attend)]
        trading = [asyncio.create_task(task()) for task in main]
        try:
            with stopping_on_signals(self._end):
                waiting = set(trading)
                while waiting:
                    done, _ = await asyncio.wait({*waiting, *others}, return_when=asyncio.FIRST_COMPLETED)
                    waiting -= done
                    if dead := done.intersection(others):
                        self._end()  # a part of the process has died: all accounts end in order, and it is begun anew
                        await asyncio.wait(waiting) if waiting else None
                        for task in dead:
                            task.result()
                    for task in done:
                        task.result()
        finally:
            for task in (*others, *trading):
                task.cancel()
            await asyncio.gather(*others, *trading, return_exceptions=True)

    async def _attend(self) -> None:
        """Tell systemd that it is up, and that it lives while all loops come round."""
        notifier = self._notifier
        own = None if notifier.watchdog_s else SelfWatchdog(self._hang)
        try:
            told = False
            while True:
                told = told or notifier.ready()
                if own is not None:
                    own.alive()  # this turn is proof enough: an account that hangs alone is begun anew by itself
                pause = notifier.watchdog_s / BEATS_IN_LIMIT if notifier.watchdog_s else 5.0
                runs = self._runs()
                turns = [asyncio.create_task(loop.come_round()) for run in runs.values() for loop in run.loops.values()]
                late: set[asyncio.Task[None]] = set()
                if turns:
                    _, late = await asyncio.wait(turns, timeout=pause)
                    for task in late:
                        task.cancel()
                if len(late) < len(turns) or not turns:  # one that hangs is dropped or begun anew by itself
                    notifier.alive()
                notifier.status(f"{len(runs)} accounts: {', '.join(sorted(runs))}"[:500])
                await asyncio.sleep(pause)
        finally:
            notifier.stopping()
            if own is not None:
                own.stop()
