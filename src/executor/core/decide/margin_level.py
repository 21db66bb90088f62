"""The ladder of margin levels while a trade is open (rule 11.10): an alert, then the end of the trade."""

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book import debt as debts
from executor.core.book import margin_level
from executor.core.decide import liquidation
from executor.core.decide.draft import Draft
from executor.core.model.intents import Level
from executor.core.model.state import Reason
from executor.core.model.values import rounded, short

_HALF: Final = Decimal(2)
_DOUBT_MS: Final = 2_000
"""A level that what the account holds and owes contradicts is doubted for no longer, whatever grace is set: where it
is true, the exchange liquidates.
"""


def tend(draft: Draft) -> bool:
    """Whether the trade is closed for its level; while anything is owed, and not without a debt: that is no level."""
    credit, account, terms = draft.position.credit, draft.market.margin, draft.rules.margin
    if credit is None or account is None or terms is None or not debts.owed(draft.state.debts):
        return False
    level = margin_level.level_of(account)
    if level is None:
        return False
    steps = margin_level.ladder(draft.policy, terms.bars)
    doubted = draft.market.level_doubted_at
    doubtful = bool(doubted) and account.asked_at - doubted < min(draft.policy.absence_grace_ms, _DOUBT_MS)
    if level < steps.reduce and not doubtful:
        if not liquidation.anything_left(draft, account):
            return False  # the exchange, or somebody else, has closed it: a level can't be mended any more (11.11)
        text = f"the margin level is {level:.4f}, below {short(steps.reduce)}: the trade is closed at market"
        draft.note(Level.ALERT, "margin_level", text)
        draft.close(Reason.MARGIN_LEVEL)
        return True
    if level < steps.alert and not credit.warned:
        price = margin_level.liquidation_price(account, draft.rules, terms.bars)
        at = f"; liquidation at {short(rounded(price, draft.rules.tick))}" if price is not None else ""
        closes = f"below {short(steps.reduce)} the trade is closed"
        if doubtful:
            closes = "what the account holds and owes says otherwise: it is looked at again"
        text = f"the margin level is {level:.4f}, below {short(steps.alert)}; {closes}{at}"
        draft.note(Level.ALERT, "margin_level", text)
        draft.update(credit=replace(credit, warned=True))
    elif credit.warned and level >= steps.alert + (steps.alert - steps.reduce) / _HALF:
        draft.update(credit=replace(credit, warned=False))
    return False


def forbids_entry(draft: Draft) -> bool:
    """Whether the level is below that of any entry, so that nothing more is entered; told of, as that is the end of it
    (rule 11.10).
    """
    account, terms = draft.market.margin, draft.rules.margin
    if draft.position.credit is None or account is None or terms is None or not debts.owed(draft.state.debts):
        return False
    least = margin_level.ladder(draft.policy, terms.bars).least
    if not margin_level.below(account, least):
        return False
    level = margin_level.level_of(account)
    draft.note(
        Level.ALERT, "margin_level", f"the margin level is {level:.4f}, below {short(least)}: no more is entered"
    )
    return True
