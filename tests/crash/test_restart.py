"""Killed between a fill and its exits, the real daemon covers the position with its next start (rule 8.3c).

The figures, for every case: `python -m tests.crash.restart`.
"""

from pathlib import Path

import pytest
from tests.crash.restart import FENCE_MS, Case, Fate, measure

from executor.core.model.policy import Layout
from executor.core.model.values import Direction

STOPS = {Layout.OCO: 3, Layout.PLAIN: 1}


@pytest.mark.parametrize(
    "case",
    [
        Case(Layout.OCO, Direction.LONG, "poor", Fate.LOST),
        Case(Layout.OCO, Direction.LONG, "rich", Fate.LATE),
        Case(Layout.OCO, Direction.SHORT, "some", Fate.LOST),
        Case(Layout.OCO, Direction.SHORT, "rich", Fate.DONE),
        Case(Layout.PLAIN, Direction.LONG, "rich", Fate.LOST),
        Case(Layout.PLAIN, Direction.SHORT, "rich", Fate.LATE),
    ],
    ids="-".join,
)
async def test_a_kill_between_fill_and_exits_leaves_the_position_bare_for_one_start(tmp_path: Path, case: Case) -> None:
    """Not until the fence, whatever the account has beside the trade; and what comes in late is cancelled."""
    covered = await measure(tmp_path, case)
    assert not covered.faults
    assert covered.ms < FENCE_MS / 3
    assert covered.stops == STOPS[case.layout]
