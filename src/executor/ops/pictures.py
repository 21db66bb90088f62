"""The picture of a finished trade for its alert: drawn in a process of its own, within a time; without it the words go
alone. Nothing of it is done by the trading loop but remembering how the trade went.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec
import structlog

from executor.core.model.events import AnyEvent
from executor.core.model.state import Closed
from executor.core.transition import Step
from executor.ops.alerts.alert import Alert
from executor.ops.reports.paths import Recorder, TradePath

log = structlog.get_logger(__name__)

LIMIT_S: Final = 5.0
"""Whoever draws for longer is ended, and the words go alone."""
KEPT: Final = 5
"""So many trades that are over are remembered: an alert that had to wait has its picture too. Where there are more
symbols, and accounts, one of each, up to `KEPT_MAX`: one signal may end the trades of all."""
KEPT_MAX: Final = 40
POINTS_MAX: Final = 240
"""Of each open trade: some 50 kB."""
LOOK_S: Final = 0.1
LOOKS: Final = 20
PNG: Final = b"\x89PNG\r\n\x1a\n"
LARGEST: Final = 5 * 1024 * 1024
"""Bytes; Telegram takes twice as many."""
COMMAND: Final = (sys.executable, "-P", "-m", "executor.ops.reports.picture")


def can_draw() -> bool:
    """Whether the image library is installed (the extra `pictures`)."""
    return importlib.util.find_spec("PIL") is not None


class _Finished(NamedTuple):
    closed: Closed
    path: TradePath


class Pictures:
    """`observe` is to be called with each step of each symbol; `draw` never raises, and takes `LIMIT_S` at the most."""

    def __init__(self, command: Sequence[str] = COMMAND, limit_s: float = LIMIT_S) -> None:
        self._command = command
        self._limit_s = limit_s
        self._recorders: dict[tuple[str, str], Recorder] = {}
        self._finished: dict[tuple[str, str, str], _Finished] = {}
        self._thread: ThreadPoolExecutor | None = None

    def observe(self, event: AnyEvent, step: Step, account: str = "") -> None:
        whose, last = (account, step.state.symbol), step.state.last_closed
        if whose not in self._recorders:
            self._recorders[whose] = Recorder(POINTS_MAX)
        recorder = self._recorders[whose]
        recorder.observe(event, step)
        while recorder.finished:
            trade, path = recorder.finished.popitem()
            if last is not None and last.trade == trade:
                self._finished[*whose, trade] = _Finished(last, path)
        while len(self._finished) > max(KEPT, min(len(self._recorders), KEPT_MAX)):
            del self._finished[next(iter(self._finished))]

    async def draw(self, alert: Alert) -> bytes | None:
        """The picture (PNG) of the trade that has ended; None for any other alert, and where there can't be one."""
        if alert.event != "trade_closed":
            return None
        for _ in range(LOOKS):  # the alert is on its way a moment before the step that closed the trade is told of
            found = self._finished.get((alert.account, alert.symbol, alert.trade))
            if found is not None:
                return await self._drawn(found) if found.closed.qty and found.path.prices else None
            await asyncio.sleep(LOOK_S)
        return None

    async def _drawn(self, found: _Finished) -> bytes | None:
        wanted = msgspec.json.encode({"closed": found.closed, "path": found.path})
        if self._thread is None:  # its own: others wait for theirs, and this one may be slow
            self._thread = ThreadPoolExecutor(1, "picture")
        loop = asyncio.get_running_loop()
        drawing = _Drawing(self._command, wanted, self._limit_s)
        try:
            picture, why = await loop.run_in_executor(self._thread, drawing.run)
        finally:
            drawing.end()
        if why:
            log.warning("picture_not_drawn", trade=found.closed.trade, why=why)
        return picture


class _Drawing:
    """One process. `run` is for a thread; `end`, from another at any time, lets it come back at once."""

    def __init__(self, command: Sequence[str], wanted: bytes, limit_s: float) -> None:
        self._command = command
        self._wanted = wanted
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def end(self) -> None:
        self._ended = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def run(self) -> tuple[bytes | None, str]:
        """The picture, or why there is none."""
        # Nothing of our environment goes with it: it holds keys.
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        try:
            process = subprocess.Popen(  # noqa: S603  (our own program)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return None, f"no process for it: {error.strerror}"
        self._process = process
        with process:
            try:
                if self._ended:
                    process.kill()
                out, said = process.communicate(self._wanted, self._limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return None, f"it was not done after {self._limit_s:g} s"
        if process.returncode:
            return None, f"exit code {process.returncode}: {said.decode(errors='replace').strip()[-200:]}"
        if not out.startswith(PNG) or len(out) > LARGEST:
            return None, f"{len(out)} bytes that are no picture"
        return out, ""
