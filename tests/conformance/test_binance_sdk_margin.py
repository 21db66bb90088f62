"""Binance's own margin client, with only its addresses changed, works on the paper exchange.

It checks each answer against the exchange's published schema, field by field.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conformance.library import Library
from tests.paper.server.exchange_kit import API_KEY, SECRET, SYMBOL, Kit, running

from executor.paper.engine.margin.transfers import margin_name
from executor.paper.replay.clock import WallClock

pytestmark = pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning")

sdk = Library("binance_sdk_margin_trading")
common = Library("binance_common.configuration")
errors = Library("binance_common.errors")


@asynccontextmanager
async def client(pair: str = SYMBOL) -> AsyncIterator[tuple[Kit, Any, Any]]:
    """With 20000 USDT on a margin account, whose transfer this client has no call for."""
    async with running(clock=WallClock()) as kit:
        kind = "MAIN_ISOLATED_MARGIN" if pair else "MAIN_MARGIN"
        funds = kit.engine.balance("main", "USDT").free / 5
        kit.engine.margin.transfer("main", kind, "USDT", funds, kit.clock.now_ms(), target=pair)
        made = sdk.MarginTrading(
            config_rest_api=common.ConfigurationRestAPI(
                API_KEY, SECRET, base_path=kit.urls.base_url, retries=0, timeout=5000
            ),
            config_ws_streams=common.ConfigurationWebSocketStreams(stream_url=kit.urls.stream_url),
        )
        yield kit, made.rest_api, made


async def ask(method: Callable[..., Any], *args: Any, **params: Any) -> Any:
    """Its REST client blocks: ask in a thread, and have it check the answer."""
    return (await asyncio.to_thread(method, *args, **params)).data()


def loan(asset: str, amount: str, type_: str, pair: str) -> dict[str, str]:
    own = {"is_isolated": "TRUE", "symbol": pair} if pair else {"is_isolated": "FALSE"}
    return {"asset": asset, "amount": amount, "type": type_, **own}


async def test_a_short_is_borrowed_sold_bought_back_and_repaid() -> None:
    async with client() as (_, api, _):
        booked = await ask(api.margin_account_borrow_repay, **loan("BTC", "0.01", "BORROW", SYMBOL))
        page = await ask(api.query_borrow_repay_records_in_margin_account, "BORROW", isolated_symbol=SYMBOL)
        assert (page.rows[0].tx_id, page.rows[0].status) == (booked.tran_id, "CONFIRMED")
        sold = await ask(api.margin_account_new_order, SYMBOL, "SELL", "MARKET", is_isolated="TRUE", quantity=0.01)
        assert (sold.status, sold.is_isolated) == ("FILLED", True)
        await ask(api.margin_account_new_order, SYMBOL, "BUY", "MARKET", is_isolated="TRUE", quantity=0.01002)
        (pair,) = (await ask(api.query_isolated_margin_account_info, symbols=SYMBOL)).assets
        owed = f"{float(pair.base_asset.borrowed) + float(pair.base_asset.interest):.8f}"
        await ask(api.margin_account_borrow_repay, **loan("BTC", owed, "REPAY", SYMBOL))
        (pair,) = (await ask(api.query_isolated_margin_account_info)).assets
        assert (pair.base_asset.borrowed, pair.base_asset.interest) == ("0.00000000", "0.00000000")
        history = await ask(api.get_interest_history, asset="BTC", isolated_symbol=SYMBOL)
        assert history.rows[0].type == "ON_BORROW"
        trades = await ask(api.query_margin_accounts_trade_list, SYMBOL, is_isolated="TRUE")
        assert len(trades) == 2


async def test_orders_and_lists_of_the_cross_account() -> None:
    async with client("") as (_, api, _):
        placed = await ask(
            api.margin_account_new_order, SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=0.001, price=90000.0
        )
        shown = await ask(api.query_margin_accounts_order, SYMBOL, order_id=placed.order_id)
        assert (shown.status, shown.price) == ("NEW", "90000.00000000")
        assert len(await ask(api.query_margin_accounts_open_orders, symbol=SYMBOL)) == 1
        gone = await ask(api.margin_account_cancel_order, SYMBOL, order_id=placed.order_id)
        assert (gone.status, gone.order_id) == ("CANCELED", str(placed.order_id))
        with pytest.raises(errors.BadRequestError, match=r"Unknown order sent\."):
            await ask(api.margin_account_cancel_order, SYMBOL, order_id=placed.order_id)
        listed = await ask(
            api.margin_account_new_oco, SYMBOL, "BUY", 0.01, 95000.0, 104000.0, stop_limit_price=105000.0,
            stop_limit_time_in_force="GTC",
        )  # fmt: skip
        assert len(listed.order_reports) == 2
        assert len(await ask(api.query_margin_accounts_open_oco)) == 1
        shown = await ask(api.query_margin_accounts_oco, order_list_id=listed.order_list_id)
        assert shown.contingency_type == "OCO"
        all_gone = await ask(api.margin_account_cancel_all_open_orders_on_a_symbol, SYMBOL)
        assert len(all_gone) == 1
        otoco = await ask(
            api.margin_account_new_otoco, SYMBOL, "LIMIT", "BUY", 90000.0, 0.001, "SELL", 0.001, "LIMIT_MAKER",
            working_time_in_force="GTC", pending_above_price=110000.0, pending_below_type="STOP_LOSS",
            pending_below_stop_price=80000.0,
        )  # fmt: skip
        assert len(otoco.orders) == 3
        cancelled = await ask(api.margin_account_cancel_oco, SYMBOL, order_list_id=otoco.order_list_id)
        assert cancelled.list_order_status == "ALL_DONE"
        assert len(await ask(api.query_margin_accounts_all_oco)) == 2
        assert len(await ask(api.query_margin_accounts_all_orders, SYMBOL)) == 6
        assert len(await ask(api.query_current_margin_order_count_usage)) == 2


async def test_accounts_limits_and_what_is_true_for_everybody() -> None:
    async with client("") as (_, api, _):
        account = await ask(api.query_cross_margin_account_details)
        assert (account.margin_level, account.account_type) == ("999.00000000", "MARGIN_1")
        assert (await ask(api.query_max_borrow, "USDT")).amount == "40000.00000000"
        assert (await ask(api.query_max_transfer_out_amount, "USDT")).amount == "20000.00000000"
        assert (await ask(api.get_summary_of_margin_account)).margin_call_bar == "1.3"
        assert (await ask(api.get_force_liquidation_record)).total == 0
        assert (await ask(api.get_cross_margin_transfer_history)).rows[0].type == "ROLL_IN"
        assert len(await ask(api.get_all_margin_assets)) == 3
        assert len(await ask(api.get_all_cross_margin_pairs)) == 2
        assert len(await ask(api.get_all_isolated_margin_symbol)) == 2
        assert (await ask(api.query_margin_priceindex, SYMBOL)).price == "100000.00000000"
        assert (await ask(api.query_isolated_margin_tier_data, SYMBOL))[0].tier == 1
        assert (await ask(api.query_isolated_margin_fee_data, symbol=SYMBOL))[0].leverage == "5"
        assert (await ask(api.query_cross_margin_fee_data, coin="USDT"))[0].borrowable is True
        assert (await ask(api.cross_margin_collateral_ratio))[0].asset_names
        assert (await ask(api.get_future_hourly_interest_rate, "BTC", False))[0].asset == "BTC"
        assert (await ask(api.query_margin_interest_rate_history, "BTC"))[0].asset == "BTC"
        assert "BTC" in (await ask(api.query_margin_available_inventory, "MARGIN")).assets
        assert (await ask(api.query_enabled_isolated_margin_account_limit)).max_account == 20
        assert (await ask(api.get_bnb_burn_status)).interest_bnb_burn is False
        assert await ask(api.get_delist_schedule) == []
        assert (await ask(api.get_margin_restricted_assets)).open_long_restricted_asset == []
        assert (await ask(api.adjust_cross_margin_max_leverage, 5)).success is True


async def test_a_liquidation_is_on_record() -> None:
    async with client() as (kit, api, _):
        await ask(api.margin_account_borrow_repay, **loan("BTC", "0.1", "BORROW", SYMBOL))
        account = kit.engine.margin.account("main", SYMBOL)
        assert account.money.name == margin_name("main", SYMBOL)
        kit.engine.margin.liquidate(account, kit.clock.now_ms())
        page = await ask(api.get_force_liquidation_record, isolated_symbol=SYMBOL)
        assert page.total == 1


async def test_its_risk_stream_tells_of_debts() -> None:
    async with client("") as (_, api, made):
        key = (await ask(api.start_user_data_stream)).listen_key
        streams: Any = made.websocket_streams
        connection = await streams.create_connection()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        stream = await connection.risk_data(key)
        stream.on("message", heard.put_nowait)
        await connection.list_subscribe()  # subscribing does not wait for its answer
        await ask(api.margin_account_borrow_repay, **loan("USDT", "100", "BORROW", ""))
        event = (await asyncio.wait_for(heard.get(), 5)).actual_instance
        assert (event.a, event.t, event.p) == ("USDT", "BORROW", "100.00000000")
        await connection.close_connection()
