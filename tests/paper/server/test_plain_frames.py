"""However a client cuts its messages into frames, and those into packets, each is answered once, in order."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.paper.server.exchange_kit import running

from executor.paper.replay.clock import WallClock
from executor.paper.server.connection import Connection
from executor.paper.server.plain_frames import PlainFrames

MASK = b"\x11\x22\x33\x44"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SHAKE = (
    "GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(payload: bytes, opcode: int = TEXT, *, last: bool = True) -> bytes:
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = bytes([0xFE]) + struct.pack("!H", length)
    else:
        size = bytes([0xFF]) + struct.pack("!Q", length)
    masked = bytes(byte ^ MASK[n % 4] for n, byte in enumerate(payload))
    return bytes([(0x80 if last else 0) | opcode]) + size + MASK + masked


def ping(id_: int, padding: int = 0) -> bytes:
    return b'{"id":%d,"method":"ping"%s}' % (id_, b" " * padding)


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await asyncio.sleep(0.01)

    async def receive(self) -> tuple[int, bytes]:
        async with asyncio.timeout(5):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            return first & 0x0F, await self.reader.readexactly(length)

    async def answered(self, *ids: int) -> None:
        for id_ in ids:
            opcode, body = await self.receive()
            answer: Any = orjson.loads(body)
            assert (opcode, answer["status"], answer["id"]) == (TEXT, 200, id_)


@asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    async with running() as kit:
        host, port = kit.urls.base_url.removeprefix("http://").split(":")
        made = Peer(*await asyncio.open_connection(host, int(port)))
        await made.send(SHAKE.encode())
        assert b" 101 " in await made.reader.readuntil(b"\r\n\r\n")
        try:
            yield made
        finally:
            made.writer.close()


async def test_messages_are_answered_however_they_come(caplog: pytest.LogCaptureFixture) -> None:
    async with peer() as it:
        await it.send(frame(ping(1)))
        await it.send(frame(ping(2)) + frame(ping(3, 200)))  # two in one packet
        whole = frame(ping(4, 200))
        await it.send(whole[:1], whole[1:3], whole[3:9], whole[9:])
        await it.send(frame(b"", PONG), frame(b"", PING) + frame(ping(5)))
        await it.answered(1, 2, 3, 4)
        pong, answer = sorted([await it.receive(), await it.receive()], key=lambda each: each[0] == TEXT)
        assert pong == (PONG, b"")
        assert orjson.loads(answer[1])["id"] == 5
        message = ping(6)
        await it.send(frame(message[:4], last=False) + frame(message[4:], 0))  # a message in two frames
        await it.send(frame(ping(7, 70_000)))
        await it.send(frame(ping(8)))
        await it.answered(6, 7, 8)
    assert caplog.records == []


@pytest.mark.parametrize(
    "sent",
    [
        frame(b"\xff\xfe"),  # no UTF-8
        b"\xc1" + frame(b"{}")[1:],  # a reserved bit
        frame(b"", 3),  # no such kind
        frame(b"x" * 126, PING),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with peer() as it:
        await it.send(frame(ping(1)) + sent)
        await it.answered(1)
        opcode, body = await it.receive()
        assert (opcode, int.from_bytes(body[:2], "big")) in ((CLOSE, 1002), (CLOSE, 1007))
    assert caplog.records == []


async def test_a_client_that_says_goodbye_is_answered() -> None:
    async with peer() as it:
        await it.send(frame(ping(1)) + frame(struct.pack("!H", 1000), CLOSE))
        await it.answered(1)
        assert await it.receive() == (CLOSE, struct.pack("!H", 1000))


class General(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.given = b""

    def data_received(self, data: bytes) -> None:
        self.given += data


class Swapping(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


@given(st.lists(st.text(max_size=300), max_size=6), st.lists(st.integers(1, 40), min_size=1), st.binary(max_size=9))
def test_any_cut_of_any_messages_gives_them_in_order_and_the_rest_to_the_library(
    texts: list[str], cuts: list[int], rest: bytes
) -> None:
    general, transport = General(), Swapping()
    heard: list[str] = []
    plain = PlainFrames(transport, general, heard.append)
    frames = [frame(text.encode()) for text in texts]
    sent = b"".join(frames) + b"\x00\x00" + rest
    place = n = 0
    while place < len(sent):
        part = sent[place : place + cuts[n % len(cuts)]]
        (plain if transport.protocol is None else general).data_received(part)
        place, n = place + len(part), n + 1
    assert heard == texts
    assert general.given == b"\x00\x00" + rest


class Closing(asyncio.Transport):
    """Gone, though nobody has noticed; uvloop's raise when they are written to."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError(f"{data!r} was written to a closed transport")


async def test_a_message_to_a_connection_that_is_just_closing_is_lost() -> None:
    connection = Connection(web.WebSocketResponse(), Closing(), WallClock())
    connection.send(b"{}")
    assert connection.idle
