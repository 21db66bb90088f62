"""A run: market, exchange, network, disk and one service, in virtual time, from a plan.

It trades `setup.trades` times under faults, then comes the calm: the faults stop, and the trade must end flat, covered,
or halted with an alert; then the market walks through every stop and target, and nothing may be left.
"""

import traceback
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
from tests.sim import margin
from tests.sim import setup as world_setup
from tests.sim.checks import CALM_MS, Outside, Told, found_nobody, taken_as_paid
from tests.sim.choices import Choice, Choices
from tests.sim.debts import Debts
from tests.sim.disk import Disk, QuickDisk, Torn
from tests.sim.exposure import Bareness, Held, Watch
from tests.sim.faults import Faults, phase_of
from tests.sim.manual_actions import ManualActions
from tests.sim.margin import MarginDirect
from tests.sim.margin_hands import MarginHands
from tests.sim.setup import ACCOUNT, Setup
from tests.sim.shell import IDLE_MS, Dead, Shell
from tests.sim.start import starting_state
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.walk import Walk, way_to_the_stops
from tests.sim.wire import Wire

from executor.core.model.events import AnyEvent, Commanded, QuoteSeen, SignalSeen, Verb
from executor.core.model.policy import StopMode
from executor.core.model.signal import Signal
from executor.core.model.state import State
from executor.core.model.values import Direction, floor_to
from executor.core.transition import Step, empty
from executor.paper.engine.choices import ExchangeChoices
from executor.paper.engine.margin.lending import INTEREST_LATER_MS
from executor.paper.engine.model import ExecutionReport
from executor.simulate.direct import Direct

ERRORS: Final = (
    *(AssertionError, ArithmeticError, LookupError, AttributeError, TypeError, ValueError),
    *(NameError, RuntimeError, OSError, StopIteration, msgspec.MsgspecError),
)
"""What a step of the core or of the bench may raise: each is a violation of the run, with its plan."""
ENDING_STEPS: Final = 20
LONG_DOWN: Final = 16_000  # nothing that was sent before can be executed any more
REFUSED_ENOUGH: Final = 4
IN_VAIN: Final = 50
"""So many signals in a row that opened nothing: the account is too small for what was drawn, or has become so."""
STEPS_MAX: Final = 400  # market steps per run; a run that needs more is a failure of the bench
VOLUMES: Final = (10_000_000, 60, 5)  # of a trade of the market, in quote at the start
DOWN: Final = (2_000, 200, 20_000)


def failure(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"E ({Path(where.filename).name}:{where.lineno}): {type(error).__name__} {str(error)[:300]}"


class Result(msgspec.Struct):
    """`broken`: what was violated, in words; `plan`: what was chosen; times ms."""

    broken: list[str]
    plan: list[Choice]
    setup: Setup
    trades: int = 0
    virtual_ms: int = 0
    crashes: int = 0
    steps: int = 0
    boundaries: int = 0
    exposure: list[Bareness] = []
    tally: dict[tuple[str, str], int] = {}
    readings: dict[tuple[str, str], int] = {}
    closed: dict[str, int] = {}
    log: list[str] = []


class World:
    """`crash_at`: stop the machine at these boundaries, counted from 1 (enumeration). `facing`: the scripts' side.
    `by_the_book`: the exchange is as the documents have it, read plainly, and says nothing that they don't.
    """

    def __init__(
        self,
        choices: Choices,
        setup: Setup | None = None,
        *,
        wild: bool = True,
        crash_at: tuple[int, ...] = (),
        disk: Disk | None = None,
        verbose: bool = False,
        kinds: Sequence[str] = world_setup.ANY,
        by_the_book: bool = False,
    ) -> None:
        self.choices = choices
        self.setup = setup or world_setup.draw(choices, kinds=kinds)
        if by_the_book:
            self.setup = msgspec.structs.replace(self.setup, exchange=ExchangeChoices())
        self.verbose = verbose
        self.market = self.setup.market
        self.rules = world_setup.rules(self.market.symbol)
        self.timeline = Timeline()
        self.clock = ServiceClock(self.timeline)
        self.engine = world_setup.build(self.setup)
        self.direct = Direct(self.engine, ACCOUNT, self.market.symbol)
        on_margin = bool(self.setup.margin)
        if on_margin:
            margin.open_account(self.engine, self.setup, self.timeline.now)
            self.direct = MarginDirect(self.engine, self.setup)
            terms = margin.terms(self.setup, self.engine)
            self.rules = msgspec.structs.replace(self.rules, margin=terms, cancel_replace_allowed=False)
        self.faults = Faults(choices, wild=wild, margin=on_margin, by_the_book=by_the_book)
        self.faults.readings = world_setup.named(self.setup.exchange, margin=on_margin)
        self.outside = Outside(self.direct, self.setup, self.rules)
        self.exposure = Watch(self.faults.kinds, pushed=self.setup.pushes)
        self.wire = Wire(self.timeline, self.clock, self.direct, self.faults, self.setup)
        self.engine._matcher.refuses_pending = lambda _: self.faults.exits_refused()
        self.wire.on_placed = self.outside.placed
        self.wire.on_reports = self._reported
        self.wire.on_executed = self._executed
        self.wire.on_pressed = self.outside.broken.append
        self.wire.on_behind = self.outside.kept_back
        self.wire.print_trade = self.print_trade
        self.disk: Disk = disk or QuickDisk()
        self._walk = Walk(choices, self.setup)
        self.price = self.market.price
        self.crashes = 0
        self.boundaries = 0
        self.steps = 0
        self.log: list[str] = []
        self.facing = Direction.LONG
        self.manual = ManualActions(self.outside, self.wire, choices)
        self._crash_at = crash_at
        self._trade_ids = 0
        self._signals = 0
        self._opened = 0
        self._in_vain = 0
        self._faults_before = 0
        self._taken: set[str] = set()
        self._alerted_before = 0
        self._pause_until = 0
        self._last_signal: SignalSeen | None = None
        self._refused = 0
        self._started_at = self.timeline.now
        self._full_until = 0
        self._compared: State | None = None
        self._happenings = {
            "cancelled_by_hand": self.manual.cancel,
            "sold_by_hand": self.manual.sell,
            "price_jump": self._jump,
            "clock_step": self._bend_clock,
            "clock_drift": self._let_clock_drift,
            "disk_full": self._fill_disk,
            "killed": self.crash,
            "state_lost": self.lose_state,
            "state_rotten": self._rot_state,
            "met_in_the_group": self.manual.meet,
        }
        self.hands: MarginHands | None = None
        if isinstance(self.direct, MarginDirect):
            debts = Debts(self.direct, self.outside.broken, lambda: self.shell.saved, lambda: self.timeline.now)
            self.outside.debts = debts
            self.hands = hands = MarginHands(self.direct, debts, self.wire, choices, self.setup)
            self.wire.on_lent = lambda request: debts.executed(request, self.shell.saved)
            self._happenings |= {
                "interest": hands.charge,
                "interest_in_bnb": hands.convert,
                "liquidated": lambda: hands.liquidate(self.outside.seize),
                "borrowed_by_hand": hands.borrow,
                "repaid_by_hand": lambda: hands.repay(self.outside.seize),
                "transferred_by_hand": hands.transfer,
            }
        self.shell = self._boot(empty(self.market.symbol))
        self.clock.on_bend = self._watch

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        try:
            self._run()
        except ERRORS as error:
            self._failed(error)
        return self.result()

    def _is_done(self) -> bool:
        """Every trade was traded, or there won't be another: a halt, or too small an account, has refused enough."""
        return self._opened >= self.setup.trades or self._refused >= REFUSED_ENOUGH or self._in_vain >= IN_VAIN

    def _failed(self, error: Exception) -> None:
        """An error of the program would end the service, and again after each restart."""
        self.outside.broken.append(failure(error))

    def _run(self) -> None:
        self.print_trade(self.price)
        self.shell.start(self.setup.recv_window)
        for _ in range(STEPS_MAX):
            if self.outside.broken or (not self._busy() and self._is_done()):
                break
            self._market_step()
        self._calm_down()

    def play(self, acts: Sequence[Callable[["World"], None]], pause: int) -> Result:
        """A scripted run: each act, and `pause` ms after it; an act that needs the service waits until it is up."""
        try:
            self.print_trade(self.price)
            self.shell.start(self.setup.recv_window)
            self.advance(pause)
            for act in acts:
                if self.outside.broken:
                    break
                if not self.shell.alive or not self.shell.ready:
                    self.advance(3_000)
                act(self)
                self.advance(pause)
            self._calm_down()
        except ERRORS as error:
            self._failed(error)
        return self.result()

    def result(self) -> Result:
        return Result(
            broken=self.outside.broken,
            plan=self.choices.made,
            setup=self.setup,
            trades=self.outside.opened,
            virtual_ms=self.timeline.now - self._started_at,
            crashes=self.crashes,
            steps=self.steps + self.shell.steps,
            boundaries=self.boundaries,
            exposure=self.exposure.trades,
            tally=dict(self.faults.tally),
            readings=dict(self.faults.read_in),
            closed=dict(self.outside.closed),
            log=self.log,
        )

    def advance(self, ms: int) -> None:
        self.timeline.run_until(self.timeline.now + ms)
        self._watch()

    def _calm_down(self) -> None:
        if self.outside.broken:
            return
        self.faults.calm = True
        self._crash_at = ()
        self.clock.sync()
        self._heal_disk()
        while not self._awake:
            self.advance(1_000)
        end = max(self.timeline.now, self.wire.banned_until) + CALM_MS  # a ban is a fault until it ends
        grace = self.setup.policy.failsafe_grace_ms
        while self._busy() and not self.outside.broken:
            due = end + 2 * grace if self.outside.has_time(self.clock.now(), grace) else end
            if self.timeline.now >= due:
                break
            self.print_trade(self.price)
            self.advance(3_000)
        self.outside.must_be_safe(self.shell.state, self.shell.alerted_at, self.clock.now())
        step = way_to_the_stops(self.shell.state.position, self.price, self.market) / ENDING_STEPS
        for n in range(ENDING_STEPS + 10):
            if self.outside.broken or self.shell.state.position is None:
                break
            self.print_trade(self.price + (step if n < ENDING_STEPS else 0))
            self.advance(4_000)
        self.advance(3_000)
        self._until_settled(end + CALM_MS)
        if self.outside.debts is not None and (self.outside.debts.forgot or self.outside.debts.to_show):
            self.advance(IDLE_MS + 8_000 + INTEREST_LATER_MS)  # the next look sees what nobody remembers, or knew
            self._until_settled(self.timeline.now + CALM_MS)
        self.outside.must_be_over(self.shell.state, self.shell.alerted_at)
        self.outside.balances()
        self.exposure.over(self.timeline.now)

    def _until_settled(self, until: int) -> None:
        """Until nothing is being given back and the account was read."""
        while (
            (self.shell.state.repaying is not None or not self.shell.has_settled)
            and self.timeline.now < until
            and not self.outside.broken
        ):
            self.advance(3_000)

    def _busy(self) -> bool:
        """A trade is open, or may be about to be."""
        return self.shell.state.position is not None or self.shell.backlog > 0 or self.shell.suspended

    # --- the market --------------------------------------------------------------------------------------------------

    def _market_step(self) -> None:
        self.print_trade(self._walk.after(self.price, trading=self.shell.state.position is not None))
        self._outside_fault()
        self.advance(self.setup.step)
        if self._awake and self.shell.ready:
            self._operate()
            state = self.shell.state
            if not self._busy() and self._opened < self.setup.trades:
                if self._last_signal is not None and self.choices.weigh("again", (0.1,)):
                    self.shell.receive(self._with_facts(self._last_signal.signal))
                elif self.clock.now() >= state.cooldown_until or self.choices.weigh("early", (0.1,)):
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
        self.wire.deliver_pushes()
        if self.setup.quotes and self.shell.alive:
            self.shell.receive(QuoteSeen(at=self.clock.now(), quote=self.direct.quote(self.clock.now())))

    def signal(self, *, direction: Direction | None = None, offset: int | None = None) -> None:
        """A signal now, at the market or a little away from it."""
        shell = self.shell
        if direction is None:
            direction = world_setup.direction(self.choices)
            if direction is Direction.SHORT and not (self.setup.margin or self.setup.balances.get(self.market.base)):
                direction = Direction.LONG
        if offset is None:
            offset = (1, -2, -5, 8)[self.choices.choose("offset", 4)]
        self._signals += 1
        now = self.clock.now()
        entry = self.price + direction.sign * offset * self.market.unit / 2
        targets = self.choices.choose("targets", 3)
        signal = Signal(
            key=f"s{self._signals}-{self.timeline.now}",
            at=now,
            direction=direction,
            price=self.price,
            entry=entry,
            targets=(entry + direction.sign * 6 * self.market.unit,) if targets == 2 else (),
        )
        event = self._with_facts(signal)
        self._refused += bool(shell.state.halted)
        self._in_vain += 1
        self._last_signal = event
        shell.receive(event)

    def _with_facts(self, signal: Signal) -> SignalSeen:
        """A signal as the service has it judged: with the market and the account as they are now."""
        now, direct = self.clock.now(), self.direct
        return SignalSeen(
            at=now,
            signal=signal,
            quote=direct.quote(now),
            balances=direct.balances(),
            klines=direct.klines(5, self.timeline.now) if self.setup.policy.stop_mode is StopMode.SWING else None,
            margin=direct.margin_account(now, self.timeline.now) if isinstance(direct, MarginDirect) else None,
        )

    def _admitted(self, event: AnyEvent, before: State) -> None:
        if not isinstance(event, SignalSeen):
            return
        if event.signal.key in self._taken:
            self.outside.broken.append(f"W11: the signal {event.signal.key} was traded twice")
        if self._pause_until > event.at:
            self.outside.broken.append(f"W11: a trade was opened {self._pause_until - event.at} ms too early")
        self._taken.add(event.signal.key)

    # --- what comes from outside -------------------------------------------------------------------------------------

    def _operate(self) -> None:
        if self.faults.calm or self.shell.state.position is None:
            if self.shell.state.paused:
                self.shell.receive(Commanded(at=self.clock.now(), verb=Verb.RESUME))
            return
        verb = self.choices.weigh("operator", (0.002, 0.002, 0.01, 0.002))
        if not verb:
            return
        position = self.shell.state.position
        price = None
        if verb == 3:
            price = floor_to((self.price + position.plan.stop) / 2, self.rules.tick)
        what = (Verb.FLATTEN, Verb.CANCEL_ENTRY, Verb.MOVE_STOP, Verb.PAUSE)[verb - 1]
        self.shell.receive(Commanded(at=self.clock.now(), verb=what, price=price))

    def _outside_fault(self) -> None:
        self._heal_disk(self.timeline.now)
        self.faults.phase = phase_of(self.shell.state)
        fault = self.faults.outside()
        if fault:
            self._happenings[fault]()
        fault = self.faults.margin() if self.setup.margin else ""
        if fault:
            self._happenings[fault]()

    def _jump(self) -> None:
        self.print_trade(self.price + self.market.unit * (25, -25, 60, -60)[self.choices.choose("jump", 4)])

    def _bend_clock(self) -> None:
        self.clock.bend((700, -700, 2_500, -4_000, -20_000)[self.choices.choose("skew", 5)])
        self.timeline.at(self.timeline.now + 60_000, self.clock.sync)

    def _let_clock_drift(self) -> None:
        self.clock.let_drift((20, -50)[self.choices.choose("drift", 2)])
        self.timeline.at(self.timeline.now + 60_000, self.clock.sync)

    def _fill_disk(self) -> None:
        self._full_until = self.timeline.now + 6_000
        if isinstance(self.disk, QuickDisk):
            self.disk.full = True

    # --- crash and restart -------------------------------------------------------------------------------------------

    def boundary(self, where: str, state: State) -> None:
        self.boundaries += 1
        self.faults.phase = phase_of(state)
        fault = "crash_before" if self.boundaries in self._crash_at else self.faults.crash(where)
        if not fault:
            return
        if isinstance(self.disk, QuickDisk) and fault != "crash_before":
            self.disk.tear(state, Torn[fault.removeprefix("crash_torn_").upper()])
            if self.disk.damaged:
                self._forget()
        if where == "sent" and not self._crash_at and self.choices.choose("rot", 4) == 1 and self._rot():
            self.faults.count("state_rotten")  # and what has just been sent is known to nobody
        self.crash()
        raise Dead

    def pause(self) -> int:
        pause = self.faults.pause()
        if pause:
            self._expose()
        return pause

    def woken(self) -> None:
        self._expose()

    def _executed(self) -> None:
        """The exchange has carried something out, and the answer is not home yet."""
        self.boundaries += 1
        if self.shell.alive and (self.boundaries in self._crash_at or self.faults.crash("executed")):
            self.crash()

    def crash(self, down: int = 0) -> None:
        if not self.shell.alive:
            return
        self.crashes += 1
        self._watch()
        self.shell.stop()
        down = down or DOWN[self.choices.choose("down", len(DOWN))]
        self.timeline.at(self.timeline.now + down, self._reboot)

    def lose_state(self) -> None:
        """The machine dies and its disk with it (rule 9.3). While an account's first order is on its way nothing tells
        that there was a state: it is down until then.
        """
        if isinstance(self.disk, QuickDisk) and self.shell.alive:
            self.disk.wipe()
            self._forget()
            self.crash(0 if self.wire.order_history() else LONG_DOWN)

    def _rot_state(self) -> None:
        """The state file rots; its predecessor is used (rule 9.2)."""
        if self.shell.alive and self._rot():
            self.crash()

    def _rot(self) -> bool:
        spoiled = isinstance(self.disk, QuickDisk) and self.disk.spoil()
        if spoiled:
            self._forget()
        return spoiled

    def _forget(self) -> None:
        """The newest state is gone, and with it what it remembered: the silence so far, the signals taken."""
        self.outside.forget()
        if self.outside.debts is not None:
            self.outside.debts.forgot = True
        if (truth := self.outside.trades.get(self.outside.followed)) is not None:
            truth.older = True
        self._taken.clear()
        self._pause_until = 0

    def _heal_disk(self, now: int | None = None) -> None:
        if isinstance(self.disk, QuickDisk) and (now is None or now >= self._full_until):
            self.disk.full = False

    def _reboot(self) -> None:
        if self.shell.alive:
            return
        wait = self.setup.recv_window + self.setup.policy.doubt_settle_ms
        if self._old():  # the service, too, waits until nothing that was sent can arrive
            self.timeline.at(self.timeline.now + wait, self._start_again)
        else:
            self._start_again()

    def _old(self) -> bool:
        """Whether newer states were lost (rule 9.2), or all of them, as the exchange's orders show (rule 9.3)."""
        if not isinstance(self.disk, QuickDisk):
            return False
        return self.disk.damaged or (self.disk.current is None and bool(self.wire.order_history()))

    def _start_again(self) -> None:
        if self.shell.alive:
            return
        self._expose()
        self.steps += self.shell.steps
        self._alerted_before = self.shell.alerted_at or self._alerted_before
        saved = self.disk.load()
        self.outside.remembers(saved)
        state, lost = starting_state(
            saved, self._old(), self.wire, self.direct, self.setup, self.rules, self.clock.now()
        )
        self.shell = self._boot(state)
        if lost and state.halted:
            self.shell.alerted_at = self.clock.now()
        self.shell.start(self.setup.recv_window)

    def _boot(self, state: State) -> Shell:
        setup = self.setup
        shell = Shell(self, self.timeline, self.clock, self.wire, self.disk, setup, self.rules, state)
        self.wire.forget()
        self.outside.saved = lambda: shell.saved
        return shell

    # --- what the shell tells ----------------------------------------------------------------------------------------

    def stepped(self, event: AnyEvent, before: State, step: Step) -> None:
        self.faults.phase = phase_of(step.state)
        if before.position is None and step.state.position is not None:
            self._opened += 1
            self._in_vain = 0
            self._faults_before = len(self.faults.kinds)
            self._admitted(event, before)
        self.outside.stepped(before, step.state)
        if before.position is not None and step.state.position is None:
            self.exposure.over(self.timeline.now)
            traded = step.state.last_closed is not None and step.state.last_closed.qty
            policy = self.setup.policy
            self._pause_until = step.state.market.now + (policy.cooldown_ms if traded else policy.cooldown_abort_ms)
        if self.verbose:
            self._tell(event, step)
        if self.shell.steps % 8 == 0 and isinstance(self.disk, QuickDisk):
            self._on_disk(self.disk, step.state)

    def _on_disk(self, disk: QuickDisk, state: State) -> None:
        """10.5: the state on disk decodes and equals the one in memory."""
        if disk.current is None or disk.damaged or disk.current is self._compared:
            return
        self._compared = disk.current
        found = disk.load()
        assert found is not None
        if msgspec.structs.replace(found, market=state.market) != state:
            self.outside.broken.append("W7 (10.5): the state on disk is not the one in memory")

    def broken(self, faults: list[str]) -> None:
        self.outside.broken.extend(faults)

    def _reported(self, reports: list[ExecutionReport]) -> None:
        opened = self.outside.opened
        self.outside.reported(reports)
        if self.outside.opened > opened:
            self.exposure.opened(self._faults_before)
        self._expose({Held.EMPTY} if found_nobody(reports) else frozenset())

    def _expose(self, met: AbstractSet[Held] = frozenset()) -> None:
        """The exchange has changed, or is looked at now and then."""
        trade = self.outside.newest
        if trade:
            bare = self.outside.bare(trade) > 0
            met = met | self.outside.met(trade) if bare else met
            banned = self.timeline.now <= self.wire.banned_until
            self.exposure.see(self.timeline.now, bare=bare, met=met, alive=self._awake, banned=banned)
            if not bare and trade == self.outside.followed:
                self.outside.sound()

    @property
    def _awake(self) -> bool:
        return self.shell.alive and not self.shell.suspended

    def _watch(self) -> None:
        self._expose()
        shell = self.shell
        if not self._awake:
            return
        position = shell.state.position
        if position is None:
            self.exposure.over(self.timeline.now)
        since = position.exposure.since if position is not None else 0
        told = Told(
            now=self.clock.now(),
            at=shell.alerted_at or self._alerted_before,
            began=shell.began_at,
            bare_since=since,
            blind=not since and self._blind(),
            grace=self.setup.policy.failsafe_grace_ms,
            reckoned=taken_as_paid(position, self.rules),
        )
        self.outside.watch(self.timeline.now, told, position.trade if position is not None else None)

    def _blind(self) -> bool:
        """Whether the service had no answer to its last look, or lost a push and has not looked since."""
        return self.timeline.now <= self.wire.blind_at or self.wire.lost_at > self.shell.looked_at

    def _tell(self, event: AnyEvent, step: Step) -> None:
        at = (self.timeline.now - self._started_at) / 1000
        self.log.append(f"{at:9.3f} {self.price} {phase_of(step.state):12} {event!r:.400}")
        self.log.extend(f"{'':9} {note.level}: {note.text}" for note in step.notes)
        self.log.extend(f"{'':9} -> {request!r}" for request in step.requests)
