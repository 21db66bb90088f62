"""Where the stop goes: breakeven, trailing in its three ways, by hand; and what ends a trade by time or size."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import AFTER_TP1, EXITS, OCO_WORLDS, WORLDS, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Reason
from executor.core.model.verdict import Refusal

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


@worlds
async def test_breakeven_waits_for_room(tmp_path: Path, world: World) -> None:
    """Rule 5.2: a stop past the price would be refused; the old one stays until the price has come back, if that does
    not take too long (6.4b).
    """
    async with harness(tmp_path, world, SL_WATCHDOG_GRACE_SEC="10") as b:
        await b.enter()
        b.touch(b.at(1))
        await b.move("0.1", then=5)
        assert b.stops() == {b.at(-1)}
        assert b.roles() == AFTER_TP1[world.layout]
        await b.move("0.6")
        (stop,) = b.stops()
        assert world.side.sign * (stop - b.at(0)) > 0
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        assert closed.pnl > 0
        b.adds_up(closed)


@worlds
async def test_a_price_that_stays_past_breakeven_sells(tmp_path: Path, world: World) -> None:
    """Rule 6.4b: a stop ought to stand there."""
    async with harness(tmp_path, world) as b:
        await b.enter()
        b.touch(b.at(1))
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN, within=6)
        assert closed.pnl > 0
        b.adds_up(closed)


@worlds
async def test_breakeven_with_ticks_on_top(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, BE_OFFSET_TICKS="10") as b:
        await b.enter()
        await b.move(1)
        (stop,) = b.stops()
        assert world.side.sign * (stop - b.at("0.3")) >= 0
        await b.move("0.1")
        b.adds_up(await b.ends(Reason.BREAKEVEN))


@worlds
async def test_keep_leaves_the_stop(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, SL_AFTER_TP1="KEEP") as b:
        await b.enter()
        await b.move(1)
        assert b.stops() == {b.at(-1)}
        assert b.covered() == b.position.split[1] + b.position.split[2]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


async def into_the_trail(b: Harness) -> None:
    await b.enter()
    await b.move(1)
    await b.move(2)
    assert b.position.trail is not None
    assert len(b.open()) == 1


async def ratchets(b: Harness, *prices: str) -> None:
    """Walk the prices: the stop never goes back (rule 10.4)."""
    (last,) = b.stops()
    for price in prices:
        await b.move(price, then=3)
        (stop,) = b.stops()
        assert b.world.side.sign * (stop - last) >= 0
        last = stop


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, "3.5"),
        ({"TRAIL_DISTANCE_R_MULT": "2"}, "2.5"),
        ({"TRAIL_DISTANCE_USD": "0.7"}, "3.8"),
        ({"TRAIL_DISTANCE_PCT": "0.01"}, None),
    ],
    ids=["1R", "2R", "USD", "PCT"],
)
@worlds
async def test_trailing_by_distance(tmp_path: Path, world: World, settings: dict[str, Any], level: str | None) -> None:
    async with harness(tmp_path, world, **settings) as b:
        await into_the_trail(b)
        await ratchets(b, "3", "2.8", "4.5", "4.2")
        (stop,) = b.stops()
        if level is not None:
            assert stop == b.at(level)
        b.touch(stop)
        closed = await b.ends(Reason.TRAIL)
        assert closed.r > 1
        b.adds_up(closed)


@oco_worlds
async def test_the_trail_moves_by_its_step_and_not_too_often(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, TRAIL_STEP_USD="0.5", TRAIL_UPDATE_EVERY_SEC="10") as b:
        await into_the_trail(b)
        await b.wait(12)
        (start,) = b.stops()
        assert start == b.at(1)
        await b.move("2.4", then=15)
        assert b.stops() == {start}
        await b.move("2.5", then=1)
        await b.wait(2)
        assert b.stops() == {b.at("1.5")}
        await b.move("3.5", then=4)
        assert b.stops() == {b.at("1.5")}
        await b.wait(10)
        assert b.stops() == {b.at("2.5")}
        await b.move("2.5")
        b.adds_up(await b.ends(Reason.TRAIL))


@worlds
async def test_trailing_by_swings(tmp_path: Path, world: World) -> None:
    """The stop follows the last low with a higher low on each side."""
    settings: dict[str, Any] = {"TRAIL_MODE": "SWING", "TRAIL_SWING_LR": "1", "TRAIL_SWING_BUFFER_USD": "0.05"}
    async with harness(tmp_path, world, **settings) as b:
        await into_the_trail(b)
        before = b.stops()
        for price in ("3", "2.5", "3.5", "4"):
            await b.wait(60)
            await b.move(price)
        await b.wait(60)
        await b.until(lambda: b.stops() != before, within=130)
        (stop,) = b.stops()
        assert stop == b.at("2.45")
        await b.move("2.45")
        b.adds_up(await b.ends(Reason.TRAIL))


@oco_worlds
async def test_the_exchange_trails(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, TRAIL_MODE="NATIVE") as b:
        await into_the_trail(b)
        (order,) = b.open()
        assert order.trailing_delta is not None
        await b.move(4)
        await b.move("2.5")
        closed = await b.ends(Reason.TRAIL)
        b.adds_up(closed)


@oco_worlds
async def test_the_exchange_trails_while_the_service_is_down(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, TRAIL_MODE="NATIVE") as b:
        await into_the_trail(b)
        await b.stop()
        await b.move(6)
        assert b.roles() == ["TRAIL"]
        await b.move("4.5")
        assert b.open() == []
        await b.start()
        closed = await b.ends(Reason.TRAIL)
        assert closed.r > Decimal("2.2")
        b.adds_up(closed)


@worlds
async def test_the_trail_from_the_start(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, TRAIL_ACTIVATE_AFTER_TP2="false", SL_AFTER_TP1="KEEP") as b:
        await b.enter()
        await b.move("0.8")
        await b.wait(3)
        assert b.at("-0.2") in b.stops()
        await b.move(-1)
        await b.ends(Reason.SL, Reason.TRAIL)


@pytest.mark.parametrize(
    ("size", "exits"),
    [
        ("16", {"OCO": EXITS["OCO"], "PLAIN": EXITS["PLAIN"]}),
        ("12", {"OCO": ["SL1", "SL2", "TP1", "TP2"], "PLAIN": ["SL", "TP1", "TP2"]}),
        ("7", {"OCO": ["SL1", "TP1"], "PLAIN": ["SL", "TP1"]}),
    ],
    ids=["three legs", "two legs", "one leg"],
)
@worlds
async def test_as_many_legs_as_the_filters_carry(
    tmp_path: Path, world: World, size: str, exits: dict[str, list[str]]
) -> None:
    """Rule 2.4, with a least notional of 5."""
    async with harness(tmp_path, world, QTY_USD=size) as b:
        await b.enter()
        assert b.roles() == exits[world.layout]
        await b.move(1)
        await b.move(2)
        if size == "16":
            await b.move(1)
        closed = await b.ends(*([Reason.TRAIL] if size == "16" else [Reason.TP]))
        b.adds_up(closed)


@oco_worlds
async def test_the_size_by_risk(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, RISK_USD="4") as b:
        await b.enter(stop="-0.8")
        assert b.position.plan.qty == 5
        await b.move("-0.8")
        b.adds_up(await b.ends(Reason.SL))


@oco_worlds
async def test_the_size_that_the_signal_brings(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter(notional=200)
        assert b.position.plan.qty == 2
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_held_too_long(tmp_path: Path, world: World) -> None:
    """Rule 6.7."""
    async with harness(tmp_path, world, MAX_HOLD_SEC="30") as b:
        await b.enter()
        await b.move("0.5")
        closed = await b.ends(Reason.MAX_HOLD, within=35)
        assert closed.closed - closed.opened <= 31_000
        b.adds_up(closed)


@worlds
async def test_the_operator_moves_the_stop(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.move("0.5")
        worse = await b.command(Verb.MOVE_STOP, b.at(-2))
        assert isinstance(worse.verdict, Refusal)
        past = await b.command(Verb.MOVE_STOP, b.at("0.7"))
        assert isinstance(past.verdict, Refusal)
        await b.command(Verb.MOVE_STOP, b.at("-0.5"))
        await b.wait(8)
        assert b.stops() == {b.at("-0.5")}
        assert b.roles() == EXITS[world.layout]
        await b.move("-0.5")
        b.adds_up(await b.ends(Reason.SL))
