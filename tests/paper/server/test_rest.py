"""REST, byte by byte: shapes, codes, headers."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from tests.paper.server.exchange_kit import (
    ACCOUNT,
    API_KEY,
    OCO,
    SECRET,
    SYMBOL,
    Rest,
    ed25519_sign,
    hmac_sign,
    public_key,
    rest,
    rsa_sign,
    running,
    symbol_row,
)

from executor.paper.engine.model import SymbolStatus
from executor.paper.server import Credential, HmacSecret, Limits
from executor.paper.server.call import Security
from executor.paper.server.routes import ROUTES

ORDER = "/api/v3/order"
STOP = {
    "symbol": SYMBOL,
    "side": "SELL",
    "type": "STOP_LOSS_LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "stopPrice": "95000",
    "price": "94900",
}

ACK = {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
QUANTITIES = {
    "price",
    "origQty",
    "executedQty",
    "origQuoteOrderQty",
    "cummulativeQuoteQty",
    "status",
    "timeInForce",
    "type",
    "side",
    "selfTradePreventionMode",
}
RESULT = ACK | QUANTITIES | {"workingTime"}
CANCELLED = ACK | QUANTITIES | {"origClientOrderId"}
QUERIED = (RESULT - {"transactTime"}) | {"stopPrice", "icebergQty", "time", "updateTime", "isWorking"}
LIST = {
    "orderListId",
    "contingencyType",
    "listStatusType",
    "listOrderStatus",
    "listClientOrderId",
    "transactionTime",
    "symbol",
    "orders",
}


def refused(answer: Any, client: Rest, code: int, message: str = "", status: int = 400) -> None:
    assert client.status == status, answer
    assert answer["code"] == code, answer
    assert message in answer["msg"], answer


# shapes


async def test_public_answers_have_the_documented_fields() -> None:
    ticker = {
        "symbol", "priceChange", "priceChangePercent", "weightedAvgPrice", "openPrice", "highPrice", "lowPrice",
        "lastPrice", "volume", "quoteVolume", "openTime", "closeTime", "firstId", "lastId", "count",
    }  # fmt: skip
    mini = ticker - {"priceChange", "priceChangePercent", "weightedAvgPrice"}
    full = ticker | {"prevClosePrice", "lastQty", "bidPrice", "bidQty", "askPrice", "askQty"}
    trade = {"id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"}
    async with running() as kit, rest(kit) as client:
        for path, params, keys in (
            ("ping", {}, set[str]()),
            ("time", {}, {"serverTime"}),
            ("depth", {"symbol": SYMBOL, "limit": 5}, {"lastUpdateId", "bids", "asks"}),
            ("avgPrice", {"symbol": SYMBOL}, {"mins", "price", "closeTime"}),
            ("ticker/24hr", {"symbol": SYMBOL}, full),
            ("ticker/24hr", {"symbol": SYMBOL, "type": "MINI"}, mini),
            ("ticker", {"symbol": SYMBOL, "windowSize": "4h"}, ticker),
            ("ticker", {"symbol": SYMBOL, "type": "MINI"}, mini),
            ("ticker/tradingDay", {"symbol": SYMBOL}, ticker),
            ("ticker/price", {"symbol": SYMBOL}, {"symbol", "price"}),
            ("ticker/bookTicker", {"symbol": SYMBOL}, {"symbol", "bidPrice", "bidQty", "askPrice", "askQty"}),
            ("exchangeInfo", {}, {"timezone", "serverTime", "rateLimits", "exchangeFilters", "symbols"}),
            ("executionRules", {}, {"symbolRules"}),
        ):
            answer = await client.public(f"/api/v3/{path}", **params)
            assert client.status == 200, answer
            assert set(answer) == keys, path
        for path, params, row_keys in (
            ("trades", {}, trade),
            ("historicalTrades", {}, trade),
            ("aggTrades", {}, {"a", "p", "q", "f", "l", "T", "m", "M"}),
        ):
            (row,) = await client.public(f"/api/v3/{path}", symbol=SYMBOL, **params)
            assert set(row) == row_keys
        for interval in ("1s", "1m", "15m", "1h", "1d", "3d", "1w", "1M"):
            for path in ("klines", "uiKlines"):
                (bar,) = await client.public(f"/api/v3/{path}", symbol=SYMBOL, interval=interval)
                assert len(bar) == 12
                assert bar[0] <= kit.clock.now_ms() <= bar[6]


async def test_days_begin_where_the_time_zone_says() -> None:
    async with running() as kit, rest(kit) as client:
        for zone, begins_ms in (("0", 0), ("8", 16 * 3_600_000), ("-1:00", 3_600_000), ("05:45", 18.25 * 3_600_000)):
            (bar,) = await client.public("/api/v3/klines", symbol=SYMBOL, interval="1d", timeZone=zone)
            assert (bar[0] - begins_ms) % 86_400_000 == 0, zone
            assert bar[0] <= kit.clock.now_ms() <= bar[6] == bar[0] + 86_400_000 - 1
        for zone in ("-12:15", "14:15", "5:07", "x", "+"):
            refused(await client.public("/api/v3/klines", symbol=SYMBOL, interval="1d", timeZone=zone), client, -1130)


async def test_times_may_be_sent_in_microseconds() -> None:
    """rest-api.md, "General API Information"."""
    async with running() as kit, rest(kit) as client:
        kit.advance(60_000)
        kit.trade("100002")
        now_ms = kit.clock.now_ms()
        for start in (now_ms, now_ms * 1000):
            rows = await client.public("/api/v3/aggTrades", symbol=SYMBOL, startTime=start)
            assert [row["p"] for row in rows] == ["100002.00000000"]


async def test_a_symbol_is_found_by_its_permissions() -> None:
    async with running() as kit, rest(kit) as client:
        every = await client.public("/api/v3/exchangeInfo")
        for permissions, shown in (("SPOT", True), ('["MARGIN","SPOT"]', True), ('["LEVERAGED"]', False)):
            found = await client.public("/api/v3/exchangeInfo", permissions=permissions)
            assert found["symbols"] == (every["symbols"] if shown else []), permissions
        refused(await client.public("/api/v3/exchangeInfo", permissions="spot"), client, -1100)


async def test_what_no_symbol_has_is_refused_or_empty() -> None:
    async with running() as kit, rest(kit) as client:
        assert await client.public("/api/v3/historicalBlockTrades", symbol=SYMBOL, fromId=1) == []
        order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.1"}
        refused(await client.signed("POST", "/api/v3/sor/order", **order), client, -1020)
        refused(await client.signed("POST", "/api/v3/sor/order/test", **order), client, -1020)
        answer = await client.raw("GET", "/api/v3/time", headers={"X-MBX-TIME-UNIT": "FOO"})
        refused(answer, client, -1194)


async def test_seconds_are_made_of_trades_and_repeat_the_close_where_there_are_none() -> None:
    async with running() as kit, rest(kit) as client:
        kit.trade("100002", "0.5", buyer_is_maker=False)
        kit.trade("99998", "0.25")
        kit.advance(2_500)
        bars = await client.public("/api/v3/klines", symbol=SYMBOL, interval="1s", limit=3)
        assert [bar[1:6] for bar in bars] == [
            ["100000.00000000", "100002.00000000", "99998.00000000", "99998.00000000", "1.75000000"],
            ["99998.00000000"] * 4 + ["0.00000000"],
            ["99998.00000000"] * 4 + ["0.00000000"],
        ]
        assert [bar[8] for bar in bars] == [3, 0, 0]
        assert bars[0][9] == "0.50000000"
        later = await client.public("/api/v3/klines", symbol=SYMBOL, interval="1s", startTime=bars[1][0])
        assert later == bars[1:]


async def test_exchange_info_shows_the_rows_it_was_given() -> None:
    async with running() as kit, rest(kit) as client:
        everything = await client.public("/api/v3/exchangeInfo")
        assert [row["symbol"] for row in everything["symbols"]] == [SYMBOL, "ETHUSDT"]
        assert everything["symbols"][0] == symbol_row()
        assert everything["rateLimits"] == kit.limits.announce()
        one = await client.public("/api/v3/exchangeInfo", symbol="ETHUSDT")
        assert [row["symbol"] for row in one["symbols"]] == ["ETHUSDT"]
        two = await client.public("/api/v3/exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]')
        assert len(two["symbols"]) == 2
        kit.engine.set_symbol_status("ETHUSDT", SymbolStatus.HALT)
        halted = await client.public("/api/v3/exchangeInfo", symbolStatus="HALT")
        assert [(row["symbol"], row["status"]) for row in halted["symbols"]] == [("ETHUSDT", "HALT")]
        refused(await client.public("/api/v3/exchangeInfo", symbol=SYMBOL, symbolStatus="HALT"), client, -1128)
        refused(await client.public("/api/v3/depth", symbol=SYMBOL, symbolStatus="HALT"), client, -1220)


@pytest.mark.parametrize(
    ("order_type", "how", "keys"),
    [
        ("LIMIT", None, RESULT | {"fills"}),
        ("LIMIT", "ACK", ACK),
        ("LIMIT", "RESULT", RESULT),
        ("MARKET", None, RESULT | {"fills"}),
        ("LIMIT_MAKER", None, ACK),
        ("STOP_LOSS_LIMIT", None, ACK),
        ("STOP_LOSS_LIMIT", "RESULT", RESULT | {"stopPrice"}),
        ("STOP_LOSS_LIMIT", "FULL", RESULT | {"stopPrice", "fills"}),
    ],
)
async def test_a_placement_answers_as_much_as_asked(order_type: str, how: str | None, keys: set[str]) -> None:
    orders: dict[str, dict[str, str]] = {
        "LIMIT": {"side": "BUY", "timeInForce": "GTC", "price": "90000"},
        "MARKET": {"side": "BUY"},
        "LIMIT_MAKER": {"side": "BUY", "price": "90000"},
        "STOP_LOSS_LIMIT": STOP,
    }
    async with running() as kit, rest(kit) as client:
        order = {"symbol": SYMBOL, "quantity": "0.01", **orders[order_type], "type": order_type}
        answer = await client.post(ORDER, **order, newOrderRespType=how)
        assert client.status == 200, answer
        assert set(answer) == keys


async def test_a_market_order_shows_its_fills() -> None:
    async with running() as kit, rest(kit) as client:
        filled = await client.post(ORDER, symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
        assert set(filled["fills"][0]) == {"price", "qty", "commission", "commissionAsset", "tradeId"}
        (trade,) = await client.get("/api/v3/myTrades", symbol=SYMBOL, orderId=filled["orderId"])
        assert set(trade) == {
            "symbol", "id", "orderId", "orderListId", "price", "qty", "quoteQty", "commission",
            "commissionAsset", "time", "isBuyer", "isMaker", "isBestMatch",
        }  # fmt: skip


async def test_queries_and_cancels_have_the_documented_fields() -> None:
    async with running() as kit, rest(kit) as client:
        placed = await client.limit(newClientOrderId="mine", strategyId=7, strategyType=1_000_001)
        shown = await client.get(ORDER, symbol=SYMBOL, orderId=placed["orderId"])
        assert set(shown) == QUERIED | {"strategyId", "strategyType"}
        assert await client.get("/api/v3/openOrders") == [shown]
        assert await client.get("/api/v3/allOrders", symbol=SYMBOL) == [shown]
        gone = await client.delete(ORDER, symbol=SYMBOL, origClientOrderId="mine", newClientOrderId="cancel")
        assert set(gone) == CANCELLED | {"strategyId", "strategyType"}
        assert (gone["origClientOrderId"], gone["clientOrderId"], gone["status"]) == ("mine", "cancel", "CANCELED")


async def test_lists_have_the_documented_fields() -> None:
    async with running() as kit, rest(kit) as client:
        placed = await client.post("/api/v3/orderList/oco", **OCO, listClientOrderId="list")
        assert set(placed) == LIST | {"orderReports"}
        by_type = {r["type"]: set(r) for r in placed["orderReports"]}
        assert by_type == {"LIMIT_MAKER": RESULT, "STOP_LOSS_LIMIT": RESULT | {"stopPrice"}}
        shown = await client.get("/api/v3/orderList", orderListId=placed["orderListId"])
        assert set(shown) == LIST
        assert await client.get("/api/v3/openOrderList") == [shown]
        assert await client.get("/api/v3/allOrderList") == [shown]
        gone = await client.delete(ORDER, symbol=SYMBOL, orderId=placed["orders"][0]["orderId"])
        assert set(gone) == LIST | {"orderReports"}
        assert all("origClientOrderId" in r for r in gone["orderReports"])
        assert await client.get("/api/v3/openOrderList") == []


async def test_the_older_form_of_an_oco_is_understood() -> None:
    order = {"symbol": SYMBOL, "quantity": "0.01", "stopLimitTimeInForce": "GTC"}
    async with running() as kit, rest(kit) as client:
        sell = await client.post(
            "/api/v3/order/oco", side="SELL", price="110000", stopPrice="95000", stopLimitPrice="94900", **order
        )
        buy = await client.post(
            "/api/v3/order/oco", side="BUY", price="90000", stopPrice="105000", stopLimitPrice="105100", **order
        )
        for answer in (sell, buy):
            assert {r["type"] for r in answer["orderReports"]} == {"LIMIT_MAKER", "STOP_LOSS_LIMIT"}, answer
        missing = await client.post("/api/v3/order/oco", side="SELL", price="110000", symbol=SYMBOL, quantity="1")
        refused(missing, client, -1102, "stopPrice")


async def test_cancelling_everything_lists_orders_and_lists() -> None:
    async with running() as kit, rest(kit) as client:
        await client.limit()
        await client.post("/api/v3/orderList/oco", **OCO)
        gone = await client.delete("/api/v3/openOrders", symbol=SYMBOL)
        assert sorted("orderReports" in row for row in gone) == [False, True]
        refused(await client.delete("/api/v3/openOrders", symbol=SYMBOL), client, -2011)


async def test_amends_and_their_history() -> None:
    async with running() as kit, rest(kit) as client:
        placed = await client.limit(quantity="0.002", newClientOrderId="a")
        amended = await client.put(
            "/api/v3/order/amend/keepPriority", symbol=SYMBOL, origClientOrderId="a", newQty="0.001"
        )
        order = amended["amendedOrder"]
        assert set(amended) == {"transactTime", "executionId", "amendedOrder"}
        assert (order["orderId"], order["origClientOrderId"], order["qty"]) == (placed["orderId"], "a", "0.00100000")
        (row,) = await client.get("/api/v3/order/amendments", symbol=SYMBOL, orderId=placed["orderId"])
        assert set(row) == {
            "symbol", "orderId", "executionId", "origClientOrderId", "newClientOrderId", "origQty", "newQty", "time",
        }  # fmt: skip
        more = await client.put(
            "/api/v3/order/amend/keepPriority", symbol=SYMBOL, orderId=placed["orderId"], newQty="0.005"
        )
        refused(more, client, -2038, "Order amend (quantity increase) is not supported.")


async def test_an_amendment_costs_weight_unless_it_ends_its_order() -> None:
    """CHANGELOG.md of the documents, 2026-04-02."""
    async with running() as kit, rest(kit) as client:
        placed = await client.limit(quantity="0.003", price="100000")
        kit.trade("99999", "0.001")
        amend = {"symbol": SYMBOL, "orderId": placed["orderId"]}

        async def used() -> int:
            await client.public("/api/v3/ping")
            return int(client.headers["X-MBX-USED-WEIGHT-1M"]) - 1

        before = await used()
        executed = (await client.get("/api/v3/order", **amend))["executedQty"]
        shrunk = await client.put("/api/v3/order/amend/keepPriority", **amend, newQty="0.002")
        assert shrunk["amendedOrder"]["status"] == "PARTIALLY_FILLED"
        ended = await client.put("/api/v3/order/amend/keepPriority", **amend, newQty=executed)
        assert ended["amendedOrder"]["status"] == "EXPIRED"
        assert await used() - before == 4 + 4 + 1  # the query, one amendment, the ping between


async def test_an_iceberg_shows_no_more_than_an_amendment_leaves_of_it() -> None:
    async with running() as kit, rest(kit) as client:
        placed = await client.limit(quantity="0.002", icebergQty="0.001")
        which = {"symbol": SYMBOL, "orderId": placed["orderId"]}
        await client.put("/api/v3/order/amend/keepPriority", **which, newQty="0.0005")
        order = await client.get("/api/v3/order", **which)
        assert (order["origQty"], order["icebergQty"]) == ("0.00050000", "0.00050000")


async def test_an_account_shows_balances_and_rates() -> None:
    async with running(balances={"USDT": "10", "BTC": "0"}) as kit, rest(kit) as client:
        account = await client.get("/api/v3/account")
        assert set(account) == {
            "makerCommission", "takerCommission", "buyerCommission", "sellerCommission", "commissionRates",
            "canTrade", "canWithdraw", "canDeposit", "brokered", "requireSelfTradePrevention", "preventSor",
            "updateTime", "accountType", "balances", "permissions", "uid",
        }  # fmt: skip
        some = await client.get("/api/v3/account", omitZeroBalances="true")
        assert some["balances"] == [{"asset": "USDT", "free": "10.00000000", "locked": "0.00000000"}]
        rates = await client.get("/api/v3/account/commission", symbol=SYMBOL)
        assert set(rates) == {"symbol", "standardCommission", "specialCommission", "taxCommission", "discount"}
        filters = await client.get("/api/v3/myFilters", symbol=SYMBOL)
        assert filters["symbolFilters"] == symbol_row()["filters"]
        assert await client.get("/api/v3/myPreventedMatches", symbol=SYMBOL, orderId=1) == []
        assert await client.get("/api/v3/myAllocations", symbol=SYMBOL) == []


async def test_a_test_order_changes_nothing() -> None:
    async with running() as kit, rest(kit) as client:
        order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        assert await client.post("/api/v3/order/test", **order) == {}
        rates = await client.post("/api/v3/order/test", **order, computeCommissionRates="true")
        assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
        assert await client.get("/api/v3/allOrders", symbol=SYMBOL) == []


# refusals


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"symbol": None}, -1102, "'symbol'"),
        ({"symbol": ""}, -1105, "'symbol'"),
        ({"symbol": "btcusdt"}, -1100, "'symbol'"),
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"side": None}, -1102, "'side'"),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "ICEBERG"}, -1116, "Invalid orderType."),
        ({"timeInForce": "DAY"}, -1115, "Invalid timeInForce."),
        ({"timeInForce": None}, -1102, "'timeInForce'"),
        ({"price": None}, -1102, "'price'"),
        ({"quantity": None}, -1102, "'quantity'"),
        ({"price": "1e5"}, -1100, "'price'"),
        ({"quantity": "-1"}, -1100, "'quantity'"),
        ({"stopPrice": "95000"}, -1106, "'stopPrice'"),
        ({"newOrderRespType": "ALL"}, -1130, "'newOrderRespType'"),
        ({"newClientOrderId": "two words"}, -1100, "'newClientOrderId'"),
        ({"newClientOrderId": ""}, -1105, "'newClientOrderId'"),
        ({"strategyType": "1"}, -1134, "strategyType"),
        ({"pegPriceType": "PRIMARY_PEG"}, -2010, "Pegged orders are not supported for this symbol."),
        ({"colour": "red"}, -1104, "read '8' parameter(s) but was sent '9'"),
        ({"price": "90000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ({"price": "1000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"price": "90000.123456789"}, -1111, "'price' has too much precision"),
        ({"quantity": "5"}, -2010, "Account has insufficient balance for requested action."),
        ({"type": "LIMIT_MAKER", "timeInForce": None, "price": "100500"}, -2010, "immediately match and take"),
        ({"type": "MARKET", "timeInForce": None}, -1106, "'price'"),
        ({"type": "MARKET", "timeInForce": None, "price": None, "quantity": None}, -1102, "quantity"),
        ({"type": "STOP_LOSS_LIMIT"}, -1102, "stopPrice"),
        ({"type": "STOP_LOSS_LIMIT", "stopPrice": "99000"}, -2010, "Order would trigger immediately."),
    ],
)
async def test_an_order_that_is_wrong_is_refused_in_binances_words(
    changes: dict[str, str | None], code: int, message: str
) -> None:
    order = {
        "symbol": SYMBOL,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "90000",
        "quantity": "0.001",
    }
    async with running() as kit, rest(kit) as client:
        refused(await client.post(ORDER, **{**order, **changes}), client, code, message)
        assert await client.get("/api/v3/openOrders") == []
        if code != -2010:  # what only the matching engine refuses, a test order does not meet
            refused(await client.post("/api/v3/order/test", **{**order, **changes}), client, code, message)


async def test_orders_that_do_not_exist() -> None:
    async with running() as kit, rest(kit) as client:
        mine = await client.limit(newClientOrderId="mine")
        refused(await client.get(ORDER, symbol=SYMBOL, orderId=99), client, -2013, "Order does not exist.")
        refused(await client.get(ORDER, symbol=SYMBOL), client, -1102, "'origClientOrderId' or 'orderId'")
        both = await client.get(ORDER, symbol=SYMBOL, orderId=mine["orderId"], origClientOrderId="other")
        refused(both, client, -2039)
        refused(await client.delete(ORDER, symbol=SYMBOL, orderId=99), client, -2011, "Unknown order sent.")
        kept = await client.delete(
            ORDER, symbol=SYMBOL, orderId=mine["orderId"], cancelRestrictions="ONLY_PARTIALLY_FILLED"
        )
        refused(kept, client, -2011, "Order was not canceled due to cancel restrictions.")
        wrong = await client.delete(ORDER, symbol=SYMBOL, orderId=mine["orderId"], cancelRestrictions="NEVER")
        refused(wrong, client, -1145)
        refused(await client.limit(newClientOrderId="mine"), client, -2010, "Duplicate order sent.")
        refused(await client.get("/api/v3/orderList", orderListId=9), client, -2018)
        gone = await client.delete("/api/v3/orderList", symbol=SYMBOL, orderListId=9)
        refused(gone, client, -2011, "Unknown order list sent.")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aboveType": "STOP_LOSS", "abovePrice": None, "aboveStopPrice": "110000"}, -1197),
        ({"belowType": "LIMIT_MAKER", "belowStopPrice": None, "belowTimeInForce": None}, -1168),
        ({"aboveType": "LIMIT"}, -1158),
        ({"aboveType": None}, -1102),
        ({"abovePrice": "99000"}, -2010),
        ({"belowStopPrice": "101000"}, -2010),
    ],
)
async def test_an_oco_that_is_wrong_is_refused(changes: dict[str, str | None], code: int) -> None:
    async with running() as kit, rest(kit) as client:
        refused(await client.post("/api/v3/orderList/oco", **{**OCO, **changes}), client, code)
        assert await client.get("/api/v3/openOrderList") == []


async def test_a_pending_quantity_has_no_place_in_an_opo() -> None:
    async with running() as kit, rest(kit) as client:
        answer = await client.post(
            "/api/v3/orderList/opo",
            symbol=SYMBOL,
            workingType="LIMIT",
            workingSide="BUY",
            workingPrice="90000",
            workingQuantity="0.01",
            workingTimeInForce="GTC",
            pendingType="MARKET",
            pendingSide="SELL",
            pendingQuantity="0.01",
        )
        refused(answer, client, -1225)


async def test_periods_and_lists_of_symbols_are_checked() -> None:
    day = 24 * 3600 * 1000
    async with running() as kit, rest(kit) as client:
        refused(await client.get("/api/v3/allOrders", symbol=SYMBOL, startTime=0, endTime=day + 1), client, -1127)
        refused(await client.get("/api/v3/myTrades", symbol=SYMBOL, fromId=1, startTime=1), client, -1128)
        refused(await client.get("/api/v3/allOrderList", fromId=1, startTime=1), client, -1128)
        refused(await client.public("/api/v3/ticker/price", symbols='["A","A"]'), client, -1151)
        refused(await client.public("/api/v3/ticker/price", symbol="A", symbols='["A"]'), client, -1128)
        refused(await client.public("/api/v3/ticker"), client, -1102)
        refused(await client.public("/api/v3/ticker", symbol=SYMBOL, windowSize="8d"), client, -1130)
        refused(await client.public("/api/v3/ticker/24hr", type="HUGE"), client, -1139)
        refused(await client.public("/api/v3/klines", symbol=SYMBOL, interval="7m"), client, -1120)
        refused(await client.public("/api/v3/klines", symbol=SYMBOL, interval="1m", timeZone="15"), client, -1130)
        refused(await client.public("/api/v3/referencePrice", symbol=SYMBOL), client, -2043)


async def test_a_halted_symbol_refuses_orders() -> None:
    async with running() as kit, rest(kit) as client:
        kit.engine.set_symbol_status(SYMBOL, SymbolStatus.HALT)
        refused(await client.limit(), client, -2010, "Market is closed.")


# security


async def test_every_kind_of_key_signs_queries_and_bodies() -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ed_key = ed25519.Ed25519PrivateKey.generate()
    keys = {
        "hmac": Credential(ACCOUNT, HmacSecret("secret")),
        "rsa": Credential(ACCOUNT, public_key(rsa_key)),
        "ed": Credential(ACCOUNT, public_key(ed_key)),
    }
    signers = {"hmac": hmac_sign("secret"), "rsa": rsa_sign(rsa_key), "ed": ed25519_sign(ed_key)}
    async with running(keys=keys) as kit:
        for name, sign in signers.items():
            async with rest(kit, name, sign) as client:
                assert (await client.limit())["status"] == "NEW"
                query = client.signed_query(symbol=SYMBOL)
                gone = await client.raw("DELETE", "/api/v3/openOrders", headers={"X-MBX-APIKEY": name}, body=query)
                assert client.status == 200, gone
                wrong = await client.raw("GET", f"/api/v3/account?{query}x", headers={"X-MBX-APIKEY": name})
                refused(wrong, client, -1022, "Signature for this request is not valid.")


async def test_query_and_body_are_signed_together_and_the_query_wins() -> None:
    async with running() as kit, rest(kit) as client:
        now = kit.clock.now_ms()
        query = f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC&price=90000"
        body = f"quantity=0.001&price=1&timestamp={now}"
        signature = client.sign((query + body).encode())
        placed = await client.raw(
            "POST", f"{ORDER}?{query}", headers={"X-MBX-APIKEY": API_KEY}, body=f"{body}&signature={signature}"
        )
        assert placed["price"] == "90000.00000000", placed


async def test_keys_are_checked_before_anything_else() -> None:
    keys = {
        API_KEY: Credential(ACCOUNT, HmacSecret(SECRET)),
        "reader": Credential(ACCOUNT, HmacSecret(SECRET), can_trade=False),
    }
    async with running(keys=keys) as kit, rest(kit) as client:
        none = await client.raw("GET", f"/api/v3/account?{client.signed_query()}", headers={})
        refused(none, client, -2014, "API-key format invalid.", 401)
        client.key = "stranger"
        refused(await client.get("/api/v3/account"), client, -2015, status=401)
        client.key = "reader"
        assert (await client.get("/api/v3/account"))["canTrade"]
        refused(await client.limit(), client, -2015, status=401)


async def test_the_clock_is_checked() -> None:
    async with running() as kit, rest(kit) as client:
        now = kit.clock.now_ms()
        for stamp, window, message in (
            (now - 5001, None, "outside of the recvWindow"),
            (now - 101, 100, "outside of the recvWindow"),
            (now + 1000, None, "1000ms ahead"),
        ):
            answer = await client.get("/api/v3/account", timestamp=stamp, recvWindow=window)
            refused(answer, client, -1021, message)
        for stamp, window in ((now - 5000, None), (now + 999, None), (now - 60000, 60000), (now * 1000, None)):
            await client.get("/api/v3/account", timestamp=stamp, recvWindow=window)
            assert client.status == 200
        too_wide = await client.get("/api/v3/account", recvWindow=60001)
        refused(too_wide, client, -1102, "'recvWindow' contains unexpected value. Cannot be greater than 60000.")
        refused(await client.get("/api/v3/account", timestamp=""), client, -1102, "'timestamp'")


async def test_no_endpoint_acts_on_a_request_with_an_unknown_parameter() -> None:
    """The parameters are checked to the last before anything is done."""
    async with running(limits=Limits(request_weight_per_minute=10**6)) as kit, rest(kit) as client:
        for route in ROUTES:
            if route.security is Security.NONE:
                answer = await client.public(route.path, colour="red")
            else:
                answer = await client.signed(route.verb, route.path, colour="red")
            assert client.status == 400, route.path
            sent = 3 if route.security.signed else 1
            wanted = (-1101,) if route.parameters is not None and route.parameters < sent else (-1102, -1104)
            assert answer["code"] in wanted, (route.path, answer)


async def test_paths_that_do_not_exist_are_not_found() -> None:
    async with running() as kit, rest(kit) as client:
        assert "404" in await client.public("/api/v3/nothing")
        assert client.status == 404
        await client.raw("POST", "/api/v3/time", headers={})
        assert client.status == 404


async def test_microseconds_are_refused_rather_than_ignored() -> None:
    async with running() as kit, rest(kit) as client:
        answer = await client.raw("GET", "/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
        refused(answer, client, -1020)


# limits


async def test_weights_are_charged_as_documented() -> None:
    async with running() as kit, rest(kit) as client:

        async def cost(verb: str, path: str, **params: Any) -> int:
            before = kit.server._exchange.meter.used(kit.clock.now_ms())
            if verb == "PUBLIC":
                await client.public(f"/api/v3/{path}", **params)
            else:
                await client.signed(verb, f"/api/v3/{path}", **params)
            assert client.status == 200, (path, client.status)
            return int(client.headers["X-MBX-USED-WEIGHT-1M"]) - before

        symbol = {"symbol": SYMBOL}
        placed = await client.limit()
        for weight, verb, path, params in (
            (1, "PUBLIC", "ping", {}),
            (20, "PUBLIC", "exchangeInfo", {}),
            (5, "PUBLIC", "depth", symbol),
            (25, "PUBLIC", "depth", {**symbol, "limit": 500}),
            (50, "PUBLIC", "depth", {**symbol, "limit": 1000}),
            (250, "PUBLIC", "depth", {**symbol, "limit": 5000}),
            (25, "PUBLIC", "trades", symbol),
            (4, "PUBLIC", "aggTrades", symbol),
            (2, "PUBLIC", "klines", {**symbol, "interval": "1m"}),
            (2, "PUBLIC", "ticker/24hr", symbol),
            (80, "PUBLIC", "ticker/24hr", {}),
            (2, "PUBLIC", "ticker/24hr", {"symbols": '["BTCUSDT","ETHUSDT"]'}),
            (4, "PUBLIC", "ticker", symbol),
            (8, "PUBLIC", "ticker", {"symbols": '["BTCUSDT","ETHUSDT"]'}),
            (2, "PUBLIC", "ticker/price", symbol),
            (4, "PUBLIC", "ticker/price", {}),
            (2, "PUBLIC", "ticker/bookTicker", symbol),
            (4, "GET", "order", {**symbol, "orderId": placed["orderId"]}),
            (6, "GET", "openOrders", symbol),
            (80, "GET", "openOrders", {}),
            (20, "GET", "allOrders", symbol),
            (20, "GET", "myTrades", symbol),
            (5, "GET", "myTrades", {**symbol, "orderId": 1}),
            (20, "GET", "account", {}),
            (20, "GET", "account/commission", symbol),
            (40, "GET", "rateLimit/order", {}),
            (40, "GET", "myFilters", symbol),
            (6, "GET", "openOrderList", {}),
            (20, "GET", "allOrderList", {}),
            (0, "DELETE", "order", {**symbol, "orderId": placed["orderId"]}),
            (0, "POST", "orderList/oco", OCO),
            (0, "DELETE", "openOrders", symbol),
            (1, "POST", "order/test", {**symbol, "side": "BUY", "type": "MARKET", "quantity": "0.1"}),
        ):
            assert await cost(verb, path, **params) == weight, (verb, path, params)


async def test_a_refused_order_costs_its_weight() -> None:
    async with running() as kit, rest(kit) as client:
        await client.limit()
        assert client.headers["X-MBX-USED-WEIGHT-1M"] == "0"
        assert (client.headers["X-MBX-ORDER-COUNT-10S"], client.headers["X-MBX-ORDER-COUNT-1D"]) == ("1", "1")
        await client.limit(quantity="5")
        assert client.headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_beyond_the_weight_429_and_then_a_ban() -> None:
    async with running(limits=Limits(request_weight_per_minute=10, refusals_before_ban=2)) as kit, rest(kit) as client:
        for _ in range(10):
            await client.public("/api/v3/ping")
        assert client.headers["X-MBX-USED-WEIGHT-1M"] == "10"
        answer = await client.public("/api/v3/ping")
        refused(answer, client, -1003, status=429)
        left = 60 - kit.clock.now_ms() % 60_000 / 1000
        assert 0 <= int(client.headers["Retry-After"]) - left < 1
        await client.public("/api/v3/ping")
        banned = await client.public("/api/v3/ping")
        refused(banned, client, -1003, "IP banned until", 418)
        assert client.headers["Retry-After"] == "120"
        kit.advance(120_000)
        assert await client.public("/api/v3/ping") == {}


async def test_too_many_unfilled_orders_are_429_until_the_window_ends() -> None:
    async with running(limits=Limits(orders_per_10_seconds=2)) as kit, rest(kit) as client:
        await client.limit()
        await client.limit()
        answer = await client.limit()
        refused(answer, client, -1015, "current limit is 2 orders per 10 SECOND", 429)
        assert 1 <= int(client.headers["Retry-After"]) <= 10
        kit.advance(10_000)
        assert (await client.limit())["status"] == "NEW"
        assert client.headers["X-MBX-ORDER-COUNT-1D"] == "3"
        rows = await client.get("/api/v3/rateLimit/order")
        assert [(row["interval"], row["count"]) for row in rows] == [("SECOND", 1), ("DAY", 3)]


# cancel-replace


@pytest.mark.parametrize(
    ("mode", "cancel_id", "price", "status", "code", "results"),
    [
        ("STOP_ON_FAILURE", "open", "91000", 200, None, ("SUCCESS", "SUCCESS")),
        ("STOP_ON_FAILURE", "gone", "91000", 400, -2022, ("FAILURE", "NOT_ATTEMPTED")),
        ("ALLOW_FAILURE", "gone", "91000", 409, -2021, ("FAILURE", "SUCCESS")),
        ("ALLOW_FAILURE", "gone", "101000", 400, -2022, ("FAILURE", "FAILURE")),
        ("STOP_ON_FAILURE", "open", "101000", 409, -2021, ("SUCCESS", "FAILURE")),
    ],
)
async def test_the_outcomes_of_cancel_replace(
    *, mode: str, cancel_id: str, price: str, status: int, code: int | None, results: tuple[str, str]
) -> None:
    async with running() as kit, rest(kit) as client:
        await client.limit(newClientOrderId="open")
        answer = await client.post(
            "/api/v3/order/cancelReplace",
            symbol=SYMBOL,
            side="BUY",
            type="LIMIT_MAKER",
            quantity="0.001",
            price=price,
            cancelReplaceMode=mode,
            cancelOrigClientOrderId=cancel_id,
            newClientOrderId="new",
        )
        assert client.status == status, answer
        assert answer.get("code") == code
        data = answer if code is None else answer["data"]
        assert (data["cancelResult"], data["newOrderResult"]) == results
        assert (data["newOrderResponse"] is None) == (results[1] == "NOT_ATTEMPTED")
        for half, result in zip(("cancelResponse", "newOrderResponse"), results, strict=True):
            if data[half] is not None:
                assert ("code" in data[half]) == (result == "FAILURE")
