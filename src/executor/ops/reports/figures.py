"""What finished trades come to."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.state import Closed
from executor.core.model.values import ZERO, short

BIN: Final = Decimal("0.5")
"""Width of a bar of the distribution, in R."""
BINS_MAX: Final = 24  # even
"""Results beyond so many bars are counted in the outermost."""


class Bin(msgspec.Struct, frozen=True):
    """So many results lie from `low` up to, not including, `high`, in R; `beyond`: or farther from zero."""

    low: Decimal
    high: Decimal
    count: int
    beyond: bool = False

    @property
    def words(self) -> str:
        if self.beyond:
            return f"{short(self.low)} R or more" if self.low >= 0 else f"below {short(self.high)} R"
        return f"{short(self.low)} to {short(self.high)} R"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of trades of one symbol. `pnl` and `drawdown` in quote: the profit, and its deepest fall below what it had been;
    `r`: the sum; slippage in quote per base, the mean of those filled. Times in ms.
    """

    trades: int
    won: int
    lost: int
    unfilled: int
    pnl: Decimal
    drawdown: Decimal
    r: Decimal
    r_best: Decimal
    r_worst: Decimal
    commissions: dict[str, Decimal]
    interest: dict[str, Decimal]
    entry_slippage: Decimal
    exit_slippage: Decimal
    unprotected_ms: int
    unprotected_longest_ms: int


def figures_of(trades: Sequence[Closed]) -> Figures:
    filled = [trade for trade in trades if trade.qty]
    results = [trade.r for trade in filled]
    return Figures(
        trades=len(trades),
        won=sum(trade.pnl > 0 for trade in filled),
        lost=sum(trade.pnl < 0 for trade in filled),
        unfilled=len(trades) - len(filled),
        pnl=sum((trade.pnl for trade in trades), ZERO),
        drawdown=drawdown(trades),
        r=sum(results, ZERO),
        r_best=max(results, default=ZERO),
        r_worst=min(results, default=ZERO),
        commissions=_by_asset(trade.commissions for trade in trades),
        interest=_by_asset(trade.interest for trade in trades),
        entry_slippage=_mean([trade.entry_slippage for trade in filled]),
        exit_slippage=_mean([trade.exit_slippage for trade in filled]),
        unprotected_ms=sum(trade.unprotected_ms for trade in trades),
        unprotected_longest_ms=max((trade.unprotected_longest_ms for trade in trades), default=0),
    )


def equity(trades: Iterable[Closed]) -> list[tuple[int, Decimal]]:
    """When each trade that had a fill was closed (ms), and the profit up to then, in the order of closing."""
    total, points = ZERO, list[tuple[int, Decimal]]()
    for trade in sorted(trades, key=_closing):
        if trade.qty:
            total += trade.pnl
            points.append((trade.closed, total))
    return points


def drawdown(trades: Iterable[Closed]) -> Decimal:
    """The deepest fall of the profit below its highest before, nothing at the begin included; at least 0."""
    highest = deepest = ZERO
    for _, total in equity(trades):
        highest = max(highest, total)
        deepest = max(deepest, highest - total)
    return deepest


def distribution(trades: Iterable[Closed]) -> list[Bin]:
    """How many trades ended with which R, from the worst to the best without a gap; empty where none was filled."""
    found = [int(trade.r // BIN) - (trade.r % BIN < 0) for trade in trades if trade.qty]
    if not found:
        return []
    places = [min(max(place, -BINS_MAX // 2), BINS_MAX // 2 - 1) for place in found]
    counts = dict.fromkeys(range(min(places), max(places) + 1), 0)
    for place in places:
        counts[place] += 1
    beyond = {place for place, own in zip(places, found, strict=True) if place != own}
    return [Bin(place * BIN, (place + 1) * BIN, count, place in beyond) for place, count in counts.items()]


def _closing(trade: Closed) -> int:
    return trade.closed


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, ZERO) / len(values) if values else ZERO


def _by_asset(paid: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for each in paid:
        for asset, amount in each.items():
            total[asset] = total.get(asset, ZERO) + amount
    return total
