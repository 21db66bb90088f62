"""The WebSocket API: envelope, sessions, subscriptions, and every event of an order's life."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.paper.server.exchange_kit import (
    ACCOUNT,
    API_KEY,
    SECRET,
    SYMBOL,
    Ws,
    ed25519_sign,
    public_key,
    rest,
    running,
    ws_api,
)

from executor.paper.server import Credential, HmacSecret, Limits
from executor.paper.server.call import Security
from executor.paper.server.routes import ROUTES
from executor.paper.server.server import CONNECTION_LIFETIME_MS

REPORT = {
    "e", "E", "s", "c", "S", "o", "f", "q", "p", "P", "F", "g", "C", "x", "X", "r", "i", "l", "z", "L", "n", "N",
    "T", "t", "I", "w", "m", "M", "O", "Z", "Y", "Q", "V",
}  # fmt: skip
LIST_STATUS = {"e", "E", "s", "g", "c", "l", "L", "r", "C", "T", "O"}
SUBSCRIBE = "userDataStream.subscribe.signature"

ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
KEYS = {
    API_KEY: Credential(ACCOUNT, HmacSecret(SECRET)),
    "ed": Credential(ACCOUNT, public_key(ED25519_KEY)),
}


async def events(stream: Ws, count: int) -> list[Any]:
    return [await stream.next_event() for _ in range(count)]


async def silent(stream: Ws) -> bool:
    """Whether nothing was pushed before the answer to a request that is sent now."""
    await stream.call("ping")
    return not stream.events


# envelope


async def test_answers_carry_id_status_result_and_limits() -> None:
    async with running() as kit, ws_api(kit) as ws:
        answer = await ws.call("time")
        assert set(answer) == {"id", "status", "result", "rateLimits"}
        assert (answer["status"], answer["result"]) == (200, {"serverTime": kit.clock.now_ms()})
        assert answer["rateLimits"] == [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 3}
        ]
        assert "rateLimits" not in await ws.call("v3/ping", returnRateLimits=False)
        refused = await ws.call("depth", symbol="NOPE")
        assert set(refused) == {"id", "status", "error", "rateLimits"}
        assert (refused["status"], refused["error"]) == (400, {"code": -1121, "msg": "Invalid symbol."})


async def test_limits_can_be_hidden_for_a_whole_connection() -> None:
    async with running() as kit, ws_api(kit, query="?returnRateLimits=false") as ws:
        assert "rateLimits" not in await ws.call("ping")
        assert "rateLimits" in await ws.call("ping", returnRateLimits=True)


async def test_hiding_limits_is_part_of_what_is_signed() -> None:
    """web-socket-api.md, "Request security": the signature is of all parameters but itself."""
    async with running() as kit, ws_api(kit) as ws:
        placed = await ws.signed(
            "order.place",
            symbol=SYMBOL,
            side="BUY",
            type="LIMIT",
            timeInForce="GTC",
            quantity="0.001",
            price="90000",
            returnRateLimits=False,
        )
        assert (placed["status"], "rateLimits" in placed) == (200, False)
        assert (await ws.signed("userDataStream.subscribe.signature", returnRateLimits=False))["status"] == 200


@pytest.mark.parametrize("request_id", [None, 7, "text"])
async def test_ids_are_echoed(request_id: int | str | None) -> None:
    async with running() as kit, ws_api(kit) as ws:
        await ws.socket.send_str(json.dumps({"id": request_id, "method": "ping"}))
        assert (await ws.receive())["id"] == request_id


@pytest.mark.parametrize("text", ["", "nope", "[]", "{}", '{"id":1}', '{"id":{},"method":"ping"}', '{"method":5}'])
async def test_what_is_no_request_is_refused_and_the_connection_lives_on(text: str) -> None:
    async with running() as kit, ws_api(kit) as ws:
        await ws.socket.send_str(text)
        answer = await ws.receive()
        assert (answer["status"], answer["error"]["code"], answer["id"]) == (400, -1135, None)
        assert (await ws.call("ping"))["status"] == 200
        assert (await ws.call("no.such.method"))["error"]["code"] == -1020


async def test_placing_shows_the_unfilled_orders_and_costs_no_weight() -> None:
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "90000"}
    async with running() as kit, ws_api(kit) as ws:
        answer = await ws.signed("order.place", **order, quantity="0.001")
        assert [(row["rateLimitType"], row["count"]) for row in answer["rateLimits"]] == [
            ("ORDERS", 1),
            ("ORDERS", 1),
            ("REQUEST_WEIGHT", 2),
        ]


async def test_too_much_weight_tells_when_to_come_back_and_a_ban_disconnects() -> None:
    async with running(limits=Limits(request_weight_per_minute=4, refusals_before_ban=1)) as kit, ws_api(kit) as ws:
        await ws.call("ping")
        await ws.call("ping")
        answer = await ws.call("ping")
        assert answer["status"] == 429
        end_of_minute = (kit.clock.now_ms() // 60_000 + 1) * 60_000
        assert answer["error"]["data"] == {"serverTime": kit.clock.now_ms(), "retryAfter": end_of_minute}
        banned = await ws.call("ping")
        assert banned["status"] == 418
        assert banned["error"]["data"]["retryAfter"] == kit.clock.now_ms() + 120_000
        assert (await ws.socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with ws_api(kit):
                pass
        assert caught.value.status == 418


# the same handlers as REST


async def test_every_method_of_the_table_answers_and_refuses_unknown_parameters() -> None:
    async with running(limits=Limits(request_weight_per_minute=10**6)) as kit, ws_api(kit) as ws:
        for route in ROUTES:
            if route.ws is None:
                continue
            call = ws.call if route.security is Security.NONE else ws.signed
            answer = await call(route.ws, colour="red")
            assert answer["status"] == 400, route.ws
            sent = 3 if route.security.signed else 1
            wanted = (-1101,) if route.parameters is not None and route.parameters < sent else (-1102, -1104)
            assert answer["error"]["code"] in wanted, (route.ws, answer)


async def test_both_transports_answer_the_same() -> None:
    async with running() as kit, rest(kit) as client, ws_api(kit) as ws:
        placed = await client.limit(newClientOrderId="mine")
        kit.trade("100001")
        for path, method, signed, params in (
            ("/api/v3/order", "order.status", True, {"symbol": SYMBOL, "orderId": placed["orderId"]}),
            ("/api/v3/openOrders", "openOrders.status", True, {}),
            ("/api/v3/allOrders", "allOrders", True, {"symbol": SYMBOL}),
            ("/api/v3/account", "account.status", True, {}),
            ("/api/v3/myTrades", "myTrades", True, {"symbol": SYMBOL}),
            ("/api/v3/rateLimit/order", "account.rateLimits.orders", True, {}),
            ("/api/v3/depth", "depth", False, {"symbol": SYMBOL}),
            ("/api/v3/klines", "klines", False, {"symbol": SYMBOL, "interval": "1m"}),
            ("/api/v3/ticker/24hr", "ticker.24hr", False, {"symbol": SYMBOL}),
            ("/api/v3/ticker/price", "ticker.price", False, {}),
            ("/api/v3/exchangeInfo", "exchangeInfo", False, {"symbol": SYMBOL}),
        ):
            if signed:
                over_http, over_socket = await client.get(path, **params), await ws.signed(method, **params)
            else:
                over_http, over_socket = await client.public(path, **params), await ws.call(method, **params)
            assert over_socket["result"] == over_http, method


async def test_lists_of_symbols_are_json_arrays_here() -> None:
    async with running() as kit, ws_api(kit) as ws:
        answer = await ws.call("ticker.price", symbols=[SYMBOL, "ETHUSDT"])
        assert [row["symbol"] for row in answer["result"]] == [SYMBOL, "ETHUSDT"]


# security


async def test_signatures_are_over_sorted_raw_parameters() -> None:
    async with running(keys=KEYS) as kit:
        async with ws_api(kit) as ws:
            assert (await ws.signed("account.status", omitZeroBalances=True))["status"] == 200
            wrong = {**ws.signed_params(), "omitZeroBalances": True}
            assert (await ws.call("account.status", **wrong))["error"]["code"] == -1022
            assert (await ws.signed("account.status", timestamp=kit.clock.now_ms() - 6000))["error"]["code"] == -1021
            assert (await ws.call("account.status"))["error"]["code"] == -1102
        async with ws_api(kit, "ed", ed25519_sign(ED25519_KEY)) as ws:
            assert (await ws.signed("account.status"))["status"] == 200
        async with ws_api(kit, "stranger") as ws:
            refused = await ws.signed("account.status")
            assert (refused["status"], refused["error"]["code"]) == (401, -2015)


async def test_a_session_vouches_for_its_requests() -> None:
    async with running(keys=KEYS) as kit, ws_api(kit, "ed", ed25519_sign(ED25519_KEY)) as ws:
        logon = await ws.signed("session.logon")
        now = kit.clock.now_ms()
        assert logon["result"] == {
            "apiKey": "ed",
            "authorizedSince": now,
            "connectedSince": now,
            "returnRateLimits": True,
            "serverTime": now,
            "userDataStream": False,
        }
        assert (await ws.call("account.status", timestamp=now))["status"] == 200
        assert (await ws.call("account.status"))["error"]["code"] == -1102
        assert (await ws.call("account.status", timestamp=now - 6000))["error"]["code"] == -1021
        logout = await ws.call("session.logout")
        assert (logout["result"]["apiKey"], logout["result"]["authorizedSince"]) == (None, None)
        assert (await ws.call("account.status", timestamp=now))["error"]["code"] == -1102


async def test_only_ed25519_keys_open_a_session() -> None:
    async with running(keys=KEYS) as kit, ws_api(kit) as ws:
        assert (await ws.signed("session.logon"))["error"]["code"] == -2015
        assert (await ws.call("userDataStream.subscribe"))["error"]["code"] == -1002


# subscriptions


async def test_one_subscription_per_account_and_connection() -> None:
    async with running(keys=KEYS) as kit, ws_api(kit) as ws, ws_api(kit) as other:
        assert (await ws.signed(SUBSCRIBE))["result"] == {"subscriptionId": 0}
        assert (await ws.signed(SUBSCRIBE))["error"]["code"] == -2035
        assert (await other.signed(SUBSCRIBE))["result"] == {"subscriptionId": 0}
        assert (await ws.call("session.subscriptions"))["result"] == [{"subscriptionId": 0}]
        assert (await ws.call("session.status"))["result"]["userDataStream"] is True
        assert (await ws.call("userDataStream.unsubscribe", subscriptionId=5))["error"]["code"] == -2036
        assert (await ws.call("userDataStream.unsubscribe", subscriptionId=0))["result"] == {}
        assert ws.events == [{"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": kit.clock.now_ms()}}]
        assert (await ws.call("session.subscriptions"))["result"] == []
        assert (await ws.signed(SUBSCRIBE))["result"] == {"subscriptionId": 1}


async def test_a_logout_ends_the_subscription_of_the_logon_only() -> None:
    async with running(keys=KEYS) as kit, ws_api(kit, "ed", ed25519_sign(ED25519_KEY)) as ws:
        await ws.signed("session.logon")
        assert (await ws.call("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
        await ws.call("session.logout")
        assert (await ws.next_event())["e"] == "eventStreamTerminated"
        assert (await ws.call("session.status"))["result"]["userDataStream"] is False


async def test_two_accounts_hear_of_themselves_only() -> None:
    keys = {API_KEY: Credential(ACCOUNT, HmacSecret(SECRET)), "second": Credential("second", HmacSecret(SECRET))}
    async with running(keys=keys) as kit, ws_api(kit) as mine, ws_api(kit, "second") as theirs, rest(kit) as client:
        await mine.signed(SUBSCRIBE)
        await theirs.signed(SUBSCRIBE)
        await client.limit()
        assert (await mine.next_event())["e"] == "executionReport"
        assert await silent(theirs)


async def test_nothing_is_delivered_for_the_time_before_a_subscription() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await client.limit(price="90000")
        await ws.signed(SUBSCRIBE)
        await client.limit(price="91000")
        assert (await ws.next_event())["p"] == "91000.00000000"


# events of orders


async def subscribed(ws: Ws) -> None:
    assert (await ws.signed(SUBSCRIBE))["status"] == 200


async def test_a_limit_order_is_new_then_traded_then_filled() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        placed = await client.limit(price="99000", quantity="0.002", newClientOrderId="mine")
        new, position = await events(ws, 2)
        assert set(new) == REPORT | {"W"}
        assert (new["x"], new["X"], new["c"], new["C"], new["i"]) == ("NEW", "NEW", "mine", "", placed["orderId"])
        assert (new["w"], new["n"], new["N"], new["t"], new["g"]) == (True, "0", None, -1, -1)
        assert set(position) == {"e", "E", "u", "B"}
        assert position["B"] == [{"a": "USDT", "f": "99802.00000000", "l": "198.00000000"}]
        kit.trade("98999", "5")
        filled, position = await events(ws, 2)
        assert (filled["x"], filled["X"], filled["m"], filled["w"]) == ("TRADE", "FILLED", True, False)
        assert (filled["l"], filled["z"], filled["L"]) == ("0.00200000", "0.00200000", "99000.00000000")
        assert (filled["n"], filled["N"]) == ("0.00000200", "BTC")
        assert filled["T"] == kit.clock.now_ms()
        assert {b["a"] for b in position["B"]} == {"BTC", "USDT"}
        assert await silent(ws)


async def test_a_cancel_carries_both_ids() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        await client.limit(newClientOrderId="mine")
        await events(ws, 2)
        await client.delete("/api/v3/order", symbol=SYMBOL, origClientOrderId="mine", newClientOrderId="cancel")
        gone, position = await events(ws, 2)
        assert (gone["x"], gone["X"], gone["c"], gone["C"]) == ("CANCELED", "CANCELED", "cancel", "mine")
        assert position["B"] == [{"a": "USDT", "f": "100000.00000000", "l": "0.00000000"}]


async def test_a_stop_works_only_after_its_trigger() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        await client.post(
            "/api/v3/order", symbol=SYMBOL, side="SELL", type="STOP_LOSS_LIMIT", timeInForce="GTC",
            quantity="0.01", stopPrice="99000", price="98000",
        )  # fmt: skip
        new, _ = await events(ws, 2)
        assert set(new) == REPORT
        assert (new["w"], new["P"]) == (False, "99000.00000000")
        kit.trade("99000")
        kit.trade("99000")
        seen = [e for e in await events(ws, 3) if e["e"] == "executionReport"]
        assert seen[-1]["X"] == "FILLED"
        assert all(report["W"] == seen[0]["W"] for report in seen)


async def test_an_oco_tells_of_the_list_and_of_each_leg() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        placed = await client.post(
            "/api/v3/orderList/oco", symbol=SYMBOL, side="SELL", quantity="0.01", aboveType="LIMIT_MAKER",
            abovePrice="101000", belowType="STOP_LOSS_LIMIT", belowStopPrice="95000", belowPrice="94900",
            belowTimeInForce="GTC", listClientOrderId="list",
        )  # fmt: skip
        seen = await events(ws, 4)
        assert sorted(e["e"] for e in seen) == [
            "executionReport", "executionReport", "listStatus", "outboundAccountPosition",
        ]  # fmt: skip
        status = next(e for e in seen if e["e"] == "listStatus")
        assert set(status) == LIST_STATUS
        assert (status["c"], status["l"], status["L"], status["C"]) == ("OCO", "EXEC_STARTED", "EXECUTING", "list")
        assert [o["i"] for o in status["O"]] == [o["orderId"] for o in placed["orders"]]
        kit.trade("101001", "5")
        seen = await events(ws, 4)
        reports = {e["o"]: e for e in seen if e["e"] == "executionReport"}
        assert reports["LIMIT_MAKER"]["X"] == "FILLED"
        assert (reports["STOP_LOSS_LIMIT"]["X"], reports["STOP_LOSS_LIMIT"]["eR"]) == ("EXPIRED", "OCO_TRIGGER")
        assert next(e for e in seen if e["e"] == "listStatus")["L"] == "ALL_DONE"


async def test_an_amend_is_a_replacement() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        await client.limit(quantity="0.002", newClientOrderId="a")
        await events(ws, 2)
        await client.put(
            "/api/v3/order/amend/keepPriority",
            symbol=SYMBOL,
            origClientOrderId="a",
            newQty="0.001",
            newClientOrderId="b",
        )
        replaced, _ = await events(ws, 2)
        assert (replaced["x"], replaced["c"], replaced["C"], replaced["q"]) == ("REPLACED", "b", "a", "0.00100000")


async def test_trailing_stops_and_strategies_show_their_fields() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        await client.post(
            "/api/v3/order", symbol=SYMBOL, side="SELL", type="STOP_LOSS", quantity="0.01", trailingDelta=100,
            strategyId=3, strategyType=1_000_003,
        )  # fmt: skip
        new, _ = await events(ws, 2)
        assert (new["d"], new["j"], new["J"]) == (100, 3, 1_000_003)
        assert "D" in new


async def test_money_from_outside_is_told() -> None:
    async with running() as kit, ws_api(kit) as ws:
        await subscribed(ws)
        now = kit.clock.now_ms()
        kit.engine.adjust_balance(ACCOUNT, "USDT", Decimal(5), now)
        kit.engine.lock_externally(ACCOUNT, "USDT", Decimal(2), now)
        kit.trade("100000")
        seen = await events(ws, 4)
        assert [e["e"] for e in seen] == [
            "balanceUpdate", "outboundAccountPosition", "externalLockUpdate", "outboundAccountPosition",
        ]  # fmt: skip
        assert set(seen[0]) == set(seen[2]) == {"e", "E", "a", "d", "T"}
        assert (seen[0]["d"], seen[2]["d"]) == ("5.00000000", "2.00000000")


async def test_events_come_in_the_order_in_which_they_happened() -> None:
    async with running() as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribed(ws)
        for n in range(20):
            await client.limit(price=str(90000 + n), newClientOrderId=f"o{n}")
        reports = [e for e in await events(ws, 40) if e["e"] == "executionReport"]
        assert [r["c"] for r in reports] == [f"o{n}" for n in range(20)]
        assert [r["I"] for r in reports] == sorted(r["I"] for r in reports)


# the connection


async def test_pings_come_from_the_server() -> None:
    async with (
        running(ping_every_s=0.02) as kit,
        aiohttp.ClientSession() as session,
        session.ws_connect(kit.urls.ws_api_url, autoping=False) as socket,
    ):
        message = await socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.PING
        await socket.pong(message.data)
        await socket.ping(b"mine")
        while (message := await socket.receive(timeout=5)).type is aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"mine")


async def test_a_connection_ends_after_a_day_of_market_time() -> None:
    async with running() as kit, ws_api(kit) as ws:
        await ws.call("ping")
        kit.advance(CONNECTION_LIFETIME_MS)
        assert (await ws.socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


async def test_a_stop_is_announced() -> None:
    async with running() as kit, ws_api(kit) as ws:
        await ws.call("ping")
        stopping = asyncio.create_task(kit.server.stop())
        assert (await ws.receive())["event"]["e"] == "serverShutdown"
        assert (await ws.socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        await stopping


async def test_a_lost_connection_loses_its_subscription() -> None:
    async with running() as kit, rest(kit) as client:
        async with ws_api(kit) as ws:
            await ws.signed(SUBSCRIBE)
        await client.limit()
        async with ws_api(kit) as ws:
            assert (await ws.call("session.subscriptions"))["result"] == []
            kit.server.drop_connections()
            assert (await ws.socket.receive(timeout=5)).type in (
                aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE,
            )  # fmt: skip
