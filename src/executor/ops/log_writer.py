"""Where log lines go: to a descriptor, by a thread of its own, so that nothing waits for whoever reads them (rule 8.9).

A pipe that nobody empties, a reader that is gone, a full disk under a log file: each costs lines, never a turn of the
loop. What is lost is counted, and told in its place once there is room again.
"""

import io
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

LINES_MAX: Final = 10_000
BYTES_MAX: Final = 8 * 1024 * 1024
"""What may wait: minutes of a busy service, and no more memory than that."""
CHUNK: Final = 64 * 1024
RETRY_S: Final = 1.0
"""After a write that failed: until the next one is tried."""
FAREWELL_S: Final = 2.0
"""Seconds that the end of the process waits for lines that can still be written."""


class LogWriter(io.TextIOBase):
    """A text stream that never blocks and never fails. `lost`: lines that were given up, all told."""

    def __init__(self, descriptor: int, tell_lost: Callable[[int], str]) -> None:
        """`tell_lost` makes the line, with its end, that says how many were lost."""
        self.lost = 0
        self._descriptor = descriptor
        self._tell_lost = tell_lost
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._part = ""
        self._untold = 0
        self._writing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    # --- the stream -------------------------------------------------------------------------------------------------

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str, /) -> int:
        """Whole lines are on their way when this returns; a part of one waits for its end, or for `flush`."""
        with self._changed:
            whole, end, self._part = (self._part + text).rpartition("\n")
            if end:
                self._put(whole + end)
        return len(text)

    def flush(self) -> None:
        with self._changed:
            if self._part:
                self._put(self._part)
                self._part = ""

    def finish(self, within: float = FAREWELL_S) -> None:
        """Return when all is written, or `within` seconds have passed, or nothing can be written."""
        self.flush()
        deadline = time.monotonic() + within
        with self._changed:
            while (self._waiting or self._writing) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def _put(self, text: str) -> None:
        """With the lock held."""
        data = text.encode("utf-8", "backslashreplace")
        if len(self._waiting) >= LINES_MAX or self._bytes + len(data) > BYTES_MAX:
            self._lose(data)
            return
        if self._untold:
            self._append(self._tell_lost(self._untold).encode())
            self._untold = 0
        self._append(data)
        self._changed.notify_all()

    def _append(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)

    def _lose(self, data: bytes) -> None:
        count = max(1, data.count(b"\n"))
        self.lost += count
        self._untold += count

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            data = self._next()
            left = self._written(data)
            with self._changed:
                if left:
                    self._lose(left)
                elif self._untold and not self._waiting:
                    self._append(self._tell_lost(self._untold).encode())
                    self._untold = 0
                self._writing = False
                self._changed.notify_all()
            if left:
                time.sleep(RETRY_S)

    def _next(self) -> bytes:
        """As many waiting lines as one write should take."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            taken: list[bytes] = []
            size = 0
            while self._waiting and (not taken or size + len(self._waiting[0]) <= CHUNK):
                taken.append(self._waiting.popleft())
                size += len(taken[-1])
            self._bytes -= size
            self._writing = True
        return b"".join(taken)

    def _written(self, data: bytes) -> bytes:
        """What could not be written of `data`; waits as long as the reader does not read."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody has made it so: then it is waited for here
                select.select((), (self._descriptor,), (), RETRY_S)
            except OSError:
                return data
        return data
