"""Alerts reach a chat; a Telegram that is slow, down or unwilling costs messages, never trading."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import respx
import structlog

from executor.core.model.intents import Level, Notify
from executor.ops import telegram
from executor.ops.telegram import QUEUE_MAX, TEXT_MAX, TRIES_MAX, Telegram, speaking

TOKEN = "123:telegram-token-mark"
URL = f"https://api.telegram.org/bot{TOKEN}/sendMessage"


class Sleeper:
    """Time that passes at once, and is remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def bot(sleeper: Sleeper) -> Telegram:
    return Telegram(TOKEN, "-100", name="LTCUSDT", sleep=sleeper)


@contextlib.asynccontextmanager
async def sending(bot: Telegram) -> AsyncIterator[None]:
    task = asyncio.create_task(bot.run())
    try:
        yield
        async with asyncio.timeout(5):
            await bot.flush()
    finally:
        task.cancel()
        await asyncio.wait({task})


def texts(route: respx.Route) -> list[str]:
    return [json.loads(call.request.content)["text"] for call in route.calls]


@respx.mock
async def test_a_message_goes_to_the_chat(bot: Telegram) -> None:
    route = respx.post(URL).respond(json={"ok": True})
    async with sending(bot):
        bot.tell("hello")
    assert json.loads(route.calls[0].request.content) == {"chat_id": "-100", "text": "LTCUSDT\nhello"}
    assert (bot.sent, bot.given_up) == (1, 0)


@respx.mock
async def test_of_several_symbols_each_word_names_its_own(bot: Telegram) -> None:
    route = respx.post(URL).respond(json={"ok": True})
    async with sending(bot):
        bot.notify(Notify(Level.INFO, "trade_opened", "long 3 ETH"), "ETHUSDT")
        with structlog.contextvars.bound_contextvars(symbol="BNBUSDT"):
            bot.overhear(None, "error", {"event": "state_unwritable", "alert": True, "error": "full"})
    told = "ETHUSDT trade opened: long 3 ETH\nALERT state unwritable: symbol BNBUSDT, error full"
    assert "\n".join(texts(route)).replace("LTCUSDT\n", "") == told


@respx.mock
async def test_what_gathers_goes_out_together_and_in_order(bot: Telegram, sleeper: Sleeper) -> None:
    route = respx.post(URL).respond(json={"ok": True})
    for n in range(30):
        bot.tell(f"{n} " + "x" * 390)
    async with sending(bot):
        pass
    sent = texts(route)
    assert all(len(text) <= TEXT_MAX for text in sent)
    assert [line.split()[0] for text in sent for line in text.splitlines()[1:]] == [str(n) for n in range(30)]
    assert 3 <= len(sent) <= 4


@respx.mock
async def test_a_long_silence_of_telegram_keeps_the_newest_and_stays_bounded(bot: Telegram) -> None:
    route = respx.post(URL).respond(json={"ok": True})
    for n in range(QUEUE_MAX + 50):
        bot.tell(str(n))
    async with sending(bot):
        pass
    told = [line for text in texts(route) for line in text.splitlines()[1:]]
    assert told == [str(n) for n in range(50, QUEUE_MAX + 50)]
    assert bot.given_up == 50


@respx.mock
async def test_it_pauses_between_messages(sleeper: Sleeper) -> None:
    bot = Telegram(TOKEN, "1", pause=3.0, sleep=sleeper)
    respx.post(URL).respond(json={"ok": True})
    task = asyncio.create_task(bot.run())
    for text in ("a", "b"):
        bot.tell(text)
        await bot._idle.wait()
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert sleeper.slept[:1] == [3.0]


@respx.mock
async def test_it_tries_again_as_telegram_wishes(bot: Telegram, sleeper: Sleeper) -> None:
    route = respx.post(URL)
    route.side_effect = [
        httpx.Response(429, json={"ok": False, "parameters": {"retry_after": 17}}),
        httpx.Response(502),
        httpx.ConnectError(f"no route to {URL}"),
        httpx.Response(200, json={"ok": True}),
    ]
    async with sending(bot):
        bot.tell("hello")
    assert (bot.sent, bot.given_up) == (1, 0)
    assert [seconds for seconds in sleeper.slept if seconds != bot._pause] == [17.0, 2.0, 4.0]


@respx.mock
@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_is_told_once_and_not_repeated(bot: Telegram, status: int) -> None:
    route = respx.post(URL).respond(status, json={"ok": False, "description": URL})
    with structlog.testing.capture_logs() as logs:
        async with sending(bot):
            bot.tell("hello")
    assert route.call_count == 1
    assert [line["event"] for line in logs] == ["telegram_not_sent"]
    assert "telegram-token-mark" not in str(logs)


@respx.mock
async def test_after_enough_tries_it_goes_on_with_the_next(bot: Telegram) -> None:
    route = respx.post(URL)
    route.side_effect = [httpx.ReadTimeout("x")] * TRIES_MAX + [httpx.Response(200, json={"ok": True})]
    with structlog.testing.capture_logs() as logs:
        async with sending(bot):
            bot.tell("lost")
            while route.call_count < TRIES_MAX:  # noqa: ASYNC110  # the router has no event
                await asyncio.sleep(0)
            bot.tell("kept")
    assert texts(route)[-1] == "LTCUSDT\nkept"
    assert [line["why"] for line in logs] == ["ReadTimeout"]


@respx.mock
async def test_notes_and_alerts_of_the_log_are_told_once(bot: Telegram) -> None:
    route = respx.post(URL).respond(json={"ok": True})
    log = structlog.get_logger("test")
    async with speaking(bot):
        bot.notify(Notify(Level.INFO, "trade_opened", "LONG 1 LTC"))
        bot.notify(Notify(Level.INFO, "filled", "not told"))
        bot.notify(Notify(Level.ALERT, "failsafe", "told by the log alone"))
        log.error("failsafe", alert=True, trade="1", order=None, text="closing at market")
        log.error("not an alert")
    said = "\n".join(texts(route)).splitlines()
    assert [line for line in said if line != "LTCUSDT"] == [
        "trade opened: LONG 1 LTC",
        "ALERT failsafe: trade 1, text closing at market",
    ]
    assert bot.overhear not in structlog.get_config()["processors"]


@respx.mock
async def test_an_end_does_not_wait_for_a_telegram_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram, "FAREWELL_S", 0.05)
    forever = asyncio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        await forever.wait()
        return httpx.Response(200)

    respx.post(URL).mock(side_effect=hang)
    bot = Telegram(TOKEN, "1")
    async with asyncio.timeout(5), speaking(bot):
        bot.tell("goodbye")


async def test_a_fault_of_the_sender_is_told_and_ends_nothing_else(
    bot: Telegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise ValueError(f"bad proxy for {URL}")

    monkeypatch.setattr(httpx, "AsyncClient", broken)
    monkeypatch.setattr(telegram, "FAREWELL_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        async with speaking(bot):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            bot.tell("nobody sends this")
    assert [(line["event"], line["error"]) for line in logs] == [("telegram_off", "ValueError")]
