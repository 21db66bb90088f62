"""From each state of a trade, however old, to what the exchange shows at its end (rule 9.2)."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, Script, both_sides, make_report

from executor.core import invariants
from executor.core.model.events import AnyEvent, Verb
from executor.core.model.ids import Role
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    ReplaceOrder,
    placed,
)
from executor.core.model.policy import Layout, Policy, TrailMode
from executor.core.model.state import End, Market, OrderPhase, Reason, State
from executor.core.model.values import ZERO, Direction, OrderStatus
from executor.core.recover.catchup import catch_up
from executor.core.transition import Step

PLAIN = replace(POLICY, layout=Layout.PLAIN)
D = Decimal
HANDED = replace(PLAIN, trail_mode=TrailMode.NATIVE, trail_r=Decimal("0.5"), trail_after_tp2=False)
"""The exchange trails the stop of the whole, from the start."""
SUBMITTED = OrderPhase.SUBMITTED


class Remembered(Script):
    """Keeps every state that was on disk."""

    def __init__(self, direction: Direction, policy: Policy) -> None:
        super().__init__(direction, policy)
        self.states: list[State] = []

    def feed(self, event: AnyEvent) -> Step:
        step = super().feed(event)
        if step.state.position is not None:
            self.states.append(step.state)
        return step


def to_the_exits(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill(Role.ENTRY)
    script.settle()


def to_the_trail(script: Script) -> None:
    to_the_exits(script)
    for price in ("102.1", "104.1"):
        script.quote(price, after=1_000)
        script.fill(Role.TP1 if price == "102.1" else Role.TP2)
        script.settle()
    for price in ("105", "107"):
        script.quote(price, after=2_000)
        script.settle()


def by_plan_b(script: Script) -> None:
    script.signal()
    script.settle()
    script.sleep()
    script.settle()


def with_an_interim_stop(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill(Role.ENTRY, "1")
    script.settle()


def from_the_interim_stop_to_the_exits(script: Script) -> None:
    with_an_interim_stop(script)
    script.wait(2_000)
    script.fill(Role.ENTRY)
    script.settle()


def to_the_end_of_the_entry_above_a_large_interim_stop(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill(Role.ENTRY, "2.5")
    script.settle()
    script.fill(Role.ENTRY)


def to_a_trade_that_is_too_small(script: Script) -> None:
    script.signal()
    script.settle()
    script.fill(Role.ENTRY, "0.2")
    script.settle()
    script.vanish(Role.ENTRY)
    script.settle()


def to_the_close(script: Script) -> None:
    to_the_exits(script)
    script.command(Verb.FLATTEN)
    script.accept()
    script.accept()


def sold_at_market(script: Script) -> None:
    to_the_exits(script)
    script.quote("96", after=1_000)
    script.wait(10_000)
    script.settle()


def through_a_doubt(script: Script) -> None:
    """An exit that never arrived is placed anew, and all is sold."""
    script.signal()
    script.settle()
    script.fill(Role.ENTRY)
    script.lose()
    script.settle()
    while any(order.phase is OrderPhase.UNRESOLVED for order in script.position.orders):
        script.sleep()
        script.settle()
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()


LIVES = [
    through_a_doubt,
    to_the_exits,
    to_the_trail,
    by_plan_b,
    with_an_interim_stop,
    from_the_interim_stop_to_the_exits,
    to_the_end_of_the_entry_above_a_large_interim_stop,
    to_a_trade_that_is_too_small,
    to_the_close,
    sold_at_market,
]
AT_REST = [to_the_exits, to_the_trail, by_plan_b]
"""All stands as it should: nothing is to be sent."""


def resumed(end: Script, old: State, *, fills: bool = True, lost: bool = True, priced: bool = True) -> Script:
    """A service that starts from `old` on the exchange as it is at the `end`, a minute later."""
    script = Script(end.direction, end.policy)
    script.book, script.lists = dict(end.book), dict(end.lists)
    script.last, script._trade_id, script.now = end.last, end._trade_id, end.now + 60_000
    assert old.position is not None
    told = tuple(replace(report, fills=()) for report in end.book.values())
    known = {report.id: report.fills for report in end.book.values()} if fills else {}
    script.state, notes = catch_up(old, old.position, told, known, script.policy, script.rules, script.now, lost=lost)
    assert script.state.halted == ""
    script.notes += notes
    script.restart()
    if priced:
        script.quote(script.px(script.last))  # mirrored back
    script.settle()
    return script


def flatten(script: Script) -> None:
    script.command(Verb.FLATTEN)
    for _ in range(20):
        script.settle()
        script.wait(1_000)


def sent(script: Script) -> list[str]:
    """The ids of all that was placed."""
    found = []
    for request in script.sent:
        match request:
            case PlaceOrder() | ReplaceOrder():
                found.append(request.order.id)
            case PlaceOco() | PlaceBracket():
                found += [request.list_id, *placed(request)]
            case _:
                pass
    return found


def net(script: Script) -> Decimal:
    """Base bought less sold, commissions in base taken off."""
    total = ZERO
    for report in script.book.values():
        sign = 1 if report.side is script.direction.entry_side else -1
        total += sign * report.cum_qty
        if script.direction is Direction.LONG:
            total -= sum((fill.fee for fill in report.fills if fill.fee_asset == "LTC"), ZERO)
    return total


@both_sides
@pytest.mark.parametrize("policy", [POLICY, PLAIN], ids=["oco", "plain"])
@pytest.mark.parametrize("live", LIVES)
def test_from_each_state_of_a_life(live: Callable[[Script], None], policy: Policy, direction: Direction) -> None:
    end = Remembered(direction, policy)
    live(end)
    assert len(end.states) > 2
    for n, old in enumerate(end.states):
        for fills in (True, False):
            script = resumed(end, old, fills=fills)
            story = f"state {n} of {len(end.states)}, fills {fills}: {script.told()}, {sent(script)}"
            assert "exit_vanished" not in script.told(), story
            assert not (sent(script) and live in AT_REST), story
            assert not set(sent(script)) & (set(end.book) | set(end.lists.values())), story
            flatten(script)
            assert script.state.position is None, story
            assert all(report.status.is_final for report in script.book.values()), story
            assert abs(net(script)) < RULES.step, story


@both_sides
def test_a_trail_that_the_exchange_carries_is_taken_up_by_a_state_without_one(direction: Direction) -> None:
    """Rules 9.2, 5.4: where it has come to is on no order, and until a price has come, nobody knows."""
    end = Remembered(direction, HANDED)
    to_the_exits(end)
    end.quote("101.9", after=1_000)
    end.settle()
    assert end.order(Role.TRAIL).trailing_delta is not None
    states = list(end.states)
    end.trade(Role.TP1)  # what the stop is for has become less
    for old in states:
        script = resumed(end, replace(old, market=Market()), priced=False)  # prices are not on disk
        for _ in range(3):
            script.quote(script.px(script.last), after=1_000)
            script.settle()
        trail, held = script.order(Role.TRAIL), script.rules.whole(abs(net(script)))
        assert (trail.live, trail.qty, trail.trailing_delta is not None) == (True, held, True)
        flatten(script)
        assert script.state.position is None
        assert abs(net(script)) < RULES.step


@pytest.mark.parametrize("lost", [True, False])
def test_an_exit_cancelled_meanwhile_is_ours_only_where_newer_states_were_lost(*, lost: bool) -> None:
    """Rule 6.6: after an orderly end, with nothing sent since, it was somebody else; and that is told."""
    end = Remembered(Direction.LONG, POLICY)
    to_the_exits(end)
    newest = end.states[-1]
    end.vanish(Role.SL)
    script = resumed(end, newest, lost=lost)
    assert ("exit_vanished" in script.told()) is not lost
    assert len(script.live()) == 5


def test_what_was_sent_since_proves_that_a_state_is_old() -> None:
    end = Remembered(Direction.LONG, POLICY)
    to_the_trail(end)
    for old in end.states:
        assert "exit_vanished" not in resumed(end, old, lost=False).told()


@both_sides
@pytest.mark.parametrize("part", ["1", "0.4"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_what_one_leg_has_sold_at_market_is_not_sold_again(n: int, part: str, direction: Direction) -> None:
    """Rule 10.1: the market order's id does not tell its leg; the stops of the two others are on their way out."""
    end = Remembered(direction, POLICY)
    to_the_exits(end)
    end.quote("96", after=1_000)
    end.wait(3_000)
    old = end.state
    cancels = [request for request in end.pending if isinstance(request, CancelList | CancelOrder)]
    mine = {order.id for order in end.position.orders if order.leg == n}
    own = next(r for r in cancels if mine & set(r.ids if isinstance(r, CancelList) else (r.id,)))
    end.pending = [own]
    end.accept()
    sold = end.order(Role.FLATTEN)
    assert sold.leg == n
    end.book[sold.id] = make_report(sold)
    told = end.execute(sold.id, sold.qty * Decimal(part))
    if told.cum_qty < told.qty:
        end.book[sold.id] = replace(told, status=OrderStatus.EXPIRED)
    script = resumed(end, old)
    for _ in range(5):
        script.wait(1_000)
        script.settle()
    assert script.closed.reason is Reason.SL
    assert "oversold" not in script.told()
    assert abs(net(script)) < RULES.step


@both_sides
def test_a_leg_whose_stop_tells_late_of_a_fill_is_not_sold_again(direction: Direction) -> None:
    """Rule 10.1: the sale was for more than the leg has left now that its cancelled stop has told of a fill, and for
    less than all that is held. Found by the simulation.
    """
    end = Remembered(direction, POLICY)
    to_the_exits(end)
    end.quote("96", after=1_000)
    end.wait(3_000)
    old = end.state
    stop = end.order(Role.SL)
    own = next(r for r in end.pending if isinstance(r, CancelOrder) and r.id == stop.id)
    end.pending = [own]
    end.accept()
    sold = end.order(Role.FLATTEN)
    end.book[sold.id] = make_report(sold)
    end.execute(sold.id, sold.qty)
    end.book[stop.id] = replace(end.book[stop.id], cum_qty=Decimal("0.1"), cum_quote=Decimal("9.6"))
    script = resumed(end, old)
    assert script.orders(Role.FLATTEN)[0].leg == stop.leg
    for _ in range(5):
        script.wait(1_000)
        script.settle()
    assert script.closed.reason is Reason.SL
    assert abs(net(script)) < RULES.step


def test_what_was_sold_for_the_whole_is_no_legs_part() -> None:
    end = Remembered(Direction.LONG, POLICY)
    to_the_exits(end)
    old = end.state
    end.command(Verb.FLATTEN)
    while not end.orders(Role.FLATTEN):
        end.accept()
    end.settle()
    assert old.position is not None
    known = {report.id: report.fills for report in end.book.values()}
    caught, _ = catch_up(old, old.position, tuple(end.book.values()), known, POLICY, RULES, end.now)
    assert caught.position is not None
    assert [order.leg for order in caught.position.orders if order.role is Role.FLATTEN] == [0]
    script = resumed(end, old)
    script.settle()
    assert script.state.position is None
    assert not sent(script)


@both_sides
def test_a_close_that_has_sold_a_part_goes_on(direction: Direction) -> None:
    """Rules 9.2, 10.1: what is left is less than each leg's part, and they would all stand for it."""
    end = Remembered(direction, POLICY)
    to_the_exits(end)
    old = end.state
    end.command(Verb.FLATTEN)
    while not end.orders(Role.FLATTEN):
        end.accept()
    sold = end.order(Role.FLATTEN)
    end.book[sold.id] = make_report(sold)
    told = end.execute(sold.id, sold.qty * Decimal("0.7"))
    end.book[sold.id] = replace(told, status=OrderStatus.EXPIRED)
    script = resumed(end, old)
    for _ in range(5):
        script.wait(1_000)
        script.settle()
    assert script.state.position is None
    assert abs(net(script)) < RULES.step


@both_sides
def test_two_stops_of_one_leg_are_one_that_was_sent_again_while_the_other_was_in_doubt(direction: Direction) -> None:
    """Rules 8.3b, 10.1: nothing keeps them apart where the account had more than the trade; one is cancelled."""
    end = Remembered(direction, POLICY)
    to_the_exits(end)
    first = end.order(Role.SL)
    old = next(
        s
        for s in end.states
        if s.position and any(o.id == first.id and o.phase is SUBMITTED for o in s.position.orders)
    )
    second = replace(end.book[first.id], id=f"{first.id}9", exchange_id=first.exchange_id + 900)
    end.book[second.id] = second
    script = resumed(end, old)
    standing = [script.book[name].status is OrderStatus.NEW for name in (first.id, second.id)]
    assert sorted(standing) == [False, True]
    assert sent(script) == []


@both_sides
@pytest.mark.parametrize("again", [True, False])
def test_an_exit_that_was_made_smaller_is_believed_where_its_leg_was_placed_anew_or_told_so_twice(
    direction: Direction, *, again: bool
) -> None:
    """Rule 10.1: it met another order of the account, and what is placed in its place has sold since."""
    end = Remembered(direction, POLICY)
    to_the_exits(end)
    old, first, stop = end.states[-1], end.order(Role.TP1), end.order(Role.SL1)
    short = replace(end.book[first.id], status=OrderStatus.FILLED, cum_qty=D("0.4"), cum_quote=D("40.8"))
    end.book[first.id] = short
    end.book[stop.id] = replace(end.book[stop.id], status=OrderStatus.EXPIRED)
    if again:
        end.push(first.id)
        old = end.states[-1]
    else:
        later = replace(short, id=f"{first.id}9", exchange_id=900, qty=D("0.6"), cum_qty=D("0.6"), cum_quote=D("61.2"))
        end.book[later.id] = later
    assert old.position is not None
    caught, _ = catch_up(old, old.position, tuple(end.book.values()), {}, POLICY, RULES, end.now)
    assert caught.position is not None
    assert [o.end for o in caught.position.orders if o.id == first.id] == [End.FILLED]
    assert invariants.violations(old, caught, POLICY, RULES) == []
