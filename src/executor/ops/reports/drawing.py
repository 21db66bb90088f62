"""Plain pictures as SVG that stands in a page: no script, colours by the page's own classes, so that they follow light
and dark. Numbers are floats here: for drawing only, what is read as text comes from the exact ones.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

from executor.ops import text

WIDTH: Final = 720
HEIGHT: Final = 300
_LEFT: Final = 8.0
_RIGHT: Final = WIDTH - 8.0
_TOP: Final = 12.0
_BOTTOM: Final = HEIGHT - 34.0
TICKS: Final = 4

Point = tuple[float, float]


class Range(NamedTuple):
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], *, air: float = 0.0) -> "Range":
        """All of `values`, with `air` (a share) around them, never empty."""
        low, high = min(values), max(values)
        room = (high - low) * air or abs(high) * 1e-6 or 1.0
        return cls(low - room, high + room) if air or low == high else cls(low, high)


class Canvas:
    """One picture: what is drawn later lies above. `x`, `y`: what the axes show."""

    def __init__(self, x: Range, y: Range) -> None:
        self._x = x
        self._y = y
        self._parts: list[str] = []

    def across(self, value: float) -> float:
        return _LEFT + (value - self._x.low) / (self._x.high - self._x.low) * (_RIGHT - _LEFT)

    def up(self, value: float) -> float:
        return _BOTTOM - (value - self._y.low) / (self._y.high - self._y.low) * (_BOTTOM - _TOP)

    def grid(self, say: Callable[[float], str] | None = None) -> None:
        """Lines across at round values, each with its number."""
        values = ticks(self._y, TICKS)
        words = say or decimals_of(values)
        for value in values:
            self.level(value, "grid")
            self.text(_LEFT + 2, self.up(value) - 4, words(value), "axis")

    def times(self) -> None:
        """The time at which the picture begins and ends, below it."""
        self.text(_LEFT, HEIGHT - 10, clock(self._x.low), "axis")
        self.text(_RIGHT, HEIGHT - 10, clock(self._x.high), "axis", anchor="end")

    def ends(self, first: str, last: str) -> None:
        """Words for where the picture begins and ends, below it."""
        self.text(_LEFT, HEIGHT - 10, first, "axis")
        self.text(_RIGHT, HEIGHT - 10, last, "axis", anchor="end")

    def level(self, value: float, kind: str) -> None:
        at = _n(self.up(value))
        self._parts.append(f'<path class="{kind}" d="M{_n(_LEFT)} {at}H{_n(_RIGHT)}"/>')

    def line(self, points: Sequence[Point], kind: str) -> None:
        if points:
            way = " ".join(f"{_n(self.across(x))} {_n(self.up(y))}" for x, y in points)
            self._parts.append(f'<path class="{kind}" d="M{way}"/>')

    def steps(self, points: Sequence[tuple[float, float | None]], until: float, kind: str) -> None:
        """Each value holds until the next, the last until `until`; None: there is none meanwhile."""
        way = ""
        drawing = False
        for i, (x, y) in enumerate(points):
            if y is None:
                drawing = False
                continue
            after = points[i + 1][0] if i + 1 < len(points) else until
            way += f"V{_n(self.up(y))}" if drawing else f"M{_n(self.across(x))} {_n(self.up(y))}"
            way += f"H{_n(self.across(after))}"
            drawing = True
        if way:
            self._parts.append(f'<path class="{kind}" d="{way}"/>')

    def band(self, since: float, until: float, kind: str) -> None:
        """From top to bottom; never too thin to be seen."""
        left = self.across(since)
        width = max(self.across(until) - left, 1.5)
        self._parts.append(
            f'<rect class="{kind}" x="{_n(left)}" y="{_n(_TOP)}" width="{_n(width)}" height="{_n(_BOTTOM - _TOP)}"/>'
        )

    def bar(self, left: float, right: float, value: float, kind: str) -> None:
        """From zero to `value`."""
        top, foot = sorted((self.up(value), self.up(0.0)))
        x = self.across(left) + 1
        width = max(self.across(right) - 1 - x, 0.5)
        self._parts.append(
            f'<rect class="{kind}" x="{_n(x)}" y="{_n(top)}" width="{_n(width)}" height="{_n(max(foot - top, 0.5))}"/>'
        )

    def dot(self, x: float, y: float, kind: str) -> None:
        self._parts.append(f'<circle class="{kind}" cx="{_n(self.across(x))}" cy="{_n(self.up(y))}" r="4"/>')

    def square(self, x: float, y: float, kind: str) -> None:
        self._parts.append(
            f'<rect class="{kind}" x="{_n(self.across(x) - 3.5)}" y="{_n(self.up(y) - 3.5)}" width="7" height="7"/>'
        )

    def arrow(self, x: float, y: float, kind: str, *, up: bool) -> None:
        """With its head at the point: up from below it, or down from above."""
        across, at, way = self.across(x), self.up(y), 1 if up else -1
        self._parts.append(
            f'<path class="{kind}" d="M{_n(across)} {_n(at)}l6 {11 * way}h-12z"/>',
        )

    def text(self, x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> None:
        """At a place of the picture itself, not of its axes."""
        self._parts.append(
            f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def over(self, x: float, y: float, words: str, kind: str) -> None:
        """In the middle above a point."""
        self.text(self.across(x), self.up(y) - 5, words, kind, anchor="middle")

    def svg(self, label: str) -> str:
        """`label`: what it shows, for who can't see it."""
        inside = "".join(self._parts)
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def spark(points: Sequence[Point], kind: str) -> str:
    """A small line without axes, beside words that say what it comes to."""
    if not points:
        return ""
    x, y = Range.of([p[0] for p in points]), Range.of([*(p[1] for p in points), 0.0])
    way = " ".join(
        f"{_n((at - x.low) / (x.high - x.low) * 96 + 2)} {_n(26 - (value - y.low) / (y.high - y.low) * 24)}"
        for at, value in points
    )
    return f'<svg class="spark" viewBox="0 0 100 28" aria-hidden="true"><path class="{kind}" d="M{way}"/></svg>'


def ticks(over: Range, count: int) -> list[float]:
    """Round values within a range, about so many."""
    rough = (over.high - over.low) / count
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    first = math.ceil(over.low / step)
    return [i * step for i in range(first, math.floor(over.high / step) + 1)]


def decimals_of(values: Sequence[float]) -> Callable[[float], str]:
    """How to write them, each with as many digits as tell them apart."""
    step = abs(values[1] - values[0]) if len(values) > 1 else abs(values[0]) if values else 1.0
    digits = max(0, -math.floor(math.log10(step))) if step else 0
    return lambda value: f"{value:,.{digits}f}"


def clock(ms: float) -> str:
    return text.moment(int(ms))


def _n(value: float) -> str:
    """A place in the picture, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")
