"""One way in and out: every request to Binance is stamped, counted, sent and judged here."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import aiohttp
import msgspec
import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from executor.core.model.facts import Done, OrderReport, Outcome, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.intents import Stamp
from executor.exchange.port import ReadError
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.client import READS, BinanceClient
from executor.exchange.transport.clock import ExchangeClock, agree
from executor.exchange.transport.firewall import Firewall
from executor.exchange.transport.link_service import LinkService, not_served
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.wire import calls, reading
from executor.exchange.wire.answer import Answer, Attempt
from executor.exchange.wire.calls import Call, Urgency
from executor.exchange.wire.outcomes import DOUBT, Fault, describe, fault_of, unanswered, unsuccessful, verdict, words
from executor.exchange.wire.params import enters
from executor.exchange.wire.replace import replaced
from executor.worker_thread import WorkerThread

READ_ATTEMPTS: Final = 4
WARM_CONNECTIONS: Final = 4
CLOCK_CODE: Final = -1021
CLOCK_WAIT_SEC: Final = 1.0
"""What was refused for its time waits so long at the most for the right one: the next try then has it."""
CLOCK_LOOKS: Final = 3
"""So often more is the time asked for, where it seems to have jumped."""
FIREWALL: Final = 403
LARGE: Final = 2**20
"""Bytes. A longer answer is read beside the event loop, which does not stand still meanwhile (rule 8.9)."""

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class ReadRefused(ReadError):  # noqa: N818  # a refusal, beside `Refused`
    """The exchange answered a read with an error of its own that another try would not change."""

    def __init__(self, text: str, status: int, fault: Fault) -> None:
        super().__init__(text)
        self.status = status
        self.fault = fault


class ReadUnanswered(ReadError):  # noqa: N818  # as `ReadRefused`
    """There was no answer in time, and it was not asked again: there is another way."""


class _Hiccup(Exception):  # noqa: N818  # never leaves this module
    """A read that may well work the next time."""

    @property
    def silent(self) -> bool:
        """Whether there was no answer in time."""
        return isinstance(self.__cause__, TimeoutError)


class Reply(msgspec.Struct, frozen=True):
    """An answered read: `asked_at` is ms of the exchange's clock, `asked` and `answered` of the local one."""

    body: bytes
    asked_at: int
    asked: int
    answered: int


class _Answered(NamedTuple):
    """`retry_at`: when the exchange takes the next one (ms of its clock); 0 where it says nothing of that."""

    answer: Answer
    attempt: Attempt
    retry_at: int


class _Way(NamedTuple):
    """How a request goes: over `link`, or over REST; and what stands before it."""

    link: OrderLink | None
    firewall: Firewall


class Connection:
    """Requests of one key to one host. `recv_window` in ms; `close` ends it."""

    def __init__(self, client: BinanceClient, clock: ExchangeClock, budget: Budget, recv_window: int) -> None:
        self._client = client
        self.clock = clock
        self.budget = budget
        self.recv_window = recv_window
        self._rest_firewall = Firewall()
        self._link_firewall = Firewall()
        clock.followers += [self._rest_firewall.shift, self._link_firewall.shift]
        self._service = LinkService()
        self._reads = asyncio.Semaphore(READS)
        self._reader = WorkerThread("large answers")
        self._measuring: asyncio.Task[None] | None = None
        self._beside: set[asyncio.Task[None]] = set()
        self.link: OrderLink | None = None
        """Where orders go while it is up and serves them; else, and without one, over REST."""
        self.failing_since = 0
        """Since when (ms, local) every request has found no answer, or that of a server in trouble; 0: the last was
        answered.
        """
        self.last_failure = ""
        self.key_fault = ""
        """How the exchange refuses the key; empty while the last signed request was not refused for it."""
        self.key_refused_at = 0
        """When it last did (ms, local)."""
        self.uid = 0
        """The account's number, as the start has read it; 0: it is not known."""

    async def close(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
        for task in self._beside:
            task.cancel()
        self._reader.close()
        await self._client.close_connection()

    async def command(
        self,
        call: Call,
        params: Mapping[str, str],
        read: Callable[[bytes], tuple[OrderReport, ...]],
        stamp: Stamp | None = None,
    ) -> Outcome:
        """Send once a request that changes something, signed with `stamp`; without one it is stamped now. `read` turns
        the body of a success into its reports.
        """
        told = await self.ask_once(call, params, read, stamp)
        return told if isinstance(told, Refused | Unknown) else Done(told)

    async def ask_once(
        self, call: Call, params: Mapping[str, str], read: Callable[[bytes], T], stamp: Stamp | None = None
    ) -> T | Refused | Unknown:
        """As `command`, for what is no order: what `read` makes of the body of a success."""
        outcome = await self._send(call, params, stamp)
        if not isinstance(outcome, _Answered):
            return outcome
        answer, attempt, retry_at = outcome
        if not answer.ok:
            return unsuccessful(answer, attempt, retry_at, read)
        try:
            return read(answer.body)
        except msgspec.DecodeError as error:
            return Unknown(f"HTTP {answer.status}, but not the answer to {call}: {error}", attempt.fence)

    async def replace(
        self, params: Mapping[str, str], stamp: Stamp | None = None, *, cancel_id: str, new_id: str
    ) -> ReplaceOutcome:
        outcome = await self._send(calls.REPLACE, params, stamp)
        if not isinstance(outcome, _Answered):
            return ReplaceOutcome(outcome, outcome)
        answer, attempt, retry_at = outcome
        return replaced(answer, attempt, cancel_id=cancel_id, new_id=new_id, retry_at=retry_at)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have `work` done beside what goes on; it ends with the connection."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def read(
        self, call: Call, params: Mapping[str, str], parse: Callable[[Reply], T], *, has_other_way: bool = False
    ) -> T:
        """Ask, and again when the answer got lost (rule 8.5); where the caller has another way, not after a silence.
        Raises `ReadRefused`, `ReadUnanswered` or another `ReadError`.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(READ_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            retry=retry_if_exception(lambda error: isinstance(error, _Hiccup) and not (has_other_way and error.silent)),
            sleep=self.clock.sleep,
            reraise=True,
        )
        try:
            return await retrying(self._ask, call, params, parse)
        except _Hiccup as error:
            if has_other_way and error.silent:
                raise ReadUnanswered(f"{call}: no answer in time") from error
            raise ReadError(f"{call}: no usable answer in {READ_ATTEMPTS} attempts; the last: {error}") from error

    async def sync_clock(self) -> None:
        """Measure the exchange's clock; a time that would make it jump is believed when it is told twice in a row.
        Raises `ReadError`.
        """
        told = await self._measure()
        for _ in range(CLOCK_LOOKS):
            if not self.clock.jumps(*told):
                break
            before, told = told, await self._measure()
            if agree(before, told):
                break
        else:
            raise ReadError(f"{calls.TIME}: times that contradict each other, the last {told[2]}")
        self.clock.adopt(*told)

    async def _measure(self) -> tuple[int, int, int]:
        """When it was asked and answered (ms, local), and the exchange's time in between. Raises `ReadError`."""
        reply, server_time = await self.read(calls.TIME, {}, lambda reply: (reply, reading.server_time(reply.body)))
        return reply.asked, reply.answered, server_time

    async def clock_off(self, limit: int) -> int:
        """By how many ms the clock is off for certain (below 0: ahead), where that is more than `limit`; else 0. It is
        not set. Raises `ReadError`.
        """
        asked, answered, server_time = await self._measure()
        least = server_time - answered - self.clock.offset
        most = server_time - asked - self.clock.offset
        if least > limit:
            return least
        return most if most < -limit else 0

    async def warm(self) -> None:
        """Open the connections on which orders will go in parallel, so that none waits for a handshake. One request
        goes ahead of them: an exchange that bans this address is asked once.

        Raises `ReadError` when the host does not answer.
        """
        await self._ping()
        await asyncio.gather(*(self._ping() for _ in range(WARM_CONNECTIONS)))

    async def _ping(self) -> None:
        await self.read(calls.PING, {}, lambda _: None)

    async def _send(self, call: Call, params: Mapping[str, str], stamp: Stamp | None) -> _Answered | Refused | Unknown:
        """What was answered, with what it asks of us done; or how it ended without an answer."""
        way, now = self._way(call, params), self.clock.now_ms()
        entering = enters(params)
        if refusal := self.budget.refusal(call, enters=entering):
            return refusal
        if at := way.firewall.command_at(now):
            return Refused(Why.RATE_LIMIT, 0, f"not sent: a firewall answers 403, the next may go at {at}", at)
        way.firewall.sent(now)
        stamp = stamp or Stamp(now, self.recv_window)
        attempt = Attempt(stamp.timestamp, stamp.recv_window)
        try:
            answer = await self._tell(call, params, attempt, way)
            if way.link is not None and not_served(answer):
                way = _Way(None, self._rest_firewall)
                answer = await self._tell(call, params, attempt, way)
        except Exception as error:  # noqa: BLE001  # whatever went wrong after sending, the order may exist (8.2)
            return unanswered(error, attempt)
        if answer.ok:
            return _Answered(answer, attempt, 0)
        return _Answered(answer, attempt, await self._heed(call, answer, fault_of(answer), way, entering=entering))

    async def _ask(self, call: Call, params: Mapping[str, str], parse: Callable[[Reply], T]) -> T:
        way = self._way(call, params)
        now = self.clock.now_ms()
        if way.firewall.closed(now) and not (call.urgency is Urgency.LOOKUP and way.firewall.lets_look(now)):
            raise ReadError(f"{call}: a firewall has answered 403, reads wait until {way.firewall.reads_wait_until}")
        await self.budget.admit(call)
        async with self._reads:
            attempt = Attempt(self.clock.now_ms(), self.recv_window)
            asked = self.clock.local_ms()
            try:
                answer = await self._tell(call, params, attempt, way)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise _Hiccup(describe(error)) from error
        if answer.ok:
            reply = Reply(answer.body, attempt.timestamp, asked, self.clock.local_ms())
            try:
                return parse(reply) if len(reply.body) < LARGE else await self._reader.do(partial(parse, reply))
            except msgspec.DecodeError as error:
                raise _Hiccup(f"HTTP {answer.status}, but unreadable: {error}") from error
        fault = fault_of(answer)
        await self._heed(call, answer, fault, way)
        text = words(answer.status, fault)
        why = verdict(answer.status, fault)
        if why is DOUBT or why is Why.RATE_LIMIT or fault.code == CLOCK_CODE:
            raise _Hiccup(text)
        raise ReadRefused(f"{call}: {text}", answer.status, fault)

    async def _tell(self, call: Call, params: Mapping[str, str], attempt: Attempt, way: _Way) -> Answer:
        mark, sent_at = self.budget.begin(call), self.clock.local_ms()
        headers: Mapping[str, str] | None = None
        try:
            if way.link is not None:
                answer = await self._over_link(way.link, call, params, attempt)
            else:
                answer = await self._client.call(call, params, attempt)
            headers = answer.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._note_failure(describe(error))
            raise
        finally:
            self.budget.end(call, mark, headers)
        self._note_answer(call, answer)
        if answer.ok:
            way.firewall.passed()
        if answer.ok or _served(answer):
            self.budget.passed(call, sent_at + self.clock.offset)  # which may have been measured meanwhile
        return answer

    async def _over_link(self, link: OrderLink, call: Call, params: Mapping[str, str], attempt: Attempt) -> Answer:
        try:
            answer = await link.call(call, params, attempt)
        except (OSError, TimeoutError) as error:
            silent = isinstance(error, TimeoutError)
            self._service.failed(describe(error), self.clock.local_ms(), silent=silent)
            raise
        if not answer.ok and (not_served(answer) or answer.status >= 500 or _unsaid(answer)):
            self._service.failed(words(answer.status, fault_of(answer)), self.clock.local_ms(), silent=False)
        else:
            self._service.served()
        return answer

    def _note_failure(self, text: str) -> None:
        self.failing_since = self.failing_since or self.clock.local_ms()
        self.last_failure = text

    def _note_answer(self, call: Call, answer: Answer) -> None:
        """What an answer, whatever it says, tells of the exchange and of the key."""
        if answer.status >= 500:
            self._note_failure(f"HTTP {answer.status}")
            return
        self.failing_since = 0
        if not call.signed:
            return
        if answer.ok:
            self.key_fault = ""
        elif verdict(answer.status, fault := fault_of(answer)) is Why.AUTH:
            self.key_fault = f"HTTP {answer.status}: {fault.code} {fault.msg}"
            self.key_refused_at = self.clock.local_ms()

    def _way(self, call: Call, params: Mapping[str, str]) -> _Way:
        """REST, or for orders the link while it is up and serves them; but REST where a firewall stands before the link
        alone.
        """
        if not call.ws or self.link is None or not self.link.up:
            return _Way(None, self._rest_firewall)
        now = self.clock.now_ms()
        if self._link_firewall.closed(now) and not self._rest_firewall.closed(now):
            return _Way(None, self._rest_firewall)
        if not self._service.takes(params, self.clock.local_ms()):
            return _Way(None, self._rest_firewall)
        return _Way(self.link, self._link_firewall)

    async def _heed(self, call: Call, answer: Answer, fault: Fault, way: _Way, *, entering: bool = False) -> int:
        """Do what a failed answer asks for: measure the clock anew, slow down. Returns when to try again."""
        if answer.status == FIREWALL:
            return self._shut(way.firewall, words(answer.status, fault))
        if fault.code:
            way.firewall.passed()
        if fault.code == CLOCK_CODE:
            if self._measuring is None or self._measuring.done():
                self._measuring = asyncio.create_task(self._measure_anew())
            await asyncio.wait({self._measuring}, timeout=CLOCK_WAIT_SEC)
        return self.budget.heed(answer, fault, call, enters=entering)

    async def _measure_anew(self) -> None:
        try:
            await self.sync_clock()
        except ReadError as error:
            _log.warning("clock_not_synced", error=str(error))

    def _shut(self, firewall: Firewall, said: str) -> int:
        now = self.clock.now_ms()
        known = firewall.closed(now)
        at = firewall.shut(now)
        if not known:
            _log.error("firewall", alert=True, answer=said, reads="wait", orders="go on, slowly")
        return at


def _served(answer: Answer) -> bool:
    """Whether the exchange has dealt with the request, though it said no."""
    fault = fault_of(answer)
    return bool(fault.code) and answer.status < 500 and verdict(answer.status, fault) is not Why.RATE_LIMIT


def _unsaid(answer: Answer) -> bool:
    """Whether it says neither that the request was refused nor who says so."""
    fault = fault_of(answer)
    return not fault.code and verdict(answer.status, fault) is DOUBT
