"""Absorb: fold an event into the facts. Nothing is decided here, and no order of events matters (rule 5.1)."""

from typing import assert_never

from executor.core.absorb import (
    admit,
    all_orders,
    answers,
    clock,
    dates,
    loans,
    market,
    operator,
    reports,
    restart,
    takeover,
    watchdog,
)
from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    BalancesSeen,
    BorrowableSeen,
    Commanded,
    Found,
    KlinesSeen,
    LiquidationsSeen,
    LoansSeen,
    MarginSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    Resolved,
    SignalMalformed,
    SignalSeen,
    Started,
    Tick,
    TradesSeen,
)
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.verdict import Absorbed


def absorb(state: State, event: AnyEvent, policy: Policy, rules: SymbolRules) -> Absorbed:
    """`state` with the event's facts, and what became of the event."""
    if isinstance(event, Tick) and event.ahead < 0:  # nothing need have been heard in the time that was wrong
        state = _at(state, event.at - event.ahead, policy)
    state = _at(state, event.at, policy)
    event = dates.dated(state, event)
    match event:
        case Tick():
            return Absorbed(clock.set_ahead(state, event.ahead, policy) if event.ahead > 0 else state)
        case QuoteSeen() | KlinesSeen() | BalancesSeen():
            return _of_market(state, event, policy, rules)
        case Reported() | Absent() | TradesSeen() | OpenOrdersSeen() | AllOrdersSeen():
            return _of_orders(state, event, policy)
        case MarginSeen() | LoansSeen() | BorrowableSeen() | LiquidationsSeen():
            return loans.absorb(answers.settle(state, event.seq), event, policy, rules)
        case Answered() | ReadFailed():
            return answers.absorb(state, event, policy)
        case SignalSeen() | SignalMalformed():
            return admit.absorb(state, event, policy, rules)
        case Commanded() | Resolved() | Found():
            return _from_within(state, event, policy, rules)
        case Started():
            return restart.absorb(state, event)
        case _ as unreachable:
            assert_never(unreachable)


def _at(state: State, at: int, policy: Policy) -> State:
    if at > state.market.now:
        return market.passed(state, at, policy)
    return clock.set_back(state, at) if state.market.now - at >= clock.SET_BACK_MS else state


def _of_orders(
    state: State, event: Reported | Absent | TradesSeen | OpenOrdersSeen | AllOrdersSeen, policy: Policy
) -> Absorbed:
    asked, settled = answers.asked_about(state, event.seq), answers.settle(state, event.seq)
    if isinstance(event, AllOrdersSeen):
        return all_orders.absorb(settled, event, policy)
    return reports.answered(settled, event, policy, asked)


def _of_market(
    state: State, event: QuoteSeen | KlinesSeen | BalancesSeen, policy: Policy, rules: SymbolRules
) -> Absorbed:
    if isinstance(event, QuoteSeen):
        return answers.quoted(state, event, policy, rules)
    return market.absorb(answers.settle(state, event.seq), event, policy, rules, dates.asked_at(state, event.seq))


def _from_within(state: State, event: Commanded | Resolved | Found, policy: Policy, rules: SymbolRules) -> Absorbed:
    """What the operator wants, and what the watchdog has found."""
    match event:
        case Commanded():
            return operator.absorb(state, event)
        case Resolved():
            return takeover.absorb(state, event, policy, rules)
        case Found():
            return watchdog.absorb(state, event)
        case _ as unreachable:
            assert_never(unreachable)
