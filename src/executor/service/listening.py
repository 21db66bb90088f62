"""What listens for others: health and metrics, the webhook, the control socket. With a trade open it may wait.

An address that somebody else has taken ends a start, for a person sits there and can mend it. With a trade open it does
not: the trade is looked after, the address told of, and tried again until it is free (rule 8.9).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

import structlog

log = structlog.get_logger(__name__)

RETRY_S: Final = 5.0


class Listener(Protocol):
    async def run(self) -> None: ...


def listening(
    name: str,
    make: Callable[[], Listener],
    unusable: type[Exception],
    *,
    patient: bool,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Callable[[], Coroutine[Any, Any, None]]:
    """The task of what `make` makes, which listens at once. Where it can't, `unusable` is raised; or, `patient`, it is
    tried again by the task.
    """
    made: Listener | None = None
    try:
        made = make()
    except unusable as error:
        if not patient:
            raise
        log.error("not_listening", alert=True, what=name, text=f"{error}; the trade is looked after meanwhile")

    async def run() -> None:
        listener = made
        while listener is None:
            await sleep(RETRY_S)
            try:
                listener = make()
            except unusable:
                continue
            log.info("listening_after_all", what=name)
        await listener.run()

    return run
