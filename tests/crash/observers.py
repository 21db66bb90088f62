"""Who watches the daemon, and is no good at it (rule 8.9): a Telegram that hangs, drags on or answers garbage, and a
reader of the page who never reads.
"""

import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Final

from aiohttp import web
from tests.crash import garbage
from tools.ports import free_port

CHAT: Final = -100
HANG_S: Final = 60.0
SLOW_S: Final = 1.5
CONNECT_AGAIN_S: Final = 0.05


class Watcher(StrEnum):
    """What one life is watched by."""

    HANGING = "Telegram hangs"
    SLOW = "Telegram drags on"
    GARBAGE = "Telegram answers garbage"
    CUT = "Telegram hangs up"
    PAGE = "page never read"


class BadTelegram:
    """A Bot API on loopback, as bad as `watcher` says at the moment. `met` counts the requests that came."""

    def __init__(self, met: Counter[str]) -> None:
        self.watcher = Watcher.HANGING
        self._met = met
        self._url = ""
        self._answers = itertools.cycle(garbage.ANSWERS.values())

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "TELEGRAM_BOT_TOKEN": "4711:fake-token-of-the-tests",
            "TELEGRAM_CHAT_ID": str(CHAT),
            "TELEGRAM_USERS": "7",
            "TELEGRAM_API_URL": self._url,
        }

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        self._met[self.watcher] += 1
        match self.watcher:
            case Watcher.SLOW:
                await asyncio.sleep(SLOW_S)
                return web.json_response({"ok": True, "result": [] if "getUpdates" in request.path else {}})
            case Watcher.GARBAGE:
                answer = next(self._answers)
                return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
            case Watcher.CUT:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case _:
                await asyncio.sleep(HANG_S)
                return web.Response(status=504)


class IdlePage:
    """A browser that asks for the page's events and takes none of them. `met` counts those that came to be served."""

    def __init__(self, met: Counter[str]) -> None:
        self._met = met
        self._port = free_port()
        self._line = socket.socket()
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self._line.setblocking(False)
        self._task = asyncio.create_task(self._ask())

    @property
    def environ(self) -> Mapping[str, str]:
        return {"HTTP_PORT": str(self._port)}

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.sock_connect(self._line, ("127.0.0.1", self._port))
            except ConnectionError:  # not up yet
                await asyncio.sleep(CONNECT_AGAIN_S)
                continue
            await loop.sock_sendall(self._line, b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            self._met[Watcher.PAGE] += 1
            return

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        self._line.close()
        if not self._task.cancelled():
            self._task.result()


class Watchers:
    """Who watches the lives of a campaign, one after the other. `met`: what came to it, by who it was."""

    def __init__(self) -> None:
        self.met: Counter[str] = Counter()
        self._telegram = BadTelegram(self.met)
        self._page: IdlePage | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with self._telegram.serving():
            try:
                yield
            finally:
                await self.watch(None)

    async def watch(self, watcher: Watcher | None) -> Mapping[str, str]:
        """What the next life needs in its environment to be watched so; None: by nobody."""
        if self._page is not None:
            await self._page.close()
            self._page = None
        if watcher is None:
            return {}
        if watcher is Watcher.PAGE:
            self._page = IdlePage(self.met)
            return self._page.environ
        self._telegram.watcher = watcher
        return self._telegram.environ
