"""`executor ping`: whether the service runs and its loop turns; for health checks of containers and scripts."""

import socket

import typer

from executor.cli import exits
from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.fleet_store import in_store
from executor.cli.output import examples, fail, say
from executor.cli.service import ask
from executor.config import Settings
from executor.service.asking import ControlError, NotRunningError, Request

PATIENCE_S = 8.0


@examples(
    "executor ping && echo it trades",
)
def ping(context: typer.Context, symbol: Which = None, account: Account = None) -> None:
    """Tell whether the service runs and its loop turns.

    The question goes through the loop, behind all that waits there: a service that hangs does not answer. Of several
    symbols each one's loop is asked. In a fleet it tells whether this machine's node lives, which it does only while
    its loops turn; with --account the account's owner is asked, wherever that is.
    """
    chosen = read_chosen(context, account)
    if chosen[0].fleet and account is None:
        _look_for(chosen[0])
        return
    _, code = for_each(find_places(chosen, symbol), _ask)
    if code:
        raise typer.Exit(code)


def _look_for(settings: Settings) -> None:
    """Its key in the store hangs on a lease that it renews as long as its loops come round."""
    from executor.service.fleet.membership import read_view  # noqa: PLC0415  (most commands are about no fleet)

    node = settings.fleet_node or socket.gethostname()

    view = in_store(settings, read_view)
    if node not in view.nodes:
        fail(f"no node lives as {node}; those that do: {', '.join(sorted(view.nodes)) or 'none'}", exits.UNAVAILABLE)
    owned = sorted(account for account, owner in view.owners.items() if owner.node == node)
    say(f"{node} lives and owns {', '.join(owned) or 'nothing'}")


def _ask(place: Place) -> None:
    try:
        say(ask(place, Request("ping"), timeout=PATIENCE_S).text)
    except NotRunningError as error:
        fail(error, exits.UNAVAILABLE)
    except ControlError as error:
        fail(error)
