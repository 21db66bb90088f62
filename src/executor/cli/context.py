"""What every command needs first: the settings, or a clear end; and where the state is that it is about."""

from pathlib import Path
from typing import NamedTuple

import typer

from executor.cli import exits
from executor.cli.output import fail
from executor.config import BinanceEnv, Settings, SettingsError, load_settings


class Place(NamedTuple):
    """The symbol that the settings name, and its files."""

    symbol: str
    state: Path
    journal: Path


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


def find_place(settings: Settings) -> Place:
    """Raises typer.Exit when the symbol can't be told."""
    symbol = settings.symbol or _recorded_symbol(settings)
    return Place(symbol, settings.state_path(symbol), settings.journal_path(symbol))


def _recorded_symbol(settings: Settings) -> str:
    """On paper a symbol need not be set: the recording's name begins with it."""
    from executor.paper.recording import demo_trades  # noqa: PLC0415  (most commands need no recording)
    from executor.service.embedded import EmbeddedError, symbol_of  # noqa: PLC0415

    assert settings.binance_env is BinanceEnv.PAPER  # elsewhere SYMBOL is required
    try:
        return symbol_of(settings.paper_recording or demo_trades().path)
    except EmbeddedError as error:
        fail(error)
