"""One channel's task: takes what is due, at the channel's pace, and tries until it is taken.

A channel that is down, slow or unwilling costs nobody but its own alerts' time: they wait in the outbox, merged with
what comes after them, and each try tells the newest state of things.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from executor.ops.alerts.catalogue import kind_of
from executor.ops.alerts.channel import Channel, NotTakenError
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.pace import SHARE, Pace
from executor.ops.alerts.queue import AlertQueue, Waiting
from executor.waiting import nap

log = structlog.get_logger(__name__)

WAIT_MAX_S: Final = 120.0
WAIT_CRITICAL_S: Final = 15.0
"""A try is never farther away than this while something critical waits, unless the other side has named a time."""
_DOUBLINGS: Final = 7


class Sender:
    """`on_sent` hears of each message that was taken, with the time (ms), before anything else is sent."""

    def __init__(
        self,
        channel: Channel,
        on_sent: Callable[[Sequence[Waiting], int], None],
        *,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.queue = AlertQueue()
        self.pace = Pace()
        self.sent = 0
        self.failures = 0
        """Tries in a row that were not taken."""
        self.dropped = 0
        self._on_sent = on_sent
        self._now_ms = now_ms
        self._sleep = sleep
        self._monotonic = monotonic
        self._news = asyncio.Event()
        self._tried = self._not_before = -WAIT_MAX_S
        self._wished = False

    def look(self) -> None:
        """Something new waits."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            self._news.clear()
            items = self._batch()
            wait = self._wait(items)
            if wait is None:
                await self._news.wait()
            elif wait:
                await nap(self._sleep, wait, self._news)
            else:
                await self._try(items)

    async def flush(self) -> None:
        """Return when nothing is due any more."""
        while self._batch():  # noqa: ASYNC110  # a queue has no event for being empty
            await asyncio.sleep(0.01)

    def _batch(self) -> list[Waiting]:
        """As many of what is due as fit into one message, the gravest first; loud and quiet ones apart."""
        due = self.queue.due(self._now_ms())
        if not due:
            return []
        loud = self._loud(due[0])
        items: list[Waiting] = []
        for each in due:
            if self._loud(each) is loud and (not items or self.channel.room([*items, each])):
                items.append(each)
        return items

    def _loud(self, item: Waiting) -> bool:
        return self.channel.loud(kind_of(item.key.event).topic)

    def _wait(self, items: Sequence[Waiting]) -> float | None:
        """Seconds until `items` may go, or until there are any; None where only something new can change that."""
        if not items:
            due = self.queue.next_due()
            return None if due is None else max(due - self._now_ms(), 1) / 1000
        now, gravest = self._monotonic(), items[0].key.severity
        again = self._not_before
        if gravest is Severity.CRITICAL and not self._wished:
            again = min(again, self._tried + WAIT_CRITICAL_S)
        return max(self.pace.wait(now, SHARE[gravest]), again - now, 0.0)

    async def _try(self, items: list[Waiting]) -> None:
        self._tried = self._monotonic()
        self.pace.take(self._tried)
        try:
            await self.channel.send(items)
        except NotTakenError as error:
            if error.hopeless:
                self._give_up(items, str(error))
            else:
                self._again_later(error)
            return
        if self.failures:
            log.info("alerts_taken_again", channel=self.channel.name, after=self.failures)
        self.failures, self._not_before, self._wished = 0, self._tried, False
        self.sent += 1
        self._settle(items)

    def _settle(self, items: Sequence[Waiting]) -> None:
        now = self._now_ms()
        for each in items:
            self.queue.settle(each.key, each.count, now)
        self._on_sent(items, now)

    def _again_later(self, error: NotTakenError) -> None:
        self.failures += 1
        back_off = min(2.0 ** min(self.failures - 1, _DOUBLINGS), WAIT_MAX_S)
        self._wished = error.again_in is not None
        self._not_before = self._monotonic() + max(back_off, error.again_in or 0.0)
        if self.failures & (self.failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …: a channel that is down is no news
            log.warning("alert_not_sent", channel=self.channel.name, why=str(error), tries=self.failures)

    def _give_up(self, items: Sequence[Waiting], why: str) -> None:
        """What the channel will never take must not keep the others from it: the log has it."""
        self.dropped += len(items)
        for each in items:
            log.error("alert_given_up", channel=self.channel.name, why=why, about=each.key.event, text=each.alert.text)
        self._settle(items)
