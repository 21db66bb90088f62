"""Pushes of margin accounts: a token each, renewed on the same connection before it runs out; the risk stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.exchange.streams.test_streams import QUICK, Heard, Peer, eventually, playing, stay
from tests.exchange.stub import KEY, SECRET, START_MS, Say, Stub, error
from tests.exchange.wire.test_reading import golden
from websockets.asyncio.server import ServerConnection

from executor.core.model.facts import OrderReport
from executor.exchange.binance import BinanceExchange
from executor.exchange.streams.margin_stream import METHOD, WITHOUT_AGAIN_S, MarginUserStream
from executor.exchange.streams.risk_stream import KEEP_EVERY_S, RiskChanged, RiskStream
from executor.exchange.transport.auth import Credentials
from executor.exchange.transport.supervised import Connected, Lost
from executor.exchange.wire.margin import Account

TOKEN: Final = "POST /sapi/v1/userListenToken"
RISK_KEY: Final = "POST /sapi/v1/margin/listen-key"
KEPT: Final = "PUT /sapi/v1/margin/listen-key"
PAIRS: Final = (Account("BTCUSDT"), Account("LTCUSDT"))


def token(name: str, lasts_s: float = 86_400) -> Say:
    return Say(json={"token": name, "expirationTime": START_MS + round(lasts_s * 1000), "later": 1})


class Waiting:
    """Sleeps until it is let go; remembers for how long it was to be."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.over.wait()
        self.over.clear()


@asynccontextmanager
async def margin_stream(
    peer: Peer, exchange: BinanceExchange, waiting: Waiting, *accounts: Account, risk: list[int] | None = None
) -> AsyncIterator[Heard]:
    heard = Heard()
    async with playing(peer):
        stream = MarginUserStream(
            peer.url,
            Credentials.hmac(KEY, SECRET),
            exchange.connection,
            ["BTCUSDT", "LTCUSDT"],
            heard,
            accounts=accounts,
            sleep=waiting.sleep,
            on_risk=lambda: (risk if risk is not None else []).append(1),
            timing=QUICK,
        )
        task = asyncio.create_task(stream.run())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


def asked_with(peer: Peer) -> list[Any]:
    assert all(request["method"] == METHOD for request in peer.requests)
    return [request["params"] for request in peer.requests]


async def test_each_isolated_account_has_a_token_and_all_share_a_connection(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script(TOKEN, token("one"), token("two"))

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await peer.subscribed(connection, golden("push_position"))
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    peer = Peer(script)
    async with margin_stream(peer, exchange, Waiting(), *PAIRS) as heard:
        events = await heard.until(lambda events: any(isinstance(each, OrderReport) for each in events))
    assert isinstance(events[0], Connected)
    assert asked_with(peer) == [{"listenToken": "one"}, {"listenToken": "two"}]
    assert [(seen.params["isIsolated"], seen.params["symbol"]) for seen in stub.seen if "Token" in seen.path] == [
        ("true", "BTCUSDT"),
        ("true", "LTCUSDT"),
    ]


async def test_many_accounts_are_subscribed_to_together_however_long_a_round_trip_is(
    stub: Stub, exchange: BinanceExchange
) -> None:
    """One after the other they would take twice as many round trips as there are accounts, and never come up."""
    many = [Account(f"S{n}USDT") for n in range(12)]
    stub.script(TOKEN, *[lambda seen: Say(json={"token": seen.params["symbol"]}, hang=QUICK.open / 10)] * 12)

    async def script(connection: ServerConnection) -> None:
        requests = [json.loads(await connection.recv()) for _ in many]  # none of them waits for an answer
        peer.requests += requests
        for request in reversed(requests):
            await asyncio.sleep(QUICK.open / 10)
            await connection.send(golden("push_position").decode())
            await connection.send(json.dumps({"id": request["id"], "status": 200, "result": {}}))
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    peer = Peer(script)
    async with margin_stream(peer, exchange, Waiting(), *many) as heard:
        events = await heard.until(lambda events: any(isinstance(each, OrderReport) for each in events))
    assert isinstance(events[0], Connected)
    assert {each["listenToken"] for each in asked_with(peer)} == {account.isolated for account in many}
    assert len(peer.paths) == 1
    assert stub.count(TOKEN) == 12


async def test_one_subscription_that_is_not_answered_ends_the_connection(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(TOKEN, *(token(name) for name in ("one", "two", "three", "four")))

    async def silent(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    async def script(connection: ServerConnection) -> None:
        for _ in PAIRS:
            await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(silent, script)
    async with margin_stream(peer, exchange, Waiting(), *PAIRS) as heard:
        await heard.kinds(Connected)
    assert len(peer.paths) == 2


async def test_a_cross_account_needs_one_for_all_its_symbols(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(TOKEN, Say(json={"token": "one"}))  # without a time it is taken to last a day

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer, waiting = Peer(script), Waiting()
    async with margin_stream(peer, exchange, waiting, Account(), Account()) as heard:
        await heard.kinds(Connected)
        await eventually(lambda: bool(waiting.asked))
    assert waiting.asked == [43_200]
    assert "isIsolated" not in stub.last(TOKEN).params


async def test_a_token_is_renewed_at_half_its_time_on_the_same_connection_without_a_gap(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script(TOKEN, token("one", 7_200), token("two", 10_800))

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        waiting.over.set()
        await peer.subscribed(connection)
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    peer, waiting = Peer(script), Waiting()
    async with margin_stream(peer, exchange, waiting, Account()) as heard:
        events = await heard.until(lambda events: any(isinstance(each, OrderReport) for each in events))
        await eventually(lambda: len(waiting.asked) == 2)
    assert asked_with(peer) == [{"listenToken": "one"}, {"listenToken": "two"}]
    assert waiting.asked == [3_600, 5_400]
    assert len(peer.paths) == 1
    assert not any(isinstance(each, Lost) for each in events)


async def test_a_renewal_that_can_t_be_had_is_tried_again_sooner(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(TOKEN, token("one", 7_200), error(400, -1002, "not authorized"), token("two", 7_200))

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        waiting.over.set()
        await eventually(lambda: len(waiting.asked) == 2)
        waiting.over.set()
        await peer.subscribed(connection)
        await stay(connection)

    peer, waiting = Peer(script), Waiting()
    async with margin_stream(peer, exchange, waiting, Account()):
        await eventually(lambda: len(waiting.asked) == 3)
    assert waiting.asked == [3_600, 1_800, 3_600]


async def test_a_refused_renewal_ends_the_stream_and_it_comes_back_with_a_new_token(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script(TOKEN, token("one"), token("bad"), token("three"))

    async def refusing(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        waiting.over.set()
        await peer.refuse(connection, -1209)

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer, waiting = Peer(refusing, script), Waiting()
    async with margin_stream(peer, exchange, waiting, Account()) as heard:
        _, lost, _ = await heard.kinds(Connected, Lost, Connected)
    assert "renewal refused" in lost.reason
    assert asked_with(peer)[-1] == {"listenToken": "three"}


async def test_without_a_token_the_stream_is_not_up_and_is_tried_again(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(TOKEN, error(400, -3003, "Margin account does not exist."), token("two"))

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(script)
    async with margin_stream(peer, exchange, Waiting(), Account()) as heard:
        await heard.kinds(Connected)
    assert stub.count(TOKEN) == 2


async def test_risk_events_on_the_user_stream_have_the_account_looked_at(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(TOKEN, token("one"))
    told = {"subscriptionId": 0, "event": {"e": "USER_LIABILITY_CHANGE", "E": 5, "a": "BTC", "t": "INTEREST"}}

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(json.dumps(told))
        await connection.send(json.dumps({"e": "unheard of"}))
        await stay(connection)

    peer, risk = Peer(script), list[int]()
    async with margin_stream(peer, exchange, Waiting(), Account(), risk=risk):
        await eventually(lambda: bool(risk))


@asynccontextmanager
async def risk_stream(peer: Peer, exchange: BinanceExchange, waiting: Waiting) -> AsyncIterator[Heard]:
    heard = Heard()
    async with playing(peer):
        stream = RiskStream(f"{peer.url}/", exchange.connection, heard, sleep=waiting.sleep, timing=QUICK)
        task = asyncio.create_task(stream.run())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_the_risk_stream_says_that_something_has_changed_in_any_envelope(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script(RISK_KEY, Say(json={"listenKey": "k/1"}))
    event = {"e": "MARGIN_LEVEL_STATUS_CHANGE", "E": 5, "l": "1.2", "s": "MARGIN_CALL"}

    async def script(connection: ServerConnection) -> None:
        await connection.send(json.dumps(event))
        await connection.send(json.dumps({"stream": "k", "data": event}))
        await connection.send(json.dumps({"event": {**event, "e": "USER_LIABILITY_CHANGE"}}))
        await connection.send(json.dumps({"e": "something else"}))
        await stay(connection)

    peer = Peer(script)
    async with risk_stream(peer, exchange, Waiting()) as heard:
        events = await heard.until(lambda events: len(events) == 4)
    kinds = [each.kind for each in events if isinstance(each, RiskChanged)]
    assert kinds == ["MARGIN_LEVEL_STATUS_CHANGE"] * 2 + ["USER_LIABILITY_CHANGE"]
    assert peer.paths == ["/ws/k%2F1"]


async def test_a_key_that_the_exchange_does_not_know_any_more_is_replaced(
    stub: Stub, exchange: BinanceExchange
) -> None:
    """Its connection may stay up, and tell nothing."""
    stub.script(RISK_KEY, Say(json={"listenKey": "one"}), Say(json={"listenKey": "two"}))
    stub.script(KEPT, error(400, -3038, "This listen key does not exist."))
    peer, waiting = Peer(stay), Waiting()
    async with risk_stream(peer, exchange, waiting) as heard:
        await heard.kinds(Connected)
        waiting.over.set()
        _, lost, _ = await heard.kinds(Connected, Lost, Connected)
    assert "is not kept" in lost.reason
    assert peer.paths == ["/ws/one", "/ws/two"]


async def test_its_key_is_kept_and_one_that_ran_out_is_replaced(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(RISK_KEY, Say(json={"listenKey": "one"}), Say(json={"listenKey": "two"}))
    stub.script(KEPT, *[Say(status=503, text="")] * 4, Say(json={}))

    async def running_out(connection: ServerConnection) -> None:
        for count in (1, 2):
            await eventually(lambda count=count: len(waiting.asked) == count)  # type: ignore[misc]
            waiting.over.set()
        await eventually(lambda: len(waiting.asked) == 3)
        await connection.send(json.dumps({"e": "listenKeyExpired", "listenKey": "one"}))
        await stay(connection)

    peer, waiting = Peer(running_out, stay), Waiting()
    async with risk_stream(peer, exchange, waiting) as heard:
        await heard.kinds(Connected, Lost, Connected)
    assert peer.paths == ["/ws/one", "/ws/two"]
    assert waiting.asked[:3] == [KEEP_EVERY_S] * 3
    assert [seen.params["listenKey"] for seen in stub.seen if seen.method == "PUT"] == ["one"] * 5


async def test_without_a_key_there_is_no_risk_stream_yet(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(RISK_KEY, Say(status=404, text="none"), Say(json={"listenKey": "one"}))
    peer = Peer(stay)
    async with risk_stream(peer, exchange, Waiting()) as heard:
        await heard.kinds(Connected)
    assert stub.count(RISK_KEY) == 2


async def test_an_account_without_a_token_keeps_no_other_from_being_pushed(
    stub: Stub, exchange: BinanceExchange
) -> None:
    """A pair that is disabled: its orders are looked at, and it is asked for again each minute."""
    refused = error(400, -11001, "Isolated margin account doesn't exist.")
    tokens = [token("one"), refused, refused, token("two")]
    stub.script(TOKEN, *tokens)

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(golden("push_trade").decode())
        await eventually(lambda: len(waiting.asked) == 1)
        waiting.over.set()
        await eventually(lambda: len(waiting.asked) == 2)
        waiting.over.set()
        await peer.subscribed(connection)
        await stay(connection)

    peer, waiting = Peer(script), Waiting()
    async with margin_stream(peer, exchange, waiting, *PAIRS) as heard:
        events = await heard.until(lambda events: sum(isinstance(each, Connected) for each in events) == 2)
    # it is up; of one symbol nothing is pushed, and then again
    assert [type(each) for each in events] == [Connected, Lost, OrderReport, Connected]
    assert len(peer.paths) == 1
    assert [each["listenToken"] for each in asked_with(peer)] == ["one", "two"]
    assert waiting.asked[:2] == [WITHOUT_AGAIN_S, WITHOUT_AGAIN_S]
