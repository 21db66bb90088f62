"""Liquidation and repayment by another hand (rule 11.11): what is gone is a fact, not an exit to be put back."""

from executor.core.book import debt as debts
from executor.core.decide import lending, missing
from executor.core.decide.draft import Draft
from executor.core.model.intents import Level
from executor.core.model.loans import MarginAccount
from executor.core.model.state import Reason
from executor.core.model.values import ZERO, Direction, short


def tend(draft: Draft) -> bool:
    """Whether a short whose debt somebody else has repaid is over, or it is being found out how."""
    position = draft.position
    credit = position.credit
    if credit is None or position.plan.direction is Direction.LONG:
        return False
    debt = debts.find(draft.state.debts, credit.asset)
    if not debt.by_hand or draft.rules.market_piece(draft.tally.sellable, draft.price):
        return False
    _close(draft, draft.market.margin.asked_at if draft.market.margin is not None else draft.now)
    return True


def still_there(draft: Draft, since: int) -> bool:
    """Whether what an exit that vanished at `since` was for is still there; where it is not, the trade is closed. Both
    are known from the account alone.
    """
    position, account = draft.position, draft.market.margin
    credit = position.credit
    if credit is None:
        return True
    if account is None or account.asked_at < since:
        draft.query_margin()
        return False
    debt = debts.find(draft.state.debts, credit.asset)
    if debt.doubted_at:
        draft.read_again(account.asked_at + lending.LOOK_AGAIN_MS)
        draft.query_margin()
        return False
    if anything_left(draft, account):
        return True
    if _seen_twice(draft, account, since):
        _close(draft, since)
    return False


def _seen_twice(draft: Draft, account: MarginAccount, since: int) -> bool:
    """Whether the account has shown a second time that nothing is left (rule 8.6)."""
    if draft.position.short_at < since:
        draft.update(short_at=account.asked_at, short_left=ZERO, short_looked=0)
    again_at = missing.look_again_at(draft.position, draft.policy)
    if draft.now >= again_at > account.asked_at:
        draft.query_margin()
    return account.asked_at >= again_at


def anything_left(draft: Draft, account: MarginAccount) -> bool:
    """Whether the account shows something that the trade could sell, or would have to buy back."""
    if draft.position.plan.direction is Direction.LONG:
        left = account.total(draft.rules.base)
    else:
        left = debts.find(draft.state.debts, draft.rules.base).own
    return bool(draft.rules.market_piece(left, draft.price))


def _close(draft: Draft, since: int) -> None:
    """Whose work it was is asked for: the exchange lists what it has liquidated."""
    market, position = draft.market, draft.position
    if market.liquidations_at < since:
        draft.query_liquidations(position.opened)
        return
    owed = ", ".join(f"{short(left)} {asset}" for asset, left in debts.owed(draft.state.debts).items()) or "nothing"
    if any(time >= position.opened for time in market.liquidations):
        text = f"the exchange has liquidated the account; {owed} is owed as far as known"
        draft.note(Level.ALERT, "liquidated", text)
        draft.close(Reason.LIQUIDATED, abandon=True)
    else:
        text = f"what the trade held was closed by somebody else; {owed} is owed as far as known"
        draft.note(Level.ALERT, "closed_elsewhere", text)
        draft.close(Reason.EXTERNAL, abandon=True)
