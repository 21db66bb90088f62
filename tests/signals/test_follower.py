"""The signal file is followed like a log: no line lost, none half, none twice while the follower lives."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import executor.signals.follower
from executor.files import RealFileSystem
from executor.signals.follower import LINES_PER_READ, QUIET_S, TOLD_AFTER_S, SignalFollower
from executor.signals.logfile import Line
from executor.signals.parse import LINE_MAX, Malformed, parse_signal, read_object
from executor.signals.position import BEGINNING, PositionFile, SignalFileError

BEFORE_THE_FILE = b'{"path":"x","position":{"inode":1,"offset":-5,"fingerprint":"x"}}'


LONG = 1 << 40


class Bench:
    """A signal file, its writer, and followers of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "signals.jsonl"
        self.memory = folder / "state.json.signals"
        self.followers: list[SignalFollower] = []

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def follow(self, start: Literal["end", "begin"] = "end") -> SignalFollower:
        follower = SignalFollower(self.path, start=start, memory=PositionFile(self.memory))
        self.followers.append(follower)
        return follower

    def rotate(self, number: int = 1) -> None:
        """As logrotate does by renaming: `.1` becomes `.2` and so on."""
        target = self.path.with_name(f"{self.path.name}.{number}")
        if target.exists():
            self.rotate(number + 1)
        source = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
        source.rename(target)

    def copy_and_truncate(self) -> None:
        content = self.path.read_bytes()
        self.rotate()
        copy = self.path.with_name(f"{self.path.name}.1")
        copy.rename(self.path)
        copy.write_bytes(content)
        os.truncate(self.path, 0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for follower in bench.followers:
        follower.close()


def texts(lines: list[Line]) -> list[bytes]:
    return [line.data for line in lines]


class TestGrowth:
    def test_from_the_end_only_new_lines(self, bench: Bench) -> None:
        bench.write(b"old\n")
        follower = bench.follow()
        assert follower.read() == []
        bench.write(b"a\nb\n")
        assert texts(follower.read()) == [b"a", b"b"]
        assert follower.read() == []

    def test_from_the_beginning(self, bench: Bench) -> None:
        bench.write(b"a\nb\n")
        assert texts(bench.follow("begin").read()) == [b"a", b"b"]

    def test_a_half_written_line_is_delivered_once_and_whole(self, bench: Bench) -> None:
        follower = bench.follow()
        for piece in (b"a", b"b", b"", b"c"):
            bench.write(piece)
            assert follower.read() == []
        bench.write(b"\nnext")
        assert texts(follower.read()) == [b"abc"]

    def test_a_line_half_written_at_the_start_is_new_once_it_ends(self, bench: Bench) -> None:
        bench.write(b"old\nhal")
        follower = bench.follow()
        assert follower.read() == []
        bench.write(b"f\n")
        assert texts(follower.read()) == [b"half"]

    def test_a_file_that_appears_later_is_read_from_its_beginning(self, bench: Bench) -> None:
        follower = bench.follow()
        assert follower.read() == []
        bench.write(b"a\n")
        assert texts(follower.read()) == [b"a"]

    def test_blank_lines_are_passed_over(self, bench: Bench) -> None:
        bench.write(b"\n \r\na\n\n\nb\n\n")
        follower = bench.follow("begin")
        assert texts(follower.read()) == [b"a", b"b"]
        assert follower.read() == []

    def test_one_read_is_bounded_and_the_next_goes_on(self, bench: Bench) -> None:
        expected = [b"%d" % n for n in range(3 * LINES_PER_READ + 7)]
        bench.write(b"\n".join(expected) + b"\n")
        follower = bench.follow("begin")
        reads = [texts(follower.read()) for _ in range(5)]
        assert [len(found) for found in reads] == [LINES_PER_READ] * 3 + [7, 0]
        assert [line for found in reads for line in found] == expected

    @pytest.mark.parametrize("size", [LINE_MAX + 1, 1024 * 1024, 3 * 1024 * 1024 + 17])
    def test_a_huge_line_is_seen_once_and_refused_and_the_next_is_read(self, bench: Bench, size: int) -> None:
        bench.write(b"a\n")
        follower = bench.follow("begin")
        found = follower.read()
        for piece in (b"x" * (size // 2), b"x" * (size - size // 2), b"\nb\n"):
            bench.write(piece)
            found += follower.read()
        assert [line.data[:1] for line in found] == [b"a", b"x", b"b"]
        assert len(found[1].data) == LINE_MAX + 1
        assert isinstance(parse_signal(found[1].data), Malformed)

    def test_a_huge_line_half_written_at_the_start(self, bench: Bench) -> None:
        bench.write(b"old\n" + b"x" * (2 * 1024 * 1024))
        follower = bench.follow()
        bench.write(b"\nb\n")
        assert [line.data[:1] for line in follower.read()] == [b"x", b"b"]

    @pytest.mark.parametrize("start", ["begin", "end"])
    def test_a_file_as_long_as_a_disk_that_holds_nothing_is_passed_at_once(
        self, bench: Bench, start: Literal["begin", "end"]
    ) -> None:
        """A start read all of it for a line's end: minutes for each ten gigabytes."""
        bench.path.touch()
        os.truncate(bench.path, LONG)
        follower = bench.follow(start)
        passed = [line for _ in range(5) for line in follower.read()]
        assert [len(line.data) for line in passed] == [LINE_MAX + 1]
        bench.write(b"\nnext\n")
        assert [line.data for _ in range(5) for line in follower.read()] == [b"next"]
        assert follower.unended == 0

    @pytest.mark.parametrize("written", [1, 300, LINE_MAX + 1, 5_000, (3 << 20) + 7])
    @pytest.mark.parametrize("end", [b"\n", b""])
    def test_a_writer_that_keeps_its_place_in_a_file_that_was_cut_is_heard(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, written: int, end: bytes
    ) -> None:
        """As a program whose output a shell has sent there by `>`: zeros stand before what it writes next."""
        now = [0.0]
        bench.path.write_bytes(b"x" * (written - 1) + b"\n")
        follower = SignalFollower(bench.path, start="end", memory=PositionFile(bench.memory), monotonic=lambda: now[0])
        bench.followers.append(follower)
        with bench.path.open("r+b", buffering=0) as writer:
            writer.seek(0, os.SEEK_END)
            os.truncate(bench.path, 0)
            follower.read()
            writer.write(b'{"a":1}' + end)
            found: list[Line] = []
            for _ in range(8):
                found += follower.read()
                now[0] += QUIET_S
            writer.write(b'\n{"a":2}\n')
            for _ in range(3):
                found += follower.read()
        assert [text for text in texts(found) if text.strip(b"\0")] == [b'{"a":1}', b'{"a":2}']
        assert follower.unended == 0

    def test_zeros_within_a_line_are_of_it(self, bench: Bench) -> None:
        bench.write('{"a":1}\n'.encode("utf-16-le") + b'{"a":2}\n')
        assert texts(bench.follow("begin").read()) == ['{"a":1}'.encode("utf-16-le"), b'{"a":2}']

    def test_one_read_of_a_line_without_an_end_is_bounded(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(executor.signals.follower, "CHUNKS_PER_READ", 2)
        follower = bench.follow("begin")
        bench.write(b"x" * (5 << 20) + b"\nnext\n")
        found = [[len(line.data) for line in follower.read()] for _ in range(5)]
        assert found[0] == [LINE_MAX + 1]
        assert found.index([4]) >= 2
        assert [length for each in found for length in each] == [LINE_MAX + 1, 4]

    def test_the_longest_line_allowed_is_whole(self, bench: Bench) -> None:
        bench.write(b"x" * LINE_MAX + b"\n")
        assert texts(bench.follow("begin").read()) == [b"x" * LINE_MAX]

    def test_any_bytes_are_lines(self, bench: Bench) -> None:
        bench.write(b"\xff\xfe\0\n" + bytes(range(14, 256)) + b"\n")
        assert texts(bench.follow("begin").read()) == [b"\xff\xfe\0", bytes(range(14, 256))]


class TestRotation:
    def test_the_rest_of_the_old_file_comes_first(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\n")
        assert texts(follower.read()) == [b"a"]
        bench.write(b"b\n")
        bench.rotate()
        bench.write(b"c\n")
        assert texts(follower.read()) == [b"b", b"c"]

    def test_several_between_two_reads(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\n")
        follower.read()
        for letter in (b"b", b"c", b"d"):
            bench.write(letter + b"\n")
            bench.rotate()
        bench.write(b"e\n")
        assert texts(follower.read()) == [b"b", b"c", b"d", b"e"]

    def test_a_line_finished_in_the_old_file_after_its_rotation(self, bench: Bench) -> None:
        bench.write(b"")
        follower = bench.follow()
        with bench.path.open("ab", buffering=0) as writer:
            writer.write(b"hal")
            bench.rotate()
            assert follower.read() == []
            bench.path.touch()
            assert follower.read() == []
            writer.write(b"f\n")
        bench.write(b"next\n")
        assert texts(follower.read()) == [b"half", b"next"]

    def test_a_line_that_nobody_will_finish_is_not_swallowed(self, bench: Bench) -> None:
        bench.write(b"")
        follower = bench.follow()
        bench.write(b"a\nhal")
        bench.rotate()
        bench.write(b"b\n")
        assert texts(follower.read()) == [b"a", b"hal", b"b"]

    def test_the_file_removed_and_made_anew(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\n")
        follower.read()
        bench.path.unlink()
        assert follower.read() == []
        bench.write(b"b\n")
        assert texts(follower.read()) == [b"b"]

    def test_truncated(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a long line\n")
        follower.read()
        os.truncate(bench.path, 0)
        assert follower.read() == []
        bench.write(b"b\n")
        assert texts(follower.read()) == [b"b"]

    def test_truncated_and_grown_past_the_old_place(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\n")
        follower.read()
        os.truncate(bench.path, 0)
        bench.write(b"another line\nand one more\n")
        assert texts(follower.read()) == [b"another line", b"and one more"]

    def test_the_rest_that_only_the_copy_holds(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\n")
        follower.read()
        bench.write(b"b\n")
        bench.copy_and_truncate()
        bench.write(b"c\n")
        assert texts(follower.read()) == [b"b", b"c"]

    def test_an_edited_copy_in_its_place_goes_on_where_it_was(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\nb\n")
        follower.read()
        copy = bench.path.with_name("copy")
        copy.write_bytes(bench.path.read_bytes() + b"c\n")
        copy.replace(bench.path)
        assert texts(follower.read()) == [b"c"]

    def test_a_new_file_that_only_ends_as_the_old_one_did_is_read(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a" + b"x" * 3000 + b"\n")
        assert len(follower.read()) == 1
        bench.rotate()
        bench.write(b"b" + b"x" * 3000 + b"\n")
        assert [line.data[:2] for line in follower.read()] == [b"bx"]


class TestRestart:
    def test_goes_on_after_the_last_committed_line(self, bench: Bench) -> None:
        first = bench.follow()
        bench.write(b"a\nb\nc\n")
        lines = first.read()
        first.commit(lines[1].position)
        assert texts(bench.follow().read()) == [b"c"]

    def test_what_was_written_before_any_commit_is_not_skipped(self, bench: Bench) -> None:
        bench.write(b"old\n")
        bench.follow().close()
        bench.write(b"a\n")
        assert texts(bench.follow().read()) == [b"a"]

    def test_a_file_that_appeared_while_down_is_read_from_its_beginning(self, bench: Bench) -> None:
        bench.follow().close()
        bench.write(b"a\n")
        assert texts(bench.follow().read()) == [b"a"]

    def test_rotated_while_down(self, bench: Bench) -> None:
        first = bench.follow()
        bench.write(b"a\nb\n")
        first.commit(first.read()[0].position)
        first.close()
        bench.rotate()
        bench.write(b"c\n")
        bench.rotate()
        bench.write(b"d\n")
        assert texts(bench.follow().read()) == [b"b", b"c", b"d"]

    def test_copied_and_truncated_while_down(self, bench: Bench) -> None:
        first = bench.follow()
        bench.write(b"a\nb\n")
        first.commit(first.read()[0].position)
        bench.copy_and_truncate()
        bench.write(b"c\n")
        assert texts(bench.follow().read()) == [b"b", b"c"]

    def test_replaced_while_down_with_nothing_left_of_the_old(self, bench: Bench) -> None:
        first = bench.follow()
        bench.write(b"a\n")
        first.commit(first.read()[0].position)
        bench.path.write_bytes(b"other\n")
        assert texts(bench.follow().read()) == [b"other"]

    @pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"path":"x"}', b"[" * 5000, BEFORE_THE_FILE])
    def test_a_damaged_position_reads_again_rather_than_skips(self, bench: Bench, damage: bytes) -> None:
        bench.write(b"a\n")
        bench.follow().close()
        bench.memory.write_bytes(damage)
        assert texts(bench.follow().read()) == [b"a"]

    def test_a_position_in_another_file_does_not_count(self, bench: Bench) -> None:
        bench.write(b"a\n")
        PositionFile(bench.memory).save(Path("/elsewhere"), BEGINNING)
        assert bench.follow().read() == []

    def test_a_file_waited_for_and_rotated_before_any_commit(self, bench: Bench) -> None:
        first = bench.follow()
        bench.write(b"a\n")
        first.read()
        first.close()
        bench.rotate()
        bench.write(b"b\n")
        assert texts(bench.follow().read()) == [b"a", b"b"]

    def test_the_folder_gone_while_down_is_waited_for(self, bench: Bench) -> None:
        bench.path = bench.path.parent / "folder" / "signals.jsonl"
        bench.path.parent.mkdir()
        bench.write(b"old\n")
        bench.follow().close()
        bench.path.unlink()
        bench.path.parent.rmdir()
        follower = bench.follow()
        assert follower.read() == []
        bench.path.parent.mkdir()
        bench.write(b"a\n")
        assert texts(follower.read()) == [b"a"]

    def test_a_folder_and_a_pipe_beside_the_file_are_not_taken_for_it(self, bench: Bench) -> None:
        bench.follow().close()
        bench.path.with_name("signals.jsonl.1").mkdir()
        os.mkfifo(bench.path.with_name("signals.jsonl.2"))
        bench.write(b"a\n")
        assert texts(bench.follow().read()) == [b"a"]

    def test_a_position_committed_twice_is_written_once(self, bench: Bench) -> None:
        follower = bench.follow()
        bench.write(b"a\n")
        position = follower.read()[0].position
        follower.commit(position)
        written = bench.memory.stat().st_ino
        follower.commit(position)
        assert bench.memory.stat().st_ino == written

    def test_the_position_file_is_private(self, bench: Bench) -> None:
        bench.follow()
        assert bench.memory.stat().st_mode & 0o777 == 0o600


class TestUnusable:
    def test_a_folder_in_the_place_of_the_file(self, bench: Bench) -> None:
        bench.path.mkdir()
        with pytest.raises(SignalFileError, match=r"signals\.jsonl can't be used: not a regular file"):
            bench.follow()

    def test_a_pipe_is_refused_not_waited_on(self, bench: Bench) -> None:
        follower = bench.follow()
        os.mkfifo(bench.path)
        with pytest.raises(SignalFileError, match="not a regular file"):
            follower.read()
        bench.path.unlink()
        bench.write(b"a\n")
        assert texts(follower.read()) == [b"a"]

    def test_a_position_that_can_not_be_kept(self, bench: Bench) -> None:
        class FullDisk(RealFileSystem):
            def write_synced(self, path: Path, data: bytes) -> None:
                raise OSError(28, "No space left on device")

        with pytest.raises(SignalFileError, match=r"state\.json\.signals can't be used: No space left"):
            SignalFollower(bench.path, start="end", memory=PositionFile(bench.memory, fs=FullDisk()))

    def test_a_position_file_that_can_not_be_read(self, bench: Bench) -> None:
        bench.memory.mkdir()
        with pytest.raises(SignalFileError, match="not a regular file"):
            bench.follow()


class Following(RuleBasedStateMachine):
    """Any chunking, rotation, truncation at line ends, and restart: every line, in order.

    Exactly once while one follower lives; after a restart, again at most from the last committed line on.
    """

    @initialize(start=st.sampled_from(["begin", "end"]))
    def set_up(self, start: Literal["begin", "end"]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        self.follower = self.bench.follow(start)
        self.writer = self.bench.path.open("ab", buffering=0)
        self.follower.read()  # a file that came and went between two reads leaves no trace
        self.written: list[bytes] = []
        self.pending = b""  # of the line being written
        self.next = 0  # which line must be delivered next
        self.committed = 0

    @rule(length=st.sampled_from([1, 5, 100, 2000, 70_000]), pieces=st.integers(1, 3))
    def write_lines(self, length: int, pieces: int) -> None:
        for _ in range(pieces):
            self.begin_line(length)
            self.finish_line()

    @rule(length=st.sampled_from([1, 5, 100, 2000]))
    def begin_line(self, length: int) -> None:
        self.finish_line()
        self.pending = b"%d:%s" % (len(self.written), b"x" * length)
        self.writer.write(self.pending[: len(self.pending) // 2])

    @rule()
    def finish_line(self) -> None:
        if self.pending:
            self.writer.write(self.pending[len(self.pending) // 2 :] + b"\n")
            self.written.append(self.pending[: LINE_MAX + 1])
            self.pending = b""

    @rule()
    def rename_and_let_the_writer_finish_its_line(self) -> None:
        self.bench.rotate()
        self.read()
        self.finish_line()
        self.writer.close()
        self.writer = self.bench.path.open("ab", buffering=0)

    @precondition(lambda self: not self.pending and self.bench.path.stat().st_size)
    @rule()
    def copy_and_truncate(self) -> None:
        self.read()  # a file of which nothing was taken yet can't be told from others, once it was copied
        if not self.committed:
            self.commit()
        self.write_lines(5, 1)
        self.bench.copy_and_truncate()

    @rule()
    def read(self) -> None:
        while lines := self.follower.read():
            for line in lines:
                assert line.data == self.written[self.next]
                self.next += 1
                self.last = line.position

    @precondition(lambda self: self.next > self.committed)
    @rule()
    def commit(self) -> None:
        self.follower.commit(self.last)
        self.committed = self.next

    @rule()
    def restart(self) -> None:
        self.follower.close()
        self.follower = self.bench.follow("end")
        self.next = self.committed

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.finish_line()
            self.read()
            assert self.next == len(self.written)
        finally:
            self.writer.close()
            self.follower.close()
            self.folder.cleanup()


Following.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestFollowing = Following.TestCase


class TestLineEnds:
    """A whole signal is a signal, whatever stands behind it."""

    WHOLE = b'{"id":"a","x":[1,{"y":"}"}]}'

    def follow(self, bench: Bench) -> tuple[SignalFollower, list[float]]:
        now = [0.0]
        follower = SignalFollower(
            bench.path, start="begin", memory=PositionFile(bench.memory), monotonic=lambda: now[0]
        )
        bench.followers.append(follower)
        return follower, now

    def test_without_any_it_is_delivered_once_nothing_more_has_come_for_a_moment(self, bench: Bench) -> None:
        follower, now = self.follow(bench)
        bench.write(self.WHOLE[:-1])
        assert follower.read() == []
        now[0] += QUIET_S
        assert follower.read() == []
        bench.write(self.WHOLE[-1:])
        assert follower.read() == []
        now[0] += QUIET_S / 2
        assert follower.read() == []
        now[0] += QUIET_S / 2
        assert texts(follower.read()) == [self.WHOLE]
        assert follower.read() == []
        bench.write(b"\n" + self.WHOLE + b"\n")
        assert texts(follower.read()) == [self.WHOLE]

    def test_it_is_not_delivered_again_after_a_restart(self, bench: Bench) -> None:
        follower, now = self.follow(bench)
        bench.write(self.WHOLE)
        follower.read()
        now[0] += QUIET_S
        (line,) = follower.read()
        follower.commit(line.position)
        again, now = self.follow(bench)
        for _ in range(3):
            assert again.read() == []
            now[0] += TOLD_AFTER_S
        bench.write(b"\nb\n")
        assert texts(again.read()) == [b"b"]

    def test_one_that_begins_each_line(self, bench: Bench) -> None:
        follower, now = self.follow(bench)
        for _ in range(3):
            bench.write(b"\n" + self.WHOLE)
            follower.read()
            now[0] += QUIET_S
            assert texts(follower.read()) == [self.WHOLE]

    @pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n"])
    def test_those_of_every_system(self, bench: Bench, end: bytes) -> None:
        follower, _ = self.follow(bench)
        bench.write(self.WHOLE + end + b"b" + end)
        assert texts(follower.read()) == [self.WHOLE, b"b"]
        bench.write(b"c" + end[:1])
        assert texts(follower.read()) == [b"c"]
        bench.write(end[1:] + b"d" + end)
        assert texts(follower.read()) == [b"d"]

    @pytest.mark.parametrize("rest", [b"half", b'{"a":1', b'{"a":1}{"b":2}', b"\xff", b"[1]"])
    def test_what_is_no_signal_waits_and_is_told_of(self, bench: Bench, rest: bytes) -> None:
        follower, now = self.follow(bench)
        bench.write(rest)
        for _ in range(3):
            assert follower.read() == []
            now[0] += TOLD_AFTER_S / 2
        assert follower.unended == len(rest)
        bench.write(b"\n")
        assert texts(follower.read()) == [rest]
        follower.read()
        assert follower.unended == 0

    def test_what_is_no_signal_is_looked_at_once_for_as_long_as_it_stays_the_same(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It stays there for days, and the file is looked at twenty times a second."""
        judged: list[bytes] = []

        def read(data: bytes) -> Mapping[str, Any]:
            judged.append(data)
            return read_object(data)

        monkeypatch.setattr(executor.signals.follower, "read_object", read)
        follower, now = self.follow(bench)
        bench.write(b'{"a":1')
        for _ in range(50):
            assert follower.read() == []
            now[0] += QUIET_S
        assert judged == [b'{"a":1']
        assert follower.unended == len(b'{"a":1')
        bench.write(b"}")
        follower.read()
        now[0] += QUIET_S
        assert texts(follower.read()) == [b'{"a":1}']
        assert judged[1:] == [b'{"a":1}']
