"""A clock that leaps ahead: what is believed after a while is believed once that has passed (rules 6.4, 8.3, 8.6)."""

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    START,
    Script,
    both_sides,
    closing,
    entering,
    protected,
    repaying,
)

from executor.core.absorb.clock import set_ahead
from executor.core.model.events import Absent, Answered, MarginSeen, OpenOrdersSeen, Tick
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.loans import Booked, Debt, Loan, LoanEnd, LoanKind, Records, RecordStatus
from executor.core.model.orders import SHOWN_MS
from executor.core.model.state import End, OrderPhase, Repaying
from executor.core.model.values import Direction
from executor.core.model.verdict import Ignored

LEAP = 60_000
GRACE = POLICY.absence_grace_ms


def leap(script: Script, ms: int = LEAP) -> None:
    """The clock is set ahead; no time passes."""
    script.now += ms
    script.feed(Tick(at=script.now, ahead=ms))


def missed(script: Script, asked: int) -> None:
    """A look at the entry, sent at `asked`, finds nothing."""
    script.feed(Absent(at=script.now, id=script.order(Role.ENTRY).id, asked_at=asked))


def test_time_that_passes_is_no_leap() -> None:
    script = entering()
    before = script.state
    script.wait(0)
    assert script.state.market.ahead_at == before.market.ahead_at == 0


@both_sides
def test_two_looks_of_one_moment_do_not_prove_that_an_order_is_gone(direction: Direction) -> None:
    """Rule 8.6: it is there, and reads show it half a second late. Found by the simulation of the fleet: the trade was
    closed, and its entry stood.
    """
    script = entering(direction)
    missed(script, script.now)
    leap(script)
    missed(script, script.now)
    assert script.order(Role.ENTRY).phase is OrderPhase.WORKING
    script.now += SHOWN_MS
    missed(script, script.now)
    assert script.order(Role.ENTRY).end is End.GONE


def test_nor_does_a_look_that_was_on_its_way_when_the_clock_was_set() -> None:
    script = entering()
    asked = script.now
    leap(script)
    missed(script, asked)
    missed(script, script.now)
    assert script.order(Role.ENTRY).phase is OrderPhase.WORKING


@pytest.mark.parametrize("answered", [True, False])
def test_what_was_sent_may_arrive_for_as_long_as_before(answered: bool) -> None:
    """Rule 8.3: whether its answer was given up before the leap or after it."""
    script = entering(working=False)
    if answered:
        script.lose()
    leap(script)
    begun = script.now
    if not answered:
        script.lose("ENTRY")
    while script.state.position is not None and script.order(Role.ENTRY).live:
        script.accept() if script.pending else script.sleep()
    assert script.now - begun >= 5_000 + POLICY.doubt_settle_ms


def test_what_shows_late_is_no_stray_of_the_last_trade() -> None:
    script = closing()
    script.to_the_end()
    order = next(iter(script.book.values()))
    leap(script)
    script.feed(OpenOrdersSeen(at=script.now, reports=(order,), asked_at=script.now))
    assert not script.state.halted
    script.now += GRACE
    script.feed(OpenOrdersSeen(at=script.now, reports=(order,), asked_at=script.now))
    assert script.state.halted


@both_sides
def test_the_software_stop_waits_its_time(direction: Direction) -> None:
    """Rule 6.4."""
    script = entering(direction)
    script.fill(Role.ENTRY)
    for kind in ("OCO1", "OCO2", "SL"):
        script.refuse(Why.CLOCK, kind)
    script.quote(97)
    since = [leg.breach_since for leg in script.position.legs]
    assert all(since)
    leap(script, 1_000)
    assert [leg.breach_since for leg in script.position.legs] == [at + 1_000 for at in since]
    leap(script)
    assert {leg.breach_since for leg in script.position.legs} == {script.now}


# --- borrowed money ---------------------------------------------------------------------------------------------------


def loan(script: Script) -> Loan:
    assert script.state.loan is not None
    return script.state.loan


def settle_loan(script: Script) -> int:
    """How long (ms) it takes until the loan has ended."""
    begun = script.now
    while loan(script).open:
        script.accept() if script.pending else script.sleep()
    return script.now - begun


def borrowing() -> Script:
    script = Script(rules=MARGIN_RULES)
    script.signal()
    script.accept("QueryLoans")
    script.accept("QueryBorrowable")
    return script


@pytest.mark.parametrize("answered", [True, False])
def test_a_loan_in_doubt_may_come_for_as_long_as_before(answered: bool) -> None:
    """Rule 11.3."""
    script = borrowing()
    if answered:
        script.lose("Borrow")
    leap(script)
    if not answered:
        script.lose("Borrow")
    assert settle_loan(script) >= 5_000 + POLICY.doubt_settle_ms
    assert loan(script).end is LoanEnd.NEVER


def test_an_accepted_loan_is_not_given_up_sooner() -> None:
    script = borrowing()
    script.feed(Answered(at=script.now, seq=script._take("Borrow").seq, outcome=Booked(5)))
    leap(script, 900_000)
    assert settle_loan(script) >= 600_000
    assert loan(script).end is LoanEnd.FAILED


def test_a_loan_that_the_debt_alone_shows_is_believed_when_seen_twice_and_apart() -> None:
    """Rule 8.6: what is seen at first may be asked for before the leap."""
    script = borrowing()
    script.lender.status = RecordStatus.PENDING
    asset = loan(script).asset
    script.accept("Borrow")
    script.lender.debts[asset], script.lender.records = Debt(loan(script).amount), []
    script.accept("QueryLoans")
    assert loan(script).shown_at
    leap(script)
    script.accept("QueryLoans")
    assert loan(script).open
    assert settle_loan(script) >= GRACE
    assert loan(script).end is LoanEnd.DONE


def test_a_debt_that_nothing_explains_is_believed_once_that_has_passed() -> None:
    script = protected(rules=MARGIN_RULES)
    script.lender.debts["USDT"] = Debt(script.lender.debt("USDT").principal * 2)
    script.read_account(after=100)
    assert any(debt.doubted_at for debt in script.state.debts)
    leap(script)
    script.read_account()
    assert any(debt.doubted_at for debt in script.state.debts)
    script.read_account(after=GRACE)
    assert not any(debt.doubted_at for debt in script.state.debts)


def test_an_account_that_was_asked_for_before_is_none() -> None:
    script = protected(rules=MARGIN_RULES)
    account = script.account()
    leap(script)
    step = script.feed(MarginSeen(at=script.now, account=account))
    assert step.verdict == Ignored("asked for before the clock was set ahead")


def test_what_is_missing_or_can_not_be_read_is_acted_on_once_that_has_passed() -> None:
    """Rules 8.6, 8.7."""
    state, since = repaying().state, START - 100
    assert state.position is not None
    assert isinstance(state.position.phase, Repaying)
    work = replace(state.position.phase.work, short_at=since)
    records = Records(LoanKind.REPAY, "USDT", since, (), unread=since)
    phase = replace(state.position.phase, work=work)
    market = replace(state.market, now=START + LEAP, records=records)
    state = replace(state, position=replace(state.position, phase=phase), repaying=work, market=market)
    moved = set_ahead(state, LEAP, POLICY)
    assert moved.position is not None
    assert moved.repaying is not None
    assert moved.market.records is not None
    assert moved.position.phase == replace(phase, work=moved.repaying)
    assert moved.repaying.short_at == moved.market.records.unread == since + LEAP
