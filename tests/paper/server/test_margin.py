"""Margin over the wire: `/sapi`, its weights and errors, listen tokens, the risk stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from tests.paper.server.exchange_kit import SYMBOL, Kit, Rest, market_stream, rest, running, symbol_row, ws_api

from executor.paper.engine.choices import ExchangeChoices, MarginFields, NoDebtLevel
from executor.paper.engine.margin.model import Fate
from executor.paper.server import Limits
from executor.paper.server.injected import InjectedFaults, RequestRule

M = "/sapi/v1/margin"
HOUR_MS = 3_600_000


@asynccontextmanager
async def margin(pair: str = SYMBOL, **options: Any) -> AsyncIterator[tuple[Kit, Rest]]:
    """An exchange with an open margin account that holds 1000 USDT."""
    async with running(last_price="60000", **options) as kit, rest(kit) as api:
        kind = {"type": "MAIN_ISOLATED_MARGIN", "toSymbol": pair} if pair else {"type": "MAIN_MARGIN"}
        await api.post("/sapi/v1/asset/transfer", asset="USDT", amount="1000", **kind)
        yield kit, api


def own(pair: str) -> dict[str, str]:
    return {"isIsolated": "TRUE", "symbol": pair} if pair else {"isIsolated": "FALSE"}


async def borrow(api: Rest, pair: str, asset: str, amount: str, kind: str = "BORROW") -> Any:
    return await api.post(f"{M}/borrow-repay", asset=asset, amount=amount, type=kind, **own(pair))


async def order(api: Rest, side: str, quantity: str, **more: Any) -> Any:
    kind = {"type": "LIMIT", "timeInForce": "GTC"} if "price" in more else {"type": "MARKET"}
    return await api.post(f"{M}/order", symbol=SYMBOL, side=side, quantity=quantity, **{**kind, **more})


async def test_an_isolated_account_shows_what_it_holds_owes_and_is_worth() -> None:
    async with margin() as (_, api):
        (flat,) = (await api.get(f"{M}/isolated/account", symbols=SYMBOL))["assets"]
        assert (flat["marginLevel"], flat["marginLevelStatus"]) == ("0.00000000", "EXCESSIVE")
        await borrow(api, SYMBOL, "BTC", "0.05")
        await order(api, "SELL", "0.05", isIsolated="TRUE")
        answer = await api.get(f"{M}/isolated/account")
        (pair,) = answer["assets"]
        assert pair["baseAsset"]["borrowed"] == "0.05000000"
        assert pair["baseAsset"]["interest"] == "0.00000029"
        assert pair["quoteAsset"]["free"] == "3997.00000000"
        assert pair["marginLevel"].startswith("1.332")
        assert (pair["marginLevelStatus"], pair["indexPrice"]) == ("NORMAL", "60000.00000000")
        assert 69_000 < float(pair["liquidatePrice"]) < 69_566
        assert answer["totalLiabilityOfBtc"] == "0.05000029"
        assert api.headers["X-SAPI-USED-IP-WEIGHT-1M"] == "20"


async def test_the_cross_account_shows_every_asset_and_its_level() -> None:
    async with margin("") as (_, api):
        flat = await api.get(f"{M}/account")
        assert (flat["marginLevel"], flat["accountType"], flat["created"]) == ("999.00000000", "MARGIN_1", True)
        await borrow(api, "", "USDT", "1000")
        shown = await api.get(f"{M}/account")
        assert shown["marginLevel"] == shown["collateralMarginLevel"] == "1.99998750"
        usdt = next(row for row in shown["userAssets"] if row["asset"] == "USDT")
        assert (usdt["borrowed"], usdt["interest"], usdt["netAsset"]) == ("1000.00000000", "0.00625000", "999.99375000")
        assert {row["asset"] for row in shown["userAssets"]} == {"BTC", "ETH", "USDT"}
        assert await api.get(f"{M}/tradeCoeff") == {
            "normalBar": "1.5",
            "marginCallBar": "1.3",
            "forceLiquidationBar": "1.1",
        }
    async with margin("", choices=ExchangeChoices(no_debt_level=NoDebtLevel.ZERO)) as (_, api):
        assert (await api.get(f"{M}/account"))["marginLevel"] == "0.00000000"


@pytest.mark.parametrize("pair", ["", SYMBOL])
async def test_a_loan_its_records_its_interest_and_its_repayment(pair: str) -> None:
    async with margin(pair) as (kit, api):
        told = {"isolatedSymbol": pair} if pair else {}
        booked = await borrow(api, pair, "BTC", "0.01")
        assert api.headers["X-SAPI-USED-UID-WEIGHT-1M"] == "1500"
        page = await api.get(f"{M}/borrow-repay", type="BORROW", asset="BTC", **told)
        assert page["total"] == 1
        assert page["rows"][0]["txId"] == booked["tranId"]
        assert page["rows"][0]["status"] == "CONFIRMED"
        assert page["rows"][0]["type"] == "MANUAL"
        kit.advance(HOUR_MS)
        history = await api.get(f"{M}/interestHistory", asset="BTC", **told)
        assert [row["type"] for row in history["rows"]] == ["PERIODIC", "ON_BORROW"]
        assert (await borrow(api, pair, "BTC", "0.02", "REPAY"))["code"] == -3015
        await order(api, "BUY", "0.001", isIsolated=own(pair)["isIsolated"])
        await borrow(api, pair, "BTC", "0.01000012", "REPAY")
        rows = (await api.get(f"{M}/borrow-repay", type="REPAY", **told))["rows"]
        assert (rows[0]["principal"], rows[0]["interest"]) == ("0.01000000", "0.00000012")
        assert (await api.get(f"{M}/borrow-repay", type="REPAY", txId=1, **told))["total"] == 0


async def test_a_pending_loan_shows_as_pending_and_blocks_the_next() -> None:
    async with margin() as (kit, api):
        kit.engine.margin.account("main", SYMBOL).next_fates.append(Fate(pending_ms=5_000, fails=True))
        await borrow(api, SYMBOL, "BTC", "0.01")
        (row,) = (await api.get(f"{M}/borrow-repay", type="BORROW", isolatedSymbol=SYMBOL))["rows"]
        assert row["status"] == "PENDING"
        assert (await borrow(api, SYMBOL, "BTC", "0.01"))["code"] == -3007
        kit.advance(5_000)
        (row,) = (await api.get(f"{M}/borrow-repay", type="BORROW", isolatedSymbol=SYMBOL))["rows"]
        assert row["status"] == "FAILED"


async def test_a_forgotten_flag_is_about_the_cross_account() -> None:
    async with margin() as (_, api):
        assert (await api.get(f"{M}/account"))["code"] == -3003
        assert (await order(api, "BUY", "0.001"))["code"] == -3003
        await api.post("/sapi/v1/asset/transfer", asset="USDT", amount="100", type="MAIN_MARGIN")
        placed = await order(api, "BUY", "0.001", price="50000", isIsolated="TRUE")
        lost = await api.get(f"{M}/order", symbol=SYMBOL, orderId=placed["orderId"])
        assert lost["code"] == -2013, "the other account has no such order"
        found = await api.get(f"{M}/order", symbol=SYMBOL, orderId=placed["orderId"], isIsolated="TRUE")
        assert found["isIsolated"] is True
        assert (await api.get(f"{M}/openOrders", isIsolated="TRUE"))["code"] == -1102
        assert await api.get(f"{M}/openOrders") == []


async def test_orders_show_the_fields_of_the_samples() -> None:
    async with margin() as (_, api):
        placed = await order(api, "BUY", "0.001", price="50000", isIsolated="TRUE", newClientOrderId="mine")
        assert set(placed) == {
            "symbol", "orderId", "clientOrderId", "isIsolated", "transactTime", "price", "origQty", "executedQty",
            "cummulativeQuoteQty", "status", "timeInForce", "type", "side", "selfTradePreventionMode", "fills",
        }  # fmt: skip
        stop = await api.post(
            f"{M}/order", symbol=SYMBOL, side="BUY", type="STOP_LOSS", quantity="0.001", stopPrice="70000",
            isIsolated="TRUE",
        )  # fmt: skip
        assert set(stop) == {"symbol", "orderId", "clientOrderId", "isIsolated", "transactTime"}
        (mine, _) = await api.get(f"{M}/openOrders", symbol=SYMBOL, isIsolated="TRUE")
        assert "orderListId" not in mine
        gone = await api.delete(f"{M}/order", symbol=SYMBOL, origClientOrderId="mine", isIsolated="TRUE")
        assert gone["orderId"] == str(placed["orderId"])
        assert (gone["origClientOrderId"], gone["status"]) == ("mine", "CANCELED")
        await order(api, "BUY", "0.001", isIsolated="TRUE")
        (trade,) = await api.get(f"{M}/myTrades", symbol=SYMBOL, isIsolated="TRUE")
        assert "quoteQty" not in trade
        assert len(await api.get(f"{M}/allOrders", symbol=SYMBOL, isIsolated="TRUE")) == 3
        assert len(await api.delete(f"{M}/openOrders", symbol=SYMBOL, isIsolated="TRUE")) == 1
        counts = await api.get(f"{M}/rateLimit/order", symbol=SYMBOL, isIsolated="TRUE")
        assert [row["count"] for row in counts] == [2, 2]


async def test_or_those_of_spot_besides() -> None:
    async with margin(choices=ExchangeChoices(margin_fields=MarginFields.AS_SPOT)) as (_, api):
        await order(api, "BUY", "0.001", isIsolated="TRUE")
        (trade,) = await api.get(f"{M}/myTrades", symbol=SYMBOL, isIsolated="TRUE")
        assert trade["quoteQty"] == "60.00001000"


async def test_the_older_oco_is_the_only_one_and_its_leg_takes_it_along() -> None:
    async with margin() as (_, api):
        placed = await api.post(
            f"{M}/order/oco", symbol=SYMBOL, side="BUY", quantity="0.01", price="55000", stopPrice="62000",
            stopLimitPrice="62500", stopLimitTimeInForce="GTC", listClientOrderId="pair", isIsolated="TRUE",
        )  # fmt: skip
        assert {report["type"] for report in placed["orderReports"]} == {"LIMIT_MAKER", "STOP_LOSS_LIMIT"}
        assert placed["isIsolated"] is True
        locked = (await api.get(f"{M}/isolated/account"))["assets"][0]["quoteAsset"]["locked"]
        assert locked == "625.00000000", "of the dearer leg, once"
        shown = await api.get(f"{M}/orderList", origClientOrderId="pair", isIsolated="TRUE", symbol=SYMBOL)
        assert len(shown["orders"]) == 2
        assert len(await api.get(f"{M}/openOrderList", isIsolated="TRUE", symbol=SYMBOL)) == 1
        leg = placed["orderReports"][0]["orderId"]
        gone = await api.delete(f"{M}/order", symbol=SYMBOL, orderId=leg, isIsolated="TRUE")
        assert {report["status"] for report in gone["orderReports"]} == {"CANCELED"}
        refused = await api.delete(f"{M}/orderList", symbol=SYMBOL, listClientOrderId="pair", isIsolated="TRUE")
        assert refused["code"] == -2011
        assert len(await api.get(f"{M}/allOrderList", isIsolated="TRUE", symbol=SYMBOL)) == 1


async def test_oto_and_otoco_have_no_auto_repay() -> None:
    async with margin("") as (_, api):
        working = {
            "symbol": SYMBOL, "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "50000",
            "workingQuantity": "0.05", "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingQuantity": "0.05",
        }  # fmt: skip
        pending = {"pendingType": "LIMIT_MAKER", "pendingPrice": "70000"}
        refused = await api.post(f"{M}/order/oto", **working, **pending, sideEffectType="AUTO_REPAY")
        assert refused["code"] == -1130
        placed = await api.post(f"{M}/order/oto", **working, **pending, sideEffectType="MARGIN_BUY")
        assert (placed["marginBuyBorrowAmount"], placed["marginBuyBorrowAsset"]) == ("1500.00000000", "USDT")
        assert api.headers["X-SAPI-USED-UID-WEIGHT-1M"] == "1506"
        await api.delete(f"{M}/orderList", symbol=SYMBOL, orderListId=placed["orderListId"])
        pair = {
            "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "70000", "pendingBelowType": "STOP_LOSS",
            "pendingBelowStopPrice": "45000",
        }  # fmt: skip
        working["workingQuantity"] = working["pendingQuantity"] = "0.01"
        placed = await api.post(f"{M}/order/otoco", **working, **pair)
        assert len(placed["orders"]) == 3


async def test_a_market_order_may_borrow_and_says_how_much() -> None:
    async with margin("") as (_, api):
        placed = await order(api, "SELL", "0.01", sideEffectType="MARGIN_BUY")
        assert (placed["marginBuyBorrowAmount"], placed["marginBuyBorrowAsset"]) == (0.01, "BTC")
        assert api.headers["X-SAPI-USED-UID-WEIGHT-1M"] == "1500"
        await order(api, "SELL", "0.01", sideEffectType="NOTHING")
        assert api.status == 400


async def test_weights_count_by_endpoint_and_beyond_them_is_429() -> None:
    async with margin("", limits=Limits(sapi_uid_weight_per_minute=3_000)) as (_, api):
        for _ in range(2):
            await borrow(api, "", "USDT", "1")
        refused = await borrow(api, "", "USDT", "1")
        assert (api.status, refused["code"]) == (429, -1003)
        assert int(api.headers["Retry-After"]) > 0
        assert "amount" in await api.get(f"{M}/maxBorrowable", asset="USDT")


async def test_what_may_be_borrowed_and_moved() -> None:
    async with margin("") as (_, api):
        assert (await api.get(f"{M}/maxBorrowable", asset="USDT"))["amount"] == "2000.00000000"
        assert (await borrow(api, "", "USDT", "2001"))["code"] == -3006
        await borrow(api, "", "USDT", "500")
        assert (await api.get(f"{M}/maxTransferable", asset="USDT"))["amount"] == "499.99375000"
        refused = await api.post("/sapi/v1/asset/transfer", asset="USDT", amount="600", type="MARGIN_MAIN")
        assert refused["code"] == -3020
        await api.post("/sapi/v1/asset/transfer", asset="USDT", amount="100", type="MARGIN_MAIN")
        moved = await api.get("/sapi/v1/asset/transfer", type="MARGIN_MAIN")
        assert (moved["total"], moved["rows"][0]["status"]) == (1, "CONFIRMED")
        rolled = await api.get(f"{M}/transfer")
        assert [row["type"] for row in rolled["rows"]] == ["ROLL_OUT", "ROLL_IN"]


async def test_reference_data() -> None:
    async with margin() as (_, api):
        (pair,) = await api.get(f"{M}/isolated/allPairs", symbol=SYMBOL)
        assert pair["isMarginTrade"] is True
        assert len(await api.get(f"{M}/allPairs")) == 2
        assert {row["assetName"] for row in await api.get(f"{M}/allAssets")} == {"BTC", "ETH", "USDT"}
        (coin,) = await api.get(f"{M}/crossMarginData", coin="BTC")
        assert coin["dailyInterest"] == "0.00013704"
        (fees,) = await api.get(f"{M}/isolatedMarginData", symbol=SYMBOL)
        assert fees["leverage"] == "5"
        tiers = await api.get(f"{M}/isolatedMarginTier", symbol=SYMBOL)
        assert (tiers[0]["initialRiskRatio"], tiers[0]["effectiveMultiple"]) == ("1.2500", "5.0000")
        assert (tiers[-1]["initialRiskRatio"], tiers[0]["liquidationRiskRatio"]) == ("1.5000", "1.15")
        assert (await api.get(f"{M}/priceIndex", symbol=SYMBOL))["price"] == "60000.00000000"
        assert (await api.get(f"{M}/priceIndex", symbol="ETHUSDT"))["code"] == -3042
        (rate,) = await api.get(f"{M}/next-hourly-interest-rate", assets="BTC", isIsolated="TRUE")
        assert rate["nextHourlyInterestRate"] == "0.00000571"
        assert (await api.get(f"{M}/interestRateHistory", asset="BTC"))[0]["dailyInterestRate"] == "0.00013704"
        assert "BTC" in (await api.get(f"{M}/available-inventory", type="MARGIN"))["assets"]
        assert len(await api.get(f"{M}/crossMarginCollateralRatio")) == 3
        assert await api.get(f"{M}/delist-schedule") == []
        assert (await api.get(f"{M}/isolated/accountLimit"))["enabledAccount"] == 1
        assert await api.get("/sapi/v1/bnbBurn") == {"spotBNBBurn": False, "interestBNBBurn": False}
        assert (await api.post("/sapi/v1/bnbBurn", interestBNBBurn="true"))["interestBNBBurn"] is True
        assert (await api.post("/sapi/v1/userDataStream"))["code"] == -1020
        assert api.status == 410


async def test_an_isolated_account_is_disabled_empty_and_enabled_again() -> None:
    async with margin() as (_, api):
        assert (await api.delete(f"{M}/isolated/account", symbol=SYMBOL))["code"] == -11003
        await api.post(
            "/sapi/v1/asset/transfer", asset="USDT", amount="1000", type="ISOLATED_MARGIN_MAIN", fromSymbol=SYMBOL
        )
        assert (await api.delete(f"{M}/isolated/account", symbol=SYMBOL))["success"] is True
        assert (await api.get(f"{M}/openOrders", symbol=SYMBOL, isIsolated="TRUE"))["code"] == -11001
        assert (await api.post(f"{M}/isolated/account", symbol=SYMBOL))["success"] is True
        assert await api.get(f"{M}/openOrders", symbol=SYMBOL, isIsolated="TRUE") == []


async def test_a_listen_token_leads_to_the_accounts_events_and_a_second_one_makes_them_last() -> None:
    async with margin() as (kit, api), ws_api(kit) as ws:
        bad = await ws.call("userDataStream.subscribe.listenToken", listenToken="nothing")
        assert bad["error"]["code"] == -1209
        token = await api.post("/sapi/v1/userListenToken", symbol=SYMBOL, isIsolated="true", validity=60_000)
        first = (await ws.call("userDataStream.subscribe.listenToken", listenToken=token["token"]))["result"]
        assert first["expirationTime"] == token["expirationTime"] == kit.clock.now_ms() + 60_000
        await borrow(api, SYMBOL, "BTC", "0.01")
        assert (await ws.next_event())["e"] == "balanceUpdate"
        position = await ws.next_event()
        assert (position["e"], position["B"]) == (
            "outboundAccountPosition",
            [{"a": "BTC", "f": "0.01000000", "l": "0.00000000"}],
        )
        await order(api, "SELL", "0.01", isIsolated="TRUE")
        assert [(await ws.next_event())["e"] for _ in range(3)] == [
            "executionReport",
            "executionReport",
            "outboundAccountPosition",
        ]
        kit.advance(30_000)
        again = await api.post("/sapi/v1/userListenToken", symbol=SYMBOL, isIsolated="true", validity=60_000)
        second = (await ws.call("userDataStream.subscribe.listenToken", listenToken=again["token"]))["result"]
        assert second["subscriptionId"] == first["subscriptionId"]
        kit.advance(40_000)
        await borrow(api, SYMBOL, "BTC", "0.001")
        assert (await ws.next_event())["e"] == "balanceUpdate"
        await ws.next_event()
        kit.advance(60_000)
        await borrow(api, SYMBOL, "BTC", "0.001")
        assert (await ws.next_event())["e"] == "eventStreamTerminated"


async def test_the_risk_stream_tells_of_debts_and_of_the_level() -> None:
    async with margin("") as (kit, api):
        key = (await api.post(f"{M}/listen-key"))["listenKey"]
        assert (await api.post(f"{M}/listen-key"))["listenKey"] == key
        async with market_stream(kit, f"/ws/{key}") as stream:
            await borrow(api, "", "BTC", "0.03")
            borrowed, charged, level = [await stream.receive() for _ in range(3)]
            assert (borrowed["e"], borrowed["t"], borrowed["p"]) == ("USER_LIABILITY_CHANGE", "BORROW", "0.03000000")
            assert (charged["t"], charged["i"]) == ("INTEREST", "0.00000018")
            assert (level["e"], level["s"]) == ("MARGIN_LEVEL_STATUS_CHANGE", "NORMAL")
            await order(api, "SELL", "0.03")
            kit.trade("75000")
            assert (await stream.receive())["s"] == "MARGIN_CALL"
        assert await api.put(f"{M}/listen-key", listenKey=key) == {}
        await api.delete(f"{M}/listen-key", listenKey=key)
        assert (await api.put(f"{M}/listen-key", listenKey=key))["code"] == -3038


async def test_a_liquidation_is_on_record_and_its_orders_are_nobodys() -> None:
    async with margin() as (kit, api):
        await borrow(api, SYMBOL, "BTC", "0.05")
        await order(api, "SELL", "0.05", isIsolated="TRUE")
        exits = await order(api, "BUY", "0.05", price="55000", isIsolated="TRUE")
        kit.trade("72000")
        page = await api.get(f"{M}/forceLiquidationRec", isolatedSymbol=SYMBOL)
        assert (page["total"], page["rows"][0]["side"]) == (1, "BUY")
        gone = await api.get(f"{M}/order", symbol=SYMBOL, orderId=exits["orderId"], isIsolated="TRUE")
        assert gone["status"] == "EXPIRED"
        (pair,) = (await api.get(f"{M}/isolated/account"))["assets"]
        assert pair["baseAsset"]["borrowed"] == "0.00000000"
        assert (await api.post(f"{M}/manual-liquidation", type="ISOLATED", symbol=SYMBOL))["code"] == -3015
        await borrow(api, SYMBOL, "USDT", "10")
        assert (await api.post(f"{M}/manual-liquidation", type="ISOLATED", symbol=SYMBOL))["asset"] == "USDT"


async def test_a_loans_answer_is_lost_like_any_other() -> None:
    async with running(last_price="60000") as bare:
        faults = InjectedFaults(bare.clock)
    async with margin("", faults=faults) as (kit, api):
        faults._clock = kit.clock
        faults.add(RequestRule(request=f"POST {M}/borrow-repay", disconnect=True, times=1))
        with pytest.raises(Exception, match="isconnect"):
            await borrow(api, "", "BTC", "0.01")
        assert kit.engine.margin.account("main").debt("BTC").principal == Decimal("0.01")


async def test_totals_in_bitcoin_need_no_market_of_bitcoin() -> None:
    rows = [symbol_row("ETHUSDT", "ETH")]
    async with running(symbols=rows, last_price=None) as kit, rest(kit) as api:
        await api.post("/sapi/v1/asset/transfer", asset="USDT", amount="1000", type="MAIN_MARGIN")
        assert (await api.get(f"{M}/account"))["totalAssetOfBtc"] == "0.01666666"
