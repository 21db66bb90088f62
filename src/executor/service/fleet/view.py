"""The fleet as a node sees it: who lives, who owns what, who is to give up; and who is to own an account.

The living nodes are ranked for an account by a hash of both names, so that each node comes to the same ranking by
itself, and a node that dies leaves its accounts to all others alike.
"""

import hashlib
from functools import lru_cache

import msgspec
import structlog

from executor.service.store import codec
from executor.service.store.etcd import Change, Value
from executor.service.store.fleet_keys import Keys

log = structlog.get_logger(__name__)


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself. `accounts`: those that it has the keys of. `reachable`: whether the exchange has
    answered there lately. `started`: ms since the epoch. `digests`: of each account's settings, to be the same
    everywhere.
    """

    node: str
    host: str
    pid: int
    version: str
    started: int
    accounts: tuple[str, ...] = ()
    reachable: bool = True
    draining: bool = False
    digests: dict[str, str] = {}

    @property
    def fit(self) -> bool:
        """Whether it may take accounts."""
        return self.reachable and not self.draining


class Owner(msgspec.Struct, frozen=True):
    """`lease`: what the ownership hangs on."""

    node: str
    epoch: int
    lease: int = 0


class View:
    """The fleet as of the last word. `free_since`: when (seconds) an account was first seen without an owner;
    `generation`: when (ms) an operator last had the fleet go on from a copy of its store.
    """

    def __init__(self, keys: Keys) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.owners: dict[str, Owner] = {}
        self.drained: set[str] = set()
        self.wanted: dict[str, str] = {}
        self.free_since: dict[str, float] = {}
        self.generation = 0
        self._keys = keys
        self._ranked: dict[str, list[str]] = {}
        """As the nodes are by the last word: a node asks many times a second, and they seldom change."""
        self._differing: dict[str, list[str]] = {}
        """The same."""

    def ranking(self, account: str) -> list[str]:
        """The nodes that may own it, the first in line first; the one that an operator wants it on before all."""
        ranked = self._ranked.get(account)
        if ranked is None:
            ranked = self._ranked[account] = self._rank(account)
        wanted = self.wanted.get(account)
        return sorted(ranked, key=lambda node: node != wanted) if wanted in ranked else ranked

    def _rank(self, account: str) -> list[str]:
        # A node that is to be drained may not have said so itself yet: it takes none from that moment on.
        fit = [name for name, info in self.nodes.items() if info.fit and name not in self.drained]
        able = [name for name in fit if account in self.nodes[name].accounts]
        return sorted(able, key=lambda node: _score(account, node), reverse=True)

    def differing(self, account: str) -> list[str]:
        """The nodes whose settings for it are others than those of its owner, or of the first, where nobody owns it."""
        found = self._differing.get(account)
        if found is None:
            found = self._differing[account] = self._differ(account)
        return found

    def _differ(self, account: str) -> list[str]:
        digests = {name: info.digests[account] for name, info in self.nodes.items() if account in info.digests}
        owner = self.owners[account].node if account in self.owners else ""
        right = digests.get(owner) or next((digests[name] for name in sorted(digests)), "")
        return sorted(name for name, digest in digests.items() if digest != right)

    def read_anew(self, values: list[Value], now: float) -> None:
        """All that there is, at `now` (seconds)."""
        self._ranked.clear()
        self._differing.clear()
        self.nodes.clear()
        before, self.owners = self.owners, {}
        self.drained.clear()
        self.wanted.clear()
        self.generation = 0
        for value in values:
            self.take(Change(value.key, value), now)
        for account in before.keys() - self.owners.keys():
            self.free_since.setdefault(account, now)

    def take(self, change: Change, now: float) -> None:
        """What has happened to one key, told at `now` (seconds)."""
        keys, value = self._keys, change.value
        name = keys.name_in(change.key)
        if change.key.startswith(keys.owners):
            self._differing.pop(name, None)
            if value is None:
                self.owners.pop(name, None)
                self.free_since[name] = now
            else:
                self.owners[name] = Owner(value.text, value.created, value.lease)
                self.free_since.pop(name, None)
        elif change.key.startswith(keys.nodes):
            self._ranked.clear()
            self._differing.clear()
            info = info_in(value) if value is not None else None
            if info is None:
                self.nodes.pop(name, None)
            else:
                self.nodes[name] = info
        elif change.key.startswith(keys.drains):
            self._ranked.clear()
            (self.drained.discard if value is None else self.drained.add)(name)
        elif change.key.startswith(keys.wants):
            if value is None:
                self.wanted.pop(name, None)
            else:
                self.wanted[name] = value.text
        elif change.key == keys.generation:
            self.generation = value.number if value is not None else 0


@lru_cache(maxsize=65_536)
def _score(account: str, node: str) -> bytes:
    return hashlib.sha256(f"{account}|{node}".encode()).digest()


def info_in(value: Value) -> NodeInfo | None:
    """What a node has said of itself; None where it can't be read."""
    try:
        return codec.decode(value.value, type=NodeInfo)
    except codec.CodecError as error:
        log.warning("fleet_node_unreadable", key=value.key, error=str(error))
        return None
