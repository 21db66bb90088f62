"""The network and the exchange behind it: requests go there, answers come back, and either may go wrong.

Fault model. What each kind in `faults.COMMAND` and `faults.READ` does:

- a lost request never reaches the exchange, a lost answer leaves it executed; the service hears of neither and gives up
  after its timeout, as it does for what is executed only later: within recvWindow, or, held up inside the engine, at most
  `ENGINE_LATE` after the window (rule 8.3 allows 10 s);
- a 5XX comes at once, and says nothing of whether the request was, or will be, executed;
- a refusal changes nothing; so does a ban, which refuses everything until it ends;
- a read may be lost, or show the exchange as it was up to `STALE` ago (rule 8.6 assumes less than 2 s), or arrive late;
- pushes may be lost, doubled, late and so out of order, or stop for a while.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from executor.core.events import (
    Absent,
    Answered,
    AnyEvent,
    BalancesSeen,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    TradesSeen,
)
from executor.core.facts import Done, OrderReport, Refused, ReplaceOutcome, Unknown, Why
from executor.core.ids import is_ours
from executor.core.intents import (
    CancelList,
    CancelOrder,
    Command,
    PlaceOco,
    PlaceOrder,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    Read,
    ReplaceOrder,
    Request,
)
from executor.core.values import OrderStatus
from executor.exchange.outcomes import Doubt, Fault, verdict
from executor.paper.model import ExecutionReport, ExecutionType
from executor.simulate.direct import Direct, pushed
from tests.sim import setup as world_setup
from tests.sim.faults import REFUSALS, Faults
from tests.sim.timeline import ServiceClock, Timeline

STALE: Final = (1_800, 300, 900)
ENGINE_LATE: Final = 5_000
BANS: Final = (4_000, 20_000)
LATE: Final = (2_500, 6_000)

Deliver = Callable[[AnyEvent], None]
Outcome = Done | Refused | Unknown | ReplaceOutcome


class Wire:
    """`on_reports` hears what the exchange did, as it does it; `on_sent` and `on_executed` are crash boundaries."""

    def __init__(self, timeline: Timeline, clock: ServiceClock, direct: Direct, faults: Faults, setup: world_setup.Setup):
        self.timeline = timeline
        self.clock = clock
        self.direct = direct
        self.faults = faults
        self.setup = setup
        self.listener: Deliver | None = None
        self.on_placed: Callable[[str], None] = lambda _: None
        self.on_reports: Callable[[list[ExecutionReport]], None] = lambda _: None
        self.on_executed: Callable[[], None] = lambda: None
        self.print_trade: Callable[[Decimal], None] = lambda _: None
        self.blind_at = 0
        self._banned_until = 0
        self._silent_until = 0
        self._history: dict[str, list[tuple[int, OrderReport]]] = {}

    # --- requests ----------------------------------------------------------------------------------------------------

    def send(self, request: Request, deliver: Deliver) -> None:
        if isinstance(request, Command):
            self._command(request, deliver)
        else:
            self.read(request, deliver)

    def _command(self, request: Command, deliver: Deliver) -> None:
        stamp, now, lag = self.clock.stamp(), self.timeline.now, self.setup.latency
        fence = stamp + self.setup.recv_window
        kind = type(request).__name__
        fault = self.faults.command(kind)
        give_up = now + self.setup.timeout
        unknown = Unknown("timeout", fence)

        def answer(outcome: Outcome, when: int) -> None:
            self._answer(request, outcome, when, deliver)

        def execute(when: int, back: int | None, *, held_up: bool = False) -> None:
            self.timeline.at(when, lambda: arrive(back, held_up))

        def arrive(back: int | None, held_up: bool) -> None:
            outcome = self._execute(request, stamp, fault, held_up)
            if back is not None:
                answer(outcome, self.timeline.now + back)

        match fault:
            case "request_lost":
                answer(unknown, give_up)
            case "answer_lost":
                execute(now + lag, None)
                answer(unknown, give_up)
            case "answer_late":
                execute(now + lag, LATE[self.faults.detail("late", len(LATE))])
            case "executed_late":
                execute(now + 3_000 + 1_900 * self.faults.detail("late", 2), None)
                answer(unknown, give_up)
            case "executed_at_last":
                execute(now + self.setup.recv_window + ENGINE_LATE, None, held_up=True)
                answer(unknown, give_up)
            case "5xx_executed":
                execute(now + lag, None)
                answer(Unknown("HTTP 503", fence), now + 2 * lag)
            case "5xx_not_executed":
                answer(Unknown("HTTP 500", fence), now + 2 * lag)
            case "5xx_executed_late":
                execute(now + 3_000, None)
                answer(Unknown("HTTP 502", fence), now + 2 * lag)
            case "refused":
                status, code, text = REFUSALS[self.faults.detail(f"refusal:{kind}", len(REFUSALS))]
                if code == -1021:
                    self.clock.sync()
                why = verdict(status, Fault(code, text))
                told: Refused | Unknown
                told = Unknown(text, fence) if isinstance(why, Doubt) else Refused(why, code, text)
                answer(told, now + 2 * lag)
            case "not_sent":
                answer(Refused(Why.NOT_SENT, 0, "connection refused"), now + 1)
            case "banned":
                self._ban()
                answer(self._ban_answer(), now + 2 * lag)
            case _:
                execute(now + lag, lag)

    def _answer(self, request: Command, outcome: Outcome, when: int, deliver: Deliver) -> None:
        if isinstance(request, ReplaceOrder) and isinstance(outcome, Refused | Unknown):
            outcome = ReplaceOutcome(outcome, outcome)
        told = outcome
        self.timeline.at(when, lambda: deliver(Answered(at=self.clock.now(), seq=request.seq, outcome=told)))

    def _execute(self, request: Command, stamp: int, fault: str, held_up: bool) -> Outcome:
        now = self.timeline.now
        if now < self._banned_until:
            return self._ban_answer()
        if not held_up and not -1_000 < now - stamp <= self.setup.recv_window:
            self.clock.sync()
            return Refused(Why.CLOCK, -1021, "Timestamp for this request is outside of the recvWindow.")
        if fault == "fill_during_cancel":
            self._fill_first(request)
        if fault == "half_done" and isinstance(request, ReplaceOrder):
            cancelled = self.direct.command(CancelOrder(seq=0, id=request.cancel_id), now)
            self.hear()
            if isinstance(cancelled, Done):
                refused = Refused(Why.OTHER, -2010, "Account may not place orders now.")
                return ReplaceOutcome(cancelled, refused)
        before = self.direct.engine._last_order_id
        outcome = self.direct.command(request, now)
        if self.direct.engine._last_order_id != before and not isinstance(outcome, Refused):
            for id in _new_ids(request, outcome):
                self.on_placed(id)
        self.hear()
        self.on_executed()
        return outcome

    def _fill_first(self, request: Command) -> None:
        """The market reaches the order a moment before its cancel does."""
        if isinstance(request, CancelOrder):
            ids: tuple[str, ...] = (request.id,)
        elif isinstance(request, CancelList):
            ids = request.ids
        elif isinstance(request, ReplaceOrder):
            ids = (request.cancel_id,)
        else:
            return
        found = self.direct.order(ids[self.faults.detail("which", len(ids))])
        if found is not None and not found.status.is_final and (found.stop_price or found.price):
            self.print_trade(found.stop_price or found.price)

    def _ban(self) -> None:
        length = BANS[self.faults.detail("ban", len(BANS))]
        self._banned_until = max(self._banned_until, self.timeline.now + length)

    def _ban_answer(self) -> Refused:
        self.blind_at = max(self.blind_at, self._banned_until)
        retry_at = self.clock.now() + self._banned_until - self.timeline.now
        return Refused(Why.RATE_LIMIT, -1003, "Way too much request weight used; IP banned.", retry_at)

    # --- reads -------------------------------------------------------------------------------------------------------

    def read(self, request: Read, deliver: Deliver, *, poll: bool = False) -> None:
        now, lag = self.timeline.now, self.setup.latency
        fault = self.faults.read("poll" if poll else type(request).__name__)
        if fault:
            self.blind_at = max(self.blind_at, now + self.setup.timeout)
        asked_at = self.clock.now()
        stale = STALE[self.faults.detail("stale", len(STALE))] if fault == "read_stale" else 0

        def failed(when: int, text: str) -> None:
            seq = request.seq
            self.timeline.at(when, lambda: deliver(ReadFailed(at=self.clock.now(), seq=seq, text=text)))

        def look() -> None:
            if self.timeline.now < self._banned_until:
                self.blind_at = max(self.blind_at, self._banned_until)
                failed(self.timeline.now + lag, "banned")
                return
            back = LATE[self.faults.detail("late", len(LATE))] if fault == "read_late" else lag
            seen = self._look(request, asked_at, self.timeline.now - stale if stale else 0)
            self.timeline.at(self.timeline.now + back, lambda: deliver(seen(self.clock.now())))

        match fault:
            case "read_lost":
                failed(now + self.setup.timeout, "timeout")
            case "read_5xx":
                failed(now + 2 * lag, "HTTP 503")
            case "read_banned":
                self._ban()
                failed(now + 2 * lag, "HTTP 418")
                self.blind_at = max(self.blind_at, self._banned_until)
            case _:
                self.timeline.at(now + lag, look)

    def _look(self, request: Read, asked_at: int, as_of: int) -> Callable[[int], AnyEvent]:
        """What the exchange says now, to be told when it arrives. `as_of` (ms) where it is behind, else 0."""
        direct, seq = self.direct, request.seq
        match request:
            case QueryOrder():
                id = request.id
                found = self._was(id, as_of) if as_of else direct.order(id)
                if found is None:
                    return lambda at: Absent(at=at, id=id, asked_at=asked_at, seq=seq)
                report = found
                return lambda at: Reported(at=at, report=report, seq=seq)
            case QueryTrades():
                event = direct.read(request, self.timeline.now)
                assert isinstance(event, TradesSeen)
                fills = tuple(f for f in event.fills if not as_of or f.time <= as_of)
                id = request.id
                return lambda at: TradesSeen(at=at, id=id, fills=fills, seq=seq)
            case QueryOpenOrders():
                reports = self._were_open(as_of) if as_of else direct.open_orders()
                return lambda at: OpenOrdersSeen(at=at, reports=reports, asked_at=asked_at, seq=seq)
            case QueryBalances():
                balances = direct.balances()
                return lambda at: BalancesSeen(at=at, balances=balances, seq=seq)
            case QueryQuote():
                quote = direct.quote(self.clock.now())
                return lambda at: QuoteSeen(at=at, quote=quote, seq=seq)
            case QueryKlines():
                klines = direct.klines(request.count, self.timeline.now)
                return lambda at: KlinesSeen(at=at, klines=klines, seq=seq)

    def _was(self, id: str, as_of: int) -> OrderReport | None:
        return next((report for time, report in reversed(self._history.get(id, [])) if time <= as_of), None)

    def _were_open(self, as_of: int) -> tuple[OrderReport, ...]:
        seen = (self._was(id, as_of) for id in self._history)
        return tuple(report for report in seen if report is not None and not report.status.is_final)

    def order_history(self) -> Mapping[str, OrderReport]:
        """Every order of ours that the exchange ever took, by client order id (allOrders)."""
        return {id: told[-1][1] for id, told in self._history.items() if is_ours(id)}

    # --- pushes ------------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take what the exchange has to tell, and push it on."""
        told = self.direct.engine.drain_events(self.direct.account)
        reports = [event for event in told if isinstance(event, ExecutionReport)]
        if not reports:
            return
        now = self.timeline.now
        for event in reports:
            report = pushed(event)
            if event.execution_type is ExecutionType.TRADE or report.status is not OrderStatus.PENDING_NEW:
                self._history.setdefault(report.id, []).append((now, report))
            if self.setup.pushes and self.listener is not None:
                self._push(report)
        self.on_reports(reports)

    def _push(self, report: OrderReport) -> None:
        now, lag = self.timeline.now, self.setup.latency
        fault = self.faults.push()
        if fault == "stream_gap":
            self._silent_until = now + 8_000
        if fault == "push_lost" or now < self._silent_until:
            return
        whens = [now + lag]
        if fault == "push_twice":
            whens.append(now + lag + 500)
        elif fault == "push_late":
            whens = [now + 3_000]
        for when in whens:
            self.timeline.at(when, lambda: self._hand_on(report))

    def _hand_on(self, report: OrderReport) -> None:
        if self.listener is not None:
            self.listener(Reported(at=self.clock.now(), report=report))


def _new_ids(request: Command, outcome: Outcome) -> tuple[str, ...]:
    match request:
        case PlaceOrder():
            return (request.order.id,)
        case PlaceOco():
            return request.target.id, request.stop.id
        case ReplaceOrder() if isinstance(outcome, ReplaceOutcome) and isinstance(outcome.place, Done):
            return (request.order.id,)
        case _:
            return ()


