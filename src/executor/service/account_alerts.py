"""What a process of several accounts tells a person, and the commands that it takes: once for all of them.

What an account's engines note is told under the account's name. Those that have begun are told of together, the day's
summary comes for each that has one, and the chat's commands reach every account: by its loops where it is traded here,
else by whoever owns it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from executor.config import Settings
from executor.core.model.events import AnyEvent, Verb
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, State
from executor.core.transition import Step
from executor.ops import check as ops_check
from executor.ops import status as ops_status
from executor.ops.alerting import Alerting
from executor.ops.alerts.daily_accounts import AccountsDaily
from executor.ops.alerts.notes import teller
from executor.ops.telegram.traded import LoopTraded, NotToldError, Told, Traded
from executor.ops.why import remember
from executor.service.loop import Loop
from executor.service.supervisor import LAGGARD_S
from executor.service.systemd import NO_TRADE, describe
from executor.service.unsure import WhileUnsure

GATHER_S: Final = 2.0
"""Accounts that begin within so long of each other are told of together, where they are more than `ONE_BY_ONE`."""
ONE_BY_ONE: Final = 5
AWAY: Final = "its account is not traded at the moment: see the alerts"

Loops = Mapping[str, Mapping[str, Loop]]
Teller = Callable[[State, AnyEvent, Step], None]


class AccountAlerts:
    """`loops`: what is traded in this process at the moment, by account. `unsure`: in a fleet, where an account is
    another process's for a while; what a step brings to be told goes by it.
    """

    def __init__(
        self,
        told: Alerting,
        accounts: Mapping[str, Settings],
        loops: Callable[[], Loops],
        unsure: WhileUnsure | None = None,
    ) -> None:
        self._told = told
        self._accounts = accounts
        self._loops = loops
        self._unsure = unsure
        self._begun: dict[str, Mapping[str, Loop]] = {}
        self._news = asyncio.Event()
        self._daily = AccountsDaily(
            told.alerts, self._ready, lambda: time.time_ns() // 1_000_000, forget=unsure is not None
        )

    # --- an account -------------------------------------------------------------------------------------------------

    def attach(self, account: str, loops: Mapping[str, Loop]) -> None:
        """Before the account's loops run."""
        for loop in loops.values():
            tell = teller(self._told.alerts, partial(_rules_of, loop), account)
            loop.engine.on_decided.append(tell if self._unsure is None else _by(self._unsure, account, tell))
            if self._told.pictures is not None:
                loop.on_step.append(partial(self._told.pictures.observe, account=account))
            if self._told.hears:
                remember(loop)

    def attendant(self, account: str) -> "_Begun":
        return _Begun(partial(self._has_begun, account))

    def _has_begun(self, account: str, loops: Mapping[str, Loop]) -> None:
        self._begun[account] = loops
        self._news.set()

    def _ready(self) -> Loops:
        return {
            account: of
            for account, of in self._loops().items()
            if of and all(loop.ready.is_set() for loop in of.values())
        }

    # --- the process ------------------------------------------------------------------------------------------------

    async def hello(self) -> None:
        """Tell of those that have begun, for ever."""
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            begun, self._begun = self._begun, {}
            words = {
                account: [describe(loop.state, loop.engine.rules) for loop in loops.values()]
                for account, loops in begun.items()
            }
            if len(words) > ONE_BY_ONE:
                self._told.alerts.tell("started", _summary(words))
                continue
            for account, texts in words.items():
                self._told.alerts.tell("started", _summary({account: texts}), account=account)

    async def daily(self) -> None:
        await self._daily.run()

    def traded(self, elsewhere: Callable[[str, str], Traded] | None = None) -> Sequence[Traded]:
        """All that commands can be about; `elsewhere`: of an account's symbol that is not traded here."""
        loops = self._loops()
        away = elsewhere or AwayTraded
        found: list[Traded] = []
        for account, settings in self._accounts.items():
            here = loops.get(account, {})
            found += [
                LoopTraded(here[symbol], account) if symbol in here else away(account, symbol)
                for symbol in settings.traded
            ]
        return found


class _Begun:
    """Runs beside an account's loops, and says once that they know their orders; or that they have had time enough."""

    def __init__(self, say: Callable[[Mapping[str, Loop]], None]) -> None:
        self._say = say

    async def run(self, loops: Mapping[str, Loop]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAGGARD_S):
                for loop in loops.values():
                    await loop.ready.wait()
        self._say(loops)


class AwayTraded:
    """Of an account that could not be begun, or is being begun anew."""

    def __init__(self, account: str, symbol: str) -> None:
        self.account = account
        self.symbol = symbol

    async def status(self) -> ops_status.Status:
        raise NotToldError(AWAY)

    async def check(self) -> ops_check.Check:
        raise NotToldError(AWAY)

    async def trades(self) -> Sequence[Closed]:
        raise NotToldError(AWAY)

    async def why(self, about: str) -> str:
        del about
        raise NotToldError(AWAY)

    async def obey(self, verb: Verb, trade: str = "") -> Told:
        del verb, trade
        return Told(False, AWAY)


def _by(unsure: WhileUnsure, account: str, tell: Teller) -> Teller:
    def told(before: State, event: AnyEvent, step: Step) -> None:
        unsure.tell(account, partial(tell, before, event, step))

    return told


def _rules_of(loop: Loop) -> SymbolRules:
    return loop.engine.rules


def _summary(words: Mapping[str, Sequence[str]]) -> str:
    """What `describe` says of each account's symbols, a line each; idle ones of several are only counted."""
    every = [(account, text) for account, texts in words.items() for text in texts]
    if len(every) == 1:
        return every[0][1]
    several = len(words) > 1
    telling = [f"{account}: {text}" if several else text for account, text in every if not text.endswith(NO_TRADE)]
    counted = f"{len(every)} symbols, {len(every) - len(telling)} without a trade"
    return "\n".join([f"{len(words)} accounts, {counted}" if several else counted, *telling])
