"""Whether the WebSocket API serves orders, judged by orders alone: a connection that answers pings may answer nothing
else (rule 8.7).

One order that it leaves unanswered, or refuses to serve at all, and the next go over REST. It is tried again after a
pause, which grows from failure to failure: with one request at a time, and where it had been silent only with an entry,
so that nothing that protects a position waits for it a second time.
"""

from collections.abc import Mapping
from typing import Final

import structlog

from executor.exchange.wire.answer import Answer
from executor.exchange.wire.outcomes import fault_of
from executor.exchange.wire.params import enters

PAUSES_MS: Final = (10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000)
TRIAL_MS: Final = 15_000
"""One that was to try it and never went, for another reason, keeps the others away no longer."""
NOT_SERVED: Final = ("websocket api trading is not enabled", "service is no longer available")
NO_SUCH_METHOD: Final = frozenset({404, 405, 410, 501})

_log = structlog.get_logger(__name__)


class LinkService:
    """Times are ms of the local clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed_until = 0
        self._silent = False
        self._trying_until = 0

    def takes(self, params: Mapping[str, str], now: int) -> bool:
        """Whether a request with these parameters goes over the link; after a failure it is the one that tries it."""
        if not self._failures:
            return True
        if now < max(self._closed_until, self._trying_until) or (self._silent and not enters(params)):
            return False
        self._trying_until = now + TRIAL_MS
        return True

    def served(self) -> None:
        """It has answered what only the exchange's engine can."""
        if self._failures:
            _log.info("orders_over_websocket_again")
        self._failures, self._silent, self._trying_until = 0, False, 0

    def failed(self, why: str, now: int, *, silent: bool) -> None:
        """`silent`: whoever asked had to wait in vain, not merely for the connection's end."""
        pause = PAUSES_MS[min(self._failures, len(PAUSES_MS) - 1)]
        if now >= self._closed_until:  # of several that were under way at once, the first counts
            self._failures += 1
            self._closed_until = now + pause
        self._silent = self._silent or silent
        self._trying_until = 0
        _log.warning("orders_over_rest", reason=why, tried_again_in_s=(self._closed_until - now) // 1000)


def not_served(answer: Answer) -> bool:
    """Whether the answer refuses to serve orders here at all, which another way may do: nothing was executed."""
    if answer.ok:
        return False
    said = fault_of(answer).msg.lower()
    return answer.status in NO_SUCH_METHOD or any(words in said for words in NOT_SERVED)
