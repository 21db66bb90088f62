"""Every alert that Executor can raise: how grave it is, what it means, what to do.

From this list come the messages' kinds and severities, `executor alerts` and `docs/alerts.md`; a test holds it against
the source: what is raised is here, and nothing else is.
"""

from typing import Final

from executor.config import Topic
from executor.ops.alerts.exchange_kinds import EXCHANGE, alert_kind
from executor.ops.alerts.fleet_kinds import FLEET
from executor.ops.alerts.kinds import Kind, Severity
from executor.ops.alerts.margin_kinds import MARGIN
from executor.ops.watchdog.findings import FINDINGS

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


_TRADES: Final = (
    alert_kind(
        "trade_opened",
        Topic.OPENED,
        INFO,
        "A signal was taken: side, size, entry, stop and targets as planned.",
        "Nothing.",
        once=True,
    ),
    alert_kind(
        "trade_closed",
        Topic.CLOSED,
        INFO,
        "A trade has ended: why, its result in quote and in R, average prices, commissions, time unprotected.",
        "Nothing. `executor report` has it too, `/why` tells how it came about.",
        once=True,
    ),
    alert_kind(
        "signal_refused",
        Topic.REFUSED,
        WARNING,
        "A signal opened no trade, for a reason that a person can do something about: it could not be read, came too "
        "late, met a halt or a daily limit, found too little balance, did not fit the filters. Those refused for the "
        "ordinary reasons (a trade is open, cooldown, lock, pause, seen before) are counted, logged and not told.",
        "The text names what was wrong, what it was and what it must be.",
    ),
)

_RISK: Final = (
    alert_kind(
        "unprotected",
        Topic.TROUBLE,
        CRITICAL,
        "A held quantity has had no stop on the exchange for longer than `FAILSAFE_EXITS_GRACE_SEC`. The text says "
        "what is done instead (mostly the price is watched, and a stop that is crossed is sold at market), and what "
        "has to be waited for: an order of which nobody knows whether it stands may sell its part, so nothing else "
        "does.",
        "Look at the lines before it: they say why the stop is missing. If it repeats and you would rather be out: "
        "`executor flatten`, or `/flatten`.",
    ),
    alert_kind(
        "failsafe",
        Topic.TROUBLE,
        CRITICAL,
        "Exits were refused too often, or for too long: the position is being closed at market.",
        "Nothing for the trade. Read the refusals before it (`refused`): filters, balance, too many open orders.",
    ),
    alert_kind(
        "failsafe_off",
        Topic.TROUBLE,
        CRITICAL,
        "The same, but `FAILSAFE_FLATTEN` is off: the position stays, watched by software; entries are halted.",
        "Act now: place a stop by hand, or `executor flatten`.",
    ),
    alert_kind(
        "market_closed",
        Topic.TROUBLE,
        WARNING,
        "The symbol is halted, in a break or CANCEL_ONLY: no entry is taken. What stands of a trade is left standing, "
        "since nothing could be put in its place: stops are not moved, and no close begins, until it trades again.",
        "Wait, and watch for what is bare (`unprotected`). If a delisting is meant: cancel the exits in the app and "
        "withdraw or convert the coins; the trade closes as `EXTERNAL`.",
    ),
    alert_kind(
        "exit_vanished",
        Topic.TROUBLE,
        WARNING,
        "An exit was cancelled, and not by Executor. It has been put back.",
        "Nothing, if it was you by mistake. To be rid of the trade: `executor flatten`.",
    ),
    alert_kind(
        "exit_vanished_again",
        Topic.TROUBLE,
        CRITICAL,
        "It vanished a second time: the trade is closed as `EXTERNAL` and what is held is left alone.",
        "The coins are yours now, without a stop. Sell or protect them.",
    ),
    alert_kind(
        "exit_ended",
        Topic.TROUBLE,
        WARNING,
        "The exchange itself has ended an exit. It is put back as often as that happens, with growing pauses.",
        "See what the exchange says of the named order.",
    ),
    alert_kind(
        "part_missing",
        Topic.TROUBLE,
        WARNING,
        "Somebody took a part of what the trade holds. What is left stays covered, and is sold as planned.",
        "Nothing, if it was you. Use an account of its own for each Executor.",
    ),
    alert_kind(
        "sold_elsewhere",
        Topic.TROUBLE,
        WARNING,
        "Nothing is left that the trade could sell: somebody else did. It closes as `EXTERNAL`.",
        "Nothing. Use an account of its own for each Executor, so that nobody does.",
    ),
    alert_kind(
        "oversold",
        Topic.TROUBLE,
        CRITICAL,
        "More was sold than was held (a cancelled exit had filled after all); the excess is being bought back.",
        "Check `executor report` for the difference; it is a few ticks.",
    ),
    alert_kind(
        "buyback_failed",
        Topic.TROUBLE,
        CRITICAL,
        "The buy-back was refused (too small, no quote left).",
        "Buy the named quantity by hand if the account should be even.",
    ),
    alert_kind(
        "sale_failed",
        Topic.TROUBLE,
        CRITICAL,
        "A leg is to be sold at market, and the exchange takes the orders and fills nothing. It goes on trying, in "
        "growing pauses.",
        "Look at the reason: an empty book, a price range rule, another order of the account on the other side. Sell "
        "by hand if you can; it is noticed.",
    ),
    alert_kind(
        "close_failed",
        Topic.TROUBLE,
        CRITICAL,
        "Market orders to close keep failing. It goes on trying.",
        "Look at the reason: a halted market, no balance. Close by hand if you can; it is noticed.",
    ),
    alert_kind(
        "cancel_failed",
        Topic.TROUBLE,
        CRITICAL,
        "An order still stands after several cancels, by every way there is. It is tried again, in growing pauses.",
        "Cancel the named order in the exchange's app; that is noticed.",
    ),
    alert_kind(
        "stopped_bare",
        Topic.TROUBLE,
        CRITICAL,
        "The service was ended while a part of the position had no stop on the exchange; one more try did not help. "
        "The exit code is 1.",
        "Start it again, or protect the position by hand: nobody watches the price.",
    ),
    alert_kind(
        "stopped_closing",
        Topic.TROUBLE,
        CRITICAL,
        "The service was ended while a trade was being closed; one more try at once did not end it. What is open is "
        "named. The exit code is 1 where something was sold too much.",
        "Start it again: it goes on with the close. Or do by hand what is named, in the exchange's app.",
    ),
    alert_kind(
        "stopped_entering",
        Topic.TROUBLE,
        CRITICAL,
        "The service was ended while an entry stood on the exchange. It stays open, and what fills has no stop until "
        "the next start. Entries of `EXIT_LAYOUT=BRACKET` bring their exits, and are not named.",
        "Start it again soon: it goes on with the entry. Or cancel the named order in the exchange's app; before a "
        "longer end, `executor cancel-entry`.",
    ),
    alert_kind(
        "stopped_owing",
        Topic.TROUBLE,
        WARNING,
        "The service was ended while a loan or a repayment was under way, or something was owed. Interest goes on, and "
        "nobody looks at the margin level.",
        "Start it again: it goes on with the trade, and repays. Before a longer end, `executor flatten`.",
    ),
    alert_kind(
        "legs_joined",
        Topic.TROUBLE,
        WARNING,
        "A filter did not take one more stop: other orders may hold the symbol's places (MAX_NUM_ALGO_ORDERS). Or an "
        "exit that filled in part has left less than any order takes. The leg's part was given to another leg, so that "
        "everything is covered by fewer exits.",
        "Nothing for this trade. Where a filter is named, see which other program places stops on the symbol.",
    ),
    alert_kind(
        "left_over",
        Topic.TROUBLE,
        WARNING,
        "A trade was closed, and more than the dust of rounding is left of it, or was not bought back of a short: the "
        "exchange takes no order for so little, because a filter (LOT_SIZE, MARKET_LOT_SIZE) was raised while it was "
        "open. Nothing covers that rest.",
        "Sell it by hand once the exchange takes it, or keep it: it is yours, and no trade counts on it. What a short "
        "lacks is to be bought, where you want it back or it is owed still (`debt_left`).",
    ),
    alert_kind(
        "late_fill",
        Topic.TROUBLE,
        WARNING,
        "More is held than the trade's exits are for: the exchange told only now that an entry had filled further. The "
        "last leg takes it, and its exits are moved to their new size.",
        "Nothing, once the exits stand: `executor check`.",
    ),
    alert_kind(
        "surplus_exit",
        Topic.TROUBLE,
        WARNING,
        "More than one exit stood for the same part: one that was called refused or gone was there after all. The "
        "surplus is being cancelled; what it sold meanwhile is bought back.",
        "Nothing.",
    ),
    alert_kind(
        "entry_back",
        Topic.TROUBLE,
        WARNING,
        "An entry that was called refused, gone or never sent stood on the exchange after all, beside the exits. It is "
        "being cancelled; what it bought meanwhile is covered, beyond the plan.",
        "Nothing. Where it had filled, more is held than was planned: `executor status`, and `executor flatten` where "
        "that is too much.",
    ),
    alert_kind(
        "second_look_failed",
        Topic.TROUBLE,
        WARNING,
        "An order that had ended could not be found when it was looked at once more, or was shown as working again and "
        "again: what its end told of it counts.",
        "Compare `executor report` with the exchange's own list of trades.",
    ),
    alert_kind(
        "ended_listed",
        Topic.TROUBLE,
        CRITICAL,
        "An order of the trade ended more than a minute ago, and the exchange lists it as open still. The trade is "
        "closed without waiting for it; new entries are halted.",
        "Look at the exchange: cancel the order there if it is really open, then `executor resume`.",
    ),
    alert_kind(
        "order_renamed",
        Topic.TROUBLE,
        WARNING,
        "An order whose outcome was in doubt is at the exchange under another client order id: somebody else has "
        "cancelled or amended it meanwhile. It was recognised by what it was sent for; what it filled counts.",
        "Compare the order with the exchange's own list; if it is not this trade's, `executor flatten`.",
    ),
    alert_kind(
        "orders_unlisted",
        Topic.TROUBLE,
        WARNING,
        "An order in doubt was not found by its own id, and beside six such looks the list of all orders could not be "
        "read: it counts as never placed. An entry is not sent again, and there is no Plan B.",
        "Compare the balance with `executor status`: where somebody else had cancelled that order, a part of it may "
        "have filled.",
    ),
    alert_kind(
        "order_gone",
        Topic.TROUBLE,
        WARNING,
        "An order that had been accepted is unknown to the exchange now.",
        "Nothing; exits are put back. After a reset of the testnet this is usual.",
    ),
    alert_kind(
        "impossible_report",
        Topic.HALT,
        CRITICAL,
        "The exchange said something of an order that can't be true (less filled than before, say). It was not "
        "believed, and entries are halted.",
        "Keep the journal and report it. `executor check` tells how things stand; then `executor resume`.",
    ),
    alert_kind(
        "invariant_broken",
        Topic.HALT,
        CRITICAL,
        "One of Executor's own rules does not hold: a defect. Entries are halted, the position is looked after.",
        "`executor check`, then close the trade when it suits you. Report it with the journal.",
    ),
)

_DEFECTS: Final = (
    alert_kind(
        "doubt_lasts",
        Topic.DOUBT,
        WARNING,
        "What became of an order has not been known for more than a minute. It is being looked up; where it is a stop, "
        "the price is watched by software.",
        "Look at the exchange's status page, and at the network.",
    ),
    alert_kind(
        "event_unwritable",
        Topic.HALT,
        CRITICAL,
        "What came in can't be written down, on any disk: a defect, or an answer that no exchange gives. The trade "
        "goes on as if it had not come: an answer counts as unknown, and is looked up. Entries are halted.",
        "`executor check`, then `executor resume`. Report the text.",
    ),
)

_STARTS: Final = (
    alert_kind(
        "started",
        Topic.RESTART,
        INFO,
        "The service is up and knows its orders; what it found is in the text.",
        "Nothing, if you started it. If you did not: look for the line before it that says why it had stopped.",
    ),
    alert_kind(
        "stopped", Topic.RESTART, INFO, "The service has ended as it was told to.", "Nothing, if you stopped it."
    ),
    alert_kind(
        "died",
        Topic.RESTART,
        CRITICAL,
        "The service ends because of an error. Stops on the exchange stay; the supervisor (systemd, docker) restarts "
        "it.",
        "If no `started` follows within a minute, start it yourself. Report the error with the log's traceback.",
    ),
    alert_kind(
        "ended_by_hang",
        Topic.RESTART,
        CRITICAL,
        "The last run's loop did not turn for a minute, and the service ended itself; this is the next one.",
        "Report it with the file that is named: it says where the loop hung.",
    ),
    alert_kind(
        "not_settled",
        Topic.RESTART,
        WARNING,
        "At its end the service could not write its state once more. It stands as it was written last, and the next "
        "start looks everything up.",
        "Look at the disk.",
    ),
    alert_kind(
        "trade_rebuilt",
        Topic.RESTART,
        WARNING,
        "There was no state file; the open trade was rebuilt from the exchange and is supervised again.",
        "`executor status`: are stop and targets those that you want?",
    ),
    alert_kind(
        "not_rebuilt",
        Topic.HALT,
        CRITICAL,
        "There was no state file, and what is on the exchange could not be made into one trade. Nothing is touched, "
        "entries are halted.",
        "The text names what was found and the commands: `executor adopt`, `executor flatten` or `executor forget`.",
    ),
    alert_kind(
        "orders_taken_up",
        Topic.RESTART,
        WARNING,
        "The state was older than what had been sent, and orders of this trade were found on the exchange: they are "
        "looked after again.",
        "Nothing; `executor check` shows them.",
    ),
    alert_kind(
        "state_damaged",
        Topic.RESTART,
        CRITICAL,
        "The state file did not pass its checks. It was set aside, its predecessor is used, every order is looked up.",
        "Keep the file that is named for the report; check the disk.",
    ),
    alert_kind(
        "not_recovered",
        Topic.RESTART,
        CRITICAL,
        "Of several symbols the named ones could not look up their orders within a minute of the start. The others "
        "trade.",
        "The lines `look_failed` say why. It is tried on and on; stops that stand on the exchange work meanwhile.",
    ),
    alert_kind(
        "not_started",
        Topic.RESTART,
        CRITICAL,
        "Of several symbols the named one could not begin: the text says why, mostly its state file, or that another "
        "process has it. Nobody looks after its trade here; stops on the exchange work. The others trade.",
        "Mend what is named (`docs/recovery.md`), then restart the service. A state that was in use is taken up by "
        "itself once it is free.",
    ),
    alert_kind(
        "trade_left_behind",
        Topic.RESTART,
        CRITICAL,
        "A symbol was taken out of SYMBOLS while its trade was open: its state is still there. Stops on the exchange "
        "work; nobody moves or replaces them.",
        "Put the symbol back until its trade is over. Closed elsewhere? Then move the named file away.",
    ),
)

_HALTS: Final = (
    alert_kind(
        "paused", Topic.HALT, INFO, "The operator has paused entries. An open trade goes on.", "`/resume` ends it."
    ),
    alert_kind("resumed", Topic.HALT, INFO, "Entries are allowed again: the pause, or the halt, is over.", "Nothing."),
    alert_kind("flatten", Topic.HALT, INFO, "The operator has asked to close the trade at market.", "Nothing."),
    alert_kind(
        "still_halted",
        Topic.HALT,
        WARNING,
        "At a start: entries had been halted before it, and still are. The text names the reason.",
        "As for that reason; then `executor resume`, or `/resume`.",
    ),
    alert_kind(
        "operator_adopt", Topic.HALT, WARNING, "The operator's `executor adopt` is being carried out.", "Nothing."
    ),
    alert_kind(
        "operator_flatten",
        Topic.HALT,
        WARNING,
        "The operator's `executor flatten` of orders that belonged to no trade is being carried out.",
        "Nothing.",
    ),
    alert_kind(
        "operator_forget",
        Topic.HALT,
        WARNING,
        "The operator's `executor forget` is done: the named orders are left alone from now on.",
        "Nothing. They are yours now.",
    ),
)

_MACHINE: Final = (
    alert_kind(
        "state_unwritable",
        Topic.TROUBLE,
        CRITICAL,
        "The state can't be written, so nothing is sent. Stops on the exchange stay. It goes on by itself once it can.",
        "Free space, or mend the disk. If it lasts, watch the position yourself.",
    ),
    alert_kind(
        "state_file_behind",
        Topic.TROUBLE,
        WARNING,
        "`executor_state.json` can't be replaced, while its write-ahead copy can be written: trading goes on, and "
        "nothing is lost.",
        "Free space, or mend the folder's rights: backups and people read the file.",
    ),
    alert_kind(
        "trade_list_damaged",
        Topic.TROUBLE,
        WARNING,
        "The list of finished trades did not pass its checks and was set aside; a new one begins.",
        "Trading is not touched. Keep the file: older trades are in it.",
    ),
    alert_kind(
        "trade_not_listed",
        Topic.TROUBLE,
        WARNING,
        "A finished trade could not be appended to the list. The state file has it as the last one.",
        "Free space; it is listed at the next start.",
    ),
    alert_kind(
        "signal_file",
        Topic.TROUBLE,
        WARNING,
        "The signal file can't be read, does not answer (a mount whose server has gone), or the place in it can't be "
        "remembered.",
        "Check `SIGNAL_FILE`, its owner, its mode and its mount. Signals wait, and age.",
    ),
    alert_kind(
        "signals_waiting",
        Topic.TROUBLE,
        WARNING,
        "A symbol judges none of its signals, and more than 1,000 wait: for each new one the oldest is refused. The "
        "signals of other symbols do not wait for it.",
        "The alerts before it say what keeps the symbol (`not_recovered`). Stop whoever writes so many signals.",
    ),
    alert_kind(
        "signal_not_judged",
        Topic.TROUBLE,
        WARNING,
        "A signal came for a symbol that could not be started; it was refused.",
        "See `not_started`: mend what it names, then restart the service.",
    ),
    alert_kind(
        "webhook_not_written",
        Topic.TROUBLE,
        WARNING,
        "A signal came in over the webhook and could not be written down; the sender was told to try again.",
        "Check space, owner and mode of `SIGNAL_FILE`.",
    ),
    alert_kind(
        "webhook_failed",
        Topic.TROUBLE,
        WARNING,
        "A defect in handling one webhook request. The sender got the status 500.",
        "Report it with the traceback. `executor status` says whether the signal was taken.",
    ),
    alert_kind(
        "control_failed",
        Topic.TROUBLE,
        WARNING,
        "A defect in carrying out one command over the control socket. The command was told so.",
        "Report it with the traceback in the log. `executor status` says whether it was done all the same.",
    ),
)

_ALERTING: Final = (
    alert_kind(
        "telegram_conflict",
        Topic.TROUBLE,
        WARNING,
        "Another program reads the updates of the same Telegram bot, or a webhook is set for it: commands may not "
        "arrive. Alerts do.",
        "Give each service a bot of its own, or `TELEGRAM_USERS` to one of them only. A fleet's machines share one.",
    ),
    alert_kind(
        "alerts_damaged",
        Topic.TROUBLE,
        WARNING,
        "Lines of the alerts' outbox could not be read and were left out.",
        "The log has every alert of then. Check the disk.",
    ),
    alert_kind(
        "observer_died",
        Topic.TROUBLE,
        WARNING,
        "A defect in what only observes (the watchdog, Telegram's commands, the daily summary). Trading is not "
        "touched; it is started again after a minute.",
        "Report it with the log's traceback.",
    ),
    alert_kind(
        "daily_summary",
        Topic.DAILY,
        INFO,
        "Once a day, after midnight UTC: trades, result in quote and R, commissions, time unprotected, alerts; or "
        "that nothing was traded. It is a sign of life.",
        "Miss it when it does not come.",
    ),
)

ALERTS: Final = (
    *_TRADES,
    *_RISK,
    *MARGIN,
    *_DEFECTS,
    *_STARTS,
    *EXCHANGE,
    *_HALTS,
    *_MACHINE,
    *_ALERTING,
    *FLEET,
)
CATALOGUE: Final = {kind.event: kind for kind in (*ALERTS, *FINDINGS)}
"""By event name."""

UNLISTED: Final = alert_kind("", Topic.TROUBLE, WARNING, "An alert without an entry here.", "Read its text.")


def kind_of(event: str) -> Kind:
    """Its entry; one for whatever has none, so that nothing goes untold."""
    return CATALOGUE.get(event, UNLISTED)
