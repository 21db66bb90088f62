"""Looks whose answers settle nothing have a pace (rules 8.7, 8.8)."""

from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import Script, both_sides, make_report, unprotected

from executor.core.model.events import Reported
from executor.core.model.facts import OrderReport
from executor.core.model.ids import Role
from executor.core.model.state import End, OrderPhase
from executor.core.model.values import Direction, OrderSide, OrderStatus, OrderType

D = Decimal


def doubted(direction: Direction = Direction.LONG) -> Script:
    script = unprotected(direction)
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL", arrived=True)
    return script


def answer(script: Script, report: OrderReport) -> None:
    request = next(r for r in script.pending if "QueryOrder" in type(r).__name__)
    script.pending.remove(request)
    script.feed(Reported(at=script.now, report=report, seq=request.seq))


def test_an_order_that_answers_under_another_id_is_the_one_that_was_asked_for() -> None:
    script = doubted()
    order = script.order(Role.SL)
    answer(script, make_report(order, id="x-another"))
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert script.named() == "Protected"


def test_looks_that_settle_nothing_are_had_in_growing_pauses() -> None:
    script = doubted()
    order = script.order(Role.SL)
    looks = 0
    for _ in range(600):
        script.wait(100)
        while "QueryOrder" in script.kinds():
            looks += 1
            answer(script, make_report(order, id="EX_9_SL_9", type=OrderType.LIMIT))
    assert looks <= 20
    script.settle()


@both_sides
def test_an_archived_order_has_ended_without_a_fill(direction: Direction) -> None:
    """-2026: nothing but that is told of it."""
    script = doubted(direction)
    order = script.order(Role.SL)
    told = OrderReport(
        id=order.id, exchange_id=0, side=OrderSide.BUY, type=OrderType.LIMIT, status=OrderStatus.CANCELED, qty=D(0)
    )
    answer(script, told)
    assert script.orders(Role.SL)[0].end is End.CANCELED
    assert script.state.halted == ""


def test_an_impossible_report_at_a_start_does_not_keep_the_other_legs_from_being_looked_after() -> None:
    script = doubted()
    script.restart()
    wrong = replace(make_report(script.order(Role.SL)), qty=D(99))
    for _ in range(6):
        request = script.pending[0]
        if getattr(request, "id", "") == wrong.id:
            answer(script, wrong)
        else:
            script.accept()
        if not script.pending:
            break
    assert script.state.started == 0
    assert script.state.halted


def test_an_answer_about_an_order_that_is_not_on_record_any_more_changes_nothing() -> None:
    script = doubted()
    order = script.order(Role.SL)
    script.unchecked = True
    others = tuple(o for o in script.position.orders if o.id != order.id)
    script.state = replace(script.state, position=replace(script.position, orders=others))
    answer(script, make_report(order, id="EX_9_SL_9"))
    assert script.state.position is not None
