"""`executor why`: how a trade, an order or a refusal came about."""

from typing import Annotated

import typer

from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.output import examples, fail
from executor.ops import story
from executor.ops.replay import Replay
from executor.service.store.journal import JournalError


@examples(
    "executor why",
    "executor why EX_1750534444000_SL1_3",
    "executor why tv-20261126-1",
)
def why(
    context: typer.Context,
    about: Annotated[
        str,
        typer.Argument(metavar="[TRADE|ORDER|SIGNAL]", help="A trade, an order's id, or a signal's; none: the last."),
    ] = "",
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Tell how a trade, an order or a refused signal came about.

    From the journal: the signal, each decision and the fact it came from, with the rule (docs/rules.md), the requests,
    their answers and how long they took. For a signal that became no trade it says why. It asks nothing of the exchange
    and can be used while the service runs.
    """

    def of_one(place: Place) -> str:
        if not place.journal.exists():
            here = ": in a fleet each machine has the journal of what it traded itself" if place.fleet else ""
            fail(f"there is no journal {place.journal}{here}")
        try:
            told = story.tell(Replay(place.journal), about)
        except (JournalError, story.NotInJournal) as error:
            fail(error)
        return f"{place.account}\n{told}" if place.account else told

    found, code = for_each(find_places(read_chosen(context, account), symbol), of_one)
    for each in found:
        typer.echo(each)
    if code and not found:
        raise typer.Exit(code)
