"""The trading loop without a loop: one symbol's core, its requests performed at once, time told from outside."""

from collections import deque
from collections.abc import Callable

from executor.core.decide.timers import next_timer
from executor.core.invariants import violations
from executor.core.model.events import AnyEvent, QuoteSeen, Reported, SignalSeen, Tick
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import State
from executor.core.transition import Step, empty, transition
from executor.paper.engine.model import ExecutionReport
from executor.simulate.direct import Direct, pushed

_STEPS_MAX = 10_000  # per moment: more is a quarrel between the core and the exchange that time would not end


class Session:
    """`on_step` sees every step. A violated invariant is an AssertionError: in here it is always a defect."""

    def __init__(
        self,
        direct: Direct,
        policy: Policy,
        rules: SymbolRules,
        on_step: Callable[[AnyEvent, Step], None] | None = None,
    ) -> None:
        self.direct = direct
        self.policy = policy
        self.rules = rules
        self.state: State = empty(rules.symbol)
        self.steps = 0
        self._on_step = on_step
        self._inbox: deque[AnyEvent] = deque()

    def signal(self, signal: Signal, now: int) -> None:
        klines = self.direct.klines(max(self.policy.swing_mins, 1), now)
        quote, balances = self.direct.quote(now), self.direct.balances()
        self.feed(SignalSeen(at=now, signal=signal, quote=quote, balances=balances, klines=klines), now)

    def feed(self, event: AnyEvent, now: int) -> None:
        """Take `event` and everything that follows from it at `now` (ms)."""
        self._inbox.append(event)
        budget = _STEPS_MAX
        while self._inbox:
            self._take(self._inbox.popleft(), now)
            budget -= 1
            if not budget:
                raise AssertionError(f"no rest after {_STEPS_MAX} steps at {now}: {self.state.position!r}")

    def market(self, now: int) -> None:
        """The market has moved: pushes first, then the price, then what time alone has made due."""
        self._take_pushes(now)
        known = self.state.market.quote
        if self._inbox or known is None or known.last != self.direct.last():
            self.feed(QuoteSeen(at=now, quote=self.direct.quote(now)), now)

    def tick(self, now: int) -> None:
        self.feed(Tick(at=now), now)

    def next_timer(self) -> int | None:
        return next_timer(self.state, self.policy)

    def _take(self, event: AnyEvent, now: int) -> None:
        before = self.state
        step = transition(before, event, self.policy, self.rules)
        self.steps += 1
        self.state = step.state
        if broken := violations(before, step.state, self.policy, self.rules):
            raise AssertionError(f"after {event!r}: {'; '.join(broken)}\n{step.state!r}")
        if self._on_step is not None:
            self._on_step(event, step)
        for request in step.requests:
            self._inbox.append(self.direct.perform(request, now))
        if step.requests:
            self._take_pushes(now)

    def _take_pushes(self, now: int) -> None:
        for event in self.direct.engine.drain_events(self.direct.account):
            if isinstance(event, ExecutionReport):
                self._inbox.append(Reported(at=now, report=pushed(event)))
