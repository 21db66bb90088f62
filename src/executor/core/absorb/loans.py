"""Absorb what is said of loans and debts: the account, the records, how a loan ended (rules 11.3, 11.4, 11.9)."""

from decimal import Decimal
from typing import Final, assert_never

from msgspec.structs import replace

from executor.core.book import debt as debts
from executor.core.book import margin_level
from executor.core.book.ledger import taken_from_its_base
from executor.core.model.events import BorrowableSeen, LiquidationsSeen, LoansSeen, MarginSeen
from executor.core.model.facts import Done, Refused, ReplaceOutcome, Unknown
from executor.core.model.intents import Borrow, Level, LoanCommand, Notify
from executor.core.model.loans import (
    Booked,
    Credit,
    Loan,
    LoanEnd,
    LoanKind,
    LoanPhase,
    LoanRecord,
    MarginAccount,
    Others,
    OwnDebt,
    Records,
    RecordStatus,
    Repayment,
)
from executor.core.model.orders import SHOWN_MS
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import OrderPhase, Position, State
from executor.core.model.values import ZERO, Direction, plain, short
from executor.core.model.verdict import MOVED, Absorbed, Ignored

RECORD_EARLY_MS: Final = 5_000
"""A record's time is the exchange's own, and may be so much before the request was stamped."""
_ASK_AGAIN_MS: Final = (250, 500, 1_000, 2_000, 5_000)
_ASK_AGAIN_MAX_MS: Final = 60_000
_AN_EIGHTH: Final = 8
"""The longer a loan takes, the longer the pauses between looks at it: an eighth of what was waited."""
_SLOW_MS: Final = 60_000
_LOST_MS: Final = 600_000
"""An accepted loan that is in neither the records nor the debt after so long was not carried out."""

Seen = MarginSeen | LoansSeen | BorrowableSeen | LiquidationsSeen


def absorb(state: State, event: Seen, policy: Policy, rules: SymbolRules) -> Absorbed:
    match event:
        case MarginSeen():
            return account(state, event.account, policy, rules)
        case LoansSeen():
            seen = _records(state.market.records, event)
            looked = _looked(replace(state, market=replace(state.market, records=seen)), event, policy)
            read = account(looked.state, event.account, policy, rules)
            failed = (Notify(Level.WARNING, "read_failed", event.fault),) if event.fault else ()
            return replace(read, verdict=MOVED, notes=(*failed, *looked.notes, *read.notes))
        case BorrowableSeen():
            return Absorbed(replace(state, market=replace(state.market, borrowable=event.borrowable)))
        case LiquidationsSeen():
            market = replace(state.market, liquidations=event.times, liquidations_at=event.asked_at)
            return Absorbed(replace(state, market=market))
        case _ as unreachable:
            assert_never(unreachable)


def _records(known: Records | None, event: LoansSeen) -> Records:
    unread = 0
    if event.fault:
        same = known is not None and (known.kind, known.asset) == (event.kind, event.asset)
        unread = (known.unread if known is not None and same else 0) or event.asked_at
    made = [(row.time, row.amount) for row in event.records if row.status is not RecordStatus.FAILED]
    newest, amount = max(made, default=(0, ZERO))
    ids = tuple(row.tran_id for row in event.records)
    return Records(event.kind, event.asset, event.asked_at, ids, unread, newest, amount)


def named(loan: Loan) -> str:
    what = "the loan of" if loan.kind is LoanKind.BORROW else "the repayment of"
    return f"{what} {plain(loan.amount)} {loan.asset}"


# --- the account ------------------------------------------------------------------------------------------------------


def account(state: State, shown: MarginAccount, policy: Policy, rules: SymbolRules) -> Absorbed:
    """What the account holds and owes; whose its debts are, once no loan of ours is under way that may explain them."""
    known = state.market.margin
    if known is not None and shown.asked_at < known.asked_at:
        return Absorbed(state, Ignored("older than the account at hand"))
    if shown.asked_at < state.market.ahead_at:
        return Absorbed(state, Ignored("asked for before the clock was set ahead"))
    since = _level_doubted(state, shown, policy, rules)
    market = replace(
        state.market, margin=shown, balances=shown.balances, balances_at=shown.asked_at, level_doubted_at=since
    )
    state = replace(state, market=market)
    loan = state.loan
    if loan is not None and (loan.open or shown.asked_at < loan.closed_at):
        return Absorbed(state)
    notes: list[Notify] = []
    for asset in (rules.base, rules.quote):
        before = debts.find(state.debts, asset)
        claimed = _claimed(state, before, shown)
        after = claimed or debts.read(before, shown, _grace(state, before, shown, policy))
        if claimed is not None:
            state = _without_claim(state)
        if after != OwnDebt(asset=asset):
            state = debts.with_debt(state, after)
        notes += _hands(state, before, after)
    state, late = _repaid_too(state)
    return Absorbed(_into_position(state, shown, policy, rules), MOVED, (*notes, *late))


def _grace(state: State, debt: OwnDebt, shown: MarginAccount, policy: Policy) -> int:
    """How long the account must show what our loans and interest do not explain before that is believed (ms). While it
    has not shown the newest loan or repayment of ours, or of another symbol, it may be from before that; how late reads
    may be is not documented.
    """
    others, loan = shown.others.get(debt.asset, Others()), state.loan
    beside = (others.moved, others.repaid) != (debt.others_moved, debt.others_repaid)
    if not (debt.moved or beside):
        return policy.absence_grace_ms
    known = not beside and loan is not None and loan.asset == debt.asset  # else: no earlier than it was doubted
    moved_at = loan.closed_at if known and loan is not None else debt.doubted_at
    return max(policy.absence_grace_ms, max(moved_at, state.market.ahead_at) + SHOWN_MS - debt.doubted_at)


def _level_doubted(state: State, shown: MarginAccount, policy: Policy, rules: SymbolRules) -> int:
    """Since which look (ms) the level contradicts what the account is worth; 0: it does not."""
    if rules.margin is None or not margin_level.doubtful(shown, policy, rules.margin.bars):
        return 0
    return state.market.level_doubted_at or shown.asked_at


def _claimed(state: State, before: OwnDebt, shown: MarginAccount) -> OwnDebt | None:
    """Without a record of it, what a trade's fills explain of the account's debt is its own (rule 11.12)."""
    position = state.position
    if position is None or position.credit is None or shown.unsettled:
        return None
    credit = position.credit
    if not credit.unclaimed or credit.asset != before.asset:
        return None
    return debts.claimed(before, shown, debts.explained(position, credit), debts.sold_on_credit(position, credit))


def _without_claim(state: State) -> State:
    position = state.position
    assert position is not None
    assert position.credit is not None
    return replace(state, position=replace(position, credit=replace(position.credit, unclaimed=False)))


def _repaid_too(state: State) -> tuple[State, tuple[Notify, ...]]:
    """Interest that shows only once its trade is over is repaid as soon as it does (rule 11.7)."""
    late = [debt for debt in state.debts if debt.own and not debt.named]
    if state.position is not None or state.repaying is not None or not late:
        return state, ()
    told = ", ".join(f"{short(debt.own)} {debt.asset}" for debt in late)
    note = Notify(Level.INFO, "late_interest", f"{told} of interest show only now, and are repaid")
    judged = state.loan.n if state.loan is not None else 0
    return replace(state, repaying=Repayment(since=state.market.now, judged=judged)), (note,)


def _into_position(state: State, shown: MarginAccount, policy: Policy, rules: SymbolRules) -> State:
    """What a short owes beyond what it borrowed must be bought back with it (rule 11.6). What somebody else has repaid
    of it need not be, but for what they have taken of its own base: an account of after its trades tells that.
    """
    position = state.position
    if position is None or position.credit is None:
        return state
    credit = position.credit
    if position.plan.direction is Direction.SHORT:
        debt = debts.find(state.debts, credit.asset)
        position = replace(position, spare=_there_before(position, credit, debt, shown))
        accrued = debts.accrued(debt, position.spare or ZERO)
        if debt.by_hand:
            traded_at = max((order.heard_at for order in position.orders if order.cum_qty), default=0)
            if shown.asked_at < traded_at + policy.absence_grace_ms:
                return state
            accrued += taken_from_its_base(position, debt, shown, rules)
        credit = replace(credit, accrued=accrued, lapsed=debt.lapsed)
    position = replace(position, credit=credit)
    return state if position == state.position else replace(state, position=position)


def _there_before(position: Position, credit: Credit, debt: OwnDebt, shown: MarginAccount) -> Decimal | None:
    """Base beside what the trade has borrowed. Where other symbols trade it as well, what they need when the trade
    begins may be given back before its entry has filled.
    """
    entry = position.orders[0] if len(position.orders) == 1 else None
    if not credit.shared or entry is None or entry.phase is not OrderPhase.WORKING or entry.cum_qty:
        return position.spare
    if shown.asked_at < entry.heard_at:
        return position.spare  # it need not be locked yet
    return max(position.spare or ZERO, shown.available(credit.asset) + credit.need - debt.borrowed)


def _hands(state: State, before: OwnDebt, after: OwnDebt) -> list[Notify]:
    """What of a debt was not done by us is told once, with what can be done about it."""
    asset, notes = after.asset, []
    if after.by_hand > before.by_hand:
        text = f"{short(after.by_hand - before.by_hand)} {asset} of our debt were repaid by somebody else"
        notes.append(Notify(Level.ALERT, "debt_repaid_elsewhere", text))
    if after.foreign > before.foreign and after.foreign - before.foreign > before.foreign / 100:
        whose = "somebody else has borrowed" if state.position is not None else "no trade of ours explains"
        text = f"the account owes {short(after.foreign)} {asset} that {whose}: `executor repay {asset}` gives it back"
        notes.append(Notify(Level.ALERT, "foreign_debt", text))
    return notes


# --- a loan's end -----------------------------------------------------------------------------------------------------


def answered(
    state: State, request: LoanCommand, outcome: Done | Refused | Unknown | ReplaceOutcome | Booked
) -> Absorbed:
    loan, now = state.loan, state.market.now
    if loan is None or loan.n != request.n or not loan.open:
        return Absorbed(state, Ignored(f"loan {request.n} is not under way"))
    match outcome:
        case Booked():
            return Absorbed(
                replace(state, loan=replace(loan, phase=LoanPhase.BOOKED, tran_id=outcome.tran_id, ask_at=now))
            )
        case Refused():
            word = "not lent" if isinstance(request, Borrow) else "not taken"
            text = f"{named(loan)}: {word}: {outcome.text} ({outcome.code})"
            over = closed(state, loan, LoanEnd.REFUSED, now)
            refused = replace(loan_of(over), refusal=outcome.why, ask_at=outcome.retry_at)
            return Absorbed(replace(over, loan=refused), MOVED, (Notify(Level.WARNING, "loan_refused", text),))
        case Unknown():
            note = Notify(Level.WARNING, "outcome_unknown", f"{named(loan)}: {outcome.text}")
            return Absorbed(replace(state, loan=doubt(loan, outcome.fence, now)), MOVED, (note,))
        case _:
            raise AssertionError(f"{request!r} was answered with {outcome!r}")


def doubt(loan: Loan, fence: int, now: int) -> Loan:
    """A loan whose request has an unknown outcome: its records and the debt tell (rule 11.3)."""
    return replace(loan, phase=LoanPhase.UNRESOLVED, fence=max(loan.fence, fence), ask_at=now)


def loan_of(state: State) -> Loan:
    assert state.loan is not None
    return state.loan


def closed(state: State, loan: Loan, end: LoanEnd, at: int, record: LoanRecord | None = None) -> State:
    """`state` with the loan at its end; one that is done has moved the debt, as its `record` says, if it has one."""
    state = replace(state, loan=replace(loan, phase=LoanPhase.CLOSED, end=end, closed_at=at, ask_at=0))
    if end is not LoanEnd.DONE:
        return state
    debt, principal = debts.find(state.debts, loan.asset), _principal(loan, record)
    return debts.with_debt(state, debts.moved(debt, loan.kind, loan.amount, principal))


def _principal(loan: Loan, record: LoanRecord | None) -> Decimal | None:
    """What of a repayment was not for interest, where its record tells, and rightly: interest is paid first."""
    if record is None or record.status is not RecordStatus.CONFIRMED:
        return None
    sound = record.principal + record.interest == loan.amount and record.interest >= min(
        loan.before.interest, loan.amount
    )
    return record.principal if sound else None


def _looked(state: State, event: LoansSeen, policy: Policy) -> Absorbed:
    """What a look at the records and at the debt tells of the loan under way."""
    loan, now = state.loan, state.market.now
    if loan is None or not loan.open or (loan.kind, loan.asset) != (event.kind, event.asset):
        return Absorbed(state)
    if loan.phase is LoanPhase.SUBMITTED:
        return Absorbed(state)  # its answer is on its way, and tells more
    record = _record(loan, event.records)
    if record is not None and record.status is RecordStatus.FAILED:
        text = f"{named(loan)} has failed at the exchange (record {record.tran_id})"
        return Absorbed(closed(state, loan, LoanEnd.FAILED, now), MOVED, (Notify(Level.WARNING, "loan_failed", text),))
    if record is not None:
        loan = replace(loan, tran_id=record.tran_id)
    shown = _shown(loan, event)
    since = loan.shown_at or max(event.account.asked_at, state.market.ahead_at)
    loan = replace(loan, shown_at=since if shown else 0)
    # What the debt alone shows may be an account from before the loan (8.6).
    twice = shown and event.account.asked_at - loan.shown_at >= policy.absence_grace_ms
    if twice or (record is not None and record.status is RecordStatus.CONFIRMED):
        note = Notify(Level.INFO, "borrowed" if loan.kind is LoanKind.BORROW else "repaid", f"{named(loan)} is done")
        done = closed(state, loan, LoanEnd.DONE, event.account.asked_at if shown else now, record)
        return Absorbed(done, MOVED, (note,))
    if record is not None:
        loan = replace(loan, phase=LoanPhase.BOOKED)
    asked_at = min(event.asked_at, event.account.asked_at)
    settled = loan.fence + policy.doubt_settle_ms
    if record is None and not shown and (not event.fault or _is_whole(loan)):
        loan = replace(loan, misses=loan.misses + (asked_at >= loan.fence))
        over = _not_made(loan, asked_at, settled, max(loan.sent_at, state.market.ahead_at) + _LOST_MS)
        if over is not None:
            return Absorbed(closed(state, loan, over[0], now), MOVED, (over[1],))
    return _look_again(state, loan, asked_at, settled)


def _is_whole(loan: Loan) -> bool:
    """Whether it was to repay all that is owed: asked for twice, whichever comes last is refused. So the debt alone may
    tell that it was not carried out, where the records can't be read (rule 8.7).
    """
    return loan.kind is LoanKind.REPAY and loan.amount >= loan.before.total


def _look_again(state: State, loan: Loan, asked_at: int, settled: int) -> Absorbed:
    """The look has settled nothing: another one later, in growing pauses, told of ever more seldom (rule 8.7)."""
    now = state.market.now
    longer = min((now - loan.sent_at) // _AN_EIGHTH, _ASK_AGAIN_MAX_MS)
    ask_at = now + max(_ASK_AGAIN_MS[min(loan.looks, len(_ASK_AGAIN_MS) - 1)], longer)
    if loan.phase is LoanPhase.UNRESOLVED and asked_at < settled < ask_at:
        ask_at = max(now, settled)  # a look that was under way then tells nothing yet
    loan = replace(loan, looks=loan.looks + 1, ask_at=ask_at)
    notes: tuple[Notify, ...] = ()
    if now - loan.sent_at >= max(_SLOW_MS, 2 * (loan.alerted_at - loan.sent_at)):
        loan = replace(loan, alerted_at=now)
        text = f"{named(loan)} is not settled after {(now - loan.sent_at) / 1000:.0f} s: it is looked for on and on"
        notes = (Notify(Level.ALERT, "loan_slow", text),)
    return Absorbed(replace(state, loan=loan), MOVED, notes)


def _not_made(loan: Loan, asked_at: int, settled: int, lost: int) -> tuple[LoanEnd, Notify] | None:
    """How a loan has ended of which two looks, the later one long enough after its time, have found no trace. From
    `settled` on (ms) one in doubt was never made, from `lost` on one that was accepted.
    """
    if loan.misses >= 2 and loan.phase is LoanPhase.UNRESOLVED and asked_at >= settled:
        return LoanEnd.NEVER, Notify(Level.WARNING, "loan_never", f"{named(loan)} was never carried out")
    if loan.misses < 2 or loan.phase is not LoanPhase.BOOKED or asked_at < lost:
        return None
    # Not as one that never was: a loan that comes all the same must not be borrowed a second time.
    text = (
        f"{named(loan)} was accepted as {loan.tran_id}, and neither its records nor the debt show it: not carried out"
    )
    return LoanEnd.FAILED, Notify(Level.ALERT, "loan_lost", text)


def _record(loan: Loan, records: tuple[LoanRecord, ...]) -> LoanRecord | None:
    """The loan's own record: by its number, or the one that came since it was asked for, of the same amount."""
    if loan.tran_id:
        return next((row for row in records if row.tran_id == loan.tran_id), None)
    return next((row for row in records if row.manual and row.amount == loan.amount and _is_new(loan, row)), None)


def _is_new(loan: Loan, row: LoanRecord) -> bool:
    return row.tran_id not in loan.known and row.time >= loan.sent_at - RECORD_EARLY_MS


def _shown(loan: Loan, event: LoansSeen) -> bool:
    """Whether the debt itself tells that the loan was carried out: nobody else's request is under way on it, and no
    records of others explain it, as a liquidation's do.
    """
    account = event.account
    if account.unsettled or account.asked_at < loan.sent_at:
        return False
    debt, before = account.debt(loan.asset), loan.before
    by_others = _by_others(loan, event.records)
    if loan.kind is LoanKind.BORROW:
        return debt.principal == before.principal + loan.amount and by_others < loan.amount
    rest, repaid = before.total - loan.amount, before.total - debt.total
    charged = min(before.total / debts.LARGEST_CHARGE, loan.amount / 2)  # meanwhile, at the most
    paid = debt.principal < before.principal or loan.amount <= before.interest  # else that was taken in another asset
    return rest <= debt.total < rest + charged and paid and by_others < repaid


def _by_others(loan: Loan, records: tuple[LoanRecord, ...]) -> Decimal:
    """How much others have borrowed or repaid since, by their records. That a record's number is the one that a loan
    was accepted with is not documented: where none bears it, the record that is ours but for that is of no other.
    """
    ours = _record(loan, records) or _record(replace(loan, tran_id=0), records)
    theirs = (row for row in records if row is not ours and _is_new(loan, row))
    return sum((row.amount for row in theirs if row.status is not RecordStatus.FAILED), ZERO)
