"""The alerts about the exchange and the ways to it: a part of the catalogue."""

from typing import Final

from executor.config import Topic
from executor.ops.alerts.kinds import Kind, Severity

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


def alert_kind(event: str, topic: Topic, severity: Severity, meaning: str, action: str, *, once: bool = False) -> Kind:
    return Kind(event=event, topic=topic, severity=severity, meaning=meaning, action=action, once=once)


EXCHANGE: Final = (
    alert_kind(
        "exchange_not_reached",
        Topic.TROUBLE,
        CRITICAL,
        "At a start with a trade open, or of one of several symbols, the exchange can't be reached, refuses the key, "
        "or does not show what has become of the orders. Stops that stand there work; nothing else is done. It is "
        "tried again, at most a minute apart.",
        "The text says why: network, address, key. Watch the position in the app meanwhile.",
    ),
    alert_kind(
        "start_waits",
        Topic.TROUBLE,
        CRITICAL,
        "At a start the exchange has banned this address, or wants to be left alone, until a moment that it names. The "
        "start waits for it without another request. Stops that stand there work.",
        "Wait; a restart asks once more, which can prolong the ban. Look for what else uses this address.",
    ),
    alert_kind(
        "not_listening",
        Topic.TROUBLE,
        WARNING,
        "At a start with a trade open, `HTTP_PORT`, `WEBHOOK_PORT` or the control socket could not be had: somebody "
        "else has it. The trade is looked after, and it is tried again every few seconds.",
        "End what listens there (`ss -ltnp`), or set another port and restart.",
    ),
    alert_kind(
        "trade_list_unusable",
        Topic.TROUBLE,
        WARNING,
        "At a start with a trade open, the list of finished trades can't be used. The trade is looked after.",
        "Free space, or mend the folder's rights.",
    ),
    alert_kind(
        "not_listed",
        Topic.HALT,
        CRITICAL,
        "The exchange does not list the symbol any more. The open trade is looked after by the rules that were read "
        "last, and no entry is made.",
        "Read the exchange's announcement. Its orders may be cancelled by it: look at the position in the app.",
    ),
    alert_kind(
        "rules_not_read",
        Topic.HALT,
        CRITICAL,
        "At a start with a trade open, the symbol's rules could not be read. The trade is looked after by those that "
        "were read last, and no entry is made until they can be: they are asked for each minute.",
        "The text says why. Look at the exchange's status page if it lasts.",
    ),
    alert_kind(
        "filters_unfit",
        Topic.HALT,
        CRITICAL,
        "The exchange's filters have changed: `QTY_STEP`, `TICK_SIZE`, `MIN_QTY` or `MIN_NOTIONAL` as it is set does "
        "not fit them any more. The open trade goes on by the exchange's own, and no entry is made.",
        "Set what the text names anew, or leave it unset, and restart the service.",
    ),
    alert_kind(
        "stream_failed",
        Topic.TROUBLE,
        WARNING,
        "A defect in what follows one of the exchange's streams. The stream is opened anew, and looks do meanwhile.",
        "Report it with the traceback in the log. The trade is looked after.",
    ),
    alert_kind(
        "stream_down",
        Topic.TROUBLE,
        WARNING,
        "One of the exchange's streams has not come up for two minutes. It is tried on; meanwhile looks do, which find "
        "a fill a second or so later, and orders go by REST. Told once for each time.",
        "The text says which, and why. If the others are up: does a firewall, or the account, bar this one?",
    ),
    alert_kind(
        "firewall",
        Topic.TROUBLE,
        WARNING,
        "A firewall in front of the exchange answers 403 in its place. Reads wait two minutes; stops, sales, "
        "cancels and looks at orders in doubt go on, slowly, and over the other way where that is open. Told once for "
        "each time.",
        "Fewer programs behind this address; some data centres and VPNs are not welcome. If it stays, look at the "
        "position in the app.",
    ),
)
