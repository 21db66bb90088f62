"""python-telegram-bot as a witness: its client can use the tests' Bot API, and its models read what is sent to it."""

from collections.abc import AsyncIterator

import pytest
from telegram import Bot, BotCommand, BotCommandScopeChat, InlineKeyboardButton, InlineKeyboardMarkup
from telegram.constants import BotCommandLimit, InlineKeyboardButtonLimit, MessageLimit
from telegram.error import BadRequest, ChatMigrated, Conflict, InvalidToken, RetryAfter
from telegram.request import HTTPXRequest
from tests.ops.telegram.fake_bot import NAME, TOKEN, FakeBot, status

from executor.ops.telegram.chat import CAPTION_MAX, TEXT_MAX
from executor.ops.telegram.commands import COMMANDS
from executor.ops.telegram.confirm import Questions

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _newest_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # else the library warns that a type will change


@pytest.fixture
async def fake() -> AsyncIterator[FakeBot]:
    async with FakeBot().serving() as found:
        yield found


@pytest.fixture
async def client(fake: FakeBot) -> AsyncIterator[Bot]:
    request = HTTPXRequest(httpx_kwargs={"trust_env": False})
    bot = Bot(TOKEN, base_url=f"{fake.url}/bot", request=request, get_updates_request=request)
    await request.initialize()
    yield bot
    await request.shutdown()


async def test_who_it_is(client: Bot) -> None:
    me = await client.get_me()
    assert (me.username, me.is_bot) == (NAME, True)


async def test_a_message_with_buttons(fake: FakeBot, client: Bot) -> None:
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="a")]])
    message = await client.send_message(-100, "<b>hello</b>", parse_mode="HTML", reply_markup=keyboard)
    assert (message.text, message.chat.id) == ("hello", -100)
    assert fake.texts == ["<b>hello</b>"]


async def test_a_picture(fake: FakeBot, client: Bot) -> None:
    await client.send_photo(-100, PNG, caption="a trade")
    assert (fake.photos, fake.texts) == ([PNG], ["a trade"])


async def test_updates_by_long_polling(fake: FakeBot, client: Bot) -> None:
    first, second = fake.write("/status"), fake.press("data")
    found = await client.get_updates(timeout=0)
    assert [each.update_id for each in found] == [first, second]
    assert found[0].message is not None
    assert found[0].message.from_user is not None
    assert (found[0].message.text, found[0].message.from_user.id) == ("/status", 7)
    assert found[1].callback_query is not None
    assert found[1].callback_query.data == "data"
    assert await client.get_updates(offset=second + 1, timeout=0) == ()


async def test_commands_and_answers(fake: FakeBot, client: Bot) -> None:
    commands = [BotCommand(name, meaning) for name, meaning in COMMANDS]
    assert await client.set_my_commands(commands, scope=BotCommandScopeChat(-100))
    assert fake.commands["scope"]["chat_id"] == -100
    assert await client.answer_callback_query("q1", text="done")
    assert await client.edit_message_reply_markup(-100, 1)


async def test_refusals_are_telegrams_own(fake: FakeBot, client: Bot) -> None:
    with pytest.raises(BadRequest, match="Chat not found"):
        await client.send_message(5, "x")
    with pytest.raises(BadRequest, match="parse entities"):
        await client.send_message(-100, "<b>open", parse_mode="HTML")
    with pytest.raises(BadRequest, match="too long"):
        await client.send_message(-100, "x" * 4097)
    fake.fail("sendMessage", status(429, "Too Many Requests: retry after 3", retry_after=3))
    with pytest.raises(RetryAfter):
        await client.send_message(-100, "x")
    fake.fail("getUpdates", status(409, "Conflict: terminated by other getUpdates request"))
    with pytest.raises(Conflict):
        await client.get_updates(timeout=0)
    fake.moved["-100"] = -200
    with pytest.raises(ChatMigrated) as moved:
        await client.send_message(-100, "x")
    assert moved.value.new_chat_id == -200
    with pytest.raises(InvalidToken):
        await Bot("1:wrong", base_url=f"{fake.url}/bot", request=client.request).get_me()


def test_our_limits_are_telegrams() -> None:
    assert int(MessageLimit.MAX_TEXT_LENGTH) == TEXT_MAX
    assert int(MessageLimit.CAPTION_LENGTH) == CAPTION_MAX
    for name, meaning in COMMANDS:
        assert BotCommandLimit.MIN_COMMAND <= len(name) <= BotCommandLimit.MAX_COMMAND
        assert BotCommandLimit.MIN_DESCRIPTION <= len(meaning) <= BotCommandLimit.MAX_DESCRIPTION
    for _, data in Questions().ask("LTCUSDT", "9999999999999999"):
        assert len(data.encode()) <= InlineKeyboardButtonLimit.MAX_CALLBACK_DATA
