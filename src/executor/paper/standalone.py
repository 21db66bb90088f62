"""A paper exchange of its own, on the wall clock, for any client of Binance.

Any number of accounts and symbols; a symbol's market is a recording, or stands at a price until it is moved.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from executor.paper.control import Control, Served
from executor.paper.engine.choices import ExchangeChoices
from executor.paper.engine.exchange import Engine
from executor.paper.engine.model import Reject
from executor.paper.engine.symbol import Symbol
from executor.paper.errors import PaperError
from executor.paper.replay.clock import WallClock
from executor.paper.replay.live import LiveMarket, LivePlay, StillPlay
from executor.paper.replay.market import AtEnd, Tape
from executor.paper.replay.recording import TradeFile, bundled_exchange_info, demo_trades, symbol_of
from executor.paper.server import Credential, HmacSecret, Limits, PaperServer, Urls
from executor.paper.server.injected import InjectedFaults

ACCOUNT: Final = "paper"


class StandaloneError(PaperError):
    """The exchange cannot be set up as asked; the message says what is wrong and what it must be."""


ORDERS_KEPT: Final = 20_000
"""Of each account: it may run for months."""


class PaperAccount(msgspec.Struct, frozen=True):
    """An account, the key pair that trades on it, and what it starts with."""

    name: str = ACCOUNT
    api_key: str = "paper"
    api_secret: str = "paper"  # noqa: S105 - the default of an exchange without money
    balances: Mapping[str, Decimal] = {}
    margin: Mapping[str, Mapping[str, Decimal]] = {}
    """Of these, what lies on its margin accounts from the start: by pair, "" for the cross account."""


class Standalone(msgspec.Struct, frozen=True):
    """What to serve.

    `recordings` empty is the one that ships with the package, unless `still` names symbols. `symbols` are what the
    recordings are of, in their order; empty for what their names begin with. `still` are markets that stand at a price.
    `speed` squeezes the recordings, while the exchange's clock stays the wall clock. `exchange_info` is a saved answer
    of `GET /api/v3/exchangeInfo` that knows the symbols, None for the one that ships. `control_port` None: no control.
    """

    recordings: tuple[Path, ...] = ()
    symbols: tuple[str, ...] = ()
    still: Mapping[str, Decimal] = {}
    speed: float = 1.0
    at_end: AtEnd = AtEnd.LOOP
    port: int = 0
    accounts: tuple[PaperAccount, ...] = (PaperAccount(),)
    choices: ExchangeChoices = ExchangeChoices()
    control_port: int | None = None
    exchange_info: Path | None = None


class Serving(msgspec.Struct, frozen=True):
    """Where it serves: the exchange's addresses, that of the control endpoint ("" without one), and the symbols."""

    urls: Urls
    control: str
    symbols: tuple[str, ...]


async def serve(what: Standalone, *, started: Callable[[Serving], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set or every recording has ended. `started` is told where.

    Raises:
        StandaloneError: a symbol is unknown or named twice, a price is not one of its symbol's.
        RecordingError: a recording cannot be read, or no symbol is given and its name begins with none.
        PortInUse: another program has a port.
    """
    tapes = _tapes(what)
    rows = _rows(what, [*(tape.symbol for tape in tapes), *what.still])
    clock, limits = WallClock(), Limits()
    try:
        listed = [Symbol.from_exchange_info(row) for row in rows]
    except ValueError as error:
        raise StandaloneError(f"exchange info: {error}") from error
    engine = Engine(listed, rate_limits=limits.announce(), choices=what.choices, orders_kept=ORDERS_KEPT)
    for account in what.accounts:
        engine.open_account(account.name, account.balances)
        open_margin(engine, account.name, account.margin, clock.now_ms())
    keys = {each.api_key: Credential(each.name, HmacSecret(each.api_secret)) for each in what.accounts}
    faults = None if what.control_port is None else InjectedFaults(clock)
    server = PaperServer(engine, clock, keys, port=what.port, limits=limits, faults=faults)
    markets = _markets(what, tapes, engine, clock, server)
    async with AsyncExitStack() as stack:
        urls = await server.start()
        stack.push_async_callback(server.stop)
        control = ""
        if faults is not None:
            endpoint = Control(Served(engine, clock, server, markets, faults), port=what.control_port or 0)
            control = await endpoint.start()
            stack.push_async_callback(endpoint.stop)
        serving = Serving(urls, control, tuple(markets))
        await _play(list(markets.values()), stop, lambda: started(serving))


def open_margin(engine: Engine, owner: str, margin: Mapping[str, Mapping[str, Decimal]], now_ms: int) -> None:
    """Move funds of an owner to margin accounts, which that opens; by pair, "" for the cross account.

    Raises:
        StandaloneError: there is less than that, or no such pair, or an asset has no place there.
    """
    for pair, amounts in margin.items():
        for asset, amount in amounts.items():
            kind = "MAIN_ISOLATED_MARGIN" if pair else "MAIN_MARGIN"
            try:
                engine.margin.transfer(owner, kind, asset, amount, now_ms, target=pair)
            except Reject as reject:
                where = f"the isolated margin account of {pair}" if pair else "the cross margin account"
                raise StandaloneError(f"{asset}={amount} for {where} of {owner}: {reject.message}") from reject


async def _play(markets: Iterable[LiveMarket], stop: asyncio.Event, started: Callable[[], None]) -> None:
    """Run the markets until all have ended or `stop` is set."""

    async def all_markets() -> None:
        async with asyncio.TaskGroup() as tasks:
            for market in markets:
                tasks.create_task(market.run())

    playing = asyncio.create_task(all_markets())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.sleep(0)
    started()
    try:
        done, _ = await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if playing in done:
            await _raise_first(playing)
    finally:
        playing.cancel()
        stopping.cancel()
        await asyncio.gather(playing, stopping, return_exceptions=True)


async def _raise_first(playing: asyncio.Task[None]) -> None:
    """What went wrong in the first market that did, itself."""
    try:
        await playing
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _tapes(what: Standalone) -> list[Tape]:
    files = [TradeFile(path) for path in what.recordings]
    if not files and not what.still:
        files = [demo_trades()]
    symbols = list(what.symbols) or [symbol_of(file.path) for file in files]
    if len(symbols) != len(files):
        raise StandaloneError(
            f"symbols are {', '.join(symbols)}, must be one for each of {len(files)} recordings; a symbol without one"
            " needs a price, as in BTCUSDT=60000"
        )
    return [Tape(symbol, file) for symbol, file in zip(symbols, files, strict=True)]


def _rows(what: Standalone, symbols: list[str]) -> list[dict[str, Any]]:
    """The exchangeInfo rows to serve: all that ship, or those of the file that are traded."""
    twice = [name for name in symbols if symbols.count(name) > 1]
    if twice:
        raise StandaloneError(f"symbols name {twice[0]} twice, must name each once")
    info = bundled_exchange_info() if what.exchange_info is None else _read_info(what.exchange_info)
    rows = {str(row["symbol"]): row for row in info["symbols"]}
    for symbol in symbols:
        if symbol not in rows:
            known = ", ".join(rows) if len(rows) <= 20 else f"one of the {len(rows)} of {what.exchange_info}"
            raise StandaloneError(f"symbol is {symbol!r}, must be one of {known}")
    return list(rows.values()) if what.exchange_info is None else [rows[name] for name in symbols]


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text("utf-8"))
        if isinstance(info, dict) and all("symbol" in row for row in info["symbols"]):
            return info
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StandaloneError(f"exchange info {path}: cannot be read: {error}") from error
    raise StandaloneError(f"exchange info {path}: must be an answer of GET /api/v3/exchangeInfo")


def _markets(
    what: Standalone, tapes: list[Tape], engine: Engine, clock: WallClock, server: PaperServer
) -> dict[str, LiveMarket]:
    markets: dict[str, LiveMarket] = {}
    for tape in tapes:
        markets[tape.symbol] = LivePlay(tape, engine, clock, server, speed=what.speed, at_end=what.at_end)
    for symbol, price in what.still.items():
        try:
            markets[symbol] = StillPlay(symbol, price, engine, clock, server)
        except ValueError as error:
            raise StandaloneError(str(error)) from error
    return markets
