from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, Script, both_sides, closing, entering, protected, unprotected

from executor.core.model.ids import Role
from executor.core.model.state import OrderPhase, Reason
from executor.core.model.values import Direction


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


def test_exits_that_never_arrived_are_sent_as_soon_after_a_late_start_however_many_they_are() -> None:
    """Rules 8.3, 9.1: killed between the fill and the exits. A short's debt keeps no second exit from the book, so two
    looks must tell that the first ones are not there; the position is bare meanwhile.
    """
    script = unprotected(Direction.SHORT, replace(POLICY, recv_window_ms=5_000), MARGIN_RULES)
    sent = script.kinds()
    script.now += 60_000
    script.restart()
    started = script.now
    script.settle()
    assert len([o for o in script.position.orders if o.phase is OrderPhase.UNRESOLVED]) == 5
    while sorted(script.kinds()) != sorted(sent):
        if script.pending:
            script.accept()
        else:
            script.sleep()
    assert script.now - started == 250


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


@both_sides
def test_the_price_from_before_a_restart_sells_nothing_after_it(direction: Direction) -> None:
    """Rule 6.4: a touch of the level, a minute out of service; the first price of after is far from it."""
    script = protected(direction)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.quote("100.1", after=100)
    assert script.leg(2).breach_since
    script.now += 60_000
    script.restart()
    script.settle()
    script.quote("103", after=1_000)
    script.settle()
    assert script.live() == ["SL", "SL2", "TP2"]
    assert "leg_at_market" not in script.told()
    assert {order.stop_price for order in script.position.orders if order.live and order.is_stop} == {
        script.leg(3).stop
    }


@both_sides
def test_a_price_that_is_at_the_stop_after_a_restart_counts_from_then_on(direction: Direction) -> None:
    script = protected(direction)
    script.quote("98", after=1_000)
    script.now += 60_000
    script.restart()
    script.settle()
    script.quote("97.8", after=1_000)
    assert script.pending == []
    script.wait(3_000)
    assert script.kinds() == ["CancelList", "CancelList", "CancelOrder"]


@both_sides
def test_a_part_of_the_entry_is_not_sold_for_the_price_from_before_a_restart(direction: Direction) -> None:
    script = entering(direction)
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.quote("98", after=500)
    script.now += 20_000
    script.restart()
    script.settle()
    script.quote("101", after=100)
    script.settle()
    assert (script.named(), script.live()) == ("Entering", ["SL"])
    assert script.order(Role.ENTRY).live


@both_sides
def test_who_was_suspended_waits_for_a_price_of_now_before_it_sells(direction: Direction) -> None:
    """Rule 6.4: one touch of the stop, then ten minutes in which nobody saw the price."""
    script = protected(direction)
    script.quote("98", after=1_000)
    script.wait(600_000)
    assert script.pending == []
    script.quote("101", after=500)
    script.wait(3_000)
    assert script.pending == []
    assert [leg.breach_since for leg in script.position.legs] == [0] * 3


@both_sides
def test_who_was_suspended_sells_where_no_price_of_now_comes(direction: Direction) -> None:
    script = protected(direction)
    script.quote("98", after=1_000)
    script.wait(600_000)
    script.wait(3_000)
    assert script.kinds() == ["CancelList", "CancelList", "CancelOrder"]
