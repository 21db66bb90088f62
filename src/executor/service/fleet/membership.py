"""Keeps a node's view of its fleet: watched, and read anew when that ends."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from executor.service.fleet.view import View
from executor.service.store.etcd import Etcd, EtcdError
from executor.service.store.fleet_keys import Keys

log = structlog.get_logger(__name__)

AGAIN_S: Final = 0.5


class Membership:
    """Keeps `view`; `on_change` is called with each change of it."""

    def __init__(self, etcd: Etcd, keys: Keys) -> None:
        self.view = View(keys)
        self.revision = 0
        """Of the store, as far as it is known."""
        self.on_change: list[Callable[[], None]] = []
        self._etcd = etcd
        self._keys = keys
        self._known = asyncio.Event()

    async def known(self) -> None:
        """Return once the fleet has been read a first time."""
        await self._known.wait()

    async def run(self) -> None:
        """For ever."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                found, since = await self._etcd.range(self._keys.control)
                self.view.read_anew(found, clock())
                self.revision = since
                self._changed()
                self._known.set()
                async for changes, revision in self._etcd.watch(self._keys.control, since + 1):
                    self.revision = max(revision, self.revision)
                    for change in changes:
                        self.view.take(change, clock())
                    if changes:
                        self._changed()
            except EtcdError as error:
                log.info("fleet_watch_again", why=str(error))
                await asyncio.sleep(AGAIN_S)

    def _changed(self) -> None:
        for callback in self.on_change:
            callback()


async def read_view(etcd: Etcd, keys: Keys) -> View:
    """The fleet as it is now. Raises EtcdError."""
    view = View(keys)
    found, _ = await etcd.range(keys.control)
    view.read_anew(found, 0.0)
    return view
