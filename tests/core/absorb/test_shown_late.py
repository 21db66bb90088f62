"""Reads that show an accepted order late: "some delay in the response is normal and expected" (rest-api.md, Data
Sources), and how much of it is not said (rules 8.6, 8.8).
"""

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, entering, protected

from executor.core.model.events import OpenOrdersSeen, Started
from executor.core.model.ids import Role
from executor.core.model.intents import QueryAllOrders
from executor.core.model.policy import Layout
from executor.core.model.state import End, Entering, Market, OrderPhase, Protected
from executor.core.model.values import Direction


def looked_at(script: Script, seconds: float) -> None:
    """The open orders are asked for each half second, and what follows is answered, by reads that lack what is not in
    the book.
    """
    until = script.now + round(seconds * 1000)
    while script.now < until:
        script.now += 500
        listed = tuple(script.book.values())
        script.feed(OpenOrdersSeen(at=script.now, reports=listed, asked_at=script.now))
        script.settle()


@both_sides
@pytest.mark.parametrize("late_s", [3, 9])
def test_an_entry_that_reads_show_late_is_followed(direction: Direction, late_s: int) -> None:
    """Before, the trade was closed after two seconds; the entry filled, and nobody looked after what it had brought."""
    script = entering(direction)
    entry = script.order(Role.ENTRY).id
    hidden = script.book.pop(entry)
    looked_at(script, late_s)
    assert isinstance(script.phase, Entering)
    script.book[entry] = hidden
    script.fill(Role.ENTRY)
    script.settle()
    assert isinstance(script.phase, Protected)
    assert not script.state.halted


@both_sides
def test_exits_that_reads_show_late_stay(direction: Direction) -> None:
    """Before, they were put back, refused for the lock of those that stood, and the position was closed for it."""
    script = protected(direction)
    shown, script.book = script.book, {}
    looked_at(script, 5)
    script.book = shown
    looked_at(script, 1)
    assert isinstance(script.phase, Protected)
    assert not {"order_gone", "failsafe"} & set(script.told())
    assert not any(order.check for order in script.position.orders if order.live)


@pytest.mark.parametrize("numbered", [True, False])
def test_what_stays_away_is_gone(numbered: bool) -> None:
    """Nor is a list of all orders asked for sooner, where the number is not known: it would be as late."""
    script = protected()
    stop = script.order(Role.SL)
    del script.book[stop.id]
    if not numbered:
        script.unchecked = True
        orders = tuple(replace(o, exchange_id=0) if o.id == stop.id else o for o in script.position.orders)
        script.state = replace(script.state, position=replace(script.position, orders=orders))
    looked_at(script, 9.5)
    assert script.orders(Role.SL)[0].phase is OrderPhase.WORKING
    assert not any(isinstance(request, QueryAllOrders) for request in script.sent)
    looked_at(script, 1)
    assert script.orders(Role.SL)[0].end is End.GONE


def test_one_that_was_there_for_long_is_gone_after_its_grace() -> None:
    """Reads that are late would show it as it was."""
    script = protected()
    script.wait(20_000)
    del script.book[script.order(Role.SL).id]
    looked_at(script, 3)
    assert script.orders(Role.SL)[0].end is End.GONE


@both_sides
def test_what_was_accepted_just_before_a_restart_need_not_show_yet_either(direction: Direction) -> None:
    """Rule 9.1: a start looks at all of it at once. The entry was given up for it, and its fill was nobody's."""
    script = entering(direction)
    hidden = script.book.pop(script.order(Role.ENTRY).id)
    script.now += 500
    script.restart()
    looked_at(script, 5)
    assert isinstance(script.phase, Entering)
    script.book[hidden.id] = hidden
    script.fill(Role.ENTRY)
    script.settle()
    shown, script.book = script.book, {}
    script.restart()
    looked_at(script, 5)
    script.book = shown
    looked_at(script, 1)
    assert isinstance(script.phase, Protected)
    assert not {"order_gone", "failsafe"} & set(script.told())


def test_by_a_clock_that_was_ahead_before_the_start_no_look_is_of_before() -> None:
    """Rule 8.6: what it was told by that clock would keep each look from counting."""
    script = protected()
    heard = script.order(Role.SL).heard_at
    script.state = replace(script.state, market=Market())
    script.feed(Started(at=heard - 500, fence=heard + 5_000))
    assert script.order(Role.SL).heard_at == heard - 500


@both_sides
@pytest.mark.parametrize("told", ["", "SL", "SL1"])
def test_exits_that_an_entry_has_brought_need_not_show_from_its_fill_on(direction: Direction, told: str) -> None:
    """Rule 13.1: they were placed with their entry, long before; that they work the fill has told, or one of them."""
    script = entering(direction, replace(POLICY, layout=Layout.BRACKET, entry_timeout_ms=60_000))
    looked_at(script, 20)
    entries = [order.id for order in script.position.orders if order.is_entry]
    exits = [order.id for order in script.position.orders if order.is_exit]
    for entry in entries:
        script.execute(entry)
    if told:
        script.push(script.order(told).id)
    shown, script.book = script.book, {name: script.book[name] for name in entries}
    for entry in entries:
        script.push(entry)
    looked_at(script, 5)
    script.book = shown
    looked_at(script, 1)
    assert isinstance(script.phase, Protected)
    assert not {"order_gone", "failsafe"} & set(script.told())
    assert [order.id for order in script.position.orders if order.is_exit] == exits
