"""Streams that stay up: a supervisor of one WebSocket subscription, and what it tells the service.

The exchange replays nothing that was missed, so every gap is announced: `Lost` when a subscription ends,
`Connected` when one is up again, upon which the service must look at its orders itself (user-data-stream.md). A
connection ends after 24 h; a new one is up before the old one is dropped, so that nothing is missed then, and some
events come twice.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, NoReturn, TypeVar

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from executor.exchange.transport.network import Resolver, dial
from executor.exchange.wire.outcomes import SLOW_DOWN, describe

_log = structlog.get_logger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Told(msgspec.Struct, Generic[T_co], frozen=True):
    """What is told of one symbol."""

    symbol: str
    fact: T_co


class Connected(msgspec.Struct, frozen=True):
    """Events arrive again; what came before is not known."""


class Lost(msgspec.Struct, frozen=True):
    """Events may be missing from now on."""

    reason: str


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. Who does not answer a ping within `ping` is gone; a connection is replaced after `renew`."""

    ping: float = 10
    open: float = 10
    first_wait: float = 0.2
    longest_wait: float = 30
    renew: float = 23 * 3600


DEFAULT_TIMING: Final = Timing()
LARGEST_MESSAGE: Final = 2**18
"""Bytes; far above any event, so that only garbage ends a connection for its size, and soon: it is read in one turn."""

GIVE_WAY_TURNS: Final = 8
"""So many turns of the event loop a message waits at the most for what is more urgent: three requests take six."""
SLICE_S: Final = 0.005
"""After so long with one connection's messages everybody else has a turn: of small ones thousands come at once."""
BEHIND_S: Final = 1.0
"""So long after a message had to wait for its turn others may wait yet, here or in the system's buffers."""
GAP_EVERY_S: Final = 1.0
DOWN_TOLD_S: Final = 120.0
"""A stream that is down for so long is told of; looks do in its place."""
BAN_S: Final = 60.0
LONGEST_BAN_S: Final = 3600.0
MOST_DIGITS: Final = 6
MOST_DOUBLINGS: Final = 16


class _Here(connect):
    """A connection to where it was asked for. Redirects are not followed: signed requests go to no other address, and
    one that can't be read would raise what is no fault of a stream.
    """

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class StreamFault(Exception):  # noqa: N818  # becomes the reason of a `Lost`
    """The subscription can't be made, or has ended."""


class Ending(msgspec.Struct, frozen=True):
    """The exchange will end the connection soon (`serverShutdown`): the next one is due now."""


_FAULTS: Final = (StreamFault, WebSocketException, OSError, TimeoutError, ValueError)
"""`ValueError`: a host's name that can't be one (an empty label, or one of more than 63 letters), or such a port."""


class Stream(ABC, Generic[T]):
    """One subscription that is kept up. `run` it in a task group; it ends only when cancelled: a defect of ours costs a
    connection, is told, and the next one follows at the pace of any that is lost (rule 8.9).

    `on_event` is called with each event, in the order of arrival, and must not block.
    """

    def __init__(
        self, url: str, on_event: Callable[[T | Connected | Lost], None], *, timing: Timing = DEFAULT_TIMING
    ) -> None:
        self._url = url
        self._on_event = on_event
        self._timing = timing
        self._up = False
        self._down_since: float | None = None
        self._down_told = False
        self._banned_until = 0.0
        self._gap_told_at = -GAP_EVERY_S
        self._gap_to_tell: asyncio.TimerHandle | None = None
        self._session: Session | None = None
        self._resolver = Resolver()
        self.gives_way: Callable[[bytes], bool] | None = None
        """Whether something is being done for which a message, which has come, waits a moment."""

    def reopen(self) -> None:
        """End the connection that is up, as if the network had, for it tells nothing: another one follows at once."""
        if self._session is not None:
            self._session.hang_up()

    async def run(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            try:
                await self._once()
            except Exception as error:  # noqa: BLE001  # a defect of ours costs one connection, not the service with a trade open
                _log.exception("stream_failed", alert=True, stream=type(self).__name__, error=describe(error))
            if loop.time() - started > self._timing.longest_wait:
                failures = 0  # it had been sound
            longest = min(self._timing.first_wait * 2**failures, self._timing.longest_wait)
            await asyncio.sleep(self._ban_left() + random.uniform(0, longest))  # noqa: S311  # spreads clients, hides nothing
            failures = min(failures + 1, MOST_DOUBLINGS)

    async def _once(self) -> None:
        """One subscription, from its beginning to its end."""
        try:
            session = await self._open()
        except _FAULTS as error:
            self._not_up(describe(error))
            self._heed(error)
            return
        self._down_since, self._down_told = None, False
        try:
            reason = await self._follow(session)
        except Exception:
            self._on_event(Lost("a fault of Executor"))
            raise
        if reason:
            self._on_event(Lost(reason))

    def _heed(self, error: Exception) -> None:
        """Whichever connection it was told to, a ban holds for each."""
        self._banned_until = max(self._banned_until, asyncio.get_running_loop().time() + _ban(error))

    def _ban_left(self) -> float:
        """How long (s) the exchange wants no other connection."""
        return max(0.0, self._banned_until - asyncio.get_running_loop().time())

    def _not_up(self, why: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._down_since is None:
            self._down_since = now
        _log.warning("stream_not_up", error=why)
        if not self._down_told and now - self._down_since >= DOWN_TOLD_S:
            self._down_told = True
            _log.error("stream_down", alert=True, stream=type(self).__name__, error=why)

    def _admit(self) -> None:
        """Raises `StreamFault` when no connection may be opened now."""

    def _address(self) -> str:
        """Where the next connection goes."""
        return self._url

    @property
    def _largest_message(self) -> int:
        """Bytes."""
        return LARGEST_MESSAGE

    @property
    def _subscribed_within_s(self) -> float:
        """How long the subscription may take."""
        return self._timing.open

    async def _tend(self, connection: ClientConnection) -> None:
        """What is to be done with a connection while it is up. When it fails, the connection ends."""

    @abstractmethod
    async def _subscribe(self, connection: ClientConnection) -> list[bytes]:
        """Make the connection deliver, and return what came meanwhile. Raises `StreamFault` when refused."""

    @abstractmethod
    def _events(self, message: bytes) -> list[T | Ending]:
        """The events in one message.

        Raises `StreamFault` when it ends the subscription, `msgspec.DecodeError` when it can't be read.
        """

    async def _open(self) -> "Session":
        self._admit()
        address = self._address()
        async with asyncio.timeout(self._timing.open):
            reached = await dial(address, self._resolver)
        connection = await _Here(
            address,
            sock=reached,
            open_timeout=self._timing.open,
            ping_interval=self._timing.ping,
            ping_timeout=self._timing.ping,
            close_timeout=1,
            max_size=self._largest_message,
            proxy=None,  # as REST: settings of the environment must not redirect orders and prices
        )
        try:
            async with asyncio.timeout(self._subscribed_within_s):
                early = await self._subscribe(connection)
        except BaseException:
            await connection.close()
            raise
        return Session(connection, self._deliver, early, self._tend, self.gives_way)

    async def _follow(self, session: "Session") -> str:
        """Deliver until the subscription is lost, changing connections when due. Returns why it was lost; nothing where
        that has been told.
        """
        due = self._timing.renew
        self._session = session
        try:
            self._up = True
            self._say_connected()
            while not await session.ended(within=due):
                if (due := max(self._timing.longest_wait - session.age, self._ban_left())) > 0:
                    continue  # a warning this early, or in a ban, must not make us reconnect for ever
                try:
                    successor = await self._successor(session)
                except _FAULTS as error:
                    _log.warning("stream_not_renewed", error=describe(error))
                    self._heed(error)
                    if not self._up:
                        return ""
                    due = max(self._timing.longest_wait, self._ban_left())  # meanwhile the old one delivers
                    continue
                previous, session, due = session, successor, self._timing.renew
                self._session = session
                gap = previous.gap() if self._up else ""
                await previous.close()
                if not self._up:
                    self._up = True
                    self._say_connected()
                elif gap:
                    self._announce_gap(gap)
                self._renewed()
            return session.reason()
        finally:
            self._up = False
            self._session = None
            await session.close()

    async def _successor(self, session: "Session") -> "Session":
        """The next connection. Where the one that is up ends meanwhile, that is told at once: whoever accepts another
        may leave it without an answer for long. Raises as `_open`.
        """
        opening = asyncio.ensure_future(self._open())
        try:
            await asyncio.wait({opening, session.pump}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                self._up = False
                self._on_event(Lost(session.reason()))
            return await opening
        except BaseException:
            opening.cancel()
            await asyncio.wait({opening})
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
            raise

    def _deliver(self, message: bytes) -> bool:
        """Pass on the events of a message; whether it says that the connection will end."""
        try:
            events = self._events(message)
        except msgspec.DecodeError as error:
            self._announce_gap(f"unreadable message: {error}")  # the connection is sound, but something was missed
            return False
        for event in events:
            if not isinstance(event, Ending):
                self._on_event(event)
        return any(isinstance(event, Ending) for event in events)

    def _announce_gap(self, reason: str) -> None:
        """At once, and at most once a second: a gap has the orders looked at, and nobody's bytes set that pace."""
        now = asyncio.get_running_loop().time()
        wait = self._gap_told_at + GAP_EVERY_S - now
        if wait > 0:
            if self._gap_to_tell is None:
                self._gap_to_tell = asyncio.get_running_loop().call_later(wait, self._tell_gap, reason)
            return
        self._tell_gap(reason)

    def _tell_gap(self, reason: str) -> None:
        self._gap_to_tell = None
        if self._up:  # else it is told already
            self._gap_told_at = asyncio.get_running_loop().time()
            self._on_event(Lost(reason))
            self._say_connected()

    def _say_connected(self) -> None:
        self._on_event(Connected())

    def _renewed(self) -> None:
        """A new connection has taken the place of the one that was up."""


def _ban(error: Exception) -> float:
    """Seconds in which the exchange wants no other connection from here."""
    if not isinstance(error, InvalidStatus) or error.response.status_code not in SLOW_DOWN:
        return 0.0
    told = next(iter(error.response.headers.get_all("Retry-After")), "")  # twice: `get` would raise
    seconds = float(told) if told.isascii() and told.isdigit() and len(told) <= MOST_DIGITS else BAN_S
    return min(max(seconds, BAN_S), LONGEST_BAN_S)


class Session:
    """One connection, and the task that reads it."""

    def __init__(
        self,
        connection: ClientConnection,
        deliver: Callable[[bytes], bool],
        early: list[bytes],
        tend: Callable[[ClientConnection], Coroutine[Any, Any, None]],
        gives_way: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._gives_way = gives_way
        self._connection = connection
        self._deliver = deliver
        self._ending = asyncio.Event()
        self._opened = asyncio.get_running_loop().time()
        self._since: float | None = None
        """Since when nobody else has had a turn."""
        self._waited_at = -BEHIND_S
        self.pump = asyncio.create_task(self._read(early))
        self._tender = asyncio.create_task(self._look_after(tend))

    @property
    def age(self) -> float:
        """Seconds."""
        return asyncio.get_running_loop().time() - self._opened

    async def ended(self, within: float) -> bool:
        """Wait until the subscription has ended (true), or a new connection is due (false)."""
        warned = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({self.pump, warned}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            warned.cancel()
        self._ending.clear()
        return self.pump.done()

    def hang_up(self) -> None:
        """Close the connection without waiting for it: its reader then ends."""
        self._closing = asyncio.create_task(self._connection.close())

    def reason(self) -> str:
        """Why it has ended. Raises what is no fault of the stream: an error of our own."""
        failed = self._tender.done() and not self._tender.cancelled() and self._tender.exception()
        error = failed or self.pump.exception()
        if isinstance(error, _FAULTS):
            return describe(error)
        assert error is not None, "the pump ends only by an exception"
        raise error

    def gap(self) -> str:
        """What may be missed where another connection takes its place now; empty for nothing."""
        if self.pump.done():
            return self.reason()
        behind = asyncio.get_running_loop().time() - self._waited_at < BEHIND_S
        return "messages may be left unread at the change of connections" if behind else ""

    async def close(self) -> None:
        self.pump.cancel()
        self._tender.cancel()
        await asyncio.gather(self.pump, self._tender, return_exceptions=True)
        await self._connection.close()

    async def _look_after(self, tend: Callable[[ClientConnection], Coroutine[Any, Any, None]]) -> None:
        try:
            await tend(self._connection)
        except Exception:
            await self._connection.close()
            raise

    async def _read(self, early: list[bytes]) -> NoReturn:
        for message in early:
            await self._take(message)
        while True:
            message = await self._connection.recv(decode=False)
            if self._gives_way is not None:
                await self._give_way(self._gives_way, message)
            await self._take(message)

    async def _give_way(self, urgent: Callable[[bytes], bool], message: bytes) -> None:
        for _ in range(GIVE_WAY_TURNS):
            if not urgent(message):
                return
            await self._wait_a_turn()

    async def _take(self, message: bytes) -> None:
        clock = asyncio.get_running_loop()
        if self._since is None:
            self._since = clock.time()
            clock.call_soon(self._turned)
        if self._deliver(message):
            self._ending.set()
        if clock.time() - self._since > SLICE_S:
            await self._wait_a_turn()

    async def _wait_a_turn(self) -> None:
        self._waited_at = asyncio.get_running_loop().time()
        await asyncio.sleep(0)

    def _turned(self) -> None:
        self._since = None
