"""Alerts to a Telegram chat. Trading never waits for it, and never ends because of it.

What is to be told is put in a short queue and sent by a task of its own, no faster than Telegram allows; what has
gathered meanwhile goes out as one message. When Telegram is slow, down or unwilling, messages wait, are tried again,
and the oldest are given up in the end: the log has them all. The bot's token is part of Telegram's addresses, so no
error of the HTTP library is ever shown as it is.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

import httpx
import structlog
from tenacity import AsyncRetrying, RetryCallState, RetryError, retry_if_exception_type, stop_after_attempt

from executor.core.model.intents import Level, Notify

log = structlog.get_logger(__name__)

QUEUE_MAX: Final = 100
TEXT_MAX: Final = 4000
"""Characters of a message; Telegram takes 4096."""
PAUSE_S: Final = 3.0
"""Seconds between two messages: a group takes twenty a minute."""
TRIES_MAX: Final = 8
WAIT_MAX_S: Final = 120.0
TIMEOUT_S: Final = 10.0
FAREWELL_S: Final = 3.0
"""Seconds that a stop waits for the last words."""

TOLD: Final = frozenset({"trade_opened", "trade_closed", "paused", "resumed", "flatten"})
"""Notes that are told though they are no alerts."""
_NOT_TOLD: Final = frozenset({"alert", "event", "level", "timestamp", "exc_info", "exception", "logger"})


class NotSentError(Exception):
    """Telegram did not take a message. `again_in`: seconds after which it may; None when it never will."""

    def __init__(self, why: str, again_in: float | None) -> None:
        super().__init__(why)
        self.again_in = again_in


class _TryAgainError(NotSentError):
    pass


class Telegram:
    """One bot's messages to one chat. `sleep` is real time, also where the market's is not."""

    def __init__(
        self,
        token: str,
        chat: str,
        *,
        api: str = "https://api.telegram.org",
        name: str = "",
        pause: float = PAUSE_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`name` begins each message, so that several services can share a chat."""
        self.sent = 0
        self.given_up = 0
        self._url = f"{api}/bot{token}/sendMessage"
        self._chat = chat
        self._name = name
        self._pause = pause
        self._sleep = sleep
        self._waiting: deque[str] = deque()
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()

    def tell(self, text: str) -> None:
        """Queue a message; returns at once."""
        if len(self._waiting) == QUEUE_MAX:
            self._waiting.popleft()
            self.given_up += 1
        self._waiting.append(text[:TEXT_MAX])
        self._idle.clear()
        self._something.set()

    def notify(self, note: Notify, symbol: str = "") -> None:
        """A note of the loop, of that of `symbol` where there are several; alerts come by `overhear`, with all others
        that are logged.
        """
        if note.level is not Level.ALERT and note.event in TOLD:
            about = f"{symbol} " if symbol else ""
            self.tell(f"{about}{note.event.replace('_', ' ')}: {note.text}")

    def overhear(self, _logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A log processor: each line that is an alert is told, wherever it was written."""
        if line.get("alert"):
            context = structlog.contextvars.get_contextvars()  # the symbol, where there are several
            told = ", ".join(
                f"{key} {value}"
                for key, value in {**context, **line}.items()
                if key not in _NOT_TOLD and value is not None
            )
            self.tell(f"ALERT {str(line.get('event', '')).replace('_', ' ')}: {told}")
        return line

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client:
            while True:
                await self._something.wait()
                text = self._gather()
                await self._deliver(client, text)
                if not self._waiting:
                    self._something.clear()
                    self._idle.set()
                await self._rest()

    async def flush(self) -> None:
        """Send what is left without a pause; return when nothing is."""
        self._hurry.set()
        await self._idle.wait()

    async def _rest(self) -> None:
        rest = asyncio.ensure_future(self._sleep(self._pause))
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({rest, hurry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            rest.cancel()
            hurry.cancel()

    def _gather(self) -> str:
        """As many of the waiting messages as fit into one."""
        lines = [self._waiting.popleft()]
        while self._waiting and sum(map(len, lines)) + len(lines) + len(self._waiting[0]) <= TEXT_MAX:
            lines.append(self._waiting.popleft())
        head = f"{self._name}\n" if self._name else ""
        return (head + "\n".join(lines))[:TEXT_MAX]

    async def _deliver(self, client: httpx.AsyncClient, text: str) -> None:
        tries = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_after_attempt(TRIES_MAX),
            wait=_wait,
            retry=retry_if_exception_type(_TryAgainError),
        )
        try:
            async for attempt in tries:
                with attempt:
                    await self._send(client, text)
        except RetryError as error:
            self._give_up(str(error.last_attempt.exception()))
        except NotSentError as error:
            self._give_up(str(error))
        else:
            self.sent += 1

    def _give_up(self, why: str) -> None:
        self.given_up += 1
        log.warning("telegram_not_sent", why=why, given_up=self.given_up)

    async def _send(self, client: httpx.AsyncClient, text: str) -> None:
        """Raises NotSentError. What the library says of an error may hold the address, and so the token: not shown."""
        try:
            answer = await client.post(self._url, json={"chat_id": self._chat, "text": text})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _TryAgainError(type(error).__name__, 0.0) from None
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _TryAgainError("too many messages", _retry_after(answer))
        if answer.status_code >= 500:
            raise _TryAgainError(f"status {answer.status_code}", 0.0)
        if answer.status_code != httpx.codes.OK:
            raise NotSentError(_refusal(answer), None)


def _wait(state: RetryCallState) -> float:
    """Telegram's own wish, or twice as long as the time before, up to two minutes."""
    error = state.outcome.exception() if state.outcome is not None else None
    wished = error.again_in if isinstance(error, NotSentError) and error.again_in else 0.0
    return min(max(wished, 2.0 ** (state.attempt_number - 1)), WAIT_MAX_S)


def _retry_after(answer: httpx.Response) -> float:
    try:
        return float(answer.json()["parameters"]["retry_after"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def _refusal(answer: httpx.Response) -> str:
    known = {
        401: "the token is not a bot's: check TELEGRAM_BOT_TOKEN",
        403: "the bot may not write to this chat: write to it first, or add it to the group",
        404: "the token is not a bot's: check TELEGRAM_BOT_TOKEN",
        400: "the chat is not known to the bot: check TELEGRAM_CHAT_ID",
    }
    return f"status {answer.status_code}: {known.get(answer.status_code, 'refused')}"


@contextlib.asynccontextmanager
async def speaking(telegram: Telegram) -> AsyncIterator[None]:
    """Send while the body runs, overhearing the log; at its end the last words get a moment."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and ours hold the token
    processors = structlog.get_config()["processors"]
    processors.insert(0, telegram.overhear)  # in place: loggers that are in use hold this very list
    sender = asyncio.create_task(telegram.run(), name="telegram")
    sender.add_done_callback(_ended)
    try:
        yield
    finally:
        processors.remove(telegram.overhear)
        with contextlib.suppress(TimeoutError):  # what has not gone by then is in the log
            async with asyncio.timeout(FAREWELL_S):
                await telegram.flush()
        sender.cancel()
        await asyncio.wait({sender})


def _ended(sender: asyncio.Task[None]) -> None:
    """A fault of ours, or of the machine's (a proxy's address that is none): trading goes on without alerts."""
    if not sender.cancelled() and (error := sender.exception()) is not None:
        log.error("telegram_off", error=type(error).__name__)
