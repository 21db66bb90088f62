"""What a node is to do about the accounts, from what it sees of its fleet and of itself. Pure: times are told to it.

Times are seconds of the node's steady clock, `at_ms` apart, which is ms since the epoch: nodes tell it to one another.
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from executor.service.fleet.view import Owner, View

RANK_S: Final = 1.0
"""How long each next in line waits for the one before it."""
SETTLED_S: Final = 60.0
"""So long a node must live before accounts that were its own move back to it."""


class Held(msgspec.Struct, frozen=True):
    """An account that this node trades, since `epoch`. `flat`: it could be given away without a trade being moved."""

    epoch: int
    flat: bool
    releasing: bool


def outdated(view: View, held: Mapping[str, Held]) -> dict[str, Owner]:
    """Those that somebody else, or nobody's later self, has: to be let go of at once."""
    owners = {account: view.owners.get(account) for account in held}
    return {a: owner for a, owner in owners.items() if owner is not None and owner.epoch > held[a].epoch}


def forsaken(view: View, node: str, lease: int, busy: Collection[str]) -> dict[str, Owner]:
    """Those that are this node's by the store's word, and that it does not trade (`busy`: it does, or is about to): the
    answer to a claim was lost, or an account could not be given back. They would be nobody's for as long as it lives,
    so they are given back. What hangs on another lease is of a life before this one, and ends with that.
    """
    return {
        account: owner
        for account, owner in view.owners.items()
        if owner.node == node and owner.lease == lease and account not in busy
    }


def to_give_away(view: View, node: str, held: Mapping[str, Held], *, draining: bool, at_ms: float) -> list[str]:
    """Those that are to be on another node, when they may go: all while draining, else what is flat."""
    return [account for account, each in held.items() if _goes(view, node, account, each, draining, at_ms)]


def _goes(view: View, node: str, account: str, held: Held, draining: bool, at_ms: float) -> bool:  # noqa: FBT001
    ranking = [name for name in view.ranking(account) if name != node or not draining]
    if held.releasing or not ranking or ranking[0] == node:
        return False
    return draining or (held.flat and _settled(view, ranking[0], at_ms))


def _settled(view: View, node: str, at_ms: float) -> bool:
    info = view.nodes.get(node)
    return info is not None and (node in view.wanted.values() or at_ms - info.started > SETTLED_S * 1000)


def claimable(view: View, node: str, accounts: Collection[str], shunned: Mapping[str, float]) -> dict[str, float]:
    """Those of `accounts` that nobody owns and this node is in line for, and from when on it may claim each. `shunned`:
    until when it leaves some to others.
    """
    found: dict[str, float] = {}
    for account in accounts:
        ranking = view.ranking(account)
        if account in view.owners or node not in ranking:
            continue
        turn = view.free_since.get(account, 0.0) + RANK_S * ranking.index(node)
        found[account] = max(turn, shunned.get(account, 0.0))
    return found


def renews(owned: int, stuck: int) -> bool:
    """Whether a node that trades `owned` accounts, `stuck` of whose loops have not come round, may renew its lease: one
    whose loops all hang must lose it, so that another node carries their trades on.
    """
    return not owned or stuck < owned
