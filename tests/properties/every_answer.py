"""Every request, in every situation, meets every answer that the documents allow; then the exchange is calm.

    python -m tests.properties.every_answer           all of it
    python -m tests.properties.every_answer NAME ...  situations whose name begins so, told step by step where they fail

A situation is a moment of a scripted trade in which a request waits for its answer. An answer may be true or not, and
come late or twice. Whatever it is: nothing raises (the invariants are checked after each step), what follows is
bounded, nothing is sold twice in the end, and the trade is covered or over once the exchange has answered truly for a
while; then the price passes every stop, and the trade ends.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec.structs import replace
from tests.core.build import DONE, POLICY, Script, entering, protected, targets_filled, trailing, unprotected

from executor.core.book.ledger import covered, sellable
from executor.core.model.events import (
    Absent,
    Answered,
    AnyEvent,
    BalancesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    Tick,
    TradesSeen,
    Verb,
)
from executor.core.model.facts import Done, NotTried, OrderReport, Quote, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    OrderCommand,
    PlaceOco,
    PlaceOrder,
    QueryBalances,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    ReplaceOrder,
    Request,
)
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.state import Reason
from executor.core.model.values import ZERO, Direction, OrderSide, OrderStatus, OrderType

CALM_MS: Final = 150_000
POLL_MS: Final = 2_000
REQUESTS_MAX: Final = 260
"""After one answer, until the trade has ended: looks of a doubt, a close that is refused some times."""
LATE_MS: Final = 3_000
ODD_ANSWERS: Final = 3
"""So many more in a row."""
_SPOT_WHYS: Final = [why for why in Why if why not in {Why.LOAN_BUSY, Why.NOT_LENT, Why.DEBT_SUM, Why.LOAN_MINIMUM}]

_FILLED: Final = OrderStatus.FILLED
Answer = Callable[["Trial"], None]


class Moment(NamedTuple):
    """`n`: which of the requests that wait is answered."""

    name: str
    script: Script
    n: int


class BrokenError(Exception):
    """What must not be."""


FAULTS: Final = (BrokenError, AssertionError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError)


class Trial:
    """One answer to one request, and what comes of it."""

    def __init__(self, moment: Moment) -> None:
        self.script = forked(moment.script)
        self.request: Request = self.script.pending.pop(moment.n)
        self.sent_before = len(self.script.sent)
        self.late: list[tuple[int, Callable[[], None]]] = []
        self.polled_at = self.script.now

    # --- what answers may do ------------------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> None:
        self.script.feed(event)

    def carry_out(self) -> Done | Refused | ReplaceOutcome:
        """At the exchange; nobody is told."""
        assert isinstance(self.request, OrderCommand)
        return self.script._perform(self.request)

    def answer(self, outcome: Done | Refused | Unknown | ReplaceOutcome) -> None:
        if isinstance(self.request, ReplaceOrder) and isinstance(outcome, Refused | Unknown):
            outcome = ReplaceOutcome(outcome, outcome)
        self.feed(Answered(at=self.script.now, seq=self.request.seq, outcome=outcome))

    def unknown(self) -> Unknown:
        return Unknown("timeout", self.script.now + 5_000)

    def later(self, ms: int, action: Callable[[], None]) -> None:
        self.late.append((self.script.now + ms, action))

    # --- the calm -----------------------------------------------------------------------------------------------------

    def run(self, answer: Answer, odd: int = 0) -> None:
        """`odd`: which answers the next requests get, 0 for true ones. Raises BrokenError."""
        answer(self)
        for _ in range(ODD_ANSWERS if odd else 0):
            if not self.script.pending:
                self._turn()
            if self.script.pending and self.script.state.position is not None:
                self.request = self.script.pending.pop(odd % len(self.script.pending))
                choices = list(answers(self.request).values())
                odd = (odd * 1_103_515_245 + 12_345) % 2_147_483_648
                choices[odd // 65_536 % len(choices)](self)
        end = self.script.now + CALM_MS
        while self.script.now < end and not self._at_rest():
            self._turn()
        self._must_be_safe()
        self._pass_the_stops()
        self._must_be_over()

    def _at_rest(self) -> bool:
        script = self.script
        if script.pending or self.late or script.state.position is None:
            return not script.pending and not self.late
        due = script.next_timer()
        return (due is None or due > script.now + 60_000) and script.now - self.polled_at < POLL_MS

    def _turn(self) -> None:
        script = self.script
        for _ in range(80):
            if not script.pending:
                break
            self._count()
            script.accept()
        due = script.next_timer() or script.now + POLL_MS
        script.now = max(min([due, self.polled_at + POLL_MS, *(when for when, _ in self.late)]), script.now)
        for when, action in list(self.late):
            if when <= script.now:
                self.late.remove((when, action))
                action()
        if script.now >= self.polled_at + POLL_MS:
            self.polled_at = script.now
            listed = tuple(r for r in script.book.values() if r.status not in DONE)
            script.feed(OpenOrdersSeen(at=script.now, reports=listed, asked_at=script.now))
            script.quote(script.px(script.last))
        script.feed(Tick(at=script.now))

    def _count(self) -> None:
        sent = len(self.script.sent) - self.sent_before
        if sent > REQUESTS_MAX:
            raise BrokenError(f"{sent} requests, and no end: {[type(r).__name__ for r in self.script.sent[-6:]]}")

    def _must_be_safe(self) -> None:
        script, position = self.script, self.script.state.position
        if position is None:
            return
        bare = sellable(position, script.rules) - covered(position)
        if bare > 0 and script.rules.carries(bare, script.last) and "unprotected" not in script.told():
            raise BrokenError(f"{bare} bare in {script.named()} after the calm, and nobody was told")
        if script.pending:
            raise BrokenError(f"{script.kinds()} still asked for after the calm")

    def _pass_the_stops(self) -> None:
        """The price passes every stop: what stands triggers, and fills at its limit; what rests beyond does not."""
        script = self.script
        if script.state.position is None:
            return
        script.quote("96", after=1_000)
        for told in list(script.book.values()):
            if (
                told.type in (OrderType.STOP_LOSS_LIMIT, OrderType.STOP_LOSS)
                and script.book[told.id].status not in DONE
            ):
                script.execute(told.id)
                script.push(told.id)
        end = script.now + CALM_MS
        while script.now < end and script.state.position is not None:
            self._turn()

    def _must_be_over(self) -> None:
        script = self.script
        if script.state.position is not None:
            if script.state.halted:
                return
            raise BrokenError(f"every stop was passed, and the trade is {script.named()}: {script.kinds()}")
        ours = [r for r in script.book.values() if r.id.startswith("EX_")]
        if left := [r.id for r in ours if r.status not in DONE]:
            raise BrokenError(f"flat, and {left} stand")
        held = sum((_signed(report, script) for report in ours), ZERO)
        much = script.rules.min_notional / 90 + script.rules.step * 5
        if abs(held) > much and not script.state.halted and script.closed.reason is not Reason.EXTERNAL:
            raise BrokenError(f"flat, and {held} are held: {script.closed.reason}")


def _signed(report: OrderReport, script: Script) -> Decimal:
    sign = 1 if report.side is (OrderSide.BUY if script.direction is Direction.LONG else OrderSide.SELL) else -1
    fee = sum((f.fee for f in report.fills if f.fee_asset == script.rules.base), ZERO)
    return sign * report.cum_qty - (fee if script.direction is Direction.LONG and sign > 0 else ZERO)


def forked(script: Script) -> Script:
    """A script that goes its own way from here."""
    other = copy.copy(script)
    for name in ("pending", "sent", "notes", "events"):
        setattr(other, name, list(getattr(script, name)))
    for name in ("book", "lists", "balances"):
        setattr(other, name, dict(getattr(script, name)))
    return other


# --- situations -------------------------------------------------------------------------------------------------------


def _breakeven(direction: Direction, layout: Layout) -> Script:
    script = protected(direction, replace(POLICY, layout=layout))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    return script


def _partly_entered(direction: Direction, layout: Layout) -> Script:
    script = entering(direction, replace(POLICY, layout=layout))
    script.fill(Role.ENTRY, "1.5")
    return script


def _timed_out(direction: Direction, layout: Layout) -> Script:
    script = entering(direction, replace(POLICY, layout=layout))
    script.wait(POLICY.entry_timeout_ms)
    return script


def _at_market(direction: Direction, layout: Layout) -> Script:
    return entering(direction, replace(POLICY, layout=layout, entry_mode=EntryMode.MARKET_ONLY), working=False)


def _trailed(direction: Direction, layout: Layout) -> Script:
    script = trailing(direction, replace(POLICY, layout=layout))
    script.quote("106", after=2_000)
    return script


def _flattened(direction: Direction, layout: Layout) -> Script:
    script = protected(direction, replace(POLICY, layout=layout))
    script.command(Verb.FLATTEN)
    return script


def _jumped(direction: Direction, layout: Layout) -> Script:
    """Past the stops, which have triggered and found nobody."""
    script = protected(direction, replace(POLICY, layout=layout))
    script.quote("96", after=1_000)
    for told in list(script.book.values()):
        if told.type is OrderType.STOP_LOSS_LIMIT:
            script.book[told.id] = replace(told, working=True)
            script.push(told.id)
    script.wait(POLICY.watchdog_grace_ms)
    return script


def _taken_away(direction: Direction, layout: Layout) -> Script:
    script = protected(direction, replace(POLICY, layout=layout))
    script.vanish(Role.SL)
    return script


def _restarted(direction: Direction, layout: Layout) -> Script:
    script = protected(direction, replace(POLICY, layout=layout))
    script.restart()
    return script


def _killed(direction: Direction, layout: Layout) -> Script:
    script = unprotected(direction, replace(POLICY, layout=layout))
    script.restart()
    return script


def _entry_in_doubt(direction: Direction, layout: Layout) -> Script:
    script = entering(direction, replace(POLICY, layout=layout), working=False)
    script.lose()
    return script


def _exits_in_doubt(direction: Direction, layout: Layout) -> Script:
    script = unprotected(direction, replace(POLICY, layout=layout))
    for kind in script.kinds():
        script.lose(kind)
    return script


_BEGINNINGS: Final[dict[str, Callable[[Direction, Layout], Script]]] = {
    "entering": lambda d, p: entering(d, replace(POLICY, layout=p), working=False),
    "at market": _at_market,
    "partly entered": _partly_entered,
    "timed out": _timed_out,
    "exits": lambda d, p: unprotected(d, replace(POLICY, layout=p)),
    "breakeven": _breakeven,
    "targets filled": lambda d, p: targets_filled(d, replace(POLICY, layout=p)),
    "trailed": _trailed,
    "flattened": _flattened,
    "jumped": _jumped,
    "taken away": _taken_away,
    "entry in doubt": _entry_in_doubt,
    "exits in doubt": _exits_in_doubt,
    "restarted": _restarted,
    "killed": _killed,
}
_STEPS_ON: Final = 14
LAYOUTS: Final = (Layout.OCO, Layout.PLAIN)
"""From the moment on at which its entry is over, a bracket's trade is one of OCO."""


def moments() -> Iterator[Moment]:
    """Each request that waits, from each beginning on, as it is reached by true answers."""
    for name, begin in _BEGINNINGS.items():
        for layout in LAYOUTS:
            for direction in Direction:
                script = begin(direction, layout)
                seen: set[tuple[str, ...]] = set()
                for step in range(_STEPS_ON):
                    asked = tuple(script.kinds())
                    if not asked or script.state.position is None:
                        break
                    if asked not in seen:
                        seen.add(asked)
                        for n, kind in enumerate(asked):
                            if kind not in asked[:n]:
                                yield Moment(f"{name}, {direction} {layout}, {step}: {kind}", script, n)
                    script = forked(script)
                    script.accept()


# --- answers ----------------------------------------------------------------------------------------------------------


def answers(request: Request) -> dict[str, Answer]:
    if isinstance(request, OrderCommand):
        return {**_to_commands(), **(_to_replacements() if isinstance(request, ReplaceOrder) else _to_orders(request))}
    return _to_reads(request)


def _to_commands() -> dict[str, Answer]:
    found: dict[str, Answer] = {"done": lambda t: t.answer(t.carry_out()), "unknown, never done": _never}
    found |= {f"refused: {why}": _refused(why) for why in _SPOT_WHYS}
    found["refused in unknown words, and done"] = _refused(Why.OTHER, done=True)
    found |= {
        "unknown, done": _answer_lost,
        "unknown, done late": _done_late,
        "unknown, done late and pushed": lambda t: _done_late(t, push=True),
        "done, told twice": _twice,
        "done, pushed first": _pushed_first,
        "pushed, the answer lost": _pushed_only,
        "done without a report": _done_without_report,
    }
    return found


def _answer_lost(trial: Trial) -> None:
    trial.carry_out()
    trial.answer(trial.unknown())


def _pushed_only(trial: Trial) -> None:
    _push_all(trial, trial.carry_out())
    trial.answer(trial.unknown())


def _done_without_report(trial: Trial) -> None:
    outcome = trial.carry_out()
    if isinstance(outcome, Refused):
        trial.answer(outcome)
    else:
        trial.answer(ReplaceOutcome(Done(()), Done(())) if isinstance(trial.request, ReplaceOrder) else Done(()))


def _never(trial: Trial) -> None:
    trial.answer(trial.unknown())


def _refused(why: Why, *, done: bool = False) -> Answer:
    def answer(trial: Trial) -> None:
        if done:
            trial.carry_out()
        retry_at = trial.script.now + 3_000 if why is Why.RATE_LIMIT else 0
        trial.answer(Refused(why, -2010, "in words", retry_at))

    return answer


def _done_late(trial: Trial, *, push: bool = False) -> None:
    trial.answer(trial.unknown())

    request = trial.request

    def arrive() -> None:
        assert isinstance(request, OrderCommand)
        outcome = trial.script._perform(request)
        if push:
            _push_all(trial, outcome)

    trial.later(LATE_MS, arrive)


def _twice(trial: Trial) -> None:
    outcome = trial.carry_out()
    trial.answer(outcome)
    trial.answer(outcome)


def _pushed_first(trial: Trial) -> None:
    outcome = trial.carry_out()
    _push_all(trial, outcome)
    trial.answer(outcome)


def _push_all(trial: Trial, outcome: object) -> None:
    halves = (outcome.cancel, outcome.place) if isinstance(outcome, ReplaceOutcome) else (outcome,)
    for half in halves:
        if isinstance(half, Done):
            for report in half.reports:
                trial.feed(Reported(at=trial.script.now, report=report))


def _to_orders(request: OrderCommand) -> dict[str, Answer]:
    if isinstance(request, PlaceOrder | PlaceOco):
        return {f"placed: {status}": _placed_as(status) for status in OrderStatus if status is not OrderStatus.FILLED}
    return {"filled before": _filled_before} if isinstance(request, CancelOrder | CancelList) else {}


def _placed_as(status: OrderStatus) -> Answer:
    def answer(trial: Trial) -> None:
        outcome = trial.carry_out()
        if not isinstance(outcome, Done):
            trial.answer(outcome)
            return
        script = trial.script
        told = []
        for report in outcome.reports:
            if script.book[report.id].status not in DONE:
                script.book[report.id] = replace(report, status=_kept(status))
            told.append(replace(report, status=status))
        trial.answer(Done(tuple(told)))

    return answer


def _kept(status: OrderStatus) -> OrderStatus:
    """What the exchange has when it tells of `status`, in the words of the script's book."""
    if not status.is_final:
        return OrderStatus.NEW
    return status if status in DONE else OrderStatus.EXPIRED


def _filled_before(trial: Trial) -> None:
    request = trial.request
    ids = request.ids if isinstance(request, CancelList) else (request.id,) if isinstance(request, CancelOrder) else ()
    told = trial.script.book.get(ids[-1])
    if told is not None and told.status not in DONE:
        trial.script.execute(told.id)
    trial.answer(trial.carry_out())


def _to_replacements() -> dict[str, Answer]:
    def half(place: Callable[[Trial], Done | Refused | Unknown]) -> Answer:
        def answer(trial: Trial) -> None:
            request = trial.request
            assert isinstance(request, ReplaceOrder)
            cancel = trial.script._cancel((request.cancel_id,))
            trial.answer(ReplaceOutcome(cancel, place(trial) if isinstance(cancel, Done) else NotTried()))

        return answer

    found = {f"cancelled, new one refused: {why}": half(_why(why)) for why in _SPOT_WHYS}
    found["cancelled, new one unknown"] = half(lambda t: t.unknown())
    found["filled before"] = _replaced_filled
    return found


def _why(why: Why) -> Callable[[Trial], Refused]:
    return lambda trial: Refused(why, -2010, "in words")


def _replaced_filled(trial: Trial) -> None:
    request = trial.request
    assert isinstance(request, ReplaceOrder)
    if trial.script.book[request.cancel_id].status not in DONE:
        trial.script.execute(request.cancel_id)
    trial.answer(trial.carry_out())


def _to_reads(request: Request) -> dict[str, Answer]:
    found: dict[str, Answer] = {
        "true": lambda t: t.feed(t.script._read(t.request)),  # type: ignore[arg-type]
        "failed": lambda t: t.feed(ReadFailed(at=t.script.now, seq=t.request.seq, text="HTTP 503")),
        "true, twice": _read_twice,
        "late": _read_late,
    }
    match request:
        case QueryOrder():
            found["absent"] = lambda t: t.feed(
                Absent(at=t.script.now, id=_id(t.request), asked_at=t.script.now, seq=t.request.seq)
            )
            found |= {f"told: {status}": _told(status=status) for status in OrderStatus if status is not _FILLED}
            found["told: FILLED, and of nothing"] = _told_filled
            found["another number"] = _told(exchange_id=99_999)
            found["another name"] = _told(id="somebody_else")
            found["another side"] = _told(side=OrderSide.BUY)
            found["nothing but its end"] = _told(exchange_id=0, qty=ZERO, status=OrderStatus.CANCELED)
            found["more than there is"] = _told(qty=Decimal(50), cum_qty=Decimal(40), cum_quote=Decimal(4_000))
        case QueryTrades():
            found["no trades"] = lambda t: t.feed(
                TradesSeen(at=t.script.now, id=_id(t.request), fills=(), seq=t.request.seq)
            )
        case QueryOpenOrders():
            found["none open"] = lambda t: t.feed(
                OpenOrdersSeen(at=t.script.now, reports=(), asked_at=t.script.now, seq=t.request.seq)
            )
        case QueryBalances():
            found["no balances"] = lambda t: t.feed(BalancesSeen(at=t.script.now, balances={}, seq=t.request.seq))
        case QueryQuote():
            for name, last, ago in (("zero", 0, 0), ("old", 100, 60_000), ("past the stop", 90, 0), ("past", 110, 0)):
                found[f"price: {name}"] = _quoted(Decimal(last), ago)
        case _:
            pass
    return found


def _id(request: Request) -> str:
    assert isinstance(request, QueryOrder | QueryTrades)
    return request.id


def _read_twice(trial: Trial) -> None:
    event = trial.script._read(trial.request)  # type: ignore[arg-type]
    trial.feed(event)
    trial.feed(event)


def _read_late(trial: Trial) -> None:
    event = trial.script._read(trial.request)  # type: ignore[arg-type]
    trial.later(6_000, lambda: trial.feed(replace(event, at=trial.script.now)))


def _told(**changes: object) -> Answer:
    """The report of the order with something else in it; it is told truly from then on."""

    def answer(trial: Trial) -> None:
        event = trial.script._read(trial.request)  # type: ignore[arg-type]
        if isinstance(event, Reported):
            event, known = replace(event, report=replace(event.report, **changes)), trial.script.book[event.report.id]
            status = changes.get("status")
            if isinstance(status, OrderStatus) and status.is_final and known.status not in DONE:
                trial.script.book[known.id] = replace(known, status=_kept(status))
        trial.feed(event)

    return answer


def _told_filled(trial: Trial) -> None:
    """A report that contradicts itself; the order is as it was."""
    event = trial.script._read(trial.request)  # type: ignore[arg-type]
    if isinstance(event, Reported):
        event = replace(event, report=replace(event.report, status=_FILLED, cum_qty=ZERO, cum_quote=ZERO))
    trial.feed(event)


def _quoted(last: Decimal, ago: int) -> Answer:
    def answer(trial: Trial) -> None:
        script = trial.script
        price = script.px(last) if last else last
        quote = Quote(at=script.now - ago, bid=price, ask=price, last=price)
        trial.feed(QuoteSeen(at=script.now, quote=quote, seq=trial.request.seq))

    return answer


# --- the search -------------------------------------------------------------------------------------------------------


def search(stride: int = 1, only: tuple[str, ...] = (), *, in_a_row: bool = False) -> tuple[int, list[str]]:
    """How many trials there were, of each `stride`th; and what broke. `in_a_row`: what follows has odd answers, too."""
    tried, broken, count = 0, [], 0
    for moment in moments():
        if only and not moment.name.startswith(only):
            continue
        for name, answer in answers(moment.script.pending[moment.n]).items():
            count += 1
            if count % stride:
                continue
            tried += 1
            try:
                Trial(moment).run(answer, odd=tried if in_a_row else 0)
            except FAULTS as error:
                broken.append(f"{moment.name}; {name}: {type(error).__name__} {str(error)[:400]}")
    return tried, broken


def main(names: tuple[str, ...]) -> int:
    begun = time.process_time()
    tried, broken = search(only=names)
    more, worse = search(only=names, in_a_row=True)
    tried, broken = tried + more, broken + worse
    sys.stdout.writelines(f"{line}\n" for line in broken)
    sys.stdout.write(f"{tried} answers, {time.process_time() - begun:.0f} s of CPU, {len(broken)} broken\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
