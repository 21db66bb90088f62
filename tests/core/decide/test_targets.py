from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, Script, both_sides, protected, unprotected

from executor.core.model.events import QuoteSeen
from executor.core.model.facts import Quote, Why
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
    """Rules 3.6, 6.4, where no other leg's exits can take it: nor does it end the trade of those."""
    script = protected()
    script.rules = replace(script.rules, max_qty=script.leg(3).qty)
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


@both_sides
@pytest.mark.parametrize(("why", "window_ms"), [(Why.RATE_LIMIT, 60_000), (Why.CLOCK, 0)])
def test_a_pair_that_is_held_up_where_single_orders_go_through_leaves_the_stop_alone(
    direction: Direction, why: Why, window_ms: int
) -> None:
    """Rule 8.7: a limit may be that request's own, as each of /sapi has one; one for all has a window, and an end."""
    script = unprotected(direction)
    script.accept("SL")
    script.accept("OCO2")
    begun = script.now
    script.refuse(why, "OCO1")
    script.sleep()
    while script.kinds() == ["OCO1"]:
        script.refuse(why, "OCO1")
        script.sleep()
    assert script.kinds() == ["SL1"]
    assert window_ms <= script.now - begun < window_ms + 15_000
    script.accept("SL1")
    script.vanish(Role.SL1)
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP2"]  # put back as it stood, at once


@both_sides
def test_a_limit_that_lets_a_pair_through_after_a_while_costs_no_target(direction: Direction) -> None:
    """Twenty trades that fill at once want more orders than an account may place in ten seconds."""
    script = unprotected(direction)
    script.accept("SL")
    script.accept("OCO2")
    for _ in range(4):
        script.refuse(Why.RATE_LIMIT, "OCO1")
        script.sleep()
    script.accept("OCO1")
    script.settle()
    assert {"SL1", "TP1"} <= set(script.live())


@both_sides
def test_where_nothing_goes_through_a_limit_changes_no_pair(direction: Direction) -> None:
    script = unprotected(direction)
    begun = script.now
    while script.now < begun + 3 * POLICY.failsafe_grace_ms:
        for kind in script.kinds():
            script.refuse(Why.RATE_LIMIT, kind)
        script.sleep()
    assert sorted(script.kinds()) == ["OCO1", "OCO2", "SL"]


@both_sides
def test_a_pair_of_which_nobody_knows_what_became_leaves_the_stop_alone(direction: Direction) -> None:
    """Rules 4.7, 8.7: each of them waits for its fence, so that no refusal ever counts."""
    script = unprotected(direction)
    script.accept("SL")
    script.accept("OCO2")
    for _ in range(40):
        if "SL1" in script.kinds():
            break
        for kind in list(script.kinds()):
            if kind == "OCO1":
                script.lose(kind)
            else:
                script.accept(kind)
        script.sleep()
    assert "SL1" in script.kinds()
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP2"]


@both_sides
def test_a_pair_that_is_moved_and_then_held_up_is_bare_for_no_longer_than_the_grace(direction: Direction) -> None:
    """Nothing else is sent meanwhile that could tell whether single orders go through."""
    script = protected(direction)
    script.quote("102.5")
    script.fill(Role.TP1)
    script.quote("102.5", after=100)
    while "OCO2" not in script.kinds():
        script.accept(script.kinds()[0])
    begun = script.now
    while "SL2" not in script.kinds():
        if "OCO2" in script.kinds():
            script.refuse(Why.CLOCK, "OCO2")
            script.sleep()
        elif script.kinds():
            script.accept(script.kinds()[0])
        else:
            script.sleep()
    assert POLICY.failsafe_grace_ms <= script.now - begun < POLICY.failsafe_grace_ms + 5_000


@both_sides
@pytest.mark.parametrize(("last", "side"), [("102.5", Leave.TARGET), ("97.5", Leave.STOP)])
def test_a_last_price_that_the_book_has_left_tells_of_no_side_that_was_crossed(
    direction: Direction, last: str, side: Leave
) -> None:
    """Pushed, the book comes before the trade that moved it: the last price is of before."""
    for where, leave in (("100", None), (last, side)):
        script = unprotected(direction)
        script.accept("SL")
        script.accept("OCO2")
        script.now += 10
        script.refuse(Why.PRICE_RELATION, "OCO1")
        assert script.leg(1).puzzled_at
        book = script.px(where)
        told = Quote(script.now, book - D("0.01"), book + D("0.01"), script.px(last))
        script.feed(QuoteSeen(at=script.now, quote=told))
        assert script.leg(1).leave is leave
        assert script.leg(1).tries == (leave is None)
        assert not script.leg(1).puzzled_at


@both_sides
def test_a_side_of_the_book_that_is_empty_denies_nothing(direction: Direction) -> None:
    script = unprotected(direction)
    script.accept("SL")
    script.accept("OCO2")
    script.now += 10
    script.refuse(Why.PRICE_RELATION, "OCO1")
    script.feed(QuoteSeen(at=script.now, quote=Quote(script.now, D(0), D(0), script.px("102.5"))))
    assert script.leg(1).leave is Leave.TARGET


def tell_late(script: Script, role: Role, sold: str) -> None:
    """The first exit of `role`, which has ended, had sold so much by then; the push comes a little later."""
    script.now += 10
    old = script.orders(role)[0]
    script.book[old.id] = replace(script.book[old.id], cum_qty=D(sold), cum_quote=D(sold) * 100)
    script.push(old.id)


@both_sides
def test_a_list_that_stands_for_more_than_its_leg_has_left_is_cut(direction: Direction) -> None:
    """Rules 5.1, 10.1: the one that was moved had sold a part, and tells only now."""
    script = protected(direction, rules=MARGIN_RULES)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    whole = script.order(Role.TP2).qty
    tell_late(script, Role.TP2, "0.3")
    assert script.kinds() == ["CancelList"]
    script.settle()
    assert script.order(Role.TP2).qty == script.order(Role.SL2).qty == whole - D("0.3")
    assert script.named() == "Protected"


def test_a_list_whose_stop_has_triggered_is_not_cut() -> None:
    """It sells already; what it sells too much is bought back (rule 6.3)."""
    script = protected(rules=MARGIN_RULES)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    stop = script.order(Role.SL2)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    tell_late(script, Role.TP2, "0.3")
    assert "CancelList" not in script.kinds()


@both_sides
def test_a_target_beside_the_stop_that_stands_for_more_than_its_leg_has_left_is_cut(direction: Direction) -> None:
    """Rules 5.1, 10.1: the one in whose place it was put had sold a part, and tells only now."""
    script = protected(direction, policy=PLAIN)
    script.vanish(Role.TP1)
    script.settle()
    whole = script.order(Role.TP1).qty
    tell_late(script, Role.TP1, "0.3")
    script.settle()
    assert script.order(Role.TP1).qty == whole - D("0.3")
    assert script.live() == ["SL", "TP1", "TP2"]
