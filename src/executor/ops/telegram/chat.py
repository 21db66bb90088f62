"""The one chat: where alerts go and commands come from, also after it has become a supergroup with another number."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from executor.ops.telegram.api import BotApi, BotError

log = structlog.get_logger(__name__)

TEXT_MAX: Final = 4096
"""Characters of a message, after its markup was read; of a picture's caption there are fewer."""
CAPTION_MAX: Final = 1024


def units(text: str) -> int:
    """The length of `text` as Telegram counts it: in units of UTF-16."""
    return len(text.encode("utf-16-le")) // 2


class Chat:
    """`id`: the chat's number, or @name of a channel. `on_moved` hears of a new one."""

    def __init__(self, api: BotApi, chat: str, on_moved: Callable[[str], None] = lambda _: None) -> None:
        self.api = api
        self.id = chat
        self.on_moved = on_moved

    async def say(
        self,
        text: str,
        *,
        markup: bool = True,
        silent: bool = False,
        photo: bytes | None = None,
    ) -> msgspec.Raw:
        """Send `text`, in Telegram's HTML where it has `markup`, as the caption of `photo` where there is one.

        Raises UnreachableError or BotError.
        """
        method, name = ("sendMessage", "text") if photo is None else ("sendPhoto", "caption")
        params: dict[str, Any] = {
            name: text,
            "parse_mode": "HTML" if markup else None,
            "disable_notification": True if silent else None,
            "link_preview_options": {"is_disabled": True} if photo is None else None,
        }
        return await self.call(method, params, photo=photo)

    async def call(self, method: str, params: dict[str, Any], *, photo: bytes | None = None) -> msgspec.Raw:
        """A method that is about this chat, followed to where the chat has gone."""
        try:
            return await self.api.call(method, {"chat_id": self.id, **params}, photo=photo)
        except BotError as error:
            moved = error.parameters.migrate_to_chat_id
            if moved is None or str(moved) == self.id:
                raise
            self.move(str(moved))
        return await self.api.call(method, {"chat_id": self.id, **params}, photo=photo)

    def move(self, chat: str) -> None:
        """The group has become a supergroup, which has another number."""
        if chat != self.id:
            log.warning("telegram_chat_moved", was=self.id, now=chat, set="TELEGRAM_CHAT_ID to it")
            self.id = chat
            self.on_moved(chat)
