"""How long a position stood bare, as the exchange's books tell it."""

from decimal import Decimal

from tests.crash.exchange_books import Span, _spans, _uncovered

from executor.core.model.values import OrderSide, OrderStatus, OrderType, TimeInForce
from executor.paper.engine.model import Fill, Order, StpMode

D = Decimal
STEP = D("0.001")


def order(number: int, kind: OrderType, since: int, until: int = 0) -> Order:
    """Of 1, from `since`; ended at `until`, where that is not 0."""
    return Order(
        symbol="LTCUSDT",
        order_id=number,
        client_order_id=f"EX_1_SL_{number}",
        side=OrderSide.SELL,
        type=kind,
        time_in_force=TimeInForce.GTC,
        price=D(1),
        orig_qty=D(1),
        time=since,
        update_time=until or since,
        stp_mode=StpMode.NONE,
        status=OrderStatus.EXPIRED if until else OrderStatus.NEW,
    )


def fill(number: int, qty: str, at: int) -> Fill:
    return Fill(
        symbol="LTCUSDT",
        trade_id=at,
        order_id=number,
        order_list_id=-1,
        price=D(1),
        qty=D(qty),
        quote_qty=D(qty),
        commission=D(0),
        commission_asset="USDT",
        time=at,
        is_buyer=False,
        is_maker=True,
    )


STOP = order(1, OrderType.STOP_LOSS_LIMIT, 30, 100)
TARGET = order(2, OrderType.LIMIT_MAKER, 30)
HELD = [(10, D(1)), (100, D("-0.7"))]
FILLS = {1: [], 2: [fill(2, "0.7", 100)]}


def test_a_stop_covers_from_its_time_to_its_end() -> None:
    assert _spans(_uncovered(HELD, [STOP], [], FILLS, STEP), 150) == (
        Span(10, 30, D(1)),
        Span(100, 150, D("0.3")),
    )


def test_a_target_that_is_being_filled_holds_the_rest() -> None:
    assert _spans(_uncovered(HELD, [STOP], [TARGET], FILLS, STEP), 150) == (Span(10, 30, D(1)),)


def test_spans_are_the_times_above_zero() -> None:
    steps = [(10, D(0)), (20, D(3)), (30, D(1)), (40, D(0)), (50, D(2)), (60, D(0))]
    assert _spans(steps, 100) == (Span(20, 40, D(3)), Span(50, 60, D(2)))


def test_what_is_bare_now_is_counted_up_to_now() -> None:
    assert _spans([(10, D(1))], 25) == (Span(10, 25, D(1)),)


def test_what_happens_in_the_same_millisecond_takes_no_time() -> None:
    assert _spans([(10, D(1)), (10, D(0))], 25) == ()
