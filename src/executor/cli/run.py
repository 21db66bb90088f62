"""`executor run`: trade until stopped."""

import faulthandler
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import typer

from executor.cli import exits
from executor.cli.context import read_settings, read_sound_accounts
from executor.cli.output import code_of, examples, fail
from executor.config import Settings
from executor.core.model.state import State
from executor.ops import account, logs, report
from executor.service import app, runner
from executor.service.loop import Loop
from executor.service.store.journal import JournalError
from executor.service.store.trades import read_trades

if TYPE_CHECKING:
    from executor.service.embedded import Embedded

STDERR = 2  # the descriptor itself: what hangs may hold the stream


@examples(
    "executor run",
    "PAPER_SPEED=0 PAPER_RECORDING=BTCUSDT-trades.csv.gz PAPER_SIGNALS=signals.jsonl executor run",
    "executor --env-file testnet.env run",
)
def run(context: typer.Context) -> None:
    """Trade: follow the signals and carry them out, until SIGTERM or SIGINT.

    With BINANCE_ENV=paper (the default) the recorded market is played on an embedded exchange. The run ends with it
    and prints the finished trades, the orders left on the exchange and the account; the exit code is 1 when an order
    is left without a trade, or the account does not add up to the last unit.
    """
    settings = read_settings(context)
    logs.take_over_stderr(settings.log_format)
    logs.set_up(settings.log_format, settings.log_level)
    faulthandler.enable(STDERR)  # a watchdog ends a service that hangs by SIGABRT: then the log shows where it hung
    watched: dict[str, Loop] = {}

    def started(loop: Loop) -> None:
        if not watched:
            runner.settle_memory()
        watched[loop.state.symbol] = loop

    accounts, left_out = read_sound_accounts(context, settings)
    if accounts:
        _run_accounts(settings, accounts, started, left_out)
        return
    try:
        place = runner.run(app.run(settings, started, own_process=True))
    except app.START_ERRORS as error:
        typer.echo(f"executor can't run: {error}", err=True)
        raise typer.Exit(code_of(error)) from error
    if any(loop.ended_bare for loop in watched.values()):
        _say_bare()
    if place.embedded is not None:
        _close_the_books(settings, place.embedded, watched[place.symbol].state)


def _run_accounts(
    settings: Settings, accounts: dict[str, Settings], started: Callable[[Loop], None], left_out: dict[str, str]
) -> None:
    from executor.service.accounts import run_accounts  # noqa: PLC0415  (most runs trade one account)

    try:
        bare = runner.run(run_accounts(settings, accounts, started, left_out))
    except app.START_ERRORS as error:
        typer.echo(f"executor can't run: {error}", err=True)
        raise typer.Exit(code_of(error)) from error
    if bare:
        _say_bare()


def _say_bare() -> NoReturn:
    """Rule 9.5."""
    typer.echo(
        "executor has ended with a position that has no stop on the exchange, or with more sold than was held", err=True
    )
    raise typer.Exit(exits.FAILED)


def _close_the_books(settings: Settings, paper: "Embedded", state: State) -> None:
    """The run's trades, and whether the account adds up by the engine's own fills."""
    from executor.cli.books import close_books  # noqa: PLC0415  (no matching engine where none is embedded)

    try:
        trades = list(read_trades(settings.trades_path(paper.symbol)))
    except JournalError as error:
        fail(error)
    books = close_books(paper.engine, paper.account, paper.start, trade_open=state.position is not None)
    typer.echo(f"\n{report.as_table(trades)}\n\n{account.as_text(books)}")
    if books.faults:
        raise typer.Exit(exits.FAILED)
