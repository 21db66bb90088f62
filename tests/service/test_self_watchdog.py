"""A loop that hangs ends the process where nobody outside watches, and the next start tells of it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from shutil import which

import pytest
from structlog.testing import capture_logs

from executor.service.self_watchdog import SelfWatchdog, hang_path

FIRST = [found, "--user", "--map-root-user", "--pid", "--fork", "--kill-child"] if (found := which("unshare")) else []
"""Begins a process that is the first of its kind (unshare(1))."""

HANGS = """
import sys, time
from pathlib import Path
from executor.service.self_watchdog import SelfWatchdog

watchdog = SelfWatchdog(Path(sys.argv[1]), 0.5)
for _ in range(3):
    watchdog.alive()
    time.sleep(0.1)
if sys.argv[2] == "stops":
    watchdog.stop()
    time.sleep(1.0)
    sys.exit(7)
time.sleep(60)
"""


def run(path: Path, how: str) -> int:
    return subprocess.run([sys.executable, "-c", HANGS, str(path), how], timeout=30, check=False).returncode


def test_a_hang_ends_the_process_and_leaves_its_traceback(tmp_path: Path) -> None:
    path = hang_path(tmp_path / "executor_state.json")
    assert run(path, "hangs") == 1
    assert "line 14" in path.read_text()


def test_the_next_start_tells_of_it_once(tmp_path: Path) -> None:
    path = hang_path(tmp_path / "executor_state.json")
    run(path, "hangs")
    with capture_logs() as told:
        SelfWatchdog(path).stop()
        SelfWatchdog(path).stop()
    assert [(each["event"], each["alert"]) for each in told] == [("ended_by_hang", True)]
    assert path.with_name(path.name + ".last").stat().st_size
    assert not path.exists()


def test_a_stopped_one_ends_nothing(tmp_path: Path) -> None:
    assert run(tmp_path / "state.hang", "stops") == 7


def test_without_a_place_to_write_it_watches_all_the_same(tmp_path: Path) -> None:
    assert run(tmp_path / "nowhere" / "state.hang", "hangs") == 1


SERVICE = """
import asyncio, time
from executor.config import load_settings
from executor.service import app, self_watchdog

self_watchdog.SelfWatchdog.__init__.__defaults__ = (2.0,)

def hang(loop):
    async def later():
        await asyncio.sleep(0.5)
        time.sleep(60)

    loop.add_task("fault", later)

asyncio.run(app.run(load_settings(env_file=None), hang, own_process=True))
"""


def test_a_service_whose_loop_hangs_ends(tmp_path: Path) -> None:
    environ = {**os.environ, "PAPER_AT_END": "hold", "PAPER_SPEED": "20", "HTTP_PORT": "0"}
    done = subprocess.run([sys.executable, "-c", SERVICE], timeout=60, check=False, env=environ, cwd=tmp_path)
    assert done.returncode == 1
    (kept,) = tmp_path.rglob("*.hang")
    assert "later" in kept.read_text()


def test_turns_of_the_loop_after_its_stop_are_no_error(tmp_path: Path) -> None:
    """The end waits for answers under way, and each is a turn (rule 9.5)."""
    watchdog = SelfWatchdog(tmp_path / "state.hang")
    watchdog.alive()
    watchdog.stop()
    watchdog.alive()


SLEEPS = """
import sys, time
from pathlib import Path
from executor.service.self_watchdog import SelfWatchdog

watchdog = SelfWatchdog(Path(sys.argv[1]), 1.0)
watchdog.alive()
print("begun", flush=True)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    watchdog.alive()
    time.sleep(0.05)
watchdog.stop()
sys.exit(7)
"""


def test_a_process_that_was_suspended_goes_on(tmp_path: Path) -> None:
    """For longer than a hang may last: nobody called `alive`, and nobody could have."""
    arguments = [sys.executable, "-c", SLEEPS, str(tmp_path / "state.hang"), "4"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 7


COMPUTES = """
import re, sys
from pathlib import Path
from executor.service.self_watchdog import SelfWatchdog

SelfWatchdog(Path(sys.argv[1]), 0.3).alive()
re.match("(a+)+$", "a" * 60 + "b")
"""


def test_what_hangs_with_the_interpreters_lock_is_ended_as_well(tmp_path: Path) -> None:
    """No thread has a turn then, that of the watch neither."""
    path = tmp_path / "state.hang"
    done = subprocess.run([sys.executable, "-c", COMPUTES, str(path)], timeout=20, check=False)
    assert done.returncode == signal.SIGPROF
    assert "line 7" in path.read_text()


@pytest.mark.skipif(
    not FIRST or subprocess.run([*FIRST, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0,
    reason="needs leave to begin processes of their own number 1",
)
@pytest.mark.parametrize("named", ["state.hang", "nowhere/state.hang"])
def test_so_is_the_first_process_of_a_container(tmp_path: Path, named: str) -> None:
    """Signals that are left to the system's default end none of its kind."""
    arguments = [*FIRST, sys.executable, "-c", COMPUTES, str(tmp_path / named)]
    assert subprocess.run(arguments, timeout=20, check=False).returncode == signal.SIGPROF


def test_tracebacks_that_nobody_takes_hold_up_no_end(tmp_path: Path) -> None:
    """There is no place for the file, and whoever reads the log stands still."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    arguments = [sys.executable, "-c", HANGS, str(tmp_path / "nowhere" / "state.hang"), "hangs"]
    try:
        assert subprocess.run(arguments, stderr=writer, timeout=20, check=False).returncode == signal.SIGALRM
    finally:
        os.close(reader)
        os.close(writer)
