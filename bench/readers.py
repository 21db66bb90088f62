"""What those who look at the page cost: `python -m bench.readers`. The service as it runs, with a trade open, on a
paper exchange that plays the bundled recording: its loop's lag by its own metric, with nobody looking and with readers.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from tools.ports import free_port

LAST_S: Final = 20.0
PATIENCE_S: Final = 60.0
METRIC: Final = "executor_loop_lag_seconds"
SHOWN: Final = (0.005, 0.025, 0.1)


class Lag(NamedTuple):
    """So many `looks` at it, their `total` in seconds, and how many were at most each bound in seconds."""

    looks: float
    total: float
    at_most: dict[float, float]

    def since(self, before: "Lag") -> "Lag":
        within = {bound: count - before.at_most[bound] for bound, count in self.at_most.items()}
        return Lag(self.looks - before.looks, self.total - before.total, within)

    def words(self) -> str:
        late = ", ".join(
            f"{100 * (1 - count / self.looks):.1f} % over {bound * 1000:g} ms"
            for bound, count in self.at_most.items()
            if bound in SHOWN
        )
        return f"mean {1000 * self.total / self.looks:.2f} ms of {self.looks:.0f} looks; {late}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="executor-readers-") as folder:
        async with contextlib.AsyncExitStack() as stack:
            exchange, page = free_port(), free_port()
            await stack.enter_async_context(
                running(folder, "paper", "--port", str(exchange), "--speed", "100", settings={})
            )
            await answers(f"http://127.0.0.1:{exchange}/api/v3/ping")
            await stack.enter_async_context(running(folder, "run", settings=settings(folder, exchange, page)))
            base = f"http://127.0.0.1:{page}"
            await answers(f"{base}/readyz")
            await open_a_trade(folder, exchange)
            for _ in range(wanted.rounds):
                for readers in (0, wanted.readers):
                    lag, heard = await measure(base, readers, wanted.seconds)
                    sys.stdout.write(
                        f"{readers:3} readers, {heard / wanted.seconds:6.1f} frames a second: {lag.words()}\n"
                    )
                    sys.stdout.flush()


async def open_a_trade(folder: str, exchange: int) -> None:
    """One that stays open whatever the recording does."""
    async with httpx.AsyncClient() as http:
        told = await http.get(f"http://127.0.0.1:{exchange}/api/v3/ticker/price", params={"symbol": "LTCUSDT"})
    price = Decimal(told.json()["price"])
    wanted = {"entry": "1.002", "stop": "0.8"}
    signal = {name: str((price * Decimal(factor)).quantize(Decimal("0.01"))) for name, factor in wanted.items()}
    signal |= {"price": signal["entry"], "side": "long", "symbol": "LTCUSDT"}
    targets = [str((price * Decimal(factor)).quantize(Decimal("0.01"))) for factor in ("1.2", "1.4")]
    line = json.dumps({**signal, "ts": time.time_ns() // 1_000_000, "id": "readers", "targets": targets})
    with Path(folder, "signals.jsonl").open("a", encoding="utf-8") as file:  # noqa: ASYNC230  # a line
        file.write(line + "\n")
    await asyncio.sleep(3)


async def measure(base: str, readers: int, seconds: float) -> tuple[Lag, int]:
    async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S) as http:
        heard = 0

        async def read() -> None:
            nonlocal heard
            async with http.stream("GET", "/events") as answer:
                async for line in answer.aiter_lines():
                    heard += line.startswith("data:")

        reading = [asyncio.create_task(read()) for _ in range(readers)]
        await asyncio.sleep(2)
        heard, before = 0, await lag_of(http)
        await asyncio.sleep(seconds)
        after = (await lag_of(http)).since(before)
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return after, heard


async def lag_of(http: httpx.AsyncClient) -> Lag:
    text = (await http.get("/metrics")).text
    bounds = re.findall(rf'^{METRIC}_bucket\{{le="([0-9.e-]+)"\}} (\S+)$', text, re.MULTILINE)
    count, total = (re.search(rf"^{METRIC}_{name} (\S+)$", text, re.MULTILINE) for name in ("count", "sum"))
    assert count is not None
    assert total is not None
    return Lag(float(count[1]), float(total[1]), {float(bound): float(found) for bound, found in bounds})


def settings(folder: str, exchange: int, page: int) -> dict[str, str]:
    return {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": f"http://127.0.0.1:{exchange}",
        "BINANCE_WS_API_URL": f"ws://127.0.0.1:{exchange}/ws-api/v3",
        "BINANCE_STREAM_URL": f"ws://127.0.0.1:{exchange}",
        "BINANCE_API_KEY": "paper",
        "BINANCE_API_SECRET": "paper",
        "SYMBOL": "LTCUSDT",
        "QTY_USD": "100",
        "HTTP_PORT": str(page),
        "STATE_FN": f"{folder}/state.json",
        "SIGNAL_FILE": f"{folder}/signals.jsonl",
        "LOG_FORMAT": "json",
    }


@contextlib.asynccontextmanager
async def running(folder: str, *args: str, settings: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    with Path(folder, f"{args[0]}.log").open("wb") as log:  # noqa: ASYNC230  # nothing else runs yet
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "executor", *args, env={**inherited, **settings}, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), LAST_S)


async def answers(url: str) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main())
