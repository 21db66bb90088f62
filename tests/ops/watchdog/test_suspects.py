"""In a life without faults nothing is found; what is amiss is named. The comparisons alone, in a wandering market."""

from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.ops.samples import rules
from tests.ops.watchdog.quiet import Life, lived

from executor.core.model.facts import Balance
from executor.core.model.values import Direction
from executor.ops.watchdog.suspects import of_holdings


@pytest.mark.parametrize("seed", range(8))
def test_trades_without_faults_have_no_findings(seed: int) -> None:
    life = lived(seed, 25)
    assert len(life.closed) >= 25
    assert life.found == Counter()


def test_what_is_sold_elsewhere_is_found() -> None:
    life = Life(1)
    while life.session.state.position is None or not life.session.state.position.legs:
        if life.session.state.position is None:
            life.enter()
        life.pass_by(2_000)
    state = life.session.state
    assert state.position is not None
    if state.position.plan.direction is Direction.LONG:
        (suspect,) = of_holdings(state, {"LTC": Balance(Decimal("0.001"))}, rules())
        assert suspect.finding == "balance_short"
    assert list(of_holdings(replace(state, position=None), {}, rules())) == []


def test_what_no_fill_explains_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(2)
    assert life.round() == set()
    held = life.direct.balances()
    monkeypatch.setattr(life.direct, "balances", lambda: held | {"LTC": Balance(held["LTC"].free + 3)})
    assert life.round() == {("balance_moved", "LTC")}
