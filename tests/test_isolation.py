"""The guards of conftest.py hold."""

import asyncio
import socket

import pytest

from executor.config import Origin, load_settings
from executor.config.sources import KNOWN_NAMES


def test_connecting_to_another_machine_fails() -> None:
    with socket.socket() as sock, pytest.raises(AssertionError, match="tried to connect"):
        sock.connect(("192.0.2.1", 80))
    with socket.socket() as sock, pytest.raises(AssertionError, match="tried to connect"):
        sock.connect_ex(("192.0.2.1", 80))


def test_looking_up_another_machine_fails() -> None:
    with pytest.raises(AssertionError, match="tried to look up"):
        socket.getaddrinfo("example.invalid", 80)


async def test_asyncio_is_guarded_too() -> None:
    with pytest.raises(AssertionError, match="tried to connect"):
        await asyncio.open_connection("192.0.2.1", 80)


async def test_loopback_is_open() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"here"
        writer.close()
        await writer.wait_closed()


def test_settings_of_this_machine_are_out_of_sight() -> None:
    settings = load_settings(env_file=None)
    assert {settings.origin(name) for name in KNOWN_NAMES & {"SYMBOL", "BINANCE_ENV", "QTY_USD"}} == {Origin.DEFAULT}
