"""What the supervisor hears, over a real socket, of the service in a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from executor.service import systemd
from executor.service.supervisor import Supervisor
from executor.service.systemd import SystemdNotifier

WATCHDOG_S = 2.0
PATIENCE_S = 60.0

# The service as `executor run` has it, and what is done to its loop once it has found its feet.
RUN = """
import asyncio, sys, time
from pathlib import Path
from executor.config import load_settings
from executor.ops import logs
from executor.service import app

settings = load_settings(env_file=None)
logs.set_up(settings.log_format, settings.log_level)

def met(loop):
    async def later():
        while not Path(sys.argv[2]).exists():
            await asyncio.sleep(0.02)
        match sys.argv[1]:
            case "blocks":
                print("HANGS", flush=True)
                time.sleep(3600)
            case "never comes back":
                loop._take = forever

    async def forever(*_args, **_more):
        print("HANGS", flush=True)
        await asyncio.Event().wait()

    loop.add_task("fault", later)

asyncio.run(app.run(settings, met))
"""


class Listener:
    """The supervisor's end."""

    def __init__(self, address: str) -> None:
        self.heard: list[tuple[float, str]] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def words(self) -> list[str]:
        return [word for _, word in self.heard]

    def listen(self, seconds: float) -> list[str]:
        """What is said within `seconds`."""
        before, until = len(self.heard), time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._take(left)
        return self.words()[before:]

    def until(self, word: str, within: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within
        while not any(heard.startswith(word) for heard in self.words()):
            left = deadline - time.monotonic()
            assert left > 0, f"{word} was not said: {self.words()}"
            self._take(left)

    def _take(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        try:
            self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
        except TimeoutError:
            return


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Listener]]:
    name = f"executor-test-{os.getpid()}-{time.monotonic_ns()}"
    path = f"@{name}" if request.param == "abstract" else str(tmp_path / "notify")
    found = Listener("\0" + name if request.param == "abstract" else path)
    yield path, found
    found.socket.close()


@contextmanager
def service(tmp_path: Path, address: str, fault: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000)),
        "STATE_FN": str(tmp_path / "state.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "PAPER_AT_END": "hold",
        "PAPER_SPEED": "10",
        "HTTP_PORT": "0",
    }
    program = [sys.executable, "-c", RUN, fault, str(tmp_path / "now")]
    with subprocess.Popen(
        program, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ready_after_recovery_alive_while_it_turns_and_a_word_at_the_end(
    tmp_path: Path, listener: tuple[str, Listener]
) -> None:
    address, supervisor = listener
    with service(tmp_path, address, "goes on") as process:
        supervisor.until("READY=1")
        assert "WATCHDOG=1" not in supervisor.words()[: supervisor.words().index("READY=1")]
        assert any("looking up" in word or "no trade" in word for word in supervisor.words())
        assert supervisor.listen(2 * WATCHDOG_S).count("WATCHDOG=1") >= 3
        process.send_signal(signal.SIGTERM)
        supervisor.until("STOPPING=1")
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("fault", ["blocks", "never comes back"])
def test_a_loop_that_hangs_is_not_called_alive(tmp_path: Path, fault: str) -> None:
    """Whether the whole process hangs, or the consumer alone while every side task goes on."""
    supervisor = Listener(str(tmp_path / "notify"))
    with service(tmp_path, str(tmp_path / "notify"), fault) as process, supervisor.socket:
        supervisor.until("READY=1")
        supervisor.until("WATCHDOG=1")
        (tmp_path / "now").touch()
        assert process.stdout is not None
        assert process.stdout.readline() == b"HANGS\n"
        supervisor.listen(0.1)  # what was said before
        assert "WATCHDOG=1" not in supervisor.listen(1.5 * WATCHDOG_S)


def test_readiness_waits_for_an_exchange_that_answers(tmp_path: Path) -> None:
    """Recovery is looking at the orders (rule 9.1): with nobody there, nothing is ready."""
    supervisor = Listener(str(tmp_path / "notify"))
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": "http://127.0.0.1:9",
        "BINANCE_WS_API_URL": "ws://127.0.0.1:9",
        "BINANCE_STREAM_URL": "ws://127.0.0.1:9",
        "BINANCE_API_KEY": "key",
        "BINANCE_API_SECRET": "secret",
        "SYMBOL": "LTCUSDT",
        "HTTP_PORT": "0",
    }
    program = [sys.executable, "-m", "executor", "run"]
    with supervisor.socket, subprocess.Popen(program, env=environ, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        assert "READY=1" not in supervisor.listen(3)
        process.kill()


async def test_readiness_is_said_until_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that is behind takes no more words; one that never hears of readiness ends the start."""
    monkeypatch.setattr(systemd, "READY_AGAIN_S", 0.01)
    listener = Listener(str(tmp_path / "notify"))
    notifier = SystemdNotifier(str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others, listener.socket:
        others.setblocking(False)
        others.connect(str(tmp_path / "notify"))
        with suppress(BlockingIOError):
            while True:
                others.send(b"STATUS=of others")
        assert not notifier.ready()
        begun: list[Callable[[], Coroutine[Any, Any, None]]] = []
        supervisor: Any = SimpleNamespace(
            loops={}, add_task=lambda _, task: begun.append(task), started=lambda: asyncio.sleep(0)
        )
        systemd.attend(supervisor, notifier)
        running = asyncio.create_task(begun[0]())
        await asyncio.sleep(0.05)
        assert "READY=1" not in listener.listen(0.05)
        async with asyncio.timeout(PATIENCE_S):
            while "READY=1" not in listener.words():
                await asyncio.sleep(0.02)
                listener.listen(0.01)
        assert not running.done()
        running.cancel()
        await asyncio.wait({running})
        assert listener.listen(0.05).count("READY=1") == 0, "it is said once"


class TestTheSocket:
    def test_nobody_is_told_where_nobody_listens(self) -> None:
        for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
            supervisor = SystemdNotifier.of({**environ, "WATCHDOG_USEC": "1000000"})
            supervisor.ready()
            assert supervisor.watchdog_s == 0

    def test_a_supervisor_that_has_gone_is_told_of_once_and_harms_nothing(self, tmp_path: Path) -> None:
        supervisor = SystemdNotifier(str(tmp_path / "gone"))
        with capture_logs() as logs:
            for _ in range(3):
                supervisor.alive()
        assert [line["event"] for line in logs] == ["supervisor_not_told"]

    def test_the_watch_is_for_the_process_that_it_names(self) -> None:
        environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}
        assert SystemdNotifier.of(environ).watchdog_s == 30
        assert SystemdNotifier.of({**environ, "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 30
        assert SystemdNotifier.of({**environ, "WATCHDOG_PID": "1"}).watchdog_s == 0
        assert SystemdNotifier.of({**environ, "WATCHDOG_USEC": "soon"}).watchdog_s == 0

    def test_a_status_is_one_line(self, tmp_path: Path) -> None:
        listener = Listener(str(tmp_path / "notify"))
        SystemdNotifier(str(tmp_path / "notify")).status("LTCUSDT:\nREADY=1")
        assert listener.listen(0.1) == ["STATUS=LTCUSDT: READY=1"]
        listener.socket.close()


@pytest.mark.parametrize("again", [False, True])
async def test_a_run_that_begins_anew_is_no_end_of_the_service(*, again: bool, tmp_path: Path) -> None:
    """systemd would kill, some time after that word, what goes on; or what has no loops yet that could say that they
    turn, while an exchange is waited for.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        supervisor = Supervisor({})
        systemd.attend(supervisor, SystemdNotifier(str(tmp_path / "notify"), 30.0))
        task = asyncio.create_task(supervisor._later[-1][1]())
        await asyncio.sleep(0)
        supervisor.again = again
        task.cancel()
        await asyncio.wait({task})
        words: list[bytes] = []
        with suppress(BlockingIOError):
            words.append(ear.recv(100))
        assert words == [b"WATCHDOG_USEC=600000000" if again else b"STOPPING=1"]
