"""Market streams: what is pushed, to whom, and how often."""

import aiohttp
import pytest
from tests.paper.server.exchange_kit import SYMBOL, Kit, ask_stream, market_stream, running
from tests.paper.server.test_as_documented import LIMIT
from tests.paper.server.transports import REST, wire

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
        await ask_stream(raw, "LIST_SUBSCRIPTIONS")
        await ask_stream(combined, "LIST_SUBSCRIPTIONS")
        later(kit)
        message = await raw.receive()
        assert set(message) == KEYS[kind]
        assert await combined.receive() == {"stream": f"btcusdt@{kind}", "data": message}


async def test_streams_of_all_symbols_tell_those_that_have_changed() -> None:
    """web-socket-streams.md, "All Market Mini Tickers Stream"."""
    address = "/stream?streams=!miniTicker@arr/!ticker_1h@arr"
    async with running() as kit, market_stream(kit, address) as ws:
        await ask_stream(ws, "LIST_SUBSCRIPTIONS")
        kit.trade("100001")
        kit.trade("2500", symbol="ETHUSDT")
        kit.advance(1_000)
        kit.trade("2501", symbol="ETHUSDT")
        told = [await ws.receive() for _ in range(4)]
        for name, kind in (("!miniTicker@arr", "24hrMiniTicker"), ("!ticker_1h@arr", "1hTicker")):
            first, second = [message["data"] for message in told if message["stream"] == name]
            assert [(row["e"], row["s"]) for row in first] == [(kind, SYMBOL)]
            assert [(row["s"], row["c"]) for row in second] == [("ETHUSDT", "2501.00000000")]


@pytest.mark.parametrize("kind", ["referencePrice", "blockTrade"])
async def test_a_stream_of_what_no_symbol_has_is_silent(kind: str) -> None:
    async with running() as kit, market_stream(kit, f"/ws/btcusdt@{kind}") as ws:
        assert (await ask_stream(ws, "LIST_SUBSCRIPTIONS"))["result"] == [f"btcusdt@{kind}"]
        later(kit)
        assert (await ask_stream(ws, "LIST_SUBSCRIPTIONS"))["result"] == [f"btcusdt@{kind}"]
        assert ws.events == []


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("kind", "length_ms", "starts_at_ms"),
    [
        ("kline_1s", 1_000, 0),
        ("kline_1m@+08:00", 60_000, 0),
        ("kline_1d", 24 * HOUR_MS, 0),
        ("kline_1d@+08:00", 24 * HOUR_MS, 16 * HOUR_MS),
        ("kline_1w@+08:00", 7 * 24 * HOUR_MS, (3 * 24 + 16) * HOUR_MS),
    ],
)
async def test_klines_are_cut_by_the_clock_that_the_stream_names(kind: str, length_ms: int, starts_at_ms: int) -> None:
    """The week of the epoch began on a Thursday."""
    async with running() as kit, market_stream(kit, f"/ws/btcusdt@{kind}") as ws:
        await ask_stream(ws, "LIST_SUBSCRIPTIONS")
        later(kit, "100010")
        bar = (await ws.receive())["k"]
        assert (bar["c"], bar["i"]) == ("100010.00000000", kind.removeprefix("kline_").removesuffix("@+08:00"))
        assert bar["T"] - bar["t"] + 1 == length_ms
        assert (bar["t"] - starts_at_ms) % length_ms == 0
        assert bar["t"] <= kit.clock.now_ms() <= bar["T"]


@pytest.mark.parametrize(
    ("request_text", "code", "message"),
    [
        ('{"id":1,"method":"FOO"}', 2, "Invalid request: unknown variant FOO, expected one of `SUBSCRIBE`, "),
        ('{"id":1}', 2, "Invalid request: missing field `method`"),
        ('{"id":1,"method":"SET_PROPERTY","params":["combined",1]}', 1, "Invalid value type: expected Boolean"),
        ('{"id":1,"method":"SET_PROPERTY","params":["combined",true,1]}', 2, "Invalid request: too many parameters"),
        ('{"id":1,"method":"GET_PROPERTY","params":["nope"]}', 0, "Unknown property"),
        ('{"id":1,"method":"GET_PROPERTY","params":[]}', 2, "Invalid request: property name must be a string"),
    ],
)
async def test_faults_are_told_in_the_documented_words(request_text: str, code: int, message: str) -> None:
    """web-socket-streams.md, "Error Messages"."""
    async with running() as kit, market_stream(kit, "/ws") as ws:
        await ws.socket.send_str(request_text)
        error = (await ws.receive())["error"]
        assert error["code"] == code
        assert error["msg"].startswith(message)


@pytest.mark.parametrize("path", ["/ws/btcusdt@trade?", "/stream?streams=btcusdt@trade&", "/ws-api/v3?"])
@pytest.mark.parametrize("unit", ["MICROSECOND", "FOO"])
async def test_a_connection_that_wants_other_times_than_milliseconds_is_refused(path: str, unit: str) -> None:
    async with running() as kit, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{kit.urls.stream_url}{path}timeUnit={unit}")
        assert refused.value.status == 400


async def test_an_address_may_name_several_streams() -> None:
    async with running() as kit, market_stream(kit, "/stream?streams=btcusdt@trade/ethusdt@trade") as ws:
        assert (await ask_stream(ws, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "ethusdt@trade"]
        kit.trade("2500", symbol="ETHUSDT")
        kit.trade("100001")
        assert [(await ws.receive())["stream"] for _ in range(2)] == ["ethusdt@trade", "btcusdt@trade"]


async def test_streams_are_added_and_taken_away() -> None:
    async with running() as kit, market_stream(kit, "/ws") as ws:
        assert await ask_stream(ws, "SUBSCRIBE", "btcusdt@trade", "btcusdt@avgPrice") == {"result": None, "id": 1}
        assert await ask_stream(ws, "UNSUBSCRIBE", "btcusdt@avgPrice") == {"result": None, "id": 1}
        assert (await ask_stream(ws, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade"]
        later(kit)
        assert (await ws.receive())["e"] == "trade"
        assert (await ask_stream(ws, "UNSUBSCRIBE", "btcusdt@trade"))["result"] is None
        assert not kit.server.market_is_watched
        assert ws.events == []


async def test_the_frame_around_messages_can_be_changed() -> None:
    async with running() as kit, market_stream(kit, "/ws/btcusdt@trade") as ws:
        assert (await ask_stream(ws, "GET_PROPERTY", "combined"))["result"] is False
        assert (await ask_stream(ws, "SET_PROPERTY", "combined", True))["result"] is None
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
        assert (await ask_stream(ws, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_more_than_five_messages_a_second_end_the_connection() -> None:
    async with running() as kit, market_stream(kit, "/ws") as ws:
        for _ in range(5):
            await ask_stream(ws, "LIST_SUBSCRIPTIONS")
        kit.advance(1_000)
        for _ in range(5):
            await ask_stream(ws, "LIST_SUBSCRIPTIONS")
        await ws.socket.send_str("{}")
        message = await ws.socket.receive(timeout=5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_trades_come_each_and_statistics_once_a_second() -> None:
    streams = "/stream?streams=btcusdt@trade/btcusdt@miniTicker"
    async with running() as kit, market_stream(kit, streams) as ws:
        await ask_stream(ws, "LIST_SUBSCRIPTIONS")
        for _ in range(3):
            later(kit, after_ms=300)
        kit.advance(1_000)
        later(kit, after_ms=0)
        names = [(await ws.receive())["stream"].split("@")[1] for _ in range(6)]
        assert names.count("trade") == 4
        assert names.count("miniTicker") == 2


async def test_best_prices_come_when_they_change() -> None:
    async with running() as kit, market_stream(kit, "/ws/btcusdt@bookTicker") as ws:
        await ask_stream(ws, "LIST_SUBSCRIPTIONS")
        kit.trade("100005")
        assert (await ws.receive())["b"] == "100005.00000000"


async def test_a_kline_is_pushed_closed_before_the_next_one_begins() -> None:
    async with running() as kit, market_stream(kit, "/ws/btcusdt@kline_1m") as ws:
        await ask_stream(ws, "LIST_SUBSCRIPTIONS")
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
                await ask_stream(ws, "LIST_SUBSCRIPTIONS")
                watched.append(kit.server.market_is_watched)
    assert watched == [True, False]


class TestStreams:
    @pytest.mark.parametrize("window", ["1h", "4h", "1d"])
    async def test_rolling_window(self, window: str) -> None:
        """web-socket-streams.md, "Individual Symbol Rolling Window Statistics Streams"."""
        async with running() as kit, market_stream(kit, f"/ws/btcusdt@ticker_{window}") as ws:
            await ask_stream(ws, "LIST_SUBSCRIPTIONS")
            kit.advance(1_000)
            kit.trade("101000", "2")
            row = await ws.receive()
            assert (row["e"], row["s"], row["c"], row["P"]) == (f"{window}Ticker", SYMBOL, "101000.00000000", "1.000")
            assert (row["o"], row["h"], row["l"], row["n"]) == (
                "100000.00000000",
                "101000.00000000",
                "100000.00000000",
                2,
            )
            assert row["O"] % 60_000 == 0
            assert row["C"] == kit.clock.now_ms()

    @pytest.mark.parametrize(("kind", "every_ms"), [("depth", 1_000), ("depth@100ms", 100)])
    async def test_a_copy_of_a_snapshot_is_kept_right_by_the_diffs(self, kind: str, every_ms: int) -> None:
        """web-socket-streams.md, "How to manage a local order book correctly"."""
        async with running() as kit, wire(kit, REST) as client, market_stream(kit, f"/ws/btcusdt@{kind}") as ws:
            await ask_stream(ws, "LIST_SUBSCRIPTIONS")
            kit.trade("100500")
            first = await ws.receive()
            kit.trade("99000")  # within the interval: in the snapshot, and in the next message
            await client.ask("order.place", **{**LIMIT, "type": "MARKET", "price": None, "timeInForce": None})
            snapshot = await client.ask("depth", symbol=SYMBOL, limit=5000)
            book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
            assert first["u"] < snapshot["lastUpdateId"]
            for price in ("99500", "101000", "101000"):
                kit.advance(every_ms)
                kit.trade(price)
            told = first["u"]
            for _ in range(3):
                diff = await ws.receive()
                assert set(diff) == {"e", "E", "s", "U", "u", "b", "a"}
                assert (diff["e"], diff["U"]) == ("depthUpdate", told + 1)
                told = diff["u"]
                for side, rows_ in (("bids", diff["b"]), ("asks", diff["a"])):
                    for price, quantity in rows_:
                        book[side][price] = quantity
                        if float(quantity) == 0:
                            del book[side][price]
            now = await client.ask("depth", symbol=SYMBOL, limit=5000)
            assert now["lastUpdateId"] == told
            assert {side: dict(now[side]) for side in ("bids", "asks")} == book
