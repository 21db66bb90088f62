"""`executor margin`: the margin account as Executor sees it."""

import asyncio
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from executor.cli import exits
from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.exchange import not_on_paper, reach
from executor.cli.fleet_store import stored_state
from executor.cli.output import Format, echo_each, examples, fail
from executor.cli.service import ask, data
from executor.config import LogLevel, Settings, SettingsError, TradeMode
from executor.core.book.debt import owed
from executor.core.model.loans import Others
from executor.core.model.state import State
from executor.core.transition import empty
from executor.exchange.margin import MarginExchange
from executor.exchange.port import ReadError, StartError
from executor.exchange.wire.margin import Account as MarginAccount
from executor.ops import logs, margin_view
from executor.ops.margin_view import MarginView
from executor.service.asking import NO_MARGIN, ControlError, NotRunningError, Request
from executor.service.left_behind import Kept, kept_states
from executor.service.market import exchange_name
from executor.service.store.document import saved, state_of
from executor.service.store.state_store import StateError

CROSS: Final = MarginAccount()


@examples(
    "executor margin",
    "executor margin --format json | jq .status.level",
)
def margin(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Show the margin account: level, liquidation price, balances and debts.

    Which account it is, its level and where the exchange liquidates, the levels at which the exchange lends, warns and
    liquidates and those at which Executor acts, and of each asset what is free, locked and owed; of the debt, what
    Executor's trades have borrowed, and what others did.

    Asks the running service; when none runs, reads the state file and connects by itself. Nothing is changed. Of
    several symbols and accounts all are shown, and JSON is a list.
    """
    places = find_places(read_chosen(context, account), symbol)
    logs.set_up(places[0].settings.log_format, LogLevel.WARNING)
    found, code = for_each(places, lambda place: (place.account, look(place)))
    echo_each(found, output, margin_view.as_text, listed=len(places) > 1)
    if code:
        raise typer.Exit(code)


def need_margin(settings: Settings) -> None:
    if settings.trade_mode is not TradeMode.MARGIN:
        fail(NO_MARGIN)


def look(place: Place) -> MarginView:
    """The account as it is now. Ends the command where it can't be read, and on Spot."""
    need_margin(place.settings)
    return through_the_service(place) or _alone(place)


def through_the_service(place: Place) -> MarginView | None:
    """None when no service runs."""
    try:
        answer = ask(place, Request("margin"))
    except NotRunningError:
        return None
    except ControlError as error:
        fail(error, exits.UNAVAILABLE)
    if answer.data is None:
        fail(answer.text, exits.UNAVAILABLE)
    return data(answer, MarginView)


def _alone(place: Place) -> MarginView:
    not_on_paper(place.settings)
    try:
        return asyncio.run(_read(place))
    except (StateError, SettingsError) as error:
        fail(error)
    except (StartError, ReadError) as error:
        fail(error, exits.UNAVAILABLE)


async def _read(place: Place) -> MarginView:
    known = _stored(place)
    async with reach(place.settings) as (venue, exchange, policy, rules):
        state = known or empty(place.symbol, venue)
        assert isinstance(exchange, MarginExchange)
        account = replace(await exchange.margin_account(), others=_owed_beside(place))
        return margin_view.view(state, account, policy, rules)


def kept_beside(place: Place) -> list[Kept]:
    """The states of other symbols whose trades are on the same cross account, also of those that can't be read."""
    settings = place.settings
    if settings.margin_isolated or settings.endpoints is None or place.fleet:
        return []
    venue = f"{exchange_name(settings.binance_env, settings.endpoints.rest)} {CROSS.kind}"
    kept = kept_states(settings, (place.symbol,))
    return [each for each in kept if each.state is None or each.state.venue == venue]


def _owed_beside(place: Place) -> dict[str, Others]:
    """By asset, as they were left."""
    found: dict[str, Others] = {}
    for kept in kept_beside(place):
        for asset, left in owed(kept.state.debts).items() if kept.state is not None else ():
            found[asset] = Others(owed=found.get(asset, Others()).owed + left)
    return found


def _stored(place: Place) -> State | None:
    if place.fleet:
        return stored_state(place)
    loaded = saved(place.state)
    return None if loaded is None else state_of(loaded.value)
