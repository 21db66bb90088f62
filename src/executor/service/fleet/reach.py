"""Whether the exchange is reachable from a node, asked by a request that costs next to nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

import aiohttp

from executor.config import Settings

PROBE_EVERY_S: Final = 2.0

Reach = Callable[[], Awaitable[bool]]
"""Whether any of the exchanges that the accounts are on answers now."""


@contextlib.asynccontextmanager
async def probing(accounts: Iterable[Settings]) -> AsyncIterator[Reach]:
    urls = sorted({e.rest for s in accounts if (e := s.endpoints) is not None})
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_EVERY_S)) as session:

        async def reached() -> bool:
            return any(await asyncio.gather(*(_answers(session, url) for url in urls)))

        yield reached


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url.rstrip('/').removesuffix('/api')}/api/v3/ping") as response:
            await response.read()
            return response.status < 500
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
