"""`executor simulate`: what these settings would have done."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.context import read_settings
from executor.cli.grid import PRINT as GRID
from executor.cli.grid import GridError, Interrupted, combinations, jobs_of, processors, run_grid
from executor.cli.output import ListFormat, examples, fail, write_page
from executor.cli.report import PRINT
from executor.cli.simulation import Prices, Recording, Simulated, simulate_once
from executor.config import Settings, SettingsError, load_settings
from executor.ops import account, report, text
from executor.ops.reports.grid import Cell, grid_page, words_of
from executor.ops.reports.page import report_page
from executor.ops.reports.paths import Recorder
from executor.paper.engine.model import KlinePath
from executor.paper.errors import PaperError
from executor.paper.replay.recording import demo_signals, demo_trades


@examples(
    "executor simulate",
    "TRAIL_MODE=SWING EXIT_LAYOUT=PLAIN PAPER_BALANCES=USDT=10000,LTC=5 executor simulate",
    "executor simulate --set TRAIL_MODE=DISTANCE,SWING --set SL_AFTER_TP1=BREAKEVEN,KEEP --html grid.html",
    "executor simulate --klines BTCUSDT-1m.csv.gz --signals my-signals.jsonl --format csv > trades.csv",
)
def simulate(
    context: typer.Context,
    trades: Annotated[
        list[Path] | None,
        typer.Option("--trades", metavar="FILE", help="Recorded trades; default: the bundled ones. May be repeated."),
    ] = None,
    klines: Annotated[
        list[Path] | None,
        typer.Option("--klines", metavar="FILE", help="Recorded klines in place of trades. May be repeated."),
    ] = None,
    path: Annotated[
        KlinePath, typer.Option("--path", case_sensitive=False, help="What a kline reaches first.")
    ] = KlinePath.LOW_FIRST,
    signals: Annotated[
        list[Path] | None,
        typer.Option(
            "--signals",
            metavar="FILE",
            help="JSONL; default: those of the bundled trades. One for all recordings, or one each, in their order.",
        ),
    ] = None,
    set_to: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=V1,V2",
            help="Try each of these values, in each combination with the others. May be repeated; a value that has"
            " commas itself (TP_R_LIST) is one each time.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", metavar="N", min=1, help="How many at a time; default: one a processor."),
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

    With several combinations or recordings all are carried out, on all processors: a line for each combination, the
    best sum of R first; as CSV and JSON one for each combination on each recording, in the order given. Of several
    recordings each one's name says its symbol.

    Exit code 1 when an account does not add up.
    """
    settings = read_settings(context)
    env_file = context.find_object(Path) or Path(".env")
    if trades and klines:
        raise typer.BadParameter("--trades and --klines exclude each other")
    recordings = _recordings(trades or [], klines or [], path, signals or [])
    try:
        found = combinations(set_to or [], env_file)
        if len(found) * len(recordings) > 1:
            jobs = jobs_of(found, recordings, env_file, exchange_info, prices)
            _show_grid(run_grid(jobs, processes or processors()), output, html)
            return
    except GridError as error:
        fail(error, exits.BAD_SETTINGS if error.bad_settings else exits.FAILED)
    except Interrupted as interrupted:
        fail(interrupted, exits.INTERRUPTED)
    if found[0]:
        settings = load_settings({**os.environ, **dict(found[0])}, env_file)
    _show_one(settings, recordings[0], exchange_info, prices, output, html)


def _recordings(
    trades: Sequence[Path], klines: Sequence[Path], path: KlinePath, signals: Sequence[Path]
) -> list[Recording]:
    """Each market with its signals. Raises typer.BadParameter."""
    files = [*trades, *klines]
    if not files:
        files = [demo_trades().path]
        signals = signals or [demo_signals()]
    if not signals:
        raise typer.BadParameter("a market of your own needs --signals")
    if len(signals) not in {1, len(files)}:
        raise typer.BadParameter(
            f"given {len(signals)} times for {len(files)} recordings; must be once, or once for each",
            param_hint="--signals",
        )
    if len({file.name for file in files}) < len(files):
        raise typer.BadParameter("two recordings have the same name; each must have its own")
    each = list(signals) if len(signals) == len(files) else [signals[0]] * len(files)
    kind = path if klines else None
    return [Recording(file, own, kind) for file, own in zip(files, each, strict=True)]


def _show_grid(cells: Sequence[Cell], output: ListFormat, html: Path | None) -> None:
    typer.echo(GRID[output](cells))
    if html is not None:
        files = list(dict.fromkeys(cell.recording for cell in cells))
        about = [("combinations", str(len(cells) // len(files))), ("recordings", ", ".join(files))]
        write_page(
            html, grid_page(f"Simulations on {len(files)} recordings" if files[1:] else "Simulations", cells, about)
        )
    wrong = [cell for cell in cells if cell.faults]
    for cell in wrong:
        typer.echo(f"{words_of(cell.settings)} on {cell.recording}: {'; '.join(cell.faults)}", err=True)
    if wrong:
        raise typer.Exit(exits.FAILED)


def _show_one(
    settings: Settings,
    recording: Recording,
    exchange_info: Path | None,
    prices: Prices,
    output: ListFormat,
    html: Path | None,
) -> None:
    recorder = Recorder() if html is not None else None
    try:
        found = simulate_once(settings, recording, exchange_info, prices, recorder)
    except (SettingsError, PaperError) as error:
        fail(error)
    typer.echo(PRINT[output](found.outcome.closed, ()))
    typer.echo(f"\n{_told(found)}\n\n{account.as_text(found.books)}", err=True)
    if html is not None and recorder is not None:
        rows = _untaken(found)
        title = f"Simulation on {recording.file.name}"
        paths = dict.fromkeys(report.parts(found.outcome.closed), recorder.finished)
        page = report_page(title, found.outcome.closed, paths, about=_figures(found), untaken=rows)
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
