"""How the last trades of a symbol came about, put down as it happens: for whoever asks a running service (`/why`).

What `executor why` finds by telling the whole journal again would take the loop's time.
"""

from collections.abc import Iterator
from typing import Final

from executor.core.model.events import AnyEvent, SignalSeen
from executor.core.model.state import State
from executor.core.transition import Step
from executor.ops.replay import Told
from executor.ops.story import Chapter, Moment, chapter_of, moments_of, shown

KEPT: Final = 20
"""Trades and refused signals; the open trade is always among them."""
MOMENTS_MAX: Final = 200
"""Of each: of one that has more, the beginning and the end."""
BEGINNING: Final = 20


class Memoir:
    """`observe` is to be called with each step. `since`: the exchange's time (ms) since which it has seen them all."""

    def __init__(self, state: State, since: int) -> None:
        self.since = since
        self._before = state
        self._chapters: dict[str, Chapter] = {}
        self._whole: set[str] = set()

    def observe(self, event: AnyEvent, step: Step) -> None:
        told = Told(0, "", event, step, None)
        chapter = chapter_of(told, self._before, self._chapters)
        if chapter is not None and (moments := [*moments_of(told, self._before)]):
            chapter.moments += moments
            surplus = max(len(chapter.moments) - MOMENTS_MAX, 0)
            del chapter.moments[BEGINNING : BEGINNING + surplus]
            if isinstance(event, SignalSeen):
                self._whole.add(chapter.name)
        self._before = step.state
        if len(self._chapters) > KEPT:
            self._forget(step.state.position.trade if step.state.position is not None else "")

    def _forget(self, open_trade: str) -> None:
        oldest = next(key for key in self._chapters if key != open_trade)
        del self._chapters[oldest]
        self._whole.discard(oldest)

    def begins(self, trade: str) -> bool:
        """Whether it knows the trade from its signal on."""
        return trade in self._whole

    def lines(self, trade: str, order: str) -> Iterator[str]:
        """Of a trade, or of one order of it; none where it has seen nothing of it."""
        return shown(self._moments(trade), order, "  ")

    def refusal(self, signal: str) -> Iterator[str]:
        """Of a signal that became no trade."""
        return shown(self._moments(f"signal {signal}"), "", "  ")

    def _moments(self, key: str) -> list[Moment]:
        chapter = self._chapters.get(key)
        return chapter.moments if chapter is not None else []
