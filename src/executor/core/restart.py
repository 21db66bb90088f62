"""Absorb a restart: all that was in flight is in doubt; all that was live wants a direct look (rule 9.1)."""

from msgspec.structs import replace

from executor.core import orders
from executor.core.events import Started
from executor.core.state import Closing, Order, OrderPhase, State
from executor.core.verdict import Absorbed


def absorb(state: State, event: Started) -> Absorbed:
    now = state.market.now
    state = replace(state, outbox=(), started=now)
    position = state.position
    if position is None:
        return Absorbed(state)
    phase = position.phase
    if isinstance(phase, Closing):
        phase = replace(phase, looked_at=0)
    looked_up = tuple(_wondered(order, event.fence, now) for order in position.orders)
    return Absorbed(replace(state, position=replace(position, orders=looked_up, phase=phase)))


def _wondered(order: Order, fence: int, now: int) -> Order:
    match order.phase:
        case OrderPhase.SUBMITTED:
            return orders.doubt(order, fence, now)
        case OrderPhase.WORKING:
            return replace(order, check=True, ask_at=0)
        case OrderPhase.UNRESOLVED:
            return replace(order, ask_at=0, misses=0, first_miss_at=0)
        case _:
            return order
