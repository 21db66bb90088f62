"""The real daemon, killed and stopped in the middle of its trades (rules 8-10). The long version: `make soak-wire`."""

import asyncio
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from tests.crash.campaign import ENTRY, SYMBOL, Campaign
from tests.crash.soak import as_text

from executor.core.model.values import Direction

KILLS = 12
TERMS = 3
CALM_TRADES = 3
ONE_REQUEST_MS = 250
"""One request's time, at most: what the fault-free exchange needs on a machine that is busy with other tests."""


async def test_killed_in_the_middle_every_trade_ends_flat_and_nothing_is_left_behind(tmp_path: Path) -> None:
    report = await Campaign(tmp_path, seed=1, kills=KILLS, terms=TERMS).run()
    assert not report.violations, as_text(report)
    assert report.kills == KILLS
    assert report.terms == TERMS
    assert report.filled


async def test_without_faults_a_position_is_bare_for_one_request_s_time(tmp_path: Path) -> None:
    report = await Campaign(tmp_path, seed=2, kills=0, trades=CALM_TRADES, storm=0, spawn_every=0).run()
    assert not report.violations, as_text(report)
    assert report.filled == CALM_TRADES
    assert report.bare_longest_ms < ONE_REQUEST_MS
    assert report.bare_up_longest_ms == report.bare_longest_ms


PHASES = {
    "flat": (None, 0),
    "entry resting": ("0.08", 1),
    "entry partly filled": ("partly", 2),
    "protected": ("0", 5),
    "after the first target": ("1.1", 3),
    "trailing": ("2.1", 1),
}
"""How the price got there, and how many orders stand then (rule 4.5)."""


async def at_rest(campaign: Campaign, orders: Callable[[], list[str]]) -> list[str]:
    """The orders once no move of the trail is owed any more: there is at most one a second (rule 5.4)."""
    since, seen = campaign.clock.now_ms(), orders()
    while campaign.clock.now_ms() - since < 1_500:
        await campaign.pause()
        if orders() != seen:
            since, seen = campaign.clock.now_ms(), orders()
    return seen


@pytest.mark.parametrize("phase", PHASES)
async def test_sigterm_leaves_the_trade_as_it_stands_and_the_next_start_goes_on(tmp_path: Path, phase: str) -> None:
    """Rule 9.5, in each phase: quickly, with exit code 0, and with every order where it was."""
    campaign = Campaign(tmp_path, seed=3, kills=0, spawn_every=0)
    level, standing = PHASES[phase]

    def orders() -> list[str]:
        return sorted(o.client_order_id for o in campaign.engine.open_orders("paper", SYMBOL))

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                await campaign.pause()

    async with campaign.serving(LIVE_ENTRY_TIMEOUT_SEC="600") as fork_server:
        daemon, _ = await campaign.start(fork_server)
        assert await daemon.ready(), daemon.output()
        if level is not None:
            campaign.touch(ENTRY + Decimal("0.08"))
            campaign.say(Direction.LONG)
            await until(lambda: len(orders()) == 1)
            if level == "partly":
                campaign.touch(ENTRY, Decimal(1))
            elif level != "0.08":
                await campaign.lead(Direction.LONG, "0")
                await until(lambda: len(orders()) == 5)
                await campaign.lead(Direction.LONG, level)
        await until(lambda: len(orders()) == standing and campaign.on_disk_is_quiet())
        before = await at_rest(campaign, orders)
        began = campaign.clock.now_ms()
        daemon.send(signal.SIGTERM)
        assert await daemon.end() == 0, daemon.output()
        assert campaign.clock.now_ms() - began < 3_000
        assert not daemon.traceback()
        assert orders() == before
        state = campaign.on_disk()
        assert state is None or state.outbox == ()
        again, _ = await campaign.start(fork_server)
        assert await again.ready(), again.output()
        await until(campaign.on_disk_is_quiet)
        assert orders() == before
        if level is not None:
            await campaign.lead(Direction.LONG, "0")
            await campaign.lead(Direction.LONG, "-1.2")
            await until(lambda: orders() == [] and campaign.is_flat())
        again.send(signal.SIGTERM)
        assert await again.end() == 0
    books = campaign.books()
    assert not books.twice
    assert all(trade.lowest >= 0 and not trade.live for trade in books.trades)
    assert not campaign.report.violations
