"""python-binance, with only its addresses changed, trades on the paper exchange."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from tests.paper.server.exchange_kit import API_KEY, SECRET, SYMBOL, Kit, running

from executor.paper.replay.clock import WallClock

SOON = 0.5
"""Seconds after which its sockets look up from reading; leaving one waits as long."""


@asynccontextmanager
async def client() -> AsyncIterator[tuple[Kit, Any]]:
    async with running(clock=WallClock()) as kit:

        class Local(AsyncClient):  # type: ignore[misc]
            API_URL = kit.urls.rest_url
            MARGIN_API_URL = kit.urls.base_url + "/sapi"
            WS_API_URL = kit.urls.ws_api_url

        local = await Local.create(API_KEY, SECRET)
        local.ws_api.TIMEOUT = SOON
        try:
            yield kit, local
        finally:
            await local.close_connection()


async def test_a_limit_order_lives_and_dies() -> None:
    async with client() as (_, c):
        placed = await c.order_limit_buy(symbol=SYMBOL, quantity="0.001", price="90000", newClientOrderId="mine")
        assert (placed["status"], placed["clientOrderId"]) == ("NEW", "mine")
        assert (await c.get_order(symbol=SYMBOL, orderId=placed["orderId"]))["status"] == "NEW"
        assert [o["orderId"] for o in await c.get_open_orders(symbol=SYMBOL)] == [placed["orderId"]]
        cancelled = await c.cancel_order(symbol=SYMBOL, origClientOrderId="mine")
        assert (cancelled["status"], cancelled["origClientOrderId"]) == ("CANCELED", "mine")
        assert await c.get_open_orders() == []
        assert [o["status"] for o in await c.get_all_orders(symbol=SYMBOL)] == ["CANCELED"]


async def test_a_market_order_fills_and_shows_in_balances_and_trades() -> None:
    async with client() as (_, c):
        filled = await c.order_market_buy(symbol=SYMBOL, quantity="0.01")
        assert filled["status"] == "FILLED"
        (trade,) = await c.get_my_trades(symbol=SYMBOL)
        assert (trade["orderId"], trade["qty"]) == (filled["orderId"], "0.01000000")
        assert filled["fills"][0]["commission"] == trade["commission"] == "0.00001000"
        assert (await c.get_asset_balance("BTC"))["free"] == "1.00999000"


async def test_a_stop_limit_order_rests_until_it_is_cancelled() -> None:
    async with client() as (_, c):
        stop = await c.create_order(
            symbol=SYMBOL,
            side="SELL",
            type="STOP_LOSS_LIMIT",
            timeInForce="GTC",
            quantity="0.01",
            stopPrice="95000",
            price="94900",
            newClientOrderId="stop",
        )
        assert set(stop) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
        shown = await c.get_order(symbol=SYMBOL, origClientOrderId="stop")
        assert (shown["stopPrice"], shown["isWorking"]) == ("95000.00000000", False)
        assert (await c.cancel_order(symbol=SYMBOL, orderId=stop["orderId"]))["type"] == "STOP_LOSS_LIMIT"


async def test_an_oco_is_placed_listed_and_cancelled() -> None:
    async with client() as (_, c):
        oco = await c.create_oco_order(
            symbol=SYMBOL,
            side="SELL",
            quantity="0.01",
            listClientOrderId="list",
            aboveType="LIMIT_MAKER",
            abovePrice="110000",
            belowType="STOP_LOSS_LIMIT",
            belowStopPrice="95000",
            belowPrice="94900",
            belowTimeInForce="GTC",
        )
        assert {r["type"] for r in oco["orderReports"]} == {"LIMIT_MAKER", "STOP_LOSS_LIMIT"}
        assert (await c.v3_get_order_list(origClientOrderId="list"))["orderListId"] == oco["orderListId"]
        assert [row["listClientOrderId"] for row in await c.get_open_oco_orders()] == ["list"]
        gone = await c.v3_delete_order_list(symbol=SYMBOL, orderListId=oco["orderListId"])
        assert gone["listOrderStatus"] == "ALL_DONE"
        assert {r["status"] for r in gone["orderReports"]} == {"CANCELED"}
        assert await c.get_open_orders(symbol=SYMBOL) == []


async def test_cancel_replace_and_amend() -> None:
    async with client() as (_, c):
        old = await c.order_limit_buy(symbol=SYMBOL, quantity="0.001", price="90000")
        replaced = await c.cancel_replace_order(
            symbol=SYMBOL,
            side="BUY",
            type="LIMIT",
            timeInForce="GTC",
            quantity="0.001",
            price="91000",
            cancelReplaceMode="STOP_ON_FAILURE",
            cancelOrderId=old["orderId"],
            newClientOrderId="new",
        )
        assert (replaced["cancelResult"], replaced["newOrderResult"]) == ("SUCCESS", "SUCCESS")
        amended = await c._put(
            "order/amend/keepPriority",
            signed=True,
            data={"symbol": SYMBOL, "origClientOrderId": "new", "newQty": "0.0005", "newClientOrderId": "new"},
        )
        assert (amended["amendedOrder"]["qty"], amended["amendedOrder"]["clientOrderId"]) == ("0.00050000", "new")
        with pytest.raises(BinanceAPIException) as caught:
            await c.cancel_replace_order(
                symbol=SYMBOL,
                side="BUY",
                type="LIMIT",
                timeInForce="GTC",
                quantity="0.001",
                price="92000",
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrderId=old["orderId"],
            )
        assert (caught.value.status_code, caught.value.code) == (400, -2022)
        data = json.loads(await caught.value.response.text())["data"]
        assert (data["cancelResult"], data["newOrderResult"]) == ("FAILURE", "NOT_ATTEMPTED")
        assert data["cancelResponse"]["code"] == -2011
        assert data["newOrderResponse"] is None


async def test_otoco_opo_and_opoco_lists() -> None:
    async with client() as (_, c):
        working = {
            "symbol": SYMBOL,
            "workingType": "LIMIT",
            "workingSide": "BUY",
            "workingPrice": "90000",
            "workingQuantity": "0.01",
            "workingTimeInForce": "GTC",
        }
        pair = {
            "pendingSide": "SELL",
            "pendingAboveType": "LIMIT_MAKER",
            "pendingAbovePrice": "110000",
            "pendingBelowType": "STOP_LOSS",
            "pendingBelowStopPrice": "80000",
        }
        otoco = await c.v3_post_order_list_otoco(**working, **pair, pendingQuantity="0.01")
        assert [r["status"] for r in otoco["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
        opoco = await c._post("orderList/opoco", signed=True, data={**working, **pair})
        assert ["origQty" in r for r in opoco["orderReports"]] == [True, False, False]
        opo = await c._post(
            "orderList/opo",
            signed=True,
            data={
                **working,
                "pendingType": "LIMIT",
                "pendingSide": "SELL",
                "pendingPrice": "110000",
                "pendingTimeInForce": "GTC",
            },
        )
        assert [r["status"] for r in opo["orderReports"]] == ["NEW", "PENDING_NEW"]
        assert len(await c.v3_get_all_order_list()) == 3


async def test_a_bracket_whose_exits_come_when_the_entry_fills() -> None:
    async with client() as (kit, c):
        await c.v3_post_order_list_otoco(
            symbol=SYMBOL,
            workingType="LIMIT",
            workingSide="BUY",
            workingPrice="99000",
            workingQuantity="0.01",
            workingTimeInForce="GTC",
            pendingSide="SELL",
            pendingQuantity="0.009",
            pendingAboveType="LIMIT_MAKER",
            pendingAbovePrice="110000",
            pendingBelowType="STOP_LOSS",
            pendingBelowStopPrice="95000",
        )
        kit.trade("99000")
        assert [order["status"] for order in await c.get_open_orders(symbol=SYMBOL)] == ["NEW", "NEW"]
        kit.trade("94000")
        assert [order["status"] for order in await c.get_all_orders(symbol=SYMBOL)] == ["FILLED", "FILLED", "EXPIRED"]


async def test_the_user_stream_and_the_websocket_api_share_a_connection() -> None:
    async with client() as (_, c):
        async with BinanceSocketManager(c).user_socket() as events:
            placed = await c.ws_create_order(
                symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01", newClientOrderId="ws"
            )
            assert placed["status"] == "FILLED"
            seen = [await asyncio.wait_for(events.recv(), 5) for _ in range(3)]
            assert [e["e"] for e in seen] == ["executionReport", "executionReport", "outboundAccountPosition"]
            assert [e["X"] for e in seen[:2]] == ["NEW", "FILLED"]
        assert (await c.ws_get_order(symbol=SYMBOL, origClientOrderId="ws"))["status"] == "FILLED"
        assert len(await c.ws_get_my_trades(symbol=SYMBOL)) == 1
        with pytest.raises(BinanceAPIException, match="-2011"):
            await c.ws_cancel_order(symbol=SYMBOL, origClientOrderId="ws")


async def test_market_streams_and_market_data() -> None:
    async with client() as (kit, c):
        manager = BinanceSocketManager(c)
        manager.STREAM_URL = kit.urls.stream_url + "/"
        async with manager.trade_socket(SYMBOL) as trades, manager.multiplex_socket(["btcusdt@bookTicker"]) as quotes:
            trades.TIMEOUT = quotes.TIMEOUT = SOON
            kit.trade("100123.45", "0.5")
            assert (await asyncio.wait_for(trades.recv(), 5))["p"] == "100123.45000000"
            assert (await asyncio.wait_for(quotes.recv(), 5))["stream"] == "btcusdt@bookTicker"
        assert (await c.get_symbol_ticker(symbol=SYMBOL))["price"] == "100123.45000000"
        assert len((await c.get_exchange_info())["symbols"]) == 2
        assert (await c.get_klines(symbol=SYMBOL, interval="1m"))[-1][4] == "100123.45000000"
        assert (await c.get_order_book(symbol=SYMBOL))["bids"]
        assert (await c.get_avg_price(symbol=SYMBOL))["mins"] == 5
        assert (await c.get_ticker(symbol=SYMBOL))["count"] == 2


async def test_its_other_calls_at_start_are_answered() -> None:
    async with client() as (_, c):
        assert (await c.get_system_status())["status"] == 0
        assert (await c.get_account_status())["data"] == "Normal"
        assert (await c.get_account_api_trading_status())["data"]["isLocked"] is False
        assert (await c.get_trade_fee(symbol=SYMBOL))[0]["makerCommission"] == "0.001"
        assert (await c.v3_get_account_commission(symbol=SYMBOL))["discount"]["discountAsset"] == "BNB"
        assert {row["interval"] for row in await c.get_current_order_count()} == {"SECOND", "DAY"}


async def test_a_wrong_secret_is_refused() -> None:
    async with client() as (_, c):
        c.API_SECRET = "other"
        with pytest.raises(BinanceAPIException) as caught:
            await c.get_account()
        assert (caught.value.status_code, caught.value.code) == (400, -1022)
