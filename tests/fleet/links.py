"""The network between a node and a server, as a TCP proxy on loopback: cut, slow, or watched for what passes.

A cut link passes nothing either way and resets nothing, as a network that drops packets; what was sent meanwhile
arrives when it is mended, as TCP would deliver it.
"""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

PIECE: Final = 65_536
FIND_TRIES: Final = 100
FIND_S: Final = 0.02
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
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()
        self.slow_s = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
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


class Gate:
    """One address for all nodes, as an exchange has, and behind it a link for each: told apart by the process that
    connects. `link_of` knows them by their process ids.
    """

    def __init__(self, link_of: Callable[[], Mapping[int, Link]]) -> None:
        self.port = 0
        self._link_of = link_of
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, port = writer.get_extra_info("peername")
        for _ in range(FIND_TRIES):  # a process may connect before it is known here
            links = self._link_of()
            if (pid := _process_of(port, links)) is not None:
                await links[pid].serve(reader, writer)
                return
            await asyncio.sleep(FIND_S)
        writer.close()


def _process_of(port: int, pids: Iterable[int]) -> int | None:
    """The process whose socket on loopback has that port at its own end."""
    local = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    wanted = {f"socket:[{row[9]}]" for row in rows if row[1] == local}
    for pid in pids:
        with suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(file.readlink()) in wanted:
                        return pid
    return None


def in_base64(text: str) -> bytes:
    """What every base64 of something that begins with `text` begins with."""
    data = text.encode()
    return base64.b64encode(data[: len(data) // 3 * 3])


def in_frame(data: bytes) -> bytes:
    """What a client's text frame holds (RFC 6455, 5.2), as far as it is in `data`; empty where that begins none."""
    if len(data) < 2 or data[0] != 0x81 or not data[1] & 0x80:
        return b""
    mask_at = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
    mask, masked = data[mask_at : mask_at + 4], data[mask_at + 4 :]
    return bytes(byte ^ mask[n % 4] for n, byte in enumerate(masked)) if len(mask) == 4 else b""
