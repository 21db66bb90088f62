"""Observers that stay up: one that dies of a defect is told of and started again, and trading is not touched."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NoReturn

import structlog

log = structlog.get_logger(__name__)

AGAIN_AFTER_S: Final = 60.0
LEAVE_S: Final = 3.0


def keep_up(
    name: str,
    run: Callable[[], Coroutine[Any, Any, None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    """A task that runs `run` for as long as it is not cancelled, whatever becomes of it (rule 8.9)."""

    async def kept() -> NoReturn:
        while True:
            task = asyncio.create_task(run(), name=name)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.wait({task}, timeout=LEAVE_S)  # what it leaves in order takes a moment
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("observer_died", alert=True, observer=name, error=type(error).__name__, exc_info=error)
            await sleep(AGAIN_AFTER_S)

    return kept
