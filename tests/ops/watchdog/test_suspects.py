"""In a life without faults nothing is found; what is amiss is named. The comparisons alone, in a wandering market."""

from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.ops.samples import rules
from tests.ops.watchdog.quiet import Life, lived

from executor.core.model.facts import Balance
from executor.core.model.intents import CancelOrder
from executor.core.model.state import Owed, State
from executor.core.model.values import Direction
from executor.ops.watchdog.suspects import LATE_MS, STUCK_MS, of_holdings, of_time


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


def test_a_state_that_does_not_move_is_found() -> None:
    """A request without an answer, a timer that nobody tends, a start that does not end; each after its own while."""
    life = Life(3)
    life.enter()
    state, policy, now = life.session.state, life.session.policy, life.now

    def found(state: State, after: int) -> list[tuple[str, str]]:
        return [each.key for each in of_time(state, policy, now + after)]

    due = life.session.next_timer()
    assert due is not None  # an entry that rests has an end
    assert found(state, due - now + LATE_MS) == []
    assert found(state, due - now + LATE_MS + 1) == [("state_stuck", "timer")]
    calm = replace(state, position=None, outbox=())
    owed = replace(calm, outbox=(Owed(at=now, request=CancelOrder(seq=7, id="EX_1_SL_1")),))
    assert found(owed, STUCK_MS) == []
    assert found(owed, STUCK_MS + 1) == [("state_stuck", "request 7")]
    assert found(replace(calm, started=now), STUCK_MS + 1) == [("state_stuck", "start")]
    assert found(calm, 10 * STUCK_MS) == []


def test_what_no_fill_explains_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(2)
    assert life.round() == set()
    held = life.direct.balances()
    monkeypatch.setattr(life.direct, "balances", lambda: held | {"LTC": Balance(held["LTC"].free + 3)})
    assert life.round() == {("balance_moved", "LTC")}
