"""The service as it runs, against the paper exchange over HTTP and WebSocket, in a market that a test makes up.

A scenario is told in multiples of R from the entry price, towards profit, so that one text serves long and short:
the entry lies at 0, the stop at -1, the targets at 1 and 2. Time stands still while anybody has something to do.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from executor.config import Settings, load_settings
from executor.core.model import ids
from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Why
from executor.core.model.state import SCHEMA_VERSION, Closed, Position, Reason, State
from executor.core.model.values import ZERO, Direction, OrderSide, OrderType, TimeInForce
from executor.core.transition import Step
from executor.exchange.binance import connect_all
from executor.exchange.transport.auth import Endpoints
from executor.ops.alerting import alerting
from executor.paper.engine.exchange import Engine
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.model import LoanStatus, LoanType
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.model import CommissionRates, NewOrder, Order
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import MarketClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import Credential, FaultPlan, HmacSecret, PaperServer, Urls
from executor.paper.server.limits import Limits
from executor.service import app
from executor.service.embedded import WaitingClock
from executor.service.loop import Loop
from executor.service.market import Market, credentials, maker, margin_accounts
from executor.service.state_locks import StateLocks
from executor.service.store.document import Document, document_of
from executor.service.store.state_store import STALE, StateStore
from executor.service.store.trades import read_trades
from executor.service.symbol_rules import held_symbols

ACCOUNT: Final = "paper"
KEY: Final = "paper"
OTHER: Final = "other"
"""Another account with the same balances, and its key."""
START_MS: Final = 1_750_000_000_000
ENTRY: Final = Decimal(100)
BITCOIN: Final = Decimal(60_000)
CALM_PASSES: Final = 6
POLL_S: Final = 2.0
"""After this much time without a push, the poller has seen whatever there was to see."""
STUCK_S: Final = 20.0

EXITS: Final = {layout: ["SL", "SL1", "SL2", "TP1", "TP2"] for layout in ("OCO", "BRACKET")} | {
    "PLAIN": ["SL", "TP1", "TP2"]
}
"""What stands on the exchange after the entry (rule 4.5)."""
AFTER_TP1: Final = {"OCO": ["SL", "SL2", "TP2"], "PLAIN": ["SL", "TP2"], "BRACKET": ["SL", "SL2", "TP2"]}


class World(msgspec.Struct, frozen=True):
    """Which way a scenario is played: the side, the exits' layout, whether the exchange pushes, and on which account:
    the Spot wallet, or a margin account ("cross", "isolated").
    """

    side: Direction
    layout: str
    pushes: bool
    margin: str = ""

    def __str__(self) -> str:
        account = f"-{self.margin}" if self.margin else ""
        return f"{self.side}-{self.layout}-{'push' if self.pushes else 'poll'}{account}"


EVERY_WORLD: Final = [
    World(side, layout, pushes)
    for side in Direction
    for layout in ("OCO", "PLAIN", "BRACKET")
    for pushes in (True, False)
]
WORLDS: Final = [w for i, w in enumerate(EVERY_WORLD) if i in (0, 3, 7, 8)]
"""Each side, each layout, pushed and polled, in half the runs."""
OCO_WORLDS: Final = [World(Direction.LONG, "OCO", pushes=False), World(Direction.SHORT, "OCO", pushes=True)]


class Harness:
    """One exchange, one account, one service that can be stopped and started again. `symbol`: of those that are traded
    the one that is spoken of.
    """

    def __init__(
        self,
        folder: Path,
        world: World,
        settings: Mapping[str, str],
        *,
        symbols: tuple[str, ...],
        balances: Mapping[str, Decimal],
        liquidity: LiquidityModel | None,
        faults: FaultPlan | None,
        entry: Decimal,
        r: Decimal,
        limits: Limits,
    ) -> None:
        self.world = world
        self.folder = folder
        self.symbols = symbols
        self.symbol = symbol = symbols[0]
        self.entry_price, self.r = entry, r
        self.clock = MarketClock(START_MS)
        self.patient = WaitingClock(self.clock)
        rows = rows_of(symbols)
        self.engine = Engine(
            [Symbol.from_exchange_info(row) for row in rows], rate_limits=limits.announce(), liquidity=liquidity
        )
        self.engine.open_account(ACCOUNT, balances)
        self.engine.open_account(OTHER, balances)
        self.account = self._account_of(balances)
        """The engine's name of the one that is traded with."""
        self.base, self.quote = self.engine.symbol(symbol).base, self.engine.symbol(symbol).quote
        self.engine.set_bnb_price(self.quote, Decimal(500))
        self.start_totals = self.totals()
        keys = {KEY: Credential(ACCOUNT, HmacSecret(KEY)), OTHER: Credential(OTHER, HmacSecret(OTHER))}
        self.server = PaperServer(self.engine, self.clock, keys, limits=limits, faults=faults)
        self.signals = folder / "signals.jsonl"
        self.log: list[Any] = []
        self.loops: dict[str, Loop] = {}
        self.locks: StateLocks | None = None
        """With which it begins, where they matter."""
        self._task: asyncio.Task[None] | None = None
        self._wanted = settings
        self._urls = Urls("", "", "")
        self._trade_id = 0
        self._signal_id = 0
        # The first trade leaves the entry at the near side of the book, where it rests.
        self._falling: dict[str, bool] = {}
        if world.margin == "cross":  # in bitcoin the exchange tells what the account is worth
            self.engine.on_trade("BTCUSDT", 1, BITCOIN, Decimal(1), buyer_is_maker=False, now=START_MS)
        for self.symbol in reversed(symbols):
            self.touch(self.at(0))

    def _account_of(self, balances: Mapping[str, Decimal]) -> str:
        """On margin what the wallet holds is moved to the account of the first symbol, or to the cross account."""
        if not self.world.margin:
            return ACCOUNT
        pair = self.symbol if self.world.margin == "isolated" else ""
        kind = "MAIN_ISOLATED_MARGIN" if pair else "MAIN_MARGIN"
        for asset, amount in balances.items():
            if amount:
                self.engine.margin.transfer(ACCOUNT, kind, asset, amount, START_MS, target=pair)
        return self.engine.margin.open(ACCOUNT, pair, START_MS).money.name

    @property
    def lender(self) -> MarginAccount:
        """The margin account, as the exchange keeps it."""
        return next(each for each in self.engine.margin.accounts() if each.money.name == self.account)

    def owed(self) -> dict[str, Decimal]:
        """By asset, what the exchange says is owed, interest included."""
        return {asset: debt.total for asset, debt in self.lender.debts.items() if debt.total}

    # --- the market -----------------------------------------------------------------------------------------------

    def at(self, r: float | str) -> Decimal:
        """The price that lies `r` times R from the entry, towards profit."""
        return self.entry_price + self.world.side.sign * self.r * Decimal(str(r))

    def touch(self, price: Decimal, qty: str = "1000") -> None:
        """One trade of the market, nothing else."""
        last = self.engine.last_price(self.symbol)
        falling = self._falling.get(self.symbol, self.world.side is Direction.LONG)
        if last is not None and price != last:
            falling = self._falling[self.symbol] = price < last
        self._trade_id += 1
        self.clock.advance_to(self.clock.now_ms() + 1)
        now = self.clock.now_ms()
        self.engine.on_trade(self.symbol, self._trade_id, price, Decimal(qty), falling, now)
        trade = MarketTrade(trade_id=self._trade_id, price=price, qty=Decimal(qty), buyer_is_maker=falling, time=now)
        self.server.on_trade(self.symbol, trade)

    async def move(self, r: float | str, qty: str = "1000", *, then: float = POLL_S) -> None:
        """The price goes to `r` with a trade of `qty`; then time passes, so that everybody has seen it."""
        self.touch(self.at(r), qty)
        await self.settle()
        await self.wait(then)

    async def wait(self, seconds: float) -> None:
        """Let `seconds` of market time pass, from sleeper to sleeper."""
        until = self.clock.now_ms() + round(seconds * 1000)
        await self.settle()
        while (wake := self.clock.next_wake_ms()) is not None and wake <= until:
            self.clock.advance_to(wake)
            await self.settle()
        self.clock.advance_to(until)
        await self.settle()

    async def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        """Let time pass until `condition`; AssertionError when it takes more than `within` seconds of market time."""
        deadline = self.clock.now_ms() + round(within * 1000)
        await self.settle()
        while not condition():
            wake = self.clock.next_wake_ms()
            assert wake is not None, f"nothing is awaited any more\n{self.story()}"
            assert wake <= deadline, f"not within {within} s\n{self.story()}"
            self.clock.advance_to(wake)
            await self.settle()

    async def settle(self) -> None:
        """Return when nobody has anything to do at this instant."""
        async with asyncio.timeout(STUCK_S):
            calm = passes = 0
            while calm < CALM_PASSES:
                passes += 1
                await asyncio.sleep(0 if passes < 64 else 0.0005)
                if self._task is not None and self._task.done() and self.loops:
                    self.loops.clear()
                    self._task.result()
                calm = calm + 1 if self._quiet() else 0

    async def breathe(self) -> None:
        """Let everybody take a step, though they may not be done after it."""
        await asyncio.sleep(0.001)

    def _quiet(self) -> bool:
        if not self.server.quiet():
            return False
        if not self.loops:
            return self._task is None or self._task.done() or self.patient.waiting > 0
        return all(loop.quiet() for loop in self.loops.values()) or self.patient.waiting > 0

    # --- the service ----------------------------------------------------------------------------------------------

    @property
    def loop(self) -> Loop | None:
        """The one of `symbol`, while the service is up."""
        return self.loops.get(self.symbol)

    @property
    def traded(self) -> tuple[str, ...]:
        if self.locks is not None:
            return self.locks.held
        return self.symbols if len(self.symbols) > 1 else (self.symbol,)

    async def start(self, **more: str) -> None:
        """Bring the service up on its files, by its own start-up, until it trades."""
        self._task = asyncio.create_task(self._serve(self.settings(**more)))
        try:
            await self.until(self._up)
        finally:
            if self._task.done():
                self._task.result()

    async def start_and_end(self, stopped: Callable[[], bool]) -> None:
        """Bring the service up until it is `stopped` on its way, and wait for its end."""
        self._task = asyncio.create_task(self._serve(self.settings()))
        await self.until(stopped)
        await self._task
        self.loops.clear()
        self._task = None
        await self.settle()

    def _up(self) -> bool:
        assert self._task is not None
        if self._task.done():
            self._task.result()
        if not self.loops or not all(loop.ready.is_set() for loop in self.loops.values()):
            return False
        return not self.world.pushes or self.said("stream_connected") > self._connects

    async def _serve(self, settings: Settings) -> None:
        self._connects = self.said("stream_connected")
        where = Endpoints(self._urls.rest_url, self._urls.ws_api_url, self._urls.stream_url)
        keys = credentials(settings)
        make = maker(settings, self.traded)
        held = held_symbols(settings, self.traded)
        exchanges = await connect_all(where, keys, self.traded, self.patient, settings.recv_window, make, held)
        try:
            place = Market(
                self._urls.base_url,
                where,
                keys,
                self.traded,
                self.clock,
                self.patient,
                margin=margin_accounts(settings, self.traded),
                risk_url=self._urls.stream_url if self.world.pushes else "",
                make=make,
            )
            async with alerting(settings, self.traded, wanted=True) as told:
                await app.serve(settings, place, exchanges, self._met, told, self.locks)
        finally:
            await next(iter(exchanges.values())).close()

    def _met(self, loop: Loop) -> None:
        self.loops[loop.state.symbol] = loop

    def settings(self, **more: str) -> Settings:
        values = {
            "BINANCE_ENV": "custom",
            "BINANCE_REST_URL": self._urls.base_url,
            "BINANCE_WS_API_URL": self._urls.ws_api_url,
            "BINANCE_STREAM_URL": self._urls.stream_url,
            "BINANCE_API_KEY": KEY,
            "BINANCE_API_SECRET": KEY,
            **self._names(),
            "SIGNAL_FILE": str(self.signals),
            "SIGNAL_START": "begin",
            "EXIT_LAYOUT": self.world.layout,
            **self._mode(),
            "USER_STREAM": str(self.world.pushes).lower(),
            "ALLOW_SHORT": "true",
            "QTY": "3",
            "HTTP_PORT": "0",
            **self._wanted,
            **more,
        }
        if not {"QTY_USD", "RISK_USD"}.isdisjoint(values):
            del values["QTY"]
        return read_once(tuple(values.items()))

    def _mode(self) -> dict[str, str]:
        if not self.world.margin:
            return {}
        return {"TRADE_MODE": "margin", "MARGIN_ISOLATED": str(self.world.margin == "isolated").lower()}

    def _names(self) -> dict[str, str]:
        if len(self.symbols) == 1:
            return {"SYMBOL": self.symbol, "STATE_FN": str(self.folder / "state.json")}
        return {"SYMBOLS": ",".join(self.symbols), "STATE_FN": str(self.folder / "{symbol}.json")}

    async def stop(self) -> None:
        """What SIGTERM does: an orderly end (rule 9.5). Time passes for as long as something is bare."""
        loop = self.loop
        assert loop is not None
        assert self._task is not None
        loop.stop()
        await self.ended()

    async def ended(self) -> None:
        """Wait for the end of a service that has been told to."""
        loop, task = self.loop, self._task
        await self.breathe()
        while task is not None and not task.done():
            if loop is not None and loop.exposed() and (wake := self.clock.next_wake_ms()) is not None:
                self.clock.advance_to(wake)
                await self.settle()
            else:
                await self.breathe()
        if task is not None:
            await task
        self.loops.clear()
        self._task = None
        await self.settle()

    async def restart(self, **more: str) -> None:
        await self.stop()
        await self.start(**more)

    async def command(self, verb: Verb, price: Decimal | None = None) -> Step:
        """The operator's word."""
        assert self.loop is not None
        step = await self.loop.ask(Commanded(at=self.loop.now(), verb=verb, price=price))
        await self.settle()
        return step

    async def signal(self, *targets: float | str, stop: float | str = -1, then: float = 0.3, **more: Any) -> None:
        """Append a signal to the file: entry at 0, the stop at -1, the targets at 1 and 2 unless given."""
        self._signal_id += 1
        values = {
            "ts": self.clock.now_ms(),
            "id": f"s{self._signal_id}",
            "symbol": self.symbol,
            "side": str(self.world.side),
            "price": str(self.at(0)),
            "stop": str(self.at(stop)),
            "targets": [str(self.at(t)) for t in targets or (1, 2)],
            **more,
        }
        self.write(json.dumps({k: v for k, v in values.items() if v is not None}) + "\n")
        await self.wait(then)

    def write(self, text: str) -> None:
        with self.signals.open("a", encoding="utf-8") as file:
            file.write(text)

    async def enter(self, *targets: float | str, **more: Any) -> None:
        """A signal, its limit entry filled in full, and the exits out."""
        await self.signal(*targets, **more)
        await self.move(0)

    # --- what is seen ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        assert self.loop is not None
        return self.loop.state

    @property
    def position(self) -> Position:
        assert self.state.position is not None, self.story()
        return self.state.position

    @property
    def closed(self) -> Closed:
        assert self.state.last_closed is not None, self.story()
        return self.state.last_closed

    def open(self) -> list[Order]:
        """The open orders of ours on the exchange."""
        return [o for o in self.engine.open_orders(self.account, self.symbol) if ids.is_ours(o.client_order_id)]

    def roles(self) -> list[str]:
        """What those orders are for, sorted."""
        return sorted(role_of(o) for o in self.open())

    def standing(self) -> list[tuple[int, str, Decimal]]:
        """Open orders of ours: exchange id, status, filled quantity."""
        return [(o.order_id, str(o.status), o.executed_qty) for o in self.open()]

    def one(self, role: str) -> Order:
        """The only open order of this role."""
        found = [o for o in self.open() if role_of(o) == role]
        assert len(found) == 1, f"{len(found)} open {role}\n{self.story()}"
        return found[0]

    def sent(self, role: str) -> list[Order]:
        """Every order of this role that the exchange ever accepted, oldest first."""
        return [o for o in self.orders() if role_of(o) == role]

    def orders(self) -> list[Order]:
        found = self.engine.all_orders(self.account, self.symbol, limit=1000)
        return [o for o in found if ids.is_ours(o.client_order_id)]

    def stops(self) -> set[Decimal]:
        """Stop prices that stand on the exchange."""
        return {o.stop_price for o in self.open() if o.stop_price}

    def covered(self) -> Decimal:
        """Quantity that stops on the exchange would sell."""
        return sum((o.orig_qty - o.executed_qty for o in self.open() if o.stop_price or o.trailing_delta), ZERO)

    def free(self, asset: str) -> Decimal:
        return self.engine.balance(self.account, asset).free

    def totals(self) -> dict[str, Decimal]:
        return {b.asset: b.free + b.locked for b in self.engine.balances(self.account)}

    def gained(self, asset: str) -> Decimal:
        """What the account has more than at the start."""
        return self.totals().get(asset, ZERO) - self.start_totals.get(asset, ZERO)

    def said(self, event: str) -> int:
        """How often the service said so."""
        return sum(1 for entry in self.log if entry["event"] == event)

    def alerts(self) -> list[str]:
        return [entry["event"] for entry in self.log if entry.get("alert")]

    def refusals(self) -> Counter[str]:
        """Requests that the exchange refused, by the reason."""
        return Counter(entry["why"] for entry in self.log if entry["event"] == "refused")

    def on_disk(self) -> Document:
        path = self.settings().state_path(self.symbol)
        loaded = StateStore(path, schema_version=SCHEMA_VERSION).load(Document)
        assert loaded is not None
        assert loaded.fault in {"", STALE}
        return loaded.value

    def trades(self) -> list[Closed]:
        """The list of finished trades on disk."""
        return list(read_trades(self.settings().trades_path(self.symbol)))

    def story(self) -> str:
        """What happened, for the reader of a failed test."""
        lines = [f"{self.world}, last price {self.engine.last_price(self.symbol)}, {self.totals()}"]
        lines += [
            f"  {o.client_order_id} {o.side} {o.type} {o.orig_qty} at {o.price} stop {o.stop_price}:"
            f" {o.status} {o.executed_qty}"
            for o in self.orders()
        ]
        lines += [f"  {entry}" for entry in self.log[-60:]]
        return "\n".join(lines)

    # --- what must hold -------------------------------------------------------------------------------------------

    async def ends(self, *reasons: Reason, within: float = 60.0, refusals: Iterable[str] = ()) -> Closed:
        """The trade ends within so many seconds, for one of `reasons`, and nothing of it is left behind.

        `refusals`: why requests may have been refused on the way; none else, save a cancel that came too late.
        """
        await self.until(lambda: self.loop is not None and self.state.position is None, within)
        closed = self.closed
        assert closed.reason in reasons, f"{closed.reason} instead of {reasons}\n{self.story()}"
        assert set(self.refusals()) <= {Why.UNKNOWN_ORDER, *refusals}, f"{self.refusals()}\n{self.story()}"
        self.is_sound()
        assert self.open() == [], self.story()
        if not self.engine.open_orders(self.account):
            assert not any(b.locked - self.external.get(b.asset, ZERO) for b in self.engine.balances(self.account))
        assert self.trades()[-1] == closed
        return closed

    external: Mapping[str, Decimal] = {}
    """What a scenario has locked outside of the exchange's orders."""

    def is_sound(self) -> None:
        """No invariant was broken, and the state on disk is the state (rule 10)."""
        broken = [entry for entry in self.log if entry["event"] == "invariant_broken"]
        assert not broken, f"{broken}\n{self.story()}"
        assert self.on_disk() == document_of(self.state)

    def adds_up(self, *closed: Closed) -> None:
        """The account changed by what the trades tell, to the last unit: bought and sold, commissions, dust."""
        fills = self.engine.my_trades(self.account, self.symbol, limit=1000)
        paid: dict[str, Decimal] = {}
        for fill in fills:
            if fill.commission:
                paid[fill.commission_asset] = paid.get(fill.commission_asset, ZERO) + fill.commission
        told: dict[str, Decimal] = {}
        for trade in closed:
            for asset, amount in trade.commissions.items():
                told[asset] = told.get(asset, ZERO) + amount
        assert told == paid, self.story()
        assert sum((t.dust for t in closed), ZERO) == self.gained(self.base), self.story()
        spent = sum((-f.quote_qty if f.is_buyer else f.quote_qty for f in fills), ZERO)
        assert self.gained(self.quote) == spent - paid.get(self.quote, ZERO), self.story()
        for asset in paid.keys() - {self.base, self.quote}:
            assert self.gained(asset) == -paid[asset]

    def lent(self) -> dict[str, Decimal]:
        """By asset, what the exchange has on record as borrowed less repaid."""
        found: dict[str, Decimal] = {}
        for record in self.lender.records:
            if record.status is LoanStatus.CONFIRMED:
                sign = 1 if record.type is LoanType.BORROW else -1
                found[record.asset] = found.get(record.asset, ZERO) + sign * record.amount
        return found

    def adds_up_on_margin(self, *closed: Closed) -> None:
        """The account changed by what the trades tell, to the last unit: fills, commissions, interest; and of what is
        owed still the trades tell, too (rules 11.6, 11.9).
        """
        fills = self.engine.my_trades(self.account, self.symbol, limit=1000)
        paid: dict[str, Decimal] = {}
        for fill in fills:
            if fill.commission:
                paid[fill.commission_asset] = paid.get(fill.commission_asset, ZERO) + fill.commission
        bought = sum((f.qty if f.is_buyer else -f.qty for f in fills), ZERO)
        spent = sum((-f.quote_qty if f.is_buyer else f.quote_qty for f in fills), ZERO)
        lent = self.lent()
        for asset, traded in ((self.base, bought), (self.quote, spent)):
            expected = traded - paid.get(asset, ZERO) + lent.get(asset, ZERO)
            assert self.gained(asset) == expected, f"{asset}\n{self.story()}"
        charged: dict[str, Decimal] = {}
        for accrual in self.lender.accruals:
            charged[accrual.asset] = charged.get(accrual.asset, ZERO) + accrual.interest
        told = {asset: sum((t.interest.get(asset, ZERO) for t in closed), ZERO) for asset in charged}
        assert told == charged, f"{told} {charged}\n{self.story()}"
        assert (closed[-1].debt_left if closed else {}) == self.owed(), self.story()

    # --- what somebody else does ------------------------------------------------------------------------------------

    def cancel_by_hand(self, role: str) -> None:
        order = self.one(role)
        self.engine.cancel_order(self.account, self.symbol, self.clock.now_ms(), order_id=order.order_id)
        self.server.on_quote(self.symbol)  # pushes what has happened to the account

    def place_by_hand(
        self,
        own_id: str,
        side: OrderSide,
        qty: str,
        *,
        type: OrderType = OrderType.LIMIT,  # noqa: A002 - the field's own word
        price: Decimal | None = None,
        stop_price: Decimal | None = None,
    ) -> None:
        rests = type is not OrderType.MARKET
        order = NewOrder(
            symbol=self.symbol,
            side=side,
            type=type,
            quantity=Decimal(qty),
            price=price,
            stop_price=stop_price,
            time_in_force=TimeInForce.GTC if rests else None,
            client_order_id=own_id,
        )
        self.engine.place_order(self.account, order, self.clock.now_ms())
        self.server.on_quote(self.symbol)  # pushes what has happened to the account


@lru_cache(maxsize=16)
def read_once(values: tuple[tuple[str, str], ...]) -> Settings:
    """A bench asks for the same again at each start, and for what is on its disk."""
    return load_settings(dict(values), None)


def rows_of(symbols: Iterable[str]) -> list[Mapping[str, Any]]:
    """The bundled rows of exchangeInfo, and for a symbol that has none the one of LTCUSDT under its name."""
    rows = {row["symbol"]: row for row in bundled_exchange_info()["symbols"]}
    for symbol in symbols:
        rows.setdefault(symbol, {**rows["LTCUSDT"], "symbol": symbol, "baseAsset": symbol.removesuffix("USDT")})
    return list(rows.values())


def role_of(order: Order) -> str:
    name = ids.parse(order.client_order_id)
    assert name is not None
    return str(name.role)


@asynccontextmanager
async def harness(
    folder: Path,
    world: World,
    *,
    symbol: str = "LTCUSDT",
    symbols: tuple[str, ...] = (),
    balances: Mapping[str, str] | None = None,
    burn: bool = False,
    fees: str | None = None,
    liquidity: LiquidityModel | None = None,
    faults: FaultPlan | None = None,
    entry: str = "100",
    r: str = "1",
    limits: Limits | None = None,
    started: bool = True,
    **settings: str,
) -> AsyncIterator[Harness]:
    """A bench with the service up (unless `started` is false) and the last price at the entry.

    `settings` are the service's, by their names. `balances`: 10000 quote and 10 base unless given. `fees`: the
    rate of every commission. `symbols`: several, instead of `symbol`.
    """
    symbols = symbols or (symbol,)
    bases = {row["baseAsset"]: "10" for row in rows_of(symbols) if row["symbol"] in symbols}
    funds = {"USDT": "10000", **bases} if balances is None else balances
    made = Harness(
        folder,
        world,
        settings,
        symbols=symbols,
        balances={asset: Decimal(amount) for asset, amount in funds.items()},
        liquidity=liquidity,
        faults=faults,
        entry=Decimal(entry),
        r=Decimal(r),
        limits=limits or Limits(),
    )
    made.engine.set_bnb_burn(made.account, enabled=burn)
    if fees is not None:
        rate = Decimal(fees)
        for each in symbols:
            made.engine.set_commission(made.account, each, CommissionRates(maker=rate, taker=rate))
    made._urls = await made.server.start()
    with capture_logs([merge_contextvars]) as made.log:
        try:
            if started:
                await made.start()
            yield made
        finally:
            for loop in made.loops.values():
                loop.stop()
            if made._task is not None and not made._task.done():
                await asyncio.wait({made._task}, timeout=10)
            await made.server.stop()
