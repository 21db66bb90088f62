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
from typing import Any, Final

from tests.sim.timeline import Timeline

TURNS_MAX: Final = 100_000
"""Callbacks in one moment: more is a loop that never waits."""


class Spinning(AssertionError):  # noqa: N818  (it says what the loop does)
    """Something in the loop goes on for ever without waiting."""


class NodeLoop(asyncio.AbstractEventLoop):
    """`on_fault` hears of callbacks that raised."""

    def __init__(self, timeline: Timeline, on_fault: Callable[[dict[str, Any]], None]) -> None:
        self.dead = False
        self.paused_until = 0
        self._timeline = timeline
        self._on_fault = on_fault
        self._ready: deque[asyncio.Handle] = deque()
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
        must fail by then, and time no longer passes for them.
        """
        self._burying = True
        tasks = asyncio.all_tasks(self)
        for task in sorted(tasks, key=lambda each: each.get_name()):
            task.cancel()
        with self.running():
            for _ in range(TURNS_MAX):
                if not self._ready:
                    break
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]

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

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._due:
            self._wake()
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if self._burying:
            self._ready.append(handle)
        else:
            # Times are whole ms as floats of seconds: what is a hair above one is that one.
            self._timeline.at(math.ceil(when * 1000 - 0.001), lambda: self._ring(handle))
        return handle

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

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    # --- turns -------------------------------------------------------------------------------------------------------

    def _ring(self, handle: asyncio.TimerHandle) -> None:
        if not handle._cancelled and not self.dead:
            self._ready.append(handle)
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
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
                turns += 1
                if turns > TURNS_MAX:
                    raise Spinning(f"{handle!r:.300}")
        finally:
            self._due = False
            events._set_running_loop(before)
        if ready:
            self._wake()


def new_loop(timeline: Timeline, on_fault: Callable[[dict[str, Any]], None]) -> NodeLoop:
    """A loop that has what the service asks of one: no files, no signals, no processes."""
    return NodeLoop(timeline, on_fault)  # type: ignore[abstract]
