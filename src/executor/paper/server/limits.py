"""Rate limits of the address: request weight and raw requests, in fixed windows of market time.

A minute starts at :00, a ten-second window at 0, 10, 20 …, a day at 00:00 UTC (web-socket-api.md, "How to
interpret rate limits"). The exchange here has one client address, so they are counted once. The unfilled
orders of an account are the engine's to count: give it `Limits.announce()` as its `rate_limits`.
"""

from typing import Any, Final

import msgspec

from executor.paper.server import errors

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
DAY_MS: Final = 24 * 60 * MINUTE_MS
FIRST_BAN_MS: Final = 2 * MINUTE_MS
LONGEST_BAN_MS: Final = 3 * DAY_MS


class Limits(msgspec.Struct, frozen=True):
    """The limits an exchange announces in `exchangeInfo` (values of rest-api.md)."""

    request_weight_per_minute: int = 6_000
    orders_per_10_seconds: int = 50
    orders_per_day: int = 160_000
    raw_requests_per_5_minutes: int = 300_000
    sapi_ip_weight_per_minute: int = 12_000
    sapi_uid_weight_per_minute: int = 180_000
    """Each endpoint of `/sapi` has these for itself."""
    refusals_before_ban: int = 10
    """So many answers 429 in one window are tolerated; the next request is banned (418)."""

    def announce(self) -> list[dict[str, Any]]:
        """`rateLimits` of `exchangeInfo`."""
        return [
            _row("REQUEST_WEIGHT", "MINUTE", 1, self.request_weight_per_minute),
            _row("ORDERS", "SECOND", 10, self.orders_per_10_seconds),
            _row("ORDERS", "DAY", 1, self.orders_per_day),
            _row("RAW_REQUESTS", "MINUTE", 5, self.raw_requests_per_5_minutes),
        ]


class Counter:
    """Counts in fixed windows of `length_ms`; a new window starts at zero."""

    __slots__ = ("_count", "_window", "length_ms")

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms
        self._window = -1
        self._count = 0

    def count(self, now_ms: int) -> int:
        window = now_ms // self.length_ms
        if window != self._window:
            self._window = window
            self._count = 0
        return self._count

    def add(self, now_ms: int, amount: int) -> int:
        """Add `amount` (never below zero) and return the new count."""
        self._count = max(0, self.count(now_ms) + amount)
        return self._count

    def ends_ms(self, now_ms: int) -> int:
        """When the present window ends."""
        return (now_ms // self.length_ms + 1) * self.length_ms


class RequestMeter:
    """Weight and raw requests of the one client address, and its bans."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._weight = Counter(MINUTE_MS)
        self._raw = Counter(5 * MINUTE_MS)
        self._refusals = Counter(MINUTE_MS)
        self._ban_ends_ms = 0
        self._ban_length_ms = FIRST_BAN_MS

    def used(self, now_ms: int) -> int:
        """Weight used in the present minute."""
        return self._weight.count(now_ms)

    def charge(self, now_ms: int, weight: int) -> None:
        """Count one request; 429 beyond the limit, 418 when the 429s were ignored."""
        if now_ms < self._ban_ends_ms:
            raise errors.banned(self._ban_ends_ms)
        if self._raw.add(now_ms, 1) > self._limits.raw_requests_per_5_minutes:
            self._refuse(now_ms)
            raise errors.too_many_raw_requests(self._limits.raw_requests_per_5_minutes, self._raw.ends_ms(now_ms))
        if self._weight.add(now_ms, weight) > self._limits.request_weight_per_minute:
            self._refuse(now_ms)
            raise errors.too_much_weight(self._limits.request_weight_per_minute, self._weight.ends_ms(now_ms))

    def refund(self, now_ms: int, weight: int) -> None:
        """Give weight back: orders and cancels cost nothing when they succeed (CHANGELOG.md 2026-03-27)."""
        self._weight.add(now_ms, -weight)

    def row(self, now_ms: int) -> dict[str, Any]:
        """The weight limit as a WebSocket answer shows it."""
        row = _row("REQUEST_WEIGHT", "MINUTE", 1, self._limits.request_weight_per_minute)
        row["count"] = self.used(now_ms)
        return row

    def _refuse(self, now_ms: int) -> None:
        if self._refusals.add(now_ms, 1) <= self._limits.refusals_before_ban:
            return
        self._ban_ends_ms = now_ms + self._ban_length_ms
        self._ban_length_ms = min(2 * self._ban_length_ms, LONGEST_BAN_MS)
        raise errors.banned(self._ban_ends_ms)


class SapiMeter:
    """Weight on `/sapi`: each endpoint counts for itself, by address or by account."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counters: dict[tuple[str, str], Counter] = {}

    def charge(self, now_ms: int, endpoint: str, whose: str, weight: int) -> int:
        """Count a request of `whose` (an account's weight; empty: the address's); the weight used. 429 beyond it."""
        limits = self._limits
        limit = limits.sapi_uid_weight_per_minute if whose else limits.sapi_ip_weight_per_minute
        counter = self._counters.setdefault((endpoint, whose), Counter(MINUTE_MS))
        used = counter.add(now_ms, weight)
        if used > limit:
            raise errors.too_much_weight(limit, counter.ends_ms(now_ms))
        return used


def _row(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
