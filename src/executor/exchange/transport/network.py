"""How the exchange's host is reached, by HTTP and by WebSocket alike (rules 8.7, 8.9).

Names are looked up in threads of their own: the event loop has two for slow lookups, and any other name that does not
resolve would have them. What a name meant last is used where it can't be looked up. Of several addresses the next one
is tried a quarter of a second after the one before it. Data that nobody acknowledges ends its connection within
seconds: a network flow that has died in silence tells nothing else.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohappyeyeballs import AddrInfoType, start_connection
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from executor.worker_thread import WorkerThread

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

LOOKUP_SEC: Final = 3.0
LOOKUP_AGAIN_SEC: Final = 0.5
"""Where nobody says otherwise. A lookup that takes longer goes on beside the use of what is known."""
UNACKNOWLEDGED_MS: Final = 3_000
NEXT_ADDRESS_SEC: Final = 0.25

_Found = list[AddrInfoType]
_Key = tuple[str, int, socket.AddressFamily]


class Connector(aiohttp.TCPConnector):
    """Connections on which something came that nobody had asked for are not used again: each answer after it would be
    taken for the answer to the next request.
    """

    def usable(self, protocol: ResponseHandler) -> bool:
        """Whether a request may go over it."""
        return not protocol.should_close

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own
    ) -> "Connection":
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or self.usable(connection.protocol):
                return connection
            connection.close()


class Resolver(AbstractResolver):
    """Addresses of names. A lookup that is under way is shared. `again_s`: so long that of a known name may take."""

    def __init__(self, again_s: float = LOOKUP_AGAIN_SEC) -> None:
        self._again_s = again_s
        self._known: dict[_Key, _Found] = {}
        self._running: dict[_Key, asyncio.Future[_Found]] = {}

    async def addresses(self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> _Found:
        """Raises `OSError`, and `UnicodeError` for what can't be a name."""
        key = host, port, family
        lookup = self._running.get(key)
        if lookup is None:
            self._running[key] = lookup = asyncio.ensure_future(_look_up(key))
            lookup.add_done_callback(lambda done: self._note(key, done))
        known = self._known.get(key)
        done, _ = await asyncio.wait({lookup}, timeout=self._again_s if known else LOOKUP_SEC)
        if known and not (done and lookup.exception() is None):
            return known
        if done:
            return lookup.result()
        raise OSError(f"{host} was not resolved within {LOOKUP_SEC:g} s")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=flags)
            for kind, _, proto, _, address in await self.addresses(host, port, family)
        ]

    async def close(self) -> None:
        """Nothing to be released: a lookup that hangs has nobody waiting for it."""

    def _note(self, key: _Key, lookup: "asyncio.Future[_Found]") -> None:
        self._running.pop(key, None)
        if not lookup.cancelled() and lookup.exception() is None:
            self._known[key] = lookup.result()


async def _look_up(key: _Key) -> _Found:
    host, port, family = key
    thread = WorkerThread(f"lookup {host}")
    try:
        return await thread.do(lambda: [*socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)])
    finally:
        thread.close()


def new_socket(address: AddrInfoType) -> socket.socket:
    """One that gives up by itself where its data is not acknowledged."""
    made = socket.socket(address[0], address[1], address[2])
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return made


async def dial(url: str, resolver: Resolver) -> socket.socket:
    """A socket connected to the host of a URL. Raises `OSError`, `UnicodeError`, and `ValueError` for a port that can't
    be one.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    found = await resolver.addresses(parts.hostname or "", port)
    return await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SEC, interleave=1, socket_factory=new_socket)
