import asyncio
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from prometheus_client import process_collector
from prometheus_client.parser import text_string_to_metric_families
from tests.ops.samples import Walk, rules

from executor.core.model.events import Answered, QuoteSeen, Tick
from executor.core.model.facts import Done, Quote, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.intents import CancelOrder, QueryQuote
from executor.core.model.policy import Policy
from executor.core.model.state import State
from executor.core.model.verdict import MOVED
from executor.core.transition import Step, empty
from executor.exchange.transport.supervised import Connected, Lost
from executor.ops.metrics import Metrics, StreamWatch, View

POLICY = Policy(notional=Decimal(100), allow_short=True, cooldown_ms=600_000)
Samples = dict[tuple[str, ...], float]


class Budget:
    limit = 6000
    used = 42
    orders_10s = 5
    orders_1d = 1_234


def samples(metrics: Metrics) -> Samples:
    """(name, values of the labels in the order of their names…) -> value, as Prometheus reads them."""
    found: Samples = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            assert sample.labels.pop("symbol", "LTCUSDT") == "LTCUSDT"
            key = (sample.name, *sample.labels.values())
            assert key not in found, key
            found[key] = sample.value
    return found


def metrics_of(state: State, watch: StreamWatch | None = None) -> Metrics:
    return Metrics([View(lambda: state, rules)], Budget(), watch or StreamWatch())


def test_a_whole_recording_is_counted() -> None:
    holder: list[Walk] = []
    view = View(lambda: holder[0].session.state if holder else empty("LTCUSDT"), rules)
    metrics = Metrics([view], Budget(), StreamWatch())
    walk = Walk(POLICY, metrics.observe)
    holder.append(walk)
    open_seen = 0
    for _ in walk.steps():
        if not open_seen:
            open_seen = int(samples(metrics)["executor_position_open",])
    state = walk.session.state
    assert state.last_closed is not None
    found = samples(metrics)
    assert open_seen == 1
    assert found["executor_position_open",] == 0
    assert found["executor_position_base",] == 0
    assert sum(v for k, v in found.items() if k[0] == "executor_events_total") == walk.session.steps
    refused = {k[1]: v for k, v in found.items() if k[0] == "executor_signals_refused_total"}
    assert refused == state.refused
    assert refused
    assert found["executor_signals_total", "refused"] == sum(refused.values())
    closed = sum(v for k, v in found.items() if k[0] == "executor_trades_closed_total")
    assert closed == found["executor_signals_total", "taken"]
    assert found["executor_requests_total", "accepted", "PlaceOco"] > 0
    assert found["executor_last_trade_r",] == float(state.last_closed.r)
    assert found["executor_request_weight_used",] == 42
    assert (found["executor_orders_counted", "10s"], found["executor_orders_counted", "1d"]) == (5, 1_234)
    covered = [(k[1], v) for k, v in found.items() if k[0] == "executor_fill_to_covered_seconds_bucket"]
    assert all(a[1] <= b[1] for a, b in pairwise(covered))
    assert found["executor_fill_to_covered_seconds_sum",] == found["executor_unprotected_seconds_total",]


def step(state: State) -> Step:
    return Step(state, (), (), MOVED)


def test_the_process_is_told_of_where_proc_shows_processes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under config/executor.service (`ProcSubset=pid`): without /proc/stat, and the time of the boot in it, the
    library told nothing.
    """
    known = samples(metrics_of(empty("LTCUSDT")))
    monkeypatch.setattr(process_collector.ProcessCollector, "_boot_time", lambda _: Path("/nowhere/stat").read_text())
    found = samples(metrics_of(empty("LTCUSDT")))
    assert found["process_resident_memory_bytes",] > 0
    assert found["process_start_time_seconds",] == pytest.approx(known["process_start_time_seconds",], abs=2)


def test_requests_by_how_they_ended() -> None:
    state = empty("LTCUSDT")
    metrics = metrics_of(state)
    done, unknown, refused = Done(), Unknown("lost", 1), Refused(Why.OTHER, -1, "no")
    outcomes: tuple[Done | Refused | Unknown | ReplaceOutcome, ...] = (
        done,
        refused,
        unknown,
        ReplaceOutcome(done, refused),
    )
    for seq, outcome in enumerate(outcomes):
        request = CancelOrder(seq=seq, id="EX_1_SL_1")
        metrics.observe(Tick(at=1), Step(state, (request,), (), MOVED))
        metrics.observe(Answered(at=2, seq=seq, outcome=outcome), step(state))
    found = samples(metrics)
    for word in ("accepted", "refused", "unknown"):
        assert found["executor_requests_total", word, "CancelOrder"] == 1
    assert found["executor_requests_total", "accepted", "CancelOrder.cancel"] == 1
    assert found["executor_requests_total", "refused", "CancelOrder.place"] == 1


def test_reads_leave_nothing_behind() -> None:
    """A service that runs for months must not remember each price that it has asked for."""
    state = empty("LTCUSDT")
    metrics = metrics_of(state)
    quote = Quote(1, Decimal(1), Decimal(2), Decimal(1))
    for seq in range(1000):
        metrics.observe(Tick(at=1), Step(state, (QueryQuote(seq=seq),), (), MOVED))
        metrics.observe(QuoteSeen(at=1, quote=quote, seq=seq), step(state))
    assert len(metrics._requests_open) == 0


def test_the_stream_and_its_age() -> None:
    now = [100.0]
    watch = StreamWatch(lambda: now[0])
    metrics = metrics_of(empty("LTCUSDT"), watch)
    before = samples(metrics)
    assert before["executor_stream_connected",] == 0
    assert ("executor_stream_age_seconds",) not in before
    watch.observe(Connected())
    now[0] = 107.5
    found = samples(metrics)
    assert (found["executor_stream_connected",], found["executor_stream_age_seconds",]) == (1, 7.5)
    watch.observe(Lost("gone"))
    assert samples(metrics)["executor_stream_connected",] == 0


def test_paused_and_halted() -> None:
    state = msgspec.structs.replace(empty("LTCUSDT"), paused=True, halted="10.1: what")
    found = samples(metrics_of(state))
    assert (found["executor_paused",], found["executor_halted",]) == (1, 1)


async def test_a_loop_that_is_held_up_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.ops.metrics.LAG_EVERY_S", 0.001)
    metrics = metrics_of(empty("LTCUSDT"))
    watching = asyncio.create_task(metrics.watch_lag())
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251  (what must not happen in the service)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watching, 0.1)
    assert samples(metrics)["executor_loop_lag_seconds_sum",] > 0.15
