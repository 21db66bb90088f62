"""Work that may hang, such as on a mount whose server has gone, apart from everything else.

The threads that asyncio lends are few, shared, and waited for at the end of the process: whatever hangs in one of them
holds up others, and the end.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Worker(Protocol):
    """Does jobs one after the other."""

    async def do(self, job: Callable[[], T]) -> T: ...

    def close(self) -> None: ...


class SameThread:
    """Does each job on the spot: where time is a recording's, it must not pass meanwhile."""

    async def do(self, job: Callable[[], T]) -> T:
        return job()

    def close(self) -> None:
        pass


class WorkerThread:
    """One thread of its own, begun with its first job; jobs are done one after the other, in the order in which they
    were given. One that hangs holds up those behind it, and nothing else.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, job: Callable[[], T]) -> T:
        """What `job` returns, or raises. One that is no longer waited for is left out, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        done: Future[T] = Future()
        self._jobs.put((done, job))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """End it once all jobs are done, without waiting for that."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            done, job = given
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(job())
            except BaseException as error:  # noqa: BLE001  # told to whoever waits for it
                done.set_exception(error)
