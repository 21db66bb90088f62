"""What a way out for alerts must be able to do, and how it says that it could not."""

from collections.abc import Sequence
from typing import Protocol

from executor.config import Topic
from executor.ops.alerts.queue import Waiting


class NotTakenError(Exception):
    """A message was not taken. `again_in`: seconds before which the other side wants to hear nothing; None where it
    named no time. `hopeless`: it is the message that is at fault, not the way, and will never be taken as it is.
    The text holds no secret.
    """

    def __init__(self, why: str, *, again_in: float | None = None, hopeless: bool = False) -> None:
        super().__init__(why)
        self.again_in = again_in
        self.hopeless = hopeless


class Channel(Protocol):
    """One way out. `name` is how the outbox knows it."""

    name: str

    def wants(self, topic: Topic) -> bool:
        """Whether alerts of this kind go out here."""

    def loud(self, topic: Topic) -> bool:
        """Whether they make a sound; quiet ones are sent apart from those that do."""

    def room(self, items: Sequence[Waiting]) -> bool:
        """Whether so many fit into one message."""

    async def send(self, items: Sequence[Waiting]) -> None:
        """Send one message that tells of all `items`. Raises NotTakenError."""
