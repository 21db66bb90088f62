"""Of several accounts and machines: who trades which, and what keeps them from it."""

from typing import Final

from executor.config import Topic
from executor.ops.alerts.exchange_kinds import CRITICAL, WARNING, alert_kind

FLEET: Final = (
    alert_kind(
        "account_down",
        Topic.RESTART,
        CRITICAL,
        "An account of several could not be begun, or a part of it died. The others trade on. It is "
        "begun anew, each time a little later; in a fleet another machine may have it meanwhile.",
        "The text says what it was: keys, a symbol, a file, the exchange. Exits that stand on the exchange rest there.",
    ),
    alert_kind(
        "account_left_out",
        Topic.RESTART,
        CRITICAL,
        "The settings of an account of several could not be used when the service started: its file is wrong, or half "
        "written. Nobody looks after its trade here; stops on the exchange work. The others trade; in a fleet another "
        "machine may have it, but signals that come in here do not reach it.",
        "Mend what is named (`executor doctor` shows it), then restart the service.",
    ),
    alert_kind(
        "account_stuck",
        Topic.RESTART,
        CRITICAL,
        "In a fleet: a trading loop of the account did not come round for `FLEET_TTL_SEC`, so this "
        "machine gives the account away.",
        "Look at this machine: CPU, disk, the log lines before it.",
    ),
    alert_kind(
        "fenced",
        Topic.RESTART,
        CRITICAL,
        "In a fleet: this machine wanted to write for an account that another owns by now, as after a "
        "long suspension. Nothing was sent.",
        "Find out why it stood still: a suspended or overloaded machine, a long garbage collection, a "
        "network that was cut.",
    ),
    alert_kind(
        "let_go",
        Topic.RESTART,
        WARNING,
        "In a fleet: this machine has let go of an account at once, because another owns it or its own "
        "lease has ended.",
        "As with `fenced`, where it comes unasked.",
    ),
    alert_kind(
        "lease_lost",
        Topic.RESTART,
        WARNING,
        "In a fleet: this machine's lease ended before it was renewed. It let go of its accounts, and begins anew.",
        "Look at the way to etcd, and whether this machine stood still.",
    ),
    alert_kind(
        "store_unreachable",
        Topic.TROUBLE,
        CRITICAL,
        "In a fleet: etcd has not answered this machine for `FLEET_TTL_SEC`. It trades nothing, and takes no signal; "
        "where no machine reaches etcd, none does. Exits that stand on the exchange rest there.",
        "Look at etcd and at the way to it: `executor fleet members`, `executor doctor`. It goes on by itself; "
        "where it says another cluster, mend `FLEET` and start it anew.",
    ),
    alert_kind(
        "claim_failed",
        Topic.TROUBLE,
        WARNING,
        "In a fleet: an account could not be claimed, for a defect. It is tried again.",
        "Report it with the text.",
    ),
    alert_kind(
        "settings_differ",
        Topic.TROUBLE,
        WARNING,
        "In a fleet: another machine would trade an account with other settings than its owner does.",
        "Make the account's files the same everywhere, and restart the node whose are wrong: `executor fleet status`.",
    ),
    alert_kind(
        "node_name_taken",
        Topic.RESTART,
        CRITICAL,
        "In a fleet: another machine lives under this one's name. This one takes no account.",
        "Give each machine a `FLEET_NODE` of its own, and restart the one that says so.",
    ),
    alert_kind(
        "store_went_back",
        Topic.RESTART,
        CRITICAL,
        "In a fleet: etcd knows less than this machine has seen of it, so a copy was put back, or it was set up anew. "
        "Newer states are lost; nothing is claimed.",
        "Make sure that no other fleet trades the accounts, then `executor fleet adopt --from-exchange`; "
        "see [docs/fleet.md](fleet.md).",
    ),
    alert_kind(
        "exchange_unreachable",
        Topic.TROUBLE,
        CRITICAL,
        "In a fleet: the exchange has not answered this machine for ten seconds, while others reach it. "
        "Its accounts are given away.",
        "Look at this machine's network. It takes accounts again once the exchange answers.",
    ),
    alert_kind(
        "signal_not_kept",
        Topic.TROUBLE,
        WARNING,
        "In a fleet: a line of the signal file could not be put into etcd. It is tried until it can be.",
        "Look at etcd: `executor fleet members`, `executor doctor`.",
    ),
    alert_kind(
        "signal_for_no_symbol",
        Topic.REFUSED,
        WARNING,
        "In a fleet: a signal waits for a symbol that its account does not trade any more.",
        "Add the symbol to the account again, or leave it: it opens nothing.",
    ),
    alert_kind(
        "signal_failed",
        Topic.REFUSED,
        WARNING,
        "In a fleet: a fault of Executor kept a signal from being judged. This node leaves it alone; the next owner of "
        "the account tries it once more.",
        "Report the fault: the log names it. The signal opens nothing once it is too old.",
    ),
)
