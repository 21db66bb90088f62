"""Starting, stopping, and where the exchange may listen."""

import asyncio
import logging
import socket
import struct

import aiohttp
import pytest
from tests.paper.server.exchange_kit import API_KEY, rest, running

from executor.paper.server import Credential, FaultPlan, HmacSecret, PaperServer, PortInUse, RequestFault


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", "::", ""])  # noqa: S104 - refused
async def test_other_machines_are_kept_out(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        async with running(host=host):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_goes_by_its_names(host: str) -> None:
    async with running(host=host) as kit, rest(kit) as client:
        assert kit.urls.rest_url.startswith(f"http://{host}:")
        assert kit.urls.rest_url.endswith("/api")
        assert kit.urls.ws_api_url.endswith("/ws-api/v3")
        assert await client.public("/api/v3/ping") == {}


async def test_a_port_in_use_is_named() -> None:
    async with running() as kit:
        port = int(kit.urls.base_url.rsplit(":", 1)[1])
        with pytest.raises(PortInUse, match=f"port {port} of 127.0.0.1 is in use") as caught:
            async with running(port=port):
                pass
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


async def test_a_key_of_an_unknown_account_is_found_at_once() -> None:
    async with running() as kit:
        with pytest.raises(KeyError, match="stranger"):
            PaperServer(kit.engine, kit.clock, {API_KEY: Credential("stranger", HmacSecret("s"))})


async def test_after_a_stop_nobody_answers_and_a_second_stop_is_nothing() -> None:
    async with running() as kit, rest(kit) as client:
        assert await client.public("/api/v3/ping") == {}
        await kit.server.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.public("/api/v3/ping")
        await kit.server.stop()


async def test_it_is_quiet_when_nothing_is_in_hand() -> None:
    async with running() as kit, rest(kit) as client:
        assert kit.server.quiet()
        await client.limit()
        assert kit.server.quiet()
        assert kit.server.requests_in_flight == 0


@pytest.mark.parametrize("path", ["/ws-api/v3", "/ws", "/ws/btcusdt@trade", "/stream?streams=btcusdt@trade"])
async def test_a_plain_request_to_a_websocket_address_is_refused(path: str) -> None:
    async with running() as kit, rest(kit) as client:
        await client.raw("GET", path, headers={})
        assert client.status == 400


class Slow(FaultPlan):
    """Every request waits a minute of market time."""

    def on_request(self, *_: object) -> RequestFault:
        return RequestFault(delay_before_ms=60_000)


async def test_a_request_that_waits_for_market_time_does_not_hold_up_a_stop() -> None:
    async with running(faults=Slow()) as kit, rest(kit) as client:
        waiting = asyncio.create_task(client.public("/api/v3/ping"))
        await kit.until_asleep_for(60_000)
        await asyncio.wait_for(kit.server.stop(), 5)
        with pytest.raises(aiohttp.ClientError):
            await waiting


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_is_gone_before_the_handshake_is_answered_is_no_fault(
    caplog: pytest.LogCaptureFixture, *, reset: bool
) -> None:
    async with running() as kit:
        for _ in range(30):
            with socket.socket() as gone:
                gone.connect(("127.0.0.1", int(kit.urls.base_url.rsplit(":", 1)[1])))
                if reset:
                    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                gone.sendall(
                    b"GET /ws-api/v3 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
                )
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0.001)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_reads_nothing_does_not_hold_up_a_stop() -> None:
    loop = asyncio.get_running_loop()
    async with running() as kit:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", int(kit.urls.base_url.rsplit(":", 1)[1])))
            await loop.sock_sendall(
                deaf,
                b"GET /ws/btcusdt@depth20 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
            )
            assert b"101" in await loop.sock_recv(deaf, 512)
            for _ in range(10_000):
                kit.advance(1_000)
                kit.trade("100000")
            for _ in range(50):
                await asyncio.sleep(0)
            assert not kit.server.quiet()
            await asyncio.wait_for(kit.server.stop(), 5)
