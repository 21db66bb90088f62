"""While borrowing: the loan is made once, and the entry goes out once what it needs is there (rules 11.1-11.3)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, D, Script, both_sides, entering, make_quote

from executor.core.model.events import MarginSeen, QuoteSeen, Verb
from executor.core.model.facts import Quote, Why
from executor.core.model.intents import Borrow, PlaceOrder, Repay
from executor.core.model.loans import Debt, Others, RecordStatus
from executor.core.model.policy import EntryMode, Policy
from executor.core.model.state import Borrowing, Entering, Reason
from executor.core.model.values import ZERO, Direction


def begun(direction: Direction = Direction.LONG, policy: Policy = POLICY) -> Script:
    """What the loan rests on is being read."""
    script = Script(direction, policy, MARGIN_RULES)
    script.signal()
    return script


def asked(direction: Direction = Direction.LONG, policy: Policy = POLICY) -> Script:
    """The loan is under way."""
    script = begun(direction, policy)
    script.accept("QueryBorrowable")
    script.accept("QueryLoans")
    return script


def over(script: Script) -> Script:
    """Until the trade is closed, whatever that takes."""
    for _ in range(200):
        if script.state.position is None:
            return script
        script.accept() if script.pending else script.sleep()
    raise AssertionError(f"still open: {script.named()}")


def borrowed(script: Script) -> list[Borrow]:
    return [request for request in script.sent if isinstance(request, Borrow)]


@both_sides
def test_the_debt_the_records_and_the_bound_are_read_then_it_is_borrowed_then_entered(direction: Direction) -> None:
    script = begun(direction)
    script.settle()
    kinds = [type(request).__name__ for request in script.sent]
    assert kinds == ["QueryBorrowable", "QueryLoans", "Borrow", "QueryLoans", "PlaceOrder"]
    (loan,) = borrowed(script)
    assert (loan.asset, loan.amount) == (("USDT", D("201.50")) if direction is Direction.LONG else ("LTC", D(3)))
    assert script.named() == "Entering"


def test_both_reads_must_be_there_in_whichever_order() -> None:
    script = begun()
    script.accept("QueryLoans")
    assert script.kinds() == ["QueryBorrowable"]
    script.accept("QueryBorrowable")
    assert script.kinds() == ["Borrow"]


def test_no_entry_leaves_while_the_loan_is_not_settled() -> None:
    script = asked()
    script.lose()
    while not any(isinstance(request, PlaceOrder) for request in script.sent) and script.state.position is not None:
        loan = script.state.loan
        assert loan is not None
        assert loan.open or len(borrowed(script)) > 1 or script.named() != "Entering"
        script.accept() if script.pending else script.sleep()
    assert len(borrowed(script)) == 2  # proven never to have been made, then made once more


def test_money_that_came_meanwhile_is_not_borrowed() -> None:
    script = begun()
    script.accept("QueryBorrowable")
    script.lender.add("USDT", D(500))
    script.accept("QueryLoans")
    assert script.kinds() == ["ENTRY"]
    assert not borrowed(script)


def test_more_than_can_be_borrowed_now_is_no_entry() -> None:
    script = begun()
    script.lender.lendable = D(200)
    script.accept("QueryBorrowable")
    script.accept("QueryLoans")
    assert over(script).closed.reason is Reason.BORROW_REFUSED
    assert "201.5 USDT are missing for the entry, 200 can be borrowed now" in [note.text for note in script.notes]
    assert not borrowed(script)


@pytest.mark.parametrize("why", [Why.NOT_LENT, Why.NOT_ALLOWED, Why.AUTH, Why.OTHER])
def test_a_refusal_that_does_not_pass_ends_the_trade(why: Why) -> None:
    script = asked()
    script.refuse(why)
    assert over(script).closed.reason is Reason.BORROW_REFUSED
    assert len(borrowed(script)) == 1


@pytest.mark.parametrize(
    ("why", "pause"),
    [(Why.LOAN_BUSY, 250), (Why.RATE_LIMIT, 1_000), (Why.NOT_SENT, 1_000), (Why.CLOCK, 1_000), (Why.WITHDRAWN, 0)],
)
def test_a_refusal_that_passes_is_waited_out_and_nothing_is_borrowed_twice(why: Why, pause: int) -> None:
    script = asked()
    script.refuse(why)
    if pause:
        assert not script.pending
        before = script.now
        script.sleep()
        assert script.now - before == pause
    script.settle()
    assert script.named() == "Entering"
    assert len(script.lender.records) == 1


def test_a_refusal_that_names_its_end_is_waited_out() -> None:
    script = asked()
    script.refuse(Why.RATE_LIMIT, retry_at=script.now + 7_000)
    before = script.now
    while not script.pending:
        script.sleep()
    assert script.now - before == 7_000
    script.settle()
    assert script.named() == "Entering"


def test_the_entrys_own_time_begins_when_it_is_placed() -> None:
    """Rule 3.2: not when the loan that it waited for was asked for."""
    policy = replace(POLICY, entry_timeout_ms=90_000)
    script = asked(policy=policy)
    begun_at = script.now
    script.lose()
    while "ENTRY" not in script.kinds():
        script.accept() if script.pending else script.sleep()
    assert script.now >= begun_at + 10_000
    assert isinstance(script.phase, Entering)
    assert script.phase.give_up_at == script.now + policy.entry_timeout_ms


def test_it_is_not_waited_for_beyond_the_entrys_own_time() -> None:
    script = asked()
    for _ in range(1_000):
        if script.named() != "Borrowing":
            break
        if "Borrow" in script.kinds():
            script.refuse(Why.LOAN_BUSY)
        else:
            script.accept() if script.pending else script.sleep()
    assert len(borrowed(script)) < 30  # with growing pauses: each weighs as much as 250 orders
    assert over(script).closed.reason is Reason.ENTRY_TIMEOUT


@both_sides
@pytest.mark.parametrize(("price", "reason"), [("97.9", Reason.PLANB_PAST_STOP), ("102.5", Reason.PLANB_PAST_TP1)])
def test_the_guard_of_the_entry_holds_while_it_is_borrowed(direction: Direction, price: str, reason: Reason) -> None:
    script = asked(direction)
    script.quote(price, after=10)
    assert script.named() == "Borrowing"  # what is under way is settled first
    script.settle()
    assert over(script).closed.reason is reason
    assert sum(isinstance(request, Repay) for request in script.sent) == 1
    assert script.closed.qty == 0


def test_past_the_target_is_no_bar_where_plan_b_is_not_barred_either() -> None:
    script = asked(policy=replace(POLICY, planb_abort_past_tp1=False))
    script.quote("102.5", after=10)
    script.settle()
    assert script.named() == "Entering"


def test_without_a_price_the_entry_waits_for_one() -> None:
    """Rule 3.3b."""
    script = asked()
    script.unchecked = True
    script.state = replace(script.state, market=replace(script.state.market, quote=None))
    script.accept()
    script.accept()
    assert script.kinds() == ["QueryQuote"]
    script.lose()
    assert (script.named(), script.kinds()) == ("Borrowing", [])
    before = script.now
    script.sleep()
    assert script.now - before == 1_000
    script.settle()
    assert script.named() == "Entering"


@both_sides
def test_an_entry_at_market_goes_by_a_fresh_price_however_long_its_loan_took(direction: Direction) -> None:
    """Rule 3.3b: the loan takes a minute, and nobody tells that the price has run past the stop meanwhile."""
    script = asked(direction, replace(POLICY, entry_mode=EntryMode.MARKET_ONLY))
    script.wait(60_000)
    script.accept("Borrow")
    script.accept("QueryLoans")
    assert script.kinds() == ["QueryQuote"]
    script.last = script.px("97.5")
    script.accept()
    assert over(script).closed.reason is Reason.PLANB_PAST_STOP
    assert not [request for request in script.sent if isinstance(request, PlaceOrder)]


@both_sides
def test_the_guard_before_the_entry_goes_by_what_it_would_pay(direction: Direction) -> None:
    """Rule 3.3b: the last trade was inside of TP1, whoever offers now is not."""
    script = asked(direction)
    last, offered = script.px("101.9"), script.px("102.1")
    script.feed(QuoteSeen(at=script.now, quote=Quote(script.now, offered, offered, last)))
    assert over(script).closed.reason is Reason.PLANB_PAST_TP1
    assert not [request for request in script.sent if isinstance(request, PlaceOrder)]


@pytest.mark.parametrize("begins", [begun, asked])
def test_nothing_is_borrowed_or_entered_while_the_service_ends(begins: Callable[[], Script]) -> None:
    """Rule 9.5: the next start goes on with it."""
    script = begins()
    loans = len(borrowed(script))
    script.command(Verb.END)
    script.settle()
    assert script.named() == "Borrowing"
    assert len(borrowed(script)) == loans
    script.restart()
    script.settle()
    assert script.named() == "Entering"
    assert len(borrowed(script)) == 1


# --- bounds (rules 11.2, 11.10) ---------------------------------------------------------------------------------------


@both_sides
def test_the_bound_of_the_operator_holds_for_the_loan_that_is_asked_for(direction: Direction) -> None:
    """Rule 11.2: when the signal was judged 1.50 were missing; by now another symbol has spent what was free."""
    script = Script(direction, replace(POLICY, max_borrow=D(100)), MARGIN_RULES)
    script.lender.holdings = {"USDT": D(300), "LTC": D(3) if direction is Direction.LONG else D("2.5")}
    script.signal()
    assert script.named() == "Borrowing"
    for asset in ("USDT", "LTC"):
        script.lender.add(asset, D(-300) if asset == "USDT" else D("-2.5"))
    script.lender.add("BNB", D(5))
    assert over(script).closed.reason is Reason.BORROW_REFUSED
    assert not borrowed(script)
    assert "MARGIN_MAX_BORROW_USD is 100: there is no entry" in " ".join(note.text for note in script.notes)


def test_what_was_borrowed_for_the_same_entry_counts_towards_the_bound() -> None:
    script = asked(policy=replace(POLICY, max_borrow=D(220)))
    script.lender.add("USDT", D(-30))
    assert over(script).closed.reason is Reason.BORROW_REFUSED
    assert [loan.amount for loan in borrowed(script)] == [D("201.50")]
    assert script.lender.debt("USDT").total == 0
    assert "a loan worth 231.5 USDT" in " ".join(note.text for note in script.notes)


def test_the_level_at_the_stop_is_judged_as_the_account_is_then() -> None:
    """Rule 11.10: another symbol has borrowed beside it since the signal was judged."""
    script = begun(policy=replace(POLICY, level_min=D("1.4"), allow_foreign_debt=True))
    script.lender.debts["USDT"] = Debt(D(150))
    script.lender.others = {"USDT": Others(D(150), D(150))}
    script.lender.add("USDT", D(50))
    assert over(script).closed.reason is Reason.BORROW_REFUSED
    assert not borrowed(script)
    assert "must be at least 1.4 (MARGIN_LEVEL_MIN)" in " ".join(note.text for note in script.notes)


def test_it_is_judged_for_an_entry_that_needs_no_loan_any_more_too() -> None:
    script = begun(policy=replace(POLICY, level_min=D("1.4")))
    script.lender.debts["USDT"] = Debt(D(900))
    script.lender.others = {"USDT": Others(D(900), D(900))}
    script.lender.add("USDT", D(900))
    assert over(script).closed.reason is Reason.BORROW_REFUSED
    assert not borrowed(script)


@pytest.mark.parametrize(
    ("verb", "reason"), [(Verb.CANCEL_ENTRY, Reason.ENTRY_CANCELLED), (Verb.FLATTEN, Reason.FLATTEN)]
)
@pytest.mark.parametrize("settled", [True, False])
def test_the_operator_gives_it_up_and_the_loan_goes_back(verb: Verb, reason: Reason, *, settled: bool) -> None:
    script = asked()
    if not settled:
        script.lose(arrived=True)
    script.command(verb)
    assert over(script).closed.reason is reason
    assert script.lender.debt("USDT").total == 0
    assert script.closed.debt_left == {}


def test_a_look_at_an_account_that_lags_does_not_borrow_again() -> None:
    script = asked()
    script.accept("Borrow")
    script.lender.debts, debts = {}, script.lender.debts
    script.lender.add("USDT", D("-201.50"))  # the account does not show it yet, its record does
    script.accept()
    for _ in range(3):
        script.accept() if script.pending else script.sleep()
    assert len(borrowed(script)) == 1
    script.lender.debts = debts
    script.lender.add("USDT", D("201.50"))
    while script.named() == "Borrowing":
        script.accept() if script.pending else script.sleep()
    assert len(borrowed(script)) == 1


def test_a_loan_that_only_its_record_tells_of_is_not_made_again() -> None:
    """A newer state was lost, and the account does not show the loan yet (rules 9.2, 11.3)."""
    script = asked()
    script.accept("Borrow")
    script.state = replace(script.state, loan=None, outbox=())
    script.pending.clear()
    hidden, script.lender.debts = script.lender.debts, {}
    script.lender.add("USDT", D("-201.50"))
    script.wait(1_000)
    for _ in range(6):
        script.accept() if script.pending else script.sleep()
    assert len(borrowed(script)) == 1
    script.lender.debts = hidden
    script.lender.add("USDT", D("201.50"))
    while script.named() == "Borrowing":
        script.accept() if script.pending else script.sleep()
    assert len(borrowed(script)) == 1


def test_what_others_took_meanwhile_is_borrowed_but_never_more_than_the_entry_costs() -> None:
    script = asked()
    script.lender.add("USDT", D(-30))
    script.settle()
    assert [loan.amount for loan in borrowed(script)] == [D("201.50"), D(30)]
    assert script.named() == "Entering"
    poor = asked()
    poor.accept("Borrow")
    poor.lender.add("USDT", D(-250))
    assert over(poor).closed.reason is Reason.BORROW_REFUSED
    assert "201.5 were borrowed already" in " ".join(note.text for note in poor.notes)


def test_reads_that_fail_are_asked_for_again() -> None:
    script = begun()
    script.lose("QueryLoans")
    script.lose("QueryBorrowable")
    assert not script.pending
    script.sleep()
    assert sorted(script.kinds()) == ["QueryBorrowable", "QueryLoans"]


def test_while_borrowing_a_fresh_quote_changes_nothing() -> None:
    script = asked()
    step = script.feed(QuoteSeen(at=script.now, quote=make_quote("100.2", script.now)))
    assert step.requests == ()
    assert isinstance(script.phase, Borrowing)


def test_a_pending_loan_blocks_nothing_but_the_entry() -> None:
    script = asked()
    script.lender.status = RecordStatus.PENDING
    script.settle()
    assert script.named() == "Borrowing"
    assert script.lender.debt("USDT") == Debt()


def test_somebody_elses_loan_meanwhile_leaves_no_entry() -> None:
    """What is free then may be theirs: it is not sold, and nothing is borrowed beside it (11.4)."""
    for allow in (False, True):
        script = Script(Direction.SHORT, replace(POLICY, allow_foreign_debt=allow), MARGIN_RULES)
        script.signal()
        script.now += 1
        script.lender.add("LTC", D(2))
        script.lender.debts["LTC"] = Debt(D(2))
        for _ in range(50):
            if script.state.position is None or script.named() == "Entering":
                break
            script.accept() if script.pending else script.sleep()
        if allow:
            assert script.position.credit is not None
            assert script.position.credit.spare == D(2)
            assert [r.amount for r in script.sent if isinstance(r, Borrow)] == [D(1)]
        else:
            assert script.closed.reason is Reason.BORROW_REFUSED
            assert not [r for r in script.sent if isinstance(r, Borrow | PlaceOrder)]


def test_a_loan_that_somebody_else_repaid_before_the_entry_leaves_none() -> None:
    """Rule 11.11: the account was liquidated between the loan and the entry, and what lies there is not borrowed."""
    script = asked(Direction.SHORT)
    script.accept("Borrow")
    script.lender.debts = {}
    assert over(script).closed.reason is Reason.EXTERNAL
    assert not [request for request in script.sent if isinstance(request, PlaceOrder | Repay)]
    assert "there is no entry" in " ".join(note.text for note in script.notes)


@pytest.mark.parametrize(("looks", "reason"), [(1, Reason.ENTRY_TIMEOUT), (2, Reason.EXTERNAL)])
def test_an_entry_is_not_sent_again_on_a_loan_that_is_not_owed_any_more(looks: int, reason: Reason) -> None:
    """Rule 11.11: liquidated while its entry was out, a short's Plan B would sell what the liquidation has bought."""
    script = entering(Direction.SHORT, rules=MARGIN_RULES)
    script.lender.debts = {}
    for _ in range(looks):
        script.read_account(after=POLICY.absence_grace_ms)
    script.wait(POLICY.entry_timeout_ms)
    assert over(script).closed.reason is reason
    assert not script.closed.qty


def test_a_loan_waits_for_the_prices_that_its_bounds_rest_on() -> None:
    script = begun()
    script.accept("QueryBorrowable")
    account = replace(script.account(), price=ZERO, assets=ZERO, liabilities=ZERO)
    script.pending.clear()
    script.state = replace(script.state, outbox=())
    script.now += 1
    script.unchecked = True
    script.feed(MarginSeen(at=script.now, account=replace(account, asked_at=script.now)))
    assert not borrowed(script)
    script.sleep()
    assert script.kinds() == ["QueryLoans"]
    script.settle()
    assert script.named() == "Entering"


def test_with_its_loan_there_it_waits_for_what_another_symbol_seems_to_need_of_it() -> None:
    """That one's entry has left with money of its own, which is not heard of yet: nothing more is borrowed for it."""
    script = asked()
    script.lender.others = {"USDT": Others(claimed=D(50))}
    script.accept("Borrow")
    script.settle()
    assert script.named() == "Borrowing"
    assert not script.pending
    script.sleep()
    script.lender.others = {}
    script.settle()
    assert script.named() == "Entering"
    assert len(borrowed(script)) == 1


def test_what_another_symbol_needs_of_it_for_long_is_no_entry() -> None:
    script = asked()
    script.lender.others = {"USDT": Others(claimed=D(50))}
    script.accept("Borrow")
    script.settle()
    assert over(script).closed.reason is Reason.ENTRY_TIMEOUT
    assert len(borrowed(script)) == 1
