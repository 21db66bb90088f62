"""What still goes where requests are refused and nobody tells until when.

Reads wait, which makes up most of what is sent. Stops, sales and cancels go on, one at a time and slowly: a position
must not stay bare for what is only guessed (rule 8.7). So do looks at orders in doubt, more slowly, for without them
nobody may know that there is a position to cover. The first that comes through opens the way again.
"""

from typing import Final

PACE_MS: Final = 1_000
PACE_MAX_MS: Final = 10_000
"""Between two commands: longer with each refusal in a row."""
LOOK_MS: Final = 2_000
LOOK_MAX_MS: Final = 30_000
"""The same between two looks."""


class Trickle:
    """Times are ms of the exchange's clock; `reads_wait_until`: 0 while nothing is closed. `pace_max`: the longest
    pause between two commands.
    """

    def __init__(self, pace_max: int = PACE_MAX_MS) -> None:
        self._pace_max = pace_max
        self.reads_wait_until = 0
        self.next_look = 0
        self._next_command = 0
        self._closed_at = 0
        self._refusals = 0

    def shift(self, by: int) -> None:
        """The clock was set by so much."""
        if self.reads_wait_until:
            self.reads_wait_until += by
            self.next_look += by
            self._next_command += by
            self._closed_at += by

    def closed(self, now: int) -> bool:
        return now < self.reads_wait_until

    def command_at(self, now: int) -> int:
        """From when on a command may go; 0 for now."""
        return self._next_command if self.closed(now) and now < self._next_command else 0

    def lets_look(self, now: int) -> bool:
        """Whether a look that settles a doubt may go now; the next may not at once."""
        if self.closed(now) and now < self.next_look:
            return False
        self.next_look = now + self._look_pace
        return True

    def sent(self, now: int) -> None:
        """A command goes."""
        self._next_command = now + self._pace

    def close(self, now: int, until: int) -> int:
        """A request was refused: reads wait `until` then. From when on the next command may go."""
        self._refusals += 1
        self._closed_at = now
        self.reads_wait_until = until
        self._next_command = now + self._pace
        self.next_look = now + self._look_pace
        return self._next_command

    def passed(self, sent_at: int | None = None) -> None:
        """The exchange has answered a request; one that was on its way when the way was closed opens nothing."""
        if sent_at is None or sent_at > self._closed_at:
            self.reads_wait_until = self._next_command = self._refusals = 0

    @property
    def _pace(self) -> int:
        return min(PACE_MS << min(self._refusals, 8) >> 1, self._pace_max)

    @property
    def _look_pace(self) -> int:
        return min(LOOK_MS << min(self._refusals, 8) >> 1, LOOK_MAX_MS)
