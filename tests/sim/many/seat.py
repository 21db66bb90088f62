"""One symbol of the account: its market, its shell and its state file, and what must hold of its trades."""

from decimal import Decimal
from typing import Final, Protocol

from msgspec.structs import replace
from tests.sim import margin
from tests.sim import setup as world_setup
from tests.sim.checks import Outside, Told, taken_as_paid
from tests.sim.choices import Choices
from tests.sim.disk import QuickDisk, Torn
from tests.sim.faults import Faults, phase_of
from tests.sim.manual_actions import ManualActions
from tests.sim.many.books import Books
from tests.sim.many.debts import DebtsOfOne, Loans
from tests.sim.many.wire import SymbolWire
from tests.sim.margin import MarginDirect
from tests.sim.setup import ACCOUNT, Setup
from tests.sim.shell import Dead, Shell
from tests.sim.start import starting_state
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.walk import Walk, way_to_the_stops
from tests.sim.wire import LATE

from executor.core.model.events import AnyEvent, Commanded, QuoteSeen, SignalSeen, Verb
from executor.core.model.facts import Quote
from executor.core.model.policy import Policy, StopMode
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import State
from executor.core.model.values import Direction, floor_to
from executor.core.transition import Step, empty
from executor.exchange.neighbours import LookBeside
from executor.paper.engine.exchange import Engine
from executor.paper.engine.model import ExecutionReport
from executor.simulate.direct import Direct

REFUSED_ENOUGH: Final = 4
IN_VAIN: Final = 16
"""So many signals in a row that opened nothing: the purse is too small for what was drawn, or others have it."""
PATIENCE: Final = 8
VOLUMES: Final = (10_000_000, 60, 5)  # of a trade of the market, in quote at the start


class Process(Protocol):
    """What a symbol sees of the process that trades it, and of the world around."""

    timeline: Timeline
    clock: ServiceClock
    engine: Engine
    books: Books
    verbose: bool

    def crash(self) -> None: ...

    def suspend(self, seat: "Seat", pause: int) -> None: ...

    def say(self, text: str) -> None: ...


class Seat:
    """What one symbol is at, as the account's others may know it (`executor.service.cross_account.Trading`); and the
    `Host` of its shell. `follows`: whose prices it has.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        choices: Choices,
        setup: Setup,
        wires: list[SymbolWire],
        *,
        wild: bool,
        follows: "Seat | None" = None,
    ) -> None:
        self.name = name
        self.process = process
        self.choices = choices
        self.setup = setup
        self.market = setup.market
        self.rules: SymbolRules = world_setup.rules(self.market.symbol)
        engine = process.engine
        self.direct = Direct(engine, ACCOUNT, self.market.symbol)
        if setup.margin:
            self.direct = MarginDirect(engine, setup)
            terms = margin.terms(setup, engine)
            self.rules = replace(self.rules, margin=terms, cancel_replace_allowed=False)
        self.faults = Faults(choices, wild=wild, margin=bool(setup.margin))
        self.outside = Outside(self.direct, setup, self.rules)
        self.outside.broken = process.books.broken
        self.wire = SymbolWire(process.timeline, process.clock, self.direct, self.faults, setup, wires)
        self.wire.on_placed = self._placed
        self.wire.on_reports = self._reported
        self.wire.on_executed = self._executed
        self.wire.on_pressed = self.outside.broken.append
        self.wire.on_behind = self.outside.kept_back
        self.wire.on_done = lambda request, outcome: process.books.answered(self.outside, request, outcome)
        self.wire.print_trade = self.print_trade
        self.disk = QuickDisk()
        self.manual = ManualActions(self.outside, self.wire, choices)
        self.price = self.market.price
        self.opened = 0
        self.steps = 0
        self._follows = follows
        self._walk = Walk(choices, setup, patience=PATIENCE)
        self._full_until = 0
        self._market_trades = 0
        self._signals = 0
        self._refused = 0
        self._in_vain = 0
        self._taken: set[str] = set()
        self._alerted_before = 0
        self.begun = False
        self._loans: Loans | None = None
        self.shell = self._boot(empty(self.market.symbol))
        self._living = self.shell
        """That of the last life which has begun: what it knew of what was sent."""
        self.outside.saved = lambda: self._living.saved

    def owes(self, loans: Loans) -> None:
        """It trades on a cross account."""
        assert isinstance(self.direct, MarginDirect)
        broken, timeline = self.outside.broken, self.process.timeline
        debts = DebtsOfOne(self.direct, broken, lambda: self._living.saved, lambda: timeline.now, loans)
        self.outside.debts = debts
        self._loans = loans
        self.wire.on_lent = lambda request: debts.executed(request, self._living.saved)

    # --- what the others see -----------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.shell.state

    @property
    def policy(self) -> Policy:
        return self.setup.policy

    @property
    def awake(self) -> bool:
        return self.shell.alive and not self.shell.suspended

    def busy(self) -> bool:
        """A trade is open, or may be about to be."""
        return self.state.position is not None or self.shell.backlog > 0 or self.shell.suspended

    def is_done(self) -> bool:
        """Every trade was traded, or there won't be another."""
        return self.opened >= self.setup.trades or self._refused >= REFUSED_ENOUGH or self._in_vain >= IN_VAIN

    # --- its market --------------------------------------------------------------------------------------------------

    def walk(self) -> None:
        if self._follows is not None:
            self.print_trade(self._follows.price)
        else:
            self.print_trade(self._walk.after(self.price, trading=self.state.position is not None))

    def print_trade(self, price: Decimal, volume: Decimal | None = None) -> None:
        """A trade of the market at `price`, rounded to the tick."""
        self.price = max(floor_to(price, self.rules.tick), self.market.price / 50)
        if volume is None:
            volume = self.rules.whole(self.market.amount(1) * VOLUMES[self.faults.partial(3)])
        self._market_trades += 1
        taker, now = self._market_trades % 2 == 0, self.process.timeline.now
        self.process.engine.on_trade(self.market.symbol, self._market_trades, self.price, volume, taker, now)
        self.wire.deliver_pushes()
        if self.setup.quotes and self.shell.alive and self.begun:
            self.shell.receive(QuoteSeen(at=self.process.clock.now(), quote=self._quote()))

    def jump(self) -> None:
        self.print_trade(self.price + self.market.unit * (25, -25, 60, -60)[self.choices.choose("jump", 4)])

    # --- signals -----------------------------------------------------------------------------------------------------

    def next_signal(self) -> None:
        shell, now = self.shell, self.process.clock.now()
        if not self.awake or not shell.ready:
            return
        self._operate()
        if self.busy() or self.is_done():
            return
        if now >= self.state.cooldown_until or self.choices.weigh("early", (0.1,)):
            self.signal()

    def signal(self) -> None:
        """A signal now, at the market or a little away from it; what it is judged by is asked for, and comes later."""
        direction = world_setup.direction(self.choices)
        if direction is Direction.SHORT and not (self.setup.margin or self.setup.balances.get(self.market.base)):
            direction = Direction.LONG
        offset = (1, -2, -5, 8)[self.choices.choose("offset", 4)]
        self._signals += 1
        entry = self.price + direction.sign * offset * self.market.unit / 2
        targets = self.choices.choose("targets", 3)
        now = self.process.clock.now()
        signal = Signal(
            key=f"{self.name}{self._signals}-{self.process.timeline.now}",
            at=now,
            direction=direction,
            price=self.price,
            entry=entry,
            targets=(entry + direction.sign * 6 * self.market.unit,) if targets == 2 else (),
        )
        self._refused += bool(self.state.halted)
        self._in_vain += 1
        self._ask(signal, now)

    def _ask(self, signal: Signal, asked_at: int) -> None:
        timeline, lag, shell = self.process.timeline, self.setup.latency, self.shell
        late = self.choices.weigh("late", (0.05,))
        back = LATE[self.choices.choose("late_by", len(LATE))] if late else lag
        look = LookBeside(self.wire.neighbours) if self.wire.neighbours is not None else None

        def read() -> None:
            direct = self.direct
            now = self.process.clock.now()
            shown = direct.margin_account(now, timeline.now) if isinstance(direct, MarginDirect) else None
            seen = SignalSeen(
                at=asked_at,
                signal=signal,
                quote=self._quote(),
                balances=direct.balances(),
                klines=direct.klines(5, timeline.now) if self.policy.stop_mode is StopMode.SWING else None,
                margin=shown,
                asked_at=asked_at,
            )

            def arrive() -> None:
                account = look.over(shown) if look is not None and shown is not None else shown
                shell.receive(replace(seen, margin=account))

            timeline.at(timeline.now + back, arrive)

        timeline.at(timeline.now + lag, read)

    def _quote(self) -> Quote:
        return self.direct.quote(self.process.clock.now())

    def _operate(self) -> None:
        now = self.process.clock.now()
        if self.state.position is None:
            if self.state.paused:
                self.shell.receive(Commanded(at=now, verb=Verb.RESUME))
            return
        verb = self.choices.weigh("operator", (0.002, 0.002, 0.01, 0.002))
        if not verb:
            return
        price = None
        if verb == 3:
            price = floor_to((self.price + self.state.position.plan.stop) / 2, self.rules.tick)
        what = (Verb.FLATTEN, Verb.CANCEL_ENTRY, Verb.MOVE_STOP, Verb.PAUSE)[verb - 1]
        self.shell.receive(Commanded(at=now, verb=what, price=price))

    # --- its disk ----------------------------------------------------------------------------------------------------

    def fill_disk(self) -> None:
        self._full_until, self.disk.full = self.process.timeline.now + 6_000, True

    def heal_disk(self, *, at_once: bool = False) -> None:
        if at_once or self.process.timeline.now >= self._full_until:
            self.disk.full = False

    def lose(self) -> None:
        """Its state file is gone, and all copies (rule 9.3)."""
        self.disk.wipe()
        self.forget()

    def rot(self) -> bool:
        """Its state file can't be read; its predecessor is used (rule 9.2)."""
        spoiled = self.disk.spoil()
        if spoiled:
            self.forget()
        return spoiled

    def forget(self) -> None:
        """The newest state is gone, and with it what it remembered: the silence so far, the signals taken."""
        self.outside.forget()
        if self.outside.debts is not None and self._loans is not None:
            self.outside.debts.forgot = self._loans.forgot = True
        if (truth := self.outside.trades.get(self.outside.followed)) is not None:
            truth.older = True
        self._taken.clear()

    @property
    def old(self) -> bool:
        """Whether newer states were lost, or all of them, as the exchange's orders show."""
        return self.disk.damaged or (self.disk.current is None and bool(self.wire.order_history()))

    # --- life and death ----------------------------------------------------------------------------------------------

    def boundary(self, where: str, state: State) -> None:
        self.faults.phase = phase_of(state)
        fault = self.faults.crash(where)
        if not fault:
            return
        if fault != "crash_before":
            self.disk.tear(state, Torn[fault.removeprefix("crash_torn_").upper()])
            if self.disk.damaged:
                self.forget()
        self.process.crash()
        raise Dead

    def pause(self) -> int:
        pause = self.faults.pause()
        if pause:
            self.process.suspend(self, pause)
        return pause

    def woken(self) -> None:
        self.look()

    def _executed(self) -> None:
        if self.shell.alive and self.faults.crash("executed"):
            self.process.crash()

    def die(self) -> None:
        self.watch()
        self.shell.stop()

    def restart(self) -> int:
        """A new life: what the disk has is there at once; how long (ms) it takes until that is the newest."""
        self.look()
        self.steps += self.shell.steps
        self._alerted_before = self.shell.alerted_at or self._alerted_before
        saved = self.disk.load()
        self.outside.remembers(saved)
        self.shell = self._boot(saved or empty(self.market.symbol))
        return self.setup.recv_window + self.policy.doubt_settle_ms if self.old else 0

    def begin(self) -> None:
        """What the exchange knows of the orders of before is read; from here on it trades (9.1)."""
        now = self.process.clock.now()
        state, lost = starting_state(self.disk.load(), self.old, self.wire, self.direct, self.setup, self.rules, now)
        self.shell.state = self.shell.saved = state
        self.shell.began_at = now
        self._living = self.shell
        self.begun = True
        if lost and state.halted:
            self.shell.alerted_at = now
        self.shell.start(self.setup.recv_window)

    def _boot(self, state: State) -> Shell:
        process = self.process
        self.begun = False
        self.wire.forget()
        return Shell(self, process.timeline, process.clock, self.wire, self.disk, self.setup, self.rules, state)

    # --- what is told and seen ---------------------------------------------------------------------------------------

    def _placed(self, client_id: str) -> None:
        self.process.books.placed(self.market.symbol, client_id)
        self.outside.placed(client_id)

    def stepped(self, event: AnyEvent, before: State, step: Step) -> None:
        self.faults.phase = phase_of(step.state)
        opened = step.state.position
        if before.position is None and opened is not None:
            self.opened += 1
            self._in_vain = 0
            self.process.books.opened(self.market.symbol, opened.trade)
            if isinstance(event, SignalSeen):
                if event.signal.key in self._taken:
                    self.outside.broken.append(f"W11: the signal {event.signal.key} was traded twice")
                self._taken.add(event.signal.key)
        self.outside.stepped(before, step.state)
        closed = step.state.last_closed
        if closed is not None and closed is not before.last_closed:
            self.process.books.closed(self.market.symbol, closed)
        if self.process.verbose:
            self._tell(event, step)

    def broken(self, faults: list[str]) -> None:
        self.outside.broken.extend(f"{self.market.symbol}: {fault}" for fault in faults)

    def _reported(self, reports: list[ExecutionReport]) -> None:
        self.outside.reported(reports)
        self.look()

    def look(self) -> None:
        """Nothing of the trade is bare, if only for a moment: what is bare after it has a deadline of its own."""
        trade = self.outside.newest
        if trade and trade == self.outside.followed and self.outside.bare(trade) <= 0:
            self.outside.sound()

    def watch(self) -> None:
        self.look()
        shell = self.shell
        if not self.awake or not self.begun:
            return
        position = shell.state.position
        since = position.exposure.since if position is not None else 0
        told = Told(
            now=self.process.clock.now(),
            at=shell.alerted_at or self._alerted_before,
            began=shell.began_at,
            bare_since=since,
            blind=not since and self._blind(),
            grace=self.policy.failsafe_grace_ms,
            reckoned=taken_as_paid(position, self.rules),
        )
        self.outside.watch(self.process.timeline.now, told, position.trade if position is not None else None)

    def _blind(self) -> bool:
        """Whether the service had no answer to its last look, or lost a push and has not looked since."""
        return self.process.timeline.now <= self.wire.blind_at or self.wire.lost_at > self.shell.looked_at

    def _tell(self, event: AnyEvent, step: Step) -> None:
        say = self.process.say
        say(f"{self.market.symbol} {self.price} {phase_of(step.state):12} {event!r:.400}")
        for note in step.notes:
            say(f"  {note.level}: {note.text}")
        for request in step.requests:
            say(f"  -> {request!r}")

    # --- the end -----------------------------------------------------------------------------------------------------

    def has_time(self, now: int) -> bool:
        """Whether its trade has become bare so lately that nobody need have been told."""
        return self.outside.has_time(now, self.policy.failsafe_grace_ms)

    def way_to_the_stops(self) -> Decimal:
        """How far, and which way, the price must move to be beyond everything that protects the trade."""
        return way_to_the_stops(self.state.position, self.price, self.market)
