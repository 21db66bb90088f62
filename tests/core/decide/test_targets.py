from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import POLICY, both_sides, protected, unprotected

from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.policy import Layout
from executor.core.model.state import Leave, Reason
from executor.core.model.values import Direction

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


@both_sides
def test_a_pair_that_keeps_being_refused_leaves_the_stop_alone_and_the_target_to_software(direction: Direction) -> None:
    """Rule 4.1: stops first where they can't go together."""
    script = unprotected(direction)
    for _ in range(2):
        script.refuse(Why.FILTER, "OCO1")
        script.sleep()
    assert script.kinds()[-1] == "SL1"
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP2"]
    script.quote("102.1", after=1_000)
    assert script.leg(1).leave is Leave.TARGET
    script.settle()
    assert script.position.target_hit
    assert script.position.orders[-1].leg in (1, 2, 3)


@both_sides
def test_a_target_refused_because_the_market_is_there_is_sold_at_market(direction: Direction) -> None:
    """Rule 4.6."""
    script = unprotected(direction)
    script.quote("102.5")
    script.refuse(Why.WOULD_MATCH, "OCO1")
    assert script.kinds() == ["OCO2", "SL", "FLATTEN"]
    script.accept("FLATTEN")
    assert script.position.target_hit


def test_a_plain_target_is_sent_when_its_leg_can_carry_it() -> None:
    script = unprotected(policy=PLAIN)
    assert script.kinds() == ["TP1", "TP2", "SL"]


def test_a_rest_too_small_for_any_order_is_watched_not_placed() -> None:
    """Rules 3.6, 6.4: nor does it end the trade of the other legs."""
    script = protected()
    script.quote("101.9", after=1_000)
    script.fill(Role.TP1, "0.96")
    script.vanish(Role.TP1)
    script.wait(1_000)
    assert script.kinds() == []
    assert script.leg(1).vanished == 0
    script.quote("97", after=1_000)
    script.wait(3_000)
    assert script.kinds() == ["CancelList", "CancelOrder"]
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.dust == D("0.039")


def test_a_plain_target_too_small_to_sell_is_left_to_the_stop() -> None:
    script = protected(policy=PLAIN)
    script.fill(Role.TP1, "0.96")
    script.vanish(Role.TP1)
    script.settle()
    assert script.live() == ["SL", "TP2"]


@both_sides
def test_a_partly_filled_target_whose_price_falls_back_is_sold_at_market(direction: Direction) -> None:
    """Rule 5.6."""
    script = protected(direction)
    script.quote("102", after=1_000)
    script.fill(Role.TP1, "0.5")
    script.settle()
    assert script.live() == ["SL", "SL2", "TP1", "TP2"]
    script.quote("97.9", after=1_000)
    script.sleep()
    assert "CancelOrder" in script.kinds() or "CancelList" in script.kinds()
    script.settle()
    assert script.closed.reason is Reason.SL


@both_sides
def test_prices_go_onto_the_grid_of_now(direction: Direction) -> None:
    """Rule 2.6: the tick has grown coarser since the plan; the orders of before are on the grid of then."""
    script = unprotected(direction)
    script.now += 5
    script.rules = replace(script.rules, tick=D("0.3"))
    for role in ("OCO1", "OCO2", "SL"):
        script.refuse(Why.FILTER, role)
    script.wait(1_000)
    script.settle()
    assert script.named() == "Protected"
    stop, target = script.order(Role.SL1).stop_price, script.order(Role.TP1).price
    assert stop is not None
    assert target is not None
    assert not stop % D("0.3")
    assert not target % D("0.3")
    assert abs(stop - script.px("98")) < D("0.3")
    script.quote("99", after=5_000)
    script.settle()
    assert len(script.orders(Role.SL)) == 2


def test_a_stop_that_stood_on_the_old_grid_never_moves_against_the_position() -> None:
    """Rule 10.4."""
    script = protected()
    script.now += 5
    script.rules = replace(script.rules, tick=D("0.3"))
    script.vanish(Role.SL)
    script.settle()
    assert script.order(Role.SL).stop_price == D("98.1")
