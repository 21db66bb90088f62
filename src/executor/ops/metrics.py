"""What Prometheus scrapes: counted as the loop's steps go by, or read from its state at the moment of the scrape.

Names and units follow Prometheus' own advice (base units, `_total` for counters); money and quantities become floats
here and nowhere else, since that is what its format holds.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Final, Protocol, cast

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from executor.core.absorb.admit import day_at
from executor.core.book.ledger import holding
from executor.core.model.events import Answered, AnyEvent, SignalMalformed, SignalSeen
from executor.core.model.facts import Refused, ReplaceOutcome, Unknown
from executor.core.model.intents import Command
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.verdict import Refusal
from executor.core.transition import Step
from executor.exchange.transport.supervised import Connected, Lost
from executor.ops.margin import margin_of

LAG_EVERY_S: Final = 0.5
_COVER_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Budget(Protocol):
    """The request weight of the running minute, and the account's orders as the exchange last counted them."""

    limit: int
    orders_10s: int
    orders_1d: int

    @property
    def used(self) -> int: ...


class StreamWatch:
    """When the user stream was last heard, by the machine's monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.connected = False
        self._clock = clock
        self._last: float | None = None

    def observe(self, event: object) -> None:
        self._last = self._clock()
        if isinstance(event, Connected | Lost):
            self.connected = isinstance(event, Connected)

    @property
    def age(self) -> float | None:
        """Seconds since anything came; None when nothing ever has."""
        return None if self._last is None else self._clock() - self._last


class View(msgspec.Struct, frozen=True):
    """One symbol's state and rules, as they are at the moment."""

    state: Callable[[], State]
    rules: Callable[[], SymbolRules]


class _Process(ProcessCollector):
    """Memory, descriptors and the like, also where /proc shows processes alone, as under config/executor.service: the
    library wants the time of the boot from /proc/stat, and tells nothing without it.
    """

    def _boot_time(self) -> float | None:
        try:
            return cast("float | None", super()._boot_time())  # type: ignore[no-untyped-call]
        except OSError:
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else None


class Metrics:
    """`observe` is to be called for every loop's steps, `unclaimed` for each signal that no loop could judge, and
    `watch_lag` to be run beside the loops. What is of one symbol has the label `symbol`.
    """

    def __init__(self, views: Sequence[View], budget: Budget, stream: StreamWatch) -> None:
        self.registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody charts
        _Process(registry=self.registry)
        self.lag = 0.0
        states = [view.state() for view in views]
        self._bare_since = {state.symbol: 0 for state in states}
        self._trade_closed = {state.symbol: state.last_closed for state in states}
        self._events = Counter(
            "executor_events", "Events taken from the inbox.", ["symbol", "type"], registry=self.registry
        )
        self._requests = Counter(
            "executor_requests",
            "Requests that change orders, by how they ended.",
            ["symbol", "request", "outcome"],
            registry=self.registry,
        )
        self._signals = Counter("executor_signals", "Signals judged.", ["symbol", "verdict"], registry=self.registry)
        self._unclaimed = Counter(
            "executor_signals_unclaimed", "Signals that name no symbol that is traded here.", registry=self.registry
        )
        self._closed = Counter(
            "executor_trades_closed", "Trades that ended.", ["symbol", "reason"], registry=self.registry
        )
        self._covered = Histogram(
            "executor_fill_to_covered_seconds",
            "From a held unit without a stop to its stop on the exchange, or to its sale.",
            ["symbol"],
            buckets=_COVER_BUCKETS,
            registry=self.registry,
        )
        self._unprotected = Counter(
            "executor_unprotected_seconds", "Time with a held unit without a stop.", ["symbol"], registry=self.registry
        )
        for state in states:  # a series that is there from the start: the first increase can be seen
            self._covered.labels(state.symbol)
            self._unprotected.labels(state.symbol)
        self._lag = Histogram(
            "executor_loop_lag_seconds",
            "How late the event loop gets to what is due.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self._requests_open: dict[tuple[str, int], str] = {}
        self.registry.register(_Moment(views, budget, stream))

    def unclaimed(self) -> None:
        self._unclaimed.inc()

    def observe(self, event: AnyEvent, step: Step) -> None:
        symbol = step.state.symbol
        self._events.labels(symbol, type(event).__name__).inc()
        if isinstance(event, Answered):
            self._answered(symbol, event)
        elif isinstance(event, SignalSeen | SignalMalformed):
            self._signals.labels(symbol, "refused" if isinstance(step.verdict, Refusal) else "taken").inc()
        for request in step.requests:
            if isinstance(request, Command):
                self._requests_open[symbol, request.seq] = type(request).__name__
        self._follow_exposure(step.state)
        closed = step.state.last_closed
        if closed is not None and closed is not self._trade_closed[symbol]:
            self._trade_closed[symbol] = closed
            self._closed.labels(symbol, str(closed.reason)).inc()

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

    def _answered(self, symbol: str, event: Answered) -> None:
        request = self._requests_open.pop((symbol, event.seq), "")
        outcome = event.outcome
        if isinstance(outcome, ReplaceOutcome):
            self._requests.labels(symbol, f"{request}.cancel", _word(outcome.cancel)).inc()
            self._requests.labels(symbol, f"{request}.place", _word(outcome.place)).inc()
        else:
            self._requests.labels(symbol, request, _word(outcome)).inc()

    def _follow_exposure(self, state: State) -> None:
        since = state.position.exposure.since if state.position is not None else 0
        before = self._bare_since[state.symbol]
        if before and since != before:
            spell = max(state.market.now - before, 0) / 1000
            self._covered.labels(state.symbol).observe(spell)
            self._unprotected.labels(state.symbol).inc(spell)
        self._bare_since[state.symbol] = since


class _Moment(Collector):
    """What is true at the moment of the scrape."""

    def __init__(self, views: Sequence[View], budget: Budget, stream: StreamWatch) -> None:
        self._views = views
        self._budget = budget
        self._stream = stream

    def collect(self) -> Iterator[Metric]:
        info = InfoMetricFamily("executor", "What runs here.", labels=["symbol"])
        gauges = _Gauges()
        refused = CounterMetricFamily(
            "executor_signals_refused", "Signals refused, by reason.", labels=["symbol", "reason"]
        )
        for view in self._views:
            state = view.state()
            info.add_metric([state.symbol], {"version": metadata.version("executor")})
            gauges.add(state, view.rules())
            for reason, count in sorted(state.refused.items()):
                refused.add_metric([state.symbol, reason], count)
        yield info
        yield from gauges.families.values()
        yield from debts_of([view.state() for view in self._views])
        yield refused
        yield GaugeMetricFamily("executor_request_weight_used", "Weight used in this minute.", self._budget.used)
        yield GaugeMetricFamily("executor_request_weight_limit", "Weight allowed in a minute.", self._budget.limit)
        orders = GaugeMetricFamily(
            "executor_orders_counted", "The account's orders in a window, as the exchange last told.", labels=["window"]
        )
        orders.add_metric(["10s"], self._budget.orders_10s)
        orders.add_metric(["1d"], self._budget.orders_1d)
        yield orders
        yield GaugeMetricFamily(
            "executor_stream_connected", "Whether the user stream is up.", int(self._stream.connected)
        )
        if self._stream.age is not None:
            yield GaugeMetricFamily(
                "executor_stream_age_seconds", "Since the user stream was last heard.", self._stream.age
            )


class _Gauges:
    """What each symbol has one value of."""

    TEXTS: Final = {
        "paused": "Whether the operator has paused entries.",
        "halted": "Whether a fault has halted entries.",
        "position_open": "Whether a trade is open.",
        "position_base": "Held in base units; negative for a short.",
        "unprotected_now_seconds": "How long the open trade has been bare.",
        "pnl_today_quote": "Realised today (UTC), in quote units.",
        "trades_today": "Trades opened today (UTC).",
        "last_trade_r": "R of the last trade.",
        "margin_level": "On margin, while anything is owed: assets over debts, as last read.",
        "margin_liquidation_price": "On margin: price in quote units at which the exchange liquidates, as last read.",
    }

    def __init__(self) -> None:
        self.families = {
            name: GaugeMetricFamily(f"executor_{name}", text, labels=["symbol"]) for name, text in self.TEXTS.items()
        }

    def add(self, state: State, rules: SymbolRules) -> None:
        position, today = state.position, day_at(state, state.market.now)
        held, bare_for = 0.0, 0.0
        if position is not None:
            held = float(holding(position, rules).held) * position.plan.direction.sign
            since = position.exposure.since
            bare_for = max(state.market.now - since, 0) / 1000 if since else 0.0
        values: dict[str, float] = {
            "paused": int(state.paused),
            "halted": int(bool(state.halted)),
            "position_open": int(position is not None),
            "position_base": held,
            "unprotected_now_seconds": bare_for,
            "pnl_today_quote": float(today.pnl),
            "trades_today": today.trades,
        }
        margin = margin_of(state, rules)
        if margin is not None and margin.level is not None:
            values["margin_level"] = float(margin.level)
        if margin is not None and margin.liquidation_price is not None:
            values["margin_liquidation_price"] = float(margin.liquidation_price)
        if state.last_closed is not None:
            values["last_trade_r"] = float(state.last_closed.r)
        for name, value in values.items():
            self.families[name].add_metric([state.symbol], value)


def debts_of(states: Sequence[State]) -> Iterator[Metric]:
    """What is owed, by symbol and asset: nothing on Spot."""
    labels = ["symbol", "asset"]
    owed = GaugeMetricFamily("executor_debt", "Owed by Executor, interest included, in units.", labels=labels)
    interest = GaugeMetricFamily(
        "executor_debt_interest", "Charged for the open or the last trade, in units.", labels=labels
    )
    foreign = GaugeMetricFamily("executor_debt_foreign", "Owed by the account beside that, in units.", labels=labels)
    for state in states:
        for debt in state.debts:
            owed.add_metric([state.symbol, debt.asset], float(debt.own))
            interest.add_metric([state.symbol, debt.asset], float(debt.charged))
            foreign.add_metric([state.symbol, debt.asset], float(debt.foreign))
    yield from (each for each in (owed, interest, foreign) if each.samples)


def _word(outcome: object) -> str:
    match outcome:
        case Refused():
            return "refused"
        case Unknown():
            return "unknown"
        case _:
            return "accepted" if type(outcome).__name__ == "Done" else "not_tried"
