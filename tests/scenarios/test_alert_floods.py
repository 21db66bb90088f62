"""Troubles that go on and on: few alerts of each, and a chat that stays readable (rules 8.7, 8.9)."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.ops.telegram.fake_bot import TOKEN, FakeBot
from tests.scenarios.harness import Harness, World, harness
from tests.scenarios.test_bad_input import ReadOnly

from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.service.store.state_store import StateStore

WORLD = World(Direction.LONG, "OCO", pushes=False)
MESSAGES_MAX = 8
TIMES = 12


async def said(bot: FakeBot, b: Harness, event: str) -> None:
    async with asyncio.timeout(15):
        while not any(re.search(event, text) for text in bot.texts):
            await asyncio.sleep(0.01)
            await b.settle()


def told(bot: FakeBot) -> dict[str, Any]:
    return {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "-100", "TELEGRAM_API_URL": bot.url}


class Halted(FaultPlan):
    """Takes cancels, and no order to sell at market while it is `on`."""

    def __init__(self, answer: bytes) -> None:
        self.on = False
        self.refused = 0
        self._answer = Answer(400, answer)

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.on or params.get("type") != "MARKET":
            return None
        self.refused += 1
        return RequestFault(execute=False, answer=self._answer)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"code":-1013,"msg":"Market is closed."}',
        b'{"code":-2010,"msg":"This symbol is restricted for this account."}',
        b'{"code":-2010,"msg":"Words that nobody knows."}',
    ],
)
async def test_closing_in_a_halt_is_a_few_requests_and_alerts_however_long_it_lasts(
    tmp_path: Path, answer: bytes
) -> None:
    exchange = Halted(answer)
    settings: dict[str, Any] = {"ORDER_TRANSPORT": "rest", "WATCHDOG_EVERY_SEC": "0", "POLL_SEC": "5"}
    async with FakeBot().serving() as bot, harness(tmp_path, WORLD, faults=exchange, **settings, **told(bot)) as b:
        await b.enter()
        exchange.on = True
        await b.command(Verb.FLATTEN)
        minutes = []
        for _ in range(20):
            alerts, refused = len(b.alerts()), exchange.refused
            await b.wait(60)
            minutes.append((len(b.alerts()) - alerts, exchange.refused - refused))
        assert exchange.refused
        assert all(alerts <= 9 and refused <= 10 for alerts, refused in minutes), (minutes, b.alerts())
        assert all(refused <= 3 for _, refused in minutes[2:]), minutes
        assert b.alerts().count("close_failed") <= 20, "no more often than it is tried"
        assert b.alerts().count("key_refused") <= 1
        assert "key_accepted_again" not in b.alerts()
        assert len(bot.said) <= MESSAGES_MAX, bot.texts
        exchange.on = False
        await b.ends(Reason.FLATTEN, within=120, refusals=list(Why))


async def test_a_disk_that_is_full_time_and_again_is_a_few_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is between two writes that fail is told as often as it happens, and read as one: with a count."""
    real = StateStore.__init__
    monkeypatch.setattr(
        StateStore, "__init__", lambda self, *args, **more: real(self, *args, **{**more, "fs": ReadOnly()})
    )
    monkeypatch.setattr("executor.service.committer.DISK_RETRY_S", 0.002)
    async with FakeBot().serving() as bot, harness(tmp_path, WORLD, **told(bot)) as b:
        await b.enter()
        for turn in range(TIMES):
            monkeypatch.setattr(ReadOnly, "full", True)
            assert b.loop is not None
            b.loop.tell(Commanded(at=b.loop.now(), verb=Verb.RESUME if turn % 2 else Verb.PAUSE))
            count = b.said("state_unwritable")
            async with asyncio.timeout(10):
                while b.said("state_unwritable") == count:
                    await b.breathe()
            await asyncio.sleep(0.05)  # a score of tries, of which none is told
            assert b.said("state_unwritable") == count + 1
            monkeypatch.setattr(ReadOnly, "full", False)
            await b.wait(2)
        await b.command(Verb.RESUME)
        assert b.alerts().count("state_unwritable") == TIMES
        await said(bot, b, r"state.unwritable")
        assert sum(bool(re.search(r"state.unwritable", text)) for text in bot.texts) == 1, bot.texts
        assert len(bot.said) <= MESSAGES_MAX, bot.texts
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))
