"""Commands against services: the same files and settings, the commands in this process or as processes of their own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.scenarios.harness import KEY, Harness
from typer.testing import CliRunner, Result

from executor.cli.app import app

START_MS: Final = 1_750_000_000_000


def environment(b: Harness) -> dict[str, str]:
    """The settings that the bench's service runs by."""
    wanted = b.settings()
    urls = wanted.endpoints
    assert urls is not None
    return {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": urls.rest,
        "BINANCE_WS_API_URL": urls.ws_api,
        "BINANCE_STREAM_URL": urls.stream,
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": KEY,
        "SYMBOL": b.symbol,
        "STATE_FN": str(wanted.state_fn),
        "SIGNAL_FILE": str(b.signals),
        "EXIT_LAYOUT": b.world.layout,
        "TRADE_MODE": wanted.trade_mode,
        "MARGIN_ISOLATED": "" if wanted.margin_isolated is None else str(wanted.margin_isolated).lower(),
        "ALLOW_SHORT": "true",
        "QTY": "3",
        "HTTP_PORT": "0",
    }


async def command(b: Harness, *args: str, stdin: str | None = None, **more: str) -> Result:
    """A command beside the bench's service, which goes on meanwhile."""
    return await asyncio.to_thread(run_here, args, {**environment(b), **more}, stdin)


def run_here(args: Iterable[str], env: Mapping[str, str], stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(args), env=dict(env), input=stdin)


def process(folder: Path, env: Mapping[str, str], *args: str) -> "subprocess.Popen[str]":
    """`executor ARGS` as a process of its own, in `folder`."""
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "executor", *args],
        cwd=folder,
        env={**inherited, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def recording(folder: Path, prices: Iterable[str], *, every_ms: int = 5_000, name: str = "LTCUSDT-made-up.csv") -> Path:
    """A recording in which each price is traded in plenty, one after the other."""
    rows = ["trade_id,time_ms,price,qty,is_buyer_maker"]
    before = Decimal(0)
    for number, price in enumerate(prices):
        falling = Decimal(price) < before
        rows.append(f"{number + 1},{START_MS + number * every_ms},{price},500,{str(falling).lower()}")
        before = Decimal(price)
    path = folder / name
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def signals(folder: Path, *rows: Mapping[str, Any]) -> Path:
    path = folder / "wanted.jsonl"
    path.write_text("".join(json.dumps({"symbol": "LTCUSDT", **row}) + "\n" for row in rows), encoding="utf-8")
    return path


def ramp(*points: str, steps: int = 10) -> list[str]:
    """Prices that go from point to point in equal steps of the tick."""
    found = [Decimal(points[0])]
    for point in map(Decimal, points[1:]):
        start = found[-1]
        found += [(start + (point - start) * i / steps).quantize(Decimal("0.01")) for i in range(1, steps + 1)]
    return [str(price) for price in found]
