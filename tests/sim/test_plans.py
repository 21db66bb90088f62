"""The simulation, in the measure that fits into every test run; `make soak` is the long one."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.sim import corpus, elsewhere, run
from tests.sim.choices import Choices
from tests.sim.faults import ALL
from tests.sim.hunt import crashes_of
from tests.sim.scenarios import CONTRADICTED, Scenario, play
from tests.sim.setup import draw
from tests.sim.shrink import shrink
from tests.sim.world import IN_VAIN, World

SEEDS = 900
BATCHES = 10
CASES = corpus.cases()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_trades_survive_faults_and_crashes(batch: int) -> None:
    size = SEEDS // BATCHES
    tally = run.many(1_000_000 + batch * size, size)
    assert not tally.failed
    assert tally.trades > size
    assert tally.crashes > 10
    assert len({kind for kind, _ in tally.faults}) > len(ALL) * 3 // 4


@pytest.mark.parametrize("name", CASES)
def test_what_failed_once_is_sound(name: str) -> None:
    assert run.by_plan(CASES[name].plan).broken == []


@pytest.mark.parametrize("scenario", CONTRADICTED, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_an_exchange_that_contradicts_itself_or_does_not_obey_is_borne(scenario: Scenario) -> None:
    assert play(scenario).broken == []


def test_the_last_look_of_a_close_finds_what_was_said_not_to_be_wherever_the_machine_stops() -> None:
    assert [result.broken for result in crashes_of(CONTRADICTED[0]) if result.broken] == []


def test_a_run_is_its_plan() -> None:
    drawn = run.by_seed(5)
    replayed = run.by_plan(drawn.plan)
    assert replayed.plan == drawn.plan
    assert (replayed.trades, replayed.steps, replayed.tally) == (drawn.trades, drawn.steps, drawn.tally)


def test_a_run_is_the_same_in_another_process() -> None:
    code = "from zlib import crc32; from tests.sim.run import by_seed; "
    code += "print(crc32('\\n'.join(by_seed(9, verbose=True).log).encode()))"
    told = elsewhere.printed(code)
    assert told[0] == told[1] != ""


def test_a_plan_that_names_nothing_is_quiet() -> None:
    result = World(Choices()).run()
    assert result.broken == []
    assert result.plan == []
    assert not result.tally
    assert result.closed == {"SL": 1}


def test_a_run_whose_account_can_pay_for_no_trade_ends_soon() -> None:
    setup = replace(draw(Choices()), balances={"USDT": Decimal(2), "LTC": Decimal(0)})
    result = World(Choices(), setup).run()
    assert (result.broken, result.trades, result.closed) == ([], 0, {})
    assert result.virtual_ms < 2 * IN_VAIN * setup.step


def test_shrinking_leaves_only_what_it_takes() -> None:
    plan = [("a", n, n % 3 + 1) for n in range(40)]

    def fails(candidate: list[tuple[str, int, int]]) -> bool:
        return {7, 23} <= {nth for _, nth, _ in candidate}

    assert shrink(plan, fails) == [("a", 7, 1), ("a", 23, 1)]
