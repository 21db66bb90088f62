"""Prices over real WebSockets: of the symbols that are followed, by address or by message."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

import pytest
from tests.exchange.streams.test_streams import QUICK, Heard, Peer, eventually, playing, stay
from tests.exchange.stub import START_MS, ManualClock
from websockets.asyncio.server import ServerConnection

from executor.core.model.facts import Quote
from executor.exchange.binance import BinanceExchange
from executor.exchange.streams.market_stream import BOOK as BEST
from executor.exchange.streams.market_stream import MESSAGE_EVERY_S, TRADES, HeardAt, MarketStream
from executor.exchange.transport.supervised import GIVE_WAY_TURNS, Connected, Lost

BOOK: Final = json.dumps(
    {
        "stream": "btcusdt@bookTicker",
        "data": {"u": 1, "s": "BTCUSDT", "b": "1.10", "B": "5", "a": "1.20", "A": "6"},
    }
)
TRADE: Final = json.dumps(
    {"stream": "btcusdt@trade", "data": {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 9, "p": "1.15", "q": "1"}}
)


async def test_the_market_is_quoted_once_it_is_known(exchange: BinanceExchange) -> None:
    async def script(connection: ServerConnection) -> None:
        for message in (BOOK, TRADE, TRADE, BOOK, BOOK.replace("1.20", "1.21"), TRADE.replace("1.15", "1.16")):
            await connection.send(message)
        await connection.send(json.dumps({"stream": "btcusdt@other", "data": {"e": "other"}}))
        await connection.close()

    async def again(connection: ServerConnection) -> None:
        await connection.send(TRADE)
        await connection.send('{"e": "serverShutdown", "E": 1}')
        await stay(connection)

    peer, heard = Peer(script, again), Heard()
    async with playing(peer):
        market = MarketStream(peer.url + "/", exchange.connection.clock, heard, timing=QUICK)
        market.follow("BTCUSDT")
        task = asyncio.create_task(market.run())
        events = await heard.kinds(Connected, Quote, Quote, Quote, Lost, Connected)
        await eventually(lambda: len(peer.paths) >= 3)
        assert [type(event) for event in heard.events[6:]] == [], "a bid of before the gap is not quoted again"
        task.cancel()
        await asyncio.wait({task})
    assert [(str(quote.bid), str(quote.ask), str(quote.last)) for quote in events[1:4]] == [
        ("1.10", "1.20", "1.15"),
        ("1.10", "1.21", "1.15"),
        ("1.10", "1.21", "1.16"),
    ]
    assert {quote.at for quote in events[1:4]} == {START_MS}
    assert peer.paths[0] == "/stream?streams=btcusdt@bookTicker/btcusdt@trade"


@asynccontextmanager
async def market_of(peer: Peer, exchange: BinanceExchange, *symbols: str) -> AsyncIterator[tuple[MarketStream, Heard]]:
    heard = Heard()
    async with playing(peer):
        market = MarketStream(peer.url, exchange.connection.clock, heard, timing=QUICK)
        for symbol in symbols:
            market.follow(symbol)
        task = asyncio.create_task(market.run())
        try:
            yield market, heard
        finally:
            task.cancel()
            await asyncio.wait({task})


async def obey(connection: ServerConnection, peer: Peer) -> None:
    """Grant every subscription."""
    async for message in connection:
        request = json.loads(message)
        peer.requests.append(request)
        await connection.send(json.dumps({"result": None, "id": request["id"]}))


async def test_what_is_followed_later_is_subscribed_to_and_what_is_left_is_not_heard(exchange: BinanceExchange) -> None:
    async def script(connection: ServerConnection) -> None:
        await obey(connection, peer)

    peer = Peer(script)
    async with market_of(peer, exchange) as (market, heard):
        await heard.kinds(Connected)
        assert peer.paths == ["/stream"]
        market.follow("BTCUSDT")
        market.follow("ETHUSDT")
        await eventually(lambda: market.settled)
        market.leave("BTCUSDT")
        await eventually(lambda: market.settled)
    assert [(request["method"], request["params"]) for request in peer.requests] == [
        ("SUBSCRIBE", ["btcusdt@bookTicker", "btcusdt@trade", "ethusdt@bookTicker", "ethusdt@trade"]),
        ("UNSUBSCRIBE", ["btcusdt@bookTicker", "btcusdt@trade"]),
    ]


async def test_each_quote_is_of_its_symbol_and_a_last_price_learnt_elsewhere_will_do(exchange: BinanceExchange) -> None:
    eth = json.dumps({"stream": "ethusdt@bookTicker", "data": {"s": "ETHUSDT", "b": "7", "a": "8"}})
    told: list[Any] = []

    async def script(connection: ServerConnection) -> None:
        await gate.wait()
        for message in (BOOK, eth, BOOK.replace("BTCUSDT", "XRPUSDT"), TRADE):
            await connection.send(message)
        await stay(connection)

    gate = asyncio.Event()
    peer = Peer(script)
    async with playing(peer):
        market = MarketStream(peer.url, exchange.connection.clock, told.append, timing=QUICK)
        market.follow("BTCUSDT")
        market.follow("ETHUSDT")
        task = asyncio.create_task(market.run())
        await eventually(lambda: told != [])
        known = Quote(START_MS, Decimal(6), Decimal(9), Decimal("7.5"))
        assert market.know("ETHUSDT", known) == market.know("XRPUSDT", known) == ()
        gate.set()
        await eventually(lambda: len(told) >= 3)
        task.cancel()
        await asyncio.wait({task})
    assert [(each.symbol, str(each.fact.last)) for each in told[1:]] == [("ETHUSDT", "7.5"), ("BTCUSDT", "1.15")]


async def test_each_half_is_heard_of_by_itself_and_what_was_asked_for_goes_for_the_silent_one(
    exchange: BinanceExchange, clock: ManualClock
) -> None:
    told: list[Any] = []
    turns = [asyncio.Event() for _ in range(3)]

    async def script(connection: ServerConnection) -> None:
        for turn, messages in zip(turns, ((TRADE, BOOK), (BOOK,), (BOOK.replace("1.10", "1.11"),)), strict=True):
            await turn.wait()
            for message in messages:
                await connection.send(message)
        await stay(connection)

    async def turn(number: int, at: int) -> None:
        clock.at = at
        turns[number].set()
        await eventually(lambda: market.heard("BTCUSDT").book_at == at)

    peer = Peer(script)
    async with playing(peer):
        market = MarketStream(peer.url, exchange.connection.clock, told.append, timing=QUICK)
        market.follow("BTCUSDT")
        assert market.heard("BTCUSDT") == market.heard("ETHUSDT") == HeardAt(0, 0)
        task = asyncio.create_task(market.run())
        await turn(0, START_MS)
        await turn(1, START_MS + 60_000)  # told, though nothing has changed
        assert market.heard("BTCUSDT") == HeardAt(START_MS + 60_000, START_MS)
        moved = Quote(START_MS + 60_000, Decimal("1.00"), Decimal("1.20"), Decimal("1.02"))
        assert market.know("BTCUSDT", moved) == (TRADES,)  # the book's own word is as new as the answer
        assert market.know("BTCUSDT", moved) == ()
        await turn(2, START_MS + 61_000)
        later = Quote(START_MS + 70_000, Decimal("1.00"), Decimal("1.20"), Decimal("1.02"))
        assert market.know("BTCUSDT", later) == (BEST,)
        task.cancel()
        await asyncio.wait({task})
    assert (str(told[-1].fact.bid), str(told[-1].fact.last)) == ("1.11", "1.02"), "not the trade of before the answer"


async def test_too_many_for_an_address_are_asked_for_by_message_after_every_connect(exchange: BinanceExchange) -> None:
    async def once(connection: ServerConnection) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await obey(connection, peer)
        await connection.close()

    async def script(connection: ServerConnection) -> None:
        await obey(connection, peer)

    peer = Peer(once, script)
    async with market_of(peer, exchange, *(f"S{n:02}USDT" for n in range(100))) as (market, heard):
        await heard.kinds(Connected, Lost, Connected)
        await eventually(lambda: market.settled and len(peer.requests) >= 2)
    for path, request in zip(peer.paths, peer.requests, strict=True):
        assert path.count("@trade") == 40
        assert len(request["params"]) == 120


async def test_many_wishes_are_few_messages(exchange: BinanceExchange) -> None:
    """The exchange takes five a second."""

    async def script(connection: ServerConnection) -> None:
        await obey(connection, peer)

    peer = Peer(script)
    async with market_of(peer, exchange) as (market, heard):
        await heard.kinds(Connected)
        began = asyncio.get_running_loop().time()
        for n in range(200):
            market.follow(f"S{n:03}USDT")
            if n % 2:
                market.leave(f"S{n - 1:03}USDT")
            await asyncio.sleep(0.004)
        await eventually(lambda: market.settled)
        took = asyncio.get_running_loop().time() - began
        assert len(peer.requests) <= 2 + took / MESSAGE_EVERY_S


@pytest.mark.parametrize(
    "answer",
    ['{"error": {"code": 2, "msg": "no"}, "id": 1}', '{"code": 2, "msg": "Invalid request", "id": 1}', None],
    ids=["refused", "refused as documented", "silent"],
)
async def test_a_subscription_that_is_not_granted_is_a_gap(exchange: BinanceExchange, answer: str | None) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        if answer is not None:
            await connection.send(answer)
        await stay(connection)

    peer = Peer(script)
    async with market_of(peer, exchange) as (market, heard):
        await heard.kinds(Connected)
        market.follow("BTCUSDT")
        events = await heard.until(lambda events: len(events) >= 3)
        assert [type(event) for event in events[:3]] == [Connected, Lost, Connected]


async def test_a_price_lets_what_is_more_urgent_be_done_first_but_not_for_ever(exchange: BinanceExchange) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(BOOK)
        await gate.wait()
        await connection.send(TRADE)
        await stay(connection)

    gate, peer, told = asyncio.Event(), Peer(script), list[Any]()
    heard_before: list[int] = []

    def urgent(_message: bytes) -> bool:
        heard_before.append(len(told))
        return gate.is_set()

    async with playing(peer):
        market = MarketStream(peer.url, exchange.connection.clock, told.append, timing=QUICK)
        market.follow("BTCUSDT")
        market.gives_way = urgent
        task = asyncio.create_task(market.run())
        await eventually(lambda: len(heard_before) == 1)
        gate.set()
        await eventually(lambda: len(told) == 2)
        task.cancel()
        await asyncio.wait({task})
    assert heard_before == [1] * (1 + GIVE_WAY_TURNS)
