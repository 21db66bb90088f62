"""What loans and repayments share: how one under way is looked for, and what must be known before one (rule 11.3)."""

from typing import Final

from executor.core.book import debt as debts
from executor.core.decide.outbox import RECORDS_MS, Outbox
from executor.core.model.facts import Why
from executor.core.model.loans import Loan, LoanEnd, LoanKind, LoanPhase

LOOK_AGAIN_MS: Final = 250
LOOK_AGAIN_MAX_MS: Final = 5_000
_AN_EIGHTH: Final = 8
_LONGEST_WINDOW_MS: Final = 60_000
"""Of a request, as the exchange has it: a fence further ahead is of a clock that was set back since."""
UNREAD_MS: Final = 10_000
UNREAD_AGAIN_MS: Final = 1_000
BUSY_AGAIN_MS: Final = (250, 500, 1_000, 2_000, 5_000)
"""After a loan that found another one being worked on: each takes about 100 ms, some were seen to take seconds."""

_PASSING: Final = frozenset({Why.LOAN_BUSY, Why.NOT_SENT, Why.WITHDRAWN, Why.RATE_LIMIT, Why.CLOCK})


def look(outbox: Outbox) -> bool:
    """Whether a loan or repayment is under way: its records and the debt are looked at, at its pace."""
    loan = outbox.loan
    if loan is None or not loan.open:
        return False
    if loan.phase is not LoanPhase.SUBMITTED and outbox.now >= loan.ask_at:
        outbox.query_loans(loan.kind, loan.asset, loan.sent_at - RECORDS_MS)
    return True


def late_until(outbox: Outbox) -> int:
    """Until when (ms) the request of the newest loan, which is over, may still be carried out. Where its answer was
    lost, what has settled it may be somebody else's doing: one that comes late would repay the next loan, or be one
    beside it (rules 8.3, 11.3).
    """
    loan = outbox.loan
    if loan is None or not loan.fence:
        return 0
    closed_at = max(loan.closed_at, outbox.market.ahead_at)  # the fence has moved with a clock that was set ahead since
    return min(loan.fence, closed_at + _LONGEST_WINDOW_MS) + outbox.policy.doubt_settle_ms


def known(outbox: Outbox, kind: LoanKind, asset: str, since: int) -> bool:
    """Whether the debt of `asset` and the records of such loans are known as of `since` (ms), so that the next one can
    be told from what was before. They are asked for where not, and again while the debt is not explained. A repayment
    is told by the debt alone where its records can't be read for long: else interest would run for as long (rule 8.7).
    """
    if not explained(outbox, kind, asset, since):
        return False
    records = outbox.market.records
    if records is not None and (records.kind, records.asset) == (kind, asset) and records.asked_at >= since:
        if not records.unread or (kind is LoanKind.REPAY and outbox.now >= records.unread + UNREAD_MS):
            return True
        outbox.read_again(records.asked_at + UNREAD_AGAIN_MS)
    outbox.query_loans(kind, asset, outbox.now - RECORDS_MS)
    return False


def explained(outbox: Outbox, kind: LoanKind, asset: str, since: int) -> bool:
    """The same for the debt alone. Whether such a loan can be made may be told by that, without its records: those of
    one kind and asset are kept at a time, and are asked for when a loan of theirs is next.
    """
    account = outbox.market.margin
    if account is None or account.asked_at < since:
        outbox.query_loans(kind, asset, outbox.now - RECORDS_MS)
        return False
    debt = debts.find(outbox.state.debts, asset)
    unpriced = kind is LoanKind.BORROW and not account.price  # the bounds of a loan rest on it
    if account.unsettled or debt.doubted_at or debt.moved or unpriced:
        read_later(outbox, kind, asset, since)
        return False
    return True


def seen_again_at(outbox: Outbox, since: int, believed: int = 0) -> int:
    """When the account is looked at again for what it has shown since `since` (ms), and is not believed yet: in pauses
    that grow, and at the moment from which it is `believed`, after the grace where none is told (rules 8.6, 8.7).
    """
    account = outbox.market.margin
    assert account is not None
    asked_at, believed = account.asked_at, believed or since + outbox.policy.absence_grace_ms
    again = asked_at + min(max(asked_at - since, LOOK_AGAIN_MS), LOOK_AGAIN_MAX_MS)
    return believed if asked_at < believed < again else again


def read_later(outbox: Outbox, kind: LoanKind, asset: str, since: int) -> None:
    """The account is read once more, in growing pauses: another symbol's loan may be in doubt for long (rule 8.7)."""
    account = outbox.market.margin
    assert account is not None
    waited = (outbox.now - since) // _AN_EIGHTH
    outbox.read_again(account.asked_at + min(max(waited, LOOK_AGAIN_MS), LOOK_AGAIN_MAX_MS))
    outbox.query_loans(kind, asset, outbox.now - RECORDS_MS)


def passing(loan: Loan) -> bool:
    """Whether the loan was not made for a reason that passes by itself."""
    return loan.end is LoanEnd.NEVER or (loan.end is LoanEnd.REFUSED and loan.refusal in _PASSING)


def again_at(loan: Loan, pause_ms: int, again: int) -> int:
    """When a loan that was refused, for the `again`th time in a row, may be asked for once more (ms)."""
    busy = BUSY_AGAIN_MS[min(again, len(BUSY_AGAIN_MS)) - 1]
    pause = {Why.LOAN_BUSY: busy, Why.WITHDRAWN: 0}.get(loan.refusal or Why.OTHER, pause_ms)
    return max(loan.closed_at + pause, loan.ask_at)
