from msgspec.structs import replace
from tests.core.build import POLICY, RULES, Script, both_sides, entering, make_report, protected

from executor.core.decide import doubt
from executor.core.decide.draft import Draft
from executor.core.model.ids import Role
from executor.core.model.policy import EntryMode
from executor.core.model.state import OrderPhase
from executor.core.model.values import Direction


def draft_of(script: Script) -> Draft:
    return Draft(script.state, script.position, POLICY, RULES)


def test_an_order_in_doubt_is_asked_for_at_its_time_and_only_once() -> None:
    """Rule 8.3."""
    script = entering(working=False)
    script.lose()
    assert script.kinds() == ["QueryOrder"]
    script.wait(0)
    assert script.kinds() == ["QueryOrder"]
    script.accept()
    script.wait(249)
    assert script.kinds() == []
    script.wait(1)
    assert script.kinds() == ["QueryOrder"]


@both_sides
def test_an_order_whose_answer_does_not_come_is_looked_up_beside_the_waiting(direction: Direction) -> None:
    """Rule 8.3: a market entry has filled, and neither push nor answer tells; its exits need not wait for a timeout."""
    script = entering(direction, replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), working=False)
    entry = script.order(Role.ENTRY)
    script.wait(999)
    assert script.kinds() == ["ENTRY"]
    script.wait(1)
    assert script.kinds() == ["ENTRY", "QueryOrder"]
    script.book[entry.id] = make_report(entry)
    script.execute(entry.id)
    script.accept("QueryOrder")
    assert script.kinds()[0] == "ENTRY"
    assert script.kinds()[-1] == "SL"


def test_what_was_not_found_before_the_answer_was_given_up_is_no_miss_in_doubt() -> None:
    """Rule 8.3: it may have been on its way still; and it is looked for in growing pauses (8.7)."""
    script = entering(working=False)
    asked = []
    for _ in range(3):
        script.sleep()
        assert script.kinds()[-1] == "QueryOrder"
        asked.append(script.now - script.order(Role.ENTRY).sent_at)
        script.accept("QueryOrder")
    assert asked == [1_000, 1_250, 1_750]
    script.lose("ENTRY")
    assert script.order(Role.ENTRY).phase is OrderPhase.UNRESOLVED
    assert script.order(Role.ENTRY).misses == 0
    assert script.kinds() == ["QueryOrder"]


def test_only_what_was_cancelled_to_be_sold_owes_a_second_look() -> None:
    """Rule 6.3."""
    script = protected()
    draft = draft_of(script)
    stop = script.order(Role.SL)
    assert not doubt.owes_look(draft, replace(stop, recheck=True))
    ended = replace(stop, phase=OrderPhase.CLOSED)
    assert not doubt.owes_look(draft, ended)
    assert not doubt.owes_look(draft, replace(ended, recheck=True))


def test_a_look_of_the_life_before_is_none_of_a_start() -> None:
    """Rule 9.1: it had failed, and the request had no answer yet. Found by the simulation."""
    script = entering(working=False)
    orders = tuple(replace(order, looks=1) for order in script.position.orders)
    script.state = replace(script.state, position=replace(script.position, orders=orders))
    script.restart()
    assert script.position.orders[0].phase is OrderPhase.UNRESOLVED
    assert doubt.looking_up(draft_of(script))


def test_looking_up_lasts_until_every_order_has_been_seen_or_missed() -> None:
    """Rule 9.1."""
    script = entering(working=False)
    script.lose()
    assert doubt.looking_up(draft_of(script))
    script.accept()
    assert not doubt.looking_up(draft_of(script))
