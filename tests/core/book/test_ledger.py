from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, both_sides, entering, protected, trailing

from executor.core.book.edit import with_order
from executor.core.book.ledger import (
    commissions,
    committed,
    covered,
    covers,
    entry_average,
    exit_orders,
    expected_base,
    holding,
    leg_left,
    leg_sold,
    locked,
    sellable,
)
from executor.core.model.events import Reported
from executor.core.model.ids import Role
from executor.core.model.policy import Layout
from executor.core.model.state import OrderPhase, Unprotected
from executor.core.model.values import Direction

D = Decimal


def test_what_is_held_is_what_was_bought_less_commission_in_base() -> None:
    """Rule 3.4."""
    script = protected()
    held = holding(script.position, RULES)
    assert (held.entered, held.left, held.held, held.certain) == (D(3), D(0), D("2.997"), True)
    script.fill(Role.TP1)
    assert holding(script.position, RULES).held == D("1.998")


def test_unknown_commissions_are_taken_at_the_highest_rate() -> None:
    script = entering()
    told = script.trade(Role.ENTRY, "2")
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    held = holding(script.position, RULES)
    assert (held.held, held.certain) == (D("1.998"), False)


def test_each_fill_s_commission_may_have_been_rounded_up() -> None:
    """Rule 3.4: what is held is never reckoned too high, however many fills there were."""
    script = entering()
    told = script.trade(Role.ENTRY, "2")
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    rules = replace(RULES, fee_unit=D("0.00001"))
    assert holding(script.position, rules).held == D("1.988")
    assert holding(script.position, replace(rules, step=D("0.01"))).held == D("1.996")
    assert holding(script.position, replace(rules, maker_fee=D(0), taker_fee=D(0))).certain


def test_a_short_owes_all_that_it_sold() -> None:
    held = holding(protected(Direction.SHORT).position, RULES)
    assert (held.held, held.certain) == (D(3), True)


def test_commission_in_another_asset_leaves_the_base_whole() -> None:
    script = entering()
    script.fee_asset = "BNB"
    script.fill(Role.ENTRY, "1")
    script.fill(Role.ENTRY, "1")
    assert holding(script.position, RULES).held == 2
    assert commissions(script.position) == {"BNB": D("0.0002")}


def test_what_the_account_owns_is_what_it_had_and_what_the_trade_holds() -> None:
    script = protected()
    assert expected_base(script.position, RULES) == D(1_000) + D("2.997")
    assert expected_base(replace(script.position, spare=None), RULES) is None
    script.fill(Role.TP1)
    paid = replace(script.order(Role.TP1).fills[0], fee=D("0.002"), fee_asset="LTC")  # a base that fees are paid in
    position = with_order(script.position, replace(script.order(Role.TP1), fills=(paid,)))
    assert expected_base(position, RULES) == D(1_000) + D("1.996")


def test_a_short_leaves_the_account_what_it_had_less_what_is_to_be_bought_back() -> None:
    script = protected(Direction.SHORT)
    assert expected_base(script.position, RULES) == D(1_000) - D(3)
    script.fill(Role.TP1)
    assert expected_base(script.position, RULES) == D(1_000) - D(2)


@both_sides
def test_what_is_locked_for_exits_is_base_with_a_long_and_quote_with_a_short(direction: Direction) -> None:
    """An OCO's sides share one lock; at which of its prices is not documented, so the lower one is reckoned with."""
    script = protected(direction)
    if direction is Direction.LONG:
        assert locked(script.position) == D("2.997")
    else:
        orders = [script.order(role) for role in (Role.TP1, Role.TP2, Role.SL)]
        assert locked(script.position) == sum(o.qty * (o.price or 0) for o in orders)


def test_of_a_list_whose_target_has_filled_nothing_is_locked_though_its_stop_s_end_is_not_told_yet() -> None:
    script = protected()
    script.feed(Reported(at=script.now, report=script.trade(Role.TP1)))
    assert script.order("SL1").phase is OrderPhase.WORKING
    assert locked(script.position) == D("1.998")


@both_sides
def test_every_unit_is_covered_by_a_live_stop_whose_target_is_untouched(direction: Direction) -> None:
    """Rules 1, 5.6."""
    script = protected(direction)
    assert covered(script.position) == sellable(script.position, RULES)
    touched = with_order(script.position, replace(script.order(Role.TP1), cum_qty=D("0.1")))
    assert not covers(script.order(Role.SL1), touched)
    assert not covers(script.order(Role.TP1), touched)


@both_sides
def test_a_stop_whose_place_another_has_taken_covers_nothing_though_its_end_is_not_told_yet(
    direction: Direction,
) -> None:
    """Rules 1, 5.5: what of another leg is bare stays so."""
    script = protected(direction)
    stop = script.order(Role.SL)
    moved = replace(stop, id=f"{stop.id}7", replaces=stop.id, exchange_id=77)
    assert covered(with_order(script.position, moved)) == covered(script.position)


@both_sides
def test_a_stop_that_has_triggered_and_not_filled_covers_nothing(direction: Direction) -> None:
    """Rules 1, 6.5: it is a limit order now, and the price has jumped over it; a single one as one of an OCO."""
    script = protected(direction)
    stop = script.order(Role.SL)
    assert covers(stop, script.position)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    stop = script.order(Role.SL)
    assert stop.live
    assert not covers(stop, script.position)
    assert isinstance(script.position.phase, Unprotected)


def test_a_legs_rest_is_never_more_than_is_held() -> None:
    script = protected()
    script.fill(Role.TP1, "0.5")
    assert leg_sold(script.position, script.leg(1)) == D("0.5")
    assert leg_left(script.position, script.leg(1), RULES) == D("0.499")
    whole = replace(script.leg(1), n=0)
    assert leg_left(script.position, whole, RULES) == D("2.497")


def test_an_oco_counts_once_in_what_could_be_sold() -> None:
    """Rule 10.1."""
    script = protected()
    assert committed(script.position, layout=Layout.OCO) == D("2.997")
    script.fill(Role.TP1, "0.5")
    assert committed(script.position, layout=Layout.OCO) == D("2.497")


def test_the_plain_stop_does_not_count_beside_its_targets() -> None:
    """Rule 4.3."""
    script = protected(policy=replace(POLICY, layout=Layout.PLAIN))
    assert committed(script.position, layout=Layout.PLAIN) == D("1.998")


def test_a_replacement_and_what_it_replaces_can_not_both_stand() -> None:
    """Rule 5.5."""
    script = trailing()
    script.settle()
    script.quote("106", after=2_000)
    assert script.kinds() == ["replace TRAIL"]
    assert committed(script.position, layout=Layout.OCO) == D("0.999")
    told = script.pending[0]
    script.exchange_takes(told)
    script.push(script.order(Role.TRAIL).id)
    assert committed(script.position, layout=Layout.OCO) == D("0.999")


def test_averages_are_weighted_by_quantity() -> None:
    script = entering()
    assert entry_average(script.position) is None
    script.fill(Role.ENTRY, "1", D(99))
    script.fill(Role.ENTRY, "2", D(96))
    assert entry_average(script.position) == 97


@pytest.mark.parametrize("role", [Role.ENTRY, Role.BUYBACK])
def test_entries_and_buybacks_are_no_exits(role: Role) -> None:
    script = protected()
    order = replace(script.order(Role.SL), role=role)
    assert order not in exit_orders(with_order(script.position, order))


def test_a_fill_without_commission_pays_none() -> None:
    script = entering(rules=replace(RULES, taker_fee=D(0)))
    script.fill(Role.ENTRY)
    assert commissions(script.position) == {}


def test_of_two_that_were_to_take_one_orders_place_the_one_that_is_known_counts_alone() -> None:
    """Rule 8.3e: once the exchange knows one of them, the other can never stand."""
    script = protected(policy=POLICY)
    stop = script.order("SL")
    known = replace(stop, id=f"{stop.id}7", replaces=stop.id, exchange_id=77)
    unknown = replace(stop, id=f"{stop.id}8", replaces=stop.id, exchange_id=0)
    alone = replace(script.position, orders=(*script.position.orders, known))
    both = replace(script.position, orders=(*script.position.orders, known, unknown))
    assert committed(both, layout=Layout.OCO) == committed(alone, layout=Layout.OCO)


def test_what_a_list_could_sell_goes_by_the_side_that_lives() -> None:
    """Rule 10.1: the other ended before this one was made smaller."""
    script = protected()
    target, stop = script.order(Role.TP1), script.order(Role.SL1)
    before = committed(script.position, layout=Layout.OCO)
    position = with_order(script.position, replace(target, phase=OrderPhase.CLOSED))
    position = with_order(position, replace(stop, qty=stop.qty - D("0.5")))
    assert committed(position, layout=Layout.OCO) == before - D("0.5")
    alone = with_order(script.position, replace(target, qty=target.qty - D("0.5")))
    assert committed(alone, layout=Layout.OCO) == before
