"""How long a position stood bare, as the exchange's books tell it."""

from decimal import Decimal

from tests.crash.truth import Span, _spans

D = Decimal


def test_spans_are_the_times_above_zero() -> None:
    steps = [(10, D(0)), (20, D(3)), (30, D(1)), (40, D(0)), (50, D(2)), (60, D(0))]
    assert _spans(steps, 100) == (Span(20, 40, D(3)), Span(50, 60, D(2)))


def test_what_is_bare_now_is_counted_up_to_now() -> None:
    assert _spans([(10, D(1))], 25) == (Span(10, 25, D(1)),)


def test_what_happens_in_the_same_millisecond_takes_no_time() -> None:
    assert _spans([(10, D(1)), (10, D(0))], 25) == ()
