"""A clock that is set: back, and ahead.

The exchange's clock is measured. Where the measurement was wrong, or the exchange's own clock is set, time goes back: a
retry in one second would come by so much later, and the software stop would stand still meanwhile. Nothing has happened
in the future, and nothing waits for what was meant by the wrong time (rules 3.5, 4.7, 6.4).

Or it leaps ahead, and two looks of one moment lie far apart: an order that reads show a little late would be thought
gone. What is believed after a while is believed once that has really passed (rules 6.4, 8.3, 8.6).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from executor.core.model.facts import Quote
from executor.core.model.loans import Borrowable, Loan, LoanPhase, MarginAccount, OwnDebt, Records, Repayment
from executor.core.model.policy import Policy
from executor.core.model.state import (
    Borrowing,
    Closing,
    Entering,
    Exposure,
    Leg,
    Market,
    Order,
    OrderPhase,
    Owed,
    Phase,
    Position,
    Protected,
    Repaying,
    State,
    Trail,
    Unprotected,
)

SET_BACK_MS: Final = 1_000
"""By less the clock is corrected all the time: for so long the trade's time stands still."""

_T = TypeVar("_T", bound=msgspec.Struct)

_HAPPENED: Final[dict[type[msgspec.Struct], tuple[str, ...]]] = {
    Order: ("sent_at", "triggered_at", "closed_at", "first_miss_at", "heard_at"),
    Leg: ("breach_since", "refused_at", "moved_at", "puzzled_at"),
    Trail: ("since", "klines_at"),
    Borrowing: ("since",),
    Unprotected: ("since",),
    Closing: ("since", "looked_at", "stock_at", "unread_at"),
    Repayment: ("since", "short_at"),
    Loan: ("sent_at", "shown_at", "closed_at", "alerted_at"),
    Exposure: ("since",),
    Position: ("opened", "entered", "alerted_at", "short_at", "short_looked"),
    Owed: ("at",),
    Market: ("level_doubted_at", "ahead_at"),
    Records: ("newest", "unread"),
    OwnDebt: ("doubted_at",),
}
_READ: Final[dict[type[msgspec.Struct], tuple[str, ...]]] = {
    Quote: ("at",),
    Market: ("balances_at", "liquidations_at"),
    MarginAccount: ("asked_at",),
    Records: ("asked_at",),
    Borrowable: ("asked_at",),
}
"""When facts were asked for. Which are newer than what has happened can't be told once both count as of now: none is,
and what has to be known since is asked for again.
"""
_DUE: Final[dict[type[msgspec.Struct], tuple[str, ...]]] = {
    Order: ("ask_at",),
    Leg: ("retry_at", "back_at"),
    Borrowing: ("give_up_at", "retry_at"),
    Entering: ("give_up_at", "retry_at"),
    Unprotected: ("deadline",),
    Repayment: ("ask_at",),
    Loan: ("ask_at",),
    Position: ("ask_at",),
    Market: ("ask_at",),
}

_UNPROVEN: Final[dict[type[msgspec.Struct], tuple[str, ...]]] = {
    Order: ("first_miss_at", "triggered_at"),
    Leg: ("breach_since",),
    Position: ("short_at", "short_looked"),
    OwnDebt: ("doubted_at",),
    Loan: ("shown_at",),
    Repayment: ("short_at",),
    Records: ("unread",),
    Market: ("level_doubted_at",),
}
"""Since when something is seen that is believed, or acted on, after a while."""


def moment(before: int, at: int, now: int) -> int:
    """When (ms) an event counts as told that came `at`, to a trade whose time is `before`; `now`: the clock, 0 where it
    is not at hand. Time does not run backwards, but where the clock was set back far.
    """
    if now and max(before, at) - now >= SET_BACK_MS:
        return min(at, now)
    return max(before, at)


def set_back(state: State, now: int) -> State:
    """`state`, of a clock that now says `now` (ms) and was ahead of that. What has happened has by now; what is waited
    for comes as soon as it would have. A request's fence is a promise of the exchange's own clock, and stays (8.3); so
    does what keeps entries away, which may have been set before the clock went wrong.
    """
    ahead = state.market.now - now
    market, position = state.market, state.position
    market = replace(
        _moved(market, now, ahead),
        now=now,
        quote=_or_none(market.quote, now, ahead),
        margin=_or_none(market.margin, now, ahead),
        records=_or_none(market.records, now, ahead),
        borrowable=_or_none(market.borrowable, now, ahead),
        quiet=None,
    )
    return replace(
        state,
        market=market,
        position=None if position is None else _position(position, now, ahead),
        outbox=tuple([_moved(owed, now, ahead) for owed in state.outbox]),
        debts=tuple([_moved(debt, now, ahead) for debt in state.debts]),
        loan=_or_none(state.loan, now, ahead),
        repaying=_or_none(state.repaying, now, ahead),
    )


def resumed(state: State, now: int) -> State:
    """`state` at a start, by a clock that says `now` (ms). The clock of the life before is known by what has happened
    in it: where that is yet to come, the clock was set back meanwhile.
    """
    before = max([_latest(part) for part in _parts(state)], default=0)
    if before - now < SET_BACK_MS:
        return state
    return set_back(replace(state, market=replace(state.market, now=before)), now)


def _parts(state: State) -> Iterator[msgspec.Struct]:
    """All of it that bears times and is on disk."""
    yield from (*state.outbox, *state.debts)
    position = state.position
    if position is not None:
        yield from (position, position.phase, position.exposure, *position.legs, *position.orders)
    for part in (state.loan, state.repaying, position and position.trail):
        if part is not None:
            yield part


def _latest(part: msgspec.Struct) -> int:
    part = part.work if isinstance(part, Repaying) else part
    return max([getattr(part, name) for name in _HAPPENED.get(type(part), ())], default=0)


def set_ahead(state: State, ahead: int, policy: Policy) -> State:
    """`state`, whose clock has leapt `ahead` (ms) without that having passed: what waits to be believed waits as long
    as it would have. Retries and deadlines come sooner, which proves nothing. What was sent before, with a stamp of the
    clock of then, may arrive for as long as any stamp allows.
    """
    position, loan, market, now = state.position, state.loan, state.market, state.market.now
    fence = now + policy.recv_window_ms
    if loan is not None:
        stamped = fence if loan.phase is LoanPhase.SUBMITTED else loan.fence and loan.fence + ahead
        loan = replace(_later(loan, now, ahead), fence=stamped)
    records = market.records and _later(market.records, now, ahead)
    return replace(
        state,
        market=replace(_later(market, now, ahead), ahead_at=now, records=records),
        position=None if position is None else _unproven(position, now, ahead, fence),
        debts=tuple([_later(debt, now, ahead) for debt in state.debts]),
        loan=loan,
        repaying=None if state.repaying is None else _later(state.repaying, now, ahead),
    )


def _unproven(position: Position, now: int, ahead: int, fence: int) -> Position:
    phase, orders = position.phase, []
    for order in position.orders:
        if order.live:
            stamped = fence if order.phase is OrderPhase.SUBMITTED else order.fence and order.fence + ahead
            orders.append(replace(_later(order, now, ahead), fence=stamped))
        else:
            orders.append(order)
    return replace(
        _later(position, now, ahead),
        phase=replace(phase, work=_later(phase.work, now, ahead)) if isinstance(phase, Repaying) else phase,
        legs=tuple([_later(leg, now, ahead) for leg in position.legs]),
        orders=tuple(orders),
    )


def _later(value: _T, now: int, ahead: int) -> _T:
    times = {name: min(at + ahead, now) for name in _UNPROVEN[type(value)] if (at := getattr(value, name))}
    return replace(value, **times) if times else value


def _position(position: Position, now: int, ahead: int) -> Position:
    ranks = _ranks(position.orders, now)
    return replace(
        _moved(position, now, ahead),
        phase=_phase(position.phase, now, ahead),
        legs=tuple([_moved(leg, now, ahead) for leg in position.legs]),
        trail=_or_none(position.trail, now, ahead),
        orders=tuple([_moved(_ranked(order, ranks), now, ahead) for order in position.orders]),
        exposure=_moved(position.exposure, now, ahead),
    )


def _ranks(orders: Sequence[Order], now: int) -> dict[int, int]:
    """For times of orders that are ahead of `now`, or just before it, those which count instead: in the same order, a
    millisecond apart, the last one now. What of two came first may decide whether anybody could have known it (10.1).
    """
    times = {getattr(order, name) for order in orders for name in _HAPPENED[Order]}
    if max(times, default=0) <= now:
        return {}
    ahead = [at for at in times if at > now - len(times)]
    return {at: now - rank for rank, at in enumerate(sorted(ahead, reverse=True))}


def _ranked(order: Order, ranks: Mapping[int, int]) -> Order:
    times = {name: ranks[at] for name in _HAPPENED[Order] if (at := getattr(order, name)) in ranks}
    return replace(order, **times) if times else order


def _phase(phase: Phase, now: int, ahead: int) -> Phase:
    if isinstance(phase, Protected):
        return phase
    if isinstance(phase, Repaying):
        return replace(phase, work=_moved(phase.work, now, ahead))
    return _moved(phase, now, ahead)


def _or_none(value: _T | None, now: int, ahead: int) -> _T | None:
    return None if value is None else _moved(value, now, ahead)


def _moved(value: _T, now: int, ahead: int) -> _T:
    kind = type(value)
    times: dict[str, int] = {}
    for name in _HAPPENED.get(kind, ()):
        if getattr(value, name) > now:
            times[name] = now
    for name in _READ.get(kind, ()):
        if getattr(value, name) > now:
            times[name] = now - 1
    for name in _DUE.get(kind, ()):
        if (at := getattr(value, name)) > now:
            times[name] = max(now, at - ahead)
    return replace(value, **times) if times else value
