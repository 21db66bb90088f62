"""A run of a fleet: etcd, two to four nodes and one to six accounts that they share in virtual time, from a plan.

They trade under faults; then comes the calm: nothing goes wrong any more, and each trade must end flat, covered, or
halted with an alert; then the markets walk through every stop and target, and nothing may be left. What must hold is
judged by the exchange's own books and by what the store has taken, never by what a node says of itself (account.py).
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
from tests.sim.choices import Choice, Choices, ChoicesOf
from tests.sim.fleet.account import ENDING_STEPS, TRADES, Account
from tests.sim.fleet.cluster import LATE_MS, Cluster
from tests.sim.fleet.faults import FleetFaults
from tests.sim.fleet.judged import Judged, asked_of
from tests.sim.fleet.life import Life
from tests.sim.timeline import Timeline
from tests.sim.world import ERRORS

from executor.service.store.etcd import Value
from executor.service.store.fleet_keys import Keys

STEPS_MAX: Final = 600
DOWN: Final = (2_000, 200, 20_000)
CUTS: Final = (7_000, 2_000, 25_000)
NO_MAJORITY: Final = (3_000, 800, 15_000)
DRAINED_MS: Final = 30_000
TTLS: Final = (5, 10, 3)
NODES: Final = (2, 3, 2, 4)
ACCOUNTS: Final = (1, 4, 6, 3, 5, 2)
NAMES: Final = "abcdef"
TWINS: Final = 0.3
"""So often an account has the symbol and the signals of the one before it."""
LATEST_MS: Final = max(LATE_MS) + 1_000
"""By then whatever was on its way to the store has come: a signal that nobody acknowledged may be among it."""
JUDGED_MS: Final = 60_000
"""In the calm a signal is judged within this time: a lease's end, a node's turn, the orders looked up."""


class FleetResult(msgspec.Struct):
    """`broken`: what was violated, in words; `plan`: what was chosen; times ms."""

    broken: list[str]
    plan: list[Choice]
    trades: int = 0
    signals: int = 0
    refused: int = 0
    nodes: int = 0
    accounts: int = 0
    epochs: int = 0
    kills: int = 0
    writes: int = 0
    virtual_ms: int = 0
    tally: dict[tuple[str, str], int] = {}
    exchange_tally: dict[tuple[str, str], int] = {}
    closed: dict[str, int] = {}
    log: list[str] = []


class FleetWorld:
    def __init__(self, choices: Choices, *, wild: bool = True, verbose: bool = False) -> None:
        self.choices = choices
        self.verbose = verbose
        self.broken: list[str] = []
        self.log: list[str] = []
        self.keys = Keys("simulated")
        self.timeline = Timeline()
        self.cluster = Cluster(self.timeline)
        self.judged = Judged()
        self.lives: list[Life] = []
        self._all_lives: list[Life] = []
        self._kills = 0
        self._started_at = self.timeline.now
        count = ACCOUNTS[choices.choose("fleet:accounts", len(ACCOUNTS))]
        nodes = NODES[choices.choose("fleet:nodes", len(NODES))]
        self._ttl = ttl = TTLS[choices.choose("fleet:ttl", len(TTLS))]
        self.fleet_faults = FleetFaults(choices, wild=wild, crowd=count / nodes)
        self.accounts: list[Account] = []
        for name in NAMES[:count]:
            share = ChoicesOf(choices, name) if self.accounts else choices
            twin_of = self.accounts[-1] if self.accounts and share.weigh("twin", (TWINS,)) else None
            self.accounts.append(Account(name, self, share, nodes=nodes, wild=wild, twin_of=twin_of))
        self.names = [f"n{n + 1}" for n in range(nodes)]
        self.settings = {
            account.name: account.settings.model_copy(update={"fleet_ttl_sec": ttl}) for account in self.accounts
        }
        self.cluster.on_commit = self._committed
        self._happenings: dict[str, Callable[[Life], None]] = {
            "node_paused": lambda life: life.loop.pause(self.fleet_faults.pause()),
            "node_killed": lambda life: life.kill(),
            "node_stopped": lambda life: life.node.stop(),
            "drain": self._drain,
            "hung": self._hang,
            "store_cut": lambda life: self._cut_store(life, silent=False),
            "store_cut_silent": lambda life: self._cut_store(life, silent=True),
            "exchange_cut": self._cut_exchange,
            "no_majority": self._lose_majority,
            "watch_broken": lambda life: life.link.break_watches(),
            "clock_step": self._bend_clock,
            "clock_drift": self._let_clock_drift,
            "price_jump": self._jump,
        }

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> FleetResult:
        with _logging_to(self.say if self.verbose else None), asked_of(self.judged):
            for part in (self._run, self._end):
                try:
                    part()
                except ERRORS as error:
                    self.failed(error)
        return self.result()

    def result(self) -> FleetResult:
        accounts = self.accounts
        at_the_exchange: Counter[tuple[str, str]] = Counter()
        closed: Counter[str] = Counter()
        for account in accounts:
            at_the_exchange.update(account.faults.tally)
            closed.update(account.outside.closed)
        return FleetResult(
            broken=self.broken,
            plan=self.choices.made,
            trades=sum(account.outside.opened for account in accounts),
            signals=sum(account.signals for account in accounts),
            refused=sum(account.refused for account in accounts),
            nodes=len(self.names),
            accounts=len(accounts),
            epochs=sum(account.epochs for account in accounts),
            kills=self._kills,
            writes=sum(account.writes for account in accounts),
            virtual_ms=self.timeline.now - self._started_at,
            tally=dict(self.fleet_faults.tally),
            exchange_tally=dict(at_the_exchange),
            closed=dict(closed),
            log=self.log,
        )

    def _run(self) -> None:
        for account in self.accounts:
            account.print_trade(account.price)
        self.lives = [self._begin_life(n) for n in range(len(self.names))]
        self.advance(3_000)
        for _ in range(STEPS_MAX):
            if self.broken or not self._goes_on():
                break
            self._market_step()
        self._calm_down()

    def _begin_life(self, n: int) -> Life:
        """Of the nth node."""
        life = Life(self, self.names[n], self.settings, {each.name: (each, each.wires[n]) for each in self.accounts})
        self._all_lives.append(life)
        return life

    def _end(self) -> None:
        for life in self._all_lives:
            life.end()

    def takers(self, account: str) -> list[str]:
        return [taker.name for each in self.accounts if each.name == account for taker in each.group]

    def advance(self, ms: int) -> None:
        self.timeline.run_until(self.timeline.now + ms)
        self._watch()

    def _traded_enough(self) -> bool:
        return sum(len(account.trade_of) for account in self.accounts) >= TRADES * len(self.accounts)

    def _goes_on(self) -> bool:
        """In the end the calm begins while a few still trade: of one account alone it waits for its last trade."""
        busy = sum(account.busy() for account in self.accounts)
        if self._traded_enough():
            return busy > len(self.accounts) // 2
        return busy > 0 or not all(account.is_done() for account in self.accounts)

    def _market_step(self) -> None:
        for account in self.accounts:
            account.walk()
        for n, life in enumerate(self._owning()):
            if fault := self.fleet_faults.outside(everywhere=n == 0):
                self._happenings[fault](self._some_life(life))
        self.advance(self.accounts[0].setup.step)
        if self._traded_enough():
            return
        told: set[str] = set()
        for account in self.accounts:
            if account.name not in told and not account.busy() and not account.is_done():
                account.next_signal()
                told.update(taker.name for taker in account.group)

    def _committed(self, changed: dict[str, Value], deleted: dict[str, Value]) -> None:
        touched = [*changed, *deleted]
        for account in self.accounts:
            if any(key.startswith(account.keys) for key in touched):
                account.committed(changed, deleted)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _owning(self) -> list[Life | None]:
        """The nodes that own an account: each has its share of what may happen to one. None: there is none."""
        owners = {owner.value.decode() for account in self.accounts if (owner := account.owner) is not None}
        return [life for life in self.lives if life.name in owners] or [None]

    def _some_life(self, owning: Life | None) -> Life:
        """Rather one that owns an account: what befalls the others matters less."""
        if owning is not None and not self.fleet_faults.detail("other", 3):
            return owning
        return self.lives[self.fleet_faults.detail("node", len(self.lives))]

    def _drain(self, life: Life) -> None:
        key = self.keys.drain(life.name)
        if self.cluster.has_majority and self.cluster.value(key) is None:
            self.cluster.put(key)
            self.timeline.at(self.timeline.now + DRAINED_MS, lambda: self._undrain(key))

    def _undrain(self, key: str) -> None:
        if self.cluster.has_majority:
            self.cluster.delete(key)
        else:
            self.timeline.at(self.timeline.now + 1_000, lambda: self._undrain(key))

    def _hang(self, life: Life) -> None:
        """One of its accounts, where another node is there to take it."""
        others = [each for each in self.lives if each is not life and each.alive]
        runs = [life.runs[name] for name in sorted(life.runs)]
        if others and runs and not any(run.hung for each in others for run in each.runs.values()):
            runs[self.fleet_faults.detail("account", len(runs))].hung = True

    def _cut_exchange(self, life: Life) -> None:
        ms = CUTS[self.fleet_faults.detail("cut", len(CUTS))]
        for wire in life.wires.values():
            wire.cut_off(ms)

    def _cut_store(self, life: Life, *, silent: bool) -> None:
        life.link.cut_until = self.timeline.now + CUTS[self.fleet_faults.detail("cut", len(CUTS))]
        if not silent:
            life.link.break_watches()

    def _lose_majority(self, _life: Life) -> None:
        ms = NO_MAJORITY[self.fleet_faults.detail("no_majority", len(NO_MAJORITY))]
        self.cluster.lose_majority(ms, leases_kept=not self.fleet_faults.detail("leases", 2))

    def _bend_clock(self, life: Life) -> None:
        ms = (700, -700, 2_500, -4_000, -20_000)[self.fleet_faults.detail("skew", 5)]
        for wire in life.wires.values():
            wire.clock.bend(ms)
            self.timeline.at(self.timeline.now + 60_000, wire.clock.sync)

    def _let_clock_drift(self, life: Life) -> None:
        drift = (20, -50)[self.fleet_faults.detail("drift", 2)]
        for wire in life.wires.values():
            wire.clock.let_drift(drift)
            self.timeline.at(self.timeline.now + 60_000, wire.clock.sync)

    def _jump(self, _life: Life) -> None:
        for account in self.accounts:
            units = (25, -25, 60, -60)[self.fleet_faults.detail("jump", 4)]
            account.print_trade(account.price + account.market.unit * units)

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
        self.broken.append(f"E ({place}): {type(error).__name__} {str(error)[:300]}")

    def say(self, text: str) -> None:
        self.log.append(f"{(self.timeline.now - self._started_at) / 1000:9.3f} {text}")

    def _watch(self) -> None:
        for life in list(self.lives):
            if not life.loop.dead and life.task.done() and not life.runs and not life.over:
                life.over = True
                self._restart(life)
        for account in self.accounts:
            account.watch(2_000 * self._ttl + LATEST_MS)

    # --- the calm ----------------------------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        if self.broken:
            return
        self.fleet_faults.calm = True
        self.cluster.regain_majority()
        for value in self.cluster.values(self.keys.drains):
            self._undrain(value.key)
        for account in self.accounts:
            account.faults.calm = True
            for wire in account.wires:
                wire.cut_until = 0
                wire.clock.sync()
        for life in self.lives:
            life.link.cut_until = 0
        while any(life.loop.paused or not life.alive for life in self.lives):
            self.advance(1_000)
        self.advance(LATEST_MS)
        self._wait_until_safe()
        self._walk_to_the_end()
        self._one_signal_more()
        for account in self.accounts:
            account.judge_signals()

    def _wait_until_safe(self) -> None:
        """Each is judged as soon as its time is over."""
        begun, left = self.timeline.now, self.accounts
        while not self.broken:
            waiting = [account for account in left if account.may_still_be_unsafe(begun)]
            for account in left:
                if account not in waiting:
                    account.must_be_safe()
            left = waiting
            if not left:
                return
            for account in left:
                account.print_trade(account.price)
            self.advance(3_000)

    def _walk_to_the_end(self) -> None:
        steps = {account.name: account.step_to_the_stops() for account in self.accounts}
        for n in range(ENDING_STEPS + 10):
            trading = [account for account in self.accounts if account.has_trade]
            if self.broken or not trading:
                break
            for account in trading:
                account.print_trade(account.price + (steps[account.name] if n < ENDING_STEPS else 0))
            self.advance(4_000)
        self.advance(3_000)
        for account in self.accounts:
            account.must_be_over()

    def _one_signal_more(self) -> None:
        """The account has an owner who works: a signal at any node is judged."""
        if self.broken:
            return
        while self.timeline.now < max(account.banned_until for account in self.accounts):
            self.advance(2_000)  # a ban is a fault until it ends
        last = [(account, account.signal()) for account in self.accounts]
        for _ in range(JUDGED_MS // 2_000):
            waiting = [account for account, key in last if not account.outcomes[key]]
            if not waiting:
                return
            for account in waiting:
                account.print_trade(account.price)
            self.advance(2_000)
        for account, key in last:
            account.must_have_judged(key, JUDGED_MS // 1000)


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
