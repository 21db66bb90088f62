"""Lines of the signal file that have been read, until each has been judged."""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from executor.signals.position import Position

COMPACT_AT: Final = 1_000


class Place(msgspec.Struct):
    """Where a line ends; `done` once it has been judged."""

    position: Position
    done: bool = False


class UnderWay:
    """In the order of the file. However many are judged behind one that is not, at most about as many places are kept
    as lines are still open, and COMPACT_AT.
    """

    def __init__(self) -> None:
        self._places: deque[Place] = deque()
        self._passed: Position | None = None
        self._compact_at = COMPACT_AT

    def __len__(self) -> int:
        """How many places are kept."""
        return len(self._places)

    def add(self, position: Position) -> Place:
        place = Place(position)
        self._places.append(place)
        if len(self._places) > self._compact_at:
            self._places = deque(_without_runs(self._places))
            self._compact_at = 2 * len(self._places) + COMPACT_AT
        return place

    def finish(self, place: Place) -> None:
        place.done = True
        while self._places and self._places[0].done:
            self._passed = self._places.popleft().position

    def take_passed(self) -> Position | None:
        """The place behind the last line before which all are judged; None where it is known from the last call."""
        passed, self._passed = self._passed, None
        return passed


def _without_runs(places: Iterable[Place]) -> Iterable[Place]:
    """Of judged ones in a row the last alone: the place goes past all of them at once."""
    last: Place | None = None
    for place in places:
        if last is not None and not (last.done and place.done):
            yield last
        last = place
    if last is not None:
        yield last
