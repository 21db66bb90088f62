"""How resting orders fill from the recorded trades, and what orders bind of the balances."""

from decimal import Decimal
from typing import Any

import pytest
from tests.paper.engine.desk import BUY, LTC, ME, SELL, Desk, d, refused, row

from executor.core.values import OrderStatus, OrderType
from executor.paper.liquidity import LiquidityModel
from executor.paper.model import ExecutionType


class TestRestingOrders:
    @pytest.mark.parametrize(("side", "price", "away"), [(BUY, "79.50", "79.51"), (SELL, "80.50", "80.49")])
    def test_a_trade_at_the_price_fills_by_its_volume(self, side: Any, price: str, away: str) -> None:
        desk = Desk()
        order = desk.limit(side, "5", price)
        desk.trade(away)
        assert desk.order(order).executed_qty == 0
        desk.trade(price, "2")
        assert (desk.order(order).status, desk.order(order).executed_qty) == (OrderStatus.PARTIALLY_FILLED, d(2))
        desk.trade(price, "100")
        assert (desk.order(order).status, desk.order(order).executed_qty) == (OrderStatus.FILLED, d(5))

    def test_a_trade_through_the_price_fills_at_the_order_s_own_price(self) -> None:
        desk = Desk()
        order = desk.limit(BUY, "5", "79.50")
        desk.trade("79.00", "5")
        assert desk.order(order).cumulative_quote_qty == 5 * d("79.50")

    def test_a_trade_s_volume_is_given_out_once_in_price_time_priority(self) -> None:
        desk = Desk()
        late_but_better = [desk.limit(BUY, "1", "79.00"), desk.limit(BUY, "1", "79.10")]
        desk.wait(1)
        later = desk.limit(BUY, "1", "79.00")
        desk.trade("79.00", "2.5")
        filled = [desk.order(each).executed_qty for each in (*late_but_better, later)]
        assert filled == [1, 1, d("0.5")]

    def test_orders_of_one_millisecond_go_by_client_order_id_not_by_arrival(self) -> None:
        for ids in (["a", "b"], ["b", "a"]):
            desk = Desk()
            for client_id in ids:
                desk.limit(BUY, "1", "79.00", client_order_id=client_id)
            desk.trade("79.00", "1")
            assert desk.engine.order(ME, LTC, orig_client_order_id="a").status is OrderStatus.FILLED
            assert desk.engine.order(ME, LTC, orig_client_order_id="b").status is OrderStatus.NEW

    def test_an_order_is_maker_when_it_rested_and_taker_when_it_crossed(self) -> None:
        desk = Desk()
        desk.limit(BUY, "1", "79.00")
        desk.trade("79.00")
        desk.limit(BUY, "1", "79.10")
        assert [(fill.price, fill.is_maker) for fill in desk.engine.my_trades(ME, LTC)] == [
            (d("79.00"), True),
            (d("79.03"), False),
        ]

    def test_a_trade_that_touches_nothing_tells_nothing(self) -> None:
        desk = Desk()
        desk.limit(BUY, "1", "79.00")
        desk.limit(SELL, "1", "81.00")
        desk.stop_limit(SELL, "1", "79.00", "78.00")
        desk.events()
        desk.trade("79.01")
        desk.trade("80.99")
        assert desk.events() == []


class TestLocks:
    def test_a_limit_buy_binds_price_times_quantity_and_gives_back_what_it_saves(self) -> None:
        desk = Desk(balances={"USDT": d(1000)}, liquidity=LiquidityModel.tight(d("80.01"), 1))
        desk.limit(BUY, "4", "80.50")  # takes one at 80.01, three rest
        assert desk.locked("USDT") == 3 * d("80.50")
        assert desk.free("USDT") == 1000 - d("80.01") - 3 * d("80.50")

    def test_a_sell_binds_base(self) -> None:
        desk = Desk()
        order = desk.limit(SELL, "4", "81.00")
        assert (desk.free("LTC"), desk.locked("LTC")) == (d(96), d(4))
        desk.trade("81.00", "1")
        assert desk.locked("LTC") == 3
        desk.cancel(order)
        assert (desk.free("LTC"), desk.locked("LTC")) == (d(99), d(0))

    @pytest.mark.parametrize(
        ("side", "kind", "fields", "asset", "bound"),
        [
            (SELL, OrderType.STOP_LOSS, {"stop_price": "79.00"}, "LTC", "2"),
            (SELL, OrderType.TAKE_PROFIT, {"stop_price": "81.00"}, "LTC", "2"),
            (BUY, OrderType.STOP_LOSS, {"stop_price": "81.00"}, "USDT", "162"),
            (BUY, OrderType.STOP_LOSS, {"trailing_delta": 100}, "USDT", "161.60"),
        ],
    )
    def test_an_untriggered_stop_binds_like_the_order_it_becomes(
        self, side: Any, kind: OrderType, fields: dict[str, Any], asset: str, bound: str
    ) -> None:
        desk = Desk()
        order = desk.place(side, kind, "2", **fields).order
        assert desk.locked(asset) == d(bound)
        desk.cancel(order)
        assert desk.locked(asset) == 0

    def test_an_oco_binds_once_for_both_legs(self) -> None:
        desk = Desk()
        desk.oco(SELL, "4", "81.00", "79.00", "78.90")
        assert desk.locked("LTC") == 4

    def test_a_buying_oco_binds_the_larger_leg_and_frees_the_difference_when_the_smaller_acts(self) -> None:
        desk = Desk()
        desk.oco(BUY, "4", "79.00", "81.00", "81.50")
        assert desk.locked("USDT") == 4 * d("81.50")
        desk.trade("79.00", "1")
        assert desk.locked("USDT") == 3 * d("79.00")

    @pytest.mark.parametrize(
        "place",
        [
            lambda desk: desk.limit(BUY, "1.3", "80.00"),
            lambda desk: desk.limit(SELL, "1.1", "81.00"),
            lambda desk: desk.market(BUY, "1.3"),
            lambda desk: desk.market(BUY, quote_order_qty="100.01"),
            lambda desk: desk.market(SELL, "1.1"),
            lambda desk: desk.market(SELL, quote_order_qty="90"),
            lambda desk: desk.stop_limit(SELL, "1.1", "79.00", "78.90"),
            lambda desk: desk.stop_limit(BUY, "1.3", "81.00", "81.10"),
            lambda desk: desk.oco(SELL, "1.1", "81.00", "79.00", "78.90"),
            lambda desk: desk.oco(BUY, "1.23", "79.00", "81.00", "81.50"),
        ],
    )
    def test_more_than_is_free_is_refused_and_binds_nothing(self, place: Any) -> None:
        desk = Desk(balances={"USDT": d(100), "LTC": d(1)})
        with refused(-2010, "Account has insufficient balance for requested action."):
            place(desk)
        assert (desk.free("USDT"), desk.free("LTC")) == (d(100), d(1))
        assert desk.events() == []

    def test_quote_finer_than_its_precision_is_bound_rounded_up_and_paid_rounded_down(self) -> None:
        fine = row(
            filters=[
                {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.00001"},
                {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "0", "stepSize": "0.0001"},
                {"filterType": "NOTIONAL", "minNotional": "0", "maxNotional": "9", "applyMinToMarket": True,
                 "applyMaxToMarket": False, "avgPriceMins": 5},
            ]
        )  # fmt: skip
        desk = Desk(rows=[fine], balances={"USDT": d(1)}, opening="0.04123")
        desk.limit(BUY, "0.0001", "0.04111")
        assert desk.locked("USDT") == d("0.00000412")
        desk.trade("0.04111")
        assert desk.free("USDT") == 1 - d("0.00000411")
        assert desk.locked("USDT") == 0

    def test_deposits_withdrawals_and_locks_of_other_services(self) -> None:
        desk = Desk()
        desk.engine.adjust_balance(ME, "USDT", d(5), desk.now)
        desk.engine.lock_externally(ME, "USDT", d(1), desk.now)
        assert (desk.free("USDT"), desk.locked("USDT")) == (d(10_004), d(1))
        with refused(-2010):
            desk.engine.adjust_balance(ME, "USDT", d(-10_005), desk.now)
        with refused(-2010):
            desk.engine.lock_externally(ME, "USDT", d(-2), desk.now)
        names = [type(event).__name__ for event in desk.events()]
        assert names == ["BalanceUpdate", "AccountPosition", "ExternalLockUpdate", "AccountPosition"]


class TestReports:
    def test_a_partial_fill_says_what_traded_last_and_altogether(self) -> None:
        desk = Desk()
        desk.limit(BUY, "5", "79.50")
        desk.trade("79.50", "2")
        desk.events()
        desk.wait(3)
        desk.trade("79.50", "3")
        report = desk.reports()[0]
        assert report.execution_type is ExecutionType.TRADE
        assert (report.last_qty, report.last_price, report.last_quote_qty) == (d(3), d("79.50"), d("238.50"))
        assert (report.order.executed_qty, report.order.cumulative_quote_qty) == (d(5), d("397.50"))
        assert (report.commission, report.commission_asset) == (d("0.003"), "LTC")
        assert (report.trade_id, report.is_maker, report.time) == (2, True, desk.now)

    def test_an_answer_and_a_report_do_not_change_afterwards(self) -> None:
        desk = Desk()
        order = desk.limit(BUY, "5", "79.50")
        report = desk.reports()[0]
        desk.trade("79.50")
        assert order.status is report.order.status is OrderStatus.NEW
        assert order.executed_qty == Decimal(0)

    def test_balances_are_told_absolutely_and_after_the_orders(self) -> None:
        desk = Desk()
        desk.market(BUY, "1")
        names = [type(event).__name__ for event in desk.events()]
        assert names == ["ExecutionReport", "ExecutionReport", "AccountPosition"]
