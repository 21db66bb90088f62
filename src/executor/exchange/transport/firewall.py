"""What a firewall in front of the exchange closes (HTTP 403, rest-api.md): one way in, and not all of it.

Nobody counts requests there, and no time is told at which it ends. So reads wait, which makes up most of what is sent;
stops, sales and cancels go on, one at a time and slowly, for a position must not stay bare for what a firewall thinks;
and so do looks at orders in doubt, more slowly, for without them nobody may know that there is a position to cover.
The first that comes through opens the way again.
"""

from typing import Final

READS_WAIT_MS: Final = 120_000
PACE_MS: Final = 1_000
PACE_MAX_MS: Final = 10_000
"""Between two commands: longer with each page that comes in a row."""
LOOK_MS: Final = 2_000
LOOK_MAX_MS: Final = 30_000
"""The same between two looks."""


class Firewall:
    """One way to the exchange. Times are ms of its clock; `reads_wait_until`: 0 while it is open."""

    def __init__(self) -> None:
        self.reads_wait_until = 0
        self._next_command = 0
        self._next_look = 0
        self._pages = 0

    def closed(self, now: int) -> bool:
        return now < self.reads_wait_until

    def command_at(self, now: int) -> int:
        """From when on a command may go; 0 for now."""
        return self._next_command if self.closed(now) and now < self._next_command else 0

    def lets_look(self, now: int) -> bool:
        """Whether a look that settles a doubt may go now; the next may not at once."""
        if self.closed(now) and now < self._next_look:
            return False
        self._next_look = now + self._look_pace
        return True

    def sent(self, now: int) -> None:
        """A command goes."""
        self._next_command = now + self._pace

    def shut(self, now: int) -> int:
        """A page came in the place of an answer. From when on the next command may go."""
        self._pages += 1
        self.reads_wait_until = now + READS_WAIT_MS
        self._next_command = now + self._pace
        self._next_look = now + self._look_pace
        return self._next_command

    def passed(self) -> None:
        """The exchange itself has answered."""
        self.reads_wait_until = self._next_command = self._pages = 0

    @property
    def _pace(self) -> int:
        return min(PACE_MS << min(self._pages, 8) >> 1, PACE_MAX_MS)

    @property
    def _look_pace(self) -> int:
        return min(LOOK_MS << min(self._pages, 8) >> 1, LOOK_MAX_MS)
