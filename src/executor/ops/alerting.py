"""Alerts and commands as the settings want them: the outbox beside the state, the channels, and who is listened to."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import structlog

from executor.config import Settings
from executor.ops.alerts.alerts import Alerts, outbox_path
from executor.ops.alerts.channel import Channel
from executor.ops.alerts.daily import DailySummary
from executor.ops.alerts.outbox import Outbox
from executor.ops.alerts.webhook import WebhookChannel
from executor.ops.keep_up import keep_up
from executor.ops.outgoing import about_exchange, http_client
from executor.ops.pictures import Pictures, can_draw
from executor.ops.telegram.api import BotApi
from executor.ops.telegram.channel import TelegramChannel
from executor.ops.telegram.chat import Chat
from executor.ops.telegram.commands import Commands
from executor.ops.telegram.listener import Listener
from executor.ops.telegram.place import FilePlace, Keeper, place_path
from executor.ops.telegram.traded import Traded, traded_of
from executor.service.loop import Loop

log = structlog.get_logger(__name__)

FAREWELL_S: Final = 3.0
"""Seconds that a stop waits for the last words; what has not gone by then goes after the next start."""


class Alerting:
    """What a run tells, and whom it hears. `chat`: where Telegram is set up; `pictures`: where they can be drawn for
    it; `listener`: once the loops are there; `state`: the file beside which all of it is kept.
    """

    def __init__(
        self,
        settings: Settings,
        alerts: Alerts,
        chat: Chat | None = None,
        pictures: Pictures | None = None,
        state: Path | None = None,
    ) -> None:
        self.alerts = alerts
        self.chat = chat
        self.pictures = pictures
        self.listener: Listener | None = None
        self.state = state
        self._settings = settings

    def listen(self, loops: Mapping[str, Loop]) -> Listener | None:
        """Who takes commands from the chat; None where nobody may give any."""
        return self.listen_for(lambda: traded_of(loops))

    @property
    def hears(self) -> bool:
        """Whether anybody may give commands."""
        return self.chat is not None and bool(self._settings.telegram_users)

    def listen_for(
        self,
        traded: Callable[[], Sequence[Traded]],
        place: Keeper | None = None,
        alone: Callable[[], bool] = lambda: True,
    ) -> Listener | None:
        """The same for what is traded at the moment. `place`: where the place is kept, if not beside the state;
        `alone`: whether nobody else is meant to read the bot's updates.
        """
        if self.chat is None or not self.hears:
            return None
        if place is None:
            assert self.state is not None
            place = FilePlace(place_path(self.state))

        def conflict(words: str) -> None:
            if alone():
                self.alerts.tell("telegram_conflict", words)

        self.listener = Listener(
            self.chat,
            self._settings.telegram_users,
            Commands(traded),
            place,
            pace=self.alerts.senders[TelegramChannel.name].pace,
            on_conflict=conflict,
        )
        return self.listener

    def daily(self, loops: Mapping[str, Loop]) -> DailySummary:
        return DailySummary(self.alerts, loops)


@contextlib.asynccontextmanager
async def alerting(
    settings: Settings, symbols: tuple[str, ...], *, wanted: bool, states: Sequence[Path] = (), whose: str = ""
) -> AsyncIterator[Alerting]:
    """Tell while the body runs, what the log says included; at its end the last words get a moment. The states must be
    locked: the outbox is beside the first. What the environment says and cannot be heeded is said, and ends nothing.
    `states`, `whose`: of a process with several accounts, where those of all are, and what messages begin with.
    """
    for remark in about_exchange(settings):
        log.warning("environment_not_heeded", text=remark)
    if not wanted or (settings.telegram_bot_token is None and settings.alert_webhook_url is None):
        alerts = Alerts(None, ())
        with _overhearing(alerts) if wanted else contextlib.nullcontext():  # for the page and the metrics
            yield Alerting(settings, alerts)
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and ours hold secrets
    outgoing = http_client(settings)
    for remark in outgoing.remarks:
        log.warning("environment_not_heeded", text=remark)
    async with outgoing.client as http:
        state = _first_state(states or [settings.state_path(symbol) for symbol in symbols])
        outbox = Outbox(outbox_path(state))
        chat = _chat(settings, http)
        pictures = Pictures() if chat is not None and can_draw() else None
        alerts = Alerts(outbox, list(_channels(settings, whose or _what(symbols), http, chat, pictures)))
        _remember_moves(alerts, chat)
        async with _telling(alerts):
            yield Alerting(settings, alerts, chat, pictures, state)


def _chat(settings: Settings, http: httpx.AsyncClient) -> Chat | None:
    token, chat = settings.telegram_bot_token, settings.telegram_chat_id
    if token is None or chat is None:
        return None
    return Chat(BotApi(http, token.get_secret_value(), settings.telegram_api_url), chat)


def _channels(
    settings: Settings,
    what: str,
    http: httpx.AsyncClient,
    chat: Chat | None,
    pictures: Pictures | None,
) -> list[Channel]:
    title = f"Executor {what} ({settings.binance_env})"
    channels: list[Channel] = []
    if chat is not None:
        draw = None if pictures is None else pictures.draw
        channels.append(TelegramChannel(chat, title, settings.telegram_notify, draw))
    if settings.alert_webhook_url is not None:
        secret = settings.alert_webhook_secret
        key = None if secret is None else secret.get_secret_value()
        channels.append(WebhookChannel(http, settings.alert_webhook_url.get_secret_value(), key, title))
    return channels


def _remember_moves(alerts: Alerts, chat: Chat | None) -> None:
    """A chat that became a supergroup is found where it went, also after a restart."""
    if chat is None:
        return
    name = f"chat {chat.id}"
    chat.id = alerts.marked(name) or chat.id
    chat.on_moved = lambda now: alerts.mark(name, now)


@contextlib.contextmanager
def _overhearing(alerts: Alerts) -> Iterator[None]:
    processors = structlog.get_config()["processors"]
    processors.insert(0, alerts.overhear)  # in place: loggers that are in use hold this very list
    try:
        yield
    finally:
        if alerts.overhear in processors:  # whoever sets the log up anew has none of this
            processors.remove(alerts.overhear)


@contextlib.asynccontextmanager
async def _telling(alerts: Alerts) -> AsyncIterator[None]:
    sending = asyncio.create_task(keep_up("alerts", alerts.run)(), name="alerts")
    try:
        with _overhearing(alerts):
            yield
    finally:
        with contextlib.suppress(TimeoutError):  # what has not gone by then is in the outbox
            async with asyncio.timeout(FAREWELL_S):
                await alerts.flush()
        sending.cancel()
        await asyncio.wait({sending})
        await asyncio.to_thread(alerts.close)


def _what(symbols: tuple[str, ...]) -> str:
    return symbols[0] if len(symbols) == 1 else f"of {len(symbols)} symbols"


def outbox_of(states: Sequence[Path]) -> Path:
    """Where a process that has these states keeps its alerts."""
    return outbox_path(_first_state(states))


def _first_state(paths: Sequence[Path]) -> Path:
    """One file for all: beside one's state, where it was before, whichever symbols and accounts have come or gone."""
    return next((path for path in paths if outbox_path(path).exists()), paths[0])
