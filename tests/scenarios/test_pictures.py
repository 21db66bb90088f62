"""The picture of a closed trade: there where it can be drawn, and in nobody's way where it can't."""

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
from tests.ops.telegram.fake_bot import FakeBot
from tests.scenarios.test_alerts import telling, told, until

from executor.core.model.state import Reason
from executor.ops import alerting, pictures

PATIENT_S: Final = 120.0
"""Whoever draws yields to everything else: on a machine that is at work it may take its time."""
UNDER_UNIT: Final = f"""
import os, runpy

def refused(_):
    raise PermissionError(1, "Operation not permitted")

os.nice = refused
runpy.run_module({pictures.COMMAND[-1]!r}, run_name="__main__")
"""


@pytest.fixture
async def bot() -> AsyncIterator[FakeBot]:
    async with FakeBot().serving() as found:
        yield found


def children() -> set[str]:
    """The processes that we have started and that are still there."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


@pytest.fixture
def drawing() -> Callable[[], set[str]]:
    """Those that were not there before the test."""
    before = children()
    return lambda: children() - before


def drawer(monkeypatch: pytest.MonkeyPatch, code: str, limit_s: float = 0.5) -> None:
    """Somebody else draws."""
    command = (sys.executable, "-c", code)
    monkeypatch.setattr(alerting, "can_draw", lambda: True)
    monkeypatch.setattr(alerting, "Pictures", lambda: pictures.Pictures(command, limit_s))


async def close_one(tmp_path: Path, bot: FakeBot) -> None:
    """A trade from its entry to its stop, and its alert."""
    async with telling(tmp_path, bot) as b:
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)
        async with asyncio.timeout(PATIENT_S):
            while "trade closed" not in told(bot):  # noqa: ASYNC110  (another process's doing)
                await asyncio.sleep(0.02)


async def test_a_closed_trade_comes_with_its_picture(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under config/executor.service, where nobody may change a priority (`SystemCallFilter=~@resources`)."""
    images = pytest.importorskip("PIL.Image", reason="the extra `pictures` is not installed")
    monkeypatch.setattr(
        alerting, "Pictures", lambda: pictures.Pictures((sys.executable, "-P", "-c", UNDER_UNIT), PATIENT_S)
    )
    await close_one(tmp_path, bot)
    (photo,) = bot.photos
    image = images.open(io.BytesIO(photo))
    assert (image.format, image.size) == ("PNG", (1000, 560))
    assert len({colour for _, colour in image.convert("RGB").getcolors(1_000_000) or []}) > 20
    (said,) = [each for each in bot.said if "caption" in each]
    assert "trade closed" in said["caption"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import time; time.sleep(600)", "it was not done after 0.5 s"),
        ("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", "not done"),
        ("import os; os.abort()", "exit code -6"),
        ("raise SystemExit('no font')", "exit code 1: no font"),
        ("print('no picture')", "11 bytes that are no picture"),
        ("", "0 bytes that are no picture"),
        ("import sys; sys.stdin.close(); sys.exit(3)", "exit code 3"),
    ],
)
async def test_a_drawer_that_hangs_crashes_or_babbles_costs_the_picture_alone(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch, drawing: Callable[[], set[str]], code: str, why: str
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(pictures.log, "warning", lambda _event, why, **_: reasons.append(why))
    drawer(monkeypatch, code)
    await close_one(tmp_path, bot)
    assert bot.photos == []
    assert told(bot).count("trade closed") == 1
    assert why in reasons[0]
    await until(lambda: drawing() == set())


async def test_a_drawer_that_is_not_there_costs_the_picture_alone(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "can_draw", lambda: True)
    monkeypatch.setattr(alerting, "Pictures", lambda: pictures.Pictures((str(tmp_path / "gone"),)))
    await close_one(tmp_path, bot)
    assert (bot.photos, told(bot).count("trade closed")) == ([], 1)


async def test_without_the_library_there_are_words_alone(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr(alerting, "Pictures", lambda: pytest.fail("nothing could draw"))
    assert not pictures.can_draw()
    await close_one(tmp_path, bot)
    assert (bot.photos, told(bot).count("trade closed")) == ([], 1)


async def test_a_drawer_is_shown_no_secret(tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("BINANCE_API_SECRET", "a-secret-of-the-environment")
    drawer(monkeypatch, f"import os, sys; open({str(seen)!r}, 'w').write(repr(os.environ) + sys.stdin.read())", 10)
    await close_one(tmp_path, bot)
    assert "a-secret-of-the-environment" not in seen.read_text("utf-8")
    assert '"trade":' in seen.read_text("utf-8")


async def test_a_stop_does_not_wait_for_a_drawer(
    tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch, drawing: Callable[[], set[str]]
) -> None:
    monkeypatch.setattr(alerting, "FAREWELL_S", 0.2)
    drawer(monkeypatch, "import time; time.sleep(600)", 600)
    began = time.monotonic()
    async with telling(tmp_path, bot) as b:
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)
        await until(lambda: drawing() != set())
    assert time.monotonic() - began < 60
    await until(lambda: drawing() == set())
    assert "trade closed" not in told(bot)  # it is in the outbox, and goes after the next start
