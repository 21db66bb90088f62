"""A Bot API on loopback: one bot, its chats, its updates, and every way in which Telegram can be unwilling.

It is held to Telegram's own behaviour by the client of python-telegram-bot, which must be able to use it
(`test_fake_bot.py`). It refuses what Telegram refuses: unknown chats, empty and too long texts, markup that does not
parse.
"""

import asyncio
import contextlib
import html.parser
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from aiohttp import web

TOKEN: Final = "4711:fake-token-of-the-tests"
NAME: Final = "ExecutorBot"
TEXT_MAX: Final = 4096
CAPTION_MAX: Final = 1024
TAGS: Final = {"b", "strong", "i", "em", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler"}

Fault = Callable[["FakeBot", web.Request], Any]


class _Markup(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fault = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in TAGS:
            self.fault = f"Unsupported start tag {tag!r}"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.fault = f"Unmatched end tag {tag!r}"


def markup_fault(text: str) -> str:
    """Why Telegram would not read `text` as HTML; empty where it would."""
    parser = _Markup()
    parser.feed(text)
    parser.close()
    if re.search(r"&(?!lt;|gt;|amp;|quot;|#\d+;|#x[0-9a-fA-F]+;)", text):
        return ""  # taken as it stands
    return parser.fault or (f"Can't find end tag of {parser.open[-1]!r}" if parser.open else "")


def refused(code: int, description: str, **parameters: Any) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return web.json_response(body, status=code)


class FakeBot:
    """`faults`: what comes instead of an answer, one a call of the method, or of any where it is under `*`. `said`: the
    parameters of every message that was taken.
    """

    def __init__(self, chats: tuple[int | str, ...] = (-100,)) -> None:
        self.chats: set[str] = {str(chat) for chat in chats}
        self.moved: dict[str, int] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.said: list[dict[str, Any]] = []
        self.photos: list[bytes] = []
        self.answered: list[dict[str, Any]] = []
        self.edited: list[dict[str, Any]] = []
        self.commands: dict[str, Any] = {}
        self.faults: dict[str, deque[Fault]] = {}
        self.confirmed = 0
        self.url = ""
        self._updates: list[dict[str, Any]] = []
        self._next = 1000
        self._messages = 0
        self._news = asyncio.Event()
        self._polls = 0

    # --- what people do -------------------------------------------------------------------------------------------

    def write(self, text: str, *, user: int = 7, chat: int = -100, age: int = 0, **more: Any) -> int:
        """Somebody writes to the chat, `age` seconds ago; the update's number."""
        self._messages += 1
        sender = {"id": user, "is_bot": False, "first_name": "A"}
        message = {
            "message_id": self._messages,
            "date": int(time.time()) - age,
            "chat": {"id": chat, "type": "supergroup", "title": "T"},
            "from": sender,
            "text": text,
            **more,
        }
        return self.update(message=message)

    def press(self, data: str, *, user: int = 7, chat: int = -100) -> int:
        """Somebody presses a button."""
        message = {
            "message_id": 1,
            "date": 1_750_000_000,
            "chat": {"id": chat, "type": "supergroup", "title": "T"},
            "text": "?",
        }
        sender = {"id": user, "is_bot": False, "first_name": "A"}
        query = {"id": f"q{self._next}", "from": sender, "chat_instance": "1", "message": message, "data": data}
        return self.update(callback_query=query)

    def update(self, **parts: Any) -> int:
        self._next += 1
        self._updates.append({"update_id": self._next, **parts})
        self._news.set()
        return self._next

    def fail(self, method: str, *faults: Fault) -> None:
        self.faults.setdefault(method, deque()).extend(faults)

    @property
    def texts(self) -> list[str]:
        return [str(each.get("text") or each.get("caption")) for each in self.said]

    # --- the server -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeBot"]:
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._news.set()
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if request.match_info["token"] != TOKEN:
            return refused(401, "Unauthorized")
        params, photo = await _params(request)
        self.calls.append((method, params))
        for name in (method, "*"):
            if self.faults.get(name):
                found = self.faults[name].popleft()(self, request)
                answer = await found if asyncio.iscoroutine(found) else found
                if answer is not None:
                    assert isinstance(answer, web.StreamResponse)
                    return answer
        return await self._answer(method, params, photo)

    async def _answer(self, method: str, params: dict[str, Any], photo: bytes | None) -> web.Response:
        match method:
            case "getMe":
                return _done({"id": 4711, "is_bot": True, "first_name": "E", "username": NAME})
            case "getChat":
                return self._chat(str(params.get("chat_id")))
            case "setMyCommands":
                self.commands = params
                return _done(True)
            case "getUpdates":
                return await self._get_updates(params)
            case "sendMessage" | "sendPhoto":
                return self._send(params, photo)
            case "answerCallbackQuery":
                self.answered.append(params)
                return _done(True)
            case "editMessageReplyMarkup":
                self.edited.append(params)
                return _done(True)
            case _:
                return refused(404, "Not Found")

    def _chat(self, chat: str) -> web.Response:
        if chat not in self.chats:
            return refused(400, "Bad Request: chat not found")
        return _done({"id": int(chat), "type": "supergroup", "title": "T"})

    def _send(self, params: dict[str, Any], photo: bytes | None) -> web.Response:
        chat = str(params.get("chat_id"))
        if chat in self.moved:
            return refused(
                400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=self.moved[chat]
            )
        if chat not in self.chats:
            return refused(400, "Bad Request: chat not found")
        text = str(params.get("text") or params.get("caption") or "")
        if not text.strip():
            return refused(400, "Bad Request: message text is empty")
        if params.get("parse_mode") == "HTML" and (fault := markup_fault(text)):
            return refused(400, f"Bad Request: can't parse entities: {fault}")
        shown = re.sub(r"<[^>]+>", "", text) if params.get("parse_mode") else text
        if len(shown.encode("utf-16-le")) // 2 > (TEXT_MAX if photo is None else CAPTION_MAX):
            return refused(400, "Bad Request: message is too long")
        for row in (params.get("reply_markup") or {}).get("inline_keyboard", []):
            for button in row:
                if not 1 <= len(button["callback_data"].encode()) <= 64:
                    return refused(400, "Bad Request: BUTTON_DATA_INVALID")
        self.said.append(params)
        if photo is not None:
            self.photos.append(photo)
        self._messages += 1
        where = {"id": int(chat), "type": "supergroup", "title": "T"}
        return _done({"message_id": self._messages, "date": 1_750_000_000, "chat": where, "text": shown})

    async def _get_updates(self, params: dict[str, Any]) -> web.Response:
        """Long polling, as documented: `offset` confirms what is before it; a second poll ends the first with a 409."""
        self._polls += 1
        mine = self._polls
        offset, until = int(params.get("offset") or 0), float(params.get("timeout") or 0)
        if offset < 0:
            self._updates = self._updates[offset:]
        elif offset:
            self.confirmed = max(self.confirmed, offset - 1)
            self._updates = [each for each in self._updates if each["update_id"] >= offset]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + until
        allowed = params.get("allowed_updates") or []
        while True:
            found = [u for u in self._updates if not allowed or any(kind in u for kind in allowed)]
            if found or loop.time() >= deadline:
                return _done(found[: int(params.get("limit") or 100)])
            if self._polls != mine:
                return refused(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                )
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(0.05, max(deadline - loop.time(), 0))):
                    await self._news.wait()


async def _params(request: web.Request) -> tuple[dict[str, Any], bytes | None]:
    if request.content_type == "application/json":
        return await request.json(), None
    photo, params = None, dict[str, Any]()
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            photo = value.file.read()
        else:
            assert isinstance(value, str)
            try:
                params[name] = json.loads(value)
            except json.JSONDecodeError:
                params[name] = value
            if name in {"text", "caption"}:
                params[name] = value
    return params, photo


def _done(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


# --- faults -----------------------------------------------------------------------------------------------------------


def status(code: int, description: str = "", **parameters: Any) -> Fault:
    return lambda _bot, _request: refused(code, description or f"error {code}", **parameters)


def page(code: int, body: str = "<html>Bad gateway</html>") -> Fault:
    """What a proxy answers."""
    return lambda _bot, _request: web.Response(status=code, text=body, content_type="text/html")


def body(data: bytes) -> Fault:
    return lambda _bot, _request: web.Response(body=data, content_type="application/json")


def cut(_bot: FakeBot, request: web.Request) -> web.Response:
    """The connection breaks before anything is done."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def lost(bot: FakeBot, request: web.Request) -> web.Response:
    """It is done, and the answer is lost."""
    method, params = bot.calls[-1]
    await bot._answer(method, params, None)
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def hang(seconds: float) -> Fault:
    async def wait(_bot: FakeBot, _request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return refused(504, "Gateway Timeout")

    return wait
