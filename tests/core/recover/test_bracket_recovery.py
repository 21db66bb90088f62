"""Entries that bring their exits with them, from the exchange alone or from an older state (rules 9.2, 9.3, 13.4)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, Script, both_sides, entering, make_report, protected
from tests.core.recover.test_catchup import Remembered, flatten, net, resumed, sent
from tests.core.recover.test_rebuild import rebuilt, refused, restored

from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import PlaceOco, PlaceOrder
from executor.core.model.policy import Layout
from executor.core.model.state import Entering, OrderPhase, Protected, Reason
from executor.core.model.values import Direction, OrderStatus
from executor.core.recover.rebuild import not_shown

BRACKET = replace(POLICY, layout=Layout.BRACKET, entry_timeout_ms=20_000)


@both_sides
def test_a_trade_is_rebuilt_as_it_was(direction: Direction) -> None:
    """Rule 9.3: from the ids, the orders and the fills alone."""
    script = protected(direction, BRACKET)
    was, made = script.position, rebuilt(script)
    assert (made.trade, made.split, made.revs, made.plan.qty) == (was.trade, was.split, was.revs, was.plan.qty)
    assert {(o.id, o.leg, o.list_id, o.hands_on) for o in made.orders} == {
        (o.id, o.leg, o.list_id, o.hands_on) for o in was.orders
    }
    assert [(leg.n, leg.qty, leg.target, leg.stop) for leg in made.legs] == [
        (leg.n, leg.qty, leg.target, leg.stop) for leg in was.legs
    ]


@both_sides
def test_an_entry_that_is_still_open_tells_its_plan_by_its_exits(direction: Direction) -> None:
    """Rule 13.4: it goes on where it was."""
    script = entering(direction, BRACKET)
    was, made = script.position, rebuilt(script)
    assert isinstance(made.phase, Entering)
    assert made.plan == was.plan
    assert {(o.id, o.leg, o.awaits, o.qty) for o in made.orders} == {(o.id, o.leg, o.awaits, o.qty) for o in was.orders}
    script.state = restored(script).state
    script.fill(Role.ENTRY1)
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


@both_sides
def test_a_part_with_its_interim_stop_is_rebuilt(direction: Direction) -> None:
    """Rules 13.2, 3.5: the single stop beside the lists is the interim one."""
    script = entering(direction, BRACKET)
    script.fill(Role.ENTRY1)
    script.fill(Role.ENTRY2, "0.4")
    script.wait(2_000)
    script.settle()
    made = rebuilt(script)
    assert made.plan.qty == 3
    assert [o.leg for o in made.orders if o.is_stop and not o.list_id] == [0]
    script.state = restored(script).state
    script.restart()
    script.settle()
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


@both_sides
def test_an_entry_whose_exits_are_not_told_of_yet_is_rebuilt_as_entering(direction: Direction) -> None:
    """Rule 13.1: it has filled, and they are awaited."""
    script = entering(direction, BRACKET)
    pending = {k: r for k, r in script.book.items() if r.status is OrderStatus.PENDING_NEW}
    for role in (Role.ENTRY1, Role.ENTRY2, Role.ENTRY3):
        script.trade(role)
    placed = {k: script.book[k] for k in pending}
    script.book |= pending
    script.state = restored(script).state
    assert isinstance(script.phase, Entering)
    script.book |= placed
    script.restart()
    script.settle()
    assert isinstance(script.phase, Protected)


def test_an_entry_beside_one_without_exits_is_not_guessed() -> None:
    script = entering(policy=BRACKET, working=False)
    script.refuse(Why.FILTER, "ENTRY3")
    script.settle()
    script.sleep()
    script.settle()
    assert "a part is still open that has no exits" in refused(script)


def test_an_entry_that_has_no_target_is_not_entered_any_further() -> None:
    """Rule 13.4: how far it may be entered is not known; what has filled is covered."""
    script = entering(policy=BRACKET, working=False)
    script.accept("ENTRY3")
    lists = {script.lists[script.order(Role.ENTRY3).id]}
    script.book = {k: r for k, r in script.book.items() if script.lists.get(k) in lists}
    script.pending.clear()
    script.state = restored(script).state
    assert isinstance(script.phase, Entering)
    assert script.phase.end is Reason.ENTRY_CANCELLED
    script.restart()
    script.settle()
    assert script.closed.reason is Reason.ENTRY_CANCELLED
    assert all(r.status in DONE for r in script.book.values())


# --- from an older state --------------------------------------------------------------------------------------------


def to_the_exits(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill_entry()
    script.settle()


def to_breakeven(script: Script) -> None:
    to_the_exits(script)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()


def through_a_part(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill(Role.ENTRY1)
    script.fill(Role.ENTRY2, "0.4")
    script.wait(2_000)
    script.settle()
    script.fill_entry()
    script.settle()


def by_plan_b(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill(Role.ENTRY1)
    script.wait(20_000)
    script.settle()
    script.fill_entry()
    script.settle()


@both_sides
@pytest.mark.parametrize("live", [to_the_exits, to_breakeven, through_a_part, by_plan_b])
def test_from_each_state_of_a_life(live: Callable[[Script], None], direction: Direction) -> None:
    """Rule 9.2: whatever was sent since is taken up by its ids."""
    end = Remembered(direction, BRACKET)
    live(end)
    for n, old in enumerate(end.states):
        script = resumed(end, old)
        story = f"state {n} of {len(end.states)}: {script.told()}, {sent(script)}"
        assert "exit_vanished" not in script.told(), story
        assert not (sent(script) and live is to_the_exits), story
        assert not set(sent(script)) & (set(end.book) | set(end.lists.values())), story
        flatten(script)
        assert script.state.position is None, story
        assert all(report.status.is_final for report in script.book.values()), story
        assert abs(net(script)) < 3 * RULES.step, story


@both_sides
def test_the_interim_stop_is_known_beside_the_stop_that_came_with_the_trailing_leg(direction: Direction) -> None:
    """Rules 9.2, 10.1: it covers a part of another leg, whose exits wait until it is gone."""
    end = Remembered(direction, BRACKET)
    end.signal()
    end.settle()
    end.fill(Role.ENTRY1)
    end.fill(Role.ENTRY2, "0.4")
    end.wait(2_000)
    old = end.states[-1]
    end.accept("CancelOrder")
    end.accept("SL")
    interim = end.order(Role.SL)
    end.trade(Role.ENTRY3)
    script = resumed(end, old)
    assert next(o for o in script.position.orders if o.id == interim.id).leg == 0
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert not interim.list_id
    assert [o.leg for o in script.position.orders if o.live and o.role is Role.SL] == [3]


@both_sides
def test_exits_that_are_not_shown_are_there_with_their_entry(direction: Direction) -> None:
    """Rules 9.2, 8.8: what awaits an entry that is open need not be in any list; it is not called never sent."""
    end = Remembered(direction, replace(BRACKET, entry_timeout_ms=300_000))
    end.signal()
    old = end.states[-1]
    end.settle()
    pending = {k: r for k, r in end.book.items() if r.status is OrderStatus.PENDING_NEW}
    end.book = {k: r for k, r in end.book.items() if k not in pending}
    script = resumed(end, old)
    assert {o.phase for o in script.position.orders} == {OrderPhase.WORKING}
    script.book |= pending
    for role in (Role.ENTRY1, Role.ENTRY2, Role.ENTRY3):
        script.fill(role)
    script.settle()
    assert isinstance(script.phase, Protected)
    assert not [request for request in script.sent if isinstance(request, PlaceOrder | PlaceOco)]


@both_sides
def test_what_an_entry_has_brought_is_known_by_its_ids(direction: Direction) -> None:
    """Rule 13.4: so that it can be looked up where no list shows it."""
    script = entering(direction, BRACKET)
    pending = {k for k, r in script.book.items() if r.status is OrderStatus.PENDING_NEW}
    listed = [r for k, r in script.book.items() if k not in pending]
    assert set(not_shown(listed)) == pending
    assert not not_shown(script.book.values())
    assert not not_shown([replace(r, status=OrderStatus.CANCELED) for r in listed])
    alone = protected(direction)
    assert not not_shown([r for r in alone.book.values() if r.status is OrderStatus.FILLED])


def test_the_stop_that_came_with_the_trailing_leg_is_taken_up_as_its_own() -> None:
    """Rule 9.2: whichever is told of first."""
    script = entering(policy=BRACKET)
    stop = script.order(Role.SL)
    orders = tuple(o for o in script.position.orders if o.id != stop.id)
    script.state = replace(script.state, position=replace(script.position, orders=orders))
    script.push(stop.id)
    assert (script.order(Role.SL).leg, script.order(Role.SL).awaits) == (3, script.order(Role.ENTRY3).id)


def test_an_entry_that_is_told_of_after_its_exits_is_theirs() -> None:
    """Rule 9.2, 5.1"""
    script = entering(policy=BRACKET)
    entry = script.order(Role.ENTRY1)
    orders = tuple(
        replace(o, awaits="") if o.leg == 1 and o.is_exit else o for o in script.position.orders if o.id != entry.id
    )
    script.unchecked = True
    script.state = replace(script.state, position=replace(script.position, orders=orders))
    script.push(entry.id)
    assert {o.awaits for o in script.position.orders if o.leg == 1 and o.is_exit} == {entry.id}
    assert make_report(entry).id == entry.id
