"""The plain course of a trade, in both layouts, long and short, pushed and polled."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.harness import AFTER_TP1, EVERY_WORLD, EXITS, WORLDS, World, harness

from executor.core.model.state import Reason

every_world = pytest.mark.parametrize("world", EVERY_WORLD, ids=str)
worlds = pytest.mark.parametrize("world", WORLDS, ids=str)


@every_world
async def test_exits_stand_by_threes_by_ones_by_none(tmp_path: Path, world: World) -> None:
    """Rule 4.5, and the whole way: both targets and the trail."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        assert b.roles() == EXITS[world.layout]
        assert b.covered() == b.position.split[0] + b.position.split[1] + b.position.split[2]
        await b.move(1)
        assert b.roles() == AFTER_TP1[world.layout]
        await b.move(2)
        assert len(b.open()) == 1
        await b.move(4)
        assert b.stops() == {b.at(3)}
        await b.move("3.5")
        assert b.stops() == {b.at(3)}
        await b.move(3)
        closed = await b.ends(Reason.TRAIL)
        assert Decimal("1.7") < closed.r < 2
        b.adds_up(closed)


@every_world
async def test_the_stop_ends_it_all(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.r < -1
        b.adds_up(closed)


@every_world
async def test_the_first_target_then_breakeven(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(1)
        (stop,) = b.stops()
        assert b.at(0) != stop
        assert world.side.sign * (stop - b.at(0)) > 0
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        assert closed.pnl > 0
        b.adds_up(closed)
