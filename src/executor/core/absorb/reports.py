"""Absorb what is said of orders: reports, absences, trades, the list of open orders."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from executor.core.absorb import refusals
from executor.core.absorb.watchdog import named_in, stray_text
from executor.core.book import brackets, levels, retire
from executor.core.book.edit import find_leg, find_order, with_leg, with_order
from executor.core.book.ledger import leg_sold
from executor.core.model import ids, orders
from executor.core.model.events import Absent, OpenOrdersSeen, Reported, TradesSeen
from executor.core.model.facts import OrderReport, Refused, Why
from executor.core.model.ids import Role
from executor.core.model.intents import Level, Notify
from executor.core.model.policy import Policy
from executor.core.model.state import Closing, End, Leg, Order, OrderPhase, Position, State
from executor.core.model.values import ZERO, Direction, short
from executor.core.model.verdict import MOVED, Absorbed, Ignored, Refusal, Verdict


def absorb(state: State, event: Reported | Absent | TradesSeen | OpenOrdersSeen, policy: Policy) -> Absorbed:
    position = state.position
    if isinstance(event, OpenOrdersSeen):
        return _open_orders(state, event, policy)
    if position is None:
        return Absorbed(state, Ignored("no trade is open"))
    match event:
        case Reported():
            return _reported(state, position, event, policy)
        case Absent():
            return _absent(state, position, event, policy)
        case TradesSeen():
            return _trades(state, position, event)
        case _ as unreachable:
            assert_never(unreachable)


_AT_WORK: Final = (OrderPhase.WORKING, OrderPhase.SUBMITTED)
_TRADES_AGAIN_MS: Final = 1_000
_LIST_AGAIN_MS: Final = 250
_LIST_LAGS_MS: Final = 60_000
"""How long a list of open orders may show one that has ended before a close goes on without it."""


class FoldedReports(msgspec.Struct, frozen=True):
    """A position with what reports add to it. `fault`: what one of them said can't be true."""

    position: Position
    verdict: Verdict = MOVED
    notes: tuple[Notify, ...] = ()
    fault: str = ""

    def onto(self, state: State) -> Absorbed:
        """An impossible fact halts new entries until the operator has looked. Of each order it is told once: the reason
        of the halt names those that were.
        """
        if not self.fault:
            return Absorbed(replace(state, position=self.position), self.verdict, self.notes)
        named, halted = named_in(state.halted), state.halted
        notes = tuple(n for n in self.notes if n.event != "impossible_report" or n.order not in named)
        for note in notes:
            if note.event == "impossible_report":
                halted = f"{halted}; {note.text}" if halted else note.text
        return Absorbed(replace(state, position=self.position, halted=halted), self.verdict, notes)


def fold_all(
    position: Position, reports: tuple[OrderReport, ...], now: int, policy: Policy, *, looked: bool = False
) -> FoldedReports:
    """Fold `reports`, heard at `now`, into the trade's orders; those of other trades are left out. One that can't be
    true keeps no other from being heard. `looked`: they answer a look.
    """
    notes: list[Notify] = []
    verdict: Verdict = Ignored("nothing new")
    faults: list[str] = []
    for report in reports:
        name = ids.parse(report.id)
        if name is None or name.trade != position.trade:
            verdict = verdict if verdict == MOVED else Ignored(f"{report.id} is not of the open trade")
            continue
        order = find_order(position, report.id)
        if order is None:
            late = retire.was_retired(position, report.id)
            if late and not (report.cum_qty or report.fills):
                continue
            position, order = _adopted(position, report, name)
            if late:
                position, order = retire.back(position, order, now)
            else:
                text = f"{report.id}: an order of this trade that was not on record"
                notes.append(Notify(Level.ALERT, "order_adopted", text, report.id))
        if (fault := orders.impossible(order, report)) is not None:
            notes.append(Notify(Level.ALERT, "impossible_report", fault, report.id))
            faults.append(fault)
            continue
        folded = orders.fold(order, orders.confirmed(order, report) if looked else report, now)
        if folded is order:
            continue
        verdict = MOVED
        position = _with_news(position, order, folded, now)
        if folded.end is End.REFUSED and order.live:
            position = _refused(position, folded, report, now, policy)
        notes += _told(order, folded)
    if faults:
        return FoldedReports(position, Refusal("; ".join(faults)), tuple(notes), "; ".join(faults))
    return FoldedReports(position, verdict, tuple(notes))


def _listed(position: Position, before: Order, after: Order, now: int) -> Position:
    """What is known of an order in a list tells of the others: an exit that was placed, an entry that was not on record
    before (rule 13.1).
    """
    if before.awaits and not after.awaits:
        return brackets.placed(position, after, now)
    if after.end is End.FILLED and before.end is not End.FILLED:
        position = brackets.told_of(position, after, now)
    if not after.list_id or before.exchange_id or not after.is_entry:
        return position
    if not before.sent_at:
        position = replace(position, orders=brackets.linked(position.orders, after))
    return brackets.taken_whole(position, after, now)


def _with_news(position: Position, order: Order, folded: Order, now: int) -> Position:
    """The trade with `folded` in the place of `order`, and what follows from it for others."""
    position = _moved(_listed(with_order(position, folded), order, folded, now), order, folded)
    position = _accepted(_found_again(position, order, folded), folded)
    if folded.replaces and folded.exchange_id and not order.exchange_id:
        position = without_rivals(position, folded.replaces, folded.id, now)
    return position


def _refused(position: Position, order: Order, report: OrderReport, now: int, policy: Policy) -> Position:
    """A pushed REJECTED is a refusal like any other; of a list, one side's tells of both (rule 5.5)."""
    sent = [o for o in position.orders if o.list_id == order.list_id] if order.list_id else [order]
    if any(o.end is End.REFUSED for o in sent if o.id != order.id):
        return position
    refused = Refused(report.refusal or Why.OTHER, 0, "pushed as REJECTED")
    return refusals.learn(position, sent, refused, now, policy, pushed=True)


def rivals_looked_up(position: Position, old_id: str, now: int) -> Position:
    """`old_id` could not be replaced: another request that is in doubt may have done it, which a look tells at once."""
    for order in position.orders:
        if order.replaces == old_id and order.phase is OrderPhase.UNRESOLVED:
            position = with_order(position, replace(order, ask_at=now))
    return position


def without_rivals(position: Position, old_id: str, winner: str, now: int) -> Position:
    """`old_id` was cancelled by us, or `winner` stands in its place. Only one request can have done that, so what is in
    doubt of the others that were to replace it has never come to be (rule 8.3e).
    """
    for order in position.orders:
        if order.replaces == old_id and order.id != winner and order.phase is OrderPhase.UNRESOLVED:
            never = replace(order, phase=OrderPhase.CLOSED, end=End.NEVER, closed_at=now, check=False)
            position = with_order(position, never)
    return position


def adopt(report: OrderReport, name: ids.ClientId) -> Order:
    """An order of ours rebuilt from what the exchange says about it and from its id (rule 9.3)."""
    return Order(
        id=report.id,
        role=name.role,
        leg=ids.leg_of(name.role),
        side=report.side,
        type=report.type,
        qty=report.qty,
        price=report.price or None,
        stop_price=report.stop_price or None,
        trailing_delta=report.trailing_delta or None,
        list_id=ids.list_of(name) if report.list_exchange_id >= 0 else "",
    )


def _adopted(position: Position, report: OrderReport, name: ids.ClientId) -> tuple[Position, Order]:
    """An order of the trade that is not on record: the state at hand is older than it (rule 9.2). Its id is spent."""
    order = adopt(report, name)
    if order.is_stop and order.leg in (0, 3):
        order = replace(order, leg=_single_leg(position, order))
    elif order.role is Role.FLATTEN and not isinstance(position.phase, Closing):
        order = replace(order, leg=_leg_at_market(position, order))
    order = brackets.brought_by(position, order)
    return replace(position, revs=max(position.revs, name.rev + 1)), order


def _single_leg(position: Position, stop: Order) -> int:
    """The leg of a stop that stands alone: the whole where there is such a leg, else the trailing one; a stop that is
    larger than that is the interim one, as is one beside the stop that the trailing leg's entry has brought.
    """
    if find_leg(position, 0) is not None:
        return 0
    if stop.list_id:
        return 3  # it came with the entry of the trailing leg (rule 13.1)
    last = find_leg(position, 3)
    if last is None:
        return stop.leg
    if stop.role is Role.SL and any(o.live and o.leg == last.n and o.list_id for o in position.orders):
        return 0
    return 3 if stop.qty <= last.qty else 0


def _leg_at_market(position: Position, sale: Order) -> int:
    """The leg that a market order sold for, which its id does not tell: of those whose exits have ended, the one that
    had just so much left, or the least above it. What such an exit tells of only now was left then: where none has so
    much left any more, and all together have more, it was for the least that ever had. 0: it was for the whole.
    """
    left = {leg: leg.qty - leg_sold(position, leg) for leg in position.legs if leg.n}
    busy = {order.leg for order in position.orders if order.live}
    ended = [leg for leg in left if leg.n not in busy]
    had = [(left[leg], leg.n) for leg in ended]
    if all(qty < sale.qty for qty, _ in had) and sale.qty < sum((max(qty, ZERO) for qty in left.values()), ZERO):
        had = [(leg.qty, leg.n) for leg in ended if leg_sold(position, leg)]
    return min([(qty, n) for qty, n in had if qty >= sale.qty], default=(ZERO, 0))[1]


def _accepted(position: Position, order: Order) -> Position:
    """An exit that stands ends the row of its leg's refusals (rule 4.7). A stop that stands, or has stood, is a level
    in force: the leg's stop never goes back behind it (rule 10.4).
    """
    leg = find_leg(position, order.leg) if order.is_stop or order.is_target else None
    if leg is None or order.end is End.REFUSED:
        return position
    known = leg
    if order.is_stop and order.stop_price is not None and leg.stop is not None:
        leg = _in_force(leg, leg.stop, order.stop_price, position.plan.direction)
    if order.live and (order.is_stop or leg.stop is None) and (leg.tries or leg.poor or leg.retry_at):
        leg = replace(leg, tries=0, poor=0, retry_at=0)
    return position if leg is known else with_leg(position, leg)


def _in_force(leg: Leg, stop: Decimal, level: Decimal, direction: Direction) -> Leg:
    level = levels.safer(stop, level, direction)
    if level != stop:
        leg = replace(leg, stop=level, balks=0)
    if leg.due is not None and not levels.is_safer(leg.due, level, direction):
        leg = replace(leg, due=None, breach_since=0)
    return leg


def _moved(position: Position, before: Order, after: Order) -> Position:
    """Where a stop was moved, the way that it was moved by is one again (rule 8.7)."""
    leg = find_leg(position, after.leg)
    if leg is None or not leg.balks or before.exchange_id or not after.exchange_id:
        return position
    if after.replaces or (after.list_id and after.stop_price is not None and after.stop_price != leg.stop):
        return with_leg(position, replace(leg, balks=0))
    return position


def _found_again(position: Position, before: Order, after: Order) -> Position:
    """What an exit sold before it ended, and tells only now, is not missing of the position (rule 6.6b)."""
    late = after.cum_qty - before.cum_qty
    if before.live or late <= 0 or not position.gone or not after.is_exit:
        return position
    found = min(late, position.gone)
    leg = find_leg(position, after.leg)
    if leg is not None:
        position = with_leg(position, replace(leg, qty=leg.qty + found))
    return replace(position, gone=position.gone - found)


def _told(before: Order, after: Order) -> Iterator[Notify]:
    """What a person should hear of what was learned of an order."""
    if after.qty < before.qty and not before.awaits:
        why = "by another hand, or as it met another order of the account"
        text = f"{after.id}: made smaller {why}, from {short(before.qty)} to {short(after.qty)}"
        yield Notify(Level.ALERT, "exit_resized", text, after.id)
    filled = after.cum_qty - before.cum_qty
    if filled > 0:
        price = (after.value - before.value) / filled
        text = f"{after.id}: {short(filled)} at {short(price)}, {short(after.cum_qty)} of {short(after.qty)}"
        yield Notify(Level.INFO, "filled", text, after.id)
    if after.end is End.REFUSED and before.live:
        yield Notify(Level.WARNING, "order_refused", f"{after.id}: {after.refusal}", after.id)


def answered(
    state: State, event: Reported | Absent | TradesSeen | OpenOrdersSeen, policy: Policy, asked: str
) -> Absorbed:
    """As `absorb`, where `event` answers a look at the order `asked`; empty where it answers none."""
    if not asked:
        return absorb(state, event, policy)
    if isinstance(event, Reported):
        event = _as_asked(state.position, asked, event)
    return _paced(absorb(state, event, policy), asked)


def _as_asked(position: Position | None, asked: str, event: Reported) -> Reported:
    """The answer to a look is about the order `asked`, under whichever id the exchange tells of it: a cancel or an
    amendment may have given it another (rule 8.8). One without a number and a quantity says of an archived order that
    it ended without a fill, and nothing else.
    """
    order = find_order(position, asked) if position is not None else None
    if order is None:
        return event
    report = event.report
    if not report.qty and not report.exchange_id and report.status.is_final:
        told = replace(report, id=asked, exchange_id=order.exchange_id, side=order.side, type=order.type, qty=order.qty)
        return replace(event, report=told)
    same = report.side is order.side and report.type is order.type and order.exchange_id in (0, report.exchange_id)
    return replace(event, report=replace(report, id=asked)) if same else event


def _paced(absorbed: Absorbed, asked: str) -> Absorbed:
    """A look at the order `asked` whose answer leaves it as unsettled as it was is had again in growing pauses, not at
    the network's pace (rule 8.7).
    """
    state, position = absorbed.state, absorbed.state.position
    order = find_order(position, asked) if position is not None else None
    if position is None or order is None or order.ask_at > state.market.now:
        return absorbed
    if not (order.phase is OrderPhase.UNRESOLVED or order.check):
        return absorbed
    again = with_order(position, orders.look_again(order, state.market.now))
    return replace(absorbed, state=replace(state, position=again))


def _reported(state: State, position: Position, event: Reported, policy: Policy) -> Absorbed:
    folded = fold_all(position, (event.report,), state.market.now, policy, looked=bool(event.seq))
    if not event.seq:
        return folded.onto(state)
    known, order = find_order(position, event.report.id), find_order(folded.position, event.report.id)
    if known is None or known.live or order is None or not order.recheck:
        return folded.onto(state)
    # A look at an order that had ended before: the second one, after the market order in its place (rule 6.3). One that
    # shows it working still is a stale one (rule 8.6), and is had again.
    notes: tuple[Notify, ...] = ()
    if event.report.status.is_final:
        order = replace(order, recheck=False)
    else:
        order, notes = _looked_in_vain(order, "shown as working", state.market.now)
    looked = with_order(folded.position, order)
    return replace(folded, position=looked, verdict=MOVED, notes=(*folded.notes, *notes)).onto(state)


def _absent(state: State, position: Position, event: Absent, policy: Policy) -> Absorbed:
    order = find_order(position, event.id)
    if order is None:
        return Absorbed(state, Ignored(f"{event.id} is not of the open trade"))
    if not order.live:
        if order.recheck and event.seq:
            return _not_found_again(state, position, order)
        if order.check and event.seq:
            return Absorbed(replace(state, position=with_order(position, replace(order, check=False))))
        return Absorbed(state, Ignored(f"{event.id} has ended"))
    if brackets.stands_with_its_entry(position, order):
        pending = replace(order, phase=OrderPhase.WORKING, check=False, misses=0, first_miss_at=0)
        return Absorbed(replace(state, position=with_order(position, pending)))
    if brackets.asked_before_it_worked(position, order, event.asked_at):
        return Absorbed(state, Ignored(f"{event.id} was asked for before its entry had filled"))
    over = brackets.ended_with_its_entry(position, order)
    sought = replace(order, unlisted=True) if over else order  # what was never placed has filled under no id
    doubted = orders.in_doubt(position.orders, order)
    market = state.market
    missed = orders.miss(sought, event.asked_at, market.now, policy, doubted=doubted, ahead_at=market.ahead_at)
    notes: tuple[Notify, ...] = ()
    if missed.end is End.GONE and not over:
        text = f"{order.id}: accepted once, unknown to the exchange now"
        notes = (Notify(Level.ALERT, "order_gone", text, order.id),)
    elif missed.end is End.NEVER:
        notes = (Notify(Level.INFO, "doubt_settled", f"{order.id}: never reached the exchange", order.id),)
    if missed.end in orders.REVOCABLE and not (missed.unlisted or order.exchange_id):
        text = f"{order.id}: not found by its own id; whether it filled under another, no list of all orders has told"
        notes = (*notes, Notify(Level.ALERT, "orders_unlisted", text, order.id))
    return Absorbed(replace(state, position=with_order(position, missed)), MOVED, notes)


def _not_found_again(state: State, position: Position, order: Order) -> Absorbed:
    """A second look (rule 6.3) at an ended order found nothing: of one that the exchange took, that is stale."""
    if not order.exchange_id:
        return Absorbed(replace(state, position=with_order(position, replace(order, recheck=False))))
    looked, notes = _looked_in_vain(order, "not found", state.market.now)
    return Absorbed(replace(state, position=with_order(position, looked)), MOVED, notes)


def _looked_in_vain(order: Order, what: str, now: int) -> tuple[Order, tuple[Notify, ...]]:
    """A second look at an ended order that tells of before its end is stale (rule 8.6) and had again, in growing
    pauses, though not for ever (8.7): a close has its own look at the open orders yet.
    """
    looked = orders.look_again(order, now)
    if looked.looks < orders.SECOND_LOOKS:
        return looked, ()
    text = f"{order.id}: {what} in {looked.looks} second looks; what its end told of it counts"
    return replace(looked, recheck=False), (Notify(Level.ALERT, "second_look_failed", text, order.id),)


def _trades(state: State, position: Position, event: TradesSeen) -> Absorbed:
    order = find_order(position, event.id)
    if order is None:
        return Absorbed(state, Ignored(f"{event.id} is not of the open trade"))
    if (fault := orders.beyond_limit(order, event.fills) or orders.too_many(order, event.fills)) is not None:
        note = Notify(Level.ALERT, "impossible_report", fault, order.id)
        refused = FoldedReports(position, Refusal(fault), (note,), fault).onto(state)
        again = _trades_again(position, order, state.market.now) if event.seq and order.unpriced_qty else position
        return replace(refused, state=replace(refused.state, position=again))
    folded = orders.fold_fills(order, event.fills)
    if folded is not order:
        return Absorbed(replace(state, position=with_order(position, folded)))
    if not event.seq or not order.unpriced_qty:
        return Absorbed(state, Ignored("nothing new"))
    return Absorbed(replace(state, position=_trades_again(position, order, state.market.now)))


def _trades_again(position: Position, order: Order, now: int) -> Position:
    """The list lags behind the order (rule 8.6), or is of another: again a little later, and in the end without it."""
    waiting = replace(order, misses=order.misses + 1, ask_at=now + _TRADES_AGAIN_MS)
    guess = position.guess_fees or waiting.misses >= orders.TRADES_TRIES
    return replace(with_order(position, waiting), guess_fees=guess)


def _open_orders(state: State, event: OpenOrdersSeen, policy: Policy) -> Absorbed:
    position = state.position
    trade = position.trade if position is not None else ""
    ours = [r for r in event.reports if ids.is_ours(r.id) and r.id not in state.ignored]
    mine = tuple(r for r in ours if (name := ids.parse(r.id)) is not None and name.trade == trade)
    strangers = [r.id for r in ours if r not in mine and not _just_closed(r.id, state, event, policy)]
    notes: tuple[Notify, ...] = ()
    told = named_in(state.halted)
    news = [key for key in strangers if key not in told]
    if news:  # each is told once: the reason of the halt names those that were
        text = stray_text(news)
        notes = (Notify(Level.ALERT, "stray_orders", text, " ".join(news)),)
        state = replace(state, halted=f"{state.halted}; {text}" if state.halted else text)
    if position is None:
        return Absorbed(state, MOVED, notes)
    folded = fold_all(position, mine, state.market.now, policy)
    listed = frozenset(r.id for r in mine)
    position = _missed(folded.position, event, listed, state.market.now)
    if event.seq and (ghosts := _still_listed(position, listed, state.market.now)):
        text = f"{ghosts}: ended a minute ago, and listed as open still; the trade is closed without waiting for it"
        notes = (*notes, Notify(Level.ALERT, "ended_listed", text, ghosts))
        state = replace(state, halted=f"{state.halted}; {text}" if state.halted else text)
    verdict = folded.verdict if folded.fault else MOVED
    return replace(folded, position=position, verdict=verdict, notes=(*notes, *folded.notes)).onto(state)


def _just_closed(client_id: str, state: State, event: OpenOrdersSeen, policy: Policy) -> bool:
    """Whether the order is of the last trade, in a list that may be older than its close (rule 8.6)."""
    name, last = ids.parse(client_id), state.last_closed
    if name is None or last is None or name.trade != last.trade:
        return False
    return event.asked_at < max(last.closed, state.market.ahead_at) + policy.absence_grace_ms


def _missed(position: Position, event: OpenOrdersSeen, listed: frozenset[str], now: int) -> Position:
    """What the list leaves out. Absence from a list proves nothing by itself: ask directly (rule 8.6). Whether what
    awaits its entry is listed as open, Binance's documents leave open (rule 8.8).
    """
    entering = {o.id for o in position.orders if o.is_entry and o.live}
    for order in position.orders:
        known = order.phase in _AT_WORK and order.awaits not in entering
        if known and order.id not in listed and order.sent_at < event.asked_at:
            position = with_order(position, replace(order, check=True))
    phase = position.phase
    if isinstance(phase, Closing) and event.seq:
        waited = now - _ended_at(position)
        if listed and waited < _LIST_LAGS_MS:  # known to have ended, and still on the list: it lags behind
            return replace(position, ask_at=now + max(_LIST_AGAIN_MS, waited // 2))
        return replace(position, phase=replace(phase, looked_at=event.asked_at))
    return position


def _ended_at(position: Position) -> int:
    """When the newest end of its orders was heard of."""
    return max((o.closed_at for o in position.orders), default=0)


def _still_listed(position: Position, listed: frozenset[str], now: int) -> str:
    """The orders that a close does not wait for any more, though they are on the list (rules 8.7, 10.6): none of ours
    is live, and what still is on the book is for the watchdog to rid it of (rule 12).
    """
    if not isinstance(position.phase, Closing) or any(o.live for o in position.orders):
        return ""
    return ", ".join(sorted(listed)) if now - _ended_at(position) >= _LIST_LAGS_MS else ""
