"""When what is told was so: no moment that can't be, whatever the clock was then."""

from typing import TypeVar

from msgspec.structs import replace

from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    AnyEvent,
    BorrowableSeen,
    LiquidationsSeen,
    LoansSeen,
    MarginSeen,
    OpenOrdersSeen,
    QuoteSeen,
    SignalSeen,
)
from executor.core.model.facts import Quote
from executor.core.model.loans import Borrowable, MarginAccount
from executor.core.model.state import State

_Asked = Absent | OpenOrdersSeen | AllOrdersSeen | LiquidationsSeen | LoansSeen | MarginAccount | Borrowable
_Told = TypeVar("_Told", bound=Quote | _Asked)


def asked_at(state: State, seq: int) -> int:
    """When the read `seq` was decided (ms), which waits for its answer; now, where what is told answers none."""
    return _decided(state, seq) or state.market.now


def dated(state: State, event: AnyEvent) -> AnyEvent:
    """`event`, as of a moment that is not later than now, as it is by a clock that was set back since; and where it
    answers a read of ours, not sooner than that was decided, whatever the clock was corrected by since. By its own time
    it could be from ahead of all that follows; or from before, and be asked for again and again until the clock has
    caught up.
    """
    match event:
        case QuoteSeen():
            before = event.before and tuple([_as_of(each, state) for each in event.before])
            return replace(event, quote=_as_of(event.quote, state, event.seq), before=before)
        case SignalSeen():
            quote = event.quote and _as_of(event.quote, state)
            return replace(event, quote=quote, margin=event.margin and _as_of(event.margin, state))
        case Absent() | OpenOrdersSeen() | AllOrdersSeen() | LiquidationsSeen():
            return _as_of(event, state, event.seq)
        case MarginSeen():
            return replace(event, account=_as_of(event.account, state, event.seq))
        case LoansSeen():
            told = _as_of(event, state, event.seq)
            return replace(told, account=_as_of(event.account, state, event.seq))
        case BorrowableSeen():
            return replace(event, borrowable=_as_of(event.borrowable, state, event.seq))
        case _:
            return event


def _as_of(told: _Told, state: State, seq: int = 0) -> _Told:
    name, at = ("at", told.at) if isinstance(told, Quote) else ("asked_at", told.asked_at)
    moment = min(max(at, _decided(state, seq)), state.market.now)
    return told if moment == at else replace(told, **{name: moment})


def _decided(state: State, seq: int) -> int:
    """When the request `seq` was decided (ms); 0 where none waits for its answer."""
    return next((owed.at for owed in state.outbox if owed.request.seq == seq), 0)
