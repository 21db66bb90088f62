"""What must always hold on borrowed money, each shown broken (rule 11)."""

from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, D, Script, entering, protected, repaying

from executor.core.invariants import unsound, violations
from executor.core.model.loans import Loan, LoanEnd, LoanKind, LoanPhase, OwnDebt, Repayment
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.values import Direction
from executor.core.transition import empty


def broken(script: Script, state: State, rules: SymbolRules = MARGIN_RULES) -> list[str]:
    return violations(script.state, state, POLICY, rules)


def borrowing() -> Script:
    script = Script(Direction.LONG, POLICY, MARGIN_RULES)
    script.signal()
    script.accept()
    script.accept()
    return script


def loan(**changes: object) -> Loan:
    made = Loan(n=9, kind=LoanKind.BORROW, asset="USDT", amount=D(100), sent_at=1, follows=LoanEnd.DONE)
    return replace(made, phase=LoanPhase.BOOKED, **changes)


def test_no_debt_of_ours_is_left_without_a_word() -> None:
    state = replace(empty("LTCUSDT"), debts=(OwnDebt(asset="USDT", own=D(1)),))
    assert unsound(state, POLICY, MARGIN_RULES) == ["11.7: no trade is open, and 1 USDT are owed without a word"]
    named = replace(state, debts=(OwnDebt(asset="USDT", own=D(1), named=True),))
    assert unsound(named, POLICY, MARGIN_RULES) == []
    assert unsound(replace(state, repaying=Repayment(since=1)), POLICY, MARGIN_RULES) == []


def test_a_loan_that_waits_for_its_answer_is_owed_and_nothing_else_is() -> None:
    script = borrowing()
    assert broken(script, replace(script.state, outbox=())) == [
        "8.1: loans [] wait for their answers, [1] are called submitted"
    ]
    flat = replace(script.state, position=None, loan=None)
    assert broken(script, flat) == ["8.1: loans [1] wait for their answers, [] are called submitted"]


def test_no_entry_beside_a_loan_in_doubt() -> None:
    script = entering(rules=MARGIN_RULES)
    assert script.state.loan is not None
    open_loan = replace(script.state.loan, phase=LoanPhase.UNRESOLVED, end=None)
    assert broken(script, replace(script.state, loan=open_loan)) == [
        "11.3: loan 1 is not settled, and an entry order is live"
    ]


def test_what_is_sold_on_credit_was_borrowed_or_there() -> None:
    script = entering(Direction.SHORT, POLICY, MARGIN_RULES)
    (debt,) = script.state.debts
    state = replace(script.state, debts=(replace(debt, borrowed=D(2)),), loan=None)
    assert broken(script, state) == ["11.6: 3 LTC could be sold, 2 were there or borrowed"]


def test_nothing_is_borrowed_before_the_last_loan_is_settled() -> None:
    script = borrowing()
    state = replace(script.state, loan=loan(follows=None), outbox=())
    assert broken(script, state) == ["11.3: loan 9 was asked for while loan 8 is not settled"]


def test_nothing_is_borrowed_for_no_trade_or_another_asset() -> None:
    script = borrowing()
    state = replace(script.state, position=None, loan=loan(), outbox=())
    assert broken(script, state) == ["11.1: loan 9 is for no trade"]
    state = replace(script.state, loan=loan(asset="BNB"), outbox=())
    assert broken(script, state) == ["11.1: loan 9 of BNB is not what the entry needs"]
    assert broken(script, state, RULES) == ["11.1: loan 9 of BNB is not what the entry needs"]


def test_no_more_is_borrowed_than_the_entry_costs() -> None:
    script = borrowing()
    state = replace(script.state, loan=loan(amount=D(302)), outbox=())
    assert broken(script, state) == ["11.2: 302 USDT are borrowed for 301.50"]
    debt = OwnDebt(asset="USDT", own=D(250), borrowed=D(250))
    twice = replace(script.state, loan=loan(), debts=(debt,), outbox=())
    assert broken(script, twice) == ["11.3: 250 USDT were borrowed, then 100, for 301.50"]


def test_no_more_is_repaid_than_is_owed() -> None:
    script = repaying()
    (debt,) = script.state.debts
    too_much = loan(kind=LoanKind.REPAY, amount=debt.own + 1, before=debt.seen)
    assert broken(script, replace(script.state, loan=too_much, outbox=())) == [
        "11.7: 202.5020150 USDT are repaid, 201.5020150 are owed by us"
    ]
    nothing = loan(kind=LoanKind.REPAY, amount=D(0), before=debt.seen)
    assert broken(script, replace(script.state, loan=nothing, outbox=())) == [
        "11.7: 0 USDT are repaid, 201.5020150 are owed by us"
    ]


def test_a_rebuilt_short_is_not_judged_by_loans_that_are_not_on_record() -> None:
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    assert script.position.credit is not None
    credit = replace(script.position.credit, unclaimed=True)
    state = replace(script.state, position=replace(script.position, credit=credit), debts=())
    assert broken(script, state) == []


def test_orders_for_a_debt_that_somebody_else_has_repaid_are_being_cancelled() -> None:
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    orders = tuple(replace(order, qty=9 * order.qty) if order.is_exit else order for order in script.position.orders)
    state = replace(script.state, position=replace(script.position, orders=orders))
    assert any(fault.startswith("10.1") for fault in unsound(state, POLICY, MARGIN_RULES))
    repaid = tuple(replace(debt, own=D(0), by_hand=D(3)) for debt in state.debts)
    found = unsound(replace(state, debts=repaid), POLICY, MARGIN_RULES)
    assert not any(fault.startswith("10.1") for fault in found)
