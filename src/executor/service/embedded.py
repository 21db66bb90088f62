"""The paper exchange inside the service: the recording's market, on loopback, in market time.

The service's clock is the market's: it moves on only while neither side has anything to do, so that a run is
repeatable and as fast as its work allows.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Self

import structlog

from executor.config import Settings, TradeMode
from executor.core.model.signal import Signal
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.paper.engine.exchange import Engine
from executor.paper.engine.margin.model import CROSS
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.errors import PaperError
from executor.paper.replay.clock import MarketClock
from executor.paper.replay.market import AtEnd, Replay, Tape
from executor.paper.replay.recording import TradeFile, bundled_exchange_info, demo_signals, demo_trades, symbol_of
from executor.paper.server import PaperServer
from executor.paper.server.limits import Limits
from executor.paper.server.signing import Credential, HmacSecret
from executor.signals.append import append_line
from executor.signals.parse import Malformed, parse_signal

log = structlog.get_logger(__name__)

ACCOUNT: Final = "paper"
ORDERS_KEPT: Final = 5_000
"""Some hundred trades; older ones, which nobody asks for any more, must not fill the memory of a looped recording."""
BARS_KEPT: Final = 2 * 24 * 60
"""A thousand minutes are the most that is looked back on, a day the most that a ticker tells of."""


class EmbeddedError(PaperError):
    """The embedded exchange can't be set up; the text names the setting."""


class WaitingClock:
    """The market's clock for those whose waiting must not hold the market up: a retry, a rate limit's end."""

    def __init__(self, clock: MarketClock) -> None:
        self._clock = clock
        self.waiting = 0

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def sleep(self, seconds: float) -> None:
        self.waiting += 1
        try:
            await self._clock.sleep(seconds)
        finally:
            self.waiting -= 1


class Embedded:
    """Server, engine, replay and clock of one paper market. Use as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        """Raises EmbeddedError for a recording or symbol that can't be used, RecordingError when it is read."""
        trades = demo_trades() if settings.paper_recording is None else TradeFile(settings.paper_recording)
        self.symbol = settings.symbol or symbol_of(trades.path)
        first = next(iter(trades), None)
        if first is None:
            raise EmbeddedError(f"PAPER_RECORDING: {trades.path.name} has no trade in it")
        self.clock = MarketClock(first.time)
        self.patient_clock = WaitingClock(self.clock)
        limits = Limits()
        info = bundled_exchange_info()
        rows = {row["symbol"]: row for row in info["symbols"]}
        if self.symbol not in rows:
            raise EmbeddedError(f"SYMBOL: the paper exchange knows {', '.join(rows)}, not {self.symbol!r}")
        self.engine = Engine(
            [Symbol.from_exchange_info(row) for row in rows.values()],
            rate_limits=limits.announce(),
            orders_kept=ORDERS_KEPT,
            bars_kept=BARS_KEPT,
        )
        self.engine.open_account(ACCOUNT, settings.paper_balances)
        self.account = self._account_of(settings)
        self.start = {each.asset: each.free + each.locked for each in self.engine.balances(self.account)}
        # The first trade makes the price that a client finds when it comes.
        self.engine.on_trade(
            self.symbol, first.trade_id, first.price, first.qty, first.buyer_is_maker, self.clock.now_ms()
        )
        key = settings.paper_api_key.get_secret_value()
        secret = settings.paper_api_secret.get_secret_value()
        self.credentials = Credentials.hmac(key, secret)
        self.server = PaperServer(
            self.engine,
            self.clock,
            {key: Credential(ACCOUNT, HmacSecret(secret))},
            port=settings.paper_port,
            limits=limits,
        )
        self.replay = Replay(
            Tape(self.symbol, _WithoutFirst(trades)),
            self.engine,
            self.clock,
            self.server,
            speed=float(settings.paper_speed),
            at_end=AtEnd(settings.paper_at_end.value),
        )
        self.endpoints = Endpoints("", "", "")

    def _account_of(self, settings: Settings) -> str:
        """The engine's name of the account that is traded with. On margin what lies on the Spot wallet is moved there
        first, as far as the account holds such assets.
        """
        if settings.trade_mode is not TradeMode.MARGIN:
            return ACCOUNT
        pair = self.symbol if settings.margin_isolated else CROSS
        rules = self.engine.symbol(self.symbol)
        kind = "MAIN_ISOLATED_MARGIN" if pair else "MAIN_MARGIN"
        for asset, amount in settings.paper_balances.items():
            if amount and (not pair or asset in (rules.base, rules.quote)):
                self.engine.margin.transfer(ACCOUNT, kind, asset, amount, self.clock.now_ms(), target=pair)
        return self.engine.margin.open(ACCOUNT, pair, self.clock.now_ms()).money.name

    async def __aenter__(self) -> Self:
        urls = await self.server.start()
        self.endpoints = Endpoints(urls.base_url, urls.ws_api_url, urls.stream_url)
        log.info("paper_exchange", url=urls.base_url, symbol=self.symbol, market_time=self.clock.now_ms())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()


class _WithoutFirst:
    """The recording without the trade that was played beforehand; can be read any number of times."""

    def __init__(self, trades: TradeFile) -> None:
        self._trades = trades

    def __iter__(self) -> Iterator[MarketTrade]:
        return islice(self._trades, 1, None)


def recorded_signals(settings: Settings) -> Path | None:
    """PAPER_SIGNALS, or those that come with the bundled recording."""
    if settings.paper_signals is not None or settings.paper_recording is not None:
        return settings.paper_signals
    return demo_signals()


async def speak(signals: Path, into: Path, replay: Replay, clock: MarketClock) -> None:
    """Append each recorded signal to the followed file when market time reaches it: what a signal source does. With
    each lap of a looped recording they come again, as signals of their own.
    """
    spoken = [(line, _read(signals, line)) for line in _lines(signals)]
    lap = later_ms = 0
    while True:
        for line, signal in spoken:
            await clock.sleep_until(signal.at + later_ms)
            append_line(into, (again(line, signal, later_ms, lap) if lap else line).encode())
        if not replay.loops:
            return
        later_ms = await replay.next_lap()
        lap += 1


def again(line: str, signal: Signal, later_ms: int, lap: int) -> str:
    """A recorded signal as it is told in a later lap: later, and under another id."""
    told = json.loads(line, parse_float=str)  # a number as text is the same number; as a float it might not be
    for name in ("ts", "ts_utc"):
        if name in told:
            told[name] = signal.at + later_ms
    if "id" in told:
        told["id"] = f"{told['id']}-lap{lap}"
    return json.dumps(told)


def _read(signals: Path, line: str) -> Signal:
    parsed = parse_signal(line)
    if isinstance(parsed, Malformed):
        raise EmbeddedError(f"PAPER_SIGNALS: {signals.name}: {parsed.fault}")
    return parsed


def _lines(signals: Path) -> list[str]:
    return [line for line in signals.read_text("utf-8").splitlines() if line.strip()]
