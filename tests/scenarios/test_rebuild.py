"""The state files are lost: the trade is rebuilt from the exchange, or left alone and told of (rule 9.3)."""

import asyncio
from pathlib import Path

import pytest
from tests.scenarios.harness import AFTER_TP1, EXITS, WORLDS, Harness, World, harness

from executor.core.model.state import Protected, Reason

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)


def lose_state(b: Harness) -> None:
    for path in b.folder.glob("state*"):
        path.unlink()


@worlds
async def test_after_the_entry_the_trade_is_rebuilt_and_lives_on(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        before = sorted(o.client_order_id for o in b.open())
        await b.stop()
        lose_state(b)
        await b.start()
        assert b.roles() == EXITS[world.layout]
        assert sorted(o.client_order_id for o in b.open()) == before
        assert isinstance(b.position.phase, Protected)
        assert b.said("trade_rebuilt") == 1
        await b.move(1)
        assert b.roles() == AFTER_TP1[world.layout]
        await b.move(2)
        assert len(b.open()) == 1
        await b.move("0.9")
        closed = await b.ends(Reason.TRAIL)
        b.adds_up(closed)


@worlds
async def test_after_the_first_target_too(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(1)
        await b.stop()
        lose_state(b)
        await b.start()
        assert b.roles() == AFTER_TP1[world.layout]
        assert b.position.target_hit
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        b.adds_up(closed)


@worlds
async def test_what_was_on_its_way_is_waited_for(tmp_path: Path, world: World) -> None:
    """The trailing leg's stop was being moved: its cancel has reached the exchange, its successor has not yet."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        lose_state(b)
        stop = b.one("SL")
        b.cancel_by_hand("SL")

        async def arrives() -> None:
            await b.clock.sleep(8)
            b.place_by_hand(
                f"EX_{stop.client_order_id.split('_')[1]}_SL_20",
                stop.side,
                str(stop.orig_qty),
                type=stop.type,
                price=stop.price,
                stop_price=stop.stop_price,
            )

        async with asyncio.TaskGroup() as group:
            group.create_task(arrives())
            await b.start()
            assert b.said("newer_state_lost") == 1
        assert b.said("trade_rebuilt") == 1
        assert b.roles() == EXITS[world.layout]
        assert isinstance(b.position.phase, Protected)
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_what_cannot_be_rebuilt_is_left_where_it_is_and_told(tmp_path: Path, world: World) -> None:
    """A target cancelled by hand while the service was down: the exits no longer add up to what is held."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        lose_state(b)
        b.cancel_by_hand("SL")
        left = sorted(o.client_order_id for o in b.open())
        await b.start()
        assert sorted(o.client_order_id for o in b.open()) == left
        assert b.state.position is None
        assert b.state.halted
        assert b.said("not_rebuilt") == 1
        await b.signal()
        assert sorted(o.client_order_id for o in b.open()) == left


@worlds
async def test_nothing_open_and_nothing_held_is_a_fresh_start(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)
        await b.stop()
        lose_state(b)
        await b.start()
        assert b.state.position is None
        assert not b.state.halted


@worlds
async def test_a_first_start_waits_for_nothing(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        assert b.loop is not None
        assert b.said("newer_state_lost") == 0
