"""Decide without a trade: what is owed is given back on the operator's word, what is under way is settled (11.7)."""

from msgspec.structs import replace

from executor.core.decide import lending, repay
from executor.core.decide.outbox import Outbox
from executor.core.model.intents import Level, Stamp
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Owed, State


def idle(state: State) -> bool:
    """Whether there is nothing to be decided at all."""
    return state.repaying is None and (state.loan is None or not state.loan.open)


def decide(state: State, policy: Policy, rules: SymbolRules, stamp: Stamp | None) -> tuple[State, Outbox]:
    work, debts = state.repaying, state.debts
    outbox = Outbox(state, policy, rules, stamp, ask_at=state.market.ask_at)
    if work is None:
        lending.look(outbox)
    else:
        work = repay.step(outbox, work, work.since)
        if work is None:
            debts = repay.named_rest(outbox)
            outbox.note(Level.INFO, "repayment_over", "nothing is left to be repaid, or nothing to repay it with")
    owed = tuple(Owed(outbox.now, request) for request in outbox.requests)
    return (
        replace(
            state,
            repaying=work,
            debts=debts,
            loan=outbox.loan,
            outbox=(*state.outbox, *owed),
            next_seq=state.next_seq + len(owed),
            market=replace(outbox.market_after, ask_at=outbox.ask_at),
        ),
        outbox,
    )
