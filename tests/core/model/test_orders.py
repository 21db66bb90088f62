from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, make_report

from executor.core.model import orders
from executor.core.model.facts import Fill, Refused, Why
from executor.core.model.ids import Role
from executor.core.model.orders import CancelBy
from executor.core.model.state import End, Order, OrderPhase
from executor.core.model.values import OrderSide, OrderStatus, OrderType

D = Decimal
STOP = Order(
    id="EX_1_SL_1",
    role=Role.SL,
    leg=3,
    side=OrderSide.SELL,
    type=OrderType.STOP_LOSS_LIMIT,
    qty=D(2),
    price=D(97),
    stop_price=D(98),
    sent_at=100,
)
WORKING = replace(STOP, phase=OrderPhase.WORKING, exchange_id=2)


def fill(trade_id: int, qty: str, price: str = "98") -> Fill:
    return Fill(trade_id, D(price), D(qty), D(0), "BNB", 0)


def test_a_request_carries_what_the_order_is() -> None:
    request = orders.request_of(STOP)
    assert (request.id, request.qty, request.price, request.stop_price) == (STOP.id, D(2), D(97), D(98))


def test_a_report_makes_a_submitted_order_a_working_one() -> None:
    folded = orders.fold(STOP, make_report(STOP), 200)
    assert (folded.phase, folded.exchange_id, folded.end) == (OrderPhase.WORKING, 2, None)
    assert orders.fold(folded, make_report(STOP), 300) is folded


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (OrderStatus.CANCELED, End.CANCELED),
        (OrderStatus.EXPIRED, End.EXPIRED),
        (OrderStatus.EXPIRED_IN_MATCH, End.EXPIRED),
        (OrderStatus.REJECTED, End.EXPIRED),
    ],
)
def test_a_final_status_closes_the_order_and_says_nothing_of_its_fills(status: OrderStatus, end: End) -> None:
    folded = orders.fold(WORKING, make_report(STOP, status, cum_qty=D(1), cum_quote=D(98)), 200)
    assert (folded.end, folded.cum_qty, folded.closed_at) == (end, D(1), 200)


def test_a_fill_after_a_cancel_is_legal_and_the_order_stays_closed() -> None:
    closed = orders.fold(WORKING, make_report(STOP, OrderStatus.CANCELED), 200)
    more = orders.fold(closed, make_report(STOP, OrderStatus.PARTIALLY_FILLED, fills=(fill(1, "1.5"),)), 300)
    assert (more.phase, more.end, more.cum_qty, more.cum_quote) == (OrderPhase.CLOSED, End.CANCELED, D("1.5"), D(147))
    full = orders.fold(more, make_report(STOP, OrderStatus.FILLED, cum_qty=D(2), cum_quote=D(196)), 400)
    assert (full.end, full.closed_at) == (End.FILLED, 200)


def test_fills_that_add_up_to_the_whole_fill_it() -> None:
    folded = orders.fold(WORKING, make_report(STOP, fills=(fill(1, "1"), fill(2, "1"))), 200)
    assert (folded.end, folded.cum_qty) == (End.FILLED, D(2))


@pytest.mark.parametrize("end", [End.NEVER, End.GONE])
def test_an_order_believed_gone_comes_back_when_it_is_seen(end: End) -> None:
    gone = replace(STOP, phase=OrderPhase.CLOSED, end=end, closed_at=150)
    assert orders.fold(gone, make_report(STOP), 200).phase is OrderPhase.WORKING


def test_a_stop_on_the_book_has_triggered_when_it_was_first_seen_there() -> None:
    """Rule 6.5."""
    triggered = orders.fold(WORKING, make_report(STOP, working=True), 200)
    assert triggered.triggered_at == 200
    assert orders.fold(triggered, make_report(STOP, cum_qty=D(1), cum_quote=D(98)), 300).triggered_at == 200


def test_trades_read_on_their_own_count_too_and_only_once() -> None:
    once = orders.fold_fills(WORKING, (fill(2, "0.5"), fill(1, "0.5")))
    assert ([f.trade_id for f in once.fills], once.cum_qty, once.cum_quote) == ([1, 2], D(1), D(98))
    assert orders.fold_fills(once, (fill(1, "0.5"),)) is once
    known = replace(WORKING, cum_qty=D(1), cum_quote=D(98))
    assert orders.fold_fills(known, (fill(1, "0.5"),)).cum_qty == 1


def test_what_trades_add_up_to_goes_for_a_sum_that_is_told_in_fewer_digits() -> None:
    """Both are of the same quantity: a report may tell 97.9 of a trade at 98."""
    told = make_report(STOP, OrderStatus.PARTIALLY_FILLED, cum_qty=D(1), cum_quote=D("97.9"))
    rounded = orders.fold(WORKING, told, 200)
    assert rounded.cum_quote == D("97.9")
    for trades in (
        orders.fold_fills(rounded, (fill(1, "1"),)),
        orders.fold(rounded, replace(told, fills=(fill(1, "1"),)), 300),
    ):
        assert (trades.cum_qty, trades.cum_quote) == (D(1), D(98))
        assert orders.fold(trades, told, 400) is trades


@pytest.mark.parametrize(
    ("order", "price", "possible"),
    [
        (WORKING, "97", True),
        (WORKING, "96.99995", True),  # in fewer digits than the limit
        (WORKING, "9.7", False),
        (replace(WORKING, side=OrderSide.BUY), "97", True),
        (replace(WORKING, side=OrderSide.BUY), "970", False),
        (replace(WORKING, type=OrderType.MARKET, price=None), "9.7", True),
        (replace(WORKING, type=OrderType.MARKET, price=None), "0", False),
    ],
)
def test_no_list_of_trades_has_one_beyond_the_order_s_own_limit(order: Order, price: str, *, possible: bool) -> None:
    """What trades add up to goes first: by one such price break-even was not where it is."""
    fault = orders.beyond_limit(order, (fill(1, "1", price),))
    assert (fault is None) is possible


def test_a_refusal_closes_what_was_submitted_and_nothing_else() -> None:
    refused = Refused(Why.FILTER, -1013, "no")
    assert orders.refuse(STOP, refused, 200).end is End.REFUSED
    closed = replace(WORKING, phase=OrderPhase.CLOSED, end=End.FILLED)
    assert orders.refuse(WORKING, refused, 200) is WORKING
    assert orders.refuse(closed, refused, 200) is closed


def test_an_accepted_order_is_gone_after_two_misses_apart() -> None:
    """Rule 8.6."""
    once = orders.miss(WORKING, 11_000, 11_000, POLICY)
    assert (once.phase, once.check, once.ask_at) == (OrderPhase.WORKING, True, 13_000)
    soon = orders.miss(once, 11_500, 11_500, POLICY)
    assert soon.phase is OrderPhase.WORKING
    assert orders.miss(soon, 13_000, 13_000, POLICY).end is End.GONE
    ended = replace(WORKING, phase=OrderPhase.CLOSED, end=End.FILLED)
    assert orders.miss(ended, 1, 1, POLICY) is ended


def test_one_that_was_just_accepted_need_not_show_for_as_long_as_a_request_may_take() -> None:
    """Rules 8.6, 8.8."""
    order, asked = replace(WORKING, heard_at=1_000), [1_250]
    while order.end is None:
        order = orders.miss(order, asked[-1], asked[-1], POLICY)
        asked.append(order.ask_at)
    assert asked[:-1] == [1_250, 3_250, 5_250, 7_250, 9_250, 11_000]
    assert orders.miss(replace(WORKING, heard_at=1_000), 5_000, 5_000, POLICY, ahead_at=4_000).ask_at == 7_000


def test_an_order_in_doubt_never_was_only_after_its_request_can_not_arrive_any_more() -> None:
    """Rule 8.3: the fence at 5 s, and ten more seconds."""
    order = replace(orders.doubt(STOP, 5_000, 0), unlisted=True)
    asked = []
    while order.end is None:
        asked.append(order.ask_at)
        order = orders.miss(order, order.ask_at, order.ask_at, POLICY)
    assert asked == [0, 250, 750, 1_250, 2_250, 3_250, 4_250, 5_250, 7_250, 11_250, 15_000]
    assert order.end is End.NEVER


@pytest.mark.parametrize(
    ("doubted", "expected"),
    [
        (1, [0, 250, 750, 1_250, 2_250, 3_250, 4_250, 5_250, 7_250, 11_250, 15_000]),
        (2, [0, 250, 850, 1_450, 2_450, 3_450, 4_450, 5_450, 7_450, 11_450, 15_000]),
        (4, [0, 250, 2_050, 3_850, 5_650, 7_450, 9_250, 11_050, 13_050, 15_000]),
        (12, [0, 250, 6_850, 13_450, 15_000]),
    ],
)
def test_orders_in_doubt_share_a_pace(doubted: int, expected: list[int]) -> None:
    """Rule 8.7: each is settled no later for it."""
    asked, end = _looks(doubted, fence=5_000)
    assert (asked, end) == (expected, End.NEVER)


@pytest.mark.parametrize("doubted", range(2, 40))
def test_looks_are_no_more_however_many_orders_are_in_doubt(doubted: int) -> None:
    """Rule 8.7: some two a second, beside the first two looks at each."""
    asked, _ = _looks(doubted, fence=60_000)
    assert doubted * sum(at <= 10_000 for at in asked[2:]) <= 21


@pytest.mark.parametrize("doubted", [1, 2, 5, 40])
def test_looks_that_can_settle_an_order_in_doubt_wait_for_no_others(doubted: int) -> None:
    """Rule 8.3: at a start that comes late it takes two looks, and six where no list of all orders can be read."""
    assert _looks(doubted, fence=5_000, at=60_000) == ([60_000, 60_250], End.NEVER)
    asked, end = _looks(doubted, fence=5_000, at=60_000, listed=False)
    assert (asked, end) == ([60_000, 60_250, 60_750, 61_250, 62_250, 63_250], End.NEVER)


def test_a_look_that_is_under_way_as_a_doubt_can_be_settled_costs_no_pause() -> None:
    """Rule 8.3: sent before the time and answered after it, it tells nothing yet; the next one does."""
    order = replace(orders.doubt(STOP, 5_000, 0), unlisted=True)
    for at in range(0, 7_000, 1_000):
        order = orders.miss(order, at, at, POLICY)
    order = orders.miss(order, 14_900, 15_100, POLICY, doubted=5)
    assert (order.live, order.ask_at) == (True, 15_100)
    assert orders.miss(order, 15_100, 15_300, POLICY).end is End.NEVER


def test_an_order_that_is_kept_apart_makes_way_and_none_makes_way_for_it() -> None:
    """Rules 8.3b, 8.7."""
    doubtful = orders.doubt(STOP, 5_000, 0)
    apart = replace(doubtful, apart=True)
    assert orders.in_doubt((apart, doubtful, WORKING), doubtful) == 1
    assert orders.in_doubt((apart, doubtful, WORKING), apart) == 2


def _looks(doubted: int, *, fence: int, at: int = 0, listed: bool = True) -> tuple[list[int], End | None]:
    """When an order in doubt, one of so many, is looked for from `at` on until it counts as never placed."""
    order = replace(orders.doubt(STOP, fence, at), unlisted=listed)
    asked = []
    while order.end is None:
        asked.append(order.ask_at)
        order = replace(order, list_failed=not listed)
        order = orders.miss(order, order.ask_at, order.ask_at, POLICY, doubted=doubted)
    return asked, order.end


def test_it_waits_for_the_list_of_all_orders_though_not_for_ever() -> None:
    """Rules 8.3, 8.7, 8.8: it may be known by another id; what fails when nothing can be read does not count."""
    order = orders.doubt(STOP, 5_000, 0)
    for _ in range(30):
        order = orders.miss(order, order.ask_at, order.ask_at, POLICY)
    assert order.live
    late = 0
    while order.end is None:
        late += 1
        order = orders.miss(replace(order, list_failed=True), order.ask_at, order.ask_at, POLICY)
    assert (late, order.end, order.unlisted) == (orders.LIST_TRIES, End.NEVER, False)


def test_one_late_miss_is_not_enough() -> None:
    order = orders.miss(orders.doubt(STOP, 0, 0), 20_000, 20_000, POLICY)
    assert (order.phase, order.ask_at) == (OrderPhase.UNRESOLVED, 20_250)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"exchange_id": 9}, "EX_1_SL_1: exchange id 9, known as 2"),
        ({"side": OrderSide.BUY}, "EX_1_SL_1: reported as BUY, sent as SELL"),
        ({"qty": D(3)}, "EX_1_SL_1: 0 of 3 filled, sent for 2"),
        ({"cum_qty": D(3)}, "EX_1_SL_1: 3 of 2 filled, sent for 2"),
        ({"status": OrderStatus.FILLED}, "EX_1_SL_1: 0 of 2 filled, sent for 2"),
        ({"status": OrderStatus.FILLED, "qty": D(0)}, "EX_1_SL_1: 0 of 0 filled, sent for 2"),
        ({"status": OrderStatus.PENDING_NEW, "cum_qty": D(1)}, "EX_1_SL_1: 1 of 2 filled, sent for 2"),
        ({"status": OrderStatus.PENDING_NEW, "cum_qty": D(9)}, "EX_1_SL_1: 9 of 2 filled, sent for 2"),
        ({"cum_qty": D(2), "fills": (Fill(1, D(97), D("2.1"), D(0), "", 1),)}, "EX_1_SL_1: trades of 2.1, sent for 2"),
    ],
)
def test_an_impossible_report_is_named(changes: dict[str, Any], fault: str) -> None:
    assert orders.impossible(WORKING, make_report(STOP, **changes)) == fault
    assert orders.impossible(WORKING, make_report(STOP)) is None


@pytest.mark.parametrize(
    ("order", "second"),
    [
        (replace(WORKING, list_id="EX_1_OCO1_1"), CancelBy.LIST),
        (WORKING, CancelBy.SALE),
        (replace(WORKING, list_id="EX_1_OCO1_1", role=Role.ENTRY1), CancelBy.SALE),
        (replace(WORKING, list_id="EX_1_OCO1_1", awaits="EX_1_ENTRY1_1"), CancelBy.SALE),
    ],
)
def test_what_outlives_cancels_is_cancelled_each_other_way_in_turn(order: Order, second: CancelBy) -> None:
    """A list's cancel is one of a placed exit's ways alone (rules 8.7, 13.2)."""
    ways = [orders.cancel_by(replace(order, cancels=failed // 2, held_up=(failed + 1) // 2)) for failed in range(9)]
    number = CancelBy.EXCHANGE_ID
    assert ways == [CancelBy.CLIENT_ID, *(number, second, number, CancelBy.SALE) * 2]


@pytest.mark.parametrize("status", [OrderStatus.PENDING_NEW, OrderStatus.PENDING_CANCEL])
def test_a_status_that_no_document_explains_tells_of_no_exit_that_it_was_placed(status: OrderStatus) -> None:
    """Rules 13.1, 8.8: what its entry has not bought is not held for it."""
    awaiting = replace(STOP, awaits="EX_1_ENTRY3_2", phase=OrderPhase.WORKING)
    assert orders.fold(awaiting, make_report(STOP, status, qty=D(0)), 200).awaits == awaiting.awaits


def test_an_exit_that_was_placed_for_less_may_tell_at_its_end_of_what_it_was_sent_for() -> None:
    """Rules 8.7, 8.8: it met another order of the account as soon as its entry had filled (faqs/stp_faq.md)."""
    awaiting = replace(STOP, awaits="EX_1_ENTRY3_2", phase=OrderPhase.WORKING)
    placed = orders.fold(awaiting, make_report(STOP, qty=D(1)), 200)
    assert (placed.awaits, placed.qty) == ("", D(1))
    ended = make_report(STOP, OrderStatus.CANCELED)
    assert orders.impossible(placed, ended) is None
    assert orders.fold(placed, ended, 300).end is End.CANCELED
