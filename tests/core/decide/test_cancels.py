"""Ways to have an order gone, one after the other (rules 6.2, 8.7, 8.8, 10.6)."""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, closing, entering, protected

from executor.core.model.events import Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import CancelList, CancelOrder, OrderCommand, QueryOrder, ReplaceOrder, Request, names
from executor.core.model.policy import Layout, Policy
from executor.core.model.state import OrderPhase, Reason
from executor.core.model.values import Direction, OrderStatus, OrderType

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


def jumped(direction: Direction = Direction.LONG) -> Script:
    """Leg 1's stop triggered, its limit was jumped: it rests on the book, its target has expired."""
    script = protected(direction)
    stop, target = script.order(Role.SL1), script.order(Role.TP1)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.book[target.id] = replace(script.book[target.id], status=OrderStatus.EXPIRED)
    script.push(stop.id)
    script.push(target.id)
    return script


@both_sides
@pytest.mark.parametrize("how", ["watch", "flatten"])
def test_what_is_left_of_a_half_ended_list_is_cancelled_by_its_own_id_and_sold(direction: Direction, how: str) -> None:
    """Rules 6.5, 8.7, 8.8: whether or not the exchange calls the list done by then."""
    script = jumped(direction)
    if how == "watch":
        script.wait(3_000)
    else:
        script.command(Verb.FLATTEN)
    lists = {r.list_id for r in script.sent if isinstance(r, CancelList)}
    assert script.order(Role.SL1).list_id not in lists
    assert script.order(Role.SL1).id in {r.id for r in script.sent if isinstance(r, CancelOrder)}
    script.settle()
    assert any(o.cum_qty for o in script.orders(Role.FLATTEN)) if how == "watch" else script.closed.dust < D("0.001")


def test_a_half_filled_targets_rest_is_cancelled_by_its_own_id() -> None:
    """Rules 5.6, 8.8: its stop side has gone, and so, for some exchanges, has the list."""
    script = protected()
    script.fill(Role.TP1, "0.5")
    script.quote("97", after=1_000)
    script.wait(3_000)
    assert script.order(Role.TP1).id in {r.id for r in script.sent if isinstance(r, CancelOrder)}
    script.settle()
    assert script.closed.qty == 3
    assert script.closed.dust < D("0.001")


@both_sides
def test_a_list_that_the_exchange_no_longer_knows_is_cancelled_side_by_side(direction: Direction) -> None:
    """Rule 8.7: the refused cancel of a list is not sent again. What the others have freed is sold meanwhile."""
    script = closing(direction)
    script.accept("CancelOrder")
    script.accept("CancelList")
    script.refuse(Why.UNKNOWN_ORDER, "CancelList")
    assert script.kinds() == ["QueryOrder", "QueryOrder"]
    script.accept()
    script.accept()
    assert script.kinds() == ["FLATTEN"]
    assert script.order(Role.FLATTEN).qty == script.position.split[1] + script.position.split[2]
    script.sleep()
    assert script.kinds() == ["FLATTEN", "CancelOrder", "CancelOrder"]
    script.settle()
    assert len([r for r in script.sent if isinstance(r, CancelList)]) == 2
    assert script.closed.reason is Reason.FLATTEN


@pytest.mark.parametrize("answer", ["lost", "refused"])
def test_a_list_whose_cancel_had_no_effect_is_cancelled_side_by_side(answer: str) -> None:
    script = closing()
    if answer == "lost":
        script.lose("CancelList")
    else:
        script.refuse(Why.OTHER, "CancelList")
    script.settle()
    while script.state.position is not None:
        script.sleep()
        script.settle()
    assert len([r for r in script.sent if isinstance(r, CancelList)]) == 2
    assert len([r for r in script.sent if isinstance(r, CancelOrder)]) >= 2


def outlive(script: Script, role: Role, cancels: int) -> list[int]:
    """Until that order has outlived so many cancels: when they went out. All else is carried out."""
    name = script.order(role).id
    times = []
    for _ in range(2_000):
        if script.order(role).cancels >= cancels:
            break
        doomed = [r for r in script.pending if isinstance(r, OrderCommand) and name in names(r)]
        if doomed:
            times.append(script.now)
            script.pending.remove(doomed[0])
            script.pending.insert(0, doomed[0])
            script.refuse_whole(Why.UNKNOWN_ORDER)
        elif script.pending:
            script.accept()
        else:
            script.sleep()
    return times


@both_sides
def test_beside_an_order_that_no_cancel_ends_the_rest_is_sold_and_entries_are_halted(direction: Direction) -> None:
    """Rules 8.7, 10.6: flatten ends flat, or halted with an alert that names what stands."""
    script = closing(direction)
    times = outlive(script, Role.SL, 12)
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 60_000
    stuck = script.order(Role.SL)
    sold = sum(o.cum_qty for o in script.orders(Role.FLATTEN))
    assert sold == sum(script.position.split) - stuck.qty
    assert stuck.id in script.state.halted
    told = [n for n in script.notes if n.event == "cancel_failed"]
    assert [stuck.id in n.text for n in told] == [True, True]
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.dust < D("0.001")


def test_beside_stuck_orders_of_plain_no_more_is_sold_than_they_leave() -> None:
    """Rule 10.1: the stop of the whole may sell everything."""
    script = closing(policy=PLAIN)
    outlive(script, Role.SL, 6)
    assert not any(o.cum_qty for o in script.orders(Role.FLATTEN))
    script.settle()
    while script.state.position is not None:
        script.sleep()
        script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_the_other_side_of_a_filled_list_that_works_all_the_same_is_cancelled() -> None:
    """Rules 8.7, 8.8: the exchange ends it by its own rule; where looks show that it did not, a cancel does."""
    script = protected()
    told = script.trade(Role.TP1)
    stop = script.order(Role.SL1)
    script.book[stop.id] = replace(script.book[stop.id], status=OrderStatus.NEW)
    script.push(told.id)
    looks = 0
    for _ in range(40):
        mine = [r for r in script.pending if getattr(r, "id", "") == stop.id]
        looks += any(isinstance(r, QueryOrder) for r in mine)
        if any(isinstance(r, CancelOrder) for r in mine):
            break
        if script.pending:
            script.accept()
        else:
            script.sleep()
    assert looks == 2
    script.settle()
    assert script.orders(Role.SL1)[0].phase is OrderPhase.CLOSED


def test_an_entry_that_no_cancel_ends_is_told() -> None:
    """Rule 8.7."""
    script = entering()
    script.wait(90_000)
    outlive(script, Role.ENTRY, 6)
    assert "cancel_failed" in script.told()


def last_leg_jumped(direction: Direction = Direction.LONG, policy: Policy = POLICY) -> Script:
    """The last leg's stop triggered, its limit was jumped, and its grace is over."""
    script = protected(direction, policy=policy)
    stop = script.order(Role.SL)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    script.wait(3_000)
    return script


def cancels_fail(script: Script, why: Why, role: Role = Role.SL) -> list[Request]:
    """Single cancels are refused so, and all else is carried out, until something takes that order off the book: what
    was tried for it.
    """
    name = script.order(role).id
    tried: list[Request] = []
    for _ in range(60):
        asked = next((r for r in script.pending if isinstance(r, OrderCommand) and name in names(r)), None)
        if asked is not None:
            tried.append(asked)
        if isinstance(asked, CancelOrder):
            script.pending.remove(asked)
            script.pending.insert(0, asked)
            script.refuse(why, "CancelOrder")
        elif script.pending:
            script.accept()
        else:
            script.sleep()
        if not script.order(role).live:
            break
    return tried


@both_sides
@pytest.mark.parametrize("why", [Why.UNKNOWN_ORDER, Why.OTHER, Why.RATE_LIMIT, Why.CLOCK])
def test_where_single_cancels_fail_a_jumped_stop_is_cancelled_and_sold_for_in_one(
    direction: Direction, why: Why
) -> None:
    """Rules 6.5, 8.7: by its own id, by the exchange's, by cancel-replace with the sale."""
    script = last_leg_jumped(direction)
    stop = script.order(Role.SL)
    first, second, third = cancels_fail(script, why)
    assert isinstance(first, CancelOrder)
    assert not first.exchange_id
    assert isinstance(second, CancelOrder)
    assert second.exchange_id == stop.exchange_id
    assert isinstance(third, ReplaceOrder)
    assert third.order.type is OrderType.MARKET
    assert third.order.qty == stop.qty
    (sale,) = script.orders(Role.FLATTEN)
    assert (sale.leg, sale.cum_qty) == (3, stop.qty)
    assert all(script.order(role).live for role in (Role.TP1, Role.SL1, Role.TP2, Role.SL2))


def test_where_the_symbol_has_no_cancel_replace_its_cancels_go_on_and_are_told_of() -> None:
    script = last_leg_jumped()
    script.rules = replace(script.rules, cancel_replace_allowed=False)
    assert len(cancels_fail(script, Why.RATE_LIMIT)) > 6
    assert script.order(Role.SL).cancels == 0
    assert "cancel_failed" in script.told()


def test_what_has_begun_to_fill_is_not_sold_in_its_place() -> None:
    script = last_leg_jumped()
    script.trade(Role.SL, "0.5")
    script.push(script.order(Role.SL).id)
    assert all(isinstance(r, CancelOrder) for r in cancels_fail(script, Why.OTHER))


def test_one_side_of_a_list_goes_by_its_list_and_then_by_a_sale() -> None:
    """Rule 8.8: the exchange may not call the list done while one side stands."""
    script = jumped()
    script.wait(3_000)
    name, tried = script.order(Role.SL1).id, list[Request]()
    for _ in range(60):
        asked = next((r for r in script.pending if isinstance(r, OrderCommand) and name in names(r)), None)
        if asked is None:
            script.accept() if script.pending else script.sleep()
            continue
        tried.append(asked)
        if isinstance(asked, ReplaceOrder):
            break
        script.pending.remove(asked)
        script.pending.insert(0, asked)
        script.refuse(Why.UNKNOWN_ORDER)
    assert [type(r) for r in tried] == [CancelOrder, CancelOrder, CancelList, CancelOrder, ReplaceOrder]
    script.settle()
    assert script.order(Role.FLATTEN).leg == 1


@pytest.mark.parametrize("arrived", [False, True])
def test_a_sale_in_its_place_that_nobody_tells_of_sells_nothing_twice(*, arrived: bool) -> None:
    """Rules 8.3e, 10.1."""
    script = last_leg_jumped()
    for _ in range(2):
        while "CancelOrder" not in script.kinds():
            script.accept() if script.pending else script.sleep()
        script.refuse(Why.OTHER, "CancelOrder")
    while not any(isinstance(r, ReplaceOrder) for r in script.pending):
        script.accept() if script.pending else script.sleep()
    script.pending.sort(key=lambda r: not isinstance(r, ReplaceOrder))
    script.lose(arrived=arrived)
    for _ in range(30):
        script.settle()
        if not script.order(Role.SL).live and not script.order(Role.FLATTEN).live:
            break
        script.sleep()
    stop = script.order(Role.SL)
    assert sum(o.cum_qty for o in (stop, *script.orders(Role.FLATTEN))) == stop.qty


@both_sides
def test_a_close_sells_in_the_place_of_what_no_cancel_ends(direction: Direction) -> None:
    """Rule 10.6."""
    script = closing(direction)
    *cancels, sale = cancels_fail(script, Why.OTHER)
    assert [type(r) for r in cancels] == [CancelOrder, CancelOrder]
    assert isinstance(sale, ReplaceOrder)
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.dust < D("0.001")
    assert not script.state.halted


def test_a_close_waits_for_no_sale_in_doubt_of_what_stands() -> None:
    """Rules 8.3e, 10.6: only one request can take an order's place, so the rest is sold beside."""
    script = closing()
    name = script.order(Role.SL).id
    for _ in range(60):
        if script.order(Role.SL).cancels >= 4:
            break
        asked = next((r for r in script.pending if isinstance(r, OrderCommand) and name in names(r)), None)
        if asked is None:
            script.accept() if script.pending else script.sleep()
            continue
        script.pending.remove(asked)
        script.pending.insert(0, asked)
        script.lose()
    script.settle()
    sold = sum(o.cum_qty for o in script.orders(Role.FLATTEN))
    assert sold == sum(script.position.split) - script.order(Role.SL).qty
    assert any(o.phase is OrderPhase.UNRESOLVED for o in script.orders(Role.FLATTEN))
