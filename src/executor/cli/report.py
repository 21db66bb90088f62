"""`executor report`: the trades that are finished."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from executor.cli.context import ACCOUNT, Account, Place, Which, find_places, join, read_chosen
from executor.cli.output import ListFormat, examples, fail, write_page
from executor.core.model.state import Closed
from executor.ops import report as trades
from executor.ops import text
from executor.ops.replay import Replay
from executor.ops.report import Part
from executor.ops.reports.page import report_page
from executor.ops.reports.paths import Recorder, TradePath
from executor.service.store.journal import JournalError
from executor.service.store.trades import read_trades

PRINT: Final[dict[ListFormat, Callable[[Sequence[Closed], Sequence[str]], str]]] = {
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
    Where accounts have names, each trade's is told, and each has tables of its own.

    In a fleet each machine lists what it closed itself: --trades adds the lists of others, each trade once. Of several
    accounts --account says whose they are.

    With --html a page is written too: one file that needs nothing else, with the profit, the distribution of R,
    slippage, and each trade on its price with its stop's path and its fills, as far back as the journal tells.
    """
    places = find_places(read_chosen(context, account), symbol)
    faults: list[str] = []
    mine = [
        _Finished(place.account, trade)
        for place in places
        for trade in _listed(place.settings.trades_path(place.symbol), faults)
    ]
    if also:
        whose = _only_account(places)
        theirs = {each.name: each for path in also for each in _of(whose, _listed(_there(path), faults))}
        known = {each.name for each in mine}
        mine += [each for name, each in theirs.items() if name not in known]
    found = sorted(mine, key=lambda each: each.trade.closed)
    shown = found[-last:] if last is not None else found
    listed = [each.trade for each in shown]
    accounts = [each.account for each in shown] if any(place.account for place in places) else []
    if shown or not faults:
        typer.echo(PRINT[output](listed, accounts))
    if html is not None:
        title = f"Trades of {', '.join(place.name for place in places)}"
        paths = _paths(places, shown)
        write_page(html, report_page(title, listed, paths, accounts=accounts, about=_about(listed)))
    if faults:
        fail("; ".join(faults))


class _Finished(NamedTuple):
    """A trade, and whose it is. Trades are named by when they began: two symbols' or accounts' may be namesakes."""

    account: str
    trade: Closed

    @property
    def part(self) -> Part:
        return self.account, self.trade.symbol

    @property
    def name(self) -> tuple[Part, str]:
        return self.part, self.trade.trade


def _of(account: str, found: Sequence[Closed]) -> list[_Finished]:
    return [_Finished(account, trade) for trade in found]


def _only_account(places: Sequence[Place]) -> str:
    """A list of another machine does not say whose it is. Raises typer.BadParameter where that is not clear."""
    accounts = list(dict.fromkeys(place.account for place in places))
    if len(accounts) > 1:
        raise typer.BadParameter(f"whose is it? name {join(accounts, 'or')} with {ACCOUNT}", param_hint="--trades")
    return accounts[0]


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


def _paths(places: Sequence[Place], trades: Sequence[_Finished]) -> dict[Part, dict[str, TradePath]]:
    """How the trades went, as their journals tell it; what a journal does not tell is left out, and said."""
    found: dict[Part, dict[str, TradePath]] = {}
    for place in places:
        part = place.account, place.symbol
        wanted = {each.trade.trade for each in trades if each.part == part}
        if not wanted or not place.journal.exists():
            continue
        recorder = Recorder()
        try:
            for told in Replay(place.journal):
                recorder.observe(told.event, told.step)
        except JournalError as error:
            typer.echo(f"warning: {error}: what it tells from there on is not on the page", err=True)
        found[part] = {trade: path for trade, path in recorder.finished.items() if trade in wanted}
    return found


def _about(trades: Sequence[Closed]) -> list[tuple[str, str]]:
    if not trades:
        return []
    first, last = min(trade.opened for trade in trades), max(trade.closed for trade in trades)
    return [("from", text.moment(first)), ("until", text.moment(last)), ("trades", str(len(trades)))]
