"""What getUpdates brings, as far as it is read."""

from typing import Annotated, Final

import msgspec
import structlog

from executor.decoding import decode

log = structlog.get_logger(__name__)

NUMBER_MAX: Final = 2**53
"""No number of Telegram's has more bits (core.telegram.org/bots/api, "Chat")."""

Number = Annotated[int, msgspec.Meta(ge=0, lt=NUMBER_MAX)]


class User(msgspec.Struct, frozen=True):
    id: int
    is_bot: bool = False


class Chat(msgspec.Struct, frozen=True):
    id: int


class Message(msgspec.Struct, frozen=True):
    """`date`: when it was sent, seconds since the epoch by Telegram's own clock; 0 where that is not told."""

    message_id: int
    chat: Chat
    sender: User | None = msgspec.field(name="from", default=None)
    date: int = 0
    text: str = ""
    migrate_to_chat_id: int | None = None


class CallbackQuery(msgspec.Struct, frozen=True):
    """A button was pressed."""

    id: str
    sender: User = msgspec.field(name="from")
    message: Message | None = None
    data: str = ""


class Update(msgspec.Struct, frozen=True):
    update_id: Number
    message: Message | None = None
    callback_query: CallbackQuery | None = None


class _Numbered(msgspec.Struct, frozen=True):
    update_id: Number


def updates(result: msgspec.Raw) -> list[Update]:
    """Those in an answer of getUpdates; of one that can't be read, its number alone, so that it is not sent for ever.
    One whose number can't be one hides no other, and sets no place: it is left out.

    Raises msgspec.DecodeError where nothing that was told can be taken.
    """
    found = []
    fault: msgspec.DecodeError | None = None
    for row in decode(result, list[msgspec.Raw]):
        try:
            found.append(_update(row))
        except msgspec.DecodeError as error:
            fault = error
    if fault is not None:
        log.warning("telegram_update_unreadable", error=str(fault))
        if not found:
            raise fault
    return found


def _update(row: msgspec.Raw) -> Update:
    try:
        return decode(row, Update)
    except msgspec.DecodeError:
        return Update(decode(row, _Numbered).update_id)


def username(result: msgspec.Raw) -> str:
    """The bot's name, from an answer of getMe. Raises msgspec.DecodeError."""
    return decode(result, _Me).username


class _Me(msgspec.Struct, frozen=True):
    username: str = ""
