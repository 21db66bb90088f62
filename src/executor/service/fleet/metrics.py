"""What Prometheus learns of a node of a fleet."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from executor.service.fleet.node import FleetNode


class FleetMetrics(Collector):
    def __init__(self, node: "FleetNode") -> None:
        self._node = node

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        node = self._node
        owner = GaugeMetricFamily("executor_fleet_owner", "Whether this node owns the account.", labels=["account"])
        epoch = GaugeMetricFamily("executor_fleet_epoch", "The epoch in which it does.", labels=["account"])
        took = HistogramMetricFamily(
            "executor_fleet_commit_seconds", "How long writes of states took.", labels=["account", "symbol"]
        )
        for account in sorted(node.accounts):
            owned = node.owned.get(account)
            owner.add_metric([account], int(owned is not None))
            if owned is not None:
                epoch.add_metric([account], owned.claim.epoch)
                for store in owned.stores:
                    took.add_metric([account, store.symbol], store.took.buckets(), store.took.total)
        yield from (owner, epoch, took)
        yield GaugeMetricFamily("executor_fleet_lease_age_seconds", "Since the lease was last renewed.", node.lease_age)
        yield GaugeMetricFamily(
            "executor_fleet_draining", "Whether this node gives its accounts away.", int(node.draining)
        )
        yield GaugeMetricFamily(
            "executor_fleet_nodes", "Nodes that live, as far as is known.", len(node.membership.view.nodes)
        )
        unowned = sum(1 for account in node.accounts if account not in node.membership.view.owners)
        yield GaugeMetricFamily("executor_fleet_unowned", "Accounts that nobody owns.", unowned)
        yield GaugeMetricFamily("executor_fleet_accounts", "Accounts that this node has keys of.", len(node.accounts))
        yield CounterMetricFamily("executor_fleet_takeovers", "Accounts that were claimed.", node.takeovers)
