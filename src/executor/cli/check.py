"""`executor check`: the exits that ought to be on the exchange against those that are."""

import asyncio
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.exchange import not_on_paper, reach
from executor.cli.fleet_store import stored_state
from executor.cli.output import Format, echo_each, examples, fail
from executor.cli.service import ask, data
from executor.config import LogLevel, SettingsError
from executor.core.model.state import State
from executor.core.transition import empty
from executor.exchange.port import ReadError, StartError
from executor.ops import check as ops_check
from executor.ops import logs
from executor.service.asking import ControlError, NotRunningError, Request
from executor.service.store.document import saved, state_of
from executor.service.store.state_store import StateError


@examples(
    "executor check",
    "executor check --format json | jq '.findings[].text'",
)
def check(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Compare the exits that ought to be open with those on the exchange.

    After the entry 3 exits (5 open orders with EXIT_LAYOUT=OCO or BRACKET, 3 with PLAIN), after the first target 2
    (3, 2), after both 1 (1, 1), after the close none. Lists what is missing, what is too much, orders with Executor's
    ids that belong to no open trade, and whatever breaks an invariant. Nothing is changed.

    Asks the running service; when none runs, reads the state file and connects by itself. Of several symbols and
    accounts all are looked at, and JSON is a list.

    Exit codes: 0 as expected, 1 not as expected, 69 could not be compared.
    """
    chosen = read_chosen(context, account)
    logs.set_up(chosen[0].log_format, LogLevel.WARNING)
    places = find_places(chosen, symbol)
    found, code = for_each(places, lambda place: (place.account, _through_the_service(place) or _alone(place)))
    echo_each(found, output, ops_check.as_text, listed=len(places) > 1)
    if not all(each.sound for _, each in found):
        raise typer.Exit(exits.FAILED)
    if code or not all(each.settled for _, each in found):
        raise typer.Exit(code or exits.UNAVAILABLE)


def _through_the_service(place: Place) -> ops_check.Check | None:
    try:
        answer = ask(place, Request("check"))
    except NotRunningError:
        return None
    except ControlError as error:
        fail(error, exits.UNAVAILABLE)
    if answer.data is None:
        fail(answer.text, exits.UNAVAILABLE)
    return data(answer, ops_check.Check)


def _alone(place: Place) -> ops_check.Check:
    not_on_paper(place.settings)
    try:
        return asyncio.run(_compare(place, stored_state(place) if place.fleet else _saved_state(place)))
    except SettingsError as error:
        fail(error)
    except (StateError, StartError, ReadError) as error:
        fail(error, exits.UNAVAILABLE)


def _saved_state(place: Place) -> State | None:
    loaded = saved(place.state)
    return None if loaded is None else state_of(loaded.value)


async def _compare(place: Place, state: State | None) -> ops_check.Check:
    """`state` None: there is none, so that no order of Executor's ought to be open."""
    async with reach(place.settings) as (venue, exchange, policy, rules):
        if state is None:
            state = empty(place.symbol, venue)
        if (state.symbol, state.venue) != (place.symbol, venue):
            raise StartError(
                f"the state is of {state.symbol} on {state.venue!r}, not of {place.symbol} on {venue!r}: check"
                " SYMBOL, BINANCE_ENV and STATE_FN"
            )
        return ops_check.check(state, await exchange.open_orders(), policy, rules)
