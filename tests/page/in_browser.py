"""The page in a real browser, on a trade on the paper exchange: `make page-test`. No part of `make test`, which needs
no browser. With PAGE_PICTURES, a folder, its pictures are kept there.
"""

import asyncio
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.npm.packages import NotToBeHad
from tests.ops.test_accounts_page import served
from tests.ops.test_http import WORLD, Server
from tests.page.audit import axe, axe_faults, faults
from tests.page.browser import Tab, browser
from tests.scenarios.harness import Harness, harness

from executor.core.model.state import Reason
from executor.ops.page import feed

SEEN_S: Final = 30.0


async def see(tab: Tab, expression: str, wanted: Any) -> None:
    """Wait until the page shows it."""
    until = asyncio.get_running_loop().time() + SEEN_S
    while (found := await tab.value(expression)) != wanted:
        assert not tab.complaints, tab.complaints
        assert asyncio.get_running_loop().time() < until, f"{expression} is {found!r}, not {wanted!r}"
        await asyncio.sleep(0.1)


async def of_axe(tab: Tab) -> list[str]:
    """What axe-core finds; nothing, and a word, where it can't be had."""
    try:
        source = await asyncio.to_thread(axe)
    except NotToBeHad as error:
        print(f"axe-core was not asked: {error}")  # noqa: T201  (pytest -rA shows it)
        return []
    return await axe_faults(tab, source)


def fact(name: str) -> str:
    return f"document.querySelector('[data-fact=\"{name}\"]')?.textContent ?? null"


async def keep(tab: Tab, name: str) -> None:
    if folder := os.environ.get("PAGE_PICTURES"):
        picture = await tab.picture()
        await asyncio.to_thread((Path(folder) / name).write_bytes, picture)


async def wander(b: Harness, *steps: float) -> None:
    """The price goes through `steps`, slowly enough that each is a point on the chart."""
    for r in steps:
        await b.move(r, then=3)
        await asyncio.sleep(0.4)


async def test_of_several_accounts_a_browser_finds_the_page_of_each(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b, served(b) as web:
        await b.enter()
        async with browser(tmp_path / "profile") as tab:
            await tab.size(1280, 800, phone=False, dark=False)
            await tab.open(f"http://127.0.0.1:{web.http.port}/")
            await see(tab, "document.querySelectorAll('tbody a').length", 2)
            await see(tab, "document.title.startsWith('alice LTCUSDT long - ')", True)
            assert await faults(tab) == []
            assert await of_axe(tab) == []
            await tab.open(f"http://127.0.0.1:{web.http.port}/account/alice/")
            await see(tab, "document.querySelector('h1').textContent", "alice - Executor")
            await see(tab, fact("stop"), str(b.at(-1)))
            await see(tab, "document.title", f"{b.symbol} long - alice - Executor")
            await see(tab, "document.getElementById('health').textContent", "ready")
            assert await faults(tab) == []
            assert tab.complaints == []


async def test_a_browser_sees_the_stop_move_and_the_trade_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(tmp_path, WORLD) as b:
        server = Server(b)
        base = f"http://127.0.0.1:{server.http.port}/"
        async with browser(tmp_path / "profile") as tab:
            await tab.size(1280, 1280, phone=False, dark=False)
            await tab.open(base)
            await see(tab, "document.querySelector('h2')?.textContent", b.symbol)
            await see(tab, "document.getElementById('health').textContent", "ready")
            await b.enter()
            await see(tab, fact("stop"), str(b.at(-1)))
            await wander(b, 0.2, -0.3, 0.1, 0.5, 0.3, 0.7, 0.4, 0.8)
            await see(tab, fact("unprotected"), "nothing")
            await see(tab, fact("price in R"), "0.80")
            await see(tab, "document.title", f"{b.symbol} long - Executor")
            assert await tab.value("document.querySelectorAll('.exits tbody tr').length") == len(b.open())

            await b.move(1)
            moved = max(b.stops())
            assert moved > b.at(-1)
            await see(tab, f"Number({fact('stop')})", float(moved))
            await wander(b, 1.2, 0.9, 1.4, 1.1, 1.5)
            assert await faults(tab) == []
            assert await of_axe(tab) == []

            b.touch(b.at(-1))
            await b.ends(Reason.BREAKEVEN)
            await see(tab, "document.querySelector('.trades tbody td:nth-child(5)')?.textContent", "BREAKEVEN")
            shown = "document.querySelector('.trades tbody td:nth-child(4)').textContent"
            assert Decimal(await tab.value(shown)) == b.closed.pnl
            await see(tab, "document.querySelector('.exits tbody td').textContent", "no trade is open")
            await see(tab, "document.title", "Executor")
            assert "trade_closed" in await tab.value("document.querySelector('.notes').textContent")
            assert await tab.value("document.querySelectorAll('canvas').length > 0") is True

            await b.move(0.5, then=300)
            await b.enter()
            await see(tab, fact("stop"), str(b.at(-1)))
            await wander(b, 0.5, 0.2, 0.9, 1, 1.4, 1.2, 1.7, 2)
            b.touch(b.at("0.9"))
            await b.ends(Reason.TRAIL, Reason.BREAKEVEN, Reason.TP, Reason.SL)
            await see(tab, "document.querySelectorAll('.trades tbody tr').length", 2)
            await b.move(0.5, then=300)
            await b.enter()
            await see(tab, fact("stop"), str(b.at(-1)))
            await wander(b, 0.4, 0.2, 0.6, 1, 1.3)
            await keep(tab, "page-desktop.png")
            await tab.size(390, 844, phone=True, dark=True)
            await asyncio.sleep(1)
            await keep(tab, "page-phone.png")
            assert await faults(tab) == []
            assert await of_axe(tab) == []

            assert not tab.complaints, json.dumps(tab.complaints, indent=1)
            assert tab.requested
            assert [url for url in tab.requested if not url.startswith(base)] == []

            monkeypatch.setattr(feed, "CLIENTS_MAX", 0)  # refused, as by a proxy whose service is away
            for client in tuple(server.http.feed.clients):
                client.cut()
            while not (tab.complaints and (await tab.value("document.title")).startswith("not connected - ")):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            monkeypatch.undo()
            tab.complaints.clear()
            await see(tab, "document.getElementById('health').textContent", "ready")
        await server.stop()
