"""OCO, OTO, OTOCO, OPO, OPOCO: what they refuse, and which leg lives when."""

from typing import Any

import pytest
from tests.paper.engine.client import BUY, GTC, IOC, LTC, ME, SELL, Client, d, oco, refused, request, row, summary

from executor.core.model.values import OrderSide, OrderStatus, OrderType
from executor.paper.engine.choices import (
    ExchangeChoices,
    OpoCommission,
    PendingEnded,
    PendingOpen,
    PendingQuantity,
    PendingRefused,
)
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import (
    ContingencyType,
    ExecutionType,
    ExpiryReason,
    Leg,
    ListOrderStatus,
    ListPlaced,
    ListStatusType,
    NewOco,
    NewOto,
    NewOtoco,
)

LIMIT, MARKET, MAKER = OrderType.LIMIT, OrderType.MARKET, OrderType.LIMIT_MAKER
STOP, STOP_LIMIT = OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT
PROFIT, PROFIT_LIMIT = OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT


def leg(kind: OrderType, mark: str) -> Leg:
    """A leg of any type, its limit at its stop price."""
    return Leg(
        type=kind,
        price=d(mark) if kind in {MAKER, STOP_LIMIT, PROFIT_LIMIT} else None,
        stop_price=None if kind is MAKER else d(mark),
        time_in_force=GTC if kind in {STOP_LIMIT, PROFIT_LIMIT} else None,
    )


def statuses(client: Client, placed: ListPlaced) -> list[OrderStatus]:
    return [client.order(each).status for each in placed.orders]


class TestOcoIsRefused:
    @pytest.mark.parametrize(
        ("side", "above", "below", "code"),
        [
            (SELL, LIMIT, STOP, -1158),
            (SELL, MAKER, MARKET, -1158),
            (SELL, MAKER, MAKER, -1168),
            (BUY, MAKER, STOP_LIMIT, -1165),
            (SELL, STOP_LIMIT, MAKER, -1166),
            (BUY, PROFIT, STOP, -1196),
            (SELL, STOP, PROFIT, -1197),
            (BUY, PROFIT_LIMIT, PROFIT, -1198),
            (SELL, PROFIT_LIMIT, PROFIT, -1199),
        ],
    )
    def test_for_types_on_the_wrong_side(self, side: OrderSide, above: OrderType, below: OrderType, code: int) -> None:
        client = Client()
        pair = NewOco(symbol=LTC, side=side, quantity=d(1), above=Leg(type=above), below=Leg(type=below))
        with refused(code):
            client.engine.place_oco(ME, pair, client.now)

    @pytest.mark.parametrize(
        ("side", "target", "stop"),
        [(SELL, "80.00", "79.00"), (SELL, "81.00", "80.00"), (SELL, "79.00", "78.00"), (SELL, "82.00", "81.00"),
         (BUY, "80.00", "81.00"), (BUY, "79.00", "80.00"), (BUY, "81.00", "82.00"), (BUY, "78.00", "79.00")],
    )  # fmt: skip
    def test_for_prices_on_the_wrong_side_of_the_last(self, side: OrderSide, target: str, stop: str) -> None:
        with refused(-2010, "The relationship of the prices for the orders is not correct."):
            Client().oco(side, "1", target, stop, stop)

    def test_for_crossed_prices_even_before_the_first_trade(self) -> None:
        client = Client(opening=None)
        with refused(-2010, "The relationship of the prices for the orders is not correct."):
            client.oco(SELL, "1", "79.00", "81.00", "81.00")
        client.oco(SELL, "1", "81.00", "79.00", "79.00")

    def test_for_a_target_that_would_take(self) -> None:
        client = Client()
        client.engine.on_quote(LTC, d("80.50"), d(1), d("80.60"), d(1), client.now)
        with refused(-2010, "Order would immediately match and take."):
            client.oco(SELL, "1", "80.40", "79.00", "78.90")

    def test_for_ids_that_are_in_use_or_not_distinct(self) -> None:
        client = Client()
        client.oco(SELL, "1", "81.00", "79.00", "78.90", target_id="t", stop_id="s", list_client_order_id="l")
        for ids in (
            {"target_id": "t"},
            {"stop_id": "s"},
            {"list_client_order_id": "l"},
            {"target_id": "x", "stop_id": "x"},
            {"target_id": "x", "list_client_order_id": "x"},
        ):
            with refused(-2010, "Duplicate order sent."):
                client.oco(SELL, "1", "81.00", "79.00", "78.90", **ids)
        client.engine.cancel_order_list(ME, LTC, client.now, list_client_order_id="l")
        client.oco(SELL, "1", "81.00", "79.00", "78.90", target_id="t", stop_id="s", list_client_order_id="l")

    def test_naming_the_parameter_of_the_leg(self) -> None:
        client = Client()
        pair = oco(SELL, "1", "81.00", "79.00", "78.90")
        pair.below.time_in_force = None
        with refused(-1102, "Mandatory parameter 'belowTimeInForce' was not sent, was empty/null, or malformed."):
            client.engine.place_oco(ME, pair, client.now)


class TestOco:
    def test_both_legs_are_live_and_the_list_is_told(self) -> None:
        client = Client()
        client.events()
        placed = client.oco(SELL, "1", "81.00", "79.00", "78.90", list_client_order_id="mine")
        assert [order.is_working for order in placed.orders] == [False, True]
        assert placed.order_list.contingency_type is ContingencyType.OCO
        assert placed.order_list.list_status_type is ListStatusType.EXEC_STARTED
        assert summary(client.events()) == ["NEW 1 NEW", "NEW 2 NEW", "list 1 EXEC_STARTED", "position"]
        view = client.engine.order_list(ME, list_client_order_id="mine")
        assert view.orders == tuple((order.order_id, order.client_order_id) for order in placed.orders)

    @pytest.mark.parametrize("kind", [MAKER, PROFIT, PROFIT_LIMIT])
    @pytest.mark.parametrize("stop", [STOP, STOP_LIMIT])
    @pytest.mark.parametrize("side", list(OrderSide))
    @pytest.mark.parametrize("target_hit", [True, False])
    def test_whichever_leg_acts_first_expires_the_other(
        self, kind: OrderType, stop: OrderType, side: OrderSide, target_hit: bool
    ) -> None:
        client = Client()
        up, down = ("81.00", "79.00")
        target_price, stop_price = (up, down) if side is SELL else (down, up)
        target, other = leg(kind, target_price), leg(stop, stop_price)
        above, below = (target, other) if side is SELL else (other, target)
        request = NewOco(symbol=LTC, side=side, quantity=d(2), above=above, below=below)
        placed = client.engine.place_oco(ME, request, client.now)
        client.trade(target_price if target_hit else stop_price, buyer_is_maker=side is SELL)
        by_type = {order.type: client.order(order) for order in placed.orders}
        winner, loser = (by_type[kind], by_type[stop]) if target_hit else (by_type[stop], by_type[kind])
        assert winner.is_working
        assert winner.status is OrderStatus.FILLED
        assert (loser.status, loser.expiry_reason) == (OrderStatus.EXPIRED, ExpiryReason.OCO_TRIGGER)
        assert client.engine.open_order_lists(ME) == []
        assert client.locked("LTC") == client.locked("USDT") == 0

    def test_the_first_partial_fill_of_the_target_already_removes_the_stop(self) -> None:
        client = Client()
        placed = client.oco(SELL, "2", "81.00", "79.00", "78.90")
        client.events()
        client.trade("81.00", "0.5")
        assert statuses(client, placed) == [OrderStatus.EXPIRED, OrderStatus.PARTIALLY_FILLED]
        assert summary(client.events()) == ["TRADE 2 PARTIALLY_FILLED", "EXPIRED 1 EXPIRED", "position"]
        assert client.locked("LTC") == d("1.5")
        client.trade("79.00")
        assert client.order(2).executed_qty == d("0.5"), "the rest is unprotected"
        client.trade("81.00")
        assert summary(client.events()) == ["TRADE 2 FILLED", "list 1 ALL_DONE", "position"]

    def test_a_triggered_stop_that_does_not_fill_has_removed_the_target(self) -> None:
        client = Client()
        placed = client.oco(SELL, "2", "81.00", "79.00", "78.90")
        client.trade("78.00")
        assert statuses(client, placed) == [OrderStatus.NEW, OrderStatus.EXPIRED]
        assert client.order(1).is_working
        assert client.locked("LTC") == 2

    def test_cancelling_one_leg_cancels_the_list(self) -> None:
        client = Client()
        placed = client.oco(SELL, "2", "81.00", "79.00", "78.90")
        client.events()
        answer = client.engine.cancel_order(ME, LTC, client.now, order_id=2, new_client_order_id="bye")
        assert answer.order_list is not None
        assert answer.order_list.order_list.list_order_status is ListOrderStatus.ALL_DONE
        assert [order.order_id for order in answer.order_list.orders] == [1, 2]
        assert statuses(client, placed) == [OrderStatus.CANCELED] * 2
        assert client.locked("LTC") == 0
        reports = client.reports()
        assert [report.client_order_id for report in reports] == ["bye", "bye"]
        assert [report.orig_client_order_id for report in reports] == [o.client_order_id for o in placed.orders]

    def test_a_list_is_cancelled_by_either_of_its_ids_once(self) -> None:
        client = Client()
        for ids in ({"order_list_id": 1}, {"list_client_order_id": "two"}):
            client.oco(SELL, "2", "81.00", "79.00", "78.90", list_client_order_id="two" if len(ids) else None)
            cancelled = client.engine.cancel_order_list(ME, LTC, client.now, **ids)
            assert [order.status for order in cancelled.orders] == [OrderStatus.CANCELED] * 2
        with refused(-2011, "Unknown order list sent."):
            client.engine.cancel_order_list(ME, LTC, client.now, order_list_id=1)
        with refused(-1102):
            client.engine.cancel_order_list(ME, LTC, client.now)
        assert [each.order_list_id for each in client.engine.all_order_lists(ME)] == [1, 2]
        assert [each.order_list_id for each in client.engine.all_order_lists(ME, from_id=2)] == [2]
        with refused(-2018, "Order list does not exist."):
            client.engine.order_list(ME, order_list_id=9)
        with refused(-1102):
            client.engine.order_list(ME)

    def test_a_trailing_stop_leg(self) -> None:
        client = Client()
        pair = oco(SELL, "1", "83.00", "79.00", "70.00")
        pair.below.stop_price, pair.below.trailing_delta = None, 100
        placed = client.engine.place_oco(ME, pair, client.now)
        client.trade("82.00")
        client.trade("81.00")
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.EXPIRED]

    def test_two_trailing_legs_of_which_one_fires(self) -> None:
        client = Client()
        above = Leg(type=PROFIT, trailing_delta=100)
        below = Leg(type=STOP, trailing_delta=100)
        pair = NewOco(symbol=LTC, side=SELL, quantity=d(1), above=above, below=below)
        placed = client.engine.place_oco(ME, pair, client.now)
        client.trade("82.00")
        client.trade("81.00")
        assert sorted(statuses(client, placed)) == [OrderStatus.EXPIRED, OrderStatus.FILLED]


def oto(client: Client, pending: Any, qty: str = "2", price: str = "79.00", **fields: Any) -> ListPlaced:
    working = request(BUY, LIMIT, qty, price=price, time_in_force=fields.pop("tif", GTC))
    return client.engine.place_oto(ME, NewOto(working=working, pending=pending, **fields), client.now)


def stop_order(qty: str | None, stop: str = "78.00", price: str = "77.90") -> Any:
    return request(SELL, STOP_LIMIT, qty, stop_price=stop, price=price, time_in_force=GTC)


def otoco(client: Client, qty: str | None, working_qty: str = "2", price: str = "79.00") -> ListPlaced:
    request_ = NewOtoco(
        working=request(BUY, LIMIT, working_qty, price=price, time_in_force=GTC),
        pending_side=SELL,
        pending_quantity=None if qty is None else d(qty),
        pending_above=leg(MAKER, "82.00"),
        pending_below=leg(STOP_LIMIT, "78.00"),
    )
    return client.engine.place_otoco(ME, request_, client.now)


class TestOto:
    def test_the_pending_order_waits_unlocked_until_the_working_one_is_fully_filled(self) -> None:
        client = Client()
        placed = oto(client, stop_order("1"))
        assert statuses(client, placed) == [OrderStatus.NEW, OrderStatus.PENDING_NEW]
        assert (client.locked("USDT"), client.locked("LTC")) == (d(158), d(0))
        client.trade("79.00", "1.5")
        assert statuses(client, placed) == [OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_NEW]
        client.events()
        client.trade("79.00")
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.NEW]
        assert client.locked("LTC") == 1
        assert summary(client.events()) == ["TRADE 1 FILLED", "NEW 2 NEW", "position"]
        client.trade("78.00")
        assert statuses(client, placed) == [OrderStatus.FILLED] * 2
        assert client.engine.open_order_lists(ME) == []

    def test_a_working_order_that_fills_at_once_still_shows_its_pending_one_as_pending(self) -> None:
        client = Client()
        placed = oto(client, stop_order("1"), price="80.10")
        assert [order.status for order in placed.orders] == [OrderStatus.FILLED, OrderStatus.PENDING_NEW]
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.NEW]

    @pytest.mark.parametrize("nth", [1, 2])
    def test_cancelling_either_order_ends_the_list(self, nth: int) -> None:
        client = Client()
        placed = oto(client, stop_order("1"))
        client.trade("79.00", "0.5")
        client.cancel(nth)
        assert statuses(client, placed) == [OrderStatus.CANCELED] * 2
        assert client.order(1).executed_qty == d("0.5"), "bought, and without protection"
        assert client.engine.open_orders(ME) == []

    def test_a_working_order_that_expires_takes_the_pending_one_along(self) -> None:
        client = Client()
        placed = oto(client, stop_order("1"), tif=IOC)
        pending = client.order(2)
        assert statuses(client, placed) == [OrderStatus.EXPIRED] * 2
        assert pending.expiry_reason is ExpiryReason.OTO_PHASE_ONE_EXPIRED

    def test_a_pending_sell_of_all_that_was_bought_fails_for_the_commission(self) -> None:
        client = Client(balances={"USDT": d(1000)})
        placed = oto(client, stop_order("2"))
        client.trade("79.00")
        pending = client.order(2)
        assert (pending.status, pending.expiry_reason) == (OrderStatus.EXPIRED, ExpiryReason.REJECTED)
        assert statuses(client, placed)[0] is OrderStatus.FILLED
        assert client.free("LTC") == d("1.998")

    def test_a_pending_stop_that_is_crossed_already_is_rejected_when_its_moment_comes(self) -> None:
        client = Client()
        oto(client, stop_order("1", "78.00"))
        client.trade("77.00")
        assert client.order(2).expiry_reason is ExpiryReason.REJECTED

    def test_a_pending_market_order_is_done_at_once(self) -> None:
        client = Client()
        placed = oto(client, request(SELL, MARKET, "1"))
        client.trade("79.00")
        assert statuses(client, placed) == [OrderStatus.FILLED] * 2

    def test_what_cannot_be_an_oto(self) -> None:
        client = Client()
        for working in (request(BUY, MARKET, "1"), stop_order("1")):
            with refused(-1116):
                client.engine.place_oto(ME, NewOto(working=working, pending=stop_order("1")), client.now)
        with refused(-1106):
            oto(client, request(BUY, MARKET, None, quote_order_qty="100"))
        with refused(-1121):
            oto(client, request(SELL, MARKET, "1", symbol="ETHUSDT"))
        with refused(-2010, "OTO orders are not supported for this symbol."):
            oto(Client(rows=[row(otoAllowed=False)]), stop_order("1"))

    def test_filters_of_the_pending_order_are_judged_at_placement(self) -> None:
        with refused(-1013, "Filter failure: LOT_SIZE"):
            oto(Client(), stop_order("0.0001"))


class TestOtoco:
    def test_a_filled_entry_places_target_and_stop_that_bind_once(self) -> None:
        client = Client()
        placed = otoco(client, "1.5")
        assert placed.order_list.contingency_type is ContingencyType.OTO
        client.trade("79.00")
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.NEW, OrderStatus.NEW]
        assert client.locked("LTC") == d("1.5")
        client.trade("82.00")
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.EXPIRED, OrderStatus.FILLED]

    def test_both_pending_legs_are_rejected_together(self) -> None:
        client = Client()
        placed = otoco(client, "1.5")
        client.trade("77.00")
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.EXPIRED, OrderStatus.EXPIRED]
        assert {client.order(each).expiry_reason for each in (2, 3)} == {ExpiryReason.REJECTED}
        assert client.engine.open_order_lists(ME) == []

    def test_it_needs_oco_as_well(self) -> None:
        with refused(-2010, "OCO orders are not supported for this symbol"):
            otoco(Client(rows=[row(ocoAllowed=False)]), "1")


class TestOpo:
    def test_the_proceeds_are_locked_and_sold_less_commission_in_whole_steps(self) -> None:
        client = Client(balances={"USDT": d(1000)})
        placed = oto(client, stop_order(None), qty="2.005", pays_out=True)
        assert placed.orders[1].orig_qty == 0
        client.trade("79.00", "1")
        assert (client.free("LTC"), client.locked("LTC")) == (d(0), d("0.999"))
        client.trade("79.00")
        pending = client.order(2)
        assert (pending.status, pending.orig_qty) == (OrderStatus.NEW, d("2.002"))
        assert (client.free("LTC"), client.locked("LTC")) == (d("0.000995"), d("2.002"))

    def test_commission_comes_out_of_free_funds_where_there_are_enough(self) -> None:
        client = Client(balances={"USDT": d(1000), "LTC": d(1)})
        oto(client, stop_order(None), pays_out=True)
        client.trade("79.00")
        assert client.order(2).orig_qty == 2
        assert (client.free("LTC"), client.locked("LTC")) == (d("0.998"), d(2))

    def test_cancelling_it_frees_what_was_bought(self) -> None:
        client = Client(balances={"USDT": d(1000)})
        oto(client, stop_order(None), pays_out=True)
        client.trade("79.00", "1")
        client.cancel(1)
        assert (client.free("LTC"), client.locked("LTC")) == (d("0.999"), d(0))

    def test_a_result_below_the_filters_leaves_the_position_naked(self) -> None:
        client = Client(balances={"USDT": d(1000)})
        oto(client, stop_order(None), qty="0.064", pays_out=True)
        client.trade("79.00")
        assert client.order(2).expiry_reason is ExpiryReason.REJECTED
        assert client.locked("LTC") == 0

    def test_opoco(self) -> None:
        client = Client(balances={"USDT": d(1000)})
        placed = otoco(client, None)
        client.trade("79.00")
        assert [client.order(each).orig_qty for each in placed.orders] == [d(2), d("1.998"), d("1.998")]
        assert client.locked("LTC") == d("1.998")

    def test_only_a_buy_pays_for_a_sell_and_without_a_quantity(self) -> None:
        client = Client()
        sell = request(SELL, LIMIT, "1", price="81.00", time_in_force=GTC)
        buy = request(BUY, LIMIT, "1", price="79.00", time_in_force=GTC)
        with refused(-1222):
            client.engine.place_oto(ME, NewOto(working=sell, pending=stop_order(None), pays_out=True), client.now)
        with refused(-1223):
            client.engine.place_oto(ME, NewOto(working=buy, pending=buy, pays_out=True), client.now)
        with refused(-1225):
            oto(client, stop_order("1"), pays_out=True)
        with refused(-2010, "OPO orders are not supported for this symbol."):
            oto(Client(rows=[row(opoAllowed=False)]), stop_order(None), pays_out=True)


class TestReadingsOfOto:
    """What the documents leave open of orders that wait: the other reading of each."""

    def reading(self, balances: dict[str, str] | None = None, **choices: Any) -> Client:
        client = Client(balances={asset: d(amount) for asset, amount in (balances or {"USDT": "1000"}).items()})
        client.engine.choices = ExchangeChoices(**choices)
        return client

    def test_open_orders_need_not_show_what_waits(self) -> None:
        client = self.reading(pending_open=PendingOpen.HIDDEN)
        oto(client, stop_order(None), pays_out=True)
        assert [order.order_id for order in client.engine.open_orders(ME, LTC)] == [1]
        client.trade("79.00")
        assert [order.order_id for order in client.engine.open_orders(ME)] == [2]

    def test_what_waits_may_show_the_working_order_s_quantity(self) -> None:
        client = self.reading(pending_quantity=PendingQuantity.WORKING)
        placed = oto(client, stop_order(None), pays_out=True)
        assert placed.orders[1].orig_qty == 2
        client.trade("79.00")
        assert client.order(2).orig_qty == d("1.998")

    def test_what_waits_may_expire_with_a_cancelled_working_order(self) -> None:
        client = self.reading(pending_ended=PendingEnded.EXPIRED)
        placed = oto(client, stop_order(None), pays_out=True)
        client.cancel(1)
        assert statuses(client, placed) == [OrderStatus.CANCELED, OrderStatus.EXPIRED]
        assert client.engine.open_order_lists(ME) == []

    def test_what_cannot_be_placed_may_be_rejected(self) -> None:
        client = self.reading(pending_refused=PendingRefused.REJECTED)
        placed = otoco(client, None)
        client.trade("77.00")
        assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.REJECTED]
        assert client.locked("LTC") == 0

    def test_commission_may_come_out_of_the_proceeds_whatever_is_free(self) -> None:
        client = self.reading({"USDT": "1000", "LTC": "1"}, opo_commission=OpoCommission.PROCEEDS)
        oto(client, stop_order(None), pays_out=True)
        client.trade("79.00")
        assert client.order(2).orig_qty == d("1.998")


def test_the_exchange_may_take_none_of_what_a_list_has_waiting() -> None:
    """A fault that tests ask for."""
    client = Client(balances={"USDT": d(1000)})
    client.engine._matcher.refuses_pending = lambda _: True
    placed = otoco(client, None)
    client.trade("79.00")
    assert statuses(client, placed) == [OrderStatus.FILLED, OrderStatus.EXPIRED, OrderStatus.EXPIRED]
    assert (client.free("LTC"), client.locked("LTC")) == (d("1.998"), d(0))


def test_a_pending_order_that_takes_what_its_own_list_just_bought() -> None:
    client = Client(liquidity=LiquidityModel.tight(d(80), 1))
    oto(client, request(SELL, LIMIT, "1", price="78.00", time_in_force=GTC))
    client.events()
    client.trade("79.00")
    kinds = [report.execution_type for report in client.reports()]
    assert kinds == [ExecutionType.TRADE, ExecutionType.NEW, ExecutionType.TRADE]
