"""What the state file and the signal position stand on."""

import os
from pathlib import Path

import pytest
from tests.service.simdisk import Crashed, SimDisk

from executor.files import KEPT_OPEN, RealFileSystem, make_folder, replace_file, write_all
from executor.service.store.state_store import StateStore


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


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count descriptors")
def test_hundreds_of_states_keep_no_more_files_open_than_one(tmp_path: Path) -> None:
    """Each kept eight: with 1,024 descriptors, a hundred symbols that had traded wrote no state any more."""
    RealFileSystem().release()
    before = open_files()
    stores = [StateStore(tmp_path / f"{n}.json", schema_version=1) for n in range(100)]
    for count in range(10):
        for store in stores:
            store.commit({"n": count}, durable=False)
            store.publish()
    assert open_files() - before <= KEPT_OPEN
    stores[0].save({"n": 10})
    assert open_files() == before
