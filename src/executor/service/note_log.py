"""The core's notes in the log, where each bears its trade."""

import structlog

from executor.core.model.intents import Level, Notify
from executor.core.model.state import State
from executor.ops.alerts.noted import noted

log = structlog.get_logger(__name__)


def log_note(note: Notify, state: State, before: State) -> None:
    """`state` and `before`: after and before the step that has made the note. Alerts have it already, by a shorter way
    (`ops.alerts.notes`).
    """
    position = state.position or before.position
    trade = position.trade if position is not None else None
    order = {"order": note.order} if note.order else {}
    match note.level:
        case Level.INFO:
            log.info(note.event, trade=trade, **order, text=note.text)
        case Level.WARNING:
            log.warning(note.event, trade=trade, **order, text=note.text)
        case Level.ALERT:
            with noted():
                log.error(note.event, alert=True, trade=trade, **order, text=note.text)
