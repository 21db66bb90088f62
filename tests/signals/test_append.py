"""`executor signal` appends one whole line, whatever stood there and whoever else writes."""

import errno
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from executor.core.model.signal import Signal
from executor.files import RealFileSystem
from executor.signals.append import NotASignalError, append_signal
from executor.signals.parse import parse_signal
from executor.signals.position import SignalFileError

FIELDS: dict[str, Any] = {
    "ts": "2026-03-01T10:15:30Z",
    "symbol": "BTCUSDT",
    "side": "long",
    "price": Decimal("64000.10"),
}


def test_what_is_written_reads_back_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "signals.jsonl"
    fields = FIELDS | {
        "id": "a",
        "stop": Decimal("1E-8"),
        "targets": [Decimal("6.5E+4"), Decimal("66000.00")],
        "risk": Decimal(5),
        "qty": None,
    }
    line = append_signal(path, fields)
    assert path.read_text() == line + "\n"
    assert line == (
        '{"ts":"2026-03-01T10:15:30Z","symbol":"BTCUSDT","side":"long","price":64000.10,"id":"a",'
        '"stop":0.00000001,"targets":[65000,66000.00],"risk":5}'
    )
    signal = parse_signal(line)
    assert isinstance(signal, Signal)
    assert str(signal.price) == "64000.10"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", [b"", b"x\n", b"half", b"\n"])
def test_a_last_line_without_its_end_gets_one(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(before)
    line = append_signal(path, FIELDS).encode()
    end = b"\n" if before == b"half" else b""
    assert path.read_bytes() == before + end + line + b"\n"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"side": "up"}, "side must be long, short, buy or sell"),
        ({"price": Decimal("NaN")}, "price must be a number above 0"),
        ({"price": Decimal(-1)}, "price must be a number above 0"),
        ({"symbol": None}, "symbol is missing"),
        ({"qty": Decimal(1), "risk": Decimal(1)}, "only one of qty, notional and risk"),
        ({"colour": "red"}, "colour is not a field of a signal"),
    ],
)
def test_what_is_no_signal_is_not_written(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    path = tmp_path / "signals.jsonl"
    with pytest.raises(NotASignalError, match=fault):
        append_signal(path, FIELDS | change)
    assert not path.exists()


def test_writers_at_once_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"half")
    with ThreadPoolExecutor(8) as pool:
        lines = list(pool.map(lambda n: append_signal(path, FIELDS | {"id": f"id-{n}"}), range(40)))
    assert sorted(path.read_text().splitlines()) == sorted([*lines, "half"])


def test_a_file_rotated_while_the_lock_was_waited_for_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"x\n")
    lock = fcntl.flock

    def rotate_first(descriptor: int, operation: int) -> None:
        if path.exists():
            path.rename(tmp_path / "signals.jsonl.1")
        lock(descriptor, operation)
        monkeypatch.undo()

    monkeypatch.setattr(fcntl, "flock", rotate_first)
    line = append_signal(path, FIELDS)
    assert path.read_text() == line + "\n"
    assert (tmp_path / "signals.jsonl.1").read_bytes() == b"x\n"


def test_a_file_system_without_locks_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SignalFileError, match="No locks available"):
        append_signal(tmp_path / "signals.jsonl", FIELDS)


def test_a_file_that_can_not_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(SignalFileError, match="not a regular file"):
        append_signal(tmp_path, FIELDS)


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"x\n")
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[: len(data) // 2]))
    with pytest.raises(SignalFileError, match="No space left on device") as caught:
        append_signal(path, FIELDS)
    assert caught.value.reason.errno == errno.ENOSPC
    assert path.read_bytes() == b"x\n"


def test_a_lock_that_another_keeps_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal would take a thread with it, until none was left to write the state."""
    monkeypatch.setattr("executor.signals.append.LOCK_S", 0.05)
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"x\n")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SignalFileError, match="another program has kept its lock"):
            append_signal(path, FIELDS)
    assert path.read_bytes() == b"x\n"
    append_signal(path, FIELDS)


def test_what_is_no_file_is_not_written_to_and_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "signals.jsonl")
    with pytest.raises(SignalFileError):
        append_signal(tmp_path / "signals.jsonl", FIELDS)


def test_the_name_of_a_file_that_is_made_outlasts_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes were synced, the name that they are found by was not."""
    synced: list[Path] = []
    monkeypatch.setattr(RealFileSystem, "sync_folder", lambda _, folder: synced.append(folder))
    for _ in range(3):
        append_signal(tmp_path / "signals.jsonl", FIELDS)
    assert synced == [tmp_path]


def refuses(code: int) -> Callable[[RealFileSystem, Path], None]:
    def sync_folder(_: RealFileSystem, folder: Path) -> None:
        raise OSError(code, os.strerror(code), str(folder))

    return sync_folder


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_that_can_not_be_synced_keeps_no_signal_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """One that may be written to and not be listed, or on a file system that syncs no folders: for ever, that was."""
    monkeypatch.setattr(RealFileSystem, "sync_folder", refuses(code))
    path = tmp_path / "signals.jsonl"
    with capture_logs() as log:
        for _ in range(2):
            line = append_signal(path, FIELDS)
            assert path.read_text() == line + "\n"
            path.write_bytes(b"")
    assert [(entry["event"], entry["why"]) for entry in log] == [("folder_not_synced", os.strerror(code))]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_where_the_name_can_not_be_made_durable_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(RealFileSystem, "sync_folder", refuses(code))
    with pytest.raises(SignalFileError):
        append_signal(tmp_path / "signals.jsonl", FIELDS)
    assert (tmp_path / "signals.jsonl").read_bytes() == b""
