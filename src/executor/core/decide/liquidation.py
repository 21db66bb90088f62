"""Liquidation and repayment by another hand (rule 11.11): what is gone is a fact, not an exit to be put back."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from executor.core.book import debt as debts
from executor.core.decide import lending, missing
from executor.core.decide.draft import Draft
from executor.core.model.intents import Level
from executor.core.model.loans import MarginAccount
from executor.core.model.state import Leg, Reason
from executor.core.model.values import ZERO, Direction, short

_EVER: Final = 1
"""Since before this process has read anything (ms)."""


def tend(draft: Draft) -> bool:
    """Whether a short whose debt somebody else has repaid is over, or it is being found out how. Meanwhile nothing of
    it is to be bought any more.
    """
    position = draft.position
    credit = position.credit
    if credit is None or position.plan.direction is Direction.LONG:
        return False
    debt = debts.find(draft.state.debts, credit.asset)
    if not debt.by_hand or draft.rules.market_piece(draft.tally.sellable, draft.price):
        return False
    if debts.sized(position) <= draft.tally.holding.left:
        return False  # its own exits have bought what was left to be bought
    draft.dismiss(draft.live())
    account = draft.market.margin  # None: since the start none was read, and the debt was known to be gone before it
    _close(draft, account.asked_at if account is not None else _EVER)
    return True


def take_off(draft: Draft) -> None:
    """What somebody else has repaid of a short's debt is not bought back: it is taken off the legs, the last one first,
    and what stands for them is cut (rules 6.6b, 11.6). What is too small for exits of its own goes to another leg.
    """
    credit, rules, tally = draft.position.credit, draft.rules, draft.tally
    if credit is None or draft.position.plan.direction is Direction.LONG:
        return
    sized = debts.sized(draft.position)
    excess = sized - tally.holding.left - tally.sellable
    by_hand = debts.find(draft.state.debts, credit.asset).by_hand
    if by_hand < rules.step or excess <= debts.LEFT_OVER_STEPS * rules.step + sized * (1 - rules.worst_keep()):
        return  # so little more than is owed is bought for rounding, and for a commission that may be lower, too
    text = (
        f"{short(excess)} {rules.base} of the position are not owed any more, somebody else has repaid them; the exits "
        f"are for the {short(tally.sellable)} that are"
    )
    draft.note(Level.ALERT, "part_missing", text)
    legs = {leg.n: leg for leg in draft.position.legs}
    whole = legs.pop(0, None)
    if whole is not None:
        draft.put_leg(replace(whole, qty=whole.qty - excess))
    _cut(draft, list(legs.values()))


def _cut(draft: Draft, legs: Sequence[Leg]) -> None:
    """Of what these are for in all no more than is held; what stands beside a stop of the whole may be for less."""
    left = [max(leg.qty - draft.tally.sold.get(leg.n, ZERO), ZERO) for leg in legs]
    excess = max(sum(left, ZERO) - draft.tally.sellable, ZERO)
    for i, leg in reversed(list(enumerate(legs))):
        rest = max(left[i] - excess, ZERO)
        price = draft.price if leg.target is None else min(draft.price, leg.target)
        if any(part > 0 for part in left[:i]) and not draft.rules.market_piece(rest, price):
            rest = ZERO
        excess -= left[i] - rest
        draft.put_leg(replace(leg, qty=leg.qty - left[i] + rest))


def repaid_perhaps(draft: Draft) -> bool:
    """Whether a short's debt was shown smaller than is known, once (rule 8.6): what somebody else may have bought back
    is not bought at market until the account was looked at again. Not waited for where that can't be had (rule 8.7).
    """
    position, account = draft.position, draft.market.margin
    credit = position.credit
    if credit is None or account is None or position.plan.direction is Direction.LONG:
        return False
    debt = debts.find(draft.state.debts, credit.asset)
    until = debt.doubted_at + draft.policy.absence_grace_ms + lending.UNREAD_AGAIN_MS
    if draft.now >= until or not debts.less_shown(debt, account):
        return False
    draft.read_again(min(lending.seen_again_at(draft, debt.doubted_at), until))
    draft.query_margin()
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
        return _taken_for_there(draft, since)
    debt = debts.find(draft.state.debts, credit.asset)
    if debt.in_question:
        draft.read_again(lending.seen_again_at(draft, debt.doubted_at))
        draft.query_margin()
        return False
    if anything_left(draft, account):
        return True
    if _seen_twice(draft, account, since):
        _close(draft, since)
    return False


def _taken_for_there(draft: Draft, since: int) -> bool:
    """The account can't be read: of a long the lock decides, as an exit for what is gone is refused. A short's is put
    back once the list of liquidations has none (rules 8.7, 11.11).
    """
    grace = draft.policy.quote_max_age_ms
    if draft.now < since + grace:
        return False
    if draft.position.plan.direction is Direction.LONG:
        return True
    market = draft.market
    if market.liquidations_at < since:
        draft.query_liquidations(draft.position.opened)
        return False
    return not any(time >= draft.position.opened for time in market.liquidations)


def _seen_twice(draft: Draft, account: MarginAccount, since: int) -> bool:
    """Whether the account has shown a second time that nothing is left (rule 8.6)."""
    if draft.position.short_at < since:
        draft.update(short_at=account.asked_at, short_left=ZERO, short_looked=0)
    again_at = missing.look_again_at(draft.position, draft.policy)
    if draft.now >= again_at > account.asked_at:
        draft.query_margin()
    return account.asked_at >= again_at


def anything_left(draft: Draft, account: MarginAccount) -> bool:
    """Whether the account shows something that the trade could sell, or would have to buy back: its debt, and what it
    has sold of base that it had not borrowed.
    """
    if draft.position.plan.direction is Direction.LONG:
        left = account.total(draft.rules.base)
    else:
        left = max(debts.find(draft.state.debts, draft.rules.base).own, draft.tally.sellable)
    return bool(draft.rules.market_piece(left, draft.price))


def _close(draft: Draft, since: int) -> None:
    """Whose work it was is asked for: the exchange lists what it has liquidated. Where that can't be read for long, the
    trade is over all the same (rule 8.7).
    """
    market, position = draft.market, draft.position
    unread = market.liquidations_at < since
    if unread and not _waited(draft):
        draft.query_liquidations(position.opened)
        return
    owed = ", ".join(f"{short(left)} {asset}" for asset, left in debts.owed(draft.state.debts).items()) or "nothing"
    if any(time >= position.opened for time in market.liquidations):
        text = f"the exchange has liquidated the account; {owed} is owed as far as known"
        draft.note(Level.ALERT, "liquidated", text)
        draft.close(Reason.LIQUIDATED, abandon=True)
    else:
        whom = (
            "by somebody else, or liquidated: the list of liquidations can't be read" if unread else "by somebody else"
        )
        text = f"what the trade held was closed {whom}; {owed} is owed as far as known"
        draft.note(Level.ALERT, "closed_elsewhere", text)
        draft.close(Reason.EXTERNAL, abandon=True)


def _waited(draft: Draft) -> bool:
    """Whether it was asked for long enough whose work it was, since nothing was seen to be left."""
    if not draft.position.short_at:
        draft.update(short_at=draft.now)
    return draft.now >= draft.position.short_at + draft.policy.failsafe_grace_ms
