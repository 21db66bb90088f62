"""Commands that act on the running service: pause, resume, cancel-entry, move-stop."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.context import find_place, read_settings
from executor.cli.output import examples, fail
from executor.cli.service import tell


@examples(
    "executor pause && executor status",
)
def pause(context: typer.Context) -> None:
    """Take no new entries.

    They stay off until `executor resume`, also after a restart. Nothing is sold or cancelled: an open trade, an entry
    under way included, is carried on with.
    """
    _command(context, "pause", "paused: no new entries")


@examples(
    "executor resume",
)
def resume(context: typer.Context) -> None:
    """Take entries again.

    Ends a pause, and a halt whose cause is gone.
    """
    _command(context, "resume", "entries are allowed again")


@examples(
    "executor cancel-entry",
)
def cancel_entry(context: typer.Context) -> None:
    """Give up the entry that is under way.

    What it has bought already is kept and gets its exits. Refused when no entry is under way.
    """
    _command(context, "cancel-entry", "the entry is being cancelled")


@examples(
    "executor move-stop 81.25",
)
def move_stop(
    context: typer.Context,
    price: Annotated[str, typer.Argument(metavar="PRICE", help="The new stop price, in quote per base.")],
) -> None:
    """Move the stop, only ever towards profit.

    All stops of the open trade go to PRICE, which must not be past the market. They move as soon as the exchange takes
    it; `executor status` shows the live stop.
    """
    try:
        wished = Decimal(price)
    except InvalidOperation:
        wished = Decimal(0)
    if not wished.is_finite() or wished <= 0:
        raise typer.BadParameter(f"{price!r} must be a price above 0", param_hint="PRICE")
    _command(context, "move-stop", f"the stop is being moved to {price}", wished)


def _command(context: typer.Context, verb: str, done: str, price: Decimal | None = None) -> None:
    answer = tell(find_place(read_settings(context)), verb, price)
    if not answer.ok:
        fail(f"{verb} refused: {answer.text}", exits.FAILED)
    typer.echo(done if answer.text == "done" else answer.text)
