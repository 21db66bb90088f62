"""A symbol that is halted or CANCEL_ONLY: what stands, stands (rule 6.8)."""

from msgspec.structs import replace
from tests.core.build import (
    POLICY,
    RULES,
    Script,
    awake,
    both_sides,
    closing,
    entering,
    protected,
    trailing,
    unprotected,
)

from executor.core.model.events import Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role, parse
from executor.core.model.intents import PlaceOco, PlaceOrder
from executor.core.model.policy import Layout
from executor.core.model.state import Closing, Reason
from executor.core.model.values import Direction

CLOSED = replace(RULES, tradable=False)


def shut(script: Script) -> Script:
    """The exchange tells that the symbol is not open for trading."""
    script.settle()
    script.rules = CLOSED
    return script


def opened(script: Script) -> Script:
    script.rules = RULES
    script.wait(1)
    return script


@both_sides
def test_exits_that_stand_are_left_alone_by_all_that_would_move_or_sell(direction: Direction) -> None:
    script = shut(trailing(direction, policy=replace(POLICY, max_hold_ms=60_000)))
    before = script.live()
    script.quote("106", after=2_000)  # a trail that would move
    script.wait(60_000)  # a time that is up
    script.command(Verb.FLATTEN)
    assert script.kinds() == []
    assert script.live() == before
    opened(script)
    assert script.kinds() != []
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


@both_sides
def test_what_is_bare_is_told_of_and_covered_when_the_market_opens(direction: Direction) -> None:
    script = unprotected(direction)
    script.rules = CLOSED
    for kind in list(script.kinds()):
        script.refuse(Why.MARKET_CLOSED, kind)
    for _ in range(30):
        script.wait(2_000)
    assert script.kinds() == []
    assert "failsafe" not in script.told()
    assert script.told().count("unprotected") > 1
    said = [note.text for note in script.notes if note.event == "unprotected"]
    assert all(text.endswith("nothing can be sold until the symbol trades again") for text in said)
    opened(script)
    script.settle()
    assert script.live() == protected(direction).live()


def test_what_is_in_doubt_is_looked_up_all_the_same() -> None:
    script = unprotected()
    script.rules = CLOSED
    script.lose("SL")
    assert "QueryOrder" in script.kinds() or script.next_timer() is not None


def test_a_trade_whose_last_exit_has_filled_ends() -> None:
    script = protected()
    for role in (Role.TP1, Role.TP2):
        script.fill(role)
    script.settle()
    script.rules = CLOSED
    script.fill(Role.SL)
    script.settle()
    assert script.state.position is None


def test_a_close_under_way_goes_on_when_the_market_opens() -> None:
    script = closing()
    script.rules = CLOSED
    script.settle()
    assert isinstance(script.phase, Closing)
    opened(script)
    script.settle()
    assert script.state.position is None


def test_an_entry_that_was_not_filled_is_given_up_without_another() -> None:
    script = shut(entering())
    script.wait(POLICY.entry_timeout_ms)
    script.settle()
    assert script.closed.reason is Reason.REJECTED
    assert Role.PLANB not in {parse(request_id).role for request_id in script.book}  # type: ignore[union-attr]


def test_a_part_of_an_entry_waits_for_its_stop() -> None:
    script = shut(entering())
    script.fill(Role.ENTRY, "1")
    assert script.kinds() == []
    opened(script)
    assert script.kinds() == ["SL"]


def test_a_part_is_not_taken_off_a_symbol_that_is_not_open_for_trading() -> None:
    """Rules 6.8, 13.2: nothing could be placed in its stead; its exits come when it fills whole."""
    script = entering(policy=replace(POLICY, layout=Layout.BRACKET))
    script.fill("ENTRY1", "0.4")
    script.rules = CLOSED
    script.wait(5_000)
    assert not script.kinds()
    script.state = awake(script.state)  # as the engine does when rules change
    opened(script)
    assert script.kinds() == ["CancelOrder"]


STRANGE = replace(CLOSED, strange=True)


@both_sides
def test_in_a_status_that_nobody_knows_what_is_bare_is_covered_if_orders_are_taken(direction: Direction) -> None:
    """Rule 8.8: the position stayed bare for as long as the status was one of tomorrow."""
    script = entering(direction)
    script.rules = STRANGE
    script.fill_entry()
    script.settle()
    assert script.live() == protected(direction).live()
    script.quote("101", after=2_000)
    script.command(Verb.FLATTEN)
    assert script.kinds() == [], "what stands is not taken away on a guess"
    opened(script)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_in_such_a_status_refusals_are_no_reason_to_hurry() -> None:
    """Rule 8.7."""
    script = unprotected()
    script.rules = STRANGE
    refused, began = 0, script.now
    while script.now < began + 60_000:
        while script.pending:
            placing = isinstance(script.pending[0], PlaceOco | PlaceOrder)
            script.refuse(Why.MARKET_CLOSED) if placing else script.accept()
            refused += placing
        script.wait(250)
    assert 10 < refused <= 3 * (1 + 60_000 // 5_000)
    assert "failsafe" not in script.told()
    opened(script)
    script.wait(5_000)
    script.settle()
    assert script.live() == protected().live()


@both_sides
def test_the_price_of_before_a_halt_sells_nothing_after_it(direction: Direction) -> None:
    """Rules 6.4, 6.8: the last trade was at the stop; the first one of after is far from it."""
    script = protected(direction)
    script.quote("98", after=1_000)
    shut(script)
    for _ in range(60):
        script.quote("98", after=1_000)
    assert script.kinds() == []
    opened(script)
    assert script.kinds() == []
    script.quote("98", after=500)
    script.quote("101", after=500)
    script.wait(3_000)
    assert script.kinds() == []
    assert script.named() == "Protected"


@both_sides
def test_a_price_that_is_at_the_stop_after_a_halt_sells_after_its_grace(direction: Direction) -> None:
    script = shut(protected(direction))
    script.quote("97.8", after=60_000)
    opened(script)
    script.quote("97.7", after=500)
    script.wait(2_999)
    assert script.kinds() == []
    script.wait(1)
    assert script.kinds() == ["CancelList", "CancelList", "CancelOrder"]
