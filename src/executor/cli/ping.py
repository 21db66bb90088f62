"""`executor ping`: whether the service runs and its loop turns; for health checks of containers and scripts."""

import typer

from executor.cli import exits
from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.output import examples, fail, say
from executor.cli.service import ask
from executor.service.inlets.control import ControlError, NotRunningError, Request

PATIENCE_S = 8.0


@examples(
    "executor ping && echo it trades",
)
def ping(context: typer.Context, symbol: Which = None, account: Account = None) -> None:
    """Tell whether the service runs and its loop turns.

    The question goes through the loop, behind all that waits there: a service that hangs does not answer. Of several
    symbols each one's loop is asked.
    """
    _, code = for_each(find_places(read_chosen(context, account), symbol), _ask)
    if code:
        raise typer.Exit(code)


def _ask(place: Place) -> None:
    try:
        say(ask(place, Request("ping"), timeout=PATIENCE_S).text)
    except NotRunningError as error:
        fail(error, exits.UNAVAILABLE)
    except ControlError as error:
        fail(error)
