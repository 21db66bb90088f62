"""`executor run`: trade until stopped."""

import asyncio

import typer

from executor.cli import exits
from executor.cli.context import read_settings
from executor.ops import logs
from executor.service import app


def run(context: typer.Context) -> None:
    """Trade: follow the signals and carry them out, until SIGTERM or SIGINT.

    With BINANCE_ENV=paper (the default) the recorded market is played on an embedded exchange, and the run ends with it
    and a report.
    """
    settings = read_settings(context)
    logs.set_up(settings.log_format, settings.log_level)
    try:
        asyncio.run(app.run(settings))
    except app.START_ERRORS as error:
        typer.echo(f"executor can't run: {error}", err=True)
        raise typer.Exit(exits.FAILED) from error
