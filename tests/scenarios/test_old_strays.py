"""An order with our kind of name whose trade would have begun long ago (rules 8.7, 9.3)."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.scenarios.harness import OCO_WORLDS, World, harness

from executor.core.model.values import OrderType
from executor.paper.server.faults import FaultPlan, RequestFault

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


class Counted(FaultPlan):
    """Nothing goes wrong; pages of the order history are counted."""

    def __init__(self) -> None:
        self.pages = 0

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.pages += path.endswith("allOrders")
        return None


@oco_worlds
@pytest.mark.parametrize("name", ["EX_1_SL_1", "EX_1500000000000_SL_1"])
async def test_an_old_stray_is_told_of_and_not_looked_for_day_by_day(tmp_path: Path, world: World, name: str) -> None:
    counted = Counted()
    async with harness(tmp_path, world, faults=counted, started=False) as b:
        far, limit = b.at(-30), b.at(-31)
        b.place_by_hand(name, world.side.exit_side, "0.1", type=OrderType.STOP_LOSS_LIMIT, price=limit, stop_price=far)
        await b.start()
        assert name in b.state.halted
        assert counted.pages <= 6
        assert [o.client_order_id for o in b.engine.open_orders("paper", b.symbol)] == [name]
