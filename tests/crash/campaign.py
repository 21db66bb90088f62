"""A campaign: the real daemon trades on a paper exchange in this process, is killed and started again, over and over.

Trades are short: a script leads the price from one level to the next, some in jumps. Levels are told in multiples of R
from the entry, towards profit. What must hold is read from the exchange's own books after every life and at the end;
the daemon's files are only asked whether they can be started from, and whether they tell the same.
"""

import asyncio
import contextlib
import json
import random
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
from tests.crash import exchange_books
from tests.crash.daemon import BRISK, Daemon, ForkServer, spawn
from tests.crash.log_reader import LogReader, Reading, ReadyLine
from tests.crash.observers import Watcher, Watchers
from tests.crash.report import Life, Nap, Report
from tests.crash.wire_faults import RECV_WINDOW_MS, Deck, Moment, WireFaults

from executor.cli import exits
from executor.core.model import ids
from executor.core.model.state import SCHEMA_VERSION, Closed, State
from executor.core.model.values import ZERO, Direction
from executor.exchange.transport.connection import READ_ATTEMPTS
from executor.paper.engine.choices import ExchangeChoices, all_choices, read_choices
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import Credential, HmacSecret, Limits, PaperServer
from executor.service.store.document import Document, contradiction, state_of
from executor.service.store.state_store import StateStore
from executor.service.store.trades import read_trades

SYMBOL: Final = "LTCUSDT"
ACCOUNT: Final = "paper"
KEY: Final = "paper"
ENTRY: Final = Decimal(100)
QTY: Final = Decimal(3)
R: Final = Decimal(1)
TICK_S: Final = 0.02
STRIDE: Final = Decimal("0.08")
"""Multiples of R that the price goes with each tick of the market."""
TRADE_MAX_S: Final = 60.0
CALM_S: Final = 40.0
LIFE_MAX_S: Final = 8.0
BARE_UP_MAX_MS: Final = 3_000
"""How long a running daemon may take for a stop: a doubt settled (recvWindow and DOUBT_SETTLE_SEC, so 2.5 s) and a
refusal. As long again for each life that begins meanwhile, and for each request or answer that is lost."""
NAPS_MS: Final = (RECV_WINDOW_MS // 4, RECV_WINDOW_MS, 3 * RECV_WINDOW_MS)
CHOICES_DRAWN: Final = 0.4
"""How often each choice that the documents leave open is drawn for a life; else it is the likely one."""
READ_BADLY: Final = 0.5
"""Of the lives under faults, those whose log is not simply written to a file."""
WATCHED_BADLY: Final = 0.4
"""Those of them that a bad Telegram watches, or a page that takes nothing."""
BALANCES: Final = {"USDT": Decimal(10_000), "LTC": Decimal(10)}
LIMITS: Final = Limits(request_weight_per_minute=100_000)
"""Starts are heavy, and here there are more in a minute than in a year."""

SCRIPTS: Final[tuple[tuple[str, ...], ...]] = (
    ("0", "1.1", "2.1", "2.8", "2.2"),  # both targets, then the trailing stop
    ("0", "0.6", "-1.1"),  # stopped out
    ("0", "1.1", "0", "-1.1"),  # the first target, then breakeven
    ("0", "!-1.05"),  # a jump onto the stop
    ("0", "!-3"),  # a jump through its limit
    ("0", "!2.5", "1.2", "0"),  # a jump over both targets
    ("0.1", "0.2", "1.1", "2.1", "1.4"),  # entry by Plan B
    ("0", "0.9", "0.2", "2.1", "!0.5"),
)
"""Waypoints in R; `!` is a jump."""


class Campaign:
    """`folder` gets the daemon's files and logs. `kills`, `terms`: how many lives end so; `naps`: how often in each
    of them it is suspended, for anything from a blink to several recvWindows, and woken; `storm`: how often a request
    or push goes wrong while trades are stormy (every other one).
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        kills: int,
        terms: int = 0,
        naps: int = 0,
        storm: float = 0.08,
        trades: int = 0,
        spawn_every: int = 10,
        layout: str = "OCO",
        balances: Mapping[str, Decimal] = BALANCES,
    ) -> None:
        """Ends when so many lives and at least so many trades are done. Every `spawn_every`th life is started as a
        supervisor would, the others are forked; 1 for all, 0 for none.
        """
        self.folder = folder
        self.rng = random.Random(seed)
        self.report = Report(seed=seed)
        self.storm, self.layout, self.spawn_every = storm, layout, spawn_every
        self.trades_wanted = trades
        self.ends = [signal.SIGKILL] * kills + [signal.SIGTERM] * terms
        self.rng.shuffle(self.ends)
        self.wire_faults = WireFaults(random.Random(seed + 1))
        self.clock = WallClock()
        rows = bundled_exchange_info()["symbols"]
        self.engine = Engine([Symbol.from_exchange_info(row) for row in rows], rate_limits=LIMITS.announce())
        self._balances = balances
        self.account = self._open_account()
        self.start_totals = self._totals()
        keys = {KEY: Credential(ACCOUNT, HmacSecret(KEY))}
        self.server = PaperServer(self.engine, self.clock, keys, limits=LIMITS, faults=self.wire_faults)
        self.state_path = folder / "state.json"
        self.signals = folder / "signals.jsonl"
        self.lives: list[Life] = []
        self.naps: list[Nap] = []
        self._naps_each = naps
        self.written: list[str] = []
        self.environ: dict[str, str] = {}
        self._trade_id = 0
        self._price = ENTRY
        self._falling = False
        self._daemon: Daemon | None = None
        self.read_badly, self.watched_badly = READ_BADLY, WATCHED_BADLY
        self._sockets = Path()
        self._watchers = Watchers()
        self._readings = Deck(self.rng, tuple(Reading))
        self.watching = Deck(self.rng, tuple(Watcher))
        self._up = asyncio.Event()
        self._over = False
        self._born = self._met_before = 0

    def _open_account(self) -> str:
        """What the engine calls the account that is traded with."""
        self.engine.open_account(ACCOUNT, self._balances)
        return ACCOUNT

    def settings(self) -> dict[str, str]:
        """Of the daemon, besides those of every campaign."""
        return {}

    def _draw_choices(self) -> ExchangeChoices:
        """How the exchange reads what the documents leave open, for one life of the daemon; most as it likely does."""
        drawn = [
            (choice.name, self.rng.choice(choice.values))
            for choice in all_choices()
            if self.rng.random() < CHOICES_DRAWN
        ]
        for name, value in drawn:
            self.report.readings[f"{name}={value}"] = self.report.readings.get(f"{name}={value}", 0) + 1
        return read_choices(drawn)

    # --- the market -----------------------------------------------------------------------------------------------

    def touch(self, price: Decimal, qty: Decimal = Decimal(1000)) -> None:
        """One trade of the market."""
        if price != self._price:
            self._falling = price < self._price
        self._price = price
        self._trade_id += 1
        now = self.clock.now_ms()
        self.engine.on_trade(SYMBOL, self._trade_id, price, qty, self._falling, now)
        self.server.on_trade(
            SYMBOL,
            MarketTrade(trade_id=self._trade_id, price=price, qty=qty, buyer_is_maker=self._falling, time=now),
        )

    async def lead(self, side: Direction, waypoint: str) -> None:
        """Walk, or jump, to a level."""
        goal = ENTRY + side.sign * R * Decimal(waypoint.removeprefix("!"))
        if waypoint.startswith("!"):
            self.touch(goal)
            await asyncio.sleep(0.3)
            return
        while self._price != goal:
            left = goal - self._price
            stride = min(abs(left), STRIDE * R)
            thin = self.rng.random() < 0.1
            self.touch(self._price + (stride if left > 0 else -stride), Decimal("0.7" if thin else "1000"))
            await asyncio.sleep(TICK_S)

    async def trade(self) -> None:
        """One signal, and the market until what came of it is over."""
        side = self.rng.choice(list(Direction))
        self.wire_faults.storm = self.storm if len(self.written) % 2 else 0.0
        name = f"s{len(self.written) + 1}"
        self.touch(ENTRY + side.sign * R * Decimal("0.08"))
        await self._up.wait()
        self.say(side)
        await asyncio.sleep(0.35 + self.rng.random() * 0.3)
        for waypoint in self.rng.choice(SCRIPTS):
            if self.rng.random() < 0.8:
                await self._up.wait()  # else the market does not wait for a daemon that is down
            await self.lead(side, waypoint)
            await asyncio.sleep(self.rng.random() * 0.5)
        await self._end(side, name)

    def say(self, side: Direction) -> None:
        """Append the next signal to the file."""
        name = f"s{len(self.written) + 1}"
        self.written.append(name)
        values = {
            "ts": self.clock.now_ms(),
            "id": name,
            "symbol": SYMBOL,
            "side": str(side),
            "price": str(ENTRY),
            "stop": str(ENTRY - side.sign * R),
            "targets": [str(ENTRY + side.sign * R), str(ENTRY + side.sign * 2 * R)],
        }
        with self.signals.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    async def _end(self, side: Direction, name: str) -> None:
        """Lead the price to and fro until the trade is over, or call it stuck."""
        deadline = asyncio.get_running_loop().time() + TRADE_MAX_S
        for turn in range(1_000):
            if await self._settled(name):
                return
            if asyncio.get_running_loop().time() > deadline:
                self.fault(f"signal {name}: its trade does not end\n{self.story()}")
                return
            await self.lead(side, ("-1.2", "-1.5", "0", "2.2")[turn % 4])
            await asyncio.sleep(0.3)

    async def _settled(self, name: str) -> bool:
        state = self.on_disk()
        return state is not None and state.position is None and any(s.key == name for s in state.seen)

    # --- the daemon -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self, **settings: str) -> AsyncIterator[ForkServer]:
        """The exchange on its port, and a fork server of daemons that trade there with these settings."""
        urls = await self.server.start()
        self.environ = {
            "BINANCE_ENV": "custom",
            "BINANCE_REST_URL": urls.base_url,
            "BINANCE_WS_API_URL": urls.ws_api_url,
            "BINANCE_STREAM_URL": urls.stream_url,
            "BINANCE_API_KEY": KEY,
            "BINANCE_API_SECRET": KEY,
            "SYMBOL": SYMBOL,
            "STATE_FN": str(self.state_path),
            "SIGNAL_FILE": str(self.signals),
            **BRISK,
            "EXIT_LAYOUT": self.layout,
            "QTY": str(QTY),
            "RECV_WINDOW": str(RECV_WINDOW_MS),
            **self.settings(),
            **settings,
        }
        self.touch(ENTRY)
        try:
            with tempfile.TemporaryDirectory(prefix="executor-") as sockets:
                self._sockets = Path(sockets)  # a socket's path has to be short
                async with self._watchers.serving(), ForkServer() as fork_server:
                    yield fork_server
        finally:
            await self.server.stop()

    async def run(self) -> Report:
        began = asyncio.get_running_loop().time()
        async with self.serving() as fork_server:
            market = asyncio.create_task(self._trades())
            try:
                await self._live(fork_server, market)
            finally:
                market.cancel()
                await asyncio.gather(market, return_exceptions=True)
                if self._daemon is not None:
                    self._daemon.send(signal.SIGKILL)
        self.report.seconds = asyncio.get_running_loop().time() - began
        return self.report

    async def _trades(self) -> None:
        while not self._over or len(self.written) < self.trades_wanted:
            await self.trade()

    async def _live(self, fork_server: ForkServer, market: asyncio.Task[None]) -> None:
        for end in self.ends:
            await self._one_life(fork_server, end)
        self._over = True
        daemon, began = await self.start(fork_server)
        self.wire_faults.forget_death()
        if await self._comes_up(daemon):
            began = self._is_up(began)
            self._up.set()
            async with asyncio.timeout(TRADE_MAX_S + self.trades_wanted * TRADE_MAX_S):
                await market
            self.wire_faults.storm = 0.0
            await self._calm()
        daemon.send(signal.SIGTERM)
        if await daemon.end() != 0:
            self.fault(f"SIGTERM at rest: {daemon.log.name} ended otherwise\n{daemon.traceback()}")
        self._note(daemon, began, "end")
        self._audit_end()

    async def start(
        self, fork_server: ForkServer, reading: Reading | None = None, watcher: Watcher | None = None
    ) -> tuple[Daemon, Life]:
        """`reading`, `watcher`: how its log is read, and who watches it, where that is to be badly."""
        self._born += 1
        self._met_before = sum(self.wire_faults.faults.values())
        number = self._born
        log = self.folder / f"life-{number:04d}.log"
        environ, log_reader, ready_line = {**self.environ, **await self._watchers.watch(watcher)}, None, None
        if reading is not None:
            log_reader, ready_line = LogReader(self.rng, reading, log), ReadyLine(self._sockets / str(number))
            environ.update(ready_line.environ)
            _count(self.report.log_readers, reading)
        spawned = bool(self.spawn_every) and number % self.spawn_every == 0
        began = self.clock.now_ms()
        path = log if log_reader is None else log_reader.path
        daemon = await (spawn(environ, path) if spawned else fork_server.start(environ, path))
        daemon.log, daemon.log_reader, daemon.ready_line = log, log_reader, ready_line
        self._daemon = daemon
        return daemon, Life(moment="", began=began, ready=0, ended=0, spawned=spawned)

    async def _one_life(self, fork_server: ForkServer, end: signal.Signals) -> None:
        struck: asyncio.Future[Moment] = asyncio.get_running_loop().create_future()
        reading = self._readings.draw() if self.storm and self.rng.random() < self.read_badly else None
        watcher = self.watching.draw() if self.storm and self.rng.random() < self.watched_badly else None
        daemon, life = await self.start(fork_server, reading, watcher)

        def strike(moment: Moment) -> None:
            if not struck.done():
                daemon.send(end)
                struck.set_result(moment)

        if self.storm:
            self.engine.choices = self._draw_choices()
        early = self.rng.random() < 0.15
        if early:
            self.wire_faults.plan_death(strike, started=False)
        up = False
        if not struck.done():
            up = await self._comes_up(daemon)
        if up:
            life = self._is_up(life)
            self._up.set()
            await self._nod_off(daemon, struck)
            if not struck.done():
                self.wire_faults.plan_death(strike, started=True)
            await asyncio.wait({struck}, timeout=LIFE_MAX_S)
        self.wire_faults.forget_death()
        strike(Moment.ANY)
        self._up.clear()
        phase = self._phase()
        code = await self._end_of(daemon)
        self._check_end(daemon, end, code, up)
        moment = str(struck.result())
        self._note(daemon, life, moment)
        if end is signal.SIGKILL:
            self.report.kills += 1
        else:
            self.report.terms += 1
        _count(self.report.deaths, moment)
        _count(self.report.phases, phase)
        self._audit_now()
        if self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.random() * 0.5)

    async def _end_of(self, daemon: Daemon) -> int:
        try:
            return await daemon.end()
        except TimeoutError:
            self.fault(f"{daemon.log.name} does not end\n{self.story()}")
            daemon.send(signal.SIGKILL)
            return await daemon.end()

    async def _nod_off(self, daemon: Daemon, struck: asyncio.Future[Moment]) -> None:
        for _ in range(self._naps_each):
            if not struck.done():
                await self._nap(daemon)

    async def _nap(self, daemon: Daemon) -> None:
        """Suspend the daemon in the middle of something, and wake it."""
        struck: asyncio.Future[Moment] = asyncio.get_running_loop().create_future()

        def strike(moment: Moment) -> None:
            if not struck.done():
                daemon.send(signal.SIGSTOP)
                struck.set_result(moment)

        self.wire_faults.plan_death(strike, started=True)
        await asyncio.wait({struck}, timeout=LIFE_MAX_S)
        self.wire_faults.forget_death()
        strike(Moment.ANY)
        since = self.clock.now_ms()
        await asyncio.sleep(self.rng.choice(NAPS_MS) * self.rng.uniform(0.5, 1.0) / 1000)
        daemon.send(signal.SIGCONT)
        self.naps.append(Nap(since, self.clock.now_ms()))
        self.report.naps += 1
        _count(self.report.deaths, f"suspended: {struck.result()}")

    async def _comes_up(self, daemon: Daemon) -> bool:
        try:
            return await daemon.ready()
        except TimeoutError:
            self.fault(f"{daemon.log.name}: neither up nor down\n{self.story()}")
            return False

    def _is_up(self, life: Life) -> Life:
        now = self.clock.now_ms()
        kind = "python -m executor run" if life.spawned else "forked"
        self.report.start_ms.setdefault(kind, []).append(now - life.began)
        return msgspec.structs.replace(life, ready=now)

    def _note(self, daemon: Daemon, life: Life, moment: str) -> None:
        self.lives.append(msgspec.structs.replace(life, moment=moment, ended=self.clock.now_ms()))
        for line in daemon.lines():
            if line.get("alert"):
                _count(self.report.alerts, line["event"])
            if line["event"] in ("invariant_broken", "not_rebuilt"):
                self.fault(f"{daemon.log.name}: {line}")

    def _partly_at_its_target(self) -> bool:
        standing = self.engine.open_orders(self.account, SYMBOL)
        named = [(order, ids.parse(order.client_order_id)) for order in standing]
        return any(order.executed_qty and name is not None and name.role in ids.TARGETS for order, name in named)

    def _check_end(self, daemon: Daemon, end: signal.Signals, code: int, up: bool) -> None:
        if daemon.traceback():
            self.fault(f"{daemon.log.name}: {daemon.traceback()}")
        expected = {-signal.SIGKILL} if end is signal.SIGKILL else {0, -signal.SIGTERM}
        hit = sum(self.wire_faults.faults.values()) - self._met_before
        unheard = daemon.loses_words and not up and hit >= READ_ATTEMPTS
        if code == exits.FAILED and ("can't be reached" in daemon.output() or unheard):
            return  # the storm hit every try of its start: it says so and leaves the next one to its supervisor
        said_bare = "stopped_bare" in daemon.output() or daemon.loses_words
        if code == exits.FAILED and self._partly_at_its_target() and said_bare:
            return  # the exchange has taken away the stop beside it (5.6), and the end says that nobody watches (9.5)
        if code not in expected:
            self.fault(f"{daemon.log.name}: ended with {code} on {end.name}: {daemon.log.read_text('utf-8')[-500:]}")

    # --- what must hold -------------------------------------------------------------------------------------------

    def fault(self, text: str) -> None:
        self.report.violations.append(text)

    def on_disk(self) -> State | None:
        """The state as a restart would find it; it must be there for the taking at every moment (rule 10.5)."""
        found = StateStore(self.state_path, schema_version=SCHEMA_VERSION).peek(Document, unsound=contradiction)
        return None if found is None else state_of(found.value)

    def is_flat(self) -> bool:
        state = self.on_disk()
        return state is not None and state.position is None

    def on_disk_is_quiet(self) -> bool:
        """Whether nothing that was decided still waits for its answer."""
        state = self.on_disk()
        return state is None or (not state.outbox and not state.started)

    async def pause(self) -> None:
        """A tick of the market without a trade."""
        await asyncio.sleep(TICK_S)

    def _phase(self) -> str:
        state = self.on_disk()
        return "flat" if state is None or state.position is None else type(state.position.phase).__name__.lower()

    def books(self) -> exchange_books.Books:
        return exchange_books.read(self.engine, self.account, SYMBOL, self.clock.now_ms())

    def _audit_now(self) -> None:
        """What holds at every moment, with the daemon dead."""
        self.on_disk()
        books = self.books()
        if books.twice:
            self.fault(f"ids used twice: {books.twice}")
        for trade in books.trades:
            if trade.lowest < -self._slack(trade) and self.layout != "PLAIN":
                self.fault(f"trade {trade.trade} left more than it held: {trade.lowest}\n{self.story()}")
        if sum(1 for trade in books.trades if trade.live) > 1:
            self.fault(f"two trades have live orders\n{self.story()}")

    def _slack(self, trade: exchange_books.TradeTruth) -> Decimal:
        """How much more than it held a trade may leave."""
        return trade.lent

    def _left(self, closed: Closed) -> Decimal:
        """The base that a trade tells to have left behind, or to lack."""
        return closed.dust

    async def _calm(self) -> None:
        """Without faults and deaths everything comes to rest: flat, and nothing open."""
        deadline = asyncio.get_running_loop().time() + CALM_S
        while asyncio.get_running_loop().time() < deadline:
            state = self.on_disk()
            if state is not None and state.position is None and not self.engine.open_orders(self.account, SYMBOL):
                return
            await asyncio.sleep(0.1)
        self.fault(f"not at rest after {CALM_S} s\n{self.story()}")

    def _audit_end(self) -> None:
        self._audit_now()
        books, closed = self.books(), list(read_trades(self.state_path.with_suffix(".trades.jsonl")))
        by_id = {trade.trade: trade for trade in closed}
        state = self.on_disk()
        if len(by_id) != len(closed):
            self.fault(f"trades listed twice: {[t for t, n in Counter(c.trade for c in closed).items() if n > 1]}")
        if left := [o.client_order_id for o in self.engine.open_orders(self.account, SYMBOL)]:
            self.fault(f"orders left behind: {left}")
        if state is not None and state.halted:
            self.fault(f"halted: {state.halted}")
        signals = Counter(trade.signal for trade in closed)
        for name in self.written:
            if signals[name] != 1 and (signals[name] or not (state and state.refused)):
                self.fault(f"signal {name} made {signals[name]} trades")
        trades = [trade.ended(by_id[trade.trade].closed) if trade.trade in by_id else trade for trade in books.trades]
        for trade in trades:
            self._audit_trade(trade, by_id.get(trade.trade))
        self._audit_account(closed)
        filled = [trade for trade in trades if trade.fills]
        self.report.trades, self.report.filled = len(closed), len(filled)
        self.report.orders = sum(len(trade.orders) for trade in trades)
        self.report.faults = dict(self.wire_faults.faults.most_common())
        self.report.garbage = dict(self.wire_faults.garbage.most_common())
        self.report.watchers = dict(self._watchers.met.most_common())
        self.report.reasons = dict(Counter(str(trade.reason) for trade in closed).most_common())
        self.report.bare_ms = sorted(trade.bare_ms for trade in filled)
        self.report.at_work_ms = sorted(sum(span.ms for span in trade.at_work) for trade in filled)
        self.report.bare_longest_ms = max((trade.bare_longest_ms for trade in filled), default=0)

    def _audit_trade(self, trade: exchange_books.TradeTruth, closed: Closed | None) -> None:
        if closed is None:
            self.fault(f"trade {trade.trade} is not in the list of trades\n{self.story(trade.trade)}")
            return
        if self._left(closed) not in (trade.left * closed.direction.sign, trade.left):
            self.fault(f"trade {trade.trade} left {trade.left} behind, told {closed.dust}\n{self.story(trade.trade)}")
        for text in self.bare_too_long(trade):
            self.fault(f"{text}\n{self.story(trade.trade)}")

    def bare_too_long(self, trade: exchange_books.TradeTruth) -> list[str]:
        """The spans for which neither deaths nor faults account."""
        found = []
        for span in trade.bare:
            up = span.ms - self._down(span)
            self.report.bare_up_longest_ms = max(self.report.bare_up_longest_ms, up)
            setbacks = sum(1 for life in self.lives if span.since < life.began < span.until)
            setbacks += sum(1 for nap in self.naps if span.since < nap.until < span.until)
            setbacks += sum(1 for at in self.wire_faults.lost_at if span.since - 1_000 < at < span.until)
            if up > BARE_UP_MAX_MS * (1 + setbacks):
                found.append(f"trade {trade.trade}: {span.qty} bare for {span.ms} ms, {up} ms with the daemon up")
        return found

    def _down(self, span: exchange_books.Span) -> int:
        """Of a span, the time in which no daemon was up and awake, in ms."""
        up = sum(max(0, min(span.until, life.ended) - max(span.since, life.ready)) for life in self.lives if life.ready)
        asleep = sum(max(0, min(span.until, nap.until) - max(span.since, nap.since)) for nap in self.naps)
        return span.ms - up + asleep

    def _audit_account(self, closed: Sequence[Closed]) -> None:
        """The account changed by what the trades tell, to the last unit."""
        totals = self._totals()
        gained = {asset: totals[asset] - self.start_totals.get(asset, ZERO) for asset in totals}
        paid: Counter[str] = Counter()
        told: Counter[str] = Counter()
        spent = ZERO
        for fill in self.engine.my_trades(self.account, SYMBOL, from_id=0, limit=exchange_books.ALL):
            paid[fill.commission_asset] += fill.commission  # type: ignore[assignment]
            spent += -fill.quote_qty if fill.is_buyer else fill.quote_qty
        for trade in closed:
            for asset, amount in trade.commissions.items():
                told[asset] += amount  # type: ignore[assignment]
        if {a: q for a, q in paid.items() if q} != dict(told):
            self.fault(f"commissions: paid {dict(paid)}, told {dict(told)}")
        if sum((trade.dust for trade in closed), ZERO) != gained["LTC"]:
            self.fault(f"LTC: gained {gained['LTC']}, told {sum((trade.dust for trade in closed), ZERO)}")
        if gained["USDT"] != spent - Decimal(paid["USDT"]):
            self.fault(f"USDT: gained {gained['USDT']}, by fills {spent - Decimal(paid['USDT'])}")
        if locked := [b for b in self.engine.balances(self.account) if b.locked]:
            self.fault(f"still locked: {locked}")

    def _totals(self) -> dict[str, Decimal]:
        return {b.asset: b.free + b.locked for b in self.engine.balances(self.account)}

    def story(self, trade: str = "") -> str:
        """The last orders, or a trade's, and where the lives were."""
        wanted = [t for t in self.books().trades if t.trade == trade] or list(self.books().trades[-2:])
        lines = [f"last price {self._price}; logs in {self.folder}"]
        for each in wanted:
            lines += [
                f"  {o.time} {o.client_order_id} {o.side} {o.type} {o.orig_qty} at {o.price} stop {o.stop_price}:"
                f" {o.status} {o.executed_qty} {o.update_time}"
                for o in each.orders
            ]
            lines += [f"  bare {span.since}..{span.until} {span.qty}" for span in each.bare]
            first = min((order.time for order in each.orders), default=0)
            lines += [
                f"  life {i + 1} {life.began} {life.ready} {life.ended} {life.moment}"
                for i, life in enumerate(self.lives)
                if life.ended >= first - 1000
            ][:12]
        return "\n".join(lines)


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
