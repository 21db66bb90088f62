"""Whether the exchange is reachable from a node, asked by a request that costs next to nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

import aiohttp

from executor.config import Settings

PROBE_EVERY_S: Final = 2.0
LIMITED: Final = 429
BANNED: Final = 418
RESTS_S: Final = {LIMITED: 10.0, BANNED: 120.0}
"""So long nothing is asked after these, where the exchange does not say how long: who asks on is banned for longer."""
RESTS_MOST_S: Final = 3 * 24 * 3600.0

Reach = Callable[[], Awaitable[bool]]
"""Whether any of the exchanges that the accounts are on answers now."""


@contextlib.asynccontextmanager
async def probing(accounts: Iterable[Settings]) -> AsyncIterator[Reach]:
    urls = sorted({e.rest for s in accounts if (e := s.endpoints) is not None})
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_EVERY_S)) as session:
        probes = [Probe(session, url) for url in urls]

        async def reached() -> bool:
            return any(await asyncio.gather(*(each.reached() for each in probes)))

        yield reached


class Probe:
    """Of the exchange at one REST address. An address that is banned, or barred by a firewall or for its country, is as
    good as cut off: another node may have another. One that has asked too much is not.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url.rstrip('/').removesuffix('/api')}/api/v3/ping"
        self._clock = asyncio.get_running_loop().time
        self._rests_until = 0.0
        self._last = False

    async def reached(self) -> bool:
        if self._clock() >= self._rests_until:
            self._last = await self._ask()
        return self._last

    async def _ask(self) -> bool:
        try:
            async with self._session.get(self._url, allow_redirects=False) as response:
                status, told = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        if status in RESTS_S:
            rest = float(told) if told.isdecimal() and len(told) < 10 else RESTS_S[status]
            self._rests_until = self._clock() + min(rest, RESTS_MOST_S)
        return status in (200, LIMITED)
