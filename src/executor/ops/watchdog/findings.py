"""All that the watchdog can find: what it means, and what is done about it."""

from typing import Final

from executor.config import Topic
from executor.ops.alerts.kinds import Handling, Kind, Severity


def _finding(event: str, severity: Severity, rule: str, handling: Handling, meaning: str, action: str) -> Kind:
    return Kind(
        event=event,
        topic=Topic.FINDING,
        severity=severity,
        meaning=meaning,
        action=action,
        rule=rule,
        handling=handling,
    )


_C, _W = Severity.CRITICAL, Severity.WARNING
_MENDED, _DECIDER, _HALTED, _ALERTED = Handling.MENDED, Handling.DECIDER, Handling.HALTED, Handling.ALERTED

FINDINGS: Final = (
    _finding(
        "ghost_order",
        _W,
        "7.1, 10.3",
        _MENDED,
        "An order of a trade that has ended, or one that had ended itself, was open on the exchange. It has been "
        "cancelled; the text says so where it could not be.",
        "Nothing, where it was cancelled. `executor report` and the exchange's list of trades show whether it had "
        "filled.",
    ),
    _finding(
        "stray_orders",
        _C,
        "9.3, 10.3",
        _HALTED,
        "Orders with Executor's ids are open, and belong to no trade here. Entries are halted.",
        "Another Executor on this account? Then give each its own. Else `executor check` names them: cancel them, "
        "then `executor resume`.",
    ),
    _finding(
        "order_adopted",
        _W,
        "9.2",
        _DECIDER,
        "An order of this trade was found on the exchange that the state did not know (an older state file). It is "
        "followed now.",
        "`executor check`. Find out why the state was old: a restored copy? two machines?",
    ),
    _finding(
        "order_back",
        _W,
        "8.3, 8.6",
        _DECIDER,
        "An order of this trade that was taken for refused, gone or never sent is open on the exchange after all. It "
        "counts again; where another was sent in its place, one of the two is cancelled, and so is an entry once the "
        "entry is over.",
        "Nothing. If it repeats, the exchange's answers lag: `executor check` tells whether all is covered.",
    ),
    _finding(
        "exit_missing",
        _C,
        "10.2, 8.6",
        _DECIDER,
        "An order that the state takes for live is not among the open ones. It is looked up, and put back where it is "
        "gone.",
        "Nothing, if the next messages say that it was put back. `executor check` tells.",
    ),
    _finding(
        "exit_resized",
        _C,
        "10.2",
        _DECIDER,
        "An order of this trade is open for another quantity than it was sent for: another hand has amended it, or it "
        "met another order of the same account, and self-trade prevention took a part of it.",
        "Find out who else uses the key or the account. `executor check` tells whether all is covered.",
    ),
    _finding(
        "exit_moved",
        _C,
        "10.4",
        _HALTED,
        "An order of this trade is open at another price, or another order stands under its name. Entries are halted.",
        "Find out who else uses the key. `executor flatten` closes the trade.",
    ),
    _finding(
        "exit_renamed",
        _C,
        "1",
        _DECIDER,
        "An order of this trade is open under another id: another hand has amended it.",
        "Find out who else uses the key. `executor check` tells whether all is covered.",
    ),
    _finding(
        "uncovered",
        _C,
        "10.2",
        _DECIDER,
        "A held quantity has no stop on the exchange, seen twice. The price is watched by software.",
        "If it repeats and you would rather be out: `executor flatten`, or `/flatten`.",
    ),
    _finding(
        "sells_beyond_held",
        _C,
        "10.1",
        _HALTED,
        "Open exits would sell more than the trade holds. Entries are halted.",
        "`executor check` names them. `executor flatten` cancels them all and sells what is held.",
    ),
    _finding(
        "stop_lowered",
        _C,
        "10.4",
        _HALTED,
        "A stop stands farther from profit than it was sent. Entries are halted.",
        "Find out who else uses the key. `executor flatten` closes the trade.",
    ),
    _finding(
        "balance_short",
        _C,
        "6.6, 10.1",
        _HALTED,
        "The account has less of the base asset than the open trade holds: it was sold, withdrawn or converted "
        "elsewhere. Entries are halted.",
        "If it was you: `executor flatten` sells what is there and ends the trade; then `executor resume`.",
    ),
    _finding(
        "balance_moved",
        _W,
        "6.6",
        _ALERTED,
        "The base asset's balance has changed by what no fill of a trade here explains.",
        "Nothing, if it was you. Executor is best given an account of its own.",
    ),
    _finding(
        "foreign_order",
        _W,
        "12",
        _ALERTED,
        "Somebody else places orders on this symbol with this account. They are left alone.",
        "Nothing, if it was you. They use the balance, and the places for orders, that exits need.",
    ),
    _finding(
        "state_stuck",
        _C,
        "8.7",
        _ALERTED,
        "A state does not move: a request without an answer, something due that is not done, or a loop that does not "
        "turn. It is given a push.",
        "`executor ping`. If that does not answer: restart the service; recovery looks everything up first.",
    ),
    _finding(
        "stream_dead",
        _W,
        "8.6",
        _MENDED,
        "The user stream is up and has not told what a look at the orders found, twice; or the market stream has not "
        "told of a price that has changed. It is opened anew; looks do meanwhile.",
        "Nothing. If it repeats, look at the network.",
    ),
    _finding(
        "clock_off",
        _W,
        "8.3",
        _MENDED,
        "The clock by which requests are stamped was off by more than a second. It has been set.",
        "Nothing. If it repeats: has the machine been suspended?",
    ),
    _finding(
        "folder_unwritable",
        _C,
        "10.5",
        _ALERTED,
        "The state's folder can't be written to. Nothing would be sent before it can.",
        "Free space, or mend the disk or the folder's rights, before the next trade needs it.",
    ),
    _finding(
        "key_refused",
        _C,
        "8.2",
        _ALERTED,
        "The exchange refuses the API key from one moment to the next. Stops that stand there work; nothing can be "
        "placed, moved, cancelled or asked for.",
        "Look at the key in the exchange's settings: deleted, expired, another address allowed? Then restart with a "
        "key.",
    ),
    _finding(
        "key_accepted_again",
        Severity.INFO,
        "8.2",
        _ALERTED,
        "The exchange takes the API key again.",
        "Nothing. Everything is looked up anew.",
    ),
    _finding(
        "exchange_away",
        _C,
        "8.2",
        _ALERTED,
        "The exchange has answered nothing for more than twenty seconds. Stops that stand there work; what only "
        "software does rests.",
        "Look at the exchange's status page, and at the network.",
    ),
    _finding(
        "exchange_back",
        Severity.INFO,
        "8.2",
        _ALERTED,
        "The exchange answers again; the text says how long it was away.",
        "Nothing. Everything is looked up anew.",
    ),
)
