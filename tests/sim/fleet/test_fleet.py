"""The fleet in the simulation, in the measure that fits into every test run; `make soak-fleet` is the long one."""

import asyncio

import pytest
from tests.sim import corpus, elsewhere
from tests.sim.choices import Choices
from tests.sim.fleet import run
from tests.sim.fleet.loops import new_loop
from tests.sim.fleet.world import FleetWorld
from tests.sim.timeline import Timeline

BATCHES = 4
SIZE = 2
CASES = corpus.cases(run.CORPUS)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_fleet_trades_each_signal_once_whatever_befalls_its_nodes(batch: int) -> None:
    tally = run.many(1_000_001 + batch * SIZE, SIZE)
    assert not tally.failed
    assert tally.trades > SIZE * 4
    assert tally.sums["epochs"] > SIZE * 2
    assert len({kind for kind, _ in tally.faults}) > 5


@pytest.mark.parametrize("name", CASES)
def test_what_failed_once_is_sound(name: str) -> None:
    assert run.by_plan(CASES[name].plan).broken == []


def test_a_fleet_to_which_nothing_happens_trades_with_one_owner() -> None:
    result = FleetWorld(Choices()).run()
    assert result.broken == []
    assert result.plan == []
    assert result.tally == {}
    assert (result.kills, result.refused) == (0, 0)
    assert result.epochs <= 2  # it moves once, flat, to the node that is first in line and was up a moment later
    assert result.trades > 0


def test_a_run_is_its_plan() -> None:
    drawn = run.by_seed(5)
    replayed = run.by_plan(drawn.plan)
    assert replayed.plan == drawn.plan
    assert (replayed.trades, replayed.writes, replayed.tally) == (drawn.trades, drawn.writes, drawn.tally)


def test_a_run_is_the_same_in_another_process() -> None:
    code = "from zlib import crc32; from tests.sim.fleet.run import by_seed; "
    code += (
        "r = by_seed(9); print(r.trades, r.writes, r.epochs, r.virtual_ms, crc32(repr((r.plan, r.closed)).encode()))"
    )
    told = elsewhere.printed(code)
    assert told[0] == told[1] != ""


def test_a_paused_loop_goes_on_where_it_was_and_a_killed_one_does_not() -> None:
    timeline = Timeline()
    begun = timeline.now
    loop = new_loop(timeline, lambda _: None)
    heard: list[int] = []

    def again() -> None:
        heard.append(timeline.now - begun)
        loop.call_later(0.1, again)

    loop.call_soon(again)
    timeline.run_until(begun + 250)
    loop.pause(500)
    timeline.run_until(begun + 900)
    loop.kill()
    timeline.run_until(begun + 2_000)
    assert heard == [0, 100, 200, 750, 850]


def test_nothing_of_a_buried_loop_waits_for_the_garbage_collector() -> None:
    timeline = Timeline()
    loop = new_loop(timeline, lambda _: None)
    ended: list[str] = []

    async def waits_on(times: int) -> None:
        """As a service does that gives back on its way out what it has."""
        try:
            await loop.create_future()
        finally:
            for _ in range(times):
                try:
                    await loop.create_future()
                except asyncio.CancelledError:
                    continue
            ended.append("ended")

    tasks = [loop.create_task(waits_on(times)) for times in (0, 1, 3)]
    timeline.run_until(timeline.now + 10)
    loop.kill()
    loop.bury()
    assert ended == ["ended"] * 3
    assert all(task.done() for task in tasks)


def test_what_does_not_end_when_its_loop_is_buried_is_told() -> None:
    timeline = Timeline()
    loop = new_loop(timeline, lambda _: None)
    let_go = False

    async def stays() -> None:
        while not let_go:
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                continue

    task = loop.create_task(stays(), name="the one that stays")
    timeline.run_until(timeline.now + 10)
    with pytest.raises(AssertionError, match="the one that stays"):
        loop.bury()
    let_go = True
    task.cancel()
    with loop.running():
        loop.drain()
    assert task.done()


def test_every_drawn_account_can_pay_for_its_trades_unless_its_purse_is_drawn_empty() -> None:
    """The fleet trades Spot: what is drawn for margin accounts left two thirds of its accounts too poor for a trade."""
    accounts = [account for seed in range(1, 60) for account in FleetWorld(Choices(seed)).accounts]
    poor = [a for a in accounts if a.setup.balances["USDT"] < (a.setup.policy.notional or 0)]
    assert all(a.setup.balances["USDT"] == 2 for a in poor)
    assert not any(a.setup.margin for a in accounts)
    assert len(poor) < len(accounts) / 4
