"""The paper exchange on a port: one HTTP server for REST, the WebSocket API and the streams."""

import asyncio
import errno
import ipaddress
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec
import orjson
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_request import BaseRequest

from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.errors import PortInUse
from executor.paper.replay.clock import Clock
from executor.paper.server import errors
from executor.paper.server.connection import CLOSE_WITHIN_S, PING_EVERY_S, Connection
from executor.paper.server.exchange import Exchange
from executor.paper.server.faults import FaultPlan
from executor.paper.server.limits import DAY_MS, Limits
from executor.paper.server.market_streams import MarketStreams, StreamSession
from executor.paper.server.params import check_time_unit
from executor.paper.server.plain_http import PlainHttp
from executor.paper.server.rest import Rest
from executor.paper.server.signing import Credential
from executor.paper.server.ws_api import SESSION_WEIGHT, Session

CONNECTION_LIFETIME_MS: Final = DAY_MS
MAX_MESSAGE_BYTES: Final = 1 << 20
_BACKLOG: Final = 128


class _FaultsOfOurs(logging.Filter):
    """Passes what went wrong here; a request that is no HTTP is its client's fault, and its answer says so."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log: Final = logging.getLogger(__name__)
_log.addFilter(_FaultsOfOurs())


class Urls(msgspec.Struct, frozen=True):
    """Where clients find the exchange. Each is what the real one's base URL is replaced with."""

    rest_url: str
    """Instead of the REST base with `/api`: `http://host:port/api`."""
    ws_api_url: str
    """Instead of the WebSocket API: `ws://host:port/ws-api/v3`."""
    stream_url: str
    """Instead of the market streams, before `/ws/…` and `/stream?…`: `ws://host:port`."""

    @property
    def base_url(self) -> str:
        """Without a path: `http://host:port`."""
        return self.rest_url.removesuffix("/api")


class PaperServer:
    """Binance Spot on loopback. The engine decides, the clock tells the time, this puts both on the wire."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        keys: Mapping[str, Credential],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        faults: FaultPlan | None = None,
        ping_every_s: float = PING_EVERY_S,
    ) -> None:
        """`engine` should count orders by the same limits: `Engine(rate_limits=limits.announce())`.

        Raises ValueError when `host` is not a loopback address: whoever reaches the port and knows a key can trade,
        over plain HTTP.
        """
        if not _is_loopback(host):
            raise ValueError(f"the paper exchange listens on loopback only, not on {host!r}")
        self._host = host
        self._port = port
        self._ping_every_s = ping_every_s
        self._exchange = Exchange(engine, clock, keys, limits or Limits(), faults)
        self._markets = MarketStreams(engine, clock, self._exchange.limits, faults)
        self._rest = Rest(self._exchange)
        self._connections: dict[Connection, Session | StreamSession] = {}
        self._plain: dict[PlainHttp, asyncio.Transport] = {}
        self._http: web.Server | None = None
        self._listening: asyncio.Server | None = None
        self._sockets_from_ms = 0

    async def start(self) -> Urls:
        """Listen. Raises `PortInUse`."""
        http = web.Server(self._handle, access_log=None, logger=_log)
        # Where a fault may make a request wait, each needs a task of its own, which the library's server gives it.
        plain = partial(PlainHttp, self._rest, http, self._plain)
        factory: Callable[[], asyncio.Protocol] = plain if self._exchange.faults is None else http
        try:
            listening = await asyncio.get_running_loop().create_server(
                factory, self._host, self._port, backlog=_BACKLOG
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(self._host, self._port) from error
            raise
        self._http, self._listening = http, listening
        port = listening.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return Urls(
            rest_url=f"http://{host}:{port}/api",
            ws_api_url=f"ws://{host}:{port}/ws-api/v3",
            stream_url=f"ws://{host}:{port}",
        )

    async def stop(self) -> None:
        """Announce the end on every WebSocket, close them, and free the port: a few seconds at most."""
        if self._http is None or self._listening is None:
            return
        event = {"e": "serverShutdown", "E": self._exchange.clock.now_ms()}
        open_now = list(self._connections.items())
        for connection, session in open_now:
            connection.send(orjson.dumps(session.wrap_shutdown(event)))
        await asyncio.gather(*(connection.close() for connection, _ in open_now))
        self._listening.close()
        await asyncio.sleep(0)  # who was let in before that is served
        for transport in list(self._plain.values()):
            transport.close()
        self._http.pre_shutdown()
        await self._http.shutdown(CLOSE_WITHIN_S)
        self._http = self._listening = None

    @property
    def requests_in_flight(self) -> int:
        """Requests being worked on, those excepted that wait for market time to pass."""
        return self._exchange.in_hand

    @property
    def market_is_watched(self) -> bool:
        """Whether a connection listens to a market stream: each trade must reach it before the next."""
        return self._markets.anyone_listens

    def quiet(self) -> bool:
        """Whether no request is in hand and every push has been handed to its socket."""
        if self._exchange.in_hand or self._exchange.pushes_owed:
            return False
        return all(connection.idle for connection in self._connections)

    def on_trade(self, symbol: str, trade: MarketTrade) -> bool:
        """Push what a trade, already fed to the engine, has changed; whether an account was touched. Accounts first:
        who trades hears of a fill no later than those who watch.
        """
        touched = self._exchange.user_streams.flush()
        if self._markets.anyone_listens:
            self._markets.on_trade(symbol, trade)
        return touched

    def on_quote(self, symbol: str) -> bool:
        """The same for new best prices."""
        touched = self._exchange.user_streams.flush()
        if self._markets.anyone_listens:
            self._markets.on_quote(symbol)
        return touched

    def flush(self) -> None:
        """Push what has happened to accounts outside any request."""
        self._exchange.user_streams.flush()

    @property
    def sockets(self) -> int:
        """Open WebSockets."""
        return len(self._connections)

    def drop_connections(self, *, away_ms: int = 0) -> None:
        """Cut every WebSocket, as a network that fails does, and take no new one for `away_ms`."""
        self._sockets_from_ms = self._exchange.clock.now_ms() + away_ms
        for connection in list(self._connections):
            connection.drop()

    async def _handle(self, request: BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ConnectionError:  # gone before it was answered: nobody is left to answer
            return web.Response()

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        path = request.path
        is_api = path == "/ws-api/v3"
        if is_api or path in ("/stream", "/ws") or path.startswith("/ws/"):
            try:
                check_time_unit(request.query.get("timeUnit"))
            except errors.ApiError as error:
                return web.Response(status=error.status, body=orjson.dumps(error.body()))
            if self._exchange.clock.now_ms() < self._sockets_from_ms:
                return web.Response(status=503)
            return await (self._serve_api(request) if is_api else self._serve_streams(request, path))
        return await self._rest.handle(request)

    async def _serve_api(self, request: BaseRequest) -> web.StreamResponse:
        try:
            self._exchange.meter.charge(self._exchange.clock.now_ms(), SESSION_WEIGHT)
        except errors.ApiError as error:
            return web.Response(status=error.status, body=orjson.dumps(error.body()))
        socket, connection = await self._accept(request)
        show = request.query.get("returnRateLimits", "true") != "false"
        session = Session(self._exchange, connection, show_rate_limits=show)
        try:
            await self._run(request, connection, session)
        finally:
            await session.end()
        return socket

    async def _serve_streams(self, request: BaseRequest, path: str) -> web.StreamResponse:
        combined = path == "/stream"
        if combined:
            wanted = parse_qs(request.query_string).get("streams", [""])[0]
        else:
            wanted = path.removeprefix("/ws").removeprefix("/")
        socket, connection = await self._accept(request)
        risk = self._exchange.user_streams
        session = StreamSession(self._markets, connection, self._exchange.clock, risk, combined=combined)
        # An address with an unknown stream connects and stays silent, as on the real exchange.
        names = [name for name in wanted.split("/") if name]
        session.subscribe([name for name in names if self._markets.knows(name) or risk.knows_key(name)])
        try:
            await self._run(request, connection, session)
        finally:
            session.end()
        return socket

    async def _run(self, request: BaseRequest, connection: Connection, session: Session | StreamSession) -> None:
        """Until either side closes it, or its day is over."""
        self._connections[connection] = session
        try:
            if self._exchange.faults is None:
                connection.hear_at_once(request.protocol, session.receive)
            await connection.run(session.receive, ping_every_s=self._ping_every_s, lifetime_ms=CONNECTION_LIFETIME_MS)
        finally:
            del self._connections[connection]

    async def _accept(self, request: BaseRequest) -> tuple[web.WebSocketResponse, Connection]:
        socket = web.WebSocketResponse(
            timeout=CLOSE_WITHIN_S, autoping=False, compress=False, max_msg_size=MAX_MESSAGE_BYTES
        )
        await socket.prepare(request)
        if request.transport is None:
            raise ConnectionResetError
        return socket, Connection(socket, request.transport, self._exchange.clock)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
