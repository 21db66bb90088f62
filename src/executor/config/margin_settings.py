"""What is set for trading on a margin account (rule 11)."""

from decimal import Decimal
from typing import Annotated, Final

from executor.config import choices, kinds
from executor.config.group import Group
from executor.config.kinds import Unset

OF_THE_ACCOUNT: Final = Unset("from the account's own bars")


class MarginSettings(Group):
    """Margin"""

    margin_isolated: Annotated[bool | None, Unset("must be set with TRADE_MODE=margin")] = None
    """Which margin account is at risk: true, the isolated account of the pair; false, the cross account with all that
    is in it.
    """

    margin_borrow_mode: choices.BorrowMode = choices.BorrowMode.MANUAL
    """How an entry is funded: Executor borrows what it lacks and repays it; auto is refused with the reason."""

    margin_side_effect: choices.SideEffect = choices.SideEffect.NO_SIDE_EFFECT
    """What orders do to debts beside trading, by an older program's name; all but nothing is refused."""

    margin_max_borrow_usd: kinds.Amount = Decimal(0)
    """Largest loan of a trade, in quote units; 0 = no bound but the exchange's."""

    margin_level_min: Annotated[kinds.Level | None, OF_THE_ACCOUNT] = None
    """Margin level that an entry must leave at its stop price, else its signal is refused."""

    margin_level_alert: Annotated[kinds.Level | None, OF_THE_ACCOUNT] = None
    """Margin level below which an alert is sent."""

    margin_level_reduce: Annotated[kinds.Level | None, OF_THE_ACCOUNT] = None
    """Margin level below which the open trade is closed at market, and its debt repaid."""

    margin_foreign_debt: choices.ForeignDebt = choices.ForeignDebt.REFUSE
    """Where the account owes what Executor has not borrowed: refuse signals that would borrow the same asset, or allow
    them and count its own debt alone.
    """

    margin_trail_every_sec: kinds.Interval = Decimal(5)
    """Least seconds between two moves of a trailing stop on margin, each of which leaves a moment without a stop."""
