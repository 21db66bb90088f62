"""What Prometheus scrapes: counted as the loop's steps go by, or read from its state at the moment of the scrape.

Names and units follow Prometheus' own advice (base units, `_total` for counters); money and quantities become floats
here and nowhere else, since that is what its format holds.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from executor.core.events import Answered, AnyEvent, SignalMalformed, SignalSeen
from executor.core.facts import Refused, ReplaceOutcome, Unknown
from executor.core.intents import Command
from executor.core.ledger import holding
from executor.core.rules import SymbolRules
from executor.core.state import State
from executor.core.transition import Step
from executor.core.verdict import Refusal
from executor.exchange.stream import Connected, Lost

LAG_EVERY_S: Final = 0.5
_COVER_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Budget(Protocol):
    """The request weight of the running minute."""

    limit: int

    @property
    def used(self) -> int: ...


class StreamWatch:
    """When the user stream was last heard, by the machine's monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.connected = False
        self._clock = clock
        self._last: float | None = None

    def hear(self, event: object) -> None:
        self._last = self._clock()
        if isinstance(event, Connected | Lost):
            self.connected = isinstance(event, Connected)

    @property
    def age(self) -> float | None:
        """Seconds since anything came; None when nothing ever has."""
        return None if self._last is None else self._clock() - self._last


class Metrics:
    """`hear` is to be told of every step, `watch_lag` to be run beside the loop."""

    def __init__(
        self,
        state: Callable[[], State],
        rules: Callable[[], SymbolRules],
        budget: Budget,
        stream: StreamWatch,
    ) -> None:
        self.registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody charts
        ProcessCollector(registry=self.registry)
        self.lag = 0.0
        self._state = state
        self._bare_since = 0
        self._trade_closed = state().last_closed
        self._events = Counter("executor_events", "Events taken from the inbox.", ["type"], registry=self.registry)
        self._requests = Counter(
            "executor_requests",
            "Requests that change orders, by how they ended.",
            ["request", "outcome"],
            registry=self.registry,
        )
        self._signals = Counter("executor_signals", "Signals judged.", ["verdict"], registry=self.registry)
        self._closed = Counter("executor_trades_closed", "Trades that ended.", ["reason"], registry=self.registry)
        self._covered = Histogram(
            "executor_fill_to_covered_seconds",
            "From a held unit without a stop to its stop on the exchange, or to its sale.",
            buckets=_COVER_BUCKETS,
            registry=self.registry,
        )
        self._unprotected = Counter(
            "executor_unprotected_seconds", "Time with a held unit without a stop.", registry=self.registry
        )
        self._lag = Histogram(
            "executor_loop_lag_seconds",
            "How late the event loop gets to what is due.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self._requests_open: dict[int, str] = {}
        self.registry.register(_Moment(state, rules, budget, stream))

    def hear(self, event: AnyEvent, step: Step) -> None:
        self._events.labels(type(event).__name__).inc()
        if isinstance(event, Answered):
            self._answered(event)
        elif isinstance(event, SignalSeen | SignalMalformed):
            self._signals.labels("refused" if isinstance(step.verdict, Refusal) else "taken").inc()
        for request in step.requests:
            if isinstance(request, Command):
                self._requests_open[request.seq] = type(request).__name__
        self._follow_exposure(step.state)
        closed = step.state.last_closed
        if closed is not None and closed is not self._trade_closed:
            self._trade_closed = closed
            self._closed.labels(str(closed.reason)).inc()

    async def watch_lag(self) -> None:
        """Measure how late a sleep ends, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.lag = max(loop.time() - due, 0.0)
            self._lag.observe(self.lag)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    def _answered(self, event: Answered) -> None:
        request = self._requests_open.pop(event.seq, "")
        outcome = event.outcome
        if isinstance(outcome, ReplaceOutcome):
            self._requests.labels(f"{request}.cancel", _word(outcome.cancel)).inc()
            self._requests.labels(f"{request}.place", _word(outcome.place)).inc()
        else:
            self._requests.labels(request, _word(outcome)).inc()

    def _follow_exposure(self, state: State) -> None:
        since = state.position.exposure.since if state.position is not None else 0
        if self._bare_since and since != self._bare_since:
            spell = max(state.market.now - self._bare_since, 0) / 1000
            self._covered.observe(spell)
            self._unprotected.inc(spell)
        self._bare_since = since


class _Moment(Collector):
    """What is true at the moment of the scrape."""

    def __init__(
        self, state: Callable[[], State], rules: Callable[[], SymbolRules], budget: Budget, stream: StreamWatch
    ) -> None:
        self._state = state
        self._rules = rules
        self._budget = budget
        self._stream = stream

    def collect(self) -> Iterator[Metric]:
        state, rules = self._state(), self._rules()
        info = InfoMetricFamily("executor", "What runs here.")
        info.add_metric([], {"version": metadata.version("executor"), "symbol": state.symbol})
        yield info
        yield from _entries(state)
        yield from _position(state, rules)
        yield from _money(state)
        yield GaugeMetricFamily("executor_request_weight_used", "Weight used in this minute.", self._budget.used)
        yield GaugeMetricFamily("executor_request_weight_limit", "Weight allowed in a minute.", self._budget.limit)
        yield GaugeMetricFamily(
            "executor_stream_connected", "Whether the user stream is up.", int(self._stream.connected)
        )
        if self._stream.age is not None:
            yield GaugeMetricFamily(
                "executor_stream_age_seconds", "Since the user stream was last heard.", self._stream.age
            )


def _entries(state: State) -> Iterator[Metric]:
    yield GaugeMetricFamily("executor_paused", "Whether the operator has paused entries.", int(state.paused))
    yield GaugeMetricFamily("executor_halted", "Whether a fault has halted entries.", int(bool(state.halted)))
    refused = CounterMetricFamily("executor_signals_refused", "Signals refused, by reason.", labels=["reason"])
    for reason, count in sorted(state.refused.items()):
        refused.add_metric([reason], count)
    yield refused


def _position(state: State, rules: SymbolRules) -> Iterator[Metric]:
    position = state.position
    held, bare_for = 0.0, 0.0
    if position is not None:
        held = float(holding(position, rules).held) * position.plan.direction.sign
        since = position.exposure.since
        bare_for = max(state.market.now - since, 0) / 1000 if since else 0.0
    yield GaugeMetricFamily("executor_position_open", "Whether a trade is open.", int(position is not None))
    yield GaugeMetricFamily("executor_position_base", "Held in base units; negative for a short.", held)
    yield GaugeMetricFamily("executor_unprotected_now_seconds", "How long the open trade has been bare.", bare_for)


def _money(state: State) -> Iterator[Metric]:
    yield GaugeMetricFamily("executor_pnl_today_quote", "Realised today (UTC), in quote units.", float(state.day.pnl))
    yield GaugeMetricFamily("executor_trades_today", "Trades opened today (UTC).", state.day.trades)
    if state.last_closed is not None:
        yield GaugeMetricFamily("executor_last_trade_r", "R of the last trade.", float(state.last_closed.r))


def _word(outcome: object) -> str:
    match outcome:
        case Refused():
            return "refused"
        case Unknown():
            return "unknown"
        case _:
            return "accepted" if type(outcome).__name__ == "Done" else "not_tried"
