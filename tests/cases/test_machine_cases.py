"""The cases in which the machine, its environment or what listens there is not as it was; and that each case is one."""

import ast
import asyncio
import contextlib
import errno
import os
import signal as signals
import socket
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from dotenv import dotenv_values
from tests.cases.kit import HERE, WORLD, case, opened, signal, trading
from tests.crash.campaign import SYMBOL, Campaign
from tests.crash.daemon import _environ
from tests.ops.telegram.fake_bot import TOKEN, FakeBot
from tests.scenarios.harness import AFTER_TP1, EXITS, harness

from executor.config import load_settings
from executor.core.model.events import Verb
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.ops.doctor import Level
from executor.ops.doctor_alerts import on_alerts
from executor.service.store.trades import read_trades


async def until(there: Callable[[], bool], within: float = 40.0) -> None:
    """In real time: another process, or a socket."""
    async with asyncio.timeout(within):
        while not there():  # noqa: ASYNC110  # of another process there is no event
            await asyncio.sleep(0.02)


# --- the log ----------------------------------------------------------------------------------------------------------


async def test_log_pipe_broken(tmp_path: Path) -> None:
    """B.4, rule 8.9: the reader of the daemon's log goes away in the middle of a trade, which ends as it should."""
    campaign = Campaign(tmp_path, seed=1, kills=0, storm=0, spawn_every=0)
    async with campaign.serving(LIVE_ENTRY_TIMEOUT_SEC="600"):
        reader, writer = os.pipe()
        command = (sys.executable, "-m", "executor", "run")
        process = await asyncio.create_subprocess_exec(
            *command, env=_environ(campaign.environ), stdin=asyncio.subprocess.DEVNULL, stdout=writer, stderr=writer
        )
        os.close(writer)
        try:
            os.set_blocking(reader, False)
            heard = b""

            def ready() -> bool:
                nonlocal heard
                with contextlib.suppress(BlockingIOError):
                    heard += os.read(reader, 65536)
                return b'"ready"' in heard

            def standing() -> int:
                return len(campaign.engine.open_orders("paper", SYMBOL))

            def stops() -> list[Decimal]:
                return [o.stop_price for o in campaign.engine.open_orders("paper", SYMBOL) if o.stop_price]

            await until(ready, 40)
            campaign.touch(Decimal("100.08"))
            campaign.say(Direction.LONG)
            await until(lambda: standing() == 1)
            os.close(reader)
            reader = -1
            campaign.touch(Decimal(100))
            await until(lambda: standing() == 5)
            campaign.touch(Decimal("101.01"))
            await until(lambda: standing() == 3)
            await until(lambda: len(stops()) == 2 and min(stops()) > 100)
            campaign.touch(Decimal("99.8"))
            await until(lambda: standing() == 0)
            path = campaign.state_path.with_suffix(".trades.jsonl")
            await until(lambda: path.exists() and bool(list(read_trades(path))))
            assert [trade.reason for trade in read_trades(path)] == [Reason.BREAKEVEN]
            assert process.returncode is None, "the process still runs"
            process.send_signal(signals.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if reader >= 0:
                os.close(reader)
            if process.returncode is None:
                process.kill()
                await process.wait()


# --- the disk ---------------------------------------------------------------------------------------------------------


class SmallDisk:
    """A file system below a folder that can be filled to the last byte: what is written there finds no space."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refused = 0
        self._folder = str(folder.resolve())
        for name in ("write", "pwrite"):
            monkeypatch.setattr(os, name, self._guarded(getattr(os, name)))
        if hasattr(os, "posix_fallocate"):
            monkeypatch.setattr(os, "posix_fallocate", self._guarded(os.posix_fallocate))

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(descriptor: int, *rest: Any) -> Any:
            if self.full and self._within(descriptor):
                self.refused += 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, *rest)

        return guarded

    def _within(self, descriptor: int) -> bool:
        try:
            return str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(self._folder)
        except OSError:
            return False


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see which file is written")
async def test_disk_full_then_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B.1, rule 8.1: it waits, tells, sends nothing meanwhile, and places the exits once there is room."""
    monkeypatch.setattr("executor.service.committer.DISK_RETRY_S", 0.01)
    small = tmp_path / "small"
    small.mkdir()
    files: dict[str, Any] = {name: str(tmp_path / value) for name, value in case("disk-full-then-free").env.items()}
    disk = SmallDisk(small, monkeypatch)
    async with trading(tmp_path, "disk-full-then-free", **files) as b:
        await signal(b, "disk-full-then-free")
        sent = len(b.orders())
        disk.full = True
        b.touch(b.at(0))
        assert b.loop is not None
        b.loop.poll_now()
        for _ in range(2_000):
            await b.breathe()
            if "state_unwritable" in b.alerts():
                break
        assert disk.refused
        assert b.alerts().count("state_unwritable") == 1
        assert len(b.orders()) == sent, "nothing is sent that is not on disk"
        disk.full = False
        await b.wait(4)
        assert b.said("state_writable_again") == 1
        assert b.roles() == EXITS["OCO"]
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.restart(**files)
        await b.move("-0.2")
        b.adds_up(await b.ends(Reason.BREAKEVEN))


# --- the environment --------------------------------------------------------------------------------------------------


@pytest.fixture
async def bot() -> Any:
    async with FakeBot((-100, -4001)).serving() as found:
        yield found


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A proxy that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


def address(listener: socket.socket) -> str:
    return f"http://user:hunter2@127.0.0.1:{listener.getsockname()[1]}"


def used(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def set_proxies(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


async def test_no_proxy_ipv6_cidr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bot: FakeBot, listener: socket.socket
) -> None:
    """C.3: alerts reach Telegram, past the proxy that the list excepts it from; the doctor says so too."""
    values = {name: value or "" for name, value in dotenv_values(HERE / "no-proxy-ipv6-cidr.env").items()}
    set_proxies(monkeypatch, NO_PROXY=values["NO_PROXY"], HTTP_PROXY=address(listener), HTTPS_PROXY=address(listener))
    own: dict[str, Any] = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": values["TELEGRAM_CHAT_ID"],
        "TELEGRAM_API_URL": bot.url,
    }
    async with harness(tmp_path, WORLD, **own) as b:
        await until(lambda: any("started" in text for text in bot.texts))
        assert b.said("environment_not_heeded") == 0
        findings = await on_alerts(b.settings())
        assert [(each.level, "-4001" in each.text) for each in findings] == [(Level.OK, True)]
    assert not used(listener)


async def test_telegram_supergroup(tmp_path: Path, bot: FakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    """C: Telegram answers with the chat's new number; this message and later ones go there, also after a restart."""
    body = (HERE / "telegram-supergroup.json").read_bytes()
    bot.chats = {"-1000000004001"}
    answer = bot._send

    def moved(params: dict[str, Any], photo: bytes | None) -> Any:
        if str(params.get("chat_id")) == "-4001":
            return web.Response(status=400, body=body, content_type="application/json")
        return answer(params, photo)

    monkeypatch.setattr(bot, "_send", moved)
    own: dict[str, Any] = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": "-4001",
        "TELEGRAM_API_URL": bot.url,
    }
    async with harness(tmp_path, WORLD, **own) as b:
        await until(lambda: any("started" in text for text in bot.texts))
        await b.restart(**own)
        await b.command(Verb.PAUSE)
        await until(lambda: any("paused" in text for text in bot.texts))
    assert {said["chat_id"] for said in bot.said} == {"-1000000004001"}
    asked = [params["chat_id"] for method, params in bot.calls if method == "sendMessage"]
    assert [str(each) for each in asked].count("-4001") == 1


async def test_https_proxy_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    """C.3: log and doctor say that the proxy is not used for the exchange, and what to do; no request goes there."""
    assert case("https-proxy-ignored").env.keys() == {"HTTPS_PROXY", "HTTP_PROXY"}
    set_proxies(monkeypatch, **dict.fromkeys(case("https-proxy-ignored").env, address(listener)))
    async with trading(tmp_path, "https-proxy-ignored") as b:
        await opened(b, "key-refused-told")
        (told,) = [line["text"] for line in b.log if line["event"] == "environment_not_heeded"]
        assert "HTTP_PROXY is 'http://***@127.0.0.1:" in told
        assert "not used for the exchange" in told
        assert "hunter2" not in told
        (found,) = [each for each in await on_alerts(b.settings()) if each.name == "proxy"]
        assert (found.level, found.text) == (Level.WARN, told)
    assert not used(listener)
    live = load_settings(
        {"BINANCE_ENV": "testnet", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s", "SYMBOL": "BTCUSDT"}, None
    )
    (remark, *_) = [each for each in await on_alerts(live) if each.name == "proxy"]
    assert remark.text.startswith("HTTPS_PROXY is ")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_every_case_has_a_test_of_its_name() -> None:
    cases = {path.stem for path in HERE.iterdir() if path.suffix in {".json", ".jsonl", ".txt", ".http", ".env"}}
    tests = {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(cases) == 20
    assert {each for each in cases if f"test_{each.replace('-', '_')}" not in tests} == set()
