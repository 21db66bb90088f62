"""What the loops stand on ends after them, what serves them before them (rule 9.5)."""

import asyncio
from typing import Any, cast

import pytest

from executor.service.loop import Loop
from executor.service.supervisor import Supervisor


class Trading:
    """As much of a loop as the supervisor knows, and a diary."""

    def __init__(self, diary: list[str], *, dies: bool = False) -> None:
        self.diary = diary
        self.dies = dies
        self.on_stop: list[Any] = []
        self.on_ready: list[Any] = []
        self.ready = asyncio.Event()
        self.engine = self
        self._stop = asyncio.Event()

    async def run(self) -> None:
        self.ready.set()
        for hear in self.on_ready:
            hear()
        await asyncio.sleep(0.01)
        if self.dies:
            raise RuntimeError("dead")
        await self._stop.wait()
        await asyncio.sleep(0.01)
        self.diary.append("answers are in")

    def stop(self) -> None:
        self._stop.set()

    def settle(self) -> None:
        self.diary.append("settled")


async def noted(diary: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        diary.append(f"{name} ended")


def supervisor_of(diary: list[str], **loops: Trading) -> Supervisor:
    supervisor = Supervisor({symbol: cast("Loop", loop) for symbol, loop in loops.items()})
    supervisor.beneath("link", lambda: noted(diary, "link"))
    supervisor.beside("signals", lambda: noted(diary, "signals"), at_once=True)
    return supervisor


async def test_the_orders_own_connection_outlives_the_loops_and_signals_do_not() -> None:
    diary: list[str] = []
    supervisor = supervisor_of(diary, A=Trading(diary), B=Trading(diary))
    run = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.02)
    supervisor.stop()
    await run
    assert diary == ["signals ended", "answers are in", "settled", "answers are in", "settled", "link ended"]


async def test_when_a_loop_dies_the_others_end_in_order_and_the_run_says_why() -> None:
    diary: list[str] = []
    supervisor = supervisor_of(diary, A=Trading(diary, dies=True), B=Trading(diary))
    with pytest.raises(RuntimeError, match="dead"):
        await supervisor.run()
    assert diary == ["settled", "signals ended", "answers are in", "settled", "link ended"]


async def test_when_what_they_stand_on_dies_the_run_ends_with_all_states_in_order() -> None:
    diary: list[str] = []
    supervisor = supervisor_of(diary, A=Trading(diary))

    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise RuntimeError("no link")

    supervisor.beneath("faulty", fail)
    with pytest.raises(ExceptionGroup) as caught:
        await supervisor.run()
    assert caught.group_contains(RuntimeError, match="no link")
    assert diary[-2:] == ["answers are in", "settled"]
