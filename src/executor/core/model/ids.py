"""Client order ids: whose order it is and what it is for, from the id alone (rule 1).

An id reads `EX_<trade>_<role>_<rev>`. `<trade>` is the trade's start in epoch milliseconds, so it stays unique across
restarts and lost state files; `<rev>` counts within the trade, so that no id ever names two orders.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

PREFIX: Final = "EX_"
MAX_LENGTH: Final = 36  # Binance fix-api.md: ^[a-zA-Z0-9-_]{1,36}$


class Role(StrEnum):
    """What an order is for. OCO1 to OCO3 name the order lists of legs 1 to 3; ENTRY1 to ENTRY3 and PLANB1 to PLANB3
    enter one leg and bring its exits with them (13.1); BUYBACK undoes an oversell (4.3, 6.3); DEBT buys what a debt
    lacks once the position is flat (11.7).
    """

    ENTRY = "ENTRY"
    ENTRY1 = "ENTRY1"
    ENTRY2 = "ENTRY2"
    ENTRY3 = "ENTRY3"
    PLANB = "PLANB"
    PLANB1 = "PLANB1"
    PLANB2 = "PLANB2"
    PLANB3 = "PLANB3"
    TP1 = "TP1"
    TP2 = "TP2"
    SL = "SL"
    SL1 = "SL1"
    SL2 = "SL2"
    TRAIL = "TRAIL"
    FLATTEN = "FLATTEN"
    BUYBACK = "BUYBACK"
    DEBT = "DEBT"
    OCO1 = "OCO1"
    OCO2 = "OCO2"
    OCO3 = "OCO3"


PLANBS: Final = frozenset({Role.PLANB, Role.PLANB1, Role.PLANB2, Role.PLANB3})
ENTRIES: Final = PLANBS | {Role.ENTRY, Role.ENTRY1, Role.ENTRY2, Role.ENTRY3}
TARGETS: Final = frozenset({Role.TP1, Role.TP2})
STOPS: Final = frozenset({Role.SL, Role.SL1, Role.SL2, Role.TRAIL})
EXITS: Final = TARGETS | STOPS | {Role.FLATTEN}

_IN_LIST: Final = {
    Role.TP1: (Role.OCO1, 1),
    Role.SL1: (Role.OCO1, 2),
    Role.TP2: (Role.OCO2, 1),
    Role.SL2: (Role.OCO2, 2),
    Role.SL: (Role.OCO3, 1),
    Role.ENTRY1: (Role.OCO1, 3),
    Role.ENTRY2: (Role.OCO2, 3),
    Role.ENTRY3: (Role.OCO3, 2),
    Role.PLANB1: (Role.OCO1, 3),
    Role.PLANB2: (Role.OCO2, 3),
    Role.PLANB3: (Role.OCO3, 2),
}
_LEGS: Final = {
    Role.TP1: 1,
    Role.SL1: 1,
    Role.ENTRY1: 1,
    Role.PLANB1: 1,
    Role.TP2: 2,
    Role.SL2: 2,
    Role.ENTRY2: 2,
    Role.PLANB2: 2,
    Role.TRAIL: 3,
    Role.ENTRY3: 3,
    Role.PLANB3: 3,
}
_FORM: Final = re.compile(r"EX_(?P<trade>[0-9]{1,16})_(?P<role>[A-Z0-9]+)_(?P<rev>[0-9]{1,8})")


class ClientId(msgspec.Struct, frozen=True):
    trade: str
    role: Role
    rev: int

    def __str__(self) -> str:
        return f"{PREFIX}{self.trade}_{self.role}_{self.rev}"


def client_id(trade: str, role: Role, rev: int) -> str:
    return f"{PREFIX}{trade}_{role}_{rev}"


def list_of(leg: ClientId) -> str:
    """The id of the order list that `leg` belongs to: given out just before its target's, where it has one, that just
    before its stop's, and that just before its entry's (13.1). Empty for a role that is never part of one.
    """
    found = _IN_LIST.get(leg.role)
    return client_id(leg.trade, found[0], leg.rev - found[1]) if found is not None else ""


def brought_by(entry: ClientId) -> tuple[str, ...]:
    """The ids of the exits in the order list that `entry` begins (13.1); none where its role begins none."""
    if entry.role not in ENTRIES or entry.role not in _IN_LIST:
        return ()
    listed, at = _IN_LIST[entry.role]
    exits = [(role, n) for role, (name, n) in _IN_LIST.items() if name is listed and role not in ENTRIES]
    return tuple(client_id(entry.trade, role, entry.rev - at + n) for role, n in exits)


def leg_of(role: Role) -> int:
    """The number of the leg that the role tells; 0 where it tells none."""
    return _LEGS.get(role, 0)


@lru_cache(maxsize=4_096)  # some orders are named thousands of times, and this is asked of each after each step
def parse(text: str) -> ClientId | None:
    """The parts of one of our ids; None for anybody else's order."""
    match = _FORM.fullmatch(text)
    if match is None or match["role"] not in Role.__members__:
        return None
    return ClientId(match["trade"], Role[match["role"]], int(match["rev"]))


def is_ours(text: str) -> bool:
    """Whether `text` is in Executor's name space, even if it can't be read."""
    return text.startswith(PREFIX)
