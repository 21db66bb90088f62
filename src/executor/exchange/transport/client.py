"""python-binance's `AsyncClient`, with its oddities turned off.

The library stamps a request with the machine's clock, follows redirects, re-sends what the network lost, and
answers in a dozen shapes of exceptions. Here a request carries the timestamp and recvWindow it is given, is
sent once, and is answered by an `Answer`: status, headers and body as they came. What could not be sent, or
got no answer, raises what aiohttp raised; `Attempt.sent` says whether a byte of it may have left.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler

from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.library import AsyncClient
from executor.exchange.transport.network import Connector, Resolver, new_socket
from executor.exchange.wire.answer import Answer, Attempt
from executor.exchange.wire.calls import Call
from executor.exchange.wire.outcomes import SLOW_DOWN

if TYPE_CHECKING:
    from aiohttp.connector import Connection

ORDER_TIMEOUT_SEC: Final = 12.0
"""Longer than the 10 s after which the exchange itself gives up and says so (-1007, rest-api.md)."""
READ_TIMEOUT_SEC: Final = 5.0
"""A read is asked again instead: four long waits would blind the service for most of a minute."""
CONNECT_TIMEOUT_SEC: Final = 4.0
KEEP_ALIVE_SEC: Final = 50.0
"""Below the 60 s after which common load balancers hang up: an order must not meet a dying connection."""
CONNECTIONS: Final = 24
READS: Final = 16
"""So many at once: those that hang leave connections for orders (rule 8.9)."""
ADDRESSES_KEPT_SEC: Final = 30
BODY_MAX: Final = 8 * 1024 * 1024
"""Bytes; more than ten thousand open orders have. All symbols' rules, which nobody asks for, are twice as long."""
FAULT_MAX: Final = 64 * 1024
"""Of what is no success: an error, or a page of somebody in between."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]*")


_SIGNATURE: Final = re.compile(rb"signature=[^&\s\"']+")


class _Flight:
    """One request's way: over which connection, since when (s, the loop's clock)."""

    __slots__ = ("attempt", "protocol", "sent_at")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.protocol: ResponseHandler | None = None
        self.sent_at = 0.0


_flight: ContextVar[_Flight] = ContextVar("_flight")


class _MarkedRequest(aiohttp.ClientRequest):
    """Notes that it is being written, which aiohttp does only once it has a connection.

    aiohttp's tracing would tell the same, at a tenth of a whole request's time.
    """

    async def send(self, conn: "Connection") -> aiohttp.ClientResponse:
        flight = _flight.get()
        flight.protocol, flight.sent_at = conn.protocol, self.loop.time()
        flight.attempt.sent = True
        return await super().send(conn)


class _Connector(Connector):
    """Another kind of connections is not used again: once a request has found no answer, one that has been silent since
    before it: its flow may have died in the same silence.
    """

    def __init__(self) -> None:
        super().__init__(
            limit=CONNECTIONS,
            keepalive_timeout=KEEP_ALIVE_SEC,
            ttl_dns_cache=ADDRESSES_KEPT_SEC,
            resolver=Resolver(),
            socket_factory=new_socket,
        )
        self._heard: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()
        self._unanswered_since = 0.0

    def answered(self, flight: _Flight) -> None:
        if flight.protocol is not None:
            self._heard[flight.protocol] = self._loop.time()

    def unanswered(self, flight: _Flight) -> None:
        if flight.protocol is not None:
            self._unanswered_since = max(self._unanswered_since, flight.sent_at)

    def usable(self, protocol: ResponseHandler) -> bool:
        heard = self._heard.setdefault(protocol, self._loop.time())
        return heard > self._unanswered_since and super().usable(protocol)


class BinanceClient(AsyncClient):  # type: ignore[misc]  # the library is not typed
    """To be built inside the running event loop. Closed by `close_connection`."""

    def __init__(self, endpoints: Endpoints, credentials: Credentials) -> None:
        # The base class formats these in its constructor; its testnet and demo flags would choose others,
        # and send margin requests to the live exchange.
        rest = endpoints.rest_url.rstrip("/").removesuffix("/api")
        self.API_URL = _literal(f"{rest}/api")
        self.MARGIN_API_URL = _literal(f"{rest}/sapi")
        self.WS_API_URL = _literal(endpoints.ws_api_url)
        self._credentials = credentials
        super().__init__(
            api_key=credentials.api_key,
            requests_params={"allow_redirects": False},
        )
        self._timeouts = {
            is_read: aiohttp.ClientTimeout(total=total, connect=CONNECT_TIMEOUT_SEC)
            for is_read, total in ((True, READ_TIMEOUT_SEC), (False, ORDER_TIMEOUT_SEC))
        }

    async def call(self, call: Call, params: Mapping[str, str], attempt: Attempt) -> Answer:
        """Send once and return what came back. Raises what aiohttp raises."""
        payload = _encoded(params)
        if call.signed:
            payload += f"&recvWindow={attempt.recv_window}&timestamp={attempt.timestamp}"
            payload += f"&signature={quote(self._credentials.sign(payload), safe='')}"
        flight = _Flight(attempt)
        token = _flight.set(flight)
        try:
            request = self._request_margin_api if call.sapi else self._request_api
            answer: Answer = await request(
                call.method, call.path, call.signed, payload=payload, timeout=self._timeouts[call.method == "get"]
            )
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._connector.unanswered(flight)
            if not attempt.sent:
                self._connector.clear_dns_cache()  # nobody is at the address any more, it may be
            raise
        finally:
            _flight.reset(token)
        self._connector.answered(flight)
        return answer

    def _init_session(self) -> aiohttp.ClientSession:
        self._connector = _Connector()
        session = aiohttp.ClientSession(
            connector=self._connector,
            headers=self._get_headers(),
            request_class=_MarkedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # aiohttp would silently repeat a DELETE whose connection broke: a cancel that worked would read -2011
        session._retry_connection = False  # noqa: SLF001  # there is no public switch
        return session

    def _get_request_kwargs(
        self, method: str, _signed: object, _force_params: object, *, payload: str, **kwargs: Any
    ) -> dict[str, Any]:
        """What is signed is what is sent, byte for byte; the library would write it anew."""
        if payload:
            kwargs |= {"params": payload} if method == "get" else {"data": payload.encode()}
        return {**self._requests_params, **kwargs}

    async def _handle_response(self, response: aiohttp.ClientResponse) -> Answer:
        if response.ok:
            return Answer(response.status, response.headers, await _whole(response))
        body = await _beginning(response)
        # A proxy's error page may quote the request; what is said of an error goes into logs and the journal.
        body = _SIGNATURE.sub(b"signature=***", body.replace(self._credentials.api_key.encode(), b"***"))
        return Answer(response.status, response.headers, body)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, unpacked. Raises ClientPayloadError where it is longer than any, for memory is not for filling."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > BODY_MAX:
            response.close()
            raise aiohttp.ClientPayloadError(f"more than {BODY_MAX} bytes")
    return b"".join(parts)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """What an error begins with: nobody's words are longer. One that asks to slow down holds by its status, whether its
    words come whole or not.
    """
    body = bytearray()
    try:
        async for part in response.content.iter_any():
            body += part
            if len(body) > FAULT_MAX:
                response.close()
                break
    except (aiohttp.ClientError, TimeoutError):
        if response.status not in SLOW_DOWN:
            raise
    return bytes(body[:FAULT_MAX])


def _encoded(params: Mapping[str, str]) -> str:
    """Percent-encoded, as the payload must be before it is signed (rest-api.md, "Request security")."""
    return "&".join(
        f"{name}={value if _PLAIN.fullmatch(value) else quote(value, safe='')}" for name, value in params.items()
    )


def _literal(url: str) -> str:
    return url.replace("{", "{{").replace("}", "}}")
