"""Cancel-replace with every row of its table of outcomes, amend keep priority, and the unfilled order count."""

from typing import Any

import pytest
from tests.paper.engine.client import BUY, GTC, LTC, ME, SELL, Client, d, refused, request, row, summary

from executor.core.model.values import OrderStatus, OrderType
from executor.paper.engine.model import (
    CancelReplace,
    CancelReplaced,
    CancelReplaceMode,
    ExecutionType,
    Leg,
    NewOto,
    NewOtoco,
    Order,
    Outcome,
    RateLimitExceededMode,
)

STOP, ALLOW = CancelReplaceMode.STOP_ON_FAILURE, CancelReplaceMode.ALLOW_FAILURE
SUCCESS, FAILURE, NOT_ATTEMPTED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.NOT_ATTEMPTED
PER_10_SECONDS = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 3}
PER_DAY = {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 5}


def replace(client: Client, cancel_id: int, mode: CancelReplaceMode, qty: str = "1", **fields: Any) -> CancelReplaced:
    order = request(SELL, OrderType.LIMIT, qty, price="82.00", time_in_force=GTC)
    asked = CancelReplace(mode=mode, new_order=order, cancel_order_id=cancel_id, **fields)
    return client.engine.cancel_replace(ME, asked, client.now)


def outcome(answer: CancelReplaced) -> tuple[Outcome, Outcome, int, int | None]:
    return (answer.cancel_result, answer.new_order_result, answer.http_status, answer.code)


def open_ids(client: Client) -> list[int]:
    return [order.order_id for order in client.engine.open_orders(ME)]


class TestCancelReplace:
    @pytest.mark.parametrize("mode", list(CancelReplaceMode))
    def test_both_succeed(self, mode: CancelReplaceMode) -> None:
        client = Client()
        client.limit(SELL, "1", "81.00")
        answer = replace(client, 1, mode)
        assert outcome(answer) == (SUCCESS, SUCCESS, 200, None)
        assert answer.cancel is not None
        assert answer.new_order is not None
        assert open_ids(client) == [2]

    def test_stop_on_failure_does_not_attempt_the_new_order(self) -> None:
        client = Client()
        answer = replace(client, 1, STOP)
        assert outcome(answer) == (FAILURE, NOT_ATTEMPTED, 400, -2022)
        assert answer.cancel_error is not None
        assert answer.cancel_error.code == -2011
        assert (answer.new_order, answer.new_order_error) == (None, None)
        assert open_ids(client) == []

    def test_allow_failure_may_end_with_a_new_order_beside_a_filled_one(self) -> None:
        client = Client()
        client.limit(SELL, "1", "81.00")
        client.trade("81.00")
        answer = replace(client, 1, ALLOW)
        assert outcome(answer) == (FAILURE, SUCCESS, 409, -2021)
        assert open_ids(client) == [2]

    def test_both_fail(self) -> None:
        client = Client()
        answer = replace(client, 1, ALLOW, qty="101")
        assert outcome(answer) == (FAILURE, FAILURE, 400, -2022)
        assert answer.new_order_error is not None
        assert answer.new_order_error.code == -2010

    @pytest.mark.parametrize("mode", list(CancelReplaceMode))
    def test_a_new_order_that_is_refused_leaves_nothing(self, mode: CancelReplaceMode) -> None:
        client = Client()
        client.limit(SELL, "1", "81.00")
        answer = replace(client, 1, mode, qty="101")
        assert outcome(answer) == (SUCCESS, FAILURE, 409, -2021)
        assert open_ids(client) == []

    def test_filters_are_checked_before_anything_happens(self) -> None:
        client = Client()
        client.limit(SELL, "1", "81.00")
        with refused(-1013, "Filter failure: LOT_SIZE"):
            replace(client, 1, STOP, qty="0.0001")
        assert open_ids(client) == [1]

    def test_at_the_ceiling_of_orders_it_is_refused_although_it_would_free_a_place(self) -> None:
        client = Client(rows=[row(filters=[{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 1}])])
        client.limit(SELL, "1", "81.00")
        with refused(-1013, "Filter failure: MAX_NUM_ORDERS"):
            replace(client, 1, STOP)

    def test_funds_are_checked_after_the_cancel_has_freed_them(self) -> None:
        client = Client()
        client.limit(SELL, "100", "81.00")
        assert outcome(replace(client, 1, STOP, qty="100")) == (SUCCESS, SUCCESS, 200, None)

    def test_the_id_of_the_old_order_is_free_for_the_new_one(self) -> None:
        client = Client()
        client.limit(SELL, "1", "81.00", client_order_id="same")
        order = request(SELL, OrderType.LIMIT, "1", price="82.00", time_in_force=GTC, client_order_id="same")
        asked = CancelReplace(mode=STOP, new_order=order, cancel_orig_client_order_id="same")
        answer = client.engine.cancel_replace(ME, asked, client.now)
        assert answer.new_order is not None
        assert answer.new_order.order.client_order_id == "same"

    def test_replacing_a_leg_cancels_its_whole_list(self) -> None:
        client = Client()
        client.oco(SELL, "1", "81.00", "79.00", "78.90")
        assert outcome(replace(client, 2, STOP)) == (SUCCESS, SUCCESS, 200, None)
        assert open_ids(client) == [3]

    def test_it_must_be_allowed_and_name_an_order(self) -> None:
        with refused(-2010, "Order cancel-replace is not supported for this symbol."):
            replace(Client(rows=[row(cancelReplaceAllowed=False)]), 1, STOP)
        with refused(-1102):
            order = request(SELL, OrderType.LIMIT, "1", price="82.00", time_in_force=GTC)
            Client().engine.cancel_replace(ME, CancelReplace(mode=STOP, new_order=order), 0)


class TestCancelReplaceOverTheOrderCount:
    def full(self) -> Client:
        client = Client(rate_limits=[PER_10_SECONDS])
        for _ in range(3):
            client.limit(SELL, "1", "81.00")
        return client

    def test_do_nothing(self) -> None:
        client = self.full()
        with refused(-1015, "Too many new orders; current limit is 3 orders per 10 SECOND."):
            replace(client, 1, STOP)
        assert open_ids(client) == [1, 2, 3]

    @pytest.mark.parametrize(("mode", "status"), [(STOP, 429), (ALLOW, 409)])
    def test_cancel_only_cancels_and_leaves_nothing_new(self, mode: CancelReplaceMode, status: int) -> None:
        client = self.full()
        answer = replace(client, 1, mode, rate_limit_exceeded_mode=RateLimitExceededMode.CANCEL_ONLY)
        assert outcome(answer) == (SUCCESS, FAILURE, status, -2021)
        assert answer.new_order_error is not None
        assert answer.new_order_error.code == -1015
        assert open_ids(client) == [2, 3]

    @pytest.mark.parametrize(("mode", "new", "status"), [(STOP, NOT_ATTEMPTED, 429), (ALLOW, FAILURE, 400)])
    def test_cancel_only_with_nothing_to_cancel(self, mode: CancelReplaceMode, new: Outcome, status: int) -> None:
        client = self.full()
        answer = replace(client, 9, mode, rate_limit_exceeded_mode=RateLimitExceededMode.CANCEL_ONLY)
        assert outcome(answer) == (FAILURE, new, status, -2022)


class TestUnfilledOrderCount:
    def counts(self, client: Client) -> list[int]:
        return [each.count for each in client.engine.order_counts(ME, client.now)]

    def test_windows_are_fixed_and_end_on_the_clock(self) -> None:
        client = Client(rate_limits=[PER_10_SECONDS, PER_DAY], now=1_750_532_409_000)
        for _ in range(3):
            client.limit(BUY, "1", "70.00")
        with refused(-1015):
            client.limit(BUY, "1", "70.00")
        client.wait(1000)
        client.limit(BUY, "1", "70.00")
        assert self.counts(client) == [1, 4]

    def test_refused_orders_cancels_and_tests_do_not_count(self) -> None:
        client = Client(rate_limits=[PER_10_SECONDS])
        order = client.limit(BUY, "1", "70.00")
        client.cancel(order)
        client.engine.test_order(ME, request(BUY, OrderType.MARKET, "1"), client.now)
        with refused(-2010):
            client.limit(BUY, "1000", "70.00")
        assert self.counts(client) == [1]

    def test_a_first_fill_gives_back_one_to_a_taker_and_more_to_a_maker(self) -> None:
        client = Client(rate_limits=[{**PER_DAY, "limit": 100}])
        for _ in range(8):
            client.limit(BUY, "2", "79.00")
        client.market(BUY, "1")
        assert self.counts(client) == [8]
        client.trade("79.00", "1")
        assert self.counts(client) == [3]
        client.trade("79.00", "1")
        assert self.counts(client) == [3], "only the first fill counts"

    def test_a_list_counts_each_of_its_orders(self) -> None:
        client = Client(rate_limits=[{**PER_DAY, "limit": 100}])
        client.oco(SELL, "1", "81.00", "79.00", "78.90")
        assert self.counts(client) == [2]

    def test_a_replacement_counts_one_even_if_not_attempted(self) -> None:
        client = Client(rate_limits=[{**PER_DAY, "limit": 100}])
        replace(client, 1, STOP)
        assert self.counts(client) == [1]

    def test_an_amendment_counts_nothing(self) -> None:
        client = Client(rate_limits=[PER_DAY])
        amend(client, client.limit(SELL, "3", "81.00"), "2")
        assert self.counts(client) == [1]


def amend(client: Client, order: Order | int, qty: str, **fields: Any) -> Order:
    order_id = order if isinstance(order, int) else order.order_id
    return client.engine.amend_order(ME, LTC, d(qty), client.now, order_id=order_id, **fields).order


class TestAmend:
    def test_it_keeps_the_place_in_the_queue_and_frees_the_difference(self) -> None:
        client = Client()
        first = client.limit(SELL, "3", "81.00", client_order_id="z")
        client.wait(1)
        client.limit(SELL, "3", "81.00", client_order_id="a")
        client.wait(1)
        amended = amend(client, first, "2", new_client_order_id="z")
        assert (amended.order_id, amended.orig_qty, amended.client_order_id) == (1, d(2), "z")
        assert client.locked("LTC") == 5
        client.trade("81.00", "2")
        assert client.order(first).status is OrderStatus.FILLED

    def test_its_id_changes_unless_it_is_repeated_and_the_stream_tells(self) -> None:
        client = Client()
        order = client.limit(SELL, "3", "81.00", client_order_id="old")
        client.events()
        amended = amend(client, order, "2")
        assert amended.client_order_id != "old"
        report = client.reports()[0]
        assert report.execution_type is ExecutionType.REPLACED
        assert (report.client_order_id, report.orig_client_order_id) == (amended.client_order_id, "old")
        with refused(-2013):
            client.engine.order(ME, LTC, orig_client_order_id="old")
        history = client.engine.amendments(ME, LTC, order.order_id)
        assert [(each.orig_qty, each.new_qty, each.orig_client_order_id) for each in history] == [(d(3), d(2), "old")]
        assert client.engine.amendments(ME, LTC, 99) == []

    @pytest.mark.parametrize(
        ("qty", "message"),
        [
            ("4", "Order amend (quantity increase) is not supported."),
            ("3", "The requested action would change no state; rejecting"),
        ],
    )
    def test_it_only_reduces(self, qty: str, message: str) -> None:
        client = Client()
        order = client.limit(SELL, "3", "81.00")
        with refused(-2038, message):
            amend(client, order, qty)

    def test_a_total_of_no_more_than_what_is_executed_ends_the_order(self) -> None:
        client = Client()
        order = client.limit(SELL, "3", "81.00")
        client.trade("81.00", "2")
        ended = amend(client, order, "1")
        assert (ended.status, ended.executed_qty, ended.orig_qty) == (OrderStatus.EXPIRED, d(2), d(2))
        assert client.locked("LTC") == 0

    def test_filters_hold_for_the_new_quantity(self) -> None:
        client = Client()
        order = client.limit(SELL, "3", "81.00")
        with refused(-1013, "Filter failure: LOT_SIZE"):
            amend(client, order, "2.0001")
        with refused(-1013, "Invalid quantity."):
            amend(client, order, "0")
        with refused(-1013, "Filter failure: NOTIONAL"):
            amend(client, order, "0.06")

    def test_an_order_can_be_amended_so_many_times(self) -> None:
        client = Client(rows=[row(filters=[{"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": 2}])])
        order = client.limit(SELL, "9", "81.00")
        amend(client, order, "8")
        amend(client, order, "7")
        with refused(-2038):
            amend(client, order, "6")

    def test_what_cannot_be_amended(self) -> None:
        with refused(-2038):
            amend(Client(), 1, "1")
        client = Client(rows=[row(amendAllowed=False)])
        with refused(-2038, "Order amend is not supported for this symbol."):
            amend(client, client.limit(SELL, "3", "81.00"), "2")
        client = Client()
        client.limit(SELL, "3", "81.00", client_order_id="taken")
        with refused(-2010, "Duplicate order sent."):
            amend(client, client.limit(SELL, "3", "81.00"), "2", new_client_order_id="taken")

    def test_an_oco_is_amended_on_both_legs_and_its_list_is_told_of_the_new_id(self) -> None:
        client = Client()
        client.oco(SELL, "3", "81.00", "79.00", "78.90")
        client.events()
        amend(client, 1, "2")
        assert [client.order(each).orig_qty for each in (1, 2)] == [2, 2]
        assert client.locked("LTC") == 2
        assert summary(client.events()) == ["REPLACED 1 NEW", "REPLACED 2 NEW", "list 1 UPDATED", "position"]

    def test_an_oto_is_amended_order_by_order(self) -> None:
        client = Client()
        working = request(BUY, OrderType.LIMIT, "3", price="79.00", time_in_force=GTC)
        legs = (
            Leg(type=OrderType.LIMIT_MAKER, price=d(82)),
            Leg(type=OrderType.STOP_LOSS, stop_price=d(78)),
        )
        request_ = NewOtoco(
            working=working, pending_side=SELL, pending_quantity=d(3), pending_above=legs[0], pending_below=legs[1]
        )
        client.engine.place_otoco(ME, request_, client.now)
        amend(client, 1, "2")
        amend(client, 3, "1")
        assert [client.order(each).orig_qty for each in (1, 2, 3)] == [2, 1, 1]

    def test_a_pending_opo_order_has_no_quantity_to_amend(self) -> None:
        client = Client()
        working = request(BUY, OrderType.LIMIT, "3", price="79.00", time_in_force=GTC)
        pending = request(SELL, OrderType.STOP_LOSS, stop_price="78.00")
        client.engine.place_oto(ME, NewOto(working=working, pending=pending, pays_out=True), client.now)
        with refused(-2038):
            amend(client, 2, "1")
