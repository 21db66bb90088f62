"""What a loop takes, one at a time: events in the order in which they came, prices behind all others."""

import asyncio
import itertools
from collections.abc import Callable, Collection
from typing import NamedTuple

from executor.core.model.events import AnyEvent, QuoteSeen
from executor.core.transition import Step


class Delivery(NamedTuple):
    """`answer` awaits the step that `event` makes, `then` is called with it. `takes`: signals of the store that are
    consumed with it.
    """

    event: AnyEvent
    answer: asyncio.Future[Step] | None = None
    then: Callable[[Step], None] | None = None
    takes: Collection[str] = ()


class Inbox:
    """Put to by `tell`, `ask`, `post` and `beat`; the loop's consumer calls `take`.

    `waiting`: so many events wait, heartbeats apart.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._queue: asyncio.PriorityQueue[tuple[bool, int, Delivery | None]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._beating = False

    def tell(self, event: AnyEvent) -> None:
        """A price lets everything else by: a fill must not wait for it."""
        self._put(Delivery(event), yields=isinstance(event, QuoteSeen))

    async def ask(self, event: AnyEvent, takes: Collection[str]) -> Step:
        """Return what became of it."""
        answer: asyncio.Future[Step] = asyncio.get_running_loop().create_future()
        self._put(Delivery(event, answer=answer, takes=takes))
        return await answer

    def post(self, event: AnyEvent, then: Callable[[Step], None]) -> None:
        """`then` is called with what became of it, which may not be on disk yet."""
        self._put(Delivery(event, then=then))

    def beat(self) -> None:
        """Put a heartbeat behind every event that was there before, prices apart. One that has not come through yet is
        enough.
        """
        if not self._beating:
            self._beating = True
            self._queue.put_nowait((False, next(self._numbers), None))

    async def take(self) -> Delivery | None:
        """What is next; None is a heartbeat."""
        _, _, delivery = await self._queue.get()
        if delivery is None:
            self._beating = False
        else:
            self.waiting -= 1
        return delivery

    def empty(self) -> bool:
        """Whether nothing is in it, not even a heartbeat."""
        return self._queue.empty()

    def _put(self, delivery: Delivery, *, yields: bool = False) -> None:
        self.waiting += 1
        self._queue.put_nowait((yields, next(self._numbers), delivery))
