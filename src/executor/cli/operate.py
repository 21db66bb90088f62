"""Commands that act on the running service: pause, resume, cancel-entry, move-stop."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer

from executor.cli.amounts import read_price
from executor.cli.context import Account, Everything, Place, Which, find_chosen, find_place, for_each, read_chosen
from executor.cli.output import examples, fail, say
from executor.cli.service import tell


@examples(
    "executor pause && executor status",
    "executor pause --all",
)
def pause(
    context: typer.Context, symbol: Which = None, account: Account = None, everything: Everything = False
) -> None:
    """Take no new entries.

    They stay off until `executor resume`, also after a restart. Nothing is sold or cancelled: an open trade, an entry
    under way included, is carried on with.
    """
    _command(
        find_chosen(read_chosen(context, account), symbol, everything=everything), "pause", "paused: no new entries"
    )


@examples(
    "executor resume",
)
def resume(
    context: typer.Context, symbol: Which = None, account: Account = None, everything: Everything = False
) -> None:
    """Take entries again.

    Ends a pause, and a halt whose cause is gone.
    """
    places = find_chosen(read_chosen(context, account), symbol, everything=everything)
    _command(places, "resume", "entries are allowed again")


@examples(
    "executor cancel-entry",
)
def cancel_entry(context: typer.Context, symbol: Which = None, account: Account = None) -> None:
    """Give up the entry that is under way.

    What it has bought already is kept and gets its exits. Refused when no entry is under way.
    """
    _command([find_place(read_chosen(context, account), symbol)], "cancel-entry", "the entry is being cancelled")


@examples(
    "executor move-stop 81.25",
)
def move_stop(
    context: typer.Context,
    price: Annotated[str, typer.Argument(metavar="PRICE", help="The new stop price, in quote per base.")],
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Move the stop, only ever towards profit.

    All stops of the open trade go to PRICE, or to the tick before it, which must not be past the market. They move as
    soon as the exchange takes it; `executor status` shows the live stop.
    """
    stop = read_price(price, "PRICE")
    place = find_place(read_chosen(context, account), symbol)
    _command([place], "move-stop", f"the stop is being moved to {price}", stop)


def _command(places: Sequence[Place], verb: str, done: str, price: Decimal | None = None) -> None:
    """Tell each, and all of them even after one has refused."""

    def act(place: Place) -> None:
        answer = tell(place, verb, price)
        if not answer.ok:
            fail(f"{verb} refused: {answer.text}")
        say(done if answer.text == "done" else answer.text)

    _, code = for_each(places, act)
    if code:
        raise typer.Exit(code)
