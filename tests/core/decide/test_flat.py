"""Without a trade: what is owed is given back on the operator's word (rule 11.7), what is under way is settled."""

from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, RULES, D, Script, repaying

from executor.core.decide.timers import next_timer
from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Why
from executor.core.model.intents import Repay
from executor.core.model.loans import Debt, LoanEnd, OwnDebt
from executor.core.model.values import ZERO
from executor.core.model.verdict import Refusal


def owing(amount: str = "50", own: str = "100") -> Script:
    """No trade was made; somebody has left a debt of quote."""
    script = Script(rules=MARGIN_RULES)
    script.lender.holdings["USDT"] = D(own)
    script.lender.debts["USDT"] = Debt(D(amount))
    script.read_account(after=1)
    script.notes.clear()
    return script


def repay(script: Script, asset: str = "USDT") -> Script:
    script.now += 1
    script.feed(Commanded(at=script.now, verb=Verb.REPAY, asset=asset))
    return script


def go_on(script: Script) -> Script:
    for _ in range(100):
        if script.state.repaying is None:
            return script
        script.accept() if script.pending else script.wait((script.next_timer() or 0) - script.now)
    raise AssertionError("still repaying")


def repaid(script: Script) -> list[str]:
    return [str(request.amount) for request in script.sent if isinstance(request, Repay)]


def test_the_operator_has_a_debt_repaid() -> None:
    script = go_on(repay(owing()))
    assert repaid(script) == ["50"]
    assert script.lender.debt("USDT").total == ZERO
    assert script.told() == ["repay", "repaid", "repayment_over"]


def test_what_is_ours_alone_is_repaid_where_no_more_is_asked_for() -> None:
    """Rule 11.4: `executor repay` without an asset gave back what somebody else owed of it as well."""
    script = owing()
    ours = OwnDebt(asset="USDT", own=D(20), foreign=D(30), seen=Debt(D(50)))
    script.state = replace(script.state, debts=(ours,))
    script.now += 1
    script.feed(Commanded(at=script.now, verb=Verb.REPAY, asset="USDT", own=True))
    go_on(script)
    assert repaid(script) == ["20"]
    assert script.lender.debt("USDT").total == 30
    assert (script.state.debts[0].own, script.state.debts[0].foreign) == (ZERO, D(30))
    script.feed(Commanded(at=script.now, verb=Verb.REPAY, asset="USDT", own=True))
    assert script.verdict == Refusal("no USDT is owed, as far as the account was read")


def test_what_can_not_be_repaid_is_named() -> None:
    script = go_on(repay(owing(own="30")))
    assert repaid(script) == ["30"]
    assert script.told() == ["repay", "repaid", "debt_left", "repayment_over"]
    assert script.state.debts[0].named


def test_what_is_not_owed_is_not_repaid() -> None:
    script = repay(owing(), "LTC")
    assert script.verdict == Refusal("no LTC is owed, as far as the account was read")
    assert script.state.repaying is None


def test_while_a_trade_is_open_its_debt_is_its_own_business() -> None:
    script = repay(repaying())
    assert isinstance(script.verdict, Refusal)
    assert script.verdict.why.endswith("what it owes is repaid when it is over")


def test_a_refusal_is_tried_again() -> None:
    script = repay(owing())
    script.accept()
    script.refuse(Why.LOAN_BUSY)
    assert next_timer(script.state, script.policy) == script.now + 250
    go_on(script)
    assert script.lender.debt("USDT").total == ZERO


def test_a_read_that_fails_is_had_again() -> None:
    script = repay(owing())
    script.lose("QueryLoans")
    assert next_timer(script.state, script.policy) == script.now + 1_000
    go_on(script)
    assert script.lender.debt("USDT").total == ZERO


def test_a_debt_that_is_in_doubt_is_read_again() -> None:
    script = repay(owing())
    script.lender.debts["USDT"] = Debt(D(90))
    script.accept()
    assert not script.pending
    go_on(script)
    assert repaid(script) == ["50"]
    assert script.lender.debt("USDT").total == D(40)  # the other forty are nobody's whom the operator has named


def test_a_restart_settles_what_was_under_way_and_goes_on() -> None:
    for arrived in (True, False):
        script = repay(owing())
        script.accept()
        if arrived:
            script.exchange_lends()
        script.restart()
        assert script.kinds() == ["QueryLoans"]
        go_on(script)
        assert script.lender.debt("USDT").total == ZERO
        assert len(script.lender.records) == 1


def test_a_restart_tells_what_is_owed_still() -> None:
    script = go_on(repay(owing(own="30")))
    script.notes.clear()
    script.restart()
    (note,) = script.notes
    assert note.text == "20 USDT are owed still: `executor repay USDT` gives them back"
    assert not script.pending


def test_a_loan_that_lost_its_trade_is_settled_without_one() -> None:
    script = Script(rules=MARGIN_RULES)
    script.signal()
    script.accept()
    script.accept()
    script.lose("Borrow", arrived=True)
    script.unchecked = True
    script.state = replace(script.state, position=None, outbox=())
    script.pending.clear()
    script.wait(1)
    assert script.kinds() == ["QueryLoans"]
    script.accept()
    assert script.state.loan is not None
    assert script.state.loan.end is LoanEnd.DONE


def test_spot_has_nothing_to_decide_without_a_trade() -> None:
    script = Script(rules=RULES)
    before = script.state
    script.wait(1)
    assert script.pending == []
    assert replace(script.state, market=before.market) == before
    assert script.next_timer() is None


def test_interest_that_shows_after_the_trade_is_repaid_as_soon_as_it_does() -> None:
    """Else each later signal would be refused for somebody else's debt (rules 8.8, 11.4, 11.7)."""
    script = repaying()
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    script.lender.debts["USDT"] = Debt(ZERO, D("0.002"))
    script.read_account(after=20_000)
    assert script.state.repaying is not None
    assert script.told()[-1] == "late_interest"
    go_on(script)
    assert script.lender.debt("USDT").total == ZERO
    assert "foreign_debt" not in script.told()
    assert repaid(script)[-1] == "0.002"


def test_late_interest_that_nothing_is_there_for_is_named_and_not_tried_for_ever() -> None:
    script = repaying()
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    script.lender.debts["USDT"] = Debt(ZERO, D("0.002"))
    script.lender.holdings["USDT"] = ZERO
    script.read_account(after=20_000)
    go_on(script)
    assert next(debt for debt in script.state.debts if debt.asset == "USDT").named
    script.read_account(after=20_000)
    assert script.state.repaying is None


def test_a_debt_is_repaid_though_the_list_of_loans_can_not_be_read() -> None:
    script = repay(owing())
    asked = 0
    while script.state.repaying is not None:
        asked += script.kinds() == ["QueryLoans"]
        if script.kinds() == ["QueryLoans"]:
            script.without_records()
        elif script.pending:
            script.accept()
        else:
            script.wait((script.next_timer() or 0) - script.now)
    assert repaid(script) == ["50"]
    assert script.lender.debt("USDT").total == ZERO
    assert asked < 30
    assert script.told().count("read_failed") == asked
