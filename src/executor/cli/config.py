"""`executor config`: the settings in effect, and the documents made from their list."""

from enum import StrEnum
from typing import Annotated

import typer

from executor.cli.context import read_settings
from executor.config import rendering


class TableFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


def config(
    context: typer.Context,
    output: Annotated[TableFormat, typer.Option("--format", help="How to print them.")] = TableFormat.TABLE,
    env_example: Annotated[bool, typer.Option("--env-example", help="Print the text of .env.example instead.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the text of docs/settings.md instead.")] = False,
) -> None:
    """Show every setting, its value and where it came from.

    Secrets are shown as ***. Wrong settings end with every fault printed and exit code 78 (EX_CONFIG).
    """
    if env_example and markdown:
        raise typer.BadParameter("--env-example and --markdown exclude each other")
    if env_example:
        typer.echo(rendering.env_example(), nl=False)
    elif markdown:
        typer.echo(rendering.markdown(), nl=False)
    else:
        settings = read_settings(context)
        typer.echo(rendering.as_json(settings) if output is TableFormat.JSON else rendering.table(settings))
