"""Alerts that have been raised and not gone out yet, in the store: when their node dies, another tells them.

A node's own outbox is on its disk, and lost for as long as the machine is. So what waits there is put into the store as
well, and taken away when it has gone out. Where a node is gone, the first of those that live tells what it left: rather
twice, should it come back with its disk, than not at all.
"""

import asyncio
import contextlib
from typing import Final

import msgspec
import structlog

from executor.ops.alerts.alert import Alert
from executor.ops.alerts.alerts import Alerts
from executor.service.fleet.view import View
from executor.service.store.etcd import Etcd, EtcdError, Value, delete, modified_is
from executor.service.store.fleet_keys import Keys

log = structlog.get_logger(__name__)

LOOK_S: Final = 2.0


class AlertShare:
    """`run` it beside the node, whose name in the fleet is `node` and which sees it as `view`."""

    def __init__(self, etcd: Etcd, keys: Keys, alerts: Alerts, node: str, view: View) -> None:
        self._etcd = etcd
        self._keys = keys
        self._alerts = alerts
        self._node = node
        self._view = view
        self._shared: set[int] | None = None
        self._news = asyncio.Event()
        alerts.on_alert.append(lambda _: self._news.set())

    async def run(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.share()
                await self.tell_of_the_gone()
            except EtcdError as error:
                log.info("alerts_not_shared", why=str(error))

    async def share(self) -> None:
        """Have the store hold what waits here, and nothing else of this node's. Raises EtcdError."""
        if self._shared is None:
            found, _ = await self._etcd.range(self._keys.alerts_of(self._node))
            names = (self._keys.names_in(value.key, 2) for value in found)
            self._shared = {int(number) for _, number in filter(None, names) if number.isdecimal() and len(number) < 20}
        waiting = self._alerts.unsent()
        for number in waiting.keys() - self._shared:
            await self._etcd.put(self._keys.alert(self._node, number), msgspec.json.encode(waiting[number]))
            self._shared.add(number)
        for number in self._shared - waiting.keys():
            await self._etcd.delete(self._keys.alert(self._node, number))
            self._shared.discard(number)

    async def tell_of_the_gone(self) -> None:
        """What nodes that are gone have left, if it is this node's turn. Raises EtcdError."""
        living = sorted(self._view.nodes)
        if not living or living[0] != self._node:
            return
        found, _ = await self._etcd.range(self._keys.alerts)
        for value in found:
            names = self._keys.names_in(value.key, 2)
            if names and names[0] not in self._view.nodes:
                await self._take_over(names[0], value)

    async def _take_over(self, node: str, value: Value) -> None:
        """Told here first: an alert that is told twice is better than one that is not."""
        try:
            alert = msgspec.json.decode(value.value, type=Alert)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("alert_unreadable", key=value.key, error=str(error))
        else:
            self._alerts.tell(
                alert.event,
                f"{alert.text} (told for {node}, which is gone)",
                symbol=alert.symbol,
                trade=alert.trade,
                orders=alert.orders,
                facts=alert.facts,
                account=alert.account,
            )
        await self._etcd.txn([modified_is(value.key, value.modified)], [delete(value.key)])
