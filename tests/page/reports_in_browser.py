"""Reports in a real browser: `make page-test`; no part of `make test`, which needs no browser. With PAGE_PICTURES, a
folder, its pictures are kept there.
"""

import asyncio
import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from tests.cli.kit import run_here
from tests.npm.packages import NotToBeHad
from tests.ops.reports.test_paths import bundled
from tests.page.audit import axe, axe_faults, faults
from tests.page.browser import Tab, browser

from executor.ops.pictures import COMMAND, PNG
from executor.ops.reports.page import report_page

SIZES = [(1280, 1500, False, False), (390, 844, True, True), (390, 844, True, False), (1280, 900, False, True)]
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true; })"
MAKE = {
    "report": ["simulate"],
    "grid": ["simulate", "--set", "TRAIL_MODE=DISTANCE,SWING", "--set", "SL_AFTER_TP1=BREAKEVEN,KEEP"],
}


def made(folder: Path, *args: str) -> Path:
    page = folder / "page.html"
    env = {"PAPER_BALANCES": "USDT=10000,LTC=50", "ALLOW_SHORT": "true"}
    done = run_here([*args, "--html", str(page)], env)
    assert done.exit_code == 0, done.output
    return page


async def load(tab: Tab, page: Path) -> None:
    await tab.open(page.as_uri())
    async with asyncio.timeout(20):
        while await tab.value("document.readyState + location.protocol") != "completefile:":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", MAKE)
async def test_a_report_is_whole_for_eyes_ears_and_fingers(name: str, tmp_path: Path) -> None:
    page = made(tmp_path, *MAKE[name])
    async with browser(tmp_path / "profile") as tab:
        for number, (width, height, phone, dark) in enumerate(SIZES):
            await tab.size(width, height, phone=phone, dark=dark)
            await load(tab, page)
            await tab.value("document.querySelector('details') && (document.querySelector('details').open = true)")
            if number < 2 and (folder := os.environ.get("PAGE_PICTURES")):
                kept = Path(folder) / f"{name}-{'phone' if phone else 'desktop'}.png"
                kept.write_bytes(await tab.picture())
            await tab.value(OPEN_ALL)
            assert await faults(tab) == []
        assert tab.complaints == []
        assert set(tab.requested) <= {page.as_uri(), "data:,"}


async def test_what_hostile_names_contain_is_not_carried_out(tmp_path: Path) -> None:
    evil = "<img src=x onerror='document.title=1'><script>document.title=2</script>"
    page = tmp_path / "page.html"
    page.write_text(report_page("safe", [], {}, about=[(evil, evil)], untaken=[(evil, evil, evil)]), "utf-8")
    async with browser(tmp_path / "profile") as tab:
        await load(tab, page)
        assert await tab.value("document.title") == "safe"
        assert await tab.value("document.querySelectorAll('img, script').length") == 0
        assert tab.complaints == []


@pytest.mark.parametrize("name", MAKE)
async def test_axe_finds_nothing_in_a_report(name: str, tmp_path: Path) -> None:
    try:
        source = axe()
    except NotToBeHad as error:
        pytest.skip(f"axe-core can't be had: {error}")
    page = made(tmp_path, *MAKE[name])
    async with browser(tmp_path / "profile") as tab:
        for dark in (False, True):
            await tab.size(1280, 1500, phone=False, dark=dark)
            await load(tab, page)
            await tab.value(OPEN_ALL)
            assert await axe_faults(tab, source) == []


def test_the_picture_of_a_closed_trade(tmp_path: Path) -> None:
    """As it comes with the message about it; drawn by the process that draws it for the service."""
    pytest.importorskip("PIL.Image", reason="the extra `pictures` is not installed")
    closed, paths = bundled()
    trade = max(closed.values(), key=lambda each: each.r)
    wanted = msgspec.json.encode({"closed": trade, "path": paths[trade.trade]})
    done = subprocess.run(COMMAND, input=wanted, capture_output=True, check=True)
    assert done.stdout.startswith(PNG)
    if folder := os.environ.get("PAGE_PICTURES"):
        (Path(folder) / "closed-trade.png").write_bytes(done.stdout)
