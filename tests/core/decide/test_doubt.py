from msgspec.structs import replace
from tests.core.build import POLICY, RULES, Script, entering, protected

from executor.core.decide import doubt
from executor.core.decide.draft import Draft
from executor.core.model.ids import Role
from executor.core.model.state import OrderPhase


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


def test_only_what_was_cancelled_to_be_sold_owes_a_second_look() -> None:
    """Rule 6.3."""
    script = protected()
    draft = draft_of(script)
    stop = script.order(Role.SL)
    assert not doubt.owes_look(draft, replace(stop, recheck=True))
    ended = replace(stop, phase=OrderPhase.CLOSED)
    assert not doubt.owes_look(draft, ended)
    assert not doubt.owes_look(draft, replace(ended, recheck=True))


def test_looking_up_lasts_until_every_order_has_been_seen_or_missed() -> None:
    """Rule 9.1."""
    script = entering(working=False)
    script.lose()
    assert doubt.looking_up(draft_of(script))
    script.accept()
    assert not doubt.looking_up(draft_of(script))
