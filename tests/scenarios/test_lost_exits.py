"""Exits that the exchange ends, half ends, or does not know any more, and what hands take of a position."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import OCO_WORLDS, World, harness

from executor.core.model.events import Verb
from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.paper.engine.choices import ExchangeChoices, OcoDone, PushOrder, PushRefusals
from executor.paper.server import Answer, PushFault, RequestFault

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
UNKNOWN = Answer(400, b'{"code":-2011,"msg":"Unknown order list sent."}')


class NoLists:
    """An exchange that knows no list any more, whenever one is to be cancelled."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if (method, path) != ("DELETE", "/api/v3/orderList") and path != "orderList.cancel":
            return None
        self.refused.append(params["listClientOrderId"])
        return RequestFault(execute=False, answer=UNKNOWN)

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return None


# --- half-ended lists (rules 8.7, 8.8) --------------------------------------------------------------------------------


@oco_worlds
@pytest.mark.parametrize("done", list(OcoDone))
@pytest.mark.parametrize("how", ["watch", "flatten"])
async def test_jumped_stops_are_sold_at_market_whether_or_not_their_lists_are_done(
    tmp_path: Path, world: World, done: OcoDone, how: str
) -> None:
    """Rules 6.2, 6.5: the resting stop leg is cancelled by itself; `flatten` ends as well."""
    async with harness(tmp_path, world) as b:
        b.engine.choices = ExchangeChoices(oco_done=done)
        await b.enter()
        await b.move("-0.5")
        b.touch(b.at(-2))
        await b.wait(0.5)
        assert b.roles() == ["SL", "SL1", "SL2"]
        if how == "flatten":
            await b.command(Verb.FLATTEN)
        b.adds_up(await b.ends(Reason.SL, Reason.FLATTEN, within=5))


@oco_worlds
async def test_flatten_where_no_list_is_known_any_more(tmp_path: Path, world: World) -> None:
    """Rule 8.7: the refused cancels of the lists are not sent again, and the trade ends."""
    exchange = NoLists()
    async with harness(tmp_path, world, faults=exchange) as b:
        await b.enter()
        await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.FLATTEN, within=10)
        assert len(exchange.refused) == len(set(exchange.refused)) == 2
        b.adds_up(closed)


# --- refused moves (rules 5.5, 8.8) -----------------------------------------------------------------------------------


class Choppy:
    """The price falls to `to` a moment before each cancel-replace arrives, so that the new stop would trigger."""

    def __init__(self) -> None:
        self.fall: Callable[[], None] | None = None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if path in {"/api/v3/order/cancelReplace", "order.cancelReplace"} and self.fall is not None:
            self.fall()
        return None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return None


@pytest.mark.parametrize("side", list(Direction))
@pytest.mark.parametrize("order", list(PushOrder))
@pytest.mark.parametrize("refusals", [PushRefusals.NEVER, PushRefusals.CANCEL_REPLACE])
async def test_a_choppy_trail_keeps_its_level_however_the_refusals_are_told(
    tmp_path: Path, side: Direction, order: PushOrder, refusals: PushRefusals
) -> None:
    """Each move is refused after its cancel: the level in force is put back at once, and nobody's hand is blamed."""
    market = Choppy()
    async with harness(tmp_path, World(side, "OCO", pushes=True), faults=market) as b:
        b.engine.choices = ExchangeChoices(push_order=order, push_refusals=refusals)
        await b.enter()
        await b.move(1)
        await b.move(2)
        (level,) = b.stops()
        for high in (4, 5, 6):
            market.fall = lambda: b.touch(b.at("2.2"))
            b.touch(b.at(high))
            await b.wait(0.5)
            market.fall = None
            assert b.stops() == {level}, b.story()
            await b.wait(3)
        refused = [e for e in b.log if e["event"] == "replaced" and e["place"] == "refused"]
        assert len(refused) == 3
        assert not {"exit_vanished", "exit_vanished_again"} & set(b.alerts())
        await b.move(7)
        (raised,) = b.stops()
        assert side.sign * (raised - level) > 0
        await b.move(3)
        b.adds_up(await b.ends(Reason.TRAIL, refusals=[Why.WOULD_TRIGGER]))
