"""The signal file lies on a mount whose server has gone: whatever is asked of it does not come back (rule 8.9)."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from tests.scenarios.harness import AFTER_TP1, Harness, World, harness

from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.service import wiring
from executor.service.inlets import signal_file
from executor.signals import follower
from executor.signals.logfile import LogFile
from executor.signals.position import PositionFile
from executor.worker_thread import WorkerThread

LONG: Final = World(Direction.LONG, "OCO", pushes=True)
EXITS: Final = ["SL", "SL1", "SL2", "TP1", "TP2"]


class Mount:
    """`away`: nothing that is asked of the file comes back."""

    def __init__(self) -> None:
        self._here = threading.Event()
        self._here.set()

    @property
    def away(self) -> bool:
        return not self._here.is_set()

    def go(self) -> None:
        self._here.clear()

    def come_back(self) -> None:
        self._here.set()

    def wait(self) -> None:
        assert self._here.wait(60)


@pytest.fixture(autouse=True)
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    mount = Mount()
    opened, cut, inode = LogFile.__init__, LogFile.was_cut, follower._inode

    def open_it(self: LogFile, path: Path) -> None:
        mount.wait()
        opened(self, path)

    def was_cut(self: LogFile) -> bool:
        mount.wait()
        return cut(self)

    def inode_of(path: Path) -> int:
        mount.wait()
        return inode(path)

    monkeypatch.setattr(LogFile, "__init__", open_it)
    monkeypatch.setattr(LogFile, "was_cut", was_cut)
    monkeypatch.setattr(follower, "_inode", inode_of)
    monkeypatch.setattr(signal_file, "ANSWERS_S", 0.3)
    monkeypatch.setattr(wiring, "SameThread", lambda: WorkerThread("signal file"))  # as where time is nobody's to hold
    yield mount
    mount.come_back()


def silent(b: Harness) -> int:
    return sum("it has not answered" in str(each.get("error")) for each in b.log if each["event"] == "signal_file")


async def test_a_trade_is_looked_after_and_what_is_written_meanwhile_is_taken_in_its_order(
    tmp_path: Path, mount: Mount
) -> None:
    async with harness(tmp_path, LONG, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        await b.signal()
        assert b.roles() == ["ENTRY"]
        mount.go()
        await b.move(0)
        assert b.roles() == EXITS
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        assert silent(b) == 1
        await b.move(1)
        await b.signal(then=0.5)
        await b.signal(then=0.5)
        assert b.roles() == []
        mount.come_back()
        await taken(b)
        assert b.position.signal == "s2"
        assert b.state.refused == {"trade_open": 1}


async def test_a_restart_looks_after_its_trade_and_ends_in_order(tmp_path: Path, mount: Mount) -> None:
    async with harness(tmp_path, LONG, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        await b.signal()
        await b.stop()
        mount.go()
        await b.move(0)
        await b.start()
        assert b.roles() == EXITS
        await b.wait(5)
        assert silent(b) == 1
        async with asyncio.timeout(10):
            await b.stop()
        await b.start()
        await b.move(-1)
        await b.ends(Reason.SL)
        await b.move(1)
        await b.signal(then=0.5)
        mount.come_back()
        await taken(b)
        assert b.position.signal == "s2"


async def test_without_a_trade_a_start_says_that_it_waits_and_goes_on(tmp_path: Path, mount: Mount) -> None:
    async with harness(tmp_path, LONG, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        await b.stop()
        mount.go()
        await b.start()
        await b.wait(1)
        assert silent(b) == 1
        await b.signal()
        mount.come_back()
        await taken(b)
        assert b.roles() == ["ENTRY"]


async def taken(b: Harness) -> None:
    async with asyncio.timeout(10):
        while b.state.position is None:
            await asyncio.sleep(0.01)
            await b.wait(0.3)


async def test_each_line_is_taken_once_though_the_service_ends_in_the_middle_of_a_look(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []
    async with harness(tmp_path, LONG, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        b.write("no signal\n" * 5)
        await b.wait(1)
        mount.go()
        b.write("no signal\n" * 5)
        await b.wait(1)
        judged.append(b.state.refused)
        await b.stop()
        mount.come_back()
        await b.start()
        await b.wait(1)
        judged.append(b.state.refused)
    assert judged == [{"malformed": 5}, {"malformed": 10}]


async def test_a_look_during_which_the_process_itself_stood_still_is_no_silence(mount: Mount, tmp_path: Path) -> None:
    """SIGSTOP in the middle of one: upon waking the file was told of as one that does not answer."""
    path = tmp_path / "signals.jsonl"
    path.touch()
    file = signal_file.SignalFile(
        lambda: follower.SignalFollower(path, start="begin", memory=PositionFile(tmp_path / "place"))
    )
    await file.begin(patient=False)
    mount.go()
    running = asyncio.get_running_loop()
    running.call_later(0.05, time.sleep, 1.0)  # nothing of this process has a turn
    running.call_later(0.1, running.call_later, 0.1, mount.come_back)  # nor has the thread, until a moment after
    with structlog.testing.capture_logs() as log:
        assert await file.read() == []
    assert log == []
    await file.end(None)
