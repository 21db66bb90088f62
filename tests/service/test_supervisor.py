"""What the loops stand on ends after them, what serves them before them (rule 9.5)."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from executor.service.loop import Loop
from executor.service.store.port import Fenced
from executor.service.store.state_store import StateUnwritable
from executor.service.supervisor import Supervisor


class FakeLoop:
    """As much of a loop as the supervisor knows, and a record."""

    def __init__(
        self, record: list[str], *, dies: bool | Exception = False, unsettled: Exception | None = None
    ) -> None:
        self.record = record
        self.dies = dies
        self.unsettled = unsettled
        self.on_stop: list[Any] = []
        self.on_ready: list[Any] = []
        self.ready = asyncio.Event()
        self.engine = self
        self._stop = asyncio.Event()

    async def run(self) -> None:
        self.ready.set()
        for callback in self.on_ready:
            callback()
        await asyncio.sleep(0.01)
        if self.dies:
            raise self.dies if isinstance(self.dies, Exception) else RuntimeError("dead")
        await self._stop.wait()
        await asyncio.sleep(0.01)
        self.record.append("answers are in")

    def stop(self) -> None:
        self._stop.set()

    def settle(self) -> None:
        if self.unsettled is not None:
            raise self.unsettled
        self.record.append("settled")

    async def written(self) -> None:
        self.record.append("written")


async def noted(record: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        record.append(f"{name} ended")


def supervisor_of(record: list[str], **loops: FakeLoop) -> Supervisor:
    supervisor = Supervisor({symbol: cast("Loop", loop) for symbol, loop in loops.items()})
    supervisor.add_transport("link", lambda: noted(record, "link"))
    supervisor.add_task("signals", lambda: noted(record, "signals"), at_once=True)
    return supervisor


async def test_the_orders_own_connection_outlives_the_loops_and_signals_do_not() -> None:
    record: list[str] = []
    supervisor = supervisor_of(record, A=FakeLoop(record), B=FakeLoop(record))
    run = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.02)
    supervisor.stop()
    await run
    assert record == [
        "signals ended",
        "answers are in",
        "settled",
        "written",
        "answers are in",
        "settled",
        "written",
        "link ended",
    ]


async def test_when_a_loop_dies_the_others_end_in_order_and_the_run_says_why() -> None:
    record: list[str] = []
    supervisor = supervisor_of(record, A=FakeLoop(record, dies=True), B=FakeLoop(record))
    with pytest.raises(RuntimeError, match="dead"):
        await supervisor.run()
    assert record == ["settled", "written", "signals ended", "answers are in", "settled", "written", "link ended"]


async def test_an_account_that_is_another_s_is_so_for_each_of_its_symbols() -> None:
    """A node that was suspended told of a defect, "several parts of the service died", and shunned the account."""
    record: list[str] = []
    others = {symbol: FakeLoop(record, dies=Fenced(f"{symbol} is n2's")) for symbol in ("A", "B")}
    with pytest.raises(Fenced, match="A is n2's"):
        await supervisor_of(record, **others, C=FakeLoop(record, dies=True)).run()


async def test_when_what_they_stand_on_dies_the_run_ends_with_all_states_in_order() -> None:
    record: list[str] = []
    supervisor = supervisor_of(record, A=FakeLoop(record))

    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise RuntimeError("no link")

    supervisor.add_transport("faulty", fail)
    with pytest.raises(ExceptionGroup) as caught:
        await supervisor.run()
    assert caught.group_contains(RuntimeError, match="no link")
    assert record[-3:] == ["answers are in", "settled", "written"]


async def test_an_end_on_a_full_disk_is_an_end(tmp_path: Path) -> None:
    """It was told as a death ("see the log"), with a traceback where there were several symbols."""
    record: list[str] = []
    full = StateUnwritable(tmp_path, OSError(28, "No space left on device"))
    supervisor = supervisor_of(record, A=FakeLoop(record, unsettled=full), B=FakeLoop(record, unsettled=full))
    run = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.02)
    supervisor.stop()
    with structlog.testing.capture_logs() as told:
        await run
    assert [line["alert"] for line in told if line["event"] == "not_settled"] == [True, True]
    assert record[-1] == "link ended"
