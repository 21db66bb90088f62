"""That a node lives, under its name, on its lease. A name is one node's alone: the second owns nothing, and says so.

The store would not mind two of one name: each has a lease of its own, and an account has one owner. But each would be
what the other says of itself, and gone for all others as soon as one of them ends.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from executor.service.fleet.view import NodeInfo, info_in
from executor.service.store.etcd import Etcd, Value, get, modified_is, put
from executor.service.store.fleet_keys import Keys

log = structlog.get_logger(__name__)

FORMER_LIFE_S: Final = 5.0
"""So much longer than a lease a name may be taken without a word: a former life of this node has left its own."""


class Presence:
    """Of the node called `node`, whose leases last `ttl_s`."""

    def __init__(self, etcd: Etcd, keys: Keys, node: str, ttl_s: float, clock: Callable[[], float]) -> None:
        self._etcd = etcd
        self._node = node
        self._key = keys.node(node)
        self._patience_s = ttl_s + FORMER_LIFE_S
        self._clock = clock
        self._lease = 0
        self._told: NodeInfo | None = None
        self._revision = 0
        self._taken_since = 0.0
        self._complained = False

    @property
    def known(self) -> bool:
        """Whether the fleet knows this node by its name."""
        return self._told is not None

    def begin(self, lease: int) -> None:
        """A new life: what hung on the old lease is gone."""
        self._lease, self._told, self._revision = lease, None, 0

    async def tell(self, info: NodeInfo, *, seen: bool) -> None:
        """Have the fleet know `info`, where it does not. `seen`: it sees a node of this name. Raises EtcdError."""
        if info == self._told and seen:
            return
        compare = [modified_is(self._key, self._revision)]
        said = put(self._key, msgspec.json.encode(info), lease=self._lease)
        done = await self._etcd.txn(compare, [said], [get(self._key)])
        if done.succeeded:
            self._revision, self._told = done.revision, info
            self._taken_since, self._complained = 0.0, False
            return
        (found,) = done.found
        if not found or found[0].lease == self._lease:  # taken away, or an answer was lost: the next try knows
            self._revision = found[0].modified if found else 0
        else:
            self._told, self._revision = None, 0
            self._complain(found[0])

    def _complain(self, found: Value) -> None:
        self._taken_since = self._taken_since or self._clock()
        if self._complained or self._clock() - self._taken_since < self._patience_s:
            return
        self._complained = True
        other = info_in(found)
        who = f"process {other.pid} on {other.host}" if other is not None else "another process"
        text = f"{who} has this name as well: nothing is taken here. FLEET_NODE must be another one on each machine"
        log.error("node_name_taken", alert=True, node=self._node, text=text)
