"""Absorb the operator's word: pause, resume, close at market, cancel the entry, move the stop."""

from decimal import Decimal
from typing import assert_never

from msgspec.structs import replace

from executor.core.book import debt as debts
from executor.core.book import levels
from executor.core.book.edit import with_leg
from executor.core.book.ledger import leg_sold
from executor.core.model.events import Commanded, Verb
from executor.core.model.intents import Level, Notify
from executor.core.model.loans import Repayment
from executor.core.model.state import Borrowing, Closing, Entering, Position, Reason, Repaying, State
from executor.core.model.values import ZERO, plain
from executor.core.model.verdict import MOVED, Absorbed, Ignored, Refusal


def absorb(state: State, event: Commanded) -> Absorbed:
    match event.verb:
        case Verb.PAUSE:
            return Absorbed(replace(state, paused=True), MOVED, (Notify(Level.INFO, "paused", "no new entries"),))
        case Verb.RESUME:
            note = Notify(Level.INFO, "resumed", "new entries allowed")
            return Absorbed(replace(state, paused=False, halted=""), MOVED, (note,))
        case Verb.END:
            return Absorbed(replace(state, market=replace(state.market, ending=True)))
        case Verb.REPAY:
            return _repay(state, event.asset, own=event.own)
        case Verb.RETRY:
            return _retry(state)
        case Verb.FLATTEN | Verb.CANCEL_ENTRY | Verb.MOVE_STOP:
            if event.trade and (state.position is None or state.position.trade != event.trade):
                return Absorbed(state, Refusal(f"trade {event.trade} has ended meanwhile. Nothing is done."))
            if state.position is None:
                return Absorbed(state, Refusal("no trade is open"))
            return _about_trade(state, state.position, event)
        case _ as unreachable:
            assert_never(unreachable)


def _retry(state: State) -> Absorbed:
    """The service is about to end: an exit that waits for its retry is tried once more at once, and so is what a close
    is waiting for (rule 9.5).
    """
    now, position = state.market.now, state.position
    if position is not None and isinstance(position.phase, Closing):
        return Absorbed(replace(state, position=_hurried(position, position.phase)))
    waiting = [leg for leg in position.legs if leg.retry_at > now] if position is not None else []
    if position is None or not waiting:
        return Absorbed(state, Ignored("nothing waits for a retry"))
    for leg in waiting:
        position = with_leg(position, replace(leg, retry_at=now))
    return Absorbed(replace(state, position=position))


def _hurried(position: Position, phase: Closing) -> Position:
    """Neither a market order nor a cancel waits for its pause. What the exchange has asked to wait for does."""
    orders = tuple(replace(o, cancels=0, ask_at=0) if o.live and o.cancelling else o for o in position.orders)
    return replace(position, orders=orders, phase=replace(phase, hurried=True))


def _about_trade(state: State, position: Position, event: Commanded) -> Absorbed:
    if event.verb is Verb.FLATTEN:
        return _flatten(state, position)
    if event.verb is Verb.CANCEL_ENTRY:
        return _cancel_entry(state, position)
    return _move_stop(state, position, event.price)


def _flatten(state: State, position: Position) -> Absorbed:
    if isinstance(position.phase, Closing | Repaying):
        return Absorbed(state, Ignored("the trade is being closed already"))
    phase = Closing(reason=Reason.FLATTEN, since=state.market.now)
    closing = replace(position, phase=phase, guess_fees=False)  # as each other close: asked for again
    return Absorbed(replace(state, position=closing), MOVED, (Notify(Level.INFO, "flatten", "asked for"),))


def _repay(state: State, asset: str, *, own: bool) -> Absorbed:
    """The whole debt of `asset` is given back, whoever made it, or our `own` alone: as the operator has said (11.7)."""
    position = state.position
    if position is not None:
        return Absorbed(state, Refusal(f"trade {position.trade} is open: what it owes is repaid when it is over"))
    debt = debts.find(state.debts, asset)
    foreign = debt.foreign if own else ZERO
    whole = debt.own + debt.foreign - foreign
    if not whole:
        return Absorbed(state, Refusal(f"no {asset} is owed, as far as the account was read"))
    state = debts.with_debt(state, replace(debt, own=whole, foreign=foreign))
    judged = state.loan.n if state.loan is not None and not state.loan.open else 0
    note = Notify(Level.INFO, "repay", f"asked for: {plain(whole)} {asset}")
    return Absorbed(replace(state, repaying=Repayment(since=state.market.now, judged=judged)), MOVED, (note,))


def _cancel_entry(state: State, position: Position) -> Absorbed:
    phase = position.phase
    if not isinstance(phase, Borrowing | Entering):
        return Absorbed(state, Refusal("the entry is complete"))
    ended = replace(phase, end=phase.end or Reason.ENTRY_CANCELLED)
    return Absorbed(replace(state, position=replace(position, phase=ended)))


def _move_stop(state: State, position: Position, price: Decimal | None) -> Absorbed:
    direction = position.plan.direction
    stops = [
        leg.stop for leg in position.legs if leg.stop is not None and (not leg.n or leg_sold(position, leg) < leg.qty)
    ]
    if price is None or not stops or isinstance(position.phase, Entering | Closing | Repaying):
        return Absorbed(state, Refusal("there is no stop to move"))
    if not any(levels.is_safer(price, stop, direction) for stop in stops):
        return Absorbed(state, Refusal(f"{plain(price)} is not better than the stop at {plain(stops[0])}"))
    quote = state.market.quote
    if quote is None:
        text = f"no price is known yet that {plain(price)} could be compared with: try again in a moment"
        return Absorbed(state, Refusal(text))
    if levels.beyond(quote.last, price, direction):
        return Absorbed(state, Refusal(f"{plain(price)} is past the last price {plain(quote.last)}"))
    return Absorbed(replace(state, position=replace(position, manual_stop=price)))
