"""The state file's document: the state as a restart needs it, laid out so that a person finds things at its top.

`orders` repeats, by name, what stands in `position`; it is derived when written and compared when read, so that a file
whose two halves disagree is not believed (rule 9.2).
"""

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Final

import msgspec

from executor.core.model.ids import ENTRIES, Role
from executor.core.model.loans import Loan, OwnDebt, Repayment
from executor.core.model.state import SCHEMA_VERSION, Closed, Day, Order, Owed, Position, Seen, State
from executor.service.store.state_store import Loaded, StateStore

NAMED: Final = {
    "entry": ENTRIES,
    "tp1": frozenset({Role.TP1}),
    "tp2": frozenset({Role.TP2}),
    "sl": frozenset({Role.SL, Role.SL1, Role.SL2, Role.TRAIL}),
}


class NamedOrder(msgspec.Struct, frozen=True):
    """One order, as a person wants to see it."""

    id: str
    status: str
    qty: Decimal
    filled: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The orders of the open trade by what they are for: those live, else the last one. Quantities per leg in base."""

    entry: tuple[NamedOrder, ...]
    tp1: tuple[NamedOrder, ...]
    tp2: tuple[NamedOrder, ...]
    sl: tuple[NamedOrder, ...]
    qty1: Decimal
    qty2: Decimal
    qty3: Decimal


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What `executor_state.json` holds beside its version and checksum."""

    symbol: str
    venue: str
    position: Position | None
    orders: Orders | None
    last_closed: Closed | None
    cooldown_until: int
    locked_until: int
    paused: bool
    halted: str
    seen: tuple[Seen, ...]
    refused: dict[str, int]
    day: Day
    started: int
    next_seq: int
    outbox: tuple[Owed, ...]
    ignored: tuple[str, ...] = ()
    debts: tuple[OwnDebt, ...] = ()
    loan: Loan | None = None
    repaying: Repayment | None = None
    ids: tuple[Seen, ...] = ()
    uid: int = 0


_SAME: Final = tuple(name for name in Document.__struct_fields__ if name != "orders")
_kept: Final[Callable[[State], tuple[object, ...]]] = attrgetter(*_SAME)


class Inconsistent(ValueError):  # noqa: N818  (it says what the document is)
    """The document contradicts itself."""


def document_of(state: State) -> Document:
    return Document(
        symbol=state.symbol,
        venue=state.venue,
        position=state.position,
        orders=_orders(state.position) if state.position is not None else None,
        last_closed=state.last_closed,
        cooldown_until=state.cooldown_until,
        locked_until=state.locked_until,
        paused=state.paused,
        halted=state.halted,
        seen=state.seen,
        refused=state.refused,
        day=state.day,
        started=state.started,
        next_seq=state.next_seq,
        outbox=state.outbox,
        ignored=state.ignored,
        debts=state.debts,
        loan=state.loan,
        repaying=state.repaying,
        ids=state.ids,
        uid=state.uid,
    )


def contradiction(document: Document) -> str | None:
    """How the document contradicts itself; None when it does not."""
    expected = _orders(document.position) if document.position is not None else None
    return None if document.orders == expected else "orders and position do not tell the same"


def state_of(document: Document) -> State:
    """Raises Inconsistent."""
    if (fault := contradiction(document)) is not None:
        raise Inconsistent(fault)
    return State(**{name: getattr(document, name) for name in _SAME})


def saved(path: Path) -> Loaded[Document] | None:
    """What a start would take the state `path` for, with nothing changed on disk; None when there is none yet.

    Raises StateError when nothing of it can be used.
    """
    return StateStore(path, schema_version=SCHEMA_VERSION).peek(Document, unsound=contradiction)


def differs(old: State, new: State) -> bool:
    """Whether anything that a restart needs has changed (the facts of the moment are not part of it)."""
    return old is not new and _kept(old) != _kept(new)


def _orders(position: Position) -> Orders:
    named = {name: _named(position, roles) for name, roles in NAMED.items()}
    qty1, qty2, qty3 = position.split
    return Orders(**named, qty1=qty1, qty2=qty2, qty3=qty3)


def _named(position: Position, roles: frozenset[Role]) -> tuple[NamedOrder, ...]:
    mine = [o for o in position.orders if o.role in roles]
    shown = [o for o in mine if o.live] or mine[-1:]
    return tuple(_short(o) for o in shown)


def _short(order: Order) -> NamedOrder:
    status = order.status if order.status is not None else order.end or order.phase
    return NamedOrder(order.id, str(status), order.qty, order.cum_qty, order.price, order.stop_price)
