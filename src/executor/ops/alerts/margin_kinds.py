"""Alerts of what is borrowed: `executor.ops.alerts.catalogue` has all of them."""

from typing import Final

from executor.config import Topic
from executor.ops.alerts.exchange_kinds import alert_kind
from executor.ops.alerts.kinds import Severity

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


MARGIN: Final = (
    alert_kind(
        "borrow_refused",
        Topic.TROUBLE,
        WARNING,
        "On margin: what the entry lacks was not lent, so there was no entry. The text names the amount and what can "
        "be borrowed now; the line `loan_refused` before it has the exchange's own words.",
        "Transfer more of your own, make the trade smaller, or wait until the asset can be borrowed again.",
    ),
    alert_kind(
        "loan_slow",
        Topic.TROUBLE,
        WARNING,
        "A loan or a repayment is not settled after a minute: it is pending, or its answer was lost and nothing proves "
        "yet what became of it. No entry is sent and nothing is borrowed meanwhile; it is looked for, in growing "
        "pauses.",
        "Nothing at first. If it repeats for long, compare the exchange's own list of loans with `executor margin`.",
    ),
    alert_kind(
        "loan_lost",
        Topic.TROUBLE,
        CRITICAL,
        "The exchange accepted a loan or a repayment and gave it a number, and for ten minutes neither its records nor "
        "the debt has shown it. It counts as not carried out: there is no entry; a repayment is asked for again.",
        "Look for the number in the exchange's own list of loans. Should the loan come later, it is alerted as "
        "`foreign_debt`, and `executor repay` gives it back.",
    ),
    alert_kind(
        "repay_failed",
        Topic.TROUBLE,
        CRITICAL,
        "Repayments keep being refused: the debt stands and interest runs. It is tried again with growing pauses.",
        "Look at the reason (`loan_refused`): repayments not allowed, coins locked by orders of your own. "
        "`executor margin` shows debt and balances.",
    ),
    alert_kind(
        "debt_left",
        Topic.TROUBLE,
        CRITICAL,
        "A trade is over and owes something still: more than was free, or too little to be bought or repaid. It is "
        "carried, shown in status and metrics, and taken along by the next repayment; interest runs on it.",
        "Transfer the missing amount to the margin account, then `executor repay`, which shows first and then asks.",
    ),
    alert_kind(
        "foreign_debt",
        Topic.TROUBLE,
        WARNING,
        "The account owes something that Executor's trades have not borrowed. It is not touched, and new trades in "
        "that asset are refused.",
        "`executor repay` gives it back. `MARGIN_FOREIGN_DEBT=allow` trades beside it.",
    ),
    alert_kind(
        "debt_repaid_elsewhere",
        Topic.TROUBLE,
        WARNING,
        "Part of what Executor owes was repaid by somebody else: by hand, by another program, or by a liquidation.",
        "Use an account of its own for each Executor. The trade goes on with what it owes now.",
    ),
    alert_kind(
        "margin_level",
        Topic.TROUBLE,
        CRITICAL,
        "The margin level is below `MARGIN_LEVEL_ALERT`, or below `MARGIN_LEVEL_REDUCE`: then the trade is being "
        "closed at market and repaid. The text has both levels and the price of liquidation.",
        "Transfer collateral, or close the trade. Below the second level nothing is left to do.",
    ),
    alert_kind(
        "account_not_pushed",
        Topic.TROUBLE,
        WARNING,
        "Of several margin accounts the exchange pushes nothing of the named one (a pair that is disabled, say). Its "
        "orders are looked at instead, which find a fill a second or so later; it is asked for again each minute.",
        "The text says why. Is the account open, and enabled, on its page at the exchange?",
    ),
    alert_kind(
        "margin_unread",
        Topic.TROUBLE,
        CRITICAL,
        "While something is owed, the margin account can't be read: its level is not known, and neither of the levels "
        "is acted on. Stops that stand on the exchange work. Told again each time that this has lasted twice as long.",
        "The lines `look_failed` say why. Watch the level in the exchange's app meanwhile.",
    ),
    alert_kind(
        "liquidated",
        Topic.TROUBLE,
        CRITICAL,
        "The exchange has liquidated the margin account. The trade closes as `LIQUIDATED`; nothing is put back.",
        "Look at the account in the exchange's app: what is owed is in the text. Trade smaller, or with more of your "
        "own.",
    ),
    alert_kind(
        "closed_elsewhere",
        Topic.TROUBLE,
        WARNING,
        "On margin: what the trade held, or owed, is gone, and the exchange has not liquidated it: somebody closed it. "
        "The trade closes as `EXTERNAL`.",
        "Nothing. Use an account of its own for each Executor, so that nobody does.",
    ),
)
