"""What the journal holds: where a run began, and every event since, each with the fingerprint of the state after it."""

import msgspec

from executor.core.model.events import AnyEvent
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State


class Began(msgspec.Struct, frozen=True, tag="began", kw_only=True, omit_defaults=True):
    """The base that the following events build on: after a start, a change of rules, or a gap in the journal.
    `layout`: what the states of then look like (`layouts`). `epoch`, `node`: who owned the account, in a fleet.
    """

    layout: int = 0
    version: str
    why: str
    policy: Policy
    rules: SymbolRules
    state: State
    epoch: int = 0
    node: str = ""


class Took(msgspec.Struct, frozen=True, tag="took", kw_only=True, omit_defaults=True):
    """One event. `sum`: the checksum of the state file written after it; empty when nothing durable changed. `now`:
    the exchange's clock when it was taken, in ms, where what it set off was stamped with it (rule 8.3d); else 0.
    """

    event: AnyEvent
    sum: str = ""
    now: int = 0


Record = Began | Took
