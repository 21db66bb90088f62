"""What a node of a fleet tells of an account while it can't know whether the account is still its own.

A node that was suspended, and wakes, hears what its successor does with the trade as if it were somebody else's doing,
and would raise alerts over it before the store tells it that it owns nothing any more. So what it would tell waits for
that word; not for long, as the store may be away, and then a late alert is better than none.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import msgspec
import structlog

log = structlog.get_logger(__name__)

HOLD_S: Final = 3.0
"""A node that wakes hears from a store that answers well within that."""
LOOK_S: Final = 0.05


class _Held(msgspec.Struct, frozen=True):
    at: float
    account: str
    claim: object
    say: Callable[[], None]


class WhileUnsure:
    """`sure`: whether the node knows that it has lost nothing. `claim_of`: by what it has an account, another object
    each time that it claims it; None where it has it no more. `run` it beside.
    """

    def __init__(
        self,
        sure: Callable[[], bool],
        claim_of: Callable[[str], object],
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sure = sure
        self._claim_of = claim_of
        self._clock = clock
        self._sleep = sleep
        self._held: deque[_Held] = deque()
        self._news = asyncio.Event()

    def tell(self, account: str, say: Callable[[], None]) -> None:
        """Call `say` now, or when it is sure that the account is still this node's own, or not at all."""
        claim = self._claim_of(account)
        if claim is not None and self._sure() and not self._held:
            say()
            return
        self._held.append(_Held(self._clock(), account, claim, say))
        self._news.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._news.clear()
            while self._held:
                if not self._settled(self._held[0]):
                    await self._sleep(LOOK_S)
                    continue
                self._held.popleft()
            await self._news.wait()

    def _settled(self, held: _Held) -> bool:
        """Whether it was told, or is not to be."""
        if held.claim is None or self._claim_of(held.account) is not held.claim:
            log.info("not_told", account=held.account, why="it is another node's by now")
            return True
        if self._sure() or self._clock() - held.at >= HOLD_S:
            held.say()
            return True
        return False
