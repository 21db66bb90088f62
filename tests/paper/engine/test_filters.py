"""Each filter of exchangeInfo refuses what filters.md says it refuses, and admits its own bounds."""

from typing import Any

import pytest
from tests.paper.engine.client import BUY, FOK, GTC, LTC, ME, SELL, Client, d, oco, refused, row

from executor.core.model.values import OrderSide, OrderType
from executor.paper.engine.model import StpMode
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info


@pytest.mark.parametrize("price", ["79.995", "79.001", "0.001", "100000.01"])
def test_price_filter_refuses_prices_off_the_tick_or_out_of_bounds(price: str) -> None:
    with refused(-1013, "Filter failure: PRICE_FILTER"):
        Client().limit(BUY, "1", price)


def test_price_filter_applies_to_the_stop_price_too() -> None:
    with refused(-1013, "Filter failure: PRICE_FILTER"):
        Client().stop_limit(SELL, "1", "79.005", "78.00")


@pytest.mark.parametrize("qty", ["0.0005", "1.0005", "90000.001"])
def test_lot_size_refuses_quantities_off_the_step_or_out_of_bounds(qty: str) -> None:
    with refused(-1013, "Filter failure: LOT_SIZE"):
        Client().limit(BUY, qty, "79.00")


def test_more_digits_than_the_asset_has_are_a_precision_fault() -> None:
    with refused(-1111, "Parameter 'quantity' has too much precision."):
        Client().limit(BUY, "1.000000001", "79.00")
    with refused(-1111, "Parameter 'price' has too much precision."):
        Client().limit(BUY, "1", "79.000000001")


def test_market_lot_size_binds_market_orders_only_and_a_step_of_0_is_off() -> None:
    client = Client(balances={"LTC": d(50_000)})
    with refused(-1013, "Filter failure: MARKET_LOT_SIZE"):
        client.market(SELL, "16571.045")
    assert client.market(SELL, "16571.043").order.orig_qty == d("16571.043")
    client.limit(SELL, "16571.045", "85.00")


def test_notional_refuses_less_than_the_minimum_of_price_times_quantity() -> None:
    client = Client()
    with refused(-1013, "Filter failure: NOTIONAL"):
        client.limit(BUY, "0.062", "80.00")
    client.limit(BUY, "0.063", "80.00")


def test_notional_of_a_stop_limit_is_judged_at_its_limit_price() -> None:
    client = Client()
    with refused(-1013, "Filter failure: NOTIONAL"):
        client.stop_limit(SELL, "0.063", "79.90", "79.00")
    client.stop_limit(SELL, "0.064", "79.90", "79.00")


def test_notional_of_a_market_order_is_judged_at_the_average_price_of_the_last_minutes() -> None:
    client = Client()
    client.trade("100.00", "1000")  # average 90
    with refused(-1013, "Filter failure: NOTIONAL"):
        client.market(SELL, "0.055")
    client.market(SELL, "0.056")


def test_notional_maximum_spares_market_orders_where_the_filter_says_so() -> None:
    client = Client(balances={"LTC": d(200_000)})
    with refused(-1013, "Filter failure: NOTIONAL"):
        client.limit(SELL, "90000", "101.00")
    rich = Client(rows=[row(without=["MARKET_LOT_SIZE"])], balances={"LTC": d(200_000)}, opening="120.00")
    assert rich.market(SELL, "90000").order.orig_qty == d(90_000)


def test_min_notional_of_older_symbols() -> None:
    old = {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": False, "avgPriceMins": 5}
    client = Client(rows=[row(without=["NOTIONAL"], filters=[old])])
    with refused(-1013, "Filter failure: MIN_NOTIONAL"):
        client.limit(BUY, "0.124", "80.00")
    client.market(SELL, "0.001")


def test_percent_price_by_side_bounds_a_limit_price_around_the_average() -> None:
    narrow = {
        "filterType": "PERCENT_PRICE_BY_SIDE",
        "bidMultiplierUp": "1.1",
        "bidMultiplierDown": "0.8",
        "askMultiplierUp": "1.2",
        "askMultiplierDown": "0.9",
        "avgPriceMins": 5,
    }
    client = Client(rows=[row(filters=[narrow])])
    for side, low, high in ((BUY, "64.00", "88.00"), (SELL, "72.00", "96.00")):
        client.limit(side, "1", low)
        client.limit(side, "1", high)
        for price in (d(low) - d("0.01"), d(high) + d("0.01")):
            with refused(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"):
                client.limit(side, "1", str(price))


def test_percent_price_of_older_symbols_and_avg_price_mins_of_0_means_the_last_price() -> None:
    old = {"filterType": "PERCENT_PRICE", "multiplierUp": "2", "multiplierDown": "0.5", "avgPriceMins": 0}
    client = Client(rows=[row(without=["PERCENT_PRICE_BY_SIDE"], filters=[old])])
    client.trade("70.00", "1")
    client.limit(SELL, "1", "140.00")
    with refused(-1013, "Filter failure: PERCENT_PRICE"):
        client.limit(SELL, "1", "140.01")


def test_iceberg_parts_and_iceberg_rules() -> None:
    client = Client()
    client.limit(BUY, "10", "79.00", iceberg_qty="0.1")
    with refused(-1013, "Filter failure: ICEBERG_PARTS"):
        client.limit(BUY, "10", "79.00", iceberg_qty="0.099")
    with refused(-1013, "Filter failure: LOT_SIZE"):
        client.limit(BUY, "10", "79.00", iceberg_qty="0.1001")
    with refused(-2010, "IcebergQty exceeds QTY."):
        client.limit(BUY, "1", "79.00", iceberg_qty="1.1")
    with refused(-1014, "Unsupported order combination."):
        client.limit(BUY, "1", "79.00", FOK, iceberg_qty="0.5")


def test_max_num_iceberg_orders() -> None:
    one = {"filterType": "MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders": 1}
    client = Client(rows=[row(filters=[one])])
    client.limit(BUY, "1", "79.00", iceberg_qty="0.1")
    with refused(-1013, "Filter failure: MAX_NUM_ICEBERG_ORDERS"):
        client.limit(BUY, "1", "79.00", iceberg_qty="0.1")
    client.limit(BUY, "1", "79.00")


def test_max_num_orders_counts_every_order_of_a_list() -> None:
    client = Client(rows=[row(filters=[{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 3}])])
    client.limit(BUY, "1", "70.00")
    client.limit(BUY, "1", "70.00")
    with refused(-1013, "Filter failure: MAX_NUM_ORDERS"):
        client.oco(SELL, "1", "81.00", "79.00", "78.90")
    client.limit(BUY, "1", "70.00")
    with refused(-1013, "Filter failure: MAX_NUM_ORDERS"):
        client.limit(BUY, "1", "70.00")
    assert len(client.engine.open_orders(ME)) == 3
    client.market(SELL, "1")  # never stays open, so it needs no place


def test_max_num_algo_orders_counts_stops_one_per_oco_with_a_limit_maker() -> None:
    client = Client()
    for _ in range(4):
        client.stop_limit(SELL, "1", "79.00", "78.90")
    client.oco(SELL, "1", "81.00", "79.00", "78.90")
    with refused(-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"):
        client.stop_limit(SELL, "1", "79.00", "78.90")
    with refused(-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"):
        client.oco(SELL, "1", "81.00", "79.00", "78.90")
    client.limit(SELL, "1", "82.00")


def test_max_num_order_lists() -> None:
    client = Client(rows=[row(filters=[{"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 1}])])
    client.oco(SELL, "1", "81.00", "79.00", "78.90")
    with refused(-1013, "Filter failure: MAX_NUM_ORDER_LISTS"):
        client.oco(SELL, "1", "81.00", "79.00", "78.90")


def test_max_position_counts_free_and_locked_base_and_open_buys() -> None:
    client = Client(rows=[row(filters=[{"filterType": "MAX_POSITION", "maxPosition": "110"}])])
    client.limit(SELL, "50", "85.00")
    client.limit(BUY, "6", "79.00")
    client.limit(BUY, "4", "79.00")
    with refused(-1013, "Filter failure: MAX_POSITION"):
        client.limit(BUY, "0.1", "79.00")
    client.limit(SELL, "1", "85.00")


@pytest.mark.parametrize(
    ("side", "kind", "below_only"),
    [
        (SELL, OrderType.STOP_LOSS_LIMIT, True),
        (BUY, OrderType.TAKE_PROFIT_LIMIT, True),
        (BUY, OrderType.STOP_LOSS_LIMIT, False),
        (SELL, OrderType.TAKE_PROFIT_LIMIT, False),
    ],
)
def test_trailing_delta_has_bounds_above_and_below(side: OrderSide, kind: OrderType, below_only: bool) -> None:
    bounds = {
        "filterType": "TRAILING_DELTA",
        "minTrailingAboveDelta": 10,
        "maxTrailingAboveDelta": 2000,
        "minTrailingBelowDelta": 20,
        "maxTrailingBelowDelta": 1000,
    }
    client = Client(rows=[row(filters=[bounds])])
    low, high = (20, 1000) if below_only else (10, 2000)
    for delta in (low, high):
        client.place(side, kind, "1", price="80.00", trailing_delta=delta, time_in_force=GTC)
    for delta in (low - 1, high + 1):
        with refused(-1013, "Filter failure: TRAILING_DELTA"):
            client.place(side, kind, "1", price="80.00", trailing_delta=delta, time_in_force=GTC)


def test_without_the_filter_any_trailing_delta_will_do() -> None:
    client = Client(rows=[row(without=["TRAILING_DELTA"])])
    assert client.place(SELL, OrderType.STOP_LOSS, "1", trailing_delta=1).order.trailing_delta == 1


def test_exchange_wide_counts_span_symbols() -> None:
    limits = [
        {"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 3},
        {"filterType": "EXCHANGE_MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 1},
        {"filterType": "EXCHANGE_MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 1},
    ]
    client = Client(rows=[row(), row("ETHUSDT")], exchange_filters=limits)
    client.trade("2500.00", symbol="ETHUSDT")
    client.limit(BUY, "0.1", "2000.00", symbol="ETHUSDT")
    client.oco(SELL, "1", "81.00", "79.00", "78.90")
    with refused(-1013, "Filter failure: EXCHANGE_MAX_NUM_ORDERS"):
        client.limit(BUY, "1", "70.00")
    client.engine.cancel_order(ME, "ETHUSDT", client.now, order_id=1)
    with refused(-1013, "Filter failure: EXCHANGE_MAX_NUM_ALGO_ORDERS"):
        client.stop_limit(SELL, "1", "79.00", "78.90")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orderTypes": ["LIMIT"]}, "Market orders are not supported for this symbol."),
        ({"quoteOrderQtyMarketAllowed": False}, "Quote order qty market orders are not support for this symbol."),
    ],
)
def test_market_orders_where_the_symbol_has_none(changes: dict[str, Any], message: str) -> None:
    with refused(-2010, message):
        Client(rows=[row(**changes)]).market(BUY, quote_order_qty="100")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (OrderType.STOP_LOSS, "Stop loss"),
        (OrderType.STOP_LOSS_LIMIT, "Stop loss limit"),
        (OrderType.TAKE_PROFIT, "Take profit"),
        (OrderType.TAKE_PROFIT_LIMIT, "Take profit limit"),
    ],
)
def test_stop_types_where_the_symbol_lacks_them(kind: OrderType, words: str) -> None:
    client = Client(rows=[row(orderTypes=["LIMIT", "MARKET"])])
    fields = {"price": "79.00", "time_in_force": GTC} if "LIMIT" in kind else {}
    with refused(-2010, f"{words} orders are not supported for this symbol."):
        client.place(SELL, kind, "1", stop_price="79.00", **fields)


def test_features_that_a_symbol_has_switched_off() -> None:
    plain = Client(rows=[row(icebergAllowed=False, ocoAllowed=False, allowTrailingStop=False)])
    with refused(-2010, "Iceberg orders are not supported for this symbol."):
        plain.limit(BUY, "1", "79.00", iceberg_qty="0.1")
    with refused(-2010, "Trailing stop orders are not supported for this symbol."):
        plain.place(SELL, OrderType.STOP_LOSS, "1", trailing_delta=100)
    with refused(-2010, "OCO orders are not supported for this symbol"):
        plain.engine.place_oco(ME, oco(SELL, "1", "81.00", "79.00", "78.90"), plain.now)


def test_a_self_trade_prevention_mode_that_the_symbol_does_not_allow() -> None:
    client = Client(rows=[row(allowedSelfTradePreventionModes=["NONE"], defaultSelfTradePreventionMode="NONE")])
    with refused(-1013, "This symbol does not allow the specified self-trade prevention mode."):
        client.limit(BUY, "1", "79.00", stp_mode=StpMode.EXPIRE_TAKER)
    assert client.limit(BUY, "1", "79.00").stp_mode is StpMode.NONE


def test_every_bundled_row_is_read() -> None:
    symbols = [Symbol.from_exchange_info(each) for each in bundled_exchange_info()["symbols"]]
    assert [each.name for each in symbols] == [LTC, "BTCUSDT", "ETHUSDT", "BNBUSDT"]
    for each in symbols:
        assert each.order_types == frozenset(OrderType)
        assert each.oco_allowed
        assert each.oto_allowed
        assert each.amend_allowed
        assert each.max_algo_orders == 5


def test_a_row_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"LTCUSDT.*'tickSize'"):
        Symbol.from_exchange_info(row(filters=[{"filterType": "PRICE_FILTER", "minPrice": "1", "maxPrice": "2"}]))
