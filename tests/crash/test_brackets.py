"""The real daemon, killed between an entry that brings its exits and its fill (rules 13.1, 13.4)."""

import asyncio
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from tests.crash.campaign import ENTRY, SYMBOL, Campaign

from executor.core.model.values import Direction, OrderStatus

RESTING = 8
"""Three entries, three stops, two targets."""
STANDING = 5


@pytest.mark.parametrize("side", list(Direction))
async def test_killed_between_entry_and_fill_the_exits_stand_and_are_supervised_again(
    tmp_path: Path, side: Direction
) -> None:
    """Rule 13.1: nobody is there when it fills, and it is covered in that instant; 13.4: the next start goes on."""
    campaign = Campaign(tmp_path, seed=3, kills=0, spawn_every=0, layout="BRACKET")

    def orders() -> dict[str, OrderStatus]:
        return {o.client_order_id: o.status for o in campaign.engine.open_orders("paper", SYMBOL)}

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await campaign.pause()

    async with campaign.serving(LIVE_ENTRY_TIMEOUT_SEC="600") as fork_server:
        daemon, _ = await campaign.start(fork_server)
        assert await daemon.ready(), daemon.output()
        campaign.touch(ENTRY + side.sign * Decimal("0.08"))
        campaign.say(side)
        await until(lambda: len(orders()) == RESTING and campaign.on_disk_is_quiet())
        daemon.send(signal.SIGKILL)
        await daemon.end()
        campaign.touch(ENTRY - side.sign * Decimal("0.01"))
        stood = orders()
        assert len(stood) == STANDING
        assert set(stood.values()) == {OrderStatus.NEW}
        filled = [o for o in campaign.engine.all_orders("paper", SYMBOL) if "_ENTRY" in o.client_order_id]
        stops = [o for o in campaign.engine.open_orders("paper", SYMBOL) if o.stop_price]
        assert {o.update_time for o in stops} == {o.update_time for o in filled}
        again, _ = await campaign.start(fork_server)
        assert await again.ready(), again.output()
        await until(campaign.on_disk_is_quiet)
        assert orders() == stood
        await campaign.lead(side, "1.1")
        await until(lambda: len(orders()) == 3 and campaign.on_disk_is_quiet())
        await campaign.lead(side, "-1.2")
        await until(lambda: not orders() and campaign.is_flat())
        again.send(signal.SIGTERM)
        assert await again.end() == 0
    books = campaign.books()
    assert not books.twice
    assert all(not trade.live for trade in books.trades)
    assert not campaign.report.violations


async def test_killed_in_the_middle_every_trade_ends_flat(tmp_path: Path) -> None:
    """Rule 13.4: at any moment, faults of the wire among them."""
    report = await Campaign(tmp_path, seed=5, kills=6, terms=1, layout="BRACKET").run()
    assert not report.violations, report.violations
    assert report.filled
