"""How a loan ended, by its records and by the debt (rule 11.3); and what an account tells (11.4, 11.6, 11.11)."""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, START, D, Script, both_sides, closing, entering, protected, repaying
from tests.core.lender import HOUR_MS, Lender

from executor.core.model.events import Answered, LoansSeen, MarginSeen, Verb
from executor.core.model.facts import Done, Refused, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import Borrow, QueryLoans, Repay
from executor.core.model.loans import (
    Booked,
    Debt,
    Loan,
    LoanEnd,
    LoanKind,
    LoanPhase,
    LoanRecord,
    Others,
    RecordStatus,
)
from executor.core.model.policy import Layout, Policy
from executor.core.model.state import Reason
from executor.core.model.values import ZERO, Direction
from executor.core.model.verdict import Ignored

FENCE = 5_000
SETTLED = FENCE + POLICY.doubt_settle_ms


def borrowing(direction: Direction = Direction.LONG) -> Script:
    """The loan is asked for."""
    script = Script(direction, POLICY, MARGIN_RULES)
    script.signal()
    script.accept("QueryLoans")
    script.accept("QueryBorrowable")
    assert script.kinds() == ["Borrow"]
    return script


def loan(script: Script) -> Loan:
    assert script.state.loan is not None
    return script.state.loan


def pass_looks(script: Script) -> None:
    """Time passes, and everything that is asked is answered, until the loan is settled."""
    for _ in range(120):
        if not loan(script).open:
            return
        if script.pending:
            script.accept()
        else:
            script.sleep()
    raise AssertionError("never settled")


def until_asked(script: Script, kind: str) -> None:
    while kind not in script.kinds():
        script.accept() if script.pending else script.sleep()


@both_sides
def test_an_accepted_loan_is_done_when_its_record_says_so(direction: Direction) -> None:
    script = borrowing(direction)
    script.accept()
    assert (loan(script).phase, loan(script).tran_id) == (LoanPhase.BOOKED, 101)
    assert script.kinds() == ["QueryLoans"]
    script.accept()
    assert loan(script).end is LoanEnd.DONE
    assert "borrowed" in script.told()
    assert script.named() == "Entering"


def test_a_pending_loan_is_waited_for_with_growing_pauses() -> None:
    script = borrowing()
    script.lender.status = RecordStatus.PENDING
    script.accept()
    pauses = []
    for _ in range(6):
        script.accept("QueryLoans")
        assert not script.pending
        before = script.now
        script.sleep()
        pauses.append(script.now - before)
    assert pauses == [250, 500, 1_000, 2_000, 5_000, 5_000]
    script.lender.confirm()
    pass_looks(script)
    assert loan(script).end is LoanEnd.DONE


def test_a_loan_that_takes_long_is_told_of_again_and_again() -> None:
    script = borrowing()
    script.lender.status = RecordStatus.PENDING
    script.accept()
    looks = []
    while script.now < START + 600_000:
        looks += [script.now - START] if script.kinds() == ["QueryLoans"] else []
        script.accept() if script.pending else script.sleep()
    assert script.told().count("loan_slow") == 4  # after a minute, two, four and eight
    assert len(looks) < 40
    assert max(after - before for before, after in pairwise(looks)) <= 60_000
    assert loan(script).open


@both_sides
def test_a_loan_with_a_number_that_nothing_shows_ends(direction: Direction) -> None:
    """Rule 8.7: it was looked for each five seconds, for ever. It is not borrowed again: it may come all the same."""
    script = borrowing(direction)
    script.feed(Answered(at=script.now, seq=script._take("Borrow").seq, outcome=Booked(5)))
    pass_looks(script)
    assert loan(script).end is LoanEnd.FAILED
    assert script.now - START >= 600_000
    assert "loan_lost" in script.told()
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.ENTRY_TIMEOUT
    assert sum(isinstance(request, Borrow) for request in script.sent) == 1
    asset = loan(script).asset
    script.lender.debts[asset] = Debt(loan(script).amount)
    script.read_account(after=2_000)
    assert "foreign_debt" in script.told()


def test_a_repayment_with_a_number_that_nothing_shows_is_asked_for_again() -> None:
    script = repaying()
    while not any(isinstance(request, Repay) for request in script.pending):
        script.accept() if script.pending else script.sleep()
    script.feed(Answered(at=script.now, seq=script._take("Repay").seq, outcome=Booked(5)))
    pass_looks(script)
    assert "loan_lost" in script.told()
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    assert script.lender.debt("USDT").total == ZERO


def test_a_loan_that_the_debt_shows_at_the_last_look_is_not_called_never_made() -> None:
    """Nor borrowed a second time: the records lag behind, and an account of before was shown at the look before."""
    script = borrowing()
    script.lose(arrived=True)
    rows, script.lender.records = script.lender.records, []
    owed, script.lender.debts = script.lender.debts, {}
    assert rows
    while not loan(script).misses:
        script.accept() if script.pending else script.sleep()
    script.lender.debts = owed
    script.now = max(script.now, START + SETTLED)
    pass_looks(script)
    assert loan(script).end is LoanEnd.DONE


def test_a_loan_that_failed_at_the_exchange_was_not_made() -> None:
    script = borrowing()
    script.lender.status = RecordStatus.PENDING
    script.accept()
    script.lender.confirm(RecordStatus.FAILED)
    pass_looks(script)
    assert loan(script).end is LoanEnd.FAILED
    assert script.named() == "Closing"
    assert script.lender.debts == {}


@both_sides
def test_a_lost_answer_of_a_loan_that_was_made_is_found_by_its_record(direction: Direction) -> None:
    script = borrowing(direction)
    script.lose(arrived=True)
    assert loan(script).phase is LoanPhase.UNRESOLVED
    script.accept()
    assert loan(script).end is LoanEnd.DONE
    assert len(script.lender.records) == 1


def test_a_record_that_is_pending_settles_the_doubt_but_not_the_loan() -> None:
    script = borrowing()
    script.lender.status = RecordStatus.PENDING
    script.lose(arrived=True)
    script.accept()
    assert (loan(script).phase, loan(script).tran_id) == (LoanPhase.BOOKED, 101)


def test_without_a_record_the_debt_itself_tells() -> None:
    script = borrowing()
    script.lose(arrived=True)
    rows, script.lender.records = script.lender.records, []  # the records lag behind
    script.accept()
    assert rows
    assert loan(script).open
    while script.now < loan(script).sent_at + POLICY.absence_grace_ms:
        script.sleep()
        script.accept("QueryLoans")
    assert loan(script).end is LoanEnd.DONE
    script.accept("QueryQuote")  # it has taken longer than a price is fresh (rule 3.3b)
    assert script.named() == "Entering"


def test_never_happened_takes_two_looks_past_the_window_and_the_settling_time() -> None:
    script = borrowing()
    script.lose()
    seen = []
    while loan(script).open:
        if script.pending:
            script.accept()
            seen.append((script.now - START, loan(script).misses))
        else:
            script.sleep()
    assert next(at for at, misses in seen if misses) >= FENCE
    assert seen[-1][0] >= SETTLED
    assert len([at for at, _ in seen if at >= FENCE]) >= 2
    assert loan(script).end is LoanEnd.NEVER
    assert "loan_never" in script.told()


def test_a_loan_that_is_made_late_is_found() -> None:
    script = borrowing()
    request = script.pending[0]
    script.lose()
    script.accept()
    script.wait(4_900)
    assert isinstance(request, Borrow)
    script.lender.ask(LoanKind.BORROW, request.asset, request.amount, script.now)
    pass_looks(script)
    assert loan(script).end is LoanEnd.DONE
    assert len(script.lender.records) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"manual": False},
        {"amount": D(7)},
        {"time": START - 6_000},
        {"tran_id": 77},
    ],
)
def test_a_record_of_another_loan_is_not_taken_for_ours(row: dict[str, object]) -> None:
    script = Script(rules=MARGIN_RULES)
    known = LoanRecord(
        tran_id=77,
        kind=LoanKind.BORROW,
        asset="USDT",
        amount=D("201.50"),
        status=RecordStatus.CONFIRMED,
        time=START - 3_000,
    )
    script.lender.records = [known]
    script.signal()
    script.accept("QueryLoans")
    script.accept("QueryBorrowable")
    script.lender.records.append(replace(known, **{"tran_id": 78, "time": START, **row}))
    script.lose()
    script.accept()
    assert loan(script).phase is LoanPhase.UNRESOLVED


def test_the_record_of_the_one_before_is_not_taken_for_ours_though_a_stale_list_left_it_out() -> None:
    """Rule 8.6: found by the simulation, where a repayment counted as failed, and what it did as somebody else's."""
    script = repaying()
    script.lender.status = RecordStatus.PENDING
    until_asked(script, "Repay")
    script.accept("Repay")
    script.lender.confirm(RecordStatus.FAILED)
    script.accept("QueryLoans")
    assert loan(script).end is LoanEnd.FAILED
    before, script.lender.records = script.lender.records, []
    script.feed(script._read_margin(QueryLoans(seq=0, kind=LoanKind.REPAY, asset="USDT", since=0)))
    script.sleep()
    assert loan(script).known[-1] == before[-1].tran_id  # known from its answer
    script.lose("Repay")
    script.lender.records = before
    script.accept("QueryLoans")
    assert loan(script).phase is LoanPhase.UNRESOLVED


def test_what_was_on_record_long_ago_is_forgotten() -> None:
    script = repaying()
    until_asked(script, "Repay")
    script.refuse(Why.RATE_LIMIT, retry_at=script.now + 120_000)
    script.sleep()
    script.lender.records = []
    until_asked(script, "Repay")
    assert loan(script).known == ()


def test_the_debt_tells_nothing_while_others_borrow_or_where_it_is_older() -> None:
    for change in ({"unsettled": True}, {"asked_at": START - 1}):
        script = borrowing()
        script.lose(arrived=True)
        script.lender.records.clear()
        (query,) = script.pending
        assert isinstance(query, QueryLoans)
        step = script.feed(_seen(script, query, **change))
        assert step.state.loan is not None
        assert step.state.loan.open


def _seen(script: Script, query: QueryLoans, **change: object) -> LoansSeen:
    event = script._read_margin(query)
    assert isinstance(event, LoansSeen)
    return replace(event, account=replace(event.account, **change))


def test_a_refused_loan_was_not_made() -> None:
    script = borrowing()
    script.refuse(Why.NOT_LENT)
    assert (loan(script).end, loan(script).refusal) == (LoanEnd.REFUSED, Why.NOT_LENT)
    assert "loan_refused" in script.told()


def test_a_refused_repayment_says_so() -> None:
    script = repaying()
    script.accept()
    script.refuse(Why.NOT_ALLOWED, "Repay")
    assert any("not taken" in note.text for note in script.notes)


def test_an_answer_to_a_loan_that_is_over_tells_nothing() -> None:
    script = borrowing()
    (request,) = script.pending
    script.accept()
    script.accept()
    owed = script.state.outbox
    late = replace(owed[0], request=replace(request, n=9))
    script.unchecked = True
    script.state = replace(script.state, outbox=(*owed, late))
    step = script.feed(Answered(at=script.now, seq=request.seq, outcome=Booked(5)))
    assert step.verdict == Ignored("loan 9 is not under way")


def test_a_loan_is_never_answered_like_an_order() -> None:
    script = borrowing()
    with pytest.raises(AssertionError, match="was answered with Done"):
        script.feed(Answered(at=script.now, seq=script.pending[0].seq, outcome=Done()))
    entry = closing(rules=MARGIN_RULES)
    with pytest.raises(AssertionError, match="was answered with Booked"):
        entry.feed(Answered(at=entry.now, seq=entry.pending[0].seq, outcome=Booked(5)))


def test_a_look_before_the_answer_is_for_later() -> None:
    script = borrowing()
    query = QueryLoans(seq=0, kind=LoanKind.BORROW, asset="USDT", since=0)
    before = loan(script)
    script.exchange_lends()
    script.feed(script._read_margin(query))
    assert loan(script) == before


def test_an_older_account_is_ignored() -> None:
    script = protected(rules=MARGIN_RULES)
    account = script.account()
    script.read_account(after=1_000)
    step = script.feed(MarginSeen(at=script.now, account=account))
    assert step.verdict == Ignored("older than the account at hand")


@both_sides
def test_interest_is_a_fact_of_the_open_trade(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    script.read_account(after=3_600_000)
    credit = script.position.credit
    assert credit is not None
    (debt,) = script.state.debts
    if direction is Direction.LONG:
        assert (debt.charged, credit.accrued) == (D("0.00403"), ZERO)
    else:
        assert debt.charged == credit.accrued == D("0.00006")


def test_base_that_another_symbol_gives_back_before_the_entry_fills_repays_an_earlier_debt() -> None:
    """Rule 11.6: else the exits would buy that debt's base as well, though it lies there."""

    def accrued(shared: bool, *, heard: int = 0, filled: bool = False) -> Decimal:
        script = entering(Direction.SHORT, POLICY, MARGIN_RULES)
        script.lender.debts["LTC"] = Debt(script.lender.debt("LTC").principal + D("0.2"), D("0.00003"))
        (debt,) = script.state.debts
        earlier = replace(debt, own=debt.own + D("0.2"), seen=script.lender.debt("LTC"))
        credit = replace(script.position.credit, shared=shared) if script.position.credit is not None else None
        orders = tuple(replace(order, heard_at=script.now + heard) for order in script.position.orders)
        position = replace(script.position, credit=credit, orders=orders)
        script.state = replace(script.state, debts=(earlier,), position=position)
        script.read_account()
        assert script.position.credit is not None
        assert script.position.credit.accrued == D("0.20003")
        if filled:
            script.fill(Role.ENTRY)
        script.lender.add("LTC", D("0.3"))  # it was another symbol's until now
        script.read_account(after=1)
        assert script.position.credit is not None
        return script.position.credit.accrued

    assert accrued(shared=True) == D("0.00003")
    assert accrued(shared=False) == accrued(shared=True, filled=True) == D("0.20003")
    assert accrued(shared=True, heard=2) == D("0.20003")  # what the entry sells need not be locked yet


def dear_short(policy: Policy) -> Script:
    """Its exits stand; interest of an hour is three steps."""
    script = Script(Direction.SHORT, policy, MARGIN_RULES)
    script.lender = Lender({"USDT": D(1_000), "LTC": ZERO}, rate=D("0.001"), now=script.now)
    script.signal()
    script.settle()
    script.fill_entry()
    script.settle()
    return script


def take_interest(script: Script) -> None:
    """As in BNB: it is in the debt no more."""
    script.lender.debts["LTC"] = Debt(script.lender.debt("LTC").principal)
    script.read_account(after=1_000)


def test_interest_that_is_taken_in_another_asset_moves_no_stop() -> None:
    script = dear_short(replace(POLICY, layout=Layout.PLAIN))
    assert script.order("SL").qty == D("3.008")
    take_interest(script)
    assert script.pending == []
    script.trade("TP1")
    script.push(script.order("TP1").id)
    script.settle()
    assert script.order("SL").qty == D("3.008") - script.order("TP1").qty


def test_a_market_order_that_was_sized_by_interest_may_stand_when_it_is_taken_in_another_asset() -> None:
    script = dear_short(POLICY)
    script.read_account(after=HOUR_MS)
    script.command(Verb.FLATTEN)
    while "FLATTEN" not in script.kinds():
        script.accept()
    assert script.order("FLATTEN").qty == D("3.011")
    take_interest(script)
    script.refuse(Why.RATE_LIMIT, kind="FLATTEN")
    script.wait(5_000)
    while "FLATTEN" not in script.kinds():
        script.accept()
    assert script.order("FLATTEN").qty == D("3.004")


def test_a_repayment_by_hand_is_told_once() -> None:
    script = protected(rules=MARGIN_RULES)
    script.lender.debts["USDT"] = Debt(D(100))
    for _ in range(4):
        script.read_account(after=2_000)
    assert script.told() == ["debt_repaid_elsewhere"]
    assert script.notes[0].text == "101.502015 USDT of our debt were repaid by somebody else"


def test_a_loan_by_hand_is_told_once_and_is_not_ours() -> None:
    script = protected(rules=MARGIN_RULES)
    debt = script.lender.debts["USDT"]
    script.lender.debts["USDT"] = Debt(debt.principal + 50, debt.interest)
    for _ in range(4):
        script.read_account(after=2_000)
    assert script.told() == ["foreign_debt"]
    assert script.notes[0].text.startswith("the account owes 50 USDT that somebody else has borrowed")
    assert script.state.debts[0].own == D("201.502015")


def test_a_debt_without_a_trade_halts_nothing_and_names_the_command() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.debts["LTC"] = Debt(D("0.5"))
    for _ in range(3):
        script.read_account(after=2_000)
    assert script.told() == ["foreign_debt"]
    assert "0.5 LTC that no trade of ours explains: `executor repay LTC`" in script.notes[0].text
    assert not script.state.halted


def test_a_rebuilt_trade_claims_what_its_fills_explain() -> None:
    for unsettled in (True, False):
        script = protected(rules=MARGIN_RULES)
        script.unchecked = True
        assert script.position.credit is not None
        unclaimed = replace(script.position.credit, need=D(300), unclaimed=True)
        script.state = replace(script.state, debts=(), position=replace(script.position, credit=unclaimed))
        script.lender.unsettled = unsettled
        script.read_account(after=1)
        credit = script.position.credit
        assert credit is not None
        assert credit.unclaimed is unsettled
        if not unsettled:
            assert script.state.debts[0].own == D("201.502015")


def test_an_unknown_outcome_keeps_the_fence_of_its_request() -> None:
    script = borrowing()
    script.feed(Answered(at=script.now, seq=script.pending[0].seq, outcome=Unknown("HTTP 503", START + 1_234)))
    assert loan(script).fence == START + 1_234


def test_a_refusal_that_names_a_time_is_kept() -> None:
    script = borrowing()
    outcome = Refused(Why.RATE_LIMIT, -1003, "too many", START + 9_000)
    script.feed(Answered(at=script.now, seq=script.pending[0].seq, outcome=outcome))
    assert loan(script).ask_at == START + 9_000


def test_one_look_alone_proves_nothing_however_late_it_comes() -> None:
    script = borrowing()
    script.lose()
    while script.now < START + SETTLED + 1_000:
        script.lose("QueryLoans") if script.pending else script.sleep()
    while not script.pending:
        script.sleep()
    script.accept()
    assert loan(script).open
    pass_looks(script)
    assert loan(script).end is LoanEnd.NEVER


def test_an_account_from_before_the_loan_does_not_show_its_repayment() -> None:
    """Rules 8.6, 11.3: found by the simulation; the debt was forgotten, and was somebody else's from then on."""
    script = repaying()
    while not any(isinstance(request, Repay) for request in script.pending):
        script.accept() if script.pending else script.sleep()
    script.lender.status = RecordStatus.PENDING
    owed = dict(script.lender.debts)
    script.accept("Repay")
    script.lender.debts, rows, script.lender.records = {}, script.lender.records, []
    script.accept("QueryLoans")
    assert loan(script).open
    assert loan(script).shown_at
    script.lender.debts, script.lender.records = owed, rows
    script.sleep()
    script.accept("QueryLoans")
    assert loan(script).open
    assert not loan(script).shown_at


def by_others(script: Script, kind: LoanKind, amount: Decimal | None = None) -> None:
    """The exchange, or an order of somebody's, borrows or repays as much as is asked for, or `amount`."""
    script.lender.ask(kind, "USDT", amount or loan(script).amount, script.now)
    script.lender.records[-1] = replace(script.lender.records[-1], manual=False)


def test_a_debt_that_a_liquidation_has_paid_does_not_show_our_repayment() -> None:
    """Rules 11.3, 11.11: found by the simulation; ours came late, and repaid what the next trade had borrowed."""
    script = repaying()
    until_asked(script, "Repay")
    script.lose("Repay")
    fence = loan(script).fence
    by_others(script, LoanKind.REPAY)
    pass_looks(script)
    assert loan(script).end is LoanEnd.NEVER
    assert script.now >= fence + POLICY.doubt_settle_ms
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    assert "debt_repaid_elsewhere" in script.told()


@pytest.mark.parametrize("status", [RecordStatus.CONFIRMED, RecordStatus.FAILED])
def test_what_others_have_done_beside_ours_tells_nothing_of_ours(status: RecordStatus) -> None:
    script = repaying()
    until_asked(script, "Repay")
    by_others(script, LoanKind.REPAY, D(1))  # after the debt was read
    script.lender.records[-1] = replace(script.lender.records[-1], status=status)
    if status is RecordStatus.FAILED:
        script.lender.debts["USDT"] = Debt(D("201.50"), D("0.002015"))
    script.lose("Repay")
    script.lender.debts.clear()  # its record lags behind
    pass_looks(script)
    assert loan(script).end is LoanEnd.DONE
    assert script.now < loan(script).fence


@pytest.mark.parametrize("interest", [True, False])
def test_a_little_less_of_a_large_debt_does_not_show_our_repayment(interest: bool) -> None:
    """Interest that is taken in another asset, or a hand whose record is not there yet: beside another symbol's debt a
    small repayment counted as done, and what it was for was nobody's.
    """
    script = repaying()
    lent = script.lender.debt("USDT").principal + 50_000
    script.lender.others = {"USDT": Others(owed=D(50_000), moved=D(50_000))}
    script.lender.debts["USDT"] = Debt(lent, D(150))
    until_asked(script, "Repay")
    script.lose("Repay")
    script.lender.debts["USDT"] = Debt(lent) if interest else Debt(lent - 1, D(150))
    pass_looks(script)
    assert loan(script).end is LoanEnd.NEVER


def test_a_loan_of_somebody_elses_order_that_is_as_large_does_not_show_ours() -> None:
    script = borrowing()
    script.lose()
    by_others(script, LoanKind.BORROW)
    pass_looks(script)
    assert loan(script).end is LoanEnd.NEVER
    assert script.now - START >= SETTLED


def test_a_look_that_is_under_way_as_the_doubt_can_be_settled_costs_no_pause() -> None:
    """Rule 8.3: sent before the time and answered after it, it tells nothing yet; the next one does."""
    script = borrowing()
    script.lose()
    while not (loan(script).misses and script.pending):
        script.accept() if script.pending else script.sleep()
    asked_at = script.now
    assert asked_at < START + SETTLED
    script.now = START + SETTLED + 100
    request = script._take("QueryLoans")
    assert isinstance(request, QueryLoans)
    script.feed(replace(script._read_margin(request), account=replace(script.account(), asked_at=asked_at)))
    assert loan(script).open
    assert script.kinds() == ["QueryLoans"]
    script.accept()
    assert loan(script).end is LoanEnd.NEVER
    assert script.now == START + SETTLED + 100


@pytest.mark.parametrize(("manual", "end"), [(True, LoanEnd.DONE), (False, LoanEnd.FAILED)])
def test_an_accepted_loan_whose_record_bears_another_number_is_shown_by_the_debt(manual: bool, end: LoanEnd) -> None:
    """Rule 11.3: that the numbers are the same is not documented. The loan of an order is none of ours (11.11)."""
    script = borrowing()
    script.exchange_lends()
    script.lender.records[-1] = replace(script.lender.records[-1], manual=manual)
    script.feed(Answered(at=script.now, seq=script._take("Borrow").seq, outcome=Booked(5)))
    pass_looks(script)
    assert loan(script).end is end
