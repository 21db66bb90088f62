"""Chromium without a screen, spoken to by its own protocol (DevTools) over one WebSocket."""

import asyncio
import base64
import itertools
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING: Final = (
    "Chromium is needed to look at the page, and none of chromium, chromium-browser and google-chrome is there:"
    " on Debian and Ubuntu, apt-get install --no-install-recommends chromium fonts-dejavu-core"
)
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # it may run as root in a container, and is shown our own page alone
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)
START_S: Final = 60.0
ANSWER_S: Final = 60.0


class Tab:
    """One page. `requested`: the addresses that it asked for; `complaints`: what its console and its policy said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._hear(said["method"], said["params"])

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded":
                self.complaints.append(str(params["entry"]))
            case _:
                pass

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(ANSWER_S):
            said = await answer
        assert "error" not in said, said["error"]
        found: dict[str, Any] = said["result"]
        return found

    async def open(self, url: str) -> None:
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.do(f"{domain}.enable")
        await self.do("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to on the page."""
        said = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def size(self, width: int, height: int, *, phone: bool, dark: bool) -> None:
        scale = 2 if phone else 1
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.do("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """What is in sight, as PNG."""
        said = await self.do("Page.captureScreenshot", format="png")
        return base64.b64decode(said["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A browser of its own, on a profile in `folder`. AssertionError where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    assert program is not None, MISSING
    process = await asyncio.create_subprocess_exec(
        program, *FLAGS, f"--user-data-dir={folder}", "about:blank", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_S):
            while (found := re.search(rb"ws://(127\.0\.0\.1:\d+)/", await process.stderr.readline())) is None:
                assert not process.stderr.at_eof(), f"{program} has ended with {await process.wait()}"
        deaf = asyncio.create_task(_drain(process.stderr))
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://{found[1].decode()}/json") as answer:
                address = next(t["webSocketDebuggerUrl"] for t in await answer.json() if t["type"] == "page")
            async with http.ws_connect(address, max_msg_size=0) as socket:
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                yield tab
                listening.cancel()
        deaf.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
