"""A cancel and its sale in one request: the way that is left where cancels alone keep failing (rules 6.2, 8.7)."""

from decimal import Decimal

from msgspec.structs import replace

from executor.core.decide.draft import Draft
from executor.core.model.ids import Role
from executor.core.model.intents import QueryOrder
from executor.core.model.orders import CancelBy, cancel_by
from executor.core.model.state import Order, OrderPhase
from executor.core.model.values import OrderType


def sell(draft: Draft, order: Order, qty: Decimal) -> bool:
    """Whether `order` is now cancelled and up to `qty` sold at market by cancel-replace, where it is the turn of that.

    Nothing is sold where the order was not cancelled, and none is cancelled so that has begun to fill (rule 5.5): so
    this can't sell anything twice (rule 10.1), and one such request in doubt is settled as that of a stop's move.
    """
    if cancel_by(order) is not CancelBy.SALE or not draft.rules.cancel_replace_allowed:
        return False
    if order.phase is not OrderPhase.WORKING or order.cum_qty or order.awaits or order.check or draft.paired(order):
        return False
    piece = draft.rules.market_piece(qty, draft.price)
    if not piece or not draft.may_change(order) or draft.asked(QueryOrder, order.id):
        return False
    draft.tell_outlived(order)
    side = draft.position.plan.direction.exit_side
    sale = draft.order(Role.FLATTEN, side, OrderType.MARKET, piece, leg=order.leg)
    draft.swap(replace(order, recheck=True), sale)
    return True
