"""The limits of `/sapi`: each of its calls has a minute's weight of its own, counted for the address or the account.

So nothing that margin asks takes anything of what prices and Spot have, and a call that has used its own up holds no
other back: an order is not kept from leaving because loans were asked for too often.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Final

from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.transport.trickle import Trickle
from executor.exchange.wire.calls import Call, Urgency

MINUTE_MS: Final = 60_000
IP_LIMIT: Final = 12_000
UID_LIMIT: Final = 180_000
"""A minute, for each call (general information of the wallet's and margin endpoints, "Limits")."""
SHARE: Final[dict[Urgency, int]] = {Urgency.ROUTINE: 50, Urgency.LOOKUP: 95}
"""Per cent of a call's limit up to which a read is sent; the rest is kept for commands."""
BURST: Final = 20
"""Per cent of a call's limit; once so much of a minute is used, watching is spread over the rest of it."""
_USED: Final = ("X-SAPI-USED-IP-WEIGHT-1M", "X-SAPI-USED-UID-WEIGHT-1M")


class SapiBudget:
    """How much of its minute each call has used, and until when the exchange wants none of it (ms, its clock)."""

    def __init__(self, clock: ExchangeClock) -> None:
        self._clock = clock
        self._minute = -1
        self._used: dict[str, int] = {}
        self._closed: dict[str, int] = {}
        self._untold: dict[str, Trickle] = {}
        self._watched: dict[str, tuple[int, int]] = {}
        """When the last watching look left, and its weight."""
        self._turns: dict[str, asyncio.Lock] = {}

    def shift(self, by: int) -> None:
        """The clock was set by so much: what is closed is so for as long as before."""
        self._closed = {call: until + by for call, until in self._closed.items()}
        self._watched = {call: (at + by, weight) for call, (at, weight) in self._watched.items()}
        for trickle in self._untold.values():
            trickle.shift(by)

    def used(self, call: Call) -> int:
        """In this minute, by what the exchange has told and what was sent since."""
        self._roll()
        return self._used.get(str(call), 0)

    def closed_until(self, call: Call) -> int:
        return self._closed.get(str(call), 0)

    def close(self, call: Call, until: int) -> None:
        self._closed[str(call)] = max(until, self.closed_until(call))

    def untold(self, call: Call) -> Trickle:
        """For a call that is refused without a time to come back."""
        return self._untold.setdefault(str(call), Trickle())

    def wait_ms(self, call: Call) -> int:
        """How long a read of it must wait."""
        now = self._clock.now_ms()
        if now < self.closed_until(call):
            return self.closed_until(call) - now
        room = _limit(call) * SHARE.get(call.urgency, 100) // 100
        used = self.used(call)
        return MINUTE_MS - now % MINUTE_MS if used and used + call.weight > room else 0

    def turn(self, call: Call) -> asyncio.Lock:
        """Held by the watching look that goes next: one waits for its time, the others of that call for it."""
        return self._turns.setdefault(str(call), asyncio.Lock())

    def pause_ms(self, call: Call) -> int:
        """How long watching must wait, so that what is left for it lasts to the end of the minute."""
        now, used, limit = self._clock.now_ms(), self.used(call), _limit(call)
        if used + call.weight <= limit * BURST // 100:
            return 0
        left = max(1, limit * SHARE[Urgency.ROUTINE] // 100 - used)
        watched_at, weight = self._watched.get(str(call), (0, 0))
        due = watched_at + weight * (MINUTE_MS - now % MINUTE_MS) / left
        return max(0, math.ceil(due - now))

    def begin(self, call: Call, *, watching: bool = False) -> int:
        """Count a request as it leaves; the returned mark goes to `end`."""
        self._roll()
        if watching:
            self._watched[str(call)] = self._clock.now_ms(), call.weight
        self._used[str(call)] = self._used.get(str(call), 0) + call.weight
        return self._minute

    def end(self, call: Call, mark: int, headers: Mapping[str, str] | None) -> None:
        """Heed the exchange's own count, which includes other programs; of a minute that is over it says nothing."""
        self._roll()
        told = (headers or {}).get(_USED[call.uid], "")
        if mark == self._minute and told.isascii() and told.isdigit() and len(told) <= 12:
            self._used[str(call)] = max(self._used.get(str(call), 0), int(told))

    def _roll(self) -> None:
        minute = self._clock.now_ms() // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._used.clear()


def _limit(call: Call) -> int:
    return UID_LIMIT if call.uid else IP_LIMIT
