"""Called filled with less than its quantity: self-trade prevention took the rest (faqs/stp_faq.md; rules 8.6, 8.8)."""

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, D, Script, closing, entering, protected

from executor.core.model import orders
from executor.core.model.events import Reported, Verb
from executor.core.model.facts import left_by_prevention
from executor.core.model.ids import Role
from executor.core.model.intents import QueryOrder
from executor.core.model.policy import Layout
from executor.core.model.state import End, OrderPhase, Reason
from executor.core.model.values import OrderStatus


def filled_short(script: Script, role: Role, qty: str) -> str:
    """The exchange says FILLED, and that of `qty`; the push arrives."""
    name = script.order(role).id
    script.execute(name, qty)
    script.book[name] = replace(script.book[name], status=OrderStatus.FILLED)
    script.push(name)
    return name


def test_an_entry_that_met_another_order_of_the_account_is_covered_for_what_it_bought() -> None:
    """Before, its fill was never believed: no stop, no trace of it, and `flatten` sold nothing."""
    script = entering()
    name = filled_short(script, Role.ENTRY, "2.6")
    assert script.position.legs[0].n == 0  # the interim stop is on its way already
    script.settle()
    entry = next(o for o in script.position.orders if o.id == name)
    assert (entry.end, entry.cum_qty, entry.qty, entry.sent_qty) == (End.FILLED, D("2.6"), D("2.6"), D(3))
    script.settle()
    assert script.named() == "Protected"
    assert not script.state.halted
    assert script.told().count("exit_resized") == 1
    assert "impossible_report" not in script.told()


def test_an_entry_that_brings_its_exits_and_is_made_smaller_waits_for_its_end() -> None:
    """Rule 13.2: nothing has ended that could be entered anew."""
    script = entering(policy=replace(POLICY, layout=Layout.BRACKET))
    name = next(o.id for o in script.position.orders if o.is_entry)
    script.feed(Reported(at=script.now, report=replace(script.book[name], qty=D("0.5"))))
    assert script.kinds() == []
    assert script.named() == "Entering"


def test_a_target_that_met_another_order_of_the_account_leaves_its_rest_to_a_new_pair() -> None:
    script = protected()
    name = filled_short(script, Role.TP1, "0.599")
    script.push(script.order(Role.SL1).id)
    script.settle()
    assert script.order(Role.TP1).id != name
    assert script.order(Role.TP1).qty == script.order(Role.SL1).qty == D("0.4")
    assert script.named() == "Protected"


def test_a_report_from_before_the_last_fills_is_not_the_end_of_them() -> None:
    """Rule 8.6: one look tells the rest."""
    script = protected()
    name = script.order(Role.TP1).id
    told = script.execute(name, "0.599")
    script.feed(Reported(at=script.now, report=replace(told, status=OrderStatus.FILLED)))
    script.execute(name)
    script.push(script.order(Role.SL1).id)
    script.settle()
    order = next(o for o in script.position.orders if o.id == name)
    assert (order.end, order.cum_qty, order.qty) == (End.FILLED, D("0.999"), D("0.999"))
    assert script.leg(1).qty == script.leg(2).qty
    assert "exit_resized" not in script.told()


def test_told_twice_without_a_look_it_is_not_believed() -> None:
    """Rule 5.1: a report that comes again changes nothing."""
    script = protected()
    name = filled_short(script, Role.TP1, "0.599")
    known = script.position
    script.now += 10
    script.push(name)
    assert script.position == known
    assert script.order(Role.TP1).phase is OrderPhase.WORKING


def test_a_look_that_has_filled_with_none_is_impossible() -> None:
    script = protected()
    order = script.order(Role.TP1)
    empty = replace(script.book[order.id], status=OrderStatus.FILLED)
    assert orders.impossible(order, empty) is not None
    assert orders.impossible(order, replace(empty, cum_qty=D("0.1"))) is None


def test_a_sale_at_market_that_met_another_order_of_the_account_is_followed_by_one_of_the_rest() -> None:
    """Rule 10.6."""
    script = closing()
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    request = script.pending[0]
    name = script.order(Role.FLATTEN).id
    script.exchange_takes(request)
    script.book[name] = replace(script.book[name], cum_qty=D(2), cum_quote=D(200), fills=())
    script.pending.clear()
    script.state = replace(script.state, outbox=())
    script.push(name)
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN
    sold = [o.cum_qty for o in script.book.values() if o.id.split("_")[2] == "FLATTEN"]
    assert sold == [D(2), D("0.997")]


def test_a_close_does_not_wait_for_ever_for_a_look_at_one_order() -> None:
    """Rules 8.7, 10.6: a target had filled and nobody has told; looks at it alone fail. The rest is sold beside it."""
    script = protected()
    script.quote("102", after=1_000)
    name = script.trade(Role.TP1).id
    script.command(Verb.FLATTEN)
    begun = script.now
    for _ in range(200):
        if "FLATTEN" in script.kinds():
            break
        if not script.pending:
            script.sleep()
        elif isinstance(first := script.pending[0], QueryOrder) and first.id == name:
            script.lose("QueryOrder")
        else:
            script.accept()
    assert script.now - begun < 10_000
    assert script.order(Role.FLATTEN).qty == D("1.998")
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.dust == 0


def test_a_start_waits_for_every_look_though_a_close_does_not() -> None:
    """Rule 9.1."""
    script = protected()
    script.command(Verb.FLATTEN)
    script.restart()
    for _ in range(10):
        script.lose("QueryOrder")
        if not script.pending:
            script.sleep()
    assert script.state.started


@pytest.mark.parametrize(
    ("prevented", "status", "qty"),
    [("0", OrderStatus.NEW, 3), ("1", OrderStatus.NEW, 2), ("1", OrderStatus.FILLED, 2), ("4", OrderStatus.NEW, 0)],
)
def test_what_was_prevented_is_not_what_an_open_or_filled_order_is_for(
    prevented: str, status: OrderStatus, qty: int
) -> None:
    """faqs/stp_faq.md: original less executed less prevented is what is left to be executed."""
    assert left_by_prevention(D(3), D(prevented), status) == qty


def test_what_an_order_that_expired_for_it_was_for_is_no_smaller() -> None:
    assert left_by_prevention(D(3), D(1), OrderStatus.EXPIRED_IN_MATCH) == 3
