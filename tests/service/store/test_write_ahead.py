"""A commit is as durable as a save: crashes at every point, with the write-ahead copy (rules 8.1, 9.2, 10.5)."""

import copy
import errno
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.service.simdisk import Crashed, SimDisk
from tests.service.store.test_state_store import Doc, crashes, doc, step_on, store_on

from executor.files import RealFileSystem
from executor.service.store import codec
from executor.service.store.state_store import (
    STALE,
    Age,
    Loaded,
    StateForeign,
    StateStore,
    StateTooNew,
    StateUnwritable,
)
from executor.service.store.write_ahead import ROOM, WriteAhead

PATH = Path("/state/s.json")
AHEAD = Path("/state/s.json.ahead")


def committer(*steps: int) -> Callable[[SimDisk], object]:
    def run(disk: SimDisk) -> None:
        store = store_on(disk)
        for step in steps:
            store.commit(doc(step))
            store.publish()

    return run


def after(*steps: int, hard_links: bool = True) -> Callable[[], SimDisk]:
    def made() -> SimDisk:
        disk = SimDisk(hard_links=hard_links)
        committer(*steps)(disk)
        return disk

    return made


@pytest.mark.parametrize("hard_links", [True, False])
class TestCrash:
    def test_during_a_commit_leaves_the_old_or_the_new_and_after_it_the_new(self, hard_links: bool) -> None:
        for commits in range(3):
            made = after(*range(1, commits + 1), hard_links=hard_links)
            found = {(step_on(disk), done) for disk, done in crashes(committer(commits + 1), made)}
            assert found == {(commits, False), (commits + 1, False), (commits + 1, True)}

    def test_what_is_not_durable_is_lost_alone(self, hard_links: bool) -> None:
        """A power cut among perishable commits leaves one of them, or the durable one before: never an older state."""

        def perish(disk: SimDisk) -> None:
            store = store_on(disk)
            for step in (2, 3, 4):
                store.commit(doc(step), durable=step == 2)

        found = {(step_on(disk), done) for disk, done in crashes(perish, after(1, hard_links=hard_links))}
        assert found == {(1, False), (2, False), (3, False), (2, True), (3, True), (4, True)}

    def test_a_life_after_a_perishable_commit_makes_it_durable_before_it_overwrites_another(
        self, hard_links: bool
    ) -> None:
        disk = after(1, hard_links=hard_links)()
        store = store_on(disk)
        store.commit(doc(2))
        store.commit(doc(3), durable=False)
        assert step_on(copy.deepcopy(disk)) == 3  # killed, but the power stayed on

        def next_life(disk: SimDisk) -> None:
            store_on(disk).commit(doc(4))

        found = {(step_on(left), done) for left, done in crashes(next_life, lambda: copy.deepcopy(disk))}
        assert found == {(2, False), (3, False), (4, False), (4, True)}
        left = copy.deepcopy(disk)
        next_life(left)
        assert [line for line in left.log if line.startswith(("sync", "overwrite"))][-3:] == [
            "sync s.json.ahead",
            "overwrite s.json.ahead",
            "sync s.json.ahead",
        ]

    def test_in_a_later_commit_of_the_same_process(self, hard_links: bool) -> None:
        seen: set[int] = set()
        for disk, done in crashes(committer(1, 2, 3), lambda: SimDisk(hard_links=hard_links)):
            step = step_on(disk)
            seen.add(step)
            assert step == 3 or not done
        assert seen == {0, 1, 2, 3}

    def test_while_a_save_puts_things_in_order(self, hard_links: bool) -> None:
        def save(disk: SimDisk) -> None:
            store_on(disk).save(doc(3))

        found = {(step_on(disk), done) for disk, done in crashes(save, after(1, 2, hard_links=hard_links))}
        assert found == {(2, False), (3, False), (3, True)}

    def test_twice_with_a_restart_between(self, hard_links: bool) -> None:
        def restart_and_commit(disk: SimDisk) -> None:
            step_on(disk)
            committer(4)(disk)

        count = 0
        first_crashes = crashes(committer(3), after(1, 2, hard_links=hard_links))
        for first, _ in itertools.islice(first_crashes, None, None, 29):  # a prime: each kind of crash has its turn
            known = step_on(copy.deepcopy(first))

            def restarted(first: SimDisk = first) -> SimDisk:
                return copy.deepcopy(first)

            for second, done in crashes(restart_and_commit, restarted):
                count += 1
                assert step_on(second) in ({4} if done else {known, 4})
        assert count > 300


class NoSync(SimDisk):
    def sync_content(self, inode: object) -> None:
        """Forgotten: the data stays in memory."""


def test_the_simulated_disk_bites_without_the_sync_a_finished_commit_is_lost() -> None:
    disk = after(1, 2)()
    forgetful = NoSync(names=disk.names, _durable=disk._durable)
    committer(3)(forgetful)
    assert {step_on(left) for left in forgetful.after_crash()} > {3}


def test_one_sync_and_none_of_the_folder() -> None:
    disk = after(1, 2)()
    disk.log.clear()
    store = store_on(disk)
    store.commit(doc(3))
    disk.log.clear()
    store.commit(doc(4))
    store.commit(doc(5), durable=False)
    assert disk.log == ["overwrite s.json.ahead", "sync s.json.ahead", "overwrite s.json.ahead"]
    store.publish()
    assert not [line for line in disk.log[3:] if "sync " in line]


class TestReading:
    def test_readers_see_what_was_committed_before_and_after_it_is_published(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        for step in (1, 2, 3):
            store.commit(doc(step), durable=step != 2)
            found = StateStore(tmp_path / "s.json", schema_version=1).peek(Doc)
            assert found == (Loaded(doc(step), "current") if step == 1 else Loaded(doc(step), "ahead", STALE))
            store.publish()
            assert StateStore(tmp_path / "s.json", schema_version=1).peek(Doc) == Loaded(doc(step), "current")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.json.ahead", "s.json.prev"]
        assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}

    def test_a_save_removes_the_copy(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        store.commit(doc(1))
        store.save(doc(2))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.json.prev"]
        store.commit(doc(3))
        store.publish()
        assert store.load(Doc) == Loaded(doc(3), "current")

    def test_an_old_state_file_gives_way_to_the_copy(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        store.commit(doc(1))
        old = store.path.read_bytes()
        store.commit(doc(2))
        store.publish()
        store.path.write_bytes(old)
        assert store.load(Doc) == Loaded(doc(2), "ahead", STALE)

    def test_a_torn_state_file_is_set_aside_and_the_copy_taken(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        store.commit(doc(1))
        store.path.write_bytes(b"")
        loaded = store.load(Doc)
        assert loaded is not None
        assert (loaded.value, loaded.source, loaded.fault) == (doc(1), "ahead", "is empty")
        assert loaded.set_aside is not None
        assert loaded.set_aside.read_bytes() == b""

    @pytest.mark.parametrize("content", [b"", b"x", b"\0" * 2 * ROOM, b"0" * 400])
    def test_a_damaged_copy_counts_as_none(self, tmp_path: Path, content: bytes) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        store.save(doc(1))
        (tmp_path / "s.json.ahead").write_bytes(content)
        assert store.load(Doc) == Loaded(doc(1), "current")
        store.commit(doc(2))
        assert StateStore(tmp_path / "s.json", schema_version=1).load(Doc) == Loaded(doc(2), "current")

    def test_a_copy_of_a_later_version_or_another_symbol_is_left_alone(self, tmp_path: Path) -> None:
        StateStore(tmp_path / "s.json", schema_version=2).commit(doc(1))
        with pytest.raises(StateTooNew):
            StateStore(tmp_path / "s.json", schema_version=1).load(Doc)
        (tmp_path / "s.json").unlink()
        with pytest.raises(StateForeign, match=r"s\.json\.ahead is not this trade's"):
            StateStore(tmp_path / "s.json", schema_version=2).load(Doc, foreign=lambda _: "no")


class TestWriting:
    def test_a_record_larger_than_the_room_makes_more(self, tmp_path: Path) -> None:
        ahead = WriteAhead(tmp_path / "a", RealFileSystem())
        for size in (10, 3 * ROOM, 20, 9 * ROOM, 30):
            ahead.write(b"x" * size)
            assert WriteAhead(tmp_path / "a", RealFileSystem()).read() == b"x" * size

    def test_a_copy_taken_away_under_the_service_is_made_anew(self, tmp_path: Path) -> None:
        ahead = WriteAhead(tmp_path / "a", RealFileSystem())
        ahead.write(b"one")
        (tmp_path / "a").unlink()
        ahead.write(b"two")
        assert ahead.read() == b"two"

    def test_every_flipped_bit_is_noticed(self, tmp_path: Path) -> None:
        ahead = WriteAhead(tmp_path / "a", RealFileSystem())
        ahead.write(b"one")
        ahead.write(b"two")
        content = (tmp_path / "a").read_bytes()
        for at in range(ROOM, ROOM + 99):
            (tmp_path / "a").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert ahead.read() == b"one"

    @pytest.mark.parametrize("operation", ["write_unsynced", "exists", "link", "rename"])
    def test_a_failed_publish_says_why_and_the_next_one_shows_the_newest(self, operation: str) -> None:
        disk = SimDisk()
        store = store_on(disk)
        store.save(doc(2))
        store.commit(doc(3))
        store.commit(doc(4))
        disk.failures[operation] = errno.ENOSPC
        with pytest.raises(StateUnwritable, match="No space left"):
            store.publish()
        assert {step_on(left) for left in disk.after_crash()} == {4}
        disk.failures.clear()
        store.publish()
        assert store.peek(Doc) == Loaded(doc(4), "current")

    def test_commits_beside_a_publish_in_another_thread(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        done = threading.Event()

        def publish() -> None:
            while not done.is_set():
                store.publish()

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            for step in range(300):
                store.commit(doc(step), durable=step % 50 == 0)
                found = StateStore(tmp_path / "s.json", schema_version=1).peek(Doc)
                assert found is not None
                assert found.value == doc(step)
        finally:
            done.set()
            thread.join()
        store.save(doc(300))
        assert store.load(Doc) == Loaded(doc(300), "current")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.json.prev"]

    @pytest.mark.parametrize("operation", ["overwrite", "sync"])
    def test_a_failed_commit_says_why_and_the_next_one_works(self, operation: str) -> None:
        disk = after(1, 2)()
        store = store_on(disk)
        disk.failures[operation] = errno.ENOSPC
        with pytest.raises(StateUnwritable, match="No space left"):
            store.commit(doc(3))
        disk.failures.clear()
        assert {step_on(left) for left in disk.after_crash()} <= {2, 3}
        store.commit(doc(4))
        assert {step_on(left) for left in disk.after_crash()} == {4}

    def test_crashes_reach_every_operation(self) -> None:
        disk = after(1, 2)()
        disk.log.clear()
        committer(3)(disk)
        assert [line.partition(" ")[0] for line in disk.log] == [
            "read", "sync", "overwrite", "sync", "write_unsynced", "exists", "exists", "remove", "link", "rename",
        ]  # fmt: skip
        disk = after(1)()
        disk.operations_left = 0
        with pytest.raises(Crashed):
            committer(2)(disk)


@pytest.mark.parametrize("commits", list(itertools.product((1, 2, 4), repeat=3)))
def test_a_state_of_a_later_life_is_newer_than_one_of_an_earlier(tmp_path: Path, commits: tuple[int, ...]) -> None:
    """Each life loads, as a start does, commits so many times, and is killed: the copy is always the last commit."""
    step = 0
    for count in commits:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        found = store.load(Doc)
        assert found is None if not step else found == Loaded(doc(step), "current")
        for _ in range(count):
            step += 1
            store.commit(doc(step), durable=step % 2 == 0)
            store.publish()
        copied = WriteAhead(tmp_path / "s.json.ahead", RealFileSystem()).read()
        assert copied is not None
        assert codec.pretty(copied) == (tmp_path / "s.json").read_bytes()


class TestAge:
    def test_it_vouches_for_what_it_holds(self) -> None:
        disk = after(1, 2)()
        assert step_and_age(disk) == (2, Age.VOUCHED)

    def test_after_an_orderly_end_nothing_tells_whether_somebody_put_back_an_old_one(self) -> None:
        disk = after(1, 2)()
        store_on(disk).save(doc(3))
        assert step_and_age(disk) == (3, Age.UNKNOWN)

    def test_the_predecessor_is_old(self) -> None:
        disk = after(1, 2)()
        store_on(disk).save(doc(3))
        disk.names[PATH].content = b"{"
        assert step_and_age(disk) == (2, Age.OLD)

    @pytest.mark.parametrize("place", [0, 1])
    def test_a_record_that_is_not_whole_may_have_been_the_newest(self, place: int) -> None:
        """And what is whole, or shown by the state file, may be from before requests that left."""
        disk = after(1, 2, 3)()
        content = bytearray(disk.names[AHEAD].content)
        content[place * len(content) // 2 + 200] ^= 1
        disk.names[AHEAD].content = bytes(content)
        assert step_and_age(disk)[1] is Age.OLD

    @pytest.mark.parametrize("content", [b"", b"x", b"garbage" * 100])
    def test_a_copy_without_a_record_vouches_for_nothing(self, content: bytes) -> None:
        disk = after(1, 2)()
        disk.names[AHEAD].content = content
        assert step_and_age(disk) == (2, Age.OLD)

    def test_a_file_too_large_to_be_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        disk = after(1, 2)()
        monkeypatch.setattr("executor.service.store.write_ahead.LARGEST", 10)
        assert step_and_age(disk) == (2, Age.OLD)


def step_and_age(disk: SimDisk) -> tuple[int, Age]:
    store = store_on(disk)
    found = store.load(Doc)
    assert found is not None
    return found.value.step, store.age(found)
