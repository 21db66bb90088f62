"""The wire misbehaves as planned, and only so."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import pytest
from tests.paper.server.exchange_kit import SYMBOL, Ws, rest, running, ws_api

from executor.paper.server import Answer, PushFault, RequestFault

ORDER = "/api/v3/order"
UNAVAILABLE = Answer(503, b'{"code":-1001,"msg":"Internal error; unable to process your request."}')


class Plan:
    """One fault for the requests of one path or method, and one for pushes that a test picks."""

    def __init__(
        self,
        path: str = "",
        fault: RequestFault | None = None,
        push: Callable[[str, Mapping[str, Any]], PushFault | None] | None = None,
    ) -> None:
        self.path = path
        self.fault = fault
        self.push = push
        self.asked: list[tuple[str, str, str | None]] = []

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.asked.append((method, path, params.get("symbol")))
        return self.fault if path == self.path and method != "GET" else None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return None if self.push is None else self.push(kind, event)


async def open_orders(client: Any) -> int:
    return len(await client.get("/api/v3/openOrders"))


@pytest.mark.parametrize("executed", [True, False])
async def test_an_answer_is_lost_with_or_without_the_order(executed: bool) -> None:
    plan = Plan(ORDER, RequestFault(execute=executed, disconnect=True))
    async with running(faults=plan) as kit, rest(kit) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.limit()
        assert await open_orders(client) == executed
        assert plan.asked[0] == ("POST", ORDER, SYMBOL)


@pytest.mark.parametrize("executed", [True, False])
async def test_a_server_error_says_nothing_about_execution(executed: bool) -> None:
    plan = Plan(ORDER, RequestFault(execute=executed, answer=UNAVAILABLE))
    async with running(faults=plan) as kit, rest(kit) as client:
        assert (await client.limit())["code"] == -1001
        assert client.status == 503
        assert await open_orders(client) == executed


async def test_a_bad_gateway_may_answer_in_html() -> None:
    plan = Plan(ORDER, RequestFault(execute=False, answer=Answer(502, b"<html></html>", "text/html")))
    async with running(faults=plan) as kit, rest(kit) as client:
        assert await client.limit() == "<html></html>"
        assert client.status == 502


async def test_an_order_that_waits_past_its_window_is_not_carried_out() -> None:
    plan = Plan(ORDER, RequestFault(delay_before_ms=5_001))
    async with running(faults=plan) as kit, rest(kit) as client:
        placing = asyncio.create_task(client.limit())
        await kit.until_asleep_for(5_001)
        assert kit.server.quiet()
        kit.advance(5_001)
        assert (await placing)["code"] == -1021
        assert await open_orders(client) == 0


async def test_an_order_within_its_window_is_carried_out_late() -> None:
    plan = Plan(ORDER, RequestFault(delay_before_ms=5_000))
    async with running(faults=plan) as kit, rest(kit) as client:
        placing = asyncio.create_task(client.limit())
        await kit.until_asleep_for(5_000)
        assert kit.engine.open_orders("main") == []
        kit.advance(5_000)
        assert (await placing)["transactTime"] == kit.clock.now_ms()


async def test_an_answer_may_come_long_after_the_order() -> None:
    plan = Plan(ORDER, RequestFault(delay_after_ms=60_000))
    async with running(faults=plan) as kit, rest(kit) as client:
        placing = asyncio.create_task(client.limit())
        await kit.until_asleep_for(60_000)
        assert len(kit.engine.open_orders("main")) == 1
        kit.advance(60_000)
        assert (await placing)["status"] == "NEW"


async def test_the_websocket_api_is_misled_too_and_others_overtake() -> None:
    plan = Plan("order.place", RequestFault(delay_before_ms=1_000))
    order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    async with running(faults=plan) as kit, ws_api(kit) as ws, ws_api(kit) as other:
        placing = asyncio.create_task(ws.signed("order.place", **order))
        await kit.until_asleep_for(1_000)
        kit.advance(1_000)
        assert (await placing)["result"]["status"] == "FILLED"
        plan.fault = RequestFault(disconnect=True)
        await other.socket.send_json({"id": 1, "method": "order.place", "params": other.signed_params(**order)})
        assert (await other.socket.receive(timeout=5)).type is not aiohttp.WSMsgType.TEXT
        assert len(kit.engine.my_trades("main", SYMBOL)) == 2


async def test_a_subscription_may_be_made_and_its_answer_lost() -> None:
    plan = Plan("userDataStream.subscribe.signature", RequestFault(delay_after_ms=10_000))
    async with running(faults=plan) as kit, ws_api(kit) as ws, rest(kit) as client:
        subscribing = asyncio.create_task(ws.signed("userDataStream.subscribe.signature"))
        await kit.until_asleep_for(10_000)
        await client.limit()
        kit.advance(10_000)
        assert (await subscribing)["result"] == {"subscriptionId": 0}
        assert [e["event"]["e"] for e in ws.events] == ["executionReport", "outboundAccountPosition"]


async def subscribe(ws: Ws) -> None:
    assert (await ws.signed("userDataStream.subscribe.signature"))["status"] == 200


async def test_pushes_are_lost() -> None:
    plan = Plan(push=lambda _, event: PushFault(copies=0) if event["e"] == "executionReport" else None)
    async with running(faults=plan) as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribe(ws)
        await client.limit()
        assert (await ws.next_event())["e"] == "outboundAccountPosition"


async def test_pushes_come_twice() -> None:
    plan = Plan(push=lambda *_: PushFault(copies=2))
    async with running(faults=plan) as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribe(ws)
        await client.limit()
        first, second = await ws.next_event(), await ws.next_event()
        assert first == second
        assert first["e"] == "executionReport"


async def test_other_bytes_come_in_the_place_of_a_push() -> None:
    plan = Plan(push=lambda _, event: PushFault(instead=b"<html>") if event["e"] == "executionReport" else None)
    async with running(faults=plan) as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribe(ws)
        await client.limit()
        assert (await ws.socket.receive()).data == "<html>"
        assert (await ws.next_event())["e"] == "outboundAccountPosition"


@pytest.mark.parametrize("enveloped", [True, False])
async def test_other_bytes_come_in_the_place_of_a_result(enveloped: bool) -> None:
    plan = Plan("order.place", RequestFault(answer=Answer(200, b'{"orderId":[]}', enveloped=enveloped)))
    async with running(faults=plan) as kit, ws_api(kit) as ws, rest(kit) as client:
        order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        params = ws.signed_params(**order, price="90000", quantity="0.01")
        await ws.socket.send_json({"id": 7, "method": "order.place", "params": params})
        told: dict[str, Any] = {"orderId": []}
        assert await ws.receive() == ({"id": 7, "status": 200, "result": told} if enveloped else told)
        assert await open_orders(client) == 1


async def test_pushes_come_late_and_so_in_another_order() -> None:
    plan = Plan(push=lambda _, event: PushFault(delay_ms=500) if event["e"] == "executionReport" else None)
    async with running(faults=plan) as kit, ws_api(kit) as ws, rest(kit) as client:
        await subscribe(ws)
        await client.limit()
        assert (await ws.next_event())["e"] == "outboundAccountPosition"
        await kit.until_asleep_for(500)
        kit.advance(500)
        assert (await ws.next_event())["e"] == "executionReport"
