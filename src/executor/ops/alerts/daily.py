"""The day's summary, told once, after midnight UTC by the exchange's clock; also the sign that the service lives."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.state import Closed
from executor.core.model.values import ZERO
from executor.ops import text
from executor.ops.alerts.alerts import Alerts
from executor.service.loop import Loop

DAY_MS: Final = 86_400_000
AFTER_MS: Final = 5_000
"""How long after midnight it is told: a trade that closes at midnight is listed by then."""
MARK: Final = "daily"


class Day(msgspec.Struct):
    """The finished trades of one day of one symbol. `pnl`: quote units; `bare_ms`: without a stop, in ms."""

    trades: int = 0
    won: int = 0
    pnl: Decimal = ZERO
    r: Decimal = ZERO
    bare_ms: int = 0
    commissions: dict[str, Decimal] = msgspec.field(default_factory=dict)

    def add(self, trade: Closed) -> None:
        self.trades += 1
        self.won += trade.pnl > 0
        self.pnl += trade.pnl
        self.r += trade.r
        self.bare_ms += trade.unprotected_ms
        for asset, amount in trade.commissions.items():
            self.commissions[asset] = self.commissions.get(asset, ZERO) + amount


def day_of(trades: Iterable[Closed], number: int) -> Day:
    """`number`: days since 1970. Entries that bought nothing are no trades."""
    day = Day()
    for trade in trades:
        if trade.closed // DAY_MS == number and trade.qty:
            day.add(trade)
    return day


def summary(loops: Mapping[str, Loop], number: int) -> str:
    """What all symbols have traded on that day, a line each; those that traded nothing in one."""
    lines = [text.when(number * DAY_MS, "%Y-%m-%d")]
    idle = 0
    for symbol, loop in loops.items():
        day = day_of(loop.closed, number)
        if day.trades:
            lines.append(f"{symbol}: {_words(day, loop.engine.rules.quote)}")
        else:
            idle += 1
        if loop.state.halted:
            lines.append(f"{symbol}: entries are halted: {loop.state.halted}")
        if loop.state.position is not None:
            lines.append(f"{symbol}: a trade is open since {text.moment(loop.state.position.opened)}")
    if idle:
        lines.append("no trade" if idle == len(loops) else f"{idle} symbols without a trade")
    return "\n".join(lines)


def _words(day: Day, quote: str) -> str:
    what = f"{day.trades} trades, {day.won} won, {text.short(day.pnl)} {quote}, {text.short(day.r)} R"
    paid = f", commissions {text.amounts(day.commissions)}" if day.commissions else ""
    bare = f", {text.seconds(day.bare_ms)} s without a stop" if day.bare_ms else ""
    return what + paid + bare


class DailySummary:
    """`run` it beside the loops. The day that was told last outlives the process, so that no day is told twice."""

    def __init__(self, alerts: Alerts, loops: Mapping[str, Loop]) -> None:
        self._alerts = alerts
        self._loops = loops
        self._clock = next(iter(loops.values()))

    async def run(self) -> None:
        """Tell each day when it is over, and at the start the last one, where it was missed."""
        while True:
            today = self._tell_yesterday()
            midnight = (today + 1) * DAY_MS + AFTER_MS
            await self._clock.clock.sleep(max(midnight - self._clock.now(), 1) / 1000)

    def _tell_yesterday(self) -> int:
        """Today's number. A service that begins its life has no yesterday."""
        today = (self._clock.now() - AFTER_MS) // DAY_MS
        told = self._alerts.marked(MARK)
        if told and told.isdecimal() and int(told) < today - 1:
            self._alerts.tell("daily_summary", summary(self._loops, today - 1))
        self._alerts.mark(MARK, str(today - 1))
        return today
