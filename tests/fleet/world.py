"""A fleet on this machine: etcd, a paper exchange with several accounts in this process, and nodes as real processes.

What must hold is read from the exchange's own books.
"""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.crash import exchange_books
from tests.crash.daemon import BRISK, Daemon, ForkServer
from tests.crash.wire_faults import RECV_WINDOW_MS, WireFaults
from tests.fleet.cluster import Cluster
from tests.fleet.links import Gate, Link
from tools.ports import free_port

from executor.core.model.values import Direction
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import Credential, HmacSecret, Limits, PaperServer
from executor.service.store.etcd import Etcd
from executor.service.store.fleet_keys import Keys

SYMBOL: Final = "LTCUSDT"
ENTRY: Final = Decimal(100)
LIMITS: Final = Limits(request_weight_per_minute=1_000_000)
TICK_S: Final = 0.02
STRIDE: Final = Decimal("0.08")
TTL_S: Final = 2
PATIENCE_S: Final = 10.0
"""What looks on has time: the nodes' own calls are as quick as ever."""


class Network:
    """What one node speaks through: a link to each member of etcd, and one to the exchange."""

    def __init__(self, store: list[Link], exchange: Link) -> None:
        self.store = store
        self.exchange = exchange

    def mend(self) -> None:
        for link in (*self.store, self.exchange):
            link.mend()


class FleetWorld:
    """`accounts` on one exchange; nodes are started by name. `proxied`: each speaks through links of its own."""

    def __init__(
        self, folder: Path, cluster: Cluster, accounts: tuple[str, ...], *, seed: int = 1, proxied: bool = False
    ) -> None:
        self.folder = folder
        self.cluster = cluster
        self.accounts = accounts
        self.rng = random.Random(seed)
        self.wire_faults = WireFaults(random.Random(seed + 1))
        self.clock = WallClock()
        rows = bundled_exchange_info()["symbols"]
        self.engine = Engine([Symbol.from_exchange_info(row) for row in rows], rate_limits=LIMITS.announce())
        for name in accounts:
            self.engine.open_account(name, {"USDT": Decimal(10_000), "LTC": Decimal(10)})
        keys = {name: Credential(name, HmacSecret(name)) for name in accounts}
        self.server = PaperServer(self.engine, self.clock, keys, limits=LIMITS, faults=self.wire_faults)
        self.keys = Keys("test")
        self.etcd = Etcd(cluster.endpoints, call_s=PATIENCE_S)
        self.nodes: dict[str, Daemon] = {}
        self.webhooks: dict[str, int] = {}
        self.networks: dict[str, Network] = {}
        self.started = 0
        self._own: dict[str, dict[str, str]] = {}
        self._gate = Gate(lambda: {node.pid: self.networks[name].exchange for name, node in self.nodes.items()})
        self._proxied = proxied
        self._price = ENTRY
        self._falling = False
        self._trade_id = 0
        self._signals = 0
        self._fork_server: ForkServer | None = None
        self._urls: dict[str, str] = {}

    @asynccontextmanager
    async def serving(self, **settings: str) -> AsyncIterator["FleetWorld"]:
        urls = await self.server.start()
        accounts = self.folder / "accounts"
        accounts.mkdir(exist_ok=True)
        for name in self.accounts:
            file = accounts / f"{name}.env"
            file.write_text(f"BINANCE_API_KEY={name}\nBINANCE_API_SECRET={name}\nSYMBOL={SYMBOL}\n")
            file.chmod(0o600)
        self._urls = {
            **BRISK,
            "BINANCE_ENV": "custom",
            "BINANCE_REST_URL": urls.base_url,
            "BINANCE_WS_API_URL": urls.ws_api_url,
            "BINANCE_STREAM_URL": urls.stream_url,
            "ACCOUNTS": str(accounts),
            "FLEET": self.cluster.setting,
            "FLEET_NAME": "test",
            "FLEET_TTL_SEC": str(TTL_S),
            "QTY": "3",
            "RECV_WINDOW": str(RECV_WINDOW_MS),
            "LIVE_ENTRY_TIMEOUT_SEC": "10",
            **settings,
        }
        self.touch(ENTRY)
        try:
            async with ForkServer() as self._fork_server:
                yield self
                for daemon in self.nodes.values():
                    daemon.send(signal.SIGCONT)
                    daemon.send(signal.SIGKILL)
        finally:
            await self.etcd.close()
            await self.server.stop()
            for network in self.networks.values():
                for link in (*network.store, network.exchange):
                    await link.stop()
            if self._gate.port:
                await self._gate.stop()

    # --- nodes ----------------------------------------------------------------------------------------------------

    async def start(self, name: str, **settings: str) -> Daemon:
        """`settings` are the node's own, and hold for its later starts as well."""
        settings = self._own.setdefault(name, settings) | settings
        assert self._fork_server is not None
        self.started += 1
        (self.folder / name).mkdir(exist_ok=True)
        self.webhooks.setdefault(name, free_port())
        environ = self.environ(name) | await self._wired(name) | settings
        daemon = await self._fork_server.start(environ, self.folder / f"{name}-{self.started:03d}.log")
        self.nodes[name] = daemon
        return daemon

    def environ(self, name: str) -> dict[str, str]:
        """The settings of the machine `name`."""
        place = self.folder / name
        return {
            **self._urls,
            "FLEET_NODE": name,
            "STATE_FN": str(place / "{account}" / "{symbol}.json"),
            "SIGNAL_FILE": str(place / "signals.jsonl"),
            "WEBHOOK_PORT": str(self.webhooks.get(name, 0)),
            "WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
        }

    async def _wired(self, name: str) -> dict[str, str]:
        """The settings that lead a node through its own links."""
        if not self._proxied:
            return {}
        server = urlsplit(self._urls["BINANCE_REST_URL"]).netloc
        if not self._gate.port:
            await self._gate.start()
        if name not in self.networks:
            links = [Link(*_place(urlsplit(url).netloc)) for url in self.cluster.endpoints]
            self.networks[name] = Network(links, Link(*_place(server)))
            for link in links:
                await link.start()
        urls = ("BINANCE_REST_URL", "BINANCE_WS_API_URL", "BINANCE_STREAM_URL")
        through = f"127.0.0.1:{self._gate.port}"
        return {
            "FLEET": "etcd://" + ",".join(f"127.0.0.1:{link.port}" for link in self.networks[name].store),
            **{url: self._urls[url].replace(server, through) for url in urls},
        }

    async def owner(self, account: str) -> tuple[str, int]:
        """Who owns it, and the epoch; nobody: empty and 0."""
        found = await self.etcd.read(self.keys.owner(account))
        return (found.value.decode(), found.created) if found is not None else ("", 0)

    async def owned(self, *accounts: str, by: Callable[[str], bool] = lambda _: True, within: float = 60.0) -> None:
        """Return when each of the accounts, or of all, is owned by such a node."""
        async with asyncio.timeout(within):
            for account in accounts or self.accounts:
                while True:
                    name, _ = await self.owner(account)
                    if name and by(name):
                        break
                    await asyncio.sleep(0.02)

    async def trading(self, *accounts: str, within: float = 90.0) -> None:
        """Return when each of the accounts (all, where none is named) is traded: its owner has looked its orders up."""
        async with asyncio.timeout(within):
            for account in accounts or self.accounts:
                while not self._traded(account, *await self.owner(account)):  # noqa: ASYNC110  # logs tell nobody
                    await asyncio.sleep(0.05)

    def _traded(self, account: str, node: str, epoch: int) -> bool:
        if node not in self.nodes:
            return False
        mine = [line for line in self.nodes[node].lines() if line.get("account") == account]
        begun = next(
            (n for n, line in enumerate(mine) if (line["event"], line.get("epoch")) == ("claimed", epoch)), None
        )
        return begun is not None and any(line["event"] == "ready" for line in mine[begun:])

    @property
    def price(self) -> Decimal:
        return self._price

    # --- the market -----------------------------------------------------------------------------------------------

    def touch(self, price: Decimal, qty: Decimal = Decimal(100_000)) -> None:
        if price != self._price:
            self._falling = price < self._price
        self._price = price
        self._trade_id += 1
        now = self.clock.now_ms()
        self.engine.on_trade(SYMBOL, self._trade_id, price, qty, self._falling, now)
        self.server.on_trade(
            SYMBOL, MarketTrade(trade_id=self._trade_id, price=price, qty=qty, buyer_is_maker=self._falling, time=now)
        )

    async def lead(self, level: str, side: Direction = Direction.LONG) -> None:
        """Walk to so many R from the entry."""
        goal = ENTRY + side.sign * Decimal(level)
        while self._price != goal:
            left = goal - self._price
            stride = min(abs(left), STRIDE)
            self.touch(self._price + (stride if left > 0 else -stride))
            await asyncio.sleep(TICK_S)

    def line(self, side: Direction = Direction.LONG, **more: str) -> bytes:
        """A fresh signal."""
        self._signals += 1
        values = {
            "ts": self.clock.now_ms(),
            "id": f"s{self._signals}",
            "symbol": SYMBOL,
            "side": str(side),
            "price": str(ENTRY),
            "stop": str(ENTRY - side.sign),
            "targets": [str(ENTRY + side.sign), str(ENTRY + 2 * side.sign)],
            **more,
        }
        return json.dumps(values).encode()

    def say(self, node: str, line: bytes) -> None:
        """Write it into a node's signal file."""
        with (self.folder / node / "signals.jsonl").open("ab") as file:
            file.write(line + b"\n")

    # --- the books ------------------------------------------------------------------------------------------------

    def open_ids(self, account: str) -> list[str]:
        return sorted(o.client_order_id for o in self.engine.open_orders(account, SYMBOL))

    def books(self, account: str) -> exchange_books.Books:
        return exchange_books.read(self.engine, account, SYMBOL, self.clock.now_ms())

    async def until(self, condition: Callable[[], bool], within: float = 90.0) -> None:
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(TICK_S)

    def faults(self, *, over: bool = True) -> list[str]:
        """What is wrong by the exchange's books. `over`: all trades have ended."""
        found = []
        for account in self.accounts:
            books = self.books(account)
            if books.twice:
                found.append(f"{account}: ids used twice: {books.twice}")
            found += [
                f"{account}: trade {t.trade} left more than it held: {t.lowest}" for t in books.trades if t.lowest < 0
            ]
            if over and (left := self.open_ids(account)):
                found.append(f"{account}: left behind: {left}")
            entries = [t for t in books.trades if t.fills]
            if len(entries) > self._signals:
                found.append(f"{account}: {len(entries)} trades of {self._signals} signals")
        return found

    async def settle(self, within: float = 90.0) -> None:
        """The market to and fro until nothing of any trade stands."""
        async with asyncio.timeout(within):
            while any(self.open_ids(account) for account in self.accounts):
                for level in ("0", "-1.2", "-1.6", "1", "2.2"):
                    await self.lead(level)
                    await asyncio.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def _place(netloc: str) -> tuple[str, int]:
    host, _, port = netloc.rpartition(":")
    return host, int(port)
