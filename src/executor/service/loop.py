"""The loop: one consumer takes events one at a time; requests run beside it and come back as events.

    signals, pushes, polls, time, operator -> inbox -> engine (transition, state on disk) -> dispatch -> journal and log

The answers to what was dispatched come back to the inbox.

Every task lives in one TaskGroup: one that dies takes the service down loudly, and the supervisor restarts it into
rule 9.1.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from executor.core.model.events import AnyEvent, Commanded, SignalSeen, Started, Tick, Verb
from executor.core.model.intents import Command, Notify, Request
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, State
from executor.core.model.values import ZERO
from executor.core.model.verdict import Refusal
from executor.core.transition import Step
from executor.exchange.port import Exchange
from executor.exchange.transport.clock import LocalClock
from executor.service import ending
from executor.service.committer import Committer
from executor.service.dispatcher import perform
from executor.service.engine import Engine
from executor.service.inbox import Delivery, Inbox, always
from executor.service.note_log import log_note
from executor.service.outcome_log import log_outcome
from executor.service.policy import say_layout
from executor.service.poller import Poller, Timing
from executor.service.rules_poller import RulesPoller
from executor.service.store.port import Fenced
from executor.service.timer import Leaps, Timer

if TYPE_CHECKING:
    from executor.ops.memoir import Memoir

log = structlog.get_logger(__name__)

NOT_CAUGHT_UP: Final = "what the exchange knows of the orders of before could not be read yet: try again"

DRAIN_S: Final = 5.0
DRAIN_LOOK_S: Final = 0.01
"""How long a stop waits for answers (rule 9.5); what has not come by then is looked up at the next start."""
LAST_S: Final = 2.0
"""How long for those of what was done about a position at the very end."""


class Loop:
    """Runs one engine on one exchange until `stop`. `on_step` is called with every step, after it is on disk and
    dispatched; `on_turn` each time the consumer has come round; `on_ready` once the orders of before are known,
    `on_stop` once it is to end.

    `reload` reads the symbol's rules, `is_trading` whether it is open for trading; both may raise ReadError.
    """

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange,
        clock: LocalClock,
        timing: Timing,
        reload: Callable[[], Awaitable[SymbolRules]],
        is_trading: Callable[[], Awaitable[bool]],
    ) -> None:
        self.engine = engine
        self.exchange = exchange
        self.clock = clock
        self.timing = timing
        self.ready = asyncio.Event()
        self.catch_up: Callable[[], Awaitable[State]] | None = None
        """What reads the state that the loop begins with, where the engine's is not the newest (rules 9.2, 9.3): it
        does not give up, and until it has ended no event is taken.
        """
        self.beside: Callable[[SignalSeen], SignalSeen] | None = None
        """Tells a signal what it has to know of the account's other symbols; asked as its turn comes, as several may
        come at once.
        """
        self.poller = Poller(self)
        self.committer = Committer(engine, self.now, self._turned, self._whole)
        self.on_step: list[Callable[[AnyEvent, Step], None]] = [self.poller.on_step]
        self.closed: Sequence[Closed] = ()
        """The last finished trades, oldest first."""
        self.memoir: Memoir | None = None
        """How they came about, where somebody may ask."""
        self.on_turn: list[Callable[[], None]] = []
        self.on_ready: list[Callable[[], None]] = []
        self.on_stop: list[Callable[[], None]] = []
        self.ended_bare = ZERO
        """Base that was left without a stop, or sold too much, when the loop ended, however it did (rule 9.5)."""
        self._rules = RulesPoller(self, reload, is_trading)
        self._leaps = Leaps(self.now, clock.now_ms)
        self._timer = Timer(clock, self.now, lambda: self.tell(Tick(at=self.now())))
        self._inbox = Inbox()
        self._stop = asyncio.Event()
        self._changed = asyncio.Condition()
        self._tasks: asyncio.TaskGroup | None = None
        self._requests = 0
        self._unanswered: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._first: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._side: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []

    # --- for the rooms around -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.engine.state

    def now(self) -> int:
        return self.exchange.now()

    def add_task(self, name: str, task: Callable[[], Coroutine[Any, Any, None]], *, at_once: bool = False) -> None:
        """Run `task` beside the loop once it is ready, or `at_once`; it is cancelled first when the loop stops."""
        (self._first if at_once else self._side).append((name, task))

    def tell(self, event: AnyEvent) -> None:
        """Put an event in the inbox. A price lets everything else by: a fill must not wait for it. Nothing while the
        state catches up: all of it is asked for afterwards.
        """
        if self.catch_up is None:
            self._inbox.tell(event)

    async def ask(self, event: AnyEvent, takes: Collection[str] = (), wanted: Callable[[], bool] = always) -> Step:
        """Put an event in the inbox and wait for what became of it. `takes`: signals of the store that it consumes;
        `wanted`: whether it still is, as its turn comes. Refused while the state catches up.
        """
        if self.catch_up is not None:
            return Step(self.state, (), (), Refusal(NOT_CAUGHT_UP))
        return await self._inbox.ask(event, takes, wanted)

    def post(self, event: AnyEvent, then: Callable[[Step], None]) -> None:
        """Put an event in the inbox; `then` is called with what became of it, which may not be on disk yet."""
        self._inbox.post(event, then)

    def beat(self) -> None:
        """Put a heartbeat in the inbox: `on_turn` is called when the consumer has come to it, behind every event
        that was there before, prices apart.
        """
        if self.catch_up is not None:
            asyncio.get_running_loop().call_soon(self._turned)
        else:
            self._inbox.beat()

    @property
    def ending(self) -> bool:
        """Whether it is to stop: nothing new is begun."""
        return self._stop.is_set()

    @property
    def inbox_empty(self) -> bool:
        """Whether no event waits to be taken."""
        return not self._inbox.waiting

    @property
    def taking(self) -> bool:
        """Whether an event waits, or something is being done."""
        return self._inbox.waiting > 0 or self._busy > 0

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

    def say(self, note: Notify, before: State | None = None) -> None:
        """Have people told. `before`: the state that the note's step began with, where a step has made it."""
        log_note(note, self.state, before or self.state)

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
            rules = self.engine.rules
            self.ended_bare = max(ending.bare(self.state, rules), ending.oversold(self.state, rules))

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            consumer = tasks.create_task(self._consume(), name="consumer")
            stop = tasks.create_task(self._stop.wait(), name="stop")
            recovery = tasks.create_task(self._recover(), name="recovery")
            beside = [recovery, tasks.create_task(self.committer.publish(), name="publish")]
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
                    ("rules", self._rules.run),
                ]
                beside += [tasks.create_task(task(), name=name) for name, task in (*own, *self._side)]
            await stop
            self.tell(Commanded(at=self.now(), verb=Verb.END))
            looked_after = await self._cover(recovery)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self.poller.end()
            await self._drain(DRAIN_S)
            if not looked_after and await self._cover(recovery):  # an entry was under way, and has filled meanwhile
                await self._drain(LAST_S)
            self._timer.off()
            for task in (consumer, *self._unanswered):  # nobody takes an answer any more
                task.cancel()
            ending.say_what_is_left(self.state, self.engine.rules, self.say)

    async def _cover(self, recovery: asyncio.Task[None]) -> bool:
        """What is bare, or being closed, does not wait for its pause: it is tried once more, and looked after for a
        moment as ever: an interim stop grows, a doubt settles (rule 9.5). Whether there was any.
        """
        if not self.exposed():
            return False
        moment = asyncio.ensure_future(self.clock.sleep(DRAIN_S))
        covered = asyncio.ensure_future(self._recovered_and_covered(recovery))
        try:
            await asyncio.wait({moment, covered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moment.cancel()
            covered.cancel()
        return True

    async def _recovered_and_covered(self, recovery: asyncio.Task[None]) -> None:
        await asyncio.wait({recovery})
        self.tell(Commanded(at=self.now(), verb=Verb.RETRY))
        await self.until(lambda _: not self.exposed())

    async def _drain(self, seconds: float) -> None:
        """Wait a moment for the answers under way (rule 9.5)."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.quiet() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # counters, no event
            await asyncio.sleep(DRAIN_LOOK_S)
        if not self.quiet():
            log.warning("stopped_with_answers_open", requests=self._requests)

    async def _recover(self) -> None:
        """Look up everything that was under way (rule 9.1); nothing else happens before that is done."""
        if self.catch_up is not None:
            with self.at_work():
                self.engine.begin_with(await self.catch_up())
            self.catch_up = None
            log.info("caught_up", symbol=self.state.symbol, position=self.state.position is not None)
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
            delivery = await self._inbox.take()
            if delivery is None:
                self._turned()
                continue
            with self.at_work():
                if not isinstance(delivery.event, Started):
                    await self._hear_leaps()
                step = await self._take(delivery)
            self._turned()
            if self._inbox.waiting and not step.requests:
                await asyncio.sleep(0)  # a backlog of one symbol must not keep the others' fills waiting

    async def _hear_leaps(self) -> None:
        """A clock that was set is heard of before what comes by the new time."""
        while ahead := self._leaps.ahead():
            await self._take(Delivery(Tick(at=self.now(), ahead=ahead)))

    async def _take(self, delivery: Delivery) -> Step:
        """One event: its step on disk, its requests on their way, and then all who want to know of it told."""
        event, answer, then, takes, wanted = delivery
        before = self.state
        more = answer is None and self._inbox.waiting > 0
        in_order = isinstance(event, Started) or (isinstance(event, Tick) and event.ahead)  # leaps, as they came
        first = None if in_order else self._hear_leaps
        step = await self.committer.commit(event, more=more, takes=takes, wanted=wanted, first=first)
        for request in step.requests:
            self._dispatch(request)
            await self._sent()
        step = self.engine.proven(step)
        self.engine.write_down()
        if self.engine.unpublished:
            self.committer.publish_soon()
        for note in step.notes:
            self.say(note, before)
        for callback in self.on_step:
            callback(event, step)
        if answer is not None and not answer.done():
            answer.set_result(step)
        if then is not None:
            then(step)
        assert self._tasks is not None
        self._timer.set(self.engine.next_timer(), self._tasks)
        async with self._changed:
            self._changed.notify_all()
        return step

    def _whole(self, event: AnyEvent) -> AnyEvent:
        return self.beside(event) if isinstance(event, SignalSeen) and self.beside is not None else event

    def _turned(self) -> None:
        for callback in tuple(self.on_turn):
            callback()

    # --- requests -------------------------------------------------------------------------------------------------

    def _dispatch(self, request: Request) -> None:
        assert self._tasks is not None
        self._requests += 1
        asked = self._tasks.create_task(self._perform(request), name=f"request {request.seq}")
        self._unanswered.add(asked)
        asked.add_done_callback(self._unanswered.discard)

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
                outcome = getattr(event, "outcome", None)
                self._rules.on_outcome(outcome)
                log_outcome(request, outcome)
            self.tell(event)
        finally:
            self._requests -= 1


def _first(group: BaseExceptionGroup[Fenced]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
