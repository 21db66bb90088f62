"""Absorb a restart: all that was in flight is in doubt; all that was live wants a direct look (rule 9.1)."""

from collections.abc import Iterable

from msgspec.structs import replace

from executor.core.absorb import clock, loans
from executor.core.book import debt as debts
from executor.core.model import orders
from executor.core.model.events import Started
from executor.core.model.intents import Level, LoanCommand, Notify, Placement, Request, placed
from executor.core.model.loans import Loan, LoanPhase
from executor.core.model.state import Closing, Order, OrderPhase, State
from executor.core.model.values import short
from executor.core.model.verdict import MOVED, Absorbed


def absorb(state: State, event: Started) -> Absorbed:
    now = state.market.now
    state = clock.resumed(state, now)
    owes = state.outbox
    loan = _wondered_loan(state, event.fence)
    market = replace(state.market, ending=False)
    state = replace(state, outbox=(), started=now, loan=loan, market=market)
    # Each start tells of it anew: who looks after this one may not have heard the last.
    notes: tuple[Notify, ...] = (Notify(Level.ALERT, "still_halted", state.halted),) if state.halted else ()
    position = state.position
    if position is None:
        for asset, left in debts.owed(state.debts).items():
            text = f"{short(left)} {asset} are owed still: `executor repay {asset}` gives them back"
            notes = (*notes, Notify(Level.ALERT, "debt_left", text))
        return Absorbed(state, MOVED, notes)
    phase = position.phase
    if isinstance(phase, Closing):
        phase = replace(phase, looked_at=0)
    fences = _fences(owed.request for owed in owes)
    wondered = tuple(_wondered(order, fences.get(order.id, event.fence), now) for order in position.orders)
    # What the price was when nobody saw it says nothing of the stop: it counts from the first one seen now (rule 6.4).
    position = replace(position, legs=tuple(replace(leg, breach_since=0) for leg in position.legs))
    position = replace(position, orders=wondered, phase=phase)
    return Absorbed(replace(state, position=position), MOVED, notes)


def _wondered_loan(state: State, fence: int) -> Loan | None:
    """Settled before anything else, as it was left: by its record and the debt (rule 11.12)."""
    loan = state.loan
    if loan is None or not loan.open:
        return loan
    if loan.phase is not LoanPhase.SUBMITTED:
        return replace(loan, ask_at=0)
    stamps = [o.request.stamp for o in state.outbox if isinstance(o.request, LoanCommand)]
    fences = [stamp.fence for stamp in stamps if stamp is not None]
    return loans.doubt(loan, max(fences, default=fence), state.market.now)


def _fences(requests: Iterable[Request]) -> dict[str, int]:
    """Until when what each of them places may still reach the exchange, by client order id: as it is stamped, and not
    as late as the start. Whoever sent it may have been suspended, not ended, and send it yet (rule 8.3d).
    """
    return {
        name: request.stamp.fence
        for request in requests
        if isinstance(request, Placement) and request.stamp is not None
        for name in placed(request)
    }


def _wondered(order: Order, fence: int, now: int) -> Order:
    match order.phase:
        case OrderPhase.SUBMITTED:
            return orders.doubt(replace(order, looks=0), fence, now)
        case OrderPhase.WORKING:
            return replace(order, check=True, ask_at=0, heard_at=min(order.heard_at, now), looks=0)
        case OrderPhase.UNRESOLVED:
            return orders.looked_for_anew(replace(order, ask_at=0, looks=0))
        case _:
            return order
