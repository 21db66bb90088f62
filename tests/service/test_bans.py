"""A start that the exchange has banned, or asked to wait, waits it out: one that ended would be begun anew, and ask
again, every few seconds.
"""

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
from executor.service.account import wait_out
from executor.service.app import reach
from executor.service.market import Market

GOOD: Final = Credentials.hmac(KEY, SECRET)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with running_stub() as stub:
        yield stub


def settings_of(folder: Path) -> Settings:
    names = ("BINANCE_REST_URL", "BINANCE_WS_API_URL", "BINANCE_STREAM_URL")
    return load_settings(
        {
            "BINANCE_ENV": "custom",
            **dict(zip(names, ("http://127.0.0.1:1", "ws://127.0.0.1:1", "ws://127.0.0.1:1"), strict=True)),
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


async def test_an_account_that_is_stopped_waits_no_longer(clock: ManualClock) -> None:
    wanted: list[float] = []
    began = clock.at
    await wait_out(BannedError("banned", 1800), clock.sleep, wanted.append, stopping=lambda: clock.at >= began + 5_000)
    assert clock.at == began + 5_000
    assert len(wanted) == 5


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
