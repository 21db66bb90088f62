"""Why a request was made, in words and with the rule (docs/rules.md), from the state that it was decided in.

Nothing is remembered for this: the journal reproduces every state, and the state shows what a decision saw.
"""

from typing import assert_never

from executor.core.book.edit import find_leg, find_order
from executor.core.model import ids
from executor.core.model.ids import Role
from executor.core.model.intents import (
    Borrow,
    CancelList,
    CancelOrder,
    Command,
    NewOrder,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryOrder,
    Repay,
    ReplaceOrder,
    Request,
)
from executor.core.model.state import Closing, Entering, Leave, Order, OrderPhase, Position, Reason
from executor.core.model.values import OrderType, short

_CLOSING = {
    Reason.FLATTEN: "the operator's word (6.2)",
    Reason.FAILSAFE: "the exits kept being refused (4.7)",
    Reason.MAX_HOLD: "held for MAX_HOLD_SEC (6.7)",
    Reason.EXTERNAL: "somebody else closed it (6.6)",
}


_PLACED = {
    Role.ENTRY: "the entry of the plan (3.1)",
    Role.PLANB: "Plan B: the limit was not filled in time, and the price is within the guard (3.3)",
    Role.TP1: "the target of its leg (4.1)",
    Role.TP2: "the target of its leg (4.1)",
    Role.SL: "the stop behind what is held (4.1)",
    Role.SL1: "the stop behind what is held (4.1)",
    Role.SL2: "the stop behind what is held (4.1)",
    Role.TRAIL: "the leg trails (5.4)",
    Role.BUYBACK: "sold more than was held: bought back at once (6.3)",
    Role.DEBT: "what the debt still lacks is bought, so that it can be repaid whole (11.7)",
}


def because(request: Request, position: Position) -> str:
    """What is asked for, and why; empty for what tells a trader nothing. `position`: as the decision leaves it."""
    match request:
        case PlaceOrder(order=order):
            return f"sends {_order(order)}: {_placed(order, position)}"
        case PlaceOco(target=target, stop=stop):
            leg = _number(target.id, position)
            return f"sends {_order(target)} and {_order(stop)} as one OCO: exits of leg {leg} (4.1, 4.2)"
        case PlaceBracket(entry=entry, stop=stop, target=beside):
            exits = _order(stop) if beside is None else f"{_order(beside)} and {_order(stop)}"
            word, rule = ("Plan B", "3.3, 13.1") if _is_planb(entry.id) else ("the entry", "3.1, 13.1")
            leg = _number(entry.id, position)
            return f"sends {_order(entry)}: {word} of leg {leg}, which brings {exits} with it ({rule})"
        case ReplaceOrder(cancel_id=old, order=order):
            return f"replaces {old} by {_order(order)}: {_moved(order, find_order(position, old), position)}"
        case CancelOrder(id=name):
            return f"cancels {name}: {_cancelled(name, position)}"
        case CancelList(ids=names):
            return f"cancels {' and '.join(names)}: {_cancelled(names[0], position)}"
        case Borrow(asset=asset, amount=amount):
            return f"borrows {short(amount)} {asset}: what the entry needs beyond what is free (11.2)"
        case Repay(asset=asset, amount=amount):
            return f"repays {short(amount)} {asset}, interest first (11.7)"
        case QueryOrder(id=name):
            known = find_order(position, name)
            doubt = known is not None and known.phase is OrderPhase.UNRESOLVED
            wanted = "nobody knows whether it was executed (8.3)" if doubt else "to be certain (6.2)"
            return f"looks {name} up: {wanted}"
        case _:
            return ""


def is_change(request: Request) -> bool:
    return isinstance(request, Command)


def _order(order: NewOrder) -> str:
    words = [order.id, order.side, short(order.qty)]
    words += [f"at {short(order.price)}"] if order.price is not None else []
    words += [f"stop {short(order.stop_price)}"] if order.stop_price is not None else []
    words += [f"trailing {order.trailing_delta} basis points"] if order.trailing_delta is not None else []
    return " ".join([*words, f"({order.type})"])


def _number(name: str, position: Position) -> int:
    order = find_order(position, name)
    return order.leg if order is not None else 0


def _is_planb(name: str) -> bool:
    told = ids.parse(name)
    return told is not None and told.role in ids.PLANBS


def _placed(order: NewOrder, position: Position) -> str:
    name = ids.parse(order.id)
    assert name is not None
    match name.role:
        case Role.ENTRY if sum(each.role in ids.ENTRIES - ids.PLANBS for each in position.orders) > 1:
            return "the entry once more, its guard still holding (3.3b)"
        case Role.SL | Role.SL1 | Role.SL2 if isinstance(position.phase, Entering):
            return "the entry is filled in part: an interim stop under what is held (3.5)"
        case Role.FLATTEN:
            leg = find_leg(position, _number(order.id, position))
            return _at_market(position, leg.leave if leg is not None else None)
        case role:
            return _PLACED[role]


def _at_market(position: Position, leave: Leave | None) -> str:
    if isinstance(position.phase, Closing):
        return f"closing at market: {_CLOSING.get(position.phase.reason, 'what is still held is sold (6.2)')}"
    match leave:
        case Leave.TARGET:
            return "the target was passed before its order could stand: sold as one (4.6)"
        case Leave.STOP:
            return "the stop was reached and no order of it filled: sold at market (6.4, 6.5)"
        case None:
            return "sold at market (6.2)"
        case _ as unreachable:
            assert_never(unreachable)


def _moved(order: NewOrder, old: Order | None, position: Position) -> str:
    if order.type is OrderType.MARKET:
        return "its cancels have come to nothing: cancelled and sold at market in one request (6.2, 8.7)"
    before = old.stop_price if old is not None else None
    if order.stop_price is None or before is None or order.stop_price == before:
        return "its quantity follows what is held (3.5, 5.2)" if order.trailing_delta is None else "it trails now (5.4)"
    if position.manual_stop == order.stop_price:
        return "the operator moved the stop (10.4)"
    trailing = position.trail is not None
    return "the stop follows the price (5.4)" if trailing else "the stop goes to breakeven after the first target (5.2)"


def _cancelled(name: str, position: Position) -> str:
    order = find_order(position, name)
    match position.phase:
        case Entering(end=None) if order is not None and order.is_entry:
            return "the entry was not filled in time (3.2)"
        case Entering(end=end) if order is not None and order.is_entry:
            return f"the entry is given up: {end}"
        case Closing():
            return "the trade is closing, and nothing of it may be left (6.2, 7.1)"
        case _ if order is not None and order.is_entry:
            return "the entry is over, and this one is there after all (2.3)"
        case _:
            leg = find_leg(position, order.leg) if order is not None else None
            if leg is not None and leg.leave is not None:
                return "cancelled before it is sold at market (6.2)"
            return "its exits are to move: cancelled first, then placed anew (5.5)"
