"""Commands and signals in the store, at their edges: keys of another shape, leases that are gone, faults of ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.core.build import RULES, make_signal
from tests.fleet.cluster import needs_etcd, running

from executor.config import Settings
from executor.core.transition import empty
from executor.ops.fleet import fleet_status
from executor.service.asking import Answer, Request
from executor.service.fleet.commands import StoredCommands
from executor.service.fleet.operator import Operator
from executor.service.fleet.signals import SignalPoster, StoredSignals
from executor.service.inlets.intake import SignalJudge
from executor.service.loop import Loop
from executor.service.store.codec import encode
from executor.service.store.etcd import Etcd, Value, created_is, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim

pytestmark = needs_etcd
KEYS = Keys("test")
SYMBOL = RULES.symbol
LINE = b'{"ts":1700000000,"symbol":"LTCUSDT","side":"long","price":100}'


class _Loop:
    """As far as commands and signals look at a loop, whose state is broken."""

    def __init__(self) -> None:
        self.state = empty(SYMBOL)
        self.ready = asyncio.Event()
        self.ready.set()
        self.turns = 0

    async def come_round(self) -> None:
        self.turns += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def beside(work: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def client(folder: Path) -> AsyncIterator[Etcd]:
    async with running(folder, 1) as cluster:
        etcd = Etcd(cluster.endpoints)
        try:
            yield etcd
        finally:
            await etcd.close()


async def owned(etcd: Etcd) -> Claim:
    done = await etcd.txn([created_is(KEYS.owner("alice"), 0)], [put(KEYS.owner("alice"), b"n1")])
    return Claim("alice", "n1", done.revision, done.cluster)


async def test_a_fault_behind_a_stored_command_costs_the_command_not_the_account(tmp_path: Path) -> None:
    """Rule 8.9: the loop goes on, and the command is gone, so that the next owner does not meet it."""
    async with client(tmp_path) as etcd:
        claim, loop = await owned(etcd), _Loop()
        commands = StoredCommands(etcd, KEYS, lambda: claim)
        operator = Operator(etcd, KEYS, ttl_s=2)
        async with beside(commands.run({SYMBOL: cast("Loop", loop)})) as task:
            with capture_logs() as told:
                answer = await operator.ask("alice", SYMBOL, Request("status"), timeout=10)  # it has no `engine`
            assert (answer.ok, "fault of Executor" in answer.text) == (False, True)
            assert [each["event"] for each in told].count("control_failed") == 1
            assert (await etcd.range(KEYS.commands("alice")))[0] == []
            assert (await operator.ask("alice", SYMBOL, Request("ping"), timeout=10)).ok
            assert not task.done()


async def test_a_key_that_is_no_command_s_is_left_alone_and_told_of_once(tmp_path: Path) -> None:
    async with client(tmp_path) as etcd:
        claim, loop = await owned(etcd), _Loop()
        operator = Operator(etcd, KEYS, ttl_s=2)
        for odd in ("", "a", "a/b/c"):
            await etcd.put(KEYS.commands("alice") + odd, b"x")
        with capture_logs() as told:
            async with beside(StoredCommands(etcd, KEYS, lambda: claim).run({SYMBOL: cast("Loop", loop)})) as task:
                await etcd.put(KEYS.commands("alice") + "a", b"y")
                assert (await operator.ask("alice", SYMBOL, Request("ping"), timeout=10)).ok
                assert not task.done()
        assert [each["event"] for each in told].count("command_for_nobody") == 3


async def test_a_key_that_is_no_signal_s_and_a_fault_of_ours_keep_no_signal_away(tmp_path: Path) -> None:
    judged: list[str] = []

    async def submit(_signal: object, takes: tuple[str, ...]) -> None:
        judged.append(takes[0])
        if len(judged) == 1:
            raise ArithmeticError("a defect")

    async with client(tmp_path) as etcd:
        for odd in ("", "a", f"{SYMBOL}/b/c"):
            await etcd.put(KEYS.signals("alice") + odd, b"x")
        first, second = (KEYS.signal("alice", SYMBOL, key) for key in "ab")
        await etcd.put(first, LINE)
        judge = cast("SignalJudge", SimpleNamespace(submit=submit))
        with capture_logs() as told:
            async with beside(StoredSignals(etcd, KEYS, "alice").run(judge, {SYMBOL: cast("Loop", _Loop())})) as task:
                await etcd.put(second, LINE)
                while len(judged) < 2:
                    assert not task.done()
                    await asyncio.sleep(0.02)
        assert judged == [first, second]
        events = [each["event"] for each in told]
        assert (events.count("signal_for_nobody"), events.count("signal_failed")) == (3, 1)


def _itself(claim: Claim) -> Claim:
    return claim


class Late(Etcd):
    """The second answer on what lies in the store comes once what it tells of is `over`."""

    over: asyncio.Event
    _asked = 0

    async def range(self, key: str, *, prefix: bool = True) -> tuple[list[Value], int]:
        found = await super().range(key, prefix=prefix)
        self._asked += 1
        if self._asked == 2:
            assert found[0]
            await self.over.wait()
        return found


async def test_what_is_read_anew_while_it_is_being_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watches are begun anew every few seconds; an answer that overtakes nothing tells of words that are gone."""
    done: list[str] = []

    async def submit(_signal: object, takes: tuple[str, ...]) -> None:
        done.append(takes[0])
        while etcd._asked < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await etcd.delete(takes[0])
        asyncio.get_running_loop().call_later(0.1, etcd.over.set)

    async def answer_to(_loop: object, _request: object, takes: tuple[str, ...]) -> Answer:
        await submit(None, takes)
        return Answer(True, "done")

    monkeypatch.setattr("executor.service.fleet.commands.answer_to", answer_to)
    async with running(tmp_path, 1) as cluster:
        for work in ("signal", "command"):
            etcd = Late(cluster.endpoints, silence_s=0.1)
            etcd.over = asyncio.Event()
            claim = await owned(etcd) if work == "command" else None
            loops = {SYMBOL: cast("Loop", _Loop())}
            if claim is None:
                judge = cast("SignalJudge", SimpleNamespace(submit=submit))
                running_work = StoredSignals(etcd, KEYS, "alice").run(judge, loops)
                await etcd.put(KEYS.signal("alice", SYMBOL, "a"), LINE)
            else:
                running_work = StoredCommands(etcd, KEYS, partial(_itself, claim)).run(loops)
                await etcd.put(KEYS.command("alice", SYMBOL, "1"), encode(Request("pause")))
            async with beside(running_work):
                async with asyncio.timeout(10):
                    while etcd._asked < 3:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                    await asyncio.sleep(0.2)
            await etcd.close()
        assert len(done) == 2


async def test_a_signal_does_not_wait_for_a_watch_that_is_begun_anew(tmp_path: Path) -> None:
    """Where nothing happens a watch ends every few seconds, which is no fault: half a second passed before the next."""
    waited: list[float] = []
    clock = asyncio.get_running_loop().time

    async def submit(_signal: object, takes: tuple[str, ...]) -> None:
        waited.append(clock() - put_at)
        await etcd.delete(takes[0])

    async with running(tmp_path, 1) as cluster:
        etcd = Etcd(cluster.endpoints, silence_s=0.1)
        judge = cast("SignalJudge", SimpleNamespace(submit=submit))
        async with beside(StoredSignals(etcd, KEYS, "alice").run(judge, {SYMBOL: cast("Loop", _Loop())})):
            for number in range(8):
                await asyncio.sleep(0.15)
                put_at = clock()
                await etcd.put(KEYS.signal("alice", SYMBOL, str(number)), LINE)
                while len(waited) <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await etcd.close()
        assert sorted(waited)[4] < 0.15


async def test_a_status_is_shown_though_a_state_s_key_has_another_shape(tmp_path: Path) -> None:
    async with client(tmp_path) as etcd:
        await etcd.put(KEYS.states() + "alice", b"x")
        shown = await fleet_status(etcd, KEYS, "test", ["alice"])
        assert [each.account for each in shown.accounts] == ["alice"]


async def test_signals_are_put_though_the_lease_is_gone_that_was_in_use(tmp_path: Path) -> None:
    """As after a restore of the store from a copy."""
    accounts = {name: Settings(SYMBOL=SYMBOL) for name in ("alice", "bob")}
    async with client(tmp_path) as etcd:
        poster = SignalPoster(etcd, KEYS, accounts)
        assert (await poster.put(LINE, make_signal(key="a"))).fresh == ("alice", "bob")
        await etcd.revoke(poster._lease)
        assert (await poster.put(LINE, make_signal(key="b"))).fresh == ("alice", "bob")
        assert (await poster.put(LINE, make_signal(key="b"))).repeated == ("alice", "bob")
        assert len((await etcd.range(KEYS.signals("alice")))[0]) == 2
