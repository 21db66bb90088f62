"""What every command needs first: the settings, or a clear end."""

from pathlib import Path

import typer

from executor.cli import exits
from executor.config import Settings, SettingsError, load_settings


def read_settings(context: typer.Context) -> Settings:
    """The checked settings, from the env file that the command line names. Warnings and faults go to stderr.

    Raises:
        typer.Exit: with `exits.BAD_SETTINGS`, after printing every fault.
    """
    env_file = context.find_object(Path)
    try:
        settings = load_settings(env_file=env_file or Path(".env"))
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exits.BAD_SETTINGS) from error
    for warning in settings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return settings
