"""Trades on borrowed money survive faults, interest, other hands and liquidation; `tests.sim.run --margin` is the long
one.
"""

import pytest
from tests.sim import run
from tests.sim.faults import LOAN, MARGIN
from tests.sim.setup import CROSS, ISOLATED

BATCH = 8
"""Runs of one account each: cross and isolated."""


@pytest.mark.parametrize("kind", [CROSS, ISOLATED])
def test_trades_on_credit_survive_faults_and_crashes(kind: str) -> None:
    tally = run.many(5_000_000, BATCH, kinds=(kind,))
    assert not tally.failed
    assert tally.trades > BATCH
    assert tally.crashes > 0
    assert {fault for fault, _ in tally.faults} & {*LOAN, *MARGIN}
    assert {"Borrowing", "Repaying"} & {phase for _, phase in tally.faults}
