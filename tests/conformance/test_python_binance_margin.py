"""python-binance's margin calls, with only its addresses changed, work on the paper exchange."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from binance import BinanceSocketManager
from binance.exceptions import BinanceAPIException
from tests.conformance.test_python_binance import client
from tests.paper.server.exchange_kit import SYMBOL

ISOLATED = {"symbol": SYMBOL, "isIsolated": "TRUE"}


async def fund(c: Any, pair: str = "", amount: str = "20000") -> None:
    kind = {"type": "MAIN_ISOLATED_MARGIN", "toSymbol": pair} if pair else {"type": "MAIN_MARGIN"}
    assert (await c.make_universal_transfer(asset="USDT", amount=amount, **kind))["tranId"] > 0


async def test_a_short_is_borrowed_sold_bought_back_and_repaid() -> None:
    async with client() as (_, c):
        await fund(c, SYMBOL)
        booked = await c.margin_borrow_repay(asset="BTC", amount="0.01", type="BORROW", **ISOLATED)
        page = await c.margin_get_borrow_repay_records(type="BORROW", asset="BTC", isolatedSymbol=SYMBOL)
        assert (page["rows"][0]["txId"], page["rows"][0]["status"]) == (booked["tranId"], "CONFIRMED")
        sold = await c.create_margin_order(side="SELL", type="MARKET", quantity="0.01", **ISOLATED)
        assert (sold["status"], sold["isIsolated"]) == ("FILLED", True)
        await c.create_margin_order(side="BUY", type="MARKET", quantity="0.01002", **ISOLATED)
        (pair,) = (await c.get_isolated_margin_account(symbols=SYMBOL))["assets"]
        base = pair["baseAsset"]
        owed = Decimal(base["borrowed"]) + Decimal(base["interest"])
        await c.margin_borrow_repay(asset="BTC", amount=str(owed), type="REPAY", **ISOLATED)
        (pair,) = (await c.get_isolated_margin_account())["assets"]
        assert (pair["baseAsset"]["borrowed"], pair["baseAsset"]["interest"]) == ("0.00000000", "0.00000000")
        history = await c.get_margin_interest_history(asset="BTC", isolatedSymbol=SYMBOL)
        assert history["rows"][0]["type"] == "ON_BORROW"
        assert len(await c.get_margin_trades(**ISOLATED)) == 2


async def test_orders_of_the_cross_account_live_and_die() -> None:
    async with client() as (_, c):
        await fund(c)
        placed = await c.create_margin_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.001", price="90000",
            newClientOrderId="mine", sideEffectType="NO_SIDE_EFFECT",
        )  # fmt: skip
        assert (placed["status"], placed["clientOrderId"]) == ("NEW", "mine")
        assert (await c.get_margin_order(symbol=SYMBOL, origClientOrderId="mine"))["orderId"] == placed["orderId"]
        assert len(await c.get_open_margin_orders(symbol=SYMBOL)) == 1
        gone = await c.cancel_margin_order(symbol=SYMBOL, origClientOrderId="mine")
        assert gone["status"] == "CANCELED"
        assert len(await c.get_all_margin_orders(symbol=SYMBOL)) == 1
        with pytest.raises(BinanceAPIException, match="Unknown order sent"):
            await c.cancel_margin_order(symbol=SYMBOL, origClientOrderId="mine")
        with pytest.raises(BinanceAPIException, match="Isolated margin account does not exist"):
            await c.create_margin_order(side="BUY", type="MARKET", quantity="0.001", **ISOLATED)
        assert len(await c.margin_v1_get_margin_rate_limit_order(symbol=SYMBOL)) == 2


async def test_an_oco_is_placed_shown_and_cancelled() -> None:
    async with client() as (_, c):
        await fund(c)
        placed = await c.create_margin_oco_order(
            symbol=SYMBOL, side="BUY", quantity="0.01", price="95000", stopPrice="104000", stopLimitPrice="105000",
            stopLimitTimeInForce="GTC", listClientOrderId="pair",
        )  # fmt: skip
        assert len(placed["orderReports"]) == 2
        shown = await c.get_margin_oco_order(origClientOrderId="pair")
        assert shown["orderListId"] == placed["orderListId"]
        assert len(await c.get_open_margin_oco_orders()) == 1
        gone = await c.cancel_margin_oco_order(symbol=SYMBOL, listClientOrderId="pair")
        assert {report["status"] for report in gone["orderReports"]} == {"CANCELED"}
        assert len(await c.margin_v1_get_margin_all_order_list()) == 1


async def test_accounts_limits_and_what_is_true_for_everybody() -> None:
    async with client() as (_, c):
        await fund(c)
        assert (await c.get_margin_account())["marginLevel"] == "999.00000000"
        assert (await c.margin_max_borrowable(asset="USDT"))["amount"] == "40000.00000000"
        assert (await c.get_max_margin_loan(asset="USDT"))["borrowLimit"]
        assert (await c.get_max_margin_transfer(asset="USDT"))["amount"] == "20000.00000000"
        assert (await c.margin_v1_get_margin_trade_coeff())["forceLiquidationBar"] == "1.1"
        assert (await c.get_margin_force_liquidation_rec())["total"] == 0
        assert (await c.get_margin_transfer_history())["rows"][0]["type"] == "ROLL_IN"
        assert (await c.query_universal_transfer_history(type="MAIN_MARGIN"))["total"] == 1
        assert len(await c.get_margin_all_assets()) == 3
        assert len(await c.get_margin_all_pairs()) == 2
        assert len(await c.get_all_isolated_margin_symbols()) == 2
        assert (await c.get_margin_price_index(symbol=SYMBOL))["price"] == "100000.00000000"
        assert (await c.get_isolated_margin_tier_data(symbol=SYMBOL))[0]["tier"] == 1
        assert (await c.get_isolated_margin_fee_data(symbol=SYMBOL))[0]["leverage"] == "5"
        assert (await c.get_cross_margin_data(coin="USDT"))[0]["borrowable"] is True
        assert (await c.get_cross_margin_collateral_ratio())[0]["assetNames"]
        assert (await c.margin_next_hourly_interest_rate(assets="BTC", isIsolated="FALSE"))[0]["asset"] == "BTC"
        assert (await c.margin_interest_rate_history(asset="BTC"))[0]["asset"] == "BTC"
        assert (await c.margin_v1_get_margin_available_inventory(type="MARGIN"))["assets"]
        assert (await c.get_enabled_isolated_margin_account_limit())["maxAccount"] == 20
        assert (await c.toggle_bnb_burn_spot_margin(interestBNBBurn="false"))["interestBNBBurn"] is False
        assert (await c.get_bnb_burn_spot_margin())["spotBNBBurn"] is False
        assert (await c.set_margin_max_leverage(maxLeverage=5))["success"] is True


@pytest.mark.parametrize("pair", ["", SYMBOL])
async def test_its_margin_sockets_hear_of_orders_and_balances(pair: str) -> None:
    async with client() as (_, c):
        await fund(c, pair)
        manager = BinanceSocketManager(c)
        async with manager.isolated_margin_socket(pair) if pair else manager.margin_socket() as socket:
            await c.create_margin_order(
                symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.001", isIsolated="TRUE" if pair else "FALSE"
            )
            heard = [await asyncio.wait_for(socket.recv(), 5) for _ in range(3)]
        assert [event["e"] for event in heard] == ["executionReport", "executionReport", "outboundAccountPosition"]
