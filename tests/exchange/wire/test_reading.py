"""Recorded payloads in, values out."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import pytest

from executor.core.model.facts import Balance, Fill, Kline, OrderReport, Quote
from executor.core.model.values import OrderSide, OrderStatus, OrderType
from executor.exchange.streams import events
from executor.exchange.streams.events import BalanceMoved, BalancesSet
from executor.exchange.wire import reading

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "binance"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def test_a_full_placement_brings_its_fills() -> None:
    (report,) = reading.placed(golden("placement_full"), "EX_1760000000000_PLANB_2")
    assert report == OrderReport(
        id="EX_1760000000000_PLANB_2",
        exchange_id=28,
        side=OrderSide.BUY,
        type=OrderType.MARKET,
        status=OrderStatus.FILLED,
        qty=Decimal("0.003"),
        cum_qty=Decimal("0.003"),
        cum_quote=Decimal("180.009"),
        time=1760000000123,
        fills=(
            Fill(56, Decimal(60000), Decimal("0.002"), Decimal("0.000002"), "BTC", 1760000000123),
            Fill(57, Decimal(60009), Decimal("0.001"), Decimal("0.0003"), "BNB", 1760000000123),
        ),
    )


def test_an_untriggered_stop_is_not_working() -> None:
    report = reading.order(golden("query_stop_resting"))
    assert (report.status, report.working) == (OrderStatus.NEW, False)
    assert (report.price, report.stop_price) == (Decimal(59000), Decimal(59100))


def test_a_triggered_stop_is_working() -> None:
    told = json.loads(golden("query_stop_resting")) | {"isWorking": True, "workingTime": 1760000002000}
    assert reading.order(json.dumps(told).encode()).working


@pytest.mark.parametrize("working", [True, False])
def test_an_older_answer_says_is_working_alone(working: bool) -> None:
    told = json.loads(golden("query_stop_resting")) | {"isWorking": working}
    del told["workingTime"]
    assert reading.order(json.dumps(told).encode()).working is working


@pytest.mark.parametrize(("type_", "working"), [("STOP_LOSS_LIMIT", False), ("LIMIT", True)])
def test_an_answer_that_is_silent_about_the_book_is_judged_by_type(type_: str, working: bool) -> None:
    told = json.loads(golden("query_stop_resting")) | {"type": type_}
    del told["isWorking"], told["workingTime"]
    assert reading.order(json.dumps(told).encode()).working is working


@pytest.mark.parametrize("status", ["PENDING_NEW", "FILLED", "CANCELED", "EXPIRED", "REJECTED", "EXPIRED_IN_MATCH"])
def test_what_is_not_on_the_book_is_not_working(status: str) -> None:
    told = json.loads(golden("query_stop_resting")) | {"status": status, "isWorking": True, "workingTime": 1}
    assert not reading.order(json.dumps(told).encode()).working


def test_a_quote_total_that_is_not_known_any_more_is_no_debt() -> None:
    report = reading.order(golden("query_old_unknown_quote"))
    assert (report.cum_qty, report.cum_quote) == (Decimal("0.001"), Decimal(0))
    assert not report.working


def test_a_cancels_answer_is_about_the_order_not_about_the_cancel() -> None:
    (report,) = reading.cancelled(golden("cancel"), "EX_1760000000000_ENTRY_1")
    assert report.id == "EX_1760000000000_ENTRY_1"
    assert (report.status, report.cum_qty) == (OrderStatus.CANCELED, Decimal("0.001"))


def test_a_leg_cancelled_with_its_list_is_found_in_the_lists_answer() -> None:
    reports = reading.cancelled(golden("list_cancelled"), "EX_1760000000000_TP1_4")
    assert {report.id for report in reports} == {"EX_1760000000000_TP1_4", "EX_1760000000000_SL1_5"}


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"orderId": 1}', b"<html>", b""])
def test_an_answer_that_names_no_order_is_no_success(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        reading.placed(body, "EX_1_ENTRY_1")
    with pytest.raises(msgspec.DecodeError):
        reading.cancelled(body, "EX_1_ENTRY_1")
    with pytest.raises(msgspec.DecodeError):
        reading.list_placed(body, "EX_1_OCO1_1", {"EX_1_TP1_1"})


def test_an_answer_about_another_order_is_no_success() -> None:
    with pytest.raises(msgspec.ValidationError, match="EX_1_ENTRY_1"):
        reading.placed(golden("placement_full"), "EX_1_ENTRY_1")
    with pytest.raises(msgspec.ValidationError, match="EX_1_ENTRY_1"):
        reading.cancelled(golden("cancel"), "EX_1_ENTRY_1")


def test_an_oco_answer_must_name_the_list_and_both_legs() -> None:
    legs = {"EX_1760000000000_TP1_4", "EX_1760000000000_SL1_5"}
    stop, target = reading.list_placed(golden("oco_placed"), "EX_1760000000000_OCO1_3", legs)
    assert (stop.working, target.working) == (False, True)
    assert stop.list_exchange_id == target.list_exchange_id == 1
    with pytest.raises(msgspec.ValidationError, match="list"):
        reading.list_placed(golden("oco_placed"), "EX_1_OCO1_1", legs)
    with pytest.raises(msgspec.ValidationError, match="EX_9_TP1_9"):
        reading.list_placed(golden("oco_placed"), "EX_1760000000000_OCO1_3", {"EX_9_TP1_9"})


def test_a_cancelled_list_reports_what_its_legs_had_filled() -> None:
    stop, target = reading.list_cancelled(golden("list_cancelled"), "EX_1760000000000_OCO1_3")
    assert (stop.id, stop.cum_qty) == ("EX_1760000000000_SL1_5", Decimal(0))
    assert (target.id, target.cum_qty) == ("EX_1760000000000_TP1_4", Decimal("0.0004"))


def test_a_strangers_order_of_an_unknown_kind_does_not_hide_ours() -> None:
    ours = json.loads(golden("query_stop_resting"))
    strange = ours | {"clientOrderId": "web_1", "type": "HOLOGRAM", "orderId": 99}
    (report,) = reading.open_orders(json.dumps([strange, ours]).encode())
    assert report.id == "EX_1760000000000_SL_4"


def test_our_own_order_of_an_unknown_kind_is_never_left_out() -> None:
    strange = json.loads(golden("query_stop_resting")) | {"type": "HOLOGRAM"}
    with pytest.raises(msgspec.ValidationError):
        reading.open_orders(json.dumps([strange]).encode())


def test_klines_keep_what_is_read_of_them() -> None:
    row = [1760000040000, "1.0", "3.0", "0.5", "2.0", "9", 1760000099999, "18", 3, "1", "2", "0"]
    body = json.dumps([row]).encode()
    assert reading.klines(body) == (Kline(1760000040000, Decimal(3), Decimal("0.5"), Decimal(2)),)
    with pytest.raises(msgspec.DecodeError):
        reading.klines(b"[[1, 2]]")


def test_a_quote_is_stamped_with_when_it_was_asked_for() -> None:
    body = b'{"symbol":"BTCUSDT","bidPrice":"1.1","askPrice":"1.2","lastPrice":"1.15","closeTime":9}'
    assert reading.quote(body, 7) == Quote(7, Decimal("1.1"), Decimal("1.2"), Decimal("1.15"))


def test_a_pushed_trade_carries_its_fill() -> None:
    report = events.order_report(events.event(golden("push_trade")))
    assert report is not None
    assert report.id == "EX_1760000000000_TP1_4"
    assert report.working
    assert (report.status, report.cum_qty) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.0004"))
    assert report.fills == (Fill(77, Decimal(61000), Decimal("0.0004"), Decimal("0.0244"), "USDT", 1760000005000),)


@pytest.mark.parametrize("left_out", [{"t"}, {"N"}, {"t", "N"}])
def test_a_pushed_trade_that_lacks_what_a_fill_is_reckoned_by_is_told_without_it(left_out: set[str]) -> None:
    """It is read on its own then: taken for free, more would be sold than is held (rule 3.4)."""
    told = json.loads(golden("push_trade"))
    told["event"] = {key: value for key, value in told["event"].items() if key not in left_out}
    report = events.order_report(events.event(json.dumps(told).encode()))
    assert report is not None
    assert (report.cum_qty, report.fills) == (Decimal("0.0004"), ())


def test_a_pushed_cancel_is_about_the_order_not_about_the_cancel() -> None:
    report = events.order_report(events.event(golden("push_cancel")))
    assert report is not None
    assert (report.id, report.status) == ("EX_1760000000000_ENTRY_1", OrderStatus.CANCELED)
    assert report.cum_qty == Decimal("0.001")
    assert report.fills == ()


def test_an_amended_order_goes_by_its_new_name() -> None:
    told = json.loads(golden("push_cancel"))
    told["event"] |= {"x": "REPLACED", "X": "NEW", "c": "EX_1_SL_2", "C": "EX_1_SL_1"}
    report = events.order_report(events.event(json.dumps(told).encode()))
    assert report is not None
    assert report.id == "EX_1_SL_2"


def test_pushes_of_strange_orders_are_not_ours() -> None:
    owner = events.owner(events.event(golden("push_trade")))
    assert (owner.symbol, owner.is_ours) == ("BTCUSDT", True)
    told = json.loads(golden("push_trade"))
    told["event"] |= {"o": "HOLOGRAM", "c": "web_1"}
    assert events.order_report(events.event(json.dumps(told).encode())) is None
    told["event"] |= {"c": "EX_1_SL_1"}
    with pytest.raises(msgspec.ValidationError):
        events.order_report(events.event(json.dumps(told).encode()))


def test_pushed_balances() -> None:
    assert events.balances_set(events.event(golden("push_position"))) == BalancesSet(
        1760000007000,
        {"BTC": Balance(Decimal("0.001"), Decimal("0.002")), "USDT": Balance(Decimal(9820), Decimal(0))},
    )
    assert events.balance_moved(events.event(golden("push_balance_update"))) == BalanceMoved(
        1760000008000, "BTC", Decimal("-0.001")
    )


@pytest.mark.parametrize("name", ["placement_full", "query_stop_resting", "cancel"])
def test_a_field_that_is_null_is_one_that_is_not_there(name: str) -> None:
    """A condition's field of an order, `trailingDelta`, made the answer unreadable where it came as null."""
    told = json.loads(golden(name))
    nulls = {"trailingDelta": None, "strategyId": None, "orderListId": None, "stopPrice": None, "fills": None}
    missing = json.dumps({k: v for k, v in told.items() if k not in nulls}).encode()
    assert reading.order(json.dumps(nulls | json.loads(missing)).encode()) == reading.order(missing)
    with pytest.raises(msgspec.DecodeError):
        reading.order(json.dumps(told | {"status": None}).encode())


def test_numbers_beside_a_null_are_read_exactly() -> None:
    told = json.loads(golden("query_stop_resting")) | {"trailingDelta": None}
    body = json.dumps(told).replace('"executedQty": "0.00000000"', '"executedQty":0.123456789012345678')
    assert "0.123456789012345678" in body
    assert reading.order(body.encode()).cum_qty == Decimal("0.123456789012345678")


@pytest.mark.parametrize(
    ("filled", "status"), [("0.00000000", OrderStatus.NEW), ("0.001", OrderStatus.PARTIALLY_FILLED)]
)
def test_an_open_order_of_ours_in_a_state_of_tomorrow_hides_no_other(filled: str, status: OrderStatus) -> None:
    """Each list of open orders was unreadable for as long as such an order was in it, and fills were not seen."""
    usual = json.loads(golden("query_stop_resting"))
    odd = usual | {"status": "RESTING_TOMORROW", "orderId": 7, "executedQty": filled}
    first, second = reading.open_orders(json.dumps([odd, usual]).encode())
    assert (first.exchange_id, first.status, first.cum_qty) == (7, status, Decimal(filled) or Decimal(0))
    assert second == reading.order(json.dumps(usual).encode())
    with pytest.raises(msgspec.DecodeError):
        reading.all_orders(json.dumps([usual, odd]).encode())  # of a history: it may be an end
    assert reading.all_orders(json.dumps([usual]).encode()) == (second,)
    for worse in ({"side": "SIDEWAYS"}, {"status": 7}, {"executedQty": "x"}):
        with pytest.raises(msgspec.DecodeError):
            reading.open_orders(json.dumps([usual | worse]).encode())


@pytest.mark.parametrize(
    ("status", "qty"), [("NEW", "0.002"), ("FILLED", "0.002"), ("EXPIRED_IN_MATCH", "0.003"), ("CANCELED", "0.003")]
)
def test_what_self_trade_prevention_has_taken_is_not_what_an_order_is_for(status: str, qty: str) -> None:
    """faqs/stp_faq.md: original less executed less prevented is what is left, while it is open."""
    told = json.loads(golden("query_stop_resting")) | {"status": status, "origQty": "0.003"}
    queried = reading.order(json.dumps(told | {"preventedQuantity": "0.001"}).encode())
    assert queried.qty == Decimal(qty)
    push = json.loads(golden("push_cancel"))
    push["event"] |= {"X": status, "q": "0.003", "A": "0.001"}
    pushed = events.order_report(events.event(json.dumps(push).encode()))
    assert pushed is not None
    assert pushed.qty == Decimal(qty)
    assert reading.order(json.dumps(told).encode()).qty == Decimal("0.003")


def test_a_prevented_quantity_below_zero_is_unreadable() -> None:
    told = json.loads(golden("query_stop_resting")) | {"preventedQuantity": "-1"}
    with pytest.raises(msgspec.DecodeError):
        reading.order(json.dumps(told).encode())


@pytest.mark.parametrize("asset", [{}, {"commissionAsset": None}, {"commissionAsset": ""}])
def test_where_there_is_no_commission_its_asset_need_not_be_told(asset: dict[str, str | None]) -> None:
    """Events have null for it (user-data-stream.md): an answer that has as well is no reason to doubt an order, nor to
    take the highest commission for paid.
    """
    placement = json.loads(golden("placement_full"))
    for fill in placement["fills"]:
        del fill["commissionAsset"]
        fill.update(asset, commission="0.00000000")
    (report,) = reading.placed(json.dumps(placement).encode(), "EX_1760000000000_PLANB_2")
    assert [(fill.fee, fill.fee_asset) for fill in report.fills] == [(Decimal(0), ""), (Decimal(0), "")]
    trade = {"id": 1, "symbol": "BTCUSDT", "price": "2", "qty": "0.003", "commission": "0", "time": 1760000000123}
    assert reading.trades(json.dumps([trade | asset]).encode())[0].fee == 0
    with pytest.raises(msgspec.DecodeError, match="in no asset"):
        reading.trades(json.dumps([trade | asset | {"commission": "0.1"}]).encode())
    placement["fills"][0]["commission"] = "0.1"
    with pytest.raises(msgspec.DecodeError, match="in no asset"):
        reading.placed(json.dumps(placement).encode(), "EX_1760000000000_PLANB_2")
