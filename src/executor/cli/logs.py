"""`executor logs`: what the running service has said lately, also where nobody kept its output."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from executor.cli import exits
from executor.cli.context import Account, Place, find_places, read_chosen
from executor.cli.output import examples, fail
from executor.cli.service import ask, data
from executor.ops.logs import KEPT
from executor.service.asking import Answer, ControlError, NotRunningError, Request


@examples(
    "executor logs",
    "executor logs --last 500 --alerts",
)
def logs(
    context: typer.Context,
    last: Annotated[int, typer.Option("--last", min=1, max=KEPT, help="How many lines to look back.")] = 50,
    alerts: Annotated[bool, typer.Option("--alerts", help="Only what a person should act on.")] = False,
    account: Account = None,
) -> None:
    """Show the running service's last log lines.

    JSON, oldest first. The service keeps the last thousand lines since its start; the whole log is where its output
    goes.
    """
    answer = _answer(find_places(read_chosen(context, account)), last)
    for line in data(answer, list[str]):
        if not alerts or msgspec.json.decode(line).get("alert"):
            typer.echo(line)


def _answer(places: Sequence[Place], last: int) -> Answer:
    """Of the first that runs: the lines are those of the process, whichever of its symbols is asked."""
    place, *others = places
    try:
        return ask(place, Request("logs", count=last))
    except NotRunningError as error:
        return _answer(others, last) if others else fail(error, exits.UNAVAILABLE)
    except ControlError as error:
        fail(error)
