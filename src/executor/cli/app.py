"""The `executor` command. A new command is a module here with a function, and a line in `COMMANDS`.

A command's module is imported when the command is called, so that `executor --help` answers at once.
"""

import errno
import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module, metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from executor.cli import exits

_NOT_TAKEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Of a disk or a terminal that takes no more."""


_SHOWN_MAX: Final = 200
"""Characters of a name that may be too long for any file."""


class Command(NamedTuple):
    """Where a command lives, `module:function`, and the sentence that `executor --help` shows for it."""

    target: str
    summary: str


COMMANDS: Final[Mapping[str, Command]] = {
    "run": Command("executor.cli.run:run", "Trade: follow the signals and carry them out, until SIGTERM or SIGINT."),
    "paper": Command("executor.cli.paper:paper", "Serve a paper exchange on loopback, for any client of Binance Spot."),
    "status": Command("executor.cli.status:status", "Show what is held, its stops and orders, and the last trade."),
    "ping": Command("executor.cli.ping:ping", "Tell whether the service runs and its loop turns."),
    "logs": Command("executor.cli.logs:logs", "Show the running service's last log lines."),
    "check": Command("executor.cli.check:check", "Compare the exits that ought to be open with those on the exchange."),
    "pause": Command("executor.cli.operate:pause", "Take no new entries."),
    "resume": Command("executor.cli.operate:resume", "Take entries again."),
    "cancel-entry": Command("executor.cli.operate:cancel_entry", "Give up the entry that is under way."),
    "move-stop": Command("executor.cli.operate:move_stop", "Move the stop, only ever towards profit."),
    "flatten": Command("executor.cli.flatten:flatten", "Close the open trade at market."),
    "margin": Command(
        "executor.cli.margin:margin", "Show the margin account: level, liquidation price, balances and debts."
    ),
    "repay": Command("executor.cli.repay:repay", "Give back what is owed on margin."),
    "adopt": Command("executor.cli.recover:adopt", "Look after a trade that could not be rebuilt."),
    "forget": Command("executor.cli.recover:forget", "Leave orders that could not be rebuilt where they are."),
    "signal": Command("executor.cli.signal:signal", "Append one signal to the signal file."),
    "report": Command("executor.cli.report:report", "Show the finished trades."),
    "why": Command("executor.cli.why:why", "Tell how a trade, an order or a refused signal came about."),
    "replay": Command("executor.cli.replay:replay", "Replay the journal, and compare every state."),
    "simulate": Command("executor.cli.simulate:simulate", "Carry out signals on a recorded market, at full speed."),
    "doctor": Command("executor.cli.doctor:doctor", "Look at all that a start needs, and say what to do about it."),
    "fleet": Command(
        "executor.cli.fleet:app", "Show a fleet: its nodes, who owns which account, its store; and move accounts."
    ),
    "alerts": Command("executor.cli.alerts:alerts", "Explain the alerts: what each means, and what to do."),
    "matrix": Command("executor.cli.matrix:matrix", "Show what every event does in every phase of a trade."),
    "config": Command("executor.cli.config:config", "Show every setting, its value and where it came from."),
}


class LazyGroup(TyperGroup):
    """Knows its commands by name and summary; imports the one that is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name, help=command.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, stub, rest = super().resolve_command(ctx, args)
        try:
            return name, stub if name is None else load_command(name), rest
        finally:
            gc.enable()  # the entrance has disabled it while all that is imported comes in


def load_command(name: str) -> Any:
    """The parser of one command, from its function."""
    module, _, function = COMMANDS[name].target.partition(":")
    if isinstance(group := getattr(import_module(module), function), typer.Typer):
        return typer.main.get_command(group)
    single = typer.Typer(add_completion=False)
    single.command(name, epilog=exits.EPILOG)(getattr(import_module(module), function))
    return typer.main.get_command(single)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    epilog=exits.EPILOG,
    pretty_exceptions_enable=False,  # a plain traceback shows no values, so no secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"executor {metadata.version('executor')}")
        raise typer.Exit(exits.OK)


@app.callback()
def executor(
    context: typer.Context,
    env_file: Annotated[
        Path,
        typer.Option("--env-file", metavar="FILE", help="Read settings from FILE beside the environment."),
    ] = Path(".env"),
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Carry out trade signals on Binance, on Spot and on margin, from signal to close."""
    source = context.get_parameter_source("env_file")
    if source is not None and source.name != "DEFAULT" and not env_file.is_file():
        raise typer.BadParameter(f"{env_file} is not a file", param_hint="--env-file")
    context.obj = env_file


def run() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal's locale has no letters for is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    if sys.stdin is None:  # closed by whoever has called: a question has no answer then
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  (as long as the process)
    try:
        app()
    except OSError as error:
        if error.filename is None and error.errno in _NOT_TAKEN:
            _fail(f"what there is to say can't be written: {error.strerror}")
        if error.filename is None:
            raise
        whose = "; if it is the service's, be its user: sudo -u executor" if isinstance(error, PermissionError) else ""
        _fail(f"{str(error.filename)[:_SHOWN_MAX]}: {error.strerror}{whose}")


def _fail(text: str) -> NoReturn:
    """Nothing of what is still to be printed is tried again at the very end: it can't be taken, or is of no use."""
    typer.echo(f"executor: {text}", err=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(exits.FAILED)
