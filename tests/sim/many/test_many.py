"""Several symbols on one account, in the measure that fits into every test run; `make soak-many` is the long one."""

import pytest
from tests.sim import corpus, elsewhere
from tests.sim.choices import Choices
from tests.sim.many import run
from tests.sim.many.world import ManyWorld
from tests.sim.setup import CROSS

BATCHES = 3
SIZE = 6
CASES = corpus.cases(run.CORPUS)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_symbols_of_one_account_leave_each_other_what_they_need(batch: int) -> None:
    tally = run.many(1_000_001 + batch * SIZE, SIZE, run.ANY)
    assert not tally.failed
    assert tally.sums["trades"] > SIZE
    assert tally.sums["crashes"] > 0
    assert len(tally.faults) > 5


@pytest.mark.parametrize("name", CASES)
def test_what_failed_once_is_sound(name: str) -> None:
    assert run.by_plan(CASES[name].plan).broken == []


def test_two_symbols_to_which_nothing_happens_trade_beside_each_other() -> None:
    result = ManyWorld(Choices()).run()
    assert result.broken == []
    assert result.plan == []
    assert result.tally == {}
    assert len(result.symbols) == 2
    assert result.trades == 2


def test_they_share_a_quote_or_a_base_on_spot_and_on_borrowed_money() -> None:
    worlds = [ManyWorld(Choices(seed), kinds=run.ANY) for seed in range(1, 40)]
    assert {world.common.margin for world in worlds} == {"", CROSS}
    for margin in ("", CROSS):
        bases = [{each.base for each in world.group.markets} for world in worlds if world.common.margin == margin]
        symbols = [world.group.markets for world in worlds if world.common.margin == margin]
        assert {len(base) < len(traded) for base, traded in zip(bases, symbols, strict=True)} == {True, False}
        assert {len(traded) for traded in symbols} == {2, 3}


def test_a_run_is_its_plan() -> None:
    drawn = run.by_seed(5)
    replayed = run.by_plan(drawn.plan)
    assert replayed.plan == drawn.plan
    assert (replayed.trades, replayed.steps, replayed.tally) == (drawn.trades, drawn.steps, drawn.tally)


def test_a_run_is_the_same_in_another_process() -> None:
    code = "from zlib import crc32; from tests.sim.many.run import ANY, by_seed; r = by_seed(9, kinds=ANY); "
    code += "print(r.trades, r.steps, r.virtual_ms, crc32(repr((r.plan, r.closed)).encode()))"
    told = elsewhere.printed(code)
    assert told[0] == told[1] != ""
