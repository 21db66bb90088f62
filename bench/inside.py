"""What is measured without a network: the core, the simulation, the disk."""

import os
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from executor.core.model.events import AnyEvent, QuoteSeen, Reported, Tick
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import SCHEMA_VERSION, State
from executor.core.model.values import Direction
from executor.core.transition import Step, transition
from executor.exchange.wire.rules import Commission, exchange_info, symbol_rules
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info, demo_trades
from executor.service.store.document import document_of
from executor.service.store.state_store import StateStore, seal
from executor.simulate.direct import Direct
from executor.simulate.session import Session

SYMBOL: Final = "LTCUSDT"
ROUNDS: Final = 7
CHUNK: Final = 250


class Mix(msgspec.Struct, frozen=True):
    """What the core has to do with: a signal each `signal_every_ms` at most, of so many `usd`."""

    name: str
    signal_every_ms: int
    usd: int


QUOTES: Final = Mix("mostly prices", 120_000, 100)
FILLS: Final = Mix("many fills", 5_000, 3_000)
"""One trade after the other, of a size that the market takes in pieces."""


class Day:
    """The bundled recording, traded by the core on the engine: its events and the state at a full entry."""

    def __init__(self, mix: Mix = QUOTES) -> None:
        self.mix = mix
        info = bundled_exchange_info()
        row = next(row for row in info["symbols"] if row["symbol"] == SYMBOL)
        fees = msgspec.json.decode(b'{"standardCommission":{"maker":"0.001","taker":"0.001"}}', type=Commission)
        rules = symbol_rules(exchange_info(msgspec.json.encode(info)), SYMBOL, fees)
        assert rules is not None  # the bundled exchange lists it
        self.rules = rules
        self.engine = Engine([Symbol.from_exchange_info(row)])
        self.engine.open_account("bench", {"USDT": Decimal(10_000), "LTC": Decimal(50)})
        self.policy = Policy(
            notional=Decimal(mix.usd), cooldown_ms=0, cooldown_abort_ms=0, lock_ms=0, planb_max_dev_r=Decimal(1)
        )
        self.trades: list[MarketTrade] = list(demo_trades())
        self.steps: list[tuple[State, AnyEvent]] = []
        self.entered: State | None = None
        self._before: State | None = None
        self.closed = 0

    def play(self, *, keep: bool) -> float:
        """Seconds that it took."""
        session = Session(Direct(self.engine, "bench", SYMBOL), self.policy, self.rules, self._heard if keep else _deaf)
        self._before = session.state
        next_signal = self.trades[0].time + 60_000
        began = time.perf_counter()
        for trade in self.trades:
            due = session.next_timer()
            while due is not None and due < trade.time:
                session.tick(due)
                due = session.next_timer()
            self.engine.on_trade(SYMBOL, trade.trade_id, trade.price, trade.qty, trade.buyer_is_maker, trade.time)
            if session.state.position is not None:
                session.market(trade.time)
            elif trade.time >= next_signal:
                next_signal = trade.time + self.mix.signal_every_ms
                session.signal(
                    Signal(key=str(trade.time), at=trade.time, direction=Direction.LONG, price=trade.price), trade.time
                )
        return time.perf_counter() - began

    def _heard(self, event: AnyEvent, step: Step) -> None:
        if self._before is not None:
            self.steps.append((self._before, event))
        if len(step.requests) == 3 and step.state.position is not None:
            self.entered = step.state
        self._before = step.state


def _deaf(_event: AnyEvent, _step: Step) -> None:
    pass


Steps = list[tuple[State, AnyEvent]]
Take = Callable[[State, AnyEvent, Policy, SymbolRules], Step]


def per_step(day: Day, steps: Steps, take: Take) -> float:
    """Microseconds of a processor for one of `steps`: each few of them at their best, as the machine is shared."""
    total = 0.0
    for at in range(0, len(steps), CHUNK):
        chunk = steps[at : at + CHUNK]
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for state, event in chunk:
                take(state, event, day.policy, day.rules)
            times.append(time.process_time() - began)
        total += min(times)
    return total / len(steps) * 1e6


def by_kind(day: Day) -> tuple[Steps, Steps]:
    """The steps in which only price or time has moved, and the rest."""
    quiet: Steps = []
    rest: Steps = []
    for step in day.steps:
        (quiet if isinstance(step[1], QuoteSeen | Tick) else rest).append(step)
    return quiet, rest


def covering(day: Day, samples: int) -> Steps:
    """The steps of a whole fill that send out all three exits: as long as they take, the position is bare."""
    found: Steps = [
        (state, event)
        for state, event in day.steps
        if isinstance(event, Reported) and len(transition(state, event, day.policy, day.rules).requests) == 3
    ]
    return found * (samples // len(found) + 1)


def persist(state: State, folder: Path, count: int) -> dict[str, list[float]]:
    """Samples in microseconds, of the store and of the bare operations, turn by turn."""
    store = StateStore(folder / "state.json", schema_version=SCHEMA_VERSION)
    tidy = StateStore(folder / "tidy.json", schema_version=SCHEMA_VERSION)
    document = document_of(state)
    data = seal(document, SCHEMA_VERSION)
    ways: dict[str, Callable[[], object]] = {
        "persist, as orders wait for it": lambda: store.commit(document_of(state)),
        "persist, everything in order": lambda: tidy.save(document_of(state)),
        "bare write+fsync+rename": lambda: _bare(folder, data),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(count + 10):
        for name, way in ways.items():
            began = time.perf_counter_ns()
            way()
            if n >= 10:
                samples[name].append((time.perf_counter_ns() - began) / 1000)
    return samples


def _bare(folder: Path, data: bytes) -> None:
    path = folder / "bare.tmp"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    os.fsync(descriptor)
    os.close(descriptor)
    path.rename(folder / "bare")
