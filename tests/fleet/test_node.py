"""A node on a real etcd, at what a campaign seldom meets."""

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs
from tests.fleet.cluster import needs_etcd, running
from tests.fleet.test_stored import beside, client

from executor.config import load_settings
from executor.service.fleet import node as nodes
from executor.service.fleet import presence
from executor.service.fleet.membership import read_view
from executor.service.fleet.node import FleetNode
from executor.service.fleet.reach import Reach
from executor.service.fleet.witness import Witness
from executor.service.loop import Loop
from executor.service.store.etcd import Etcd, Unreachable
from executor.service.store.fleet_keys import Keys

T = TypeVar("T")

pytestmark = needs_etcd
KEYS = Keys("test")
NOT_RENEWED = "lease_not_renewed"
SETTINGS = {"BINANCE_ENV": "paper", "SYMBOL": "LTCUSDT", "FLEET_NAME": "test", "FLEET_NODE": "n1", "FLEET_TTL_SEC": "2"}


@contextlib.asynccontextmanager
async def reachable() -> AsyncIterator[Reach]:
    async def reached() -> bool:
        return True

    yield reached


class _Run:
    """Trades an account until it is stopped."""

    def __init__(self) -> None:
        self.loops: dict[str, Loop] = {}
        self.ended_bare: bool | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        await self._stop.wait()


class _Fleet:
    """Nodes in one process, each with what it trades and sees."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self.trades: list[tuple[int, str]] = []

    def node(self, number: int, *accounts: str, name: str = "n1") -> FleetNode:
        def run_of(account: str, _store_of: object) -> _Run:
            self.trades.append((number, account))
            return _Run()

        settings = load_settings({**SETTINGS, "FLEET_NODE": name}, None)
        return FleetNode(settings, accounts, self._etcd, run_of, reachable)


async def test_of_two_nodes_of_one_name_the_second_takes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "FORMER_LIFE_S", 1.0)
    async with client(tmp_path) as etcd, asyncio.timeout(30):
        fleet = _Fleet(etcd)
        first, second = fleet.node(1, "alice"), fleet.node(2, "alice", "bob")
        with capture_logs() as logs:
            async with beside(first.run()):
                while not fleet.trades:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                async with beside(second.run()):
                    while not (said := [each for each in logs if each["event"] == "node_name_taken"]):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                    assert fleet.trades == [(1, "alice")]
                    assert f"process {os.getpid()} on" in said[0]["text"]
                    assert "FLEET_NODE" in said[0]["text"]
                    view = await read_view(etcd, first.keys)
                    assert view.nodes["n1"].accounts == ("alice",)
                    second.stop()
                    await asyncio.sleep(1.0)
                assert (await read_view(etcd, first.keys)).nodes["n1"].accounts == ("alice",)  # its end took nothing
                first.stop()
        assert len(said) == 1


async def test_a_name_that_its_owner_has_left_is_the_next_one_s(tmp_path: Path) -> None:
    """A node that was killed comes back when its former lease has ended."""
    async with client(tmp_path) as etcd, asyncio.timeout(30):
        fleet = _Fleet(etcd)
        with capture_logs() as logs:
            async with beside(fleet.node(1, "alice").run()):
                while not fleet.trades:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                async with beside(fleet.node(2, "alice").run()):
                    await asyncio.sleep(0.5)
                    await etcd.revoke((await etcd.range(KEYS.nodes))[0][0].lease)  # what its death does
                    while len(fleet.trades) < 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
        assert not [each for each in logs if each["event"] == "node_name_taken"]


class Losing(Etcd):
    """Has the first claim carried out, and loses the answer. `claimed_at`: when that was."""

    claimed_at = 0.0

    async def _ask(
        self, url: str, path: str, message: Mapping[str, Any], kind: type[T], within: float | None = None
    ) -> T:
        told = await super()._ask(url, path, message, kind, within)
        own = base64.b64encode(KEYS.owner("alice").encode()).decode()
        if not self.claimed_at and any(
            each.get("request_put", {}).get("key") == own for each in message.get("success", [])
        ):
            self.claimed_at = asyncio.get_running_loop().time()
            raise Unreachable("lost", sent=True)
        return told


async def test_a_claim_whose_answer_was_lost_is_given_back_and_claimed_anew_at_once(tmp_path: Path) -> None:
    """By the store's word the account was this node's for a second, and traded by nobody."""
    async with running(tmp_path, 1) as cluster, asyncio.timeout(30):
        etcd = Losing(cluster.endpoints)
        fleet = _Fleet(etcd)
        async with beside(fleet.node(1, "alice").run()):
            while not fleet.trades:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - etcd.claimed_at < 0.7
        await etcd.close()


async def test_a_lease_that_is_lost_is_told_of_once_however_long_there_is_no_other(tmp_path: Path) -> None:
    """As where etcd is full: it grants none. Until then nothing is claimed."""

    async def none(seconds: int) -> int:
        raise Unreachable(f"{seconds} s: etcdserver: mvcc: database space exceeded", sent=True)

    async with client(tmp_path) as etcd, asyncio.timeout(30):
        fleet = _Fleet(etcd)
        node = fleet.node(1, "alice")
        with capture_logs() as logs:
            async with beside(node.run()):
                while not fleet.trades:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                granting, etcd.grant = etcd.grant, none  # type: ignore[method-assign]
                await etcd.revoke(node._lease)
                while [each["event"] for each in logs].count("lease_not_renewed") < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                etcd.grant = granting  # type: ignore[method-assign]
                while len(fleet.trades) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert [each["event"] for each in logs].count("lease_lost") == 1


async def test_that_etcd_is_out_of_reach_is_told_once_though_nothing_is_held(tmp_path: Path) -> None:
    """No state had to be written, and no lease was seen to have ended: nobody was told."""
    async with running(tmp_path, 1) as cluster, asyncio.timeout(60):
        etcd = Etcd(cluster.endpoints)
        fleet = _Fleet(etcd)
        with capture_logs() as logs:
            async with beside(fleet.node(1, "alice").run()):
                while not fleet.trades:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                await cluster.nodes[0].kill()
                told: list[str] = []
                while "store_unreachable" not in told or told[told.index("store_unreachable") :].count(NOT_RENEWED) < 3:
                    await asyncio.sleep(0.1)
                    told = [each["event"] for each in logs]
                await cluster.nodes[0].start(cluster.initial)
                while "store_reachable" not in told:
                    await asyncio.sleep(0.1)
                    told = [each["event"] for each in logs]
        await etcd.close()
        assert told.count("store_unreachable") == 1
        assert told.index(NOT_RENEWED) < told.index("store_unreachable")


async def test_an_account_whose_run_does_not_end_is_let_go_of_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that still waited for the exchange with what it was to begin with did not hear that it was to end."""
    monkeypatch.setattr(nodes, "RELEASE_S", 0.5)
    monkeypatch.setattr(_Run, "stop", lambda _: None)
    async with client(tmp_path) as etcd, asyncio.timeout(30):
        fleet = _Fleet(etcd)
        async with beside(fleet.node(1, "alice").run()):
            while not fleet.trades:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            async with beside(fleet.node(2, "alice", name="n2").run()):
                await etcd.put(KEYS.drain("n1"), b"")
                while fleet.trades != [(1, "alice"), (2, "alice")]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_a_disk_that_stalls_holds_up_neither_a_claim_nor_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node remembers of the store is for a later start: a trade that it takes over does not wait for it."""
    stalled, writes = threading.Event(), list[int]()

    def stall(*_: object) -> None:
        writes.append(1)
        stalled.wait(60)

    monkeypatch.setattr(Witness, "_save", stall)
    begun = asyncio.Event()

    def run_of(_account: str, _store_of: object) -> _Run:
        begun.set()
        return _Run()

    try:
        async with client(tmp_path) as etcd:
            settings = load_settings(SETTINGS, None)
            node = FleetNode(settings, ("alice",), etcd, run_of, reachable, memory=tmp_path / "seen.json")
            async with beside(node.run()):
                async with asyncio.timeout(30):
                    await begun.wait()
                    while not writes:  # noqa: ASYNC110  # a thread's word
                        await asyncio.sleep(0.01)
                    first = node.renewed_at
                    while node.renewed_at - first < 1.0:  # noqa: ASYNC110  # nobody is told of a renewal
                        await asyncio.sleep(0.05)
                assert len(writes) == 1
                node.stop()
                stalled.set()
    finally:
        stalled.set()
