"""The state file survives crashes, damage and full disks (rules 8.1, 9.2, 10.5)."""

import copy
import errno
import functools
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.service.simdisk import Crashed, SimDisk

from executor.files import RealFileSystem
from executor.service.store.codec import CodecError
from executor.service.store.state_store import (
    SIZE_MAX,
    Loaded,
    StateDamaged,
    StateError,
    StateForeign,
    StateStore,
    StateTooNew,
    StateUnreadable,
    StateUnwritable,
    seal,
)


class Doc(msgspec.Struct, frozen=True):
    symbol: str
    step: int
    price: Decimal = Decimal("0.00000001")
    note: str = "1E5"


def doc(step: int) -> Doc:
    return Doc("BTCUSDT", step)


def foreign(found: Doc) -> str | None:
    return None if found.symbol == "BTCUSDT" else f"it is for {found.symbol}"


def store_on(disk: SimDisk) -> StateStore:
    return StateStore(Path("/state/s.json"), schema_version=1, fs=disk, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))


def step_on(disk: SimDisk) -> int:
    """Which state a restart finds; 0 for none."""
    loaded = store_on(disk).load(Doc, foreign=foreign)
    return 0 if loaded is None else loaded.value.step


class TestOnDisk:
    def test_a_person_can_read_it_and_the_envelope_comes_first(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=3)
        checksum = store.save(doc(7))
        text = store.path.read_text()
        assert json.loads(text)["checksum"] == checksum
        assert list(json.loads(text)) == ["schema_version", "checksum", "symbol", "step", "price", "note"]
        assert text.startswith('{\n  "schema_version": 3,\n  "checksum": "')
        assert '\n  "price": "0.00000001",\n  "note": "1E5"\n}\n' in text

    def test_private_and_without_leftovers(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        for step in (1, 2, 3):
            store.save(doc(step))
        assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
            "s.json": "0o600",
            "s.json.prev": "0o600",
        }
        assert store.load(Doc) == Loaded(doc(3), "current")
        assert json.loads(store.previous.read_text())["step"] == 2

    def test_no_file_at_all(self, tmp_path: Path) -> None:
        assert StateStore(tmp_path / "s.json", schema_version=1).load(Doc) is None
        assert list(tmp_path.iterdir()) == []

    def test_a_mapping_is_a_document_too(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        store.save({"symbol": "BTCUSDT", "step": 4, "price": Decimal(2)})
        loaded = store.load(Doc)
        assert loaded is not None
        assert loaded.value == Doc("BTCUSDT", 4, Decimal(2))

    @pytest.mark.parametrize("document", [{}, [1], "x", {"schema_version": 1}, {"a": object()}, {"a": Decimal("NaN")}])
    def test_what_is_no_document_touches_nothing(self, tmp_path: Path, document: object) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        with pytest.raises(CodecError):
            store.save(document)
        assert list(tmp_path.iterdir()) == []

    def test_the_target_of_a_link_is_replaced_not_the_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        link = tmp_path / "s.json"
        link.symlink_to(tmp_path / "real" / "s.json")
        StateStore(link, schema_version=1).save(doc(1))
        assert link.is_symlink()
        assert (tmp_path / "real" / "s.json").is_file()

    def test_white_space_may_change(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "s.json", schema_version=1)
        store.save(doc(1))
        store.path.write_text(json.dumps(json.loads(store.path.read_text()), indent=7) + "\n\n")
        assert store.load(Doc) == Loaded(doc(1), "current")


def crashes(run: Callable[[SimDisk], object], disk: Callable[[], SimDisk]) -> Iterator[tuple[SimDisk, bool]]:
    """Every disk that a crash during `run` may leave, and the disks after it (with True)."""
    for point in range(1000):
        attempt = disk()
        attempt.operations_left = point
        try:
            run(attempt)
        except Crashed:
            for left in attempt.after_crash():
                yield left, False
        else:
            assert point > 3, "the run reaches the disk"
            for left in attempt.after_crash():
                yield left, True
            return
    raise AssertionError("the run does not end")


def saver(step: int) -> Callable[[SimDisk], object]:
    return lambda disk: store_on(disk).save(doc(step))


@pytest.mark.parametrize("hard_links", [True, False])
class TestCrash:
    def test_during_a_save_leaves_the_old_or_the_new_and_after_it_the_new(self, hard_links: bool) -> None:
        for saves in range(4):

            def saved(saves: int = saves) -> SimDisk:
                disk = SimDisk(hard_links=hard_links)
                for step in range(1, saves + 1):
                    store_on(disk).save(doc(step))
                return disk

            found = {(step_on(disk), done) for disk, done in crashes(saver(saves + 1), saved)}
            assert found == {(saves, False), (saves + 1, False), (saves + 1, True)}

    def test_twice_in_a_row_with_a_restart_between(self, hard_links: bool) -> None:
        def two_saved() -> SimDisk:
            disk = SimDisk(hard_links=hard_links)
            store_on(disk).save(doc(1))
            store_on(disk).save(doc(2))
            return disk

        count = 0
        for first, _ in crashes(saver(3), two_saved):

            def restarted(first: SimDisk = first) -> SimDisk:
                return copy.deepcopy(first)

            known = step_on(restarted())

            def restart_and_save(disk: SimDisk) -> None:
                step_on(disk)
                store_on(disk).save(doc(4))

            for second, done in crashes(restart_and_save, restarted):
                count += 1
                assert step_on(second) in ({4} if done else {known, 4})
        assert count > 300

    def test_while_a_damaged_file_is_set_aside_loses_neither_it_nor_the_good_one(self, hard_links: bool) -> None:
        def damaged() -> SimDisk:
            disk = SimDisk(hard_links=hard_links)
            store_on(disk).save(doc(1))
            store_on(disk).save(doc(2))
            disk.write_synced(Path("/state/s.json"), b"garbage")
            disk.sync_folder(Path("/state"))
            return disk

        def restart_and_save(disk: SimDisk) -> None:
            step_on(disk)
            store_on(disk).save(doc(3))

        kept: set[int] = set()
        for disk, done in crashes(restart_and_save, damaged):
            assert b"garbage" in {inode.content for inode in disk.names.values()}
            kept.add(step_on(disk))
            assert (step_on(disk) == 3) or not done
        assert kept == {1, 3}


def in_place(left: SimDisk) -> SimDisk:
    left = copy.deepcopy(left)
    return WritesInPlace(names=left.names, _durable=left._durable)


class NoContentSync(SimDisk):
    def sync_content(self, inode: object) -> None:
        """Forgotten: the data stays in memory."""


class NoFolderSync(SimDisk):
    def sync_folder(self, folder: Path) -> None:
        """Forgotten: the names stay in memory."""


class WritesInPlace(SimDisk):
    def write_synced(self, path: Path, data: bytes) -> None:
        if path not in self.names:
            super().write_synced(path, data)
            return
        self.names[path].content = data
        self._reach("sync", path)
        self.sync_content(self.names[path])


class TestTheSimulatedDiskBites:
    def test_writing_into_a_leftover_tears_the_state_that_shares_its_content(self) -> None:
        """A rename that left its source name behind makes the temporary name one of the state itself."""
        leftovers = [left for left, _ in crashes(saver(1), WritesInPlace)]
        shared = [left for left in leftovers if len(left.names) == 2]
        assert shared
        found = set()
        for disk, _ in crashes(saver(2), lambda: in_place(shared[0])):
            try:
                found.add(str(step_on(disk)))
            except StateDamaged:
                found.add("torn")
        assert "torn" in found

    def test_without_syncing_the_content_a_state_is_torn(self) -> None:
        found: set[str] = set()
        for disk, _ in crashes(saver(1), NoContentSync):
            try:
                found.add(str(step_on(disk)))
            except StateDamaged:
                found.add("torn")
        assert "torn" in found

    def test_without_syncing_the_folder_a_finished_save_is_lost(self) -> None:
        found = {step_on(disk) for disk, done in crashes(saver(1), NoFolderSync) if done}
        assert found == {0, 1}


@pytest.mark.parametrize("operation", ["exists", "write", "sync", "link", "remove", "rename", "sync_folder"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
class TestUnwritable:
    def test_says_path_and_reason_and_the_next_save_works(self, operation: str, code: int) -> None:
        disk = SimDisk()
        store = store_on(disk)
        for step in (1, 2):
            store.save(doc(step))
        disk.failures[operation] = code
        with pytest.raises(StateUnwritable, match=r"state file /state/s\.json can't be written: ") as caught:
            store.save(doc(3))
        assert caught.value.reason.errno == code
        disk.failures.clear()
        assert {step_on(left) for left in disk.after_crash()} <= {2, 3}
        store.save(doc(4))
        assert {step_on(left) for left in disk.after_crash()} == {4}


class TestReadOnlyFolder:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(StateUnwritable, match="No such file or directory"):
            StateStore(tmp_path / "missing" / "s.json", schema_version=1).save(doc(1))

    def test_a_damaged_file_that_can_not_be_set_aside(self) -> None:
        disk = SimDisk()
        store_on(disk).save(doc(1))
        store_on(disk).save(doc(2))
        disk.names[Path("/state/s.json")].content = b"x"
        disk.failures["rename"] = errno.EROFS
        with pytest.raises(StateUnwritable, match="Read-only file system"):
            store_on(disk).load(Doc)

    def test_a_file_that_may_not_be_read(self) -> None:
        disk = SimDisk(failures={"read": errno.EACCES})
        with pytest.raises(StateUnreadable, match=r"/state/s\.json can't be read: Permission denied"):
            store_on(disk).load(Doc)

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "s.json").mkdir()
        with pytest.raises(StateDamaged, match="is not a regular file"):
            StateStore(tmp_path / "s.json", schema_version=1).load(Doc)


GOOD = seal(doc(2), 1)
OLDER = seal(doc(1), 1)


class TestDamage:
    def make(self, folder: Path, current: bytes | None, previous: bytes | None = OLDER) -> StateStore:
        store = StateStore(folder / "s.json", schema_version=1, clock=lambda: datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC))
        for path, content in ((store.path, current), (store.previous, previous)):
            if content is not None:
                path.write_bytes(content)
        return store

    def test_the_damaged_file_is_set_aside_and_its_predecessor_used(self, tmp_path: Path) -> None:
        store = self.make(tmp_path, b"garbage")
        aside = tmp_path / "s.json.damaged-20260301T040506Z"
        fault = "is not JSON: JSON is malformed: invalid character (byte 0)"
        assert store.peek(Doc) == Loaded(doc(1), "previous", fault)
        assert store.path.read_bytes() == b"garbage"
        assert store.load(Doc) == Loaded(doc(1), "previous", fault, aside)
        assert aside.read_bytes() == b"garbage"
        assert store.load(Doc) == Loaded(doc(1), "previous", "is not there", None)

    def test_nothing_set_aside_is_ever_overwritten(self, tmp_path: Path) -> None:
        for number in range(3):
            store = self.make(tmp_path, b"garbage %d" % number)
            store.load(Doc)
        asides = sorted(path for path in tmp_path.iterdir() if "damaged" in path.name)
        assert [path.read_bytes() for path in asides] == [b"garbage 0", b"garbage 1", b"garbage 2"]

    def test_both_damaged_changes_nothing_and_gives_both_reasons(self, tmp_path: Path) -> None:
        store = self.make(tmp_path, b"", GOOD[:-9])
        for _ in range(2):
            with pytest.raises(StateDamaged, match=r"s\.json is empty; .*s\.json\.prev is not JSON"):
                store.load(Doc)
        assert (store.path.read_bytes(), store.previous.read_bytes()) == (b"", GOOD[:-9])

    def test_damaged_without_a_predecessor(self, tmp_path: Path) -> None:
        with pytest.raises(StateDamaged, match=r"s\.json\.prev is not there"):
            self.make(tmp_path, b"x", None).load(Doc)

    @pytest.mark.parametrize("in_previous", [False, True])
    def test_newer_schema(self, tmp_path: Path, in_previous: bool) -> None:
        newer = seal({"whatever": 1}, 12)
        store = self.make(tmp_path, *((b"x", newer) if in_previous else (newer,)))
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(StateTooNew, match="schema_version 12, this version of Executor reads up to 1"):
            store.load(Doc)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_newer_schema_with_an_envelope_of_its_own(self, tmp_path: Path) -> None:
        with pytest.raises(StateTooNew):
            self.make(tmp_path, b'{"state": {}, "schema_version": 2}').load(Doc)

    def test_older_schema_that_nobody_can_read(self, tmp_path: Path) -> None:
        loaded = self.make(tmp_path, seal(doc(2), 0)).load(Doc)
        assert loaded is not None
        assert loaded.fault == "has schema_version 0, which this version of Executor can't read"

    def test_another_symbol(self, tmp_path: Path) -> None:
        other = seal(Doc("ETHUSDT", 1), 1)
        store = self.make(tmp_path, other)
        with pytest.raises(StateForeign, match=r"s\.json is not this trade's: it is for ETHUSDT"):
            store.load(Doc, foreign=foreign)
        assert store.path.read_bytes() == other

    def test_sound_but_of_another_shape(self, tmp_path: Path) -> None:
        loaded = self.make(tmp_path, seal({"symbol": 1, "step": 2}, 1)).load(Doc)
        assert loaded is not None
        assert loaded.fault == "does not hold a state: Expected `str`, got `int` - at `$.symbol`"

    def test_huge(self, tmp_path: Path) -> None:
        store = self.make(tmp_path, b"")
        with store.path.open("wb") as file:
            file.truncate(100 * SIZE_MAX)
        loaded = store.load(Doc)
        assert loaded is not None
        assert loaded.fault == f"is larger than {SIZE_MAX} bytes"

    def test_every_truncation_and_every_flipped_bit_is_noticed(self, tmp_path: Path) -> None:
        damages = [GOOD[:length] for length in range(len(GOOD) - 2)]
        damages += [_flipped(GOOD, bit) for bit in range(8 * len(GOOD))]
        assert len(damages) > 1500
        newer = 0
        for damaged in damages:
            disk = SimDisk()
            disk.write_synced(Path("/state/s.json"), damaged)
            disk.write_synced(Path("/state/s.json.prev"), OLDER)
            try:
                loaded = store_on(disk).load(Doc, foreign=foreign)
            except StateTooNew:  # the one digit of schema_version, made larger
                newer += 1
                assert disk.names[Path("/state/s.json")].content == damaged
                continue
            assert loaded is not None
            if loaded.source == "current":  # white space for white space, or the last newline
                assert loaded.value == doc(2)
                assert json.loads(damaged) == json.loads(GOOD)
            else:
                assert loaded.value == doc(1)
                assert loaded.set_aside is not None
                assert disk.names[loaded.set_aside].content == damaged
        assert newer <= 4

    def test_thousands_of_random_damages_end_in_a_state_or_a_documented_error(self, tmp_path: Path) -> None:
        chance = random.Random(20260301)
        endings: dict[str, int] = {}
        for number in range(3000):
            files = {"s.json": _damaged(chance), "s.json.prev": _damaged(chance)}
            folder = tmp_path / str(number % 50)
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                path.unlink()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            store = StateStore(folder / "s.json", schema_version=1)
            ending, words = _ending(store)
            assert ending in {"current", "previous"} or str(folder) in words
            assert "\n" not in words
            endings[ending] = endings.get(ending, 0) + 1
            assert sorted(path.read_bytes() for path in folder.iterdir()) == sorted(files.values())
        assert set(endings) == {"current", "previous", "StateDamaged", "StateTooNew", "StateForeign"}
        assert min(endings.values()) > 50


def _ending(store: StateStore) -> tuple[str, str]:
    try:
        loaded = store.load(Doc, foreign=foreign)
    except StateError as error:
        return type(error).__name__, str(error)
    assert loaded is not None
    assert loaded.value in {doc(1), doc(2)}
    return loaded.source, loaded.fault


def _flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :]


def _damaged(chance: random.Random) -> bytes:
    good = chance.choice([GOOD, OLDER])
    past_version = 8 * len('{\n  "schema_version": 1,')
    flips = [past_version + chance.randrange(8 * len(good) - past_version) for _ in range(20)]
    texts = [b"null", b"[]", b"{}", b'"x"', b"1E999999999", b"\xff\xfe{\0}\0", b'{"schema_version":-5}']
    damages: list[Callable[[], bytes]] = [
        lambda: good,
        lambda: good[: chance.randrange(len(good) - 2)],
        lambda: _flipped(good, flips[0]),
        lambda: functools.reduce(_flipped, flips, good),
        lambda: b" \n\0" * chance.randrange(3),
        lambda: seal({"x": chance.random()}, chance.randrange(2, 99)),
        lambda: seal(Doc("ETHUSDT", 1), 1),
        lambda: chance.randbytes(chance.randrange(300)),
        lambda: chance.choice(texts),
        lambda: b'{"schema_version":1,"checksum":' + b"[" * chance.randrange(100_000),
        lambda: good.replace(b'"symbol"', b'"symbol": "ETHUSDT", "symbol"'),
    ]
    return chance.choice(damages)()


def test_the_real_file_system_behaves_as_the_simulated_one(tmp_path: Path) -> None:
    """The fake is trusted no further than this: the same operations, the same files and errors."""
    real, fake = RealFileSystem(), SimDisk()
    a, b, c = (tmp_path / name for name in "abc")
    script: list[Callable[[RealFileSystem | SimDisk], object]] = [
        lambda fs: fs.read(a, 9),
        lambda fs: fs.remove(a),
        lambda fs: fs.write_synced(a, b"one"),
        lambda fs: fs.read(a, 2),
        lambda fs: fs.link(a, b),
        lambda fs: fs.link(a, b),
        lambda fs: fs.rename(a, b),
        lambda fs: fs.exists(a),
        lambda fs: fs.write_synced(c, b"two"),
        lambda fs: fs.rename(c, a),
        lambda fs: (fs.read(a, 9), fs.read(b, 9), fs.exists(c)),
        lambda fs: fs.write_synced(a, b"x"),
        lambda fs: fs.remove(b),
        lambda fs: fs.sync_folder(tmp_path),
        lambda fs: (fs.read(a, 9), fs.exists(b)),
    ]
    for number, operation in enumerate(script):
        outcomes: list[object] = []
        for fs in (real, fake):
            try:
                outcomes.append(operation(fs))
            except OSError as error:
                outcomes.append((type(error), error.errno))
        assert outcomes[0] == outcomes[1], f"operation {number}"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {
        path: inode.content for path, inode in fake.names.items()
    }
