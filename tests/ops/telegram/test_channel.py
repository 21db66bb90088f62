"""Alerts reach a chat, whatever Telegram does; what it can't take in one form, it gets in another."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.ops.telegram.fake_bot import TOKEN, FakeBot, body, cut, hang, lost, page, status

from executor.config import Sound, Topic
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.channel import NotTakenError
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.queue import AlertQueue, Waiting
from executor.ops.telegram.api import BotApi, BotError, UnreachableError
from executor.ops.telegram.channel import AGAIN_REFUSED_S, TelegramChannel
from executor.ops.telegram.chat import TEXT_MAX, Chat, units

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def bot() -> AsyncIterator[FakeBot]:
    async with FakeBot().serving() as found:
        yield found


@pytest.fixture
async def api(bot: FakeBot) -> AsyncIterator[BotApi]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield BotApi(http, TOKEN, bot.url)


@pytest.fixture
def channel(api: BotApi) -> TelegramChannel:
    return TelegramChannel(Chat(api, "-100"), "Executor LTCUSDT (paper)")


def item(text: str = "closing at market", event: str = "failsafe", count: int = 1) -> Waiting:
    alert = Alert(event=event, text=text, at=1, severity=Severity.CRITICAL, symbol="LTCUSDT", trade="7")
    return AlertQueue().push(1, alert, count=count)


async def test_a_message_goes_to_the_chat(bot: FakeBot, channel: TelegramChannel) -> None:
    await channel.send([item()])
    (said,) = bot.said
    assert said["chat_id"] == "-100"
    assert said["parse_mode"] == "HTML"
    assert "disable_notification" not in said
    assert "🔴 <b>failsafe</b>" in said["text"]


async def test_kinds_that_are_silent_or_off(bot: FakeBot, api: BotApi) -> None:
    channel = TelegramChannel(Chat(api, "-100"), "", {Topic.TROUBLE: Sound.SILENT, Topic.DAILY: Sound.OFF})
    await channel.send([item()])
    assert bot.said[0]["disable_notification"] is True
    assert (channel.wants(Topic.DAILY), channel.wants(Topic.TROUBLE), channel.wants(Topic.HALT)) == (False, True, True)
    assert (channel.loud(Topic.TROUBLE), channel.loud(Topic.HALT)) == (False, True)


@pytest.mark.parametrize(
    ("fault", "why", "again_in"),
    [
        (status(429, "Too Many Requests: retry after 17", retry_after=17), "too many messages", 17.0),
        (status(429), "too many messages", None),
        (status(500, "Internal Server Error"), "500 Internal Server Error", None),
        (page(502), "502", None),
        (cut, "", None),
        (lost, "", None),
        (body(b"\xff{"), "an answer that can't be read", None),
        (body(b""), "an answer that can't be read", None),
        (status(401, "Unauthorized"), "check TELEGRAM_BOT_TOKEN", AGAIN_REFUSED_S),
        (status(403, "Forbidden: bot was kicked from the group chat"), "the bot may not write", AGAIN_REFUSED_S),
        (status(400, "Bad Request: chat not found"), "check TELEGRAM_CHAT_ID", AGAIN_REFUSED_S),
        (status(400, "Bad Request: not enough rights to send text messages"), "closed to it", AGAIN_REFUSED_S),
    ],
)
async def test_what_is_not_taken_may_be_taken_later(
    bot: FakeBot, channel: TelegramChannel, fault: object, why: str, again_in: float | None
) -> None:
    bot.fail("sendMessage", fault)  # type: ignore[arg-type]
    with pytest.raises(NotTakenError) as error:
        await channel.send([item()])
    assert why in str(error.value)
    assert (error.value.again_in, error.value.hopeless) == (again_in, False)
    assert TOKEN not in str(error.value)
    await channel.send([item()])


async def test_a_telegram_that_hangs_is_left_after_a_while(bot: FakeBot, api: BotApi) -> None:
    bot.fail("sendMessage", hang(5))
    with pytest.raises(UnreachableError, match="no answer in time"):
        await api.call("sendMessage", {"chat_id": "-100", "text": "x"}, timeout=0.1)


async def test_nobody_listens() -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(NotTakenError, match="no connection") as error:
            await TelegramChannel(Chat(BotApi(http, TOKEN, "http://127.0.0.1:9"), "1")).send([item()])
    assert TOKEN not in str(error.value)


async def test_markup_that_is_not_taken_goes_as_plain_text(bot: FakeBot, channel: TelegramChannel) -> None:
    bot.fail("sendMessage", status(400, "Bad Request: can't parse entities: whatever"))
    await channel.send([item("a < b")])
    (said,) = bot.said
    assert "parse_mode" not in said
    assert "a < b" in said["text"]
    assert "<b>" not in said["text"]


async def test_what_is_never_taken_is_given_up(bot: FakeBot, channel: TelegramChannel) -> None:
    bot.fail("sendMessage", status(400, "Bad Request: odd"), status(400, "Bad Request: still odd"))
    with pytest.raises(NotTakenError, match="still odd") as error:
        await channel.send([item()])
    assert error.value.hopeless


async def test_a_chat_that_became_a_supergroup_is_followed(bot: FakeBot, api: BotApi) -> None:
    moves: list[str] = []
    bot.moved["-100"] = -1001
    bot.chats.add("-1001")
    chat = Chat(api, "-100", moves.append)
    await TelegramChannel(chat).send([item()])
    await TelegramChannel(chat).send([item()])
    assert [said["chat_id"] for said in bot.said] == ["-1001", "-1001"]
    assert (chat.id, moves) == ("-1001", ["-1001"])


async def test_a_chat_that_moves_in_a_circle_is_not_followed_for_ever(bot: FakeBot, api: BotApi) -> None:
    bot.moved = {"-100": -1001, "-1001": -100}
    with pytest.raises(NotTakenError):
        await TelegramChannel(Chat(api, "-100")).send([item()])
    assert len(bot.calls) == 2


async def test_as_many_as_fit_go_together(bot: FakeBot, channel: TelegramChannel) -> None:
    items: list[Waiting] = []
    while channel.room([*items, item("𝔘" * 300)]):
        items.append(item("𝔘" * 300))
    assert 4 <= len(items) <= 8
    await channel.send(items)
    assert units(bot.said[0]["text"]) <= TEXT_MAX + 200  # its markup is not counted


async def test_the_longest_single_alert_fits(bot: FakeBot, channel: TelegramChannel) -> None:
    queue = AlertQueue()
    for n in range(3):
        queue.push(n, Alert(event="failsafe", text=f"{n}" + "𝔘" * 599, at=n, severity=Severity.CRITICAL))
    await channel.send(queue.waiting())
    assert len(bot.said) == 1


async def test_a_picture_goes_with_the_words(bot: FakeBot, api: BotApi) -> None:
    asked: list[str] = []

    async def draw(alert: Alert) -> bytes | None:
        asked.append(alert.trade)
        return PNG

    channel = TelegramChannel(Chat(api, "-100"), "", draw=draw)
    await channel.send([item()])
    assert (bot.photos, asked) == ([PNG], ["7"])
    assert "<b>failsafe</b>" in bot.said[0]["caption"]
    await channel.send([item(), item()])
    await channel.send([item(count=2)])
    await channel.send([item("x" * 590 + "\n" + "y" * 590)])
    assert len(bot.photos) == 1


async def test_a_picture_goes_with_several_alerts_where_one_of_them_has_one(bot: FakeBot, api: BotApi) -> None:
    async def draw(alert: Alert) -> bytes | None:
        return PNG if alert.event == "trade_closed" else None

    channel = TelegramChannel(Chat(api, "-100"), "", draw=draw)
    await channel.send([item(), item(event="trade_closed")])
    assert bot.photos == [PNG]
    assert bot.said[0]["caption"].count("<b>") == 2


async def test_a_picture_that_is_not_taken_costs_the_words_nothing(bot: FakeBot, api: BotApi) -> None:
    async def draw(_alert: Alert) -> bytes | None:
        return PNG

    channel = TelegramChannel(Chat(api, "-100"), draw=draw)
    bot.fail("sendPhoto", status(400, "Bad Request: IMAGE_PROCESS_FAILED"), status(413, "Request Entity Too Large"))
    await channel.send([item()])
    await channel.send([item()])
    assert (len(bot.said), bot.photos) == (2, [])
    bot.fail("sendPhoto", status(502))
    with pytest.raises(NotTakenError):
        await channel.send([item()])


async def test_nothing_to_draw(bot: FakeBot, api: BotApi) -> None:
    async def draw(_alert: Alert) -> bytes | None:
        await asyncio.sleep(0)
        return None

    await TelegramChannel(Chat(api, "-100"), draw=draw).send([item()])
    assert (len(bot.said), bot.photos) == (1, [])


async def test_what_telegram_says_is_shown_without_the_token(bot: FakeBot, api: BotApi) -> None:
    bot.fail("getMe", status(400, f"no such path /bot{TOKEN}/getMe " + "x" * 500))
    with pytest.raises(BotError) as error:
        await api.call("getMe", {})
    assert TOKEN not in str(error.value)
    assert len(str(error.value)) < 250
