"""How a trade came about: the journal told again, in words a trader reads. What `executor why` prints.

Each decision stands with the fact that led to it, its requests with the rule behind them, and each request with its
answer and how long that took. Looks that told nothing new are left out, and so are prices that changed nothing.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, assert_never

import msgspec

from executor.core.book.edit import find_order
from executor.core.model import ids
from executor.core.model.events import (
    Absent,
    Answered,
    AnyEvent,
    BalancesSeen,
    Commanded,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    Resolved,
    SignalMalformed,
    SignalSeen,
    Started,
    Tick,
    TradesSeen,
)
from executor.core.model.facts import Done, NotTried, OrderReport, Outcome, Refused, ReplaceOutcome, Unknown
from executor.core.model.intents import Borrow, Command, Repay, Request, names
from executor.core.model.loans import Booked
from executor.core.model.state import Closing, Entering, Position, Reason, State
from executor.core.model.values import OrderStatus, rounded, short
from executor.core.model.verdict import Moved
from executor.ops import text
from executor.ops.alerts.wording import REASONS
from executor.ops.reasons import because, is_change
from executor.ops.replay import Told

_INDENT: Final = " " * 10
_CENTS: Final = Decimal("1e-8")


class Moment(msgspec.Struct, frozen=True):
    """A fact with its time before it, and below it what was made of it."""

    fact: str
    below: tuple[str, ...]


class Chapter(msgspec.Struct):
    """One trade, or one signal that became none."""

    name: str
    signal: str
    moments: list[Moment]


class NotInJournal(LookupError):  # noqa: N818  (it says what is the matter)
    """Nothing of that name is in the journal; the text says what is."""


def tell(told: Iterable[Told], about: str) -> str:
    """The story of `about`: a trade, an order (client order id, or the exchange's number) or a signal's id; of the open
    or the last trade where it is empty. Raises NotInJournal.
    """
    chapters, orders = _chapters(told)
    if not chapters:
        raise NotInJournal("the journal knows of no signal and no trade yet")
    trade, order = _meant(about, chapters, orders)
    chapter = chapters[trade]
    head = f"trade {chapter.name}, signal {chapter.signal}" if chapter.name else f"signal {chapter.signal}: no trade"
    return "\n".join([f"{head}{f', order {order}' if order else ''}", *shown(chapter.moments, order)])


def shown(moments: Iterable[Moment], order: str, indent: str = _INDENT) -> Iterator[str]:
    """All of them, a line each; of an order, what tells of it, each decision below the fact that it came from."""
    named = re.compile(rf"{re.escape(order)}(?!\d)")
    for moment in moments:
        below = [f"{indent}{line}" for line in moment.below if named.search(line)]
        if below or named.search(moment.fact):
            yield moment.fact
            yield from below


def _meant(about: str, chapters: dict[str, Chapter], orders: dict[str, str]) -> tuple[str, str]:
    if not about:
        return next(reversed(chapters)), ""
    order = orders.get(about, about)
    name = ids.parse(order)
    if name is not None and name.trade in chapters:
        return name.trade, order
    known = [key for key, chapter in chapters.items() if about in (key, chapter.name, chapter.signal)]
    if not known:
        latest = ", ".join(chapter.name or chapter.signal for chapter in list(chapters.values())[-5:])
        raise NotInJournal(f"{about} is no trade, order or signal of this journal; the latest are {latest}")
    return known[-1], ""


def _chapters(told: Iterable[Told]) -> tuple[dict[str, Chapter], dict[str, str]]:
    """By trade, and by signal for those refused; and client order ids by the exchange's numbers."""
    chapters: dict[str, Chapter] = {}
    orders: dict[str, str] = {}
    before: State | None = None
    for each in told:
        after = each.step.state
        chapter = chapter_of(each, before, chapters)
        if chapter is not None:
            chapter.moments += moments_of(each, before)
        for order in after.position.orders if after.position is not None else ():
            if order.exchange_id > 0:
                orders[str(order.exchange_id)] = order.id
        before = after
    return chapters, orders


def chapter_of(each: Told, before: State | None, chapters: dict[str, Chapter]) -> Chapter | None:
    """Where what happened belongs."""
    event, after = each.event, each.step.state
    position = after.position or (before.position if before is not None else None)
    if isinstance(event, SignalSeen) and not isinstance(each.step.verdict, Moved):
        key = event.signal.key
        return chapters.setdefault(f"signal {key}", Chapter("", key, []))
    if isinstance(event, SignalMalformed):
        return chapters.setdefault(f"signal {event.text[:40]}", Chapter("", event.text[:40], []))
    if position is None:
        return None
    return chapters.setdefault(position.trade, Chapter(position.trade, position.signal, []))


def moments_of(each: Told, before: State | None) -> Iterator[Moment]:
    """One, or none where nothing came of it."""
    step, event = each.step, each.event
    position = step.state.position
    asked = [f"→ {words}" for request in step.requests if position is not None and (words := _asked(request, position))]
    notes = [f"{note.event.replace('_', ' ')}: {note.text}" for note in step.notes if note.event != "filled"]
    fact = _fact(event, before, step.state)
    turns = [*_turn(before.position if before is not None else None, position)]
    if not fact and not asked and not notes and not turns:
        return
    verdict = step.verdict
    if not isinstance(verdict, Moved) and isinstance(event, SignalSeen | Commanded | Resolved):
        notes = [f"refused: {verdict.why}"]
    yield Moment(f"{text.moment(event.at)[11:]}  {fact or _occasion(event)}", (*notes, *turns, *asked))


def _turn(before: Position | None, after: Position | None) -> Iterator[str]:
    """That a trade is given up, or is to be closed, and why."""
    if before is None or after is None or before.phase == after.phase:
        return
    match before.phase, after.phase:
        case Entering(end=None), Entering(end=Reason() as reason) | Closing(reason=reason):
            yield f"no entry any more: {_words(reason)}"
        case Closing(), _:
            pass
        case _, Closing(reason=reason):
            yield f"closing: {_words(reason)}"
        case _:
            pass


def _words(reason: Reason) -> str:
    return f"{reason}, {REASONS[reason]}"


def _asked(request: Request, position: Position) -> str:
    return because(request, position) if is_change(request) or position.orders else ""


def _occasion(event: AnyEvent) -> str:
    match event:
        case Tick(ahead=ahead):
            way = "ahead" if ahead > 0 else "back"
            return f"the clock is set {way} by {abs(ahead) / 1000:.1f} s" if ahead else "time has passed"
        case QuoteSeen(quote=quote):
            return f"the price is {short(quote.last)}"
        case OpenOrdersSeen(reports=reports):
            return f"the exchange shows {len(reports) or 'no'} open order{'' if len(reports) == 1 else 's'}"
        case BalancesSeen():
            return "the balances are read"
        case TradesSeen(id=name):
            return f"the fills of {name} are read"
        case Reported(report=report):
            return f"{report.id} is looked up: {report.status}"
        case _:
            return "an answer to a look"


def _fact(event: AnyEvent, before: State | None, after: State) -> str:
    """What the event tells; empty where it tells nothing new."""
    match event:
        case SignalSeen(signal=signal):
            return f"signal {signal.key}: {signal.direction} at {short(signal.price)}"
        case SignalMalformed(fault=fault):
            return f"a signal that can't be read: {fault}"
        case Commanded(verb=verb):
            return text.who_says(verb)
        case Resolved(how=words):
            return f"the operator: {words}"
        case Started():
            return "the service has started, and looks up what was under way (9.1)"
        case Answered(seq=seq, outcome=outcome):
            return _answer(seq, outcome, event.at, before)
        case Reported(report=report):
            return _report(report, before, after)
        case Absent(id=name):
            return f"{name} is not found on the exchange"
        case ReadFailed(text=why):
            return f"a look failed: {why}"
        case _:
            return ""


def _report(report: OrderReport, before: State | None, after: State) -> str:
    old = find_order(before.position, report.id) if before is not None and before.position is not None else None
    new = find_order(after.position, report.id) if after.position is not None else None
    if (old is not None and old is new) or (report.status is OrderStatus.NEW and not report.cum_qty):
        return ""
    filled = _filled(report)
    return f"{report.id} is {report.status}{f',{filled}' if filled else ''}"


def _filled(report: OrderReport) -> str:
    """How much of an order, and at which price; empty where nothing is."""
    if not report.cum_qty:
        return ""
    words = f" {short(report.cum_qty)} of {short(report.qty)} filled"
    if report.cum_quote <= 0:
        return words
    return f"{words} at {short(rounded(report.cum_quote / report.cum_qty, _CENTS))} on average"


def _answer(seq: int, outcome: Outcome | ReplaceOutcome | Booked, at: int, before: State | None) -> str:
    owed = next((o for o in before.outbox if o.request.seq == seq), None) if before is not None else None
    if owed is None or not isinstance(owed.request, Command):
        return ""
    about = " and ".join(sorted(names(owed.request))) or _loan(owed.request)
    reports = outcome.reports if isinstance(outcome, Done) else ()
    alone = len(names(owed.request)) == 1
    filled = [f",{'' if alone else f' {each.id}'}{words}" for each in reports if (words := _filled(each))]
    return f"{about}: {_outcome(outcome)} after {max(at - owed.at, 0)} ms{''.join(filled)}"


def _loan(request: Command) -> str:
    match request:
        case Borrow(asset=asset, amount=amount):
            return f"the loan of {short(amount)} {asset}"
        case Repay(asset=asset, amount=amount):
            return f"the repayment of {short(amount)} {asset}"
        case _:
            raise AssertionError(f"{type(request).__name__} names no order")


def _outcome(outcome: Outcome | ReplaceOutcome | Booked) -> str:
    match outcome:
        case Done():
            return "accepted"
        case Refused(why=why, code=code, text=words):
            return f"refused ({why}, {code}: {words})"
        case Unknown(text=words):
            return f"unknown ({words}): it may have been executed"
        case Booked(tran_id=number):
            return f"booked as number {number}"
        case ReplaceOutcome(cancel=cancel, place=place):
            placed = "not tried" if isinstance(place, NotTried) else _outcome(place)
            return f"cancel {_outcome(cancel)}, new order {placed}"
        case _ as unreachable:
            assert_never(unreachable)
