"""Decide while borrowing (rules 11.1-11.3): what the entry lacks is borrowed once, and known to be there before it."""

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book import debt as debts
from executor.core.book.borrowing import broken_bound, missing, terms_of
from executor.core.book.levels import beyond, past
from executor.core.decide import lending
from executor.core.decide.draft import Draft
from executor.core.decide.price_guard import fresh_quote, past_plan
from executor.core.model.intents import Level
from executor.core.model.loans import Credit, Loan, LoanEnd, LoanKind
from executor.core.model.state import Borrowing, Entering, Reason
from executor.core.model.values import short

_CLOCKS_APART_MS: Final = 2_000
"""A record's time is the exchange's own."""


def decide(draft: Draft, phase: Borrowing) -> None:
    if lending.look(draft) or draft.changing():
        return
    credit, terms = draft.position.credit, draft.rules.margin
    assert credit is not None
    assert terms is not None
    last = _last(draft, phase)
    end = phase.end or _too_late(draft, phase) or _refused(draft, last)
    if end is not None:
        draft.close(end)
        return
    if last is not None and lending.passing(last) and last.n > phase.judged:
        again = phase.again + 1
        retry_at = lending.again_at(last, draft.policy.exits_retry_ms, again)
        phase = replace(phase, judged=last.n, again=again, retry_at=retry_at)
        draft.enter(phase)
    if draft.now < phase.retry_at or draft.market.ending:
        return
    since = _since(draft, phase, last)
    if not _known(draft, credit.asset, since) or _waits(draft, credit, since):
        return
    account = draft.market.margin
    assert account is not None
    end = _by_hand(draft, credit.asset)
    if end is not None:
        draft.close(end)
        return
    borrowed = debts.find(draft.state.debts, credit.asset).borrowed
    lacks = missing(credit.need, account.available(credit.asset), terms_of(credit.asset, terms, draft.rules))
    if not borrowed:  # what is there without a loan, now that it is known what must be borrowed
        credit = replace(credit, spare=min(account.available(credit.asset), credit.need))
        draft.update(credit=credit)
    if (lacks or not borrowed) and (why := _not_lent(draft, lacks, borrowed)):
        draft.note(Level.ALERT, "borrow_refused", why)
        draft.close(Reason.BORROW_REFUSED)
    elif lacks:
        _borrow(draft, phase, credit.asset, lacks)
    else:
        _enter(draft)


def _since(draft: Draft, phase: Borrowing, last: Loan | None) -> int:
    """What was read before tells nothing any more (ms): a loan has ended since, or one of before could still come."""
    late_until = lending.late_until(draft)
    settled = late_until if draft.now >= late_until else 0
    return max(phase.since, last.closed_at if last is not None else 0, settled)


def _borrow(draft: Draft, phase: Borrowing, asset: str, amount: Decimal) -> None:
    late_until = lending.late_until(draft)
    if draft.now < late_until:
        draft.enter(replace(phase, retry_at=late_until))
    else:
        draft.borrow(asset, amount)


def _waits(draft: Draft, credit: Credit, since: int) -> bool:
    """Whether the account has to tell more before anything is borrowed: it is read again, in growing pauses."""
    if not (_unshown(draft, credit.asset) or _waits_for_others(draft, credit)):
        return False
    lending.read_later(draft, LoanKind.BORROW, credit.asset, since)
    return True


def _unshown(draft: Draft, asset: str) -> bool:
    """Whether a loan stands in the records that was made for this trade by a state that is lost, and the account does
    not show it yet: it is not borrowed again (rules 9.2, 11.3).
    """
    records, account, known = draft.market.records, draft.market.margin, draft.loan
    assert records is not None
    assert account is not None
    before = records.newest < draft.position.opened - _CLOCKS_APART_MS
    if before or (known is not None and known.sent_at >= records.newest):
        return False
    shown = account.debts.get(asset)
    return shown is None or shown.total < records.amount


def _not_lent(draft: Draft, lacks: Decimal, borrowed: Decimal) -> str:
    """Why `lacks` is not borrowed beside what was `borrowed` for the entry already, or the entry not made without a
    loan; empty where it is. The bounds held when the signal was judged, but another symbol may have spent what was free
    then, or have borrowed beside it (rules 11.2, 11.10).
    """
    position, account, borrowable = draft.position, draft.market.margin, draft.market.borrowable
    credit, terms = position.credit, draft.rules.margin
    assert credit is not None
    assert terms is not None
    assert account is not None
    assert borrowable is not None
    if lacks and (lacks > borrowable.amount or (borrowed and borrowed + lacks > credit.need)):
        already = f", {short(borrowed)} were borrowed already" if borrowed else ""
        can = f"{short(borrowable.amount)} can be borrowed now"
        return f"{short(lacks)} {credit.asset} are missing for the entry, {can}{already}"
    bound = broken_bound(lacks, account, position.plan, terms, draft.policy, draft.rules, before=borrowed)
    return f"{bound.text}: there is no entry" if bound is not None else ""


def _enter(draft: Draft) -> None:
    """The loan may have taken long: the price is looked at once more where it is not fresh (rule 3.3b)."""
    quote = fresh_quote(draft, 0)
    if quote is None:
        draft.query_quote()
    elif (reason := past_plan(draft, quote)) is not None:
        draft.close(reason)
    else:
        draft.enter(Entering(give_up_at=draft.now + draft.policy.entry_timeout_ms))


def _by_hand(draft: Draft, asset: str) -> Reason | None:
    """Why there is no entry where somebody else has borrowed meanwhile, so that what is free may be theirs (rule 11.4),
    or has repaid our loan, as a liquidation does (rule 11.11).
    """
    debt = debts.find(draft.state.debts, asset)
    if debt.by_hand:
        text = f"somebody else has repaid {short(debt.by_hand)} {asset} of the loan: there is no entry"
        draft.note(Level.ALERT, "borrow_refused", text)
        return Reason.EXTERNAL
    if debt.foreign <= 0 or draft.policy.allow_foreign_debt:
        return None
    text = f"somebody else has borrowed {short(debt.foreign)} {asset} meanwhile: there is no entry beside it"
    draft.note(Level.ALERT, "borrow_refused", text)
    return Reason.BORROW_REFUSED


def not_owed(draft: Draft) -> Reason | None:
    """Why no more is entered on money that was borrowed, where the account does not show the loan any more: it may have
    been liquidated, and what lies there is not borrowed (rule 11.11).
    """
    credit = draft.position.credit
    debt = debts.find(draft.state.debts, credit.asset if credit is not None else "")
    if debt.by_hand:
        return Reason.EXTERNAL
    return Reason.ENTRY_TIMEOUT if debt.in_question else None


def _last(draft: Draft, phase: Borrowing) -> Loan | None:
    """The newest loan of this trade."""
    loan = draft.loan
    return loan if loan is not None and loan.kind is LoanKind.BORROW and loan.sent_at >= phase.since else None


def _known(draft: Draft, asset: str, since: int) -> bool:
    """Whether all that the loan rests on was read at `since` or later: asked for together."""
    borrowable = draft.market.borrowable
    asked = borrowable is not None and borrowable.asset == asset and borrowable.asked_at >= draft.position.opened
    if not asked:
        draft.query_borrowable(asset)
    return lending.known(draft, LoanKind.BORROW, asset, since) and asked


def _waits_for_others(draft: Draft, credit: Credit) -> bool:
    """Whether the loan is there, and another symbol may need of it: or has spent its own, which is not heard of yet.
    Nothing more is borrowed for that.
    """
    account = draft.market.margin
    assert account is not None
    made = debts.find(draft.state.debts, credit.asset).borrowed
    return bool(made) and account.available(credit.asset) < credit.need <= account.free(credit.asset)


def _refused(draft: Draft, last: Loan | None) -> Reason | None:
    if last is None or last.end is LoanEnd.DONE or lending.passing(last):
        return None
    draft.note(Level.ALERT, "borrow_refused", f"{short(last.amount)} {last.asset} were not lent: there is no entry")
    return Reason.BORROW_REFUSED


def _too_late(draft: Draft, phase: Borrowing) -> Reason | None:
    """The entry's guard holds for the time that borrowing takes, too (rule 3.3b)."""
    plan, quote = draft.position.plan, draft.market.quote
    if draft.now >= phase.give_up_at:
        return Reason.ENTRY_TIMEOUT
    if quote is None:
        return None
    if beyond(quote.last, plan.stop, plan.direction):
        return Reason.PLANB_PAST_STOP
    beyond_tp1 = draft.policy.planb_abort_past_tp1 and past(quote.last, plan.targets[0], plan.direction)
    return Reason.PLANB_PAST_TP1 if beyond_tp1 else None
