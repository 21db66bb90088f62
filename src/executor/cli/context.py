"""What every command needs first: the settings, or a clear end; and which symbols it is about, with their files."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import typer

from executor.cli import exits
from executor.cli.output import about, fail
from executor.config import BinanceEnv, Settings, SettingsError, load_settings
from executor.config.accounts import ALONE, load_accounts, named, sound_accounts
from executor.paper.errors import RecordingError

T = TypeVar("T")
ACCOUNT: Final = "--account"

Which = Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="The one symbol that it is about.")]
Account = Annotated[str | None, typer.Option("--account", metavar="NAME", help="The one account that it is about.")]
Everything = Annotated[bool, typer.Option("--all", help="Do it for every symbol that is traded.")]


class Place(NamedTuple):
    """A symbol that is traded: the settings that hold for it, and its files. `alone`: a command is about no other.
    `account`: empty where there is only one.
    """

    symbol: str
    state: Path
    journal: Path
    settings: Settings
    alone: bool
    account: str = ""

    @property
    def name(self) -> str:
        return f"{self.account} {self.symbol}".strip()

    @property
    def no_state(self) -> str:
        """What to say where there is none, and no service answers."""
        return f"no state at {self.state}: is STATE_FN the service's?"

    @property
    def fleet(self) -> bool:
        """Whether its state is in a fleet's store, and its owner may be any machine."""
        return bool(self.settings.fleet)


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
    _warn(accounts.values())
    return accounts


def read_sound_accounts(context: typer.Context, settings: Settings) -> tuple[dict[str, Settings], dict[str, str]]:
    """As `read_accounts`, without those that have faults; and what theirs are."""
    if settings.accounts is None:
        return read_accounts(context, settings), {}
    try:
        accounts, faults = sound_accounts(settings, env_file=context.find_object(Path) or Path(".env"))
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exits.BAD_SETTINGS) from error
    _warn(accounts.values())
    return accounts, {name: "; ".join(map(str, each)) for name, each in faults.items()}


def _warn(accounts: Iterable[Settings]) -> None:
    for warning in dict.fromkeys(warning for each in accounts for warning in each.warnings):
        typer.echo(f"warning: {warning}", err=True)


def read_chosen(context: typer.Context, account: str | None = None) -> tuple[Settings, ...]:
    """The settings of the account that is named, or of all. Raises as `read_settings`, and typer.BadParameter for an
    account that is not there.
    """
    settings = read_settings(context)
    # A word about one account needs no other's settings; one about all must not be one about those that are left.
    accounts, faults = (
        (read_accounts(context, settings), {}) if account is None else read_sound_accounts(context, settings)
    )
    if not accounts:
        if account is not None:
            raise typer.BadParameter(
                "there is one account, and it has no name: ACCOUNTS is not set", param_hint=ACCOUNT
            )
        return (settings,)
    if account is None:
        return tuple(accounts.values())
    if account in faults:
        typer.echo(faults[account], err=True)
        raise typer.Exit(exits.BAD_SETTINGS)
    if account not in accounts:
        raise typer.BadParameter(f"{account} is not there, but {join(list(accounts))}", param_hint=ACCOUNT)
    return (accounts[account],)


def find_place(chosen: Sequence[Settings], symbol: str | None = None) -> Place:
    """Of the symbol that is named, or of the only one. Raises typer.Exit when it can't be told, typer.BadParameter when
    it must be named, or is not traded.
    """
    places = find_places(chosen, symbol)
    if len(places) > 1:
        raise typer.BadParameter(_which_one(places), param_hint=_hint(places))
    return places[0]


def find_places(chosen: Sequence[Settings], symbol: str | None = None) -> list[Place]:
    """Of the symbol that is named, or of all, in the order of SYMBOLS, account by account. Raises as `find_place`."""
    traded = {index: each.traded or (_recorded_symbol(each),) for index, each in enumerate(chosen)}
    wanted = [
        (chosen[index], each)
        for index, symbols in traded.items()
        for each in symbols
        if symbol is None or each == symbol.upper()
    ]
    if not wanted:
        every = list(dict.fromkeys(each for symbols in traded.values() for each in symbols))
        raise typer.BadParameter(f"{symbol} is not traded, but {join(every)}", param_hint="--symbol")
    return [
        Place(
            each,
            settings.state_path(each),
            settings.journal_path(each),
            settings.of(each),
            alone=len(wanted) == 1,
            account=settings.account,
        )
        for settings, each in wanted
    ]


def find_chosen(chosen: Sequence[Settings], symbol: str | None, *, everything: bool) -> list[Place]:
    """For what changes something: of several symbols or accounts one must be named, or all be meant. Raises as
    `find_place`.
    """
    if everything and symbol is not None:
        raise typer.BadParameter("exclude each other", param_hint="--symbol and --all")
    places = find_places(chosen, symbol)
    if len(places) > 1 and not everything:
        raise typer.BadParameter(_which_one(places), param_hint=f"{_hint(places)} or --all")
    return places


def _which_one(places: Sequence[Place]) -> str:
    return f"which one? {join([place.name for place in places])} are traded"


def _hint(places: Sequence[Place]) -> str:
    several = {place.account for place in places}
    return ACCOUNT if len(several) == len(places) else "--symbol" if len(several) == 1 else f"{ACCOUNT} and --symbol"


def for_each(places: Sequence[Place], act: Callable[[Place], T]) -> tuple[list[T], int]:
    """Do it for every place, even after one has failed: what came of those that did not, and the exit code of the first
    that did. What a failure says, it has said on stderr. Raises OSError at the end where something could not be said.
    """
    found: list[T] = []
    code = exits.OK
    unsaid: OSError | None = None
    for place in places:
        try:
            with nullcontext() if place.alone else about(place.name):
                found.append(act(place))
        except typer.Exit as end:
            code = code or end.exit_code
        except OSError as error:
            unsaid = unsaid or error
    if unsaid is not None:
        raise unsaid
    return found, code


def join(names: Sequence[str], word: str = "and") -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def _recorded_symbol(settings: Settings) -> str:
    """On paper a symbol need not be set: the recording's name begins with it."""
    from executor.paper.replay.recording import demo_trades, symbol_of  # noqa: PLC0415  (most commands need none)

    assert settings.binance_env is BinanceEnv.PAPER  # elsewhere SYMBOL or SYMBOLS is required
    try:
        return symbol_of(settings.paper_recording or demo_trades().path)
    except RecordingError as error:
        fail(f"SYMBOL is not set, and {error}")
