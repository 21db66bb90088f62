"""The dashboard and the alert rules name metrics that exist, as the service tells them."""

import json
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.ops.samples import Walk, rules

from executor.core.model.policy import Policy
from executor.core.transition import empty
from executor.exchange.transport.supervised import Connected
from executor.ops.metrics import Metrics, StreamWatch, View
from executor.service.fleet.metrics import FleetMetrics
from executor.service.store.timings import Timings

if TYPE_CHECKING:
    from executor.service.fleet.node import FleetNode

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "alerts.yml"
_NAME = re.compile(r"\bexecutor_[a-z_]+|\bexecutor_info\b")
_BY = re.compile(r"\bby \(([a-z_, ]+)\)")
_SCRAPED = {"instance", "job"}  # what Prometheus adds


class Budget:
    limit = 6000
    used = 42
    orders_10s = 5
    orders_1d = 1_234


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "config" / "grafana-dashboard.json").read_text("utf-8"))
    return found


def queries() -> list[str]:
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    chosen = [v["query"]["query"] for v in dashboard()["templating"]["list"] if v["type"] == "query"]
    ruled = re.findall(r"^ +expr: (.+)$", RULES.read_text("utf-8"), re.MULTILINE)
    return [*shown, *chosen, *ruled]


def fleet_node() -> SimpleNamespace:
    """A node that owns an account and has written a state."""
    store = SimpleNamespace(symbol="LTCUSDT", took=Timings())
    store.took.add(0.003)
    owned = SimpleNamespace(claim=SimpleNamespace(epoch=7), stores=[store])
    view = SimpleNamespace(nodes={"n1": None}, owners={"alice": None})
    return SimpleNamespace(
        accounts=("alice", "bob"),
        owned={"alice": owned},
        lease_age=0.4,
        draining=False,
        takeovers=1,
        membership=SimpleNamespace(view=view),
    )


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Each series of a service that has traded, with the names of its labels."""
    watch = StreamWatch()
    watch.observe(Connected())
    holder: list[Walk] = []
    view = View(lambda: holder[0].session.state if holder else empty("LTCUSDT"), rules)
    metrics = Metrics([view], Budget(), watch)
    holder.append(Walk(Policy(notional=Decimal(100), cooldown_ms=600_000), metrics.observe))
    for _ in holder[0].steps():
        pass
    registry = CollectorRegistry()
    registry.register(FleetMetrics(cast("FleetNode", fleet_node())))
    texts = (metrics.text().decode(), generate_latest(registry).decode())
    found: dict[str, set[str]] = {}
    for family in (family for each in texts for family in text_string_to_metric_families(each)):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("query", queries())
def test_every_series_and_label_that_is_asked_for_exists(query: str, told: dict[str, set[str]]) -> None:
    names = set(_NAME.findall(query))
    assert names or "up{" in query
    assert names <= told.keys()
    for labels in _BY.findall(query):
        asked = {label.strip() for label in labels.split(",")} - _SCRAPED
        assert all(asked <= told[name] for name in names)


def test_a_query_for_nothing_would_be_noticed(told: dict[str, set[str]]) -> None:
    assert "executor_pnl_today_euro" not in told


def test_the_dashboard_is_whole() -> None:
    panels = dashboard()["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)) >= 15
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(places) == len(set(places))
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)


def test_each_rule_says_what_it_is_about_and_is_documented() -> None:
    text = RULES.read_text("utf-8")
    names = re.findall(r"- alert: (\w+)", text)
    assert len(names) >= 8
    assert text.count("summary:") == text.count("description:") == text.count("severity:") == len(names)
    documented = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert [name for name in names if f"`{name}`" not in documented] == []


def test_prometheus_finds_nothing_wrong(told: dict[str, set[str]]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:  # not a machine with Prometheus; the other tests still read the rules
        return
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commits_are_counted_by_how_long_they_took() -> None:
    took = Timings()
    for seconds in (0.0005, 0.003, 0.005, 9.0):
        took.add(seconds)
    found = dict(took.buckets())
    assert (found["0.001"], found["0.0025"], found["0.005"], found["5.0"], found["+Inf"]) == (1, 1, 3, 3, 4)
    assert (took.last, took.count) == (9.0, 4)
