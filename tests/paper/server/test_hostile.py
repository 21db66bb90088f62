"""Whatever a client sends, it is answered, the connection stays, and the log holds no traceback."""

import random
from typing import Any, Final

import pytest
from tests.paper.server.exchange_kit import SYMBOL, market_stream, rest, running, ws_api

from executor.paper.server.routes import by_method

DEEP: Final = "[" * 9_000
ODD: Final = (
    "", "0", "-1", "NaN", "1e400", "9" * 400, "9223372036854775808", "0." + "0" * 30 + "1", "\x00", "a" * 2_000, "%zz",
    "\u0663", "null", "[]", "{}", '["BTCUSDT","BTCUSDT"]', "true", "SELL", "MARKET", "STOP_LOSS_LIMIT", "GTC", "FULL",
    "1", "100000", "110000", "0.001", "1m", "+99:99", "99999999999999", "EXPIRE_MAKER", "LIMIT_MAKER",
)  # fmt: skip
NAMES: Final = (
    "symbol", "symbols", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice",
    "trailingDelta", "newClientOrderId", "icebergQty", "newOrderRespType", "orderId", "origClientOrderId", "limit",
    "startTime", "endTime", "fromId", "interval", "timeZone", "cancelReplaceMode", "cancelOrderId", "aboveType",
    "belowType", "abovePrice", "belowPrice", "belowStopPrice", "belowTimeInForce", "listClientOrderId", "orderListId",
    "workingType", "workingSide", "workingPrice", "workingQuantity", "pendingType", "pendingSide", "pendingQuantity",
    "pendingStopPrice", "newQty", "permissions", "symbolStatus", "windowSize", "recvWindow", "timestamp", "asset",
    "amount", "isIsolated", "subscriptionId", "listenToken",
)  # fmt: skip
GOOD: Final = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.001",
    "price": "90000",
}
PATHS: Final = [
    *(("POST", f"/api/v3/{name}") for name in ("order", "order/test", "order/cancelReplace", "orderList/oco")),
    *(("POST", f"/api/v3/orderList/{name}") for name in ("oto", "otoco", "opo", "opoco")),
    *(("GET", f"/api/v3/{name}") for name in ("order", "openOrders", "allOrders", "myTrades", "account", "orderList")),
    *(("GET", f"/api/v3/{name}") for name in ("klines", "depth", "trades", "aggTrades", "ticker", "exchangeInfo")),
    *(("DELETE", f"/api/v3/{name}") for name in ("order", "orderList", "openOrders")),
    ("PUT", "/api/v3/order/amend/keepPriority"),
]
MESSAGES: Final = (
    "", "null", "[]", "{", "9" * 5_000, DEEP, '{"a":' * 9_000, '{"id":1e999,"method":"ping"}',
    '{"id":"\\ud800","method":"ping"}',
    '{"id":' + "9" * 30 + ',"method":"ping"}', '{"id":1,"method":"ping","params":{"x":' + "[" * 900 + "]" * 900 + "}}",
    '{"id":1,"method":"ping","params":{"x":[' + "9" * 30 + "]}}", '{"id":{},"method":"ping"}', '{"id":1,"method":7}',
    '{"id":1,"method":"ping","params":[]}', '{"id":1,"method":"order.place","params":{"symbol":{"a":[1]}}}',
)  # fmt: skip
STREAMS: Final = (
    '{"method":"UNSUBSCRIBE","params":[[1]],"id":1}', '{"method":"UNSUBSCRIBE","params":[{}],"id":1}',
    '{"method":"SUBSCRIBE","params":[null,7,{}],"id":1}', '{"method":"SUBSCRIBE","params":{},"id":[]}', "null", DEEP,
    '{"method":{},"params":[],"id":' + "9" * 30 + "}", '{"method":"SET_PROPERTY","params":["combined",7],"id":1}',
)  # fmt: skip


@pytest.mark.parametrize("said", MESSAGES)
async def test_an_odd_message_of_the_websocket_api_is_answered(said: str, caplog: pytest.LogCaptureFixture) -> None:
    """A number too large for an id, or nesting too deep, ended the connection without a word."""
    async with running() as kit, ws_api(kit) as ws:
        await ws.socket.send_str(said)
        answer = await ws.receive()
        assert answer["status"] == 400 or (answer["status"], answer["id"]) == (200, 1)
        assert (await ws.call("ping"))["status"] == 200
    assert caplog.records == []


@pytest.mark.parametrize("said", STREAMS)
async def test_an_odd_message_of_a_market_stream_is_answered(said: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as kit, market_stream(kit, "/ws") as ws:
        await ws.socket.send_str(said)
        assert {"error", "result"} & (await ws.receive()).keys()
        await ws.socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":9}')
        assert (await ws.receive())["id"] == 9
    assert caplog.records == []


def drawn(rng: random.Random) -> dict[str, Any]:
    """Parameters of an order with some missing, and some odd."""
    params: dict[str, Any] = dict(GOOD) if rng.random() < 0.6 else {}
    params |= {rng.choice(NAMES): rng.choice(ODD) for _ in range(rng.randrange(4))}
    return {name: value for name, value in params.items() if rng.random() > 0.08}


@pytest.mark.parametrize("seed", range(3))
async def test_no_parameters_are_more_than_refused(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    methods = sorted(by_method())
    async with running() as kit, rest(kit) as client, ws_api(kit) as ws:
        for _ in range(250):
            kit.advance(3_000)
            answer = await ws.call(rng.choice(methods), **ws.signed_params(**drawn(rng)))
            assert answer["status"] < 500, answer
            verb, path = rng.choice(PATHS)
            await client.signed(verb, path, **drawn(rng))
            assert client.status < 500, (verb, path)
        assert await client.public("/api/v3/ping") == {}
    assert caplog.records == []
