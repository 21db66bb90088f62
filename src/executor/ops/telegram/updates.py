"""What getUpdates brings, as far as it is read."""

import msgspec

from executor.decoding import decode


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
    update_id: int
    message: Message | None = None
    callback_query: CallbackQuery | None = None


class _Numbered(msgspec.Struct, frozen=True):
    update_id: int


def updates(result: msgspec.Raw) -> list[Update]:
    """Those in an answer of getUpdates; of one that can't be read, its number alone, so that it is not sent for ever.

    Raises msgspec.DecodeError where not even that is there.
    """
    found = []
    for row in decode(result, list[msgspec.Raw]):
        try:
            found.append(decode(row, Update))
        except msgspec.DecodeError:
            found.append(Update(decode(row, _Numbered).update_id))
    return found


def username(result: msgspec.Raw) -> str:
    """The bot's name, from an answer of getMe. Raises msgspec.DecodeError."""
    return decode(result, _Me).username


class _Me(msgspec.Struct, frozen=True):
    username: str = ""
