"""Ended orders that a long trade lets go of, and what is said of them late."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, Script, both_sides, closing, trailing

from executor.core.book import retire
from executor.core.book.edit import find_order
from executor.core.book.retire import KEPT, MANY, retired, was_retired
from executor.core.invariants import violations
from executor.core.model.facts import OrderReport, Why
from executor.core.model.ids import Role
from executor.core.model.intents import CancelOrder, QueryOrder, QueryTrades, Request
from executor.core.model.policy import Layout
from executor.core.model.state import Closing, End, Entering, Order, OrderPhase, Owed, Position, Reason
from executor.core.model.values import Direction, OrderStatus, OrderType
from executor.core.recover.catchup import catch_up

D = Decimal
BOUND = MANY + KEPT
FEW = MANY // 2
MOVES = 200
"""So often that orders are let go of ten times and more, where that begins at `FEW`."""


def moved(script: Script, times: int, most: int = BOUND) -> Script:
    """The trailing stop has followed the price so many times."""
    for _ in range(times):
        script.quote(script.px(script.last + script.direction.sign * D("0.05")), after=1_000)
        script.settle()
        assert len(script.position.orders) <= most
    return script


def gone(script: Script) -> str:
    """The newest id that was let go."""
    ended = [i for i in script.book if find_order(script.position, i) is None]
    return max(ended, key=lambda i: int(i.rpartition("_")[2]))


def filled_late(script: Script, client_id: str) -> OrderReport:
    """The exchange says now that it had filled before it was cancelled."""
    told = script.book[client_id] = replace(script.execute(client_id), status=OrderStatus.CANCELED)
    return told


@both_sides
@pytest.mark.parametrize("layout", list(Layout))
def test_a_long_trail_keeps_few_orders_and_ends_as_one_that_keeps_all(
    direction: Direction, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for many in (FEW, 1_000_000):
        monkeypatch.setattr(retire, "MANY", many)
        script = trailing(direction, replace(POLICY, layout=layout))
        moved(script, MOVES, most=many + KEPT)
        assert script.position.revs > MOVES
        assert len(script.position.orders) > MOVES or many == FEW
        assert {i for i, r in script.book.items() if r.cum_qty} <= {o.id for o in script.position.orders}
        script.fill(Role.TRAIL)
        script.settle()
        results.append((script.closed, script.sent))
    assert results[0] == results[1]
    assert results[0][0].reason is Reason.TRAIL


@both_sides
def test_what_is_said_again_of_an_order_that_was_let_go_is_nothing_new(direction: Direction) -> None:
    script = moved(trailing(direction), 100)
    script.notes.clear()
    before = script.state
    for client_id, told in sorted(script.book.items()):
        script.push(client_id)
        script.book[client_id] = replace(told, status=OrderStatus.NEW) if not told.cum_qty else told
        script.push(client_id)  # older still
        script.book[client_id] = told
    assert script.state.position == before.position
    assert script.notes == []
    assert script.kinds() == []
    assert not script.state.halted


@both_sides
def test_a_fill_of_an_order_that_was_let_go_counts(direction: Direction) -> None:
    """Rule 5.1: the leg is sold, so its stop is cancelled and the trade is over."""
    script = moved(trailing(direction), 100)
    late = gone(script)
    filled_late(script, late)
    script.unchecked = True  # the stop in its place can sell the same until it is cancelled
    script.push(late)
    order = find_order(script.position, late)
    assert order is not None
    assert (order.leg, order.end, order.cum_qty) == (3, End.FILLED, order.qty)
    revs = [int(o.id.rpartition("_")[2]) for o in script.position.orders]
    assert revs == sorted(revs), "among its contemporaries"
    assert "filled" in script.told()
    script.settle()
    assert script.closed.exit_avg is not None
    assert "exit_vanished" not in script.told()
    assert script.closed.reason is Reason.TRAIL


def test_when_its_stop_has_sold_too_the_excess_is_bought_back() -> None:
    """Rule 6.3."""
    script = moved(trailing(), 100)
    late = gone(script)
    filled_late(script, late)
    told = script.trade(Role.TRAIL)
    script.unchecked = True
    script.push(late)
    script.push(told.id)
    script.settle()
    (back,) = [r for i, r in script.book.items() if "BUYBACK" in i]
    assert (back.status, back.qty) == (OrderStatus.FILLED, told.qty)
    assert script.told().count("oversold") == 1
    assert script.state.position is None


def test_a_part_that_filled_late_is_not_sold_again() -> None:
    script = moved(trailing(), 100)
    late = gone(script)
    script.book[late] = replace(script.execute(late, "0.4"), status=OrderStatus.CANCELED)
    script.unchecked = True
    script.push(late)
    script.unchecked = False
    script.settle()
    assert script.order(Role.TRAIL).qty == D("0.599")
    moved(script, 100)
    assert find_order(script.position, late) is not None
    script.fill(Role.TRAIL)
    script.settle()
    assert script.closed.dust < RULES.step


def test_the_same_after_a_restart_from_the_state_at_hand() -> None:
    """Rules 9.1, 9.2: orders that were let go are not taken for orders sent after it."""
    script = moved(trailing(), 100)
    late = gone(script)
    history = list(script.book.values())
    state, notes = catch_up(script.state, script.position, history, {}, POLICY, RULES, script.now)
    assert notes == ()
    assert state.position == script.position
    history.append(filled_late(script, late))
    state, notes = catch_up(script.state, script.position, history, {}, POLICY, RULES, script.now)
    assert state.position is not None
    assert find_order(state.position, late) is not None
    assert [note.event for note in notes] == ["filled"]


def test_a_trade_whose_close_is_refused_for_hours_stays_small() -> None:
    script = closing()
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    for _ in range(300):
        script.refuse(Why.OTHER, "FLATTEN")
        while script.kinds() != ["FLATTEN"]:
            if script.kinds():
                script.accept()
            else:
                script.sleep()
        assert len(script.position.orders) <= BOUND
    assert script.told().count("close_failed") == 60
    assert isinstance(script.phase, Closing)
    assert script.phase.again == 300
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


# --- which may go -----------------------------------------------------------------------------------------------------


def ended(rev: int, **changes: object) -> Order:
    """A trailing stop that was replaced."""
    order = Order(
        id=f"EX_{script_trade()}_TRAIL_{rev}",
        role=Role.TRAIL,
        leg=3,
        side=Direction.LONG.exit_side,
        type=OrderType.STOP_LOSS_LIMIT,
        qty=D("0.999"),
        price=D(99),
        stop_price=D(100),
        phase=OrderPhase.CLOSED,
        end=End.CANCELED,
        closed_at=5,
        fence=7,
    )
    return replace(order, **changes)


@cache
def trailed() -> Position:
    """A trailing trade as it is, which no test changes."""
    return trailing().position


def script_trade() -> str:
    return trailed().trade


def with_tail(*orders: Order, newer: int = MANY) -> Position:
    """A trailing trade with `orders`, and so many after them."""
    position = trailed()
    tail = tuple(ended(1_000 + n) for n in range(newer))
    return replace(position, revs=2_000, orders=(*position.orders, *orders, *tail))


def test_those_that_may_go_do_and_are_known_to_have_gone() -> None:
    position = with_tail(ended(500))
    after = retired(position, set(), 10)
    assert [o for o in after.orders if o.leg == 3][-KEPT:] == list(position.orders[-KEPT:])
    assert after.retired == 1_000 + MANY - KEPT
    assert was_retired(after, ended(500).id)
    assert was_retired(after, ended(1_000 + MANY - KEPT - 1).id)
    assert not was_retired(after, ended(1_000 + MANY - KEPT).id), "that one is kept"
    assert not was_retired(after, ended(1_900).id), "never heard of"
    assert not was_retired(after, "EX_1_TRAIL_500"), "of another trade"
    assert not was_retired(after, "web_1")
    assert not was_retired(after, f"EX_{after.trade}_PLANB_500"), "an entry is never let go"
    assert retired(after, set(), 10) is after


def test_few_are_left_as_they_are() -> None:
    position = trailed()
    few = replace(position, orders=(*position.orders, *(ended(100 + n) for n in range(MANY - len(position.orders)))))
    assert retired(few, set(), 10) is few


@pytest.mark.parametrize(
    "order",
    [
        ended(500, phase=OrderPhase.WORKING, end=None),
        ended(500, cum_qty=D("0.1")),
        ended(500, end=End.NEVER),
        ended(500, end=End.GONE),
        ended(500, recheck=True),
        ended(500, apart=True),
        ended(500, closed_at=10),
        ended(500, trailing_delta=100, end=End.REFUSED),
        ended(500, leg=0, role=Role.SL),
        ended(500, leg=0, role=Role.ENTRY),
        ended(500, leg=-1),
    ],
    ids=[
        "live",
        "filled",
        "not found",
        "lost",
        "looked at",
        "apart",
        "just now",
        "native",
        "interim",
        "entry",
        "taken",
    ],
)
def test_those_that_may_matter_stay(order: Order) -> None:
    assert order in retired(with_tail(order), set(), 10).orders


@pytest.mark.parametrize("end", [End.CANCELED, End.EXPIRED, End.REFUSED])
def test_however_the_exchange_said_it_ended(end: End) -> None:
    assert ended(500, end=end) not in retired(with_tail(ended(500, end=end)), set(), 10).orders


def test_one_that_was_never_sent_goes() -> None:
    untried = ended(500, end=End.NEVER, fence=0)
    assert untried not in retired(with_tail(untried), set(), 10).orders


def test_one_that_something_refers_to_stays() -> None:
    old, side = ended(500), ended(501, role=Role.SL1, leg=1, list_id="L")
    position = with_tail(old, side)
    sides = tuple(ended(600 + n, role=Role.SL1, leg=1) for n in range(KEPT))
    position = replace(position, orders=(*position.orders, *sides))
    assert {old, side} & set(retired(position, set(), 10).orders) == set()
    assert old in retired(position, {old.id}, 10).orders
    replacing = ended(1_900, phase=OrderPhase.SUBMITTED, end=None, replaces=old.id)
    assert old in retired(replace(position, orders=(*position.orders, replacing)), set(), 10).orders
    working = ended(502, role=Role.TP1, leg=1, list_id="L", phase=OrderPhase.WORKING, end=None)
    assert side in retired(replace(position, orders=(*position.orders, working)), set(), 10).orders


@pytest.mark.parametrize(
    "order", [ended(500, role=Role.SL), ended(500, role=Role.FLATTEN, leg=1), ended(500, role=Role.SL1, leg=1)]
)
def test_the_newest_of_each_leg_and_role_stay(order: Order) -> None:
    sales = tuple(ended(600 + n, role=Role.FLATTEN) for n in range(KEPT))
    position = with_tail(order)
    position = replace(position, orders=(*position.orders, *sales))
    after = retired(position, set(), 10)
    assert order in after.orders
    assert set(sales) <= set(after.orders)
    assert len(after.orders) < len(position.orders)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda seq, key: CancelOrder(seq=seq, id=key),
        lambda seq, key: QueryOrder(seq=seq, id=key),
        lambda seq, key: QueryTrades(seq=seq, id=key, exchange_id=1),
    ],
    ids=["cancel", "look", "trades"],
)
def test_one_whose_answer_is_awaited_stays_until_it_is_there(
    request_of: Callable[[int, str], Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8.1: a push told of its end first, and the answer still finds it."""
    script = trailing()
    script.quote("105", after=1_000)
    script.settle()
    order = next(o for o in script.orders(Role.TRAIL) if not o.live)
    seq = script.state.next_seq
    asked = request_of(seq, order.id)
    script.state = replace(script.state, next_seq=seq + 1, outbox=(Owed(script.now, asked),))
    monkeypatch.setattr(retire, "MANY", 0)
    for n in range(2 * KEPT):
        script.quote(f"{106 + n}", after=1_000)
        script.settle()
    assert find_order(script.position, order.id) is not None
    script.pending.append(asked)
    script.settle()
    script.quote("120", after=1_000)
    script.settle()
    assert find_order(script.position, order.id) is None


def test_orders_taken_over_stay_where_they_are() -> None:
    """Rule 9.3: they are the first so many."""
    position = with_tail(ended(500))
    position = replace(position, orders=position.orders[-MANY - 1 :], taken=3)
    assert retired(position, set(), 10).orders[:3] == position.orders[:3]
    assert len(retired(position, set(), 10).orders) == 3 + KEPT


def test_while_entering_or_closing_only_market_orders_go() -> None:
    sale = ended(500, role=Role.FLATTEN, leg=0, end=End.REFUSED)
    sales = tuple(ended(600 + n, role=Role.FLATTEN, leg=0, end=End.REFUSED) for n in range(KEPT))
    position = with_tail(ended(501), sale, *sales)
    for phase in (Closing(reason=Reason.TP, since=1), Entering(give_up_at=1)):
        after = retired(replace(position, phase=phase), set(), 10)
        assert len(after.orders) == len(position.orders) - 1
        assert sale not in after.orders


# --- on record --------------------------------------------------------------------------------------------------------


def test_no_other_order_may_be_missing() -> None:
    """Rule 5.1, as the invariants see it."""
    before = moved(trailing(), 100).state
    assert before.position is not None
    position = before.position
    live = next(o for o in position.orders if o.live)
    sold = next(o for o in position.orders if o.cum_qty)
    newest = [o for o in position.orders if not o.live and not o.cum_qty][-1]

    def broken(**changes: object) -> list[str]:
        return violations(before, replace(before, position=replace(position, **changes)), POLICY, RULES)

    def without(order: Order) -> tuple[Order, ...]:
        return tuple(o for o in position.orders if o is not order)

    assert broken(orders=without(newest), retired=position.revs) == []
    assert f"5.1: {newest.id} was forgotten" in broken(orders=without(newest))
    assert f"5.1: {live.id} was forgotten" in broken(orders=without(live), retired=position.revs)
    assert f"5.1: {sold.id} was forgotten" in broken(orders=without(sold), retired=position.revs)
    assert any("5.1" in text for text in broken(retired=position.retired - 1))
    assert any("5.1" in text for text in broken(revs=position.revs - 1))
