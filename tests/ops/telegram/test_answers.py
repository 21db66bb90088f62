"""Answers are bounded: what gives way for what, when a chat takes nothing for long."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import structlog
from tests.ops.telegram.fake_bot import TOKEN, FakeBot

from executor.ops.alerts.pace import Pace
from executor.ops.telegram.answers import FIRST_MAX, LOOKS_MAX, PRESSES_MAX, Answers
from executor.ops.telegram.api import BotApi
from executor.ops.telegram.chat import Chat
from executor.ops.telegram.commands import Reply


@pytest.fixture
async def bot() -> AsyncIterator[FakeBot]:
    async with FakeBot().serving() as bot:
        yield bot


async def sent(bot: FakeBot, answers: Answers, messages: int) -> None:
    """Send until so many have been taken."""

    async def send() -> None:
        async with asyncio.TaskGroup() as tasks:
            answers.begin(tasks)

    sending = asyncio.create_task(send())
    async with asyncio.timeout(20):
        while len(bot.said) + len(bot.answered) < messages:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.005)
    sending.cancel()
    await asyncio.wait({sending})
    assert sending.cancelled()


def made(bot: FakeBot, http: httpx.AsyncClient) -> Answers:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    chat = Chat(BotApi(http, TOKEN, bot.url), "-100")
    return Answers(chat, Pace(), shown=lambda _: None, sleep=sleep, monotonic=lambda: now)


async def test_where_all_are_questions_the_oldest_gives_way(bot: FakeBot) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answers = made(bot, http)
        for number in range(FIRST_MAX + 2):
            answers.say(Reply(f"close {number}?", (("Yes", f"{number}:ab:y"),)))
        assert answers.left_out == 2
        await sent(bot, answers, FIRST_MAX)
    assert bot.texts == [f"close {number}?" for number in range(2, FIRST_MAX + 2)]


async def test_presses_and_looks_are_bounded_and_the_log_tells_of_it(bot: FakeBot) -> None:
    async def found() -> list[Reply]:
        return [Reply("fine")]

    async with httpx.AsyncClient(trust_env=False) as http:
        answers = made(bot, http)
        with structlog.testing.capture_logs() as logs:
            for number in range(PRESSES_MAX + 1):
                answers.pressed(f"q{number}", "closed")
            for _ in range(LOOKS_MAX + 3):
                answers.look(found)
        assert [(line["what"], line["so_far"]) for line in logs] == [
            ("a button", 1),
            ("a question", 2),
            ("a question", 4),
        ]
        await sent(bot, answers, PRESSES_MAX + LOOKS_MAX + 1)
    assert [each["callback_query_id"] for each in bot.answered] == [f"q{n}" for n in range(1, PRESSES_MAX + 1)]
    assert bot.texts.count("fine") == LOOKS_MAX
    assert "3 older questions are not answered: too many at once." in bot.texts
