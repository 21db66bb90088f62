"""Cancel-replace: the table of outcomes in rest-api.md, row by row."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.exchange.stub import START_MS, Say, Seen, Stub, error, order_answer

from executor.core.model.facts import Done, NotTried, Refused, Unknown, Why
from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderStatus, OrderType
from executor.exchange.binance import BinanceExchange

REQUEST: Final = "POST order/cancelReplace"
OLD: Final = "EX_1760000000000_ENTRY_1"
CANCELLED: Final = json.loads((Path(__file__).parents[2] / "golden" / "binance" / "cancel.json").read_bytes())
NEW: Final = NewOrder(
    id="EX_1_SL_2",
    side=OrderSide.SELL,
    type=OrderType.STOP_LOSS_LIMIT,
    qty=Decimal("0.001"),
    price=Decimal(59000),
    stop_price=Decimal(59100),
)
UNKNOWN_ORDER: Final = {"code": -2011, "msg": "Unknown order sent."}
WOULD_TRIGGER: Final = {"code": -2010, "msg": "Order would trigger immediately."}
TIMEOUT: Final = {"code": -1007, "msg": "Timeout waiting for response from backend server."}


def halves(cancel: str, cancel_response: Any, new: str, new_response: Any) -> dict[str, Any]:
    return {
        "cancelResult": cancel,
        "newOrderResult": new,
        "cancelResponse": cancel_response,
        "newOrderResponse": new_response,
    }


def both(seen: Seen) -> Say:
    return Say(json=halves("SUCCESS", CANCELLED, "SUCCESS", order_answer(seen)))


async def test_both_done(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(REQUEST, both)
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Done)
    assert isinstance(outcome.place, Done)
    (old,), (new,) = outcome.cancel.reports, outcome.place.reports
    assert (old.id, old.status, old.cum_qty) == (OLD, OrderStatus.CANCELED, Decimal("0.001"))
    assert new.id == "EX_1_SL_2"
    sent = stub.last(REQUEST).params
    assert sent["cancelReplaceMode"] == "STOP_ON_FAILURE"
    assert sent["cancelOrigClientOrderId"] == OLD
    assert sent["newClientOrderId"] == "EX_1_SL_2"


@pytest.mark.parametrize("status", [409, 429])
async def test_cancelled_but_the_new_order_refused(stub: Stub, exchange: BinanceExchange, status: int) -> None:
    data = halves("SUCCESS", CANCELLED, "FAILURE", WOULD_TRIGGER)
    stub.script(REQUEST, error(status, -2021, "Order cancel-replace partially failed.", data=data))
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Done)
    assert isinstance(outcome.place, Refused)
    assert outcome.place.why is Why.WOULD_TRIGGER


async def test_cancelled_but_the_new_order_over_the_count(stub: Stub, exchange: BinanceExchange) -> None:
    data = halves("SUCCESS", CANCELLED, "FAILURE", {"code": -1015, "msg": "Too many new orders."})
    stub.script(
        REQUEST, error(429, -2021, "Order cancel-replace partially failed.", data=data, headers={"Retry-After": "4"})
    )
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Done)
    assert isinstance(outcome.place, Refused)
    assert (outcome.place.why, outcome.place.retry_at) == (Why.RATE_LIMIT, START_MS + 4000)


async def test_the_old_order_was_gone(stub: Stub, exchange: BinanceExchange) -> None:
    data = halves("FAILURE", UNKNOWN_ORDER, "NOT_ATTEMPTED", None)
    stub.script(REQUEST, error(400, -2022, "Order cancel-replace failed.", data=data))
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Refused)
    assert outcome.cancel.why is Why.UNKNOWN_ORDER
    assert outcome.place == NotTried()


async def test_a_half_that_timed_out_is_unknown(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(
        REQUEST,
        error(409, -2021, "Partially failed.", data=halves("SUCCESS", CANCELLED, "FAILURE", TIMEOUT)),
        error(400, -2022, "Failed.", data=halves("FAILURE", TIMEOUT, "NOT_ATTEMPTED", None)),
    )
    first = await exchange.replace(OLD, NEW)
    assert isinstance(first.cancel, Done)
    assert isinstance(first.place, Unknown)
    second = await exchange.replace(OLD, NEW)
    assert isinstance(second.cancel, Unknown)
    assert second.place == NotTried()


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (error(400, -1013, "Filter failure: PRICE_FILTER"), Why.FILTER),
        (error(429, -1015, "Too many new orders."), Why.RATE_LIMIT),
        (error(429, -1003, "Too much request weight used."), Why.RATE_LIMIT),
        (error(400, -1021, "Timestamp for this request is outside of the recvWindow."), Why.CLOCK),
        (error(401, -2015, "Invalid API-key, IP, or permissions for action."), Why.AUTH),
    ],
)
async def test_refused_as_a_whole_the_old_one_stays(stub: Stub, exchange: BinanceExchange, say: Say, why: Why) -> None:
    stub.script(REQUEST, say)
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Refused)
    assert isinstance(outcome.place, Refused)
    assert outcome.cancel.why is outcome.place.why is why


@pytest.mark.parametrize(
    "say",
    [
        pytest.param(Say(status=503, text="", content_type="text/html"), id="503"),
        pytest.param(
            error(500, -2021, "?", data=halves("SUCCESS", CANCELLED, "FAILURE", WOULD_TRIGGER)),
            id="5XX is unknown whatever it says",
        ),
        pytest.param(Say(cut=True), id="cut"),
        pytest.param(Say(text="{}"), id="2XX that says nothing"),
        pytest.param(Say(text=""), id="2XX, empty"),
        pytest.param(Say(status=409, text="<html>"), id="409 unreadable"),
        pytest.param(error(409, -2021, "Partially failed."), id="-2021 without data"),
        pytest.param(error(400, -2022, "Failed.", data={}), id="-2022 with empty data"),
        pytest.param(error(400, -1007, "Timeout"), id="-1007"),
        pytest.param(Say(json=halves("SOMEHOW", CANCELLED, "SOMEHOW", None)), id="results nobody knows"),
        pytest.param(Say(json=halves("SUCCESS", {}, "SUCCESS", {})), id="successes that name no order"),
        pytest.param(
            error(409, -2021, "?", data=halves("FAILURE", None, "FAILURE", "?")), id="failures without a code"
        ),
    ],
)
async def test_both_unknown(stub: Stub, exchange: BinanceExchange, say: Say) -> None:
    stub.script(REQUEST, say)
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Unknown)
    assert isinstance(outcome.place, Unknown)
    assert outcome.cancel.fence == outcome.place.fence == START_MS + 3000
    assert stub.count(REQUEST) == 1


async def test_a_new_order_under_another_name_is_unknown(stub: Stub, exchange: BinanceExchange) -> None:
    def other(seen: Seen) -> Say:
        return Say(json=halves("SUCCESS", CANCELLED, "SUCCESS", order_answer(seen, clientOrderId="EX_9_SL_9")))

    stub.script(REQUEST, other)
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Done)
    assert isinstance(outcome.place, Unknown)


async def test_under_a_ban_neither_half_is_sent(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("DELETE order", Say(status=418, text="", headers={"Retry-After": "60"}))
    await exchange.cancel("EX_1_SL_1")
    outcome = await exchange.replace(OLD, NEW)
    assert outcome.cancel == outcome.place
    assert isinstance(outcome.cancel, Refused)
    assert (outcome.cancel.why, outcome.cancel.retry_at) == (Why.RATE_LIMIT, START_MS + 60_000)
    assert stub.count(REQUEST) == 0


async def test_a_cancel_that_was_not_attempted_is_refused(stub: Stub, exchange: BinanceExchange) -> None:
    data = halves("NOT_ATTEMPTED", None, "NOT_ATTEMPTED", None)
    stub.script(REQUEST, error(400, -2022, "Failed.", data=data))
    outcome = await exchange.replace(OLD, NEW)
    assert isinstance(outcome.cancel, Refused)
    assert outcome.place == NotTried()


async def test_a_leg_replaced_ends_its_list(stub: Stub, exchange: BinanceExchange) -> None:
    """Cancelling a leg cancels its list, and may be answered as a list."""
    listed = json.loads((Path(__file__).parents[2] / "golden" / "binance" / "list_cancelled.json").read_bytes())
    stub.script(REQUEST, lambda seen: Say(json=halves("SUCCESS", listed, "SUCCESS", order_answer(seen))))
    outcome = await exchange.replace("EX_1760000000000_SL1_5", NEW)
    assert isinstance(outcome.cancel, Done)
    assert len(outcome.cancel.reports) == 2
