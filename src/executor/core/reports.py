"""Absorb what is said of orders: reports, absences, trades, the list of open orders."""

from typing import assert_never

import msgspec
from msgspec.structs import replace

from executor.core import ids, levels, orders
from executor.core.edit import find_leg, find_order, with_leg, with_order
from executor.core.events import Absent, OpenOrdersSeen, Reported, TradesSeen
from executor.core.facts import OrderReport
from executor.core.ids import Role
from executor.core.intents import Level, Notify
from executor.core.policy import Policy
from executor.core.state import Closing, End, Order, OrderPhase, Position, State
from executor.core.values import plain
from executor.core.verdict import MOVED, Absorbed, Ignored, Refusal, Verdict


def absorb(state: State, event: Reported | Absent | TradesSeen | OpenOrdersSeen, policy: Policy) -> Absorbed:
    position = state.position
    if isinstance(event, OpenOrdersSeen):
        return _open_orders(state, event)
    if position is None:
        return Absorbed(state, Ignored("no trade is open"))
    match event:
        case Reported():
            return _reported(state, position, event)
        case Absent():
            return _absent(state, position, event, policy)
        case TradesSeen():
            return _trades(state, position, event)
        case _ as unreachable:
            assert_never(unreachable)


class Heard(msgspec.Struct, frozen=True):
    """A position with what reports add to it. `fault`: what one of them said can't be true."""

    position: Position
    verdict: Verdict = MOVED
    notes: tuple[Notify, ...] = ()
    fault: str = ""

    def onto(self, state: State) -> Absorbed:
        """An impossible fact halts new entries until the operator has looked."""
        return Absorbed(
            replace(state, position=self.position, halted=state.halted or self.fault), self.verdict, self.notes
        )


def hear(position: Position, reports: tuple[OrderReport, ...], now: int) -> Heard:
    """Fold `reports`, heard at `now`, into the trade's orders; those of other trades are left out."""
    notes: list[Notify] = []
    verdict: Verdict = Ignored("nothing new")
    for report in reports:
        name = ids.parse(report.id)
        if name is None or name.trade != position.trade:
            verdict = verdict if verdict == MOVED else Ignored(f"{report.id} is not of the open trade")
            continue
        order = find_order(position, report.id)
        if order is None:
            order = adopt(report, name.role)
            text = f"{report.id}: an order of this trade that was not on record"
            notes.append(Notify(Level.ALERT, "order_adopted", text))
        if (fault := orders.impossible(order, report)) is not None:
            notes.append(Notify(Level.ALERT, "impossible_report", fault))
            return Heard(position, Refusal(fault), tuple(notes), fault)
        folded = orders.fold(order, report, now)
        if folded is order:
            continue
        verdict = MOVED
        position = _accepted_stop(with_order(position, folded), folded)
        if folded.cum_qty > order.cum_qty:
            notes.append(_fill_note(order, folded))
    return Heard(position, verdict, tuple(notes))


def adopt(report: OrderReport, role: Role) -> Order:
    """An order of ours rebuilt from what the exchange says about it and from its id (rule 9.3)."""
    leg = {Role.TP1: 1, Role.SL1: 1, Role.TP2: 2, Role.SL2: 2, Role.TRAIL: 3}.get(role, 0)
    return Order(
        id=report.id,
        role=role,
        leg=leg,
        side=report.side,
        type=report.type,
        qty=report.qty,
        price=report.price or None,
        stop_price=report.stop_price or None,
        trailing_delta=report.trailing_delta or None,
    )


def _accepted_stop(position: Position, order: Order) -> Position:
    """A stop that stands is a level in force: from here on the leg's stop never goes back behind it (rule 10.4)."""
    if not order.is_stop or order.phase is not OrderPhase.WORKING or order.stop_price is None:
        return position
    leg = find_leg(position, order.leg)
    if leg is None or leg.stop is None:
        return position
    level = levels.safer(leg.stop, order.stop_price, position.plan.direction)
    if level == leg.stop and not (leg.tries or leg.poor or leg.retry_at):
        return position
    return with_leg(position, replace(leg, stop=level, tries=0, poor=0, retry_at=0))


def _fill_note(before: Order, after: Order) -> Notify:
    filled = after.cum_qty - before.cum_qty
    price = (after.cum_quote - before.cum_quote) / filled
    text = f"{after.id}: {plain(filled)} at {plain(price.normalize())}, {plain(after.cum_qty)} of {plain(after.qty)}"
    return Notify(Level.INFO, "filled", text)


def _reported(state: State, position: Position, event: Reported) -> Absorbed:
    heard = hear(position, (event.report,), state.market.now)
    order = find_order(heard.position, event.report.id)
    if not event.seq or order is None or not order.recheck or order.live:
        return heard.onto(state)
    # The second look after a market order has been had (rule 6.3).
    looked = with_order(heard.position, replace(order, recheck=False))
    return replace(heard, position=looked, verdict=MOVED).onto(state)


def _absent(state: State, position: Position, event: Absent, policy: Policy) -> Absorbed:
    order = find_order(position, event.id)
    if order is None:
        return Absorbed(state, Ignored(f"{event.id} is not of the open trade"))
    if not order.live:
        if order.recheck and event.seq:
            return Absorbed(replace(state, position=with_order(position, replace(order, recheck=False))))
        return Absorbed(state, Ignored(f"{event.id} has ended"))
    missed = orders.miss(order, event.asked_at, state.market.now, policy)
    notes: tuple[Notify, ...] = ()
    if missed.end is End.GONE:
        notes = (Notify(Level.ALERT, "order_gone", f"{order.id}: accepted once, unknown to the exchange now"),)
    elif missed.end is End.NEVER:
        notes = (Notify(Level.INFO, "doubt_settled", f"{order.id}: never reached the exchange"),)
    return Absorbed(replace(state, position=with_order(position, missed)), MOVED, notes)


def _trades(state: State, position: Position, event: TradesSeen) -> Absorbed:
    order = find_order(position, event.id)
    if order is None:
        return Absorbed(state, Ignored(f"{event.id} is not of the open trade"))
    folded = orders.fold_fills(order, event.fills)
    if folded is order:
        return Absorbed(state, Ignored("nothing new"))
    return Absorbed(replace(state, position=with_order(position, folded)))


def _open_orders(state: State, event: OpenOrdersSeen) -> Absorbed:
    position = state.position
    trade = position.trade if position is not None else ""
    ours = [r for r in event.reports if ids.is_ours(r.id)]
    mine = tuple(r for r in ours if (name := ids.parse(r.id)) is not None and name.trade == trade)
    strangers = [r.id for r in ours if r not in mine]
    notes: tuple[Notify, ...] = ()
    if strangers:
        text = f"open orders that belong to no trade here: {', '.join(strangers)}"
        if state.halted != text:
            notes = (Notify(Level.ALERT, "stray_orders", text),)
        state = replace(state, halted=state.halted or text)
    if position is None:
        return Absorbed(state, MOVED, notes)
    heard = hear(position, mine, state.market.now)
    position = _missed(heard.position, event, frozenset(r.id for r in mine))
    verdict = heard.verdict if heard.fault else MOVED
    return replace(heard, position=position, verdict=verdict, notes=(*notes, *heard.notes)).onto(state)


def _missed(position: Position, event: OpenOrdersSeen, listed: frozenset[str]) -> Position:
    """What the list leaves out. Absence from a list proves nothing by itself: ask directly (rule 8.6)."""
    for order in position.orders:
        if order.phase is OrderPhase.WORKING and order.id not in listed and order.sent_at < event.asked_at:
            position = with_order(position, replace(order, check=True))
    phase = position.phase
    if isinstance(phase, Closing) and event.seq and not listed:
        position = replace(position, phase=replace(phase, looked_at=event.asked_at))
    return position
