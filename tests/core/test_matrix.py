"""The printed matrix is the behaviour: regenerate it with

executor matrix > tests/golden/transition_matrix.txt
executor matrix --diagram > tests/golden/phases.mmd
"""

from pathlib import Path
from typing import get_args

from executor.core import matrix, matrix_margin
from executor.core.invariants import violations
from executor.core.model.events import AnyEvent, BorrowableSeen, LiquidationsSeen, MarginSeen
from executor.core.model.intents import QueryBorrowable, QueryLiquidations, QueryMargin
from executor.core.model.state import Phase
from executor.core.transition import transition

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_matrix_is_the_golden_one() -> None:
    assert matrix.render() == (GOLDEN / "transition_matrix.txt").read_text()


def test_the_diagram_is_the_golden_one() -> None:
    assert matrix.diagram() == (GOLDEN / "phases.mmd").read_text()


def test_every_phase_meets_every_kind_of_event() -> None:
    phases = {phase.__name__ for phase in get_args(Phase)} | {"Flat"}
    kinds = {kind.__name__ for kind in get_args(AnyEvent)}
    met = {(row.phase, row.kind) for row in matrix.rows()}
    assert met == {(phase, kind) for phase in phases for kind in kinds}


def test_no_cell_breaks_an_invariant() -> None:
    for sample in matrix.samples():
        for case in matrix.cases(sample):
            step = transition(sample.state, case.event, matrix.POLICY, sample.rules)
            assert violations(sample.state, step.state, matrix.POLICY, sample.rules) == [], (sample.label, case.label)


def test_the_diagram_walks_a_trade_from_flat_to_flat() -> None:
    drawn = matrix.diagram()
    for move in ("Flat --> Entering", "Entering --> Unprotected", "Unprotected --> Protected", "Closing --> Flat"):
        assert move in drawn


def test_the_readme_draws_the_moves_that_are_made() -> None:
    """Its labels are for people; its arrows are those of the machine."""
    root = Path(__file__).parents[2]
    drawn = root.joinpath("README.md").read_text("utf-8").split("```mermaid")[1].split("```")[0]
    assert _arrows(drawn) == _arrows(matrix.diagram())


def _arrows(diagram: str) -> set[str]:
    return {line.partition(":")[0].strip() for line in diagram.splitlines() if "-->" in line}


def test_the_margin_account_of_the_samples_answers_every_read() -> None:
    state = next(sample.state for sample in matrix.samples() if sample.label == "on margin: every unit is covered")
    reads = (QueryMargin(seq=1), QueryLiquidations(seq=1, since=0), QueryBorrowable(seq=1, asset="USDT"))
    kinds = [type(matrix_margin.answer(state, read)) for read in reads]
    assert kinds == [MarginSeen, LiquidationsSeen, BorrowableSeen]
