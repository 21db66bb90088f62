"""Absorb what the watchdog has found and made sure of (rule 12): it is told, entries may be halted, and a halt that was
for orders of a finished trade alone ends with them.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from executor.core.model.events import Found
from executor.core.model.ids import PREFIX
from executor.core.model.intents import Level, Notify
from executor.core.model.state import State
from executor.core.model.verdict import MOVED, Absorbed

_STRAY: Final = "open orders that belong to no trade here: "
_BETWEEN_REASONS: Final = "; "
_BETWEEN_IDS: Final = ", "
_OURS: Final = re.compile(PREFIX + r"[^\s,;:]*")


def stray_text(client_ids: Iterable[str]) -> str:
    """Why entries are halted for these orders."""
    return _STRAY + _BETWEEN_IDS.join(client_ids)


def named_in(halted: str) -> set[str]:
    """The orders of ours that a halt names, for whichever reason."""
    return set(_OURS.findall(halted))


def absorb(state: State, event: Found) -> Absorbed:
    halted = _without(state.halted, frozenset(event.gone)) if event.gone else state.halted
    if event.halts:
        halted = halted or event.text
    note = Notify(Level.ALERT, event.finding, event.text, event.order)
    return Absorbed(replace(state, halted=halted), MOVED, (note,))


def _without(halted: str, gone: frozenset[str]) -> str:
    """What is left of the reasons for a halt when these orders are gone."""
    kept = []
    for reason in halted.split(_BETWEEN_REASONS):
        if not reason.startswith(_STRAY):
            kept.append(reason)
        elif left := [key for key in _ids(reason) if key not in gone]:
            kept.append(stray_text(left))
    return _BETWEEN_REASONS.join(kept)


def _ids(reason: str) -> list[str]:
    return reason.removeprefix(_STRAY).split(_BETWEEN_IDS)
