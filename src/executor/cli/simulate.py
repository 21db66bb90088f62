"""`executor simulate`: what these settings would have done."""

from pathlib import Path
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.context import read_settings
from executor.cli.output import ListFormat, examples, fail, write_page
from executor.cli.report import PRINT
from executor.cli.simulation import Prices, Recording, Simulated, simulate_once
from executor.config import SettingsError
from executor.ops import account, text
from executor.ops.reports.page import report_page
from executor.ops.reports.paths import Recorder
from executor.paper.engine.model import KlinePath
from executor.paper.errors import PaperError
from executor.paper.replay.recording import demo_signals, demo_trades


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
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page to look at, with pictures.")
    ] = None,
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
    file = klines or trades or demo_trades().path
    recording = Recording(file, signals or demo_signals(), path if klines is not None else None)
    recorder = Recorder() if html is not None else None
    try:
        found = simulate_once(settings, recording, exchange_info, prices, recorder)
    except (SettingsError, PaperError) as error:
        fail(error)
    typer.echo(PRINT[output](found.outcome.closed))
    typer.echo(f"\n{_told(found)}\n\n{account.as_text(found.books)}", err=True)
    if html is not None and recorder is not None:
        rows = _untaken(found)
        title = f"Simulation on {file.name}"
        page = report_page(title, found.outcome.closed, recorder.finished, about=_figures(found), untaken=rows)
        write_page(html, page)
    if found.books.faults:
        raise typer.Exit(exits.FAILED)


def _told(found: Simulated) -> str:
    rows = _untaken(found)
    parts = [text.columns(("not taken", "at (UTC)", "why"), rows), ""] if rows else []
    return "\n".join([*parts, text.fields(_figures(found))])


def _untaken(found: Simulated) -> list[tuple[str, str, str]]:
    return [(each.signal, text.moment(each.at) if each.at else text.NONE, each.why) for each in found.outcome.untaken]


def _figures(found: Simulated) -> list[tuple[str, str]]:
    outcome, seconds = found.outcome, found.seconds
    span = outcome.last - outcome.first
    return [
        ("market", f"{outcome.trades} trades, {text.span(span)} from {text.moment(outcome.first)} (UTC)"),
        (
            "simulated",
            f"{outcome.steps} steps in {seconds:.2f} s: {span / 1000 / max(seconds, 1e-9):,.0f} times real time",
        ),
    ]
