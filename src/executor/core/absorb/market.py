"""Absorb what the market and the account show: quotes, bars, balances."""

from typing import assert_never

from msgspec.structs import replace

from executor.core.book import levels
from executor.core.book.edit import with_leg
from executor.core.model.events import BalancesSeen, KlinesSeen
from executor.core.model.facts import Kline, Quote
from executor.core.model.policy import Policy, TrailMode
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Position, State
from executor.core.model.verdict import Absorbed, Ignored


def absorb(
    state: State, event: KlinesSeen | BalancesSeen, policy: Policy, rules: SymbolRules, asked_at: int
) -> Absorbed:
    """`asked_at` (ms): of no later moment does the answer tell for certain, whenever it arrives (rule 8.6)."""
    match event:
        case KlinesSeen():
            return Absorbed(_klines(state, tuple(k for k in event.klines if rules.may_have_traded(k.high)), policy))
        case BalancesSeen():
            seen = replace(state.market, balances=event.balances, balances_at=asked_at)
            return Absorbed(replace(state, market=seen))
        case _ as unreachable:
            assert_never(unreachable)


def passed(state: State, at: int, policy: Policy) -> State:
    """`state` at `at`. Where it was not looked after for longer than any price counts, as with a process or a machine
    that was suspended, a price at the stop was not there all the while: it counts from now on, so that a newer one has
    its time to come (rule 6.4).
    """
    before, position = state.market.now, state.position
    state = replace(state, market=replace(state.market, now=at))
    if position is None or at - before <= policy.watchdog_grace_ms + policy.quote_max_age_ms:
        return state
    legs = tuple(replace(leg, breach_since=at) if leg.breach_since else leg for leg in position.legs)
    return state if legs == position.legs else replace(state, position=replace(position, legs=legs))


def quote(state: State, seen: Quote, rules: SymbolRules, *, halted: bool = False) -> Absorbed:
    """The newest quote, and what it says about each leg's stop and the trail's best price (rules 5.4, 6.4). Of a symbol
    that is `halted` it is the price of before: at a stop it counts from when there is trade again (rule 6.8).
    """
    market = state.market
    if seen.last <= 0:
        return Absorbed(state, Ignored("nothing has traded at any price"))
    if not rules.may_have_traded(seen.last):
        return Absorbed(state, Ignored("nothing can have traded at such a price"))
    if market.quote is not None and seen.at < market.quote.at:
        return Absorbed(state, Ignored("older than the quote at hand"))
    state = replace(state, market=replace(market, quote=seen))
    position = state.position
    if position is None:
        return Absorbed(state)
    touched = _priced(position, seen, halted=halted)
    return Absorbed(state if touched is position else replace(state, position=touched))


def _priced(position: Position, seen: Quote, *, halted: bool) -> Position:
    """Since when the price has been at or past the level at which each leg is watched; the best one for the trail."""
    direction = position.plan.direction
    for leg in position.legs:
        level = leg.watched
        past = level is not None and not halted and levels.beyond(seen.last, level, direction)
        if level is not None and past is not bool(leg.breach_since):
            turned = replace(leg, breach_since=0 if leg.breach_since else max(seen.at, 1))
            position = with_leg(position, turned)
    trail = position.trail
    if trail is not None and levels.is_safer(seen.last, trail.best, direction):
        position = replace(position, trail=replace(trail, best=seen.last))
    return position


def _klines(state: State, klines: tuple[Kline, ...], policy: Policy) -> State:
    state = replace(state, market=replace(state.market, klines=klines))
    position = state.position
    if position is None or position.trail is None or policy.trail_mode is not TrailMode.SWING:
        return state
    closed = klines[:-1][-policy.trail_swing_lookback :]
    swing = levels.last_swing(closed, policy.trail_swing_bars, position.plan.direction)
    trail = replace(position.trail, swing=swing, klines_at=state.market.now)
    return replace(state, position=replace(position, trail=trail))
