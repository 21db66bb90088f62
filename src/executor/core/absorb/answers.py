"""Absorb how requests ended: accepted, refused, unknown (rule 8.2), and reads that failed."""

from typing import assert_never

from msgspec.structs import replace

from executor.core.absorb import loans, market, refusals, reports
from executor.core.absorb.reports import FoldedReports
from executor.core.book.edit import find_order, the_order, with_order
from executor.core.model import orders
from executor.core.model.events import (
    Answered,
    QuoteSeen,
    ReadFailed,
)
from executor.core.model.facts import HELD_UP, UNSENT, Done, NotTried, Outcome, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    Level,
    LoanCommand,
    MarginRead,
    Notify,
    OrderCommand,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryAllOrders,
    QueryBalances,
    QueryBorrowable,
    QueryKlines,
    QueryLiquidations,
    QueryLoans,
    QueryMargin,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    ReplaceOrder,
    Request,
    placed,
)
from executor.core.model.loans import Booked
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, End, Entering, Order, OrderPhase, Position, State
from executor.core.model.values import OrderType
from executor.core.model.verdict import MOVED, Absorbed, Ignored

_READ_AGAIN_MS = 1_000
_AT_ONCE = 4
"""So many looks at orders in doubt fail in a second of a start, at most."""
_UNSURE = frozenset({Why.UNKNOWN_ORDER, Why.OTHER, Why.WITHDRAWN})
"""Refusals of a cancel after which its order may be another than it was."""


def absorb(state: State, event: Answered | ReadFailed, policy: Policy) -> Absorbed:
    request = next((o.request for o in state.outbox if o.request.seq == event.seq), None)
    match event:
        case Answered():
            if not isinstance(request, Command):
                return Absorbed(state, Ignored(f"no command waits for answer {event.seq}"))
            state = settle(state, event.seq)
            if isinstance(request, LoanCommand):
                return loans.answered(state, request, event.outcome)
            if state.position is None:
                return Absorbed(state, Ignored("no trade is open"))
            return _answered(state.position, request, event.outcome, state.market.now, policy).onto(state)
        case ReadFailed():
            if request is None:
                return Absorbed(state, Ignored(f"no query waits for answer {event.seq}"))
            return _read_failed(settle(state, event.seq), request, event.text)
        case _ as unreachable:
            assert_never(unreachable)


def asked_about(state: State, seq: int) -> str:
    """The order that the look `seq`, which waits for its answer, is about; empty where there is none."""
    return next((o.request.id for o in state.outbox if o.request.seq == seq and isinstance(o.request, QueryOrder)), "")


def quoted(state: State, event: QuoteSeen, policy: Policy, rules: SymbolRules) -> Absorbed:
    """A price that was asked for and says nothing, or comes too late to be acted on, is none: as if it could not be
    had, the next one is asked for a little later (rules 3.3, 8.7).
    """
    state = settle(state, event.seq)
    halted = not rules.tradable and not rules.strange
    for earlier in event.before:
        state = market.quote(state, earlier, rules, halted=halted).state
    absorbed = market.quote(state, event.quote, rules, halted=halted)
    late = state.market.now - event.quote.at > policy.quote_max_age_ms
    position = absorbed.state.position
    if position is None:
        return absorbed
    if late or not rules.may_have_traded(event.quote.last):
        told = _unread(position, QueryQuote(seq=event.seq), state.market.now) if event.seq else position
    else:
        told = _priced(position)
    return absorbed if told is position else replace(absorbed, state=replace(absorbed.state, position=told))


def _priced(position: Position) -> Position:
    """A price is known: that one could not be had before says nothing any more (rule 3.3)."""
    phase = position.phase
    if not isinstance(phase, Entering) or not phase.no_price:
        return position
    return replace(position, phase=replace(phase, no_price=False))


def settle(state: State, seq: int) -> State:
    """`state` without the owed request `seq`, which has its answer now; 0 answers none (rule 8.1)."""
    if not seq:
        return state
    return replace(state, outbox=tuple(o for o in state.outbox if o.request.seq != seq))


def _answered(
    position: Position, request: OrderCommand, outcome: Outcome | ReplaceOutcome | Booked, now: int, policy: Policy
) -> FoldedReports:
    if isinstance(outcome, Booked):
        raise AssertionError(f"{request!r} was answered with {outcome!r}")  # noqa: TRY004 - a defect, not a type
    if isinstance(request, ReplaceOrder):
        return _replaced(position, request, _halves(outcome), now, policy)
    if isinstance(outcome, ReplaceOutcome):
        raise AssertionError(f"{request!r} was answered with {outcome!r}")  # noqa: TRY004 - a defect, not a type
    match request:
        case PlaceOrder() | PlaceOco() | PlaceBracket():
            return _placed(position, placed(request), outcome, now, policy)
        case CancelOrder():
            return _outlived(_cancelled(position, (request.id,), outcome, now, policy), (request.id,), outcome)
        case CancelList():
            return _outlived(_cancelled(position, request.ids, outcome, now, policy), request.ids, outcome)
        case _ as unreachable:
            assert_never(unreachable)


# --- placed -------------------------------------------------------------------------------------------------------


def _placed(position: Position, sent: tuple[str, ...], outcome: Outcome, now: int, policy: Policy) -> FoldedReports:
    match outcome:
        case Done():
            missed = [i for i in sent if the_order(position, i).check]
            folded = reports.fold_all(position, outcome.reports, now, policy)
            # An acceptance that does not tell of its order: a look does. As it does where a list that was asked for
            # after the request has left the order out: it may have ended before its acceptance is heard of (rule 8.6).
            known = _doubted(folded.position, sent, now, now)
            for order in [the_order(known, i) for i in missed]:
                known = with_order(known, replace(order, check=order.live))
            return replace(folded, position=known)
        case Unknown():
            note = Notify(Level.WARNING, "outcome_unknown", f"{', '.join(sent)}: {outcome.text}", " ".join(sent))
            return FoldedReports(_doubted(position, sent, outcome.fence, now), MOVED, (note,))
        case Refused():
            return _refused(position, tuple(the_order(position, i) for i in sent), outcome, now, policy)
        case _ as unreachable:
            assert_never(unreachable)


def _doubted(position: Position, sent: tuple[str, ...], fence: int, now: int) -> Position:
    """Those of `sent` that nothing is known of yet are to be looked up (rule 8.3)."""
    for client_id in sent:
        order = the_order(position, client_id)
        if order.phase is OrderPhase.SUBMITTED:
            position = with_order(position, orders.doubt(order, fence, now))
    return position


def _refused(position: Position, sent: tuple[Order, ...], refused: Refused, now: int, policy: Policy) -> FoldedReports:
    for order in sent:
        if order.phase is OrderPhase.WORKING:
            return FoldedReports(position, Ignored(f"{order.id} was refused, but is known to be working"))
    pushed = [o for o in sent if o.end is End.REFUSED]
    vague = any(o.refusal is Why.OTHER for o in pushed)
    for order in sent:
        known = orders.refuse(order, refused, now)
        position = with_order(position, replace(known, refusal=refused.why) if vague else known)
    if pushed:
        # One refusal of ours, told of twice (rule 5.5); the answer may know a better reason than the push did.
        if vague:
            position = refusals.learn(position, sent, refused, now, policy, counted=True)
        return FoldedReports(position)
    names = ", ".join(o.id for o in sent)
    text = f"{names}: {refused.text} ({refused.code})"
    note = Notify(Level.WARNING, "order_refused", text, " ".join(o.id for o in sent))
    return FoldedReports(refusals.learn(position, sent, refused, now, policy), MOVED, (note,))


# --- cancelled, replaced ------------------------------------------------------------------------------------------


def _cancelled(
    position: Position, asked: tuple[str, ...], outcome: Outcome, now: int, policy: Policy, by: str = ""
) -> FoldedReports:
    """`by`: the order that is to take the place of the one that was asked for."""
    folded = FoldedReports(position)
    wait, unsure = now, not isinstance(outcome, Refused) or outcome.why in _UNSURE
    if isinstance(outcome, Done):
        folded = reports.fold_all(position, outcome.reports, now, policy)
    elif isinstance(outcome, Refused):
        wait = (
            max(now, outcome.retry_at) if outcome.why is Why.UNKNOWN_ORDER else refusals.retry_at(outcome, now, policy)
        )
    position = folded.position
    for client_id in asked:
        order = the_order(position, client_id)
        if order.live:
            # Not confirmed by this answer: only a direct look tells (rule 6.2), where it can have been carried out.
            position = with_order(position, replace(order, check=order.check or unsure, ask_at=wait))
        elif isinstance(outcome, Done):
            position = reports.without_rivals(position, order.id, by, now)
    return replace(folded, position=position, verdict=folded.verdict if folded.fault else MOVED)


def _outlived(folded: FoldedReports, asked: tuple[str, ...], outcome: Outcome) -> FoldedReports:
    """Those of `asked` that still live have outlived a cancel: the next one takes another way, and its time (rule 8.7).
    One that was held up on its way has no time of its own; but where the exchange has held it up, a limit may be that
    request's own, and the next takes another way as well: that of a list goes by each order's id.
    """
    held_up = isinstance(outcome, Refused) and outcome.why in HELD_UP
    if isinstance(outcome, Refused) and (outcome.why in UNSENT or (held_up and not outcome.code)):
        return folded
    position = folded.position
    for client_id in asked:
        order = the_order(position, client_id)
        if order.live and held_up and (len(asked) == 1 or order.cancels):
            position = with_order(position, replace(order, held_up=order.held_up + 1))
        elif order.live:
            position = with_order(position, replace(order, cancels=order.cancels + 1))
    return replace(folded, position=position)


def _halves(outcome: Outcome | ReplaceOutcome) -> ReplaceOutcome:
    """A replacement refused or in doubt as a whole is so in both halves."""
    if isinstance(outcome, ReplaceOutcome):
        return outcome
    if isinstance(outcome, Done):
        raise AssertionError(f"a replacement was answered with {outcome!r}")  # noqa: TRY004 - a defect, not a type
    return ReplaceOutcome(outcome, outcome)


def _replaced(
    position: Position, request: ReplaceOrder, outcome: ReplaceOutcome, now: int, policy: Policy
) -> FoldedReports:
    cancel = _cancelled(position, (request.cancel_id,), outcome.cancel, now, policy, by=request.order.id)
    if request.order.type is OrderType.MARKET:  # not a move: its cancel is what counts
        cancel = _outlived(cancel, (request.cancel_id,), outcome.cancel)
    if isinstance(outcome.place, NotTried):
        order = the_order(cancel.position, request.order.id)
        untried = replace(order, phase=OrderPhase.CLOSED, end=End.NEVER, closed_at=now, check=False)
        asked = reports.rivals_looked_up(with_order(cancel.position, untried), request.cancel_id, now)
        return replace(cancel, position=refusals.not_moved(asked, request.cancel_id, outcome.cancel))
    place = _placed(cancel.position, (request.order.id,), outcome.place, now, policy)
    fault = cancel.fault or place.fault
    verdict = cancel.verdict if cancel.fault else place.verdict if place.fault else MOVED
    return FoldedReports(place.position, verdict, (*cancel.notes, *place.notes), fault)


# --- reads --------------------------------------------------------------------------------------------------------


def _read_failed(state: State, request: Request, text: str) -> Absorbed:
    position, now = state.position, state.market.now
    told: tuple[Notify, ...] = ()
    if position is not None and (order := _never_read(position, request)) is not None:
        position = with_order(position, replace(order, recheck=False))
        said = f"{order.id}: not read in {order.looks} second looks, though others are; what its end told of it counts"
        told = (Notify(Level.ALERT, "second_look_failed", said, order.id),)
    elif position is not None:
        position = _unread(position, request, now, started=bool(state.started))
    elif isinstance(request, MarginRead):
        state = replace(state, market=replace(state.market, ask_at=now + _READ_AGAIN_MS))
    about = request.id if isinstance(request, QueryOrder | QueryTrades) else ""
    failed = Notify(Level.WARNING, "read_failed", text, about)
    return Absorbed(replace(state, position=position), MOVED, (failed, *told))


def _never_read(position: Position, request: Request) -> Order | None:
    """The ended order that a close waits for a second look at, where that fails again and again while a list of open
    orders, asked for in between, was answered (rules 6.3, 8.7).
    """
    order = find_order(position, request.id) if isinstance(request, QueryOrder) else None
    if order is None or not order.recheck or order.live or not isinstance(position.phase, Closing):
        return None
    read = position.phase.looked_at >= orders.last_look(order)
    return order if order.looks >= orders.SECOND_LOOKS and read else None


def _unread(position: Position, request: Request, now: int, *, started: bool = False) -> Position:
    """What to make of not knowing: a guess where one is safe, another try a little later where not."""
    match request:
        case QueryTrades():
            phase = position.phase
            if isinstance(phase, Closing) and now > phase.unread_at:
                phase = replace(phase, unread=phase.unread + 1, unread_at=now)
            return replace(position, phase=phase, guess_fees=True)
        case QueryQuote() if isinstance(position.phase, Entering):
            wanted = not any(o.live for o in position.orders if o.is_entry)  # else it was not asked for Plan B
            phase, again_at = position.phase, now + _READ_AGAIN_MS
            decides = wanted and not phase.no_price  # what Plan B waited to hear; exits ask for it, too
            later = replace(phase, no_price=wanted, retry_at=max(phase.retry_at, again_at))
            return replace(position, phase=later, ask_at=position.ask_at if decides else again_at)
        case QueryOrder() if (order := find_order(position, request.id)) is not None:
            looking = order.check and order.live  # one that was refused is not looked for again and again
            closing = isinstance(position.phase, Closing) and not started  # a start waits for them all (rule 9.1)
            counted = (looking and closing) or (order.recheck and not order.live)
            looked = orders.look_again(order, now) if counted else order
            doubted = orders.in_doubt(position.orders, order)
            pause = orders.shared(_READ_AGAIN_MS, doubted)
            if started:  # nothing is placed before each was looked at (rule 9.1)
                pause = _READ_AGAIN_MS * max(doubted, _AT_ONCE) // _AT_ONCE
            again_at = max(looked.ask_at, now + pause)
            return with_order(position, replace(looked, check=looking, ask_at=again_at))
        case QueryAllOrders():
            missed = (o.live and bool(o.misses) and not o.exchange_id for o in position.orders)
            told = zip(position.orders, missed, strict=True)
            return replace(position, orders=tuple(replace(o, list_failed=True) if it else o for o, it in told))
        case (
            QueryQuote()
            | QueryBalances()
            | QueryOpenOrders()
            | QueryKlines()
            | QueryMargin()
            | QueryLoans()
            | QueryBorrowable()
            | QueryLiquidations()
        ):
            return replace(position, ask_at=now + _READ_AGAIN_MS)
        case _:
            return position
