"""Fills may arrive in any order, twice, late, or several at once: the outcome is the same (rule 5.1)."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, Script, protected

from executor.core.absorb.fold import absorb
from executor.core.book.ledger import holding
from executor.core.model import orders
from executor.core.model.events import Reported
from executor.core.model.facts import OrderReport
from executor.core.model.ids import Role
from executor.core.model.state import Order, Position, Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal


def history(script: Script, *steps: tuple[Role, str | None]) -> list[OrderReport]:
    """What the exchange says, in its own order, of fills at the stop or the target; nobody has heard of them yet."""
    told: list[OrderReport] = []
    for role, qty in steps:
        before = dict(script.book)
        script.trade(role, qty)
        told += [report for key, report in script.book.items() if before.get(key) != report]
    return told


def shuffled(data: st.DataObject, told: list[OrderReport]) -> list[OrderReport]:
    """Any order of the reports, with any of them told again."""
    again = data.draw(st.lists(st.sampled_from(told), max_size=4))
    return data.draw(st.permutations([*told, *again]))


FILLS = [(Role.TP1, "0.3"), (Role.TP1, "0.2"), (Role.TP1, None), (Role.SL2, "0.5"), (Role.SL2, None), (Role.SL, "0.1")]


def heard(script: Script, reports: list[OrderReport]) -> Position:
    state = script.state
    for report in reports:
        state = absorb(state, Reported(at=script.now, report=report), POLICY, RULES).state
    assert state.position is not None
    assert state.halted == ""
    return state.position


@given(st.data())
def test_the_facts_of_a_trade_do_not_depend_on_the_order_of_its_reports(data: st.DataObject) -> None:
    script = protected()
    told = history(script, *FILLS)
    assert heard(script, shuffled(data, told)) == heard(script, told)


@given(st.data())
def test_one_order_folds_to_the_same_whatever_came_first(data: st.DataObject) -> None:
    script = protected()
    order = script.order(Role.TP1)
    told = [r for r in history(script, *FILLS) if r.id == order.id]
    partial = [replace(r, fills=data.draw(st.sampled_from([r.fills, ()]))) for r in told[:-1]]
    reports = [*partial, told[-1]]

    def folded(reports: list[OrderReport]) -> Order:
        result = order
        for report in reports:
            result = orders.fold(result, report, 1)
        return result

    assert folded(shuffled(data, reports)) == folded(reports)


@given(st.data(), st.sampled_from(list(Direction)))
def test_a_trade_ends_the_same_whatever_was_heard_first(data: st.DataObject, direction: Direction) -> None:
    """With decisions in between: what is asked on the way may differ, what comes of it may not."""
    script = protected(direction)
    script.quote("98", after=1_000)
    told = history(script, (Role.SL1, "0.4"), (Role.SL2, None), (Role.SL1, None), (Role.SL, "0.5"), (Role.SL, None))
    for report in shuffled(data, told):
        if script.state.position is not None:
            script.feed(Reported(at=script.now, report=report))
    script.settle()
    assert script.closed.reason is Reason.SL
    assert abs(script.closed.dust) < D("0.004")
    assert all(r.status in DONE for r in script.book.values())


@given(st.data())
def test_held_quantity_only_falls_while_leaving(data: st.DataObject) -> None:
    script = protected()
    before = holding(script.position, RULES).held
    for report in shuffled(data, history(script, *FILLS)):
        state = absorb(script.state, Reported(at=script.now, report=report), POLICY, RULES).state
        assert state.position is not None
        script.state = state
        held = holding(state.position, RULES).held
        assert held <= before
        before = held


def test_a_late_first_report_does_not_turn_back_the_status() -> None:
    script = protected()
    new = script.book[script.order(Role.TP1).id]
    script.fill(Role.TP1, "0.5")
    script.feed(Reported(at=script.now, report=new))
    assert script.order(Role.TP1).status is OrderStatus.PARTIALLY_FILLED
