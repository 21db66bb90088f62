"""What the documents leave open about reads, words and JSON, as `ExchangeChoices` has it: the wire's part of it.

The engine's own part (when a list is done, how an OCO's other order ends) is in `engine.matching`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from executor.core.model.values import OrderStatus
from executor.paper.engine.choices import (
    OPEN_LATER_MS,
    OTHER_WORDS,
    QUERY_LATER_MS,
    CancelledId,
    EventOrder,
    ExchangeChoices,
    IdsAs,
    PreventedTold,
    RefusalTexts,
    SeenInReads,
)
from executor.paper.engine.model import Event, ExecutionReport, ListStatus, Order, Reject

_IDS: Final = frozenset({"orderId", "orderListId", "tradeId", "id", "i", "g", "t"})
_PREVENTED: Final[Mapping[str | None, frozenset[str]]] = {
    None: frozenset({"preventedMatchId", "preventedQuantity"}),
    "executionReport": frozenset({"v", "A"}),
}
"""By the kind of an event, None for an answer."""
_WORDED: Final = frozenset({-2010, -2011})


def found(choices: ExchangeChoices, order: Order, client_id: str | None, now_ms: int) -> Order:
    """`order`, which a query by `client_id` (None: by its order id) has found.

    Raises:
        Reject: -2013, where the exchange would not find it.
    """
    young = choices.seen_in_reads is SeenInReads.LATER and now_ms - order.time < QUERY_LATER_MS
    renamed = (
        order.status is OrderStatus.CANCELED
        and client_id == order.client_order_id
        and choices.cancelled_id in {CancelledId.CANCEL, CancelledId.NONE}
    )
    if young or renamed:
        raise Reject(-2013, "Order does not exist.")
    return order


def shown_open(choices: ExchangeChoices, orders: Iterable[Order], now_ms: int) -> list[Order]:
    """What openOrders shows of `orders`, which are open."""
    if choices.seen_in_reads is SeenInReads.AT_ONCE:
        return list(orders)
    return [order for order in orders if now_ms - order.time >= OPEN_LATER_MS]


def worded(choices: ExchangeChoices, reject: Reject) -> Reject:
    """A refusal of the matching engine in the words that it would use."""
    if choices.refusal_texts is RefusalTexts.DOCUMENTED or reject.code not in _WORDED:
        return reject
    return Reject(reject.code, OTHER_WORDS)


def ordered(choices: ExchangeChoices, events: list[Event]) -> list[Event]:
    """The events of one happening in the order in which they are pushed."""
    match choices.event_order:
        case EventOrder.REPORTS_FIRST:
            return events
        case EventOrder.LISTS_FIRST:
            return sorted(events, key=lambda event: not isinstance(event, ListStatus))
        case EventOrder.BALANCES_FIRST:
            return sorted(events, key=lambda event: isinstance(event, ExecutionReport | ListStatus))


def written(choices: ExchangeChoices, value: Any) -> Any:
    """An answer's result or a pushed event as it is written: ids as strings, fields of a later day, and without what it
    need not tell of self-trade prevention.
    """
    tells = choices.prevented_told is PreventedTold.ALWAYS
    if choices.ids_as is IdsAs.NUMBERS and not choices.extra_fields and tells:
        return value
    if isinstance(value, list):
        return [written(choices, each) for each in value]
    if not isinstance(value, dict):
        return value
    expired = tells or "EXPIRED_IN_MATCH" in (value.get("status"), value.get("X"))
    untold: frozenset[str] = frozenset() if expired else _PREVENTED.get(value.get("e"), frozenset())
    changed = {
        key: str(each)
        if choices.ids_as is IdsAs.STRINGS and key in _IDS and type(each) is int
        else written(choices, each)
        for key, each in value.items()
        if key not in untold
    }
    if choices.extra_fields:
        changed["laterField"] = {"kind": "LATER_VALUE", "rows": [1, "2", None]}
    return changed
