"""The end of a command that does by itself what a service would: when it is done, or when its time is over."""

import asyncio
from collections.abc import Callable

from executor.service.loop import Loop


class TimeLimit:
    """`words`: when the loop was stopped before it was done."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._reached = False

    def beside(self, attach: Callable[[Loop], None]) -> Callable[[Loop], None]:
        """What attaches the limit to a loop as well."""

        async def give_up(loop: Loop) -> None:
            await asyncio.sleep(self._seconds)
            self._reached = True
            loop.stop()

        def both(loop: Loop) -> None:
            attach(loop)
            loop.add_task("time limit", lambda: give_up(loop), at_once=True)

        return both

    @property
    def words(self) -> str:
        return f"after {self._seconds} s" if self._reached else "as this command was ended"
