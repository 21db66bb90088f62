"""A stop that is being moved, and the answer is lost: what was won until then is not given back (8.3e, 6.4b)."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.scenarios.harness import OCO_WORLDS, Harness, World, harness

from executor.core.model.state import Reason
from executor.paper.server.faults import Answer, FaultPlan, RequestFault

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
BUSY = Answer(503, b'{"code": -1000, "msg": "Unknown error, please check your request or try again later."}')


class LostMoves(FaultPlan):
    """So many moves of a stop are answered by a 5XX, and not carried out."""

    def __init__(self) -> None:
        self.left = 0
        self.met = 0

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.left or "cancelReplace" not in path:
            return None
        self.left -= 1
        self.met += 1
        return RequestFault(execute=False, answer=BUSY)


async def into_the_trail(b: Harness) -> None:
    await b.enter()
    await b.move(1)
    await b.move(2)
    assert b.stops() == {b.at(1)}


@oco_worlds
async def test_one_lost_answer_does_not_hold_the_trail_up(tmp_path: Path, world: World) -> None:
    """Rule 8.3e: the old stop is seen standing, so the same is asked for again at once."""
    faults = LostMoves()
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest") as b:
        await into_the_trail(b)
        faults.left = 1
        await b.move(4, then=1)
        assert faults.met == 1
        assert b.stops() == {b.at(3)}
        await b.move(3)
        closed = await b.ends(Reason.TRAIL)
        b.adds_up(closed)


@oco_worlds
async def test_a_stop_that_can_not_be_moved_is_stood_in_for(tmp_path: Path, world: World) -> None:
    """Rule 6.4b: the price runs to 4 R and back, and every move is lost on its way."""
    faults = LostMoves()
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest") as b:
        await into_the_trail(b)
        faults.left = 1_000
        await b.move(4, then=3)
        assert b.stops() == {b.at(1)}
        assert b.position.legs[2].due == b.at(3)
        await b.move("2.9", then=3)
        closed = await b.ends(Reason.TRAIL, within=5)
        (sale,) = b.sent("FLATTEN")
        price = sale.cumulative_quote_qty / sale.executed_qty
        assert world.side.sign * (price - b.at("2.5")) > 0
        b.adds_up(closed)
        assert faults.met <= 5, "growing pauses"
