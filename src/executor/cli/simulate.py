"""`executor simulate`: what these settings would have done."""

import json
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from executor.cli import exits
from executor.cli.books import close_books
from executor.cli.context import read_settings
from executor.cli.output import ListFormat, examples, fail
from executor.cli.report import PRINT
from executor.config import Settings, SettingsError
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.exchange.wire import rules as rule_book
from executor.ops import account, text
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.model import KlinePath
from executor.paper.engine.symbol import Symbol
from executor.paper.errors import PaperError
from executor.paper.replay.recording import (
    KlineFile,
    TradeFile,
    bundled_exchange_info,
    demo_signals,
    demo_trades,
    symbol_of,
)
from executor.service.embedded import EmbeddedError
from executor.service.policy import own_filters, policy_of
from executor.signals.parse import Malformed, parse_signal
from executor.simulate.market import Outcome, Simulation, Untaken, trades_of

ACCOUNT: Final = "simulated"


class Prices(StrEnum):
    """How an open trade learns the price."""

    POLLED = "polled"
    PUSHED = "pushed"


@examples(
    "executor simulate",
    "TRAIL_MODE=SWING EXIT_LAYOUT=PLAIN PAPER_BALANCES=USDT=10000,LTC=5 executor simulate",
    "executor simulate --klines BTCUSDT-1m.csv.gz --signals my-signals.jsonl --format csv > trades.csv",
)
def simulate(
    context: typer.Context,
    trades: Annotated[
        Path | None, typer.Option("--trades", metavar="FILE", help="Recorded trades; default: the bundled ones.")
    ] = None,
    klines: Annotated[
        Path | None, typer.Option("--klines", metavar="FILE", help="Recorded klines in place of trades.")
    ] = None,
    path: Annotated[
        KlinePath, typer.Option("--path", case_sensitive=False, help="What a kline reaches first.")
    ] = KlinePath.LOW_FIRST,
    signals: Annotated[
        Path | None, typer.Option("--signals", metavar="FILE", help="JSONL; default: those of the bundled trades.")
    ] = None,
    exchange_info: Annotated[
        Path | None,
        typer.Option("--exchange-info", metavar="FILE", help="Symbol rules as Binance's exchangeInfo gives them."),
    ] = None,
    prices: Annotated[
        Prices,
        typer.Option(
            help="How an open trade learns the price: asked for every POLL_SEC, as `executor run` does on paper, or"
            " pushed, as by the exchange's streams."
        ),
    ] = Prices.POLLED,
    output: Annotated[ListFormat, typer.Option("--format", help="How to print the trades.")] = ListFormat.TABLE,
) -> None:
    """Carry out signals on a recorded market, at full speed.

    What would these settings have done? The same core and matching engine as on paper, without sockets and files.

    Settings are taken as for `executor run` (environment and --env-file); the account starts with PAPER_BALANCES, and
    each signal is seen at the next look into its file, a quarter of a second at most after its time. On the same
    recording it makes the trades that `executor run` makes on paper. The symbol is SYMBOL, or what the file's name
    begins with. Files are CSV, plain or gzipped: trades with time_ms, price, qty, is_buyer_maker, trade_id; klines with
    open_time_ms, open, high, low, close, volume. The trades go to stdout; what was not taken, the account and the
    figures go to stderr.

    Exit code 1 when the account does not add up.
    """
    settings = read_settings(context)
    if trades is not None and klines is not None:
        raise typer.BadParameter("--trades and --klines exclude each other")
    own_market = trades is not None or klines is not None
    if own_market and signals is None:
        raise typer.BadParameter("a market of your own needs --signals")
    try:
        outcome, books, seconds = _simulate(
            settings, trades, klines, path, signals if signals is not None else demo_signals(), exchange_info, prices
        )
    except (SettingsError, PaperError) as error:
        fail(error)
    typer.echo(PRINT[output](outcome.closed))
    typer.echo(f"\n{_told(outcome, seconds)}\n\n{account.as_text(books)}", err=True)
    if books.faults:
        raise typer.Exit(exits.FAILED)


def _simulate(
    settings: Settings,
    trades: Path | None,
    klines: Path | None,
    path: KlinePath,
    signals: Path,
    info: Path | None,
    prices: Prices,
) -> tuple[Outcome, account.Account, float]:
    file = klines or trades or demo_trades().path
    symbol, rules = _symbol(settings, settings.symbol or symbol_of(file), info)
    engine = Engine([symbol])
    engine.open_account(ACCOUNT, settings.paper_balances)
    market: Iterable[MarketTrade] = TradeFile(file)
    if klines is not None:
        market = trades_of(KlineFile(klines), path, rules.step)
    wanted, malformed = _signals(signals)
    poll_ms = None if prices is Prices.PUSHED else round(settings.poll_sec * 1000)
    simulation = Simulation(engine, ACCOUNT, policy_of(settings), rules, poll_ms=poll_ms)
    simulation.outcome.untaken += malformed
    began = time.perf_counter()
    outcome = simulation.run(market, wanted)
    return outcome, close_books(engine, ACCOUNT, settings.paper_balances), time.perf_counter() - began


def _symbol(settings: Settings, name: str, file: Path | None) -> tuple[Symbol, SymbolRules]:
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


def _signals(file: Path) -> tuple[list[Signal], list[Untaken]]:
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


def _told(outcome: Outcome, seconds: float) -> str:
    rows = [(each.signal, text.moment(each.at) if each.at else text.NONE, each.why) for each in outcome.untaken]
    span = outcome.last - outcome.first
    figures = [
        ("market", f"{outcome.trades} trades, {text.span(span)} from {text.moment(outcome.first)} (UTC)"),
        (
            "simulated",
            f"{outcome.steps} steps in {seconds:.2f} s: {span / 1000 / max(seconds, 1e-9):,.0f} times real time",
        ),
    ]
    parts = [text.columns(("not taken", "at (UTC)", "why"), rows), ""] if rows else []
    return "\n".join([*parts, text.fields(figures)])


_RATES: Final = {"maker": "0.001", "taker": "0.001"}  # those that the paper exchange takes
_FEES: Final = msgspec.convert({"standardCommission": _RATES}, type=rule_book.Commission, strict=False)
