"""A start that the exchange has banned, or asked to wait, waits it out: one that ended would be begun anew, and ask
again, every few seconds.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from tests.exchange.stub import KEY, SECRET, ManualClock, Stub, error, running_stub

from executor.config import Settings, load_settings
from executor.exchange.binance import connect
from executor.exchange.port import BannedError
from executor.exchange.transport.auth import Credentials
from executor.service.account import AccountRun, wait_out
from executor.service.app import reach
from executor.service.market import Market

GOOD: Final = Credentials.hmac(KEY, SECRET)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with running_stub() as stub:
        yield stub


def settings_of(folder: Path, url: str = "http://127.0.0.1:1") -> Settings:
    names = ("BINANCE_REST_URL", "BINANCE_WS_API_URL", "BINANCE_STREAM_URL")
    return load_settings(
        {
            "BINANCE_ENV": "custom",
            **dict(zip(names, (url, "ws://127.0.0.1:1", "ws://127.0.0.1:1"), strict=True)),
            "BINANCE_API_KEY": "key",
            "BINANCE_API_SECRET": "secret",
            "SYMBOL": "BTCUSDT",
            "QTY": "1",
            "STATE_FN": str(folder / "state.json"),
            "SIGNAL_FILE": str(folder / "signals.jsonl"),
        },
        None,
    )


@pytest.mark.parametrize(
    ("status", "retry_after", "least"), [(418, "1800", 1800), (418, None, 120), (429, "240", 240)], ids=str
)
async def test_the_exchange_is_asked_once_and_again_when_the_ban_is_over(
    stub: Stub, tmp_path: Path, status: int, retry_after: str | None, least: int
) -> None:
    clock = ManualClock()
    told = {} if retry_after is None else {"Retry-After": retry_after}
    stub.script("GET ping", *[error(status, -1003, "Too much request weight used.", headers=told)] * 2)
    market = Market("custom", stub.endpoints, GOOD, ("BTCUSDT",), clock, clock)
    began = clock.at
    with structlog.testing.capture_logs() as log:
        exchanges = await reach(settings_of(tmp_path), market)
    await exchanges["BTCUSDT"].close()
    waits = [line for line in log if line["event"] == "start_waits"]
    assert [line["alert"] for line in waits] == [True, True]
    assert "wants to be left alone" in waits[0]["text"]
    assert clock.at - began >= 2 * least * 1000
    assert stub.count("GET ping") == 2 + 5


async def test_a_command_is_told_of_it_instead(stub: Stub, clock: ManualClock) -> None:
    stub.script("GET ping", error(418, -1003, "Way too much.", headers={"Retry-After": "1800"}))
    with pytest.raises(BannedError, match=r"wants to be left alone: .* rate limit holds until"):
        await connect(stub.endpoints, GOOD, "BTCUSDT", clock)
    assert len(stub.seen) == 1


async def test_the_supervisor_hears_that_it_takes_longer(clock: ManualClock) -> None:
    wanted: list[float] = []
    began = clock.at
    await wait_out(BannedError("banned", 4), clock.sleep, wanted.append)
    assert clock.at == began + 5_000
    assert len(wanted) == 5


async def test_an_account_that_is_stopped_waits_no_longer(stub: Stub, tmp_path: Path) -> None:
    stub.script("GET ping", error(418, -1003, "Way too much.", headers={"Retry-After": "1800"}))
    account = AccountRun(settings_of(tmp_path, stub.endpoints.rest_url))
    run = asyncio.create_task(account.run())
    with structlog.testing.capture_logs() as log:
        while not any(line["event"] == "start_waits" for line in log):  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.01)
    account.stop()
    await asyncio.wait_for(run, 0.5)
    assert not account.loops


async def test_nor_for_an_exchange_that_never_answers(tmp_path: Path) -> None:
    """It took a quarter of a minute, each time; an exchange that showed nothing of an open trade was waited for without
    end.
    """
    heard = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        heard.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        account = AccountRun(settings_of(tmp_path, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        run = asyncio.create_task(account.run())
        await heard.wait()
        account.stop()
        await asyncio.wait_for(run, 0.5)


async def test_nor_for_what_it_shows_of_a_trade(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbol with an open trade asks until it is told. Nothing was heard of a SIGTERM meanwhile, for hours."""
    waiting, ended = asyncio.Event(), []

    async def begin_sessions(*_: object) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    monkeypatch.setattr("executor.service.account.begin_sessions", begin_sessions)
    account = AccountRun(settings_of(tmp_path, stub.endpoints.rest_url))
    run = asyncio.create_task(account.run())
    await waiting.wait()
    account.stop()
    await asyncio.wait_for(run, 0.5)
    assert ended == [True]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
