"""The commands for what could not be rebuilt, as an operator types them, beside the daemon and alone (rule 9.3)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from tests.crash.campaign import ACCOUNT, ENTRY, SYMBOL, Campaign
from tests.crash.daemon import Daemon, ForkServer, command

from executor.cli import exits
from executor.core.model.values import Direction

with_service = pytest.mark.parametrize("service", [True, False], ids=["beside the service", "alone"])


class UnrebuiltTrade:
    """A protected trade, its service killed, its state lost, one of its stops cancelled by hand."""

    def __init__(self, campaign: Campaign, fork_server: ForkServer) -> None:
        self.campaign = campaign
        self.fork_server = fork_server
        self.daemon: Daemon | None = None

    def orders(self) -> list[str]:
        return sorted(o.client_order_id for o in self.campaign.engine.open_orders(ACCOUNT, SYMBOL))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await self.campaign.pause()

    async def start(self) -> Daemon:
        self.daemon, _ = await self.campaign.start(self.fork_server)
        assert await self.daemon.ready(), self.daemon.output()
        return self.daemon

    async def end(self) -> None:
        if self.daemon is not None:
            self.daemon.send(signal.SIGKILL)
            await self.daemon.end()

    async def type(self, *words: str, answer: str = "") -> tuple[int, str]:
        return await command(self.campaign.environ, *words, answer=answer)


def sure(*, service: bool) -> tuple[str, ...]:
    """What it takes not to be asked, where no state says whose these orders are."""
    return () if service else ("--without-state",)


def lose_state(folder: Path) -> None:
    for path in folder.glob("state*"):
        path.unlink()


@asynccontextmanager
async def puzzle(folder: Path, *, service: bool) -> AsyncIterator[UnrebuiltTrade]:
    campaign = Campaign(folder, seed=4, kills=0, spawn_every=0)
    async with campaign.serving(SIGNAL_START="end") as fork_server:
        made = UnrebuiltTrade(campaign, fork_server)
        await made.start()
        campaign.touch(ENTRY + Decimal("0.08"))
        campaign.say(Direction.LONG)
        await made.until(lambda: len(made.orders()) == 1)
        await campaign.lead(Direction.LONG, "0")
        await made.until(lambda: len(made.orders()) == 5 and campaign.on_disk_is_quiet())
        await made.end()
        lose_state(folder)
        stop = next(order for order in made.orders() if "_SL_" in order)
        campaign.engine.cancel_order(ACCOUNT, SYMBOL, campaign.clock.now_ms(), orig_client_order_id=stop)
        if service:
            daemon = await made.start()
            told = daemon.said("not_rebuilt")[0]["text"]
            assert "its exits would sell" in told
            assert "executor adopt, or executor flatten, or executor forget" in told
        try:
            yield made
        finally:
            await made.end()
        assert not campaign.books().twice
        assert all(trade.lowest >= 0 for trade in campaign.books().trades)


@with_service
async def test_adopt(tmp_path: Path, *, service: bool) -> None:
    async with puzzle(tmp_path, service=service) as p:
        before = p.orders()
        code, said = await p.type("adopt", "--stop", "99.2", "--targets", "101,102", answer="n\n")
        assert code == exits.FAILED
        assert "holds 2.997 LTC at 100 on average" in said
        assert "nothing was done" in said
        assert p.orders() == before
        code, said = await p.type("adopt", "--stop", "99.2", "--targets", "101,102", "--yes", *sure(service=service))
        assert code == exits.OK, said
        await p.until(lambda: len(p.orders()) == 5)
        assert not set(before) & set(p.orders())
        if not service:
            await p.start()
        await p.until(lambda: len(p.orders()) == 5 and p.campaign.on_disk_is_quiet())
        await p.campaign.lead(Direction.LONG, "-0.9")
        await p.until(p.campaign.is_flat)
        assert p.orders() == []


async def test_flatten_without_the_service(tmp_path: Path) -> None:
    async with puzzle(tmp_path, service=False) as p:
        code, said = await p.type("flatten", "--yes", *sure(service=False))
        assert code == exits.OK, said
        assert "sell 2.997 LTC at market" in said
        assert "closed" in said
        assert p.orders() == []
        trade = p.campaign.books().trades[-1]
        assert trade.held == 0
        code, said = await p.type("flatten", "--yes")
        assert code == exits.OK, said
        assert "no trade is open" in said


async def test_forget_beside_the_service(tmp_path: Path) -> None:
    async with puzzle(tmp_path, service=True) as p:
        before = p.orders()
        code, said = await p.type("forget", "--yes")
        assert code == exits.OK, said
        assert all(order in said for order in before)
        assert p.orders() == before
        code, said = await p.type("status")
        assert "halted:" not in said
        code, said = await p.type("forget", "--yes")
        assert code == exits.FAILED
        assert p.orders() == before
