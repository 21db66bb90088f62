"""`executor alerts`: what each alert means, and what to do about it."""

from typing import Annotated

import typer

from executor.cli.output import examples
from executor.ops.alerts import document
from executor.ops.alerts.catalogue import CATALOGUE


@examples(
    "executor alerts",
    "executor alerts unprotected",
)
def alerts(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The alert that it is about.", show_default=False)] = "",
) -> None:
    """Explain the alerts: what each means, and what to do.

    Without a name all of them are listed. docs/alerts.md says the same.
    """
    if not name:
        typer.echo(document.table())
        return
    kind = CATALOGUE.get(name.strip().lower().replace(" ", "_").replace("-", "_"))
    if kind is None:
        raise typer.BadParameter(f"{name!r} is no alert: `executor alerts` lists them", param_hint="NAME")
    typer.echo(document.details(kind))
