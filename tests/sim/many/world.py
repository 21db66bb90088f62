"""A run of several symbols: one exchange, one account and one process that trades two or three symbols on it, in
virtual time, from a plan.

They trade under faults, what stops the process stops all of them at once; then comes the calm: the faults stop, and
each trade must end flat, covered, or halted with an alert; then the markets walk through every stop and target, and
nothing may be left. What they know of each other is told them by the service's own code.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from tests.sim import margin
from tests.sim import setup as world_setup
from tests.sim.checks import CALM_MS
from tests.sim.choices import Choice, Choices, ChoicesOf
from tests.sim.many.books import Books
from tests.sim.many.debts import Loans
from tests.sim.many.seat import Seat
from tests.sim.many.setup import draw
from tests.sim.many.wire import SymbolWire
from tests.sim.setup import ACCOUNT, SPOT
from tests.sim.shell import IDLE_MS
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.world import DOWN, ENDING_STEPS, ERRORS, LONG_DOWN, failure

from executor.core.model.values import ZERO
from executor.paper.engine.account import LiveList
from executor.service.cross_account import CrossAccount, told_beside

STEPS_MAX: Final = 400
LOANS_BY_HAND: Final = frozenset({"liquidated", "borrowed_by_hand", "repaid_by_hand", "transferred_by_hand"})
BY_HAND: Final = LOANS_BY_HAND | {"cancelled_by_hand", "sold_by_hand", "met_in_the_group"}
"""What leaves others' doing on the account."""
SETTLED_MS: Final = 40_000


class ManyResult(msgspec.Struct):
    """`broken`: what was violated, in words; `plan`: what was chosen; times ms."""

    broken: list[str]
    plan: list[Choice]
    margin: str = ""
    symbols: tuple[str, ...] = ()
    trades: int = 0
    crashes: int = 0
    steps: int = 0
    virtual_ms: int = 0
    tally: dict[tuple[str, str], int] = {}
    closed: dict[str, int] = {}
    log: list[str] = []


class ManyWorld:
    def __init__(
        self, choices: Choices, *, wild: bool = True, verbose: bool = False, kinds: Sequence[str] = SPOT
    ) -> None:
        self.choices = choices
        self.verbose = verbose
        self.log: list[str] = []
        self.group = group = draw(choices, kinds=kinds)
        self.common = common = group.common
        self.timeline = Timeline()
        self.clock = ServiceClock(self.timeline)
        self.engine = world_setup.build(common, group.markets)
        if common.margin:
            margin.open_account(self.engine, common, self.timeline.now)
        self.books = Books([])
        self.crashes = 0
        self._started_at = self.timeline.now
        self._lives = 0
        hands = choices.mood((0, 0, 1), "many:hands")
        self.loans: Loans | None = None
        if common.margin:
            self.loans = Loans(self.engine.margin.account(ACCOUNT, ""), self.books.broken)
        wires: list[SymbolWire] = []
        self.seats: dict[str, Seat] = {}
        for name, setup in group.setups.items():
            follows = self.seats.get(group.follows.get(name, ""))
            share = ChoicesOf(choices, name)
            seat = Seat(self, name, share, setup, wires, wild=wild, follows=follows)
            if self.loans is not None:
                seat.owes(self.loans)
            seat.faults.leave_out(LOANS_BY_HAND if hands else BY_HAND)
            self.seats[name] = seat
        self.engine._matcher.refuses_pending = self._refuses_pending
        self._happenings: dict[str, Callable[[Seat], None]] = {
            "cancelled_by_hand": lambda seat: seat.manual.cancel(),
            "sold_by_hand": self._sell_by_hand,
            "met_in_the_group": lambda seat: seat.manual.meet(),
            "price_jump": Seat.jump,
            "clock_step": self._bend_clock,
            "clock_drift": self._let_clock_drift,
            "disk_full": Seat.fill_disk,
            "killed": lambda _: self.crash(),
            "state_lost": self._lose_state,
            "state_rotten": self._rot_state,
            "interest": self._charge,
            "interest_in_bnb": lambda _: self._convert(),
        }
        self.clock.on_bend = self._watch

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> ManyResult:
        try:
            self._run()
        except ERRORS as error:
            self.books.broken.append(failure(error))
        return self.result()

    def result(self) -> ManyResult:
        tally: Counter[tuple[str, str]] = Counter()
        closed: Counter[str] = Counter()
        for seat in self.seats.values():
            tally.update(seat.faults.tally)
            closed.update(seat.outside.closed)
        return ManyResult(
            broken=self.books.broken,
            plan=self.choices.made,
            margin=self.common.margin,
            symbols=tuple(seat.market.symbol for seat in self.seats.values()),
            trades=sum(seat.outside.opened for seat in self.seats.values()),
            crashes=self.crashes,
            steps=sum(seat.steps + seat.shell.steps for seat in self.seats.values()),
            virtual_ms=self.timeline.now - self._started_at,
            tally=dict(tally),
            closed=dict(closed),
            log=self.log,
        )

    def _run(self) -> None:
        for seat in self.seats.values():
            seat.print_trade(seat.price)
        self._acquaint()
        for seat in self.seats.values():
            seat.begin()
        for _ in range(STEPS_MAX):
            seats = self.seats.values()
            if self.books.broken or not any(seat.busy() or not seat.is_done() for seat in seats):
                break
            self._market_step()
        self._calm_down()

    def _market_step(self) -> None:
        for seat in self.seats.values():
            seat.walk()
            seat.heal_disk()
            self._befalls(seat)
        self.advance(self.common.step)
        for seat in self.seats.values():
            seat.next_signal()

    def _befalls(self, seat: Seat) -> None:
        """What comes from outside, if anything does."""
        for fault in (seat.faults.outside(), seat.faults.margin() if self.common.margin else ""):
            if fault:
                self.books.handled |= fault in BY_HAND
                self._happenings[fault](seat)

    def advance(self, ms: int) -> None:
        self.timeline.run_until(self.timeline.now + ms)
        self._watch()

    def _watch(self) -> None:
        if self.loans is not None:
            self.books.handled |= bool(self.loans.lender.liquidations)
        for seat in self.seats.values():
            seat.watch()

    def say(self, text: str) -> None:
        self.log.append(f"{(self.timeline.now - self._started_at) / 1000:9.3f} {text}")

    # --- what they know of each other --------------------------------------------------------------------------------

    def _acquaint(self) -> None:
        """A process begins: as `executor.service.account` does."""
        account = CrossAccount({seat.market.symbol: seat for seat in self.seats.values()})
        for seat in self.seats.values():
            others = [other for other in self.seats.values() if other is not seat]
            seat.shell.beside = partial(told_beside, others, others)
            if self.common.margin:
                seat.wire.neighbours = account.neighbours_of(seat.market.symbol)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _refuses_pending(self, placed: LiveList) -> bool:
        seat = next(seat for seat in self.seats.values() if seat.market.symbol == placed.symbol)
        return seat.faults.exits_refused()

    def _sell_by_hand(self, seat: Seat) -> None:
        """Of a base that they share nobody can tell whose of it that hand has sold."""
        seat.manual.sell()
        for other in self.seats.values():
            if other is not seat and other.market.base == seat.market.base:
                other.outside.seize()

    def _bend_clock(self, seat: Seat) -> None:
        self.clock.bend((700, -700, 2_500, -4_000, -20_000)[seat.choices.choose("skew", 5)])
        self.timeline.at(self.timeline.now + 60_000, self.clock.sync)

    def _let_clock_drift(self, seat: Seat) -> None:
        self.clock.let_drift((20, -50)[seat.choices.choose("drift", 2)])
        self.timeline.at(self.timeline.now + 60_000, self.clock.sync)

    def _charge(self, seat: Seat) -> None:
        """An hour begins, or several have passed: interest."""
        assert self.loans is not None
        hours = (1, 2, 24)[seat.choices.choose("hours", 3)]
        self.engine.margin.charge(self.loans.lender, self.timeline.now, hours)
        seat.wire.deliver_pushes()

    def _convert(self) -> None:
        """The interest that shows in the debts is taken in BNB."""
        assert self.loans is not None
        for asset, debt in self.loans.lender.debts.items():
            for seat in self.seats.values():
                assert seat.outside.debts is not None
                seat.outside.debts.converted[asset] += debt.interest
            debt.interest = ZERO

    def _lose_state(self, seat: Seat) -> None:
        if self._alive:
            seat.lose()
            self.crash(0 if seat.wire.order_history() else LONG_DOWN)

    def _rot_state(self, seat: Seat) -> None:
        if self._alive and seat.rot():
            self.crash()

    # --- life and death ----------------------------------------------------------------------------------------------

    @property
    def _alive(self) -> bool:
        return all(seat.shell.alive for seat in self.seats.values())

    def suspend(self, seat: Seat, pause: int) -> None:
        """The process stands still for so long (ms): `seat` sees to itself."""
        self._watch()
        for other in self.seats.values():
            if other is not seat and other.awake and other.begun:
                other.shell.suspend(pause)

    def crash(self, down: int = 0) -> None:
        if not self._alive:
            return
        self.crashes += 1
        for seat in self.seats.values():
            seat.die()
        down = down or DOWN[self.choices.choose("many:down", len(DOWN))]
        self.timeline.at(self.timeline.now + down, self._restart)

    def _restart(self) -> None:
        """All of them begin at once; one whose state is not the newest waits until nothing sent before can arrive."""
        self._lives += 1
        waits = {name: seat.restart() for name, seat in self.seats.items()}
        self._acquaint()
        for name, wait in waits.items():
            if wait:
                self.timeline.at(self.timeline.now + wait, partial(self._begin, name, self._lives))
            else:
                self.seats[name].begin()

    def _begin(self, name: str, life: int) -> None:
        if life != self._lives or not self._alive:
            return
        if any(seat.shell.suspended for seat in self.seats.values()):  # the process stands still
            self.timeline.at(self.timeline.now + 100, partial(self._begin, name, life))
        else:
            self.seats[name].begin()

    # --- the calm ----------------------------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        seats = list(self.seats.values())
        if self.books.broken:
            return
        for seat in seats:
            seat.faults.calm = True
            seat.heal_disk(at_once=True)
        self.clock.sync()
        while not all(seat.awake and seat.begun for seat in seats):
            self.advance(1_000)
        self.advance(3_000)  # a signal may be on its way still
        self._until_safe()
        for seat in seats:
            seat.outside.must_be_safe(seat.state, seat.shell.alerted_at, self.clock.now())
        steps = {seat.name: seat.way_to_the_stops() / ENDING_STEPS for seat in seats}
        for n in range(ENDING_STEPS + 10):
            if self.books.broken or not any(seat.state.position is not None for seat in seats):
                break
            for seat in seats:
                seat.print_trade(seat.price + (steps[seat.name] if n < ENDING_STEPS else 0))
            self.advance(4_000)
        self.advance(3_000)
        self._until_settled(self.timeline.now + 2 * CALM_MS)
        self._judge()

    def _judge(self) -> None:
        """Every stop was passed: each trade has ended, and the account has what they made of it."""
        seats = list(self.seats.values())
        for seat in seats:
            seat.outside.must_be_over(seat.state, seat.shell.alerted_at)
        if self.loans is not None and not self.books.handled and not self.books.broken:
            self.loans.over({seat.market.symbol: seat.state for seat in seats})
        if not self.books.broken:
            self.books.balances([seat.outside for seat in seats], self.common.balances)

    def _until_safe(self) -> None:
        """As long as any may take."""
        seats = list(self.seats.values())
        end = max(self.timeline.now, *(seat.wire.banned_until for seat in seats)) + CALM_MS
        while not self.books.broken and any(seat.busy() for seat in seats):
            now = self.clock.now()
            grace = [seat.policy.failsafe_grace_ms for seat in seats if seat.has_time(now)]
            if self.timeline.now >= end + 2 * max(grace, default=0):
                break
            for seat in seats:
                seat.print_trade(seat.price)
            self.advance(3_000)

    def _until_settled(self, until: int) -> None:
        """Until nothing is being given back, and the account was read."""
        while (
            self.timeline.now < until
            and not self.books.broken
            and not all(seat.shell.has_settled for seat in self.seats.values())
        ):
            self.advance(3_000)
        if self.common.margin and not self.books.broken:
            self.advance(IDLE_MS + SETTLED_MS)
