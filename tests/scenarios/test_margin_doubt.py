"""Loans and repayments whose answer is lost, late, or only the beginning: nothing is borrowed or repaid twice, and no
debt is forgotten (rules 11.3, 11.7).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.scenarios.test_margin import LONG, SHORT, borrowed_asset, margin

from executor.core.model.loans import LoanPhase
from executor.core.model.state import Borrowing, Reason, Repaying
from executor.paper.engine.choices import ExchangeChoices, LoanRecord
from executor.paper.engine.margin.model import Fate, LoanType
from executor.paper.server import Answer, FaultPlan, RequestFault

WORLDS: Final = pytest.mark.parametrize("world", [SHORT, LONG], ids=str)
KINDS: Final = pytest.mark.parametrize("kind", list(LoanType))
SETTLES_S: Final = 30.0
"""recvWindow, DOUBT_SETTLE_SEC, and the looks in between."""
LOST: Final = {
    "executed, connection cut": RequestFault(disconnect=True),
    "not executed, connection cut": RequestFault(execute=False, disconnect=True),
    "executed, 503": RequestFault(answer=Answer(503, b"")),
    "not executed, 503": RequestFault(execute=False, answer=Answer(503, b"")),
    "executed, -3000": RequestFault(answer=Answer(400, b'{"code":-3000,"msg":"Inner error."}')),
    "not executed, -3044": RequestFault(execute=False, answer=Answer(400, b'{"code":-3044,"msg":"System is busy."}')),
    "executed late, connection cut": RequestFault(delay_before_ms=3_000, disconnect=True),
    "executed, no answer that can be read": RequestFault(answer=Answer(200, b"<html>", "text/html")),
}


class Lender(FaultPlan):
    """Does to the next loan or repayment what `fault` says, and counts what was asked for."""

    def __init__(self, kind: LoanType, fault: RequestFault | None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._kind = kind
        self._fault = fault

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if (method, path) != ("POST", "/sapi/v1/margin/borrow-repay"):
            return None
        self.asked.append((params["type"], params["amount"]))
        if params["type"] != self._kind:
            return None
        fault, self._fault = self._fault, None
        return fault

    def count(self, kind: LoanType) -> int:
        return sum(asked == kind for asked, _ in self.asked)


@WORLDS
@pytest.mark.parametrize("lost", LOST, ids=str)
@KINDS
async def test_a_lost_answer_is_settled_by_records_and_debt(
    tmp_path: Path, world: Any, lost: str, kind: LoanType
) -> None:
    exchange = Lender(kind, LOST[lost])
    async with margin(tmp_path, world, faults=exchange) as b:
        await b.signal()
        await b.until(lambda: b.state.position is not None and not isinstance(b.position.phase, Borrowing), SETTLES_S)
        lent = b.lent()
        await b.move(0)
        await b.move(-1)
        closed = await b.ends(Reason.SL, within=2 * SETTLES_S)
        executed = not lost.startswith("not")
        assert exchange.count(kind) == (1 if executed else 2), exchange.asked
        assert exchange.count(LoanType.BORROW) + exchange.count(LoanType.REPAY) == (2 if executed else 3)
        assert closed.borrowed == {borrowed_asset(b): lent[borrowed_asset(b)]}
        assert b.owed() == closed.debt_left == {}
        b.adds_up_on_margin(closed)


@WORLDS
@KINDS
@pytest.mark.parametrize("fails", [False, True])
async def test_pending_is_waited_for_and_failed_is_a_refusal(
    tmp_path: Path, world: Any, kind: LoanType, fails: bool
) -> None:
    async with margin(tmp_path, world) as b:
        fate = Fate(pending_ms=6_000, fails=fails)
        b.lender.next_fates.extend([fate] if kind is LoanType.BORROW else [Fate(), fate])
        await b.signal()
        if kind is LoanType.BORROW:
            await b.wait(4)
            assert isinstance(b.position.phase, Borrowing)
            assert b.sent("ENTRY") == []
            if fails:
                closed = await b.ends(Reason.BORROW_REFUSED)
                assert b.owed() == {}
                b.adds_up_on_margin(closed)
                return
        await b.wait(6)
        await b.move(0)
        await b.move(-1)
        if kind is LoanType.REPAY:
            await b.wait(2)
            assert isinstance(b.position.phase, Repaying)
        closed = await b.ends(Reason.SL)
        assert b.owed() == {}
        b.adds_up_on_margin(closed)


@WORLDS
@pytest.mark.parametrize("shown", list(LoanRecord))
async def test_it_is_right_however_an_accepted_loan_shows_among_the_records(
    tmp_path: Path, world: Any, shown: LoanRecord
) -> None:
    async with margin(tmp_path, world) as b:
        b.engine.choices = ExchangeChoices(loan_record=shown)
        await b.signal()
        await b.wait(8)
        await b.move(0)
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert len(b.lender.records) == 2
        assert b.owed() == {}
        b.adds_up_on_margin(closed)


@WORLDS
async def test_another_loan_being_worked_on_is_waited_out(tmp_path: Path, world: Any) -> None:
    busy = RequestFault(execute=False, answer=Answer(400, b'{"code":-3007,"msg":"You have pending transaction."}'))
    exchange = Lender(LoanType.BORROW, busy)
    async with margin(tmp_path, world, faults=exchange) as b:
        await b.enter(then=2)
        await b.move(-1)
        closed = await b.ends(Reason.SL, refusals=["loan_busy"])
        assert exchange.count(LoanType.BORROW) == 2
        b.adds_up_on_margin(closed)


@WORLDS
@KINDS
async def test_a_restart_settles_a_loan_in_doubt_before_anything_else(
    tmp_path: Path, world: Any, kind: LoanType
) -> None:
    """Rule 11.12: the answer was lost, and the service with it."""
    exchange = Lender(kind, RequestFault(disconnect=True))
    async with margin(tmp_path, world, faults=exchange) as b:
        b.engine.choices = ExchangeChoices(loan_record=LoanRecord.PENDING)
        await b.signal()
        if kind is LoanType.REPAY:
            await b.wait(6)
            await b.move(0)
            await b.move(-1, then=0)
            await b.until(lambda: exchange.count(LoanType.REPAY) == 1)
        assert b.state.loan is not None
        assert b.state.loan.phase is not LoanPhase.CLOSED
        await b.restart()
        assert b.state.loan is not None
        await b.wait(10)
        if kind is LoanType.BORROW:
            await b.move(0)
            await b.move(-1)
        closed = await b.ends(Reason.SL, within=SETTLES_S)
        assert exchange.count(LoanType.BORROW) == exchange.count(LoanType.REPAY) == 1
        assert b.owed() == {}
        b.adds_up_on_margin(closed)
