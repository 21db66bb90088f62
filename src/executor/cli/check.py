"""`executor check`: the exits that ought to be on the exchange against those that are."""

import asyncio
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.context import Place, find_place, read_settings
from executor.cli.output import Format, examples, fail
from executor.cli.service import data
from executor.config import BinanceEnv, LogLevel, Settings, SettingsError
from executor.core.state import SCHEMA_VERSION, State
from executor.core.transition import empty
from executor.exchange.binance import connect
from executor.exchange.port import ReadError, StartError
from executor.ops import check as ops_check
from executor.ops import logs, text
from executor.service import app
from executor.service.control import ControlError, NotRunningError, Request, ask
from executor.service.document import Document, Inconsistent, state_of
from executor.service.policy import own_filters, policy_of
from executor.service.store import StateError, StateStore


@examples(
    "executor check",
    "executor check --format json | jq '.findings[].text'",
)
def check(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Compare the exits that ought to be open with those on the exchange.

    After the entry 3 exits (5 open orders with EXIT_LAYOUT=OCO, 3 with PLAIN), after the first target 2 (3, 2), after
    both 1 (1, 1), after the close none. Lists what is missing, what is too much, orders with Executor's ids that belong
    to no open trade, and whatever breaks an invariant. Nothing is changed.

    Asks the running service; when none runs, reads the state file and connects by itself.

    Exit codes: 0 as expected, 1 not as expected, 69 could not be compared.
    """
    settings = read_settings(context)
    logs.set_up(settings.log_format, LogLevel.WARNING)
    place = find_place(settings)
    found = _through_the_service(place) or _alone(settings, place)
    typer.echo(text.json(found) if output is Format.JSON else ops_check.as_text(found))
    if not found.sound:
        raise typer.Exit(exits.FAILED)
    if not found.settled:
        raise typer.Exit(exits.UNAVAILABLE)


def _through_the_service(place: Place) -> ops_check.Check | None:
    try:
        answer = ask(place.state, Request("check"))
    except NotRunningError:
        return None
    except ControlError as error:
        fail(error, exits.UNAVAILABLE)
    if answer.data is None:
        fail(answer.text, exits.UNAVAILABLE)
    return data(answer, ops_check.Check)


def _alone(settings: Settings, place: Place) -> ops_check.Check:
    if settings.binance_env is BinanceEnv.PAPER:
        fail(
            "no service runs, and the embedded paper exchange is there only while `executor run` is",
            exits.UNAVAILABLE,
        )
    try:
        loaded = StateStore(place.state, schema_version=SCHEMA_VERSION).peek(Document)
        return asyncio.run(_compare(settings, None if loaded is None else state_of(loaded.value)))
    except (StateError, Inconsistent, SettingsError) as error:
        fail(error)
    except (StartError, ReadError) as error:
        fail(error, exits.UNAVAILABLE)


async def _compare(settings: Settings, state: State | None) -> ops_check.Check:
    """`state` None: there is none, so that no order of Executor's ought to be open."""
    async with app.market(settings) as place:
        if state is None:
            state = empty(place.symbol, place.venue)
        if (state.symbol, state.venue) != (place.symbol, place.venue):
            raise StartError(
                f"the state is of {state.symbol} on {state.venue!r}, not of {place.symbol} on {place.venue!r}: check"
                " SYMBOL, BINANCE_ENV and STATE_FN"
            )
        exchange = await connect(place.endpoints, place.credentials, place.symbol, place.patient, settings.recv_window)
        try:
            rules = own_filters(await exchange.rules(), settings)
            return ops_check.check(state, await exchange.open_orders(), policy_of(settings), rules)
        finally:
            await exchange.close()
