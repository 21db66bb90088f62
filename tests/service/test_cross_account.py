"""Several symbols on one cross account: one debt of an asset for all, and loans one at a time (rules 11.3, 11.4)."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RICH, make_signal

from executor.core.model.events import SignalSeen
from executor.core.model.loans import (
    Credit,
    Loan,
    LoanEnd,
    LoanKind,
    LoanPhase,
    LoanRecord,
    Others,
    OwnDebt,
    RecordStatus,
    Repayment,
)
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Borrowing, Plan, Position, Reason, Repaying, State
from executor.core.model.values import Direction
from executor.service.cross_account import CrossAccount, NeighboursOf, told_beside

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT", "LTCUSDT")
PLAN = Plan(direction=Direction.LONG, entry=D(100), stop=D(98), targets=(), qty=D(1), r=D(2))


def loan(sent_at: int = 10, phase: LoanPhase = LoanPhase.UNRESOLVED, **more: Any) -> Loan:
    values = {"n": 1, "kind": LoanKind.BORROW, "asset": "USDT", "amount": D(50), "sent_at": sent_at, "phase": phase}
    return Loan(**{**values, **more})


def row(tran_id: int, amount: int = 50) -> LoanRecord:
    return LoanRecord(
        tran_id=tran_id, kind=LoanKind.BORROW, asset="USDT", amount=D(amount), status=RecordStatus.CONFIRMED, time=11
    )


@dataclass
class Engine:
    state: State
    policy: Policy = POLICY
    rules: SymbolRules = MARGIN_RULES


class Account:
    def __init__(self) -> None:
        self.engines = {symbol: Engine(State(symbol=symbol)) for symbol in SYMBOLS}
        self.account = CrossAccount(self.engines)

    def has(self, symbol: str, **changes: Any) -> None:
        self.engines[symbol].state = replace(self.engines[symbol].state, **changes)

    def of(self, symbol: str) -> NeighboursOf:
        return self.account.neighbours_of(symbol)


@pytest.fixture
def account() -> Account:
    return Account()


def test_what_the_others_owe_and_have_moved_is_summed_up_by_asset(account: Account) -> None:
    account.has("BTCUSDT", debts=(OwnDebt(asset="USDT", own=D(99), ever=D(99)),))
    account.has(
        "ETHUSDT", debts=(OwnDebt(asset="USDT", own=D(5), ever=D(7)), OwnDebt(asset="ETH", own=D(1), ever=D(1)))
    )
    account.has("LTCUSDT", debts=(OwnDebt(asset="USDT", own=D(0), ever=D(-3)),))
    assert account.of("BTCUSDT").debts() == {"USDT": Others(D(5), D(4)), "ETH": Others(D(1), D(1))}


def test_a_loan_of_another_symbol_leaves_the_debt_unsettled_until_it_has_ended(account: Account) -> None:
    assert not account.of("BTCUSDT").unsettled()
    account.has("ETHUSDT", loan=loan(phase=LoanPhase.BOOKED))
    assert account.of("BTCUSDT").unsettled()
    assert not account.of("ETHUSDT").unsettled()
    account.has("ETHUSDT", loan=loan(phase=LoanPhase.CLOSED, end=LoanEnd.DONE))
    assert not account.of("BTCUSDT").unsettled()
    credit = Credit(asset="USDT", unclaimed=True)
    position = Position(trade="1", signal="a", opened=1, plan=PLAN, phase=Borrowing(since=1, give_up_at=2))
    account.has("LTCUSDT", position=replace(position, credit=credit))
    assert account.of("BTCUSDT").unsettled()  # what it owes is not on record yet (11.12)


def test_of_trades_whose_debts_are_not_on_record_the_first_that_was_opened_waits_for_no_other(account: Account) -> None:
    """Rule 11.12: each waited for the other, and neither ever repaid anything."""
    position = Position(trade="1", signal="a", opened=1, plan=PLAN, phase=Borrowing(since=1, give_up_at=2))
    position = replace(position, credit=Credit(asset="USDT", need=D(100), unclaimed=True))
    account.has("ETHUSDT", position=position)
    account.has("BTCUSDT", position=replace(position, opened=2))
    assert [account.of(symbol).unsettled() for symbol in SYMBOLS] == [True, False, True]
    assert account.of("ETHUSDT").debts()["USDT"].unclaimed == D(100)
    assert account.of("LTCUSDT").debts()["USDT"].unclaimed == D(200)
    account.has("ETHUSDT", position=replace(position, credit=Credit(asset="USDT", need=D(100))))
    assert [account.of(symbol).unsettled() for symbol in SYMBOLS] == [False, True, True]
    account.has("BTCUSDT", loan=loan())
    assert account.of("ETHUSDT").unsettled()


def test_who_is_beside_is_told_with_the_number_of_its_newest_loan(account: Account) -> None:
    account.has("ETHUSDT", loan=loan(n=7))
    assert account.of("BTCUSDT").loans() == {"ETHUSDT": 7, "LTCUSDT": 0}


def test_loans_take_turns(account: Account) -> None:
    account.has("BTCUSDT", loan=loan(phase=LoanPhase.SUBMITTED))
    account.has("ETHUSDT", loan=loan(phase=LoanPhase.SUBMITTED))
    assert account.of("BTCUSDT").take_turn()
    assert not account.of("ETHUSDT").take_turn()
    assert account.of("BTCUSDT").take_turn()
    account.has("BTCUSDT", loan=loan(phase=LoanPhase.CLOSED, end=LoanEnd.DONE))
    assert account.of("ETHUSDT").take_turn()
    assert not account.of("LTCUSDT").take_turn()


def test_a_loan_in_doubt_from_before_the_start_has_the_turn(account: Account) -> None:
    account.has("ETHUSDT", loan=loan())
    assert not account.of("BTCUSDT").take_turn()
    account.has("ETHUSDT", loan=loan(phase=LoanPhase.CLOSED, end=LoanEnd.NEVER))
    assert account.of("BTCUSDT").take_turn()


def test_of_two_loans_alike_a_record_is_of_the_one_that_was_asked_for_first(account: Account) -> None:
    account.has("BTCUSDT", loan=loan(sent_at=10))
    account.has("ETHUSDT", loan=loan(sent_at=12))
    rows = (row(1), row(2, amount=60))
    assert account.of("BTCUSDT").not_theirs(LoanKind.BORROW, rows) == rows
    assert account.of("ETHUSDT").not_theirs(LoanKind.BORROW, rows) == (row(2, amount=60),)
    assert account.of("ETHUSDT").not_theirs(LoanKind.REPAY, rows) == rows
    account.has("BTCUSDT", loan=loan(phase=LoanPhase.CLOSED, end=LoanEnd.DONE, tran_id=1))
    assert account.of("ETHUSDT").not_theirs(LoanKind.BORROW, rows) == (row(2, amount=60),)
    account.has("BTCUSDT", loan=loan(n=2, kind=LoanKind.REPAY, tran_id=9))
    assert account.of("ETHUSDT").not_theirs(LoanKind.BORROW, rows) == (row(2, amount=60),)  # as it was before
    account.has("BTCUSDT", loan=loan(phase=LoanPhase.CLOSED, end=LoanEnd.NEVER))
    rows = (row(3), row(2, amount=60))
    assert account.of("ETHUSDT").not_theirs(LoanKind.BORROW, rows) == rows


def test_two_that_were_asked_for_at_the_same_moment_do_not_hide_each_other_s_record(account: Account) -> None:
    account.has("BTCUSDT", loan=loan())
    account.has("LTCUSDT", loan=loan())
    assert account.of("BTCUSDT").not_theirs(LoanKind.BORROW, (row(1),)) == (row(1),)
    assert account.of("LTCUSDT").not_theirs(LoanKind.BORROW, (row(1),)) == ()


def test_what_the_trades_of_others_need_is_claimed_by_who_came_first(account: Account) -> None:
    """Two that are opened at once must not both count on what lies free (rule 11.2)."""
    position = Position(trade="1", signal="a", opened=1, plan=PLAN, phase=Borrowing(since=1, give_up_at=2))
    position = replace(position, credit=Credit(asset="USDT", need=D(100)))
    account.has("BTCUSDT", position=position)
    account.has("ETHUSDT", position=replace(position, opened=2))
    assert account.of("BTCUSDT").debts().get("USDT", Others()).claimed == 0
    assert account.of("ETHUSDT").debts()["USDT"].claimed == D(100)
    assert account.of("LTCUSDT").debts()["USDT"].claimed == D(200)  # it has no trade yet
    account.has("ETHUSDT", debts=(OwnDebt(asset="USDT", own=D(60), borrowed=D(60), ever=D(60)),))
    assert account.of("BTCUSDT").debts()["USDT"] == Others(owed=D(60), moved=D(60), claimed=D(60))


def test_of_two_that_repay_the_first_takes_the_interest_that_it_lacks_of_what_the_other_keeps(account: Account) -> None:
    """They waited a minute for each other, and one of them was then left with its whole debt."""
    short = replace(PLAN, direction=Direction.SHORT)
    phase = Repaying(reason=Reason.ENTRY_TIMEOUT, work=Repayment(since=3))
    position = Position(trade="1", signal="a", opened=1, plan=short, phase=phase)
    position = replace(position, credit=Credit(asset="LTC", need=D(1)))
    owed = OwnDebt(asset="LTC", own=D("1.001"), borrowed=D(1), ever=D(1), charged=D("0.001"))
    account.has("BTCUSDT", position=position, debts=(owed,))
    account.has("ETHUSDT", position=replace(position, opened=2), debts=(owed,))
    assert account.of("BTCUSDT").debts()["LTC"].claimed == D("0.999")
    assert account.of("ETHUSDT").debts()["LTC"].claimed == D(1)
    account.has("BTCUSDT", debts=(replace(owed, own=D("0.201"), repaid=D("0.8"), ever=D("0.2")),))
    assert account.of("BTCUSDT").debts()["LTC"].claimed == D(1)  # it has been repaid of already
    account.has("BTCUSDT", debts=(replace(owed, own=D("1.2")),))
    assert account.of("BTCUSDT").debts()["LTC"].claimed == D(1)  # that is more than interest
    account.has("BTCUSDT", position=replace(position, phase=Borrowing(since=1, give_up_at=2)), debts=(owed,))
    assert account.of("BTCUSDT").debts()["LTC"].claimed == D(1)  # it does not repay yet


def test_a_signal_is_told_of_the_newest_trade_beside_it_and_of_what_it_shares() -> None:
    position = Position(trade="7", signal="a", opened=1, plan=PLAN, phase=Borrowing(since=1, give_up_at=2))
    one = Engine(State(symbol="BTCUSDT", position=replace(position, credit=Credit(asset="USDT", need=D(100)))))
    other = Engine(State(symbol="LTCFDUSD"), rules=replace(MARGIN_RULES, base="ETH", quote="FDUSD"))
    event = SignalSeen(at=1, signal=make_signal(), quote=None, balances=RICH, klines=None)
    told = told_beside([one, other], [one], event)
    assert told.newest == 7
    assert told.claimed == {"LTC": 0, "USDT": 0}  # what is free on borrowed money is told with the account
    assert told_beside([one, other], [other], event).claimed == {"ETH": 0, "FDUSD": 0}
    assert told_beside([one, other], [], event) == replace(event, newest=7)
    assert told_beside([other], [other], replace(event, balances=None)) == replace(event, balances=None)
