"""`executor report`: the trades that are finished."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from executor.cli.context import Account, Place, Which, find_places, read_chosen
from executor.cli.output import ListFormat, examples, fail, write_page
from executor.core.model.state import Closed
from executor.ops import report as trades
from executor.ops import text
from executor.ops.replay import Replay
from executor.ops.reports.page import report_page
from executor.ops.reports.paths import Recorder, TradePath
from executor.service.store.journal import JournalError
from executor.service.store.trades import read_trades

PRINT: Final[dict[ListFormat, Callable[[Sequence[Closed]], str]]] = {
    ListFormat.TABLE: trades.as_table,
    ListFormat.CSV: trades.as_csv,
    ListFormat.JSON: trades.as_json,
}


@examples(
    "executor report --last 10",
    "executor report --format csv > trades.csv",
    "executor report --html trades.html",
    "executor report --format json | jq '.[] | select(.reason == \"SL\") | .pnl'",
)
def report(
    context: typer.Context,
    output: Annotated[ListFormat, typer.Option("--format", help="How to print them.")] = ListFormat.TABLE,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the last N.")] = None,
    symbol: Which = None,
    account: Account = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            "--trades", metavar="FILE", help="A list of trades of another machine of the fleet; several times."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page to look at, with pictures.")
    ] = None,
) -> None:
    """Show the finished trades.

    How each ended, what it earned in quote and in R, what it paid in commission, and what was left.

    JSON is a list of objects; times are ISO 8601 in UTC, decimals are strings of plain digits. CSV has the same
    columns. Of several symbols all trades are shown, by the time at which they closed; tables are one for each symbol.

    In a fleet each machine lists what it closed itself: --trades adds the lists of others, each trade once.

    With --html a page is written too: one file that needs nothing else, with the profit, the distribution of R,
    slippage, and each trade on its price with its stop's path and its fills, as far back as the journal tells.
    """
    places = find_places(read_chosen(context, account), symbol)
    faults: list[str] = []
    mine = [trade for place in places for trade in _listed(place.settings.trades_path(place.symbol), faults)]
    theirs = {_name(trade): trade for path in also or () for trade in _listed(_there(path), faults)}
    known = {_name(trade) for trade in mine}
    mine += [trade for name, trade in theirs.items() if name not in known]
    found = sorted(mine, key=lambda trade: trade.closed)
    shown = found[-last:] if last is not None else found
    if shown or not faults:
        typer.echo(PRINT[output](shown))
    if html is not None:
        title = f"Trades of {', '.join(place.symbol for place in places)}"
        write_page(html, report_page(title, shown, _paths(places, shown), about=_about(shown)))
    if faults:
        fail("; ".join(faults))


def _name(trade: Closed) -> tuple[str, str]:
    """Trades are named by when they began: two symbols' may be namesakes."""
    return trade.symbol, trade.trade


def _there(path: Path) -> Path:
    if not path.is_file():
        raise typer.BadParameter(f"{path} is not a file", param_hint="--trades")
    return path


def _listed(path: Path, faults: list[str]) -> list[Closed]:
    """What can be read of a list of trades; where it can't be read on, `faults` says so."""
    found: list[Closed] = []
    try:
        found.extend(read_trades(path))
    except JournalError as error:
        faults.append(f"list of trades, {error}: what comes after that is not shown")
    return found


def _paths(places: Sequence[Place], trades: Sequence[Closed]) -> dict[str, TradePath]:
    """How the trades went, as their journals tell it; what a journal does not tell is left out, and said."""
    found: dict[str, TradePath] = {}
    for place in places:
        wanted = {trade.trade for trade in trades if trade.symbol == place.symbol}
        if not wanted or not place.journal.exists():
            continue
        recorder = Recorder()
        try:
            for told in Replay(place.journal):
                recorder.observe(told.event, told.step)
        except JournalError as error:
            typer.echo(f"warning: {error}: what it tells from there on is not on the page", err=True)
        found |= {trade: path for trade, path in recorder.finished.items() if trade in wanted}
    return found


def _about(trades: Sequence[Closed]) -> list[tuple[str, str]]:
    if not trades:
        return []
    first, last = min(trade.opened for trade in trades), max(trade.closed for trade in trades)
    return [("from", text.moment(first)), ("until", text.moment(last)), ("trades", str(len(trades)))]
