"""One finished trade as an image, for a message: `python -m executor.ops.reports.picture` reads what is to be drawn, as
JSON, and writes a PNG. A process of its own, so that nothing that an image library does can touch a trade.
"""

import contextlib
import io
import os
import resource
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from PIL import Image, ImageDraw, ImageFont

from executor.core.model.state import Closed
from executor.core.model.values import OrderSide, rounded, short
from executor.ops.reports.drawing import Range, clock, decimals_of, ticks
from executor.ops.reports.paths import TradePath, way_of

WIDTH: Final = 1000
HEIGHT: Final = 560
_FINER: Final = 2
"""Drawn so many times as large and made smaller, so that lines are smooth."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 16, WIDTH - 16, 84, HEIGHT - 40
CPU_MAX_S: Final = 8
MEMORY_MAX: Final = 1024 * 1024 * 1024
INPUT_MAX: Final = 1024 * 1024

GROUND: Final = "#ffffff"
INK: Final = "#1a1d21"
SOFT: Final = "#565d66"
LINE: Final = "#d5d9df"
GOOD: Final = "#0b6b3a"
BAD: Final = "#b3261e"
WARN: Final = "#8a5300"
ACCENT: Final = "#1558a6"
BARE: Final = "#f3d3d0"


class Wanted(msgspec.Struct, frozen=True):
    """What is to be drawn: a trade, and how it went."""

    closed: Closed
    path: TradePath


class _Sheet:
    """The image, in its own pixels from the top left; and the place of times and prices on it."""

    def __init__(self, x: Range, y: Range) -> None:
        self.image = Image.new("RGB", (WIDTH * _FINER, HEIGHT * _FINER), GROUND)
        self._draw = ImageDraw.Draw(self.image)
        self._x = x
        self._y = y

    def at(self, ms: float, price: Decimal | float) -> tuple[float, float]:
        across = (ms - self._x.low) / (self._x.high - self._x.low)
        up = (float(price) - self._y.low) / (self._y.high - self._y.low)
        return _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - up * (_BOTTOM - _TOP)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> None:
        scaled = [(x * _FINER, y * _FINER) for x, y in points]
        self._draw.line(scaled, colour, round(width * _FINER), joint="curve")

    def dashes(self, y: float, colour: str) -> None:
        for x in range(_LEFT, _RIGHT, 12):
            self.line([(x, y), (min(x + 7, _RIGHT), y)], colour)

    def band(self, left: float, right: float, colour: str) -> None:
        box = [left * _FINER, _TOP * _FINER, max(right, left + 1) * _FINER, _BOTTOM * _FINER]
        self._draw.rectangle(box, colour)

    def arrow(self, x: float, y: float, colour: str, *, up: bool) -> None:
        foot = y + 13 if up else y - 13
        corners = [(x, y), (x + 7, foot), (x - 7, foot)]
        self._draw.polygon([(a * _FINER, b * _FINER) for a, b in corners], colour, outline=GROUND)

    def text(self, x: float, y: float, words: str, colour: str, size: int, anchor: str = "ls") -> None:
        font = ImageFont.load_default(size * _FINER)
        place = x * _FINER, y * _FINER
        self._draw.text(place, words, colour, font, anchor, stroke_width=2 * _FINER, stroke_fill=GROUND)

    def png(self) -> bytes:
        out = io.BytesIO()
        small = self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        small.quantize(128).save(out, "PNG", optimize=True)
        return out.getvalue()


def draw(wanted: Wanted) -> bytes:
    """The trade on its price, with its plan, its stop's path and its fills, as PNG."""
    trade, path = wanted.closed, wanted.path
    begin = min([trade.opened, *(each.at for each in path.prices[:1])])
    end = max([trade.closed, begin + 1_000, *(each.at for each in path.prices[-1:])])
    stops = [each.stop for each in path.stops if each.stop is not None]
    plan = [trade.entry_planned, trade.stop_planned, *trade.targets_planned]
    seen = [*(each.price for each in path.prices), *(fill.price for fill in path.fills), *stops, *plan]
    prices = Range.of([float(price) for price in seen], air=0.06)
    sheet = _Sheet(Range(float(begin), float(end)), prices)
    for span in path.bare:
        if span.until > span.since:
            sheet.band(sheet.at(span.since, 0)[0], sheet.at(span.until, 0)[0], BARE)
    levels = ticks(prices, 5)
    words = decimals_of(levels)
    for level in levels:
        y = sheet.at(begin, level)[1]
        sheet.line([(_LEFT, y), (_RIGHT, y)], LINE)
        sheet.text(_LEFT + 2, y - 4, words(level), SOFT, 15)
    sheet.dashes(sheet.at(begin, trade.entry_planned)[1], SOFT)
    for target in trade.targets_planned:
        sheet.dashes(sheet.at(begin, target)[1], GOOD)
    sheet.line([sheet.at(each.at, each.price) for each in way_of(path)], ACCENT, 2.2)
    _stop(sheet, path, end)
    for fill in path.fills:
        bought = fill.side == OrderSide.BUY
        sheet.arrow(*sheet.at(fill.at, fill.price), GOOD if bought else WARN, up=bought)
    _words(sheet, trade, begin, end)
    return sheet.png()


def _stop(sheet: _Sheet, path: TradePath, end: int) -> None:
    """Level until the next step, without a line where none stood."""
    before: tuple[float, float] | None = None
    for i, step in enumerate(path.stops):
        if step.stop is None:
            before = None
            continue
        until = path.stops[i + 1].at if i + 1 < len(path.stops) else end
        first, last = sheet.at(step.at, step.stop), sheet.at(until, step.stop)
        sheet.line([*([before] if before is not None else []), first, last], BAD, 2.2)
        before = last


def _words(sheet: _Sheet, trade: Closed, begin: int, end: int) -> None:
    won = trade.pnl > 0
    sheet.text(_LEFT, 38, f"{trade.symbol} {trade.direction}  {trade.reason}", INK, 26)
    sheet.text(_RIGHT, 38, f"{trade.r:+.2f} R", GOOD if won else BAD if trade.pnl < 0 else SOFT, 26, "rs")
    averages = [
        f"{name} {short(rounded(average, Decimal(1).scaleb(min(-4, average.adjusted() - 5))))}"
        for name, average in (("entry", trade.entry_avg), ("exit", trade.exit_avg))
        if average is not None
    ]
    sheet.text(_LEFT, 66, "  ".join([*averages, f"stop {short(trade.stop_planned)}"]), SOFT, 16)
    sheet.text(_RIGHT, 66, "price blue, stop red, plan dashed", SOFT, 16, "rs")
    sheet.text(_LEFT, HEIGHT - 14, clock(begin), SOFT, 15)
    sheet.text(_RIGHT, HEIGHT - 14, f"{clock(end)} UTC", SOFT, 15, "rs")


def main() -> None:
    """Within bounds: a process that runs wild ends by itself, and yields to everything else."""
    with contextlib.suppress(PermissionError):  # the unit lets nobody change priorities
        os.nice(10)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    wanted = msgspec.json.decode(sys.stdin.buffer.read(INPUT_MAX), type=Wanted)
    sys.stdout.buffer.write(draw(wanted))


if __name__ == "__main__":
    main()
