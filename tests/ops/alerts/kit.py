"""Time that passes at once, and channels that take what they are told to."""

import asyncio
from collections.abc import Sequence

from executor.config import Topic
from executor.ops.alerts.channel import NotTakenError
from executor.ops.alerts.queue import Waiting

START_MS = 1_750_000_000_000


class Time:
    """A clock for everything: sleepers wake in the order of their times, when nobody else has anything to do."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return START_MS + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.seconds + seconds
        while self.seconds < until:  # noqa: ASYNC110  # the clock that it waits for is this one
            await asyncio.sleep(0)

    async def pass_by(self, seconds: float, step: float = 0.5) -> None:
        """Let time go on, with turns enough for everybody at each step."""
        until = self.seconds + seconds
        while self.seconds < until:
            self.seconds = min(self.seconds + step, until)
            for _ in range(12):
                await asyncio.sleep(0)


class Recorder:
    """A channel that keeps what it is sent; `refusals` are raised first, one a try."""

    def __init__(self, time: Time, name: str = "recorder", room: int = 8) -> None:
        self.name = name
        self.time = time
        self.size = room
        self.refusals: list[NotTakenError] = []
        self.tries: list[float] = []
        self.messages: list[tuple[float, list[Waiting]]] = []
        self.off: set[Topic] = set()
        self.silent: set[Topic] = set()
        self.hang: asyncio.Event | None = None

    def wants(self, topic: Topic) -> bool:
        return topic not in self.off

    def loud(self, topic: Topic) -> bool:
        return topic not in self.silent

    def room(self, items: Sequence[Waiting]) -> bool:
        return len(items) <= self.size

    async def send(self, items: Sequence[Waiting]) -> None:
        self.tries.append(self.time.seconds)
        if self.hang is not None:
            await self.hang.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        self.messages.append((self.time.seconds, list(items)))

    @property
    def items(self) -> list[Waiting]:
        return [item for _, items in self.messages for item in items]
