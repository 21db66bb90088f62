"""Alerts of a node that died before they went out are told by another, once; what has gone out is not told again."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.fleet.cluster import needs_etcd, running
from tests.fleet.test_etcd import client
from tests.ops.alerts.kit import Recorder, Time

from executor.ops.alerts.alerts import Alerts
from executor.service.fleet import alert_share
from executor.service.fleet.alert_share import AlertShare
from executor.service.fleet.view import NodeInfo, View
from executor.service.store.etcd import Change, Etcd, Value
from executor.service.store.fleet_keys import Keys

pytestmark = needs_etcd
KEYS = Keys("test")


def view(*nodes: str) -> View:
    found = View(KEYS)
    for name in nodes:
        info = NodeInfo(node=name, host="h", pid=1, version="1", started=0)
        found.take(Change(KEYS.node(name), Value(KEYS.node(name), msgspec.json.encode(info), 1, 1)), 0.0)
    return found


def node(etcd: Etcd, name: str, seen: View) -> tuple[Alerts, AlertShare]:
    """Its channel takes nothing until it is flushed."""
    alerts = Alerts(None, [Recorder(Time())])
    return alerts, AlertShare(etcd, KEYS, alerts, name, seen)


async def left(etcd: Etcd) -> list[str]:
    return [value.key for value in (await etcd.range(KEYS.alerts))[0]]


async def test_what_a_node_could_not_send_is_told_by_the_first_that_lives(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        dying, share = node(etcd, "n1", view("n1", "n2", "n3"))
        dying.tell("unprotected", "1 LTC without a stop", symbol="LTCUSDT", trade="7")
        await share.share()
        assert await left(etcd) == [KEYS.alert("n1", 1)]
        second, of_second = node(etcd, "n2", view("n1", "n2", "n3"))
        third, of_third = node(etcd, "n3", view("n1", "n2", "n3"))
        await of_second.tell_of_the_gone()
        assert not second.recent  # n1 lives
        for of_one in (of_second, of_third):
            of_one._view = view("n2", "n3")
        await of_third.tell_of_the_gone()
        await of_second.tell_of_the_gone()
        await of_second.tell_of_the_gone()
        assert not third.recent
        (told,) = second.recent
        assert (told.event, told.symbol, told.trade) == ("unprotected", "LTCUSDT", "7")
        assert told.text == "1 LTC without a stop (told for n1, which is gone)"
        assert await left(etcd) == []


async def test_an_alert_is_in_the_store_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_share, "LOOK_S", 3600.0)
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        alerts, share = node(etcd, "n1", view("n1"))
        sharing = asyncio.create_task(share.run())
        for number in (1, 2):
            alerts.tell("unprotected", "1 LTC without a stop", trade=str(number))
            async with asyncio.timeout(20):
                while KEYS.alert("n1", number) not in await left(etcd):  # noqa: ASYNC110  # the store tells nobody here
                    await asyncio.sleep(0.01)
        sharing.cancel()
        await asyncio.wait({sharing})


async def test_what_has_gone_out_is_taken_away(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        alerts, share = node(etcd, "n1", view("n1"))
        alerts.tell("unprotected", "a", trade="7")
        alerts.tell("halted", "b")
        await share.share()
        assert len(await left(etcd)) == 2
        sending = asyncio.create_task(alerts.run())
        async with asyncio.timeout(20):
            await alerts.flush()
        sending.cancel()
        await asyncio.wait({sending})
        await share.share()
        assert await left(etcd) == []
        alerts.tell("halted", "c")
        await share.share()
        again = AlertShare(etcd, KEYS, Alerts(None, []), "n1", view("n1"))  # begun anew, with nothing on its disk
        await again.share()
        assert await left(etcd) == []
