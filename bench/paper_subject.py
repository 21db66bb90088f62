"""The paper exchange of whichever tree is on the path, without its limits on requests and orders.

    python paper_subject.py serve | replay KEY SECRET

It is run by the interpreter, and against the source, of the tree that is measured, so it imports nothing of the
bench, and looks for what has moved since in each place where it has been. `serve` prints its addresses as its first
line and serves until its standard input ends; `replay` plays the bundled recording as fast as it goes, prints how many
trades and how much CPU that took, and ends.
"""

import asyncio
import importlib
import json
import sys
import time
from decimal import Decimal
from typing import Any, Final

SYMBOL: Final = "LTCUSDT"
PRICE: Final = Decimal(100)
ACCOUNT: Final = "bench"
BALANCES: Final = {"USDT": Decimal(100_000_000), "LTC": Decimal(1_000_000)}
PLENTY: Final = 1_000_000_000
AS_FAST_AS_IT_GOES: Final = 1e9


def of(name: str, *modules: str) -> Any:
    """`name` of the first of the modules that is there and has it."""
    for module in modules:
        try:
            return getattr(importlib.import_module(f"executor.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"{name} is in none of {', '.join(modules)}")


def exchange(key: str, secret: str) -> tuple[Any, Any, Any]:
    """Engine, clock and server."""
    server = "paper.server.server", "paper.server"
    limits_of = of("Limits", "paper.server.limits", "paper.server")
    limits = limits_of(
        **{name: PLENTY for name in limits_of.__struct_fields__ if name.endswith(("_minute", "_seconds", "_day", "s"))}
    )
    info = of("bundled_exchange_info", "paper.replay.recording", "paper.recording")()
    symbol = of("Symbol", "paper.engine.symbol", "paper.symbol")
    engine = of("Engine", "paper.engine.exchange", "paper.engine")(
        [symbol.from_exchange_info(row) for row in info["symbols"]], rate_limits=limits.announce()
    )
    engine.open_account(ACCOUNT, BALANCES)
    clock = of("WallClock", "paper.replay.clock", "paper.clock")()
    signing = "paper.server.signing", "paper.server"
    keys = {key: of("Credential", *signing)(ACCOUNT, of("HmacSecret", *signing)(secret))}
    return engine, clock, of("PaperServer", *server)(engine, clock, keys, limits=limits)


async def serve(key: str, secret: str) -> None:
    engine, clock, server = exchange(key, secret)
    engine.on_trade(SYMBOL, 1, PRICE, Decimal(1), False, clock.now_ms())
    urls = await server.start()
    print(json.dumps({"rest": urls.rest_url, "ws": urls.ws_api_url, "symbol": SYMBOL}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


async def replay(key: str, secret: str) -> None:
    engine, clock, server = exchange(key, secret)
    recording = "paper.replay.recording", "paper.recording"
    market = "paper.replay.live", "paper.replay.market", "paper.market"
    trades = of("demo_trades", *recording)()
    tape = of("Tape", *market)(of("symbol_of", *recording)(trades.path), trades)
    at_end = of("AtEnd", *market).EXIT
    live = of("LivePlay", *market)(tape, engine, clock, server, speed=AS_FAST_AS_IT_GOES, at_end=at_end)
    count = sum(1 for _ in trades)
    began = time.process_time()
    await live.run()
    print(json.dumps({"trades": count, "cpu": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    # On the event loop on which the tree's `executor paper` runs.
    run = getattr(importlib.import_module("executor.cli.paper"), "run", asyncio.run)
    run({"serve": serve, "replay": replay}[sys.argv[1]](*sys.argv[2:4]))
