"""`executor status`: what is held and what stands behind it."""

from typing import Annotated

import typer

from executor.cli.context import Place, find_place, read_settings
from executor.cli.output import Format, examples, fail
from executor.cli.service import running
from executor.core.state import SCHEMA_VERSION
from executor.ops import status as ops_status
from executor.service.document import Document, Inconsistent, state_of
from executor.service.store import StateError, StateStore


@examples(
    "executor status",
    "executor status --format json | jq .position.unprotected",
)
def status(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Show what is held, its stops and orders, and the last trade.

    Asks the running service; when none runs, it is told from the state file, which is only read. Prices and quantities
    are strings of plain digits in JSON; `running` says which of the two it was.
    """
    place = find_place(read_settings(context))
    found = running(place) or _from_disk(place)
    typer.echo(ops_status.as_json(found) if output is Format.JSON else ops_status.as_text(found))


def _from_disk(place: Place) -> ops_status.Status:
    try:
        loaded = StateStore(place.state, schema_version=SCHEMA_VERSION).peek(Document)
        if loaded is None:
            return ops_status.flat(place.symbol)
        if loaded.source == "previous":
            typer.echo(f"warning: {place.state} {loaded.fault}; this is the state before it", err=True)
        return ops_status.status_of(state_of(loaded.value), None, running=False)
    except (StateError, Inconsistent) as error:
        fail(error)
