"""The local socket through which commands reach the running service: one JSON line asked, one answered.

    {"verb":"move-stop","price":"81.20"}  ->  {"ok":true,"text":"the stop is being moved to 81.20"}

It is named after the state file, `<state>.sock`, and open to the service's own user alone (0600). It is bound beside
its name and renamed over it, while the state's lock is held: so only a stale socket is ever replaced, and nobody finds
one that does not answer yet.
"""

import asyncio
import contextlib
import select
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import structlog

from executor.core.book import levels
from executor.core.model.events import Commanded, Verb
from executor.core.model.values import plain, short
from executor.core.model.verdict import Ignored, Moved, Refusal
from executor.core.transition import Step
from executor.exchange.port import ReadError
from executor.files import PRIVATE
from executor.ops import logs as ops_logs
from executor.ops import status as ops_status
from executor.ops.check_now import check_now
from executor.ops.margin_view import view_now
from executor.ops.why import why
from executor.service import takeover
from executor.service.asking import NO_MARGIN, Answer, ControlError, Request
from executor.service.inbox import always
from executor.service.loop import Loop
from executor.service.store import codec
from executor.service.store.control_socket import address_of, socket_path

log = structlog.get_logger(__name__)

REQUEST_MAX: Final = 4096
"""Bytes of a request line; the longest that makes sense has some fifty."""
SLOW_S: Final = 5.0
"""Seconds in which a client must have sent its line, and taken the answer."""
CLIENTS_MAX: Final = 32
SILENT_S: Final = 0.3
"""Who has not said all by then, or not taken the answer, gives way where places are short."""

_VERBS: Final = {
    "pause": Verb.PAUSE,
    "resume": Verb.RESUME,
    "flatten": Verb.FLATTEN,
    "cancel-entry": Verb.CANCEL_ENTRY,
    "move-stop": Verb.MOVE_STOP,
}


class SocketUnusable(ControlError):  # noqa: N818  (it says what the socket is)
    """The socket can't be made."""


class Control:
    """The service's end. `run` it beside the loop; it ends when cancelled, and takes its socket away."""

    def __init__(self, loop: Loop, state: Path) -> None:
        """The state's lock must be held: what stands in the socket's place is replaced. Raises SocketUnusable."""
        self.path = socket_path(state)
        self._loop = loop
        self._clients = 0
        self._awaited: dict[asyncio.StreamWriter, float] = {}
        """Whose turn it is to say or to take something, and since when; the longest first."""
        self._listening = self._bind()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as clients:
                server = await asyncio.start_unix_server(
                    lambda reader, writer: clients.create_task(self._serve(reader, writer), name="control"),
                    sock=self._listening,
                    limit=REQUEST_MAX,
                )
                try:
                    await asyncio.Event().wait()  # not serve_forever: its end waits for the slowest client
                finally:
                    server.close()
        finally:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def _bind(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            with address_of(fresh) as address:
                listening.bind(address)
            fresh.chmod(PRIVATE)
            listening.listen(CLIENTS_MAX)
            listening.setblocking(False)
            fresh.replace(self.path)
        except OSError as error:
            listening.close()
            with contextlib.suppress(OSError):  # the first error is the one to tell
                fresh.unlink()
            raise SocketUnusable(f"control socket {self.path} can't be made: {error.strerror or error}") from error
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        writer.transport.set_write_buffer_limits(0)  # what has been drained is with the client
        try:
            if not self._room():
                answer = Answer(False, f"more than {CLIENTS_MAX} clients at once: try again in a moment")
            else:
                answer = await self._hear(reader, writer)
            async with self._awaiting(writer):
                writer.write(encoded(answer) + b"\n")
                await writer.drain()
        except (ConnectionError, TimeoutError) as error:
            writer.transport.abort()  # to close it would wait for a client that does not read
            log.warning("control_client_lost", error=type(error).__name__)
        finally:
            self._clients -= 1
            writer.close()

    def _room(self) -> bool:
        """Whether there is a place, if need be that of whoever has been awaited for the longest."""
        if self._clients <= CLIENTS_MAX:
            return True
        slowest, since = next(iter(self._awaited.items()), (None, 0.0))
        if slowest is None or asyncio.get_running_loop().time() - since < SILENT_S:
            return False
        del self._awaited[slowest]
        slowest.transport.abort()
        return True

    @contextlib.asynccontextmanager
    async def _awaiting(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        """Raises TimeoutError when the client takes too long."""
        self._awaited[writer] = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(SLOW_S):
                yield
        finally:
            self._awaited.pop(writer, None)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        try:
            async with self._awaiting(writer):
                line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            return Answer(False, f"the request is longer than {REQUEST_MAX} bytes")
        except asyncio.IncompleteReadError:
            return Answer(False, "the request has no end of line")
        except TimeoutError:
            return Answer(False, f"no request within {SLOW_S:.0f} s")
        try:
            request = codec.decode(codec.unambiguous(line), type=Request)
        except codec.CodecError as error:
            return Answer(False, f"not a request: {error}")

        def wanted() -> bool:
            """A service that stood still for hours, or had no room on its disk, finds what was given up hours ago."""
            if hung_up(writer):
                log.warning(
                    "command_given_up", verb=request.verb, text="whoever asked waits no longer: not carried out"
                )
                return False
            return True

        return await answer_to(self._loop, request, wanted=wanted) if wanted() else Answer(False, "not carried out")


def hung_up(writer: asyncio.StreamWriter) -> bool:
    """Whether nobody is at the other end any more; who has only ended what they say waits for the answer (poll(2))."""
    if sys.platform != "linux" or writer.is_closing():
        return writer.is_closing()
    poll = select.poll()
    poll.register(writer.get_extra_info("socket"), 0)
    return any(found & select.POLLHUP for _, found in poll.poll(0))


def fault_of(request: Request) -> str | None:
    """Why it can't be carried out whatever the state is."""
    if request.verb not in VERBS:
        return f"verb is {request.verb!r}, must be one of {', '.join(VERBS)}"
    if (request.price is None) == (request.verb == "move-stop"):
        return "move-stop, and only move-stop, has a price"
    if request.price is not None and request.price <= 0:
        return f"price is {request.price}, must be above 0"
    if (request.takeover is None) == (request.verb in _TAKEOVERS):
        return "propose and resolve, and only they, have a takeover"
    if bool(request.asset) is not (request.verb == "repay"):
        return "repay, and only repay, has an asset"
    if request.own and request.verb != "repay":
        return "only repay is about what is Executor's own"
    if request.trade and request.verb != "flatten":
        return "only flatten names a trade"
    if request.about and request.verb != "why":
        return "only why is about something"
    return None


async def answer_to(
    loop: Loop, request: Request, takes: Collection[str] = (), wanted: Callable[[], bool] = always
) -> Answer:
    """Judge a request and carry it out; a fault of ours costs this request, not the trade that is open."""
    try:
        if (fault := fault_of(request)) is not None:
            return Answer(False, fault)
        return await obey(loop, request, takes, wanted)
    except Exception:  # whatever it is, the loop goes on
        log.exception("control_failed", alert=True, verb=request.verb)
        return Answer(False, "a fault of Executor: see its log; what was asked for may be done all the same")


async def obey(
    loop: Loop, request: Request, takes: Collection[str] = (), wanted: Callable[[], bool] = always
) -> Answer:
    """Carry out a sound request. `takes`: what of a fleet's store is consumed with the state that it changes; `wanted`:
    whether whoever asked still waits, as its turn comes.
    """
    if request.verb in READING:
        return await _tell(loop, request)
    match request.verb:
        case "repay":
            log.info("operator", verb="repay", asset=request.asset, own=request.own)
            asked = Commanded(at=loop.now(), verb=Verb.REPAY, asset=request.asset, own=request.own)
            return _verdict(await loop.ask(asked, takes, wanted))
        case "propose" | "resolve" as verb:
            assert request.takeover is not None
            log.info("operator", verb=verb, takeover=msgspec.to_builtins(request.takeover, str_keys=True))
            if verb == "propose":
                answer = await takeover.propose(loop, request.takeover)
            else:
                answer = await takeover.resolve(loop, request.takeover, takes, wanted)
            return Answer(answer.ok, "done" if answer.ok else answer.lines[0], answer)
        case verb:
            price = plain(request.price) if request.price is not None else None
            log.info("operator", verb=verb, price=price, trade=request.trade)
            asked = Commanded(at=loop.now(), verb=_VERBS[verb], price=_on_tick(loop, request), trade=request.trade)
            return _moved(_verdict(await loop.ask(asked, takes, wanted)), request.price, asked.price)


def _on_tick(loop: Loop, request: Request) -> Decimal | None:
    """The wished stop as an exchange can have it: judged by any other, one might be moved that stays where it is."""
    position = loop.state.position
    if request.price is None or position is None:
        return request.price
    return levels.away_from_profit(request.price, loop.engine.rules.tick, position.plan.direction)


def _moved(answer: Answer, wished: Decimal | None, price: Decimal | None) -> Answer:
    if price is None or wished is None or not answer.ok:
        return answer
    between = "" if price == wished else f" ({short(wished)} lies between two ticks)"
    return Answer(True, f"the stop is being moved to {short(price)}{between}")


async def _tell(loop: Loop, request: Request) -> Answer:
    match request.verb:
        case "status":
            found = ops_status.status_of(loop.state, loop.engine.rules, running=True, now=loop.now())
            return Answer(True, "running", found)
        case "logs":
            return Answer(True, "logs", ops_logs.recent(request.count))
        case "check":
            checked = await check_now(loop)
            sound = checked.certain and checked.found is not None and checked.found.sound
            return Answer(sound, checked.text, checked.found)
        case "trades":
            return Answer(True, "trades", list(loop.closed)[-request.count :])
        case "why":
            return Answer(True, await why(loop, request.about, loop.engine.journal_path))
        case "margin":
            return await _margin(loop)
        case _:
            await loop.come_round()
            return Answer(True, "running")


async def _margin(loop: Loop) -> Answer:
    if loop.engine.rules.margin is None:
        return Answer(False, NO_MARGIN)
    try:
        return Answer(True, "margin", await view_now(loop))
    except ReadError as error:
        return Answer(False, f"the margin account could not be read: {error}")


def encoded(answer: Answer) -> bytes:
    """The answer, or that it can't be written."""
    try:
        return codec.encode(answer)
    except codec.CodecError as error:
        return codec.encode(Answer(False, f"the answer can't be written: {error}"))


_TAKEOVERS: Final = ("propose", "resolve")
READING: Final = ("ping", "status", "logs", "check", "trades", "why", "margin")
VERBS: Final = (*READING, "repay", *_TAKEOVERS, *_VERBS)
CHANGING: Final = frozenset(("resolve", "repay", *_VERBS))
"""Those that change the state."""


def _verdict(step: Step) -> Answer:
    match step.verdict:
        case Moved():
            return Answer(True, "done")
        case Ignored(why):
            return Answer(True, why)
        case Refusal(why):
            return Answer(False, why)
