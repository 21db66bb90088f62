"""docs/rehearsal.md: each of its ten commands as written, against the real service on a served exchange."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.paper.test_control import ServedPaper, served_paper

from executor.paper.replay.recording import demo_trades
from executor.paper.standalone import PaperAccount

PAGE = (Path(__file__).parents[2] / "docs" / "rehearsal.md").read_text("utf-8")
COMMANDS = re.findall(r"^    (curl .*)$", PAGE, re.MULTILINE)
BEFORE = PAGE.partition("## Before the signal")[2]
WITHIN_S = 60.0
QUICK = """
import runpy
from executor.service import poller, rules_poller
poller.SAFETY_NET_S = rules_poller.OPEN_LOOK_S = 3.0
rules_poller.CLOSED_LOOK_S = 2.0
runpy.run_module("executor", run_name="__main__")
"""
"""The service as it is, but that it looks every few seconds at what it looks at once a minute."""

Log = list[dict[str, Any]]


def said(*events: str) -> Callable[[Log], bool]:
    return lambda log: set(events) <= {line["event"] for line in log}


OUTCOMES: list[tuple[str, Callable[[Log], bool]]] = [
    ("/move", said("leg_at_market", "trade_closed")),
    ("/status", said("market_closed")),
    ("/cut", said("stream_lost")),
    ("'{}' http", said("exit_vanished")),
    ("by_exchange", lambda log: sum(line.get("request") == "PlaceOco" for line in log) > 2),
    ("503", said("look_failed")),
    ("418", said("rate_limit")),
    ("disconnect", said("unknown")),
    ("insufficient", said("refused")),
    ("/push", said("trade_opened")),
]


class Trader:
    """`executor run` as the page starts it, with its log."""

    def __init__(self, folder: Path, at: ServedPaper) -> None:
        urls = at.serving.urls
        self.env = {
            **os.environ, "PYTHONPATH": "src", "BINANCE_ENV": "custom", "BINANCE_REST_URL": urls.base_url,
            "BINANCE_WS_API_URL": urls.ws_api_url, "BINANCE_STREAM_URL": urls.stream_url, "BINANCE_API_KEY": "paper",
            "BINANCE_API_SECRET": "paper", "SYMBOL": "LTCUSDT", "STATE_FN": str(folder / "state.json"),
            "SIGNAL_FILE": str(folder / "signals.jsonl"), "LOG_FORMAT": "json", "HTTP_PORT": "0",
        }  # fmt: skip
        self.log: Log = []

    async def run(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", QUICK, "run", env=self.env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"{"):
                self.log.append(json.loads(line))

    async def signal(self) -> None:
        told = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "executor", "signal", "--side", "long", "--price", "80", "--stop", "79",
            env=self.env, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await told.wait() == 0

    async def until(self, holds: Callable[[Log], bool], within: float = WITHIN_S) -> None:
        async with asyncio.timeout(within):
            while not holds(self.log):
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()
        await self.reading


def test_there_are_ten() -> None:
    assert len(COMMANDS) == len(OUTCOMES) == 10
    for command, (mark, _) in zip(COMMANDS, OUTCOMES, strict=True):
        assert mark in command


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: the page's commands need it")
@pytest.mark.parametrize(("command", "outcome"), [(c, o) for c, (_, o) in zip(COMMANDS, OUTCOMES, strict=True)])
async def test_a_rehearsal_goes_as_written(tmp_path: Path, command: str, outcome: Callable[[Log], bool]) -> None:
    account = PaperAccount(balances={"USDT": Decimal(10_000), "LTC": Decimal(10)})
    async with served_paper(accounts=(account,)) as at:
        trader = Trader(tmp_path, at)
        await trader.run()
        try:
            await trader.until(said("ready"))
            first = command in BEFORE
            if not first:
                await trader.signal()
                await trader.until(lambda log: sum(line.get("request") == "PlaceOco" for line in log) >= 2)
            line = command.replace("http://127.0.0.1:9101", at.serving.control)
            done = await asyncio.create_subprocess_shell(
                f"{line} --silent --fail", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
            _, fault = await done.communicate()
            assert done.returncode == 0, fault
            if first:
                await trader.signal()
            await trader.until(outcome)
        except TimeoutError as error:
            raise AssertionError("\n".join(json.dumps(entry) for entry in trader.log[-40:])) from error
        finally:
            await trader.end()


def test_the_settings_of_the_page_open_its_trade(tmp_path: Path) -> None:
    """Its env file, and the line of its third terminal."""
    block = PAGE.partition("below it:\n\n")[2].partition("\n\n")[0]
    (tmp_path / "rehearsal.env").write_text(re.sub("^    ", "", block, flags=re.MULTILINE) + "\n", "utf-8")
    (tmp_path / "rehearsal.env").chmod(0o600)
    (line,) = re.findall(r"^    executor (.* signal .*)$", PAGE, re.MULTILINE)
    made = subprocess.run(  # our own command, as the page has it
        [sys.executable, "-m", "executor", *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stderr) == (0, "")
    (signal,) = (tmp_path / "data" / "rehearsal" / "signals.jsonl").read_text("utf-8").splitlines()
    assert json.loads(signal)["symbol"] == "LTCUSDT"


def test_the_first_signal_of_going_live_fits_the_recording_that_begins() -> None:
    page = (Path(__file__).parents[2] / "docs" / "going-live.md").read_text("utf-8")
    (price, stop), *_ = re.findall(r"--price (\S+) --stop (\S+)", page)
    last = next(iter(demo_trades())).price
    assert abs(Decimal(price) - last) / last < Decimal("0.001")
    assert Decimal(stop) < last < Decimal(price) * Decimal("1.01")
