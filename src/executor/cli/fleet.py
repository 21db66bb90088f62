"""`executor fleet …`: who lives, who owns what, and who is to."""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Annotated, Final, TypeVar

import typer

from executor.cli import exits
from executor.cli.context import read_accounts, read_settings
from executor.cli.fleet_store import in_store
from executor.cli.output import Format, examples, fail
from executor.config import Settings
from executor.ops import fleet as ops_fleet
from executor.ops import text
from executor.service.fleet.membership import read_view
from executor.service.fleet.restored import StillOwned, adopt_from_exchange
from executor.service.fleet.view import View
from executor.service.store.etcd import Etcd
from executor.service.store.fleet_keys import Keys
from executor.service.store.state_store import StateError

T = TypeVar("T")

LOOK_S: Final = 0.1
TAKEN_WITHIN_S: Final = 5.0
"""What has been given away is not waited for longer until somebody has it: the answer says who has none."""
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    epilog=exits.EPILOG,
    help="Show a fleet: its nodes, who owns which account, its store; and move accounts.",
)

HowLong = Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for it.")]


def _settings(context: typer.Context) -> Settings:
    settings = read_settings(context)
    if not settings.fleet:
        fail(
            "FLEET is not set: the state is in files on this machine, and no other has a part in it", exits.BAD_SETTINGS
        )
    return settings


@app.command(epilog=exits.EPILOG)
@examples(
    "executor fleet status",
    "executor fleet status --format json | jq -r '.accounts[] | select(.owner == \"\") | .account'",
)
def status(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Show the nodes that live, and who owns each account.

    With each account its epoch (it grows with each owner), its open trades, and the signals that wait for its owner.

    Exit codes: 0 each account has an owner, and the same settings everywhere; 1 not so; 69 etcd can't be reached.
    """
    settings = _settings(context)
    accounts = list(read_accounts(context, settings))
    found = in_store(settings, lambda etcd, keys: ops_fleet.fleet_status(etcd, keys, settings.fleet_name, accounts))
    typer.echo(text.json(found) if output is Format.JSON else ops_fleet.as_text(found))
    if not found.sound:
        raise typer.Exit(exits.FAILED)


@app.command(epilog=exits.EPILOG)
@examples(
    "executor fleet members",
)
def members(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Show the members of etcd, and whether each answers.

    Exit codes: 0 all of them answer; 1 not so; 69 none does.
    """

    async def look(etcd: Etcd, _: Keys) -> list[ops_fleet.MemberRow]:
        return await ops_fleet.cluster_members(etcd)

    found = in_store(_settings(context), look)
    typer.echo(text.json(found) if output is Format.JSON else ops_fleet.members_as_text(found))
    if any(each.fault for each in found):
        raise typer.Exit(exits.FAILED)


@app.command(epilog=exits.EPILOG)
@examples(
    "executor fleet claim alice --node n2",
    "executor fleet claim alice --free",
)
def claim(
    context: typer.Context,
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account that it is about.")],
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="Default: this machine's.")] = "",
    free: Annotated[bool, typer.Option("--free", help="Take the wish back: any node may have it.")] = False,
    timeout: HowLong = 30,
) -> None:
    """Have an account owned by a certain node.

    It moves once it is flat: a trade is not moved for a wish (`executor fleet drain` moves them). The wish stays: where
    that node dies another takes over, and the account goes back later.
    """
    settings = _settings(context)
    node = node or settings.fleet_node or socket.gethostname()

    async def wish(etcd: Etcd, keys: Keys) -> str:
        view = await read_view(etcd, keys)
        known = {*view.owners, *(each for info in view.nodes.values() for each in info.accounts)}
        if account not in known:
            fail(f"{account} is no account of this fleet, but {', '.join(sorted(known)) or 'there is none'}")
        if free:
            await etcd.delete(keys.want(account))
            return f"{account} may be owned by any node"
        if node not in view.nodes or account not in view.nodes[node].accounts:
            holders = sorted(name for name, info in view.nodes.items() if account in info.accounts)
            fail(f"{node} does not live, or has no keys of {account}; those that do: {', '.join(holders) or 'none'}")
        await etcd.put(keys.want(account), node.encode())
        moved = await _until(etcd, keys, timeout, lambda view: _owner(view, account) == node)
        if moved:
            return f"{account} is owned by {node}"
        return f"{account} goes to {node} once it is flat; {_owner(view, account) or 'nobody'} owns it now"

    typer.echo(in_store(settings, wish))


@app.command(epilog=exits.EPILOG)
@examples(
    "executor fleet drain n1 && ssh n1 systemctl stop executor",
    "executor fleet drain n1 --undo",
)
def drain(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node that is to give its accounts away.")],
    undo: Annotated[bool, typer.Option("--undo", help="It may own accounts again.")] = False,
    timeout: HowLong = 60,
) -> None:
    """Have a node give all its accounts to others, open trades included.

    What is in flight is finished and the state written before another takes over: nothing is in doubt, and the exits
    rest on the exchange. The node stays so, also over restarts, until `--undo`. Waits until it owns nothing.
    """

    async def go(etcd: Etcd, keys: Keys) -> str:
        if undo:
            await etcd.delete(keys.drain(node))
            return f"{node} may own accounts again"
        view = await read_view(etcd, keys)
        owned = _owned(view, node)
        if node not in view.nodes:
            fail(f"{node} does not live; those that do: {', '.join(sorted(view.nodes)) or 'none'}")
        alone = [each for each in owned if not [name for name in view.ranking(each) if name != node]]
        if alone:
            fail(f"no other node that is fit has the keys of {', '.join(alone)}: start one first; nothing was changed")
        await etcd.put(keys.drain(node), b"")
        if not await _until(etcd, keys, timeout, lambda view: not _owned(view, node)):
            left = ", ".join(_owned(await read_view(etcd, keys), node))
            fail(f"{node} still owns {left} after {timeout} s; it goes on giving them away")
        await _until(etcd, keys, TAKEN_WITHIN_S, lambda view: all(_owner(view, each) for each in owned))
        view = await read_view(etcd, keys)
        moved = [f"{each} to {_owner(view, each) or 'nobody yet'}" for each in owned]
        return f"{node} is drained: {', '.join(moved) or 'it owned nothing'}"

    typer.echo(in_store(_settings(context), go))


@app.command(epilog=exits.EPILOG)
@examples(
    "executor fleet adopt --from-exchange",
)
def adopt(
    context: typer.Context,
    from_exchange: Annotated[
        bool, typer.Option("--from-exchange", help="Have the exchange tell what has happened since the copy.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Go on from a copy of etcd that was restored.

    Nodes claim nothing then: newer states may be lost. This says that no other fleet trades these accounts, and that
    the states are old: each owner looks up what the exchange knows of later orders and fills (rules 9.2, 9.3) before it
    goes on.
    """
    settings = _settings(context)
    if not from_exchange:
        raise typer.BadParameter("say where the truth is to come from", param_hint="--from-exchange")
    question = "Is the fleet that wrote the lost states stopped for good, and shall the exchange tell what it did?"
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was done")
    try:
        marked = in_store(settings, adopt_from_exchange)
    except (StillOwned, StateError) as error:
        fail(f"nothing to adopt: {error}")
    typer.echo(f"{len(marked)} states are looked up on the exchange when they are claimed: {', '.join(marked) or '-'}")


async def _until(etcd: Etcd, keys: Keys, seconds: float, reached: Callable[[View], bool]) -> bool:
    end = monotonic() + seconds
    while monotonic() < end:
        if reached(await read_view(etcd, keys)):
            return True
        await asyncio.sleep(LOOK_S)
    return False


def _owner(view: View, account: str) -> str:
    return view.owners[account].node if account in view.owners else ""


def _owned(view: View, node: str) -> list[str]:
    return sorted(account for account, owner in view.owners.items() if owner.node == node)
