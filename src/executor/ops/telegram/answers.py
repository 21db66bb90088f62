"""What the chat is answered: sent at the chat's pace by tasks of its own, so that no command waits for an answer.

    done: outcomes, questions, notices ─▶ first ─┐
    asked: a look is made when its answer may go ┴▶ the chat, at its pace
    buttons pressed ──────────────────────────────▶ whoever pressed

What was done goes before what was merely asked, each in order. A look is made at the last moment: its answer tells how
things are, not how they were when it was asked for. Everything is bounded.
"""

import asyncio
import html
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from executor.ops.alerts.pace import ANSWERS, PER_MINUTE, Pace
from executor.ops.telegram.api import BotError, UnreachableError
from executor.ops.telegram.chat import Chat
from executor.ops.telegram.commands import Reply
from executor.waiting import nap

log = structlog.get_logger(__name__)

LOOKS_MAX: Final = 20
"""Looks that wait, a minute's worth; the oldest is left out for the newest."""
FIRST_MAX: Final = 64
"""Outcomes and questions that wait; the oldest that asks nothing gives way."""
PRESSES_MAX: Final = 32
TRIES: Final = 3
TEXT_MAX: Final = 3900
NOTE_MAX: Final = 200

Look = Callable[[], Awaitable[Sequence[Reply]]]


class _Call(msgspec.Struct, frozen=True):
    """`buttons`: the data of each that the message shows."""

    method: str
    params: dict[str, Any]
    buttons: tuple[str, ...] = ()


class Answers:
    """`shown` hears of the data of buttons that are about to be shown. `left_out`: how many answers there was no room
    for.
    """

    def __init__(
        self,
        chat: Chat,
        pace: Pace,
        *,
        shown: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
    ) -> None:
        self.left_out = 0
        self._chat = chat
        self._pace = pace
        self._shown = shown
        self._sleep = sleep
        self._monotonic = monotonic
        self._first: deque[_Call] = deque()
        self._found: deque[_Call] = deque()
        self._looks: deque[Look] = deque()
        self._presses: deque[_Call] = deque()
        self._not_looked = 0
        self._news = asyncio.Event()
        self._asked = asyncio.Event()
        self._pressed = asyncio.Event()

    # --- what is to be sent -----------------------------------------------------------------------------------------

    def say(self, reply: Reply) -> None:
        """What was done, or must be answered before anything is."""
        self._put(_message(reply))

    def look(self, find: Look) -> None:
        """Answer with what `find` finds when the answer may go."""
        if len(self._looks) >= LOOKS_MAX:
            self._looks.popleft()
            self._not_looked += 1
            self._leave_out("a question")
        self._looks.append(find)
        self._asked.set()

    def pressed(self, query: str, said: str) -> None:
        """Tell whoever pressed a button, who waits for it, what became of it."""
        if len(self._presses) >= PRESSES_MAX:
            self._presses.popleft()
            self._leave_out("a button")
        note = html.unescape(said)[:NOTE_MAX]  # it has no markup
        self._presses.append(_Call("answerCallbackQuery", {"callback_query_id": query, "text": note}))
        self._pressed.set()

    def disarm(self, message: int) -> None:
        """Take the buttons from a message."""
        self._put(_Call("editMessageReplyMarkup", {"message_id": message}))

    def _put(self, call: _Call) -> None:
        if len(self._first) >= FIRST_MAX:
            del self._first[next((n for n, each in enumerate(self._first) if not each.buttons), 0)]
            self._leave_out("an answer")
        self._first.append(call)
        self._news.set()

    def _leave_out(self, what: str) -> None:
        self.left_out += 1
        if self.left_out & (self.left_out - 1) == 0:  # the 1st, 2nd, 4th, 8th …
            log.warning("telegram_answer_left_out", what=what, why="too many at once", so_far=self.left_out)

    # --- the tasks --------------------------------------------------------------------------------------------------

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Send, for as long as `tasks` run."""
        tasks.create_task(self._send(), name="telegram answers")
        tasks.create_task(self._make_looks(), name="telegram looks")
        tasks.create_task(self._tell_who_pressed(), name="telegram buttons")

    async def _send(self) -> None:
        while True:
            self._news.clear()
            if not self._first and not self._found:
                await self._news.wait()
            elif wait := self._wait():
                await nap(self._sleep, wait, self._news)
            else:
                await self._try(self._next())

    def _wait(self) -> float:
        return self._pace.wait(self._monotonic(), PER_MINUTE if self._first else ANSWERS)

    def _next(self) -> _Call:
        if self._first:
            return self._first.popleft()
        self._asked.set()
        return self._found.popleft()

    async def _make_looks(self) -> None:
        while True:
            self._asked.clear()
            if not self._looks or self._found:
                await self._asked.wait()
            elif wait := self._pace.wait(self._monotonic(), ANSWERS):
                await self._sleep(wait)
            else:
                replies = list(await self._looks.popleft()())
                if self._not_looked:
                    replies.append(Reply(f"{self._not_looked} older questions are not answered: too many at once."))
                    self._not_looked = 0
                self._found.extend(map(_message, replies))
                self._news.set()

    async def _tell_who_pressed(self) -> None:
        while True:
            self._pressed.clear()
            if self._presses:
                call = self._presses.popleft()
                await self.beside(call.method, call.params)
            else:
                await self._pressed.wait()

    async def beside(self, method: str, params: dict[str, Any]) -> None:
        """What is no message, and waits for none."""
        await self._tried(_Call(method, params), partial(self._chat.api.call, method, params))

    # --- one of them ------------------------------------------------------------------------------------------------

    async def _try(self, call: _Call) -> None:
        """At the chat; the pace has been waited for."""

        async def at_chat() -> None:
            while wait := self._pace.wait(self._monotonic(), PER_MINUTE):
                await self._sleep(wait)
            self._pace.take(self._monotonic())
            for data in call.buttons:
                self._shown(data)
            await self._chat.call(call.method, call.params)

        await self._tried(call, at_chat)

    async def _tried(self, call: _Call, send: Callable[[], Awaitable[object]]) -> None:
        """A few times: an answer that does not arrive is asked for again by whoever wants it."""
        why = ""
        for number in range(TRIES):
            pause = 2.0**number
            try:
                await send()
            except UnreachableError as error:
                why = str(error)
            except BotError as error:
                why = str(error)
                if error.code != 429 and error.code < 500:
                    log.warning("telegram_answer_refused", method=call.method, why=why)
                    return
                pause = max(pause, error.parameters.retry_after or 0.0)
            else:
                return
            await self._sleep(pause)
        log.warning("telegram_answer_lost", method=call.method, why=why)


def _message(reply: Reply) -> _Call:
    buttons = None
    if reply.buttons:
        row = [{"text": label, "callback_data": data} for label, data in reply.buttons]
        buttons = {"inline_keyboard": [row]}
    params: dict[str, Any] = {"text": _short(reply.text), "parse_mode": "HTML", "reply_markup": buttons}
    return _Call("sendMessage", params, tuple(data for _, data in reply.buttons))


def _short(text: str) -> str:
    """What fits into one message: whole lines, with markup that is closed."""
    if len(text) <= TEXT_MAX:
        return text
    kept = text[:TEXT_MAX].rpartition("\n")[0]
    return kept + ("\n…</pre>" if kept.count("<pre>") > kept.count("</pre>") else "\n…")
