"""The risk stream of a cross account: its level and its debts have changed. What they are is asked for then.

Its key lasts an hour and is kept alive; a connection that ends is opened anew with a key of its own (margin documents,
"Risk Data Stream").
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from executor.decoding import decode
from executor.exchange.port import ReadError
from executor.exchange.streams import events
from executor.exchange.streams.margin_stream import RISK
from executor.exchange.transport.connection import Connection, ReadRefused
from executor.exchange.transport.supervised import (
    DEFAULT_TIMING,
    Connected,
    Ending,
    Lost,
    Session,
    Stream,
    StreamFault,
    Timing,
)
from executor.exchange.wire.margin import RISK_KEY, RISK_KEY_KEPT

log = structlog.get_logger(__name__)

KEEP_EVERY_S: Final = 1_500.0
"""A key lasts an hour: one lost try to keep it does no harm."""


class RiskChanged(msgspec.Struct, frozen=True):
    """The level or a debt of the account is another."""

    kind: str


class _Key(msgspec.Struct, frozen=True):
    key: str = msgspec.field(name="listenKey")


class _Message(msgspec.Struct, frozen=True):
    """An event, in the envelope of a combined stream or as it is."""

    e: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    event: msgspec.Raw = msgspec.Raw(b"")


class RiskStream(Stream[RiskChanged]):
    """`url`: base URL, without /ws; `sleep` waits so many seconds of the exchange's time."""

    def __init__(
        self,
        url: str,
        connection: Connection,
        on_event: Callable[[RiskChanged | Connected | Lost], None],
        *,
        sleep: Callable[[float], Awaitable[None]],
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        super().__init__(url.rstrip("/"), on_event, timing=timing)
        self._rest = connection
        self._sleep = sleep
        self._key = ""

    def _address(self) -> str:
        return f"{self._url}/ws/{quote(self._key, safe='')}"

    async def _open(self) -> Session:
        try:
            self._key = await self._rest.read(RISK_KEY, {}, lambda reply: decode(reply.body, _Key).key)
        except ReadError as error:
            raise StreamFault(f"no key for the risk stream: {error}") from error
        return await super()._open()

    async def _subscribe(self, _connection: ClientConnection) -> list[bytes]:
        return []

    async def _tend(self, _connection: ClientConnection) -> None:
        while True:
            await self._sleep(KEEP_EVERY_S)
            try:
                await self._rest.read(RISK_KEY_KEPT, {"listenKey": self._key}, lambda _: None)
            except ReadRefused as error:  # the exchange knows it no more: up, the connection would tell nothing
                raise StreamFault(f"the key of the risk stream is not kept: {error}") from error
            except ReadError as error:
                log.warning("risk_key_not_kept", error=str(error))

    def _events(self, message: bytes) -> list[RiskChanged | Ending]:
        told = decode(message, _Message)
        inner = bytes(told.data) or bytes(told.event)
        kind = events.kind(msgspec.Raw(inner)) if inner else told.e
        if kind == "serverShutdown":
            return [Ending()]
        if kind == "listenKeyExpired":
            raise StreamFault("the key of the risk stream has run out")
        return [RiskChanged(kind)] if kind in RISK else []
