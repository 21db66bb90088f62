"""What the streams do to a fill, and how long it takes until the position is covered all the same."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.scenario import StreamFault
from executor.paper.server.faults import PushFault, RequestFault

LATE_MS: Final = 2_000
SHUFFLED_MS: Final = 200

_PUSHES: Final[Mapping[StreamFault, Callable[[str], PushFault | None]]] = {
    StreamFault.LATE: lambda kind: PushFault(delay_ms=LATE_MS) if kind == "user" else None,
    StreamFault.DOUBLED: lambda kind: PushFault(copies=2) if kind == "user" else None,
    StreamFault.SHUFFLED: lambda kind: PushFault(delay_ms=random.randrange(SHUFFLED_MS)) if kind == "user" else None,
    StreamFault.USER_DEAD: lambda kind: PushFault(copies=0) if kind == "user" else None,
    StreamFault.BOTH_DEAD: lambda _: PushFault(copies=0),
}


class FaultInjector:
    """A fault plan that has the stream_fault of the moment."""

    def __init__(self) -> None:
        self.now = StreamFault.SOUND

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:  # noqa: ARG002
        return None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:  # noqa: ARG002
        push = _PUSHES.get(self.now)
        return push(kind) if push is not None else None
