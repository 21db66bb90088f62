"""Admission on margin: whether a trade may be made on borrowed money (rules 11.2-11.4, 11.10)."""

from msgspec.structs import replace

from executor.core.absorb import loans
from executor.core.book import debt as debts
from executor.core.book.borrowing import broken_bound, missing, need, terms_of
from executor.core.model.loans import Credit, MarginAccount, MarginTerms
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Borrowing, Entering, Position, State
from executor.core.model.values import plain, short


class NotGranted(Exception):  # noqa: N818  (it says what became of the wish)
    """The trade can't be made on this account: `kind` is counted, the text is for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def grant(
    state: State,
    position: Position,
    account: MarginAccount | None,
    terms: MarginTerms,
    policy: Policy,
    rules: SymbolRules,
) -> Position:
    """`position`, which is about to begin, on borrowed money where it needs some. Raises NotGranted."""
    if terms.fault:
        raise NotGranted("margin", terms.fault)
    if account is None:
        raise NotGranted("no_balance", "the margin account could not be read")
    if not account.price:
        raise NotGranted("no_price", "what the margin account is worth can't be reckoned: a price could not be read")
    if state.loan is not None and state.loan.open:
        raise NotGranted("loan_open", f"{loans.named(state.loan)} is not settled yet")
    if state.repaying is not None:
        raise NotGranted("loan_open", "a debt is being repaid")
    plan = position.plan
    wanted = need(plan, policy, rules)
    free = account.available(wanted.asset)
    asset = terms_of(wanted.asset, terms, rules)
    borrowed = missing(wanted.amount, free, asset)
    _about_debts(state, wanted.asset, account, policy)
    if borrowed and asset.fault:
        raise NotGranted("borrow", f"{plain(borrowed)} {wanted.asset} are missing: {asset.fault}")
    if (bound := broken_bound(borrowed, account, plan, terms, policy, rules)) is not None:
        raise NotGranted(bound.kind, bound.text)
    credit = Credit(asset=wanted.asset, need=wanted.amount, spare=min(free, wanted.amount))
    if not borrowed:
        return replace(position, credit=credit)
    assert isinstance(position.phase, Entering)
    phase = Borrowing(since=state.market.now, give_up_at=position.phase.give_up_at)
    return replace(position, credit=credit, phase=phase)


def _about_debts(state: State, asset: str, account: MarginAccount, policy: Policy) -> None:
    """Debts that are not ours are not touched, and unless allowed nothing is borrowed beside them (rule 11.4)."""
    if account.unsettled:
        raise NotGranted("loan_open", "a loan of another symbol on this account is not settled yet")
    known = debts.find(state.debts, asset)
    if known.doubted_at:
        raise NotGranted("debt", f"the account shows a debt of {asset} that is not explained yet")
    if known.foreign > 0 and not policy.allow_foreign_debt:
        raise NotGranted(
            "foreign_debt",
            f"the account owes {short(known.foreign)} {asset} that Executor has not borrowed: repay it "
            f"(`executor repay {asset}`), or set MARGIN_FOREIGN_DEBT=allow to trade beside it",
        )
