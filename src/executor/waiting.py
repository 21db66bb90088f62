"""Waiting for time, or for what comes first."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def nap(sleep: Callable[[float], Awaitable[None]], seconds: float, *calls: asyncio.Event) -> bool:
    """Sleep for so long, by the clock of `sleep`, but not on when one of `calls` is set; whether none was."""
    asleep: asyncio.Future[Any] = asyncio.ensure_future(sleep(seconds))
    waits = [asleep, *(asyncio.ensure_future(call.wait()) for call in calls)]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
    return done == {asleep}
