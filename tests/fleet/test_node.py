"""A node on a real etcd, at what a campaign seldom meets."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fleet.cluster import needs_etcd
from tests.fleet.test_stored import beside, client

from executor.config import load_settings
from executor.service.fleet.node import FleetNode
from executor.service.fleet.reach import Reach
from executor.service.fleet.witness import Witness
from executor.service.loop import Loop

pytestmark = needs_etcd
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
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        await self._stop.wait()


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
