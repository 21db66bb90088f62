"""What the state file and the signal position stand on."""

import os
from pathlib import Path

import pytest
from tests.service.simdisk import Crashed, SimDisk

from executor.files import RealFileSystem, make_folder, replace_file, write_all


def test_replacing_leaves_the_old_or_the_new_at_every_crash() -> None:
    path = Path("/state/p")
    found = set()
    for point in range(20):
        disk = SimDisk()
        replace_file(disk, path, b"old")
        disk.operations_left = point
        try:
            replace_file(disk, path, b"new")
            done = True
        except Crashed:
            done = False
        found |= {(left.names[path].content, done) for left in disk.after_crash()}
    assert found == {(b"old", False), (b"new", False), (b"new", True)}


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "sync_folder"])
def test_a_failure_leaves_the_old_or_the_new_and_no_leftover(operation: str) -> None:
    path = Path("/state/p")
    disk = SimDisk()
    replace_file(disk, path, b"old")
    disk.failures[operation] = 28
    with pytest.raises(OSError, match="No space left"):
        replace_file(disk, path, b"new")
    assert list(disk.names) == [path]
    assert disk.names[path].content == (b"new" if operation == "sync_folder" else b"old")


def test_a_short_write_goes_on_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:3]))
    with (tmp_path / "f").open("wb", buffering=0) as file:
        write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_pipe_is_refused_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    with pytest.raises(OSError, match="not a regular file"):
        RealFileSystem().read(tmp_path / "p", 10)


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")} == {0o700}
