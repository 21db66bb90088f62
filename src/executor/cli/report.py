"""`executor report`: the trades that are finished."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from executor.cli.context import Place, Which, find_places, for_each, read_settings
from executor.cli.output import ListFormat, examples, fail
from executor.core.model.state import Closed
from executor.ops import report as trades
from executor.service.store.journal import JournalError
from executor.service.store.trades import read_trades, trades_path

PRINT: Final[dict[ListFormat, Callable[[Sequence[Closed]], str]]] = {
    ListFormat.TABLE: trades.as_table,
    ListFormat.CSV: trades.as_csv,
    ListFormat.JSON: trades.as_json,
}


@examples(
    "executor report --last 10",
    "executor report --format csv > trades.csv",
    "executor report --format json | jq '.[] | select(.reason == \"SL\") | .pnl'",
)
def report(
    context: typer.Context,
    output: Annotated[ListFormat, typer.Option("--format", help="How to print them.")] = ListFormat.TABLE,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the last N.")] = None,
    symbol: Which = None,
) -> None:
    """Show the finished trades.

    How each ended, what it earned in quote and in R, what it paid in commission, and what was left.

    JSON is a list of objects; times are ISO 8601 in UTC, decimals are strings of plain digits. CSV has the same
    columns. Of several symbols all trades are shown, by the time at which they closed; tables are one for each symbol.
    """
    places, code = for_each(find_places(read_settings(context), symbol), _trades)
    found = sorted((trade for each in places for trade in each), key=lambda trade: trade.closed)
    typer.echo(PRINT[output](found[-last:] if last is not None else found))
    if code:
        raise typer.Exit(code)


def _trades(place: Place) -> list[Closed]:
    try:
        return list(read_trades(trades_path(place.state)))
    except JournalError as error:
        fail(error)
