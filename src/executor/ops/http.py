"""A live page, health, metrics and status over HTTP, on loopback unless HTTP_HOST says otherwise, and then with
HTTP_TOKEN. Reading only: nothing here trades.

/         the page, for browsers; for others what there is to read here
/events   what the page shows, as server-sent events
/static/  the page's own files
/healthz  200 while the event loop runs
/readyz   200 when trading: recovered, exchange heard, inbox served, state writable; else 503; JSON says which
/metrics  Prometheus' text format
/status   what `executor status --format json` prints: of several symbols a list
"""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from executor import sockets
from executor.core.model.events import Answered, AnyEvent, BalancesSeen, KlinesSeen, OpenOrdersSeen, QuoteSeen, Tick
from executor.core.transition import Step
from executor.ops import status, text
from executor.ops.alerts.alerts import Alerts
from executor.ops.keep_up import keep_up
from executor.ops.metrics import Metrics
from executor.ops.page.access import PageAccess
from executor.ops.page.feed import Feed
from executor.ops.serving import serving
from executor.service.loop import Loop

SERVED_WITHIN_S: Final = 2.0
"""An event that waits longer than this finds the loop stuck: at a disk that takes nothing, at the most."""
HEARD_WITHIN_S: Final = 60.0
"""Without a user stream the orders are looked at more often than this, also while no trade is open."""
DISK_FREE_MIN: Final = 1024 * 1024
INDEX: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Executor</title>
<h1>Executor</h1>
<ul>
<li><a href="/status">/status</a> the trade, its orders and the last one, as JSON
<li><a href="/readyz">/readyz</a> whether it can trade, and why not
<li><a href="/healthz">/healthz</a> whether it is alive
<li><a href="/metrics">/metrics</a> for Prometheus
</ul>
</html>
"""


FILES: Final = frozenset({"page.css", "page.js", "chart.js", "icon.svg", "lightweight-charts.js", "LICENSE", "NOTICE"})
STATIC: Final = Path(__file__).parent / "page" / "static"


class HttpUnusable(Exception):  # noqa: N818  (it says what the address is)
    """HTTP_HOST and HTTP_PORT can't be listened on; the text is for people."""


class HttpServer:
    """Binds at once; `run` serves until cancelled, those who may read by `access`. `observe` is to be called for every
    step; `alerts`: the page shows them. `heard_within`: seconds without a word of the exchange after which it counts as
    unreachable.
    """

    def __init__(
        self,
        host: str,
        port: int,
        loops: Sequence[Loop],
        metrics: Metrics,
        folders: Collection[Path],
        *,
        access: PageAccess | None = None,
        alerts: Alerts | None = None,
        heard_within: float = HEARD_WITHIN_S,
    ) -> None:
        """Raises HttpUnusable."""
        self._socket = listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._loops = loops
        self._metrics = metrics
        self._folders = sorted(set(folders))
        self._access = access or PageAccess()
        self.feed = Feed(loops, self.faults, alerts)
        self._heard_within = heard_within
        self._heard: dict[str, float] = {}
        self._probes: dict[str, asyncio.Task[None]] = {}

    def observe(self, event: AnyEvent, step: Step) -> None:
        if isinstance(event, OpenOrdersSeen | QuoteSeen | BalancesSeen | KlinesSeen | Answered):
            self._heard[step.state.symbol] = time.monotonic()
        self.feed.observe(event, step)

    async def run(self) -> None:
        routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "/": self._index,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_text,
            "/status": self._status,
            "/events": self.feed.events,
            "/static/{name}": self._static,
        }
        async with serving(routes, self._socket, self._access):
            try:
                await keep_up("page", self.feed.run)()
            finally:
                self.feed.close()
                for probe in self._probes.values():
                    probe.cancel()

    async def _index(self, request: web.Request) -> web.StreamResponse:
        if "text/html" in request.headers.get("Accept", ""):
            return page_index()
        return web.Response(text=INDEX, content_type="text/html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return page_file(request.match_info["name"])

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"alive": True}, 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        faults = await self.faults()
        return _json({"ready": not faults, "faults": faults}, 503 if faults else 200)

    async def _metrics_text(self, _request: web.Request) -> web.Response:
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics.text(), headers=kind)

    async def _status(self, _request: web.Request) -> web.Response:
        found = [status.status_of(loop.state, loop.engine.rules, running=True, now=loop.now()) for loop in self._loops]
        return _json(found[0] if len(found) == 1 else found, 200)

    async def faults(self) -> list[str]:
        """Why it is not ready, empty when it is."""
        served = await asyncio.gather(*map(self._served, self._loops))
        found = []
        for loop, is_served in zip(self._loops, served, strict=True):
            about = f"{loop.state.symbol}: " if len(self._loops) > 1 else ""
            if not loop.ready.is_set():
                found.append(f"{about}the start's look at the orders is not done")
            found += [about + fault for fault in self._silence(loop)]
            if not is_served:
                found.append(f"{about}an event was not taken within {SERVED_WITHIN_S:.0f} s")
        for folder in self._folders:
            if not os.access(folder, os.W_OK):
                found.append(f"{folder} is not writable")
            elif shutil.disk_usage(folder).free < DISK_FREE_MIN:
                found.append(f"the disk of {folder} is full")
        return found

    def _silence(self, loop: Loop) -> list[str]:
        """Whether the exchange is there: a user stream that is up answers its pings, else an answer must be recent."""
        if loop.poller.orders_pushed:
            return []
        heard = self._heard.get(loop.state.symbol)
        if heard is None:
            return ["the exchange has not been heard yet"]
        silent = time.monotonic() - heard
        return [f"the exchange has not been heard for {silent:.0f} s"] if silent > self._heard_within else []

    async def _served(self, loop: Loop) -> bool:
        """Whether the inbox is served: a tick, which is harmless at any time, goes through it. One at a time."""
        symbol = loop.state.symbol
        probe = self._probes.get(symbol)
        if probe is None or probe.done():
            probe = self._probes[symbol] = asyncio.create_task(_tick(loop))
        done, _ = await asyncio.wait({probe}, timeout=SERVED_WITHIN_S)
        return bool(done)


async def _tick(loop: Loop) -> None:
    await loop.ask(Tick(at=loop.now()))


def page_index() -> web.FileResponse:
    """The page itself: all that it asks for is beside its own address."""
    return _file(STATIC / "index.html")


def page_file(name: str) -> web.FileResponse:
    """One of the page's own files. Raises HTTPNotFound."""
    if name not in FILES:
        raise web.HTTPNotFound
    return _file(STATIC / name)


def _file(path: Path) -> web.FileResponse:
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})  # kept, and asked for whether it is the newest


def _json(value: object, code: int) -> web.Response:
    return web.Response(text=text.json(value), status=code, content_type="application/json")


def listen(host: str, port: int) -> socket.socket:
    """Raises HttpUnusable."""
    try:
        return sockets.listen(host, port)
    except OSError as error:
        raise HttpUnusable(
            f"HTTP_HOST {host}, HTTP_PORT {port} can't be listened on: {error.strerror or error}; choose another port,"
            " or 0 for none"
        ) from error
