"""A fleet of real processes on a real etcd: the owner killed, suspended, drained; judged by the exchange's books."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from tests.fleet.cluster import needs_etcd, running
from tests.fleet.world import ENTRY, SYMBOL, TTL_S, FleetWorld

pytestmark = needs_etcd


@asynccontextmanager
async def fleet(folder: Path, *accounts: str, members: int = 1, **settings: str) -> AsyncIterator[FleetWorld]:
    async with running(folder, members) as cluster:
        world = FleetWorld(folder, cluster, accounts or ("alice",))
        async with world.serving(**{"LIVE_ENTRY_TIMEOUT_SEC": "60", **settings}):  # a slow machine's entries, too
            yield world


async def in_a_trade(world: FleetWorld, node: str) -> None:
    """A signal was taken by each account, its entry has filled, its exits stand."""
    await world.trading()
    world.touch(ENTRY + Decimal("0.08"))
    world.say(node, world.line())
    await world.until(lambda: all(len(world.open_ids(a)) == 1 for a in world.accounts))
    await world.lead("0")
    await world.until(lambda: all(len(world.open_ids(a)) == 5 for a in world.accounts))


async def test_when_the_owner_is_killed_its_trade_is_carried_on_by_another(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world:
        for name in ("n1", "n2"):
            await world.start(name)
        await world.owned()
        first, epoch = await world.owner("alice")
        await in_a_trade(world, first)
        standing = world.open_ids("alice")
        world.nodes[first].send(signal.SIGKILL)
        died = asyncio.get_running_loop().time()
        await world.owned(by=lambda name: name != first)
        assert asyncio.get_running_loop().time() - died < TTL_S + 5
        _, later = await world.owner("alice")
        assert later > epoch
        await world.trading()
        assert world.open_ids("alice") == standing
        await world.lead("1.1")
        await world.until(lambda: len(world.open_ids("alice")) == 3)
        await world.settle()
        assert world.faults() == [], world.logs()


async def test_a_suspended_owner_that_wakes_is_refused_and_lets_go(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world:
        for name in ("n1", "n2"):
            await world.start(name)
        await world.owned()
        first, _ = await world.owner("alice")
        await in_a_trade(world, first)
        world.nodes[first].send(signal.SIGSTOP)
        await world.owned(by=lambda name: name != first)
        second, _ = await world.owner("alice")
        await world.trading()
        await world.lead("1.1")
        world.nodes[first].send(signal.SIGCONT)
        await world.until(lambda: bool(world.nodes[first].said("let_go") or world.nodes[first].said("fenced")))
        assert (await world.owner("alice"))[0] == second  # once it is flat it may go back
        await world.settle()
        assert world.faults() == [], world.logs()


async def test_a_node_that_is_told_to_end_hands_over_at_once_with_nothing_in_doubt(tmp_path: Path) -> None:
    async with fleet(tmp_path, "alice", "bob") as world:
        for name in ("n1", "n2"):
            await world.start(name)
        await world.owned()
        await in_a_trade(world, "n1")
        standing = {account: world.open_ids(account) for account in world.accounts}
        first, _ = await world.owner("alice")
        moved = [account for account in world.accounts if (await world.owner(account))[0] == first]
        world.nodes[first].send(signal.SIGTERM)
        assert await world.nodes[first].end() == 0, world.logs()
        assert first not in [(await world.owner(account))[0] for account in world.accounts]  # no lease had to end first
        await world.owned(by=lambda name: name != first)
        second, _ = await world.owner("alice")
        await world.trading()
        assert {account: world.open_ids(account) for account in world.accounts} == standing
        assert not [line for line in world.nodes[second].said("doubt_settled") if line["account"] in moved]
        await world.settle()
        assert world.faults() == [], world.logs()


async def test_a_signal_is_taken_on_any_node_once_and_a_repetition_is_refused(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world, aiohttp.ClientSession() as session:
        for name in ("n1", "n2"):
            await world.start(name)
        await world.owned()
        first, _ = await world.owner("alice")
        other = "n2" if first == "n1" else "n1"
        await world.until(lambda: all(node.said("webhook") for node in world.nodes.values()))
        await world.trading()
        world.touch(ENTRY + Decimal("0.08"))
        line = world.line()
        headers = {"X-Webhook-Secret": "0123456789abcdef0123456789abcdef"}
        answers = []
        for name in (other, first, other):
            url = f"http://127.0.0.1:{world.webhooks[name]}/signal"
            async with session.post(url, data=line, headers=headers) as response:
                answers.append(response.status)
        assert answers == [202, 409, 409]
        world.say(first, line)
        await world.until(lambda: len(world.open_ids("alice")) == 1)
        await world.lead("0")
        await world.settle()
        assert world.faults() == []
        assert len([t for t in world.books("alice").trades if t.orders]) == 1
        assert (await world.etcd.range(world.keys.signals("alice")))[0] == []


async def test_without_a_majority_everyone_stands_still_and_goes_on_after(tmp_path: Path) -> None:
    async with fleet(tmp_path, members=3) as world:
        await world.start("n1")
        await world.owned()
        await in_a_trade(world, "n1")
        for node in world.cluster.nodes[:2]:
            await node.kill()
        orders = len(world.engine.all_orders("alice", SYMBOL, limit=1_000))
        await world.lead("1.1")
        await asyncio.sleep(TTL_S + 1)
        assert len(world.engine.all_orders("alice", SYMBOL, limit=1_000)) == orders
        for node in world.cluster.nodes[:2]:
            await node.start(world.cluster.initial)
        await world.cluster.wait_until_up()
        await world.owned()
        await world.until(lambda: len(world.engine.all_orders("alice", SYMBOL, limit=1_000)) > orders)
        await world.settle()
        assert world.faults() == [], world.logs()


@pytest.mark.parametrize("broken", ["bob"])
async def test_a_fault_of_one_account_leaves_the_others_alone(tmp_path: Path, broken: str) -> None:
    async with fleet(tmp_path, "alice", broken) as world:
        (tmp_path / "accounts" / f"{broken}.env").write_text(
            f"BINANCE_API_KEY={broken}\nBINANCE_API_SECRET=wrong\nSYMBOL={SYMBOL}\n"
        )
        await world.start("n1")
        await world.until(lambda: bool(world.nodes["n1"].said("account_down")))
        world.accounts = ("alice",)
        await in_a_trade(world, "n1")
        await world.settle()
        assert world.faults() == [], world.logs()
