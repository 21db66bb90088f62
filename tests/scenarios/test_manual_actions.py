"""Exits that are refused, and what others do: failsafe, orders cancelled, the position sold, the operator."""

from collections.abc import Awaitable, Callable
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import pytest
from tests.scenarios.harness import ACCOUNT, EXITS, OCO_WORLDS, WORLDS, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction, OrderSide, OrderType
from executor.core.model.verdict import Refusal
from executor.paper.engine.model import SymbolStatus

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
EXITS_LOCK = {Direction.LONG: "LTC", Direction.SHORT: "USDT"}


def lock_all(b: Harness) -> str:
    """Another service of the exchange takes what the exits would have to lock."""
    asset = EXITS_LOCK[b.world.side]
    b.external = {asset: b.free(asset)}
    b.engine.lock_externally(ACCOUNT, asset, b.free(asset), b.clock.now_ms())
    return asset


def unlock(b: Harness, asset: str) -> None:
    b.engine.lock_externally(ACCOUNT, asset, -b.external[asset], b.clock.now_ms())
    b.external = {}


# --- exits refused (rule 4.7) -----------------------------------------------------------------------------------------


@worlds
async def test_exits_refused_for_balance_end_in_the_failsafe(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at(0))
        asset = lock_all(b)
        await b.wait(15)
        assert "failsafe" in b.alerts()
        assert b.state.position is not None
        unlock(b, asset)
        closed = await b.ends(Reason.FAILSAFE, refusals=[Why.INSUFFICIENT_BALANCE])
        assert closed.unprotected_ms > 4_000
        b.adds_up(closed)


@worlds
async def test_exits_refused_for_a_while_go_out_in_the_end(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at(0))
        asset = lock_all(b)
        await b.wait(2.5)
        unlock(b, asset)
        await b.wait(4)
        assert b.covered() >= b.position.split[0] + b.position.split[1] + b.position.split[2]
        await b.move(-1)
        closed = await b.ends(Reason.SL, refusals=[Why.INSUFFICIENT_BALANCE])
        b.adds_up(closed)


@pytest.mark.parametrize("status", [SymbolStatus.BREAK, SymbolStatus.CANCEL_ONLY])
@worlds
async def test_a_symbol_that_closes_before_its_exits_are_placed(
    tmp_path: Path, world: World, status: SymbolStatus
) -> None:
    """Nothing can be placed or sold while it is closed: it is told, waited for, and covered when it opens."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at(0))
        b.engine.set_symbol_status(b.symbol, status)
        await b.wait(40)
        assert b.open() == []
        assert {"market_closed", "unprotected"} <= set(b.alerts())
        b.engine.set_symbol_status(b.symbol, SymbolStatus.TRADING)
        await b.wait(4)
        assert b.covered() == sum(b.position.split)
        assert b.said("market_open") == 1
        await b.move(-1)
        closed = await b.ends(Reason.SL, refusals=[Why.MARKET_CLOSED])
        b.adds_up(closed)


@pytest.mark.parametrize("status", [SymbolStatus.HALT, SymbolStatus.CANCEL_ONLY])
@oco_worlds
async def test_exits_that_stand_when_a_symbol_closes_are_left_standing(
    tmp_path: Path, world: World, status: SymbolStatus
) -> None:
    """Cancels are taken then and orders are not: what would be cancelled could not be replaced, not even to close."""
    async with harness(tmp_path, world, MAX_HOLD_SEC="100") as b:
        await b.enter()
        before = {order.client_order_id for order in b.open()}
        b.engine.set_symbol_status(b.symbol, status)
        await b.wait(80)
        assert "market_closed" in b.alerts()
        await b.wait(120)
        await b.command(Verb.FLATTEN)
        await b.wait(5)
        assert {order.client_order_id for order in b.open()} == before
        b.engine.set_symbol_status(b.symbol, SymbolStatus.TRADING)
        closed = await b.ends(Reason.MAX_HOLD, Reason.FLATTEN)
        b.adds_up(closed)


async def test_a_symbol_that_is_closed_takes_no_entry(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLDS[0]) as b:
        b.engine.set_symbol_status(b.symbol, SymbolStatus.CANCEL_ONLY)
        await b.restart()
        assert "market_closed" in b.alerts()
        await b.signal()
        assert b.state.position is None
        assert b.state.refused["market_closed"] == 1
        b.engine.set_symbol_status(b.symbol, SymbolStatus.TRADING)
        await b.wait(20)
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)


def crowd(b: Harness, count: int) -> None:
    """Stops of somebody else take up the symbol's places for conditional orders."""
    for i in range(count):
        far = b.at(-20)
        b.place_by_hand(
            f"theirs{i}",
            b.world.side.entry_side.opposite,
            "0.1",
            type=OrderType.STOP_LOSS_LIMIT,
            price=far,
            stop_price=far,
        )


async def enter_while_places_are_taken(b: Harness, then: float = 1) -> None:
    """The places for stops are there when the entry is decided (2.6); another program takes them before it fills."""
    await b.signal()
    crowd(b, 5)
    await b.move(0, then=then)


@worlds
async def test_no_place_left_for_stops(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await enter_while_places_are_taken(b, then=0.3)
        closed = await b.ends(Reason.FAILSAFE, refusals=[Why.FILTER])
        assert closed.unprotected_ms > 0


@worlds
async def test_no_place_left_for_stops_and_no_failsafe(tmp_path: Path, world: World) -> None:
    """FAILSAFE_FLATTEN=false: held on, halted, alerted; and the price is watched all the same (rule 6.4)."""
    async with harness(tmp_path, world, FAILSAFE_FLATTEN="false") as b:
        await enter_while_places_are_taken(b)
        await b.wait(12)
        assert b.state.halted
        assert b.alerts().count("failsafe_off") > 2
        await b.move(-1, then=6)
        await b.until(lambda: b.state.position is None)
        assert b.closed.reason is Reason.SL
        assert b.state.halted
        b.is_sound()
        assert b.open() == []


@worlds
async def test_no_failsafe_and_the_places_become_free(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, FAILSAFE_FLATTEN="false") as b:
        await enter_while_places_are_taken(b)
        await b.wait(12)
        b.engine.cancel_open_orders(ACCOUNT, b.symbol, b.clock.now_ms())
        await b.wait(40)
        assert b.covered() >= sum(b.position.split)
        await b.move(-1)
        await b.ends(Reason.SL, refusals=[Why.FILTER])


# --- cancelled, sold, placed by hand (rule 6.6) -----------------------------------------------------------------------


@worlds
async def test_a_stop_cancelled_by_hand_is_put_back_once(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        b.cancel_by_hand("SL")
        await b.wait(8)
        assert b.roles() == EXITS[world.layout]
        assert b.alerts() == ["exit_vanished"]
        b.cancel_by_hand("SL")
        await b.wait(8)
        closed = await b.ends(Reason.EXTERNAL)
        assert closed.exit_avg is None
        b.adds_up(closed)


@oco_worlds
async def test_a_pair_cancelled_by_hand_is_put_back_once(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        b.cancel_by_hand("TP1")
        await b.wait(8)
        assert b.roles() == EXITS["OCO"]
        assert b.alerts() == ["exit_vanished"]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_a_position_closed_by_hand(tmp_path: Path, world: World) -> None:
    """Everything cancelled and sold within one instant."""
    async with harness(tmp_path, world, balances={"USDT": "10000", "LTC": "4"}) as b:
        await b.enter()
        b.engine.cancel_open_orders(ACCOUNT, b.symbol, b.clock.now_ms())
        if world.side is Direction.LONG:
            b.place_by_hand(
                "mine",
                OrderSide.SELL,
                str(b.free("LTC").quantize(Decimal("0.01"), ROUND_DOWN) - Decimal("0.01")),
                type=OrderType.MARKET,
            )
        else:
            b.place_by_hand("mine", OrderSide.BUY, "3", type=OrderType.MARKET)
        await b.wait(20)
        assert b.alerts()
        if world.side is Direction.LONG:
            await b.ends(Reason.EXTERNAL, refusals=[Why.INSUFFICIENT_BALANCE])


@worlds
async def test_an_order_with_our_name_and_no_trade(tmp_path: Path, world: World) -> None:
    """Rule 10.3: nobody guesses what it is for; entries are halted until the operator has looked."""
    async with harness(tmp_path, world) as b:
        b.place_by_hand("EX_1_TP1_0", OrderSide.SELL, "1", price=b.entry_price + 20)
        await b.wait(15)
        assert "EX_1_TP1_0" in b.state.halted
        assert b.alerts() == ["stray_orders"]
        await b.signal()
        assert b.state.refused == {"halted": 1}
        b.engine.cancel_open_orders(ACCOUNT, b.symbol, b.clock.now_ms())
        await b.command(Verb.RESUME)
        await b.enter()
        assert b.roles() == EXITS[world.layout]


# --- the operator -----------------------------------------------------------------------------------------------------


async def unfilled(b: Harness) -> None:
    await b.move("0.1", then=0)
    await b.signal()


async def partly(b: Harness) -> None:
    await b.signal()
    await b.move(0, qty="1")


async def protected(b: Harness) -> None:
    await b.enter()


async def after_tp1(b: Harness) -> None:
    await b.enter()
    await b.move(1)


async def trailing(b: Harness) -> None:
    await b.enter()
    await b.move(1)
    await b.move(2)
    await b.move(3)


async def target_partly(b: Harness) -> None:
    await b.enter()
    await b.move(1, qty="0.4")


async def gapped(b: Harness) -> None:
    await b.enter()
    await b.move(-5, then=1)


PHASES = [unfilled, partly, protected, after_tp1, trailing, target_partly, gapped]
phases = pytest.mark.parametrize("reach", PHASES, ids=lambda reach: reach.__name__)


@phases
@worlds
async def test_flatten(tmp_path: Path, world: World, reach: Callable[[Harness], Awaitable[None]]) -> None:
    async with harness(tmp_path, world) as b:
        await reach(b)
        await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.FLATTEN, within=10)
        b.adds_up(closed)


@worlds
async def test_flatten_while_the_stop_fills(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        b.touch(b.at(-1))
        await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.FLATTEN, Reason.SL, within=10)
        b.adds_up(closed)


@oco_worlds
async def test_commands_without_a_trade(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        for verb in (Verb.FLATTEN, Verb.CANCEL_ENTRY, Verb.MOVE_STOP):
            assert isinstance((await b.command(verb)).verdict, Refusal)


@worlds
async def test_paused_looks_after_the_trade_and_takes_no_other(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, COOLDOWN_SEC="1", LOCK_SEC="0") as b:
        await b.enter()
        await b.command(Verb.PAUSE)
        await b.move(1)
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        await b.wait(5)
        await b.signal()
        assert b.state.refused == {"paused": 1}
        await b.command(Verb.RESUME)
        await b.move("0.1", then=0)
        await b.signal()
        assert b.roles() == ["ENTRY"]
        b.adds_up(closed)
