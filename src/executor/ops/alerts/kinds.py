"""How grave an alert is, and what an entry of the catalogue holds."""

from enum import IntEnum, StrEnum

import msgspec

from executor.config import Topic


class Severity(IntEnum):
    """What a person should do about it: read it sometime, look into it, act now."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        return self.name.lower()


class Handling(StrEnum):
    """What the watchdog does about a finding (rule 12)."""

    MENDED = "mended"
    DECIDER = "handed to the decider"
    HALTED = "alerted, and entries are halted"
    ALERTED = "alerted"


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """`meaning` and `action` are for people, in Markdown. `rule`, `handling`: of the watchdog's findings. `once`: each
    is news of its own trade, and not merged with that of another.
    """

    event: str
    topic: Topic
    severity: Severity
    meaning: str
    action: str
    rule: str = ""
    handling: Handling | None = None
    once: bool = False
