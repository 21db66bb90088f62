"""An order that another hand has made smaller under the same id: a fact, told, and made up for (rules 10.2, 12)."""

from decimal import Decimal

from tests.core.build import Script, protected

from executor.core.book.ledger import covered
from executor.core.invariants import unsound
from executor.core.model.events import OpenOrdersSeen, Reported
from executor.core.model.facts import OrderReport
from executor.core.model.ids import Role
from executor.core.model.intents import CancelList, ReplaceOrder
from executor.core.model.orders import cut_to
from executor.core.model.values import ZERO, OrderStatus
from executor.core.model.verdict import Refusal

D = Decimal


def cut(script: Script, role: Role, qty: str) -> OrderReport:
    """The exchange's word on the order of `role`, with another quantity."""
    order = script.order(role)
    return OrderReport(
        id=order.id,
        exchange_id=order.exchange_id,
        side=order.side,
        type=order.type,
        status=OrderStatus.NEW,
        qty=D(qty),
        price=order.price or ZERO,
        stop_price=order.stop_price or ZERO,
    )


def test_a_single_stop_that_was_cut_is_made_whole_by_one_request() -> None:
    script = protected()
    before = covered(script.position)
    step = script.feed(Reported(at=script.now, report=cut(script, Role.SL, "0.1")))
    assert script.told().count("exit_resized") == 1
    assert covered(script.position) < before
    assert [type(request) for request in step.requests] == [ReplaceOrder]
    script.settle()
    assert covered(script.position) == before


def test_a_pair_that_was_cut_is_placed_anew() -> None:
    script = protected()
    before = covered(script.position)
    reports = (cut(script, Role.TP1, "0.1"), cut(script, Role.SL1, "0.1"))
    step = script.feed(OpenOrdersSeen(at=script.now, reports=reports, asked_at=script.now - 1))
    assert any(isinstance(request, CancelList) for request in step.requests)
    script.settle()
    assert covered(script.position) == before
    assert unsound(script.state, script.policy, script.rules) == []


def test_an_older_report_undoes_nothing_and_a_larger_one_is_impossible() -> None:
    order = protected().order(Role.SL)
    script = protected()
    script.feed(Reported(at=script.now, report=cut(script, Role.SL, "0.1")))
    script.feed(Reported(at=script.now, report=cut(script, Role.SL, str(order.qty))))
    assert script.state.halted == ""
    script.unchecked = True
    script.feed(Reported(at=script.now, report=cut(script, Role.SL, str(order.qty + 1))))
    assert isinstance(script.verdict, Refusal)


def test_an_archived_order_is_as_it_was() -> None:
    order = protected().order(Role.SL)
    assert cut_to(order, ZERO) is order
    assert cut_to(order, order.qty) is order
    twice = cut_to(cut_to(order, order.qty / 2), order.qty / 4)
    assert (twice.qty, twice.sent_qty) == (order.qty / 4, order.qty)
