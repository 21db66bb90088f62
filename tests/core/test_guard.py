from msgspec.structs import replace
from tests.core.build import POLICY, RULES, START, protected

from executor.core.guard import advance
from executor.core.model.events import Started, Tick
from executor.core.model.ids import Role
from executor.core.model.state import End, OrderPhase
from executor.core.transition import transition


def test_a_sound_transition_passes_as_it_is() -> None:
    state = protected().state
    event = Tick(at=START + 1)
    assert advance(state, event, POLICY, RULES) == transition(state, event, POLICY, RULES)


def test_a_broken_invariant_halts_entries_and_is_told_once() -> None:
    """Rule 10: a defect of ours never leaves the position alone."""
    script = protected()
    stop = replace(script.order(Role.SL), phase=OrderPhase.CLOSED, end=End.FILLED, closed_at=1)
    orders = tuple(stop if o.id == stop.id else o for o in script.position.orders)
    state = replace(script.state, position=replace(script.position, orders=orders))
    first = advance(state, Started(at=START + 1, fence=START), POLICY, RULES)
    assert "is called filled with 0.999 left" in first.state.halted
    assert first.notes[-1].event == "invariant_broken"
    second = advance(first.state, Tick(at=START + 2), POLICY, RULES)
    assert second.state.halted == first.state.halted
    assert "invariant_broken" not in [n.event for n in second.notes]
