"""One order's life: `Submitted -> {Working, Unresolved} -> Closed`. Folding only ever adds knowledge (rule 5.1).

Folding the same report twice, or an old one late, changes nothing. A fill after a cancel is legal: a closed order's
quantities may still grow, its phase never goes back.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import Final

from msgspec.structs import replace

from executor.core.model.facts import NOISE, POVERTY, Fill, OrderReport, Refused, Why, beyond
from executor.core.model.intents import NewOrder
from executor.core.model.policy import Policy
from executor.core.model.state import End, Order, OrderPhase
from executor.core.model.values import ZERO, OrderStatus

_WORKING: Final = OrderPhase.WORKING  # to look up a member of an enum takes ten times as long
_CLOSED: Final = OrderPhase.CLOSED
_REJECTED: Final = OrderStatus.REJECTED
_FILLED: Final = OrderStatus.FILLED
_ENDS: Final = {
    OrderStatus.FILLED: End.FILLED,
    OrderStatus.CANCELED: End.CANCELED,
    OrderStatus.REJECTED: End.EXPIRED,
    OrderStatus.EXPIRED: End.EXPIRED,
    OrderStatus.EXPIRED_IN_MATCH: End.EXPIRED,
}
REVOCABLE: Final = frozenset({End.NEVER, End.GONE, End.REFUSED})
"""Ends that say that there is no such order: one that is seen after all is believed."""
_ASK_AGAIN_MS: Final = (250, 500, 1_000, 2_000, 4_000)
_MISSED_AGAIN_MS: Final = (250, 500, 500, 1_000, 1_000, 1_000, 1_000, 2_000, 4_000)
"""While it may have filled, and so have left a position bare, a second is long."""
_MAKES_WAY_MS: Final = 600
"""So long each order makes way for every other one of its trade that is in doubt: together they are looked for some
two times a second however many they are, and looks can't use the weight up.
"""
_CANCEL_AGAIN_MS: Final = (250, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 60_000)
_QUICK_TRIES: Final = 4
_REFUSED_PAUSES: Final = 5
_EMPTY_PAUSES: Final = 2
_SLOWEST: Final = 3
"""How often the pause doubles between tries of exits that keep being refused."""
TRADES_TRIES: Final = 3
"""So many lists of an order's trades may lack some of them; it is done without them then (rules 8.6, 8.7)."""
LIST_TRIES: Final = 6
"""Beside so many looks the list of all orders may fail; then looks by its own id say that an order never was (8.7)."""
SHOWN_MS: Final = 10_000
"""Reads show an order that the exchange has told of after so long at the latest. How late they may be is not said;
requests are given up after as much (rest-api.md).
"""
_AHEAD_MS: Final = 1_000
"""A timestamp may be so much ahead of the exchange's clock (rest-api.md, timing security)."""
SECOND_LOOKS: Final = 6
"""So many looks at an order that has ended may fail to find it; what its end said of it counts then."""


class CancelBy(Enum):
    """What a cancel names, or brings with it."""

    CLIENT_ID = auto()
    EXCHANGE_ID = auto()
    LIST = auto()  # one side alone too: the exchange may not call the list done while that stands
    SALE = auto()  # the market order that is to take its place; by the client order id where that can't be


_AFTER_FAILED: Final = (CancelBy.EXCHANGE_ID, CancelBy.LIST, CancelBy.EXCHANGE_ID, CancelBy.SALE)
"""The ways of the first cancel after one that failed, of the next ones, and so on round. What is on no list has no such
cancel: a sale instead.
"""


def request_of(order: Order) -> NewOrder:
    """The order as it is to be sent."""
    return NewOrder(
        id=order.id,
        side=order.side,
        type=order.type,
        qty=order.qty,
        price=order.price,
        stop_price=order.stop_price,
        time_in_force=order.time_in_force,
        trailing_delta=order.trailing_delta,
    )


def impossible(order: Order, report: OrderReport) -> str | None:
    """Why `report` can't be about `order`; None when it can."""
    if order.exchange_id and report.exchange_id != order.exchange_id and report.status is not OrderStatus.REJECTED:
        return f"{order.id}: exchange id {report.exchange_id}, known as {order.exchange_id}"
    if report.side is not order.side:
        return f"{order.id}: reported as {report.side}, sent as {order.side}"
    sent = order.sent_qty or order.qty
    if report.status is OrderStatus.PENDING_NEW and not (report.cum_qty or report.fills):
        return None  # of one that is not placed yet the quantity may be anything (faqs/opo.md)
    contradicts = report.cum_qty == 0 if report.status is _FILLED else report.status is OrderStatus.PENDING_NEW
    if contradicts or report.cum_qty > report.qty or report.qty > sent:
        return f"{order.id}: {report.cum_qty} of {report.qty} filled, sent for {sent}"
    return too_many(order, report.fills)


def too_many(order: Order, fills: tuple[Fill, ...]) -> str | None:
    """Why `fills`, with those that are known, can't all be of `order`; None when they can."""
    merged, sent = _union(order.fills, fills), order.sent_qty or order.qty
    named = sum((f.qty for f in merged), ZERO) if merged is not order.fills else ZERO
    return f"{order.id}: trades of {named}, sent for {sent}" if named > sent else None


def beyond_limit(order: Order, fills: tuple[Fill, ...]) -> str | None:
    """Why a list of trades can't be that of `order`: who has read its rows knows no limit to compare with."""
    limit = order.price or ZERO
    worse = [f for f in fills if f.price <= 0 or (limit and beyond(order.side, limit, f.price) > limit * NOISE)]
    return f"{order.id}: a trade at {worse[0].price}, with a limit of {limit}" if worse else None


def fold(order: Order, report: OrderReport, at: int) -> Order:
    """`order` with what `report`, heard at `at`, adds to it; the same object when it adds nothing.

    REJECTED: never accepted, so it need not have a number. One with another number than an order that works is about
    something else: a look decides. PENDING_NEW is what an exit is before anything else (rule 13.1): told late, as by
    the answer to a list whose entry filled at once, it undoes no refusal.

    FILLED with less than its quantity: self-trade prevention has taken the rest, which only an order that expired for
    it tells for certain (faqs/stp_faq.md); or that is of before its last fills. A look that tells the same is believed
    (`confirmed`).
    """
    short = report.status is _FILLED and report.cum_qty < report.qty
    rejected = report.status is _REJECTED
    if order.status is _REJECTED and report.status is OrderStatus.PENDING_NEW:
        return order
    stood = order.phase is _WORKING or bool(report.cum_qty)
    if rejected and stood and not _is_about(order, report):
        return replace(look_again(order, at), check=True)
    known, order = order, _as_placed(order, report)
    fills = _union(order.fills, report.fills)
    cum_qty, cum_quote = order.cum_qty, order.cum_quote
    if report.cum_qty > cum_qty:
        cum_qty, cum_quote = report.cum_qty, report.cum_quote
    cum_qty, cum_quote = _summed(fills, cum_qty, cum_quote)
    phase, end, status, closed_at, looks = order.phase, order.end, order.status, order.closed_at, order.looks
    back, filled = order.back, cum_qty >= order.qty > 0
    if phase is not _CLOSED or (end in REVOCABLE and not rejected):
        status = report.status if report.cum_qty >= order.cum_qty else status
        back = back or end is not None
        if filled or (report.status.is_final and not short):
            phase, closed_at, looks = _CLOSED, at, 0
            end = End.FILLED if filled else _ENDS[report.status]
            if rejected and not stood:
                end = End.REFUSED
        else:
            phase, end = _WORKING, None
    elif filled and end is not End.FILLED:
        end = End.FILLED
    triggered_at = order.triggered_at
    if not triggered_at and order.is_stop and (report.working or cum_qty):
        triggered_at = at
    folded = replace(
        order,
        exchange_id=order.exchange_id if rejected else report.exchange_id,
        fills=fills,
        cum_qty=cum_qty,
        cum_quote=cum_quote,
        phase=phase,
        end=end,
        status=status,
        closed_at=closed_at,
        triggered_at=triggered_at,
        refusal=order.refusal or report.refusal or Why.OTHER if end is End.REFUSED else None,
        back=back,
        misses=0,
        first_miss_at=0,
        check=short and phase is not _CLOSED,
        looks=looks,
    )
    return known if folded == known else replace(folded, heard_at=at)


def confirmed(order: Order, report: OrderReport) -> OrderReport:
    """The answer to a look at `order`: FILLED with the same for the second time, that is what the order was for."""
    again = report.status is order.status is _FILLED and report.cum_qty == order.cum_qty
    return replace(report, qty=min(report.qty, report.cum_qty)) if again and order.live else report


def _is_about(order: Order, report: OrderReport) -> bool:
    """Whether a refusal bears the number of `order`; one whose number is not known yet may have any."""
    return report.exchange_id == order.exchange_id or (not order.exchange_id and report.exchange_id > 0)


def _as_placed(order: Order, report: OrderReport) -> Order:
    """`order` in the quantity that it has. One that awaits its entry has none for certain; what works or has traded was
    placed, so its entry has filled (rule 13.1).
    """
    if not order.awaits:
        return cut_to(order, report.qty)
    if not report.cum_qty and (report.status.is_final or report.status.is_pending):
        return order
    return placed_for(order, report.qty or order.qty)


def placed_for(order: Order, qty: Decimal) -> Order:
    """One that awaited its entry, and was placed for `qty`: less, where it met another order of the account since, and
    its end may tell again of what it was sent for (`left_by_prevention`).
    """
    sent = order.sent_qty or order.qty
    return replace(order, awaits="", qty=qty, sent_qty=sent if qty < sent else order.sent_qty)


def cut_to(order: Order, qty: Decimal) -> Order:
    """An order whose quantity another hand has amended: it only ever shrinks (order_amend_keep_priority.md), so that an
    older report of more undoes nothing. An archived order, reported without any quantity, is as it was.
    """
    if not 0 < qty < order.qty:
        return order
    return replace(order, qty=qty, sent_qty=order.sent_qty or order.qty)


def fold_fills(order: Order, fills: tuple[Fill, ...]) -> Order:
    """`order` with trades read on their own."""
    merged = _union(order.fills, fills)
    if merged == order.fills:
        return order
    cum_qty, cum_quote = _summed(merged, order.cum_qty, order.cum_quote)
    return replace(order, fills=merged, cum_qty=cum_qty, cum_quote=cum_quote)


def refuse(order: Order, refused: Refused, at: int) -> Order:
    """`order` as refused; where the words do not tell why, with a look at whether it is there after all."""
    if order.phase is OrderPhase.CLOSED or order.phase is OrderPhase.WORKING:
        return order
    return replace(
        order,
        phase=OrderPhase.CLOSED,
        end=End.REFUSED,
        refusal=refused.why,
        closed_at=at,
        ask_at=refused.retry_at,
        check=refused.why is Why.OTHER,
    )


def doubt(order: Order, fence: int, at: int) -> Order:
    """A submitted order whose request has an unknown outcome: to be looked up at once (rule 8.3)."""
    return looked_for_anew(replace(order, phase=OrderPhase.UNRESOLVED, fence=max(order.fence, fence), ask_at=at))


def looked_for_anew(order: Order) -> Order:
    """`order` without what earlier looks have not found."""
    return replace(order, misses=0, first_miss_at=0, unlisted=False, list_failed=False, list_misses=0)


def miss(order: Order, asked_at: int, at: int, policy: Policy, *, doubted: int = 1, ahead_at: int = 0) -> Order:
    """A direct query did not find the order (rules 8.3, 8.6). `doubted`: so many share its pace (`in_doubt`);
    `ahead_at`: when the clock was last set ahead (ms), from when on the time counts that passes.
    """
    if not order.live or (order.phase is OrderPhase.WORKING and asked_at < order.heard_at):
        return order  # what was asked before the exchange told of it says nothing of now (rule 8.6)
    misses = order.misses + 1
    if order.list_failed:
        order = replace(order, list_failed=False, list_misses=order.list_misses + 1)
    first = order.first_miss_at or max(asked_at, ahead_at)
    pause = _pause(misses, _MISSED_AGAIN_MS)
    if order.phase is OrderPhase.WORKING:
        due = _gone_from(order, first, policy, ahead_at)
        if _proven(order, misses, asked_at, due):
            return replace(order, phase=OrderPhase.CLOSED, end=End.GONE, closed_at=at, misses=misses, check=False)
        again = shared(pause, doubted)
        soonest = min(due, at + max(again, policy.absence_grace_ms))
        ask_at = soonest if misses < 2 or asked_at < due else at + again
        return replace(order, misses=misses, first_miss_at=first, ask_at=ask_at, check=True)
    settled = settled_at(order, policy)
    if order.phase is OrderPhase.UNRESOLVED and _proven(order, misses, asked_at, settled):
        return replace(order, phase=OrderPhase.CLOSED, end=End.NEVER, closed_at=at, misses=misses, check=False)
    soon = misses == 1 or (order.phase is OrderPhase.UNRESOLVED and at >= settled)
    ask_at = at + (pause if soon else shared(pause, doubted))  # a position may be bare until two looks have settled it
    if asked_at < settled < ask_at:
        ask_at = max(at, settled)  # a look that was under way then tells nothing yet
    return replace(order, misses=misses, first_miss_at=first, ask_at=ask_at)


def in_doubt(orders: Iterable[Order], sought: Order) -> int:
    """How many of them are, and share the pace of the looks at `sought`: one that is kept apart from its successor
    (rule 8.3b) makes way for all of them, and none makes way for it.
    """
    return sum(o.phase is OrderPhase.UNRESOLVED and (sought.apart or not o.apart) for o in orders)


def shared(pause: int, doubted: int) -> int:
    """The `pause` between two looks at one order, where so many are in doubt (rule 8.7)."""
    return max(pause, (doubted - 1) * _MAKES_WAY_MS)


def _proven(order: Order, misses: int, asked_at: int, due: int) -> bool:
    """Whether it is believed that `order` is not there: looks by its own id have not found it, `misses` of them, the
    last one, sent at `asked_at`, no earlier than `due`. Where its number is not known, it may be there under another id
    (rule 8.8), so all orders must have been listed since `due` as well.
    """
    listed = bool(order.exchange_id) or order.unlisted or order.list_misses >= LIST_TRIES
    return misses >= 2 and asked_at >= due and listed


def settled_at(order: Order, policy: Policy) -> int:
    """From when on (ms) what is not found of an order in doubt was never placed (rule 8.3)."""
    return order.fence + policy.doubt_settle_ms


def _gone_from(order: Order, first_miss_at: int, policy: Policy, ahead_at: int) -> int:
    """From when on (ms) what is not found of an order that was told of is gone: how late reads may be is not documented
    (rules 8.6, 8.8).
    """
    return max(first_miss_at + policy.absence_grace_ms, max(order.heard_at, ahead_at) + SHOWN_MS)


def listed_from(order: Order, policy: Policy, ahead_at: int) -> int:
    """From when on (ms) a list of all orders must show `order`, if it is there, under whatever id; 0: it is not missed,
    or a look by the exchange's own number finds it in every case.
    """
    if order.exchange_id or not order.misses:
        return 0
    if order.phase is OrderPhase.UNRESOLVED:
        return settled_at(order, policy)
    return _gone_from(order, order.first_miss_at, policy, ahead_at) if order.phase is _WORKING else 0


def taken_from(order: Order, policy: Policy) -> int:
    """The exchange can't have taken `order` before this (ms), by its clock."""
    signed = order.fence - policy.recv_window_ms if order.fence else order.sent_at
    return min(signed, order.sent_at) - _AHEAD_MS


def failed_cancels(order: Order) -> int:
    """How many cancels have come to nothing, for whatever reason: the next one takes another way (rule 8.7)."""
    return order.cancels + order.held_up


def cancel_by(order: Order) -> CancelBy:
    """How the next cancel goes: by the client order id, and where that came to nothing each other way in turn (8.7)."""
    failed = failed_cancels(order)
    if not failed:
        return CancelBy.CLIENT_ID
    way = _AFTER_FAILED[(failed - 1) % len(_AFTER_FAILED)]
    listed = order.list_id and not order.is_entry and not order.awaits
    return CancelBy.SALE if way is CancelBy.LIST and not listed else way


def cancel_again_at(order: Order) -> int:
    """When another cancel of an order that has outlived one may go out (ms): in growing pauses (rule 8.7)."""
    return order.ask_at + _CANCEL_AGAIN_MS[min(order.cancels, len(_CANCEL_AGAIN_MS) - 1)]


def sell_again_at(order: Order, again: int, policy: Policy) -> int:
    """When a market order is sent in the place of `order`, which came to nothing, the `again`th time (ms): in growing
    pauses (rule 8.7), shorter ones where it was taken and found nobody.
    """
    if order.refusal is Why.WITHDRAWN:
        return max(order.closed_at, order.ask_at)
    longest = _REFUSED_PAUSES if order.end is End.REFUSED else _EMPTY_PAUSES
    pause = policy.exits_retry_ms << min(max(again - _QUICK_TRIES, 0), longest)
    return max(order.closed_at + pause, order.ask_at)


def exits_again_after(tries: int, policy: Policy) -> int:
    """How long after the last of `tries` refusals exits are tried again (ms): where FAILSAFE_FLATTEN=false lets them be
    tried for ever, in growing pauses (rules 4.7, 8.7).
    """
    return policy.exits_retry_ms << min(max(tries - policy.failsafe_tries, 0), _SLOWEST)


def ask_until(order: Order, policy: Policy) -> int:
    """Until when (ms) it is asked what the account has, before a market order is sent in the place of `order`, that was
    refused for lack of it. Where it can't be read for so long, the order is tried all the same (rules 8.7, 10.6).
    """
    return order.closed_at + policy.failsafe_grace_ms if order.refusal in POVERTY else 0


def look_again(order: Order, at: int) -> Order:
    """A look that was answered at `at` and settles nothing: another one later, in growing pauses (rule 8.7)."""
    looks = order.looks + 1
    return replace(order, looks=looks, ask_at=at + _pause(looks))


def last_look(order: Order) -> int:
    """When the newest look that settled nothing was answered (ms)."""
    return order.ask_at - _pause(order.looks)


def _pause(looks: int, pauses: Sequence[int] = _ASK_AGAIN_MS) -> int:
    return pauses[min(looks, len(pauses)) - 1]


def _union(known: tuple[Fill, ...], new: tuple[Fill, ...]) -> tuple[Fill, ...]:
    if not new:
        return known
    have = {f.trade_id for f in known}
    added = [f for f in new if f.trade_id not in have]
    if not added:
        return known
    return tuple(sorted((*known, *added), key=lambda f: f.trade_id))


def _summed(fills: tuple[Fill, ...], qty: Decimal, value: Decimal) -> tuple[Decimal, Decimal]:
    """What was traded in all, and for how much: as told, or as the fills come to where they are no less and that is
    another sum, as what is told may be a rounded one.
    """
    if not fills or (named := sum([f.qty for f in fills], ZERO)) < qty:
        return qty, value
    own = named, worth(fills)
    return (qty, value) if own == (qty, value) else own  # the same sum stays in the digits in which it was told


def worth(fills: tuple[Fill, ...]) -> Decimal:
    """Quote value of the fills."""
    return sum((f.price * f.qty for f in fills), ZERO)
