"""One request on its way, and what came back for it."""

from collections.abc import Mapping

import msgspec


class Attempt:
    """One request on its way: stamped `timestamp` (ms, exchange clock); `sent` once it is being written."""

    __slots__ = ("recv_window", "sent", "timestamp")

    def __init__(self, timestamp: int, recv_window: int) -> None:
        self.timestamp = timestamp
        self.recv_window = recv_window
        self.sent = False

    @property
    def fence(self) -> int:
        """After it (ms, exchange clock) a request that has not reached the engine never will (rule 8.3)."""
        return self.timestamp + self.recv_window


class Answer(msgspec.Struct, frozen=True):
    """`retry_at`: when to try again, where it is told as a moment (ms, exchange clock); else 0."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    retry_at: int = 0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300
