"""REST over connections that ask for nothing but an endpoint, request by request.

That is nearly all there is, and a general HTTP server spends as much on each as the exchange does. What is read here is
HTTP/1.1 that arrives whole and says what is usual; a connection that sends anything else, be it a WebSocket's
handshake, a head in pieces or no HTTP at all, is the general server's from then on. Both answer in the same bytes.
"""

import asyncio
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple, cast

from aiohttp.http import SERVER_SOFTWARE

from executor.paper.server.rest import Asked, Reply, Rest

IDLE_S: Final = 3_600.0
"""A connection that has sent nothing for so long is closed."""

_HEAD_MAX: Final = 8_190
_LINE: Final = re.compile(r"(GET|POST|PUT|DELETE) (/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))? HTTP/1\.1")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)")
_UNUSUAL: Final = frozenset(
    {"connection", "content-encoding", "expect", "te", "trailer", "transfer-encoding", "upgrade"}
)


class PlainHttp(asyncio.Protocol):
    """One connection. `general` makes the other server's protocol; `open_now` are the connections that are served
    here.
    """

    _transport: asyncio.Transport

    def __init__(
        self, rest: Rest, general: Callable[[], asyncio.Protocol], open_now: "dict[PlainHttp, asyncio.Transport]"
    ) -> None:
        self._rest = rest
        self._general = general
        self._open_now = open_now
        self._heard = False
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their type
        self._open_now[self] = self._transport
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._leave()

    def pause_writing(self) -> None:
        """Who does not read its answers is not heard."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        asked = _read(data)
        if asked is None or not self._rest.knows(asked.verb, asked.path):
            self._hand_over(data)
            return
        try:
            self._transport.write(_written(self._rest.answer_at_once(asked)))
        finally:
            self._rest.answered()

    def _hand_over(self, data: bytes) -> None:
        self._leave()
        general = self._general()
        self._transport.set_protocol(general)
        general.connection_made(self._transport)
        general.data_received(data)

    def _leave(self) -> None:
        self._open_now.pop(self, None)
        if self._watch is not None:
            self._watch.cancel()

    def _look_again(self) -> None:
        self._heard = False
        self._watch = asyncio.get_running_loop().call_later(IDLE_S, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._heard:
            self._look_again()
        else:
            self._transport.close()


class _Headers(NamedTuple):
    """What the exchange reads of a request's headers."""

    api_key: str | None
    time_unit: str | None
    length: int


def _read(data: bytes) -> Asked | None:
    """The request that `data` is, all of it and nothing more; None where that is not plain to see."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or len(head) > _HEAD_MAX or not head.isascii():
        return None
    line, _, lines = head.decode("ascii").partition("\r\n")
    match = _LINE.fullmatch(line)
    headers = _headers(lines)
    if match is None or headers is None or headers.length != len(body):
        return None
    verb, path, query = match.groups("")
    return Asked(verb, path, query, body.decode("utf-8", "replace"), headers.api_key, headers.time_unit)


@lru_cache(maxsize=256)
def _headers(lines: str) -> _Headers | None:
    """A client sends the same again and again. None where one asks for more than an answer."""
    found: dict[str, str] = {}
    for line in lines.split("\r\n") if lines else ():
        match = _HEADER.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2].strip(" \t")
        if name in found or (name in _UNUSUAL and (name, value.lower()) != ("connection", "keep-alive")):
            return None
        found[name] = value
    length = found.get("content-length", "0")
    if "host" not in found or not length.isdecimal() or len(length) > len(str(_HEAD_MAX)):
        return None
    return _Headers(found.get("x-mbx-apikey"), found.get("x-mbx-time-unit"), int(length))


def _written(reply: Reply) -> bytes:
    headers = "".join([f"{name}: {value}\r\n" for name, value in reply.headers.items()])
    last = _last_headers(int(time.time()))
    head = f"{_status_line(reply.status)}{headers}Content-Length: {len(reply.body)}\r\n{last}\r\n"
    return head.encode("ascii") + reply.body


@cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


@lru_cache(maxsize=1)
def _last_headers(now_s: int) -> str:
    return f"Date: {formatdate(now_s, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n"
