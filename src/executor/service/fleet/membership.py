"""What a node sees of its fleet: who lives, who owns what, who is to give up. Watched, and read anew when that ends.

And who is to own an account: the living nodes are ranked for it by a hash of both names, so that each node comes to the
same ranking by itself, and a node that dies leaves its accounts to all others alike.
"""

import asyncio
import hashlib
from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec
import structlog

from executor.service.store.etcd import Change, Etcd, EtcdError, Value
from executor.service.store.fleet_keys import Keys

log = structlog.get_logger(__name__)

AGAIN_S: Final = 0.5


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself. `accounts`: those that it has the keys of. `reachable`: whether the exchange is from
    there. `started`: ms since the epoch.
    """

    node: str
    host: str
    pid: int
    version: str
    started: int
    accounts: tuple[str, ...] = ()
    reachable: bool = True
    draining: bool = False

    @property
    def fit(self) -> bool:
        """Whether it may take accounts."""
        return self.reachable and not self.draining


class Owner(msgspec.Struct, frozen=True):
    node: str
    epoch: int


class View:
    """The fleet as of the last word. `free_since`: when (monotonic) an account was first seen without an owner."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.owners: dict[str, Owner] = {}
        self.drained: set[str] = set()
        self.wanted: dict[str, str] = {}
        self.free_since: dict[str, float] = {}

    def ranking(self, account: str) -> list[str]:
        """The nodes that may own it, the first in line first; the one that an operator wants it on before all."""
        fit = [name for name, info in self.nodes.items() if info.fit and account in info.accounts]
        ranked = sorted(fit, key=lambda node: hashlib.sha256(f"{account}|{node}".encode()).digest(), reverse=True)
        wanted = self.wanted.get(account)
        return sorted(ranked, key=lambda node: node != wanted)


class Membership:
    """Keeps `view`; `on_change` is called with each change of it."""

    def __init__(self, etcd: Etcd, keys: Keys) -> None:
        self.view = View()
        self.on_change: list[Callable[[], None]] = []
        self._etcd = etcd
        self._keys = keys
        self._known = asyncio.Event()

    async def known(self) -> None:
        """Return once the fleet has been read a first time."""
        await self._known.wait()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                since = await self._read()
                self._known.set()
                async for changes, _ in self._etcd.watch(self._keys.control, since + 1):
                    for change in changes:
                        self._take(change)
                    if changes:
                        self._changed()
            except EtcdError as error:
                log.info("fleet_watch_again", why=str(error))
                await asyncio.sleep(AGAIN_S)

    async def _read(self) -> int:
        found, revision = await self._etcd.range(self._keys.control)
        view = self.view
        view.nodes.clear()
        before, view.owners = view.owners, {}
        view.drained.clear()
        view.wanted.clear()
        for value in found:
            self._take(Change(value.key, value))
        for account in before.keys() - view.owners.keys():
            view.free_since.setdefault(account, monotonic())
        self._changed()
        return revision

    def _take(self, change: Change) -> None:
        keys, view = self._keys, self.view
        name, value = keys.name_in(change.key), change.value
        if change.key.startswith(keys.owners):
            if value is None:
                view.owners.pop(name, None)
                view.free_since[name] = monotonic()
            else:
                view.owners[name] = Owner(value.value.decode(), value.created)
                view.free_since.pop(name, None)
        elif change.key.startswith(keys.nodes):
            info = _info(value) if value is not None else None
            if info is None:
                view.nodes.pop(name, None)
            else:
                view.nodes[name] = info
        elif change.key.startswith(keys.drains):
            (view.drained.discard if value is None else view.drained.add)(name)
        elif change.key.startswith(keys.wants):
            if value is None:
                view.wanted.pop(name, None)
            else:
                view.wanted[name] = value.value.decode()

    def _changed(self) -> None:
        for callback in self.on_change:
            callback()


def _info(value: Value) -> NodeInfo | None:
    try:
        return msgspec.json.decode(value.value, type=NodeInfo)
    except msgspec.DecodeError as error:
        log.warning("fleet_node_unreadable", key=value.key, error=str(error))
        return None
