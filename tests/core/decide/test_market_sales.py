"""Sales of a leg at market that come to nothing (rules 4.7, 8.7)."""

from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import POLICY, Script, protected

from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.policy import Policy
from executor.core.model.state import Reason
from executor.core.model.values import OrderStatus

D = Decimal


def leaving(policy: Policy = POLICY) -> Script:
    """Leg 3 is sold at market, as its stop was refused for its price; the other two stand."""
    script = protected(policy=policy)
    script.vanish(Role.SL)
    script.quote("97.9")
    script.refuse(Why.WOULD_TRIGGER, "SL")
    assert script.kinds() == ["FLATTEN"]
    script.quote("99")
    return script


def all_leaving(policy: Policy = POLICY) -> Script:
    """Every leg is sold at market."""
    script = protected(policy=policy)
    for role in (Role.SL, Role.SL1, Role.SL2):
        script.vanish(role)
    script.quote("97.9")
    for kind in ("SL", "OCO1", "OCO2"):
        script.refuse(Why.WOULD_TRIGGER, kind)
    assert script.kinds() == ["FLATTEN"] * 3
    return script


def finds_nobody(script: Script, status: OrderStatus = OrderStatus.EXPIRED) -> int:
    """Each sale that is under way is taken and expires; how long until the next one (ms)."""
    while "FLATTEN" in script.kinds():
        script.answer_with(status, "FLATTEN")
    ended = script.now
    while "FLATTEN" not in script.kinds():
        if script.pending:
            script.accept()
        else:
            script.sleep()
    return script.now - ended


def test_sales_of_a_leg_that_find_nobody_are_repeated_in_growing_pauses_and_told_of() -> None:
    script = leaving()
    assert [finds_nobody(script) for _ in range(12)] == [1_000] * 5 + [2_000] + [4_000] * 6
    told = [n.text for n in script.notes if n.event == "sale_failed"]
    assert len(told) == 2
    assert told[0].startswith("5 market sales of leg 3 came to nothing: the exchange took the last one")
    assert told[1].startswith("10 market sales of leg 3")


def test_what_stands_for_other_legs_is_kept_and_entries_are_halted() -> None:
    """Cancelled for one more sale that finds nobody, their stops would be lost for nothing."""
    script = leaving()
    for _ in range(9):
        finds_nobody(script)
    assert script.live() == ["FLATTEN", "SL1", "SL2", "TP1", "TP2"]
    assert "failsafe" not in script.told()
    assert "market sales of leg 3 came to nothing" in script.state.halted
    assert any("market sales of leg 3 come to nothing, and go on" in n.text for n in script.notes)
    assert not any("the price is watched" in n.text for n in script.notes)


def test_where_nothing_stands_the_trade_is_closed_as_a_whole() -> None:
    script = all_leaving()
    for _ in range(6):
        finds_nobody(script)
    assert "failsafe" in script.told()
    assert script.named() == "Closing"
    assert script.kinds().count("FLATTEN") == 1
    assert script.order(Role.FLATTEN).qty == sum(script.position.split)
    script.to_the_end()
    assert script.closed.reason is Reason.FAILSAFE


def test_without_the_failsafe_each_leg_is_tried_on_and_entries_are_halted() -> None:
    script = all_leaving(replace(POLICY, failsafe_flatten=False))
    for _ in range(9):
        finds_nobody(script)
    assert script.named() == "Unprotected"
    assert script.state.halted
    assert script.told().count("sale_failed") == 3
    script.to_the_end()
    assert script.closed.reason is Reason.SL


def test_a_sale_that_met_another_order_of_the_account_is_called_that() -> None:
    script = leaving()
    for _ in range(5):
        finds_nobody(script, OrderStatus.EXPIRED_IN_MATCH)
    assert any("met another order of the account" in n.text for n in script.notes)


def test_a_sale_that_has_sold_a_part_begins_the_count_anew() -> None:
    script = leaving()
    for _ in range(6):
        finds_nobody(script)
    assert script.leg(3).empty == 6
    script.exchange_takes(next(r for r in script.pending if r is script.sent[-1]))
    sale = script.order(Role.FLATTEN)
    script.pending.clear()
    told = script.book[sale.id]
    part = D("0.5")
    fill = replace(told.fills[0], qty=part)
    told = replace(told, status=OrderStatus.EXPIRED, cum_qty=part, cum_quote=part * fill.price, fills=(fill,))
    script.book[sale.id] = told
    script.push(sale.id)
    ended = script.now
    assert script.leg(3).empty == 0
    while "FLATTEN" not in script.kinds():
        if script.pending:
            script.accept()
        else:
            script.sleep()
    assert script.now - ended == 1_000
    assert script.leg(3).empty == 0
    script.settle()
    assert script.live() == ["SL1", "SL2", "TP1", "TP2"]


def test_a_leg_whose_size_a_filter_refuses_twice_is_sold_in_halves() -> None:
    script = leaving()
    tried = []
    while script.leg(3).qty != sum(o.cum_qty for o in script.orders(Role.FLATTEN)):
        while "FLATTEN" not in script.kinds():
            if script.pending:
                script.accept()
            else:
                script.sleep()
        tried.append(script.order(Role.FLATTEN).qty)
        if tried[-1] > D("0.6"):
            script.refuse(Why.FILTER, "FLATTEN")
        else:
            script.accept("FLATTEN")
    assert tried == [D("0.999"), D("0.999"), D("0.5"), D("0.499")]
    assert "failsafe" not in script.told()
