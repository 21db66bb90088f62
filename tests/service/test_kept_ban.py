"""A ban outlives the service: whatever starts it anew meanwhile does not have it ask again."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.exchange.stub import KEY, SECRET, START_MS, ManualClock, Stub, error, running_stub

from executor.exchange.transport.budget import Budget
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.wire.answer import Answer
from executor.exchange.wire.outcomes import Fault
from executor.service.kept_ban import BELIEVED_MS, KeptBan

URL = "https://exchange.test"
BANNED = error(418, -1003, "Way too much request weight used; IP banned.", headers={"Retry-After": "1800"})


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with running_stub() as stub:
        yield stub


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def kept(folder: Path, clock: ManualClock, url: str = URL) -> KeptBan:
    return KeptBan(folder / "state.json.ban", url, clock)


def left(ban: KeptBan) -> float:
    told = ban.holds()
    return told.wait_s if told is not None else 0.0


# --- processes that are killed and begun anew -------------------------------------------------------------------------


@asynccontextmanager
async def service(folder: Path, stub: Stub) -> AsyncIterator[asyncio.subprocess.Process]:
    """`executor run`, killed at the end."""
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": stub.endpoints.rest_url,
        "BINANCE_WS_API_URL": stub.endpoints.ws_api_url,
        "BINANCE_STREAM_URL": stub.endpoints.stream_url,
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": SECRET,
        "SYMBOL": "BTCUSDT",
        "QTY": "1",
        "STATE_FN": str(folder / "state.json"),
        "SIGNAL_FILE": str(folder / "signals.jsonl"),
        "HTTP_PORT": "0",
        "LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "executor", "run"),
        cwd=folder,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def says(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while line := await process.stdout.readline():
            if f'"{event}"' in line.decode():
                found: dict[str, Any] = json.loads(line)
                return found
    raise AssertionError(f"it ended without {event}")


async def test_a_service_that_is_killed_and_begun_anew_asks_once(stub: Stub, tmp_path: Path) -> None:
    stub.script("GET ping", BANNED, BANNED)
    async with service(tmp_path, stub) as process:
        assert (await says(process, "start_waits"))["seconds"] > BELIEVED_MS / 1000
    async with service(tmp_path, stub) as process:
        waits = await says(process, "start_waits")
    assert stub.count("GET ping") == len(stub.seen) == 1
    assert 0 < waits["seconds"] <= BELIEVED_MS / 1000
    assert "state.json.ban" in waits["text"]
    (tmp_path / "state.json.ban").unlink()
    async with service(tmp_path, stub) as process:
        assert (await says(process, "start_waits"))["seconds"] > BELIEVED_MS / 1000
    assert stub.count("GET ping") == 2


# --- what is kept -----------------------------------------------------------------------------------------------------


async def test_what_a_running_service_is_told_is_kept(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ban and a limit with an end, each as it is told; what is no later than that is nothing new."""
    budget, ban, written = Budget(ExchangeClock(clock)), kept(tmp_path, clock), asyncio.Event()
    keep = ban.keep

    async def kept_now(left_ms: int) -> None:
        await keep(left_ms)
        written.set()

    monkeypatch.setattr(ban, "keep", kept_now)
    following = asyncio.create_task(ban.follow(budget))
    for status, seconds in ((429, 100), (418, 300)):
        written.clear()
        budget.heed(Answer(status, {"Retry-After": str(seconds)}, b""), Fault(-1003, "Too much."))
        await written.wait()
        assert left(kept(tmp_path, clock)) == seconds
    budget.heed(Answer(418, {"Retry-After": "200"}, b""), Fault(-1003, "Too much."))
    assert not budget.told.is_set()
    following.cancel()


async def test_it_is_written_once_and_anew_when_more_is_told(tmp_path: Path, clock: ManualClock) -> None:
    ban = kept(tmp_path, clock)
    await ban.keep(300_000)
    clock.at += 100_000
    (tmp_path / "state.json.ban").unlink()
    await ban.keep(200_000)
    assert not left(ban)
    await ban.keep(400_000)
    assert left(ban) == 400
    clock.at += 400_000
    assert not left(ban)
    assert not (tmp_path / "state.json.ban").exists()


async def test_it_is_believed_for_minutes_and_of_the_same_exchange_alone(tmp_path: Path, clock: ManualClock) -> None:
    """The machine may have another address by now, and clocks are set."""
    await kept(tmp_path, clock).keep(3 * 86_400_000)
    assert left(kept(tmp_path, clock)) == BELIEVED_MS / 1000
    content = (tmp_path / "state.json.ban").read_bytes()
    for url, at in ((URL, START_MS + BELIEVED_MS), (URL, START_MS - 1), ("https://another.test", START_MS)):
        (tmp_path / "state.json.ban").write_bytes(content)
        clock.at = at
        assert not left(kept(tmp_path, clock, url))
        assert not (tmp_path / "state.json.ban").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff\xfe",
        b"[" * 2_000,
        b"{" * 100_000,
        b"null",
        b'{"exchange":"https://exchange.test","told_at":1e999,"until":NaN}',
        b'{"exchange":"https://exchange.test","told_at":"now","until":1}',
        b'{"exchange":"\xff","told_at":1,"until":1}',
        b'{"exchange":"https://exchange.test","told_at":1,"until":' + b"9" * 3_000 + b"}",
        b'{"exchange":"https://exchange.test","told_at":-' + b"9" * 3_000 + b',"until":' + b"9" * 900 + b"}",
    ],
    ids=lambda content: content[:12].hex(),
)
def test_what_stands_in_its_place_ends_no_start(tmp_path: Path, clock: ManualClock, content: bytes) -> None:
    (tmp_path / "state.json.ban").write_bytes(content)
    assert not left(kept(tmp_path, clock))
    assert not (tmp_path / "state.json.ban").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
async def test_nor_does_a_place_that_holds_no_file(
    tmp_path: Path, clock: ManualClock, make: Callable[[Path], object]
) -> None:
    ban = kept(tmp_path, clock)
    make(tmp_path / "state.json.ban")
    assert not left(ban)
    (tmp_path / "gone").mkdir()
    elsewhere = kept(tmp_path / "gone", clock)
    (tmp_path / "gone").rmdir()
    with capture_logs() as log:
        await elsewhere.keep(300_000)
    assert [line["event"] for line in log] == ["ban_not_kept"]
