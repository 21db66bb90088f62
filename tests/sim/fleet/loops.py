"""An event loop on virtual time, one for each life of a node: the service's own asyncio code runs in it, unchanged.

Deterministic: what is ready runs in the order in which it became so. A loop can be paused, as SIGSTOP or a machine that
is moved pauses a process, and goes on later as if nothing had been; and it can be ended, as by SIGKILL.
"""

import asyncio
import contextlib
import math
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


class _Call:
    """A callback that waits for its turn or its time: asyncio's handle, without what that keeps for debugging."""

    __slots__ = ("_args", "_callback", "_context", "_loop", "is_cancelled")

    def __init__(self, loop: "NodeLoop", callback: Any, args: tuple[Any, ...], context: Context | None) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._context = copy_context() if context is None else context
        self.is_cancelled = False

    def __repr__(self) -> str:
        return f"<{self._callback!r} with {self._args!r}>"

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def run(self) -> None:
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio's own handle does
            self._loop.call_exception_handler({"exception": error, "handle": self})

    def ring(self) -> None:
        """Its time has come."""
        if not self.is_cancelled:
            self._loop.make_ready(self)


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
        return sorted(asyncio.all_tasks(self), key=lambda each: each.get_name())

    def drain(self) -> None:
        """Run what is ready, and what becomes ready by that."""
        for _ in range(TURNS_MAX):
            if not self._ready:
                break
            call = self._ready.popleft()
            if not call.is_cancelled:
                call.run()

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
        call = _Call(self, callback, args, context)
        self._ready.append(call)
        if not self._due:
            self._wake()
        return call

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self._timeline.now / 1000 + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        call = _Call(self, callback, args, context)
        if self._burying:
            self._ready.append(call)
        else:
            # Times are whole ms as floats of seconds: what is a hair above one is that one.
            self._timeline.at(math.ceil(when * 1000 - 0.001), call.ring)
        return call

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> "asyncio.Future[Any]":
        """At once: the order of things must not depend on threads."""
        done = self.create_future()
        done.set_result(func(*args))
        return done

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._burying:
            self._on_fault(context)

    # --- turns -------------------------------------------------------------------------------------------------------

    def make_ready(self, call: _Call) -> None:
        if not self.dead:
            self._ready.append(call)
            if not self._due:
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
                if not call.is_cancelled:
                    call.run()
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
