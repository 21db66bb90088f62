"""Places for stops that another program has taken (rule 2.6)."""

from pathlib import Path

import pytest
from tests.scenarios.harness import OCO_WORLDS, World, harness

from executor.core.model.state import Reason
from executor.core.model.values import OrderType

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


@oco_worlds
async def test_a_signal_whose_stops_have_no_place_is_refused_and_taken_once_they_have(
    tmp_path: Path, world: World
) -> None:
    """MAX_NUM_ALGO_ORDERS is the account's on the symbol: five, of which another program holds three."""
    async with harness(tmp_path, world) as b:
        side = world.side.exit_side
        far = b.at(-30)
        limit = b.at(-31)
        for n in range(3):
            b.place_by_hand(f"web_{n}", side, "0.1", type=OrderType.STOP_LOSS_LIMIT, price=limit, stop_price=far)
        await b.signal()
        assert b.state.position is None
        assert b.state.refused == {"exits": 1}
        assert any("MAX_NUM_ALGO_ORDERS" in str(entry.get("text", "")) for entry in b.log)
        for each in b.engine.open_orders("paper", b.symbol)[:1]:
            b.engine.cancel_order("paper", b.symbol, b.clock.now_ms(), order_id=each.order_id)
        await b.wait(31)
        await b.enter()
        assert len(b.stops()) == 1
        assert b.covered() == b.position.split[0] + b.position.split[1] + b.position.split[2]
        await b.move(-1)
        await b.until(lambda: b.state.position is None)
        assert b.closed.reason is Reason.SL
        assert len(b.engine.open_orders("paper", b.symbol)) == 2, "those of the other program"


@oco_worlds
async def test_places_that_are_taken_after_the_entry_leave_the_position_covered_by_fewer_exits(
    tmp_path: Path, world: World
) -> None:
    """Of five places another program takes three between the signal and the fill: two are left for three stops."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        for n in range(3):
            b.place_by_hand(
                f"web_{n}",
                world.side.exit_side,
                "0.1",
                type=OrderType.STOP_LOSS_LIMIT,
                price=b.at(-31),
                stop_price=b.at(-30),
            )
        await b.move(0, then=6)
        held = sum(b.position.split)
        await b.until(lambda: b.covered() == held, within=10)
        assert "legs_joined" in [entry["event"] for entry in b.log]
        assert len([order for order in b.open() if order.stop_price]) == 2
        await b.move(-1)
        await b.until(lambda: b.state.position is None)
        assert b.closed.reason is Reason.SL
