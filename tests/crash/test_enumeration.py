"""A crash at every boundary of every scripted trade; see `enumeration` for what a boundary is."""

import pytest
from tests.crash import enumeration
from tests.sim.scenarios import SCENARIOS, Scenario, play

SHORT = [scenario for scenario in SCENARIOS if scenario.short]
ENDS = {
    "stop at once": "SL",
    "targets, then the trail": "TRAIL",
    "plain layout to its stop": "BREAKEVEN",
    "plain layout to its targets": "TRAIL",
    "native trail": "TRAIL",
    "back to breakeven": "BREAKEVEN",
    "stops kept after the first target": "SL",
    "entry given up": "ENTRY_TIMEOUT",
    "an exit taken away twice": "EXTERNAL",
    "sold by hand": "EXTERNAL",
    "stop moved, then closed": "FLATTEN",
    "held too long": "MAX_HOLD",
}


def _name(scenario: Scenario) -> str:
    return scenario.name.replace(" ", "-")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)
def test_without_a_crash_it_ends_as_scripted(scenario: Scenario) -> None:
    result = play(scenario)
    assert result.broken == []
    assert sum(result.closed.values()) == 1
    expected = ENDS.get(scenario.name.partition(", ")[0])
    assert expected is None or expected in result.closed


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)
def test_a_crash_at_each_boundary(scenario: Scenario) -> None:
    broken = {at: result.broken for at, result in enumerate(enumeration.single(scenario), 1) if result.broken}
    assert broken == {}


@pytest.mark.parametrize("scenario", SHORT, ids=_name)
def test_two_crashes(scenario: Scenario) -> None:
    results = list(enumeration.pairs(scenario, stride=5))
    assert [result.broken for result in results if result.broken] == []
    assert sum(result.crashes == 2 for result in results) > len(results) // 3


@pytest.mark.parametrize("scenario", SHORT[:1], ids=_name)
def test_a_crash_at_each_file_operation_and_each_disk_it_leaves(scenario: Scenario) -> None:
    results = list(enumeration.file_operations(scenario, stride=3))
    assert [result.broken for result in results if result.broken] == []
    assert len(results) > 100
    assert all(result.crashes == 1 for result in results)
