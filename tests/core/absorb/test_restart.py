from msgspec.structs import replace
from tests.core.build import Script, closing, entering, protected

from executor.core.model.ids import Role
from executor.core.model.state import OrderPhase, Reason


def test_a_restart_without_a_trade_has_nothing_to_look_up() -> None:
    script = Script()
    script.restart()
    assert script.state.started == 0
    assert script.pending == []


def test_what_was_in_flight_is_in_doubt_after_a_restart() -> None:
    """Rule 9.1."""
    script = entering(working=False)
    script.restart()
    order = script.order(Role.ENTRY)
    assert (order.phase, order.fence) == (OrderPhase.UNRESOLVED, script.now + 5_000)
    assert script.kinds() == ["QueryOrder"]


def test_nothing_is_placed_before_every_order_has_been_looked_up() -> None:
    """Rule 9.1."""
    script = protected()
    script.quote("102.1")
    script.trade(Role.TP1)
    script.restart()
    assert script.kinds() == ["QueryOrder"] * 5
    for _ in range(4):
        script.accept()
        assert all(kind == "QueryOrder" for kind in script.kinds())
    script.accept()
    assert script.state.started == 0
    assert script.position.target_hit
    assert script.kinds() == ["CancelList"]


def test_a_second_restart_asks_again_what_is_still_in_doubt() -> None:
    script = entering(working=False)
    script.lose()
    script.accept("QueryOrder")
    assert script.order(Role.ENTRY).misses == 1
    script.restart()
    assert script.order(Role.ENTRY).misses == 0
    assert script.kinds() == ["QueryOrder"]
    script.accept()
    assert script.state.started == 0


def test_a_trade_that_was_closing_looks_once_more() -> None:
    script = closing()
    while script.kinds() != ["QueryOpenOrders"]:
        script.accept()
    script.restart()
    assert script.kinds() == ["QueryOpenOrders"]
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_a_halt_is_told_again_at_each_start() -> None:
    for script in (Script(), protected()):
        script.state = replace(script.state, halted="why")
        for _ in range(2):
            script.restart()
        assert [note.text for note in script.notes if note.event == "still_halted"] == ["why", "why"]
