"""A paper exchange of its own: the recorded market on the wall clock, for any client of Binance."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from executor.paper.engine.exchange import Engine
from executor.paper.engine.symbol import Symbol
from executor.paper.errors import PaperError
from executor.paper.replay.clock import WallClock
from executor.paper.replay.market import AtEnd, LivePlay, Tape
from executor.paper.replay.recording import TradeFile, bundled_exchange_info, demo_trades, symbol_of
from executor.paper.server import Credential, HmacSecret, Limits, PaperServer, Urls

ACCOUNT: Final = "paper"


class StandaloneError(PaperError):
    """The exchange cannot be set up as asked; the message says what is wrong and what it must be."""


class Standalone(msgspec.Struct, frozen=True):
    """What to serve.

    `recording` is None for the one that ships with the package; `symbol` is None for the one its file name begins
    with. `speed` squeezes the recording, while the exchange's clock stays the wall clock.
    """

    recording: Path | None = None
    symbol: str | None = None
    speed: float = 1.0
    at_end: AtEnd = AtEnd.LOOP
    port: int = 0
    balances: Mapping[str, Decimal] = {}
    api_key: str = "paper"
    api_secret: str = "paper"  # noqa: S105 - the default of an exchange without money


async def serve(what: Standalone, *, started: Callable[[Urls, str], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set or the recording has ended. `started` gets the addresses and the symbol.

    Raises:
        StandaloneError: the symbol is unknown.
        RecordingError: the recording cannot be read, or no symbol is given and its name begins with none.
        PortInUse: another program has the port.
    """
    trades = demo_trades() if what.recording is None else TradeFile(what.recording)
    symbol = what.symbol or symbol_of(trades.path)
    rows = {row["symbol"]: row for row in bundled_exchange_info()["symbols"]}
    if symbol not in rows:
        raise StandaloneError(f"symbol is {symbol!r}, must be one of {', '.join(rows)}")
    clock, limits = WallClock(), Limits()
    engine = Engine([Symbol.from_exchange_info(row) for row in rows.values()], rate_limits=limits.announce())
    engine.open_account(ACCOUNT, what.balances)
    keys = {what.api_key: Credential(ACCOUNT, HmacSecret(what.api_secret))}
    server = PaperServer(engine, clock, keys, port=what.port, limits=limits)
    live = LivePlay(Tape(symbol, trades), engine, clock, server, speed=what.speed, at_end=what.at_end)
    urls = await server.start()
    try:
        playing = asyncio.create_task(live.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.sleep(0)
        started(urls, symbol)
        try:
            done, _ = await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if playing in done:
                await playing
        finally:
            playing.cancel()
            stopping.cancel()
            await asyncio.gather(playing, stopping, return_exceptions=True)
    finally:
        await server.stop()
