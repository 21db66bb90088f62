"""Price levels: a stop's limit, breakeven, how far the price has come. Everything mirrored by the trade's direction."""

from collections.abc import Sequence
from decimal import Decimal

from executor.core.model.facts import Kline
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.values import ONE, Direction, ceil_to, floor_to


def beyond(price: Decimal, level: Decimal, direction: Direction) -> bool:
    """Whether `price` has reached a stop at `level`: at or below it for a long."""
    return price <= level if direction.is_long else price >= level


def past(price: Decimal, target: Decimal, direction: Direction) -> bool:
    """Whether `price` has reached a target: at or above it for a long."""
    return price >= target if direction.is_long else price <= target


def safer(a: Decimal, b: Decimal, direction: Direction) -> Decimal:
    """The one of two stop levels that gives less away: the higher one for a long (rule 10.4)."""
    return max(a, b) if direction.is_long else min(a, b)


def is_safer(new: Decimal, old: Decimal, direction: Direction) -> bool:
    return new > old if direction.is_long else new < old


def toward_profit(level: Decimal, tick: Decimal, direction: Direction) -> Decimal:
    """Rounded to the tick in the direction that keeps more: up for a long's stop."""
    return ceil_to(level, tick) if direction.is_long else floor_to(level, tick)


def away_from_profit(level: Decimal, tick: Decimal, direction: Direction) -> Decimal:
    return floor_to(level, tick) if direction.is_long else ceil_to(level, tick)


def stop_limit(stop: Decimal, direction: Direction, policy: Policy, rules: SymbolRules) -> Decimal:
    """The limit price of a STOP_LOSS_LIMIT at `stop` (rule 4.4): a gap of at least one tick, inside the price
    filters.
    """
    gap = max(rules.tick * policy.gap_ticks, ceil_to(stop * policy.gap_pct, rules.tick), rules.tick)
    wished = away_from_profit(stop - direction.sign * gap, rules.tick, direction)
    return rules.clamp_limit(wished, direction.exit_side, stop)


def breakeven(average: Decimal, direction: Direction, policy: Policy, rules: SymbolRules) -> Decimal:
    """Where leaving at market gives back the entry and both commissions (rule 5.2)."""
    paid, kept = ONE + rules.taker_fee, ONE - rules.taker_fee
    level = average * paid / kept if direction.is_long else average * kept / paid
    return toward_profit(level, rules.tick, direction) + direction.sign * policy.breakeven_ticks * rules.tick


def trail_distance(reference: Decimal, r: Decimal, policy: Policy) -> Decimal:
    """How far behind the best price the stop follows (rule 5.4), in quote."""
    if policy.trail_distance is not None:
        return policy.trail_distance
    if policy.trail_pct is not None:
        return reference * policy.trail_pct
    return r * (policy.trail_r if policy.trail_r is not None else ONE)


def swing_extreme(klines: Sequence[Kline], direction: Direction) -> Decimal | None:
    """The lowest low (a long's) or highest high of the bars; None without bars."""
    if not klines:
        return None
    return min(k.low for k in klines) if direction.is_long else max(k.high for k in klines)


def last_swing(klines: Sequence[Kline], bars: int, direction: Direction) -> Decimal | None:
    """The newest confirmed swing: a low (high) that is not undercut by `bars` closed bars on each side (rule 5.4)."""
    for i in range(len(klines) - 1 - bars, bars - 1, -1):
        around = (*klines[i - bars : i], *klines[i + 1 : i + bars + 1])
        if direction.is_long:
            if all(klines[i].low < k.low for k in around):
                return klines[i].low
        elif all(klines[i].high > k.high for k in around):
            return klines[i].high
    return None
