"""Sets the processes of a scenario up, lets it play, and takes them down."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.scenario import KEY, SECRET, Place, Result, Scenario
from executor.paper.server import Urls

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Failed(RuntimeError):  # noqa: N818  # names what the scenario did
    """A scenario did not come to its end; the text holds what its processes said."""


async def play(scenario: Scenario) -> Result:
    """Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="executor-bench-", dir=_folder()) as folder:
        async with contextlib.AsyncExitStack() as stack:
            place = Place(folder)
            venue = await stack.enter_async_context(_process("bench.venue", scenario, place, folder))
            urls = msgspec.json.decode(await _line(venue, folder), type=Urls)
            urls = await _delayed(urls, scenario, stack, folder)
            place = Place(folder, urls.base_url, urls.ws_api_url, urls.stream_url)

            async def start() -> Process:
                return await stack.enter_async_context(_subject(scenario, place, folder))

            return await _watch(venue, start, folder)


def _folder() -> str:
    """On the disk of the working folder, where a state file would be; /tmp may be memory."""
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    return str(folder)


async def _watch(venue: Process, start: Callable[[], Awaitable[Process]], folder: str) -> Result:
    """`start`: of the subject; anew where the venue has asked for its end."""
    usage: dict[str, float] = {}
    subject = await start()
    while True:
        line = await _line(venue, folder)
        word, _, rest = line.partition(b" ")
        if word == b"observe":
            usage = await _usage(subject.pid, float(rest))
        elif line == b"kill\n":
            subject.kill()
            await subject.wait()
        elif line == b"start\n":
            subject = await start()
        elif line.startswith(b"{"):
            result = msgspec.json.decode(line, type=Result)
            result.counts |= usage
            return result


async def _usage(pid: int, seconds: float) -> dict[str, float]:
    before = _cpu(pid)
    await asyncio.sleep(seconds)
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE  # noqa: ASYNC240  # the kernel's own
    return {"memory MB": resident / 1e6, "cpu %": (_cpu(pid) - before) / seconds * 100}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def _delayed(urls: Urls, scenario: Scenario, stack: contextlib.AsyncExitStack, folder: str) -> Urls:
    if not scenario.delay_ms:
        return urls
    host, _, port = urls.stream_url.removeprefix("ws://").partition(":")
    arguments = [sys.executable, "-m", "bench.proxy", host, port, str(scenario.delay_ms)]
    proxy = await stack.enter_async_context(_spawn(arguments, dict(os.environ), folder, "proxy"))
    near = (await _line(proxy, folder)).decode().strip()
    rest, ws_api, stream = (
        url.replace(f":{port}", f":{near}") for url in (urls.rest_url, urls.ws_api_url, urls.stream_url)
    )
    return Urls(rest, ws_api, stream)


def _subject(scenario: Scenario, place: Place, folder: str) -> contextlib.AbstractAsyncContextManager[Process]:
    if scenario.floor:
        return _process("bench.floor", scenario, place, folder)
    environ = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH"}}
    environ |= {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": place.rest_url,
        "BINANCE_WS_API_URL": place.ws_api_url,
        "BINANCE_STREAM_URL": place.stream_url,
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": SECRET,
        "STATE_FN": f"{folder}/{{symbol}}.json",
        "SIGNAL_FILE": place.signals,
        "EXIT_LAYOUT": scenario.layout,
        "COOLDOWN_SEC": "0",
        "COOLDOWN_ABORT_SEC": "0",
        "LOCK_SEC": "0",
        "LIVE_ENTRY_TIMEOUT_SEC": "60",
        "LOG_FORMAT": "json",
        "HTTP_PORT": "0",
        "ORDER_TRANSPORT": scenario.transport,
        **({"SYMBOLS": ",".join(scenario.symbols)} if len(scenario.symbols) > 1 else {"SYMBOL": scenario.symbols[0]}),
        **({"TRADE_MODE": "margin", "MARGIN_ISOLATED": "true"} if scenario.margin else {}),
        **scenario.settings,
    }
    arguments = [sys.executable, "-m", "bench.subject", msgspec.json.encode(place).decode()]
    return _spawn(arguments, environ, folder, "subject")


def _process(
    module: str, scenario: Scenario, place: Place, folder: str
) -> contextlib.AbstractAsyncContextManager[Process]:
    arguments = [sys.executable, "-m", module, *(msgspec.json.encode(part).decode() for part in (scenario, place))]
    return _spawn(arguments, dict(os.environ), folder, module.rpartition(".")[2])


@contextlib.asynccontextmanager
async def _spawn(arguments: list[str], environ: dict[str, str], folder: str, name: str) -> AsyncIterator[Process]:
    with Path(folder, f"{name}.log").open("wb") as log:  # noqa: ASYNC230  # nothing else runs yet
        process = await asyncio.create_subprocess_exec(
            *arguments, stdout=PIPE if name in {"venue", "proxy"} else log, stderr=log, env=environ, limit=1 << 28
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _line(process: Process, folder: str) -> bytes:
    assert process.stdout is not None  # a pipe, by construction
    line = await process.stdout.readline()
    if not line:
        raise Failed(f"a process ended too early:\n{said(Path(folder))}")
    return line


def said(folder: Path) -> str:
    return "\n".join(
        f"--- {log.name}\n{log.read_text('utf-8', 'replace')[-3000:]}" for log in sorted(folder.glob("*.log"))
    )
