"""A folder, a pipe, a device or a link in the place of one of the service's files: never waited on, never overwritten,
told by its name; an open trade is looked after all the same.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs
from tests.scenarios.harness import EXITS, World, harness

from executor.core.model.state import SCHEMA_VERSION, Closed
from executor.core.model.values import Direction
from executor.files import NoRegularFileError, RealFileSystem
from executor.ops.alerts.outbox import READ_MAX, Mark, Outbox
from executor.ops.watchdog.machine import probe
from executor.service.self_watchdog import SelfWatchdog
from executor.service.store.journal import (
    FILE_SIZE,
    LINE_MAX,
    Journal,
    JournalError,
    JournalReader,
    JournalUnwritable,
    tail,
)
from executor.service.store.lock import LockUnusable, StateLock
from executor.service.store.state_store import Age, StateDamaged, StateStore, StateUnwritable
from executor.service.store.trades import TradeList
from executor.signals.append import append_line
from executor.signals.position import PositionFile, SignalFileError

LONG: Final = World(Direction.LONG, "OCO", pushes=False)
SIGNAL: Final = b'{"ts":1750000000000,"id":"s1","symbol":"LTCUSDT","side":"long","price":"100"}'


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: Final[dict[str, Callable[[Path], None]]] = {"folder": Path.mkdir, "pipe": os.mkfifo, "device": _device}
every_kind: Final = pytest.mark.parametrize("kind", KINDS)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def store(path: Path) -> StateStore:
    return StateStore(path, schema_version=SCHEMA_VERSION)


@every_kind
def test_each_opens_it_as_what_it_is_not(tmp_path: Path, kind: str) -> None:
    path, fs = tmp_path / "p", RealFileSystem()
    KINDS[kind](path)
    before = descriptors()
    for use in (
        lambda: fs.read(path, 10),
        lambda: fs.overwrite(path, 0, b"x", synced=True),
        lambda: fs.sync_file(path),
    ):
        with pytest.raises(NoRegularFileError, match="not a regular file"):
            use()
    path.rename(tmp_path / "p.lock")
    with pytest.raises(LockUnusable, match="symbolic" if kind == "device" else "not a regular file"):
        StateLock(path).acquire()
    assert descriptors() == before


def test_a_pipe_with_a_reader_is_no_file_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    reader = os.open(tmp_path / "p", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(NoRegularFileError):
        RealFileSystem().overwrite(tmp_path / "p", 0, b"x", synced=True)
    os.close(reader)


@every_kind
def test_a_place_of_the_signal_file_that_is_asked_for_again_and_again_keeps_nothing_open(
    tmp_path: Path, kind: str
) -> None:
    """Twenty times a second: it was a descriptor each, until there were none for the exchange."""
    path = tmp_path / "state.json.signals"
    KINDS[kind](path)
    before = descriptors()
    for _ in range(20):
        with pytest.raises(SignalFileError, match=r"state\.json\.signals"):
            PositionFile(path).load(tmp_path / "signals.jsonl")
    assert descriptors() == before


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [  # a link in the state's own place is followed: the state is where it leads to
        place for place in product(KINDS, ["", ".prev", ".tmp", ".ahead", ".ahead.tmp"]) if place != ("device", "")
    ],
)
def test_the_state_is_had_from_what_is_sound_beside_it(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / "state.json"
    for n in (1, 2):
        store(path).save({"n": n})
    path.with_name(path.name + suffix).unlink(missing_ok=True)
    KINDS[kind](path.with_name(path.name + suffix))
    kept = store(path)
    with capture_logs() as log:
        loaded = kept.load(dict[str, int])
    assert loaded is not None
    assert loaded.value == {"n": 1 if not suffix else 2}
    assert kept.age(loaded) is (Age.OLD if suffix in {"", ".ahead"} else Age.UNKNOWN)
    assert [line["event"] for line in log] == (["state_damaged"] if suffix else [])
    assert [each.name[: len(path.name + suffix)] for each in tmp_path.glob("*.damaged-*")] == [path.name + suffix]
    kept.commit({"n": 3})
    kept.publish()
    kept.save({"n": 4})
    again = store(path).load(dict[str, int])
    assert again is not None
    assert (again.value, again.source) == ({"n": 4}, "current")


@every_kind
def test_that_the_newest_state_was_lost_is_known_until_one_is_written(tmp_path: Path, kind: str) -> None:
    """Also to the start after one that was killed before it had written any."""
    path = tmp_path / "state.json"
    store(path).save({"n": 1})
    KINDS[kind](path.with_name("state.json.ahead"))
    kept = store(path)
    for each in (store(path), kept):
        loaded = each.load(dict[str, int])
        assert loaded is not None
        assert each.age(loaded) is Age.OLD
    kept.commit({"n": 2})
    loaded = store(path).load(dict[str, int])
    assert loaded is not None
    assert (loaded.value, store(path).age(loaded)) == ({"n": 2}, Age.VOUCHED)
    kept.save({"n": 3})
    assert not kept.write_ahead.exists()


class Mounts(RealFileSystem):
    """What is no file can't be moved, as where something is mounted."""

    def rename(self, source: Path, target: Path) -> None:
        if not source.is_file():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source))
        super().rename(source, target)


@every_kind
@pytest.mark.parametrize("suffix", [".prev", ".tmp", ".ahead", ".ahead.tmp"])
def test_what_can_not_be_moved_from_beside_the_state_is_told_and_ends_no_start(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / "state.json"
    store(path).save({"n": 1})
    KINDS[kind](path.with_name(path.name + suffix))
    kept = StateStore(path, schema_version=SCHEMA_VERSION, fs=Mounts())
    with capture_logs() as log:
        loaded = kept.load(dict[str, int])
    assert loaded is not None
    assert loaded.value == {"n": 1}
    assert kept.age(loaded) is (Age.OLD if suffix == ".ahead" else Age.UNKNOWN)
    assert [(line["event"], line["alert"]) for line in log] == [("state_damaged", True)]
    assert "stays there" in log[0]["fault"]
    assert path.with_name(path.name + suffix).exists()


@every_kind
def test_without_any_sound_state_nothing_is_moved(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.json"
    KINDS[kind](path)
    with pytest.raises(StateDamaged, match="is not a regular file"):
        store(path).load(dict[str, int])
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


@every_kind
def test_one_that_comes_while_the_service_runs_is_told_by_its_name_and_not_waited_on(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.json"
    kept = store(path)
    kept.save({"n": 1})
    kept.commit({"n": 2})
    kept.write_ahead.unlink()
    KINDS[kind](kept.write_ahead)
    with pytest.raises(StateUnwritable, match=r"not a regular file \(.*state\.json\.ahead\)"):
        kept.commit({"n": 3})
    kept.write_ahead.rename(tmp_path / "away")
    kept.commit({"n": 3})
    loaded = store(path).load(dict[str, int])
    assert loaded is not None
    assert loaded.value == {"n": 3}


@pytest.mark.parametrize("kind", ["folder", "pipe"])
@pytest.mark.parametrize("suffix", ["", ".1"])
def test_no_journal_and_no_list_of_trades_is_waited_on(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / "j.jsonl"
    KINDS[kind](path.with_name(path.name + suffix))
    if suffix:
        path.touch()
    before = descriptors()
    uses: list[Callable[[], object]] = [
        lambda: Journal(path),
        lambda: list(JournalReader(path, int)),
        lambda: TradeList(path),
        lambda: tail(path, Closed, 10),
    ]
    for use in uses[: 3 if suffix else 4]:
        with pytest.raises(JournalError, match="not a regular file"):
            use()
    with capture_logs() as log:
        TradeList(path, patient=True)
    assert [line["event"] for line in log] == ["trade_list_unusable"]
    assert descriptors() == before


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_journal_may_be_a_device_that_takes_lines_and_stays_where_it_is(tmp_path: Path, device: str) -> None:
    path = tmp_path / "j.jsonl"
    path.symlink_to(device)
    for _ in range(2):
        with Journal(path, file_size=10) as journal:
            assert [journal.append({"a": n}) for n in (1, 2)] == [1, 2]
    assert tail(path, Closed, 10) == []
    assert [each.name for each in tmp_path.iterdir()] == ["j.jsonl"]


def test_nothing_is_read_from_a_journal_that_keeps_nothing() -> None:
    assert list(JournalReader(Path("/dev/null"), int)) == []


def test_a_device_that_takes_no_line_is_told_of_each_time() -> None:
    with Journal(Path("/dev/full")) as journal:
        for _ in range(2):
            with pytest.raises(JournalUnwritable, match="No space left"):
                journal.append({"a": 1})


def test_a_journal_as_large_as_none_is_put_away_and_a_new_one_goes_on(tmp_path: Path) -> None:
    """A copy tool's sparse file of a terabyte was gone through for its last line."""
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.append({"a": 1})
    path.rename(tmp_path / "j.jsonl.1")
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert FILE_SIZE + LINE_MAX < 1 << 40
    with Journal(path) as journal:
        assert journal.append({"a": 2}) == 2
    assert [entry.n for entry in JournalReader(path, dict[str, int])] == [1, 2]
    assert len(list(tmp_path.glob("j.jsonl.damaged-*"))) == 1


@every_kind
@pytest.mark.parametrize("suffix", ["", ".new"])
def test_no_outbox_is_waited_on(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / "s.alerts"
    KINDS[kind](path.with_name(path.name + suffix))
    outbox = Outbox(path)
    outbox.append(Mark("a", "1"))
    outbox.rewrite([Mark("a", "1")])
    assert outbox.behind is bool(suffix)
    outbox.close()
    assert Outbox(path).records == [Mark("a", "1")]
    assert len(list(tmp_path.glob("s.alerts.damaged-*"))) == (not suffix)


def test_an_outbox_with_damage_is_kept_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "s.alerts"
    sound = Outbox(path)
    sound.append(Mark("a", "1"))
    sound.close()
    damaged = path.read_bytes() + b"an alert that a flipped bit has made\n"
    path.write_bytes(damaged)
    outbox = Outbox(path)
    outbox.rewrite(outbox.records)
    assert outbox.aside is not None
    assert outbox.aside.read_bytes() == damaged


def test_an_outbox_larger_than_any_fills_no_memory_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.alerts"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    outbox = Outbox(path)
    assert (outbox.records, outbox.damaged) == ([], 1)
    assert outbox.aside is not None
    assert outbox.aside.stat().st_size == 1 << 33
    outbox.append(Mark("a", "1"))
    outbox.close()
    assert path.stat().st_size < READ_MAX


@every_kind
def test_a_watchdog_of_hangs_begins_without_a_place_to_write_to(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "s.hang")
    (tmp_path / "s.hang.last").mkdir()
    (tmp_path / "s.hang.last" / "full").touch()
    SelfWatchdog(tmp_path / "s.hang").stop()


@every_kind
def test_a_probe_of_the_disk_waits_for_nothing(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / f".executor-probe-{os.getpid()}")
    assert probe(tmp_path)


@every_kind
def test_no_signal_is_written_to_what_is_no_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "signals.jsonl")
    with pytest.raises(SignalFileError, match="not a regular file"):
        append_line(tmp_path / "signals.jsonl", SIGNAL)


BESIDE: Final = (
    "state.json.prev",
    "state.json.ahead",
    "state.json.tmp",
    "state.json.signals",
    "state.json.rules",
    "state.json.alerts",
    "state.json.telegram",
    "state.json.hang",
    "state.trades.jsonl",
    "state.journal.jsonl",
    "state.journal.jsonl.1",
)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
async def test_an_open_trade_is_looked_after_whatever_stands_beside_its_state(tmp_path: Path, kind: str) -> None:
    async with harness(tmp_path, LONG) as b:
        await b.enter()
        await b.stop()
        for name in BESIDE:
            (tmp_path / name).unlink(missing_ok=True)
            KINDS[kind](tmp_path / name)
        async with asyncio.timeout(30):
            await b.start()
        assert b.roles() == EXITS["OCO"]
        before = descriptors()
        await b.wait(5)
        assert descriptors() <= before + 2
        b.touch(b.at(-1))
        await b.until(lambda: b.state.position is None)
