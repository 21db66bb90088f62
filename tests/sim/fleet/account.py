"""One account of a fleet: its exchange, its market, its signals, and what must hold of it.

Judged by the exchange's own books and by what the store has taken, never by what a node says of itself.
"""

from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace
from tests.sim import setup as world_setup
from tests.sim.checks import CALM_MS, Outside, taken_as_paid
from tests.sim.choices import Choices
from tests.sim.faults import Faults, phase_of
from tests.sim.fleet.cluster import Cluster
from tests.sim.fleet.exchange import NodeWire
from tests.sim.fleet.judged import Judged
from tests.sim.fleet.life import VENUE, Life
from tests.sim.setup import Market, Setup
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.walk import Walk, way_to_the_stops

from executor.config import Settings, load_settings
from executor.core.model.events import AnyEvent, SignalSeen
from executor.core.model.state import State
from executor.core.model.values import Direction, floor_to
from executor.core.transition import Step, empty
from executor.service.asking import Request
from executor.service.store.etcd import WATCH_SILENCE_S, Value
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Envelope
from executor.simulate.direct import Direct

TRADES: Final = 12
VOLUMES: Final = (10_000_000, 60, 5)  # of a trade of the market, in quote at the start
WINDOWS: Final = (5_000, 2_000, 30_000)
REFUSED_ENOUGH: Final = 2
"""So many signals refused by a halted account: its operator lets it trade again."""
RESUMES_MAX: Final = 4
POOR: Final = 6
"""So many signals in a row that came to no trade: the account may be too small for what was drawn."""
IN_VAIN: Final = 15
DEPOSIT: Final = Decimal(20_000)
HOLD_MS: Final = 90_000
PATIENCE: Final = 6
"""Steps after which an open trade meets a trend: what befalls the nodes counts here, not how long a market wanders."""
STEP_MS: Final = 1_500
ENDING_STEPS: Final = 20
SETTLED_MS: Final = 40_000
"""By then the calm has met whatever was owed for longer than anything may be."""
HEAD: Final = 100
"""So many bytes of a state tell it apart from others: its checksum is among them."""


class Fleet(Protocol):
    """What an account sees of the world around it."""

    timeline: Timeline
    cluster: Cluster
    judged: Judged
    broken: list[str]
    lives: list[Life]
    keys: Keys
    verbose: bool

    def say(self, text: str) -> None:
        """For who reads along."""


@cache
def settings_of(symbol: str) -> Settings:
    return load_settings({"BINANCE_ENV": "paper", "SYMBOL": symbol, "FLEET_NAME": "simulated"}, None)


class Account:
    """`price`: the last one of its market; `stored`: its state as the store has it; `trade_of`: by signal.

    `twin_of`: another whose symbol and prices it shares, so that each has the other's signals as well.
    """

    def __init__(
        self, name: str, fleet: Fleet, choices: Choices, *, nodes: int, wild: bool, twin_of: "Account | None" = None
    ) -> None:
        self.name = name
        self.choices = choices
        self._twin_of = twin_of
        self.group: list[Account] = [self] if twin_of is None else twin_of.group
        """Those who have a signal that one of them is sent."""
        markets = world_setup.MARKETS if twin_of is None else (twin_of.market,)
        drawn = world_setup.draw(choices, trades=TRADES, kinds=world_setup.SPOT, markets=markets)
        window = WINDOWS[choices.choose("fleet:window", len(WINDOWS))]
        hold = drawn.policy.max_hold_ms or HOLD_MS
        policy = replace(drawn.policy, recv_window_ms=window, max_hold_ms=hold)
        self.setup: Setup = replace(drawn, recv_window=window, policy=policy, step=min(drawn.step, STEP_MS))
        self.market: Market = self.setup.market
        self.rules = world_setup.rules(self.market.symbol)
        self.settings = settings_of(self.market.symbol)
        self.faults = Faults(choices, wild=wild)
        self.direct = Direct(world_setup.build(self.setup), world_setup.ACCOUNT, self.market.symbol)
        self.outside = Outside(self.direct, self.setup, self.rules)
        self.outside.broken = fleet.broken
        self.outside.saved = lambda: self.stored
        self.stored: State = empty(self.market.symbol, VENUE)
        self.price = self.market.price
        self.trade_of: dict[str, str] = {}
        self.outcomes: Counter[str] = Counter()
        self.signals = 0
        self.refused = 0
        self.epochs = 0
        self.writes = 0
        self.waiting: set[str] = set()
        """Signals that lie in the store, by their keys."""
        self._words: set[str] = set()
        """An operator's, which do."""
        self._fleet = fleet
        self._walk = Walk(choices, self.setup, patience=PATIENCE)
        self._own = fleet.keys.owner(name)
        self._state_key = fleet.keys.state(name, self.market.symbol)
        self._signal_keys = fleet.keys.signals(name)
        self._word_keys = fleet.keys.commands(name)
        self.keys = self._own, self._state_key, self._signal_keys, self._word_keys
        """Of the store, those that concern it, and what they begin with."""
        self._staged: dict[tuple[str, bytes], tuple[list[State], int]] = {}
        """By which steps a node has come to each state that it wrote, or was about to write."""
        self._steps: list[State] = []
        self._followed_to = 0
        self._seq = (0, 0)
        self._trade_ids = 0
        self._lines: list[tuple[str, bytes]] = []
        self._acknowledged: set[str] = set()
        self._refused_halted = 0
        self._in_vain = 0
        self._resumes = 0
        self._rich = False
        self._alerted_at = 0
        self._unsettled_at = 0
        self._forgotten_at = fleet.timeline.now
        self.wires = [self._wire() for _ in range(nodes)]
        for wire in self.wires[1:]:
            wire.share(self.wires[0])
        if twin_of is not None:
            self.group.append(self)

    def _wire(self) -> NodeWire:
        timeline = self._fleet.timeline
        wire = NodeWire(timeline, ServiceClock(timeline), self.direct, self.faults, self.setup)
        wire.on_placed = self.outside.placed
        wire.on_reports = self.outside.reported
        wire.on_pressed = self.outside.broken.append
        wire.on_behind = self.outside.kept_back
        wire.print_trade = self.print_trade
        return wire

    # --- how it stands -----------------------------------------------------------------------------------------------

    @property
    def owner(self) -> Value | None:
        return self._fleet.cluster.value(self._own)

    @property
    def has_trade(self) -> bool:
        return self.stored.position is not None

    @property
    def banned_until(self) -> int:
        return max(wire.banned_until for wire in self.wires)

    def busy(self) -> bool:
        """A trade is open, or may be about to be."""
        putting = any(life.puts[self.name] for life in self._fleet.lives if life.alive)
        return self.has_trade or putting or bool(self.waiting)

    def is_done(self) -> bool:
        """By itself; while another account makes no trades, it makes more than its share."""
        halted = self._refused_halted >= REFUSED_ENOUGH and self._resumes >= RESUMES_MAX
        return halted or self._in_vain >= IN_VAIN or len(self.trade_of) >= 2 * TRADES

    # --- its market --------------------------------------------------------------------------------------------------

    def walk(self) -> None:
        if self._twin_of is not None:
            self.print_trade(self._twin_of.price)
        else:
            self.print_trade(self._walk.after(self.price, trading=self.has_trade))

    def print_trade(self, price: Decimal, volume: Decimal | None = None) -> None:
        """A trade of the market at `price`, rounded to the tick."""
        self.price = max(floor_to(price, self.rules.tick), self.market.price / 50)
        if volume is None:
            volume = self.rules.whole(self.market.amount(1) * VOLUMES[self.faults.partial(3)])
        self._trade_ids += 1
        self.direct.engine.on_trade(
            self.market.symbol,
            self._trade_ids,
            self.price,
            volume,
            self._trade_ids % 2 == 0,
            self._fleet.timeline.now,
        )
        self.wires[0].deliver_pushes()
        if self.setup.quotes:
            for life in self._fleet.lives:
                run, wire = life.runs.get(self.name), life.wires[self.name]
                if life.alive and run is not None and not wire.cut:
                    run.quoted(self.direct.quote(wire.clock.now()))

    # --- signals -----------------------------------------------------------------------------------------------------

    def next_signal(self) -> None:
        """Once nothing is under way: a new one, or the last one once more. While no node answers nobody has one."""
        if all(life.loop.paused for life in self._fleet.lives if life.alive) or self._words:
            return
        if self._in_vain >= POOR and not self._rich:
            self._deposit()
        if self.stored.halted and self._refused_halted >= REFUSED_ENOUGH:
            self._resume()
        elif self._lines and self.choices.weigh("again", (0.1,)):
            self._send(*self._lines[-1])
        elif self._fleet.timeline.now >= self.stored.cooldown_until or self.choices.weigh("early", (0.1,)):
            self.signal()

    def signal(self) -> str:
        """A signal now, at the market or a little away from it; its id."""
        direction = world_setup.direction(self.choices)
        if direction is Direction.SHORT and not self.setup.balances.get(self.market.base):
            direction = Direction.LONG
        offset = (1, -2, -5, 8)[self.choices.choose("offset", 4)]
        self.signals += 1
        key = f"{self.name}{self.signals}"
        entry = self.price + direction.sign * offset * self.market.unit / 2
        fields: dict[str, object] = {
            "ts": self._fleet.timeline.now,
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
        alive = [life for life in self._fleet.lives if life.alive]
        first = self.choices.choose("fleet:inlet", max(len(alive), 1))
        for n in range(1 + self.choices.weigh("fleet:both", (0.2,))):
            if alive:
                life = alive[(first + n) % len(alive)]
                life.put(self.name, line, lambda: self._acknowledge(key))

    def _acknowledge(self, key: str) -> None:
        for account in self.group:
            account._acknowledged.add(key)

    def _deposit(self) -> None:
        self._rich = True
        now = self._fleet.timeline.now
        self.direct.engine.adjust_balance(world_setup.ACCOUNT, world_setup.QUOTE, DEPOSIT, now)
        self.outside.deposited(world_setup.QUOTE, DEPOSIT)
        self.wires[0].remember_balances()

    def _resume(self) -> None:
        """An operator's word, from some machine that reaches the store."""
        cluster = self._fleet.cluster
        if cluster.has_majority:
            self._resumes += 1
            self._refused_halted = 0
            key = self._fleet.keys.command(self.name, self.market.symbol, f"c{self._resumes}")
            cluster.put(key, msgspec.json.encode(Request("resume")))

    def _consumed(self, key: str, before: State, after: State) -> None:
        """The signal is gone from the store, with the state in which it was judged."""
        self.outcomes[key] += 1
        traded = any(
            each is not None and each.signal == key for each in (after.position, after.last_closed, before.position)
        )
        if traded:
            self._in_vain = 0
        elif before.position is None:
            self._in_vain += 1
        if not traded:
            self.refused += 1
            self._refused_halted += bool(after.halted)

    def judge_signals(self) -> None:
        for key in sorted(self._words):
            self._break(f"F6: {key} was said, and nobody has carried it out")
        left = {self._fleet.keys.names_in(key)[-1] for key in self.waiting}
        for key in sorted(self._acknowledged):
            if self.outcomes[key] != 1 and not self.outside.broken:
                where = "it waits in the store" if key in left else "nobody has it"
                self._break(f"F2: {key} was acknowledged and judged {self.outcomes[key]} times: {where}")

    def _break(self, text: str) -> None:
        self.outside.broken.append(f"{text} (account {self.name})")

    # --- what the store takes ----------------------------------------------------------------------------------------

    def staged(self, name: str, data: bytes, steps: list[State], made: int) -> None:
        self._staged[name, data[:HEAD]] = steps, made

    def committed(self, changed: dict[str, Value], deleted: dict[str, Value]) -> None:
        """A transaction that touches the account: what it put, and what it has deleted."""
        self.epochs += self._own in changed
        taken, words = self._gone(changed, deleted)
        written = changed.get(self._state_key)
        if written is not None:
            self._wrote(msgspec.json.decode(written.value, type=Envelope), taken, words)
        elif taken:
            self._break(f"F2: {', '.join(taken)} taken without a state")

    def _gone(self, changed: dict[str, Value], deleted: dict[str, Value]) -> tuple[list[str], list[str]]:
        """The ids of the signals, and the operator's words, that waited in the store until now."""
        self.waiting.update(key for key in changed if key.startswith(self._signal_keys))
        self._words.update(key for key in changed if key.startswith(self._word_keys))
        taken = [key for key in deleted if key in self.waiting]
        words = [key for key in deleted if key in self._words]
        self.waiting.difference_update(taken)
        self._words.difference_update(words)
        return [self._fleet.keys.names_in(key)[-1] for key in taken], words

    def _wrote(self, envelope: Envelope, taken: list[str], words: list[str]) -> None:
        self.writes += 1
        owner = self.owner
        if owner is None or owner.created != envelope.epoch:
            who = f"{owner.value.decode()} owns it since {owner.created}" if owner is not None else "nobody owns it"
            self._break(f"F1: {envelope.node} wrote in epoch {envelope.epoch}, and {who}")
        if (envelope.epoch, envelope.seq) <= self._seq:
            self._break(f"F1: write {envelope.epoch}.{envelope.seq} after {self._seq[0]}.{self._seq[1]}")
        self._seq = envelope.epoch, envelope.seq
        steps, made = self._staged[envelope.node, bytes(memoryview(envelope.state)[:HEAD])]
        if steps is not self._steps:
            self._steps, self._followed_to = steps, 0
        before, followed = self.stored, steps[self._followed_to : made]
        if words and all(state.halted for state in followed):
            self._break(f"F6: {', '.join(words)} is gone, and nobody has carried it out")
        for state in followed:
            self._follow(self.stored, state)
            self.stored = state
        self._followed_to = max(made, self._followed_to)
        for key in taken:
            self._consumed(key, before, self.stored)

    def _follow(self, before: State, after: State) -> None:
        position = after.position
        if position is not None and (before.position is None or before.position.trade != position.trade):
            known = self.trade_of.setdefault(position.signal, position.trade)
            if known != position.trade:
                self._break(f"F3: {position.signal} became the trades {known} and {position.trade}")
        self.faults.phase = phase_of(after)
        self.outside.broken.extend(self._fleet.judged.violations(before, after, self.setup.policy, self.rules))
        self.outside.stepped(before, after)

    # --- what the nodes tell -----------------------------------------------------------------------------------------

    def alerted(self) -> None:
        self._alerted_at = self._fleet.timeline.now

    def decided(self, name: str, event: AnyEvent, before: State, step: Step) -> None:
        fleet = self._fleet
        if not fleet.verbose:
            return
        who = f"{name}/{self.name}"
        told = f"{event.signal.key}" if isinstance(event, SignalSeen) else f"{event!r:.400}"
        fleet.say(f"{who} {self.price} {phase_of(step.state):12} {type(event).__name__} {told}")
        for note in step.notes:
            fleet.say(f"{who}   {note.level}: {note.text}")
        for request in step.requests:
            fleet.say(f"{who}   -> {request!r}")

    # --- now and then ------------------------------------------------------------------------------------------------

    def watch(self, stands_most_ms: int) -> None:
        """How long the position has been bare, by the exchange's books; and rule 14: an account whose loop stands still
        is somebody else's soon: the lease ends, as nobody renews it, or the account is given away.
        """
        position = self.stored.position
        trade = position.trade if position is not None else ""
        reckoned = taken_as_paid(position, self.rules)
        now = self._fleet.timeline.now
        if trade not in self.outside.trades or self.outside.bare(trade, reckoned) <= 0:
            self.outside.bare_since = 0
        elif not self.outside.bare_since:
            self.outside.bare_since = now
        if not self._fleet.cluster.has_majority:
            self._unsettled_at = now  # its leases last longer
        owner = self.owner
        self._is_traded(owner, stands_most_ms + int(WATCH_SILENCE_S * 1000))
        for life in self._fleet.lives:
            run, owned = life.runs.get(self.name), life.node.owned.get(self.name)
            if not life.alive or run is None or not run.stands_since or owner is None or owned is None:
                continue
            stood = now - max(run.stands_since, self._unsettled_at)
            if owner.created == owned.claim.epoch and stood > stands_most_ms:
                since = (now - run.stands_since) / 1000
                self._break(f"F5: {life.name} has stood still for {since:.1f} s and owns the account")

    def _is_traded(self, owner: Value | None, most_ms: int) -> None:
        """Whom the store names as its owner trades it, or gives it back: a claim's answer may have been lost."""
        now = self._fleet.timeline.now
        life = next((each for each in self._fleet.lives if owner is not None and each.name == owner.text), None)
        if life is None or owner is None or not life.forgets(self.name, owner) or self._unsettled_at == now:
            self._forgotten_at = now
        elif now - self._forgotten_at > most_ms:
            since = (now - self._forgotten_at) / 1000
            self._break(f"F7: {life.name} has owned the account for {since:.1f} s and does not trade it")

    # --- the calm ----------------------------------------------------------------------------------------------------

    def may_still_be_unsafe(self, begun: int) -> bool:
        """In the calm that has `begun` (ms) a trade has its time to become safe. One that has been for a while has had
        what it needs: whether it ends the walk to its stops shows.
        """
        now, grace = self._fleet.timeline.now, self.setup.policy.failsafe_grace_ms
        begun = max(begun, self.banned_until)
        if not self.busy() or (now >= begun + SETTLED_MS and not self._unsafe()):
            return False
        end = begun + CALM_MS
        return now < (end + 2 * grace if self.outside.has_time(now, grace) else end)

    def _unsafe(self) -> str:
        return self.outside.unsafe(self.stored, self._alerted_at, self._fleet.timeline.now)

    def must_be_safe(self) -> None:
        self.outside.must_be_safe(self.stored, self._alerted_at, self._fleet.timeline.now)

    def must_be_over(self) -> None:
        self.outside.must_be_over(self.stored, self._alerted_at)
        self.outside.balances()

    def step_to_the_stops(self) -> Decimal:
        """By how much the price must move, `ENDING_STEPS` times, to be beyond everything that protects the trade."""
        return way_to_the_stops(self.stored.position, self.price, self.market) / ENDING_STEPS

    def must_have_judged(self, key: str, within_s: int) -> None:
        if not self.outcomes[key]:
            owner = self.owner
            who = f"{owner.value.decode()} owns the account" if owner is not None else "nobody owns the account"
            self._break(f"F4: {key} is not judged after {within_s} s of calm, {who}")
