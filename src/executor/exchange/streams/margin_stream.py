"""The events of margin accounts, pushed: each account has a token of its own, and a subscription on one connection.

A token lasts a day at most. It is renewed before it runs out, by a new one on the same connection, which goes on
without a gap (margin documents, "Trade Data Stream"); one that can't be had in time ends the stream, and that is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from executor.decoding import Ms, Row, decode
from executor.exchange.port import ReadError
from executor.exchange.streams import events
from executor.exchange.streams.user_stream import UserEvent, UserStream
from executor.exchange.transport.auth import Credentials
from executor.exchange.transport.connection import Connection
from executor.exchange.transport.supervised import (
    DEFAULT_TIMING,
    Connected,
    Ending,
    Lost,
    Session,
    StreamFault,
    Timing,
)
from executor.exchange.wire.margin import LISTEN_TOKEN, Account

log = structlog.get_logger(__name__)

METHOD: Final = "userDataStream.subscribe.listenToken"
SUBSCRIPTION_WEIGHT: Final = 2
DAY_S: Final = 86_400.0
SOONEST_S: Final = 30.0
"""A token is renewed at half its time, but not more often than this."""
RISK: Final = frozenset({"MARGIN_LEVEL_STATUS_CHANGE", "USER_LIABILITY_CHANGE"})
"""Of the risk stream; some have seen them here as well, which no document says (rule 8.8)."""


class _Token(Row, frozen=True):
    token: str
    expires_at: Ms = msgspec.field(name="expirationTime", default=-1)


class _Reply(msgspec.Struct, frozen=True):
    id: str | int | None = None
    status: int = 200
    error: msgspec.Raw = msgspec.Raw(b"")


class MarginUserStream(UserStream):
    """`UserStream` of margin accounts. `sleep` waits so many seconds of the exchange's time; `on_risk` is called when a
    debt or the level of a cross account has changed.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        connection: Connection,
        symbols: Collection[str],
        on_event: Callable[[UserEvent | Connected | Lost], None],
        *,
        accounts: Collection[Account],
        sleep: Callable[[float], Awaitable[None]],
        on_risk: Callable[[], None] = lambda: None,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        super().__init__(url, credentials, connection, symbols, on_event, timing=timing)
        self._accounts = tuple(dict.fromkeys(accounts))
        self._tokens: list[_Token] = []
        self._sleep = sleep
        self._on_risk = on_risk
        self._lasts_s = DAY_S

    def _admit(self) -> None:
        super()._admit()
        self._rest.budget.charge(SUBSCRIPTION_WEIGHT * (len(self._accounts) - 1))

    async def _open(self) -> Session:
        """Tokens first: a connection waits for nothing but its subscriptions."""
        try:
            self._tokens = await self._new_tokens()
        except ReadError as error:
            raise StreamFault(f"no listen token: {error}") from error
        return await super()._open()

    @property
    def _subscribed_within_s(self) -> float:
        return self._timing.open * len(self._accounts)

    async def _subscribe(self, connection: ClientConnection) -> list[bytes]:
        early = await self._ask(connection, *map(self._with, self._tokens))
        self._lasts_s = min(map(self._left_s, self._tokens))
        return early

    async def _tend(self, connection: ClientConnection) -> None:
        """Renew, for ever, each time at half of what is left."""
        while True:
            await self._sleep(max(self._lasts_s / 2, SOONEST_S))
            try:
                tokens = await self._new_tokens()
            except ReadError as error:
                log.warning("token_not_renewed", error=str(error), left_s=round(self._lasts_s / 2))
                self._lasts_s /= 2
                continue
            for token in tokens:
                await connection.send(msgspec.json.encode(self._with(token)), text=True)
            self._lasts_s = min(map(self._left_s, tokens))
            log.info("token_renewed", accounts=len(tokens), lasts_s=round(self._lasts_s))

    async def _new_tokens(self) -> list[_Token]:
        """One for each account, all asked for at once. Raises `ReadError`."""
        return await asyncio.gather(*map(self._token, self._accounts))

    async def _token(self, account: Account) -> _Token:
        asked = {"isIsolated": "true", "symbol": account.isolated} if account.isolated else {}
        return await self._rest.read(LISTEN_TOKEN, asked, lambda reply: decode(reply.body, _Token))

    def _with(self, token: _Token) -> dict[str, object]:
        return {"id": f"subscribe-{next(self._numbers)}", "method": METHOD, "params": {"listenToken": token.token}}

    def _left_s(self, token: _Token) -> float:
        """Seconds that it lasts; a day where that is not told."""
        if token.expires_at <= 0:
            return DAY_S
        return max((token.expires_at - self._rest.clock.now_ms()) / 1000, 0.0)

    def _events(self, message: bytes) -> list[UserEvent | Ending]:
        if b'"event"' not in message:
            return self._answered(message)
        if events.kind(events.event(message)) in RISK:
            self._on_risk()
            return []
        return super()._events(message)

    def _answered(self, message: bytes) -> list[UserEvent | Ending]:
        """The answer to a renewal. One that is refused ends the stream: it would run out, and tell nothing."""
        reply = decode(message, _Reply)
        if reply.id is None and not bytes(reply.error):
            return super()._events(message)
        if bytes(reply.error) or reply.status != 200:
            raise StreamFault(f"renewal refused: {reply.status} {bytes(reply.error).decode('utf-8', 'replace')[:200]}")
        return []
