"""An etcd cluster on loopback, for tests and measurements."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp

from tools.etcd import program
from tools.ports import free_port

START_S: Final = 30.0


class Node:
    """One member; its process may be killed, suspended and started again on the data that it has."""

    def __init__(self, name: str, folder: Path, client: int, peer: int) -> None:
        self.name = name
        self.folder = folder / name
        self.client = f"http://127.0.0.1:{client}"
        self.peer = f"http://127.0.0.1:{peer}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, cluster: str) -> None:
        words = {
            "name": self.name,
            "data-dir": str(self.folder),
            "listen-client-urls": self.client,
            "advertise-client-urls": self.client,
            "listen-peer-urls": self.peer,
            "initial-advertise-peer-urls": self.peer,
            "initial-cluster": cluster,
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "log-level": "error",
        }
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                program(),
                *(f"--{name}={value}" for name, value in words.items()),
                env={"PATH": os.environ.get("PATH", ""), "ETCD_UNSUPPORTED_ARCH": "arm64"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        await self.process.wait()


class Cluster:
    """`count` members with their data below `folder`."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        self.nodes = [Node(f"e{n}", folder, free_port(), free_port()) for n in range(count)]
        self.initial = ",".join(f"{node.name}={node.peer}" for node in self.nodes)

    @property
    def endpoints(self) -> list[str]:
        return [node.client for node in self.nodes]

    @property
    def setting(self) -> str:
        """As FLEET names it."""
        return "etcd://" + ",".join(url.removeprefix("http://") for url in self.endpoints)

    async def start(self) -> None:
        for node in self.nodes:
            await node.start(self.initial)
        await self.wait_until_up()

    async def wait_until_up(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(START_S):
            for node in self.nodes:
                while not await _healthy(session, node.client):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def stop(self) -> None:
        for node in self.nodes:
            if node.process is not None and node.process.returncode is None:
                await node.kill()


async def _healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health", timeout=aiohttp.ClientTimeout(total=1)) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


@asynccontextmanager
async def running(folder: Path, count: int = 1) -> AsyncIterator[Cluster]:
    cluster = Cluster(folder, count)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
