"""What a chart needs and the state does not keep: the way of price and stop, and the last words."""

from collections import deque
from typing import Final

import msgspec

from executor.core.model.intents import Level, Notify
from executor.core.model.state import State
from executor.core.model.values import plain
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.kinds import Severity
from executor.ops.status import live_stop

POINTS_MAX: Final = 2_400
NOTES_MAX: Final = 50
_LEVELS: Final = {Severity.INFO: Level.INFO, Severity.WARNING: Level.WARNING, Severity.CRITICAL: Level.ALERT}


class Point(msgspec.Struct, frozen=True, array_like=True):
    """At a second since 1970: the last price, and the stop on the exchange that would be reached first."""

    at: int
    price: str
    stop: str | None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: seconds since 1970, the exchange's time."""

    at: int
    level: str
    event: str
    text: str


class History:
    """Of one symbol, since the start of the service. One point a second at the most; old ones get fewer, so that what
    is kept is bounded and still reaches back.
    """

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.notes: deque[Note] = deque(maxlen=NOTES_MAX)
        self._last: State | None = None

    def sample(self, state: State) -> None:
        """Keep where price and stop are now."""
        quote = state.market.quote
        if state is self._last or quote is None:
            return
        self._last = state
        position = state.position
        stop = live_stop(position) if position is not None else None
        point = Point(state.market.now // 1000, plain(quote.last), None if stop is None else plain(stop))
        if self.points and self.points[-1].at >= point.at:
            self.points[-1] = Point(self.points[-1].at, point.price, point.stop)
            return
        self.points.append(point)
        if len(self.points) > POINTS_MAX:
            self.points = thinned(self.points)

    def note(self, at_ms: int, note: Notify) -> None:
        self.notes.append(Note(at=at_ms // 1000, level=str(note.level), event=note.event, text=note.text))

    def alert(self, at_ms: int, alert: Alert) -> None:
        level = _LEVELS[alert.severity]
        self.notes.append(Note(at=at_ms // 1000, level=str(level), event=alert.event, text=alert.text))


def thinned(points: list[Point]) -> list[Point]:
    """Of the older half every other one, and each at which the stop moved; at the end, a quarter fewer at least."""
    half = len(points) // 2
    old = points[:half]
    kept = [p for i, p in enumerate(old) if i % 2 == 0 or p.stop != old[i - 1].stop]
    return (kept if len(kept) < half * 3 // 4 else old[::2]) + points[half:]
