"""Watching a symbol's rules and whether it is open for trading: filters change while orders rest, and symbols close.

Sooner while something is held, at once where an order was refused for it, and often until it has opened (rule 6.8).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from executor.core.model.events import Tick
from executor.core.model.facts import Refused, Why
from executor.core.model.intents import Level, Notify
from executor.core.model.rules import SymbolRules
from executor.exchange.port import ReadError
from executor.service.engine import Engine
from executor.service.policy import say_layout
from executor.service.poller import Host
from executor.waiting import nap

log = structlog.get_logger(__name__)

FILTER_LOOK_S: Final = 0.5
"""So soon the rules are read again where a filter has refused an order; later each time that there is no news."""
CLOSED_LOOK_S: Final = 15.0
"""Rules are not read more often, whatever is refused, and so often while a symbol is not open for trading: 160 of
request weight a minute.
"""
REOPEN_LOOK_S: Final = 2.0
"""While something is held and its symbol is closed, its status is asked for so often, 2 of request weight each: what
could not be covered is covered as soon as it has opened.
"""
BARRED_LOOK_S: Final = 60.0
"""Rules that no entry is made by, for they could not be read or do not fit, are read again so often."""
OPEN_LOOK_S: Final = 60.0
"""While something is held the symbol's status is asked for so often, 2 of request weight each: exits of a symbol that
has closed must not be taken away.
"""


class RulesHost(Host, Protocol):
    """The loop, as far as this needs it."""

    engine: Engine

    def say(self, note: Notify) -> None: ...


class RulesPoller:
    """Of one symbol: `run` beside its loop. `reload` reads its rules, and `is_trading`, which costs less, whether it is
    open for trading; both may raise ReadError.
    """

    def __init__(
        self,
        host: RulesHost,
        reload: Callable[[], Awaitable[SymbolRules]],
        is_trading: Callable[[], Awaitable[bool]],
    ) -> None:
        self._host = host
        self._reload = reload
        self._is_trading = is_trading
        self._closed = asyncio.Event()
        """An order was refused because the symbol is closed."""
        self._filtered = asyncio.Event()
        """An order was refused by a filter."""
        self._same = 0
        """So many times in a row the rules were read again and had not changed."""

    def on_outcome(self, outcome: object) -> None:
        """To be told how each request has ended."""
        refused = [each.why for each in (outcome, getattr(outcome, "place", None)) if isinstance(each, Refused)]
        if Why.MARKET_CLOSED in refused:
            self._closed.set()
        if Why.FILTER in refused:
            self._filtered.set()

    async def run(self) -> None:
        """Read the rules again for ever, as often as is needed (filters.md)."""
        if not self._rules.tradable:
            self._tell_market()
        while True:
            await self._rest()
            self._closed.clear()
            self._filtered.clear()
            with self._host.at_work():
                try:
                    rules = await self._reload()
                except ReadError as error:
                    log.warning("rules_not_reloaded", error=str(error))
                    continue
                known = self._rules
                self._same = self._same + 1 if rules == known else 0
                if rules == known:
                    continue
                log.info("rules_changed", symbol=rules.symbol)
                self._host.engine.change_rules(rules)
                say_layout(self._host.engine.policy, rules)
                if rules.tradable is not known.tradable:
                    self._tell_market()
                    self._host.tell(Tick(at=self._host.now()))

    async def _rest(self) -> None:
        """Until the rules are to be read again."""
        if not self._rules.tradable and self._host.state.position is not None:
            await self._until_open(CLOSED_LOOK_S)
            return
        pause = min(FILTER_LOOK_S * 2 ** min(self._same, 6), CLOSED_LOOK_S)
        await self._host.clock.sleep(pause)
        await nap(self._host.clock.sleep, CLOSED_LOOK_S - pause, self._filtered)
        if self._filtered.is_set() or not self._rules.tradable:
            return
        left = (BARRED_LOOK_S if self._rules.barred else self._host.timing.reload_rules) - CLOSED_LOOK_S
        while left > 0 and not self._closed.is_set() and not self._filtered.is_set():
            await nap(self._host.clock.sleep, min(left, OPEN_LOOK_S), self._closed, self._filtered)
            left -= OPEN_LOOK_S
            if self._host.state.position is not None and not await self._trades(unknown=True):
                return

    async def _until_open(self, seconds: float) -> None:
        """At the most so long."""
        left = seconds
        while left > 0:
            await self._host.clock.sleep(min(left, REOPEN_LOOK_S))
            left -= REOPEN_LOOK_S
            if await self._trades(unknown=False):
                return

    @property
    def _rules(self) -> SymbolRules:
        """Those that are known."""
        return self._host.engine.rules

    async def _trades(self, *, unknown: bool) -> bool:
        """Whether the symbol is open for trading; `unknown`: what counts where that can't be read."""
        with self._host.at_work():
            try:
                return await self._is_trading()
            except ReadError as error:
                log.warning("look_failed", what="symbol status", error=str(error))
                return unknown

    def _tell_market(self) -> None:
        symbol = self._rules.symbol
        if self._rules.tradable:
            self._host.say(Notify(Level.INFO, "market_open", f"{symbol} is open for trading again"))
            return
        what, pace = "no entries", CLOSED_LOOK_S
        if self._host.state.position is not None:
            what, pace = "exits that stand are left standing, and nothing can be placed", REOPEN_LOOK_S
        text = f"{symbol} is not open for trading: {what} until it opens; it is asked every {pace:.0f} s"
        self._host.say(Notify(Level.ALERT, "market_closed", text))
