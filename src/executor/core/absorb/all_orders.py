"""Absorb the list of all orders: the last evidence before an order in doubt counts as never there (rule 8.3).

By which client order id an order is known that another hand has cancelled, Binance's documents leave open (rule 8.8):
a look by its own id may find nothing though it has filled in part. The list shows it all the same, by what it was sent
for. An order keeps its id for as long as nobody cancels or amends it, so only those that were can be it.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from executor.core.absorb import reports
from executor.core.book.edit import the_order, with_order
from executor.core.model import ids, orders
from executor.core.model.events import AllOrdersSeen
from executor.core.model.facts import OrderReport
from executor.core.model.intents import Level, Notify
from executor.core.model.policy import Policy
from executor.core.model.state import Order, Position, State
from executor.core.model.values import ZERO, OrderStatus, OrderType, plain
from executor.core.model.verdict import MOVED, Absorbed, Ignored


def absorb(state: State, event: AllOrdersSeen, policy: Policy) -> Absorbed:
    position, now = state.position, state.market.now
    if position is None:
        return Absorbed(state, Ignored("no trade is open"))
    ahead_at = state.market.ahead_at
    missed = [o for o in position.orders if 0 < orders.listed_from(o, policy, ahead_at) <= event.asked_at]
    found = identified(position, missed, event.reports, policy)
    folded = reports.fold_all(position, tuple(found.values()), now, policy)
    position = folded.position
    for order in missed:
        known = the_order(position, order.id)
        position = with_order(position, replace(known, unlisted=order.id not in found, ask_at=now))
    verdict = folded.verdict if folded.fault else MOVED
    notes = (*renamed(found, event.reports), *folded.notes)
    return replace(folded, position=position, verdict=verdict, notes=notes).onto(state)


def renamed(found: Mapping[str, OrderReport], listed: Sequence[OrderReport]) -> tuple[Notify, ...]:
    """What a person should hear of those of `found` that `listed` shows under another id."""
    shown_as = {report.exchange_id: report.id for report in listed}
    others = {name: report for name, report in found.items() if shown_as[report.exchange_id] != name}
    return tuple(
        Notify(
            Level.ALERT,
            "order_renamed",
            f"{name}: the exchange knows it as {shown_as[report.exchange_id]} ({report.exchange_id}), {report.status}, "
            f"{plain(report.cum_qty)} of {plain(report.qty)} filled: another hand has cancelled or amended it",
            name,
        )
        for name, report in others.items()
    )


def identified(
    position: Position, missed: Sequence[Order], listed: Sequence[OrderReport], policy: Policy
) -> dict[str, OrderReport]:
    """Which of `listed` are the orders `missed`, whose numbers are not known: by client order id, each report under
    that of its order. One of an order list of ours whose number is known is of that list, whatever else is alike.
    """
    by_id = {report.id: report for report in listed}
    lists = {
        by_id[order.id].list_exchange_id: order.list_id
        for order in position.orders
        if order.list_id and order.id in by_id and by_id[order.id].list_exchange_id >= 0
    }
    taken = {order.exchange_id for order in position.orders}
    found: dict[str, OrderReport] = {}
    for order in missed:
        report = by_id.get(order.id) or next(
            (
                report
                for report in listed
                if report.exchange_id not in taken
                and lists.get(report.list_exchange_id, order.list_id) == order.list_id
                and _may_be(order, report, policy)
            ),
            None,
        )
        if report is not None:
            taken.add(report.exchange_id)
            found[order.id] = replace(report, id=order.id)
    return found


def _may_be(order: Order, report: OrderReport, policy: Policy) -> bool:
    """Whether `report`, under an id that is none of ours, is what `order` has become. A market order, which rests
    nowhere, can be neither cancelled nor amended.
    """
    if ids.is_ours(report.id) or order.type is OrderType.MARKET or report.time < orders.taken_from(order, policy):
        return False
    stops_alike = order.trailing_delta is not None or (order.stop_price or ZERO) == report.stop_price
    alike = (
        report.side is order.side
        and report.type is order.type
        and report.price == (order.price or ZERO)
        and report.trailing_delta == (order.trailing_delta or 0)
        and stops_alike
        and report.qty <= order.qty
    )
    return alike and (report.status is OrderStatus.CANCELED or 0 < report.qty < order.qty)
