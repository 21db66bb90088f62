"""`make fleet`: a trade outlives the machine that opened it, told in a trader's words; all of it on this machine.

Three members of etcd, three nodes as processes of their own, a paper exchange. Ends by itself, and leaves nothing.
"""

import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Final

import aiohttp
from tests.fleet.cluster import PROGRAM, running
from tests.fleet.world import ENTRY, SYMBOL, TTL_S, FleetWorld

from executor.core.model import ids
from executor.core.model.values import plain
from executor.paper.engine.model import Order

NODES: Final = ("n1", "n2", "n3")
ACCOUNT: Final = "alice"
NO_ETCD: Final = """\
There is no etcd here, in which the machines of a fleet keep their state. On Debian and Ubuntu:

    apt-get install etcd-server

or name a program that you have: make fleet ETCD=/path/to/etcd"""


class Story:
    """Lines with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = monotonic()

    def tell(self, words: str) -> None:
        sys.stdout.write(f"{monotonic() - self._began:5.1f} s  {words}\n")
        sys.stdout.flush()


def main() -> None:
    if not PROGRAM:
        sys.exit(NO_ETCD)
    with tempfile.TemporaryDirectory(prefix="executor-fleet-") as folder:
        faults = asyncio.run(show(Path(folder)))
    if faults:
        sys.exit("\n".join(faults))


async def show(folder: Path) -> list[str]:
    """What the exchange's books say is wrong: nothing."""
    story = Story()
    story.tell(f"Three members of etcd ({PROGRAM}), three machines ({', '.join(NODES)}), one account, a paper exchange")
    async with running(folder, 3) as cluster:
        world = FleetWorld(folder, cluster, (ACCOUNT,))
        async with world.serving():
            for name in NODES:
                await world.start(name)
            return await _carry_on(world, story)


async def _carry_on(world: FleetWorld, story: Story) -> list[str]:
    first = await _first_owner(world, story)
    other = next(name for name in NODES if name != first)
    await _bought(world, story, first, other)
    story.tell(f"{first} is killed (kill -9), as by a power cut. The exits rest on the exchange")
    world.nodes[first].send(signal.SIGKILL)
    died = monotonic()
    await world.owned(by=lambda name: name != first)
    second, epoch = await world.owner(ACCOUNT)
    story.tell(f"{second} owns the account (epoch {epoch}), {monotonic() - died:.1f} s after; leases last {TTL_S} s")
    await world.until(lambda: bool(world.nodes[second].said("ready")))
    story.tell(f"{second} has looked every order up and carries the trade on, {monotonic() - died:.1f} s after")
    await _won(world, story, second)
    await world.start(first)
    await world.until(lambda: bool(world.nodes[first].said("webhook")))
    story.tell(f"{first} is back, and stands by: a trade is not moved for nothing")
    return _books(world, story)


async def _first_owner(world: FleetWorld, story: Story) -> str:
    await world.owned()
    owner, epoch = await world.owner(ACCOUNT)
    await world.until(lambda: bool(world.nodes[owner].said("ready")))
    story.tell(f"{owner} owns the account (epoch {epoch}); the others stand by")
    return owner


async def _bought(world: FleetWorld, story: Story, owner: str, other: str) -> None:
    world.touch(ENTRY + Decimal("0.08"))
    line = world.line()
    said = json.loads(line)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{world.webhooks[other]}/signal",
            data=line,
            headers={"X-Webhook-Secret": "0123456789abcdef0123456789abcdef"},
        ) as response,
    ):
        answer = response.status
    text = f"buy {SYMBOL} at {said['price']}, stop {said['stop']}, targets {' and '.join(said['targets'])}"
    story.tell(f"A signal comes to {other}, which does not own it: {text}. It is kept, then answered ({answer})")
    await world.until(lambda: len(world.open_ids(ACCOUNT)) == 1)
    await world.lead("0")
    await world.until(lambda: len(world.open_ids(ACCOUNT)) == 5)
    bought = sum((fill.qty for trade in world.books(ACCOUNT).trades for fill in trade.fills), Decimal(0))
    story.tell(f"{owner} has bought {plain(bought)} LTC at {ENTRY}. On the exchange: {_standing(_open(world))}")


async def _won(world: FleetWorld, story: Story, owner: str) -> None:
    await world.lead("1.1")
    await world.until(lambda: len(world.open_ids(ACCOUNT)) == 3 and _lowest_stop(world) > ENTRY)
    text = f"{owner} moves the stops of the rest to breakeven. On the exchange: {_standing(_open(world))}"
    story.tell(f"The price reaches the first target. {text}")
    await world.lead("2.2")
    await world.until(lambda: len(world.open_ids(ACCOUNT)) == 1)
    await world.until(lambda: _lowest_stop(world) > ENTRY + 1)
    story.tell(f"The second target is reached; the stop of the last part trails at {plain(_lowest_stop(world))}")
    await world.lead("1.2")
    await world.until(lambda: bool(world.nodes[owner].said("trade_closed")))
    result = world.nodes[owner].said("trade_closed")[-1]["text"]
    story.tell(f"The price turns, and the stop sells the last part. The trade is closed: {result}")


def _books(world: FleetWorld, story: Story) -> list[str]:
    faults = world.faults()
    trades = [trade for trade in world.books(ACCOUNT).trades if trade.fills]
    if len(trades) != 1:
        faults.append(f"{len(trades)} trades of one signal")
    bare = max((trade.bare_longest_ms for trade in trades), default=0)
    if not faults:
        orders = sum(len(trade.orders) for trade in trades)
        story.tell(f"By the exchange's own books: one signal, one trade, {orders} orders, no id used twice,")
        story.tell(f"nothing sold that was not held, no order left behind; at most {bare} ms without a stop")
    return faults


def _open(world: FleetWorld) -> Sequence[Order]:
    return list(world.engine.open_orders(ACCOUNT, SYMBOL))


def _lowest_stop(world: FleetWorld) -> Decimal:
    return min((order.stop_price for order in _open(world) if order.stop_price), default=Decimal(0))


def _standing(orders: Sequence[Order]) -> str:
    """The exits, by the role in their ids."""
    found = {"targets": _prices(orders, lambda order: not order.stop_price), "stops": _prices(orders, _is_stop)}
    return ", ".join(f"{name} {prices}" for name, prices in found.items() if prices)


def _is_stop(order: Order) -> bool:
    return bool(order.stop_price)


def _prices(orders: Sequence[Order], wanted: Callable[[Order], bool]) -> str:
    mine = [order for order in orders if wanted(order) and ids.is_ours(order.client_order_id)]
    counted = Counter(f"{plain(order.orig_qty)} at {plain(order.stop_price or order.price)}" for order in mine)
    return " and ".join(f"{count} x {text}" if count > 1 else text for text, count in sorted(counted.items()))


if __name__ == "__main__":
    main()
