"""Work on signal files, each file's in a thread of its own: one that hangs holds up neither another's nor the end."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from executor.signals.append import LOCK_S, append_line
from executor.signals.position import SignalFileError
from executor.worker_thread import WorkerThread

T = TypeVar("T")

WRITTEN_S: Final = LOCK_S + 3.0
"""Writing a line takes milliseconds, unless another program keeps the file's lock."""


class FileThreads:
    """One thread for each file, as long as it is used."""

    def __init__(self) -> None:
        self._threads: dict[Path, WorkerThread] = {}

    async def do(self, path: Path, job: Callable[[], T], within_s: float) -> T:
        """What `job` returns, or raises; SignalFileError where it has not ended within `within_s`. What had begun by
        then may still be done.
        """
        thread = self._threads.setdefault(path, WorkerThread("signals written"))
        try:
            async with asyncio.timeout(within_s):
                return await thread.do(job)
        except TimeoutError as error:
            text = f"it has not answered for {within_s:.0f} s"
            raise SignalFileError(path, OSError(errno.ETIMEDOUT, text)) from error

    async def append(self, path: Path, line: bytes) -> None:
        """Write one line that is a signal at the file's end, durably. Raises SignalFileError."""
        await self.do(path, lambda: append_line(path, line), WRITTEN_S)

    def close(self) -> None:
        for thread in self._threads.values():
            thread.close()
        self._threads.clear()
