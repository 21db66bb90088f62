"""`executionReport` of an order that was not accepted (user-data-stream.md, "Order Reject Reason")."""

import json
from typing import Any

import msgspec
import pytest

from executor.core.model.facts import OrderReport, Why
from executor.core.model.values import OrderStatus
from executor.exchange.streams import events

PUSHED = {
    "e": "executionReport",
    "s": "LTCUSDT",
    "c": "EX_1_SL_7",
    "S": "SELL",
    "o": "STOP_LOSS_LIMIT",
    "f": "GTC",
    "q": "1.00000000",
    "p": "97.90000000",
    "P": "98.00000000",
    "g": -1,
    "C": "",
    "x": "REJECTED",
    "X": "REJECTED",
    "r": "NONE",
    "i": -1,
    "l": "0.00000000",
    "z": "0.00000000",
    "L": "0.00000000",
    "n": "0",
    "N": None,
    "T": 1_700_000_000_000,
    "t": -1,
    "w": False,
    "Z": "0.00000000",
}


def read(**changes: Any) -> OrderReport:
    found = events.order_report(msgspec.Raw(json.dumps({**PUSHED, **changes}).encode()))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY", Why.WOULD_TRIGGER),
        ("ORDER_WOULD_TRIGGER_IMMEDIATELY", Why.WOULD_TRIGGER),  # as it was spelt in 2018
        ("WOULD_MATCH_IMMEDIATELY", Why.WOULD_MATCH),
        ("INSUFFICIENT_BALANCES", Why.INSUFFICIENT_BALANCE),
        ("OCO_BAD_PRICES", Why.PRICE_RELATION),
        ("SOMETHING_NEW", Why.OTHER),
        ("NONE", None),
    ],
)
def test_why_an_order_was_not_accepted_is_read_from_its_push(reason: str, why: Why | None) -> None:
    report = read(r=reason)
    assert (report.id, report.status, report.refusal) == ("EX_1_SL_7", OrderStatus.REJECTED, why)


def test_the_reason_of_an_order_that_was_accepted_says_nothing() -> None:
    assert read(X="NEW", x="NEW", r="WOULD_MATCH_IMMEDIATELY", i=5).refusal is None


@pytest.mark.parametrize("original", ["", "null"])
def test_an_order_that_was_no_cancel_goes_by_its_own_name(original: str) -> None:
    assert read(C=original).id == "EX_1_SL_7"
    assert events.owner(msgspec.Raw(json.dumps({**PUSHED, "C": original}).encode())).is_ours


def test_a_push_without_a_reason_is_read() -> None:
    told = {name: value for name, value in PUSHED.items() if name != "r"}
    report = events.order_report(msgspec.Raw(json.dumps(told).encode()))
    assert report is not None
    assert report.refusal is None
