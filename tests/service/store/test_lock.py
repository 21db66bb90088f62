"""Two processes never run one state (rule 9.4): real processes, a real kill."""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from executor.service.store.control_socket import address_of, socket_path
from executor.service.store.lock import Locked, LockTakenAway, LockUnusable, StateLock

HOLDER = """
import sys
from pathlib import Path
from executor.service.store.lock import StateLock
with StateLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(state: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock of `state` until its standard input ends."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_second_process_is_told_who_the_first_is(tmp_path: Path) -> None:
    state = tmp_path / "s.json"
    with other_process(state) as process:
        with pytest.raises(Locked) as caught, StateLock(state):
            pytest.fail("two processes hold the lock")
        assert caught.value.holder is not None
        assert caught.value.holder.pid == process.pid
        assert f"in use by process {process.pid} on {os.uname().nodename}, started 20" in str(caught.value)
        assert str(tmp_path / "s.json.lock") in str(caught.value)


@pytest.mark.parametrize("wide", [False, True])
def test_a_lock_file_that_is_taken_away_lets_no_second_process_in(tmp_path: Path, wide: bool) -> None:
    """The service that lost it listens to commands still."""
    state = tmp_path / ("s" * 200 + ".json" if wide else "s.json")
    with StateLock(state) as lock, socket.socket(socket.AF_UNIX) as served:
        with address_of(socket_path(state)) as address:
            served.bind(address)
        served.listen()
        lock.path.unlink()
        with (
            pytest.raises(LockTakenAway, match=f"in use by process {os.getpid()}, whose lock file"),
            StateLock(state),
        ):
            pytest.fail("two processes hold the lock")
        for _ in range(2):  # with so many waiting there that no more are taken
            held = [socket.socket(socket.AF_UNIX) for _ in range(200)]
            for each in held:
                each.setblocking(False)
                with address_of(socket_path(state)) as address, contextlib.suppress(BlockingIOError):
                    each.connect(address)
            with pytest.raises(LockTakenAway, match="another process"), StateLock(state):
                pytest.fail("two processes hold the lock")
            for each in held:
                each.close()
    with StateLock(state):
        """What is left of the socket is nobody's."""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with other_process(tmp_path / "s.json") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with StateLock(tmp_path / "s.json"):
            pass


def test_released_and_taken_again(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "deep" / "er" / "s.json", clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    with lock:
        assert b'"started":"2026-03-01T00:00:00+00:00"' in lock.path.read_bytes()
        assert lock.path.stat().st_mode & 0o777 == 0o600
        assert lock.path.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Locked, match=f"process {os.getpid()} "):
            StateLock(tmp_path / "deep" / "er" / "s.json").acquire()
        with pytest.raises(RuntimeError, match="acquired twice"):
            lock.acquire()
    assert lock.path.read_bytes() == b""
    with lock:
        pass
    lock.release()


def test_a_link_to_the_state_is_the_same_state(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "s.json")
    with StateLock(tmp_path / "s.json"), pytest.raises(Locked):
        StateLock(tmp_path / "link.json").acquire()


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"pid":"x"}', b"\xff" * 9999])
def test_a_holder_that_has_not_said_who_it_is(tmp_path: Path, content: bytes) -> None:
    with StateLock(tmp_path / "s.json") as lock:
        lock.path.write_bytes(content)
        with pytest.raises(Locked, match="in use by another process") as caught:
            StateLock(tmp_path / "s.json").acquire()
        assert caught.value.holder is None


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LockUnusable, match=r"lock file .*s\.json\.lock can't be used: (File exists|Not a directory)"):
        StateLock(tmp_path / "file" / "s.json").acquire()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LockUnusable, match="can't be used"):
        StateLock(tmp_path / "s.json").acquire()


def test_a_full_disk_keeps_nobody_from_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with StateLock(tmp_path / "s.json"), pytest.raises(Locked, match="in use by another process"):
            StateLock(tmp_path / "s.json").acquire()
    with StateLock(tmp_path / "s.json"):
        pass
