"""What the adapter relies on in python-binance and aiohttp without a public promise. A new release must pass this."""

import inspect
import socket
import subprocess
import sys
from importlib.metadata import version

import aiohttp
import pytest
from binance.async_client import AsyncClient
from tests.exchange.stub import KEY, SECRET, Say, Stub

from executor.exchange.binance import BinanceExchange
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.client import KEEP_ALIVE_SEC, ORDER_TIMEOUT_SEC, BinanceClient


@pytest.fixture
async def client(stub: Stub) -> BinanceClient:
    return BinanceClient(stub.endpoints, Credentials.hmac(KEY, SECRET))


def test_the_release_is_the_one_that_was_read() -> None:
    assert version("python-binance") == "1.0.37"


_TOUCHED = """
import sys
import executor.exchange.transport.client
assert {"regex", "Crypto.Math.Numbers"}.isdisjoint(sys.modules)
from binance import base_client, helpers
assert helpers.date_to_milliseconds("1 January 2025 UTC") == 1735689600000
assert base_client.SHA256.new(b"x").hexdigest().startswith("2d711642")
assert "regex" in sys.modules
"""


def test_what_is_not_used_is_not_imported_and_works_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", _TOUCHED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_request_api", ["self", "method", "path", "signed", "version", "kwargs"]),
        ("_request", ["self", "method", "uri", "signed", "force_params", "kwargs"]),
        ("_get_request_kwargs", ["self", "method", "signed", "force_params", "kwargs"]),
        ("_init_session", ["self"]),
        ("_handle_response", ["self", "response"]),
        ("_get_headers", ["self"]),
    ],
)
def test_the_private_parts_that_are_used_or_replaced(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(AsyncClient, name)).parameters) == parameters


def test_a_request_is_written_by_send() -> None:
    """By it the adapter knows that nothing had left when a connection failed."""
    assert list(inspect.signature(aiohttp.ClientRequest.send).parameters) == ["self", "conn"]


async def test_urls_are_taken_as_given() -> None:
    client = BinanceClient(Endpoints("http://h:1/{}", "ws://h:1/{x}", ""), Credentials.hmac(KEY, SECRET))
    assert client.API_URL == "http://h:1/{}/api"
    assert client.MARGIN_API_URL == "http://h:1/{}/sapi"
    assert client.ws_api._url == "ws://h:1/{x}"
    assert (client.testnet, client.demo) == (False, False)
    await client.close_connection()


async def test_the_session_neither_repeats_nor_follows_nor_keeps_cookies(client: BinanceClient) -> None:
    session = client.session
    assert isinstance(session, aiohttp.ClientSession)
    assert session._retry_connection is False
    assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
    assert client._requests_params["allow_redirects"] is False
    assert client._timeouts[False].total == ORDER_TIMEOUT_SEC > 10, "the exchange gives up after 10 s and says so"
    connector = session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    assert connector._keepalive_timeout == KEEP_ALIVE_SEC
    await client.close_connection()


async def test_a_cancel_is_not_repeated_on_a_broken_connection(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("DELETE order", Say(cut=True))
    await exchange.cancel("EX_1_SL_1")
    assert stub.count("DELETE order") == 1


async def test_orders_leave_at_once(exchange: BinanceExchange) -> None:
    """Nagle's algorithm would hold back a small request until the last answer is acknowledged."""
    connector = exchange.connection._client.session.connector
    connections = [protocol for pool in connector._conns.values() for protocol, _ in pool]
    assert len(connections) == 4, "connect has opened as many as exits go out in parallel"
    for protocol in connections:
        sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
