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
from executor.exchange.thinned import ThinnedPrices
from executor.paper.engine.model import ExecutionReport
from executor.simulate.direct import Direct, pushed

_STEPS_MAX = 10_000  # per moment: more is a quarrel between the core and the exchange that time would not end


class Session:
    """`on_step` sees every step. A violated invariant is an AssertionError: in here it is always a defect.

    `poll_ms`: how often an open trade asks for the price, as an embedded run does; None: it is pushed and thinned out,
    as by the exchange's streams.
    """

    def __init__(
        self,
        direct: Direct,
        policy: Policy,
        rules: SymbolRules,
        on_step: Callable[[AnyEvent, Step], None] | None = None,
        *,
        poll_ms: int | None = 1_000,
    ) -> None:
        self.direct = direct
        self.policy = policy
        self.rules = rules
        self.state: State = empty(rules.symbol)
        self.steps = 0
        self._on_step = on_step
        self._inbox: deque[AnyEvent] = deque()
        self._prices = ThinnedPrices()
        self._priced_at = 0
        self._poll_ms = poll_ms

    def signal(self, signal: Signal, now: int) -> None:
        klines = self.direct.klines(max(self.policy.swing_mins, 1), now)
        quote, balances = self.direct.quote(now), self.direct.balances()
        self.feed(SignalSeen(at=now, signal=signal, quote=quote, balances=balances, klines=klines), now)

    def feed(self, event: AnyEvent, now: int) -> None:
        """Take `event` and everything that follows from it at `now` (ms)."""
        self._inbox.append(event)
        self._run_down(now)

    def _run_down(self, now: int) -> None:
        budget = _STEPS_MAX
        while self._inbox:
            self._take(self._inbox.popleft(), now)
            budget -= 1
            if not budget:
                raise AssertionError(f"no rest after {_STEPS_MAX} steps at {now}: {self.state.position!r}")

    def market(self, now: int) -> None:
        """The market has moved: what that did to orders is pushed; where prices are, so are they, thinned out."""
        self._take_pushes(now)
        self._run_down(now)
        if self._poll_ms is None and self.state.position is not None:
            self._prices.take(self.direct.quote(now))
            self.price(now)

    def price(self, now: int) -> None:
        """Let the trade know the price, if it is time."""
        due = self.next_price(now)
        if due is None or due > now:
            return
        self._priced_at = now
        told = [self.direct.quote(now)] if self._poll_ms is not None else self._prices.give(now)
        if told:
            self.feed(QuoteSeen(at=now, quote=told[-1], before=tuple(told[:-1])), now)

    def next_price(self, now: int) -> int | None:
        """When the trade is to know the price again; None while none is open, or nothing new."""
        if self.state.position is None:
            return None
        if self._poll_ms is not None:
            return self._priced_at + self._poll_ms
        return now + max(0, self._prices.wait_ms(now)) if self._prices.waiting else None

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
        if (before.position is None) is not (step.state.position is None):
            self._prices.forget()
            self._priced_at = now
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
