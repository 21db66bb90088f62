"""Steps brought to their store, however long it can't be written: a full disk ends no service (rule 8.1)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Final

import structlog

from executor.core.model.events import AnyEvent
from executor.core.model.intents import Command
from executor.core.model.verdict import Refusal
from executor.core.transition import Step
from executor.service.engine import Engine
from executor.service.inbox import always
from executor.service.store.port import StoreUnwritable

log = structlog.get_logger(__name__)

GIVEN_UP: Final = Refusal("given up before its turn came")
DISK_RETRY_S: Final = 1.0
STORE_TURN_S: Final = 0.25


class Committer:
    """`commit` one event after another, `publish` beside it. `now`: the exchange's time in ms; `turned` is called again
    and again while the store is waited for: that is no hanging, and a restart would not help. `whole`: the event with
    what else it is judged by, as that is at the moment.
    """

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], int],
        turned: Callable[[], None],
        whole: Callable[[AnyEvent], AnyEvent] = lambda event: event,
    ) -> None:
        self._engine = engine
        self._now = now
        self._turned = turned
        self._whole = whole
        self._news = asyncio.Event()
        self._took = (0, 0)
        """How long (ms) the last two steps with requests to be stamped waited for the store."""
        self._slow = False

    async def commit(
        self,
        event: AnyEvent,
        *,
        more: bool,
        takes: Collection[str],
        wanted: Callable[[], bool] = always,
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> Step:
        """The engine's step, its state in the store: until then nothing is sent (rule 8.1), however full the disk; none
        for what is not `wanted` any more by then. `first`: what is to be heard of before it is tried again.

        `more`, `takes`: as for `Engine.commit`. Raises Fenced.
        """
        told, step, asked, taken = False, None, 0, event
        while True:
            try:
                if step is None:
                    if not wanted():
                        return Step(self._engine.state, (), (), GIVEN_UP)
                    asked = self._now()
                    taken = taken if (whole := self._whole(event)) == taken else whole
                    step = self._engine.commit(taken, more=more, now=asked + self._lead(), takes=takes)
                if self._engine.pending:
                    with self._turning():
                        await self._engine.written()
            except StoreUnwritable as error:
                await self._wait_for_room(error, told=told)
                told = True
                if step is None and first is not None:
                    await first()
            else:
                if told:
                    log.info("state_writable_again")
                if any(isinstance(request, Command) for request in step.requests):
                    self._took = self._took[1], self._now() - asked
                return step

    async def _wait_for_room(self, error: StoreUnwritable, *, told: bool) -> None:
        if not told:
            log.error("state_unwritable", alert=True, error=str(error), waiting="nothing is sent until it is")
        self._turned()
        await asyncio.sleep(DISK_RETRY_S)

    def _lead(self) -> int:
        """Where the store takes so long, again and again, that whatever is decided would be too old to be sent once it
        is written, requests are stamped for when it will be (ms; rule 8.3d).
        """
        least = min(self._took)
        slow = 4 * least > self._engine.policy.recv_window_ms
        if slow and not self._slow:
            log.warning("store_slow", ms=least, text="requests are stamped for when their state will be written")
        self._slow = slow
        return least if slow else 0

    def publish_soon(self) -> None:
        """The state file is behind."""
        self._news.set()

    async def publish(self) -> None:
        """Have the state file follow for ever, out of the way of events. Raises Fenced."""
        told = False
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(self._engine.publish_after_s)
            try:
                await asyncio.to_thread(self._engine.publish)
                await self._engine.written()
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

    @contextlib.contextmanager
    def _turning(self) -> Iterator[None]:
        """A store on other machines is waited for."""
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
