"""What must always hold on borrowed money (rule 11), as code: part of the invariants."""

from collections.abc import Iterator

from executor.core.book import debt as debts
from executor.core.model.intents import Borrow, Repay
from executor.core.model.loans import Loan, LoanKind, LoanPhase, OwnDebt
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Entering, Position, State
from executor.core.model.values import ZERO, Direction, plain


def find(state: State, asset: str) -> OwnDebt:
    """What we owe of `asset`."""
    return debts.find(state.debts, asset)


def flat(state: State) -> Iterator[str]:
    """11.7: no trade, no debt of ours, or one that was named."""
    for debt in state.debts:
        if debt.own > 0 and not debt.named and state.repaying is None:
            yield f"11.7: no trade is open, and {plain(debt.own)} {debt.asset} are owed without a word"


def owed(state: State) -> Iterator[str]:
    """8.1: a loan that was sent and not answered is owed, and nothing else is."""
    loan = state.loan
    waiting = [o.request.n for o in state.outbox if isinstance(o.request, Borrow | Repay)]
    wanted = [loan.n] if loan is not None and loan.phase is LoanPhase.SUBMITTED else []
    if waiting != wanted:
        yield f"8.1: loans {waiting} wait for their answers, {wanted} are called submitted"


def credit(state: State, position: Position, rules: SymbolRules) -> Iterator[str]:
    """11.3: no entry while a loan is in doubt; 11.6: what is sold on credit was borrowed, or there."""
    loan, held = state.loan, position.credit
    if loan is None and held is None:
        return
    entries = [order for order in position.orders if order.is_entry]
    if loan is not None and loan.open and any(order.live for order in entries):
        yield f"11.3: loan {loan.n} is not settled, and an entry order is live"
    if held is None or held.unclaimed or position.plan.direction is Direction.LONG:
        return
    selling = sum((order.qty if order.live else order.cum_qty for order in entries), ZERO)
    there = held.spare + debts.find(state.debts, rules.base).borrowed
    if selling > there:
        yield f"11.6: {plain(selling)} {rules.base} could be sold, {plain(there)} were there or borrowed"


def in_time(before: State, after: State, rules: SymbolRules) -> Iterator[str]:
    """11.3, 11.7: nothing is borrowed twice, and no more repaid than is owed."""
    old, new = before.loan, after.loan
    if new is None or (old is not None and new.n == old.n):
        return
    if new.n > 1 and new.follows is None:
        yield f"11.3: loan {new.n} was asked for while loan {new.n - 1} is not settled"
    if new.kind is LoanKind.REPAY:
        yield from _repaid(after, new)
    elif after.position is not None and after.position.credit is not None:
        yield from _borrowed(after, after.position, new, rules)
    else:
        yield f"11.1: loan {new.n} is for no trade"


def _repaid(state: State, loan: Loan) -> Iterator[str]:
    own = debts.find(state.debts, loan.asset).own
    if loan.amount > min(own, loan.before.total) or loan.amount <= 0:
        yield f"11.7: {plain(loan.amount)} {loan.asset} are repaid, {plain(own)} are owed by us"


def _borrowed(state: State, position: Position, loan: Loan, rules: SymbolRules) -> Iterator[str]:
    held, terms = position.credit, rules.margin
    assert held is not None
    if terms is None or loan.asset != held.asset or isinstance(position.phase, Entering):
        yield f"11.1: loan {loan.n} of {loan.asset} is not what the entry needs"
        return
    borrowed = debts.find(state.debts, loan.asset).borrowed
    least = max(terms.base.min_borrow, terms.quote.min_borrow)
    if borrowed and borrowed + loan.amount > held.need:
        yield f"11.3: {plain(borrowed)} {loan.asset} were borrowed, then {plain(loan.amount)}, for {plain(held.need)}"
    elif loan.amount > max(held.need, least):
        yield f"11.2: {plain(loan.amount)} {loan.asset} are borrowed for {plain(held.need)}"
