"""The doctor's look at how alerts get out: built as the service builds it, and asked whether it is let in."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import httpx
import msgspec

from executor.config import BinanceEnv, Settings
from executor.decoding import decode
from executor.ops.doctor import Finding, ok, warn
from executor.ops.outgoing import about_exchange, http_client
from executor.ops.telegram.api import BotApi, BotError, UnreachableError

TIMEOUT_S: Final = 5.0
_ENVIRONMENT: Final = "set the variable anew or unset it, for the service as well"
_DIRECT: Final = "bind the key to this machine's address, or have the network itself route it"


class _Bot(msgspec.Struct, frozen=True):
    username: str = "?"


async def on_alerts(settings: Settings) -> list[Finding]:
    """Nothing is sent to the chat."""
    found = [warn("proxy", each, _DIRECT) for each in about_exchange(settings)]
    outgoing = http_client(settings)
    found += [warn("environment", each, _ENVIRONMENT) for each in outgoing.remarks]
    async with outgoing.client as http:
        return [*found, *[each async for each in _channels(settings, http)]]


async def _channels(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[Finding]:
    token, chat = settings.telegram_bot_token, settings.telegram_chat_id
    if token is not None and chat is not None:
        yield await _telegram(BotApi(http, token.get_secret_value(), settings.telegram_api_url), chat)
    elif settings.alert_webhook_url is not None:
        yield ok("alerts", "go to ALERT_WEBHOOK_URL beside the log")
    elif settings.binance_env is BinanceEnv.PAPER:
        yield ok("alerts", "go to the log")
    else:
        yield warn("alerts", "go to the log alone", "set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, or watch /metrics")


async def _telegram(bot: BotApi, chat: str) -> Finding:
    try:
        raw = await bot.call("getMe", {}, timeout=TIMEOUT_S)
        await bot.call("getChat", {"chat_id": chat}, timeout=TIMEOUT_S)
    except UnreachableError as error:
        advice = "check the network and the proxy; until then alerts wait on disk"
        return warn("alerts", f"Telegram can't be reached: {error}", advice)
    except BotError as error:
        if error.parameters.migrate_to_chat_id is not None:
            return ok("alerts", f"go to Telegram, to the chat's new number {error.parameters.migrate_to_chat_id}")
        return warn("alerts", f"Telegram refuses: {error}", "check TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
    name = "?"
    with contextlib.suppress(msgspec.DecodeError):
        name = decode(bytes(raw), _Bot).username
    return ok("alerts", f"go to Telegram as @{name}, to the chat {chat}, beside the log")
