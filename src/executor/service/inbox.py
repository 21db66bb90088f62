"""What a loop takes, one at a time: events in the order in which they came, prices behind all others. Of prices that
nobody asked for the newest alone waits: while a store can't be written they go on coming, and who comes to them an hour
later must not act on what the market was then.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from msgspec.structs import replace

from executor.core.model.events import AnyEvent, QuoteSeen
from executor.core.transition import Step

RECENT_MS: Final = 2_000
"""So long a price is told beside the one that followed it before it was taken."""


def always() -> bool:
    return True


class Delivery(NamedTuple):
    """`answer` awaits the step that `event` makes, `then` is called with it. `takes`: signals of the store that are
    consumed with it. `wanted`: whether it still is, as its turn comes.
    """

    event: AnyEvent
    answer: asyncio.Future[Step] | None = None
    then: Callable[[Step], None] | None = None
    takes: Collection[str] = ()
    wanted: Callable[[], bool] = always


class Inbox:
    """Put to by `tell`, `ask`, `post` and `beat`; the loop's consumer calls `take`.

    `waiting`: so many events wait, heartbeats apart.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._queue: asyncio.PriorityQueue[tuple[bool, int, Delivery | None]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._beating = False
        self._price: QuoteSeen | None = None
        """Waits in the queue."""

    def tell(self, event: AnyEvent) -> None:
        """A price lets everything else by: a fill must not wait for it."""
        if isinstance(event, QuoteSeen) and not event.seq:
            waits, self._price = self._price, event
            if waits is not None:
                self._price = _after(waits, event)
                return
        self._put(Delivery(event), yields=isinstance(event, QuoteSeen))

    async def ask(self, event: AnyEvent, takes: Collection[str], wanted: Callable[[], bool] = always) -> Step:
        """Return what became of it."""
        answer: asyncio.Future[Step] = asyncio.get_running_loop().create_future()
        self._put(Delivery(event, answer=answer, takes=takes, wanted=wanted))
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
            return None
        self.waiting -= 1
        event, price = delivery.event, self._price
        if price is not None and isinstance(event, QuoteSeen) and not event.seq and delivery.answer is None:
            self._price = None
            return delivery._replace(event=price)
        return delivery

    def empty(self) -> bool:
        """Whether nothing is in it, not even a heartbeat."""
        return self._queue.empty()

    def _put(self, delivery: Delivery, *, yields: bool = False) -> None:
        self.waiting += 1
        self._queue.put_nowait((yields, next(self._numbers), delivery))


def _after(waits: QuoteSeen, event: QuoteSeen) -> QuoteSeen:
    """`event` in the place of one that waits."""
    earlier = (*waits.before, waits.quote, *event.before)
    return replace(event, before=tuple(quote for quote in earlier if event.at - quote.at <= RECENT_MS))
