"""What the network does: names that do not resolve or have moved, addresses nobody answers at, flows that die in
silence, answers that never come (rules 8.7, 8.9).
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.exchange.stub import ManualClock

from executor.core.model.facts import Done, Refused, Unknown, Why
from executor.exchange.port import ReadError
from executor.exchange.transport import client as client_module
from executor.exchange.transport import network
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.client import READS, BinanceClient
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.transport.connection import Connection
from executor.exchange.transport.network import Resolver, dial
from executor.exchange.wire import calls

HOST = "exchange.test"
Lookup = Callable[[], list[str]]


class Server:
    """Answers requests, or keeps silent, by path; and on the connections that it is told have died."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.dead = 0
        """Of the connections opened so far, so many are silent for ever."""
        self.mute: set[str] = set()
        self.opened = asyncio.Condition()
        self.late = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        async with self.opened:
            self.opened.notify_all()
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                sizes = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")]
                await reader.readexactly(int(sizes[0]) if sizes else 0)
                path = head.split(" ")[1].split("?")[0].rsplit("/", 1)[-1]
                if path in self.mute or number <= self.dead:
                    await asyncio.Event().wait()
                late = self.late and path == "order"
                said = {"code": -1021, "msg": "Timestamp."} if late else {"serverTime": ManualClock().at}
                body = json.dumps(said).encode()
                status = b"400 Bad Request" if late else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def until(self, connections: int) -> None:
        async with self.opened:
            await self.opened.wait_for(lambda: self.connections >= connections)

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1") -> AsyncIterator["Server"]:
        tasks: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.create_task(self.serve(reader, writer)))

        server = await asyncio.start_server(begin, host, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def connection(port: int, host: str = "127.0.0.1") -> AsyncIterator[Connection]:
    clock = ExchangeClock(ManualClock())
    client = BinanceClient(Endpoints(f"http://{host}:{port}", "", ""), Credentials.hmac("k", "s"))
    made = Connection(client, clock, Budget(clock), 5_000)
    try:
        yield made
    finally:
        await made.close()


async def ordered(through: Connection) -> Done | Refused | Unknown:
    return await through.command(calls.PLACE, {"symbol": "BTCUSDT"}, lambda _: ())


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Lookup]:
    """What names mean; any other is what the machine says."""
    known: dict[str, Lookup] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: object) -> list[object]:
        if host not in known:
            return [*real(host, port, *rest)]  # type: ignore[arg-type]  # passed on as it came
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]()]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


# --- flows ------------------------------------------------------------------------------------------------------------


async def test_after_a_request_without_an_answer_connections_as_silent_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A router was begun anew: each pooled connection would have cost a whole timeout."""
    monkeypatch.setattr(client_module, "READ_TIMEOUT_SEC", 0.3)
    async with Server().running() as server, connection(server.port) as through:
        await through.warm()
        assert server.connections > 1
        await asyncio.sleep(0.01)
        server.dead = server.connections
        began = server.connections
        await through.read(calls.TIME, {}, lambda reply: reply)
        assert server.connections == began + 1
        assert isinstance(await ordered(through), Done)


async def test_a_connection_that_was_heard_since_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One endpoint that is mute does not cost the others their connections."""
    monkeypatch.setattr(client_module, "READ_TIMEOUT_SEC", 0.3)
    async with Server().running() as server, connection(server.port) as through:
        server.mute = {"openOrders"}
        looking = asyncio.create_task(through.read(calls.OPEN_ORDERS, {}, lambda reply: reply))
        await server.until(1)
        before = 0
        while not looking.done():
            await through.read(calls.TIME, {}, lambda reply: reply)
            before = before or server.connections
            await asyncio.sleep(0.02)
        assert isinstance(looking.exception(), ReadError)
        assert server.connections <= before + 3  # those of the mute reads
        assert isinstance(await ordered(through), Done)


def test_a_socket_gives_up_what_nobody_acknowledges() -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("the system has no such option")
    with network.new_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == network.UNACKNOWLEDGED_MS


async def test_reads_that_hang_leave_connections_for_orders() -> None:
    async with Server().running() as server, connection(server.port) as through:
        server.mute = {"openOrders"}
        reads = [
            asyncio.create_task(through.read(calls.OPEN_ORDERS, {}, lambda reply: reply)) for _ in range(3 * READS)
        ]
        await server.until(READS)
        async with asyncio.timeout(2):
            assert isinstance(await ordered(through), Done)
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_a_refusal_for_its_time_is_told_though_the_time_can_not_be_had() -> None:
    """Rule 4.7: a stop that was refused is tried again soon, not after all tries for the clock."""
    async with Server().running() as server, connection(server.port) as through:
        server.late = True
        server.mute = {"time"}
        async with asyncio.timeout(client_module.READ_TIMEOUT_SEC):
            for _ in range(2):
                told = await ordered(through)
                assert isinstance(told, Refused)
                assert told.why is Why.CLOCK


# --- names ------------------------------------------------------------------------------------------------------------


async def test_a_host_that_has_moved_is_looked_up_anew(names: dict[str, Lookup]) -> None:
    at = ["127.0.0.9"]
    names[HOST] = lambda: list(at)
    async with Server().running() as server, connection(server.port, HOST) as through:
        assert isinstance(await ordered(through), Refused)  # not sent: nobody is there
        at[:] = ["127.0.0.1"]
        assert isinstance(await ordered(through), Done)


async def test_names_that_do_not_resolve_hold_up_no_order(names: dict[str, Lookup]) -> None:
    """The event loop has two threads for slow lookups; a bot's name had them both."""
    released = threading.Event()

    def hang() -> list[str]:
        released.wait(30)
        return []

    names["bot.test"] = hang
    names[HOST] = lambda: ["127.0.0.1"]
    loop = asyncio.get_running_loop()
    lookups = [asyncio.ensure_future(loop.run_in_executor(None, hang)) for _ in range(40)]
    try:
        async with Server().running() as server, connection(server.port, HOST) as through:
            async with asyncio.timeout(2):
                assert isinstance(await ordered(through), Done)
    finally:
        released.set()
        await asyncio.gather(*lookups)


async def test_what_a_name_meant_is_used_where_it_can_not_be_looked_up(names: dict[str, Lookup]) -> None:
    resolver, released = Resolver(), threading.Event()
    names[HOST] = lambda: ["127.0.0.1"]
    known = await resolver.addresses(HOST, 443)

    def fail() -> list[str]:
        raise socket.gaierror("no such name, for now")

    def hang() -> list[str]:
        released.wait(30)
        return ["127.0.0.2"]

    names[HOST] = fail
    assert await resolver.addresses(HOST, 443) == known
    names[HOST] = hang
    began = time.monotonic()
    assert await asyncio.gather(*(resolver.addresses(HOST, 443) for _ in range(3))) == [known] * 3
    assert time.monotonic() - began < network.LOOKUP_SEC
    released.set()
    async with asyncio.timeout(5):
        while (await resolver.addresses(HOST, 443)) == known:
            pass  # the lookup that hung has not ended yet


async def test_a_name_that_is_not_known_is_an_error(names: dict[str, Lookup], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LOOKUP_SEC", 0.05)
    released = threading.Event()

    def hang() -> list[str]:
        released.wait(30)
        return []

    def fail() -> list[str]:
        raise socket.gaierror("no such name")

    names[HOST], names["other.test"] = hang, fail
    with pytest.raises(OSError, match="not resolved within"):
        await Resolver().addresses(HOST, 443)
    with pytest.raises(OSError, match="no such name"):
        await Resolver().addresses("other.test", 443)
    released.set()


async def test_of_several_addresses_one_that_nobody_answers_at_costs_a_moment(names: dict[str, Lookup]) -> None:
    """Its queue is full: it neither takes nor refuses a connection."""
    async with Server().running() as server:
        with socket.socket() as hole:
            hole.bind(("127.0.0.2", server.port))
            hole.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", server.port))
            names[HOST] = lambda: ["127.0.0.2", "127.0.0.1"]
            async with asyncio.timeout(3):
                with await dial(f"ws://{HOST}:{server.port}/ws", Resolver()) as reached:
                    assert reached.getpeername() == ("127.0.0.1", server.port)
            for filler in fillers:
                filler.close()
