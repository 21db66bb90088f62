"""Random lives on borrowed money: answers of loans lost, refused, pending, late; the account read behind; restarts.

Whatever comes: the invariants hold at each step, no more is borrowed than the entry costs, nothing is repaid twice, and
once the faults are over the trade ends with nothing owed, or with what is left by name (rules 11.1-11.8).
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import MARGIN_RULES, POLICY, D, Script

from executor.core.model.events import Verb
from executor.core.model.facts import Why
from executor.core.model.intents import Borrow, LoanCommand, OrderCommand
from executor.core.model.loans import LoanKind, RecordStatus
from executor.core.model.values import ZERO, Direction

WHYS = (Why.LOAN_BUSY, Why.NOT_SENT, Why.RATE_LIMIT, Why.NOT_ALLOWED, Why.DEBT_SUM, Why.INSUFFICIENT_BALANCE)
STEPS = 40


def fault(script: Script, data: st.DataObject) -> None:
    """One thing happens: mostly what was asked for, sometimes not."""
    if not script.pending:
        script.sleep() if script.next_timer() is not None and data.draw(st.booleans()) else script.wait(1_000)
        return
    request = script.pending[0]
    what = data.draw(st.sampled_from(["done", "done", "done", "lost", "lost, but done", "refused", "restart"]))
    if what == "done":
        script.lender.confirm()
        script.lender.status = data.draw(st.sampled_from([RecordStatus.CONFIRMED, RecordStatus.PENDING]))
        script.accept()
    elif what == "restart":
        # what was sent may have been carried out before the service went down
        if isinstance(request, LoanCommand) and data.draw(st.booleans()):
            script.exchange_lends()
        elif isinstance(request, OrderCommand):
            script.exchange_takes(request)
        script.restart()
    elif not isinstance(request, LoanCommand):
        script.accept()
    elif what == "refused":
        script.refuse(data.draw(st.sampled_from(WHYS)))
    else:
        script.lose(arrived=what == "lost, but done")


def calm(script: Script) -> None:
    """No faults any more, until the trade is over."""
    script.lender.status = RecordStatus.CONFIRMED
    for _ in range(1_000):
        script.lender.confirm()
        if script.state.position is None:
            return
        if script.pending:
            script.accept()
        elif script.next_timer() is not None:
            script.sleep()
        else:
            script.wait(1_000)
    raise AssertionError(f"never over: {script.named()} {script.state.loan}")


@given(st.data(), st.sampled_from(list(Direction)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_becomes_of_loans_nothing_is_borrowed_twice_and_nothing_is_owed_at_the_end(
    data: st.DataObject, direction: Direction, filled: bool
) -> None:
    script = Script(direction, POLICY, MARGIN_RULES)
    script.lender.add("LTC", script.rules.step)  # a reserve for the first hour of an entry that never fills
    script.signal()
    entered = False
    for _ in range(STEPS):
        if script.state.position is None:
            break
        live = [o for o in script.position.orders if o.is_entry and o.live and o.id in script.book]
        if filled and live and not entered:
            entered = True
            script.fill("ENTRY")
        fault(script, data)
    if script.state.position is not None:
        script.command(Verb.FLATTEN)
        calm(script)
    lent = [
        row for row in script.lender.records if row.kind is LoanKind.BORROW and row.status is not RecordStatus.FAILED
    ]
    asset, need = ("USDT", "301.5") if direction is Direction.LONG else ("LTC", "3")
    assert sum((row.amount for row in lent), ZERO) <= D(need)
    assert all(row.asset == asset for row in lent)
    assert sum(isinstance(request, Borrow) for request in script.sent) < 30
    owed = script.lender.debt(asset).total
    assert owed == sum(script.closed.debt_left.values(), ZERO)
    assert script.closed.debt_left == {} or owed < script.rules.min_notional
