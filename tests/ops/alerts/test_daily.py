"""The day's summary: once a day, also for a day whose end was missed, and never twice."""

import asyncio
from collections import deque
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.ops.alerts.kit import Time
from tests.ops.samples import closed, rules

from executor.core.transition import empty
from executor.ops.alerts.alerts import Alerts
from executor.ops.alerts.daily import AFTER_MS, DAY_MS, DailySummary, day_of, summary
from executor.ops.alerts.outbox import Outbox

DAY = 20_000


class Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    async def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1000)
        await asyncio.sleep(0)


def loop_of(clock: Clock, *trades: Any, **state: Any) -> Any:
    made = empty("LTCUSDT")
    for name, value in state.items():
        made = type(made)(**{**{f: getattr(made, f) for f in made.__struct_fields__}, name: value})
    return SimpleNamespace(
        clock=clock, now=lambda: clock.now, closed=deque(trades), state=made, engine=SimpleNamespace(rules=rules())
    )


def trade(hour: int, pnl: str, *, day: int = DAY, qty: str = "1") -> Any:
    return closed(closed=day * DAY_MS + hour * 3_600_000, pnl=Decimal(pnl), r=Decimal(pnl), qty=Decimal(qty))


def test_only_the_trades_of_that_day_count() -> None:
    day = day_of(
        [
            trade(0, "1"),
            trade(23, "-3"),
            trade(0, "9", day=DAY + 1),
            trade(23, "9", day=DAY - 1),
            trade(5, "0", qty="0"),
        ],
        DAY,
    )
    assert (day.trades, day.won, day.pnl, day.r) == (2, 1, Decimal(-2), Decimal(-2))


def test_what_it_says() -> None:
    clock = Clock(0)
    loops = {"LTCUSDT": loop_of(clock, trade(3, "1.5")), "ETHUSDT": loop_of(clock, halted="why")}
    lines = summary(loops, DAY).splitlines()
    assert lines[0] == "2024-10-04"
    assert lines[1].startswith("LTCUSDT: 1 trades, 1 won, 1.5 USDT, 1.5 R, commissions ")
    assert lines[2:] == ["ETHUSDT: entries are halted: why", "1 symbols without a trade"]
    assert summary({"LTCUSDT": loop_of(clock)}, DAY).splitlines()[1:] == ["no trade"]


async def drive(alerts: Alerts, clock: Clock, turns: int) -> None:
    task = asyncio.create_task(DailySummary(alerts, {"LTCUSDT": loop_of(clock)}).run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_is_told_after_each_midnight_and_not_at_the_first_start(tmp_path: Path) -> None:
    alerts = Alerts(Outbox(tmp_path / "a"), (), now_ms=Time().now_ms)
    clock = Clock(DAY * DAY_MS + 5_000_000)
    await drive(alerts, clock, 8)
    days = [alert.text.splitlines()[0] for alert in alerts.recent]
    assert days[:2] == ["2024-10-04", "2024-10-05"]
    assert len(set(days)) == len(days)
    assert (clock.now - AFTER_MS) % DAY_MS == 0


async def test_a_day_whose_end_was_missed_is_told_at_the_start_and_none_twice(tmp_path: Path) -> None:
    for start, told in ((DAY, []), (DAY + 3, ["2024-10-06"]), (DAY + 3, [])):
        alerts = Alerts(Outbox(tmp_path / "a"), (), now_ms=Time().now_ms)
        clock = Clock(start * DAY_MS + 10_000_000)
        task = asyncio.create_task(DailySummary(alerts, {"LTCUSDT": loop_of(clock)}).run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert [alert.text.splitlines()[0] for alert in alerts.recent] == told
        alerts.close()
