"""What a transition did with its event: moved, ignored (why), refused (why)."""

from typing import Final

import msgspec

from executor.core.model.intents import Notify
from executor.core.model.state import State


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """The event's facts are part of the state now."""


class Ignored(msgspec.Struct, frozen=True, tag="ignored"):
    """Nothing new: a duplicate, an older report, somebody else's order."""

    why: str


class Refusal(msgspec.Struct, frozen=True, tag="refused"):
    """Not acceptable: a signal outside the rules, an impossible fact, a command that makes no sense now."""

    why: str


Verdict = Moved | Ignored | Refusal
MOVED: Final = Moved()


class Absorbed(msgspec.Struct, frozen=True):
    """The state with an event's facts in it, and what people should read about them."""

    state: State
    verdict: Verdict = MOVED
    notes: tuple[Notify, ...] = ()
