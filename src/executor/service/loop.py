"""The loop: one consumer takes events one at a time; requests run beside it and come back as events.

    signals, pushes, polls, time, operator -> inbox -> engine (transition, state on disk) -> dispatch -> journal and log

The answers to what was dispatched come back to the inbox.

Every task lives in one TaskGroup: one that dies takes the service down loudly, and the supervisor restarts it into
rule 9.1.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from typing import Any, Final

import structlog

from executor.core.model.events import AnyEvent, Commanded, QuoteSeen, Started, Tick, Verb
from executor.core.model.facts import Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.intents import (
    Command,
    Level,
    Notify,
    Request,
)
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, State
from executor.core.model.values import ZERO
from executor.core.transition import Step
from executor.exchange.port import Exchange, ReadError
from executor.ops.alerts.noted import noted
from executor.service import ending
from executor.service.dispatcher import perform
from executor.service.engine import Engine
from executor.service.policy import say_layout
from executor.service.poller import Clock, Poller, Timing
from executor.service.request_names import ids_of, word
from executor.service.store.port import Fenced, StoreUnwritable

log = structlog.get_logger(__name__)

DISK_RETRY_S: Final = 1.0
STORE_TURN_S: Final = 0.25
PUBLISH_AFTER_S: Final = 0.05
"""The state file shows a step so much later: what one fill sets off is written for people once, when it is over."""
TIMER_LOOK_S: Final = 1.0
"""A timer looks at the exchange's time so often: measured anew, it may have moved ahead of the one it was set by."""
FILTER_LOOK_S: Final = 0.5
"""So soon the rules are read again where a filter has refused an order; later each time that there is no news."""
CLOSED_LOOK_S: Final = 15.0
"""Rules are not read more often, whatever is refused, and so often while a symbol is not open for trading: 160 of
request weight a minute.
"""
REOPEN_LOOK_S: Final = 2.0
"""While something is held and its symbol is closed, its status is asked for so often, 2 of request weight each: what
could not be covered is covered as soon as it has opened.
"""
BARRED_LOOK_S: Final = 60.0
"""Rules that no entry is made by, for they could not be read or do not fit, are read again so often."""
OPEN_LOOK_S: Final = 60.0
"""While something is held the symbol's status is asked for so often, 2 of request weight each: exits of a symbol that
has closed must not be taken away.
"""
DRAIN_S: Final = 5.0
DRAIN_LOOK_S: Final = 0.01
"""How long a stop waits for answers (rule 9.5); what has not come by then is looked up at the next start."""


class Loop:
    """Runs one engine on one exchange until `stop`. `on_step` is called with every step, after it is on disk and
    dispatched; `on_note` with everything that a person should read; `on_turn` each time the consumer has come round;
    `on_ready` once the orders of before are known, `on_stop` once it is to end.
    """

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange,
        clock: Clock,
        timing: Timing,
        reload: Callable[[], Coroutine[Any, Any, SymbolRules]],
        is_trading: Callable[[], Coroutine[Any, Any, bool]],
    ) -> None:
        self.engine = engine
        self.exchange = exchange
        self.clock = clock
        self.timing = timing
        self.ready = asyncio.Event()
        self.poller = Poller(self)
        self.on_step: list[Callable[[AnyEvent, Step], None]] = [self.poller.on_step]
        self.closed: Sequence[Closed] = ()
        """The last finished trades, oldest first."""
        self.on_turn: list[Callable[[], None]] = []
        self.on_ready: list[Callable[[], None]] = []
        self.on_stop: list[Callable[[], None]] = []
        self._reload = reload
        self._is_trading = is_trading
        self._sync_clock: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._inbox: asyncio.PriorityQueue[
            tuple[bool, int, AnyEvent | None, asyncio.Future[Step] | None, Collection[str]]
        ] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._then: dict[int, tuple[AnyEvent, Callable[[Step], None]]] = {}
        self._waiting = 0
        self._beating = False
        self._stop = asyncio.Event()
        self._changed = asyncio.Condition()
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._filtered = asyncio.Event()
        self.ended_bare = ZERO
        """Base that was left without a stop, or sold too much, when the loop was stopped (rule 9.5)."""
        self._same_rules = 0
        """So many times in a row the rules were read again and had not changed."""
        self._tasks: asyncio.TaskGroup | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at: int | None = None
        self._requests = 0
        self._busy = 0
        self._first: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._side: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []

    # --- for the rooms around -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.engine.state

    def now(self) -> int:
        return self.exchange.now()

    def keep_clock(self, sync: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the exchange's clock measured now and then: one loop of a connection does so for all."""
        self._sync_clock = sync

    def add_task(self, name: str, task: Callable[[], Coroutine[Any, Any, None]], *, at_once: bool = False) -> None:
        """Run `task` beside the loop once it is ready, or `at_once`; it is cancelled first when the loop stops."""
        (self._first if at_once else self._side).append((name, task))

    def tell(self, event: AnyEvent) -> None:
        """Put an event in the inbox. A price lets everything else by: a fill must not wait for it."""
        self._put(event, None, waits=isinstance(event, QuoteSeen))

    async def ask(self, event: AnyEvent, takes: Collection[str] = ()) -> Step:
        """Put an event in the inbox and wait for what became of it. `takes`: signals of the store that it consumes."""
        answer: asyncio.Future[Step] = asyncio.get_running_loop().create_future()
        self._put(event, answer, takes=takes)
        return await answer

    def post(self, event: AnyEvent, then: Callable[[Step], None]) -> None:
        """Put an event in the inbox; `then` is called with what became of it, which may not be on disk yet."""
        self._then[id(event)] = event, then
        self._put(event, None)

    @property
    def ending(self) -> bool:
        """Whether it is to stop: nothing new is begun."""
        return self._stop.is_set()

    @property
    def inbox_empty(self) -> bool:
        """Whether no event waits to be taken."""
        return not self._waiting

    @property
    def taking(self) -> bool:
        """Whether an event waits, or something is being done."""
        return self._waiting > 0 or self._busy > 0

    def _put(
        self,
        event: AnyEvent,
        answer: asyncio.Future[Step] | None,
        *,
        waits: bool = False,
        takes: Collection[str] = (),
    ) -> None:
        self._waiting += 1
        self._inbox.put_nowait((waits, next(self._numbers), event, answer, takes))

    def beat(self) -> None:
        """Put a heartbeat in the inbox: `on_turn` is called when the consumer has come to it, behind every event
        that was there before, prices apart. One that has not come through yet is enough.
        """
        if not self._beating:
            self._beating = True
            self._inbox.put_nowait((False, next(self._numbers), None, None, ()))

    async def come_round(self) -> None:
        """Return when the consumer has come round once more: a loop that hangs never does."""
        round_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def turned() -> None:
            if not round_done.done():
                round_done.set_result(None)

        self.on_turn.append(turned)
        try:
            self.beat()
            await round_done
        finally:
            self.on_turn.remove(turned)

    def poll_now(self) -> None:
        """Look at the orders now, not at the next turn."""
        self.poller.poll_now()

    async def until(self, condition: Callable[[State], bool]) -> None:
        """Return when the state meets `condition`."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self.engine.state))

    def stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            for callback in self.on_stop:
                callback()

    def quiet(self) -> bool:
        """Whether nothing is on its way: no event waits, no request or read of ours is unanswered."""
        return self._inbox.empty() and not self._requests and not self._busy

    def exposed(self) -> bool:
        """Whether something is held without a stop, or being closed."""
        return ending.bare(self.state, self.engine.rules) > 0 or ending.closing(self.state) is not None

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Something is being done that time must wait for, where time can wait."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    # --- the run --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`; raises what killed a task. Fenced: without another request, its answers not waited for."""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            if (fenced := group.subgroup(Fenced)) is not None:
                raise Fenced(str(_first(fenced))) from None
            raise
        finally:
            self._tasks = None

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            consumer = tasks.create_task(self._consume(), name="consumer")
            stop = tasks.create_task(self._stop.wait(), name="stop")
            recovery = tasks.create_task(self._recover(), name="recovery")
            beside = [recovery, tasks.create_task(self._publish(), name="publish")]
            beside += [tasks.create_task(task(), name=name) for name, task in self._first]
            await asyncio.wait({stop, recovery}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                self.ready.set()
                log.info("ready", symbol=self.state.symbol, position=self.state.position is not None)
                say_layout(self.engine.policy, self.engine.rules)
                for callback in self.on_ready:
                    callback()
                own = [
                    ("orders", self.poller.orders),
                    ("prices", self.poller.prices),
                    ("clock", self._keep_clock),
                    ("rules", self._keep_rules),
                ]
                beside += [tasks.create_task(task(), name=name) for name, task in (*own, *self._side)]
            await stop
            self.tell(Commanded(at=self.now(), verb=Verb.END))
            await self._cover(recovery)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self.poller.end()
            await self._drain()
            rules = self.engine.rules
            self.ended_bare = max(ending.bare(self.state, rules), ending.oversold(self.state, rules))
            self._disarm()
            consumer.cancel()
            ending.say_what_is_left(self.state, rules, self._say)

    async def _cover(self, recovery: asyncio.Task[None]) -> None:
        """What is bare, or being closed, does not wait for its pause: it is tried once more, and looked after for a
        moment as ever: an interim stop grows, a doubt settles (rule 9.5).
        """
        if not self.exposed():
            return
        moment = asyncio.ensure_future(self.clock.sleep(DRAIN_S))
        covered = asyncio.ensure_future(self._recovered_and_covered(recovery))
        try:
            await asyncio.wait({moment, covered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moment.cancel()
            covered.cancel()

    async def _recovered_and_covered(self, recovery: asyncio.Task[None]) -> None:
        await asyncio.wait({recovery})
        self.tell(Commanded(at=self.now(), verb=Verb.RETRY))
        await self.until(lambda _: not self.exposed())

    async def _drain(self) -> None:
        """Wait a moment for the answers under way (rule 9.5)."""
        deadline = asyncio.get_running_loop().time() + DRAIN_S
        while not self.quiet() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # counters, no event
            await asyncio.sleep(DRAIN_LOOK_S)
        if not self.quiet():
            log.warning("stopped_with_answers_open", requests=self._requests)

    async def _recover(self) -> None:
        """Look up everything that was under way (rule 9.1); nothing else happens before that is done."""
        now = self.now()
        await self.ask(Started(at=now, fence=now + self.timing.recv_window_ms))
        await self.until(lambda state: not state.started)
        while not await self._first_poll():
            await self.clock.sleep(self.timing.poll)

    async def _first_poll(self) -> bool:
        with self.at_work():
            return await self.poller.poll_orders()

    async def _consume(self) -> None:
        while True:
            _, _, event, answer, takes = await self._inbox.get()
            if event is None:
                self._beating = False
                self._turned()
                continue
            self._waiting -= 1
            with self.at_work():
                step = await self._take(event, more=answer is None and self._waiting > 0, takes=takes)
                for request in step.requests:
                    self._dispatch(request)
                    await self._sent()
                step = self.engine.proven(step)
                self.engine.write_down()
                self._news.set()
                for note in step.notes:
                    self._say(note)
                for callback in self.on_step:
                    callback(event, step)
                if answer is not None and not answer.done():
                    answer.set_result(step)
                if (posted := self._then.pop(id(event), None)) is not None:
                    posted[1](step)
                self._arm()
                async with self._changed:
                    self._changed.notify_all()
            self._turned()
            if self._waiting and not step.requests:
                await asyncio.sleep(0)  # a backlog of one symbol must not keep the others' fills waiting

    def _turned(self) -> None:
        for callback in tuple(self.on_turn):
            callback()

    async def _take(self, event: AnyEvent, *, more: bool, takes: Collection[str]) -> Step:
        """The engine's step, its state in the store: until then nothing is sent (rule 8.1), however full the disk."""
        told, step = False, None
        while True:
            try:
                if step is None:
                    step = self.engine.commit(event, more=more, now=self.now(), takes=takes)
                if self.engine.pending:
                    with self._turning():
                        await self.engine.written()
            except StoreUnwritable as error:
                if not told:
                    log.error("state_unwritable", alert=True, error=str(error), waiting="nothing is sent until it is")
                told = True
                self._turned()  # waiting for space is no hanging: a restart would not help
                await asyncio.sleep(DISK_RETRY_S)
            else:
                if told:
                    log.info("state_writable_again")
                return step

    @contextlib.contextmanager
    def _turning(self) -> Iterator[None]:
        """Waiting for a store on other machines is no hanging either."""
        running = asyncio.get_running_loop()
        waiting: list[asyncio.TimerHandle] = []

        def turn() -> None:
            self._turned()
            waiting[:] = [running.call_later(STORE_TURN_S, turn)]

        waiting.append(running.call_later(STORE_TURN_S, turn))
        try:
            yield
        finally:
            waiting[0].cancel()

    async def _publish(self) -> None:
        """Have the state file follow, out of the way of events."""
        told = False
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(PUBLISH_AFTER_S)
            try:
                await asyncio.to_thread(self.engine.publish)
                await self.engine.written()
            except StoreUnwritable as error:
                if not told:
                    log.error("state_file_behind", alert=True, error=str(error), safe="in the write-ahead copy")
                told = True
                await asyncio.sleep(DISK_RETRY_S)
                self._news.set()
            else:
                if told:
                    log.info("state_file_follows_again")
                told = False

    # --- requests -------------------------------------------------------------------------------------------------

    def _dispatch(self, request: Request) -> None:
        assert self._tasks is not None
        self._requests += 1
        self._tasks.create_task(self._perform(request), name=f"request {request.seq}")

    async def _sent(self) -> None:
        """Let what was dispatched go before anything else is done: a request is written in the event loop's next turn,
        and what was written is handed to the network when that turn is over.
        """
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _perform(self, request: Request) -> None:
        try:
            event = await perform(self.exchange, request)
            if isinstance(request, Command):
                self._log_outcome(request, getattr(event, "outcome", None))
            self.tell(event)
        finally:
            self._requests -= 1

    def _log_outcome(self, request: Command, outcome: object) -> None:
        refused = [o.why for o in (outcome, getattr(outcome, "place", None)) if isinstance(o, Refused)]
        if Why.MARKET_CLOSED in refused:
            self._closed.set()
        if Why.FILTER in refused:
            self._filtered.set()
        ids = ids_of(request)
        kind = type(request).__name__
        match outcome:
            case Refused():
                log.warning("refused", request=kind, **ids, code=outcome.code, why=str(outcome.why), text=outcome.text)
            case Unknown():
                log.warning("unknown", request=kind, **ids, text=outcome.text)
            case ReplaceOutcome():
                log.info("replaced", request=kind, **ids, cancel=word(outcome.cancel), place=word(outcome.place))
            case _:
                log.info("accepted", request=kind, **ids)

    # --- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.engine.next_timer()
        if due == self._alarm_at:
            return
        self._disarm()
        if due is not None:
            assert self._tasks is not None
            self._alarm_at = due
            self._alarm = self._tasks.create_task(self._ring(due), name="alarm")

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, None

    async def _ring(self, at: int) -> None:
        while (left := at - self.now()) > 0:
            await self.clock.sleep(min(left / 1000, TIMER_LOOK_S))
        self._alarm, self._alarm_at = None, None
        self.tell(Tick(at=self.now()))

    # --- upkeep ---------------------------------------------------------------------------------------------------

    async def _keep_clock(self) -> None:
        while self._sync_clock is not None:
            await self.clock.sleep(self.timing.sync_clock)
            with self.at_work():
                try:
                    await self._sync_clock()
                except ReadError as error:
                    log.warning("clock_not_synced", error=str(error))

    async def _keep_rules(self) -> None:
        """Filters can change while orders rest, and a symbol can close: read its rules again now and then (filters.md),
        sooner while something is held, at once where an order was refused for it, and often until it has opened.
        """
        if not self.engine.rules.tradable:
            self._tell_market()
        while True:
            await self._rest_rules()
            self._closed.clear()
            self._filtered.clear()
            with self.at_work():
                try:
                    rules = await self._reload()
                except ReadError as error:
                    log.warning("rules_not_reloaded", error=str(error))
                    continue
                known = self.engine.rules
                self._same_rules = self._same_rules + 1 if rules == known else 0
                if rules == known:
                    continue
                log.info("rules_changed", symbol=rules.symbol)
                self.engine.change_rules(rules)
                say_layout(self.engine.policy, rules)
                if rules.tradable is not known.tradable:
                    self._tell_market()
                    self.tell(Tick(at=self.now()))

    async def _rest_rules(self) -> None:
        """Until the rules are to be read again."""
        if not self.engine.rules.tradable and self.state.position is not None:
            await self._until_open(CLOSED_LOOK_S)
            return
        pause = min(FILTER_LOOK_S * 2 ** min(self._same_rules, 6), CLOSED_LOOK_S)
        await self.clock.sleep(pause)
        await self._nap(CLOSED_LOOK_S - pause, self._filtered)
        if self._filtered.is_set() or not self.engine.rules.tradable:
            return
        left = (BARRED_LOOK_S if self.engine.rules.barred else self.timing.reload_rules) - CLOSED_LOOK_S
        while left > 0 and not self._closed.is_set() and not self._filtered.is_set():
            await self._nap(min(left, OPEN_LOOK_S), self._closed, self._filtered)
            left -= OPEN_LOOK_S
            if self.state.position is not None and not await self._trades(unknown=True):
                return

    async def _until_open(self, seconds: float) -> None:
        """At the most so long."""
        left = seconds
        while left > 0:
            await self.clock.sleep(min(left, REOPEN_LOOK_S))
            left -= REOPEN_LOOK_S
            if await self._trades(unknown=False):
                return

    async def _nap(self, seconds: float, *calls: asyncio.Event) -> None:
        """Sleep, but not on when an order was refused for what the rules of the symbol may have become."""
        waits = [asyncio.ensure_future(self.clock.sleep(seconds)), *(asyncio.ensure_future(c.wait()) for c in calls)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _trades(self, *, unknown: bool) -> bool:
        """Whether the symbol is open for trading; `unknown`: what counts where that can't be read."""
        with self.at_work():
            try:
                return await self._is_trading()
            except ReadError as error:
                log.warning("look_failed", what="symbol status", error=str(error))
                return unknown

    def _tell_market(self) -> None:
        symbol = self.engine.rules.symbol
        if self.engine.rules.tradable:
            self._say(Notify(Level.INFO, "market_open", f"{symbol} is open for trading again"))
            return
        what = "exits that stand are left standing, and nothing can be placed" if self.state.position else "no entries"
        pace = REOPEN_LOOK_S if self.state.position else CLOSED_LOOK_S
        text = f"{symbol} is not open for trading: {what} until it opens; it is asked every {pace:.0f} s"
        self._say(Notify(Level.ALERT, "market_closed", text))

    # --- words ----------------------------------------------------------------------------------------------------

    def _say(self, note: Notify) -> None:
        position = self.state.position
        trade = position.trade if position is not None else getattr(self.state.last_closed, "trade", None)
        order = {"order": note.order} if note.order else {}
        match note.level:
            case Level.INFO:
                log.info(note.event, trade=trade, **order, text=note.text)
            case Level.WARNING:
                log.warning(note.event, trade=trade, **order, text=note.text)
            case Level.ALERT:
                with noted():
                    log.error(note.event, alert=True, trade=trade, **order, text=note.text)


def _first(group: BaseExceptionGroup[Fenced]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
