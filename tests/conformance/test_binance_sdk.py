"""Binance's own client, with only its addresses changed, trades on the paper exchange.

It checks each answer against the exchange's published schema, field by field.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.conformance.library import Library
from tests.paper.server.exchange_kit import ACCOUNT, API_KEY, SECRET, SYMBOL, Kit, public_key, running

from executor.paper.replay.clock import WallClock
from executor.paper.server import Credential, HmacSecret

# The client's own use of an older argument of aiohttp.
pytestmark = pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning")

sdk = Library("binance_sdk_spot")
common = Library("binance_common.configuration")
errors = Library("binance_common.errors")
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()


@asynccontextmanager
async def client() -> AsyncIterator[tuple[Kit, Any]]:
    keys = {
        API_KEY: Credential(ACCOUNT, HmacSecret(SECRET)),
        "ed25519": Credential(ACCOUNT, public_key(ED25519_KEY)),
    }
    async with running(clock=WallClock(), keys=keys) as kit:
        private = ED25519_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        yield (
            kit,
            sdk.Spot(
                common.ConfigurationRestAPI(API_KEY, SECRET, base_path=kit.urls.base_url, retries=0, timeout=5000),
                common.ConfigurationWebSocketAPI("ed25519", private_key=private, stream_url=kit.urls.ws_api_url),
                common.ConfigurationWebSocketStreams(stream_url=kit.urls.stream_url),
            ),
        )


async def ask(method: Callable[..., Any], *args: Any, **params: Any) -> Any:
    """Its REST client blocks: ask in a thread, and have it check the answer."""
    return (await asyncio.to_thread(method, *args, **params)).data()


async def test_a_limit_order_lives_and_dies() -> None:
    async with client() as (_, spot):
        api = spot.rest_api
        placed = await ask(api.new_order, SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=0.001, price=90000.0)
        assert placed.status == "NEW"
        shown = await ask(api.get_order, SYMBOL, order_id=placed.order_id)
        assert (shown.status, shown.price) == ("NEW", "90000.00000000")
        assert len(await ask(api.get_open_orders, SYMBOL)) == 1
        gone = await ask(api.delete_order, SYMBOL, order_id=placed.order_id)
        assert gone.status == "CANCELED"
        assert len(await ask(api.all_orders, SYMBOL)) == 1
        with pytest.raises(errors.BadRequestError, match=r"Unknown order sent\."):
            await ask(api.delete_order, SYMBOL, order_id=placed.order_id)


async def test_a_market_order_fills_and_shows_in_balances_and_trades() -> None:
    async with client() as (_, spot):
        api = spot.rest_api
        filled = await ask(api.new_order, SYMBOL, "BUY", "MARKET", quantity=0.01)
        assert (filled.status, filled.fills[0].commission_asset) == ("FILLED", "BTC")
        (trade,) = await ask(api.my_trades, SYMBOL)
        assert trade.order_id == filled.order_id
        account = await ask(api.get_account, omit_zero_balances=True)
        assert {b.asset: b.free for b in account.balances}["BTC"] == "1.00999000"
        assert (await ask(api.account_commission, SYMBOL)).standard_commission.maker == "0.00100000"
        assert len(await ask(api.rate_limit_order)) == 2


async def test_a_stop_limit_order_rests_until_it_is_cancelled() -> None:
    async with client() as (_, spot):
        api = spot.rest_api
        stop = await ask(
            api.new_order,
            SYMBOL,
            "SELL",
            "STOP_LOSS_LIMIT",
            time_in_force="GTC",
            quantity=0.01,
            price=94900.0,
            stop_price=95000.0,
            new_order_resp_type="RESULT",
        )
        assert (stop.status, stop.working_time) == ("NEW", -1)
        assert stop.additional_properties == {"stopPrice": "95000.00000000"}
        assert (await ask(api.delete_order, SYMBOL, order_id=stop.order_id)).type == "STOP_LOSS_LIMIT"


async def test_an_oco_is_placed_listed_and_cancelled() -> None:
    async with client() as (_, spot):
        api = spot.rest_api
        oco = await ask(
            api.order_list_oco,
            SYMBOL,
            "SELL",
            0.01,
            "LIMIT_MAKER",
            "STOP_LOSS_LIMIT",
            above_price=110000.0,
            below_stop_price=95000.0,
            below_price=94900.0,
            below_time_in_force="GTC",
        )
        assert len(oco.order_reports) == 2
        assert (await ask(api.get_order_list, order_list_id=oco.order_list_id)).contingency_type == "OCO"
        assert len(await ask(api.open_order_list)) == 1
        gone = await ask(api.delete_order_list, SYMBOL, order_list_id=oco.order_list_id)
        assert gone.list_order_status == "ALL_DONE"
        assert len(await ask(api.all_order_list)) == 1


async def test_cancel_replace_and_amend() -> None:
    async with client() as (_, spot):
        api = spot.rest_api
        order = {"time_in_force": "GTC", "quantity": 0.001}
        old = await ask(api.new_order, SYMBOL, "BUY", "LIMIT", price=90000.0, **order)
        replaced = await ask(
            api.order_cancel_replace,
            SYMBOL,
            "BUY",
            "LIMIT",
            "STOP_ON_FAILURE",
            price=91000.0,
            cancel_order_id=old.order_id,
            **order,
        )
        new_id = replaced.new_order_response.order_id
        amended = await ask(api.order_amend_keep_priority, SYMBOL, 0.0005, order_id=new_id)
        assert amended.amended_order.qty == "0.00050000"
        assert len(await ask(api.order_amendments, SYMBOL, new_id)) == 1
        assert len(await ask(api.delete_open_orders, SYMBOL)) == 1


async def test_market_data() -> None:
    async with client() as (_, spot):
        api = spot.rest_api
        assert (await ask(api.exchange_info, symbol=SYMBOL)).symbols[0].symbol == SYMBOL
        assert (await ask(api.time)).server_time > 0
        assert (await ask(api.depth, SYMBOL)).last_update_id > 0
        for listing in (api.get_trades, api.agg_trades, api.historical_trades):
            assert len(await ask(listing, SYMBOL)) == 1
        for bars in (api.klines, api.ui_klines):
            assert len(await ask(bars, SYMBOL, "1m")) == 1
        assert (await ask(api.avg_price, SYMBOL)).price == "100000.00000000"
        for statistics in (api.ticker24hr, api.ticker, api.ticker_trading_day):
            assert (await ask(statistics, symbol=SYMBOL)).actual_instance.last_price == "100000.00000000"
        assert (await ask(api.ticker_price, symbol=SYMBOL)).actual_instance.price == "100000.00000000"
        assert (await ask(api.ticker_book_ticker, symbol=SYMBOL)).actual_instance.ask_price == "100000.01000000"
        assert (await ask(api.my_filters, SYMBOL)).symbol_filters
        with pytest.raises(errors.BadRequestError, match="reference price"):
            await ask(api.reference_price, SYMBOL)


async def test_the_websocket_api_with_a_session_and_its_user_stream() -> None:
    async with client() as (_, spot):
        connection = await spot.websocket_api.create_connection()
        try:
            logon = (await connection.session_logon()).data()
            assert logon.result.api_key == "ed25519"
            subscribed = await connection.user_data_stream_subscribe()
            events: asyncio.Queue[Any] = asyncio.Queue()
            subscribed.stream.on("message", events.put_nowait)
            placed = (
                await connection.order_place(SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=0.001, price=90000.0)
            ).data()
            assert placed.result.status == "NEW"
            report = (await asyncio.wait_for(events.get(), 5)).actual_instance
            assert (report.X, report.i) == ("NEW", placed.result.order_id)
            status = (await connection.order_status(SYMBOL, order_id=placed.result.order_id)).data()
            assert status.result.status == "NEW"
            gone = (await connection.order_cancel(SYMBOL, order_id=placed.result.order_id)).data()
            assert gone.result is not None
            assert (await connection.account_status()).data().result.can_trade is True
            assert (await connection.session_status()).data().result.user_data_stream is True
        finally:
            await connection.close_connection()


async def test_market_streams() -> None:
    async with client() as (kit, spot):
        connection = await spot.websocket_streams.create_connection()
        try:
            trades: asyncio.Queue[Any] = asyncio.Queue()
            (await connection.trade(symbol=SYMBOL.lower())).on("message", trades.put_nowait)
            assert await connection.list_subscribe()
            kit.trade("100001", "0.5")
            assert (await asyncio.wait_for(trades.get(), 5)).p == "100001.00000000"
        finally:
            await connection.close_connection()


async def test_a_bracket_over_the_websocket_api() -> None:
    async with client() as (kit, spot):
        connection = await spot.websocket_api.create_connection()
        try:
            await connection.session_logon()
            subscribed = await connection.user_data_stream_subscribe()
            events: asyncio.Queue[Any] = asyncio.Queue()
            subscribed.stream.on("message", events.put_nowait)
            bracket = (
                await connection.order_list_place_otoco(
                    SYMBOL, "LIMIT", "BUY", 99000.0, 0.01, "SELL", 0.009, "LIMIT_MAKER",
                    working_time_in_force="GTC", pending_above_price=110000.0, pending_below_type="STOP_LOSS",
                    pending_below_stop_price=95000.0,
                )
            ).data()  # fmt: skip
            assert [report.type for report in bracket.result.order_reports] == ["LIMIT", "STOP_LOSS", "LIMIT_MAKER"]
            kit.trade("99000")
            kinds = [type((await asyncio.wait_for(events.get(), 5)).actual_instance).__name__ for _ in range(8)]
            assert {"ExecutionReport", "ListStatus", "OutboundAccountPosition"} <= set(kinds)
        finally:
            await connection.close_connection()
