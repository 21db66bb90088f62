"""What observes never holds up what trades (rule 8.9): a log that can't be written costs lines, and no time."""

import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from executor.ops import log_writer
from executor.ops.log_writer import LogWriter


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "RETRY_S", 0.02)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for each in (reader, writer):
        try:
            os.close(each)
        except OSError:
            continue


def lost(count: int) -> str:
    return f"lost {count}\n"


def read_until(reader: int, enough: Callable[[bytes], bool]) -> bytes:
    data = b""
    while not enough(data):
        assert select.select((reader,), (), (), 20)[0], f"nothing more comes after {len(data)} bytes"
        data += os.read(reader, 1 << 20)
    return data


def test_lines_are_written_in_order_and_a_part_of_one_waits_for_its_end(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    stream = LogWriter(descriptor, lost)
    stream.write("one\ntw")
    stream.write("o\nthree")
    stream.flush()
    stream.finish()
    assert os.read(reader, 100) == b"one\ntwo\nthree"
    assert stream.lost == 0


def test_a_reader_that_stands_still_holds_nobody_up_and_what_was_lost_is_told_in_its_place(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "LINES_MAX", 50)
    reader, descriptor = pipe
    stream = LogWriter(descriptor, lost)
    line = "x" * 8_191 + "\n"
    for _ in range(500):
        stream.write(line)  # the pipe holds 64 KiB: without the thread this would never return
    given_up = stream.lost
    assert given_up > 300

    def all_told(data: bytes) -> bool:
        """Where the thread came to write in between, the loss is told in parts."""
        told = [int(each.split()[1]) for each in data.split(b"\n")[:-1] if each.startswith(b"lost ")]
        return sum(told) == given_up and data.count(line.encode()) == 500 - given_up

    read_until(reader, all_told)
    stream.write("after\n")
    assert read_until(reader, lambda data: data.endswith(b"after\n")) == b"after\n"


def test_a_reader_that_is_gone_costs_lines_and_its_successor_is_told(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    stream = LogWriter(descriptor, lost)
    os.close(reader)
    for number in range(10):
        stream.write(f"{number}\n")
    stream.finish(1)
    assert stream.lost == 10
    again, successor = os.pipe()
    os.dup2(successor, descriptor)
    stream.write("back\n")
    stream.finish(1)
    assert b"lost 10\n" in read_until(again, lambda data: b"back\n" in data)
    os.close(again)
    os.close(successor)


def test_a_descriptor_that_does_not_wait_is_waited_for_in_the_thread(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK)
    stream = LogWriter(descriptor, lost)
    lines = [f"{number:08d}" * 500 + "\n" for number in range(40)]
    for line in lines:
        stream.write(line)
    assert read_until(reader, lambda data: data.count(b"\n") == 40).decode() == "".join(lines)
    assert stream.lost == 0


def test_lines_of_several_threads_stay_whole(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    stream = LogWriter(descriptor, lost)
    threads = [
        threading.Thread(target=lambda n=n: [stream.write(f"{n}" * 50 + "\n") for _ in range(50)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    data = read_until(reader, lambda data: data.count(b"\n") == 200)
    assert set(data.decode().splitlines()) == {f"{n}" * 50 for n in range(4)}


PROGRAM = """
import sys, time, warnings, structlog, typer
from executor.config import LogFormat, LogLevel
from executor.ops import logs
logs.take_over_stderr(LogFormat.JSON)
logs.set_up(LogFormat.JSON, LogLevel.INFO)
log = structlog.get_logger()
began = time.monotonic()
for n in range(int(sys.argv[1])):
    log.info("said", n=n, text="x" * 2000)
warnings.warn("and this", stacklevel=1)
typer.echo("and that", err=True)
assert time.monotonic() - began < 20
raise SystemExit(int(sys.argv[2]))
"""


def run(count: int, code: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(count), str(code)], stderr=stderr)


@pytest.mark.parametrize("code", [0, 1, 78])
def test_the_exit_code_is_right_whoever_has_gone(code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert run(20, code, writer).wait(60) == code
    os.close(writer)
    with Path("/dev/full").open("wb") as full:
        assert run(20, code, full.fileno()).wait(60) == code


def test_a_process_ends_though_nobody_reads_what_it_says() -> None:
    reader, writer = os.pipe()
    began = time.monotonic()
    assert run(3_000, 0, writer).wait(60) == 0
    assert time.monotonic() - began < 50
    os.close(writer)
    os.close(reader)


def test_what_is_said_in_any_way_arrives() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, "3", "0"], stderr=subprocess.PIPE, check=True, text=True, timeout=60
    )
    lines = process.stderr.splitlines()
    assert [json.loads(line)["n"] for line in lines[:3]] == [0, 1, 2]
    assert "UserWarning: and this" in process.stderr
    assert lines[-1] == "and that"


def test_a_process_without_standard_descriptors_writes_into_no_file_of_its_own() -> None:
    script = f'exec 2>&- ; exec {sys.executable} -c "$0" 3 0'
    assert subprocess.run(["/bin/sh", "-c", script, PROGRAM], check=False, timeout=60).returncode == 0
