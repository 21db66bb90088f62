"""The day's summary where there are several accounts: one for each that traded or is not as usual, one for the rest."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from executor.ops.alerts.alerts import Alerts
from executor.ops.alerts.daily import AFTER_MS, DAY_MS, MARK, summary
from executor.service.loop import Loop

LOOK_S: Final = 30.0
"""Accounts come and go: one that was not there at midnight is told of when it is."""
NAMES_MAX: Final = 20


class AccountsDaily:
    """`loops`: those that know their orders, by account. `now_ms` is this machine's time: there is no exchange that all
    accounts have in common. `forget`: of an account that is not here, another process tells meanwhile.
    """

    def __init__(
        self,
        alerts: Alerts,
        loops: Callable[[], Mapping[str, Mapping[str, Loop]]],
        now_ms: Callable[[], int],
        *,
        forget: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._alerts = alerts
        self._loops = loops
        self._now_ms = now_ms
        self._forget = forget
        self._sleep = sleep
        self._known: set[str] = set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Tell of yesterday, for those of whom that was not done; whoever has just come has no yesterday here."""
        yesterday = (self._now_ms() - AFTER_MS) // DAY_MS - 1
        here = self._loops()
        idle = []
        for account, loops in here.items():
            told = self._alerts.marked(_mark(account))
            if told.isdecimal() and int(told) < yesterday:
                words = summary(loops, yesterday)
                if _is_idle(words):
                    idle.append(account)
                else:
                    self._alerts.tell("daily_summary", words, account=account)
            self._alerts.mark(_mark(account), str(yesterday))
        if idle:
            names = ", ".join(idle[:NAMES_MAX]) + (" …" if len(idle) > NAMES_MAX else "")
            whose = f"{len(idle)} accounts without a trade" if len(idle) > 1 else "an account without a trade"
            self._alerts.tell("daily_summary", f"{summary({}, yesterday)}\n{whose}: {names}")
        if self._forget:
            for account in self._known - here.keys():
                self._alerts.mark(_mark(account), "")
            self._known = set(here)


def _is_idle(words: str) -> bool:
    """Whether a summary says nothing but that there was no trade."""
    return words.splitlines()[1:] == ["no trade"]


def _mark(account: str) -> str:
    return f"{MARK} {account}"
