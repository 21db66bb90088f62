"""The service in small: take an event, have the new state on disk, send what it owes; ask around; start again.

The real one is asyncio around the same steps (executor.service.loop and engine). Each place where a machine may stop
is a `boundary`: before the save, inside it, after it, before each request and after it. Before a request leaves, the
process may also be suspended (SIGSTOP, a machine that is moved), and go on much later as if nothing had been.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace
from tests.sim.disk import Disk
from tests.sim.setup import Setup
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.wire import Wire

from executor.core.absorb.clock import moment
from executor.core.decide.timers import next_timer
from executor.core.invariants import violations
from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    MarginSeen,
    OpenOrdersSeen,
    ReadFailed,
    Reported,
    SignalSeen,
    Started,
    Tick,
)
from executor.core.model.facts import Refused
from executor.core.model.intents import (
    Command,
    Level,
    Notify,
    Placement,
    QueryMargin,
    QueryOpenOrders,
    QueryQuote,
    Request,
)
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.transition import Step, transition
from executor.service.dispatcher import withdrawn
from executor.service.margin_watch import IDLE_S, OPEN_S, OWED_S, owes
from executor.service.poller import SAFETY_NET_S, _passed
from executor.service.price_proof import SILENCE_S
from executor.service.store.document import differs
from executor.service.store.state_store import StateUnwritable
from executor.service.timer import TIMER_LOOK_S, Leaps

SAFETY_NET_MS: Final = int(SAFETY_NET_S * 1000)
SILENCE_MS: Final = int(SILENCE_S * 1000)
DISK_RETRY_MS: Final = 1_000
TIMER_LOOK_MS: Final = int(TIMER_LOOK_S * 1000)
IDLE_MS: Final = int(IDLE_S * 100)  # a tenth, as runs are short


class Dead(BaseException):
    """The process has stopped: nothing of it runs on."""


class Host(Protocol):
    """The world around a shell."""

    def boundary(self, where: str, state: State) -> None:
        """Raises Dead if the machine stops here."""

    def pause(self) -> int:
        """For how long (ms) the process is suspended now; mostly 0."""

    def woken(self) -> None:
        """It was suspended until now."""

    def stepped(self, event: AnyEvent, before: State, step: Step) -> None: ...

    def broken(self, faults: list[str]) -> None: ...


class Shell:
    """One life of the process."""

    def __init__(
        self,
        host: Host,
        timeline: Timeline,
        clock: ServiceClock,
        wire: Wire,
        disk: Disk,
        setup: Setup,
        rules: SymbolRules,
        state: State,
    ) -> None:
        self.host = host
        self.timeline = timeline
        self.clock = clock
        self.wire = wire
        self.disk = disk
        self.setup = setup
        self.policy = setup.policy
        self.rules = rules
        self.state = state
        self.saved = state
        self.alive = True
        self.ready = False
        self.alerted_at = 0
        self.began_at = clock.now()
        self.steps = 0
        self.looked_at = 0
        self._margin_seen = False
        self._margin_asked = 0
        self._price_at = 0
        self._inbox: deque[AnyEvent] = deque()
        self._taking = False
        self._timer: int | None = None
        self._leaps = Leaps(clock.stamp, lambda: timeline.now)
        self._unseen: set[str] = set()
        self._outgoing: deque[tuple[Request, int]] = deque()
        self.suspended = False
        self.beside: Callable[[SignalSeen], SignalSeen] | None = None
        """What a signal is told of the account's other symbols as its turn comes, as the loop does it."""

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self, recv_window: int) -> None:
        """Rule 9.1."""
        self.wire.listener = self.receive
        self._unseen = _live(self.state)
        now = self.clock.now()
        self.receive(Started(at=now, fence=now + recv_window))
        self._poll()
        if self.rules.margin is not None:
            self._watch_margin()

    def stop(self) -> None:
        self.alive = False
        if self.wire.listener == self.receive:
            self.wire.listener = None

    @property
    def backlog(self) -> int:
        """Events that wait for the disk."""
        return len(self._inbox)

    def receive(self, event: AnyEvent) -> None:
        if not self.alive:
            return
        self._inbox.append(event)
        if not self._taking:
            self._consume()

    # --- the way of an event -----------------------------------------------------------------------------------------

    def _consume(self) -> None:
        self._taking = True
        try:
            while self.alive:
                while self._outgoing:
                    self.host.boundary("send", self.state)
                    if pause := self.host.pause():
                        self.suspend(pause)
                        return
                    self._send_next()
                if not self._inbox:
                    break
                ahead = self._leaps.ahead()
                if ahead and not isinstance(self._inbox[0], Started):
                    self.wire.clock_set()
                    self._inbox.appendleft(Tick(at=self.clock.now(), ahead=ahead))
                if isinstance(event := self._inbox[0], SignalSeen) and self.beside is not None:
                    event = self.beside(event)
                if not self._take(event):
                    self.timeline.at(self.timeline.now + DISK_RETRY_MS, self._again)
                    return
                self._inbox.popleft()
            self._taking = False
            self._arm()
        except Dead:
            self.stop()

    def _send_next(self) -> None:
        request, decided = self._outgoing.popleft()
        self._send(request, decided)
        self.host.boundary("sent", self.state)

    def suspend(self, pause: int) -> None:
        """Stand still for so long (ms)."""
        self.suspended = self._taking = True
        self.timeline.at(self.timeline.now + pause, self._wake_up)

    def _wake_up(self) -> None:
        """Go on where it was suspended: what has come meanwhile is read now."""
        if not self.alive:
            return
        self.host.woken()
        self.suspended = False
        self.began_at = self.clock.now()
        self._inbox = deque(replace(event, at=self.clock.now()) for event in self._inbox)
        try:
            if self._outgoing:
                self._send_next()
        except Dead:
            self.stop()
        else:
            self._consume()

    def _again(self) -> None:
        if self.alive and not self.suspended:
            self._consume()

    def _take(self, event: AnyEvent) -> bool:
        before = self.state
        event = replace(event, at=moment(before.market.now, event.at, self.clock.now()))
        step = transition(before, event, self.policy, self.rules, self.clock.stamp())
        self.steps += 1
        # What was sound and has not changed is sound.
        same = step.state.position is before.position and step.state.outbox is before.outbox
        if not same and (broken := violations(before, step.state, self.policy, self.rules)):
            self.host.broken(broken)
        self._say(step.notes)
        if differs(before, step.state) and not self._persist(step.state):
            return False
        self.state = step.state
        if self._unseen:
            self._looked_up(event, step)
        self.host.stepped(event, before, step)
        if step.requests:
            self._outgoing.extend((request, self.timeline.now) for request in step.requests)
        return True

    def _looked_up(self, event: AnyEvent, step: Step) -> None:
        """9.1: nothing is placed before every order of the state has been looked up."""
        if isinstance(event, Reported):
            self._unseen.discard(event.report.id)
        elif isinstance(event, Absent):
            self._unseen.discard(event.id)
        elif isinstance(event, OpenOrdersSeen):
            self._unseen -= {report.id for report in event.reports}
        elif isinstance(event, AllOrdersSeen):
            self._unseen &= _live(step.state)  # the list has told of their end, under whatever id
        self._unseen -= _outdone(step.state)
        if self._unseen and (early := [r for r in step.requests if isinstance(r, Placement)]):
            self.host.broken([f"W9 (9.1): {early[0]!r} before {', '.join(sorted(self._unseen))} were looked up"])

    def _persist(self, state: State) -> bool:
        self.host.boundary("persist", state)
        try:
            self.disk.save(state)
        except (OSError, StateUnwritable):
            self.alerted_at = self.clock.now()  # the loop logs it as an alert
            return False
        self.saved = state
        self.host.boundary("persisted", state)
        return True

    def _send(self, request: Request, decided: int) -> None:
        if isinstance(request, Command) and (late := withdrawn(request, self.clock.stamp())) is not None:
            self.timeline.at(self.timeline.now, lambda: self.receive(self._withdrawn(request, late)))
        else:
            self.wire.send(request, self.receive, decided)

    def _withdrawn(self, request: Request, late: Refused) -> AnyEvent:
        return Answered(at=self.clock.now(), seq=request.seq, outcome=late)

    def _say(self, notes: tuple[Notify, ...]) -> None:
        if notes and any(note.level is Level.ALERT for note in notes):
            self.alerted_at = self.clock.now()

    # --- time and looking --------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        timer = next_timer(self.state, self.policy)
        if timer is None or timer == self._timer:
            return
        self._timer = timer
        self._sleep(timer)

    def _sleep(self, timer: int) -> None:
        until = min(self.clock.true_time(timer), self.timeline.now + TIMER_LOOK_MS)
        left = timer - self.clock.now()
        self.timeline.at(until, lambda: self._ring(timer, left))

    def _ring(self, timer: int, before: int) -> None:
        """`before`: how long it was until then (ms), a look ago: more is left now where the clock was set back."""
        if not self.alive or timer != self._timer:
            return
        if 0 < timer - self.clock.now() <= before:
            self._sleep(timer)
            return
        self._timer = None
        self.receive(Tick(at=self.clock.now()))

    def _poll(self) -> None:
        if not self.alive:
            return
        now = self.timeline.now
        if self.suspended:
            self.timeline.at(now + self.setup.poll, self._poll)
            return
        if self.state.position is not None or not self.ready:
            if not self._streams_tell() or now - self.looked_at >= SAFETY_NET_MS:
                self.wire.read(QueryOpenOrders(seq=0), lambda event: self._looked(event, now), poll=True)
            if not self.setup.quotes or now - self._price_at >= SILENCE_MS:
                self._price_at = now
                self.wire.read(QueryQuote(seq=0), lambda event: self._looked(event, now), poll=True)
        self.timeline.at(now + self.setup.poll, self._poll)

    def _watch_margin(self) -> None:
        """At the start, while anything is owed (rule 11.9), and now and then (11.12)."""
        if not self.alive:
            return
        idle = self._margin_seen and not owes(self.state)
        if not self.suspended and (not idle or self.timeline.now - self._margin_asked >= IDLE_MS):
            self._margin_asked = self.timeline.now
            self.wire.read(QueryMargin(seq=0), self._looked_at_margin, poll=True, idle=idle)
        pause = OPEN_S if self.state.position is not None else OWED_S / 10
        self.timeline.at(self.timeline.now + int(pause * 1000), self._watch_margin)

    @property
    def has_settled(self) -> bool:
        """Whether nothing is being given back, and its margin account was looked at, if it has one, and once more where
        it showed a debt that is not explained, or where the look was not believed (8.6).
        """
        doubted = any(debt.doubted_at for debt in self.state.debts)
        return self.state.repaying is None and not doubted and (self._margin_seen or self.rules.margin is None)

    def _looked_at_margin(self, event: AnyEvent) -> None:
        if isinstance(event, MarginSeen):
            self.receive(event)
            self._margin_seen = self.state.market.margin is event.account

    def _streams_tell(self) -> bool:
        """Whether the orders need no look, as the service's watch judges it."""
        gap = self.wire.silent_until  # at its end there is one look more
        return self.setup.pushes and self.ready and self.looked_at >= gap and not _passed(self.state)

    def _looked(self, event: AnyEvent, asked: int) -> None:
        if isinstance(event, ReadFailed):
            return  # logged, and looked again at the next turn
        if isinstance(event, OpenOrdersSeen) and not self.state.started:
            self.ready = True
        if isinstance(event, OpenOrdersSeen):
            self.looked_at = max(self.looked_at, asked)  # an answer that comes late tells of before
        self.receive(event)


def _live(state: State) -> set[str]:
    return {o.id for o in state.position.orders if o.live} if state.position is not None else set()


def _outdone(state: State) -> set[str]:
    """Those that were to take an order's place and can't have: another one has (rule 8.3e). No look is needed."""
    orders = state.position.orders if state.position is not None else ()
    taken = {o.replaces for o in orders if o.replaces and o.exchange_id}
    return {o.id for o in orders if o.replaces in taken and not o.exchange_id}
