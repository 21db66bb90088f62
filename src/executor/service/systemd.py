"""Words to the supervisor (systemd's sd_notify(3)): when the service is ready, what it is doing, that its loop turns.

The supervisor is told that the service lives by the loops' consumers alone: when each has come round, at most once a
second. A quiet market leaves a consumer nothing to do, so a heartbeat goes through each inbox, behind every event; when
one consumer hangs, on whatever it may be, its heartbeat stays where it is and the supervisor restarts the service into
rule 9.1.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from executor.core.book.ledger import covered, sellable
from executor.core.model.events import AnyEvent
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.values import plain
from executor.core.transition import Step
from executor.service.loop import Loop
from executor.service.self_watchdog import SelfWatchdog
from executor.service.supervisor import Supervisor

log = structlog.get_logger(__name__)

ALIVE_EVERY_S: Final = 1.0
BEATS_IN_LIMIT: Final = 4
"""Heartbeats within the time after which the supervisor gives the service up."""

READY_AGAIN_S: Final = 1.0
"""After a word of readiness that was not taken."""

BEGIN_ANEW_S: Final = 600.0
"""A start has as long (TimeoutStartSec): of one that begins anew there is nothing yet that could say that it lives."""

NO_TRADE: Final = "no trade"
STATUS_MAX: Final = 1_000
"""Characters of a status; whoever wants to know more asks `executor status`."""


class SystemdNotifier:
    """The supervisor's socket, or nobody: then nothing is said. A word that can't be said is not worth a trade."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address`: a path, or a name of Linux's abstract space after an `@`; `watchdog_s`: 0 = not watched."""
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._complained = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "SystemdNotifier":
        """From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, as the supervisor sets them (sd_watchdog_enabled(3))."""
        address, limit = environ.get("NOTIFY_SOCKET", ""), environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if address[:1] not in ("/", "@"):
            return cls()
        return cls(address, int(limit) / 1_000_000 if limit.isdecimal() and mine else 0.0)

    @property
    def listens(self) -> bool:
        return bool(self._address)

    def ready(self) -> bool:
        """Whether it was taken, or nobody wants to hear it: a supervisor that misses it gives the start up, so it is to
        be said again.
        """
        return self._say("READY=1")

    def extend_start(self, seconds: float) -> None:
        """Readiness takes so much longer: beyond TimeoutStartSec systemd gives a start up else (sd_notify(3))."""
        self._say(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def status(self, text: str) -> None:
        self._say("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        self._say("WATCHDOG=1")

    def watch_for(self, seconds: float) -> None:
        """From here on it may be silent for so long."""
        self._say(f"WATCHDOG_USEC={round(seconds * 1_000_000)}")

    def _say(self, word: str) -> bool:
        """Whether it was taken; a queue that is full takes nothing, and is not waited for (rule 8.9)."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as line:
                line.sendto(word.encode(), self._address)
        except OSError as error:
            if not self._complained:
                log.warning("supervisor_not_told", word=word, error=error.strerror or str(error))
            self._complained = True
            return False
        return True


def attend(
    supervisor: Supervisor,
    notifier: SystemdNotifier,
    own: SelfWatchdog | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Tell systemd of `supervisor`: ready once its loops are, alive while every consumer turns, what they hold. Where
    it does not watch, `own` does.
    """
    if notifier.watchdog_s:
        own = None
    if not notifier.listens and own is None:
        return
    attendant = _Heartbeat(supervisor, notifier, own, monotonic)
    for loop in supervisor.loops.values():
        loop.on_turn.append(partial(attendant.turned, loop))
        loop.on_step.append(partial(attendant.told, loop))
    supervisor.add_task("supervisor", attendant.announce)


class _Heartbeat:
    def __init__(
        self,
        supervisor: Supervisor,
        notifier: SystemdNotifier,
        own: SelfWatchdog | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._supervisor = supervisor
        self._notifier = notifier
        self._own = own
        self._monotonic = monotonic
        self._missing = set(supervisor.loops.values())
        self._last_alive = -ALIVE_EVERY_S
        self._words: dict[str, str] = {}
        self._last_status = ""
        self._ready = False

    def turned(self, loop: Loop) -> None:
        self._missing.discard(loop)
        if self._ready and not self._missing and self._monotonic() - self._last_alive >= ALIVE_EVERY_S:
            self._last_alive = self._monotonic()
            self._missing = set(self._supervisor.loops.values())
            if self._notifier.watchdog_s:
                self._notifier.alive()
            if self._own is not None:
                self._own.alive()

    def told(self, loop: Loop, _event: AnyEvent, step: Step) -> None:
        if not self._notifier.listens:
            return
        self._words[step.state.symbol] = describe(step.state, loop.engine.rules)
        text = summary(self._words, len(self._supervisor.loops))
        if text != self._last_status:
            self._last_status = text
            self._notifier.status(text)

    async def announce(self) -> None:
        limit = self._notifier.watchdog_s if self._own is None else self._own.limit_s
        try:
            await self._supervisor.started()
            self._ready = True
            told = self._notifier.ready()
            if self._notifier.watchdog_s:
                self._notifier.watch_for(self._notifier.watchdog_s)
            while limit or not told:
                for loop in self._supervisor.loops.values() if limit else ():
                    loop.beat()
                await asyncio.sleep(limit / BEATS_IN_LIMIT if limit else READY_AGAIN_S)
                told = told or self._notifier.ready()
            await asyncio.Event().wait()
        finally:
            if not self._supervisor.again:
                self._notifier.stopping()
            elif self._notifier.watchdog_s:
                self._notifier.watch_for(BEGIN_ANEW_S)
            if self._own is not None:
                self._own.stop()


def summary(words: Mapping[str, str], count: int) -> str:
    """What `describe` says of each of `count` symbols, in one line; those without a trade are only counted."""
    if count == 1:
        return next(iter(words.values()))
    telling = [text for text in words.values() if not text.endswith(NO_TRADE)]
    return "; ".join([f"{count} symbols, {count - len(telling)} without a trade", *telling])[:STATUS_MAX]


def describe(state: State, rules: SymbolRules) -> str:
    """The state in one line, as `systemctl status` shows it."""
    position = state.position
    entries = f"; no new entries: {state.halted or 'paused'}" if state.halted or state.paused else ""
    if state.started:
        return f"{state.symbol}: looking up the orders of before"
    if position is None:
        return f"{state.symbol}: {NO_TRADE}{entries}"
    phase = type(position.phase).__name__.lower()
    held, safe = plain(sellable(position, rules)), plain(covered(position))
    return f"{state.symbol}: {position.plan.direction} {position.trade} {phase}, {held} held, {safe} covered{entries}"
