"""What every command needs first: the settings, or a clear end; and which symbols it is about, with their files."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import typer

from executor.cli import exits
from executor.cli.output import about, fail
from executor.config import BinanceEnv, Settings, SettingsError, load_settings
from executor.config.accounts import ALONE, load_accounts, named
from executor.paper.errors import RecordingError

T = TypeVar("T")

Which = Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="The one symbol that it is about.")]
Everything = Annotated[bool, typer.Option("--all", help="Do it for every symbol that is traded.")]


class Place(NamedTuple):
    """A symbol that is traded: the settings that hold for it, and its files. `alone`: a command is about no other."""

    symbol: str
    state: Path
    journal: Path
    settings: Settings
    alone: bool


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


def read_accounts(context: typer.Context, settings: Settings) -> dict[str, Settings]:
    """The settings of each account where there are several, or a fleet; empty where this process trades a single one.
    Warnings and faults go to stderr. Raises typer.Exit as `read_settings`.
    """
    if settings.accounts is None:
        if not settings.fleet:
            return {}
        return {ALONE: named(settings, ALONE)}
    try:
        accounts = load_accounts(settings, env_file=context.find_object(Path) or Path(".env"))
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exits.BAD_SETTINGS) from error
    for warning in dict.fromkeys(warning for each in accounts.values() for warning in each.warnings):
        typer.echo(f"warning: {warning}", err=True)
    return accounts


def find_place(settings: Settings, symbol: str | None = None) -> Place:
    """Of the symbol that is named, or of the only one. Raises typer.Exit when it can't be told, typer.BadParameter when
    it must be named, or is not traded.
    """
    places = find_places(settings, symbol)
    if len(places) > 1:
        raise typer.BadParameter(
            f"which one? {_listed([place.symbol for place in places])} are traded", param_hint="--symbol"
        )
    return places[0]


def find_places(settings: Settings, symbol: str | None = None) -> list[Place]:
    """Of the symbol that is named, or of all, in the order of SYMBOLS. Raises as `find_place`."""
    traded = settings.traded or (_recorded_symbol(settings),)
    wanted = traded if symbol is None else [each for each in traded if each == symbol.upper()]
    if not wanted:
        raise typer.BadParameter(f"{symbol} is not traded, but {_listed(traded)}", param_hint="--symbol")
    return [
        Place(each, settings.state_path(each), settings.journal_path(each), settings.of(each), alone=len(wanted) == 1)
        for each in wanted
    ]


def find_chosen(settings: Settings, symbol: str | None, *, everything: bool) -> list[Place]:
    """For what changes something: of several symbols one must be named, or all be meant. Raises as `find_place`."""
    if everything and symbol is not None:
        raise typer.BadParameter("exclude each other", param_hint="--symbol and --all")
    places = find_places(settings, symbol)
    if len(places) > 1 and not everything:
        raise typer.BadParameter(
            f"which one? {_listed([place.symbol for place in places])} are traded", param_hint="--symbol or --all"
        )
    return places


def for_each(places: Sequence[Place], act: Callable[[Place], T]) -> tuple[list[T], int]:
    """Do it for every place, even after one has failed: what came of those that did not, and the exit code of the first
    that did. What a failure says, it has said on stderr.
    """
    found: list[T] = []
    code = exits.OK
    for place in places:
        try:
            with nullcontext() if place.alone else about(place.symbol):
                found.append(act(place))
        except typer.Exit as end:
            code = code or end.exit_code
    return found, code


def _listed(symbols: Sequence[str]) -> str:
    *first, last = symbols
    return f"{', '.join(first)} and {last}" if first else last


def _recorded_symbol(settings: Settings) -> str:
    """On paper a symbol need not be set: the recording's name begins with it."""
    from executor.paper.replay.recording import demo_trades, symbol_of  # noqa: PLC0415  (most commands need none)

    assert settings.binance_env is BinanceEnv.PAPER  # elsewhere SYMBOL or SYMBOLS is required
    try:
        return symbol_of(settings.paper_recording or demo_trades().path)
    except RecordingError as error:
        fail(f"SYMBOL is not set, and {error}")
