"""The real daemon, suspended between a decision that is on disk and the request on the wire (rule 8.3d)."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.crash.campaign import ENTRY, SYMBOL, Campaign
from tests.crash.daemon import Daemon
from tests.crash.soak import as_text
from tests.crash.suspended import SETTING
from tests.crash.wire_faults import RECV_WINDOW_MS

from executor.core.model.values import Direction
from executor.paper.server import RequestFault


class Asked(NamedTuple):
    """A request that changes something, as the exchange got it."""

    what: str
    id: str
    stamped: int
    at: int


class Listening:
    """Notes every change that is asked for, and lets it pass."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.asked: list[Asked] = []
        self._now = now

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        what = path if method == "WS" else f"{method} {path}"
        if what.startswith(("order.place", "order.cancel", "orderList.")) or (method != "GET" and "/order" in path):
            name = next((params[key] for key in IDS if key in params), "")
            self.asked.append(Asked(what, name, int(params["timestamp"]), self._now()))
        return None


IDS = ("newClientOrderId", "aboveClientOrderId", "origClientOrderId", "listClientOrderId")


async def until(condition: Callable[[], bool], campaign: Campaign) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await campaign.pause()


def is_suspended(daemon: Daemon) -> bool:
    return Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def lead_to(campaign: Campaign, kind: str) -> None:
    """The market until a request of that kind is due."""
    campaign.touch(ENTRY + Decimal("0.08"))
    campaign.say(Direction.LONG)
    if kind in ("entry", "cancel"):
        return  # its entry rests, and is cancelled when its time is over
    await until(lambda: len(campaign.engine.open_orders("paper", SYMBOL)) == 1, campaign)
    await campaign.lead(Direction.LONG, "0")
    if kind == "replace":
        await until(lambda: len(campaign.engine.open_orders("paper", SYMBOL)) == 5, campaign)
        for level in ("1.1", "2.1", "2.9"):
            await campaign.lead(Direction.LONG, level)
            await asyncio.sleep(0.4)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see that a process is suspended")
@pytest.mark.parametrize("where", ["turn", "wire"])
@pytest.mark.parametrize("kind", ["entry", "exit", "cancel", "replace"])
async def test_what_was_decided_before_a_suspension_does_not_happen_after_it(
    tmp_path: Path, kind: str, where: str
) -> None:
    campaign = Campaign(tmp_path, seed=5, kills=0, spawn_every=0)
    listening = Listening(campaign.clock.now_ms)
    campaign.wire_faults.on_request = listening.on_request  # type: ignore[method-assign]
    timeout = "0.5" if kind == "cancel" else "600"
    async with campaign.serving(LIVE_ENTRY_TIMEOUT_SEC=timeout, **{SETTING: f"{where} {kind}"}) as fork_server:
        daemon, _ = await campaign.start(fork_server)
        campaign.environ.pop(SETTING)
        assert await daemon.ready(), daemon.output()
        market = asyncio.create_task(lead_to(campaign, kind))
        await until(lambda: is_suspended(daemon), campaign)
        await market
        before = {o.client_order_id: o for o in campaign.engine.open_orders("paper", SYMBOL)}
        await asyncio.sleep(1.5 * RECV_WINDOW_MS / 1000)  # and what its clock may be off
        listening.asked.clear()
        woken = campaign.clock.now_ms()
        daemon.send(signal.SIGCONT)
        await until(lambda: any(asked.stamped >= woken for asked in listening.asked), campaign)
        assert all(asked.stamped >= woken for asked in listening.asked)  # the exchange's first check lets no other by
        fresh = listening.asked[0]

        def refused() -> list[dict[str, Any]]:
            return [*daemon.said("refused"), *daemon.said("order_refused")]

        why = "withdrawn" if where == "turn" else "outside of the recvWindow"
        await until(lambda: any(why in line["text"] for line in refused()), campaign)
        orders = {o.client_order_id: o for o in campaign.engine.all_orders("paper", SYMBOL, limit=1_000)}
        for name in {name for line in refused() for name in line.get("order", "").split()}:
            assert name not in orders or name in before, f"{name} was carried out"
            if name in before:  # what it would have cancelled stands until that is decided anew
                assert orders[name].update_time in (before[name].update_time, *range(fresh.at, fresh.at + 500))
        await over(campaign)
        daemon.send(signal.SIGTERM)
        assert await daemon.end() == 0
        assert not daemon.traceback()
    campaign._audit_end()
    assert not campaign.report.violations


async def over(campaign: Campaign) -> None:
    """The market to and fro until the trade has ended."""
    async with asyncio.timeout(30):
        for level in ("0", "-1.2", "-1.6", "0", "2.2") * 10:
            if await campaign._settled("s1"):
                return
            await campaign.lead(Direction.LONG, level)
            await asyncio.sleep(0.3)


async def test_suspended_in_the_middle_every_trade_ends_flat_and_nothing_is_left_behind(tmp_path: Path) -> None:
    report = await Campaign(tmp_path, seed=6, kills=2, terms=0, naps=3, storm=0.04).run()
    assert not report.violations, as_text(report)
    assert report.naps
    assert report.filled
