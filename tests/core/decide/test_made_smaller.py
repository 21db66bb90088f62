"""An entry that was made smaller than the exits that it brings (rules 8.8, 10.1, 13.1).

Of an OTO each order has a quantity of its own: "the working and pending orders can be amended individually"
(order_amend_keep_priority.md), and self-trade prevention takes of one order alone (stp_faq.md). So where another hand
or a match of the account's own has made the entry smaller, its exits are placed for more than it has brought.
"""

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, D, Script, entering
from tests.core.recover.test_rebuild import rebuilt, restored

from executor.core.book.ledger import covered, holding
from executor.core.invariants import unsound
from executor.core.model.events import Verb
from executor.core.model.ids import Role
from executor.core.model.policy import Layout
from executor.core.model.state import Protected
from executor.core.model.values import Direction, OrderStatus

BRACKET = replace(POLICY, layout=Layout.BRACKET)


def made_smaller(script: Script, role: Role, qty: str) -> list[str]:
    """The entry has filled with `qty`, which is all that is left of it; its exits are placed for what was sent with it.
    Its id, and theirs: nobody is told yet.
    """
    entry = script.order(role)
    exits = [o for o in script.position.orders if o.list_id == entry.list_id and o.id != entry.id]
    sizes = {o.id: o.qty for o in exits}
    script.book[entry.id] = replace(script.book[entry.id], qty=D(qty))
    script.execute(entry.id)
    for name, size in sizes.items():
        script.book[name] = replace(script.book[name], qty=size)
    return [entry.id, *sizes]


def traded(script: Script) -> dict[bool, object]:
    """What was bought, and what was sold."""
    return {
        buys: sum((t.cum_qty for t in script.book.values() if (t.side.value == "BUY") is buys), D(0))
        for buys in (True, False)
    }


@pytest.mark.parametrize("exits_first", [False, True])
@pytest.mark.parametrize("role", [Role.ENTRY1, Role.ENTRY2, Role.ENTRY3])
def test_exits_for_more_than_their_entry_has_sold_are_cut(role: Role, *, exits_first: bool) -> None:
    """Before, what they were placed for counted as held: so much was bought back, and never sold."""
    script = entering(Direction.SHORT, BRACKET)
    entry, *exits = made_smaller(script, role, "0.6")
    for name in [*exits, entry] if exits_first else [entry, *exits]:
        script.push(name)
    script.settle()
    script.wait(2_000)
    script.settle()
    assert holding(script.position, script.rules).held == D("0.6")
    assert isinstance(script.phase, Protected)
    assert [o.qty for o in script.position.orders if o.live] == [D("0.6")] * len(exits)
    assert covered(script.position) == D("0.6")
    assert not script.state.halted
    script.command(Verb.FLATTEN)
    script.to_the_end()
    sums = traded(script)
    assert sums[True] == sums[False] == D("0.6")


def test_beside_other_legs_it_is_cut_alone() -> None:
    """The others have filled whole, and keep what they were placed for."""
    script = entering(Direction.SHORT, BRACKET)
    script.fill(Role.ENTRY2)
    script.fill(Role.ENTRY3)
    stood = script.order(Role.SL2).id, script.order(Role.SL).id
    for name in made_smaller(script, Role.ENTRY1, "0.6"):
        script.push(name)
    script.settle()
    assert {leg.n: leg.qty for leg in script.position.legs} == {1: D("0.6"), 2: D(1), 3: D(1)}
    assert (script.order(Role.SL2).id, script.order(Role.SL).id) == stood
    assert (script.order(Role.SL1).qty, script.order(Role.TP1).qty) == (D("0.6"), D("0.6"))
    assert isinstance(script.phase, Protected)


def test_what_such_exits_have_bought_too_much_is_sold_again() -> None:
    """6.3: they had filled whole before they could be cut."""
    script = entering(Direction.SHORT, BRACKET)
    entry, *exits = made_smaller(script, Role.ENTRY1, "0.6")
    target = next(name for name in exits if script.book[name].type.value == "LIMIT_MAKER")
    for name in exits:
        script.push(name)
    script.execute(target)
    for name in [entry, *exits]:
        script.push(name)
    script.settle()
    script.command(Verb.FLATTEN)
    script.to_the_end()
    sums = traded(script)
    assert sums[True] == sums[False] == D(1)


def test_after_a_lost_state_they_are_cut_as_well() -> None:
    """9.3"""
    script = entering(Direction.SHORT, BRACKET)
    for name in made_smaller(script, Role.ENTRY1, "0.6"):
        script.push(name)
    for name, told in list(script.book.items()):
        if told.status is OrderStatus.PENDING_NEW or (told.status is OrderStatus.NEW and "ENTRY" in name):
            script.book[name] = replace(told, status=OrderStatus.CANCELED)
    made = rebuilt(script)
    assert [(leg.n, leg.qty) for leg in made.legs] == [(1, D("0.6"))]
    script.state = restored(script).state
    script.restart()
    script.settle()
    script.wait(2_000)
    script.settle()
    assert script.order(Role.SL1).qty == D("0.6")
    assert unsound(script.state, script.policy, script.rules) == []


def test_what_exits_that_were_made_smaller_leave_is_covered_too() -> None:
    """10.2: the other way round, a hand has amended what awaits the entry."""
    script = entering(Direction.SHORT, BRACKET)
    entry = script.order(Role.ENTRY1)
    exits = [o.id for o in script.position.orders if o.list_id == entry.list_id and o.id != entry.id]
    script.execute(entry.id)
    for name in exits:
        script.book[name] = replace(script.book[name], qty=D("0.4"))
    for name in [entry.id, *exits]:
        script.push(name)
    for role in (Role.ENTRY2, Role.ENTRY3):
        script.fill(role)
    script.settle()
    assert covered(script.position) == holding(script.position, script.rules).held == 3
    assert isinstance(script.phase, Protected)


def test_a_part_beside_it_has_legs_of_its_own() -> None:
    """3.4: what of it no exits are for is not told as a fill that came late."""
    script = entering(Direction.SHORT, BRACKET)
    script.fill(Role.ENTRY2, "0.4")
    for name in made_smaller(script, Role.ENTRY1, "0.6"):
        script.push(name)
    script.settle()
    script.wait(2_000)
    script.settle()
    assert [leg.qty for leg in script.position.legs] == [D("0.6"), D("0.2"), D("0.2")]
    assert "late_fill" not in script.told()
    assert covered(script.position) == 1
