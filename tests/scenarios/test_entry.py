"""Entries: in time, too late, in parts, at market, and not at all (rule 3)."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import EXITS, OCO_WORLDS, WORLDS, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Reason
from executor.core.model.values import OrderType, TimeInForce
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.server.faults import Answer, FaultPlan, RequestFault

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
TIMEOUT_S = 92


async def too_late(b: Harness, price: float | str) -> None:
    """A signal whose entry is never reached; the price stands at `price` when it times out."""
    await b.move("0.1", then=0)
    await b.signal()
    assert b.roles() == ["ENTRY"]
    await b.move(price)
    await b.wait(TIMEOUT_S)


@worlds
async def test_limit_only_gives_up(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, ENTRY_MODE="LIMIT_ONLY") as b:
        await too_late(b, "0.1")
        closed = await b.ends(Reason.ENTRY_TIMEOUT)
        assert closed.qty == 0
        assert b.state.cooldown_until - closed.closed == 30_000
        b.adds_up(closed)


@worlds
async def test_plan_b_buys_at_market(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await too_late(b, "0.2")
        assert b.roles() == EXITS[world.layout]
        (planb,) = b.sent("PLANB")
        assert planb.type is OrderType.MARKET
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.entry_slippage >= Decimal("0.15")
        b.adds_up(closed)


@pytest.mark.parametrize(
    ("settings", "price", "reason"),
    [
        ({}, "0.5", Reason.PLANB_DEVIATION),
        ({"PLANB_MAX_DEV_R_MULT": "0", "PLANB_MAX_DEV_USD": "0.3"}, "0.5", Reason.PLANB_DEVIATION),
        ({"PLANB_MAX_DEV_R_MULT": "2", "PLANB_MAX_DEV_USD": "0.3"}, "0.5", Reason.PLANB_DEVIATION),
        ({"PLANB_MAX_DEV_R_MULT": "0"}, "1.1", Reason.PLANB_PAST_TP1),
    ],
    ids=["R", "USD", "the tighter of both", "past TP1"],
)
@oco_worlds
async def test_plan_b_keeps_its_bounds(
    tmp_path: Path, world: World, settings: dict[str, Any], price: str, reason: Reason
) -> None:
    async with harness(tmp_path, world, **settings) as b:
        await too_late(b, price)
        closed = await b.ends(reason)
        assert closed.qty == 0
        assert not b.sent("PLANB")
        b.adds_up(closed)


@oco_worlds
async def test_plan_b_past_tp1_where_that_is_allowed(tmp_path: Path, world: World) -> None:
    settings: dict[str, Any] = {"PLANB_MAX_DEV_R_MULT": "0", "PLANB_ABORT_IF_PAST_TP1": "false"}
    async with harness(tmp_path, world, **settings) as b:
        await too_late(b, "1.1")
        await b.wait(5)
        assert b.position.entered
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL, refusals=["price_relation", "would_match"]))


@oco_worlds
async def test_plan_b_never_buys_past_the_stop(tmp_path: Path, world: World) -> None:
    """Quotes can be there without a trade that would have filled the entry."""
    async with harness(tmp_path, world) as b:
        await too_late_quoted(b)
        closed = await b.ends(Reason.PLANB_PAST_STOP)
        assert closed.qty == 0


async def too_late_quoted(b: Harness) -> None:
    await b.move("0.1", then=0)
    await b.signal()
    bid, ask = sorted((b.at("-1.1"), b.at("-1.2")))
    b.engine.on_quote(b.symbol, bid, Decimal(9), ask, Decimal(9), b.clock.now_ms())
    await b.wait(TIMEOUT_S)


class NoPrice(FaultPlan):
    """From `since` on the exchange answers no question about the price."""

    def __init__(self, since: Callable[[], bool]) -> None:
        self._since = since

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if "ticker" not in path or not self._since():
            return None
        body = b'{"code":-1000,"msg":"An unknown error occurred while processing the request."}'
        return RequestFault(execute=False, answer=Answer(status=500, body=body))


@pytest.mark.parametrize("required", ["true", "false"])
@oco_worlds
async def test_plan_b_without_a_price(tmp_path: Path, world: World, required: str) -> None:
    silent = False
    async with harness(tmp_path, world, faults=NoPrice(lambda: silent), PLANB_REQUIRE_PRICE=required) as b:
        await b.move("0.1", then=0)
        await b.signal()
        silent = True
        await b.wait(TIMEOUT_S + 30)
        if required == "true":
            await b.ends(Reason.PLANB_NO_PRICE)
        else:
            assert b.sent("PLANB")
            silent = False
            await b.wait(5)
            assert b.roles() == EXITS["OCO"]


@oco_worlds
async def test_plan_b_as_a_limit_never_pays_more_than_its_bound(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, PLANB_ORDER="LIMIT_IOC") as b:
        await too_late(b, "0.2")
        (planb,) = b.sent("PLANB")
        assert (planb.type, planb.time_in_force, planb.price) == (OrderType.LIMIT, TimeInForce.IOC, b.at("0.25"))
        assert b.roles() == EXITS["OCO"]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@oco_worlds
async def test_plan_b_as_a_limit_in_a_thin_market(tmp_path: Path, world: World) -> None:
    """What the bound does not reach is not bought; the trade goes on with what it has."""
    thin = LiquidityModel.tight(Decimal(30), 20)
    async with harness(tmp_path, world, liquidity=thin, PLANB_ORDER="LIMIT_IOC") as b:
        await too_late(b, "0.2")
        assert b.roles() == EXITS["OCO"]
        (planb,) = b.sent("PLANB")
        assert Decimal(1) < planb.executed_qty < Decimal(3)
        await b.move(-1, then=10)
        closed = await b.ends(Reason.SL)
        assert closed.qty == planb.executed_qty
        b.adds_up(closed)


@oco_worlds
async def test_plan_b_finds_nothing_to_buy(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, liquidity=LiquidityModel.tight(Decimal("0.01"), 1)) as b:
        await too_late(b, "0.2")
        closed = await b.ends(Reason.PLANB_REFUSED)
        assert closed.qty == 0


@worlds
async def test_a_part_then_plan_b(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.move(0, qty="1")
        assert b.roles() == ["ENTRY", "SL"]
        await b.move("0.2")
        await b.wait(TIMEOUT_S)
        assert b.roles() == EXITS[world.layout]
        assert b.sent("PLANB")[0].executed_qty == 2
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.qty == 3
        b.adds_up(closed)


@worlds
@pytest.mark.parametrize("settings", [{"ENTRY_MODE": "LIMIT_ONLY"}, {}], ids=["LIMIT_ONLY", "too far for Plan B"])
async def test_a_part_and_no_more(tmp_path: Path, world: World, settings: dict[str, Any]) -> None:
    async with harness(tmp_path, world, **settings) as b:
        await b.signal()
        await b.move(0, qty="1")
        await b.move("0.5")
        await b.wait(TIMEOUT_S)
        assert b.roles() == EXITS[world.layout]
        await b.move(1)
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        assert closed.qty == 1
        b.adds_up(closed)


@worlds
async def test_the_interim_stop_follows_the_fills_and_is_hit(tmp_path: Path, world: World) -> None:
    """Rule 3.5."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.move(0, qty="1")
        first = b.covered()
        await b.move(0, qty="1")
        # a commission that is not read yet is reckoned rounded up, which may cost a fill a step meanwhile (3.4)
        assert abs(b.covered() - 2 * first) <= Decimal("0.002")
        assert b.roles() == ["ENTRY", "SL"]
        await b.move(-1, qty="0.001")
        closed = await b.ends(Reason.SL)
        assert closed.qty == Decimal("2.001")
        assert abs(closed.dust) <= Decimal("0.005")
        b.adds_up(closed)


@worlds
async def test_the_interim_stop_is_jumped_by_a_gap(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.move(0, qty="1")
        await b.move(-3, qty="0.001", then=8)
        closed = await b.ends(Reason.SL)
        b.adds_up(closed)


@worlds
async def test_a_part_too_small_for_any_stop_is_watched(tmp_path: Path, world: World) -> None:
    """Rules 3.5, 3.6: nothing can be sold of it, so it is dust in the end."""
    async with harness(tmp_path, world, ENTRY_MODE="LIMIT_ONLY") as b:
        await b.signal()
        await b.move(0, qty="0.02")
        assert b.roles() == ["ENTRY"]
        await b.move("0.5")
        await b.wait(TIMEOUT_S)
        closed = await b.ends(Reason.ENTRY_TIMEOUT)
        assert closed.qty == Decimal("0.02")
        assert abs(closed.dust) > Decimal("0.019")
        b.adds_up(closed)


@worlds
async def test_market_only(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, ENTRY_MODE="MARKET_ONLY") as b:
        await b.signal(then=2)
        assert b.roles() == EXITS[world.layout]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@oco_worlds
async def test_market_only_in_a_market_too_thin(tmp_path: Path, world: World) -> None:
    """The exchange lets the rest of a market order expire."""
    thin = LiquidityModel.tight(Decimal(50), 3)
    async with harness(tmp_path, world, liquidity=thin, ENTRY_MODE="MARKET_ONLY") as b:
        await b.signal(then=2)
        assert b.roles() == EXITS["OCO"]
        (entry,) = b.sent("ENTRY")
        assert Decimal(1) < entry.executed_qty < Decimal(2)
        await b.move(-1, then=10)
        closed = await b.ends(Reason.SL)
        assert closed.qty == entry.executed_qty
        b.adds_up(closed)


@worlds
async def test_an_entry_cancelled_by_hand(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.move("0.1", then=0)
        await b.signal()
        b.cancel_by_hand("ENTRY")
        await b.wait(5)
        closed = await b.ends(Reason.ENTRY_CANCELLED)
        assert closed.qty == 0


@worlds
async def test_an_entry_cancelled_by_hand_with_a_part_bought(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.move(0, qty="1")
        b.cancel_by_hand("ENTRY")
        await b.wait(5)
        assert b.roles() == EXITS[world.layout]
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.qty == 1
        b.adds_up(closed)


@worlds
@pytest.mark.parametrize("part", ["0", "1"])
async def test_the_operator_cancels_the_entry(tmp_path: Path, world: World, part: str) -> None:
    async with harness(tmp_path, world) as b:
        await b.move("0.1", then=0)
        await b.signal()
        if part != "0":
            await b.move(0, qty=part)
        await b.command(Verb.CANCEL_ENTRY)
        await b.wait(3)
        if part != "0":
            assert b.roles() == EXITS[world.layout]
            await b.move(-1)
        closed = await b.ends(Reason.SL if part != "0" else Reason.ENTRY_CANCELLED)
        assert closed.qty == Decimal(part)
        b.adds_up(closed)


@worlds
async def test_a_fill_beats_the_cancel(tmp_path: Path, world: World) -> None:
    """Rule 3.2: the entry fills in the very instant in which it times out."""
    async with harness(tmp_path, world, LIVE_ENTRY_TIMEOUT_SEC="10") as b:
        await b.move("0.1", then=0)
        await b.signal()
        give_up = b.position.opened + 10_000
        await b.wait((give_up - b.clock.now_ms() - 1) / 1000)
        b.touch(b.at(0))
        await b.wait(3)
        assert b.roles() == EXITS[world.layout]
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.qty == 3
        b.adds_up(closed)
