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
from executor.service.inlets.signal_file import SignalFile
from executor.service.inlets.under_way import Place, UnderWay
from executor.service.loop import Loop
from executor.signals.follower import LINES_PER_READ, SignalFollower
from executor.signals.logfile import Line
from executor.signals.parse import Malformed, parse_signal
from executor.worker_thread import Worker

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
"""Lines of one symbol that may be under way; no more is read until some of them have been judged."""
STUCK_S: Final = 10.0
"""A symbol that has judged none of its lines for so long holds up no other's: from then on its oldest is refused where
it has too many.
"""


class _Taken(msgspec.Struct):
    """A line that has been read, for the loop of its symbol."""

    data: bytes
    parsed: Signal | Malformed
    place: Place
    busy: contextlib.ExitStack


class _Queue(msgspec.Struct):
    """Lines of one symbol: those that wait, how many have not been judged, and when the last one was (loop's time)."""

    waiting: deque[_Taken]
    news: asyncio.Event
    undone: int = 0
    judged_at: float = 0.0
    told: bool = False
    """That it has too many."""


class SignalJudge:
    """Puts signals before the loops that they are for. `on_unclaimed` is called for each that no loop could judge."""

    def __init__(self, loops: Mapping[str, Loop], absent: Mapping[str, str] | None = None) -> None:
        """`absent`: symbols that could not be begun, and why."""
        self._loops = loops
        self._absent = absent or {}
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
        """The symbol whose loop is to judge. One that is traded alone judges all, and journals what it refuses (rule
        2.5); not one that is left of several: what names no symbol may be meant for another.
        """
        if len(self._loops) == 1 and not self._absent:
            return next(iter(self._loops))
        symbol = parsed.symbol if isinstance(parsed, Signal) else ""
        return symbol if symbol in self._loops else None

    def _unclaimed(self, parsed: Signal | Malformed) -> Refusal:
        traded = ", ".join(self._loops)
        if isinstance(parsed, Malformed):
            about, why = parsed.text, f"malformed: {parsed.fault}"
        elif parsed.symbol in self._absent:
            about, why = parsed.key, f"{parsed.symbol} could not be started: {self._absent[parsed.symbol]}"
            log.error("signal_not_judged", alert=True, symbol=parsed.symbol, signal=about, why=why)
        else:
            about, why = parsed.key, f"signal is for {parsed.symbol or 'no symbol'}, this trades {traded}"
        return self._refuse_unjudged(about, why)

    def _refuse_unjudged(self, about: str, why: str) -> Refusal:
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
        absent: Mapping[str, str] | None = None,
        worker: Worker | None = None,
    ) -> None:
        """`absent`: as for `SignalJudge`; `worker`: as for `SignalFile`."""
        super().__init__(loops, absent)
        self._look_every_s = look_every_s
        self._file = SignalFile(open_file, next(iter(loops.values())).at_work, worker)
        self._clock = clock
        self._under_way = UnderWay()
        self._committed_at = -COMMIT_EVERY_S
        self._queues = {symbol: _Queue(deque(), asyncio.Event()) for symbol in loops}
        self.on_taken: list[Callable[[bytes, Verdict], None]] = []

    async def begin(self) -> None:
        """Take up the place in the file. Raises SignalFileError when it can't be followed and no trade is open; an open
        one is looked after all the same, and the file tried again and again.
        """
        await self._file.begin(patient=any(loop.state.position is not None for loop in self._loops.values()))

    # --- the file -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for symbol in self._loops:
                    tasks.create_task(self._judge_all(symbol), name=f"signals {symbol}")
                while True:
                    lines = await self._file.read() if self._has_room() else []
                    for line in lines:
                        self._give(line)
                        await asyncio.sleep(0)  # whoever else has something to do waits for one line, not for all
                    if len(lines) == LINES_PER_READ:  # there is more: on, remembering now and then how far it has come
                        await self._commit_now_and_then()
                        continue
                    await self._commit()
                    await self._clock.sleep(self._look_every_s)
        finally:
            for queue in self._queues.values():  # what was not judged is read again after the next start
                for taken in queue.waiting:
                    taken.busy.close()
            await self._file.end(self._under_way.take_passed())

    def _has_room(self) -> bool:
        """No more is read while a symbol that does judge its lines has many of them."""
        return not any(
            queue.undone >= UNDER_WAY_MAX and not self._stuck(symbol) for symbol, queue in self._queues.items()
        )

    def _stuck(self, symbol: str) -> bool:
        """Whether it does not judge its lines: the others' are not to wait for that."""
        return asyncio.get_running_loop().time() - self._queues[symbol].judged_at > STUCK_S

    def _give(self, line: Line) -> None:
        place = self._under_way.add(line.position)
        if not line.data.strip():
            self._under_way.finish(place)
            return
        parsed = parse_signal(line.data)
        symbol = self._whose(parsed)
        if symbol is None:
            self._told(line.data, self._unclaimed(parsed))
            self._under_way.finish(place)
            return
        busy = contextlib.ExitStack()
        busy.enter_context(self._loops[symbol].at_work())
        self._put(symbol, _Taken(line.data, parsed, place, busy))

    def _put(self, symbol: str, taken: _Taken) -> None:
        queue = self._queues[symbol]
        if queue.undone == 0:
            queue.judged_at = asyncio.get_running_loop().time()
        queue.undone += 1
        queue.waiting.append(taken)
        queue.news.set()
        if queue.undone > UNDER_WAY_MAX and self._stuck(symbol):
            self._drop(symbol, queue)

    def _drop(self, symbol: str, queue: _Queue) -> None:
        """The oldest that waits: it is the likeliest to be too old once it could be judged."""
        if not queue.told:
            queue.told = True
            text = f"{UNDER_WAY_MAX} signals wait to be judged: from here on the oldest is refused for each new one"
            log.error("signals_waiting", alert=True, symbol=symbol, text=text)
        oldest = queue.waiting.popleft()
        about = oldest.parsed.key if isinstance(oldest.parsed, Signal) else oldest.parsed.text
        oldest.busy.close()
        refusal = self._refuse_unjudged(about, f"more than {UNDER_WAY_MAX} signals of {symbol} wait to be judged")
        self._finish(queue, oldest, refusal)

    async def _judge_all(self, symbol: str) -> None:
        """In turn, for ever, once the loop knows its orders."""
        if len(self._loops) > 1:
            structlog.contextvars.bind_contextvars(symbol=symbol)
        loop, queue = self._loops[symbol], self._queues[symbol]
        await loop.ready.wait()
        while True:
            while not queue.waiting:
                queue.news.clear()
                await queue.news.wait()
            taken = queue.waiting.popleft()
            if loop.ending:
                taken.busy.close()
                continue
            event = self._refused_at_once(loop, taken.parsed)
            if event is not None:
                # The next one need not wait: a fresh signal must not age behind a backlog of old ones.
                loop.post(event, partial(self._refused, symbol, taken))
                continue
            with taken.busy:
                verdict = await self.submit(taken.parsed)
                if verdict is not ENDING:
                    self._judged(symbol, taken, verdict)

    def _refused(self, symbol: str, taken: _Taken, step: Step) -> None:
        taken.busy.close()
        self._judged(symbol, taken, step.verdict)

    def _judged(self, symbol: str, taken: _Taken, verdict: Verdict) -> None:
        queue = self._queues[symbol]
        queue.judged_at = asyncio.get_running_loop().time()
        self._finish(queue, taken, verdict)
        queue.told = queue.told and queue.undone > UNDER_WAY_MAX // 2

    def _finish(self, queue: _Queue, taken: _Taken, verdict: Verdict) -> None:
        queue.undone -= 1
        self._told(taken.data, verdict)
        self._under_way.finish(taken.place)

    def _told(self, data: bytes, verdict: Verdict) -> None:
        for callback in self.on_taken:
            callback(data, verdict)

    async def _commit(self) -> None:
        """Remember the place, once for all that were judged since the last time."""
        position = self._under_way.take_passed()
        if position is not None:
            await self._file.commit(position)

    async def _commit_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._committed_at >= COMMIT_EVERY_S:
            self._committed_at = now
            await self._commit()


async def _with_evidence(loop: Loop, signal: Signal) -> SignalSeen:
    """The signal with price, balances, bars and open orders, where a decision can depend on them at all."""
    exchange, policy = loop.exchange, loop.engine.policy
    now = loop.now()
    seen = SignalSeen(at=now, signal=signal, quote=None, balances=None, klines=None, open_orders=None, asked_at=now)
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
