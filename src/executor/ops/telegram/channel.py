"""Alerts as messages to a Telegram chat."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from executor.config import Sound, Topic
from executor.ops.alerts import wording
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.channel import NotTakenError
from executor.ops.alerts.queue import Waiting
from executor.ops.telegram.api import BotError, UnreachableError
from executor.ops.telegram.chat import CAPTION_MAX, TEXT_MAX, Chat, units

AGAIN_REFUSED_S: Final = 300.0
"""A chat that takes nothing (the bot was thrown out, say) is tried again this often: somebody may mend it."""

Draw = Callable[[Alert], Awaitable[bytes | None]]
"""A picture (PNG) for an alert, where there is one for it."""


class TelegramChannel:
    """`draw` may take its time, and may find that there is nothing to show; it must not raise."""

    name = "telegram"

    def __init__(
        self, chat: Chat, title: str = "", notify: Mapping[Topic, Sound] | None = None, draw: Draw | None = None
    ) -> None:
        """`title` begins each message, so that several services can share a chat."""
        self._chat = chat
        self._title = title
        self._notify = notify or {}
        self._draw = draw

    def wants(self, topic: Topic) -> bool:
        return self._notify.get(topic) is not Sound.OFF

    def loud(self, topic: Topic) -> bool:
        return self._notify.get(topic) is not Sound.SILENT

    def room(self, items: Sequence[Waiting]) -> bool:
        return units(wording.as_text(self._title, items, _now())) <= TEXT_MAX

    async def send(self, items: Sequence[Waiting]) -> None:
        silent = not self.loud(wording.topic_of(items[0]))
        text = wording.as_html(self._title, items, _now())
        photo = await self._picture(items, text)
        try:
            await self._say(text, silent=silent, photo=photo)
        except UnreachableError as error:
            raise NotTakenError(str(error)) from error
        except BotError as error:
            raise _not_taken(error) from error

    async def _say(self, text: str, *, silent: bool, photo: bytes | None) -> None:
        """With the picture, else without; with the markup, else without: the words matter most."""
        if photo is not None:
            try:
                await self._chat.say(text, silent=silent, photo=photo)
            except BotError as error:
                if not _bad_request(error):
                    raise
            else:
                return
        try:
            await self._chat.say(text, silent=silent)
        except BotError as error:
            if not _bad_request(error):
                raise
            await self._chat.say(wording.plain(text)[:TEXT_MAX], markup=False, silent=silent)

    async def _picture(self, items: Sequence[Waiting], text: str) -> bytes | None:
        """Where exactly one of what is told has one, and the words fit below it."""
        if self._draw is None or units(wording.plain(text)) > CAPTION_MAX:
            return None
        drawn = [await self._draw(each.alert) for each in items if each.count == 1]
        found = [picture for picture in drawn if picture is not None]
        return found[0] if len(found) == 1 else None


def _bad_request(error: BotError) -> bool:
    """Whether it is the message that can't be taken; the same words in another form may be."""
    return error.code in {400, 413} and not error.about_chat


def _not_taken(error: BotError) -> NotTakenError:
    if error.code == 429:
        return NotTakenError("too many messages", again_in=error.parameters.retry_after)
    if error.code >= 500:
        return NotTakenError(str(error))
    if _bad_request(error):
        return NotTakenError(str(error), hopeless=True)
    return NotTakenError(f"{error}: {_advice(error)}", again_in=AGAIN_REFUSED_S)


def _advice(error: BotError) -> str:
    match error.code:
        case 401 | 404:
            return "the token is not a bot's: check TELEGRAM_BOT_TOKEN"
        case 403:
            return "the bot may not write to this chat: write to it first, or add it to the group"
        case _:
            return "the chat is not known to the bot, or closed to it: check TELEGRAM_CHAT_ID"


def _now() -> int:
    return time.time_ns() // 1_000_000
