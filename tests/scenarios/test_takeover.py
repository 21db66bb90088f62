"""What could not be rebuilt is resolved by the operator: adopted, flattened or forgotten (rule 9.3)."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import AFTER_TP1, EXITS, WORLDS, Harness, World, harness
from tests.scenarios.test_rebuild import lose_state

from executor.core.model.events import Resolve, Resolved
from executor.core.model.state import Protected, Reason
from executor.core.model.values import ZERO, Direction
from executor.ops.replay import Replay
from executor.service.asking import Answer, Request, TakeoverAnswer, TakeoverRequest, ask
from executor.service.takeover import propose, resolve

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
LONG = World(Direction.LONG, "OCO", pushes=True)


async def take_over(b: Harness, how: Resolve, *, sure: bool = True, **more: Any) -> TakeoverAnswer:
    """What the service answers; `sure` has it done."""
    assert b.loop is not None
    answer = await (resolve if sure else propose)(b.loop, TakeoverRequest(how, **more))
    await b.settle()
    return answer


async def puzzle(b: Harness) -> list[str]:
    """A trade whose exits do not add up, and no state: halted. The ids left on the exchange."""
    await b.enter()
    await b.stop()
    lose_state(b)
    b.cancel_by_hand("SL")
    await b.start()
    assert b.state.position is None
    assert b.state.halted
    return sorted(o.client_order_id for o in b.open())


@worlds
async def test_an_adopted_trade_gets_the_stop_that_the_operator_gives_and_lives_on(
    tmp_path: Path, world: World
) -> None:
    async with harness(tmp_path, world) as b:
        left = await puzzle(b)
        answer = await take_over(b, Resolve.ADOPT, stop=b.at("-0.5"), targets=(b.at(1), b.at(2)))
        assert answer.ok, answer
        await b.wait(1)
        assert b.roles() == EXITS[world.layout]
        assert not set(left) & {o.client_order_id for o in b.open()}
        assert b.stops() == {b.at("-0.5")}
        assert isinstance(b.position.phase, Protected)
        assert not b.state.halted
        await b.move(1)
        assert b.roles() == AFTER_TP1[world.layout]
        await b.move("-0.6")
        closed = await b.ends(Reason.BREAKEVEN)
        b.adds_up(closed)
        await b.stop()
        told = Replay(b.settings().journal_path(b.symbol))
        assert any(isinstance(each.event, Resolved) for each in told)
        assert told.mismatches == []


@worlds
async def test_nothing_is_done_before_the_operator_has_said_yes(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        left = await puzzle(b)
        for how in Resolve:
            answer = await take_over(b, how, sure=False, stop=b.at("-0.5"))
            assert answer.ok
            assert len(answer.lines) >= 2
        assert sorted(o.client_order_id for o in b.open()) == left
        assert b.state.position is None
        assert b.state.halted


@worlds
async def test_a_flattened_trade_is_sold_and_its_orders_are_gone(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        await puzzle(b)
        answer = await take_over(b, Resolve.FLATTEN)
        assert answer.ok
        assert any("cancel" in part for part in answer.lines)
        closed = await b.ends(Reason.FLATTEN)
        assert abs(b.gained(b.base)) < Decimal("0.01")
        b.adds_up(closed)
        assert not b.state.halted
        await b.wait(1)
        await b.signal()
        assert b.roles() == ["ENTRY"]


@worlds
async def test_forgotten_orders_stay_where_they_are_and_halt_nothing_any_more(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, QTY="1") as b:
        left = await puzzle(b)
        assert (await take_over(b, Resolve.FORGET)).ok
        await b.wait(5)
        assert sorted(o.client_order_id for o in b.open()) == left
        assert not b.state.halted
        await b.restart()
        await b.wait(5)
        assert not b.state.halted, "remembered across restarts"
        await b.signal()
        assert "ENTRY" in b.roles()
        assert set(left) <= {o.client_order_id for o in b.open()}
        again = await take_over(b, Resolve.FORGET)
        assert not again.ok


@worlds
async def test_an_entry_that_is_still_open_is_taken_over_with_what_it_has_bought(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, LIVE_ENTRY_TIMEOUT_SEC="3000") as b:
        await b.signal()
        await b.move(0, "1")  # a part of it
        await b.stop()
        lose_state(b)
        await b.start()
        assert b.state.position is None
        assert "its entry is still open" in b.state.halted
        assert (await take_over(b, Resolve.ADOPT, stop=b.at(-1))).ok
        await b.wait(1)
        assert "ENTRY" not in b.roles()
        assert b.covered() > ZERO
        assert isinstance(b.position.phase, Protected)
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        b.adds_up(closed)


@worlds
async def test_a_trade_without_any_order_is_adopted_too(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        await b.stop()
        lose_state(b)
        for role in EXITS[world.layout]:
            if role in b.roles():
                b.cancel_by_hand(role)
        assert b.open() == []
        await b.start()
        assert "it has NO STOP" in b.state.halted
        assert (await take_over(b, Resolve.ADOPT, stop=b.at(-1))).ok
        await b.wait(1)
        assert b.roles() == EXITS[world.layout]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@worlds
async def test_a_crash_in_the_middle_of_an_adoption_is_gone_on_with(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await puzzle(b)
        assert b.loop is not None
        taking = asyncio.create_task(resolve(b.loop, TakeoverRequest(Resolve.ADOPT, stop=b.at(-1))))
        await b.loop.until(lambda state: state.position is not None)
        await b.stop()
        taking.cancel()
        await b.start()
        await b.wait(3)
        assert b.roles() == EXITS[world.layout]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"stop": Decimal("100.5")}, "is past the stop 100.5 already"),
        ({"stop": Decimal("99.005")}, "the stop: "),
        ({"stop": Decimal(99), "targets": (Decimal(98),)}, "prices out of order"),
        ({"stop": Decimal(99), "trade": "1"}, "no trade 1"),
        ({}, "a stop price is needed"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_by_name(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    async with harness(tmp_path, LONG) as b:
        left = await puzzle(b)
        answer = await take_over(b, Resolve.ADOPT, **more)
        assert not answer.ok
        assert why in answer.lines[0]
        assert sorted(o.client_order_id for o in b.open()) == left


async def test_an_open_trade_needs_no_adoption(tmp_path: Path) -> None:
    async with harness(tmp_path, LONG) as b:
        await b.enter()
        for how in Resolve:
            answer = await take_over(b, how, stop=b.at("0.5"))
            assert not answer.ok
            assert "is open, and looked after" in answer.lines[0]


async def test_of_two_trades_one_must_be_named(tmp_path: Path) -> None:
    async with harness(tmp_path, LONG, QTY="1", COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        await puzzle(b)
        await take_over(b, Resolve.FORGET)
        await b.enter()
        second = b.position.trade
        await b.stop()
        lose_state(b)
        await b.start()
        assert "open orders of 2 trades" in b.state.halted
        answer = await take_over(b, Resolve.FLATTEN)
        assert not answer.ok
        assert "--trade" in answer.lines[0]
        assert (await take_over(b, Resolve.FLATTEN, trade=second)).ok
        await b.until(lambda: b.state.position is None)
        assert second not in "".join(o.client_order_id for o in b.open())
        await b.wait(5)
        assert b.state.halted, "the other one is still there"
        assert (await take_over(b, Resolve.FLATTEN)).ok
        await b.until(lambda: b.state.position is None)
        assert b.open() == []
        assert not b.gained("LTC") // Decimal("0.01")


async def test_the_control_socket_takes_requests(tmp_path: Path) -> None:
    async with harness(tmp_path, LONG) as b:
        await puzzle(b)
        state = b.settings().state_path(b.symbol)

        async def said(request: Request) -> Answer:
            return await asyncio.to_thread(ask, state, request)

        proposed = await said(Request("propose", takeover=TakeoverRequest(Resolve.FLATTEN)))
        assert proposed.ok
        assert "at market" in "".join(proposed.data["lines"])
        assert not (await said(Request("propose"))).ok
        assert not (await said(Request("pause", takeover=TakeoverRequest(Resolve.FORGET)))).ok
        done = await said(Request("resolve", takeover=TakeoverRequest(Resolve.FLATTEN)))
        assert done.ok
        await b.ends(Reason.FLATTEN)
