"""Orders over the WebSocket API, on a connection of their own (web-socket-api.md).

An answer here is the same `Answer` that REST gives, and is judged by the same tables. What gets no answer is as unknown
as there: a request whose connection ends, or that waits too long, may have been executed (rule 8.2).
"""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException
from websockets.protocol import State

from executor.decoding import decode
from executor.exchange.transport.auth import Credentials
from executor.exchange.transport.supervised import DEFAULT_TIMING, Connected, Ending, Lost, Stream, Timing
from executor.exchange.wire.answer import Answer, Attempt
from executor.exchange.wire.calls import Call

ANSWER_SEC: Final = 3.0
"""So long an answer is waited for: one that comes later is heard of by a push, or by the look that begins then."""
LARGEST_ANSWER: Final = 2**22
"""Bytes. What a sale at market has taken off the book is told of in one answer, a hundred bytes for each order."""
NUMBERS: Final = ("orderId", "trailingDelta", "TrailingDelta")
"""What the names of parameters end with that are numbers in JSON; prices and quantities are text, as everywhere."""


class _RateLimit(msgspec.Struct, frozen=True, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    count: int

    @property
    def header(self) -> str:
        """How REST names the same count."""
        window = f"{self.interval_num}{self.interval[:1]}"
        return f"X-MBX-{'ORDER-COUNT' if self.rate_limit_type == 'ORDERS' else 'USED-WEIGHT'}-{window}"


class _Ban(msgspec.Struct, frozen=True, rename="camel"):
    retry_after: int = 0  # ms since the epoch, unlike REST's header


class _Fault(msgspec.Struct, frozen=True):
    data: _Ban | None = None


class _Reply(msgspec.Struct, frozen=True, rename="camel"):
    id: str | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")
    rate_limits: msgspec.Raw = msgspec.Raw(b"")


class LinkLost(ConnectionError):  # noqa: N818  # it says what the link is
    """The connection ended before the answer came."""


class OrderLink(Stream[None]):
    """`run` keeps it up. `up`: a request may be sent; one that finds it down has not been sent at all."""

    def __init__(self, url: str, credentials: Credentials, *, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(url, self._heard, timing=timing)
        self._credentials = credentials
        self._numbers = itertools.count(1)
        self._connection: ClientConnection | None = None
        self._newest: ClientConnection | None = None
        self._pending: dict[str, asyncio.Future[Answer]] = {}

    async def run(self) -> NoReturn:
        """Keep it up until cancelled. What is unanswered then is told as lost at once, so that an end need not wait for
        it, and what is sent later goes another way (rule 9.5).
        """
        try:
            await super().run()
        finally:
            self._connection = None
            self._fail("the connection was closed")

    @property
    def up(self) -> bool:
        return self._connection is not None and self._connection.state is State.OPEN

    @property
    def _largest_message(self) -> int:
        return LARGEST_ANSWER

    async def call(self, call: Call, params: Mapping[str, str], attempt: Attempt) -> Answer:
        """Send once and return what came back. Raises `LinkLost`, TimeoutError, and what the network raises."""
        connection = self._connection
        if connection is None or not self.up:
            raise LinkLost("the WebSocket API is not connected")
        number = f"o{next(self._numbers)}"
        message = msgspec.json.encode({"id": number, "method": call.ws, "params": self._signed(params, attempt)})
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            attempt.sent = True
            async with asyncio.timeout(ANSWER_SEC):
                try:
                    await connection.send(message, text=True)
                except WebSocketException as error:
                    raise LinkLost(str(error)) from error
                return await answer
        finally:
            del self._pending[number]

    def _signed(self, params: Mapping[str, str], attempt: Attempt) -> dict[str, str | int]:
        whole: dict[str, str | int] = {
            **{name: int(value) if name.endswith(NUMBERS) else value for name, value in params.items()},
            "apiKey": self._credentials.api_key,
            "recvWindow": attempt.recv_window,
            "timestamp": attempt.timestamp,
        }
        # raw values sorted by name; percent-encoding is REST's way alone (web-socket-api.md, "Request security")
        payload = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
        whole["signature"] = self._credentials.sign(payload)
        return whole

    async def _subscribe(self, connection: ClientConnection) -> list[bytes]:
        self._fail("the connection was replaced")
        self._connection = self._newest = connection
        return []

    def _heard(self, event: Connected | Lost | None) -> None:
        match event:
            case Lost():
                self._connection = None
                self._fail(event.reason)
            case Connected():  # also after a message that could not be read: the connection itself is sound
                self._connection = self._newest
            case None:
                pass

    def _fail(self, reason: str) -> None:
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(LinkLost(reason))

    def _events(self, message: bytes) -> list[Ending | None]:
        reply = decode(message, _Reply)
        answer = self._pending.get(reply.id or "")
        if answer is not None and not answer.done():
            answer.set_result(_answer(reply))
        elif b'"serverShutdown"' in message:
            return [Ending()]
        return []


def _answer(reply: _Reply) -> Answer:
    headers = _counts(reply.rate_limits)
    if not bytes(reply.error):
        return Answer(reply.status, headers, bytes(reply.result))
    try:
        ban = decode(reply.error, _Fault).data
    except msgspec.DecodeError:  # data of another kind: the halves of a cancel-replace
        ban = None
    return Answer(reply.status, headers, bytes(reply.error), ban.retry_after if ban is not None else 0)


def _counts(told: msgspec.Raw) -> dict[str, str]:
    """The limits that can be read: what stands beside an order's answer must not hide the answer."""
    try:
        rows = decode(told, list[msgspec.Raw])
    except msgspec.DecodeError:
        return {}
    counts: dict[str, str] = {}
    for row in rows:
        with contextlib.suppress(msgspec.DecodeError):
            limit = decode(row, _RateLimit)
            counts[limit.header] = str(limit.count)
    return counts
