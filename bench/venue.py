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

from bench.scenario import BASE, KEY, SECRET, Place, Result, Scenario, Weather, now_us
from bench.weather import Sky
from executor.paper import model
from executor.paper.clock import WallClock
from executor.paper.engine import Engine
from executor.paper.model import MarketTrade
from executor.paper.recording import bundled_exchange_info
from executor.paper.server import PaperServer
from executor.paper.server.exchange import Exchange
from executor.paper.server.limits import Limits
from executor.paper.server.params import Params
from executor.paper.server.signing import Credential, HmacSecret
from executor.paper.symbol import Symbol

ACCOUNT: Final = "bench"
PATIENCE_S: Final = 90.0
ENTRY: Final = Decimal("99.90")
STOP: Final = Decimal("99.00")
TARGETS: Final = (Decimal("101.00"), Decimal("102.00"))
BURST: Final = 20
HELD: Final = Decimal("0.998")
"""What an entry of 1.001 leaves after a commission of a tenth of a per cent, in whole steps or nearly: the position is
covered when stops of so much have been accepted.
"""
SIZE: Final = Decimal(100_000)
"""Quantity of each trade of the market: no order is larger."""


class Watched(Engine):
    """Notes when each request of the account was accepted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_accepted: Callable[[str, str, model.Order], None] = lambda _symbol, _kind, _order: None

    def place_order(self, account: str, order: model.NewOrder, now: int) -> model.Placed:
        placed = super().place_order(account, order, now)
        self.on_accepted(order.symbol, "order", placed.order)
        return placed

    def place_oco(self, account: str, request: model.NewOco, now: int) -> model.ListPlaced:
        placed = super().place_oco(account, request, now)
        self.on_accepted(request.symbol, "list", placed.orders[0])
        return placed

    def cancel_replace(self, account: str, request: model.CancelReplace, now: int) -> model.CancelReplaced:
        answer = super().cancel_replace(account, request, now)
        if answer.new_order is not None:
            self.on_accepted(request.new_order.symbol, "replace", answer.new_order.order)
        return answer


class Desk:
    """One symbol's market, and what its trader has done there."""

    def __init__(self, venue: "Venue", symbol: str) -> None:
        self.symbol = symbol
        self.flat = asyncio.Event()
        self.entered = asyncio.Event()
        self.covered = asyncio.Event()
        self.replaced = asyncio.Event()
        self.entry_at = self.covered_at = self.replaced_at = 0.0
        self.stopped = Decimal(0)
        self._venue = venue
        self._trade_id = 1

    def accepted(self, kind: str, order: model.Order) -> None:
        now = now_us()
        if kind == "replace":
            self.replaced_at = now
            self.replaced.set()
        elif order.side.value == "BUY":
            self.entry_at = now
            self.entered.set()
        elif kind == "list" or order.stop_price:
            self.stopped += order.orig_qty
            if self.stopped >= HELD and not self.covered.is_set():
                self.covered_at = now
                self.covered.set()

    def trade(self, price: Decimal) -> float:
        """A trade of the market; when it went in."""
        self._trade_id += 1
        at = self._venue.clock.now_ms()
        trade = MarketTrade(trade_id=self._trade_id, price=price, qty=SIZE, buyer_is_maker=False, time=at)
        began = now_us()
        self._venue.engine.on_trade(self.symbol, trade.trade_id, price, SIZE, False, at)
        self._venue.server.on_trade(self.symbol, trade)
        return began

    def reset(self) -> None:
        for event in (self.entered, self.covered, self.replaced, self.flat):
            event.clear()
        self.stopped = Decimal(0)


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
        self.desks = {symbol: Desk(self, symbol) for symbol in scenario.symbols}
        self.engine.on_accepted = lambda symbol, kind, order: self.desks[symbol].accepted(kind, order)
        self.sky = Sky()
        keys = {KEY: Credential(ACCOUNT, HmacSecret(SECRET))}
        self.server = PaperServer(self.engine, self.clock, keys, limits=limits, faults=self.sky)
        self._count(self.server._exchange)  # noqa: SLF001  # the bench's own ear in the exchange
        self._signals = Path(place.signals)
        self._signals.touch()
        self._number = 0
        self._notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

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
            if self._ready >= set(self.desks):
                self.ready.set()
        else:
            self.desks[symbol].flat.set()

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

    async def enter(self, desk: Desk, *, count: bool) -> None:
        """From signal to covered."""
        desk.reset()
        desk.trade(Decimal(BASE))
        signalled = self.signal(desk.symbol)
        await _soon(desk.entered, "entry")
        await asyncio.sleep(random.uniform(0.002, self.scenario.wait))
        if self.scenario.weather is Weather.CUT:
            self.server.drop_connections()
        self.sky.now = self.scenario.weather
        filled = desk.trade(ENTRY - Decimal("0.01"))
        await _soon(desk.covered, "exits")
        self.sky.now = Weather.SOUND
        if count:
            self.note("signal to order", signalled, desk.entry_at)
            self.note("fill to covered", filled, desk.covered_at)

    async def leave(self, desk: Desk) -> None:
        """The price falls through every stop."""
        await asyncio.sleep(0.002)
        desk.trade(STOP - Decimal("0.05"))
        await _soon(desk.flat, "close")

    async def entries(self) -> None:
        desk = self.desks[self.scenario.symbols[0]]
        for n in range(self.scenario.warm_up + self.scenario.entries):
            count = n >= self.scenario.warm_up
            if n == self.scenario.warm_up:
                self.seen.clear()
            await self.enter(desk, count=count)
            await self.leave(desk)

    async def faulted(self) -> None:
        """Entries that fill in bad weather, each after the streams have had time to be up."""
        desk = self.desks[self.scenario.symbols[0]]
        for _ in range(self.scenario.entries):
            await asyncio.sleep(self.scenario.seconds)
            await self.enter(desk, count=True)
            await self.leave(desk)

    async def stops(self) -> None:
        """Both targets fill, then the price climbs: the time from a new best price to the stop behind it."""
        desk = self.desks[self.scenario.symbols[0]]
        await self.enter(desk, count=False)
        for target in TARGETS:
            desk.trade(target + Decimal("0.01"))
            await asyncio.sleep(0.5)
        price = TARGETS[-1] + Decimal("0.5")
        desk.replaced.clear()
        for n in range(self.scenario.warm_up + self.scenario.entries):
            price += Decimal("0.05")
            await asyncio.sleep(0.12)
            desk.replaced.clear()
            at = desk.trade(price)
            await _soon(desk.replaced, "stop")
            if n >= self.scenario.warm_up:
                self.note("stop moved", at, desk.replaced_at)

    async def idle(self) -> None:
        await self._observe("idle")

    async def open_trade(self) -> None:
        await self._open_all()
        await self._observe("open")

    async def _open_all(self) -> None:
        """Ten at a time."""
        desks = list(self.desks.values())
        for n in range(0, len(desks), 10):
            await asyncio.gather(*(self.enter(desk, count=False) for desk in desks[n : n + 10]))

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
            for desk in self.desks.values():
                desk.trade(Decimal(BASE) + Decimal(step % 7) / 100)
        self.result.counts[f"{name} market trades a second"] = step * len(self.desks) / self.scenario.seconds
        self.result.counts[f"{name} weight a minute"] = self.seen["weight"] * 60 / self.scenario.seconds
        self.result.counts[f"{name} requests a minute"] = self.seen["requests"] * 60 / self.scenario.seconds

    async def many(self) -> None:
        """All symbols open and watched; then one of them trades while the others stay; then a score fill at once."""
        one, *others = self.desks.values()
        await self._open_all()
        await self._observe("open")
        murmur = asyncio.create_task(self._murmur(others))
        for n in range(self.scenario.warm_up + self.scenario.entries):
            await self.leave(one)
            await self.enter(one, count=n >= self.scenario.warm_up)
        murmur.cancel()
        for n in range(self.scenario.entries // BURST + 1):
            await self._burst(random.sample(list(self.desks.values()), BURST), count=n > 0)

    async def _murmur(self, desks: list[Desk]) -> None:
        """Each of them trades once a second."""
        while True:
            for desk in desks:
                desk.trade(Decimal(BASE) + Decimal(random.randrange(7)) / 100)
                await asyncio.sleep(1 / len(desks))

    async def _burst(self, desks: list[Desk], *, count: bool) -> None:
        """Twenty entries stand, and fill within the same second."""
        for desk in desks:
            await self.leave(desk)
            desk.reset()
            desk.trade(Decimal(BASE))
            self.signal(desk.symbol)
        await asyncio.gather(*(_soon(desk.entered, f"entry of {desk.symbol}") for desk in desks))
        took = sorted(await asyncio.gather(*map(self._fill, desks)))
        if count:
            for each in took:
                self.note("fill to covered, burst", 0, each)

    async def _fill(self, desk: Desk) -> float:
        """Some time within a second; how long it took from there until it was covered."""
        await asyncio.sleep(random.uniform(0, 1))
        filled = desk.trade(ENTRY - Decimal("0.01"))
        await _soon(desk.covered, f"exits of {desk.symbol}")
        return desk.covered_at - filled

    async def run(self) -> Result:
        plays = {
            "entries": self.entries,
            "faulted": self.faulted,
            "stops": self.stops,
            "idle": self.idle,
            "open": self.open_trade,
            "many": self.many,
        }
        self.listen()
        for desk in self.desks.values():
            desk.trade(Decimal(BASE))
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
