"""Rules 8.3, 8.8: an order in doubt that another hand has cancelled may be known by no id of ours."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, START, Script, both_sides, entering, make_report, protected, unprotected

from executor.core.absorb.all_orders import identified
from executor.core.model.events import AllOrdersSeen
from executor.core.model.facts import Balance, Fill, OrderReport
from executor.core.model.ids import Role
from executor.core.model.orders import LIST_TRIES
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.state import End, Order, OrderPhase, Reason
from executor.core.model.values import ZERO, Direction, OrderSide, OrderStatus, OrderType
from executor.core.model.verdict import Ignored
from executor.core.recover.catchup import catch_up

D = Decimal
PATIENT = replace(POLICY, entry_timeout_ms=120_000)


def renamed(script: Script, order: Order, filled: str = "0", **changes: object) -> OrderReport:
    """It has arrived, filled in part, and was cancelled by a hand: no query finds it by our id."""
    script.book[order.id] = make_report(order, time=script.now)
    if D(filled):
        script.execute(order.id, filled)
    told = script.book.pop(order.id)
    told = replace(told, id="web_1", exchange_id=77, status=OrderStatus.CANCELED, fills=(), **changes)
    script.book[told.id] = told
    return told


def settled(script: Script, order: Order) -> Order:
    """`order` when its doubt is over; what else is asked is answered."""
    for _ in range(200):
        found = next(o for o in script.position.orders if o.id == order.id)
        if not found.live:
            return found
        script.accept() if script.pending else script.sleep()
    raise AssertionError("in doubt for ever")


@both_sides
def test_an_entry_cancelled_under_another_id_counts_with_what_it_filled(direction: Direction) -> None:
    """3.2, 3.3: no Plan B buys it a second time, and what it bought gets its exits."""
    script = entering(direction, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    renamed(script, entry, "0.6")
    assert settled(script, entry).end is End.CANCELED
    assert script.order(Role.ENTRY).cum_qty == D("0.6")
    script.book[entry.id] = replace(script.book["web_1"], id=entry.id, fills=fills_of(script))
    script.settle()
    assert not script.orders(Role.PLANB)
    assert script.named() == "Protected"
    assert sum(leg.qty for leg in script.position.legs) in (D("0.6"), D("0.599"))
    assert script.told().count("order_renamed") == 1


def fills_of(script: Script) -> tuple[Fill, ...]:
    """The trades of what the entry has bought."""
    order = script.order(Role.ENTRY)
    script.book["copy_0"] = replace(make_report(order), id="copy_0")
    return script.execute("copy_0", order.cum_qty).fills


@both_sides
def test_a_stop_cancelled_under_another_id_has_sold_what_it_sold(direction: Direction) -> None:
    """10.1: it is not sold a second time."""
    script = unprotected(direction)
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    stop = script.order(Role.SL)
    script.balances = {"LTC": Balance(ZERO), "USDT": Balance(ZERO)}  # nothing free: no second stop beside the doubt
    renamed(script, stop, "0.4")
    assert settled(script, stop).cum_qty == D("0.4")
    left = script.leg(3).qty - D("0.4")
    script.balances = {"LTC": Balance(D(100)), "USDT": Balance(D(100_000))}
    script.settle()
    assert [o.qty for o in script.orders(Role.SL) if o.live] == [left]


def test_the_list_is_asked_for_once_and_with_the_last_look_alone() -> None:
    """8.7: what is found by its own id costs no more than before."""
    script = entering(policy=PATIENT, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    assert settled(script, entry).end is End.NEVER
    asked = [r for r in script.sent if type(r).__name__ == "QueryAllOrders"]
    assert [r.since for r in asked] == [START - 1_000]  # type: ignore[union-attr]
    assert script.now == entry.fence + POLICY.doubt_settle_ms
    assert "orders_unlisted" not in script.told()


@pytest.mark.parametrize(
    "changes",
    [
        {"side": OrderSide.SELL},
        {"type": OrderType.LIMIT_MAKER},
        {"price": D("100.01")},
        {"stop_price": D(99)},
        {"trailing_delta": 100},
        {"qty": D("3.001")},
        {"time": START - 1_001},
        {"id": "EX_1600000000000_ENTRY_0"},
    ],
)
def test_somebody_else_s_order_is_not_taken_for_ours(changes: dict[str, Any]) -> None:
    script = entering(policy=PATIENT, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    script.book["x_0"] = replace(renamed(script, entry, "0.6"), **changes)
    del script.book["web_1"]
    found = settled(script, entry)
    assert (found.end, found.cum_qty) == (End.NEVER, ZERO)


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.EXPIRED])
def test_what_nobody_cancelled_or_amended_has_its_own_id_still(status: OrderStatus) -> None:
    script = entering(policy=PATIENT, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    script.book["web_1"] = replace(renamed(script, entry), status=status)
    assert settled(script, entry).end is End.NEVER


def test_an_amended_order_is_smaller_and_may_be_open() -> None:
    script = entering(policy=PATIENT, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    script.book["web_1"] = replace(renamed(script, entry), status=OrderStatus.NEW, qty=D(2))
    for _ in range(200):
        if script.order(Role.ENTRY).phase is OrderPhase.WORKING:
            break
        script.accept() if script.pending else script.sleep()
    assert (script.order(Role.ENTRY).exchange_id, script.order(Role.ENTRY).qty) == (77, D(2))


def test_one_that_the_list_shows_by_its_own_id_is_taken_up() -> None:
    """8.6: looks may be stale for longer than they should."""
    script = entering(policy=PATIENT, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    while "QueryAllOrders" not in script.kinds():
        script.accept() if script.pending else script.sleep()
    script.book[entry.id] = make_report(entry)
    script.accept("QueryAllOrders")
    assert script.order(Role.ENTRY).phase is OrderPhase.WORKING
    assert "order_renamed" not in script.told()


def test_a_row_is_one_order_s_alone() -> None:
    """10.1: two stops in doubt of the same kind, one of which has come to be."""
    script = unprotected()
    script.state = replace(script.state, position=replace(script.position, spare=ZERO))
    script.balances = {"LTC": Balance(D(1), D(2)), "USDT": Balance(D(10))}
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    first = script.order(Role.SL)
    while "SL" not in script.kinds():
        script.accept() if script.pending else script.sleep()
    script.lose("SL")
    assert first.live
    second = script.order(Role.SL)
    renamed(script, first, "0.4")
    ends = settled(script, first).cum_qty, settled(script, second).cum_qty
    assert ends == (D("0.4"), ZERO)


def test_a_market_order_rests_nowhere_and_keeps_its_id() -> None:
    script = entering(policy=replace(PATIENT, entry_mode=EntryMode.MARKET_ONLY), working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    renamed(script, entry, "0.6")
    assert settled(script, entry).end is End.NEVER


def unread(script: Script, order: Order) -> Order:
    """Its doubt's end, where no list of all orders is answered."""
    for _ in range(200):
        found = next(o for o in script.position.orders if o.id == order.id)
        if not found.live:
            return found
        if "QueryAllOrders" in script.kinds():
            script.lose("QueryAllOrders")
        else:
            script.accept() if script.pending else script.sleep()
    raise AssertionError("in doubt for ever")


@both_sides
def test_without_the_list_an_entry_is_not_sent_again_and_there_is_no_plan_b(direction: Direction) -> None:
    """8.7, 3.3: it may have filled, and nothing would know of it."""
    script = entering(direction, working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    found = unread(script, entry)
    assert (found.end, found.unlisted) == (End.NEVER, False)
    assert sum(type(r).__name__ == "QueryAllOrders" for r in script.sent) == LIST_TRIES
    script.settle()
    assert script.closed.reason is Reason.ENTRY_TIMEOUT
    assert "orders_unlisted" in script.told()


def test_a_start_long_after_the_doubt_began_waits_for_the_list_as_well() -> None:
    """9.1: it is looked for anew."""
    script = entering(working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    renamed(script, entry, "0.6")
    script.now += 600_000
    script.restart()
    assert settled(script, entry).end is End.CANCELED
    assert "orders_unlisted" not in script.told()


def test_without_the_list_a_stop_is_sent_again_in_the_end() -> None:
    """4.7, 10.2: what may have sold a part of it is told; bare it does not stay."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    stop = script.order(Role.SL)
    script.balances = {"LTC": Balance(ZERO), "USDT": Balance(ZERO)}
    assert unread(script, stop).end is End.NEVER
    script.settle()
    assert script.named() == "Protected"
    assert "orders_unlisted" in script.told()


def test_an_exit_that_its_entry_brought_may_be_known_by_another_id() -> None:
    """13.1, 8.6: accepted as one of a list, and no number of it is known."""
    script = protected()
    stop = script.order(Role.SL)
    bent = tuple(replace(o, exchange_id=0, check=True) if o.id == stop.id else o for o in script.position.orders)
    script.state = replace(script.state, position=replace(script.position, orders=bent))
    renamed(script, stop, "0.4")
    assert settled(script, stop).end is End.CANCELED
    assert script.order(Role.SL).qty == script.leg(3).qty - D("0.4")


def test_without_a_trade_the_list_says_nothing() -> None:
    script = Script()
    script.feed(AllOrdersSeen(at=START, reports=(), asked_at=START))
    assert isinstance(script.verdict, Ignored)


def test_what_a_clock_dates_before_its_question_is_as_of_then() -> None:
    """8.7: else it would be asked for until the clock is there again."""
    script = entering(policy=PATIENT, working=False)
    script.lose()
    while "QueryAllOrders" not in script.kinds():
        script.accept() if script.pending else script.sleep()
    (asked,) = (r for r in script.pending if type(r).__name__ == "QueryAllOrders")
    script.feed(AllOrdersSeen(at=script.now, reports=(), asked_at=script.now - 60_000, seq=asked.seq))
    assert script.order(Role.ENTRY).unlisted


def test_after_a_lost_state_too() -> None:
    """9.2: what was in doubt then, and is in no list under its own id."""
    script = entering(working=False)
    script.lose()
    entry = script.order(Role.ENTRY)
    told = renamed(script, entry, "0.6")
    script.now += 60_000
    state, notes = catch_up(script.state, script.position, (), {}, POLICY, RULES, script.now, listed=(told,))
    assert state.position is not None
    assert [(o.end, o.cum_qty) for o in state.position.orders] == [(End.CANCELED, D("0.6"))]
    assert "order_renamed" in [note.event for note in notes]


def test_of_two_exits_alike_the_one_of_the_list_whose_number_is_known_is_meant() -> None:
    """8.8, 13.1: a bracket's stop was cancelled by a hand, and another one like it never came. Found by simulation."""
    script = entering(policy=replace(POLICY, layout=Layout.BRACKET))
    position, first, second = script.position, script.order(Role.SL1), script.order(Role.SL2)
    alike = replace(second, qty=first.qty, price=first.price, stop_price=first.stop_price, exchange_id=0)
    entry = replace(make_report(script.order(Role.ENTRY1)), list_exchange_id=5)
    gone = replace(make_report(first, time=script.now), id="web_1", exchange_id=77, status=OrderStatus.CANCELED)
    for number, found in ((5, set()), (6, {alike.id}), (-1, {alike.id})):
        listed = (entry, replace(gone, list_exchange_id=number))
        assert identified(position, [alike], listed, POLICY).keys() == found
