"""What an engine needs of the place where its state outlives the process: a file on this machine, or a fleet's store.

A commit may be staged only: `written` returns once all that was committed is there. Nothing that the state owes is sent
before (rule 8.1).
"""

from collections.abc import Collection
from typing import Protocol


class Fenced(Exception):  # noqa: N818  (it says what has happened to this process)
    """The account has another owner, or its owner is not this process any more: nothing may be sent, not even what was
    decided. The text says who.
    """


class StoreUnwritable(Exception):  # noqa: N818
    """The state could not be written: the store holds the state before it or the new one, whole. The text says why."""


class SymbolStore(Protocol):
    """One symbol's state. `publish_after_s`: so much later (seconds) `publish` is to follow what was committed."""

    publish_after_s: float

    def commit(self, document: object, *, durable: bool = True) -> str:
        """Write, or stage, the state; the document's checksum. Raises CodecError, and StoreUnwritable where it writes
        at once. Not `durable`: the exchange would tell again what it holds, so that it may be written a little later.
        """

    def save(self, document: object) -> str:
        """The same, for a state that may be the last: it is left in order. Raises as `commit`."""

    def take(self, names: Collection[str]) -> None:
        """With the next commit, the signals of these names are consumed."""

    @property
    def pending(self) -> bool:
        """Whether something that was committed is not known to be there yet."""

    async def written(self) -> None:
        """Return once everything that was committed is there. Raises Fenced, and StoreUnwritable: then it may be called
        again.
        """

    def publish(self) -> None:
        """Show people what was committed. May run in a thread; raises StoreUnwritable."""
