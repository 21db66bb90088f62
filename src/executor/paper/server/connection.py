"""One WebSocket: messages out in order, pings on time, messages in one by one."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from executor.paper.replay.clock import Clock
from executor.paper.server.faults import PushFault
from executor.paper.server.plain_frames import PlainFrames

PING_EVERY_S: Final = 20.0
PONG_WITHIN_S: Final = 60.0
"""Wall time (web-socket-api.md, "General API Information")."""

CLOSE_WITHIN_S: Final = 1.0
"""Wall time that a peer gets to take its last messages, and again to answer a close."""

_WHOLE_TEXT: Final = 0x81
_LENGTH_IN_TWO: Final = 126
_LENGTH_IN_EIGHT: Final = 127

Receive = Callable[[str], Coroutine[Any, Any, None]]


class Connection:
    """A WebSocket with an outbox.

    `send` never waits, so that whoever has something to say does not depend on a slow reader: while the reader keeps
    up, a message goes out at once, else it is queued, and a task of the connection writes the queue out in order.
    """

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, clock: Clock) -> None:
        self._socket = socket
        self._transport = transport
        self._clock = clock
        self._outbox: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._writing = False
        self._late: set[asyncio.Task[None]] = set()
        self._last_pong = 0.0
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether every message has been handed to the socket."""
        return self._closed or not (self._outbox or self._writing)

    def send(self, message: bytes) -> None:
        """Send a text message; a message to a closed connection is lost."""
        if self._is_over():
            return
        if self.idle and not self._transport.get_write_buffer_size():
            self._transport.write(_text_head(len(message)) + message)
            return
        self._outbox.append(message)
        self._emptied.clear()
        self._filled.set()

    def push(self, message: bytes, fault: PushFault | None) -> None:
        """Queue a pushed message, or what the fault has in its place, as often and as late as it says."""
        if fault is None:
            self.send(message)
            return
        message = message if fault.instead is None else fault.instead
        if fault.delay_ms > 0:
            task = asyncio.create_task(self._push_late(message, fault))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        else:
            for _ in range(fault.copies):
                self.send(message)

    async def run(
        self, receive: Receive, *, ping_every_s: float = PING_EVERY_S, lifetime_ms: int | None = None
    ) -> None:
        """Serve the connection until either side closes it."""
        self._last_pong = asyncio.get_running_loop().time()
        helpers = [
            asyncio.create_task(self._write_all()),
            asyncio.create_task(self._ping_all(ping_every_s)),
        ]
        if lifetime_ms is not None:
            helpers.append(asyncio.create_task(self._end_after(lifetime_ms)))
        try:
            await self._read_all(receive)
        finally:
            self._closed = True
            for task in [*helpers, *self._late]:
                task.cancel()
            await asyncio.gather(*helpers, *self._late, return_exceptions=True)

    def hear_at_once(self, general: asyncio.Protocol, receive: Receive) -> None:
        """Take plain messages as they arrive, without a turn of the event loop, where `receive` never waits. `general`
        is the protocol that has the connection so far.
        """

        def take(text: str) -> None:
            if self._is_over():
                return
            try:
                receive(text).send(None)
            except StopIteration:
                return
            raise AssertionError("what is received at once must not wait")

        self._transport.set_protocol(PlainFrames(self._transport, general, take))

    async def close(self, code: int = WSCloseCode.GOING_AWAY, message: bytes = b"") -> None:
        """Write out what is queued, then say goodbye; a reader that takes nothing is cut off."""
        if self._outbox and not self._closed:
            try:
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._emptied.wait()
            except TimeoutError:
                self.drop()
                return
        await self._socket.close(code=code, message=message)

    def end_soon(self, code: int) -> None:
        """Close once what is queued has gone out, without waiting for it here."""
        task = asyncio.create_task(self.close(code))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def drop(self) -> None:
        """Cut the connection without a goodbye."""
        self._closed = True
        self._transport.abort()

    def _is_over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed or self._socket.closed or self._transport.is_closing()

    async def _read_all(self, receive: Receive) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                await receive(message.data)
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._last_pong = asyncio.get_running_loop().time()
            elif message.type is not WSMsgType.BINARY:
                return

    async def _write_all(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            self._writing = True
            try:
                while self._outbox:
                    await self._socket.send_frame(self._outbox.popleft(), WSMsgType.TEXT)
            except ConnectionError:
                self._closed = True
                return
            finally:
                self._writing = False
                self._emptied.set()

    async def _ping_all(self, every_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(every_s)
                if loop.time() - self._last_pong > max(PONG_WITHIN_S, 3 * every_s):
                    self.drop()
                    return
                await self._socket.ping(str(self._clock.now_ms()).encode())
        except ConnectionError:
            self._closed = True

    async def _end_after(self, lifetime_ms: int) -> None:
        await self._clock.sleep(lifetime_ms / 1000)
        await self.close()

    async def _push_late(self, message: bytes, fault: PushFault) -> None:
        await self._clock.sleep(fault.delay_ms / 1000)
        for _ in range(fault.copies):
            self.send(message)


def _text_head(length: int) -> bytes:
    """The head of a whole, unmasked text frame (RFC 6455, section 5.2)."""
    if length < _LENGTH_IN_TWO:
        return bytes((_WHOLE_TEXT, length))
    if length < 1 << 16:
        return bytes((_WHOLE_TEXT, _LENGTH_IN_TWO)) + length.to_bytes(2, "big")
    return bytes((_WHOLE_TEXT, _LENGTH_IN_EIGHT)) + length.to_bytes(8, "big")
