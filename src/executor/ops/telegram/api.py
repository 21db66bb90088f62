"""The few methods of Telegram's Bot API that are needed (core.telegram.org/bots/api), on httpx.

The bot's token is part of every address, so nothing that the HTTP library says of an error is ever shown.
"""

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final

import httpx
import msgspec

from executor.decoding import decode

TIMEOUT_S: Final = 10.0
DESCRIPTION_MAX: Final = 200
WHOLE_S: Final = 10.0
"""So much longer the whole answer may take than any part of it: one that comes in drops must not hold up the next."""
ANSWER_MAX: Final = 16 * 1024 * 1024
"""A hundred updates of the longest texts are some megabytes."""
LONGEST_PAUSE_S: Final = 86_400.0
"""Whoever asks for a longer one is not believed."""


class Parameters(msgspec.Struct, frozen=True):
    """Why a request failed, as far as it can be helped automatically (ResponseParameters)."""

    retry_after: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_PAUSE_S)] | None = None
    migrate_to_chat_id: int | None = None


class Answer(msgspec.Struct, frozen=True):
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error_code: int = 0
    description: str = ""
    parameters: Parameters = Parameters()


class UnreachableError(Exception):
    """No answer came; the request may have been carried out. The text holds nothing of the address."""


class BotError(Exception):
    """Telegram answered with an error. `code` is HTTP's status."""

    def __init__(self, code: int, description: str, parameters: Parameters) -> None:
        super().__init__(f"{code} {description}".strip())
        self.code = code
        self.description = description
        self.parameters = parameters

    @property
    def about_chat(self) -> bool:
        """Whether it is the chat or the bot that is at fault, not what was said."""
        words = self.description.lower()
        return self.code in {401, 403, 404} or any(each in words for each in _OF_THE_CHAT)


_OF_THE_CHAT: Final = (
    "chat not found",
    "chat_id is empty",
    "peer_id_invalid",
    "group chat was upgraded",
    "not enough rights",
    "have no rights",
    "bot was kicked",
    "bot is not a member",
    "topic_closed",
    "chat_write_forbidden",
    "user is deactivated",
)


class BotApi:
    """One bot. `http` is not closed here."""

    def __init__(self, http: httpx.AsyncClient, token: str, url: str = "https://api.telegram.org") -> None:
        self._http = http
        self._token = token
        self._base = f"{url}/bot{token}/"
        self.clock_s = 0
        """Telegram's own clock at its last answer, seconds since the epoch; 0 where it does not tell."""

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        timeout: float = TIMEOUT_S,  # noqa: ASYNC109  # the library's own, of each part of the exchange
        photo: bytes | None = None,
    ) -> msgspec.Raw:
        """The result of one method; `photo` goes with it as a file. Raises UnreachableError or BotError."""
        given = _body(params, photo)
        try:
            async with (
                asyncio.timeout(timeout + WHOLE_S),
                self._http.stream("POST", self._base + method, timeout=timeout, **given) as coming,
            ):
                answer = httpx.Response(coming.status_code, content=await _content(coming))
                self.clock_s = _clock(coming.headers.get("Date", ""))
        except TimeoutError:
            raise UnreachableError("no whole answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            raise UnreachableError(_in_words(error)) from None
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> msgspec.Raw:
        try:
            told = decode(answer.content, Answer)
        except msgspec.DecodeError:
            if answer.is_success:
                raise UnreachableError("an answer that can't be read") from None
            raise BotError(answer.status_code, "", Parameters()) from None
        if told.ok and answer.is_success:
            return told.result
        description = told.description.replace(self._token, "***")[:DESCRIPTION_MAX]
        raise BotError(told.error_code or answer.status_code, description, told.parameters)


def _clock(date: str) -> int:
    """Seconds since the epoch; 0 for what is no date."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return 0


async def _content(answer: httpx.Response) -> bytes:
    """As it was sent: packed, some kilobytes may be gigabytes. Raises UnreachableError for one without an end."""
    found = bytearray()
    async for part in answer.aiter_raw():
        found += part
        if len(found) > ANSWER_MAX:
            raise UnreachableError("an answer that is too long")
    return bytes(found)


_WORDS: Final[Mapping[type[Exception], str]] = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.ConnectError: "no connection",
    httpx.ProxyError: "the proxy of the environment does not let it through",
    httpx.TimeoutException: "no answer in time",
    httpx.RemoteProtocolError: "an answer that is no HTTP, or none",
    httpx.NetworkError: "the connection broke",
}


def _in_words(error: Exception) -> str:
    """What went wrong, without what the library says of it: that may hold the address."""
    return next((words for kind, words in _WORDS.items() if isinstance(error, kind)), type(error).__name__)


def _body(params: Mapping[str, Any], photo: bytes | None) -> dict[str, Any]:
    given = {name: value for name, value in params.items() if value is not None}
    headers = {"Accept-Encoding": "identity"}
    if photo is None:
        return {"content": msgspec.json.encode(given), "headers": headers | {"Content-Type": "application/json"}}
    fields = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in given.items()
    }
    return {"data": fields, "files": {"photo": ("trade.png", photo, "image/png")}, "headers": headers}
