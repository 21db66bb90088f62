"""How fast messages may go over one channel: a chat group takes twenty a minute."""

from collections import deque
from typing import Final

from executor.ops.alerts.kinds import Severity

PER_MINUTE: Final = 20
SHARE: Final = {Severity.INFO: 12, Severity.WARNING: 16, Severity.CRITICAL: PER_MINUTE}
"""How many of the minute's messages each may be the last of: the graver always finds room."""
ANSWERS: Final = 18
"""The same of answers that only tell how things are. What was done, and a question that must be answered before
anything is, may be the last of all: neither alerts below critical nor a row of questions take their room.
"""
WINDOW_S: Final = 60.0
GAP_S: Final = 1.0
"""A chat takes no more than one a second for long."""


class Pace:
    """Seconds of a monotonic clock, handed in."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque(maxlen=PER_MINUTE)

    def wait(self, now: float, share: int) -> float:
        """Seconds until a message that may be the `share`-th of its minute may go; 0 now."""
        while self._sent and now - self._sent[0] >= WINDOW_S:
            self._sent.popleft()
        wait = 0.0
        if len(self._sent) >= share:
            wait = self._sent[len(self._sent) - share] + WINDOW_S - now
        if self._sent:
            wait = max(wait, self._sent[-1] + GAP_S - now)
        return max(wait, 0.0)

    def take(self, now: float) -> None:
        """A message goes."""
        self._sent.append(now)
