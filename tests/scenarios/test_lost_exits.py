"""Exits that the exchange ends, half ends, or does not know any more, and what hands take of a position."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import OCO_WORLDS, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Reason
from executor.paper.server import Answer, PushFault, RequestFault

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
UNKNOWN = Answer(400, b'{"code":-2011,"msg":"Unknown order list sent."}')


class ListsDone:
    """An exchange that knows no list any more of which one side has triggered or begun to fill, or, `always`, none."""

    def __init__(self, *, always: bool = False) -> None:
        self.always = always
        self.refused: list[str] = []
        self.bench: Harness | None = None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        cancels = (method, path) == ("DELETE", "/api/v3/orderList") or path == "orderList.cancel"
        if not cancels or not (self.always or self._half_ended(params["listClientOrderId"])):
            return None
        self.refused.append(params["listClientOrderId"])
        return RequestFault(execute=False, answer=UNKNOWN)

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return None

    def _half_ended(self, name: str) -> bool:
        """A list's id ends in the number before its target's, and that before its stop's."""
        assert self.bench is not None
        number = int(name.rpartition("_")[2])
        mine = {f"{number + 1}", f"{number + 2}"}
        return sum(o.client_order_id.rpartition("_")[2] in mine for o in self.bench.open()) < len(mine)


@oco_worlds
@pytest.mark.parametrize("how", ["watch", "flatten"])
async def test_jumped_stops_of_lists_that_are_done_are_sold_at_market(tmp_path: Path, world: World, how: str) -> None:
    """Rules 6.2, 6.5, 8.7: the resting stop leg is cancelled by itself; `flatten` ends as well."""
    exchange = ListsDone()
    async with harness(tmp_path, world, faults=exchange) as b:
        exchange.bench = b
        await b.enter()
        await b.move("-0.5")
        b.touch(b.at(-2))
        await b.wait(0.5)
        assert b.roles() == ["SL", "SL1", "SL2"]
        if how == "flatten":
            await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.SL, Reason.FLATTEN, within=5)
        assert len(exchange.refused) == len(set(exchange.refused)), "the same cancel was sent again"
        b.adds_up(closed)


@oco_worlds
async def test_flatten_where_no_list_is_known_any_more(tmp_path: Path, world: World) -> None:
    """Rule 8.7: the refused cancels of the lists are not sent again, and the trade ends."""
    exchange = ListsDone(always=True)
    async with harness(tmp_path, world, faults=exchange) as b:
        await b.enter()
        await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.FLATTEN, within=10)
        assert len(exchange.refused) == len(set(exchange.refused)) == 2
        b.adds_up(closed)
