"""What one measurement is made of; handed to the processes as JSON."""

import time
from enum import StrEnum
from typing import Final

import msgspec

KEY: Final = "bench"
SECRET: Final = "bench"  # noqa: S105  # the paper exchange's own, on loopback
BASE: Final = 100
"""Price around which the bench trades, in quote units."""


class StreamFault(StrEnum):
    """One that lasts from just before a fill until its exits are out. `cut` closes the connections once."""

    SOUND = "sound"
    CUT = "cut at the fill"
    LATE = "user events two seconds late"
    DOUBLED = "user events twice"
    SHUFFLED = "user events in any order"
    USER_DEAD = "user stream silently dead"
    BOTH_DEAD = "both streams silently dead"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`play`: which script the venue plays. Quantities of time in seconds, `delay_ms` each way.

    `wait`: how long an entry rests before it fills: uniform from 0 to this. `size`: bytes that the floor persists.
    `stream_fault`: what happens to the streams at each fill.
    """

    name: str
    play: str
    symbols: tuple[str, ...] = ("LTCUSDT",)
    entries: int = 0
    warm_up: int = 0
    layout: str = "OCO"
    transport: str = "ws"
    delay_ms: float = 0
    wait: float = 0.01
    seconds: float = 0
    weight_limit: int = 1_000_000
    settings: dict[str, str] = {}
    stream_fault: StreamFault = StreamFault.SOUND
    floor: bool = False
    size: int = 0
    margin: bool = False
    """On an isolated margin account, with borrowed money, in place of Spot."""


class Place(msgspec.Struct, frozen=True):
    """Where the processes of a scenario meet: a folder with the signal file and the socket of notes."""

    folder: str
    rest_url: str = ""
    ws_api_url: str = ""
    stream_url: str = ""

    @property
    def signals(self) -> str:
        return f"{self.folder}/signals.jsonl"

    @property
    def notes(self) -> str:
        """A datagram socket on which the venue hears `ready SYMBOL`, and `flat SYMBOL` when a trade is over."""
        return f"{self.folder}/notes"


class Result(msgspec.Struct, kw_only=True):
    """Samples in microseconds by what was measured; counts by name."""

    samples: dict[str, list[float]] = {}
    counts: dict[str, float] = {}
    notes: list[str] = []


def now_us() -> float:
    """The monotonic clock, the same for every process of this machine."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) / 1000
