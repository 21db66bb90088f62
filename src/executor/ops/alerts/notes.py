"""The core's notes as alerts: each step's, before the step is on disk, so that none is lost with the process.

A crash between the two makes the step again, from what the exchange tells again, and its note with it: that is merged
with the first as a repeat. The other way round it would be lost.
"""

from collections.abc import Callable
from typing import Final

from executor.core.model.events import AnyEvent
from executor.core.model.intents import Level, Notify
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.transition import Step
from executor.ops.alerts import wording
from executor.ops.alerts.alerts import Alerts
from executor.ops.alerts.catalogue import CATALOGUE
from executor.ops.alerts.noted import noted

ORDINARY: Final = frozenset({"trade_open", "duplicate", "cooldown", "lock", "paused"})
"""Refusals of signals that are no news: the service does what it was told to do."""


def teller(
    alerts: Alerts, rules: Callable[[], SymbolRules], account: str = ""
) -> Callable[[State, AnyEvent, Step], None]:
    """What an engine is to call with each step: the state before, the event, the step. `account`: where there are
    several.
    """

    def tell(before: State, _event: AnyEvent, step: Step) -> None:
        for note in step.notes:
            if (note.level is Level.ALERT or note.event in CATALOGUE) and _matters(note, before, step):
                with noted():  # whoever shows notes has it already
                    _tell(alerts, note, before, step, rules(), account)

    return tell


def _tell(alerts: Alerts, note: Notify, before: State, step: Step, rules: SymbolRules, account: str) -> None:
    position = step.state.position or before.position
    trade = position.trade if position is not None else ""
    words, facts = note.text, dict[str, str]()
    closed = step.state.last_closed
    if note.event == "trade_closed" and closed is not None:
        words, facts = wording.closed(closed, rules), wording.closed_facts(closed)
    symbol = step.state.symbol
    alerts.tell(note.event, words, symbol=symbol, trade=trade, orders=note.order, facts=facts, account=account)


def _matters(note: Notify, before: State, step: Step) -> bool:
    if note.event != "signal_refused":
        return True
    now = step.state.refused
    grown = {kind for kind, count in now.items() if count > before.refused.get(kind, 0)}
    return not grown <= ORDINARY
