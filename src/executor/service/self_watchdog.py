"""The service ends itself when its loop hangs, where nobody outside would: containers restart what has ended, not what
is unhealthy. A thread counts the time in which the process itself was awake, so that a machine that was suspended, or a
process that was stopped and goes on, is not taken for a loop that hangs. What hangs with the interpreter's own lock
lets no thread count: there the system counts the time that the process has computed.

Where the loop hung is written beside the state, and told by the next start. Under systemd its own watchdog is used.
"""

import ctypes
import faulthandler
import os
import signal
import threading
from pathlib import Path
from typing import Final, TextIO

import structlog

from executor.files import open_regular

log = structlog.get_logger(__name__)

HANG_S: Final = 60.0
"""A turn takes milliseconds; a full disk or an exchange that is away does not keep the loop from turning."""

_LOOKS: Final = 12
"""So often within the limit the thread wakes: a time without it, however long, counts as one of them."""
_COMPUTED: Final = 2
"""So many times the limit may be computed without a word: where the thread can count, it is earlier."""
_RECORD_S: Final = 2
"""What the tracebacks are written to may hang as well: the end comes all the same."""


def hang_path(state: Path) -> Path:
    return state.with_name(state.name + ".hang")


class SelfWatchdog:
    """Ends this process when `alive` has not been called for `limit_s`: with exit code 1, or the number of the signal
    that it took. `path`: where the tracebacks of all threads go then.
    """

    def __init__(self, path: Path, limit_s: float = HANG_S) -> None:
        self.limit_s = limit_s
        self._path = path
        self._file = self._begun()
        self._silent = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def _begun(self) -> TextIO | None:
        """None where there is no place to write to. What an earlier run has left is told and kept as `*.last`."""
        try:
            if self._path.exists() and self._path.stat().st_size:
                kept = self._path.with_name(self._path.name + ".last")
                self._path.replace(kept)
                log.error(
                    "ended_by_hang", alert=True, text="the last run's loop hung, and it ended itself", see=str(kept)
                )
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        except OSError as error:
            log.warning("hang_not_recorded", path=str(self._path), error=error.strerror or str(error))
            return None
        return os.fdopen(descriptor, "w", encoding="utf-8")

    def alive(self) -> None:
        """Put the end off; the first call begins the watch. Nothing any more after `stop`: an end has turns too."""
        self._silent = 0
        if self._over.is_set():
            return
        if self._thread is None:
            _exit_on(signal.SIGPROF)
            if self._file is not None:
                faulthandler.register(signal.SIGPROF, self._file, chain=True)
            self._thread = threading.Thread(target=self._watch, name="self_watchdog", daemon=True)
            self._thread.start()
        signal.setitimer(signal.ITIMER_PROF, _COMPUTED * self.limit_s)

    def _watch(self) -> None:
        while not self._over.wait(self.limit_s / _LOOKS):
            self._silent += 1
            if self._silent > _LOOKS:
                _exit_on(signal.SIGALRM)
                signal.alarm(_RECORD_S)
                if self._file is None:
                    faulthandler.dump_traceback()
                else:
                    faulthandler.dump_traceback(self._file)
                os._exit(1)

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.unregister(signal.SIGPROF)
            self._thread.join()
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


def _exit_on(number: signal.Signals) -> None:
    """The system ends no first process of a container (one without an init) by a signal that it leaves to the system;
    and a handler of the interpreter's would need its lock.
    """
    libc = ctypes.CDLL(None)
    libc.signal(number, libc._exit)  # noqa: SLF001  (the name of _exit(2))
