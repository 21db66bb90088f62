"""The npm package `binance`, with only its addresses changed, trades on the paper exchange: another language, another
author. Where npm can't have it, these tests say so and are left out.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.npm.packages import NotToBeHad, node_modules
from tests.paper.server.exchange_kit import API_KEY, SECRET, SYMBOL, Kit, running

from executor.paper.replay.clock import WallClock

VERSION: Final = "3.6.5"
SCRIPT: Final = Path(__file__).parent / "clients" / "binance.cjs"
ANSWER_S: Final = 30.0


class RefusedError(Exception):
    """What the client raised."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(str(told))
        self.code = told.get("code")
        self.message = told.get("message")


class Client:
    """The process of node that does as it is told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._n = 0

    async def rest(self, method: str, **params: Any) -> Any:
        return await self._do("rest", method, [params])

    async def put(self, path: str, **params: Any) -> Any:
        return await self._do("rest", "putPrivate", [path, params])

    async def ws(self, method: str, *args: Any) -> Any:
        return (await self._do("ws", method, list(args)))["result"]

    async def follow(self, topic: str) -> None:
        await self._do("follow", "", [topic])

    async def heard(self, kind: str, count: int) -> list[dict[str, Any]]:
        """So many events of the account (`user`) or the market (`market`)."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(ANSWER_S):
            while len(found) < count:
                found += await self._do("heard", kind, [])
                await asyncio.sleep(0.05)
        return found

    async def subscribe(self) -> None:
        await self._do("ws", "subscribeUserDataStream", ["mainWSAPI"])

    async def _do(self, what: str, method: str, args: list[Any]) -> Any:
        self._n += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"n": self._n, "what": what, "method": method, "args": args})
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(ANSWER_S):
            told = json.loads(await self._process.stdout.readline())
        assert told["n"] == self._n
        if "error" in told:
            raise RefusedError(told["error"])
        return told["result"]


@asynccontextmanager
async def client() -> AsyncIterator[tuple[Kit, Client]]:
    try:
        modules = await asyncio.to_thread(node_modules, binance=VERSION)
    except NotToBeHad as error:
        pytest.skip(f"the npm package binance can't be had: {error}")
    node = shutil.which("node")
    assert node is not None
    async with running(clock=WallClock()) as kit:
        environment = {
            "MODULES": str(modules),
            "BASE": kit.urls.base_url,
            "SOCKETS": kit.urls.stream_url,
            "KEY": API_KEY,
            "SECRET": SECRET,
        }
        process = await asyncio.create_subprocess_exec(
            node, SCRIPT, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            yield kit, Client(process)
        finally:
            process.kill()
            await process.wait()


LIMIT: Final = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.001",
    "price": "90000",
}


async def test_a_limit_order_lives_and_dies() -> None:
    async with client() as (_, c):
        placed = await c.rest("submitNewOrder", **LIMIT)
        assert placed["status"] == "NEW"
        assert (await c.rest("getOrder", symbol=SYMBOL, orderId=placed["orderId"]))["price"] == "90000.00000000"
        assert [o["orderId"] for o in await c.rest("getOpenOrders", symbol=SYMBOL)] == [placed["orderId"]]
        assert (await c.rest("cancelOrder", symbol=SYMBOL, orderId=placed["orderId"]))["status"] == "CANCELED"
        with pytest.raises(RefusedError) as caught:
            await c.rest("cancelOrder", symbol=SYMBOL, orderId=placed["orderId"])
        assert (caught.value.code, caught.value.message) == (-2011, "Unknown order sent.")


async def test_a_bracket_whose_exits_come_when_the_entry_fills() -> None:
    async with client() as (kit, c):
        bracket = await c.rest(
            "submitNewOrderListOTOCO",
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
        assert [report["type"] for report in bracket["orderReports"]] == ["LIMIT", "STOP_LOSS", "LIMIT_MAKER"]
        kit.trade("99000")
        live = await c.rest("getOpenOrders", symbol=SYMBOL)
        assert sorted(order["type"] for order in live) == ["LIMIT_MAKER", "STOP_LOSS"]
        kit.trade("94000")
        ended = await c.rest("getAllOrders", symbol=SYMBOL)
        assert [order["status"] for order in ended] == ["FILLED", "FILLED", "EXPIRED"]


async def test_opo_and_opoco_lists() -> None:
    async with client() as (_, c):
        working = {
            "symbol": SYMBOL,
            "workingType": "LIMIT",
            "workingSide": "BUY",
            "workingPrice": "90000",
            "workingQuantity": "0.01",
            "workingTimeInForce": "GTC",
        }
        opo = await c.rest(
            "submitNewOrderListOPO",
            **working,
            pendingType="LIMIT",
            pendingSide="SELL",
            pendingPrice="110000",
            pendingTimeInForce="GTC",
        )
        assert [report["status"] for report in opo["orderReports"]] == ["NEW", "PENDING_NEW"]
        opoco = await c.rest(
            "submitNewOrderListOPOCO",
            **working,
            pendingSide="SELL",
            pendingAboveType="LIMIT_MAKER",
            pendingAbovePrice="110000",
            pendingBelowType="STOP_LOSS",
            pendingBelowStopPrice="80000",
        )
        assert [report["status"] for report in opoco["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]


async def test_a_cancel_replace_and_an_amendment() -> None:
    async with client() as (_, c):
        old = await c.rest("submitNewOrder", **LIMIT)
        replaced = await c.rest(
            "replaceOrder",
            **{**LIMIT, "price": "91000"},
            cancelReplaceMode="STOP_ON_FAILURE",
            cancelOrderId=old["orderId"],
        )
        assert (replaced["cancelResult"], replaced["newOrderResult"]) == ("SUCCESS", "SUCCESS")
        number = replaced["newOrderResponse"]["orderId"]
        # Its own method for this asks the path of futures; its general one is signed the same way.
        amended = await c.put("api/v3/order/amend/keepPriority", symbol=SYMBOL, orderId=number, newQty="0.0005")
        assert amended["amendedOrder"]["qty"] == "0.00050000"
        with pytest.raises(RefusedError) as caught:
            await c.rest("replaceOrder", **LIMIT, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=old["orderId"])
        assert caught.value.code == -2022


async def test_the_websocket_api_and_its_user_stream() -> None:
    async with client() as (_, c):
        await c.subscribe()
        filled = await c.ws(
            "submitNewSpotOrder", {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        )
        assert filled["status"] == "FILLED"
        events = await c.heard("user", 3)
        assert [event["e"] for event in events] == ["executionReport", "executionReport", "outboundAccountPosition"]
        assert [event["X"] for event in events[:2]] == ["NEW", "FILLED"]
        resting = await c.ws("submitNewSpotOrder", LIMIT)
        amended = await c.ws(
            "amendSpotOrderKeepPriority", {"symbol": SYMBOL, "orderId": resting["orderId"], "newQty": "0.0005"}
        )
        assert amended["amendedOrder"]["qty"] == "0.00050000"
        gone = await c.ws("cancelSpotOrder", {"symbol": SYMBOL, "orderId": resting["orderId"]})
        assert gone["status"] == "CANCELED"
        kinds = [event["x"] for event in await c.heard("user", 3) if event["e"] == "executionReport"]
        assert kinds == ["NEW", "REPLACED", "CANCELED"]


async def test_market_data_and_its_streams() -> None:
    async with client() as (kit, c):
        await c.follow("btcusdt@trade")
        kit.trade("100123.45", "0.5")
        (trade,) = (await c.heard("market", 1))[:1]
        assert (trade["e"], trade["p"]) == ("trade", "100123.45000000")
        account = await c.rest("getAccountInformation")
        assert {"BTC", "USDT"} <= {balance["asset"] for balance in account["balances"]}
        info = await c.rest("getExchangeInfo", symbol=SYMBOL)
        assert info["symbols"][0]["symbol"] == SYMBOL
        assert (await c.rest("getSymbolPriceTicker", symbol=SYMBOL))["price"] == "100123.45000000"
