"""Exits that the exchange ends, half ends, or does not know any more, and what hands take of a position."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.harness import ACCOUNT, EXITS, OCO_WORLDS, World, harness
from tests.scenarios.wire_faults import NoLists

from executor.core.model.events import Verb
from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction, OrderSide, OrderType
from executor.paper.engine.choices import ExchangeChoices, OcoDone, PushOrder, PushRefusals
from executor.paper.server import FaultPlan, RequestFault

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


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


class Choppy(FaultPlan):
    """The price falls to `to` a moment before each cancel-replace arrives, so that the new stop would trigger."""

    def __init__(self) -> None:
        self.fall: Callable[[], None] | None = None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if path in {"/api/v3/order/cancelReplace", "order.cancelReplace"} and self.fall is not None:
            self.fall()
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
        for high in (4, 5, 6):
            (level,) = b.stops()
            between = b.at(high - 1.5)
            market.fall = lambda: b.touch(between)  # noqa: B023 - used before the next turn
            b.touch(b.at(high))
            await b.wait(0.5)
            market.fall = None
            assert b.stops() == {level}, b.story()
            b.touch(b.at(high))  # back before the level that the stop ought to have had is sold at (6.4b)
            await b.wait(3)
            (raised,) = b.stops()
            assert side.sign * (raised - level) > 0
        refused = [e for e in b.log if e["event"] == "replaced" and e["place"] == "refused"]
        assert len(refused) >= 3
        assert not {"exit_vanished", "exit_vanished_again"} & set(b.alerts())
        await b.move(3)
        b.adds_up(await b.ends(Reason.TRAIL, refusals=[Why.WOULD_TRIGGER]))


# --- hands and the exchange (rules 6.6, 6.6b) -------------------------------------------------------------------------

LONGS = [World(Direction.LONG, "OCO", pushes=pushes) for pushes in (True, False)]


@pytest.mark.parametrize("world", LONGS, ids=str)
async def test_where_a_part_is_sold_by_hand_the_rest_stays_covered(tmp_path: Path, world: World) -> None:
    """A sixth is sold in the app: an alert, and what is left stays behind its stops."""
    async with harness(tmp_path, world, balances={"USDT": "10000"}) as b:
        await b.enter()
        held = b.covered()
        lone = b.one("SL").orig_qty
        sold = Decimal("0.5")
        b.cancel_by_hand("SL")
        b.place_by_hand("app", OrderSide.SELL, str(sold), type=OrderType.MARKET)
        await b.wait(30)
        assert "part_missing" in b.alerts()
        assert b.covered() == held - sold
        assert b.one("SL").orig_qty == lone - sold
        assert b.roles() == EXITS["OCO"]
        await b.move(1)
        await b.move(2)
        assert b.position.trail is not None
        await b.move("0.5")
        closed = await b.ends(Reason.TRAIL, Reason.BREAKEVEN, refusals=[Why.INSUFFICIENT_BALANCE])
        assert closed.dust == b.totals().get(b.base, 0)


@pytest.mark.parametrize("world", LONGS, ids=str)
async def test_where_a_crumb_is_gone_flatten_sells_the_rest(tmp_path: Path, world: World) -> None:
    """Rule 10.6: a fee, or a dust conversion, took a little."""
    async with harness(tmp_path, world, balances={"USDT": "10000"}) as b:
        await b.enter()
        b.cancel_by_hand("SL")
        b.place_by_hand("app", OrderSide.SELL, "0.06", type=OrderType.MARKET)
        b.touch(b.at("0.2"))
        await b.command(Verb.FLATTEN)
        await b.ends(Reason.FLATTEN, refusals=[Why.INSUFFICIENT_BALANCE])
        assert b.totals().get(b.base, Decimal(0)) < Decimal("0.06")


@oco_worlds
async def test_exits_that_the_exchange_ends_are_put_back_as_often_as_it_does(tmp_path: Path, world: World) -> None:
    """Rule 6.6: nobody's wish, so never EXTERNAL; told once."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        for role in ("SL", "SL1", "SL", "SL1", "SL"):
            b.engine.expire_order(ACCOUNT, b.symbol, b.one(role).order_id, b.clock.now_ms())
            b.server.on_quote(b.symbol)
            await b.wait(20)
            assert b.roles() == EXITS["OCO"], b.story()
        assert b.alerts().count("exit_ended") == 2
        assert not {"exit_vanished", "exit_vanished_again"} & set(b.alerts())
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


# --- the operator's own filters (rule 2.3b) ---------------------------------------------------------------------------


@oco_worlds
async def test_a_coarse_step_of_one_s_own_leaves_nothing_bare(tmp_path: Path, world: World) -> None:
    """The commission takes less than a step of QTY_STEP from what was bought: all that is left is covered and sold."""
    async with harness(tmp_path, world, QTY_STEP="0.5", MIN_NOTIONAL="40", QTY="1") as b:
        await b.enter()
        assert b.covered() == sum(b.position.split)
        assert b.covered() >= Decimal("0.999")
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert abs(closed.dust) < Decimal("0.01")
        b.adds_up(closed)


# --- a WebSocket API that does not serve orders (rule 8.7) ------------------------------------------------------------


class Deaf(FaultPlan):
    """The WebSocket API answers its pings, and no order any more."""

    def __init__(self) -> None:
        self.deaf = False
        self.rest = 0

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.rest += (method, path) == ("POST", "/api/v3/orderList/oco")
        silent = self.deaf and method == "WS" and path.startswith("order")
        return RequestFault(execute=False, delay_before_ms=3_600_000) if silent else None


async def test_exits_that_the_websocket_api_does_not_answer_go_out_over_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executor.exchange.transport.order_link.ANSWER_SEC", 0.2)
    exchange = Deaf()
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=True), faults=exchange) as b:
        await b.signal()
        exchange.deaf = True
        await b.move(0)
        await b.until(lambda: b.covered() == sum(b.position.split) > 0, within=20)
        assert exchange.rest >= 2
        assert b.said("orders_over_rest")
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))
