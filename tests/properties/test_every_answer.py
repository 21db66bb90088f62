"""Each request meets each answer: every fourth one here; all of them: `python -m tests.properties.every_answer`."""

import pytest
from tests.properties.every_answer import moments, search

STRIDE = 4
WHOLE = 3_000


@pytest.mark.parametrize("in_a_row", [False, True], ids=["one odd answer", "four in a row"])
def test_whatever_is_answered_the_trade_ends_covered_or_over_and_nothing_is_sold_twice(*, in_a_row: bool) -> None:
    """Rules 8.2, 8.7, 8.8, 10.1, 10.6."""
    tried, broken = search(STRIDE, in_a_row=in_a_row)
    assert not broken
    assert tried > WHOLE // STRIDE


def test_every_kind_of_request_is_met_in_every_phase_that_has_it() -> None:
    met = {(moment.script.named(), type(moment.script.pending[moment.n]).__name__) for moment in moments()}
    for phase in ("Entering", "Unprotected", "Closing"):
        assert {(phase, kind) for kind in ("PlaceOrder", "CancelOrder", "QueryOrder")} <= met
    assert {
        ("Unprotected", "PlaceOco"),
        ("Protected", "ReplaceOrder"),
        ("Protected", "CancelList"),
        ("Entering", "QueryQuote"),
        ("Closing", "QueryOpenOrders"),
    } <= met
