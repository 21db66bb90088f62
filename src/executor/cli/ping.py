"""`executor ping`: whether the service runs and its loop turns; for health checks of containers and scripts."""

import typer

from executor.cli import exits
from executor.cli.context import find_place, read_settings
from executor.cli.output import examples, fail
from executor.service.control import ControlError, NotRunningError, Request, ask

PATIENCE_S = 8.0


@examples(
    "executor ping && echo it trades",
)
def ping(context: typer.Context) -> None:
    """Tell whether the service runs and its loop turns.

    The question goes through the loop, behind all that waits there: a service that hangs does not answer.
    """
    place = find_place(read_settings(context))
    try:
        answer = ask(place.state, Request("ping"), timeout=PATIENCE_S)
    except NotRunningError as error:
        fail(error, exits.UNAVAILABLE)
    except ControlError as error:
        fail(error)
    typer.echo(answer.text)
