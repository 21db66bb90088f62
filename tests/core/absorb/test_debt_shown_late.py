"""A margin account that shows a loan or a repayment late, though its record is there: how late reads may be is not
documented (rules 8.6, 8.8, 11.3).
"""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, D, Script, both_sides, entering, protected, repaying

from executor.core.book import debt as debts
from executor.core.model.events import Verb
from executor.core.model.intents import Borrow, PlaceOrder, Repay
from executor.core.model.loans import Debt, Others
from executor.core.model.state import Entering
from executor.core.model.values import ZERO, Direction


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


@both_sides
def test_a_neighbours_loan_that_the_account_shows_late_is_no_repayment_of_ours(direction: Direction) -> None:
    """One debt of an asset is told for all symbols of a cross account: a part of ours counted as repaid, and stayed."""
    script = protected(direction, POLICY, MARGIN_RULES)
    script.read_account(60_000)
    ((asset, ours),) = debts.owed(script.state.debts).items()
    lent = ours / 20
    script.lender.others = {asset: Others(owed=lent, moved=lent)}
    for after in range(0, 6_000, 500):
        if after == 4_000:
            known = script.lender.debts[asset]
            script.lender.debts[asset] = Debt(known.principal + lent, known.interest)
        script.read_account(500)
        script.settle()
    assert not {"debt_repaid_elsewhere", "foreign_debt"} & set(script.told())
    debt = debts.find(script.state.debts, asset)
    assert debt.own >= ours
    assert not debt.by_hand + debt.foreign
    assert not debt.doubted_at


@pytest.mark.parametrize("theirs", [ZERO, D(40)])
def test_what_others_of_the_service_have_moved_and_the_account_shows_late_is_nobody_else_s(theirs: Decimal) -> None:
    """Nor while we owe nothing: a repayment was told as a debt of somebody else's, and signals were refused for it; by
    a loan, the next one of ours would have been.
    """
    script = Script(rules=MARGIN_RULES)

    def looks(owed: Decimal, seconds: int) -> None:
        script.lender.debts = {"USDT": Debt(owed)} if owed else {}
        for _ in range(2 * seconds):
            script.read_account(500)

    script.lender.others = {"USDT": Others(owed=D(500), moved=D(500))}
    looks(D(500), 1)
    script.lender.others = {"USDT": Others(repaid=D(500))}
    looks(D(500), 4)
    looks(theirs, 4)
    assert not script.told()
    looks(theirs, 6)
    assert script.told() == ["foreign_debt"] * bool(theirs)
    script.lender.others = {"USDT": Others(owed=D(500), moved=D(500), repaid=D(500))}
    looks(theirs, 4)
    assert debts.find(script.state.debts, "USDT").seen.total == theirs
    assert debts.find(script.state.debts, "USDT").doubted_at
    looks(theirs + 500, 1)
    debt = debts.find(script.state.debts, "USDT")
    assert (debt.foreign, debt.seen.total, debt.doubted_at) == (theirs, theirs + 500, 0)
    assert script.told() == ["foreign_debt"] * bool(theirs)


@both_sides
def test_what_the_exits_brought_is_not_missing_because_the_account_shows_it_late(direction: Direction) -> None:
    """Rule 11.7: a short's debt stayed whole, and a person had to repay it."""
    script = protected(direction, POLICY, MARGIN_RULES)
    script.read_account(60_000)
    show_late(script, 4_000)
    script.command(Verb.FLATTEN)
    script.settle()
    while script.state.position is not None:
        script.sleep()
        script.settle()
    assert "debt_left" not in script.told()
    assert not debts.owed(script.state.debts)
    assert sum(isinstance(request, PlaceOrder) for request in script.sent) == 1
