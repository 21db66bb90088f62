"""What a firewall in front of the exchange closes (HTTP 403, rest-api.md): one way in, and not all of it.

Nobody counts requests there, and no time is told at which it ends.
"""

from typing import Final

from executor.exchange.transport.trickle import Trickle

READS_WAIT_MS: Final = 120_000


class Firewall(Trickle):
    """One way to the exchange."""

    def shut(self, now: int) -> int:
        """A page came in the place of an answer. From when on the next command may go."""
        return self.close(now, now + READS_WAIT_MS)
