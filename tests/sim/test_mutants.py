"""The bench bites: a few of the deliberate bugs; `python -m tests.sim.mutants` tries them all."""

from pathlib import Path

import pytest
from tests.sim.mutants import MUTANTS, hunt, plant

QUICK = ("sent before it is on disk", "sent again without the fence", "the fee is not subtracted")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_each_bug_still_has_its_place(mutant: object, tmp_path: Path) -> None:
    found = next(each for each in MUTANTS if each is mutant)
    plant(found, tmp_path)
    compile((tmp_path / found.path).read_text(), found.path, "exec")


@pytest.mark.parametrize("name", QUICK)
def test_a_bug_is_found(name: str) -> None:
    mutant = next(each for each in MUTANTS if each.name == name)
    assert hunt(mutant).check
