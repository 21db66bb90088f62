"""A fleet of real nodes on this machine: what an account costs in memory, and how long a trade has no owner.

The nodes are `executor run`, as users run it; the paper exchange is in this process, three members of etcd beside it.
"""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from bench.processes import PAGE, Failed, said
from bench.scenario import now_us
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import PaperServer
from executor.paper.server.limits import Limits
from executor.paper.server.signing import Credential, HmacSecret
from executor.service.store.etcd import Etcd
from executor.service.store.fleet_keys import Keys

SYMBOL: Final = "LTCUSDT"
PRICE: Final = Decimal(100)
LIMITS: Final = Limits(request_weight_per_minute=1_000_000)
LOOK_S: Final = 0.005
PATIENCE_S: Final = 90.0
SETTLE_S: Final = 10.0
"""Between the last account's start and the look at the memory."""
KNOWN_S: Final = 2.0
"""A node that has come back is known to the others, and has found its exchange, so long after its key is there."""


class Node:
    """`executor run`, as one node."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def memory_mb(self) -> float:
        """What is resident of it."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 1e6

    @property
    def ready(self) -> list[str]:
        """The accounts whose orders it has looked up, as often as it has."""
        lines = self._log.read_text().splitlines()
        return [json.loads(line)["account"] for line in lines if '"event":"ready"' in line.replace(" ", "")]


class Fleet:
    """So many `accounts` with nothing in common but the market."""

    def __init__(
        self, folder: Path, fleet: str, endpoints: Sequence[str], accounts: int, *, name: str = "bench", ttl_s: int = 5
    ) -> None:
        self.names = [f"a{number:03d}" for number in range(accounts)]
        self.keys = Keys(name)
        self.etcd = Etcd(endpoints, call_s=10.0)
        self._folder = folder
        self._nodes: dict[str, Node] = {}
        self._started = self._signals = 0
        rows = [row for row in bundled_exchange_info()["symbols"] if row["symbol"] == SYMBOL]
        self._clock = WallClock()
        self._engine = Engine([Symbol.from_exchange_info(row) for row in rows], rate_limits=LIMITS.announce())
        for account in self.names:
            self._engine.open_account(account, {"USDT": Decimal(10_000)})
        keys = {name: Credential(name, HmacSecret(name)) for name in self.names}
        self._server = PaperServer(self._engine, self._clock, keys, limits=LIMITS)
        self._settings = {"FLEET": fleet, "FLEET_NAME": name, "FLEET_TTL_SEC": str(ttl_s)}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Fleet"]:
        urls = await self._server.start()
        accounts = self._folder / "accounts"
        accounts.mkdir()
        for name in self.names:
            path = accounts / f"{name}.env"
            path.write_text(f"BINANCE_API_KEY={name}\nBINANCE_API_SECRET={name}\nSYMBOL={SYMBOL}\n")
            path.chmod(0o600)
        self._settings |= {
            "BINANCE_ENV": "custom",
            "BINANCE_REST_URL": urls.base_url,
            "BINANCE_WS_API_URL": urls.ws_api_url,
            "BINANCE_STREAM_URL": urls.stream_url,
            "ACCOUNTS": str(accounts),
            "RECV_WINDOW": "2500",
            "QTY": "1.001",
            "ENTRY_MODE": "MARKET_ONLY",
            "HTTP_PORT": "0",
            "LOG_FORMAT": "json",
        }
        now = self._clock.now_ms()
        self._engine.on_trade(SYMBOL, 1, PRICE, Decimal(100_000), False, now)
        self._server.on_trade(
            SYMBOL, MarketTrade(trade_id=1, price=PRICE, qty=Decimal(100_000), buyer_is_maker=False, time=now)
        )
        try:
            yield self
        finally:
            for node in self._nodes.values():
                await self.kill(node)
            await self.etcd.close()
            await self._server.stop()

    async def start(self, name: str) -> Node:
        self._started += 1
        place = self._folder / name
        place.mkdir(exist_ok=True)
        environ = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "PYTHONPATH"}}
        environ |= self._settings | {
            "FLEET_NODE": name,
            "STATE_FN": str(place / "{account}" / "{symbol}.json"),
            "SIGNAL_FILE": str(place / "signals.jsonl"),
        }
        log = self._folder / f"{name}-{self._started}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "executor", "run"), stdout=output, stderr=output, env=environ
            )
        self._nodes[name] = Node(process, log)
        return self._nodes[name]

    async def kill(self, node: Node) -> None:
        if node.process.returncode is None:
            node.process.kill()
        await node.process.wait()

    async def until(self, there: Callable[[], bool]) -> None:
        """Raises Failed with what the nodes said."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not there():  # noqa: ASYNC110  # logs tell nobody
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise Failed(f"not in {PATIENCE_S:.0f} s:\n{said(self._folder)}") from None

    async def open_trades(self, node: str) -> None:
        """One in each account."""
        self._signals += 1
        signal = {
            "ts": self._clock.now_ms(),
            "id": f"s{self._signals}",
            "symbol": SYMBOL,
            "side": "long",
            "price": str(PRICE),
            "stop": str(PRICE - 1),
        }
        with (self._folder / node / "signals.jsonl").open("a") as file:
            file.write(json.dumps(signal) + "\n")
        await self.until(lambda: all(len(self._engine.open_orders(name, SYMBOL)) == 5 for name in self.names))

    async def owner(self, account: str) -> str:
        """Raises Failed where nobody owns it."""
        found = await self.etcd.read(self.keys.owner(account))
        if found is None:
            raise Failed(f"nobody owns {account}:\n{said(self._folder)}")
        return found.text

    async def known(self, name: str) -> None:
        """Return when a node that was started is one of the fleet."""
        while await self.etcd.read(self.keys.node(name)) is None:  # noqa: ASYNC110  # one look is enough, now and then
            await asyncio.sleep(0.1)
        await asyncio.sleep(KNOWN_S)


async def memory(folder: Path, fleet: str, endpoints: Sequence[str], accounts: int, name: str) -> tuple[float, float]:
    """MB of a node that has so many accounts: flat, and with a trade open in each."""
    async with Fleet(folder, fleet, endpoints, accounts, name=name).serving() as world:
        node = await world.start("n1")
        await world.until(lambda: len(node.ready) == accounts)
        await asyncio.sleep(SETTLE_S)
        flat = node.memory_mb
        await world.open_trades("n1")
        await asyncio.sleep(SETTLE_S)
        return flat, node.memory_mb


async def takeovers(
    folder: Path, fleet: str, endpoints: Sequence[str], rounds: int, accounts: int, ttl_s: int
) -> list[float]:
    """Microseconds from the kill of an owner until another node has looked up the orders of its trades, each."""
    taken: list[float] = []
    async with Fleet(folder, fleet, endpoints, accounts, ttl_s=ttl_s).serving() as world:
        nodes = {name: await world.start(name) for name in ("n1", "n2")}
        await world.until(lambda: sum(len(node.ready) for node in nodes.values()) == accounts)
        await world.open_trades("n1")
        for _ in range(rounds):
            owned: dict[str, set[str]] = {name: set() for name in nodes}
            for account in world.names:
                owned[await world.owner(account)].add(account)
            victim = max(owned, key=lambda name: len(owned[name]))
            (heir,) = (node for name, node in nodes.items() if name != victim)
            taken += await _taken(world, nodes[victim], heir, owned[victim])
            nodes[victim] = await world.start(victim)
            await world.known(victim)
    return taken


async def _taken(world: Fleet, victim: Node, heir: Node, accounts: set[str]) -> list[float]:
    times: dict[str, float] = {}
    before = len(heir.ready)
    began = now_us()

    def all_there() -> bool:
        for account in heir.ready[before:]:
            times.setdefault(account, now_us() - began)
        return accounts <= times.keys()

    await world.kill(victim)
    await world.until(all_there)
    return [times[account] for account in accounts]
