"""Markets that jump: through a stop, past a target before the exits are out, through both targets at once."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import AFTER_TP1, EVERY_WORLD, EXITS, OCO_WORLDS, WORLDS, World, harness

from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.paper.server.faults import FaultPlan, PushFault

every_world = pytest.mark.parametrize("world", EVERY_WORLD, ids=str)
worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
plain_worlds = pytest.mark.parametrize("world", [w for w in EVERY_WORLD if w.layout == "PLAIN"], ids=str)
CROSSED = (Why.WOULD_TRIGGER, Why.PRICE_RELATION, Why.WOULD_MATCH)


@every_world
async def test_a_gap_through_the_stop_is_left_at_market(tmp_path: Path, world: World) -> None:
    """Rule 6.5: triggered, its limit left behind, cancelled after the grace and sold."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(-5, then=2.5)
        assert b.state.position is not None
        assert all(o.is_working for o in b.open() if o.stop_price)
        closed = await b.ends(Reason.SL, within=5)
        assert closed.r < -5
        assert closed.exit_slippage > Decimal("3.9")
        b.adds_up(closed)


@every_world
async def test_a_gap_after_which_the_price_returns_fills_the_stop_at_its_limit(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(-5, then=1)
        await b.move(-1, then=1)
        closed = await b.ends(Reason.SL, within=5)
        assert closed.r > Decimal("-1.5")
        assert not b.sent("FLATTEN")
        b.adds_up(closed)


@every_world
async def test_a_stop_crossed_before_the_exits_are_out(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at(0))
        await b.move(-2, then=3)
        closed = await b.ends(Reason.SL, refusals=CROSSED)
        assert b.sent("FLATTEN")
        b.adds_up(closed)


@every_world
async def test_the_first_target_crossed_before_the_exits_are_out(tmp_path: Path, world: World) -> None:
    """Rule 4.6: that leg is sold at market as a target, the rest gets its exits, at breakeven."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at(0))
        await b.move("1.5", then=4)
        assert b.roles() == AFTER_TP1[world.layout]
        assert b.position.target_hit
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN, refusals=CROSSED)
        assert closed.pnl > 0
        b.adds_up(closed)


@every_world
async def test_both_targets_crossed_before_the_exits_are_out(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at(0))
        await b.move("2.5", then=5)
        assert len(b.open()) == 1
        assert b.position.trail is not None
        await b.move("1.2")
        closed = await b.ends(Reason.TRAIL, refusals=CROSSED)
        b.adds_up(closed)


@every_world
async def test_both_targets_in_one_instant(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(3)
        assert len(b.open()) == 1
        assert b.stops() == {b.at(2)}
        await b.move(2)
        closed = await b.ends(Reason.TRAIL)
        b.adds_up(closed)


class LatePushes(FaultPlan):
    """Pushes about one role come late."""

    def __init__(self, role: str, delay_ms: int) -> None:
        self._role, self._delay_ms = f"_{role}_", delay_ms
        self.held = 0

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        if self._role in str(event) and "FILLED" in str(event):
            self.held += 1
            return PushFault(delay_ms=self._delay_ms)
        return None


@pytest.mark.parametrize("layout", ["OCO", "PLAIN"])
@pytest.mark.parametrize("side", list(Direction), ids=str)
async def test_the_second_target_reported_before_the_first(tmp_path: Path, side: Direction, layout: str) -> None:
    """Rule 5.1: the order of reports makes no difference."""
    faults = LatePushes("TP1", 4_000)
    async with harness(tmp_path, World(side, layout, pushes=True), faults=faults, POLL_SEC="30") as b:
        await b.enter()
        await b.move(2, then=0.2)
        by_role = {str(o.role): o for o in b.position.orders}
        assert faults.held
        assert by_role["TP2"].cum_qty == by_role["TP2"].qty
        assert by_role["TP1"].cum_qty == 0
        assert b.position.trail is None
        await b.wait(40)
        assert len(b.open()) == 1
        await b.move(1)
        closed = await b.ends(Reason.TRAIL, Reason.BREAKEVEN)
        b.adds_up(closed)


@oco_worlds
async def test_a_target_partly_filled_falls_back_to_the_stop(tmp_path: Path, world: World) -> None:
    """Rule 5.6: the exchange took its stop away when the target began to fill; software stands in."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(1, qty="0.4")
        assert b.roles() == ["SL", "SL2", "TP1", "TP2"]
        assert "unprotected" not in b.alerts()
        await b.move(-1, then=5)
        closed = await b.ends(Reason.SL)
        assert sum(o.executed_qty for o in b.sent("FLATTEN")) == closed.qty1 - Decimal("0.4")
        assert closed.unprotected_ms > 0
        b.adds_up(closed)


@oco_worlds
async def test_a_target_partly_filled_fills_in_the_end(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move(1, qty="0.4")
        await b.move("0.5")
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("0.1")
        b.adds_up(await b.ends(Reason.BREAKEVEN))


@plain_worlds
async def test_a_target_partly_filled_shrinks_the_whole_stop(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        whole = b.one("SL").orig_qty
        await b.move(1, qty="0.4", then=3)
        assert b.roles() == EXITS["PLAIN"]
        assert b.one("SL").orig_qty == whole - Decimal("0.4")
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert not b.sent("BUYBACK")
        b.adds_up(closed)


@plain_worlds
async def test_a_stop_that_sells_what_a_target_has_sold_is_bought_back(tmp_path: Path, world: World) -> None:
    """Rule 4.3: both fill before anybody could have shrunk the stop."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        b.touch(b.at(1))
        await b.move(-1, then=3)
        closed = await b.ends(Reason.SL, Reason.BREAKEVEN)
        back = b.sent("BUYBACK")
        assert sum(o.executed_qty for o in back) == closed.qty1
        assert "oversold" in b.alerts()
        b.adds_up(closed)
