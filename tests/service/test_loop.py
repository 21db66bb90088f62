"""The inbox: first come, first served, save that prices let everything else by."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.scenarios.harness import World, harness

from executor.core.model.events import AnyEvent, Commanded, QuoteSeen, Tick, Verb
from executor.core.model.facts import Quote
from executor.core.model.values import Direction
from executor.core.transition import Step
from executor.service.store.port import StoreUnwritable


async def test_a_fill_does_not_wait_for_prices_that_came_before_it(tmp_path: Path) -> None:
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=False)) as b:
        assert b.loop is not None
        taken: list[AnyEvent] = []

        def note(event: AnyEvent, _step: Step) -> None:
            taken.append(event)

        b.loop.on_step.append(note)
        now = b.loop.now()
        prices = [
            QuoteSeen(at=now, quote=Quote(now, bid, bid + 1, bid)) for bid in (Decimal(100), Decimal(101), Decimal(102))
        ]
        others = [Tick(at=now), Tick(at=now)]
        for event in (prices[0], prices[1], others[0], prices[2], others[1]):
            b.loop.tell(event)
        await b.settle()
        first, second, newest = prices
        assert taken[:3] == [*others, replace(newest, before=(first.quote, second.quote))]


async def test_a_timer_rings_in_time_where_the_exchanges_clock_is_set_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry's timeout is 90 s away by the clock that it was set by, and 5 s by the one measured since."""
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=True), ENTRY_MODE="LIMIT_ONLY") as b:
        await b.signal()
        assert b.loop is not None
        monkeypatch.setattr(b.loop.exchange, "now", lambda: b.clock.now_ms() + 85_000)
        ticks: list[AnyEvent] = []

        def note(event: AnyEvent, _step: Step) -> None:
            if isinstance(event, Tick):
                ticks.append(event)

        b.loop.on_step.append(note)
        await b.wait(6)
        assert ticks


async def test_a_trade_hears_of_a_clock_that_leaps_ahead_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8.6: what has not passed proves nothing; nor before what was under way is looked up (9.1)."""
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=True)) as b:
        assert b.loop is not None
        heard: list[AnyEvent] = []
        b.loop.on_step.append(lambda event, _step: heard.append(event))
        monkeypatch.setattr(b.loop.exchange, "now", lambda: b.clock.now_ms() + 2_500)
        for _ in range(2):
            b.loop.tell(Commanded(at=b.loop.now(), verb=Verb.PAUSE))
        await b.settle()
        assert [getattr(event, "ahead", 0) for event in heard[:3]] == [2_500, 0, 0]
        assert isinstance(heard[1], Commanded)


async def test_a_clock_that_is_set_while_a_leap_is_written_down_is_heard_of_first_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told after what came by the new time, a step back counted twice: a deadline was over too soon."""
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=True)) as b:
        assert b.loop is not None
        heard: list[AnyEvent] = []
        offset = 2_500

        def note(event: AnyEvent, _step: Step) -> None:
            nonlocal offset
            heard.append(event)
            offset = -3_000

        b.loop.on_step.append(note)
        monkeypatch.setattr(b.loop.exchange, "now", lambda: b.clock.now_ms() + offset)
        for _ in range(2):
            b.loop.tell(Commanded(at=b.loop.now(), verb=Verb.PAUSE))
        await b.settle()
        assert [getattr(event, "ahead", 0) for event in heard[:4]] == [2_500, -5_500, 0, 0]
        assert isinstance(heard[2], Commanded)


@pytest.mark.parametrize("leaps", [[-20_000], [20_000, -40_000]])
async def test_a_clock_that_is_set_back_while_the_disk_is_full_is_heard_of_first_as_well(
    leaps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the disk is told by the new time in the end: after it, the step back would count twice. So it
    would before a leap that waits there itself.
    """
    monkeypatch.setattr("executor.service.committer.DISK_RETRY_S", 0)
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=True)) as b:
        assert b.loop is not None
        heard: list[AnyEvent] = []
        b.loop.on_step.append(lambda event, _step: heard.append(event))
        commit, before = b.loop.engine.commit, b.loop.state.market.now
        offset, waits = sum(leaps[:-1]), True

        def full_at_first(event: AnyEvent, **options: Any) -> Step:
            nonlocal offset, waits
            if waits:
                offset, waits = -20_000, False
                raise StoreUnwritable
            return commit(event, **options)

        monkeypatch.setattr(b.loop.exchange, "now", lambda: b.clock.now_ms() + offset)
        monkeypatch.setattr(b.loop.engine, "commit", full_at_first)
        b.loop.tell(Commanded(at=b.loop.now(), verb=Verb.PAUSE))
        await b.settle()
        assert [getattr(event, "ahead", 0) for event in heard[: len(leaps) + 1]] == [*leaps, 0]
        assert isinstance(heard[len(leaps)], Commanded)
        assert b.loop.state.market.now <= before - 15_000
