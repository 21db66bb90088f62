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


FINDINGS: Final = (
    _finding(
        "stray_orders",
        Severity.CRITICAL,
        "9.3, 10.3",
        Handling.HALTED,
        "Orders with Executor's ids are open, and belong to no trade here. Entries are halted.",
        "Another Executor on this account? Then give each its own. Else `executor check` names them: cancel them, then "
        "`executor resume`.",
    ),
    _finding(
        "order_adopted",
        Severity.WARNING,
        "9.2",
        Handling.DECIDER,
        "An order of this trade was found on the exchange that the state did not know (an older state file). It is "
        "followed now.",
        "`executor check`. Find out why the state was old: a restored copy? two machines?",
    ),
)
