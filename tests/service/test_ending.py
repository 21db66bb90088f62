"""What an end leaves open is said (rule 9.5)."""

from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, Script, both_sides, closing, entering, protected, unprotected

from executor.core.model.events import Reported, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import Notify
from executor.core.model.policy import Layout
from executor.core.model.values import Direction
from executor.service import ending


def said(script: Script) -> list[tuple[str, str]]:
    notes: list[Notify] = []
    ending.say_what_is_left(script.state, RULES, notes.append)
    return [(note.event, note.text) for note in notes]


def test_a_position_that_is_covered_and_an_end_without_one_need_no_word() -> None:
    assert said(protected()) == []
    script = closing()
    script.settle()
    assert said(script) == []
    assert not ending.bare(script.state, RULES)
    assert not ending.oversold(script.state, RULES)


@both_sides
def test_what_is_bare_is_named(direction: Direction) -> None:
    ((event, text),) = said(unprotected(direction))
    assert event == "stopped_bare"
    assert "LTC without a stop" in text


def test_a_close_names_what_still_stands() -> None:
    """Nothing has been cancelled yet, so that every unit is covered."""
    script = closing()
    ((event, text),) = said(script)
    assert event == "stopped_closing"
    assert f"{script.order(Role.SL).id} is not cancelled" in text


def test_a_close_names_what_was_sold_too_much() -> None:
    script = protected()
    script.command(Verb.FLATTEN)
    stop = script.order(Role.SL)
    while "FLATTEN" not in script.kinds():
        script.accept()
    script.accept("FLATTEN")
    script.push(script.execute(stop.id).id)
    while "BUYBACK" not in script.kinds():
        script.accept()
    script.refuse(Why.OTHER, "BUYBACK")
    assert ending.oversold(script.state, RULES) == Decimal("0.999")
    ((event, text),) = said(script)
    assert event == "stopped_closing"
    assert "0.999 LTC sold too much are not bought back" in text
    assert "BUYBACK" not in script.kinds()
    script.command(Verb.RETRY)
    while "BUYBACK" not in script.kinds():
        script.accept()
    script.settle()
    assert script.state.position is None


def test_what_may_be_commission_only_is_not_called_sold_too_much() -> None:
    """Its stop has sold all that was bought, before the commission could be read."""
    script = entering()
    filled = script.trade(Role.ENTRY)
    script.feed(Reported(at=script.now, report=replace(filled, fills=())))
    script.lose("QueryTrades")
    script.settle()
    script.command(Verb.FLATTEN)
    sold = replace(script.order(Role.SL), qty=filled.qty, cum_qty=filled.qty)
    position = replace(script.position, orders=tuple(sold if o.id == sold.id else o for o in script.position.orders))
    assert not ending.oversold(replace(script.state, position=position), RULES)


@both_sides
def test_an_entry_that_stays_open_is_named(direction: Direction) -> None:
    script = entering(direction)
    ((event, text),) = said(script)
    assert event == "stopped_entering"
    assert text.startswith(f"{script.order(Role.ENTRY).id}: open still")
    script.fill(Role.ENTRY, "1")
    assert [event for event, _ in said(script)] == ["stopped_bare", "stopped_entering"]


def test_an_entry_that_brings_its_exits_needs_no_word() -> None:
    script = entering(policy=replace(POLICY, layout=Layout.BRACKET))
    assert all(o.list_id for o in script.position.orders if o.is_entry)
    assert said(script) == []


def test_what_is_owed_is_named_and_what_is_under_way() -> None:
    script = Script(rules=MARGIN_RULES)
    script.signal()
    script.accept("QueryBorrowable")
    script.accept("QueryLoans")
    assert said(script) == [
        ("stopped_owing", "the loan of 201.50 USDT is under way; the next start goes on with it"),
    ]
    script.settle()
    names = script.order(Role.ENTRY).id
    assert said(script) == [
        (
            "stopped_entering",
            f"{names}: open still, as far as is known; what fills before the next start has no stop until then",
        ),
        ("stopped_owing", "201.502015 USDT are owed, and interest goes on; the next start goes on with it"),
    ]
