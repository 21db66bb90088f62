"""The bench bites: a few of the deliberate bugs. `make mutants` tries them all and prints the table of what found each;
`tests/sim/mutants.txt` is the last one.
"""

from pathlib import Path

import pytest
from tests.crash.mutants import WIRE_MUTANTS, WIRE_TABLE
from tests.sim.loan_mutants import LOAN_MUTANTS, LOAN_TABLE
from tests.sim.mutant import Mutant
from tests.sim.mutants import MUTANTS, TABLE, hunt, mutated

QUICK = ("sent before it is on disk", "sent again without the fence", "the fee is not subtracted")


@pytest.mark.parametrize(
    "mutant", [*MUTANTS, *LOAN_MUTANTS, *WIRE_MUTANTS], ids=lambda mutant: mutant.name.replace(" ", "-")
)
def test_each_bug_still_has_its_place(mutant: Mutant) -> None:
    compile(mutated(mutant), mutant.path, "exec")


@pytest.mark.parametrize(
    ("mutants", "table"), [(MUTANTS, TABLE), (LOAN_MUTANTS, LOAN_TABLE), (WIRE_MUTANTS, WIRE_TABLE)]
)
def test_the_table_is_of_these_bugs_and_all_were_found(mutants: tuple[Mutant, ...], table: Path) -> None:
    lines = table.read_text().splitlines()
    assert lines[-1] == f"{len(mutants)} of {len(mutants)} found"
    for mutant, line in zip(mutants, lines, strict=False):
        assert line.startswith(mutant.name)


@pytest.mark.parametrize("name", QUICK)
def test_a_bug_is_found(name: str) -> None:
    mutant = next(each for each in MUTANTS if each.name == name)
    assert hunt(mutant).check
