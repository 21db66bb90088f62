"""Stopped in every phase and started again on the same files (rules 9.1, 9.5)."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.scenarios.harness import EXITS, OCO_WORLDS, WORLDS, Harness, World, harness
from tests.scenarios.test_manual_actions import phases

from executor.core.model.events import Verb
from executor.core.model.state import Reason

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


@phases
@worlds
async def test_life_goes_on(tmp_path: Path, world: World, reach: Callable[[Harness], Awaitable[None]]) -> None:
    async with harness(tmp_path, world) as b:
        await reach(b)
        before, standing = b.state, b.standing()
        sent = len(b.orders())
        await b.stop()
        if reach.__name__ == "gapped":  # what has no stop is not left so: software sells it within the end's moment
            assert b.open() == []
            await b.start()
            b.adds_up(await b.ends(Reason.SL))
            return
        assert b.standing() == standing
        await b.wait(1)
        await b.start()
        assert b.state.position is not None
        assert before.position is not None
        assert b.state.position.trade == before.position.trade
        # the interim stop takes up the step that a commission, read by now, has left (3.4, 3.5)
        assert sent <= len(b.orders()) <= sent + (reach.__name__ == "partly")
        await b.command(Verb.FLATTEN)
        b.adds_up(await b.ends(Reason.FLATTEN))


@worlds
async def test_the_entry_fills_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.move("0.1", then=0)
        await b.signal()
        await b.stop()
        await b.move(0)
        await b.start()
        await b.wait(2)
        assert b.roles() == EXITS[world.layout]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_the_entry_times_out_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.move("0.5", then=0)
        await b.signal()
        await b.stop()
        await b.wait(300)
        await b.start()
        b.adds_up(await b.ends(Reason.PLANB_DEVIATION))


@worlds
async def test_the_stop_is_hit_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        await b.move(-1)
        await b.wait(3600)
        await b.start()
        closed = await b.ends(Reason.SL)
        assert closed.unprotected_ms == 0
        b.adds_up(closed)


@worlds
async def test_the_stop_is_jumped_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        await b.move(-5)
        await b.start()
        b.adds_up(await b.ends(Reason.SL, within=8))


@worlds
async def test_both_targets_are_hit_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        await b.move(1)
        await b.move(2)
        await b.start()
        await b.wait(3)
        assert len(b.open()) == 1
        assert b.stops() == {b.at(1)}
        await b.move(1)
        b.adds_up(await b.ends(Reason.TRAIL))


@oco_worlds
async def test_a_target_is_hit_and_the_price_falls_back_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        await b.move(1)
        await b.move(-1)
        await b.start()
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_ten_restarts_and_not_one_order_more(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        sent = len(b.orders())
        for _ in range(10):
            await b.restart()
        assert len(b.orders()) == sent
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_the_cooldown_outlives_a_restart(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        await b.restart()
        assert b.state.last_closed == closed
        await b.move(0)
        await b.signal()
        assert b.state.refused == {"cooldown": 1}
        assert b.trades() == [closed]
