"""What the service holds of memory with everything on: `python -m bench.resident`. `executor run` as users run it, with
the page, metrics, the webhook, Telegram with commands and pictures, an alert webhook, the watchdog and both streams, on
a paper exchange that plays the bundled recording. Exit code 1 where it holds more than `--most` MB while idle.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
from aiohttp import web
from tools.ports import free_port

from bench.processes import PAGE
from bench.readers import answers, open_a_trade, running, settings

TOKEN: Final = "1:bench"  # noqa: S105  # of a bot that is here alone
CHAT: Final = -100
USER: Final = 7
LOOKED_S: Final = 10.0
PATIENCE_S: Final = 60.0


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of idleness before the first look")
    parser.add_argument("--most", type=float, default=85)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="executor-resident-") as folder:
        async with contextlib.AsyncExitStack() as stack:
            bot = Bot()
            told = await stack.enter_async_context(serving(bot))
            exchange, page, hook = free_port(), free_port(), free_port()
            await stack.enter_async_context(running(folder, "paper", "--port", str(exchange), settings={}))
            await answers(f"http://127.0.0.1:{exchange}/api/v3/ping")
            everything = {
                **settings(folder, exchange, page),
                "WEBHOOK_PORT": str(hook),
                "WEBHOOK_SECRET": "bench-bench-bench-bench",
                "TELEGRAM_BOT_TOKEN": TOKEN,
                "TELEGRAM_CHAT_ID": str(CHAT),
                "TELEGRAM_USERS": str(USER),
                "TELEGRAM_API_URL": told,
                "ALERT_WEBHOOK_URL": f"{told}/hook",
            }
            service = await stack.enter_async_context(running(folder, "run", settings=everything))
            base = f"http://127.0.0.1:{page}"
            await answers(f"{base}/readyz")
            await asyncio.sleep(wanted.seconds)
            idle = tell(service, f"idle for {wanted.seconds:.0f} s")
            await bot.asked("/status")
            looking = asyncio.create_task(look(base))
            await asyncio.sleep(LOOKED_S)
            tell(service, "after a command, with the page open")
            await open_a_trade(folder, exchange)
            await asyncio.sleep(LOOKED_S)
            tell(service, "with a trade open as well")
            await bot.asked("/flatten")
            bot.press(bot.buttons[0])
            await asyncio.wait_for(bot.photographed.wait(), PATIENCE_S)
            tell(service, "after its end, told with a picture")
            looking.cancel()
            await asyncio.wait({looking})
    return 1 if idle > wanted.most else 0


async def look(base: str) -> None:
    async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S) as http, http.stream("GET", "/events") as answer:
        async for _ in answer.aiter_raw():
            pass


def tell(service: asyncio.subprocess.Process, when: str) -> float:
    """What is resident (RSS: what it shares with others included), in MB."""
    found = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * PAGE / 1e6
    sys.stdout.write(f"{found:6.1f} MB, {when}\n")
    sys.stdout.flush()
    return found


class Bot:
    """A Bot API for one chat. `buttons`: what those of the last message that had some stand for."""

    def __init__(self) -> None:
        self.photographed = asyncio.Event()
        self.buttons: list[str] = []
        self._updates: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._said = asyncio.Event()
        self._number = 100

    async def asked(self, text: str) -> None:
        """Somebody writes, and is answered."""
        self._said.clear()
        self._update(message=self._message(text) | {"from": {"id": USER, "is_bot": False, "first_name": "A"}})
        await asyncio.wait_for(self._said.wait(), PATIENCE_S)

    def press(self, data: str) -> None:
        sender = {"id": USER, "is_bot": False, "first_name": "A"}
        self._update(callback_query={"id": "1", "from": sender, "message": self._message("?"), "data": data})

    def _message(self, text: str) -> dict[str, Any]:
        return {"message_id": 1, "date": int(time.time()), "chat": {"id": CHAT, "type": "supergroup"}, "text": text}

    def _update(self, **what: Any) -> None:
        self._number += 1
        self._updates.append({"update_id": self._number, **what})
        self._news.set()

    async def call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        given = {} if request.content_type.startswith("multipart") else await _read(request)
        if method == "getUpdates":
            return _ok(await self._poll(given.get("offset") or 0, given.get("timeout") or 0))
        if method == "getMe":
            return _ok({"id": 1, "is_bot": True, "first_name": "Executor", "username": "executor_bot"})
        if method == "sendPhoto":
            self.photographed.set()
        keyboard = (given.get("reply_markup") or {}).get("inline_keyboard", []) if method == "sendMessage" else []
        self.buttons = [button["callback_data"] for row in keyboard for button in row] or self.buttons
        if method == "sendMessage":
            self._said.set()
        return _ok(self._message("") if method.startswith("send") else True)

    async def _poll(self, offset: int, seconds: float) -> list[dict[str, Any]]:
        self._updates = [each for each in self._updates if each["update_id"] >= offset]
        if not self._updates:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        return self._updates


async def _read(request: web.Request) -> dict[str, Any]:
    found: dict[str, Any] = await request.json() if request.can_read_body else {}
    return found


def _ok(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})


async def _hook(_request: web.Request) -> web.Response:
    return web.Response()


@contextlib.asynccontextmanager
async def serving(bot: Bot) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hook", _hook)
    app.router.add_route("*", f"/bot{TOKEN}/{{method}}", bot.call)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main()))
