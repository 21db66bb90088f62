"""The network and the exchange behind it: requests go there, answers come back, and either may go wrong.

Fault model. What each kind in `faults.COMMAND` and `faults.READ` does:

- a lost request never reaches the exchange, a lost answer leaves it executed; the service hears of neither and gives
  up after its timeout, as it does for what is executed only later: within recvWindow, or, held up inside the engine,
  at most `ENGINE_LATE` after the window (rule 8.3 allows 10 s);
- what can't be read comes at once, and was executed; an answer in unknown words or with an unknown code refuses;
- a 5XX comes at once, and says nothing of whether the request was, or will be, executed;
- a refusal changes nothing; so does a ban, which refuses everything until it ends; the service that has heard of it
  sends nothing meanwhile: commands are refused here, reads wait, or fail where the end is far;
- a read may be lost, or show the exchange as it was up to `STALE` ago (rule 8.6 assumes less than 2 s), or arrive late;
- for a while the cancels of an order may all be refused, as if it were unknown, and it works on (rule 8.7);
  beside it nothing can be sold, or can;
- what a cancel has freed may count as locked for a while: what sells is refused for lack of balance;
- a cancel may tell of less than had filled by then: the rest shows in a later look (rule 6.3);
- pushes may be lost, doubled, late and so out of order, or stop for a while.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec.structs import replace
from tests.sim import setup as world_setup
from tests.sim.faults import LOAN_REFUSALS, ODD_REFUSALS, REFUSALS, Faults
from tests.sim.margin import MarginDirect
from tests.sim.pace import Pace
from tests.sim.timeline import ServiceClock, Timeline

from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
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
from executor.core.model.facts import Balance, Done, NotTried, OrderReport, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import ENTRIES, is_ours, parse
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    LoanCommand,
    MarginRead,
    OrderCommand,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryAllOrders,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    Read,
    ReplaceOrder,
    Request,
    SpotRead,
    placed,
)
from executor.core.model.loans import Booked
from executor.core.model.values import OrderStatus
from executor.exchange.wire.outcomes import Doubt, Fault, verdict
from executor.paper.engine.choices import (
    OPEN_LATER_MS,
    OTHER_WORDS,
    QUERY_LATER_MS,
    CancelledId,
    PendingOpen,
    PushOrder,
    RefusalTexts,
    SeenInReads,
)
from executor.paper.engine.margin.model import Fate
from executor.paper.engine.model import ExecutionReport, ExecutionType
from executor.simulate.direct import Direct, pushed

PENDING: Final = (1_000, 400, 5_000, 20_000, 90_000)
LOCKED: Final = (3_000, 800, 8_000)
UNMOVED: Final = (5_000, 1_500, 25_000)
STALE: Final = (1_800, 300, 900)
ENGINE_LATE: Final = 5_000
BANS: Final = (*(4_000, 20_000) * 15, 125_000)
IN_VAIN: Final = 12  # commands that may be on their way when a ban comes: each leg's, a cancel of each
CLOCK_AHEAD: Final = 4_000  # as far as the service's clock may be before the exchange's, with a drift on top
PATIENCE_MS: Final = 61_000  # as the adapter's budget: a read waits so long for a ban's end, then it fails at once
LATE: Final = (2_500, 6_000)
AFTER_ANSWER_MS: Final = 20  # a push that leaves behind the answer
LACKS: Final = "Account has insufficient balance for requested action."
REJECTED: Final = -2010
UNMOVED_WORDS: Final = ("Unknown order sent.", "Unknown order sent.", "The order is being worked on.")
_WORDED: Final = frozenset({-2010, -2011})

_DOUBTFUL: Final[dict[str, tuple[int | None, bool]]] = {
    # when it is executed (ms after its arrival; None: never), and whether the service hears of its failure at once
    "request_lost": (None, False),
    "answer_lost": (0, False),
    "executed_late": (3_000, False),
    "executed_at_last": (10_000, False),
    "5xx_executed": (0, True),
    "5xx_not_executed": (None, True),
    "5xx_executed_late": (3_000, True),
    "garbled": (0, True),
}

Deliver = Callable[[AnyEvent], None]
Outcome = Done | Refused | Unknown | ReplaceOutcome | Booked


class Wire:
    """`on_reports` hears what the exchange did, as it does it; `on_sent` and `on_executed` are crash boundaries."""

    def __init__(
        self, timeline: Timeline, clock: ServiceClock, direct: Direct, faults: Faults, setup: world_setup.Setup
    ) -> None:
        self.timeline = timeline
        self.clock = clock
        self.direct = direct
        self.faults = faults
        self.setup = setup
        self.listener: Deliver | None = None
        self.on_placed: Callable[[str], None] = lambda _: None
        self.on_reports: Callable[[list[ExecutionReport]], None] = lambda _: None
        self.on_executed: Callable[[], None] = lambda: None
        self.on_lent: Callable[[LoanCommand], None] = lambda _: None
        self.on_behind: Callable[[str, Decimal], None] = lambda _, __: None
        self.print_trade: Callable[[Decimal, Decimal | None], None] = lambda _, __: None
        self.blind_at = 0
        self.banned_until = 0
        self._closed_until = 0
        self._in_vain = 0
        self.on_pressed: Callable[[str], None] = lambda _: None
        self.pace = Pace(self._pressed)
        self.silent_until = 0
        self.lost_at = 0
        self.says: tuple[int, str] | None = None
        """The code and text with which the next entry is answered, though it was taken: a refusal, if it rests."""
        self._locked_until = 0
        self.unread_until = 0
        self._unmoved: dict[str, int] = {}
        """Orders that no cancel moves, and until when (ms)."""
        self._history: dict[str, list[tuple[int, OrderReport]]] = {}
        self._owned: list[tuple[int, dict[str, Balance]]] = [(0, direct.balances())]
        self.peers: list[Wire] = [self]
        """All who listen to the account, each over a line of its own."""

    def share(self, other: "Wire") -> None:
        """Be one more line to the same account as `other`."""
        self._history, self._owned, self.peers = other._history, other._owned, other.peers
        self._unmoved = other._unmoved
        self.peers.append(self)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _pressed(self, text: str) -> None:
        self.on_pressed(text)

    def forget(self) -> None:
        """The service that knew of a ban is gone; the next one must hear of it anew."""
        self._closed_until = 0
        self.pace.started(self.timeline.now)

    def clock_set(self) -> None:
        """The service's own was: what waits for the end of a ban by the wrong one is tried once more."""
        self._in_vain = max(0, self._in_vain - IN_VAIN // 2)

    def send(self, request: Request, deliver: Deliver, decided: int) -> None:
        """`decided`: when, in true time (ms)."""
        if self.timeline.now >= self._closed_until:  # else it goes no further than the adapter
            self.pace.sent(request, self.timeline.now)
        if isinstance(request, Command):
            self._command(request, deliver, decided)
        else:
            self.read(request, deliver)

    def _command(self, request: Command, deliver: Deliver, decided: int) -> None:
        now, lag = self.timeline.now, self.setup.latency
        stamp = request.stamp.timestamp if request.stamp is not None else self.clock.stamp()
        if now < self._closed_until:
            self._in_vain += 1
            if self._in_vain > IN_VAIN:
                self.on_pressed(f"W10: {type(request).__name__} is the {self._in_vain}th command during one ban")
            self._answer(request, self._ban_answer(), now, deliver)
            return
        name = type(request).__name__
        fault = self.faults.loan(name) if isinstance(request, LoanCommand) else self.faults.command(name)
        if fault in _DOUBTFUL:
            self._leave_in_doubt(request, stamp, fault, deliver, decided)
        elif fault in {"refused", "refused_oddly", "not_sent", "banned"}:
            self._answer(request, self._refusal(request, fault, stamp, decided), now + 2 * lag, deliver)
        else:
            back = LATE[self.faults.detail("late", len(LATE))] if fault == "answer_late" else lag

            def arrive() -> None:
                outcome = self._execute(request, stamp, fault, decided)
                self._answer(request, outcome, self.timeline.now + back, deliver)

            self.timeline.at(now + lag, arrive)

    def _leave_in_doubt(self, request: Command, stamp: int, fault: str, deliver: Deliver, decided: int) -> None:
        now, lag = self.timeline.now, self.setup.latency
        after, heard_at_once = _DOUBTFUL[fault]
        if fault == "executed_late":
            after = 3_000 + 1_900 * self.faults.detail("late", 2)
        elif fault == "executed_at_last":
            in_window = -1_000 < now + lag - stamp <= self.setup.recv_window
            # The window is judged by the stamp, as the exchange does: a clock that lags has less of it left.
            window_left = stamp + self.setup.recv_window - (now + lag)
            after = window_left + ENGINE_LATE if in_window else None
        if after is not None:
            self.timeline.at(now + lag + after, lambda: self._execute(request, stamp, fault, decided))
        unknown = Unknown("HTTP 503" if heard_at_once else "timeout", stamp + self.setup.recv_window)
        self._answer(request, unknown, now + (2 * lag if heard_at_once else self.setup.timeout), deliver)

    def _refusal(self, request: Command, fault: str, stamp: int, decided: int) -> Refused | Unknown:
        if fault == "not_sent":
            return Refused(Why.NOT_SENT, 0, "connection refused")
        if fault == "banned":
            self._ban()
            return self._ban_answer()
        kinds = ODD_REFUSALS if fault == "refused_oddly" else REFUSALS
        if isinstance(request, LoanCommand):
            kinds = LOAN_REFUSALS
        status, code, text = kinds[self.faults.detail(f"{fault}:{type(request).__name__}", len(kinds))]
        if code == -1021:
            self.clock.sync()
        why = verdict(status, Fault(code, text))
        if isinstance(why, Doubt):
            if self.faults.detail("doubtful_executed", 2) and not self.faults.by_the_book:  # no document says
                self.timeline.at(
                    self.timeline.now + self.setup.latency, lambda: self._execute(request, stamp, "", decided)
                )
            return Unknown(text, stamp + self.setup.recv_window)
        return Refused(why, code, text)

    def _answer(self, request: Command, outcome: Outcome, when: int, deliver: Deliver) -> None:
        if isinstance(request, ReplaceOrder) and isinstance(outcome, Refused | Unknown):
            outcome = ReplaceOutcome(outcome, outcome)
        told = outcome
        self.timeline.at(when, lambda: deliver(Answered(at=self.clock.now(), seq=request.seq, outcome=told)))

    def _execute(self, request: Command, stamp: int, fault: str, decided: int) -> Outcome:
        now = self.timeline.now
        if now < self.banned_until:
            return self._ban_answer()
        if fault != "executed_at_last" and not -1_000 < now - stamp <= self.setup.recv_window:
            self.clock.sync()
            return Refused(Why.CLOCK, -1021, "Timestamp for this request is outside of the recvWindow.")
        if now - decided > self.setup.recv_window + CLOCK_AHEAD + (ENGINE_LATE if fault == "executed_at_last" else 0):
            self.on_pressed(f"W13 (8.3d): {type(request).__name__} is executed {now - decided} ms after its decision")
        if isinstance(request, LoanCommand):
            return self._lend(request, fault)
        return self._carry_out(request, stamp, fault)

    def _carry_out(self, request: OrderCommand, stamp: int, fault: str) -> Outcome:
        now = self.timeline.now
        refused = self._moves_nothing(request, fault) or self._sells_nothing(request, fault)
        if refused is not None:
            return refused
        behind = self._before(request) if fault == "cancel_behind" else None
        if fault in {"fill_during_cancel", "cancel_behind"}:
            self._fill_first(request, partly=behind is not None)
        if fault == "half_done" and isinstance(request, ReplaceOrder):
            cancelled = self.direct.command(CancelOrder(seq=0, id=request.cancel_id), now)
            self.deliver_pushes()
            if isinstance(cancelled, Done):
                refused = Refused(Why.OTHER, -2010, "Account may not place orders now.")
                return ReplaceOutcome(cancelled, refused)
        before = self.direct.engine._last_order_id
        outcome = self._worded(self.done(request))
        if self.direct.engine._last_order_id != before and not isinstance(outcome, Refused):
            for client_id in _new_ids(request, outcome):
                self.on_placed(client_id)
        self.deliver_pushes()
        self.on_executed()
        if self.says is not None and _enters(request, outcome, filled=self.says[0] != REJECTED):
            (code, text), self.says = self.says, None
            why, window = verdict(400, Fault(code, text)), stamp + self.setup.recv_window
            return Unknown(text, window) if isinstance(why, Doubt) else Refused(why, code, text)
        if behind is not None and isinstance(outcome, Done) and behind.cum_qty != outcome.reports[0].cum_qty:
            self.on_behind(behind.id, outcome.reports[0].cum_qty - behind.cum_qty)
            told = replace(behind, status=outcome.reports[0].status)
            return Done((told,)) if told.status is OrderStatus.CANCELED else outcome
        return outcome

    def done(self, request: OrderCommand) -> Done | Refused | ReplaceOutcome:
        """What the exchange itself makes of it."""
        return self.direct.command(request, self.timeline.now)

    def _moves_nothing(self, request: OrderCommand, fault: str) -> Refused | ReplaceOutcome | None:
        """The refusal of a cancel that is one of many; None where it is carried out."""
        now, ids = self.timeline.now, _cancels(request)
        if fault == "cancels_refused" and ids:
            until = now + UNMOVED[self.faults.detail("unmoved", len(UNMOVED))]
            self.hold_fast(ids, until, locks=bool(self.faults.detail("unmoved_locks", 2)))
        if self.faults.calm or all(now >= self._unmoved.get(client_id, 0) for client_id in ids):
            return None
        words = UNMOVED_WORDS[self.faults.detail("unmoved_words", len(UNMOVED_WORDS))]
        why = verdict(400, Fault(-2011, words))
        assert not isinstance(why, Doubt)
        refused = Refused(why, -2011, words)
        return ReplaceOutcome(refused, NotTried()) if isinstance(request, ReplaceOrder) else refused

    def hold_fast(self, ids: Iterable[str], until: int, *, locks: bool = False) -> None:
        """No cancel moves these orders until then (ms). `locks`: and nothing can be sold beside them."""
        self._unmoved |= dict.fromkeys(ids, until)
        if locks:
            self._locked_until = until

    def _sells_nothing(self, request: OrderCommand, fault: str) -> Outcome | None:
        """The refusal of an exit while what it sells counts as locked; None where it may be placed."""
        now = self.timeline.now
        if fault == "locked_longer":
            self._locked_until = now + LOCKED[self.faults.detail("locked", len(LOCKED))]
        if self.faults.calm or now >= self._locked_until or not isinstance(request, PlaceOrder | PlaceOco):
            return None
        name = parse(request.order.id if isinstance(request, PlaceOrder) else request.stop.id)
        if name is None or name.role in ENTRIES:
            return None
        return self._worded(Refused(Why.INSUFFICIENT_BALANCE, -2010, LACKS))

    def _lend(self, request: LoanCommand, fault: str) -> Booked | Refused:
        direct = self.direct
        assert isinstance(direct, MarginDirect)
        if fault == "interest_before":
            direct.engine.margin.charge(direct.lender, self.timeline.now)
        fate = None
        if fault in {"loan_pending", "loan_fails"}:
            fate = Fate(pending_ms=PENDING[self.faults.detail("pending", len(PENDING))], fails=fault == "loan_fails")
        outcome = direct.lend(request, self.timeline.now, fate)
        if not isinstance(outcome, Refused) and fault != "loan_fails":
            self.on_lent(request)
        if fault == "interest_after":
            direct.engine.margin.charge(direct.lender, self.timeline.now)
        self.deliver_pushes()
        self.on_executed()
        return outcome

    def _worded(self, outcome: Outcome) -> Outcome:
        """A refusal in the words of the exchange's choice, and what the adapter makes of it."""
        match outcome:
            case Refused() if self.setup.exchange.refusal_texts is RefusalTexts.OTHERS and outcome.code in _WORDED:
                why = verdict(400, Fault(outcome.code, OTHER_WORDS))
                assert not isinstance(why, Doubt)
                return replace(outcome, why=why, text=OTHER_WORDS)
            case ReplaceOutcome():
                cancel, place = self._worded(outcome.cancel), outcome.place
                placed = place if isinstance(place, NotTried) else self._worded(place)
                assert not isinstance(cancel, ReplaceOutcome | Booked)
                assert not isinstance(placed, ReplaceOutcome | Booked)
                return ReplaceOutcome(cancel, placed)
            case _:
                return outcome

    def _before(self, request: Command) -> OrderReport | None:
        """An exit as it was before its cancel. (Of an entry the cancel's answer is believed by rule 3.2.)"""
        name = parse(request.id) if isinstance(request, CancelOrder) else None
        return self.direct.order(str(name)) if name is not None and name.role not in ENTRIES else None

    def _fill_first(self, request: Command, *, partly: bool) -> None:
        """The market reaches the order a moment before its cancel does."""
        ids = _cancels(request)
        if not ids:
            return
        found = self.direct.order(ids[self.faults.detail("which", len(ids))])
        if found is not None and not found.status.is_final and (found.stop_price or found.price):
            self.print_trade(found.stop_price or found.price, Decimal("0.5") if partly else None)

    def _ban(self) -> None:
        length = BANS[self.faults.detail("ban", len(BANS))]
        self.banned_until = max(self.banned_until, self.timeline.now + length)

    def _ban_heard(self) -> None:
        if self._closed_until != self.banned_until:
            self._in_vain = 0
        self._closed_until = self.banned_until
        self.blind_at = max(self.blind_at, self.banned_until)

    def _ban_answer(self) -> Refused:
        self._ban_heard()
        retry_at = self.clock.now() + self.banned_until - self.timeline.now
        return Refused(Why.RATE_LIMIT, -1003, "Way too much request weight used; IP banned.", retry_at)

    # --- reads -------------------------------------------------------------------------------------------------------

    def read(
        self, request: Read, deliver: Deliver, *, poll: bool = False, idle: bool = False, asked_at: int = 0
    ) -> None:
        """`poll`: where it must wait it is left out, another follows; `idle`: one of few, while nothing is under way.
        `asked_at`: when a read that has waited came.
        """
        asked_at = asked_at or self.clock.now()
        wait = self._closed_until - self.timeline.now
        if wait > PATIENCE_MS:
            self._fail(request, self.timeline.now, "banned", deliver)
        elif wait <= 0:
            if poll:
                self.pace.sent(request, self.timeline.now, poll=True)
            kind = "idle" if idle else "poll" if poll else type(request).__name__
            self._read(request, deliver, asked_at, kind)
        elif not poll:
            again = self._closed_until
            self.timeline.at(again, lambda: self.read(request, deliver, asked_at=asked_at))

    def _fail(self, request: Read, when: int, text: str, deliver: Deliver) -> None:
        seq = request.seq
        self.timeline.at(when, lambda: deliver(ReadFailed(at=self.clock.now(), seq=seq, text=text)))

    def _read(self, request: Read, deliver: Deliver, asked_at: int, kind: str) -> None:
        now, lag = self.timeline.now, self.setup.latency
        fault = self.faults.read(kind)
        if isinstance(request, QueryOrder) and now < self.unread_until:
            fault = "read_5xx"
        if fault:
            self.blind_at = max(self.blind_at, now + self.setup.timeout)
        stale = STALE[self.faults.detail("stale", len(STALE))] if fault == "read_stale" else 0

        def look() -> None:
            if self.timeline.now < self.banned_until:
                self._ban_heard()
                self._fail(request, self.timeline.now + lag, "banned", deliver)
                return
            back = LATE[self.faults.detail("late", len(LATE))] if fault == "read_late" else lag
            seen = self._look(request, asked_at, self.timeline.now - stale if stale else 0)
            self.timeline.at(self.timeline.now + back, lambda: deliver(seen(self.clock.now())))

        match fault:
            case "read_lost":
                self._fail(request, now + self.setup.timeout, "timeout", deliver)
            case "read_garbled":
                self._fail(request, now + 2 * lag, "HTTP 200 without a readable body", deliver)
            case "read_5xx":
                self._fail(request, now + 2 * lag, "HTTP 503", deliver)
            case "read_banned":
                self._ban()
                self._fail(request, now + 2 * lag, "HTTP 418", deliver)
                self._ban_heard()
            case _:
                self.timeline.at(now + lag, look)

    def _look(self, request: Read, asked_at: int, as_of: int) -> Callable[[int], AnyEvent]:
        """What the exchange says now, to be told when it arrives. `as_of` (ms) where it is behind, else 0."""
        if isinstance(request, MarginRead):
            assert isinstance(self.direct, MarginDirect)
            return self.direct.read_margin(request, asked_at, self.timeline.now, as_of)
        assert isinstance(request, SpotRead)
        direct, seq = self.direct, request.seq
        match request:
            case QueryOrder():
                name = request.id
                found = self._was(name, as_of) if as_of else direct.order(name)
                if found is None or self._hidden(found, by_own_id=bool(request.exchange_id)):
                    return lambda at: Absent(at=at, id=name, asked_at=asked_at, seq=seq)
                report = found
                return lambda at: Reported(at=at, report=report, seq=seq)
            case QueryTrades():
                event = direct.read(request, self.timeline.now)
                assert isinstance(event, TradesSeen)
                fills = tuple(f for f in event.fills if not as_of or f.time <= as_of)
                name = request.id
                return lambda at: TradesSeen(at=at, id=name, fills=fills, seq=seq)
            case QueryOpenOrders():
                reports = self._were_open(as_of) if as_of else direct.open_orders()
                reports = tuple(report for report in reports if not self._too_young(report, OPEN_LATER_MS))
                return lambda at: OpenOrdersSeen(at=at, reports=reports, asked_at=asked_at, seq=seq)
            case QueryAllOrders():
                made = self._were_made(request.since, as_of)
                return lambda at: AllOrdersSeen(at=at, reports=made, asked_at=asked_at, seq=seq)
            case QueryBalances():
                balances = self._was_owned(as_of) if as_of else direct.balances()
                return lambda at: BalancesSeen(at=at, balances=balances, seq=seq)
            case QueryQuote():
                quote = direct.quote(self.clock.now())
                return lambda at: QuoteSeen(at=at, quote=quote, seq=seq)
            case QueryKlines():
                klines = direct.klines(request.count, self.timeline.now)
                return lambda at: KlinesSeen(at=at, klines=klines, seq=seq)

    def _were_made(self, since: int, as_of: int) -> tuple[OrderReport, ...]:
        """A cancelled order by the cancel's own id, where a query by its own does not find it."""
        told = (self._was(name, as_of or self.timeline.now) for name in self._history)
        made = [report for report in told if report is not None and report.time >= since]
        hides = [replace(r, id=f"web_{r.exchange_id}") if self._renamed(r) else r for r in made]
        return tuple(sorted(hides, key=lambda report: report.exchange_id))

    def _renamed(self, report: OrderReport) -> bool:
        other = self.setup.exchange.cancelled_id in {CancelledId.CANCEL, CancelledId.NONE}
        return other and report.status is OrderStatus.CANCELED

    def _hidden(self, report: OrderReport, *, by_own_id: bool) -> bool:
        """Whether a query does not find it, by the exchange's choices; `by_own_id`: the exchange's own."""
        choices = self.setup.exchange
        if self._renamed(report) and not by_own_id:
            return True
        return choices.seen_in_reads is SeenInReads.LATER and self._too_young(report, QUERY_LATER_MS)

    def _too_young(self, report: OrderReport, ms: int) -> bool:
        if self.setup.exchange.seen_in_reads is SeenInReads.AT_ONCE:
            return False
        told = self._history.get(report.id, [])
        return bool(told) and self.timeline.now - told[0][0] < ms

    def _was(self, name: str, as_of: int) -> OrderReport | None:
        return next((report for time, report in reversed(self._history.get(name, [])) if time <= as_of), None)

    def _were_open(self, as_of: int) -> tuple[OrderReport, ...]:
        seen = (self._was(name, as_of) for name in self._history)
        hidden = self.setup.exchange.pending_open is PendingOpen.HIDDEN
        return tuple(
            report
            for report in seen
            if report is not None
            and not report.status.is_final
            and not (hidden and report.status is OrderStatus.PENDING_NEW)
        )

    def _was_owned(self, as_of: int) -> dict[str, Balance]:
        return next(balances for time, balances in reversed(self._owned) if time <= as_of)

    def order_history(self) -> Mapping[str, OrderReport]:
        """Every order of ours that the exchange ever took, by client order id (allOrders)."""
        return {name: told[-1][1] for name, told in self._history.items() if is_ours(name)}

    def remember_balances(self) -> None:
        """For reads that will be behind."""
        self._owned.append((self.timeline.now, self.direct.balances()))

    # --- pushes ------------------------------------------------------------------------------------------------------

    def deliver_pushes(self) -> None:
        """Take what the exchange has to tell, and push it on."""
        if isinstance(self.direct, MarginDirect):
            self.direct.engine.margin.advance(self.timeline.now)
            self.direct.remember(self.timeline.now)
        if reports := self.drained():
            self.take(reports)

    def drained(self) -> list[ExecutionReport]:
        """What the exchange has to tell of the account's orders."""
        told = self.direct.engine.drain_events(self.direct.account)
        return [event for event in told if isinstance(event, ExecutionReport)]

    def take(self, reports: list[ExecutionReport]) -> None:
        """Remember what the exchange tells, and push it on."""
        now = self.timeline.now
        self.remember_balances()
        for event in reports:
            report = pushed(event, self.setup.exchange.prevented_told)
            if event.execution_type is ExecutionType.TRADE or report.status is not OrderStatus.PENDING_NEW:
                self._history.setdefault(report.id, []).append((now, report))
            for wire in self.peers:
                if wire.setup.pushes and wire.listener is not None:
                    wire._push(report)
        self.on_reports(reports)

    def _push(self, report: OrderReport) -> None:
        now, lag = self.timeline.now, self.setup.latency
        fault = self.faults.push()
        if fault == "stream_gap":
            self.silent_until = now + 8_000
        if fault == "push_lost" or now < self.silent_until:
            self.lost_at = now
            return
        after = AFTER_ANSWER_MS if self.setup.exchange.push_order is PushOrder.AFTER_ANSWER else 0
        whens = [now + lag + after]
        if fault == "push_twice":
            whens.append(now + lag + 500)
        elif fault == "push_late":
            whens = [now + 3_000]
        for when in whens:
            self.timeline.at(when, lambda: self._hand_on(report))

    def _hand_on(self, report: OrderReport) -> None:
        if self.listener is not None:
            self.listener(Reported(at=self.clock.now(), report=report))


def _cancels(request: Command) -> tuple[str, ...]:
    match request:
        case CancelOrder():
            return (request.id,)
        case CancelList():
            return request.ids
        case ReplaceOrder():
            return (request.cancel_id,)
        case _:
            return ()


def _enters(request: Command, outcome: Outcome, *, filled: bool) -> bool:
    """Whether an entry was placed; one that rests, if it is not to be `filled`."""
    name = parse(request.order.id) if isinstance(request, PlaceOrder) else None
    if name is None or name.role not in ENTRIES or not isinstance(outcome, Done):
        return False
    return filled or not outcome.reports[0].cum_qty


def _new_ids(request: Command, outcome: Outcome) -> tuple[str, ...]:
    match request:
        case PlaceOrder() | PlaceOco() | PlaceBracket():
            return placed(request)
        case ReplaceOrder() if isinstance(outcome, ReplaceOutcome) and isinstance(outcome.place, Done):
            return (request.order.id,)
        case _:
            return ()
