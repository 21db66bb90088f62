"""An end with a part of the position bare says so, after one more try (rule 9.5)."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest
from tests.scenarios.harness import EXITS, OCO_WORLDS, World, harness

from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Why
from executor.core.model.state import Closing
from executor.core.model.values import Direction
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.service import loop as loop_module

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
DISABLED = Answer(400, b'{"code": -2010, "msg": "This action is disabled on this account."}')


class Refusing(FaultPlan):
    """So many single stops are refused. A look at orders is told of, until it was the one meant."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.looked: Callable[[], bool] = lambda: True

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if method == "GET" and path.endswith(("/order", "/openOrders")) and self.looked():
            self.looked = lambda: False
        if not self.left or method != "POST" or not path.endswith("/order") or "_SL_" not in str(params):
            return None
        self.left -= 1
        return RequestFault(execute=False, answer=DISABLED)


@oco_worlds
async def test_a_stop_that_waits_for_its_retry_is_tried_once_more_at_the_end(tmp_path: Path, world: World) -> None:
    faults = Refusing(99)
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60") as b:
        await b.signal()
        await b.move(0, then=1)
        assert b.roles() != EXITS["OCO"]
        loop = b.loop
        assert loop is not None
        faults.left = 0
        await b.stop()
        assert b.roles() == EXITS["OCO"]
        assert not loop.ended_bare
        assert Why.AUTH in b.refusals()


@oco_worlds
async def test_an_end_that_stays_bare_says_so(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, faults=Refusing(99), ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60") as b:
        await b.signal()
        await b.move(0, then=1)
        loop = b.loop
        assert loop is not None
        await b.stop()
        assert loop.ended_bare > 0
        assert "stopped_bare" in [entry["event"] for entry in b.log]


async def test_so_does_one_that_dies(tmp_path: Path) -> None:
    """Of several accounts it is begun anew, and may be told to end before it is."""
    world, faults = OCO_WORLDS[0], Refusing(99)
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60") as b:
        await b.signal()
        await b.move(0, then=1)
        loop, task = b.loop, b._task
        assert loop is not None
        assert loop._tasks is not None
        assert task is not None

        async def die() -> None:
            raise ZeroDivisionError

        dying = loop._tasks.create_task(die())
        await asyncio.wait({task, dying}, timeout=10)
        assert loop.ended_bare > 0
        with pytest.raises(ExceptionGroup):
            await b.settle()


@oco_worlds
async def test_an_entry_that_an_end_leaves_open_is_named_and_gone_on_with(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, ORDER_TRANSPORT="rest") as b:
        await b.signal()
        entry = b.position.orders[0].id
        loop = b.loop
        assert loop is not None
        await b.stop()
        assert not loop.ended_bare
        (told,) = [each for each in b.log if each["event"] == "stopped_entering"]
        assert (told["order"], told["alert"]) == (entry, True)
        await b.start()
        await b.move(0, then=2)
        assert b.roles() == EXITS["OCO"]
        assert b.position.orders[0].id == entry


@oco_worlds
async def test_an_end_in_a_row_of_fills_waits_for_the_interim_stop_to_grow(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, ORDER_TRANSPORT="rest") as b:
        await b.signal()
        await b.move(0, "0.7", then=0.5)
        b.touch(b.at(0), "0.3")
        await b.until(lambda: sum(o.cum_qty for o in b.position.orders if o.is_entry) == 1)
        assert b.covered() < Decimal("0.75")
        loop = b.loop
        assert loop is not None
        await b.stop()
        assert not loop.ended_bare
        assert b.covered() >= Decimal("0.998")


@oco_worlds
async def test_an_end_in_the_middle_of_a_recovery_covers_first(tmp_path: Path, world: World) -> None:
    faults = Refusing(99)
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60") as b:
        await b.signal()
        await b.move(0, then=1)
        await b.stop()
        assert b.roles() != EXITS["OCO"]
        faults.left = 0
        loops = []

        def stop() -> bool:
            if b.loop is None:
                return False  # what the start reads before there is a loop
            loops.append(b.loop)
            assert not b.loop.ready.is_set()
            b.loop.stop()
            return True

        faults.looked = stop
        await b.start_and_end(lambda: bool(loops))
        assert b.roles() == EXITS["OCO"]
        (loop,) = loops
        assert not loop.ended_bare


class StoppedInTheMiddle(Refusing):
    """The service is told to end while its entry at market is on its way; the first single stop is refused."""

    def __init__(self) -> None:
        super().__init__(1)
        self.stop: Callable[[], None] = lambda: None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if method == "POST" and params.get("type") == "MARKET":
            self.stop()
        return super().on_request(method, path, params)


@oco_worlds
async def test_an_end_while_an_entry_is_on_its_way_looks_after_what_it_brings(tmp_path: Path, world: World) -> None:
    faults = StoppedInTheMiddle()
    async with harness(
        tmp_path, world, faults=faults, ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60", ENTRY_MODE="MARKET_ONLY"
    ) as b:
        loop = b.loop
        assert loop is not None
        faults.stop = loop.stop
        await b.signal()
        async with asyncio.timeout(10):
            while b.roles() != EXITS["OCO"]:  # no market time passes: nothing waits for its pause
                await b.breathe()
        await b.ended()
        assert Why.AUTH in b.refusals()
        assert b.roles() == EXITS["OCO"], b.story()
        assert not loop.ended_bare


class NoSale(Refusing):
    """So many market orders are refused."""

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.left or method != "POST" or params.get("type") != "MARKET":
            return None
        self.left -= 1
        return RequestFault(execute=False, answer=DISABLED)


@oco_worlds
async def test_a_close_that_waits_for_its_next_market_order_is_hurried_at_the_end(tmp_path: Path, world: World) -> None:
    faults = NoSale(0)
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60") as b:
        await b.enter()
        faults.left = 1
        await b.command(Verb.FLATTEN)
        await b.wait(2)
        assert isinstance(b.position.phase, Closing)
        assert b.roles() == []
        loop = b.loop
        assert loop is not None
        await b.stop()
        assert loop.state.position is None
        assert not loop.ended_bare


@oco_worlds
async def test_a_close_that_can_not_be_hurried_says_what_is_left(tmp_path: Path, world: World) -> None:
    faults = NoSale(0)
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest", EXITS_RETRY_EVERY_SEC="60") as b:
        await b.enter()
        faults.left = 2
        await b.command(Verb.FLATTEN)
        await b.wait(2)
        loop = b.loop
        assert loop is not None
        await b.stop()
        assert faults.left == 0
        assert loop.ended_bare > 0
        assert "stopped_bare" in [entry["event"] for entry in b.log]


class Mute(FaultPlan):
    """From a moment on nothing is answered."""

    silent = False

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        return RequestFault(execute=False, delay_before_ms=3_600_000) if self.silent else None


async def test_an_end_waits_a_moment_for_what_the_exchange_does_not_answer_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody took the answers any more, and they were waited for all the same: fifteen seconds, where an engine kills
    after ten.
    """
    monkeypatch.setattr(loop_module, "DRAIN_S", 0.3)
    faults = Mute()
    world = World(Direction.LONG, "OCO", pushes=True)
    async with harness(tmp_path, world, faults=faults, ORDER_TRANSPORT="rest") as b:
        await b.enter()
        faults.silent = True
        loop = b.loop
        assert loop is not None
        loop.tell(Commanded(at=loop.now(), verb=Verb.MOVE_STOP, price=b.at("-0.5")))
        async with asyncio.timeout(5):
            while loop.quiet():  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.01)
        began = monotonic()
        await b.stop()
        assert monotonic() - began < 3
        assert b.said("stopped_with_answers_open") == 1
        assert b.on_disk().outbox  # the next start looks them up
