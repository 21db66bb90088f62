"""Signals on their way in: a line of the file becomes a signal, with what is needed to judge it (rules 2.1, 2.5)."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from executor.core.events import AnyEvent, SignalMalformed, SignalSeen
from executor.core.facts import Balance, Kline, Quote
from executor.core.policy import Policy, StopMode
from executor.core.signal import Signal
from executor.core.transition import Step
from executor.exchange.port import Exchange, ReadError
from executor.service.loop import Loop
from executor.service.watch import Clock
from executor.signals.follower import SignalFollower
from executor.signals.logfile import Line
from executor.signals.parse import Malformed, parse_signal
from executor.signals.position import Position, SignalFileError

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.05
"""A look at a file that has not grown takes some microseconds."""
LOOK_IN_MARKET_TIME_S: Final = 0.25
"""Where time is a recording's, each look is a stop on its way."""


class Intake:
    """Takes signals from the followed file, one after the other, and remembers how far it has come.

    `on_taken` hears of each line and what became of it.
    """

    def __init__(
        self, loop: Loop, open_file: Callable[[], SignalFollower], clock: Clock, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        """Raises SignalFileError when the file can't be followed and no trade is open; an open one is looked after
        all the same, and the file tried again and again.
        """
        self._look_every_s = look_every_s
        self._loop = loop
        self._open_file = open_file
        self._follower: SignalFollower | None = None
        self._clock = clock
        self._complained = ""
        self.on_taken: list[Callable[[bytes, Step], None]] = []
        try:
            self._follower = open_file()
        except SignalFileError as error:
            if loop.state.position is None:
                raise
            self._complain(error)

    async def run(self) -> None:
        while True:
            with self._loop.at_work():
                for line in self._read():
                    await self._take(line.data)
                    self._commit(line.position)
            await self._clock.sleep(self._look_every_s)

    def _read(self) -> list[Line]:
        try:
            self._follower = self._follower or self._open_file()
            lines = self._follower.read()
        except SignalFileError as error:
            self._complain(error)
            return []
        self._complained = ""
        return lines

    def _commit(self, position: Position) -> None:
        """A place that can't be remembered costs nothing but a second reading: signals are known by their keys."""
        assert self._follower is not None  # it has read the line
        try:
            self._follower.commit(position)
        except SignalFileError as error:
            self._complain(error)

    def _complain(self, error: SignalFileError) -> None:
        if str(error) != self._complained:
            log.error("signal_file", alert=True, error=str(error))
        self._complained = str(error)

    async def _take(self, data: bytes) -> None:
        if data.strip():
            step = await self.submit(parse_signal(data))
            for hear in self.on_taken:
                hear(data, step)

    async def submit(self, parsed: Signal | Malformed) -> Step:
        """Put a signal before the core; the answer says what became of it."""
        event: AnyEvent
        if isinstance(parsed, Malformed):
            event = SignalMalformed(at=self._loop.now(), text=parsed.text, fault=parsed.fault)
        else:
            event = await self._evidence(parsed)
        return await self._loop.ask(event)

    async def _evidence(self, signal: Signal) -> SignalSeen:
        """Price, balances and bars, where a decision can depend on them at all."""
        exchange, policy = self._loop.exchange, self._loop.desk.policy
        if self._loop.state.position is not None:
            return SignalSeen(at=self._loop.now(), signal=signal, quote=None, balances=None, klines=None)
        quote, balances, klines = await asyncio.gather(
            _quote(exchange), _balances(exchange), _klines(exchange, policy, signal)
        )
        return SignalSeen(at=self._loop.now(), signal=signal, quote=quote, balances=balances, klines=klines)


async def _quote(exchange: Exchange) -> Quote | None:
    try:
        return await exchange.quote()
    except ReadError as error:
        log.warning("look_failed", what="price", error=str(error))
        return None


async def _balances(exchange: Exchange) -> dict[str, Balance] | None:
    try:
        return await exchange.balances()
    except ReadError as error:
        log.warning("look_failed", what="balances", error=str(error))
        return None


async def _klines(exchange: Exchange, policy: Policy, signal: Signal) -> tuple[Kline, ...] | None:
    if policy.stop_mode is not StopMode.SWING or signal.stop is not None:
        return None
    try:
        return await exchange.klines(policy.swing_mins)
    except ReadError as error:
        log.warning("look_failed", what="klines", error=str(error))
        return None
