"""What befalls a fleet in a round of the campaign, and how it is mended; a method each.

Most strike the node that owns a trade: at some time, or at a moment that matters. "At commit" is when etcd has taken a
state and the node has not read the answer: what that state owes is on record, and not sent. "On the wire" is when an
order's bytes have left the node and not reached the exchange; they are held up for a while.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from tests.fleet.links import Link, in_base64, in_frame
from tests.fleet.world import TTL_S, FleetWorld

COMMIT_WAIT_S: Final = 4.0
"""A moment that has not come by then is not waited for: the strike comes all the same."""

Strike = Callable[[], None]


class Nemesis:
    """`struck`: when (loop time) the owner was struck, so that somebody must take over; 0: not so. `victim`: the node.
    `met`, `unmet`: how often the moment that was waited for came, and how often it did not.
    """

    def __init__(self, world: FleetWorld, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.struck = 0.0
        self.victim = ""
        self.met: Counter[str] = Counter()
        self.unmet: Counter[str] = Counter()
        self._kind = ""
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "pause": self.pause,
            "pause at commit": self.pause_at_commit,
            "pause on the wire": self.pause_on_the_wire,
            "kill": self.kill,
            "kill at commit": self.kill_at_commit,
            "kill on the wire": self.kill_on_the_wire,
            "kill with its etcd": self.kill_with_its_etcd,
            "cut from etcd": self.cut_from_etcd,
            "cut from the exchange": self.cut_from_the_exchange,
            "slow links": self.slow_links,
            "etcd leader killed": self.leader_killed,
            "etcd leader paused": self.leader_paused,
            "quorum lost": self.quorum_lost,
            "everything killed": self.everything_killed,
            "drain": self.drain,
        }

    async def strike(self, kind: str, victim: str) -> None:
        """Do it to `victim`, wait as long as it lasts, and mend it."""
        self.struck, self.victim, self._kind = 0.0, victim, kind
        await self.kinds[kind]()

    # --- the node -------------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.random() * 1.5)
        self._stop()
        await self._wake()

    async def pause_at_commit(self) -> None:
        await self._at_commit(self._stop)
        await self._wake()

    async def pause_on_the_wire(self) -> None:
        await self._on_the_wire(self._stop)
        await self._wake()

    async def kill(self) -> None:
        await asyncio.sleep(self.rng.random() * 1.5)
        self._kill()
        await self._again()

    async def kill_at_commit(self) -> None:
        await self._at_commit(self._kill)
        await self._again()

    async def kill_on_the_wire(self) -> None:
        await self._on_the_wire(self._kill)
        await self._again()

    async def kill_with_its_etcd(self) -> None:
        """As a machine that loses its power, on which a member of etcd runs that does not lead: it says no more."""
        await asyncio.sleep(self.rng.random() * 1.5)
        leader = await self._leader()
        members = [node for number, node in enumerate(self.world.cluster.nodes) if number != leader]
        member = self.rng.choice(members)
        member.send(signal.SIGSTOP)
        self._kill()
        try:
            await asyncio.sleep(TTL_S + 3.0)
        finally:
            member.send(signal.SIGCONT)
        await self.world.cluster.wait_until_up()
        await self._again()

    async def drain(self) -> None:
        key = self.world.keys.drain(self.victim)
        await asyncio.sleep(self.rng.random())
        await self.world.etcd.put(key, b"")
        try:
            await self.world.owned(by=lambda name: name != self.victim)
        finally:
            await self.world.etcd.delete(key)

    def _stop(self) -> None:
        self.struck = self.struck or asyncio.get_running_loop().time()
        self.world.nodes[self.victim].send(signal.SIGSTOP)

    def _kill(self) -> None:
        self.struck = self.struck or asyncio.get_running_loop().time()
        self.world.nodes[self.victim].send(signal.SIGKILL)

    async def _wake(self) -> None:
        """After less than the lease's time, just about it, or long after it."""
        await asyncio.sleep(self.rng.choice((0.5 * TTL_S, 1.2 * TTL_S, TTL_S + 1.0, TTL_S + 2.5)))
        self.world.nodes[self.victim].send(signal.SIGCONT)

    async def _again(self) -> None:
        await self.world.nodes[self.victim].end()
        await asyncio.sleep(self.rng.choice((0.0, TTL_S, TTL_S + 2.5)))
        await self.world.start(self.victim)

    async def _at_commit(self, strike: Strike) -> None:
        """At one of the next states that the victim has written."""
        states = in_base64(self.world.keys.states())
        await self._at(
            self.world.networks[self.victim].store,
            "on_answer",
            lambda asked: b"/v3/kv/txn" in asked and states in asked,
            strike,
            self.rng.randint(1, 4),
            0.0,
        )

    async def _on_the_wire(self, strike: Strike) -> None:
        """At one of the victim's next orders, which arrives later, or too late (recvWindow is a second)."""
        hold = self.rng.choice((0.0, 0.3, 0.8, 1.5, TTL_S + 2.0))
        link = self.world.networks[self.victim].exchange
        await self._at([link], "on_request", _is_order, strike, self.rng.randint(1, 3), hold)

    async def _at(
        self, links: list[Link], where: str, wanted: Callable[[bytes], bool], strike: Strike, nth: int, hold: float
    ) -> None:
        come = asyncio.Event()
        left = nth

        def seen(data: bytes) -> float:
            nonlocal left
            if come.is_set() or not wanted(data):
                return 0.0
            left -= 1
            if left:
                return 0.0
            come.set()
            strike()
            return hold

        for link in links:
            setattr(link, where, seen)
        try:
            async with asyncio.timeout(COMMIT_WAIT_S):
                await come.wait()
                self.met[self._kind] += 1
        except TimeoutError:
            self.unmet[self._kind] += 1
            strike()
        finally:
            for link in links:
                setattr(link, where, None)

    # --- its network ----------------------------------------------------------------------------------------------

    async def cut_from_etcd(self) -> None:
        network = self.world.networks[self.victim]
        await asyncio.sleep(self.rng.random())
        self.struck = asyncio.get_running_loop().time()
        for link in network.store:
            link.cut()
        await asyncio.sleep(self.rng.choice((0.5 * TTL_S, TTL_S + 1.0, TTL_S + 3.0)))
        network.mend()

    async def cut_from_the_exchange(self) -> None:
        """Long enough for it to give its accounts away (10 s)."""
        network = self.world.networks[self.victim]
        network.exchange.cut()
        await asyncio.sleep(14)
        network.mend()

    async def slow_links(self) -> None:
        network = self.world.networks[self.victim]
        for link in (*network.store, network.exchange):
            link.slow_s = self.rng.choice((0.02, 0.05, 0.12))
        await asyncio.sleep(3)
        network.mend()

    # --- etcd -----------------------------------------------------------------------------------------------------

    async def leader_killed(self) -> None:
        leader = await self._leader()
        await self.world.cluster.nodes[leader].kill()
        await asyncio.sleep(2 + self.rng.random())
        await self._restart_etcd(leader)

    async def leader_paused(self) -> None:
        leader = await self._leader()
        self.world.cluster.nodes[leader].send(signal.SIGSTOP)
        await asyncio.sleep(2 + 2 * self.rng.random())
        self.world.cluster.nodes[leader].send(signal.SIGCONT)
        await self.world.cluster.wait_until_up()

    async def quorum_lost(self) -> None:
        await asyncio.sleep(self.rng.random())
        dead = self.rng.sample(range(len(self.world.cluster.nodes)), 2)
        for number in dead:
            await self.world.cluster.nodes[number].kill()
        await asyncio.sleep(1 + (TTL_S + 1) * self.rng.random())
        await self._restart_etcd(*dead)

    async def everything_killed(self) -> None:
        await asyncio.sleep(self.rng.random() * 1.5)
        for name in self.world.nodes:
            self.world.nodes[name].send(signal.SIGKILL)
        for node in self.world.cluster.nodes:
            await node.kill()
        await self._restart_etcd(*range(len(self.world.cluster.nodes)))
        for name in list(self.world.nodes):
            await self.world.nodes[name].end()
            await self.world.start(name)

    async def _restart_etcd(self, *numbers: int) -> None:
        for number in numbers:
            await self.world.cluster.nodes[number].start(self.world.cluster.initial)
        await self.world.cluster.wait_until_up()

    async def _leader(self) -> int:
        for number, url in enumerate(self.world.cluster.endpoints):
            if (await self.world.etcd.status(url)).leader:
                return number
        return 0


def _is_order(data: bytes) -> bool:
    """Whether a piece begins with a request about orders, over REST or over the WebSocket API."""
    return data.startswith((b"POST /api/v3/order", b"DELETE /api/v3/order")) or b'"method":"order' in in_frame(data)
