"""The account's events, pushed: `userDataStream.subscribe.signature` on the WebSocket API, for any key."""

import asyncio
import itertools
from collections.abc import Callable, Collection
from typing import Final

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection

from executor.core.model.facts import OrderReport
from executor.decoding import decode
from executor.exchange.port import ReadError
from executor.exchange.streams import events
from executor.exchange.streams.events import BalanceMoved, BalancesSet
from executor.exchange.transport.auth import Credentials
from executor.exchange.transport.connection import CLOCK_CODE, Connection
from executor.exchange.transport.supervised import (
    DEFAULT_TIMING,
    Connected,
    Ending,
    Lost,
    Stream,
    StreamFault,
    Timing,
    Told,
)
from executor.exchange.wire.answer import Answer
from executor.exchange.wire.outcomes import Fault

_log = structlog.get_logger(__name__)

METHOD: Final = "userDataStream.subscribe.signature"
OPENING_WEIGHT: Final = 4
"""2 to connect and 2 to subscribe (web-socket-api.md)."""

EARLY_MAX: Final = 2**22
"""Bytes that may come before the answer to a subscription: some events."""
FOREIGN_MAX: Final = 100
"""So many other symbols with orders of ours are told of, one by one."""

UserEvent = Told[OrderReport] | Told[Connected | Lost] | BalancesSet | BalanceMoved
"""What is told of one symbol alone: its orders, and whether nothing is pushed of it though the stream is up."""


class _Ban(msgspec.Struct, frozen=True, rename="camel"):
    retry_after: int = 0  # ms since the epoch, unlike REST's header


class _Fault(msgspec.Struct, frozen=True):
    code: int = 0
    msg: str = ""
    data: _Ban | None = None


class _Reply(msgspec.Struct, frozen=True):
    id: str | None = None
    status: int = 0
    error: _Fault | None = None


class UserStream(Stream[UserEvent]):
    """Reports of the orders of `symbols`, and all changes of balances."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        connection: Connection,
        symbols: Collection[str],
        on_event: Callable[[UserEvent | Connected | Lost], None],
        *,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        super().__init__(url, on_event, timing=timing)
        self._credentials = credentials
        self._rest = connection
        self._symbols = frozenset(symbols)
        self._foreign: set[str] = set()
        self._numbers = itertools.count(1)

    def _admit(self) -> None:
        budget = self._rest.budget
        if budget.closed_until > self._rest.clock.now_ms():
            raise StreamFault(f"the exchange's rate limit holds until {budget.closed_until}")
        budget.charge(OPENING_WEIGHT)

    async def _subscribe(self, connection: ClientConnection) -> list[bytes]:
        number = f"subscribe-{next(self._numbers)}"
        return await self._ask(connection, self._request(number))

    async def _ask(self, connection: ClientConnection, *requests: dict[str, object]) -> list[bytes]:
        """Send them on a connection that nobody reads yet, and return what came before the last answer. Each message
        has its own time to come.
        """
        waiting = {request["id"] for request in requests}
        for request in requests:
            await connection.send(msgspec.json.encode(request), text=True)
        early: list[bytes] = []
        room = EARLY_MAX
        while waiting:
            async with asyncio.timeout(self._timing.open):
                message = await connection.recv(decode=False)
            try:
                reply = decode(message, _Reply)
            except msgspec.DecodeError as error:
                raise StreamFault(f"unreadable answer to the subscription: {error}") from error
            if reply.id is None and reply.error is None:
                early.append(message)
                room -= len(message)
                if room < 0:
                    raise StreamFault("no end of messages before the answer to the subscription")
            elif reply.error is None and reply.status == 200:
                waiting.discard(reply.id)
            else:
                await self._refused(reply)
        return early

    async def _refused(self, reply: _Reply) -> None:
        fault = reply.error or _Fault()
        if fault.code == CLOCK_CODE:
            try:
                await self._rest.sync_clock()
            except ReadError as error:
                raise StreamFault(f"the clock is off, and can't be set: {error}") from error
        retry_at = fault.data.retry_after if fault.data is not None else 0
        self._rest.budget.heed(Answer(reply.status, {}, b"", retry_at), Fault(fault.code, fault.msg))
        raise StreamFault(f"subscription refused: {reply.status} {fault.code} {fault.msg}")

    def _request(self, number: str) -> dict[str, object]:
        params: dict[str, str | int] = {
            "apiKey": self._credentials.api_key,
            "recvWindow": self._rest.recv_window,
            "timestamp": self._rest.clock.now_ms(),
        }
        # raw values sorted by name; percent-encoding is REST's way alone (web-socket-api.md, "Request security")
        payload = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
        return {
            "id": number,
            "method": METHOD,
            "params": params | {"signature": self._credentials.sign(payload)},
        }

    def _events(self, message: bytes) -> list[UserEvent | Ending]:
        event = events.event(message)
        match events.kind(event):
            case "executionReport":
                return self._report(event)
            case "outboundAccountPosition":
                return [events.balances_set(event)]
            case "balanceUpdate" | "externalLockUpdate":
                return [events.balance_moved(event)]
            case "serverShutdown":
                return [Ending()]
            case "eventStreamTerminated":
                raise StreamFault("the exchange ended the subscription")
            case _:  # listStatus tells no more than its orders' own reports; new kinds are not ours to read
                return []

    def _report(self, event: msgspec.Raw) -> list[UserEvent | Ending]:
        owner = events.owner(event)
        if owner.symbol in self._symbols:
            report = events.order_report(event)
            return [Told(owner.symbol, report)] if report is not None else []
        if owner.is_ours and owner.symbol not in self._foreign and len(self._foreign) < FOREIGN_MAX:
            self._foreign.add(owner.symbol)
            _log.warning("order_of_another_symbol", symbol=owner.symbol, order=owner.original_id or owner.id)
        return []
