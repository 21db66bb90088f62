"""A run of a fleet: market, exchange, etcd and two to four nodes in virtual time, from a plan.

It trades under faults; then comes the calm: nothing goes wrong any more, and the trade must end flat, covered, or
halted with an alert; then the market walks through every stop and target, and nothing may be left. What must hold is
judged by the exchange's own books and by what the store has taken, never by what a node says of itself.
"""

import traceback
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace
from tests.sim import setup as world_setup
from tests.sim.checks import CALM_MS, Outside, taken_as_paid
from tests.sim.choices import Choice, Choices
from tests.sim.faults import Faults, phase_of
from tests.sim.fleet.cluster import LATE_MS, Cluster
from tests.sim.fleet.exchange import NodeWire
from tests.sim.fleet.faults import FleetFaults
from tests.sim.fleet.judged import Judged, asked_of
from tests.sim.fleet.life import ACCOUNT, VENUE, Life
from tests.sim.setup import Setup
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.walk import Walk

from executor.config import Settings, load_settings
from executor.core.model.events import AnyEvent, SignalSeen
from executor.core.model.state import State
from executor.core.model.values import ZERO, Direction, floor_to
from executor.core.transition import Step, empty
from executor.paper.engine.model import ExecutionReport
from executor.service.store.etcd import Value
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Envelope
from executor.simulate.direct import Direct

ENDING_STEPS: Final = 20
STEPS_MAX: Final = 600
VOLUMES: Final = (10_000_000, 60, 5)  # of a trade of the market, in quote at the start
DOWN: Final = (2_000, 200, 20_000)
CUTS: Final = (7_000, 2_000, 25_000)
NO_MAJORITY: Final = (3_000, 800, 15_000)
DRAINED_MS: Final = 30_000
TTLS: Final = (5, 10, 3)
NODES: Final = (2, 3, 2, 4)
WINDOWS: Final = (5_000, 2_000, 30_000)
REFUSED_ENOUGH: Final = 4
IN_VAIN: Final = 15
"""So many signals refused, and none taken: the account is too small for what was drawn."""
LATEST_MS: Final = max(LATE_MS) + 1_000
"""By then whatever was on its way to the store has come: a signal that nobody acknowledged may be among it."""
HOLD_MS: Final = 90_000
STEP_MS: Final = 1_500
JUDGED_MS: Final = 60_000
"""In the calm a signal is judged within this time: a lease's end, a node's turn, the orders looked up."""
HEAD: Final = 100
"""So many bytes of a state tell it apart from others: its checksum is among them."""


class FleetResult(msgspec.Struct):
    """`broken`: what was violated, in words; `plan`: what was chosen; times ms."""

    broken: list[str]
    plan: list[Choice]
    trades: int = 0
    signals: int = 0
    refused: int = 0
    nodes: int = 0
    epochs: int = 0
    kills: int = 0
    writes: int = 0
    virtual_ms: int = 0
    tally: dict[tuple[str, str], int] = {}
    exchange_tally: dict[tuple[str, str], int] = {}
    closed: dict[str, int] = {}
    log: list[str] = []


@cache
def _settings(symbol: str) -> Settings:
    return load_settings({"BINANCE_ENV": "paper", "SYMBOL": symbol, "FLEET_NAME": "simulated"}, None)


class FleetWorld:
    def __init__(self, choices: Choices, *, wild: bool = True, verbose: bool = False) -> None:
        self.choices = choices
        drawn = world_setup.draw(choices, trades=8, kinds=world_setup.SPOT)
        window = WINDOWS[choices.choose("fleet:window", len(WINDOWS))]
        # Trades that come to their ends soon: what befalls the nodes counts here, not how long a market wanders.
        hold = drawn.policy.max_hold_ms or HOLD_MS
        policy = replace(drawn.policy, recv_window_ms=window, max_hold_ms=hold)
        self.setup: Setup = replace(drawn, recv_window=window, policy=policy, step=min(drawn.step, STEP_MS))
        self.verbose = verbose
        self.log: list[str] = []
        self.market = self.setup.market
        self.rules = world_setup.rules(self.market.symbol)
        self.timeline = Timeline()
        self.engine = world_setup.build(self.setup)
        self.direct = Direct(self.engine, world_setup.ACCOUNT, self.market.symbol)
        self.faults = Faults(choices, wild=wild)
        self.fleet_faults = FleetFaults(choices, wild=wild)
        self.outside = Outside(self.direct, self.setup, self.rules)
        self.cluster = Cluster(self.timeline)
        self.judged = Judged()
        self.cluster.on_commit = self._committed
        self.stored: State = empty(self.market.symbol, VENUE)
        self.outside.saved = lambda: self.stored
        self.price = self.market.price
        self._walk = Walk(choices, self.setup)
        self._keys = Keys("simulated")
        self._own = self._keys.owner(ACCOUNT)
        self._state_key = self._keys.state(ACCOUNT, self.market.symbol)
        self._staged: dict[tuple[str, bytes], tuple[list[State], int]] = {}
        """By which steps a node has come to each state that it wrote, or was about to write."""
        self._steps: list[State] = []
        self._followed_to = 0
        self._seq = (0, 0)
        self._trade_ids = 0
        self._signals = 0
        self._lines: list[tuple[str, bytes]] = []
        self._acknowledged: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._refused = 0
        self._refused_halted = 0
        self._trade_of: dict[str, str] = {}
        self._alerted_at = 0
        self._epochs = 0
        self._writes = 0
        self._kills = 0
        self._started_at = self.timeline.now
        self._unsettled_at = 0
        self._ttl = ttl = TTLS[choices.choose("fleet:ttl", len(TTLS))]
        base = _settings(self.market.symbol)
        names = [f"n{n + 1}" for n in range(NODES[choices.choose("fleet:nodes", len(NODES))])]
        update = {"fleet_ttl_sec": ttl}
        self.settings = [base.model_copy(update={**update, "fleet_node": name}) for name in names]
        self.wires = [self._wire() for _ in names]
        for wire in self.wires[1:]:
            wire.share(self.wires[0])
        self.lives: list[Life] = []
        self._all_lives: list[Life] = []
        self._happenings: dict[str, Callable[[Life], None]] = {
            "node_paused": lambda life: life.loop.pause(self.fleet_faults.pause()),
            "node_killed": lambda life: life.kill(),
            "node_stopped": lambda life: life.node.stop(),
            "drain": self._drain,
            "hung": self._hang,
            "store_cut": lambda life: self._cut_store(life, silent=False),
            "store_cut_silent": lambda life: self._cut_store(life, silent=True),
            "exchange_cut": lambda life: life.wire.cut_off(CUTS[self.fleet_faults.detail("cut", len(CUTS))]),
            "no_majority": self._lose_majority,
            "watch_broken": lambda life: life.link.break_watches(),
            "clock_step": self._bend_clock,
            "clock_drift": self._let_clock_drift,
            "price_jump": self._jump,
        }

    def _wire(self) -> NodeWire:
        clock = ServiceClock(self.timeline)
        wire = NodeWire(self.timeline, clock, self.direct, self.faults, self.setup)
        wire.on_placed = self.outside.placed
        wire.on_reports = self._reported
        wire.on_pressed = self.outside.broken.append
        wire.on_behind = self.outside.kept_back
        wire.print_trade = self.print_trade
        return wire

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> FleetResult:
        with _logging_to(self.say if self.verbose else None), asked_of(self.judged):
            for part in (self._run, self._end):
                try:
                    part()
                except (AssertionError, ArithmeticError, LookupError, AttributeError, TypeError, ValueError) as error:
                    self.failed(error)
        return self.result()

    def result(self) -> FleetResult:
        return FleetResult(
            broken=self.outside.broken,
            plan=self.choices.made,
            trades=self.outside.opened,
            signals=self._signals,
            refused=self._refused,
            nodes=len(self.settings),
            epochs=self._epochs,
            kills=self._kills,
            writes=self._writes,
            virtual_ms=self.timeline.now - self._started_at,
            tally=dict(self.fleet_faults.tally),
            exchange_tally=dict(self.faults.tally),
            closed=dict(self.outside.closed),
            log=self.log,
        )

    def _run(self) -> None:
        self.print_trade(self.price)
        self.lives = [self._begin_life(n) for n in range(len(self.settings))]
        self.advance(3_000)
        for _ in range(STEPS_MAX):
            if self.outside.broken or (not self._busy() and self._is_done()):
                break
            self._market_step()
        self._calm_down()

    def _begin_life(self, n: int) -> Life:
        """Of the nth node."""
        life = Life(self, self.settings[n], self.wires[n])
        self._all_lives.append(life)
        return life

    def _end(self) -> None:
        for life in self._all_lives:
            life.end()

    def advance(self, ms: int) -> None:
        self.timeline.run_until(self.timeline.now + ms)
        self._watch()

    def _is_done(self) -> bool:
        in_vain = self._refused >= IN_VAIN and not self._trade_of
        return in_vain or len(self._trade_of) >= self.setup.trades or self._refused_halted >= REFUSED_ENOUGH

    def _busy(self) -> bool:
        """A trade is open, or may be about to be."""
        putting = any(life.puts for life in self.lives if life.alive)
        return self.stored.position is not None or putting or bool(self._waiting())

    def _waiting(self) -> list[Value]:
        return self.cluster.values(self._keys.signals(ACCOUNT))

    def _market_step(self) -> None:
        self.print_trade(self._walk.after(self.price, trading=self.stored.position is not None))
        if fault := self.fleet_faults.outside():
            self._happenings[fault](self._some_life())
        self.advance(self.setup.step)
        if not self._busy() and not self._is_done():
            if self._lines and self.choices.weigh("again", (0.1,)):
                self._send(*self._lines[-1])
            elif self.timeline.now >= self.stored.cooldown_until or self.choices.weigh("early", (0.1,)):
                self.signal()

    def print_trade(self, price: Decimal, volume: Decimal | None = None) -> None:
        """A trade of the market at `price`, rounded to the tick."""
        self.price = max(floor_to(price, self.rules.tick), self.market.price / 50)
        if volume is None:
            volume = self.rules.whole(self.market.amount(1) * VOLUMES[self.faults.partial(3)])
        self._trade_ids += 1
        self.engine.on_trade(
            self.market.symbol, self._trade_ids, self.price, volume, self._trade_ids % 2 == 0, self.timeline.now
        )
        self.wires[0].deliver_pushes()
        if self.setup.quotes:
            for life in self.lives:
                if life.alive and life.run is not None and not life.wire.cut:
                    life.run.quoted(self.direct.quote(life.clock.now()))

    # --- signals -----------------------------------------------------------------------------------------------------

    def signal(self) -> str:
        """A signal now, at the market or a little away from it; its id."""
        direction = world_setup.direction(self.choices)
        if direction is Direction.SHORT and not self.setup.balances.get(self.market.base):
            direction = Direction.LONG
        offset = (1, -2, -5, 8)[self.choices.choose("offset", 4)]
        self._signals += 1
        key = f"s{self._signals}"
        entry = self.price + direction.sign * offset * self.market.unit / 2
        fields: dict[str, object] = {
            "ts": self.timeline.now,
            "symbol": self.market.symbol,
            "side": direction.value,
            "price": str(self.price),
            "entry": str(entry),
            "id": key,
        }
        if self.choices.choose("targets", 3) == 2:
            fields["targets"] = [str(entry + direction.sign * 6 * self.market.unit)]
        line = msgspec.json.encode(fields)
        self._lines.append((key, line))
        self._send(key, line)
        return key

    def _send(self, key: str, line: bytes) -> None:
        """To one node, or to two: by a client that does not know whether the first has it."""
        alive = [life for life in self.lives if life.alive]
        first = self.choices.choose("fleet:inlet", max(len(alive), 1))
        for n in range(1 + self.choices.weigh("fleet:both", (0.2,))):
            if alive:
                life = alive[(first + n) % len(alive)]
                life.put(line, lambda: self._acknowledged.add(key))

    def _consumed(self, key: str, before: State, after: State) -> None:
        """The signal is gone from the store, with the state in which it was judged."""
        self._outcomes[key] += 1
        traded = any(
            each is not None and each.signal == key for each in (after.position, after.last_closed, before.position)
        )
        if not traded:
            self._refused += 1
            self._refused_halted += bool(after.halted)

    def _judge_signals(self) -> None:
        left = {self._keys.names_in(value.key)[-1] for value in self._waiting()}
        for key in sorted(self._acknowledged):
            if self._outcomes[key] != 1 and not self.outside.broken:
                where = "it waits in the store" if key in left else "nobody has it"
                self.outside.broken.append(
                    f"F2: {key} was acknowledged and judged {self._outcomes[key]} times: {where}"
                )

    # --- what the store takes ----------------------------------------------------------------------------------------

    def staged(self, name: str, data: bytes, steps: list[State], made: int) -> None:
        self._staged[name, data[:HEAD]] = steps, made

    def _committed(self, changed: dict[str, Value], deleted: dict[str, Value]) -> None:
        if self._own in changed:
            self._epochs += 1
        written = changed.get(self._state_key)
        taken = [self._keys.names_in(key)[-1] for key in deleted if key.startswith(self._keys.signals(ACCOUNT))]
        if written is None:
            if taken:
                self.outside.broken.append(f"F2: {', '.join(taken)} taken without a state")
            return
        self._writes += 1
        envelope = msgspec.json.decode(written.value, type=Envelope)
        owner = self.cluster.value(self._own)
        if owner is None or owner.created != envelope.epoch:
            who = f"{owner.value.decode()} owns it since {owner.created}" if owner is not None else "nobody owns it"
            self.outside.broken.append(f"F1: {envelope.node} wrote in epoch {envelope.epoch}, and {who}")
        if (envelope.epoch, envelope.seq) <= self._seq:
            self.outside.broken.append(f"F1: write {envelope.epoch}.{envelope.seq} after {self._seq[0]}.{self._seq[1]}")
        self._seq = envelope.epoch, envelope.seq
        steps, made = self._staged[envelope.node, bytes(memoryview(envelope.state)[:HEAD])]
        if steps is not self._steps:
            self._steps, self._followed_to = steps, 0
        before = self.stored
        for state in steps[self._followed_to : made]:
            self._follow(self.stored, state)
            self.stored = state
        self._followed_to = max(made, self._followed_to)
        for key in taken:
            self._consumed(key, before, self.stored)

    def _follow(self, before: State, after: State) -> None:
        position = after.position
        if position is not None and (before.position is None or before.position.trade != position.trade):
            known = self._trade_of.setdefault(position.signal, position.trade)
            if known != position.trade:
                self.outside.broken.append(f"F3: {position.signal} became the trades {known} and {position.trade}")
        self.faults.phase = phase_of(after)
        self.outside.broken.extend(self.judged.violations(before, after, self.setup.policy, self.rules))
        self.outside.stepped(before, after)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _some_life(self) -> Life:
        """Mostly the one that owns the account: what befalls the others matters less."""
        owner = self.cluster.value(self._own)
        named = [life for life in self.lives if owner is not None and life.name == owner.value.decode()]
        if named and not self.fleet_faults.detail("other", 3):
            return named[0]
        return self.lives[self.fleet_faults.detail("node", len(self.lives))]

    def _drain(self, life: Life) -> None:
        key = self._keys.drain(life.name)
        if self.cluster.has_majority and self.cluster.value(key) is None:
            self._store("kv/put", key)
            self.timeline.at(self.timeline.now + DRAINED_MS, lambda: self._undrain(key))

    def _undrain(self, key: str) -> None:
        if self.cluster.has_majority:
            self._store("kv/deleterange", key)
        else:
            self.timeline.at(self.timeline.now + 1_000, lambda: self._undrain(key))

    def _store(self, path: str, key: str) -> None:
        self.cluster.serve(path, {"key": b64encode(key.encode()).decode(), "value": ""})

    def _hang(self, life: Life) -> None:
        others = [each for each in self.lives if each is not life and each.alive]
        if others and life.run is not None and not any(each.run is not None and each.run.hung for each in others):
            life.run.hung = True

    def _cut_store(self, life: Life, *, silent: bool) -> None:
        life.link.cut_until = self.timeline.now + CUTS[self.fleet_faults.detail("cut", len(CUTS))]
        if not silent:
            life.link.break_watches()

    def _lose_majority(self, _life: Life) -> None:
        ms = NO_MAJORITY[self.fleet_faults.detail("no_majority", len(NO_MAJORITY))]
        self.cluster.lose_majority(ms, leases_kept=not self.fleet_faults.detail("leases", 2))

    def _bend_clock(self, life: Life) -> None:
        life.clock.bend((700, -700, 2_500, -4_000, -20_000)[self.fleet_faults.detail("skew", 5)])
        self.timeline.at(self.timeline.now + 60_000, life.clock.sync)

    def _let_clock_drift(self, life: Life) -> None:
        life.clock.let_drift((20, -50)[self.fleet_faults.detail("drift", 2)])
        self.timeline.at(self.timeline.now + 60_000, life.clock.sync)

    def _jump(self, _life: Life) -> None:
        self.print_trade(self.price + self.market.unit * (25, -25, 60, -60)[self.fleet_faults.detail("jump", 4)])

    def died(self, life: Life) -> None:
        self._kills += 1
        self.timeline.at(self.timeline.now, life.bury)
        self._restart(life)

    def _restart(self, life: Life) -> None:
        n = self.lives.index(life)
        down = DOWN[self.fleet_faults.detail("down", len(DOWN))]

        def begin() -> None:
            self.lives[n] = self._begin_life(n)

        self.timeline.at(self.timeline.now + down, begin)

    # --- what the nodes tell -----------------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """An error of the program would end the account's run, and again after each start."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        self.outside.broken.append(f"E ({place}): {type(error).__name__} {str(error)[:300]}")

    def alerted(self) -> None:
        self._alerted_at = self.timeline.now

    def decided(self, name: str, event: AnyEvent, before: State, step: Step) -> None:
        if not self.verbose:
            return
        told = f"{event.signal.key}" if isinstance(event, SignalSeen) else f"{event!r:.400}"
        self.say(f"{name} {self.price} {phase_of(step.state):12} {type(event).__name__} {told}")
        for note in step.notes:
            self.say(f"{name}   {note.level}: {note.text}")
        for request in step.requests:
            self.say(f"{name}   -> {request!r}")

    def say(self, text: str) -> None:
        self.log.append(f"{(self.timeline.now - self._started_at) / 1000:9.3f} {text}")

    def _reported(self, reports: list[ExecutionReport]) -> None:
        self.outside.reported(reports)

    def _watch(self) -> None:
        """How long the position has been bare, by the exchange's books."""
        for life in list(self.lives):
            if not life.loop.dead and life.task.done() and life.run is None and not getattr(life, "over", False):
                life.over = True  # type: ignore[attr-defined]
                self._restart(life)
        position = self.stored.position
        trade = position.trade if position is not None else ""
        reckoned = taken_as_paid(position, self.rules)
        bare = trade in self.outside.trades and self.outside.bare(trade, reckoned) > 0
        if not bare:
            self.outside.bare_since = 0
        elif not self.outside.bare_since:
            self.outside.bare_since = self.timeline.now
        self._owner_turns()

    def _owner_turns(self) -> None:
        """An account whose loop stands still is somebody else's soon: the lease ends, as nobody renews it (rule 14)."""
        if not self.cluster.has_majority:
            self._unsettled_at = self.timeline.now  # its leases last longer
        for life in self.lives:
            owner, owned = self.cluster.value(self._own), life.node.owned.get(ACCOUNT)
            if not life.alive or life.run is None or not life.run.stands_since or owner is None or owned is None:
                continue
            stood = self.timeline.now - max(life.run.stands_since, self._unsettled_at)
            if owner.created == owned.claim.epoch and stood > 2_000 * self._ttl + LATEST_MS:
                since = (self.timeline.now - life.run.stands_since) / 1000
                self.outside.broken.append(f"F5: {life.name} has stood still for {since:.1f} s and owns the account")

    # --- the calm ----------------------------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        if self.outside.broken:
            return
        self.faults.calm = self.fleet_faults.calm = True
        self.cluster.regain_majority()
        for value in self.cluster.values(self._keys.drains):
            self._undrain(value.key)
        for life, wire in zip(self.lives, self.wires, strict=True):
            life.link.cut_until = 0
            wire.cut_until = 0
            wire.clock.sync()
        while any(life.loop.paused or not life.alive for life in self.lives):
            self.advance(1_000)
        self.advance(LATEST_MS)
        end = max(self.timeline.now, *(wire.banned_until for wire in self.wires)) + CALM_MS
        grace = self.setup.policy.failsafe_grace_ms
        while self._busy() and not self.outside.broken:
            due = end + 2 * grace if self.outside.has_time(self.timeline.now, grace) else end
            if self.timeline.now >= due:
                break
            self.print_trade(self.price)
            self.advance(3_000)
        self.outside.must_be_safe(self.stored, self._alerted_at, self.timeline.now)
        self._walk_to_the_end()
        self._one_signal_more()
        self._judge_signals()

    def _walk_to_the_end(self) -> None:
        step = self._way_to_the_stops() / ENDING_STEPS
        for n in range(ENDING_STEPS + 10):
            if self.outside.broken or self.stored.position is None:
                break
            self.print_trade(self.price + (step if n < ENDING_STEPS else 0))
            self.advance(4_000)
        self.advance(3_000)
        self.outside.must_be_over(self.stored, self._alerted_at)
        self.outside.balances()

    def _way_to_the_stops(self) -> Decimal:
        """How far, and which way, the price must move to be beyond everything that protects the trade."""
        position = self.stored.position
        if position is None:
            return ZERO
        sign = -position.plan.direction.sign
        levels = [position.plan.stop, *(leg.stop for leg in position.legs if leg.stop is not None)]
        farthest = max(sign * (level - self.price) for level in levels)
        return sign * (max(farthest, ZERO) + 100 * self.market.unit)

    def _one_signal_more(self) -> None:
        """The account has an owner who works: a signal at any node is judged."""
        if self.outside.broken:
            return
        while self.timeline.now < max(wire.banned_until for wire in self.wires):
            self.advance(2_000)  # a ban is a fault until it ends
        key = self.signal()
        for _ in range(JUDGED_MS // 2_000):
            if self._outcomes[key]:
                return
            self.print_trade(self.price)
            self.advance(2_000)
        owner = self.cluster.value(self._own)
        who = f"{owner.value.decode()} owns the account" if owner is not None else "nobody owns the account"
        self.outside.broken.append(f"F4: {key} is not judged after {JUDGED_MS // 1000} s of calm, {who}")


class _Words:
    """In place of the service's log: what it says goes to `tell`, if anybody wants to hear it."""

    tell: Callable[[str], None] | None = None

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def bind(self, **_: object) -> "_Words":
        return self

    def info(self, event: str, **more: object) -> None:
        if _Words.tell is not None:
            _Words.tell(f"  log: {event} {more}")

    warning = error = exception = debug = critical = info


@contextmanager
def _logging_to(tell: Callable[[str], None] | None) -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=_Words)  # type: ignore[arg-type]
    _Words.tell = tell
    try:
        yield
    finally:
        structlog.configure(**before)
        _Words.tell = None
