"""A crash at every boundary of every scripted trade; see `enumeration` for what a boundary is."""

import pytest
from msgspec.structs import replace
from tests.crash import enumeration
from tests.sim.choices import Choices
from tests.sim.scenarios import ON_MARGIN, SCENARIOS, Scenario, play
from tests.sim.setup import OPPOSITE, drawn_exchange
from tests.sim.world import Result

from executor.core.model.policy import Layout

ENDS = {
    "stop at once": "SL",
    "targets, then the trail": "TRAIL",
    "plain layout to its stop": "BREAKEVEN",
    "plain layout to its targets": "TRAIL",
    "native trail": "TRAIL",
    "back to breakeven": "BREAKEVEN",
    "stops kept after the first target": "SL",
    "entry given up": "ENTRY_TIMEOUT",
    "brackets to the trail": "TRAIL",
    "exits of brackets refused": "SL",
    "brackets given up": "ENTRY_TIMEOUT",
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
def test_a_crash_everywhere(scenario: Scenario) -> None:
    """`python -m tests.crash.enumeration` prints the tally."""
    tally = enumeration.enumerate_all(scenario)
    assert tally.broken == {}
    total = sum(tally.boundaries.values())
    assert tally.boundaries["persist"] == tally.boundaries["persisted"]
    assert tally.boundaries["send"] == tally.boundaries["sent"] > 0
    assert tally.runs["one crash"] == tally.runs["a power cut"] == total
    assert tally.runs["stopped while saving"] > 5 * tally.boundaries["persist"]
    if scenario.short:
        assert tally.runs["two crashes"] > total * (total - 1) / 2
        assert tally.runs["lived on from a disk"] > 2 * tally.boundaries["persist"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)
def test_a_crash_everywhere_on_an_exchange_that_reads_the_documents_the_other_way(scenario: Scenario) -> None:
    tally = enumeration.under(scenario, OPPOSITE)
    assert tally.broken == {}
    assert tally.runs["one crash"] > 5


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)
def test_a_crash_everywhere_on_an_exchange_whose_readings_are_drawn(scenario: Scenario) -> None:
    drawn = drawn_exchange(Choices(sum(scenario.name.encode())))
    assert enumeration.under(scenario, drawn).broken == {}


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.policy.layout is Layout.BRACKET], ids=_name)
def test_a_crash_everywhere_in_entries_that_bring_their_exits_without_the_newest_state(scenario: Scenario) -> None:
    """Rules 9.2, 9.3, 13.4: on an exchange that does not show what awaits its entry."""
    tally = enumeration.without_the_newest(scenario, OPPOSITE)
    assert tally.broken == {}
    assert tally.runs["one save behind"] >= tally.runs["no state"] > 5


@pytest.mark.parametrize("scenario", ON_MARGIN, ids=_name)
def test_a_crash_everywhere_on_borrowed_money(scenario: Scenario) -> None:
    """Between a loan and its answer, too: nothing is borrowed or repaid twice, and no debt is forgotten."""
    whole = play(scenario)
    assert whole.broken == []
    assert whole.boundaries > 50
    tried = dict(enumeration.each_crash(scenario))
    assert {at: once.broken for at, once in tried.items()} == {at: [] for at in range(1, whole.boundaries + 1)}


@pytest.mark.parametrize("scenario", ON_MARGIN, ids=_name)
def test_power_cuts_and_second_crashes_on_borrowed_money(scenario: Scenario) -> None:
    """`python -m tests.crash.enumeration --scenario "a short on credit"` tries them all."""
    tally = enumeration.sampled(scenario, cuts=5, pairs=23)
    assert tally.broken == {}
    assert tally.runs["a power cut"] > 15
    assert tally.runs["two crashes"] > 5


def _what_came(result: Result) -> Result:
    """But for what is counted of the time before the crash."""
    return replace(result, boundaries=0, steps=0, readings={})


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.short], ids=_name)
def test_a_crash_after_which_the_world_is_the_same_is_the_same_run(scenario: Scenario) -> None:
    """So the enumeration plays it once: proven here for each crash of the short trades, and for the second ones."""
    whole, same = enumeration.marked(scenario)
    assert len(same) > whole.boundaries / 8
    for at in sorted(same):
        once, before = (play(scenario, crash_at=(n,)) for n in (at, at - 1))
        assert _what_came(once) == _what_came(before), at
        assert once.boundaries == before.boundaries + 1
        assert once.crashes == 1
    one, again = enumeration.marked(scenario, crash_at=(whole.boundaries // 2,))
    for at in sorted(again):
        first = whole.boundaries // 2
        if at > first + 1:
            twice, earlier = (play(scenario, crash_at=(first, n)) for n in (at, at - 1))
            assert _what_came(twice) == _what_came(earlier), at
    assert one.crashes == 1


def test_the_tally_names_each_violation() -> None:
    tally = enumeration.Tally("a", {"send": 2}, {"one crash": 2}, {"one crash at 1": ["W1"]})
    assert enumeration.as_text([tally]).splitlines()[1:] == [
        "    one crash at 1: W1",
        "boundaries  2: 2 send",
        "tried       2 one crash",
        "violations  1",
    ]
