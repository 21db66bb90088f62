"""Single orders: what each type needs, what the matching engine refuses, when stops fire, who may use which id."""

from typing import Any

import pytest
from tests.paper.engine.client import BUY, FOK, GTC, IOC, LTC, ME, SELL, Client, d, refused, request, row, summary

from executor.core.model.values import OrderStatus, OrderType, TimeInForce
from executor.paper.engine.choices import ExchangeChoices, OcoEnded
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import CancelRestriction, ExecutionType, ExpiryReason, StpMode, SymbolStatus

LIMIT, MARKET, MAKER = OrderType.LIMIT, OrderType.MARKET, OrderType.LIMIT_MAKER
STOP, STOP_LIMIT = OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT
PROFIT, PROFIT_LIMIT = OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT

COMPLETE: dict[OrderType, dict[str, Any]] = {
    LIMIT: {"price": "79.00", "time_in_force": GTC},
    MARKET: {},
    MAKER: {"price": "79.00"},
    STOP: {"stop_price": "81.00"},
    STOP_LIMIT: {"stop_price": "81.00", "price": "81.00", "time_in_force": GTC},
    PROFIT: {"stop_price": "79.00"},
    PROFIT_LIMIT: {"stop_price": "79.00", "price": "79.00", "time_in_force": GTC},
}
WIRE = {"price": "price", "time_in_force": "timeInForce", "stop_price": "stopPrice"}


@pytest.mark.parametrize("kind", COMPLETE)
def test_each_type_is_accepted_with_what_it_needs(kind: OrderType) -> None:
    assert Client().place(BUY, kind, "1", **COMPLETE[kind]).order.type is kind


@pytest.mark.parametrize("kind", COMPLETE)
def test_each_mandatory_parameter_is_missed(kind: OrderType) -> None:
    for name in COMPLETE[kind]:
        fields = {key: value for key, value in COMPLETE[kind].items() if key != name}
        with refused(-1102):
            Client().place(BUY, kind, "1", **fields)
    with refused(-1102):
        Client().place(BUY, kind, None, **COMPLETE[kind])


@pytest.mark.parametrize("kind", COMPLETE)
def test_parameters_that_do_not_belong_to_a_type_are_refused(kind: OrderType) -> None:
    extra = {"price": "79.00", "time_in_force": GTC, "stop_price": "79.00", "quote_order_qty": "100"}
    for name, value in extra.items():
        if name in COMPLETE[kind] or (kind is MARKET and name == "quote_order_qty"):
            continue
        wire = WIRE.get(name, "quoteOrderQty")
        with refused(-1106, f"Parameter '{wire}' sent when not required."):
            Client().place(BUY, kind, "1", **COMPLETE[kind], **{name: value})


def test_a_market_order_has_a_quantity_or_a_quote_quantity_not_both() -> None:
    with refused(-1128):
        Client().market(BUY, "1", quote_order_qty="100")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"qty": "0"}, -1013),
        ({"qty": "-1"}, -1013),
        ({"price": "0"}, -1013),
        ({"client_order_id": "x" * 37}, -1100),
        ({"client_order_id": "a b"}, -1100),
        ({"client_order_id": "a\n"}, -1100),
        ({"strategy_type": 999_999}, -1134),
        ({"iceberg_qty": "-1"}, -1013),
    ],
)
def test_values_that_no_order_may_have(fields: dict[str, Any], code: int) -> None:
    order = request(BUY, LIMIT, fields.pop("qty", "1"), **{"price": "79.00", "time_in_force": GTC, **fields})
    with refused(code):
        Client().engine.place_order(ME, order, 0)


def test_invalid_symbol() -> None:
    with refused(-1121, "Invalid symbol."):
        Client().limit(BUY, "1", "79.00", symbol="NOPE")


@pytest.mark.parametrize("status", [each for each in SymbolStatus if each is not SymbolStatus.TRADING])
def test_only_a_trading_symbol_takes_orders_and_any_lets_go(status: SymbolStatus) -> None:
    client = Client()
    order = client.limit(BUY, "1", "79.00")
    client.engine.set_symbol_status(LTC, status)
    with refused(-2010, "Market is closed."):
        client.limit(BUY, "1", "79.00")
    assert client.cancel(order).status is OrderStatus.CANCELED


def test_a_test_order_is_checked_and_forgotten() -> None:
    client = Client()
    client.engine.test_order(ME, request(BUY, LIMIT, "1", price="79.00", time_in_force=GTC), client.now)
    with refused(-1013, "Filter failure: LOT_SIZE"):
        client.engine.test_order(ME, request(BUY, LIMIT, "0.0001", price="79.00", time_in_force=GTC), client.now)
    assert client.engine.all_orders(ME, LTC) == []
    assert client.events() == []


class TestClientOrderIds:
    def test_an_id_is_unique_among_open_orders_only(self) -> None:
        client = Client()
        first = client.limit(BUY, "1", "79.00", client_order_id="same")
        with refused(-2010, "Duplicate order sent."):
            client.limit(BUY, "1", "79.00", client_order_id="same")
        client.cancel(first)
        second = client.limit(BUY, "1", "79.00", client_order_id="same")
        assert client.engine.order(ME, LTC, orig_client_order_id="same").order_id == second.order_id

    def test_a_filled_market_order_does_not_block_its_duplicate(self) -> None:
        """So an id sent twice is no protection (rule 8.4)."""
        client = Client()
        for _ in range(2):
            assert client.market(BUY, "1", client_order_id="same").order.status is OrderStatus.FILLED

    def test_an_order_without_an_id_gets_one(self) -> None:
        client = Client()
        ids = {client.limit(BUY, "1", "79.00").client_order_id for _ in range(3)}
        assert len(ids) == 3

    def test_queries_name_an_order_by_either_id_and_notice_a_mix_up(self) -> None:
        client = Client()
        order = client.limit(BUY, "1", "79.00", client_order_id="mine")
        find = client.engine.order
        assert find(ME, LTC, order_id=order.order_id, orig_client_order_id="mine").order_id == order.order_id
        with refused(-2039):
            find(ME, LTC, order_id=order.order_id, orig_client_order_id="other")
        with refused(-2013, "Order does not exist."):
            find(ME, LTC, orig_client_order_id="other")
        with refused(-1102):
            find(ME, LTC)


class TestCancel:
    def test_the_cancel_has_an_id_of_its_own(self) -> None:
        client = Client()
        client.limit(BUY, "1", "79.00", client_order_id="mine")
        client.events()
        answer = client.engine.cancel_order(
            ME, LTC, client.now, orig_client_order_id="mine", new_client_order_id="the-cancel"
        )
        assert (answer.cancel_client_order_id, answer.order.client_order_id) == ("the-cancel", "mine")
        assert answer.order.status is OrderStatus.CANCELED
        report = client.reports()[0]
        assert report.execution_type is ExecutionType.CANCELED
        assert (report.client_order_id, report.orig_client_order_id) == ("the-cancel", "mine")

    def test_what_is_not_open_cannot_be_cancelled(self) -> None:
        client = Client()
        order = client.limit(BUY, "1", "79.00")
        client.cancel(order)
        with refused(-2011, "Unknown order sent."):
            client.cancel(order)
        with refused(-2011, "Unknown order sent."):
            client.cancel(99)
        with refused(-1102):
            client.engine.cancel_order(ME, LTC, client.now)

    def test_both_ids_must_name_the_same_order(self) -> None:
        client = Client()
        order = client.limit(BUY, "1", "79.00")
        with refused(-2011, "Unknown order sent."):
            client.engine.cancel_order(ME, LTC, client.now, order_id=order.order_id, orig_client_order_id="other")

    def test_cancel_restrictions(self) -> None:
        client = Client()
        order = client.limit(BUY, "2", "79.00", client_order_id="mine")
        text = "Order was not canceled due to cancel restrictions."

        def cancel(only: CancelRestriction) -> None:
            client.engine.cancel_order(ME, LTC, client.now, order_id=order.order_id, restrictions=only)

        with refused(-2011, text):
            cancel(CancelRestriction.ONLY_PARTIALLY_FILLED)
        client.trade("79.00", "1")
        with refused(-2011, text):
            cancel(CancelRestriction.ONLY_NEW)
        cancel(CancelRestriction.ONLY_PARTIALLY_FILLED)
        assert client.order(order).executed_qty == 1

    def test_cancel_open_orders_takes_orders_and_lists_once_each(self) -> None:
        client = Client()
        client.limit(BUY, "1", "79.00")
        client.oco(SELL, "1", "81.00", "79.00", "78.90")
        answers = client.engine.cancel_open_orders(ME, LTC, client.now)
        assert [type(each).__name__ for each in answers] == ["Cancelled", "ListCancelled"]
        assert client.engine.open_orders(ME) == []
        with refused(-2011, "Unknown order sent."):
            client.engine.cancel_open_orders(ME, LTC, client.now)


class TestStops:
    @pytest.mark.parametrize(
        ("side", "kind", "stop"),
        [(SELL, STOP, "80.00"), (BUY, PROFIT, "80.00"), (BUY, STOP, "80.00"), (SELL, PROFIT, "80.00")],
    )
    def test_a_stop_at_or_past_the_last_price_would_trigger_immediately(
        self, side: Any, kind: OrderType, stop: str
    ) -> None:
        client = Client()
        with refused(-2010, "Order would trigger immediately."):
            client.place(side, kind, "1", stop_price=stop)
        wrong_side = "79.99" if (side, kind) in {(BUY, STOP), (SELL, PROFIT)} else "80.01"
        with refused(-2010, "Order would trigger immediately."):
            client.place(side, kind, "1", stop_price=wrong_side)
        right_side = "80.01" if wrong_side == "79.99" else "79.99"
        assert client.place(side, kind, "1", stop_price=right_side).order.status is OrderStatus.NEW

    def test_an_untriggered_stop_is_new_but_not_working(self) -> None:
        order = Client().stop_limit(SELL, "1", "79.50", "79.40")
        assert (order.status, order.is_working, order.working_time) == (OrderStatus.NEW, False, -1)

    @pytest.mark.parametrize(("side", "calm", "hit"), [(SELL, "79.51", "79.50"), (BUY, "80.49", "80.50")])
    def test_a_stop_loss_fires_when_the_last_price_reaches_it_and_takes(self, side: Any, calm: str, hit: str) -> None:
        client = Client()
        order = client.place(side, STOP, "1", stop_price=hit).order
        client.trade(calm)
        assert client.order(order).status is OrderStatus.NEW
        client.trade(hit)
        assert client.order(order).status is OrderStatus.FILLED

    @pytest.mark.parametrize(("side", "hit"), [(SELL, "80.50"), (BUY, "79.50")])
    def test_a_take_profit_fires_on_the_other_side(self, side: Any, hit: str) -> None:
        client = Client()
        order = client.place(side, PROFIT, "1", stop_price=hit).order
        client.trade(hit)
        assert client.order(order).status is OrderStatus.FILLED

    def test_a_gap_below_its_limit_leaves_a_triggered_stop_limit_unfilled_on_the_book(self) -> None:
        client = Client()
        order = client.stop_limit(SELL, "1", "79.50", "79.40")
        client.events()
        client.wait(5)
        client.trade("79.00")
        stuck = client.order(order)
        assert (stuck.status, stuck.is_working, stuck.working_time) == (OrderStatus.NEW, True, client.now)
        assert summary(client.events()) == ["NEW 1 NEW"]
        client.trade("79.40", "0.4")
        assert client.order(order).executed_qty == d("0.4")

    def test_a_stop_limit_that_can_trade_at_its_limit_fills_at_the_better_market(self) -> None:
        client = Client()
        order = client.stop_limit(SELL, "1", "79.50", "79.40")
        client.trade("79.50")
        assert client.order(order).cumulative_quote_qty == d("79.50")

    def test_a_triggered_ioc_stop_limit_does_not_stay(self) -> None:
        client = Client()
        order = client.stop_limit(SELL, "1", "79.50", "79.40", time_in_force=IOC)
        client.trade("79.00")
        assert client.order(order).expiry_reason is ExpiryReason.UNFILLED_IOC_QUANTITY_EXPIRED

    def test_a_triggered_buy_stop_without_the_funds_is_rejected_on_the_book(self) -> None:
        client = Client(balances={"USDT": d(82)})
        order = client.place(BUY, STOP, "1", stop_price="81.00").order
        assert client.locked("USDT") == 81
        client.trade("83.00")
        gone = client.order(order)
        assert (gone.status, gone.expiry_reason) == (OrderStatus.EXPIRED, ExpiryReason.REJECTED)
        assert client.free("USDT") == 82

    def test_stops_of_one_millisecond_fire_in_the_order_of_their_ids(self) -> None:
        for ids in (["a", "b"], ["b", "a"]):
            client = Client(liquidity=LiquidityModel.tight(d(79), 1))
            for client_id in ids:
                client.place(SELL, STOP, "1", stop_price="79.00", client_order_id=client_id)
            client.events()
            client.trade("79.00")
            filled = [r.order.client_order_id for r in client.reports() if r.execution_type is ExecutionType.TRADE]
            assert filled == ["a"], "one trade's liquidity, and whoever comes first in the alphabet"


class TestTrailing:
    """The scenarios of faqs/trailing-stop-faq.md."""

    def wide(self) -> Client:
        return Client(rows=[row("BTCUSDT")], balances={"USDT": d(500_000), "BTC": d(10)}, opening=None)

    def place(self, client: Client, side: Any, kind: OrderType, **fields: Any) -> int:
        fields = {"price": fields.pop("price"), "time_in_force": GTC, **fields}
        return client.place(side, kind, "1", symbol="BTCUSDT", **fields).order.order_id

    @pytest.mark.parametrize(
        ("side", "kind", "fields", "quiet", "fires"),
        [
            (
                BUY,
                STOP_LIMIT,
                {"stop_price": "44000", "trailing_delta": 500, "price": "45000"},
                ["37000", "44000", "45000", "46000", "42000", "44099"],
                "44100",
            ),
            (
                SELL,
                STOP_LIMIT,
                {"stop_price": "39000", "trailing_delta": 1000, "price": "38000"},
                ["41500", "39000", "37000", "41000", "36901"],
                "36900",
            ),
            (
                BUY,
                PROFIT_LIMIT,
                {"stop_price": "38000", "trailing_delta": 850, "price": "38500"},
                ["42000", "38000", "37000", "39000", "38000", "40144"],
                "40145",
            ),
            (
                SELL,
                PROFIT_LIMIT,
                {"stop_price": "42000", "trailing_delta": 750, "price": "41000"},
                ["41500", "39000", "42000", "45000", "44000", "46500", "43013"],
                "43012.5",
            ),
            (
                SELL,
                STOP_LIMIT,
                {"trailing_delta": 700, "price": "39000"},
                ["40000", "42000", "39500", "45500", "42316"],
                "42315",
            ),
        ],
    )
    def test_scenarios_a_to_e(
        self, side: Any, kind: OrderType, fields: dict[str, Any], quiet: list[str], fires: str
    ) -> None:
        client = self.wide()
        client.trade("40000", symbol="BTCUSDT")
        order_id = self.place(client, side, kind, **fields)
        for price in quiet:
            client.wait(1000)
            client.trade(price, symbol="BTCUSDT")
            assert not client.engine.order(ME, "BTCUSDT", order_id=order_id).is_working, price
        client.wait(1000)
        client.trade(fires, symbol="BTCUSDT")
        order = client.engine.order(ME, "BTCUSDT", order_id=order_id)
        assert order.is_working
        assert 0 < order.trailing_time < client.now

    def test_a_cancelled_trailing_order_no_longer_follows(self) -> None:
        client = Client()
        order = client.place(SELL, STOP, "1", trailing_delta=100).order
        client.trade("81.00")
        client.cancel(order)
        client.trade("70.00")
        assert client.order(order).executed_qty == 0


def test_a_limit_maker_that_would_take_is_refused() -> None:
    client = Client()
    text = "Order would immediately match and take."
    with refused(-2010, text):
        client.place(BUY, MAKER, "1", price="80.01")
    with refused(-2010, text):
        client.place(SELL, MAKER, "1", price="80.00")
    assert client.place(BUY, MAKER, "1", price="80.00").order.status is OrderStatus.NEW


class TestImmediateOrders:
    def tight(self, levels: int = 2) -> Client:
        """Ten LTC a level, two levels."""
        return Client(liquidity=LiquidityModel.tight(d("800.15"), levels))

    def test_ioc_takes_what_is_there_and_expires(self) -> None:
        order = self.tight().limit(BUY, "15", "80.01", IOC)
        assert (order.status, order.executed_qty) == (OrderStatus.EXPIRED, d("10"))
        assert order.expiry_reason is ExpiryReason.UNFILLED_IOC_QUANTITY_EXPIRED

    def test_fok_takes_all_or_nothing(self) -> None:
        client = self.tight()
        order = client.limit(BUY, "15", "80.01", FOK)
        assert (order.status, order.executed_qty) == (OrderStatus.EXPIRED, d(0))
        assert order.expiry_reason is ExpiryReason.UNFILLED_FOK_ORDER_EXPIRED
        assert client.limit(BUY, "15", "80.02", FOK).status is OrderStatus.FILLED

    def test_gtc_takes_and_rests(self) -> None:
        client = self.tight()
        order = client.limit(BUY, "15", "80.01")
        assert (order.status, order.executed_qty) == (OrderStatus.PARTIALLY_FILLED, d("10"))
        assert client.locked("USDT") == 5 * d("80.01")

    @pytest.mark.parametrize("tif", [IOC, FOK])
    def test_nothing_to_take_expires(self, tif: TimeInForce) -> None:
        assert Client().limit(BUY, "1", "79.00", tif).status is OrderStatus.EXPIRED

    def test_a_market_order_slips_level_by_level_and_its_rest_expires(self) -> None:
        placed = self.tight().market(BUY, "25")
        assert [(fill.price, fill.qty) for fill in placed.fills] == [(d("80.01"), 10), (d("80.02"), d("9.999"))]
        assert placed.order.status is OrderStatus.EXPIRED
        assert placed.order.expiry_reason is ExpiryReason.INSUFFICIENT_LIQUIDITY
        assert placed.order.executed_qty == d("19.999")

    def test_what_was_taken_comes_back_with_the_next_trade(self) -> None:
        client = self.tight(levels=1)
        assert client.market(SELL, "10").order.status is OrderStatus.FILLED
        assert client.market(SELL, "10").order.executed_qty < 1
        client.trade("80.00")
        assert client.market(SELL, "10").order.status is OrderStatus.FILLED

    def test_a_market_without_prices_gives_nothing(self) -> None:
        client = Client(opening=None)
        order = client.market(SELL, "1").order
        assert (order.status, order.executed_qty) == (OrderStatus.EXPIRED, d(0))
        with refused(-2010, "Order book liquidity is less than symbol minimum quantity."):
            client.market(BUY, quote_order_qty="100")

    def test_a_quote_quantity_buys_whole_steps_for_no_more_than_it(self) -> None:
        client = Client()
        order = client.market(BUY, quote_order_qty="100").order
        assert (order.status, order.executed_qty, order.orig_qty) == (OrderStatus.FILLED, d("1.249"), d("1.249"))
        assert order.orig_quote_order_qty == 100
        assert order.cumulative_quote_qty == d("1.249") * d("80.01")

    def test_a_quote_quantity_sells_what_brings_it(self) -> None:
        order = Client().market(SELL, quote_order_qty="100").order
        assert (order.status, order.executed_qty) == (OrderStatus.FILLED, d("1.250"))

    def test_a_quote_quantity_on_a_thin_book_keeps_a_rest(self) -> None:
        order = self.tight().market(BUY, quote_order_qty="2000").order
        assert (order.status, order.executed_qty) == (OrderStatus.EXPIRED, d("19.999"))
        assert order.orig_qty > order.executed_qty

    def test_a_quote_quantity_has_the_precision_of_its_asset(self) -> None:
        with refused(-1111, "Parameter 'quoteOrderQty' has too much precision."):
            Client().market(BUY, quote_order_qty="100.000000001")

    def test_a_quote_quantity_too_small_for_a_market_lot(self) -> None:
        rows = [row(filters=[{"filterType": "MARKET_LOT_SIZE", "minQty": "1", "maxQty": "900", "stepSize": "0"}])]
        with refused(-2010, "Order book liquidity is less than MARKET_LOT_SIZE filter minimum quantity."):
            Client(rows=rows).market(BUY, quote_order_qty="50")

    def test_only_limit_orders_can_be_icebergs(self) -> None:
        with refused(-1106, "Parameter 'icebergQty' sent when not required."):
            Client().market(BUY, "1", iceberg_qty="0.1")

    def test_a_quote_quantity_too_small_for_a_lot(self) -> None:
        rows = [row(filters=[{"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "900", "stepSize": "0.001"}])]
        with refused(-2010, "Order book liquidity is less than LOT_SIZE filter minimum quantity."):
            Client(rows=rows).market(BUY, quote_order_qty="50")


class TestSelfTradePrevention:
    """The taker's mode decides (faqs/stp_faq.md); the resting order is the only liquidity."""

    def opposing_orders(self, mode: StpMode, resting: str = "1", taking: str = "3") -> tuple[Client, Any, Any]:
        rows = [row(allowedSelfTradePreventionModes=[*StpMode])]
        client = Client(rows=rows, opening=None, liquidity=LiquidityModel.unlimited())
        maker = client.limit(SELL, resting, "80.00")
        taker = client.limit(BUY, taking, "80.00", stp_mode=mode)
        return client, client.order(maker), taker

    def test_none_trades_with_oneself(self) -> None:
        _, maker, taker = self.opposing_orders(StpMode.NONE)
        assert (maker.status, taker.executed_qty) == (OrderStatus.FILLED, d(1))

    def test_expire_maker(self) -> None:
        client, maker, taker = self.opposing_orders(StpMode.EXPIRE_MAKER)
        assert (maker.status, maker.prevented_qty) == (OrderStatus.EXPIRED_IN_MATCH, d(1))
        assert (taker.status, taker.executed_qty) == (OrderStatus.NEW, d(0))
        assert client.locked("LTC") == 0

    def test_expire_taker(self) -> None:
        client, maker, taker = self.opposing_orders(StpMode.EXPIRE_TAKER)
        assert maker.status is OrderStatus.NEW
        assert (taker.status, taker.prevented_qty) == (OrderStatus.EXPIRED_IN_MATCH, d(3))
        assert client.locked("USDT") == 0

    def test_expire_both(self) -> None:
        client, maker, taker = self.opposing_orders(StpMode.EXPIRE_BOTH)
        assert maker.status is taker.status is OrderStatus.EXPIRED_IN_MATCH
        match = client.engine.prevented_matches(ME, LTC)[0]
        assert (match.taker_prevented_qty, match.maker_prevented_qty, match.price) == (d(3), d(1), d(80))
        assert client.engine.prevented_matches(ME, LTC, order_id=99) == []

    @pytest.mark.parametrize("mode", [StpMode.DECREMENT, StpMode.TRANSFER])
    def test_decrement_takes_the_overlap_from_both(self, mode: StpMode) -> None:
        client, maker, taker = self.opposing_orders(mode)
        assert (maker.status, maker.prevented_qty) == (OrderStatus.EXPIRED_IN_MATCH, d(1))
        assert (taker.status, taker.prevented_qty, taker.open_qty) == (OrderStatus.NEW, d(1), d(2))
        assert client.locked("USDT") == 160
        prevented = [r for r in client.reports() if r.execution_type is ExecutionType.TRADE_PREVENTION]
        assert [(r.last_prevented_qty, r.last_prevented_price, r.last_qty) for r in prevented] == [
            (d(1), d(80), d(0))
        ] * 2

    def test_a_resting_take_profit_can_be_lost_to_a_crossing_buy_and_takes_its_oco_along(self) -> None:
        client = Client(liquidity=LiquidityModel.tight(d(90), 1))
        legs = client.oco(SELL, "1", "80.10", "79.00", "78.90").orders
        client.limit(BUY, "3", "80.10")
        assert [client.order(leg).status for leg in legs] == [OrderStatus.EXPIRED, OrderStatus.EXPIRED_IN_MATCH]
        assert client.order(legs[0]).expiry_reason is ExpiryReason.OCO_TRIGGER
        assert client.engine.open_order_lists(ME) == []
        assert client.locked("LTC") == 0

    @pytest.mark.parametrize("ended", list(OcoEnded))
    def test_one_side_of_an_oco_that_is_lost_may_leave_the_other_as_it_is(self, ended: OcoEnded) -> None:
        """With what it needs locked: where it goes too, all is free."""
        client = Client(liquidity=LiquidityModel.tight(d(90), 1))
        client.engine.choices = ExchangeChoices(oco_ended=ended)
        stop, target = client.oco(SELL, "1", "80.10", "79.00", "78.90").orders
        client.limit(BUY, "3", "80.10")
        assert client.order(target).status is OrderStatus.EXPIRED_IN_MATCH
        stays = ended is OcoEnded.ONE
        assert client.order(stop).status is (OrderStatus.NEW if stays else OrderStatus.EXPIRED)
        assert client.locked("LTC") == (1 if stays else 0)
        if stays:
            client.trade("78.95")
            assert client.order(stop).executed_qty == 1

    def test_an_order_of_the_trade_group_takes_of_a_resting_one_and_what_is_left_is_all_it_fills(self) -> None:
        """faqs/stp_faq.md: the status is FILLED then, with less executed than its quantity."""
        client = Client(opening=None)
        order = client.limit(SELL, "2", "80.00")
        client.engine.prevent_match(ME, LTC, client.order(order).order_id, d("0.5"), client.now)
        assert (client.order(order).status, client.order(order).open_qty) == (OrderStatus.NEW, d("1.5"))
        assert client.locked("LTC") == d("1.5")
        client.trade("80.00", "5")
        told = client.order(order)
        assert (told.status, told.executed_qty, told.prevented_qty) == (OrderStatus.FILLED, d("1.5"), d("0.5"))
        with refused(-2011):
            client.engine.prevent_match(ME, LTC, told.order_id, d(1), client.now)

    def test_two_accounts_trade_with_each_other(self) -> None:
        client = Client(opening=None)
        client.engine.open_account("other", {"LTC": d(5)})
        theirs = client.limit(SELL, "2", "80.00", account="other")
        ours = client.limit(BUY, "3", "81.00")
        assert (ours.executed_qty, ours.cumulative_quote_qty) == (d(2), d(160))
        fill, their_fill = client.engine.my_trades(ME, LTC)[0], client.engine.my_trades("other", LTC)[0]
        assert fill.trade_id == their_fill.trade_id
        assert (fill.is_maker, their_fill.is_maker, their_fill.order_id) == (False, True, theirs.order_id)
        assert client.engine.market_gain() == {"LTC": 0, "USDT": 0}
