"""A list of which the exchange has ended one side only is cancelled, and the pair put back (rules 6.6, 8.8)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import Script, both_sides, protected

from executor.core.model.ids import Role
from executor.core.model.intents import CancelOrder
from executor.core.model.values import Direction, OrderStatus

D = Decimal
OTHER = {Role.TP1: Role.SL1, Role.SL1: Role.TP1}


def ended(script: Script, role: Role, status: OrderStatus = OrderStatus.EXPIRED_IN_MATCH) -> None:
    """One side of the list, and no more."""
    name = script.order(role).id
    script.book[name] = replace(script.book[name], status=status)
    script.push(name)


def looked(script: Script) -> None:
    """The two looks at the other side are had."""
    for _ in range(2):
        script.wait(250)
        script.accept("QueryOrder")


@pytest.mark.parametrize("role", [Role.TP1, Role.SL1])
@pytest.mark.parametrize("status", [OrderStatus.EXPIRED, OrderStatus.EXPIRED_IN_MATCH, OrderStatus.CANCELED])
def test_a_side_that_stands_alone_is_looked_at_and_cancelled_and_the_pair_put_back(
    role: Role, status: OrderStatus
) -> None:
    """Else the price goes through the target, or to the stop, and nothing is sold."""
    script = protected()
    alone = script.order(OTHER[role]).id
    ended(script, role, status)
    looked(script)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.order(OTHER[role]).id != alone
    assert script.named() == "Protected"
    assert script.told() == ["exit_ended"]


def test_the_other_side_s_end_that_is_only_told_late_costs_no_cancel() -> None:
    script = protected()
    ended(script, Role.TP1)
    name = script.order(Role.SL1).id
    script.book[name] = replace(script.book[name], status=OrderStatus.EXPIRED)
    script.wait(250)
    script.accept("QueryOrder")
    assert script.kinds() == ["OCO1"]


def test_a_stop_that_triggers_beside_its_ended_target_does_its_work() -> None:
    script = protected()
    ended(script, Role.TP1, OrderStatus.EXPIRED)
    name = script.order(Role.SL1).id
    script.book[name] = replace(script.book[name], working=True)
    script.push(name)
    assert script.kinds() == []
    script.fill(Role.SL1)
    assert script.live() == ["SL", "SL2", "TP2"]


def test_a_list_that_is_ended_in_half_again_and_again_is_put_back_in_growing_pauses() -> None:
    """Rules 6.6, 8.7: each cause is told once."""
    script = protected()
    pauses = []
    for _ in range(4):
        ended(script, Role.TP1)
        since = script.now
        looked(script)
        script.settle()
        while Role.TP1 not in script.live():
            script.sleep()
            script.settle()
        pauses.append(script.now - since)
    assert pauses == [500, 1_000, 2_000, 4_000]
    assert script.told().count("exit_ended") == 1


def test_one_side_that_is_called_cancelled_again_and_again_is_no_hand_s_doing() -> None:
    """Rules 6.6, 8.8: a hand that cancels one side cancels both. The target has lost a part to self-trade prevention,
    say, and the exchange ended its stop."""
    script = protected()
    for _ in range(3):
        ended(script, Role.SL1, OrderStatus.CANCELED)
        looked(script)
        script.settle()
        script.wait(60_000)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.leg(1).vanished == 0


def test_a_rest_beside_a_stop_that_stands_is_covered_again() -> None:
    """The target had sold a part, and was ended; the stop that is said to have gone with it has not."""
    script = protected()
    script.execute(script.order(Role.TP1).id, "0.4")
    script.book[script.order(Role.SL1).id] = replace(script.book[script.order(Role.SL1).id], status=OrderStatus.NEW)
    ended(script, Role.TP1)
    looked(script)
    script.settle()
    assert (
        script.order(Role.SL1).qty
        == script.order(Role.TP1).qty
        == script.leg(1).qty - script.book[script.orders(Role.TP1)[0].id].cum_qty
    )


def told_late(script: Script) -> str:
    """The target that stood alone was cancelled, and the pair put back for the whole of its leg; only then it is told
    that the target had sold a part.
    """
    old = script.order(Role.TP1).id
    ended(script, Role.SL1)
    looked(script)
    (cancel,) = script.pending
    assert isinstance(cancel, CancelOrder)
    script.accept("CancelOrder")
    script.book[old] = replace(script.book[old], cum_qty=D("0.3"), cum_quote=D(30))
    assert script.kinds() == ["OCO1"]
    return old


@both_sides
def test_a_pair_in_doubt_that_is_for_more_than_was_left_is_cut_when_it_shows(direction: Direction) -> None:
    """Rules 5.1, 8.3, 10.1: the cancel's answer had left out what the target sold. The invariants watch."""
    script = protected(direction)
    old = told_late(script)
    script.lose("OCO1", arrived=True)
    script.wait(20)
    script.push(old)
    script.settle()
    assert script.state.halted == ""
    assert script.order(Role.TP1).qty == script.order(Role.SL1).qty == script.leg(1).qty - D("0.3")
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.named() == "Protected"


@both_sides
def test_a_pair_that_is_for_more_than_was_left_is_cut_as_soon_as_it_stands(direction: Direction) -> None:
    """Rules 5.1, 10.1: told while it was on its way, or after it was taken."""
    for taken_first in (False, True):
        script = protected(direction)
        old = told_late(script)
        if taken_first:
            script.accept("OCO1")
        script.wait(20)
        script.push(old)
        script.settle()
        assert script.order(Role.TP1).qty == script.order(Role.SL1).qty == script.leg(1).qty - D("0.3")
        assert script.named() == "Protected"


def test_a_pair_in_doubt_that_never_arrived_is_put_back_for_what_is_left() -> None:
    script = protected()
    old = told_late(script)
    script.lose("OCO1")
    script.wait(20)
    script.push(old)
    for _ in range(80):
        script.settle()
        if Role.TP1 in script.live() and script.named() == "Protected":
            break
        script.sleep()
    assert script.order(Role.SL1).qty == script.leg(1).qty - D("0.3")
