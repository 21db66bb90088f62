"""The pictures of a report."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from executor.core.model.state import Closed
from executor.core.model.values import ZERO, Direction, OrderSide, short
from executor.ops import text
from executor.ops.reports.drawing import Canvas, Range
from executor.ops.reports.figures import Bin, equity
from executor.ops.reports.paths import TradePath, way_of

MARGIN_MS: Final = 1_000


def equity_chart(trades: Sequence[Closed], quote: str) -> str:
    """The profit after each trade; empty where none was filled."""
    points = equity(trades)
    if not points:
        return ""
    begin = min(trade.opened for trade in trades)
    way = [(float(begin), 0.0), *((float(at), float(total)) for at, total in points)]
    canvas = Canvas(Range.of([at for at, _ in way]), Range.of([value for _, value in way], air=0.08))
    canvas.grid()
    canvas.level(0.0, "zero")
    canvas.steps(way, way[-1][0], "line accent")
    canvas.dot(*way[-1], "accent")
    canvas.times()
    return canvas.svg(f"Profit after {len(points)} trades: {short(points[-1][1])} {quote}")


def r_chart(bins: Sequence[Bin]) -> str:
    """How often which R; empty where there is none."""
    if not bins:
        return ""
    highest = max(each.count for each in bins)
    x = Range(float(bins[0].low), float(bins[-1].high))
    canvas = Canvas(x, Range(0.0, highest * 1.12))
    canvas.level(0.0, "zero")
    for each in bins:
        if each.count:
            low, high = float(each.low), float(each.high)
            canvas.bar(low, high, each.count, "good" if each.low >= 0 else "bad")
            canvas.over((low + high) / 2, each.count, str(each.count), "axis")
    canvas.ends(bins[0].words, bins[-1].words if len(bins) > 1 else "")
    said = "; ".join(f"{each.words}: {each.count}" for each in bins if each.count)
    return canvas.svg(f"How many trades ended with which R. {said}")


def slippage_chart(trades: Sequence[Closed]) -> str:
    """Entry and exits of each trade against its plan, in R: above the line is worse; empty where none was filled."""
    filled = [trade for trade in trades if trade.qty]
    if not filled:
        return ""
    found = [(float(in_r(trade, trade.entry_slippage)), float(in_r(trade, trade.exit_slippage))) for trade in filled]
    canvas = Canvas(Range(0.5, len(filled) + 0.5), Range.of([0.0, *(each for pair in found for each in pair)], air=0.1))
    canvas.grid()
    canvas.level(0.0, "zero")
    for number, (entry, exits) in enumerate(found, 1):
        canvas.dot(number, entry, "accent")
        canvas.square(number, exits, "warn")
    canvas.ends("first trade", "last trade")
    worst = max(max(pair) for pair in found)
    return canvas.svg(f"Slippage of {len(filled)} trades in R; the worst is {worst:.3f}. The table has each.")


def trade_chart(trade: Closed, path: TradePath) -> str:
    """The price with the plan, the stop's path and the fills on it, and when a part had no stop; empty where no price
    is known.
    """
    if not path.prices:
        return ""
    begin = min(path.prices[0].at, trade.opened)
    end = max(path.prices[-1].at, trade.closed, begin + MARGIN_MS)
    plan = [trade.entry_planned, trade.stop_planned, *trade.targets_planned]
    stops = [each.stop for each in path.stops if each.stop is not None]
    seen = [*(each.price for each in path.prices), *(fill.price for fill in path.fills), *stops, *plan]
    canvas = Canvas(Range(float(begin), float(end)), Range.of([float(price) for price in seen], air=0.06))
    for span in path.bare:
        if span.until > span.since:
            canvas.band(span.since, span.until, "bare")
    canvas.grid()
    canvas.level(float(trade.entry_planned), "plan entry")
    for target in trade.targets_planned:
        canvas.level(float(target), "plan target")
    canvas.line([(float(each.at), float(each.price)) for each in way_of(path)], "line accent")
    stop_steps = [(float(each.at), None if each.stop is None else float(each.stop)) for each in path.stops]
    canvas.steps(stop_steps, float(end), "line stop")
    for fill in path.fills:
        bought = fill.side == OrderSide.BUY
        canvas.arrow(fill.at, float(fill.price), "good mark" if bought else "warn mark", up=bought)
    canvas.times()
    return canvas.svg(_words(trade, path))


def _words(trade: Closed, path: TradePath) -> str:
    moves = sum(1 for each in path.stops if each.stop is not None)
    first = "bought" if trade.direction is Direction.LONG else "sold"
    return (
        f"Price while trade {trade.trade} was open, {text.span(trade.closed - trade.opened)}: {first} at"
        f" {text.NONE if trade.entry_avg is None else short(trade.entry_avg)}, left at"
        f" {text.NONE if trade.exit_avg is None else short(trade.exit_avg)}; {len(path.fills)} fills, the stop stood at"
        f" {moves} levels."
    )


def in_r(trade: Closed, slippage: Decimal) -> Decimal:
    """A slippage in quote per base as a share of the trade's planned risk."""
    risk = abs(trade.entry_planned - trade.stop_planned)
    return slippage / risk if risk else ZERO
