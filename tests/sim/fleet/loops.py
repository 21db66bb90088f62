"""An event loop on virtual time, one for each life of a node: the service's own asyncio code runs in it, unchanged.

Deterministic: what is ready runs in the order in which it became so. A loop can be paused, as SIGSTOP or a machine that
is moved pauses a process, and goes on later as if nothing had been; and it can be ended, as by SIGKILL.
"""

import asyncio
import contextlib
import math
import weakref
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from typing import Any, Final

from tests.sim.timeline import Timeline

TURNS_MAX: Final = 100_000
"""Callbacks in one moment: more is a loop that never waits."""
BURIALS_MAX: Final = 50
"""How often a task is cancelled that each time finds something else to wait for."""


class Spinning(AssertionError):  # noqa: N818  (it says what the loop does)
    """Something in the loop goes on for ever without waiting."""


class _Call(list[Any]):
    """A callback that waits for its turn or its time, its arguments and its context; empty once it is cancelled.

    In place of asyncio's handle, and a list, as a run makes a hundred thousand of them: nothing is quicker to make.
    """

    __slots__ = ()

    cancel = list.clear

    def cancelled(self) -> bool:
        return not self


class NodeLoop(asyncio.AbstractEventLoop):
    """`on_fault` hears of callbacks that raised."""

    def __init__(self, timeline: Timeline, on_fault: Callable[[dict[str, Any]], None]) -> None:
        self.dead = False
        self.paused_until = 0
        self._timeline = timeline
        self._on_fault = on_fault
        self._ready: deque[_Call] = deque()
        self._due = False
        self._burying = False
        self._made: list[weakref.ref[asyncio.Task[Any]]] = []
        """Its tasks, of which it holds none: one that nobody holds is to be lost here, too."""
        self._made_most = 64

    # --- pauses and the end ------------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        return self._timeline.now < self.paused_until

    def pause(self, ms: int) -> None:
        """What is running now runs on to where it waits next."""
        self.paused_until = max(self.paused_until, self._timeline.now + ms)

    def kill(self) -> None:
        """Nothing of it runs on. `bury` it later, from outside."""
        self.dead = True

    def bury(self) -> None:
        """Let its tasks end, so that nothing of them is left for the garbage collector: whatever they ask of the world
        must fail by then, and time no longer passes for them. Raises AssertionError for one that does not end.
        """
        if self._burying:
            return
        self._burying = True
        with self.running():
            for _ in range(BURIALS_MAX):
                tasks = self._tasks()
                if not tasks:
                    return
                for task in tasks:
                    task.cancel()
                self.drain()
        assert not (left := self._tasks()), f"never ends: {left[0]!r:.300}"

    def _tasks(self) -> "list[asyncio.Task[Any]]":
        left = [task for each in self._made if (task := each()) is not None and not task.done()]
        return sorted(left, key=lambda each: each.get_name())

    def drain(self) -> None:
        """Run what is ready, and what becomes ready by that."""
        for _ in range(TURNS_MAX):
            if not self._ready:
                break
            self._run(self._ready.popleft())

    def _run(self, call: _Call) -> None:
        if call:
            callback, args, context = call
            try:
                context.run(callback, *args)
            except BaseException as error:  # noqa: BLE001 - as asyncio's own handle does
                self._raised(call, error)

    def _raised(self, call: _Call, error: BaseException) -> None:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise error
        self.call_exception_handler({"exception": error, "handle": call})

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """For code that asks which loop is running."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(before)

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self._timeline.now / 1000

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        call = _Call((callback, args, copy_context() if context is None else context))
        self._ready.append(call)
        if not self._due:
            self._wake()
        return call

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        call = _Call((callback, args, copy_context() if context is None else context))
        self._ring_at(self._timeline.now / 1000 + delay, call)
        return call

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        call = _Call((callback, args, copy_context() if context is None else context))
        self._ring_at(when, call)
        return call

    def _ring_at(self, when: float, call: _Call) -> None:
        if self._burying:
            self._ready.append(call)
        else:
            # Times are whole ms as floats of seconds: what is a hair above one is that one.
            self._timeline.at(math.ceil(when * 1000 - 0.001), lambda: self._ring(call))

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        if len(self._made) > self._made_most:
            self._made = [each for each in self._made if (made := each()) is not None and not made.done()]
            self._made_most = 2 * len(self._made) + 64
        self._made.append(weakref.ref(task))
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> "asyncio.Future[Any]":
        """At once: the order of things must not depend on threads."""
        done = self.create_future()
        done.set_result(func(*args))
        return done

    get_debug = staticmethod(bool)
    """False; each future asks, and this answers without a frame of its own."""

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._burying:
            self._on_fault(context)

    # --- turns -------------------------------------------------------------------------------------------------------

    def _ring(self, call: _Call) -> None:
        """Its time has come."""
        if call and not self.dead:
            self._ready.append(call)
            self._wake_now()

    def tell(self, told: Callable[[], object]) -> None:
        """`told` is called in the process's next turn. For what time itself calls: nothing else is under way."""
        if not self.dead:
            self._ready.append(_Call((told, (), copy_context())))
            self._wake_now()

    def _wake_now(self) -> None:
        """Have the turn at once, where it would be what happens next all the same."""
        if self._due or self._burying:
            return
        now, queue = self._timeline.now, self._timeline._queue
        if now >= self.paused_until and not (queue and queue[0][0] <= now):
            self._turn()
        else:
            self._wake()

    def _wake(self) -> None:
        if not self._due and not self.dead and not self._burying:
            self._due = True
            self._timeline.at(self.paused_until, self._turn)

    def _turn(self) -> None:
        ready, timeline = self._ready, self._timeline
        turns = 0
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._due = True  # what becomes ready meanwhile has its turn in this one
        try:
            while ready and not self.dead and timeline.now >= self.paused_until:
                call = ready.popleft()
                if call:  # as `_run` does, which would be called for every one of them
                    callback, args, context = call
                    try:
                        context.run(callback, *args)
                    except BaseException as error:  # noqa: BLE001 - as asyncio's own handle does
                        self._raised(call, error)
                turns += 1
                if turns > TURNS_MAX:
                    raise Spinning(f"{call!r:.300}")
        finally:
            self._due = False
            events._set_running_loop(before)
        if ready:
            self._wake()


def new_loop(timeline: Timeline, on_fault: Callable[[dict[str, Any]], None]) -> NodeLoop:
    """A loop that has what the service asks of one: no files, no signals, no processes."""
    return NodeLoop(timeline, on_fault)  # type: ignore[abstract]
