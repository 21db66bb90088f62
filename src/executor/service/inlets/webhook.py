"""Signals over HTTP: `POST /signal`, off unless WEBHOOK_PORT is set, on a port of its own.

A signal that may come in is appended to SIGNAL_FILE, durably, before anything else; then it is taken from there like
any other, and the answer tells what became of it. So there is one way in, one order and one record of all signals:

- nothing is lost: an answer of 200 or 202 means that the signal is on disk. When the service dies before it is taken,
  it is taken at the next start, where the file's reader left off; a sender that got no answer may send it again;
- nothing is taken twice: a signal is known by its `id` (else side + minute + price, rule 2.5). One that is on its way,
  among the last that the file holds, or judged before, is answered 409 and not written; and whatever comes in twice all
  the same meets the core's own memory, which outlasts restarts.

Strangers are dealt with in a thread of its own with an event loop of its own, so that the trading loop waits for none
of them: what crosses over to it is a signal that may come in.

Putting it before the core directly would save the file's few milliseconds, and lose what arrives in the moment of a
crash: the sender seldom asks again.

| status | meaning |
|---|---|
| 200 | taken: a trade has begun |
| 202 | written down, not judged yet |
| 400 | no signal; the answer names the field |
| 401 | secret or signature missing or wrong |
| 403 | from an address outside WEBHOOK_ALLOW |
| 409 | known already, or refused by a rule; the answer names it |
| 413, 429, 503 | too large, too often, can't be written (send it again) |

A request that is not whole within `Bounds.hear_s` has its connection cut, without an answer.
"""

import asyncio
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog
from aiohttp import HttpVersion11, web

from executor import sockets
from executor.config import Settings
from executor.core.model.signal import Signal
from executor.core.model.verdict import Ignored, Moved, Refusal, Verdict
from executor.files import open_regular
from executor.service.inlets.access import (
    FORWARDED_HEADER,
    Bucket,
    DeniedError,
    Keys,
    Networks,
    Rates,
    address_of,
    source_of,
    within,
)
from executor.service.inlets.connections import Bounds, ConnectionLimiter
from executor.service.inlets.file_threads import FileThreads
from executor.service.inlets.unparsed import parser_log
from executor.signals.alert import SHOWN_AS, line_of, secret_in, secret_in_text, without_secret
from executor.signals.parse import Malformed, SignalFault, parse_signal, read_object
from executor.signals.position import SignalFileError

log = structlog.get_logger(__name__)

PATH: Final = "/signal"
VERDICT_S: Final = 2.5
"""Seconds that an answer waits for the verdict: TradingView hangs up after three."""
KNOWN_MAX: Final = 10_000
TAIL_MAX: Final = 256 * 1024
"""Bytes of the signal file's end whose signals are known at the start."""
READ_S: Final = 5.0
"""For them."""
COMPLAIN_EVERY_S: Final = 10.0
HEAD_MAX: Final = 4096
_WRONG_METHOD: Final = 405
_TRY_AGAIN: Final = 503
LINGER_S: Final = 1.0
"""Seconds in which a client that is still sending may read why it was refused."""


class WebhookUnusable(Exception):  # noqa: N818  (it says what the address is)
    """WEBHOOK_HOST and WEBHOOK_PORT can't be listened on; the text is for people."""


class NotKeptError(Exception):
    """A signal could not be written down; it may be sent again. The text is for people."""


class NobodyTakesError(Exception):
    """No account trades the signal's symbol. The text is for people."""


class Inlet(Protocol):
    """What the webhook needs of whatever judges its signals."""

    on_taken: list[Callable[[bytes, Verdict], None]]

    def now(self) -> int: ...

    def knows(self, signal: Signal) -> bool: ...

    async def submit(self, parsed: Signal | Malformed, takes: Collection[str] = ()) -> Verdict: ...


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may send, and how much. Secrets stay out of its text."""

    secret: str | None
    hmac_key: str | None
    window_s: int = 60
    allowed: Networks = ()
    proxies: Networks = ()
    bytes_max: int = 16_384
    per_minute: int = 30
    total_per_minute: int = 60

    def __repr__(self) -> str:
        return "Access(...)"

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        secret, hmac_key = settings.webhook_secret, settings.webhook_hmac_secret
        return cls(
            secret=secret.get_secret_value() if secret is not None else None,
            hmac_key=hmac_key.get_secret_value() if hmac_key is not None else None,
            window_s=settings.webhook_window_sec,
            allowed=settings.webhook_allow,
            proxies=settings.webhook_trusted_proxy,
            bytes_max=settings.webhook_max_bytes,
            per_minute=settings.webhook_rate_per_min,
            total_per_minute=settings.webhook_total_per_min,
        )


class Webhook:
    """Binds at once; `run` serves until cancelled. `wall`: seconds since the epoch, which signatures are judged by."""

    def __init__(
        self,
        host: str,
        port: int,
        access: Access,
        intake: Inlet,
        signals: Path | None,
        *,
        keep: Callable[[bytes, Signal], Awaitable[bool]] | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep` writes a signal down where there is no file `signals` for it, and says whether it was new; its verdict
        is then not waited for. Raises WebhookUnusable.
        """
        self._access = access
        self._keep = keep
        self._intake = intake
        self._signals = signals
        self._wall = wall
        self._monotonic = monotonic
        self._keys = Keys(access.secret, access.hmac_key, access.window_s)
        self._secrets = [secret for secret in (access.secret, access.hmac_key) if secret]
        self._rates = Rates(access.per_minute)
        self._total = Bucket(access.total_per_minute, monotonic())
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._awaited: dict[bytes, asyncio.Future[Verdict]] = {}
        self._trading: asyncio.AbstractEventLoop | None = None
        self._limiter: ConnectionLimiter | None = None
        self._files = FileThreads()
        self._denied = 0
        self._complained_at = -COMPLAIN_EVERY_S
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]

    async def run(self) -> None:
        if self._signals is not None:
            for key in await self._recent_keys(self._signals):
                self._know(key)
        self._trading = asyncio.get_running_loop()
        self._intake.on_taken.append(self._taken)
        outside, stop = asyncio.new_event_loop(), asyncio.Event()
        serving = asyncio.ensure_future(asyncio.to_thread(_run_in, outside, self._serve(stop)))
        try:
            await asyncio.shield(serving)
        finally:
            if not serving.done():
                outside.call_soon_threadsafe(stop.set)
                await asyncio.wait({serving})
            self._intake.on_taken.remove(self._taken)
            self._files.close()

    async def _recent_keys(self, path: Path) -> list[tuple[str, str]]:
        """As `recent_keys`; none where it takes too long."""
        try:
            return await self._files.do(path, lambda: recent_keys(path), READ_S)
        except SignalFileError as error:
            log.warning("signals_not_read", path=str(path), error=str(error))
            return []

    async def _serve(self, stop: asyncio.Event) -> None:
        server = web.Server(
            self._handle,
            request_factory=self._request,
            access_log=None,
            logger=parser_log(self._complain),
            auto_decompress=False,  # a small body must stay small
            lingering_time=LINGER_S,
            max_line_size=HEAD_MAX,
            max_field_size=HEAD_MAX,
        )
        access = self._access
        self._limiter = ConnectionLimiter(
            server,
            Bounds(),
            allowed=access.allowed,
            proxies=access.proxies,
            half_open=True,
            on_denied=self._complain,
        )
        listening = await asyncio.get_running_loop().create_server(self._limiter, sock=self._socket)
        log.info("webhook", port=self.port)
        try:
            await stop.wait()
        finally:
            listening.close()
            self._limiter.close()
            await server.shutdown(0.1)

    # --- one request, outside -------------------------------------------------------------------------------------

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        running = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, running, client_max_size=self._access.bytes_max
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._signal(request)
        except DeniedError as denied:
            self._complain(request.remote, denied)
            answer = _answer(denied.status, accepted=False, why=str(denied), retry_after=denied.retry_after)
            if denied.status == _WRONG_METHOD:
                answer.headers["Allow"] = "POST"
        except web.HTTPRequestEntityTooLarge:
            too_large = DeniedError(413, f"more than {self._access.bytes_max} bytes")
            self._complain(request.remote, too_large)
            answer = _answer(413, accepted=False, why=str(too_large))
        except Exception as error:  # noqa: BLE001  # a fault of ours costs this request, not the trade that is open
            assert self._trading is not None
            self._trading.call_soon_threadsafe(_tell_fault, error)
            answer = _answer(500, accepted=None, why="a fault of Executor: see its log; the signal may be written down")
        answer.force_close()
        return answer

    async def _signal(self, request: web.BaseRequest) -> web.Response:
        if request.path != PATH:
            raise DeniedError(404, f"signals go to POST {PATH}")
        if request.method != "POST":
            raise DeniedError(_WRONG_METHOD, f"signals go to POST {PATH}")
        self._admit(request)
        if request.content_length is not None and request.content_length > self._access.bytes_max:
            raise DeniedError(413, f"more than {self._access.bytes_max} bytes")
        try:
            await _encourage(request)
            body = await request.read()
        except ConnectionError as error:  # it hung up, or was shown out: nobody's fault here
            raise DeniedError(408, "the connection ended before the request was whole") from error
        if self._limiter is not None:
            self._limiter.heard(request.protocol)
        try:
            fields = read_object(body)
            fault = ""
            shown = secret_in(fields)
        except SignalFault as error:
            fields, fault = {}, str(error)
            shown = secret_in_text(body.decode("utf-8", "replace"))
        signature = self._check(request, body, shown, fault)
        if wait := self._total.take(self._monotonic()):
            raise _too_often(wait, "signals")
        try:
            line = self._line(body, fields, fault, self._came(request))
        except SignalFault as error:
            return await self._inside(self._malformed(Malformed(str(error), f"a request of {len(body)} bytes")))
        answer = await self._inside(self._take(line))
        if answer.status != _TRY_AGAIN:
            self._keys.spend(signature, self._wall())
        return answer

    def _check(self, request: web.BaseRequest, body: bytes, shown: str, fault: str) -> bytes:
        """What is to be spent. Raises DeniedError, which also says what else is wrong: whoever looks for a wrong secret
        in a body that can't be read looks for the wrong fault.
        """
        try:
            return self._keys.check(request.headers, body, shown, self._wall())
        except DeniedError as denied:
            raise DeniedError(denied.status, f"{denied}; {fault}" if fault else str(denied)) from denied

    def _line(self, body: bytes, fields: Mapping[str, Any], fault: str, received: int) -> bytes:
        """Raises SignalFault. What is said of a request goes into logs and the journal, so a secret that stands where
        it does not belong is a fault of its own, which quotes nothing.
        """
        texts = _texts(fields) if fields else iter([without_secret(body.decode("utf-8", "replace"))])
        if any(secret in text for text in texts for secret in self._secrets):
            raise SignalFault("the secret stands where it does not belong")
        if fault:
            raise SignalFault(fault)
        return line_of(fields, received)

    def _came(self, request: web.BaseRequest) -> int:
        """When (ms, exchange clock) it came to this machine, however late it is read: while the service starts, or its
        process stands still, requests wait for it.
        """
        ago_s = 0.0 if self._limiter is None else self._limiter.said_ago_s(request.protocol)
        return self._intake.now() - round(ago_s * 1000)

    async def _inside(self, work: Coroutine[Any, Any, web.Response]) -> web.Response:
        """Have something done in the trading loop."""
        assert self._trading is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._trading))

    def _admit(self, request: web.BaseRequest) -> None:
        peer = address_of(request.remote or "")
        if peer is None:
            raise DeniedError(403, "the source has no address")
        source = source_of(peer, request.headers.getall(FORWARDED_HEADER, []), self._access.proxies)
        if self._access.allowed and not within(source, self._access.allowed):
            silent = source == peer and within(peer, self._access.proxies)
            hint = " (your proxy names no other in X-Forwarded-For)" if silent else ""
            raise DeniedError(403, f"{source} is outside WEBHOOK_ALLOW{hint}")
        if wait := self._rates.take(source, self._monotonic()):
            raise _too_often(wait, "requests from this address")

    def _complain(self, remote: str | None, denied: DeniedError) -> None:
        """One line each while, however many are denied: a log that an attacker can fill is a burden of its own."""
        self._denied += 1
        now = self._monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning("webhook_denied", source=remote, status=denied.status, why=str(denied), denied=self._denied)

    # --- one signal, in the trading loop --------------------------------------------------------------------------

    async def _malformed(self, malformed: Malformed) -> web.Response:
        """Counted and journalled as one from the file would be (rule 2.5)."""
        await self._intake.submit(malformed)
        return _answer(400, accepted=False, why=malformed.fault)

    async def _take(self, line: bytes) -> web.Response:
        signal = parse_signal(line)
        if isinstance(signal, Malformed):
            return await self._malformed(signal)
        key, known_as = signal.key, (signal.symbol, signal.key)
        if known_as in self._known or self._intake.knows(signal):
            return _answer(409, accepted=False, key=key, why="this signal was sent before")
        if self._keep is not None:
            return await self._hand_on(line, signal, self._keep)
        assert self._signals is not None
        self._know(known_as)
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._awaited[line] = verdict
        try:
            await self._files.append(self._signals, line)
        except SignalFileError as error:
            del self._known[known_as], self._awaited[line]
            log.error("webhook_not_written", alert=True, signal=key, error=str(error))
            return _answer(
                _TRY_AGAIN, accepted=False, key=key, why="the signal can't be written: send it again", retry_after=5
            )
        try:
            async with asyncio.timeout(VERDICT_S):
                found = await verdict
        except TimeoutError:
            return _answer(202, accepted=None, key=key, why="written down, not judged yet")
        finally:
            self._awaited.pop(line, None)
        match found:
            case Moved():
                return _answer(200, accepted=True, key=key, why="taken")
            case Ignored(why) | Refusal(why):
                return _answer(409, accepted=False, key=key, why=why)

    async def _hand_on(
        self, line: bytes, signal: Signal, keep: Callable[[bytes, Signal], Awaitable[bool]]
    ) -> web.Response:
        try:
            fresh = await keep(line, signal)
        except NotKeptError as error:
            log.error("webhook_not_written", alert=True, signal=signal.key, error=str(error))
            why = "the signal can't be written: send it again"
            return _answer(_TRY_AGAIN, accepted=False, key=signal.key, why=why, retry_after=5)
        except NobodyTakesError as error:
            return _answer(409, accepted=False, key=signal.key, why=str(error))
        self._know((signal.symbol, signal.key))
        if not fresh:
            return _answer(409, accepted=False, key=signal.key, why="this signal was sent before")
        return _answer(202, accepted=None, key=signal.key, why="written down, not judged yet")

    def _taken(self, line: bytes, verdict: Verdict) -> None:
        awaited = self._awaited.get(line)
        if awaited is not None and not awaited.done():
            awaited.set_result(verdict)

    def _know(self, key: tuple[str, str]) -> None:
        self._known[key] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


def recent_keys(path: Path) -> list[tuple[str, str]]:
    """Symbols and keys of the signals at the file's end, oldest first; none where it can't be read: then the core's
    memory alone tells repetitions.
    """
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_MAX))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("signals_not_read", path=str(path), error=error.strerror or str(error))
        return []
    parsed = (parse_signal(line) for line in lines if line.strip())
    return [(signal.symbol, signal.key) for signal in parsed if not isinstance(signal, Malformed)]


async def _encourage(request: web.BaseRequest) -> None:
    """Whoever asks before sending a body is told to go on (RFC 9110, 10.1.1). Raises DeniedError for another wish."""
    wish = request.headers.get("Expect", "").strip().lower()
    if not wish or request.version < HttpVersion11:
        return
    if wish != "100-continue":
        raise DeniedError(417, "no such expectation can be met: 100-continue can")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer itself has not begun


def _texts(fields: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a request's JSON, names included, but for the secret in its own place. However deep it is nested:
    what could be read can be walked through.
    """
    yield from fields
    rest: list[object] = [value for name, value in fields.items() if name != SHOWN_AS]
    while rest:
        match rest.pop():
            case str() as text:
                yield text
            case Mapping() as inner:
                yield from inner
                rest += inner.values()
            case list() as inner:
                rest += inner
            case _:
                pass


def _run_in(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)


def _tell_fault(error: Exception) -> None:
    """In the loop in which alerts are at home."""
    log.error("webhook_failed", alert=True, exc_info=error)


def _too_often(wait: float, what: str) -> DeniedError:
    seconds = int(wait) + 1
    return DeniedError(429, f"too many {what}: again in {seconds} s", seconds)


def _answer(status: int, *, accepted: bool | None, why: str, key: str = "", retry_after: int = 0) -> web.Response:
    told = {"accepted": accepted, "id": key, "why": why} if key else {"accepted": accepted, "why": why}
    return web.json_response(told, status=status, headers={"Retry-After": str(retry_after)} if retry_after else {})


def _listen(host: str, port: int) -> socket.socket:
    try:
        return sockets.listen(host, port)
    except OSError as error:
        raise WebhookUnusable(
            f"WEBHOOK_HOST {host}, WEBHOOK_PORT {port} can't be listened on: {error.strerror or error}; choose another"
            " port, or 0 for none"
        ) from error
