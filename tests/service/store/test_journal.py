"""The journal tells all that happened, in order, or says where it can't."""

import errno
import os
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from executor.service.store.journal import (
    Entry,
    Journal,
    JournalCorrupt,
    JournalError,
    JournalReader,
    JournalUnwritable,
)


class Note(msgspec.Struct, frozen=True):
    text: str
    amount: Decimal = Decimal("1E-8")


def notes(path: Path) -> list[str]:
    return [entry.record.text for entry in JournalReader(path, Note)]


def written(path: Path, *names: str, **options: Any) -> Path:
    with Journal(path, **options) as journal:
        for name in names:
            journal.append(Note(name))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_line_is_readable_numbered_and_checked(path: Path) -> None:
    written(path, "a", "b")
    first, second = path.read_text().splitlines()
    record = '{"text":"a","amount":"0.00000001"}'
    crc = zlib.crc32(f"1:{record}".encode())
    assert first == f'{{"n":1,"crc":"{crc:08x}","record":{record}}}'
    assert second.startswith('{"n":2,')
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(JournalReader(path, Note)) == [Entry(1, Note("a"), path, 1), Entry(2, Note("b"), path, 2)]


def test_numbers_go_on_after_a_restart(path: Path) -> None:
    written(path, "a", "b")
    with Journal(path) as journal:
        assert (journal.last, journal.repaired) == (2, "")
        assert journal.append(Note("c")) == 3
    assert notes(path) == ["a", "b", "c"]


def test_no_journal_is_empty(path: Path) -> None:
    assert notes(path) == []


class TestRotation:
    def test_old_files_are_numbered_and_read_in_order(self, path: Path) -> None:
        names = [f"note {number}" for number in range(40)]
        written(path, *names, file_size=300, files_kept=100)
        files = sorted(file.name for file in path.parent.iterdir())
        assert len(files) > 10
        assert "journal.jsonl.1" in files
        assert notes(path) == names
        assert all(file.stat().st_size <= 300 for file in path.parent.iterdir())

    def test_only_so_many_are_kept(self, path: Path) -> None:
        names = [f"note {number}" for number in range(40)]
        written(path, *names, file_size=300, files_kept=2)
        assert sorted(file.name for file in path.parent.iterdir()) == [
            f"journal.jsonl{end}" for end in ("", ".1", ".2")
        ]
        found = notes(path)
        assert 0 < len(found) < 40
        assert found == names[-len(found) :]

    def test_restart_right_after_a_rotation_goes_on(self, path: Path) -> None:
        written(path, "a", "b")
        path.rename(f"{path}.1")
        written(path, "c")
        assert notes(path) == ["a", "b", "c"]

    def test_a_rotation_that_a_crash_cut_short_is_finished(self, path: Path) -> None:
        names = [f"note {number}" for number in range(20)]
        written(path, *names, file_size=300, files_kept=50)
        Path(f"{path}.1").rename(f"{path}.99")
        for number in range(20, 0, -1):  # the crash came when all but the first step was done
            if Path(f"{path}.{number}").exists():
                Path(f"{path}.{number}").rename(f"{path}.{number + 100}")
        Path(f"{path}.99").rename(f"{path}.100")
        written(path, "later", "still", file_size=300, files_kept=50)
        assert notes(path) == [*names, "later", "still"]

    def test_a_record_larger_than_a_file_is_written_all_the_same(self, path: Path) -> None:
        written(path, "a", "x" * 1000, "b", file_size=300)
        assert notes(path) == ["a", "x" * 1000, "b"]

    def test_a_reader_at_work_is_not_disturbed(self, path: Path) -> None:
        with Journal(path, file_size=300) as journal:
            for number in range(4):
                journal.append(Note(f"{number}"))
            entries = iter(JournalReader(path, Note))
            assert next(entries).n == 1
            for number in range(20):
                journal.append(Note(f"later {number}"))
            assert [entry.n for entry in entries][:3] == [2, 3, 4]


class TestDamage:
    def test_every_cut_leaves_the_whole_lines_before_it(self, path: Path) -> None:
        whole = written(path, "a", "b", "c").read_bytes()
        ends = [0, *(index + 1 for index, byte in enumerate(whole) if byte == ord("\n"))]
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            reader = JournalReader(path, Note)
            complete = sum(end <= length for end in ends) - 1
            assert [entry.record.text for entry in reader] == ["a", "b", "c"][:complete]
            assert bool(reader.cut) == (length not in ends)
            lost_only_its_end = length + 1 in ends
            with Journal(path) as journal:
                assert bool(journal.repaired) == (length not in ends)
                assert journal.last == complete + lost_only_its_end
                journal.append(Note("next"))
            assert notes(path) == [*["a", "b", "c"][: complete + lost_only_its_end], "next"]

    def test_every_flipped_bit_is_found_with_its_line(self, path: Path) -> None:
        whole = written(path, "a", "b", "c").read_bytes()
        lines = whole.splitlines(keepends=True)
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            line = 1 + whole[: bit // 8].count(b"\n")
            reader = JournalReader(path, Note)
            if bit // 8 == len(whole) - 1:  # the last line's end
                assert len(list(reader)) == 2
                assert reader.cut
                continue
            with pytest.raises(JournalCorrupt) as caught:
                list(reader)
            assert caught.value.line == line
            assert caught.value.path == path
        assert len(lines) == 3

    def test_a_missing_line_is_noticed(self, path: Path) -> None:
        lines = written(path, "a", "b", "c").read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + lines[2])
        with pytest.raises(JournalCorrupt, match="line 2: record 3 where 2 should follow"):
            notes(path)

    def test_only_the_newest_file_may_end_in_a_cut_line(self, path: Path) -> None:
        written(path, *"abcdefgh", file_size=200)
        older = Path(f"{path}.1")
        older.write_bytes(older.read_bytes()[:-1])
        with pytest.raises(JournalCorrupt, match="the line does not end") as caught:
            notes(path)
        assert caught.value.path == older

    def test_a_missing_file_is_noticed(self, path: Path) -> None:
        written(path, *"abcdefghijklmnop", file_size=200, files_kept=50)
        Path(f"{path}.2").unlink()
        with pytest.raises(JournalCorrupt, match="should follow"):
            notes(path)

    def test_a_record_of_another_type(self, path: Path) -> None:
        with Journal(path) as journal:
            journal.append({"other": 1})
        with pytest.raises(JournalCorrupt, match="line 1: not a record: Object missing required field `text`"):
            notes(path)

    @pytest.mark.parametrize("tail", [b"garbage\n", b"\0" * 50 + b"\n", b'{"n":3,"crc":"00000000","record":{}}\n'])
    def test_a_damaged_end_does_not_keep_the_service_from_its_trade(self, path: Path, tail: bytes) -> None:
        written(path, "a", "b")
        with path.open("ab") as file:
            file.write(tail)
        with Journal(path) as journal:
            assert "ends with a damaged line" in journal.repaired
            assert journal.append(Note("c")) == 4
        with pytest.raises(JournalCorrupt, match="line 3"):
            notes(path)

    def test_zeros_after_a_power_cut_are_removed(self, path: Path) -> None:
        written(path, "a")
        with path.open("ab") as file:
            file.write(b"\0" * 5000)
        with capture_logs() as log, Journal(path) as journal:
            assert journal.repaired == "the last line was cut: 5000 bytes of an unfinished record were removed"
            journal.append(Note("b"))
        assert notes(path) == ["a", "b"]
        assert [(line["event"], line["path"], line["what"]) for line in log] == [
            ("journal_repaired", str(path), journal.repaired)
        ]

    def test_of_an_end_that_is_whole_nothing_is_said(self, path: Path) -> None:
        written(path, "a")
        with capture_logs() as log:
            written(path, "b")
        assert log == []

    @given(st.binary(max_size=300))
    def test_any_bytes_are_read_or_refused(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        path = tmp_path_factory.mktemp("any") / "journal.jsonl"
        path.write_bytes(data)
        reader = JournalReader(path, Note)
        if b"\n" in data:
            with pytest.raises(JournalCorrupt, match="line 1: not a journal line"):
                list(reader)
        else:
            assert list(reader) == []
            assert bool(reader.cut) == bool(data)
        with Journal(path) as journal:
            journal.append(Note("x"))
        assert path.read_bytes().endswith(b'"record":{"text":"x","amount":"0.00000001"}}\n')


class TestUnwritable:
    def test_a_full_disk_leaves_no_part_of_a_line(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = os.write
        with Journal(path) as journal:
            journal.append(Note("a"))
            with monkeypatch.context() as patched:
                patched.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:20]))
                with pytest.raises(JournalUnwritable, match=r"journal\.jsonl can't be written: No space left"):
                    journal.append(Note("b"))
            assert path.read_bytes().count(b"\n") == 1
            assert path.read_bytes().endswith(b"\n")
            assert journal.append(Note("c")) == 2
        assert notes(path) == ["a", "c"]

    def test_a_torn_line_that_could_not_be_removed_is_removed_later(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(descriptor: int, size: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        whole = os.write
        with Journal(path) as journal:
            journal.append(Note("a"))
            with monkeypatch.context() as patched:
                patched.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:20]))
                patched.setattr(os, "ftruncate", fail)
                with pytest.raises(JournalUnwritable, match="Input/output error"):
                    journal.append(Note("b"))
            journal.append(Note("c"))
        assert notes(path) == ["a", "c"]

    def test_a_rotation_that_fails_is_tried_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(source: Path, target: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with Journal(path, file_size=100) as journal:
            journal.append(Note("a"))
            with monkeypatch.context() as patched:
                patched.setattr(Path, "replace", fail)
                with pytest.raises(JournalUnwritable, match="Read-only file system"):
                    journal.append(Note("b"))
            journal.append(Note("c"))
        assert notes(path) == ["a", "c"]
        assert Path(f"{path}.1").exists()

    def test_a_folder_in_its_place(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(JournalUnwritable, match="not a regular file"):
            Journal(path)
        with pytest.raises(JournalError, match="can't be read"):
            notes(path)

    def test_a_disk_that_gives_nothing_back(self, path: Path) -> None:
        path.symlink_to("/proc/self/mem")  # its first page is never there: EIO
        with pytest.raises(JournalError, match="can't be read: Input/output error"):
            notes(path)

    def test_a_rotation_that_could_not_make_the_new_file_goes_on_later(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with Journal(path, file_size=100) as journal:
            journal.append(Note("a"))
            with monkeypatch.context() as patched:
                patched.setattr(os, "open", fail)
                with pytest.raises(JournalUnwritable, match="No space left"):
                    journal.append(Note("b"))
            assert not path.exists()
            journal.append(Note("c"))
        assert notes(path) == ["a", "c"]

    def test_an_end_that_can_not_be_mended(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int, size: int) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        path.write_bytes(b"cut")
        monkeypatch.setattr(os, "ftruncate", fail)
        with pytest.raises(JournalUnwritable, match="Read-only file system"):
            Journal(path)

    def test_what_could_not_be_synced_is_told_at_the_close(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        journal = Journal(path)
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(JournalUnwritable, match="Input/output error"):
            journal.close()

    def test_at_least_one_old_file_is_kept(self, path: Path) -> None:
        with pytest.raises(ValueError, match="files_kept is 0, must be at least 1"):
            Journal(path, files_kept=0)
