"""A service that tells: over sockets, to a Bot API and a webhook, while it trades, across its restarts."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from tests.ops.telegram.fake_bot import TOKEN, FakeBot, cut, hang, status
from tests.scenarios.harness import Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.ops import alerting as module
from executor.service.store.state_store import StateStore, StateUnwritable

WORLD = World(Direction.LONG, "OCO", pushes=True)


@asynccontextmanager
async def telling(tmp_path: Path, bot: FakeBot, **settings: str) -> AsyncIterator[Harness]:
    values: dict[str, Any] = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": "-100",
        "TELEGRAM_API_URL": bot.url,
        "TELEGRAM_USERS": "7",
        **settings,
    }
    async with harness(tmp_path, WORLD, **values) as found:
        yield found


@pytest.fixture
async def bot() -> AsyncIterator[FakeBot]:
    async with FakeBot().serving() as found:
        yield found


async def until(there: Callable[[], bool], bench: Harness | None = None) -> None:
    """In real time: what is told takes the way over a socket."""
    async with asyncio.timeout(15):
        while not there():
            await asyncio.sleep(0.01)
            if bench is not None:
                await bench.settle()


def told(bot: FakeBot) -> str:
    return "\n".join(re.sub(r"<[^>]+>", "", text) for text in bot.texts)


async def test_a_trade_from_start_to_end(tmp_path: Path, bot: FakeBot) -> None:
    async with telling(tmp_path, bot) as b:
        await until(lambda: "started" in told(bot))
        assert "LTCUSDT: no trade" in told(bot)
        await b.enter()
        await until(lambda: "trade opened" in told(bot))
        assert "long 3 LTC: entry 100, stop 99, targets 101, 102" in told(bot)
        await b.move(-1)
        await b.ends(Reason.SL)
        await until(lambda: "trade closed" in told(bot))
        assert "SL: the stop was reached" in told(bot)
        assert re.search(r"long -\d+\.\d+ USDT, -1\.\d+ R", told(bot))
        assert "LTC 100 → " in told(bot)


async def test_commands_while_it_trades(tmp_path: Path, bot: FakeBot) -> None:
    async with telling(tmp_path, bot) as b:
        await until(lambda: any(method == "getUpdates" and p["timeout"] for method, p in bot.calls))
        bot.write("/pause")
        await until(lambda: b.state.paused, b)
        await until(lambda: "no new entries" in told(bot))
        bot.write("/resume")
        await until(lambda: not b.state.paused, b)
        await b.enter()
        bot.write("/flatten")
        await until(lambda: "Close it at market?" in told(bot), b)
        row = next(said["reply_markup"] for said in bot.said if "reply_markup" in said)["inline_keyboard"][0]
        bot.press(row[0]["callback_data"], user=9)
        bot.press(row[0]["callback_data"])
        await until(lambda: b.state.position is None, b)
        await b.ends(Reason.FLATTEN)


async def test_a_telegram_that_is_down_hangs_or_refuses_touches_no_trade(tmp_path: Path, bot: FakeBot) -> None:
    bot.fail("sendMessage", hang(0.3), cut, status(500), status(429, retry_after=0), status(400), status(400))
    bot.fail("getUpdates", hang(0.3), cut, status(500), status(409))
    async with telling(tmp_path, bot) as b:
        await b.enter()
        await b.move(1)
        await b.move(-1)
        closed = await b.ends(Reason.BREAKEVEN, Reason.SL)
        b.adds_up(closed)


async def test_what_a_telegram_that_was_down_missed_is_told_after_the_restart(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FAREWELL_S", 0.2)
    async with telling(tmp_path, bot, TELEGRAM_API_URL="http://127.0.0.1:9") as b:
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)
        assert bot.said == []
        await b.restart(TELEGRAM_API_URL=bot.url)
        await until(lambda: "trade closed" in told(bot) and "trade opened" in told(bot))
        assert told(bot).count("trade closed") == 1
        await b.restart(TELEGRAM_API_URL=bot.url)
        await b.command(Verb.PAUSE)
        await until(lambda: "paused" in told(bot))
        assert told(bot).count("trade closed") == 1


async def test_what_is_told_is_in_the_outbox_before_its_step_is_on_disk(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a kill at any moment loses no alert; and a step that has to wait for the disk tells once."""
    async with telling(tmp_path, bot, TELEGRAM_API_URL="http://127.0.0.1:9") as b:
        outbox = tmp_path / "state.json.alerts"
        real, refused = StateStore.commit, 0

        def commit(self: StateStore, document: object, *, durable: bool) -> str:
            nonlocal refused
            if getattr(document, "position", None) is not None and refused < 2:
                refused += 1
                assert outbox.read_text("utf-8").count("trade_opened") == 1
                raise StateUnwritable(tmp_path, OSError(28, "No space left on device"))
            return real(self, document, durable=durable)

        monkeypatch.setattr(StateStore, "commit", commit)
        monkeypatch.setattr("executor.service.committer.DISK_RETRY_S", 0.01)
        await b.signal()
        await until(lambda: b.state.position is not None, b)
        assert refused == 2
        assert outbox.read_text("utf-8").count("trade_opened") == 1


async def test_refusals_are_told_where_they_matter(tmp_path: Path, bot: FakeBot) -> None:
    async with telling(tmp_path, bot) as b:
        b.write("no signal at all\n")
        await b.wait(1)
        await b.enter()
        await b.signal()
        await b.wait(1)
        await until(lambda: "signal refused" in told(bot))
    assert "no signal at all" in told(bot)
    assert b.said("signal_refused") == 2
    assert "is open" not in told(bot)


async def test_kinds_that_are_off(tmp_path: Path, bot: FakeBot) -> None:
    async with telling(tmp_path, bot, TELEGRAM_NOTIFY="opened=off,restart=silent") as b:
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)
        await until(lambda: "trade closed" in told(bot))
    assert "trade opened" not in told(bot)
    assert {bool(said.get("disable_notification")) for said in bot.said} == {True, False}


async def test_the_second_channel(tmp_path: Path, bot: FakeBot) -> None:
    bodies: list[dict[str, object]] = []

    async def take(request: web.Request) -> web.Response:
        assert request.headers["X-Executor-Signature"]
        bodies.append(json.loads(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/in", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    try:
        async with harness(
            tmp_path, WORLD, ALERT_WEBHOOK_URL=url, ALERT_WEBHOOK_SECRET="a key that is long enough"
        ) as b:
            await b.enter()
            await b.move(-1)
            await b.ends(Reason.SL)
            await until(lambda: "trade_closed" in str(bodies))
    finally:
        await runner.cleanup()
    facts = next(each for body in bodies for each in body["alerts"] if each["event"] == "trade_closed")  # type: ignore[attr-defined]
    assert facts["facts"]["reason"] == "SL"


async def test_without_any_channel_nothing_is_kept(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        kept = await asyncio.to_thread(lambda: [path.name for path in tmp_path.iterdir()])
    assert "state.json" in kept
    assert "state.json.alerts" not in kept


async def test_the_log_s_processors_are_as_before(tmp_path: Path, bot: FakeBot) -> None:
    before = list(structlog.get_config()["processors"])
    async with telling(tmp_path, bot):
        pass
    assert structlog.get_config()["processors"] == before
