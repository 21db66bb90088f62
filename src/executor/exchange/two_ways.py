"""A read that has another way to the same (rule 8.7): the one that works goes first, the other is tried beside it."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from executor.exchange.port import ReadError
from executor.exchange.transport.connection import Connection, ReadUnanswered

OTHER_WAY_MS: Final = 60_000
"""So often the usual way is tried beside the other one, once that goes first."""

T = TypeVar("T")


class TwoWays:
    """`is_answer`: which errors of the usual way are answers, and no reason for another. `patience`: so many failures
    in a row are borne first, but not silence: who does not answer in time is gone round at once.
    """

    def __init__(self, connection: Connection, is_answer: Callable[[ReadError], bool], patience: int = 0) -> None:
        self._connection = connection
        self._is_answer = is_answer
        self._patience = patience
        self._failures = 0
        self._other_first = False
        self._probe_at = 0

    async def read(self, usual: Callable[[], Awaitable[T]], other: Callable[[], Awaitable[T]]) -> T:
        """Raises `ReadError`: that of the usual way, where neither works."""
        other_failed = False
        if self._other_first:
            self._probe(usual)
            try:
                return await other()
            except ReadError:
                other_failed = True
        try:
            found = await usual()
        except ReadError as error:
            if self._is_answer(error):
                self._answered()
                raise
            self._failures += 1
            borne = self._failures <= self._patience and not isinstance(error, ReadUnanswered)
            if other_failed or borne:
                raise
            try:
                found = await other()
            except ReadError:
                raise error from None
            self._other_first = True
            self._probe_at = self._connection.clock.now_ms() + OTHER_WAY_MS
            return found
        self._answered()
        return found

    def _answered(self) -> None:
        self._failures, self._other_first = 0, False

    def _probe(self, usual: Callable[[], Awaitable[object]]) -> None:
        now = self._connection.clock.now_ms()
        if now < self._probe_at <= now + OTHER_WAY_MS:
            return
        self._probe_at = now + OTHER_WAY_MS
        self._connection.beside(self._try(usual))

    async def _try(self, usual: Callable[[], Awaitable[object]]) -> None:
        try:
            await usual()
        except ReadError as error:
            if not self._is_answer(error):
                return
        self._answered()
