"""The daemon as a process: started, killed, stopped, and what it has said."""

import asyncio
import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from tests.crash.log_reader import LogReader, ReadyLine

ROOT: Final = Path(__file__).parents[2]
LOOK_S: Final = 0.01
END_S: Final = 20.0
BRISK: Final = {
    "SIGNAL_START": "begin",
    "ALLOW_SHORT": "true",
    "HTTP_PORT": "0",
    "POLL_SEC": "0.25",
    "POLL_IDLE_SEC": "1",
    "LIVE_ENTRY_TIMEOUT_SEC": "1",
    "EXITS_RETRY_EVERY_SEC": "0.3",
    "FAILSAFE_EXITS_GRACE_SEC": "5",
    "SL_WATCHDOG_GRACE_SEC": "0.5",
    "ABSENCE_GRACE_SEC": "0.8",
    "DOUBT_SETTLE_SEC": "1.5",
    "TRAIL_UPDATE_EVERY_SEC": "0.2",
    "TRAIL_DISTANCE_R_MULT": "0.5",
    "COOLDOWN_SEC": "0",
    "COOLDOWN_ABORT_SEC": "0",
    "LOCK_SEC": "0",
    "LOG_FORMAT": "json",
}
"""Settings of every daemon: what else takes minutes is over in seconds."""


class Daemon:
    """One life of the daemon. `log` is its own file of JSON lines; where something stands between the two, `log_reader`
    and `ready_line` are what, and where it says that it is ready.
    """

    def __init__(self, pid: int, log: Path, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self.log = log
        self.log_reader: LogReader | None = None
        self.ready_line: ReadyLine | None = None
        self._ended = ended

    @property
    def running(self) -> bool:
        return not self._ended.done()

    def send(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self) -> int:
        """Its exit code, negative for the signal that killed it. TimeoutError when it does not end."""
        async with asyncio.timeout(END_S):
            code = await asyncio.shield(self._ended)
        if self.ready_line is not None:
            self.ready_line.close()
            self.ready_line = None
        if self.log_reader is not None:
            await self.log_reader.finish()
        return code

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of this event."""
        return [line for line in self.lines() if line.get("event") == event]

    def lines(self) -> list[dict[str, Any]]:
        whole = self.output().splitlines(keepends=True)
        return [json.loads(line) for line in whole if line.startswith("{") and line.endswith("}\n")]

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def traceback(self) -> str:
        """Its output from the first traceback on; empty when there is none."""
        text = self.output()
        at = text.find("Traceback")
        return text[at:] if at >= 0 else ""

    async def ready(self, within: float = 20.0) -> bool:
        """Whether it came to trade before it ended. TimeoutError when it did neither."""
        async with asyncio.timeout(within):
            while self.running:
                if self._is_ready():
                    return True
                await asyncio.sleep(LOOK_S)
        return self._is_ready()

    def _is_ready(self) -> bool:
        return self.ready_line.ready() if self.ready_line is not None else bool(self.said("ready"))

    @property
    def loses_words(self) -> bool:
        """Whether not all that it says can be read afterwards."""
        return self.log_reader is not None and self.log_reader.loses


async def command(environ: Mapping[str, str], *words: str, answer: str = "") -> tuple[int, str]:
    """Run `executor` with `words`, type `answer`; its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "executor", *words),
        env=_environ(environ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(END_S * 3):
        said, _ = await process.communicate(answer.encode())
    assert process.returncode is not None
    return process.returncode, said.decode()


async def spawn(environ: Mapping[str, str], log: Path) -> Daemon:
    """`python -m executor run`, as a supervisor would start it."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "executor", "run"),
            env=_environ(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    ended = asyncio.ensure_future(process.wait())
    return Daemon(process.pid, log, ended)


@functools.cache
def _loaded() -> str:
    """The socket of a process that has loaded the program: one for all tests of this process, with which it ends."""
    path = tempfile.mkdtemp(prefix="executor-") + "/forks"  # a socket's path has to be short
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.fork_server", path],
        cwd=ROOT,
        env=_environ({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.communicate)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return path


class ForkServer:
    """Starts daemons without their imports; see `tests.crash.fork_server`. Used as an async context manager."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._lives: dict[int, asyncio.Future[int]] = {}
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_unix_connection(await asyncio.to_thread(_loaded))
        self._listener = asyncio.create_task(self._listen(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._writer is not None
        assert self._listener is not None
        self._writer.write_eof()
        await self._listener
        self._writer.close()
        await self._writer.wait_closed()

    async def start(self, environ: Mapping[str, str], log: Path) -> Daemon:
        assert self._writer is not None
        self._writer.write(json.dumps({"environ": _environ(environ), "log": str(log)}).encode() + b"\n")
        await self._writer.drain()
        pid = await self._born.get()
        return Daemon(pid, log, self._lives[pid])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            match json.loads(line):
                case {"pid": pid}:
                    self._lives[pid] = asyncio.get_running_loop().create_future()
                    self._born.put_nowait(pid)
                case {"gone": pid, "code": code}:
                    self._lives.pop(pid).set_result(code)
                case message:
                    raise AssertionError(f"the fork server said {message}")


def _environ(settings: Mapping[str, str]) -> dict[str, str]:
    """What the daemon finds in its environment: nothing of this machine's but what Python needs to run."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))), **settings}
