"""Entries that bring their exits with them (rule 13), over both ways for orders, pushed and polled."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import AFTER_TP1, EXITS, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Protected, Reason
from executor.core.model.values import Direction, OrderStatus, TimeInForce
from executor.paper.engine.symbol import Symbol

BRACKETS = [World(side, "BRACKET", pushes=pushes) for side in Direction for pushes in (True, False)]
ENTRIES = ["ENTRY1", "ENTRY2", "ENTRY3"]
worlds = pytest.mark.parametrize("world", BRACKETS, ids=str)
pushed = pytest.mark.parametrize("world", [w for w in BRACKETS if w.pushes], ids=str)
PENDING = OrderStatus.PENDING_NEW


def placed_at(b: Harness, role: str) -> int:
    """When the exchange put the stop in force, by its own clock (ms)."""
    (order,) = b.sent(role)
    return order.update_time


@pytest.mark.parametrize("transport", ["ws", "rest"])
@pushed
async def test_the_exchange_covers_the_fill_itself(tmp_path: Path, world: World, transport: str) -> None:
    """13.1: by its own clock in the instant of the fill, and without a request."""
    async with harness(tmp_path, world, ORDER_TRANSPORT=transport) as b:
        await b.signal()
        assert b.roles() == sorted(EXITS["OCO"] + ENTRIES)
        assert {o.status for o in b.open() if o.stop_price} == {PENDING}
        asked = b.said("accepted")
        await b.move(0)
        assert b.said("accepted") == asked
        assert b.roles() == EXITS["BRACKET"]
        for entry, stop in (("ENTRY1", "SL1"), ("ENTRY2", "SL2"), ("ENTRY3", "SL")):
            (filled,) = b.sent(entry)
            assert placed_at(b, stop) == filled.update_time
        assert isinstance(b.position.phase, Protected)
        assert b.position.exposure.longest == 0
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_nobody_is_there_when_it_fills(tmp_path: Path, world: World) -> None:
    """13.1, 13.4: the exits stand all the same, and the next start supervises them."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.stop()
        await b.move(0, then=0)
        assert b.roles() == EXITS["BRACKET"]
        assert all(o.status is OrderStatus.NEW for o in b.open())
        await b.start()
        assert isinstance(b.position.phase, Protected)
        assert b.roles() == EXITS["BRACKET"]
        await b.move(1)
        assert b.roles() == AFTER_TP1["BRACKET"]
        await b.move("0.05")
        b.adds_up(await b.ends(Reason.BREAKEVEN))


@worlds
async def test_nobody_is_there_until_it_is_over(tmp_path: Path, world: World) -> None:
    """13.4, 9.1: filled, and left at its stop, with the service down."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.stop()
        await b.move(0, then=0)
        await b.move(-1, then=0)
        await b.start()
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_its_state_is_lost_while_it_rests(tmp_path: Path, world: World) -> None:
    """13.4, 9.3: rebuilt from the exits that wait for it, and gone on with."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        await b.stop()
        for path in tmp_path.glob("state*"):  # noqa: ASYNC240 - a few files
            path.unlink()
        await b.start()
        assert b.roles() == sorted(EXITS["OCO"] + ENTRIES)
        await b.move(0)
        await b.wait(3)
        assert isinstance(b.position.phase, Protected)
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_a_part_is_covered_after_a_while(tmp_path: Path, world: World) -> None:
    """13.2: the list is cancelled, an interim stop covers the part, the rest is entered anew."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.touch(b.at("-0.01"), "1.4")
        await b.wait(5)
        assert b.covered() >= Decimal("1.39")
        assert len(b.sent("ENTRY1") + b.sent("ENTRY2") + b.sent("ENTRY3")) == 4
        await b.move("-0.02")
        await b.wait(3)
        assert b.roles() == EXITS["BRACKET"]
        assert sum((o.executed_qty for o in b.orders() if o.side is world.side.entry_side), Decimal(0)) == 3
        await b.move(1)
        await b.move("0.05")
        b.adds_up(await b.ends(Reason.BREAKEVEN))


@worlds
async def test_exits_that_are_refused_at_their_moment_are_placed(tmp_path: Path, world: World) -> None:
    """13.3, 4.1"""
    async with harness(tmp_path, world) as b:
        await b.signal()
        b.engine._matcher.refuses_pending = lambda _: True
        await b.move(0)
        await b.wait(3)
        assert b.roles() == EXITS["OCO"]
        assert isinstance(b.position.phase, Protected)
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_its_time_is_up_and_plan_b_brings_exits_too(tmp_path: Path, world: World) -> None:
    """13.4, 3.3"""
    async with harness(tmp_path, world) as b:
        await b.move("0.1", then=0)
        await b.signal()
        assert b.roles() == sorted(EXITS["OCO"] + ENTRIES)
        await b.move("0.2")
        await b.wait(95)
        assert b.roles() == EXITS["BRACKET"]
        assert {o.time_in_force for o in b.sent("PLANB1") + b.sent("PLANB3")} == {TimeInForce.IOC}
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_an_entry_that_is_never_reached_leaves_nothing(tmp_path: Path, world: World) -> None:
    """13.4, 3.2: its exits go with it."""
    async with harness(tmp_path, world, ENTRY_MODE="LIMIT_ONLY") as b:
        await b.move("0.1", then=0)
        await b.signal()
        await b.wait(95)
        closed = await b.ends(Reason.ENTRY_TIMEOUT)
        assert closed.qty == 0


@worlds
@pytest.mark.parametrize("filled", [False, True])
async def test_the_operator_closes_it(tmp_path: Path, world: World, *, filled: bool) -> None:
    """13.4, 6.2: before it has filled, and after."""
    async with harness(tmp_path, world) as b:
        await b.signal()
        if filled:
            await b.move(0)
        await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.FLATTEN)
        assert bool(closed.qty) is filled
        b.adds_up(closed)


@pytest.mark.parametrize("spare", ["0", "10"])
async def test_commission_from_base_with_and_without_free_base(tmp_path: Path, spare: str) -> None:
    """13.3 (faqs/opo.md): what is free pays it, where there is enough; else the exits sell less."""
    world = World(Direction.LONG, "BRACKET", pushes=True)
    settings: dict[str, Any] = {"balances": {"LTC": spare, "USDT": "10000"}}
    async with harness(tmp_path, world, **settings) as b:
        await b.enter()
        assert b.covered() == (Decimal("2.997") if spare == "0" else Decimal(3))
        assert isinstance(b.position.phase, Protected)
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.dust == (Decimal(0) if spare == "0" else Decimal("-0.003"))
        b.adds_up(closed)


async def test_a_symbol_without_such_lists_is_entered_as_with_oco(tmp_path: Path) -> None:
    """13.1: and the start says so."""
    world = World(Direction.LONG, "BRACKET", pushes=True)
    async with harness(tmp_path, world) as b:
        assert not b.said("brackets_not_offered")
        await b.stop()
        symbol = b.engine.symbol(b.symbol)
        b.engine.replace_symbol(Symbol.from_exchange_info({**symbol.row, "opoAllowed": False}))
        await b.start()
        assert b.said("brackets_not_offered") == 1
        await b.enter()
        assert b.sent("ENTRY")
        assert b.roles() == EXITS["OCO"]
