"""One simulation: settings, a recorded market and signals, and what came of them."""

import json
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from executor.cli.books import close_books
from executor.config import Settings
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.exchange.wire import rules as rule_book
from executor.ops.account import Account
from executor.ops.reports.paths import Recorder
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.model import KlinePath
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import KlineFile, TradeFile, bundled_exchange_info, symbol_of
from executor.service.embedded import EmbeddedError
from executor.service.policy import own_filters, policy_of
from executor.signals.parse import Malformed, parse_signal
from executor.simulate.market import Outcome, Simulation, Untaken, trades_of

ACCOUNT: Final = "simulated"


class Prices(StrEnum):
    """How an open trade learns the price."""

    POLLED = "polled"
    PUSHED = "pushed"


class Recording(NamedTuple):
    """A market and the signals for it. `path`: what each kline reaches first; None: `file` holds trades."""

    file: Path
    signals: Path
    path: KlinePath | None = None


class Simulated(NamedTuple):
    """What came of it. `seconds`: how long it took this machine."""

    outcome: Outcome
    books: Account
    seconds: float


def simulate_once(
    settings: Settings, recording: Recording, info: Path | None, prices: Prices, recorder: Recorder | None = None
) -> Simulated:
    """Carry the signals out. `info`: exchangeInfo, None: the bundled one; `recorder` is shown each step. Raises
    EmbeddedError, SettingsError, PaperError.
    """
    file = recording.file
    symbol, rules = symbol_rules(settings, settings.symbol or symbol_of(file), info)
    engine = Engine([symbol])
    engine.open_account(ACCOUNT, settings.paper_balances)
    klines = recording.path
    market: Iterable[MarketTrade] = (
        TradeFile(file) if klines is None else trades_of(KlineFile(file), klines, rules.step)
    )
    wanted, malformed = read_signals(recording.signals)
    simulation = Simulation(
        engine,
        ACCOUNT,
        policy_of(settings),
        rules,
        poll_ms=None if prices is Prices.PUSHED else round(settings.poll_sec * 1000),
        on_step=None if recorder is None else recorder.observe,
    )
    simulation.outcome.untaken += malformed
    began = time.perf_counter()
    outcome = simulation.run(market, wanted)
    return Simulated(outcome, close_books(engine, ACCOUNT, settings.paper_balances), time.perf_counter() - began)


def symbol_rules(settings: Settings, name: str, file: Path | None) -> tuple[Symbol, SymbolRules]:
    """The symbol for the engine and for the core. Raises EmbeddedError, SettingsError."""
    info = bundled_exchange_info() if file is None else _read_info(file)
    row = next((row for row in info.get("symbols", []) if row.get("symbol") == name), None)
    if row is None:
        known = ", ".join(str(row.get("symbol")) for row in info.get("symbols", [])[:20])
        raise EmbeddedError(f"SYMBOL: the rules of {name!r} are not known, only those of {known}: give --exchange-info")
    try:
        symbol = Symbol.from_exchange_info(row)
        found = rule_book.symbol_rules(rule_book.exchange_info(msgspec.json.encode(info)), name, _FEES)
    except (KeyError, ValueError, msgspec.ValidationError) as error:
        raise EmbeddedError(f"--exchange-info: the row of {name} can't be read: {error}") from error
    assert found is not None
    return symbol, own_filters(found, settings)


def _read_info(file: Path) -> dict[str, Any]:
    try:
        info = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EmbeddedError(f"--exchange-info {file} can't be read: {error}") from error
    if not isinstance(info, dict):
        raise EmbeddedError(f"--exchange-info {file} must hold an object with symbols")
    return info


def read_signals(file: Path) -> tuple[list[Signal], list[Untaken]]:
    """The file's signals, and those lines that are none. Raises EmbeddedError."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EmbeddedError(f"--signals {file} can't be read: {error}") from error
    found: list[Signal] = []
    malformed: list[Untaken] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parsed = parse_signal(line)
        if isinstance(parsed, Malformed):
            malformed.append(Untaken(f"line {number}", 0, parsed.fault))
        else:
            found.append(parsed)
    return found, malformed


_RATES: Final = {"maker": "0.001", "taker": "0.001"}  # those that the paper exchange takes
_FEES: Final = msgspec.convert({"standardCommission": _RATES}, type=rule_book.Commission, strict=False)
