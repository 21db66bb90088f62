"""The fleet as operators see it: nodes, accounts and who owns them, the members of etcd; as tables and as JSON."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from executor.ops import text
from executor.service.fleet.membership import read_view
from executor.service.fleet.view import NodeInfo, Owner, View
from executor.service.store.document import Document
from executor.service.store.etcd import Etcd, EtcdError, Member, Status
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import document_in
from executor.service.store.state_store import StateError


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A node that lives. `owns`: accounts; `up`: since when, ISO 8601."""

    node: str
    host: str
    version: str
    up: str
    owns: int
    reaches_exchange: bool
    draining: bool


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account that a living node has keys for, or that has a state. `owner` is empty and `epoch` 0 where nobody owns
    it; `trades`: symbol and phase of each open trade; `waiting`: signals that nobody has judged yet; `differs`: nodes
    that would trade it with other settings than its owner does.
    """

    account: str
    owner: str
    epoch: int
    wanted: str
    trades: list[str]
    waiting: int
    differs: list[str]
    fault: str = ""


class FleetStatus(msgspec.Struct, frozen=True, kw_only=True):
    fleet: str
    nodes: list[NodeRow]
    accounts: list[AccountRow]

    @property
    def sound(self) -> bool:
        """Whether each account has an owner, and could be traded alike by the others."""
        return bool(self.nodes) and all(each.owner and not each.differs and not each.fault for each in self.accounts)


async def fleet_status(etcd: Etcd, keys: Keys, fleet: str, accounts: Iterable[str]) -> FleetStatus:
    """`accounts`: those that this machine knows of. Raises EtcdError."""
    view = await read_view(etcd, keys)
    states, _ = await etcd.range(keys.states())
    trades: dict[str, list[str]] = {}
    faults: dict[str, str] = {}
    for value in states:
        names = keys.names_in(value.key, 2)
        if not names:
            continue  # no state's key
        account, symbol = names
        trades.setdefault(account, [])
        try:
            if (held := _held(document_in(value))) is not None:
                trades[account].append(f"{symbol} {held}")
        except StateError as error:
            faults[account] = str(error)
    known = {*accounts, *view.owners, *trades, *(each for info in view.nodes.values() for each in info.accounts)}
    rows = []
    for account in sorted(known):
        waiting, _ = await etcd.range(keys.signals(account))
        rows.append(_account(account, view, trades.get(account, []), len(waiting), faults.get(account, "")))
    return FleetStatus(fleet=fleet, nodes=[_node(info, view) for _, info in sorted(view.nodes.items())], accounts=rows)


def _held(document: Document) -> str | None:
    position = document.position
    return None if position is None else type(position.phase).__name__.lower()


def _node(info: NodeInfo, view: View) -> NodeRow:
    return NodeRow(
        node=info.node,
        host=info.host,
        version=info.version,
        up=text.instant(info.started),
        owns=sum(1 for owner in view.owners.values() if owner.node == info.node),
        reaches_exchange=info.reachable,
        draining=info.draining or info.node in view.drained,
    )


def _account(account: str, view: View, trades: list[str], waiting: int, fault: str) -> AccountRow:
    owner = view.owners.get(account, Owner("", 0))
    return AccountRow(
        account=account,
        owner=owner.node,
        epoch=owner.epoch,
        wanted=view.wanted.get(account, ""),
        trades=trades,
        waiting=waiting,
        differs=view.differing(account),
        fault=fault,
    )


def as_text(found: FleetStatus) -> str:
    nodes = [
        (
            each.node,
            each.host,
            each.version,
            each.up[:19].replace("T", " "),
            str(each.owns),
            "yes" if each.reaches_exchange else "NO",
            "draining" if each.draining else "-",
        )
        for each in found.nodes
    ]
    accounts = [
        (
            each.account,
            each.owner or "NOBODY",
            str(each.epoch or "-"),
            each.wanted or "-",
            ", ".join(each.trades) or "-",
            str(each.waiting),
        )
        for each in found.accounts
    ]
    parts = [
        text.columns(("node", "host", "version", "up since (UTC)", "owns", "exchange", ""), nodes, right=("owns",))
        if nodes
        else "no node lives",
        text.columns(
            ("account", "owner", "epoch", "wanted on", "open trades", "signals"), accounts, right=("epoch", "signals")
        )
        if accounts
        else "no account",
    ]
    parts += [f"{each.account}: {each.fault}" for each in found.accounts if each.fault]
    parts += [
        f"{each.account}: other settings on {', '.join(each.differs)} than on {each.owner or 'the others'}"
        for each in found.accounts
        if each.differs
    ]
    return "\n\n".join(parts)


# --- etcd -------------------------------------------------------------------------------------------------------------


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """`fault`: why it did not answer; empty when it did. `size`: bytes of its database."""

    member: str
    url: str
    version: str
    leader: bool
    learner: bool
    size: int
    fault: str


async def cluster_members(etcd: Etcd) -> list[MemberRow]:
    """Each member as it answers itself. Raises EtcdError when not even one tells who they are."""
    return list(await asyncio.gather(*(_member(etcd, each) for each in await etcd.members())))


async def _member(etcd: Etcd, member: Member) -> MemberRow:
    fault, found = "it has no client URL", Status("", False, 0)
    for url in member.urls:
        try:
            found, fault = await etcd.status(url), ""
            break
        except EtcdError as error:
            fault = str(error)
    return MemberRow(
        member=member.name or member.id,
        url=", ".join(member.urls),
        version=found.version,
        leader=found.leader,
        learner=member.learner,
        size=found.db_bytes,
        fault=fault or "; ".join(found.errors),
    )


def members_as_text(rows: Sequence[MemberRow]) -> str:
    cells = [
        (
            each.member,
            each.url,
            each.version or "-",
            "leader" if each.leader else "learner" if each.learner else "-",
            f"{each.size // 1024} KiB" if each.size else "-",
            each.fault or "ok",
        )
        for each in rows
    ]
    return text.columns(("member", "url", "version", "role", "data", "state"), cells, right=("data",))
