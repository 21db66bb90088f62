"""Watching a margin account: level, debts and interest, while anything is owed (rules 11.9, 11.10), and now and then
whether anything is that nobody knows of (11.12).

A cross account tells by a stream that they have changed, and is asked then; an isolated one has none, and is asked at
intervals, as is every account of which the stream does not tell.
"""

import asyncio
from typing import Final

import structlog

from executor.core.book import debt as debts
from executor.core.book import margin_level
from executor.core.model.events import AnyEvent, MarginSeen
from executor.core.model.loans import MarginAccount
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.values import short
from executor.core.model.verdict import Ignored
from executor.core.transition import Step
from executor.exchange.port import MarginExchange, ReadError
from executor.exchange.streams.risk_stream import RiskChanged
from executor.exchange.transport.supervised import Connected, Lost
from executor.service.loop import Loop
from executor.waiting import nap

log = structlog.get_logger(__name__)

OPEN_S: Final = 2.0
"""Between two looks while a trade is open on borrowed money: 10 of 12000 request weight each."""
PUSHED_S: Final = 10.0
"""The same where a stream tells of changes of the level."""
NEAR_S: Final = 1.0
"""The same with a level that is near to where the trade is closed."""
OWED_S: Final = 60.0
"""With a debt that is carried, and no trade: interest is charged once an hour. And after a look in vain."""
IDLE_S: Final = 300.0
"""With nothing owed that is known: a loan may come true whose state was lost (rule 11.12), or somebody may borrow."""
UNREAD_S: Final = 30.0
"""An account that can't be read for so long while anything is owed is told of; and once it is twice as long."""


class MarginWatch:
    """Of one symbol; `run` beside its loop. `pushed`: whether the risk stream is up."""

    def __init__(self, loop: Loop, exchange: MarginExchange) -> None:
        self.pushed = False
        self._loop = loop
        self._exchange = exchange
        self._wanted = asyncio.Event()
        self._owes = False
        self._warned = False
        self._unread_since = 0
        self._tell_after_s = UNREAD_S
        loop.on_step.append(self._on_step)

    def on_risk_event(self, event: RiskChanged | Connected | Lost) -> None:
        self.pushed = not isinstance(event, Lost)
        self.look_now()

    def look_now(self) -> None:
        """Look at the account now, where anything depends on it."""
        if owes(self._loop.state):
            self._wanted.set()

    async def run(self) -> None:
        """Look at the start and from then on: a debt that no trade explains is told of (rule 11.12)."""
        while True:
            self._wanted.clear()
            with self._loop.at_work():
                seen = await self._look()
            self._tell_unread(seen=seen)
            await nap(self._loop.clock.sleep, self._pause(seen=seen), self._wanted)

    async def _look(self) -> bool:
        """Whether the account could be read, and its level where anything is owed. What is not believed says nothing:
        what was asked for before the clock was found to have leapt ahead (rule 8.6).
        """
        try:
            account = await self._exchange.margin_account()
        except ReadError as error:
            log.warning("look_failed", what="margin account", error=str(error))
            return False
        step = await self._loop.ask(MarginSeen(at=self._loop.now(), account=account))
        self._warn(account)
        if isinstance(step.verdict, Ignored):
            return False
        return not account.debts or margin_level.level_of(account) is not None

    def _warn(self, account: MarginAccount) -> None:
        """A debt that is carried with no trade open has a level as well; once it is low, that is told (rule 11.10).
        While a trade is open, its decisions tell.
        """
        state, terms = self._loop.state, self._loop.engine.rules.margin
        if state.position is not None or terms is None:
            return
        steps = margin_level.ladder(self._loop.engine.policy, terms.bars)
        low = bool(debts.owed(state.debts)) and margin_level.below(account, steps.alert)
        if low and not self._warned:
            owed = ", ".join(f"{short(left)} {asset}" for asset, left in debts.owed(state.debts).items())
            level = f"{margin_level.level_of(account):.4f}, below {short(steps.alert)}"
            text = f"the margin level is {level}, and {owed} are owed with no trade open: transfer collateral, or repay"
            log.error("margin_level", alert=True, text=text)
        self._warned = low

    def _tell_unread(self, *, seen: bool) -> None:
        """While it can't be read the level may fall without a word (rule 11.10)."""
        now = self._loop.now()
        if seen or not owes(self._loop.state):
            self._unread_since, self._tell_after_s = 0, UNREAD_S
            return
        self._unread_since = self._unread_since or now
        unread_s = (now - self._unread_since) / 1000
        if unread_s >= self._tell_after_s:
            self._tell_after_s = 2 * unread_s
            text = f"the margin account can't be read for {unread_s:.0f} s: its level is not known; it is tried on"
            log.error("margin_unread", alert=True, text=text)

    def _pause(self, *, seen: bool) -> float:
        state = self._loop.state
        if state.position is None or not owes(state):
            return IDLE_S if seen and not owes(state) else OWED_S
        if _near(state, self._loop.engine.policy, self._loop.engine.rules):
            return NEAR_S
        return PUSHED_S if self.pushed else OPEN_S

    def _on_step(self, _event: AnyEvent, step: Step) -> None:
        owing = owes(step.state)
        if owing and not self._owes:
            self._wanted.set()
        self._owes = owing


def owes(state: State) -> bool:
    """Whether the account is of any interest: something of it is owed by us, or may be."""
    position = state.position
    return (
        bool(debts.owed(state.debts))
        or (position is not None and position.credit is not None)
        or (state.loan is not None and state.loan.open)
        or any(debt.doubted_at for debt in state.debts)
    )


def _near(state: State, policy: Policy, rules: SymbolRules) -> bool:
    """Whether the level is within reach of where the trade is closed."""
    account = state.market.margin
    if account is None or rules.margin is None:
        return False
    level = margin_level.level_of(account)
    steps = margin_level.ladder(policy, rules.margin.bars)
    return level is not None and level < steps.alert + (steps.alert - steps.reduce)


def watch_of(loop: Loop) -> MarginWatch | None:
    """That of a loop whose account is a margin account, added to what runs beside it."""
    exchange = loop.exchange
    if not isinstance(exchange, MarginExchange):
        return None
    watch = MarginWatch(loop, exchange)
    loop.add_task("margin", watch.run)
    return watch
