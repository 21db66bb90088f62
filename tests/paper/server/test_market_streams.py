"""Market streams: what is pushed, to whom, and how often."""

import json
from typing import Any

import aiohttp
import pytest
from tests.paper.server.exchange_kit import Kit, Ws, market_stream, running

KEYS: dict[str, set[str]] = {
    "trade": {"e", "E", "s", "t", "p", "q", "T", "m", "M"},
    "aggTrade": {"e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"},
    "bookTicker": {"u", "s", "b", "B", "a", "A"},
    "kline_1m": {"e", "E", "s", "k"},
    "ticker": {
        "e", "E", "s", "p", "P", "w", "x", "c", "Q", "b", "B", "a", "A", "o", "h", "l", "v", "q", "O", "C", "F",
        "L", "n",
    },
    "miniTicker": {"e", "E", "s", "c", "o", "h", "l", "v", "q"},
    "avgPrice": {"e", "E", "s", "i", "w", "T"},
    "depth5": {"lastUpdateId", "bids", "asks"},
    "depth20@100ms": {"lastUpdateId", "bids", "asks"},
}  # fmt: skip


async def ask(ws: Ws, method: str, *params: Any) -> Any:
    """Send a control message; pushes that come before its answer are kept in `events`."""
    await ws.socket.send_str(json.dumps({"method": method, "params": list(params), "id": 1}))
    while True:
        answer = await ws.receive()
        if "id" in answer:
            return answer
        ws.events.append(answer)


def later(kit: Kit, price: str = "100001", after_ms: int = 1_000) -> None:
    kit.advance(after_ms)
    kit.trade(price)


@pytest.mark.parametrize("kind", sorted(KEYS))
async def test_each_stream_has_the_documented_fields(kind: str) -> None:
    async with (
        running() as kit,
        market_stream(kit, f"/ws/btcusdt@{kind}") as raw,
        market_stream(kit, f"/stream?streams=btcusdt@{kind}") as combined,
    ):
        await ask(raw, "LIST_SUBSCRIPTIONS")
        await ask(combined, "LIST_SUBSCRIPTIONS")
        later(kit)
        message = await raw.receive()
        assert set(message) == KEYS[kind]
        assert await combined.receive() == {"stream": f"btcusdt@{kind}", "data": message}


async def test_an_address_may_name_several_streams() -> None:
    async with running() as kit, market_stream(kit, "/stream?streams=btcusdt@trade/ethusdt@trade") as ws:
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "ethusdt@trade"]
        kit.trade("2500", symbol="ETHUSDT")
        kit.trade("100001")
        assert [(await ws.receive())["stream"] for _ in range(2)] == ["ethusdt@trade", "btcusdt@trade"]


async def test_streams_are_added_and_taken_away() -> None:
    async with running() as kit, market_stream(kit, "/ws") as ws:
        assert await ask(ws, "SUBSCRIBE", "btcusdt@trade", "btcusdt@avgPrice") == {"result": None, "id": 1}
        assert await ask(ws, "UNSUBSCRIBE", "btcusdt@avgPrice") == {"result": None, "id": 1}
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade"]
        later(kit)
        assert (await ws.receive())["e"] == "trade"
        assert (await ask(ws, "UNSUBSCRIBE", "btcusdt@trade"))["result"] is None
        assert not kit.server.market_is_watched
        assert ws.events == []


async def test_the_frame_around_messages_can_be_changed() -> None:
    async with running() as kit, market_stream(kit, "/ws/btcusdt@trade") as ws:
        assert (await ask(ws, "GET_PROPERTY", "combined"))["result"] is False
        assert (await ask(ws, "SET_PROPERTY", "combined", True))["result"] is None
        later(kit)
        assert (await ws.receive())["stream"] == "btcusdt@trade"


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        "[]",
        '{"id":1,"method":"SUBSCRIBE","params":"btcusdt@trade"}',
        '{"id":1,"method":"SUBSCRIBE","params":["nope@trade"]}',
        '{"id":1,"method":"SUBSCRIBE","params":["BTCUSDT@trade"]}',
        '{"id":1,"method":"SUBSCRIBE","params":["btcusdt@everything"]}',
        '{"id":1,"method":"DANCE","params":[]}',
        '{"id":1,"method":"SET_PROPERTY","params":["combined",1]}',
    ],
)
async def test_what_cannot_be_done_is_refused(text: str) -> None:
    async with running() as kit, market_stream(kit, "/ws") as ws:
        await ws.socket.send_str(text)
        assert set((await ws.receive())["error"]) == {"code", "msg"}
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_more_than_five_messages_a_second_end_the_connection() -> None:
    async with running() as kit, market_stream(kit, "/ws") as ws:
        for _ in range(5):
            await ask(ws, "LIST_SUBSCRIPTIONS")
        kit.advance(1_000)
        for _ in range(5):
            await ask(ws, "LIST_SUBSCRIPTIONS")
        await ws.socket.send_str("{}")
        message = await ws.socket.receive(timeout=5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_trades_come_each_and_statistics_once_a_second() -> None:
    streams = "/stream?streams=btcusdt@trade/btcusdt@miniTicker"
    async with running() as kit, market_stream(kit, streams) as ws:
        await ask(ws, "LIST_SUBSCRIPTIONS")
        for _ in range(3):
            later(kit, after_ms=300)
        kit.advance(1_000)
        later(kit, after_ms=0)
        names = [(await ws.receive())["stream"].split("@")[1] for _ in range(6)]
        assert names.count("trade") == 4
        assert names.count("miniTicker") == 2


async def test_best_prices_come_when_they_change() -> None:
    async with running() as kit, market_stream(kit, "/ws/btcusdt@bookTicker") as ws:
        await ask(ws, "LIST_SUBSCRIPTIONS")
        kit.trade("100005")
        assert (await ws.receive())["b"] == "100005.00000000"


async def test_a_kline_is_pushed_closed_before_the_next_one_begins() -> None:
    async with running() as kit, market_stream(kit, "/ws/btcusdt@kline_1m") as ws:
        await ask(ws, "LIST_SUBSCRIPTIONS")
        later(kit, "100010")
        later(kit, "100020", after_ms=60_000)
        first, closed, begun = [(await ws.receive())["k"] for _ in range(3)]
        assert (first["x"], first["c"]) == (False, "100010.00000000")
        assert (closed["x"], closed["t"], closed["c"]) == (True, first["t"], "100010.00000000")
        assert (begun["x"], begun["t"], begun["o"]) == (False, first["t"] + 60_000, "100020.00000000")
        assert (closed["f"], closed["L"], closed["n"]) == (1001, 1002, 2)


async def test_a_client_that_leaves_is_forgotten() -> None:
    watched = []
    async with running() as kit:
        for path in ("/ws/btcusdt@trade", "/ws"):
            async with market_stream(kit, path) as ws:
                await ask(ws, "LIST_SUBSCRIPTIONS")
                watched.append(kit.server.market_is_watched)
    assert watched == [True, False]
