"""The events of margin accounts, pushed: each account has a token of its own, and a subscription on one connection.

A token lasts a day at most. It is renewed before it runs out, by a new one on the same connection, which goes on
without a gap (margin documents, "Trade Data Stream"); one that can't be had in time ends the stream, and that is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
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
    Told,
)
from executor.exchange.wire.margin import LISTEN_TOKEN, Account

log = structlog.get_logger(__name__)

METHOD: Final = "userDataStream.subscribe.listenToken"
SUBSCRIPTION_WEIGHT: Final = 2
DAY_S: Final = 86_400.0
SOONEST_S: Final = 30.0
"""A token is renewed at half its time, but not more often than this."""
WITHOUT_AGAIN_S: Final = 60.0
"""Between two tries to have one for an account that was given none."""
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
        self._tokens: dict[Account, _Token] = {}
        self._without: dict[Account, str] = {}
        """Accounts that no token was had for, and why."""
        self._said: set[Account] = set()
        """Those of which this was told since the stream is up; `_alerted`: at all."""
        self._alerted: set[Account] = set()
        self._sleep = sleep
        self._on_risk = on_risk
        self._lasts_s = DAY_S

    def _admit(self) -> None:
        super()._admit()
        self._rest.budget.charge(SUBSCRIPTION_WEIGHT * (len(self._accounts) - 1))

    async def _open(self) -> Session:
        """Tokens first: a connection waits for nothing but its subscriptions. An account that is given none (its pair
        was disabled, say) keeps the others from nothing: it is told of, and asked for again.
        """
        found, faults = await self._new_tokens(self._accounts)
        if not found:
            raise StreamFault(f"no listen token: {next(iter(faults.values()))}")
        self._tokens, self._without = found, faults
        return await super()._open()

    def _say_connected(self) -> None:
        super()._say_connected()
        self._said = set()
        self._tell_without()

    def _renewed(self) -> None:
        self._tell_without()

    def _tell_without(self) -> None:
        """Tell of which symbols nothing is pushed, or is again, since it was last told."""
        for account in self._said - self._without.keys():
            self._tell_each(account, Connected())
        for account, why in self._without.items():
            if account not in self._alerted:
                log.error("account_not_pushed", alert=True, text=self._words(account, why))
            if account not in self._said:
                self._tell_each(account, Lost(why))
        self._said = set(self._without)
        self._alerted = set(self._without)

    def _tell_each(self, account: Account, event: Connected | Lost) -> None:
        for symbol in self._symbols_of(account):
            self._on_event(Told(symbol, event))

    def _symbols_of(self, account: Account) -> list[str]:
        isolated = {each.isolated for each in self._accounts}
        return [account.isolated] if account.isolated else sorted(self._symbols - isolated)

    def _words(self, account: Account, why: str) -> str:
        named = ", ".join(self._symbols_of(account))
        return f"{named}: nothing is pushed of the {account.kind} account, its orders are asked for instead: {why}"

    @property
    def _subscribed_within_s(self) -> float:
        return self._timing.open * len(self._accounts)

    async def _subscribe(self, connection: ClientConnection) -> list[bytes]:
        early = await self._ask(connection, *map(self._with, self._tokens.values()))
        self._lasts_s = min(map(self._left_s, self._tokens.values()))
        return early

    async def _tend(self, connection: ClientConnection) -> None:
        """Renew, for ever, each time at half of what is left; meanwhile ask for those that none was had for."""
        due = max(self._lasts_s / 2, SOONEST_S)
        while True:
            pause = min(due, WITHOUT_AGAIN_S) if self._without else due
            await self._sleep(pause)
            due -= pause
            wanted = self._accounts if due <= 0 else tuple(self._without)
            found, faults = await self._new_tokens(wanted)
            for token in found.values():
                await connection.send(msgspec.json.encode(self._with(token)), text=True)
            self._take_up(found, faults)
            if due > 0:
                continue
            late = [why for account, why in faults.items() if account not in self._without]
            if late:
                log.warning("token_not_renewed", error=late[0], left_s=round(self._lasts_s / 2))
                self._lasts_s /= 2
            else:
                self._lasts_s = min(map(self._left_s, found.values()), default=self._lasts_s)
                log.info("token_renewed", accounts=len(found), lasts_s=round(self._lasts_s))
            due = max(self._lasts_s / 2, SOONEST_S)

    def _take_up(self, found: Mapping[Account, _Token], faults: Mapping[Account, str]) -> None:
        """Of those that there was no token for, the ones that there is one for now are pushed from here on."""
        without = {account: why for account, why in self._without.items() if account not in found}
        self._without = {account: faults.get(account, why) for account, why in without.items()}
        self._tell_without()

    async def _new_tokens(self, accounts: Sequence[Account]) -> tuple[dict[Account, _Token], dict[Account, str]]:
        """One for each account, all asked for at once; and why for which there is none."""
        told = await asyncio.gather(*map(self._token, accounts), return_exceptions=True)
        found: dict[Account, _Token] = {}
        faults: dict[Account, str] = {}
        for account, token in zip(accounts, told, strict=True):
            if isinstance(token, _Token):
                found[account] = token
            elif isinstance(token, ReadError):
                faults[account] = str(token)
            else:
                raise token
        return found, faults

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
