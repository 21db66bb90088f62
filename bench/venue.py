"""The paper exchange in a process of its own, and the script that its market follows.

    python -m bench.venue SCENARIO PLACE

Prints its URLs as its first line and the result as its last. The times it takes are those of the engine: when a trade
of the market goes in, and when a request has been accepted.
"""

import asyncio
import random
import socket
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.scenario import BASE, KEY, SECRET, Place, Result, Scenario, StreamFault, now_us
from bench.stream_faults import FaultInjector
from executor.core.model.values import OrderStatus
from executor.paper.engine import model
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import PaperServer
from executor.paper.server.exchange import Exchange
from executor.paper.server.limits import Limits
from executor.paper.server.params import Params
from executor.paper.server.signing import Credential, HmacSecret

ACCOUNT: Final = "bench"
PATIENCE_S: Final = 90.0
ENTRY: Final = Decimal("99.90")
STOP: Final = Decimal("99.00")
TARGETS: Final = (Decimal("101.00"), Decimal("102.00"))
BURST: Final = 20
LEGS: Final = 3
PART: Final = Decimal("0.2")
"""Of the entry, or of the first of its lists."""
PART_HELD: Final = Decimal("0.199")
"""What that leaves after commission, in whole steps."""
HELD: Final = Decimal("0.998")
"""What an entry of 1.001 leaves after a commission of a tenth of a per cent, in whole steps or nearly: the position is
covered when stops of so much have been accepted.
"""
OWN: Final = Decimal(60)
"""USDT on a margin account; an entry takes a hundred."""
SIZE: Final = Decimal(100_000)
"""Quantity of each trade of the market: no order is larger."""


class Watched(Engine):
    """Notes when each request of the account was accepted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_accepted: Callable[[str, str, model.Order], None] = lambda _symbol, _kind, _order: None
        self.on_cancelled: Callable[[str], None] = lambda _symbol: None

    def place_order(self, account: str, order: model.NewOrder, now: int) -> model.Placed:
        placed = super().place_order(account, order, now)
        self.on_accepted(order.symbol, "order", placed.order)
        return placed

    def place_oco(self, account: str, request: model.NewOco, now: int) -> model.ListPlaced:
        placed = super().place_oco(account, request, now)
        self.on_accepted(request.symbol, "list", placed.orders[0])
        return placed

    def cancel_order(self, account: str, symbol: str, now: int, **which: Any) -> model.Cancelled:
        cancelled = super().cancel_order(account, symbol, now, **which)
        self.on_cancelled(symbol)
        return cancelled

    def place_oto(self, account: str, request: model.NewOto, now: int) -> model.ListPlaced:
        placed = super().place_oto(account, request, now)
        self.on_accepted(request.working.symbol, "bracket", placed.orders[0])
        return placed

    def place_otoco(self, account: str, request: model.NewOtoco, now: int) -> model.ListPlaced:
        placed = super().place_otoco(account, request, now)
        self.on_accepted(request.working.symbol, "bracket", placed.orders[0])
        return placed

    def cancel_replace(self, account: str, request: model.CancelReplace, now: int) -> model.CancelReplaced:
        answer = super().cancel_replace(account, request, now)
        if answer.new_order is not None:
            self.on_accepted(request.new_order.symbol, "replace", answer.new_order.order)
        return answer


class SymbolScript:
    """One symbol's market, and what its trader has done there."""

    def __init__(self, venue: "Venue", symbol: str) -> None:
        self.symbol = symbol
        self.flat = asyncio.Event()
        self.entered = asyncio.Event()
        self.covered = asyncio.Event()
        self.replaced = asyncio.Event()
        self.entry_at = self.covered_at = self.replaced_at = self.cancelled_at = self.first_at = 0.0
        self.stopped = Decimal(0)
        self.wanted = HELD
        self.lists = 0
        self._venue = venue
        self._trade_id = 1

    def accepted(self, kind: str, order: model.Order) -> None:
        now = now_us()
        if kind == "replace":
            self.replaced_at = now
            self.replaced.set()
        elif order.side.value == "BUY":
            self.lists += kind == "bracket"
            if kind != "bracket" or self.lists == LEGS:
                self.entry_at = now
                self.entered.set()
        elif self.covered.is_set() and order.stop_price:  # a stop that was cancelled is placed anew
            self.replaced_at = now
            self.replaced.set()
        elif kind == "list" or order.stop_price:
            self.first_at = self.first_at or now
            self.stopped += order.orig_qty
            if self.stopped >= self.wanted:
                self._cover(now)

    def cancelled(self) -> None:
        self.cancelled_at = now_us()

    def _cover(self, now: float) -> None:
        if not self.covered.is_set():
            self.covered_at = now
            self.first_at = self.first_at or now
            self.covered.set()

    def placed_by_the_exchange(self) -> None:
        """Whether stops that entries have brought stand for all that is held."""
        stops = [o for o in self._venue.engine.open_orders(ACCOUNT, self.symbol) if o.stop_price]
        if sum((o.orig_qty for o in stops if o.status is OrderStatus.NEW), Decimal(0)) >= self.wanted:
            self._cover(now_us())

    def bare_ms(self) -> int:
        """Between the last entry's fill and the last stop's placement, by the exchange's own clock."""
        orders = self._venue.engine.all_orders(ACCOUNT, self.symbol, limit=2 * LEGS + LEGS)
        stops = [o.update_time for o in orders if o.stop_price and o.status is OrderStatus.NEW]
        filled = [o.update_time for o in orders if o.side.value == "BUY" and o.status is OrderStatus.FILLED]
        return max(stops) - max(filled)

    def trade(self, price: Decimal, size: Decimal = SIZE) -> float:
        """A trade of the market; when it went in."""
        self._trade_id += 1
        at = self._venue.clock.now_ms()
        trade = MarketTrade(trade_id=self._trade_id, price=price, qty=size, buyer_is_maker=False, time=at)
        began = now_us()
        self._venue.engine.on_trade(self.symbol, trade.trade_id, price, size, False, at)
        if self._venue.scenario.layout == "BRACKET":
            self.placed_by_the_exchange()
        self._venue.server.on_trade(self.symbol, trade)
        return began

    def reset(self) -> None:
        for event in (self.entered, self.covered, self.replaced, self.flat):
            event.clear()
        self.stopped = Decimal(0)
        self.first_at, self.lists = 0.0, 0
        self.wanted = HELD


class Venue:
    """The exchange, its market, and the notes of who trades there."""

    def __init__(self, scenario: Scenario, place: Place) -> None:
        self.scenario = scenario
        self.place = place
        self.clock = WallClock()
        self.result = Result()
        self.ready = asyncio.Event()
        self._ready: set[str] = set()
        self.seen: defaultdict[str, int] = defaultdict(int)
        limits = Limits(
            request_weight_per_minute=scenario.weight_limit,
            orders_per_10_seconds=1_000_000,
            orders_per_day=100_000_000,
            raw_requests_per_5_minutes=100_000_000,
        )
        rows = _rows(scenario.symbols)
        self.engine = Watched([Symbol.from_exchange_info(row) for row in rows], rate_limits=limits.announce())
        spare = Decimal(100_000) if scenario.layout == "PLAIN" else Decimal(0)  # rule 4.3: that layout needs it
        balances = {row["baseAsset"]: spare for row in rows} | {"USDT": Decimal(10_000_000)}
        self.engine.open_account(ACCOUNT, balances)
        self.account = self._lend(scenario.symbols[0]) if scenario.margin else ACCOUNT
        self.trades = {symbol: SymbolScript(self, symbol) for symbol in scenario.symbols}
        self.engine.on_cancelled = lambda symbol: self.trades[symbol].cancelled()
        self.engine.on_accepted = lambda symbol, kind, order: self.trades[symbol].accepted(kind, order)
        self.faults = FaultInjector()
        keys = {KEY: Credential(ACCOUNT, HmacSecret(SECRET))}
        self.server = PaperServer(self.engine, self.clock, keys, limits=limits, faults=self.faults)
        self._count(self.server._exchange)  # noqa: SLF001  # the bench's own ear in the exchange
        self._signals = Path(place.signals)
        self._signals.touch()
        self._number = 0
        self._notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def _lend(self, symbol: str) -> str:
        """Open the pair's own margin account with less than an entry costs; its name."""
        now = self.clock.now_ms()
        self.engine.margin.transfer(ACCOUNT, "MAIN_ISOLATED_MARGIN", "USDT", OWN, now, target=symbol)
        return self.engine.margin.account(ACCOUNT, symbol).money.name

    def _top_up(self) -> None:
        """What the last trade has lost, so that each has to borrow as much, and none can not."""
        balances = {each.asset: each.free for each in self.engine.balances(self.account)}
        self.engine.adjust_balance(self.account, "USDT", OWN - balances.get("USDT", Decimal(0)), self.clock.now_ms())

    def _count(self, exchange: Exchange) -> None:
        serve = exchange.serve

        async def counted(request: Any) -> Any:
            self.seen["requests"] += 1
            self.seen[request.path] += 1
            if not request.route.free:
                self.seen["weight"] += request.route.weigh(Params(request.values))
            return await serve(request)

        exchange.serve = counted  # type: ignore[method-assign]

    # --- who trades here ---

    def listen(self) -> None:
        self._notes.setblocking(False)
        self._notes.bind(self.place.notes)
        asyncio.get_running_loop().add_reader(self._notes, self._hear)

    def _hear(self) -> None:
        word, _, symbol = self._notes.recv(200).decode().partition(" ")
        if word == "ready":
            self._ready.add(symbol)
            if self._ready >= set(self.trades):
                self.ready.set()
        else:
            self.trades[symbol].flat.set()

    def signal(self, symbol: str) -> float:
        """Write a signal, as a signal source does; when."""
        self._number += 1
        line = {
            "ts": self.clock.now_ms(),
            "id": f"{symbol}-{self._number}",
            "symbol": symbol,
            "side": "long",
            "price": str(BASE),
            "entry": str(ENTRY),
            "stop": str(STOP),
            "targets": [str(target) for target in TARGETS],
        }
        with self._signals.open("ab") as file:
            at = now_us()
            file.write(msgspec.json.encode(line) + b"\n")
        return at

    def note(self, name: str, since: float, until: float) -> None:
        self.result.samples.setdefault(name, []).append(until - since)

    # --- scripts ---

    async def enter(self, trade: SymbolScript, *, count: bool) -> None:
        """From signal to covered."""
        trade.reset()
        trade.trade(Decimal(BASE))
        signalled = self.signal(trade.symbol)
        await _soon(trade.entered, "entry")
        await asyncio.sleep(random.uniform(0.002, self.scenario.wait))
        if self.scenario.stream_fault is StreamFault.CUT:
            self.server.drop_connections()
        self.faults.now = self.scenario.stream_fault
        filled = trade.trade(ENTRY - Decimal("0.01"))
        await _soon(trade.covered, "exits")
        self.faults.now = StreamFault.SOUND
        if count:
            self.note("signal to order", signalled, trade.entry_at)
            self.note("fill to covered", filled, trade.covered_at)
            self.note("fill to first stop", filled, trade.first_at)
            if self.scenario.layout == "BRACKET":
                self.note("exchange's clock", 0, trade.bare_ms() * 1000)

    async def leave(self, trade: SymbolScript) -> None:
        """The price falls through every stop."""
        await asyncio.sleep(0.002)
        trade.trade(STOP - Decimal("0.05"))
        await _soon(trade.flat, "close")

    async def entries(self) -> None:
        trade = self.trades[self.scenario.symbols[0]]
        for n in range(self.scenario.warm_up + self.scenario.entries):
            count = n >= self.scenario.warm_up
            if n == self.scenario.warm_up:
                self.seen.clear()
            await self.enter(trade, count=count)
            await self.leave(trade)
            if self.scenario.margin:
                self._top_up()

    async def parts(self) -> None:
        """A part of the entry fills: until a stop stands for it."""
        trade = self.trades[self.scenario.symbols[0]]
        for _ in range(self.scenario.entries):
            trade.reset()
            trade.trade(Decimal(BASE))
            self.signal(trade.symbol)
            await _soon(trade.entered, "entry")
            await asyncio.sleep(0.1)
            trade.wanted = PART_HELD
            filled = trade.trade(ENTRY - Decimal("0.01"), PART)
            await _soon(trade.covered, "interim stop")
            self.note("part to covered", filled, trade.covered_at)
            await self.leave(trade)

    async def killed(self) -> None:
        """The trader is killed while its entry rests; the entry fills; the trader is started again."""
        trade = self.trades[self.scenario.symbols[0]]
        for _ in range(self.scenario.entries):
            trade.reset()
            trade.trade(Decimal(BASE))
            self.signal(trade.symbol)
            await _soon(trade.entered, "entry")
            await asyncio.sleep(0.3)
            print("kill", flush=True)
            await asyncio.sleep(0.5)
            filled = trade.trade(ENTRY - Decimal("0.01"))
            if self.scenario.layout == "BRACKET":
                self.note("exchange's clock", 0, trade.bare_ms() * 1000)
            await asyncio.sleep(0.5)
            self.ready.clear()
            self._ready.clear()
            started = now_us()
            print("start", flush=True)
            await asyncio.wait_for(self.ready.wait(), PATIENCE_S)
            self.note("start to supervised", started, now_us())
            await _soon(trade.covered, "exits")
            self.note("fill to covered", filled, trade.covered_at)
            await asyncio.sleep(0.3)
            await self.leave(trade)

    async def faulted(self) -> None:
        """Entries that fill in bad stream_fault, each after the streams have had time to be up."""
        trade = self.trades[self.scenario.symbols[0]]
        for _ in range(self.scenario.entries):
            await asyncio.sleep(self.scenario.seconds)
            await self.enter(trade, count=True)
            await self.leave(trade)

    async def stops(self) -> None:
        """Both targets fill, then the price climbs: the time from a new best price to the stop behind it."""
        trade = self.trades[self.scenario.symbols[0]]
        await self.enter(trade, count=False)
        for target in TARGETS:
            trade.trade(target + Decimal("0.01"))
            await asyncio.sleep(0.5)
        price = TARGETS[-1] + Decimal("0.5")
        trade.replaced.clear()
        for n in range(self.scenario.warm_up + self.scenario.entries):
            price += Decimal("0.05")
            await asyncio.sleep(0.12)
            trade.replaced.clear()
            at = trade.trade(price)
            await _soon(trade.replaced, "stop")
            if n >= self.scenario.warm_up:
                self.note("stop moved", at, trade.replaced_at)
                if self.scenario.margin:
                    self.note("without a stop", trade.cancelled_at, trade.replaced_at)

    async def idle(self) -> None:
        await self._observe("idle")

    async def open_trade(self) -> None:
        await self._open_all()
        await self._observe("open")

    async def _open_all(self) -> None:
        """Ten at a time."""
        trades = list(self.trades.values())
        for n in range(0, len(trades), 10):
            await asyncio.gather(*(self.enter(trade, count=False) for trade in trades[n : n + 10]))

    async def _observe(self, name: str) -> None:
        """Let the market trade gently and count what is asked meanwhile."""
        await asyncio.sleep(3)
        self.seen.clear()
        print(f"observe {self.scenario.seconds}", flush=True)
        end = now_us() + self.scenario.seconds * 1e6
        step = 0
        while now_us() < end:
            await asyncio.sleep(0.2)
            step += 1
            for trade in self.trades.values():
                trade.trade(Decimal(BASE) + Decimal(step % 7) / 100)
        self.result.counts[f"{name} market trades a second"] = step * len(self.trades) / self.scenario.seconds
        self.result.counts[f"{name} weight a minute"] = self.seen["weight"] * 60 / self.scenario.seconds
        self.result.counts[f"{name} requests a minute"] = self.seen["requests"] * 60 / self.scenario.seconds

    async def many(self) -> None:
        """All symbols open and watched; then one of them trades while the others stay; then a score fill at once."""
        one, *others = self.trades.values()
        await self._open_all()
        await self._observe("open")
        murmur = asyncio.create_task(self._murmur(others))
        for n in range(self.scenario.warm_up + self.scenario.entries):
            await self.leave(one)
            await self.enter(one, count=n >= self.scenario.warm_up)
        murmur.cancel()
        for n in range(self.scenario.entries // BURST + 1):
            await self._burst(random.sample(list(self.trades.values()), BURST), count=n > 0)

    async def _murmur(self, trades: list[SymbolScript]) -> None:
        """Each of them trades once a second."""
        while True:
            for trade in trades:
                trade.trade(Decimal(BASE) + Decimal(random.randrange(7)) / 100)
                await asyncio.sleep(1 / len(trades))

    async def _burst(self, trades: list[SymbolScript], *, count: bool) -> None:
        """Twenty entries stand, and fill within the same second."""
        for trade in trades:
            await self.leave(trade)
            trade.reset()
            trade.trade(Decimal(BASE))
            self.signal(trade.symbol)
        await asyncio.gather(*(_soon(trade.entered, f"entry of {trade.symbol}") for trade in trades))
        took = sorted(await asyncio.gather(*map(self._fill, trades)))
        if count:
            for each in took:
                self.note("fill to covered, burst", 0, each)

    async def _fill(self, trade: SymbolScript) -> float:
        """Some time within a second; how long it took from there until it was covered."""
        await asyncio.sleep(random.uniform(0, 1))
        filled = trade.trade(ENTRY - Decimal("0.01"))
        await _soon(trade.covered, f"exits of {trade.symbol}")
        return trade.covered_at - filled

    async def run(self) -> Result:
        plays = {
            "entries": self.entries,
            "parts": self.parts,
            "killed": self.killed,
            "faulted": self.faulted,
            "stops": self.stops,
            "idle": self.idle,
            "open": self.open_trade,
            "many": self.many,
        }
        self.listen()
        for trade in self.trades.values():
            trade.trade(Decimal(BASE))
        urls = await self.server.start()
        print(msgspec.json.encode(urls).decode(), flush=True)
        await asyncio.wait_for(self.ready.wait(), 60)
        await plays[self.scenario.play]()
        self.result.counts |= {f"asked {path}": count for path, count in self.seen.items()}
        return self.result


async def _soon(event: asyncio.Event, what: str) -> None:
    try:
        await asyncio.wait_for(event.wait(), PATIENCE_S)
    except TimeoutError as error:
        raise RuntimeError(f"no {what} within {PATIENCE_S:.0f} s") from error


def _rows(symbols: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """Rows of exchangeInfo: the bundled one of LTCUSDT under each of the names."""
    row = next(row for row in bundled_exchange_info()["symbols"] if row["symbol"] == "LTCUSDT")
    return [{**row, "symbol": symbol, "baseAsset": symbol.removesuffix("USDT")} for symbol in symbols]


def main() -> None:
    scenario = msgspec.json.decode(sys.argv[1], type=Scenario)
    place = msgspec.json.decode(sys.argv[2], type=Place)
    venue = Venue(scenario, place)
    result = asyncio.run(venue.run())
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    main()
