"""Words to the supervisor (systemd's sd_notify(3)): when the service is ready, what it is doing, that its loop turns.

The supervisor is told that the service lives by the loop's one consumer alone: each time it has come round, at most
once a second. A quiet market leaves the consumer nothing to do, so a heartbeat goes through the inbox, behind every
event; when the consumer hangs, on whatever it may be, the heartbeat stays where it is and the supervisor restarts the
service into rule 9.1.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from executor.core.events import AnyEvent
from executor.core.ledger import covered, sellable
from executor.core.rules import SymbolRules
from executor.core.state import State
from executor.core.transition import Step
from executor.core.values import plain
from executor.service.loop import Loop

log = structlog.get_logger(__name__)

ALIVE_EVERY_S: Final = 1.0
BEATS_IN_LIMIT: Final = 4
"""Heartbeats within the time after which the supervisor gives the service up."""


class Supervisor:
    """The supervisor's socket, or nobody: then nothing is said. A word that can't be said is not worth a trade."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address`: a path, or a name of Linux's abstract space after an `@`; `watchdog_s`: 0 = not watched."""
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._complained = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Supervisor":
        """From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, as the supervisor sets them (sd_watchdog_enabled(3))."""
        address, limit = environ.get("NOTIFY_SOCKET", ""), environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if address[:1] not in ("/", "@"):
            return cls()
        return cls(address, int(limit) / 1_000_000 if limit.isdecimal() and mine else 0.0)

    def ready(self) -> None:
        self._say("READY=1")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def status(self, text: str) -> None:
        self._say("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        self._say("WATCHDOG=1")

    def _say(self, word: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as line:
                line.sendto(word.encode(), self._address)
        except OSError as error:
            if not self._complained:
                log.warning("supervisor_not_told", word=word, error=error.strerror or str(error))
            self._complained = True


def attend(loop: Loop, supervisor: Supervisor, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Have `supervisor` hear of `loop`: ready after recovery, alive while the consumer turns, what it holds."""
    last_alive = -ALIVE_EVERY_S
    last_status = ""

    def turned() -> None:
        nonlocal last_alive
        if loop.ready.is_set() and monotonic() - last_alive >= ALIVE_EVERY_S:
            last_alive = monotonic()
            supervisor.alive()

    def told(_event: AnyEvent, step: Step) -> None:
        nonlocal last_status
        text = describe(step.state, loop.desk.rules)
        if text != last_status:
            last_status = text
            supervisor.status(text)

    async def announce() -> None:
        supervisor.ready()
        try:
            while supervisor.watchdog_s:
                loop.beat()
                await asyncio.sleep(supervisor.watchdog_s / BEATS_IN_LIMIT)
            await asyncio.Event().wait()
        finally:
            supervisor.stopping()

    if supervisor.watchdog_s:
        loop.on_turn.append(turned)
    loop.on_step.append(told)
    loop.beside("supervisor", announce)


def describe(state: State, rules: SymbolRules) -> str:
    """The state in one line, as `systemctl status` shows it."""
    position = state.position
    entries = f"; no new entries: {state.halted or 'paused'}" if state.halted or state.paused else ""
    if state.started:
        return f"{state.symbol}: looking up the orders of before"
    if position is None:
        return f"{state.symbol}: no trade{entries}"
    phase = type(position.phase).__name__.lower()
    held, safe = plain(sellable(position, rules)), plain(covered(position))
    return f"{state.symbol}: {position.plan.direction} {position.trade} {phase}, {held} held, {safe} covered{entries}"
