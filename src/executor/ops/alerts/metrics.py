"""What Prometheus sees of the alerts."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from executor.ops.alerts.alerts import Alerts


class AlertMetrics(Collector):
    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def collect(self) -> Iterator[Metric]:
        raised = CounterMetricFamily("executor_alerts", "Alerts raised.", labels=["event", "severity"])
        for (event, severity), count in sorted(self._alerts.raised.items()):
            raised.add_metric([event, severity.word], count)
        yield raised
        sent = CounterMetricFamily("executor_alert_messages", "Messages that a channel took.", labels=["channel"])
        waiting = GaugeMetricFamily("executor_alerts_waiting", "Kinds of alerts not sent yet.", labels=["channel"])
        failing = GaugeMetricFamily(
            "executor_alert_channel_failures", "Tries in a row that a channel did not take.", labels=["channel"]
        )
        for name, sender in self._alerts.senders.items():
            sent.add_metric([name], sender.sent)
            waiting.add_metric([name], len(sender.queue))
            failing.add_metric([name], sender.failures)
        yield from (sent, waiting, failing)
