"""The locks of a run's states (rule 9.4).

Of several symbols, one whose state another process holds, or whose lock file can't be used, keeps none with a trade
open from being looked after: it is left out, told of, and tried again. Where no trade is open that would be looked
after, a start ends: a person sits there, and can mend it.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Self

import structlog

from executor.config import Settings
from executor.core.model.state import Protected
from executor.service.loop import Loop
from executor.service.store.lock import LockError, LockUnusable, StateLock
from executor.service.supervisor import Supervisor
from executor.service.symbol_rules import trade_open

log = structlog.get_logger(__name__)

RETRY_S: Final = 5.0
RESTLESS_MAX: Final = 12
"""Looks without a calm moment between them, after which none is waited for where a trade is open that nobody looks
after: what lasts for a minute (a position that stays bare, a close while the symbol is suspended) may last for hours.
"""


class StateLocks:
    """Those of `symbols`, as far as they could be had, until the end of the `with`. `missing`: why others could not."""

    def __init__(self, settings: Settings, symbols: Collection[str]) -> None:
        self.missing: dict[str, LockError] = {}
        self._settings = settings
        self._symbols = self._left = tuple(symbols)
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def held(self) -> tuple[str, ...]:
        return tuple(symbol for symbol in self._symbols if symbol not in self._left)

    def take(self) -> None:
        """All of them, or those that are missing still."""
        self.missing = {}
        for symbol in self._left:
            try:
                self._held.enter_context(StateLock(self._settings.state_path(symbol)))
            except LockError as error:
                self.missing[symbol] = error
        self._left = tuple(self.missing)

    @property
    def enough(self) -> bool:
        """Whether a run may begin with those that it has."""
        return not self.missing or self._any_open(self.held)

    def _any_open(self, symbols: Collection[str]) -> bool:
        return any(trade_open(self._settings, symbol) for symbol in symbols)

    @property
    def fault(self) -> LockError:
        """Why there are not enough: rather what another process holds than what may become usable."""
        return min(self.missing.values(), key=lambda error: isinstance(error, LockUnusable))

    def tell(self) -> None:
        """Who is left out."""
        for symbol, error in self.missing.items():
            text = "nobody looks after it here; the others trade, and it is tried again"
            log.error("not_started", alert=True, symbol=symbol, error=str(error), text=text)

    async def join(self, supervisor: Supervisor, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Try again what is missing, in moments in which no trade of the others is being opened, covered or closed: the
        run ends there and then to begin anew with it. A lock is not held for longer before that: a command may want it.
        """
        before, restless = self.missing, 0
        while len(self.missing) == len(before):
            await sleep(RETRY_S)
            restless = 0 if all(map(_calm, supervisor.loops.values())) else restless + 1
            if not restless or (restless >= RESTLESS_MAX and self._any_open(self._left)):
                self.take()
        found = ", ".join(symbol for symbol in before if symbol not in self.missing)
        log.warning("locked_after_all", symbols=found, text="the run begins anew with it")
        supervisor.begin_anew()


def _calm(loop: Loop) -> bool:
    position = loop.state.position
    return (position is None or isinstance(position.phase, Protected)) and not loop.exposed()
