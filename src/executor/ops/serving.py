"""A server for readers beside the trading loop: who may read, and how many connections there may be.

Each connection is a descriptor of the process that trades, so strangers must not have as many as they like; one that
has not been let in gives way, and is ended after some seconds.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from executor.ops.page.access import PageAccess, add_headers
from executor.service.inlets.connections import Bounds, ConnectionLimiter

BODY_MAX: Final = 1024
HEAD_MAX: Final = 8192
WEEK_S: Final = 7 * 86_400.0
BOUNDS: Final = Bounds(total=64, per_peer=32, hear_s=10.0, life_s=WEEK_S)
"""A page that stays open is one connection; Prometheus and a few browsers are a dozen."""

log = structlog.get_logger(__name__)
_SILENT: Final = logging.Logger("page", logging.CRITICAL + 1)  # noqa: LOG001  no logger that others share
"""The library logs a traceback of each request that is no HTTP: whoever sends those would fill the log."""

Routes = Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]


@contextlib.asynccontextmanager
async def serving(
    routes: Routes, sock: socket.socket, access: PageAccess, bounds: Bounds = BOUNDS
) -> AsyncIterator[ConnectionLimiter]:
    """Answer GETs of `routes` on `sock` for those who may read, while the body runs."""
    limiter: ConnectionLimiter | None = None
    turn = asyncio.Lock()

    @web.middleware
    async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = access.refusal(request)
        if refused is not None:
            refused.force_close()
            return refused
        if limiter is not None:
            limiter.heard(request.protocol)
        async with turn:  # one request in a turn of the loop, however many ask at once: trading comes in between
            await asyncio.sleep(0)
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):  # an answer as well; a reader that is gone
            raise
        except Exception:  # a fault of ours costs this request, and is told
            log.exception("page_failed", path=request.path)
            return web.Response(status=500, text="a fault of Executor: see its log\n")

    app = web.Application(client_max_size=BODY_MAX, middlewares=[admitted])
    app.on_response_prepare.append(add_headers)
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(
        app, access_log=None, logger=_SILENT, handle_signals=False, shutdown_timeout=1.0, keepalive_timeout=30
    )
    await runner.setup()
    inner: Any = runner.server
    limiter = ConnectionLimiter(inner, bounds)
    listening: asyncio.Server | None = None
    try:
        listening = await asyncio.get_running_loop().create_server(limiter, sock=sock)
        yield limiter
    finally:
        if listening is not None:
            listening.close()
        limiter.close()
        await runner.cleanup()
