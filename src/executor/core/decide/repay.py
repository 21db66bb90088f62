"""Decide while repaying (rules 11.7, 11.8): what is owed is given back to the last unit, or what is left is named.

The debt is read before each repayment and after it: interest may be charged at any moment, and what is asked for at
once may be more than is owed by then, or leave a rest. So it goes on until nothing is owed, or nothing more can be done
about it; a repayment that can't be had for a reason that passes is asked for again, with growing pauses, for ever.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book import debt as debts
from executor.core.book.borrowing import terms_of
from executor.core.decide import closing, lending
from executor.core.decide.draft import Draft
from executor.core.decide.outbox import RECORDS_MS, Outbox
from executor.core.model.facts import PASSING, Why
from executor.core.model.ids import Role
from executor.core.model.intents import Level
from executor.core.model.loans import PRECISION, Loan, LoanEnd, LoanKind, OwnDebt, Repayment
from executor.core.model.orders import SHOWN_MS
from executor.core.model.state import End, Reason, Repaying
from executor.core.model.values import ONE, ZERO, Direction, OrderType, ceil_to, floor_to, short

HOUR_MS: Final = 3_600_000
AROUND_THE_HOUR_MS: Final = 5_000
"""Interest is charged at the full hour: a sum that was read before may be too small after it (rule 11.7)."""
PAUSE_MAX_MS: Final = 60_000
DOUBLINGS_MAX: Final = 6
EXACT_TRIES: Final = 3
BUYS_MAX: Final = 3
FOR_OTHERS_MS: Final = 60_000
"""So long what other symbols need of what would repay a debt is waited for: an exit is being moved, a trade closed."""
_LEFT_BESIDE: Final = 100
"""The exchange may leave no small rest of a debt. Where that rest is somebody else's, which is not ours to repay (rule
11.4), a hundredth of our own stays beside it; where that is not taken either, all of ours is carried (11.7).
"""
_ROOM: Final = Decimal("1.02")
"""What is bought at market is judged by an average price; and may cost a little more than the last one."""
_MORE: Final = Decimal("1.25")
"""So much more is bought where a filter does not take the least, as that price is far from the last one."""

_GONE: Final = frozenset({Reason.LIQUIDATED, Reason.EXTERNAL})
"""Nothing of such a trade is traded any more."""

Buy = Callable[[Repayment, OwnDebt, Decimal], Repayment | None]


def owes(draft: Draft) -> bool:
    """Whether the trade that is over has anything to give back, or may have."""
    credit, loan = draft.position.credit, draft.loan
    if credit is None:
        return False
    if credit.unclaimed or debts.owed(draft.state.debts):
        return True
    return loan is not None and (loan.open or _unread(draft, loan))


def _unread(draft: Draft, loan: Loan) -> bool:
    """Whether the account was not read since it was found out that the trade's loan had never been made."""
    account = draft.market.margin
    ended = loan.end in (LoanEnd.NEVER, LoanEnd.FAILED) and loan.sent_at >= draft.position.opened
    return ended and (account is None or account.asked_at < loan.closed_at)


def begin(draft: Draft, reason: Reason) -> None:
    loan = draft.loan
    judged = loan.n if loan is not None and not loan.open else 0
    draft.enter(Repaying(reason=reason, work=Repayment(since=draft.now, judged=judged)))


def tend(draft: Draft, phase: Repaying) -> Reason | None:
    """One step; the reason of the trade's end once nothing is owed, or nothing more can be given back."""
    if _come_back(draft, phase):
        draft.close(phase.reason, abandon=phase.reason in _GONE)
        return None
    if any(order.live for order in draft.position.orders) or closing.price_fills(draft):
        return None
    bought = [order for order in draft.position.orders if order.role is Role.DEBT]
    since = max([phase.work.since, *(order.closed_at for order in bought)])

    def buy(work: Repayment, debt: OwnDebt, missing: Decimal) -> Repayment | None:
        return _buy(draft, work, debt, missing)

    work = step(draft, phase.work, since, buy)
    if work is None:
        return phase.reason
    if work != phase.work:
        draft.enter(replace(phase, work=work))
    return None


def _come_back(draft: Draft, phase: Repaying) -> bool:
    """Whether an order that was thought to be over has told of itself since: it is dismissed, and what it has traded is
    put right, before the trade ends (rules 6.3, 7.1). Repaying may take hours.
    """
    orders = [order for order in draft.position.orders if order.role is not Role.DEBT]
    return any(order.live or (order.cum_qty and order.heard_at > phase.work.since) for order in orders)


def step(outbox: Outbox, work: Repayment, since: int, buy: Buy | None = None) -> Repayment | None:
    """One step of giving back; None once there is no other. `since`: what was read before says nothing any more."""
    if lending.look(outbox) or outbox.changing():
        return work
    work = _judged(outbox, work)
    if outbox.now < work.ask_at:
        return work
    loan = outbox.loan
    since = max(since, loan.closed_at if loan is not None else 0)
    for debt in _owing(outbox, since):
        if not lending.explained(outbox, LoanKind.REPAY, debt.asset, since):
            return work
        after = _repay(outbox, work, debt, since, buy)
        if after is not None:
            return after
    return None


def _owing(outbox: Outbox, since: int) -> list[OwnDebt]:
    """What we owe, or may owe: what was not read since then, or is not explained yet, counts as owed."""
    account, position = outbox.market.margin, outbox.state.position
    read = account is not None and account.asked_at >= since
    owing = [debt for debt in outbox.state.debts if debt.own > 0 or debt.moved or not read]
    credit = position.credit if position is not None else None
    asked = credit is not None and (credit.unclaimed or not read)
    if credit is not None and asked and all(debt.asset != credit.asset for debt in owing):
        owing.append(OwnDebt(asset=credit.asset))
    return owing


def _judged(outbox: Outbox, work: Repayment) -> Repayment:
    """`work` with what the end of the newest repayment teaches; each is judged once."""
    loan = outbox.loan
    if loan is None or loan.n <= work.judged:
        return work
    work = replace(work, judged=loan.n)
    if loan.end is LoanEnd.DONE:
        return replace(work, again=0, exact=0)
    if loan.refusal is Why.DEBT_SUM:
        part = loan.amount < debts.find(outbox.state.debts, loan.asset).own
        work = replace(work, exact=work.exact + 1, whole=work.whole or part)
        if work.exact <= EXACT_TRIES:
            return work  # the debt has grown, or shrunk: read anew, it is asked for to the last unit
    work = _not_taken(outbox, work, f"repayments of {loan.asset}")
    return replace(work, ask_at=lending.again_at(loan, _pause(outbox, work.again), work.again))


def _not_taken(outbox: Outbox, work: Repayment, what: str) -> Repayment:
    """`work` with one more failure in a row, told of now and then."""
    work = replace(work, again=work.again + 1)
    if work.again % outbox.policy.failsafe_tries == 0:
        text = f"{work.again} {what} in a row were not taken: interest runs, it is tried again"
        outbox.note(Level.ALERT, "repay_failed", text)
    return work


def _pause(outbox: Outbox, again: int) -> int:
    """How long to wait after the `again`th failure in a row (ms)."""
    return min(outbox.policy.exits_retry_ms << min(again - 1, DOUBLINGS_MAX), PAUSE_MAX_MS)


def _repay(outbox: Outbox, work: Repayment, debt: OwnDebt, since: int, buy: Buy | None) -> Repayment | None:
    """The next step for one debt; None where nothing can be done about it. What the account holds may be told as it was
    a moment before: that it is too little is looked at again, before anything is bought for it or given up.
    """
    account, terms = outbox.market.margin, outbox.rules.margin
    assert account is not None
    assert terms is not None
    whole = work.whole
    amount = min(floor_to(account.available(debt.asset), PRECISION), debt.own)
    if amount < debt.own:
        if not work.short_at:
            work = replace(work, short_at=account.asked_at)
        lacks = debt.own - account.free(debt.asset)
        grace = outbox.policy.absence_grace_ms if lacks > 0 else max(outbox.policy.absence_grace_ms, FOR_OTHERS_MS)
        believed = max(work.short_at + grace, max(since, outbox.market.ahead_at) + SHOWN_MS)
        if account.asked_at < believed:
            outbox.read_again(lending.seen_again_at(outbox, work.short_at, believed))
            outbox.query_loans(LoanKind.REPAY, debt.asset, outbox.now - RECORDS_MS)
            return work
        bought = buy(work, debt, lacks) if buy is not None and lacks > 0 else None
        if bought is not None:
            return bought
    elif work.exact > EXACT_TRIES and account.debt(debt.asset).total > debt.own:
        amount = floor_to(debt.own - debt.own / _LEFT_BESIDE, PRECISION)  # what others owe is too small a rest alone
        whole = work.exact > EXACT_TRIES + 1  # all of ours alone was not taken, whatever a part was refused for before
    if not amount or amount < terms_of(debt.asset, terms, outbox.rules).min_repay or (whole and amount < debt.own):
        return None
    wait, late_until = _around_the_hour(outbox.now), lending.late_until(outbox)
    if wait or outbox.now < late_until:
        return replace(work, ask_at=max(outbox.now + wait, late_until))
    if not lending.known(outbox, LoanKind.REPAY, debt.asset, max(since, late_until)):
        return work
    outbox.repay(debt.asset, amount)
    return replace(work, short_at=0)


def _around_the_hour(now: int) -> int:
    """How long to wait until interest has been charged (ms)."""
    into = (now + AROUND_THE_HOUR_MS) % HOUR_MS
    return 2 * AROUND_THE_HOUR_MS - into if into < 2 * AROUND_THE_HOUR_MS else 0


def _buy(draft: Draft, work: Repayment, debt: OwnDebt, missing: Decimal) -> Repayment | None:
    """What a short's debt still lacks is bought, where it can be (rule 11.6); None where it is too little, or there is
    nothing to buy it with. Less than can be bought is bought all the same where the exchange would else take nothing.
    """
    position, rules, account = draft.position, draft.rules, draft.market.margin
    assert account is not None
    last = next((order for order in reversed(position.orders) if order.role is Role.DEBT), None)
    passing = last is not None and (last.refusal in PASSING or last.end is End.NEVER)
    tries = work.bought - passing  # what never came to the book says nothing of what can be bought
    if debt.asset != rules.base or position.plan.direction is Direction.LONG or tries >= BUYS_MAX:
        return None
    if last is not None and passing:
        due = max(last.closed_at + _pause(draft, work.again + 1), last.ask_at)
        if draft.now < due:
            return replace(work, ask_at=due)
        work = _not_taken(draft, work, f"orders to buy {debt.asset} for the debt")
    price, keep = draft.price, debts.kept(position, rules)
    qty = debts.gross(missing, keep, rules.step)
    if work.whole:
        least = max(rules.min_qty, rules.min_notional * _ROOM / price)
        if last is not None and last.refusal is Why.FILTER:
            least = max(least, last.qty * _MORE)
        qty = max(qty, ceil_to(least, rules.step))
    qty = rules.market_piece(qty, price)
    if not qty or account.available(rules.quote) < qty * price * _ROOM:
        return None
    text = f"{short(qty)} {rules.base} bought at market: the debt lacks {short(missing)}"
    draft.note(Level.WARNING, "debt_bought", text)
    draft.outdate()
    draft.place(draft.order(Role.DEBT, position.plan.direction.exit_side, OrderType.MARKET, qty))
    return replace(work, bought=tries + 1, short_at=0)


def named_rest(outbox: Outbox) -> tuple[OwnDebt, ...]:
    """The debts, with what is still owed named: an alert where it is more than dust (rule 11.7)."""
    rules, quote, account = outbox.rules, outbox.market.quote, outbox.market.margin
    named = []
    for debt in outbox.state.debts:
        left = debt.own > 0
        named.append(replace(debt, named=left))
        if left:
            worth = debt.own * (quote.last if debt.asset == rules.base and quote is not None else ONE)
            free = account.available(debt.asset) if account is not None else ZERO
            resolves = f"`executor repay {debt.asset}` gives them back"
            text = f"{short(debt.own)} {debt.asset} are owed still, {short(free)} are free: {resolves}"
            outbox.note(Level.ALERT if worth >= rules.min_notional else Level.WARNING, "debt_left", text)
    return tuple(named)
