"""Signals on their way in: a line of the file becomes a signal, with what is needed to judge it (rules 2.1, 2.5)."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from executor.core.absorb.admit import refused_beforehand, was_seen
from executor.core.model.events import AnyEvent, SignalMalformed, SignalSeen
from executor.core.model.facts import Balance, Kline, OrderReport, Quote
from executor.core.model.loans import MarginAccount
from executor.core.model.policy import Policy, StopMode
from executor.core.model.signal import Signal
from executor.core.model.verdict import Refusal, Verdict
from executor.core.transition import Step
from executor.exchange.port import Exchange, MarginExchange, ReadError
from executor.exchange.transport.clock import LocalClock
from executor.service.loop import Loop
from executor.signals.follower import LINES_PER_READ, SignalFollower
from executor.signals.logfile import Line
from executor.signals.parse import Malformed, parse_signal
from executor.signals.position import Position, SignalFileError

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.05
"""A look at a file that has not grown takes some microseconds."""
LOOK_IN_MARKET_TIME_S: Final = 0.25
"""Where time is a recording's, each look is a stop on its way."""
_FOR_GOOD: Final = frozenset({"too_old", "duplicate", "symbol"})
"""Refusals that no event changes."""
ENDING: Final = Refusal("the service is ending: it is not judged now")
"""Such a signal is not remembered, and is left for the next start (rule 9.5)."""
COMMIT_EVERY_S: Final = 1.0
"""While there is always more to read."""
UNDER_WAY_MAX: Final = 1_000
"""Lines that may be under way; no more is read until some of them have been judged."""


class _Taken(msgspec.Struct):
    """A line that has been read: `done` once it has been judged."""

    line: Line
    parsed: Signal | Malformed | None = None
    busy: contextlib.ExitStack | None = None
    done: bool = False


class SignalJudge:
    """Puts signals before the loops that they are for. `on_unclaimed` is called for each that no loop could judge."""

    def __init__(self, loops: Mapping[str, Loop]) -> None:
        self._loops = loops
        self._last_moment = 0
        self.on_unclaimed: list[Callable[[], None]] = []

    def now(self) -> int:
        """The exchange's clock, ms."""
        return next(iter(self._loops.values())).now()

    def knows(self, signal: Signal) -> bool:
        """Whether it was judged before, as far back as the loop of its symbol remembers."""
        symbol = self._whose(signal)
        if symbol is None:
            return False
        loop = self._loops[symbol]
        return was_seen(loop.state, signal.key, loop.engine.policy)

    async def submit(self, parsed: Signal | Malformed, takes: Collection[str] = ()) -> Verdict:
        """Put a signal before the loop of its symbol; what became of it. `takes`: what it consumes of the store."""
        symbol = self._whose(parsed)
        if symbol is None:
            return self._unclaimed(parsed)
        loop = self._loops[symbol]
        event = self._refused_at_once(loop, parsed)
        if event is None:
            assert isinstance(parsed, Signal)
            event = replace(await _with_evidence(loop, parsed), at=self._moment(loop))
        if loop.ending:
            return ENDING
        return (await loop.ask(event, takes)).verdict

    def _refused_at_once(self, loop: Loop, parsed: Signal | Malformed) -> AnyEvent | None:
        """The event of what is refused whatever the exchange would say, for which it need not be asked (rule 2.5); None
        for what may be taken. While events wait that may change what it is judged by, nothing is sure but its age.
        """
        if isinstance(parsed, Malformed):
            return SignalMalformed(at=loop.now(), text=parsed.text, fault=parsed.fault)
        engine, now = loop.engine, max(loop.now(), loop.state.market.now)
        event = SignalSeen(at=now, signal=parsed, quote=None, balances=None, klines=None)
        refusal = refused_beforehand(loop.state, event, engine.policy, engine.rules, now)
        sure = refusal is not None and (loop.inbox_empty or refusal.kind in _FOR_GOOD)
        return event if sure else None

    def _moment(self, loop: Loop) -> int:
        """Now; but no two symbols' trades begin in the same millisecond: it names their orders (rule 1), and of one
        name an account can have only one open order.
        """
        now = loop.now()
        if len(self._loops) > 1:
            now = self._last_moment = max(now, loop.state.market.now, self._last_moment + 1)
        return now

    def _whose(self, parsed: Signal | Malformed) -> str | None:
        """The symbol whose loop is to judge; a single loop judges all, and journals what it refuses (rule 2.5)."""
        if len(self._loops) == 1:
            return next(iter(self._loops))
        symbol = parsed.symbol if isinstance(parsed, Signal) else ""
        return symbol if symbol in self._loops else None

    def _unclaimed(self, parsed: Signal | Malformed) -> Refusal:
        traded = ", ".join(self._loops)
        if isinstance(parsed, Malformed):
            about, why = parsed.text, f"malformed: {parsed.fault}"
        else:
            about, why = parsed.key, f"signal is for {parsed.symbol or 'no symbol'}, this trades {traded}"
        log.warning("signal_refused", signal=about, why=why)
        for callback in self.on_unclaimed:
            callback()
        return Refusal(why)


class Intake(SignalJudge):
    """Takes signals from the followed file and gives each to the loop of its symbol. Those of a symbol are judged one
    after the other, and wait for no other symbol's. It remembers how far it has come: everything before is judged.

    `on_taken` is called with each line and what became of it.
    """

    def __init__(
        self,
        loops: Mapping[str, Loop],
        open_file: Callable[[], SignalFollower],
        clock: LocalClock,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Raises SignalFileError when the file can't be followed and no trade is open; an open one is looked after
        all the same, and the file tried again and again.
        """
        super().__init__(loops)
        self._look_every_s = look_every_s
        self._open_file = open_file
        self._follower: SignalFollower | None = None
        self._clock = clock
        self._complained = ""
        self._told_unended = False
        self._under_way: deque[_Taken] = deque()
        self._position: Position | None = None
        self._committed_at = -COMMIT_EVERY_S
        self._queues: dict[str, asyncio.Queue[_Taken]] = {symbol: asyncio.Queue() for symbol in loops}
        self.on_taken: list[Callable[[bytes, Verdict], None]] = []
        try:
            self._follower = open_file()
        except SignalFileError as error:
            if all(loop.state.position is None for loop in loops.values()):
                raise
            self._complain(error)

    # --- the file -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for symbol in self._loops:
                    tasks.create_task(self._judge_all(symbol), name=f"signals {symbol}")
                while True:
                    lines = self._read() if len(self._under_way) < UNDER_WAY_MAX else []
                    for line in lines:
                        self._give(line)
                        await asyncio.sleep(0)  # whoever else has something to do waits for one line, not for all
                    if len(lines) == LINES_PER_READ:  # there is more: on, remembering now and then how far it has come
                        self._commit_now_and_then()
                        continue
                    self._commit()
                    await self._clock.sleep(self._look_every_s)
        finally:
            self._commit()
            for taken in self._under_way:  # what was not judged is read again after the next start
                if taken.busy is not None:
                    taken.busy.close()

    def _read(self) -> list[Line]:
        try:
            self._follower = self._follower or self._open_file()
            lines = self._follower.read()
        except SignalFileError as error:
            self._complain(error)
            return []
        self._complained = ""
        if self._follower.unended and not self._told_unended:
            log.warning(
                "signal_unended",
                bytes=self._follower.unended,
                text="the signal file ends with what is no signal, and no line end follows: it is not taken",
            )
        self._told_unended = bool(self._follower.unended)
        return lines

    def _give(self, line: Line) -> None:
        taken = _Taken(line)
        self._under_way.append(taken)
        if not line.data.strip():
            self._done(taken)
            return
        taken.parsed = parse_signal(line.data)
        symbol = self._whose(taken.parsed)
        if symbol is None:
            self._judged(taken, self._unclaimed(taken.parsed))
            return
        taken.busy = contextlib.ExitStack()
        taken.busy.enter_context(self._loops[symbol].at_work())
        self._queues[symbol].put_nowait(taken)

    async def _judge_all(self, symbol: str) -> None:
        """In turn, for ever, once the loop knows its orders."""
        if len(self._loops) > 1:
            structlog.contextvars.bind_contextvars(symbol=symbol)
        await self._loops[symbol].ready.wait()
        while True:
            taken = await self._queues[symbol].get()
            assert taken.parsed is not None
            assert taken.busy is not None
            loop = self._loops[symbol]
            if loop.ending:
                taken.busy.close()
                continue
            event = self._refused_at_once(loop, taken.parsed)
            if event is not None:
                # The next one need not wait: a fresh signal must not age behind a backlog of old ones.
                loop.post(event, partial(self._refused, taken))
                continue
            with taken.busy:
                verdict = await self.submit(taken.parsed)
                if verdict is not ENDING:
                    self._judged(taken, verdict)

    def _refused(self, taken: _Taken, step: Step) -> None:
        assert taken.busy is not None
        taken.busy.close()
        self._judged(taken, step.verdict)

    def _judged(self, taken: _Taken, verdict: Verdict) -> None:
        for callback in self.on_taken:
            callback(taken.line.data, verdict)
        self._done(taken)

    def _done(self, taken: _Taken) -> None:
        """The place is behind the last line before which all are judged."""
        taken.done = True
        while self._under_way and self._under_way[0].done:
            self._position = self._under_way.popleft().line.position

    def _commit(self) -> None:
        """Remember the place, once for all that were judged since the last time. One that can't be remembered costs
        nothing but a second reading: signals are known by their keys.
        """
        if self._position is None or self._follower is None:
            return
        position, self._position = self._position, None
        try:
            self._follower.commit(position)
        except SignalFileError as error:
            self._complain(error)

    def _commit_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._committed_at >= COMMIT_EVERY_S:
            self._committed_at = now
            self._commit()

    def _complain(self, error: SignalFileError) -> None:
        if str(error) != self._complained:
            log.error("signal_file", alert=True, error=str(error))
        self._complained = str(error)


async def _with_evidence(loop: Loop, signal: Signal) -> SignalSeen:
    """The signal with price, balances, bars and open orders, where a decision can depend on them at all."""
    exchange, policy = loop.exchange, loop.engine.policy
    seen = SignalSeen(at=loop.now(), signal=signal, quote=None, balances=None, klines=None, open_orders=None)
    if loop.state.position is not None:
        return seen
    if isinstance(exchange, MarginExchange):
        quote, account, klines, orders, reference = await asyncio.gather(
            _quote(exchange),
            _margin(exchange),
            _klines(exchange, policy, signal),
            _open_orders(exchange),
            _reference(loop),
        )
        balances = account.balances if account is not None else None
        seen = replace(seen, margin=account)
    else:
        quote, balances, klines, orders, reference = await asyncio.gather(
            _quote(exchange),
            _balances(exchange),
            _klines(exchange, policy, signal),
            _open_orders(exchange),
            _reference(loop),
        )
    if quote is not None and loop.now() - quote.at > policy.quote_max_age_ms:
        quote = await _quote(exchange)  # what was read beside it has waited for its turn
    return replace(seen, quote=quote, balances=balances, klines=klines, open_orders=orders, reference=reference)


async def _margin(exchange: MarginExchange) -> MarginAccount | None:
    try:
        return await exchange.margin_account()
    except ReadError as error:
        log.warning("look_failed", what="margin account", error=str(error))
        return None


async def _open_orders(exchange: Exchange) -> tuple[OrderReport, ...] | None:
    try:
        return await exchange.open_orders()
    except ReadError as error:
        log.warning("look_failed", what="open orders", error=str(error))
        return None


async def _quote(exchange: Exchange) -> Quote | None:
    try:
        return await exchange.quote()
    except ReadError as error:
        log.warning("look_failed", what="price", error=str(error))
        return None


async def _reference(loop: Loop) -> Decimal | None:
    """Where it can't be read, the last price has to do."""
    if not loop.engine.rules.average_mins:
        return None
    try:
        return await loop.exchange.reference_price()
    except ReadError as error:
        log.warning("look_failed", what="reference price", error=str(error))
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
