"""A transition under guard: what the service runs, and what a replay must run to get the same states."""

from msgspec.structs import replace

from executor.core.invariants import violations
from executor.core.model.events import AnyEvent
from executor.core.model.intents import Level, Notify
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.transition import Step, transition


def advance(state: State, event: AnyEvent, policy: Policy, rules: SymbolRules, now: int = 0) -> Step:
    """`transition`, then the invariants of rule 10. A broken one is a defect of ours, never of the market: new
    entries are halted and an alert goes out, and the position is looked after as before.
    """
    return judged(state, transition(state, event, policy, rules, now), policy, rules)


def judged(before: State, step: Step, policy: Policy, rules: SymbolRules) -> Step:
    """`step`, which led on from `before`, itself where it breaks nothing."""
    broken = violations(before, step.state, policy, rules)
    if not broken:
        return step
    text = "; ".join(broken)
    halted = replace(step.state, halted=step.state.halted or text)
    if before.halted == text:
        return Step(halted, step.requests, step.notes, step.verdict)
    note = Notify(Level.ALERT, "invariant_broken", text)
    return Step(halted, step.requests, (*step.notes, note), step.verdict)
