"""Virtual time: what is due happens in order, and the clock jumps there. And the clock that the service believes in."""

import heapq
from collections.abc import Callable

from executor.core.absorb.clock import moment

START_MS = 1_750_000_000_000
DONE_AT_ONCE = 10_000
DONE_IN_A_MS = 1
"""So much may happen, at once and on top in each ms: many times what any run needs."""


class Timeline:
    """`now`: the exchange's own time in ms, the only true one here; `asked`: how often something was asked for."""

    def __init__(self) -> None:
        self.now = START_MS
        self._queue: list[tuple[int, int, Callable[[], object]]] = []
        self.asked = 0
        self.done = 0

    def at(self, when: int, action: Callable[[], object]) -> None:
        """Do it then; what is due at the same time happens in the order of asking."""
        self.asked += 1
        heapq.heappush(self._queue, (max(self.now, when), self.asked, action))

    def run_until(self, end: int) -> None:
        """Raises RuntimeError where so much happens that time does not get on."""
        most = self.done + DONE_AT_ONCE + (end - self.now) * DONE_IN_A_MS
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= end:
            self.now, _, action = pop(queue)
            self.done += 1
            if self.done > most:
                raise RuntimeError(f"{self.done} happenings, and no end before {end - self.now} ms more")
            action()
        self.now = max(self.now, end)


class ServiceClock:
    """The exchange's time as the service knows it: off by `skew` (ms), drifting by `drift` (ms per second). `on_bend`
    is called before either changes.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._latest = 0
        self._since = timeline.now
        self.skew = 0
        self.drift = 0
        self.on_bend: Callable[[], None] = lambda: None

    def stamp(self) -> int:
        """What goes out as a request's timestamp."""
        now = self._timeline.now + self.skew
        return now + self.drift * (self._timeline.now - self._since) // 1000 if self.drift else now

    def now(self) -> int:
        """What the core is told: runs backwards only where the clock is set back far."""
        stamp = self.stamp()
        self._latest = moment(self._latest, stamp, stamp)
        return self._latest

    def true_time(self, when: int) -> int:
        """When `now` will read `when`, if nothing bends the clock meanwhile."""
        return self._timeline.now + max(-(-1000 * (when - self.now()) // (1000 + self.drift)), 0)

    def bend(self, ms: int) -> None:
        self.on_bend()
        self.skew += ms

    def let_drift(self, drift: int) -> None:
        """From now on; what has been gained or lost so far stays."""
        self.on_bend()
        now = self._timeline.now
        self.skew, self.drift, self._since = self.stamp() - now, drift, now

    def sync(self) -> None:
        self.on_bend()
        self.skew, self.drift, self._since = 0, 0, self._timeline.now
