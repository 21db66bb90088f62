"""ccxt, with only its addresses changed, trades on the paper exchange."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conformance.library import Library
from tests.paper.server.exchange_kit import API_KEY, OCO, SECRET, SYMBOL, Kit, running

from executor.paper.replay.clock import WallClock

ccxt = Library("ccxt.async_support")
pro = Library("ccxt.pro")
PAIR = "BTC/USDT"
HOSTS = ("https://api.binance.com", "https://fapi.binance.com", "https://dapi.binance.com")


@asynccontextmanager
async def client(library: Library = ccxt) -> AsyncIterator[tuple[Kit, Any]]:
    async with running(clock=WallClock()) as kit:
        exchange = library.binance({"apiKey": API_KEY, "secret": SECRET})
        for name, url in exchange.urls["api"].items():
            for host in HOSTS:
                if isinstance(url, str) and url.startswith(host):
                    exchange.urls["api"][name] = kit.urls.base_url + url.removeprefix(host)
        if "ws" in exchange.urls["api"]:
            exchange.urls["api"]["ws"]["spot"] = f"{kit.urls.stream_url}/ws"
            exchange.urls["api"]["ws"]["ws-api"]["spot"] = kit.urls.ws_api_url
        try:
            await exchange.load_markets()
            yield kit, exchange
        finally:
            await exchange.close()


async def test_it_loads_markets_currencies_and_fees_with_its_own_defaults() -> None:
    async with client() as (_, exchange):
        assert set(exchange.markets) == {"BTC/USDT", "ETH/USDT"}
        market = exchange.market(PAIR)
        assert (market["active"], market["precision"]["price"], market["limits"]["cost"]["min"]) == (True, 0.01, 5)
        assert {"BTC", "ETH", "USDT"} <= set(exchange.currencies)
        assert (await exchange.fetch_trading_fee(PAIR))["taker"] == 0.001
        assert await exchange.fetch_time() > 0
        assert (await exchange.fetch_status())["status"] == "ok"


async def test_a_limit_order_lives_and_dies() -> None:
    async with client() as (_, exchange):
        placed = await exchange.create_order(PAIR, "limit", "buy", 0.001, 90000, {"clientOrderId": "mine"})
        assert (placed["status"], placed["clientOrderId"]) == ("open", "mine")
        assert (await exchange.fetch_order(placed["id"], PAIR))["price"] == 90000
        assert [o["id"] for o in await exchange.fetch_open_orders(PAIR)] == [placed["id"]]
        edited = await exchange.edit_order(placed["id"], PAIR, "limit", "buy", 0.001, 91000)
        assert (edited["price"], edited["status"]) == (91000, "open")
        assert (await exchange.cancel_order(edited["id"], PAIR))["status"] == "canceled"
        assert [o["status"] for o in await exchange.fetch_orders(PAIR)] == ["canceled", "canceled"]
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(edited["id"], PAIR)
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.fetch_order("999", PAIR)


async def test_a_market_order_fills_and_shows_in_balances_and_trades() -> None:
    async with client() as (_, exchange):
        filled = await exchange.create_order(PAIR, "market", "buy", 0.01)
        assert (filled["status"], filled["filled"]) == ("closed", 0.01)
        (trade,) = await exchange.fetch_my_trades(PAIR)
        assert (trade["order"], trade["fee"]["currency"]) == (filled["id"], "BTC")
        balance = await exchange.fetch_balance()
        assert balance["BTC"]["free"] == 1.00999
        with pytest.raises(ccxt.InsufficientFunds):
            await exchange.create_order(PAIR, "market", "buy", 2)


async def test_a_stop_limit_order_rests_until_it_is_cancelled() -> None:
    async with client() as (_, exchange):
        stop = await exchange.create_order(PAIR, "limit", "sell", 0.01, 94900, {"stopLossPrice": 95000})
        shown = await exchange.fetch_order(stop["id"], PAIR)
        assert (shown["status"], shown["stopPrice"], shown["info"]["type"]) == ("open", 95000, "STOP_LOSS_LIMIT")
        assert (await exchange.cancel_order(stop["id"], PAIR))["status"] == "canceled"
        with pytest.raises(ccxt.OrderImmediatelyFillable):
            await exchange.create_order(PAIR, "limit", "sell", 0.01, 100900, {"stopLossPrice": 101000})


async def test_an_oco_is_placed_listed_and_cancelled() -> None:
    async with client() as (_, exchange):
        oco = await exchange.private_post_orderlist_oco(OCO)
        assert [o["type"] for o in await exchange.fetch_open_orders(PAIR)] == ["limit", "limit"]
        (shown,) = await exchange.private_get_openorderlist()
        assert shown["orderListId"] == oco["orderListId"]
        shown = await exchange.private_get_orderlist({"orderListId": oco["orderListId"]})
        assert shown["listOrderStatus"] == "EXECUTING"
        gone = await exchange.private_delete_orderlist({"symbol": SYMBOL, "orderListId": oco["orderListId"]})
        assert gone["listOrderStatus"] == "ALL_DONE"
        assert await exchange.fetch_open_orders(PAIR) == []


async def test_market_data() -> None:
    async with client() as (kit, exchange):
        kit.trade("100001", "0.5")
        assert (await exchange.fetch_ticker(PAIR))["last"] == 100001
        assert (await exchange.fetch_tickers())[PAIR]["last"] == 100001
        assert [t["price"] for t in await exchange.fetch_trades(PAIR)] == [100000, 100001]
        assert (await exchange.fetch_ohlcv(PAIR, "1m"))[-1][4] == 100001
        assert (await exchange.fetch_order_book(PAIR))["bids"][0][0] > 0
        assert (await exchange.fetch_bids_asks([PAIR]))[PAIR]["ask"] > 0
        assert (await exchange.fetch_last_prices([PAIR]))[PAIR]["price"] == 100001


async def test_a_bracket_whose_exits_come_when_the_entry_fills() -> None:
    async with client() as (kit, exchange):
        bracket = await exchange.private_post_orderlist_otoco(
            {
                "symbol": SYMBOL, "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "99000",
                "workingQuantity": "0.01", "workingTimeInForce": "GTC", "pendingSide": "SELL",
                "pendingQuantity": "0.009", "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "110000",
                "pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "95000",
            }
        )  # fmt: skip
        kinds = [report["type"] for report in bracket["orderReports"]]
        assert kinds == ["LIMIT", "STOP_LOSS", "LIMIT_MAKER"]
        kit.trade("99000")
        live = await exchange.fetch_open_orders(PAIR)
        assert [order["info"]["status"] for order in live] == ["NEW", "NEW"]
        kit.trade("94000")
        ended = await exchange.fetch_orders(PAIR)
        assert [order["status"] for order in ended] == ["closed", "closed", "expired"]


async def test_an_amendment_keeps_the_order() -> None:
    """It has no method of its own for this: its general request, signed as any other."""
    async with client() as (_, exchange):
        placed = await exchange.create_order(PAIR, "limit", "buy", 0.001, 90000)
        order = {"symbol": SYMBOL, "orderId": placed["id"], "newQty": "0.0005"}
        amended = await exchange.request("order/amend/keepPriority", "private", "PUT", order)
        assert amended["amendedOrder"]["qty"] == "0.00050000"
        shown = await exchange.fetch_order(placed["id"], PAIR)
        assert (shown["amount"], shown["status"]) == (0.0005, "open")


async def test_its_user_stream_and_its_orders_over_the_websocket_api() -> None:
    async with client(pro) as (kit, exchange):
        watching = asyncio.create_task(exchange.watch_orders(PAIR))
        await asyncio.sleep(0.5)  # it subscribes when it is first asked
        placed = await exchange.create_order_ws(PAIR, "limit", "buy", 0.001, 90000)
        (seen,) = await asyncio.wait_for(watching, 10)
        assert (seen["id"], seen["status"]) == (placed["id"], "open")
        watching = asyncio.create_task(exchange.watch_orders(PAIR))
        trading = asyncio.create_task(exchange.watch_my_trades(PAIR))
        await asyncio.sleep(0.1)
        kit.trade("90000")
        seen = (await asyncio.wait_for(watching, 10))[-1]
        assert (seen["id"], seen["status"], seen["filled"]) == (placed["id"], "closed", 0.001)
        assert [trade["order"] for trade in await asyncio.wait_for(trading, 10)] == [placed["id"]]
        resting = await exchange.create_order_ws(PAIR, "limit", "buy", 0.001, 80000)
        assert (await exchange.cancel_order_ws(resting["id"], PAIR))["status"] == "canceled"


async def test_its_market_streams() -> None:
    async with client(pro) as (kit, exchange):
        watching = asyncio.create_task(exchange.watch_trades(PAIR))
        await asyncio.sleep(0.5)
        kit.trade("100123.45", "0.5")
        (trade,) = await asyncio.wait_for(watching, 10)
        assert trade["price"] == 100123.45
