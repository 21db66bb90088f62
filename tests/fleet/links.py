"""The network between a node and a server, as a TCP proxy on loopback: cut, slow, or watched for what passes.

A cut link passes nothing either way and resets nothing, as a network that drops packets; what was sent meanwhile
arrives when it is mended, as TCP would deliver it.
"""

import asyncio
import base64
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PIECE: Final = 65_536
KEPT: Final = 8_192
"""So much of a request is kept to tell what its answer is about."""

Seen = Callable[[bytes], float]
"""Told of a piece before it is passed on; how many seconds it is held back."""


class Link:
    """From a port of its own to `host:port`. `on_request` sees what goes to the server, `on_answer` what was asked when
    an answer to it comes back.
    """

    def __init__(self, host: str, port: int) -> None:
        self.slow_s = 0.0
        self.on_request: Seen | None = None
        self.on_answer: Seen | None = None
        self.port = 0
        self._target = host, port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()
        self.slow_s = 0.0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            self._connections.discard(task)
            writer.close()
            return
        try:
            asked = bytearray()
            await asyncio.gather(
                self._pump(reader, back, asked, toward=True), self._pump(there, writer, asked, toward=False)
            )
        finally:
            self._connections.discard(task)
            back.close()
            writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, asked: bytearray, *, toward: bool
    ) -> None:
        with suppress(ConnectionError, OSError):
            while data := await source.read(PIECE):
                hold = 0.0
                if toward:
                    asked += data[: KEPT - len(asked)]
                    hold = self.on_request(data) if self.on_request is not None else 0.0
                elif asked:
                    hold = self.on_answer(bytes(asked)) if self.on_answer is not None else 0.0
                    asked.clear()
                await asyncio.sleep(self.slow_s + hold)
                await self._open.wait()
                target.write(data)
                await target.drain()
        with suppress(ConnectionError, OSError, RuntimeError):
            target.close()


def in_base64(text: str) -> bytes:
    """What every base64 of something that begins with `text` begins with."""
    data = text.encode()
    return base64.b64encode(data[: len(data) // 3 * 3])
