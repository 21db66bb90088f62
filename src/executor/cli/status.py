"""`executor status`: what is held and what stands behind it."""

import time
from typing import Annotated

import typer

from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.fleet_store import stored_state
from executor.cli.output import Format, echo_each, examples, fail
from executor.cli.service import running
from executor.ops import status as ops_status
from executor.service.store.document import saved, state_of
from executor.service.store.state_store import StateError


@examples(
    "executor status",
    "executor status --format json | jq .position.unprotected",
)
def status(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Show what is held, its stops and orders, and the last trade.

    Asks the running service; when none runs, it is told from the state file, which is only read. Prices and quantities
    are strings of plain digits in JSON; `running` says which of the two it was. Where there is no such file either, a
    warning names it: the service may run with another STATE_FN. Of several symbols and accounts all are
    shown, and JSON is a list. In a fleet the account's owner is asked, whichever machine that is, and where there is
    none the store.
    """
    places = find_places(read_chosen(context, account), symbol)
    found, code = for_each(places, lambda place: (place.account, running(place) or _from_disk(place)))
    echo_each(found, output, ops_status.as_text, listed=len(places) > 1)
    if code:
        raise typer.Exit(code)


def _from_disk(place: Place) -> ops_status.Status:
    try:
        if place.fleet:
            stored = stored_state(place)
            return (
                ops_status.status_of(stored, None, running=False, now=_now())
                if stored
                else ops_status.flat(place.symbol)
            )
        loaded = saved(place.state)
    except StateError as error:
        fail(error)
    if loaded is None:
        typer.echo(f"warning: {place.no_state}", err=True)
        return ops_status.flat(place.symbol)
    if loaded.source == "previous":
        typer.echo(f"warning: {place.state} {loaded.fault}; this is the state before it", err=True)
    return ops_status.status_of(state_of(loaded.value), None, running=False, now=_now())


def _now() -> int:
    return time.time_ns() // 1_000_000
