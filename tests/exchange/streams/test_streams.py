"""Streams over real WebSockets: they come back, say what was missed, and never fall silent unnoticed."""

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import pytest
from structlog.testing import capture_logs
from tests.exchange.stub import KEY, SECRET, START_MS, ManualClock, Say, Stub
from tests.exchange.wire.test_reading import golden
from tools.ports import free_port
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from executor.core.model.facts import OrderReport
from executor.exchange.binance import BinanceExchange
from executor.exchange.streams import user_stream as user_stream_module
from executor.exchange.streams.events import BalanceMoved, BalancesSet
from executor.exchange.streams.user_stream import UserStream
from executor.exchange.transport import supervised
from executor.exchange.transport.auth import Credentials
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.transport.supervised import Connected, Lost, Session, Timing, Told

QUICK: Final = Timing(ping=0.2, open=1, first_wait=0.01, longest_wait=0.05)
PATIENT: Final = 5.0
PATIENT_PINGS: Final = Timing(ping=5, open=5, first_wait=0.01, longest_wait=0.05)

Script = Callable[[ServerConnection], Awaitable[None]]


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT):
        while not condition():  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.01)


class Heard:
    """What a stream has said, and waiting for more of it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._more = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, event: Any) -> None:
        self.events.append(event.fact if isinstance(event, Told) else event)
        task = asyncio.create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        async with asyncio.timeout(PATIENT), self._more:
            await self._more.wait_for(lambda: enough(self.events))
        return self.events

    async def kinds(self, *kinds: type) -> list[Any]:
        """Wait until the events so far are of these kinds."""
        return await self.until(lambda events: [type(event) for event in events] == list(kinds))

    async def _tell(self) -> None:
        async with self._more:
            self._more.notify_all()


class Peer:
    """A WebSocket server that plays one script per connection, the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.open = 0
        self.url = ""

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        self.open += 1
        try:
            await script(connection)
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1

    async def subscribed(self, connection: ServerConnection, *early: bytes) -> None:
        """Accept a subscription, `early` events first."""
        request = json.loads(await connection.recv())
        self.requests.append(request)
        for event in early:
            await connection.send(event.decode())
        await connection.send(json.dumps({"id": request["id"], "status": 200, "result": {"subscriptionId": 0}}))

    async def refuse(self, connection: ServerConnection, code: int, **more: Any) -> None:
        request = json.loads(await connection.recv())
        self.requests.append(request)
        error = {"code": code, "msg": "refused", **more}
        await connection.send(json.dumps({"id": request["id"], "status": 400, "error": error}))
        await connection.wait_closed()


@asynccontextmanager
async def playing(peer: Peer) -> AsyncIterator[Peer]:
    async with serve(peer.handle, "127.0.0.1", 0, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        peer.url = f"ws://127.0.0.1:{port}"
        yield peer


@asynccontextmanager
async def user_stream(peer: Peer, exchange: BinanceExchange, timing: Timing = QUICK) -> AsyncIterator[Heard]:
    heard = Heard()
    async with playing(peer):
        stream = UserStream(
            peer.url, Credentials.hmac(KEY, SECRET), exchange.connection, ["BTCUSDT"], heard, timing=timing
        )
        task = asyncio.create_task(stream.run())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


async def stay(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def test_events_arrive_as_values(exchange: BinanceExchange) -> None:
    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection, golden("push_position"))
        listed = {"subscriptionId": 0, "event": {"e": "listStatus", "s": "BTCUSDT", "g": 1}}
        for message in (golden("push_trade"), json.dumps(listed).encode(), golden("push_balance_update")):
            await connection.send(message.decode())
        await stay(connection)

    peer = Peer(script)
    async with user_stream(peer, exchange) as heard:
        events = await heard.kinds(Connected, BalancesSet, OrderReport, BalanceMoved)
    assert events[2].id == "EX_1760000000000_TP1_4"
    assert peer.open == 0, "a stream that is stopped leaves no connection"


async def test_the_subscription_is_signed_as_the_websocket_api_wants(exchange: BinanceExchange) -> None:
    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(script)
    async with user_stream(peer, exchange) as heard:
        await heard.kinds(Connected)
    (request,) = peer.requests
    assert request["method"] == "userDataStream.subscribe.signature"
    params = request["params"]
    signature = params.pop("signature")
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    assert signature == hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
    assert params == {"apiKey": KEY, "recvWindow": 3000, "timestamp": START_MS}


TERMINATED: Final = json.dumps({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})


@pytest.mark.parametrize("how", ["close", "reset", "terminated", "silence"])
async def test_a_lost_subscription_is_told_and_made_again(exchange: BinanceExchange, how: str) -> None:
    async def lose(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        match how:
            case "close":
                await connection.close()
            case "reset":
                connection.transport.abort()
            case "terminated":
                await connection.send(TERMINATED)
            case "silence":  # the peer is there, but nothing of it works any more: not even pongs
                connection.transport.pause_reading()
            case _:
                raise AssertionError(how)
        await stay(connection)

    async def well(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    peer = Peer(lose, well)
    async with user_stream(peer, exchange) as heard:
        events = await heard.kinds(Connected, Lost, Connected, OrderReport)
    assert events[1].reason


async def test_a_server_that_is_away_is_tried_until_it_is_back(exchange: BinanceExchange) -> None:
    port = free_port()
    heard = Heard()
    stream = UserStream(
        f"ws://127.0.0.1:{port}",
        Credentials.hmac(KEY, SECRET),
        exchange.connection,
        ["BTCUSDT"],
        heard,
        timing=QUICK,
    )

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(script)
    used = exchange.connection.budget.used
    task = asyncio.create_task(stream.run())
    await eventually(lambda: exchange.connection.budget.used >= used + 12)  # three attempts, 4 each
    assert heard.events == []
    async with serve(peer.handle, "127.0.0.1", port, close_timeout=0.1):
        await heard.kinds(Connected)
        task.cancel()
        await asyncio.wait({task})


async def test_a_refused_subscription_is_tried_again(exchange: BinanceExchange, stub: Stub) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await peer.refuse(connection, -1021)

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(refuse, script)
    stub.time = START_MS + 9_000
    async with user_stream(peer, exchange) as heard:
        await heard.kinds(Connected)
    assert peer.requests[1]["params"]["timestamp"] == START_MS + 9_000


async def test_a_clock_that_can_not_be_set_is_tried_again(exchange: BinanceExchange, stub: Stub) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await peer.refuse(connection, -1021)

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(refuse, script)
    stub.script("GET time", *[Say(status=503, text="")] * 4)
    with capture_logs() as logs:
        async with user_stream(peer, exchange) as heard:
            await heard.kinds(Connected)
    assert "the clock is off" in logs[0]["error"]


@pytest.mark.parametrize("message", ["nonsense", '{"id": null, "status": 400, "error": {"code": -1135}}'])
async def test_an_answer_that_is_none_is_tried_again(exchange: BinanceExchange, message: str) -> None:
    async def babble(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(message)
        await stay(connection)

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(babble, script)
    async with user_stream(peer, exchange) as heard:
        await heard.kinds(Connected)


async def test_a_ban_keeps_the_stream_away_too(exchange: BinanceExchange, clock: ManualClock) -> None:
    until = START_MS + 60_000

    async def ban(connection: ServerConnection) -> None:
        await peer.refuse(connection, -1003, data={"retryAfter": until})

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(ban, script)
    with capture_logs() as logs:
        async with user_stream(peer, exchange) as heard:
            await eventually(lambda: sum(str(until) in entry["error"] for entry in logs) >= 3)
            assert len(peer.paths) == 1
            clock.at = until
            await heard.kinds(Connected)


@pytest.mark.parametrize("due", ["time", "shutdown"])
async def test_a_new_connection_is_up_before_the_old_one_goes(exchange: BinanceExchange, due: str) -> None:
    both = asyncio.Event()

    async def old(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        if due == "shutdown":
            await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 1}}))
        await stay(connection)

    async def new(connection: ServerConnection) -> None:
        if peer.open == 2:
            both.set()
        await peer.subscribed(connection)
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    peer = Peer(old, new)
    renew = 0.2 if due == "time" else 3600.0
    timing = Timing(ping=1, open=1, first_wait=0.01, longest_wait=0.05, renew=renew)
    async with user_stream(peer, exchange, timing) as heard:
        events = await heard.until(lambda events: any(isinstance(event, OrderReport) for event in events))
        assert both.is_set()
        assert [type(event) for event in events][:2] == [Connected, OrderReport], "nothing was lost"
        await eventually(lambda: peer.open < 2 or len(peer.paths) > 2)
        assert Lost not in {type(event) for event in heard.events}


async def test_a_gap_between_the_old_and_the_new_connection_is_told(exchange: BinanceExchange) -> None:
    successor_is_here, old_is_gone = asyncio.Event(), asyncio.Event()

    async def old(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 1}}))
        await successor_is_here.wait()
        await connection.close()
        old_is_gone.set()

    async def new(connection: ServerConnection) -> None:
        successor_is_here.set()
        await old_is_gone.wait()
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(old, new)
    async with user_stream(peer, exchange) as heard:
        events = await heard.kinds(Connected, Lost, Connected)
    assert "1000" in events[1].reason
    assert len(peer.paths) == 2


async def test_a_loss_is_told_however_long_the_next_connection_leaves_one_without_an_answer(
    exchange: BinanceExchange,
) -> None:
    """Nothing was heard for as long as that took, half a minute perhaps, and orders were taken for pushed."""
    successor_is_here = asyncio.Event()

    async def old(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 1}}))
        await successor_is_here.wait()

    async def new(connection: ServerConnection) -> None:
        await connection.recv()
        successor_is_here.set()
        await stay(connection)

    async def last(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(old, new, last)
    timing = Timing(ping=30, open=2, first_wait=0.01, longest_wait=0.05)
    async with user_stream(peer, exchange, timing) as heard:
        async with asyncio.timeout(1):
            await heard.kinds(Connected, Lost)
        await heard.kinds(Connected, Lost, Connected)
    assert len(peer.paths) == 3


@pytest.mark.parametrize("ends", ["before the refusal", "after it", "never", "never, and warns again"])
async def test_a_ban_that_was_told_to_the_next_connection_holds_for_those_behind_it(
    exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Each that is asked for in a ban prolongs it, and it holds for orders as well."""
    monkeypatch.setattr(supervised, "BAN_S", 0.6)
    asked: list[float] = []
    over = asyncio.Event()

    async def bar(_connection: ServerConnection, _request: Request) -> Response | None:
        asked.append(asyncio.get_running_loop().time())
        if len(asked) != 2:
            return None
        if ends == "before the refusal":
            over.set()
            await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.1, over.set)
        return Response(429, "no", Headers({"Retry-After": "0"}))

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        if len(asked) > 1:
            await stay(connection)
        await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 1}}))
        if not ends.startswith("never"):
            await over.wait()
            return
        if ends != "never":
            await over.wait()
            await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 2}}))
        await stay(connection)

    peer = Peer(script)
    async with serve(peer.handle, "127.0.0.1", 0, close_timeout=0.1, process_request=bar) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        heard, timing = Heard(), Timing(ping=5, open=5, first_wait=0.01, longest_wait=0.05)
        key = Credentials.hmac(KEY, SECRET)
        stream = UserStream(url, key, exchange.connection, ["BTCUSDT"], heard, timing=timing)
        task = asyncio.create_task(stream.run())
        try:
            await eventually(lambda: len(asked) == 3)
        finally:
            task.cancel()
            await asyncio.wait({task})
    assert asked[2] - asked[1] > 0.55


async def test_what_the_old_connection_brought_and_nobody_has_read_is_a_gap(
    exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst, of which everybody else has had a turn in between, and with it the change of connections."""
    monkeypatch.setattr(supervised, "SLICE_S", -1.0)
    successor_is_here, burst_is_sent = asyncio.Event(), asyncio.Event()

    async def old(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 1}}))
        await successor_is_here.wait()
        for _ in range(500):
            await connection.send(golden("push_trade").decode())
        burst_is_sent.set()
        await stay(connection)

    async def new(connection: ServerConnection) -> None:
        successor_is_here.set()
        await burst_is_sent.wait()
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(old, new)
    async with user_stream(peer, exchange) as heard:
        events = await heard.until(lambda told: any(isinstance(each, Lost) for each in told))
    assert sum(isinstance(each, OrderReport) for each in events) < 500
    assert "unread" in next(each for each in events if isinstance(each, Lost)).reason


async def test_while_no_new_connection_can_be_had_the_old_one_goes_on(exchange: BinanceExchange) -> None:
    go_on = asyncio.Event()

    async def old(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(json.dumps({"event": {"e": "serverShutdown", "E": 1}}))
        await go_on.wait()
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    async def refused(connection: ServerConnection) -> None:
        go_on.set()
        await peer.refuse(connection, -2035)

    peer = Peer(old, refused)
    async with user_stream(peer, exchange) as heard:
        await heard.kinds(Connected, OrderReport)
        await eventually(lambda: len(peer.paths) >= 3)
        await heard.kinds(Connected, OrderReport)


async def test_what_can_not_be_read_is_a_gap_and_not_the_end(exchange: BinanceExchange) -> None:
    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        broken = json.loads(golden("push_trade"))
        broken["event"]["z"] = "plenty"
        broken["event"]["c"] = "EX_1_TP1_1"
        for message in ("{", "{}", json.dumps(broken), golden("push_trade").decode()):
            await connection.send(message)
        await stay(connection)

    peer = Peer(script)
    gap = (Lost, Connected)
    async with user_stream(peer, exchange) as heard:
        events = await heard.until(
            lambda told: (
                any(isinstance(event, OrderReport) for event in told)
                and sum(isinstance(event, Lost) for event in told) >= 2
            )
        )
        assert tuple(type(event) for event in events[1:3]) == gap
    assert len(peer.paths) == 1


async def test_a_message_larger_than_any_event_ends_the_connection_and_fills_no_memory(
    exchange: BinanceExchange,
) -> None:
    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(" " * (supervised.LARGEST_MESSAGE + 1))
        await stay(connection)

    async def well(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(script, well)
    async with user_stream(peer, exchange, PATIENT_PINGS) as heard:
        events = await heard.kinds(Connected, Lost, Connected)
    assert "message too big" in events[1].reason
    assert len(peer.paths) == 2


class Babbler:
    """A connection on which there is always one more message."""

    async def recv(self, *, decode: bool) -> bytes:
        return str(decode).encode()

    async def close(self) -> None:
        pass


async def test_messages_without_a_pause_leave_others_their_turn() -> None:
    """However many come at once: an order's request takes some turns of the loop to leave."""
    taken, turns = 0, 0

    def take(_: bytes) -> bool:
        nonlocal taken
        taken += 1
        if taken > 100_000:
            raise OSError("enough")
        return False

    async def tend(_: ClientConnection) -> None:
        await asyncio.sleep(60)

    session = Session(cast("ClientConnection", Babbler()), take, [b"early"] * 10, tend)
    while not session.pump.done():
        turns += 1
        await asyncio.sleep(0)
    assert taken > 100_000
    assert turns > 3
    await session.close()


async def test_a_subscription_that_is_answered_with_events_without_an_end_fills_no_memory(
    exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_stream_module, "EARLY_MAX", 1_000)

    async def flood(connection: ServerConnection) -> None:
        await connection.recv()
        while True:
            await connection.send(golden("push_trade").decode())
            await asyncio.sleep(0)

    async def sound(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await stay(connection)

    peer = Peer(flood, sound)
    with capture_logs() as logs:
        async with user_stream(peer, exchange) as heard:
            await heard.kinds(Connected)
    assert any("no end of messages" in line.get("error", "") for line in logs)


async def test_an_error_of_our_own_costs_a_connection_and_is_told_with_its_traceback(exchange: BinanceExchange) -> None:
    """It is not taken for the network's, and the service, with a trade open, does not end for it."""

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        await connection.send(golden("push_trade").decode())
        await stay(connection)

    told: list[Any] = []

    def fail(event: Any) -> None:
        told.append(event)
        if isinstance(event, Told):
            raise KeyError("a bug")

    peer = Peer(script)
    with capture_logs() as log:
        async with playing(peer):
            stream = UserStream(
                peer.url, Credentials.hmac(KEY, SECRET), exchange.connection, ["BTCUSDT"], fail, timing=QUICK
            )
            task = asyncio.create_task(stream.run())
            await eventually(lambda: len(told) > 6)
            task.cancel()
            await asyncio.wait({task})
        await eventually(lambda: peer.open == 0)
    assert [type(event) for event in told[:4]] == [Connected, Told, Lost, Connected]
    assert told[2] == Lost("a fault of Executor")
    first = next(entry for entry in log if entry["event"] == "stream_failed")
    assert (first["alert"], first["stream"], first["error"]) == (True, "UserStream", "KeyError: 'a bug'")
    assert first["exc_info"]


async def test_an_error_of_our_own_in_what_hears_that_it_is_up_leaves_no_connection_behind() -> None:
    """Nor does one in what hears that it is lost."""
    peer = Peer(stay)
    heard = 0

    def fail(_: Any) -> None:
        nonlocal heard
        heard += 1
        raise KeyError("a bug")

    with capture_logs() as log:
        async with playing(peer):
            link = OrderLink(peer.url, Credentials.hmac(KEY, SECRET), timing=QUICK)
            link._on_event = fail
            task = asyncio.create_task(link.run())
            await eventually(lambda: heard > 6)
            assert not task.done()
            assert peer.open <= 2
            task.cancel()
            await asyncio.wait({task})
    assert {entry["event"] for entry in log} == {"stream_failed"}


async def test_a_stream_that_stays_down_is_told_of_once_for_each_time(
    exchange: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executor.exchange.transport.supervised.DOWN_TOLD_S", 0.1)

    async def barred(connection: ServerConnection) -> None:
        await peer.refuse(connection, -2015)

    async def once(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        peer._scripts.append(barred)
        await connection.close()

    peer = Peer(barred)
    with capture_logs() as log:

        def down() -> list[Any]:
            return [entry for entry in log if entry["event"] == "stream_down"]

        async with user_stream(peer, exchange) as heard:
            await eventually(lambda: bool(down()))
            await asyncio.sleep(0.3)
            assert len(down()) == 1
            peer._scripts.insert(0, once)
            await heard.kinds(Connected, Lost)
            await eventually(lambda: len(down()) == 2)
    assert (down()[0]["alert"], down()[0]["stream"]) == (True, "UserStream")
    assert "-2015" in down()[0]["error"]


async def test_reports_go_by_symbol_and_orders_of_ours_elsewhere_are_told_once(exchange: BinanceExchange) -> None:
    def of(symbol: str, name: str = "EX_1760000000000_TP1_4") -> str:
        told = json.loads(golden("push_trade"))
        told["event"] |= {"s": symbol, "c": name}
        return json.dumps(told)

    async def script(connection: ServerConnection) -> None:
        await peer.subscribed(connection)
        strange = [of("XRPUSDT"), of("XRPUSDT"), of("DOGEUSDT", "web_1")]
        for message in (of("ETHUSDT"), *strange, of("BTCUSDT")):
            await connection.send(message)
        await stay(connection)

    told: list[Any] = []
    peer = Peer(script)
    with capture_logs() as log:
        async with playing(peer):
            stream = UserStream(
                peer.url,
                Credentials.hmac(KEY, SECRET),
                exchange.connection,
                ["BTCUSDT", "ETHUSDT"],
                told.append,
                timing=QUICK,
            )
            task = asyncio.create_task(stream.run())
            await eventually(lambda: len(told) >= 3)
            task.cancel()
            await asyncio.wait({task})
    assert [each.symbol for each in told[1:]] == ["ETHUSDT", "BTCUSDT"]
    warned = [(entry["symbol"], entry["order"]) for entry in log if entry["event"] == "order_of_another_symbol"]
    assert warned == [("XRPUSDT", "EX_1760000000000_TP1_4")]


@pytest.mark.parametrize(
    ("status", "told", "pause"),
    [(429, "90", 90), (418, "", 60), (403, "5", 60), (418, "9" * 400, 60), (429, "999999", 3600), (503, "90", 0)],
)
def test_a_connection_that_is_refused_for_too_many_is_not_tried_again_before_its_time(
    status: int, told: str, pause: float
) -> None:
    response = Response(status, "no", Headers({"Retry-After": told}))
    assert supervised._ban(InvalidStatus(response)) == pause
    assert supervised._ban(OSError("refused")) == 0


def test_a_ban_that_is_told_twice_is_a_ban() -> None:
    twice = Headers([("Retry-After", "90"), ("Retry-After", "120")])
    assert supervised._ban(InvalidStatus(Response(429, "no", twice))) == 90


@pytest.mark.parametrize("host", ["stream..binance.com", "x" * 64 + ".com"])
async def test_a_host_that_can_not_be_is_a_stream_that_is_not_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, *_: Any, **__: Any) -> Any:
        name.encode("idna")  # as the library does first of all
        raise socket.gaierror("not asked")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with capture_logs() as log:
        link = OrderLink(f"ws://{host}:1", Credentials.hmac(KEY, SECRET), timing=QUICK)
        task = asyncio.create_task(link.run())
        await eventually(lambda: len(log) > 1)
        task.cancel()
        await asyncio.wait({task})
    assert {entry["event"] for entry in log} == {"stream_not_up"}
    assert "UnicodeError" in log[0]["error"]
