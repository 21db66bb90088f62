"""A network in small: passes bytes on, each `delay` later, in order.

    python -m bench.proxy HOST PORT DELAY_MS

Prints the port that it listens on.
"""

import asyncio
import sys
from collections import deque


class Pipe(asyncio.Protocol):
    """One direction of one connection; `peer` is where its bytes go."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.transport: asyncio.Transport | None = None
        self.peer: Pipe | None = None
        self._early: list[bytes] = []
        self._queue: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # mypy
        self.transport = transport
        for data in self._early:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._queue.append((loop.time() + self.delay, data))
        if len(self._queue) == 1:
            loop.call_at(self._queue[0][0], self._flush)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._queue[0][0] <= loop.time() + 0.0002:
            data = self._queue.popleft()[1]
            if self.peer is not None and self.peer.transport is not None:
                self.peer.transport.write(data)
        if self._queue:
            loop.call_at(self._queue[0][0], self._flush)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class Front(Pipe):
    """The side that clients meet; opens the other one."""

    def __init__(self, host: str, port: int, delay: float) -> None:
        super().__init__(delay)
        self._back = Pipe(delay)
        self._host, self._port = host, port
        self._opening: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peer, self._back.peer = self._back, self
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(loop.create_connection(lambda: self._back, self._host, self._port))


async def serve(host: str, port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(host, port, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))


if __name__ == "__main__":
    main()
