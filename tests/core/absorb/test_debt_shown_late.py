"""A margin account that shows a loan or a repayment late, though its record is there: how late reads may be is not
documented (rules 8.6, 8.8, 11.3).
"""

from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, Script, both_sides, entering, repaying

from executor.core.book import debt as debts
from executor.core.model.intents import Borrow, Repay
from executor.core.model.state import Entering
from executor.core.model.values import Direction


def show_late(script: Script, ms: int) -> None:
    """From now on the account is shown as it is, for so long."""
    stale, until, told = script.account(), script.now + ms, script.account

    def account() -> object:
        return replace(stale, asked_at=script.now) if script.now < until else told()

    script.account = account  # type: ignore[method-assign,assignment]


def go_on(script: Script, kind: type, seconds: int) -> None:
    """Until a request of that kind leaves, and so long beyond it."""
    while not any(isinstance(r, kind) for r in script.pending):
        script.accept() if script.pending else script.sleep()
    show_late(script, 4_000)
    script.settle()
    until = script.now + seconds * 1000
    while script.now < until:
        due = script.next_timer()
        script.wait(max(1, min(due or until, until) - script.now))
        script.settle()
        script.read_account()


@both_sides
def test_a_loan_that_the_account_shows_late_is_nobodys_repayment(direction: Direction) -> None:
    """Before, it was called repaid by somebody else, the trade ended, and the debt stayed."""
    script = entering(direction, POLICY, MARGIN_RULES, working=False)
    go_on(script, Borrow, 6)
    assert isinstance(script.phase, Entering)
    assert not {"debt_repaid_elsewhere", "foreign_debt"} & set(script.told())
    (owed,) = debts.owed(script.state.debts).values()
    assert owed == sum(debt.total for debt in script.account().debts.values())


@both_sides
def test_a_repayment_that_the_account_shows_late_is_nobodys_loan(direction: Direction) -> None:
    script = repaying(direction)
    go_on(script, Repay, 12)
    assert not {"debt_repaid_elsewhere", "foreign_debt"} & set(script.told())
    assert script.state.position is None
    assert not debts.owed(script.state.debts)
