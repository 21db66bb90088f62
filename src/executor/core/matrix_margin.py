"""What the matrix shows of a trade on borrowed money: an account that lends as it is asked, and the facts it tells."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.model import events
from executor.core.model.events import AnyEvent
from executor.core.model.facts import Balance
from executor.core.model.intents import MarginRead, QueryBorrowable, QueryLoans, QueryMargin
from executor.core.model.loans import (
    Bars,
    Borrowable,
    Debt,
    Loan,
    LoanEnd,
    LoanKind,
    LoanRecord,
    MarginAccount,
    MarginTerms,
    RecordStatus,
)
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Repaying, State
from executor.core.model.values import ZERO

TERMS: Final = MarginTerms(
    isolated=True, bars=Bars(borrow=Decimal("1.25"), call=Decimal("1.19"), liquidation=Decimal("1.15"))
)
OWN: Final = Decimal(100)
"""Quote that the account holds of its own."""
_QUOTE: Final = "USDT"
_PRICE: Final = Decimal(100)
_SPENT: Final = Decimal(300)
_LOW: Final = Decimal("1.16")
"""A margin level below which a trade is closed."""


def on_margin(rules: SymbolRules) -> SymbolRules:
    return replace(rules, margin=TERMS, cancel_replace_allowed=False)


def account(state: State, *, principal: Decimal | None = None) -> MarginAccount:
    """The account of a long as the state knows it; or with another debt."""
    owed = _owed(state) if principal is None else principal
    position = state.position
    held = position is not None and bool(position.legs) and not isinstance(position.phase, Repaying)
    quote, base = OWN + owed - (_SPENT if held else ZERO), Decimal(3) if held else ZERO
    assets = quote + base * _PRICE
    return MarginAccount(
        asked_at=state.market.now,
        balances={_QUOTE: Balance(quote), "LTC": Balance(base)},
        debts={_QUOTE: Debt(owed)} if owed else {},
        assets=assets,
        liabilities=owed,
        price=_PRICE,
        level=assets / owed if owed else None,
    )


def _owed(state: State) -> Decimal:
    return sum((debt.own + debt.foreign for debt in state.debts), ZERO)


def answer(state: State, request: MarginRead) -> AnyEvent:
    """What is read where everything is as the state believes; a loan under way is done."""
    now, seq = state.market.now, request.seq
    match request:
        case QueryMargin():
            return events.MarginSeen(at=now, account=account(state), seq=seq)
        case QueryLoans():
            return _listed(state, RecordStatus.CONFIRMED, request)
        case QueryBorrowable():
            most = Borrowable(request.asset, Decimal(1_000), now)
            return events.BorrowableSeen(at=now, borrowable=most, seq=seq)
        case _:
            return events.LiquidationsSeen(at=now, times=(), asked_at=now, seq=seq)


def _listed(state: State, status: RecordStatus, request: QueryLoans | None = None) -> events.LoansSeen:
    """The records, with the newest loan in that status."""
    now, loan = state.market.now, state.loan
    kind = loan.kind if loan is not None else LoanKind.BORROW
    if request is not None:
        kind = request.kind
    rows = (_row(loan, status),) if loan is not None and loan.kind is kind else ()
    shown = account(state, principal=_after(state, loan) if status is RecordStatus.CONFIRMED else None)
    seq = request.seq if request is not None else 0
    return events.LoansSeen(at=now, kind=kind, asset=_QUOTE, account=shown, records=rows, asked_at=now, seq=seq)


def _row(loan: Loan, status: RecordStatus) -> LoanRecord:
    ended = RecordStatus.CONFIRMED if loan.end is LoanEnd.DONE else status
    return LoanRecord(
        tran_id=loan.tran_id or loan.n,
        kind=loan.kind,
        asset=loan.asset,
        amount=loan.amount,
        status=ended,
        time=loan.sent_at,
    )


def _after(state: State, loan: Loan | None) -> Decimal | None:
    if loan is None or not loan.open:
        return None
    return _owed(state) + (loan.amount if loan.kind is LoanKind.BORROW else -loan.amount)


def cases(state: State, now: int) -> Iterator[tuple[str, AnyEvent]]:
    """What an account may tell in `state`."""
    shown = replace(account(state), asked_at=now)
    yield "as known", events.MarginSeen(at=now, account=shown)
    yield "older than known", events.MarginSeen(at=now, account=replace(shown, asked_at=1))
    slip = replace(account(state, principal=_owed(state) or None), asked_at=now, level=_LOW)
    low = replace(slip, assets=slip.liabilities * _LOW)
    yield "at a low level", events.MarginSeen(at=now, account=low)
    yield "at a level that is a slip", events.MarginSeen(at=now, account=slip)
    more = replace(account(state, principal=_owed(state) + 50), asked_at=now)
    yield "with a debt that is not ours", events.MarginSeen(at=now, account=more)
    for status in RecordStatus:
        yield status.lower(), replace(_listed(replace(state, market=replace(state.market, now=now)), status), at=now)
    nothing = replace(_listed(replace(state, market=replace(state.market, now=now)), RecordStatus.FAILED), records=())
    yield "none", replace(nothing, at=now)
    yield "read", events.BorrowableSeen(at=now, borrowable=Borrowable(_QUOTE, Decimal(1_000), now))
    yield "none", events.LiquidationsSeen(at=now, times=(), asked_at=now)
