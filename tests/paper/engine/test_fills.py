"""How resting orders fill from the recorded trades, and what orders bind of the balances."""

from decimal import Decimal
from typing import Any

import pytest
from tests.paper.engine.client import BUY, LTC, ME, SELL, Client, d, refused, row

from executor.core.model.values import OrderStatus, OrderType
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import ExecutionType


class TestRestingOrders:
    @pytest.mark.parametrize(("side", "price", "away"), [(BUY, "79.50", "79.51"), (SELL, "80.50", "80.49")])
    def test_a_trade_at_the_price_fills_by_its_volume(self, side: Any, price: str, away: str) -> None:
        client = Client()
        order = client.limit(side, "5", price)
        client.trade(away)
        assert client.order(order).executed_qty == 0
        client.trade(price, "2")
        assert (client.order(order).status, client.order(order).executed_qty) == (OrderStatus.PARTIALLY_FILLED, d(2))
        client.trade(price, "100")
        assert (client.order(order).status, client.order(order).executed_qty) == (OrderStatus.FILLED, d(5))

    def test_a_trade_through_the_price_fills_at_the_order_s_own_price(self) -> None:
        client = Client()
        order = client.limit(BUY, "5", "79.50")
        client.trade("79.00", "5")
        assert client.order(order).cumulative_quote_qty == 5 * d("79.50")

    def test_a_trade_s_volume_is_given_out_once_in_price_time_priority(self) -> None:
        client = Client()
        late_but_better = [client.limit(BUY, "1", "79.00"), client.limit(BUY, "1", "79.10")]
        client.wait(1)
        later = client.limit(BUY, "1", "79.00")
        client.trade("79.00", "2.5")
        filled = [client.order(each).executed_qty for each in (*late_but_better, later)]
        assert filled == [1, 1, d("0.5")]

    def test_orders_of_one_millisecond_go_by_client_order_id_not_by_arrival(self) -> None:
        for ids in (["a", "b"], ["b", "a"]):
            client = Client()
            for client_id in ids:
                client.limit(BUY, "1", "79.00", client_order_id=client_id)
            client.trade("79.00", "1")
            assert client.engine.order(ME, LTC, orig_client_order_id="a").status is OrderStatus.FILLED
            assert client.engine.order(ME, LTC, orig_client_order_id="b").status is OrderStatus.NEW

    def test_an_order_is_maker_when_it_rested_and_taker_when_it_crossed(self) -> None:
        client = Client()
        client.limit(BUY, "1", "79.00")
        client.trade("79.00")
        client.limit(BUY, "1", "79.10")
        assert [(fill.price, fill.is_maker) for fill in client.engine.my_trades(ME, LTC)] == [
            (d("79.00"), True),
            (d("79.03"), False),
        ]

    def test_a_trade_that_touches_nothing_tells_nothing(self) -> None:
        client = Client()
        client.limit(BUY, "1", "79.00")
        client.limit(SELL, "1", "81.00")
        client.stop_limit(SELL, "1", "79.00", "78.00")
        client.events()
        client.trade("79.01")
        client.trade("80.99")
        assert client.events() == []


class TestLocks:
    def test_a_limit_buy_binds_price_times_quantity_and_gives_back_what_it_saves(self) -> None:
        client = Client(balances={"USDT": d(1000)}, liquidity=LiquidityModel.tight(d("80.01"), 1))
        client.limit(BUY, "4", "80.50")  # takes one at 80.01, three rest
        assert client.locked("USDT") == 3 * d("80.50")
        assert client.free("USDT") == 1000 - d("80.01") - 3 * d("80.50")

    def test_a_sell_binds_base(self) -> None:
        client = Client()
        order = client.limit(SELL, "4", "81.00")
        assert (client.free("LTC"), client.locked("LTC")) == (d(96), d(4))
        client.trade("81.00", "1")
        assert client.locked("LTC") == 3
        client.cancel(order)
        assert (client.free("LTC"), client.locked("LTC")) == (d(99), d(0))

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
        client = Client()
        order = client.place(side, kind, "2", **fields).order
        assert client.locked(asset) == d(bound)
        client.cancel(order)
        assert client.locked(asset) == 0

    def test_an_oco_binds_once_for_both_legs(self) -> None:
        client = Client()
        client.oco(SELL, "4", "81.00", "79.00", "78.90")
        assert client.locked("LTC") == 4

    def test_a_buying_oco_binds_the_larger_leg_and_frees_the_difference_when_the_smaller_acts(self) -> None:
        client = Client()
        client.oco(BUY, "4", "79.00", "81.00", "81.50")
        assert client.locked("USDT") == 4 * d("81.50")
        client.trade("79.00", "1")
        assert client.locked("USDT") == 3 * d("79.00")

    @pytest.mark.parametrize(
        "place",
        [
            lambda client: client.limit(BUY, "1.3", "80.00"),
            lambda client: client.limit(SELL, "1.1", "81.00"),
            lambda client: client.market(BUY, "1.3"),
            lambda client: client.market(BUY, quote_order_qty="100.01"),
            lambda client: client.market(SELL, "1.1"),
            lambda client: client.market(SELL, quote_order_qty="90"),
            lambda client: client.stop_limit(SELL, "1.1", "79.00", "78.90"),
            lambda client: client.stop_limit(BUY, "1.3", "81.00", "81.10"),
            lambda client: client.oco(SELL, "1.1", "81.00", "79.00", "78.90"),
            lambda client: client.oco(BUY, "1.23", "79.00", "81.00", "81.50"),
        ],
    )
    def test_more_than_is_free_is_refused_and_binds_nothing(self, place: Any) -> None:
        client = Client(balances={"USDT": d(100), "LTC": d(1)})
        with refused(-2010, "Account has insufficient balance for requested action."):
            place(client)
        assert (client.free("USDT"), client.free("LTC")) == (d(100), d(1))
        assert client.events() == []

    def test_quote_finer_than_its_precision_is_bound_rounded_up_and_paid_rounded_down(self) -> None:
        fine = row(
            filters=[
                {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.00001"},
                {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "0", "stepSize": "0.0001"},
                {"filterType": "NOTIONAL", "minNotional": "0", "maxNotional": "9", "applyMinToMarket": True,
                 "applyMaxToMarket": False, "avgPriceMins": 5},
            ]
        )  # fmt: skip
        client = Client(rows=[fine], balances={"USDT": d(1)}, opening="0.04123")
        client.limit(BUY, "0.0001", "0.04111")
        assert client.locked("USDT") == d("0.00000412")
        client.trade("0.04111")
        assert client.free("USDT") == 1 - d("0.00000411")
        assert client.locked("USDT") == 0

    def test_deposits_withdrawals_and_locks_of_other_services(self) -> None:
        client = Client()
        client.engine.adjust_balance(ME, "USDT", d(5), client.now)
        client.engine.lock_externally(ME, "USDT", d(1), client.now)
        assert (client.free("USDT"), client.locked("USDT")) == (d(10_004), d(1))
        with refused(-2010):
            client.engine.adjust_balance(ME, "USDT", d(-10_005), client.now)
        with refused(-2010):
            client.engine.lock_externally(ME, "USDT", d(-2), client.now)
        names = [type(event).__name__ for event in client.events()]
        assert names == ["BalanceUpdate", "AccountPosition", "ExternalLockUpdate", "AccountPosition"]


class TestReports:
    def test_a_partial_fill_says_what_traded_last_and_altogether(self) -> None:
        client = Client()
        client.limit(BUY, "5", "79.50")
        client.trade("79.50", "2")
        client.events()
        client.wait(3)
        client.trade("79.50", "3")
        report = client.reports()[0]
        assert report.execution_type is ExecutionType.TRADE
        assert (report.last_qty, report.last_price, report.last_quote_qty) == (d(3), d("79.50"), d("238.50"))
        assert (report.order.executed_qty, report.order.cumulative_quote_qty) == (d(5), d("397.50"))
        assert (report.commission, report.commission_asset) == (d("0.003"), "LTC")
        assert (report.trade_id, report.is_maker, report.time) == (2, True, client.now)

    def test_an_answer_and_a_report_do_not_change_afterwards(self) -> None:
        client = Client()
        order = client.limit(BUY, "5", "79.50")
        report = client.reports()[0]
        client.trade("79.50")
        assert order.status is report.order.status is OrderStatus.NEW
        assert order.executed_qty == Decimal(0)

    def test_balances_are_told_absolutely_and_after_the_orders(self) -> None:
        client = Client()
        client.market(BUY, "1")
        names = [type(event).__name__ for event in client.events()]
        assert names == ["ExecutionReport", "ExecutionReport", "AccountPosition"]
